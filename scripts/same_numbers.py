"""`losslab same-numbers`, from a clone: python scripts/same_numbers.py"""

import sys

from losslab.__main__ import main

if __name__ == "__main__":
    main(["same-numbers", *sys.argv[1:]])
