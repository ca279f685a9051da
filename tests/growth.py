"""Sweeps of any size without training them: `python -m tests.growth logs/large --runs 20000`.

A few runs are really trained, on the tests' tiny data; they are the templates. Each synthetic run
is a copy of one, file by file: texts with another learning rate, seed and results; what has none of
these in it (checkpoints, event files, predictions) is a hard link to the template's file.
"""

import argparse
import csv
import io
import json
import math
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from runlab.config.fingerprint import fingerprint
from tests.idx import write_idx

RATE, SEEDS = "0.0789123", ("80808", "90909")
"""Of the templates: texts that stand nowhere else in their files."""

LOSSES = ("cross_entropy", "mse", "mse_logits")
RATES = ("0.0005", "0.001", "0.002", "0.005", "0.01", "0.02", "0.05", "0.1", "0.2", "0.5")
BEST_RATE = 0.1


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
            noise = draws.normal(0, 0.03 * error, seeds) + shared
            for seed in range(seeds):
                number += 1
                template = own[seed % len(own)]
                template.copy(sweep, rate, seed, (number, total), error - float(noise[seed]))
    return number


def error_at(rate: float, best: float) -> float:
    """Slow at small rates, and steeper beyond the best one."""
    away = math.log10(rate / BEST_RATE)
    return min(best * 10 ** ((0.2 if away < 0 else 0.9) * away**2), 0.8)


class Template:
    """A trained run: its record, the texts that name its rate and seed, and its other files."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.texts: dict[str, str] = {}
        self.others: list[str] = []
        self.record: dict[str, Any] = json.loads((folder / "run.json").read_text())
        self.seed = str(self.record["config"]["seed"])
        rows = csv.DictReader(io.StringIO((folder / "curves.csv").read_text()))
        self.curve = [{name: float(text or "nan") for name, text in row.items()} for row in rows]
        self.folders = [each.relative_to(folder) for each in folder.rglob("*") if each.is_dir()]
        for path in sorted(each for each in folder.rglob("*") if each.is_file()):
            name = str(path.relative_to(folder))
            if name in ("run.json", "curves.csv"):
                continue
            if path.suffix == ".yaml" and RATE in (text := path.read_text()):
                self.texts[name] = text
            else:
                self.others.append(name)

    def copy(
        self, sweep: Path, rate: str, seed: int, place: tuple[int, int], error: float
    ) -> None:
        """One run; `error` is that on validation."""

        def replaced(text: str) -> str:
            return text.replace(RATE, rate).replace(self.seed, str(seed))

        folder = sweep / replaced(self.folder.name)
        folder.mkdir()
        for each in self.folders:
            (folder / each).mkdir()
        for name in self.others:
            os.link(self.folder / name, folder / name)
        for name, text in self.texts.items():
            (folder / name).write_text(replaced(text))
        record = json.loads(replaced(json.dumps(self.record)))
        record["sweep_index"] = {"number": place[0], "of": place[1]}
        record["metrics"] |= self.metrics(error)
        record["fingerprint"] = fingerprint(record["config"])
        (folder / "run.json").write_text(json.dumps(record, indent=1))
        (folder / "curves.csv").write_text(self.curves(float(rate), error))

    def metrics(self, error: float) -> dict[str, float]:
        """The template's, in proportion to the error."""
        own = self.record["metrics"]
        factor = error / 0.1
        made = {
            f"{split}/{name}": own[f"{split}/{name}"] * factor
            for split in ("val", "test")
            for name in ("loss", "nll", "brier", "ece")
        }
        return made | {"val/accuracy": 1 - error, "test/accuracy": 1 - 1.04 * error}

    def curves(self, rate: float, error: float) -> str:
        lines = [",".join(self.curve[0])]
        for epoch, row in enumerate(self.curve, start=1):
            now = error + (0.9 - error) * 0.1**epoch
            made = {f"val/{name}": row[f"val/{name}"] * now / 0.1 for name in ("loss", "nll")}
            made |= {"val/accuracy": 1 - now, "train/learning_rate": rate}
            lines.append(",".join(str(value) for value in (row | made).values()))
        return "\n".join(lines) + "\n"


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
