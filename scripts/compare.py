"""Rebuild the comparison of a sweep, whole or partial: python scripts/compare.py logs/<sweep>"""

import argparse
import sys
from pathlib import Path

from losslab.comparison import compare

if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("sweep", type=Path, help="the folder of runs, such as logs/train")
    try:
        comparison = compare(parser.parse_args().sweep)
        comparison.write()
    except (ValueError, OSError) as error:
        sys.exit(str(error))
    print(comparison.terminal())
