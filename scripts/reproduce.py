"""`losslab reproduce`, from a clone: python scripts/reproduce.py"""

import sys

from losslab.__main__ import main

if __name__ == "__main__":
    main(["reproduce", *sys.argv[1:]])
