"""Say how far a sweep is, also while it trains: python scripts/status.py logs/<sweep>"""

import argparse
from pathlib import Path

from runlab.cli.script import script
from runlab.sweeps.status import sweep_status

if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("sweep", type=Path, help="the folder of runs, such as logs/train")
    with script():
        status = sweep_status(parser.parse_args().sweep)
        print(status.terminal())
