"""`losslab index`, from a clone: python scripts/index.py"""

import sys

from losslab.__main__ import main

if __name__ == "__main__":
    main(["index", *sys.argv[1:]])
