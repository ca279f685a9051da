"""A real TensorBoard, as `tensorboard --logdir …` starts it."""

import json
import re
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

TIMEOUT = 60.0  # seconds until every run is read


@contextmanager
def tensorboard(folder: Path, runs: int) -> Iterator[str]:
    """The address of a TensorBoard over this folder, once it has read so many runs.

    Raises:
        TimeoutError: if it shows another number of runs.
    """
    program = [sys.executable, "-m", "tensorboard.main", "--logdir", folder.resolve().name]
    with subprocess.Popen(
        [*program, "--host", "127.0.0.1", "--port", "0"],
        cwd=folder.resolve().parent,  # it shows the logdir as it was given
        stderr=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        text=True,
    ) as server:
        try:
            yield wait_for_runs(address(server), runs)
        finally:
            server.terminate()
            server.communicate()


def address(server: subprocess.Popen[str]) -> str:
    assert server.stderr is not None
    output = ""
    for line in server.stderr:
        output += line
        if found := re.search(r"http://127\.\S+", line):
            return found.group(0)
    raise RuntimeError(f"expected TensorBoard's address, got {output}")


def wait_for_runs(url: str, runs: int) -> str:
    """Waits until the runs are there and two readings a second apart find the same tags."""
    end, before = time.monotonic() + TIMEOUT, None
    while time.monotonic() < end:
        tags = get_json(f"{url}data/plugin/timeseries/tags")
        shown = get_json(f"{url}data/runs")
        if len(shown) == runs and tags == before:
            return url
        before = tags
        time.sleep(1)
    raise TimeoutError(f"expected {runs} runs within {TIMEOUT:.0f} s, got {len(shown)}: {shown}")


def get_json(url: str) -> list[str]:
    with urllib.request.urlopen(url) as response:
        return json.load(response)
