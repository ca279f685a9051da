"""`losslab clean`, from a clone: python scripts/clean.py"""

import sys

from losslab.__main__ import main

if __name__ == "__main__":
    main(["clean", *sys.argv[1:]])
