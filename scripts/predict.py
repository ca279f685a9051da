"""Classify your own drawings: checkpoint=<file> images=<file, [files] or folder> picture=<file>"""

from pathlib import Path

from runlab.cli.main import main
from runlab.extras.classification.prediction import predict

CONF = Path(__file__).resolve().parents[1] / "conf"

if __name__ == "__main__":
    main(predict, "predict", CONF, paths=["checkpoint", "images", "picture"])
