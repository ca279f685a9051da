"""Sweeps of any size without training them: `python -m tests.growth logs/large --runs 20000`.

A few runs are really trained, on the tests' tiny data; they are the templates. Each synthetic run
is a copy of one, file by file: texts with another learning rate, seed and results; what has none of
these in it (checkpoints, event files, predictions) is a hard link to the template's file.
"""

import argparse
import csv
import hashlib
import io
import json
import math
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from runlab.config.fingerprint import as_text, identity
from tests.idx import write_idx

RATE, SEEDS = "0.0789123", ("80808", "90909")
"""Of the templates: texts that stand nowhere else in their files."""

LOSSES = ("cross_entropy", "mse", "mse_logits")
RATES = ("0.0005", "0.001", "0.002", "0.005", "0.01", "0.02", "0.05", "0.1", "0.2", "0.5")
BEST_RATE = 0.1
WRITTEN = ("run.json", "curves.csv", "predictions.npz")
KINDS = 4
"""Files of predictions of a cell, for each template: a file has 65,000 hard links at most."""


def grow(sweep: Path, templates: Sequence[Path], rates: Sequence[str], seeds: int) -> int:
    """Writes `seeds` runs of each template's loss at each rate; returns how many runs there are."""
    by_loss: dict[str, list[Template]] = {}
    for each in map(Template, templates):
        by_loss.setdefault(each.record["choices"]["loss"], []).append(each)
    total = len(by_loss) * len(rates) * seeds
    draws = np.random.default_rng(0)
    shared = draws.normal(0, 0.0006, seeds)  # by a seed in all cells, so that pairing pays
    number = 0
    for place, own in enumerate(by_loss.values()):
        for rate in rates:
            error = error_at(float(rate), 0.024 + 0.003 * place)
            errors = error + shared + draws.normal(0, 0.03 * error, seeds)
            predictions = [each.predict(rate, error, draws) for each in own for _ in range(KINDS)]
            for seed in range(seeds):
                number += 1
                run = Run(rate, seed, (number, total), float(errors[seed]))
                own[seed % len(own)].copy(sweep, run, predictions[seed % len(predictions)])
    return number


def error_at(rate: float, best: float) -> float:
    """Slow at small rates, and steeper beyond the best one."""
    away = math.log10(rate / BEST_RATE)
    return min(best * 10 ** ((0.2 if away < 0 else 0.9) * away**2), 0.8)


class Run(NamedTuple):
    """What a synthetic run does not have from its template; `error` is that on validation."""

    rate: str
    seed: int
    place: tuple[int, int]
    error: float

    def results(self, own: Mapping[str, float]) -> dict[str, float]:
        """Of the template's metrics those that an error changes, in proportion to it."""
        made = {
            f"{split}/{name}": own[f"{split}/{name}"] * self.error / 0.1
            for split in ("val", "test")
            for name in ("loss", "nll", "brier", "ece")
        }
        return made | {"val/accuracy": 1 - self.error, "test/accuracy": 1 - 1.04 * self.error}


