"""Writes sweeps whose truth is known: run folders with a run.json each, without any training."""

import json
import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

Accuracy = float | tuple[float, float]
"""One fraction for validation and test, or one for each."""

PROVENANCE: dict[str, Any] = {
    "git": {"revision": "abc1234", "dirty": False},
    "versions": {"torch": "2.15.0", "numpy": "2.4.6"},
    "hardware": {"cpu": "Synthetic CPU", "gpu": None},
    "data": "5eed",
}


def write_run(
    sweep: Path,
    loss: str,
    learning_rate: float,
    seed: int,
    accuracy: Accuracy = 0.9,
    *,
    status: str = "finished",
    name: str | None = None,
    metrics: Mapping[str, float | None] | None = None,
    config: Mapping[str, Any] | None = None,
    choices: Mapping[str, str] | None = None,
    overrides: Iterable[str] = (),
    provenance: Mapping[str, Any] | None = None,
) -> Path:
    """One run's folder; `metrics`, `config`, `choices`, `provenance` replace default entries."""
    folder = sweep / (name or f"loss={loss},lr={learning_rate:g},seed={seed}")
    folder.mkdir(parents=True)
    record = {
        "status": status,
        "metrics": {**measure(accuracy), **(metrics or {})},
        "timing": {"seconds": 3.0, "images_per_second": 40_000.0},
        "overrides": [f"loss={loss}", f"optimizer.lr={learning_rate}", f"seed={seed}", *overrides],
        "choices": {"loss": loss, "model": "mlp", "data": "mnist", "optimizer": "sgd"}
        | dict(choices or {}),
        "config": {
            "seed": seed,
            "name": folder.name,
            "optimizer": {"_target_": "torch.optim.SGD", "lr": learning_rate, "momentum": 0.0},
            "loss": {"_target_": f"losslab.losses.{loss}"},
            "model": {"_target_": "losslab.models.MLP", "widths": [128, 64]},
            "trainer": {"max_epochs": 3, "default_root_dir": str(folder)},
            "comparison": {"margin": 0.2},
        }
        | dict(config or {}),
        "fingerprint": "00",
        "mapping": "softmax(z)",
        "provenance": PROVENANCE | dict(provenance or {}),
    }
    (folder / "run.json").write_text(json.dumps(record))
    return folder


def keep_curves(folder: Path, accuracies: Iterable[float], name: str = "curves.csv") -> None:
    """A learning curve with these accuracies on validation, one an epoch."""
    lines = ["epoch,step,train/loss,train/output_gradient_norm,val/accuracy,val/nll"]
    for epoch, accuracy in enumerate(accuracies, start=1):
        error = 1.05 - accuracy
        lines.append(f"{epoch}.0,{100 * epoch}.0,{error},{error},{accuracy},{3 * error}")
    (folder / name).write_text("\n".join(lines) + "\n")


def keep_predictions(
    folder: Path, correct: Sequence[bool] | np.ndarray, confidence: float | np.ndarray = 0.9
) -> None:
    """Image i is of class i mod 10; a wrong one is taken for the next class."""
    label = (np.arange(len(correct)) % 10).astype(np.uint8)
    predicted = np.where(correct, label, (label + 1) % 10).astype(np.uint8)
    kept = np.broadcast_to(np.asarray(confidence, dtype=np.float32), label.shape)
    np.savez(folder / "predictions.npz", label=label, predicted=predicted, confidence=kept)


def measure(accuracy: Accuracy) -> dict[str, float | None]:
    val, test = accuracy if isinstance(accuracy, tuple) else (accuracy, accuracy)
    quality = {"loss": 0.5, "nll": 0.2, "brier": 0.1, "ece": 0.01}
    both = {f"{split}/{key}": value for split in ("val", "test") for key, value in quality.items()}
    return {"val/accuracy": val, "test/accuracy": test, "test/images": 10_000, **both}


def write_sweep(sweep: Path, cells: Mapping[tuple[str, float], Iterable[Accuracy]]) -> Path:
    """Finished runs with exactly these accuracies: seeds 0, 1, … of each (loss, learning rate)."""
    for (loss, learning_rate), accuracies in cells.items():
        for seed, accuracy in enumerate(accuracies):
            write_run(sweep, loss, learning_rate, seed, accuracy)
    return sweep


def write_plausible_sweep(
    sweep: Path,
    best: Mapping[str, tuple[float, float]],
    learning_rates: Iterable[float],
    seeds: int,
    rng: np.random.Generator,
    diverges_beyond: Mapping[str, float] | None = None,
    write: Callable[..., Path] = write_run,
) -> Path:
    """Curves as real sweeps have: slow at small rates, a peak, and divergence beyond a threshold.

    `best` gives each arm's best learning rate and the accuracy there. A part of the noise is shared
    by a seed over all arms and rates, so that pairing pays.
    """
    shared = rng.normal(0, 0.0006, seeds)
    for loss, (peak, top) in best.items():
        for rate in learning_rates:
            for seed in range(seeds):
                limit = (diverges_beyond or {}).get(loss, math.inf)
                if rate > limit * rng.uniform(0.4, 1.1):
                    write(sweep, loss, rate, seed, 0.0988, status="diverged")
                    continue
                away = math.log10(rate / peak)
                steepness = 0.45 if away < 0 else 0.9
                error = min((1 - top) * 10 ** (steepness * away**2), 0.8)
                noise = shared[seed] + rng.normal(0, 0.03 * error)
                val, test = 1 - error + noise, 1 - 1.04 * error + noise
                write(sweep, loss, rate, seed, (round(val * 5000) / 5000, round(test, 4)))
    return sweep


def write_kept_run(
    sweep: Path, loss: str, learning_rate: float, seed: int, accuracy: Accuracy, **rest: Any
) -> Path:
    """A run with all that real ones leave for a comparison: 10 epochs, 10,000 test images."""
    folder = write_run(sweep, loss, learning_rate, seed, accuracy, **rest)
    rng = np.random.default_rng([seed, int(1e6 * learning_rate), len(loss)])
    val, test = accuracy if isinstance(accuracy, tuple) else (accuracy, accuracy)
    keep_curves(folder, [val * (1 - 0.5**epoch) for epoch in range(3, 13)])
    confidence = np.sqrt(rng.uniform(0.1, 1, 10_000))
    keep_predictions(folder, rng.uniform(0, 1, 10_000) < test, confidence)
    return folder
