"""`losslab evaluate`, from a clone: python scripts/evaluate.py"""

import sys

from losslab.__main__ import main

if __name__ == "__main__":
    main(["evaluate", *sys.argv[1:]])
