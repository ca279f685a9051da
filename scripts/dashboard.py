"""`losslab dashboard`, from a clone: python scripts/dashboard.py"""

import sys

from losslab.__main__ import main

if __name__ == "__main__":
    main(["dashboard", *sys.argv[1:]])
