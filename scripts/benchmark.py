"""`losslab benchmark`, from a clone: python scripts/benchmark.py"""

import sys

from losslab.__main__ import main

if __name__ == "__main__":
    main(["benchmark", *sys.argv[1:]])
