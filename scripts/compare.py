"""`losslab compare`, from a clone: python scripts/compare.py"""

import sys

from losslab.__main__ import main

if __name__ == "__main__":
    main(["compare", *sys.argv[1:]])
