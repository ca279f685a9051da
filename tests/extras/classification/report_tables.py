"""The tables of a classifier's report by hand, small and plausible, for what only draws them."""

import numpy as np
import pandas as pd

from tests.analysis.tables import CHOSEN

NAN = float("nan")


def arms_table(arms: tuple[str, ...], seeds: int) -> pd.DataFrame:
    """What the figures read of it."""
    known = 1.0 if seeds > 1 else NAN
    row = {"test_ece": 0.0048, "test_ece_low": 0.0048 * 0.9 * known,
           "test_ece_high": 0.0048 * 1.1 * known,
           "probability_formula": "softmax of the outputs"}  # fmt: skip
    return pd.DataFrame([{"arm": arm} | row for arm in arms], columns=["arm", *row])


def curves(arms: tuple[str, ...], seeds: int, epochs: int = 3) -> pd.DataFrame:
    """Gradient norms at the outputs over epochs."""
    columns = ["run", "arm", "learning_rate", "epoch"]
    columns += ["train/output_gradient_norm", "val/output_gradient_norm_wrong"]
    rows = [
        (f"{arm},{seed}", arm, CHOSEN, float(epoch), 0.1 / epoch, 1.0 / (1 + 5 * place))
        for place, arm in enumerate(arms)
        for seed in range(seeds)
        for epoch in range(1, epochs + 1)
    ]
    return pd.DataFrame(rows, columns=columns)


def reliability(arms: tuple[str, ...], seeds: int) -> pd.DataFrame:
    rows = [
        {"arm": arm, "learning_rate": CHOSEN, "n": seeds, "bin_low": low, "bin_high": low + 1 / 15,
         "images": int(10_000 * low**8) + 1, "confidence": low + 1 / 30, "accuracy": low,
         "accuracy_low": low - 0.05 if seeds > 1 else NAN,
         "accuracy_high": low + 0.05 if seeds > 1 else NAN}
        for arm in arms
        for low in np.arange(3, 15) / 15
    ]  # fmt: skip
    return pd.DataFrame(rows)


def confusion(arms: tuple[str, ...], seeds: int, classes: int = 3) -> pd.DataFrame:
    """90 images of each class are right, `truth + predicted + 0.5` of each wrong pair."""
    rows = [
        (arm, CHOSEN, seeds, truth, predicted, images, images / 100)
        for arm in arms
        for truth in range(classes)
        for predicted in range(classes)
        for images in [90.0 if truth == predicted else truth + predicted + 0.5]
    ]
    columns = ["arm", "learning_rate", "n", "truth", "predicted", "images", "share"]
    return pd.DataFrame(rows, columns=columns)
