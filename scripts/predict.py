"""Classify your own drawings: checkpoint=<file> images=<file, [files] or folder> picture=<file>"""

from losslab.command_line import main
from losslab.prediction import predict

if __name__ == "__main__":
    main(predict, config_name="predict", paths=["checkpoint", "images", "picture"])
