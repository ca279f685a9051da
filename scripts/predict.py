"""Classify your own drawings: checkpoint=<file> images=<file, [files] or folder> picture=<file>"""

from runlab.cli.main import main
from runlab.extras.classification.prediction import predict

if __name__ == "__main__":
    main(predict, config_name="predict", paths=["checkpoint", "images", "picture"])
