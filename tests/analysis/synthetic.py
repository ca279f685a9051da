"""Writes sweeps whose truth is known: run folders with a run.json each, without any training."""

import json
import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from runlab.measure import Measure

Accuracy = float | tuple[float, float]
"""One fraction for validation and test, or one for each."""

ACCURACY = Measure(
    "accuracy", "accuracy", unit="%", difference_unit="points", scale=100.0,
    higher_is_better=True, digits=2, best=100.0, proportion=True, milestones=(90.0, 95.0, 97.0),
    tolerance=0.5,
)  # fmt: skip
NLL = Measure("nll", "NLL")
LOSS = Measure("loss", "loss", comparable=False)
MEASURES = (ACCURACY, NLL, Measure("brier", "Brier score"), Measure("ece", "ECE"), LOSS)
"""What runs declare, if nothing else is said."""

ARM_STYLES = {
    "cross_entropy": {"color": "#0072B2", "marker": "o"},
    "mse": {"color": "#D55E00", "marker": "s"},
    "mse_logits": {"color": "#009E73", "marker": "^"},
}

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
    comparison: Mapping[str, Any] | None = None,
    measures: Sequence[Measure] = MEASURES,
    module: Mapping[str, str] | None = None,
) -> Path:
    """One run's folder; the mappings replace default entries."""
    folder = sweep / (name or f"loss={loss},lr={learning_rate:g},seed={seed}")
    folder.mkdir(parents=True)
    record = {
        "layout": 2,
        "status": status,
        "metrics": {**metrics_of(accuracy), **(metrics or {})},
        "timing": {"seconds": 3.0, "samples_per_second": 40_000.0},
        "overrides": [f"loss={loss}", f"optimizer.lr={learning_rate}", f"seed={seed}", *overrides],
        "choices": {"loss": loss, "model": "mlp", "data": "mnist", "optimizer": "sgd"}
        | dict(choices or {}),
        "config": {
            "seed": seed,
            "threads": 1,
            "name": folder.name,
            "module": {"_target_": "losslab.Classifier"},
            "data": {"_target_": "losslab.data.MNIST"},
            "optimizer": {"_target_": "torch.optim.SGD", "lr": learning_rate, "momentum": 0.0},
            "loss": {"_target_": f"losslab.losses.{loss}"},
            "model": {"_target_": "losslab.models.MLP", "widths": [128, 64]},
            "trainer": {"max_epochs": 3, "default_root_dir": str(folder)},
            "comparison": {"margin": 0.2, "arm_styles": ARM_STYLES} | dict(comparison or {}),
        }
        | dict(config or {}),
        "fingerprint": "00",
        "measures": [each.to_record() for each in measures],
        "module": {"probability_formula": "softmax(z)"} if module is None else dict(module),
        "provenance": PROVENANCE | dict(provenance or {}),
    }
    (folder / "run.json").write_text(json.dumps(record))
    return folder


def write_module_run(
    sweep: Path,
    module: str,
    seed: int,
    accuracy: Accuracy = 0.9,
    learning_rate: float | None = None,
    comparison: Mapping[str, Any] | None = None,
    **rest: Any,
) -> Path:
    """A run of a module that takes no part: no loss, model or optimizer in its configuration.

    By default compared by `module`, at each `module.lr`.
    """
    own = {"_target_": f"tests.modules.{module}"}
    own |= {} if learning_rate is None else {"lr": learning_rate}
    axes = {"arm": "module", "rate": "module.lr"} | dict(comparison or {})
    rate = "" if learning_rate is None else f",lr={learning_rate:g}"
    name = rest.pop("name", f"module={module}{rate},seed={seed}")
    config = {"module": own} | rest.pop("config", {})
    folder = write_run(
        sweep, "", 1, seed, accuracy, name=name, config=config, comparison=axes,
        choices={"module": module}, module={}, **rest,
    )  # fmt: skip
    record = json.loads((folder / "run.json").read_text())
    record["overrides"] = [f"module={module}", f"seed={seed}"]
    for part in ("loss", "model", "optimizer"):
        record["config"].pop(part)
        record["choices"].pop(part)
    (folder / "run.json").write_text(json.dumps(record))
    return folder


def keep_curves(
    folder: Path,
    values: Iterable[float],
    name: str = "curves.csv",
    measures: Sequence[str] = ("accuracy", "nll"),
) -> None:
    """A learning curve with these values of the first measure on validation, one an epoch."""
    lines = [f"epoch,step,train/loss,{','.join(f'val/{each}' for each in measures)}"]
    for epoch, value in enumerate(values, start=1):
        others = [str(3 * (1.05 - value))] * (len(measures) - 1)
        row = [f"{epoch}.0", f"{100 * epoch}.0", str(1.05 - value), str(value), *others]
        lines.append(",".join(row))
    (folder / name).write_text("\n".join(lines) + "\n")


def metrics_of(accuracy: Accuracy) -> dict[str, float | None]:
    val, test = accuracy if isinstance(accuracy, tuple) else (accuracy, accuracy)
    quality = {"loss": 0.5, "nll": 0.2, "brier": 0.1, "ece": 0.01}
    both = {f"{split}/{key}": value for split in ("val", "test") for key, value in quality.items()}
    return {"val/accuracy": val, "test/accuracy": test, "test/samples": 10_000, **both}


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


def write_complete_run(
    sweep: Path, loss: str, learning_rate: float, seed: int, accuracy: Accuracy, **rest: Any
) -> Path:
    """A run with curves of 10 epochs."""
    folder = write_run(sweep, loss, learning_rate, seed, accuracy, **rest)
    val = accuracy[0] if isinstance(accuracy, tuple) else accuracy
    keep_curves(folder, [val * (1 - 0.5**epoch) for epoch in range(3, 13)])
    return folder
