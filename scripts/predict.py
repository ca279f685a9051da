"""`losslab predict`, from a clone: python scripts/predict.py"""

import sys

from losslab.__main__ import main

if __name__ == "__main__":
    main(["predict", *sys.argv[1:]])
