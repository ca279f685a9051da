"""`losslab landscape`, from a clone: python scripts/landscape.py"""

import sys

from losslab.__main__ import main

if __name__ == "__main__":
    main(["landscape", *sys.argv[1:]])
