"""Sweeps that a test's SLURM trains: short runs of `data=digits`, and what came of them."""

import re
import time
from collections import Counter
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

import lightning as L

from runlab.extras.same_numbers.same_numbers import (
    Difference,
    SweepDifference,
    compare_numbers,
)
from runlab.launchers.submissions import read_submissions
from runlab.runs import alike
from runlab.sweeps.run_status import read_status

RUNS = [
    *("data=digits", "trainer=cpu", "seed=0,1", "logger=none"),
    *("callback=[checkpoint,stop_on_divergence]", "comparison.sections=[]"),
    "comparison.outputs=[]",
    "+callback.slow._target_=tests.launchers.slurm_sweeps.Slow",
]
"""Two runs of each loss and learning rate, which are a stack."""

SLURM = ["hydra/launcher=stacked_slurm", "hydra.launcher.timeout_min=30"]

ROUNDING = {"status": 0.0, "metrics": 5e-7, "weights": 5e-6}
"""How far a value may lie, an epoch of training, from that of a sweep that never stopped.

A stack's sums are rounded as its size has it, and a run that has fallen behind by an epoch takes
the last one alone. Stacks that go on together to the end have the same numbers, bit for bit.
Measured as the largest differences of 8 runs from stacks that never stopped:

    epochs  preempted      weights  metrics    not stacked: weights  metrics
        44    8 times       2.8e-6   8.9e-8                  2.3e-4   3.7e-6
       320  100 times       3.2e-4   2.6e-6                  2.7e-4   1.4e-5

One epoch less, of 20, moves the weights of each run by at least 8e-3.
"""

SECONDS = Path("seconds_an_epoch")


class Slow(L.Callback):
    """Has epochs last long enough to be stopped in, as long as that file says how long."""

    def on_train_epoch_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        with suppress(FileNotFoundError):
            time.sleep(float(SECONDS.read_text()))


def difference(sweep: Path, reference: Path) -> SweepDifference:
    return compare_numbers(reference, sweep)


def beyond_rounding(found: SweepDifference, epochs: int) -> list[Difference]:
    allowed = {kind: each * epochs for kind, each in ROUNDING.items()}
    return [
        each
        for each in found.differences
        if each.differ and each.largest > allowed[each.kind.partition(",")[0]]
    ]


def submitted(sweep: Path) -> list[str]:
    """The numbers of all jobs, in their order."""
    return [each.id for each in reversed(read_submissions(sweep))]


def changed(sweep: Path) -> int:
    """Another number whenever a run's record or last checkpoint is written."""
    paths = [*sweep.glob("*/run.json"), *sweep.glob("*/checkpoints/*")]
    return hash(tuple((str(path), mtime(path)) for path in sorted(paths)))


def mtime(path: Path) -> int:
    try:
        return path.stat().st_mtime_ns
    except FileNotFoundError:
        return 0


def logs(sweep: Path) -> str:
    """What all jobs have printed."""
    files = sorted((sweep / ".submitit").glob("*/*_log.*"))
    return "\n".join(file.read_text() for file in files)


def ends(sweep: Path) -> Counter[str]:
    """How often each run was said to have ended."""
    return Counter(re.findall(r"^\[\d+/\d+\] (\S+): (?:diverged, )?val ", logs(sweep), re.M))


def statuses(sweep: Path) -> Counter[str]:
    return Counter(entry["status"] for _, entry in alike.readable(sweep))


def training(sweep: Path, since: float = 0.0, epochs: int = 1) -> set[str]:
    """Names of runs that train since then, and have come so far."""
    found = set()
    for path in sweep.glob("*/run.json"):
        run = read_status(path.parent)
        if path.stat().st_mtime > since and run.status == "running" and run.epochs >= epochs:
            found.add(path.parent.name)
    return found


def until_training(sweep: Path, arms: Sequence[str], since: float = 0.0, seconds: float = 180):
    """Waits until each of these arms has a run that trains since then."""
    deadline = time.monotonic() + seconds
    while not all(any(arm in run for run in training(sweep, since)) for arm in arms):
        assert time.monotonic() < deadline, f"expected {arms} to train:\n{logs(sweep)}"
        time.sleep(0.1)
