"""`losslab status`, from a clone: python scripts/status.py"""

import sys

from losslab.__main__ import main

if __name__ == "__main__":
    main(["status", *sys.argv[1:]])
