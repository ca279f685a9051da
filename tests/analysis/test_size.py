"""Time and memory of a comparison, as a user sees them: the whole command."""

import resource
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from tests.analysis.synthetic import write_complete_run, write_plausible_sweep
from tests.compose import ROOT

SCRIPT = str(ROOT / "scripts" / "compare.py")
RATES = [0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10]
LOSSES = ("cross_entropy", "mse", "mse_logits", "focal")


def write_many_runs(
    sweep: Path, losses: int, seeds: int, write: Callable[..., Path] = write_complete_run
) -> None:
    best = {loss: (0.1, 0.97 + 0.002 * place) for place, loss in enumerate(LOSSES[:losses])}
    write_plausible_sweep(sweep, best, RATES, seeds, np.random.default_rng(0), write=write)
    assert len(list(sweep.iterdir())) == 10 * losses * seeds


def assert_compared_within(sweep: Path, seconds: float) -> None:
    """In so many seconds, and 2 GiB."""
    started = time.perf_counter()
    subprocess.run([sys.executable, SCRIPT, str(sweep)], check=True, capture_output=True)
    assert time.perf_counter() - started < seconds
    kib = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss  # of the largest child so far
    assert kib < 2 * 1024**2


@pytest.mark.long
@pytest.mark.parametrize(("losses", "seeds", "seconds"), [(2, 2, 10), (4, 50, 60)])
def test_a_comparison_takes_little_time_and_memory(
    tmp_path: Path, losses: int, seeds: int, seconds: float
) -> None:
    write_many_runs(tmp_path, losses, seeds)
    assert_compared_within(tmp_path, seconds)