class Template:
    """A trained run: its texts with gaps for what a synthetic run has of its own, its other files.

    A record is written 100,000 times, so it is kept as text, too, and not as JSON.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.record: dict[str, Any] = json.loads((folder / "run.json").read_text())
        self.seed = str(self.record["config"]["seed"])
        self.identity = as_text(identity(self.record["config"]))
        rows = csv.DictReader(io.StringIO((folder / "curves.csv").read_text()))
        self.curve = [{name: float(text or "nan") for name, text in row.items()} for row in rows]
        self.folders = [each.relative_to(folder) for each in folder.rglob("*") if each.is_dir()]
        self.texts = {"run.json": self.record_with_gaps()}
        self.others: list[str] = []
        for path in sorted(each for each in folder.rglob("*") if each.is_file()):
            name = str(path.relative_to(folder))
            if path.suffix == ".yaml" and RATE in (text := path.read_text()):
                self.texts[name] = text
            elif name not in WRITTEN:
                self.others.append(name)

    def record_with_gaps(self) -> str:
        results = Run(RATE, 0, (0, 0), 0.0).results(self.record["metrics"])
        gaps = {
            "sweep_index": {"number": "<number>", "of": "<of>"},
            "metrics": self.record["metrics"] | {name: f"<{name}>" for name in results},
        }
        text = json.dumps(self.record | gaps, indent=1)
        return text.replace(self.record["fingerprint"], "<fingerprint>")

    def copy(self, sweep: Path, run: Run, predictions: Path) -> None:
        folder = sweep / self.filled(self.folder.name, run)
        folder.mkdir()
        for each in self.folders:
            (folder / each).mkdir()
        for name in self.others:
            os.link(self.folder / name, folder / name)
        os.link(predictions, folder / "predictions.npz")
        gaps = {f'"<{name}>"': str(value) for name, value in self.values(run).items()}
        fingerprint = hashlib.sha256(self.filled(self.identity, run).encode()).hexdigest()
        for name, text in self.texts.items():
            filled = self.filled(text, run)
            for gap, value in gaps.items() if name == "run.json" else ():
                filled = filled.replace(gap, value)
            (folder / name).write_text(filled.replace("<fingerprint>", fingerprint))
        (folder / "curves.csv").write_text(self.curves(run))

    def filled(self, text: str, run: Run) -> str:
        return text.replace(RATE, run.rate).replace(self.seed, str(run.seed))

    def values(self, run: Run) -> dict[str, float]:
        place = dict(zip(("number", "of"), run.place, strict=True))
        return place | run.results(self.record["metrics"])

    def curves(self, run: Run) -> str:
        lines = [",".join(self.curve[0])]
        for epoch, row in enumerate(self.curve, start=1):
            error = run.error + (0.9 - run.error) * 0.1**epoch
            made = {f"val/{name}": row[f"val/{name}"] * error / 0.1 for name in ("loss", "nll")}
            made |= {"val/accuracy": 1 - error, "train/learning_rate": float(run.rate)}
            lines.append(",".join(str(value) for value in (row | made).values()))
        return "\n".join(lines) + "\n"

    def predict(self, rate: str, error: float, draws: np.random.Generator) -> Path:
        """A file of predictions with this error, for many runs."""
        with np.load(self.folder / "predictions.npz") as arrays:
            made = {name: arrays[name] for name in arrays.files}
        wrong = draws.random(len(made["label"])) < 1.04 * error
        others = ((made["label"] + 1) % 10).astype(made["label"].dtype)
        made["predicted"] = np.where(wrong, others, made["label"])
        made["confidence"] = draws.uniform(0.5, 1, len(wrong)).astype(np.float32)
        number = len(list(self.folder.parent.glob("*.npz")))
        path = self.folder.parent / f"predictions,lr={rate},{number}.npz"
        np.savez_compressed(path, **made)
        return path


def train_templates(home: Path, name: str, losses: Sequence[str], data: Path) -> list[Path]:
    """Runs of the tests' tiny data, but for 10,000 test images, of which predictions are kept."""
    write_idx(data, test=10_000)
    command = [sys.executable, "-m", "losslab", "train", "-m", *overrides(name, losses, data)]
    subprocess.run(command, cwd=home, check=True, stdout=subprocess.DEVNULL)
    return sorted(path.parent for path in home.glob("logs/*/*/run.json"))


def overrides(name: str, losses: Sequence[str], data: Path) -> list[str]:
    return [
        *(f"name={name}", f"loss={','.join(losses)}", f"optimizer.lr={RATE}"),
        *(f"seed={','.join(SEEDS)}", f"data_dir={data}", "data.verify=false"),
        *("data.train_size=160", "data.val_size=40", "data.batch_size=16", "trainer=cpu"),
    ]


def add_templates(sweep: Path, templates: Sequence[Path]) -> Iterator[Path]:
    """Beside the sweep, on the same file system: a hard link leads nowhere else."""
    for each in templates:
        yield Path(shutil.copytree(each, sweep.with_name(f"{sweep.name}_templates") / each.name))


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser("tests.growth", description=__doc__)
    parser.add_argument("folder", type=Path, help="the sweep to write, such as logs/large")
    parser.add_argument("--runs", type=int, default=1_000, help="about how many [%(default)s]")
    parser.add_argument("--losses", type=int, default=3, choices=(1, 2, 3))
    parser.add_argument("--rates", type=int, default=10, choices=range(1, 11))
    given = parser.parse_args(arguments)
    sweep, losses = given.folder.absolute(), LOSSES[: given.losses]
    sweep.mkdir(parents=True)
    with tempfile.TemporaryDirectory() as home:
        data = sweep.with_name(f"{sweep.name}_data")
        trained = train_templates(Path(home), sweep.name, losses, data)
        templates = list(add_templates(sweep, trained))
    seeds = max(round(given.runs / (len(losses) * given.rates)), 1)
    rates = RATES[len(RATES) - given.rates :]
    print(f"{grow(sweep, templates, rates, seeds):,} runs in {sweep}")


if __name__ == "__main__":
    main()
