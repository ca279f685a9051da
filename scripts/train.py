"""`losslab train`, from a clone: python scripts/train.py"""

import sys

from losslab.__main__ import main

if __name__ == "__main__":
    main(["train", *sys.argv[1:]])
