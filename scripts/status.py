"""Say how far a sweep is, also while it trains: python scripts/status.py logs/<sweep>"""

import argparse
import sys
from pathlib import Path

from runlab.sweeps.status import sweep_status
from runlab.text import printable

if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("sweep", type=Path, help="the folder of runs, such as logs/train")
    try:
        status = sweep_status(parser.parse_args().sweep)
    except (ValueError, OSError) as error:
        sys.exit(printable(str(error), keep="\n"))
    print(status.terminal())
