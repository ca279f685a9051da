"""Preempts a sweep of stacks on a SLURM of this machine at random, and compares what it ends with.

    python -m tests.launchers.preempt --times 100

It needs root, slurm-wlm and munge. Exit code 0 if every number is that of a sweep that never
stopped, up to rounding, and no run ended twice; else 1. 100 times took 24 minutes on two cores that
other work used too.
"""

import argparse
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path
from random import Random

from tests.commands import Commands, Process
from tests.launchers.cluster import Cluster, kill
from tests.launchers.slurm_sweeps import (
    ROUNDING,
    RUNS,
    SECONDS,
    SLURM,
    beyond_rounding,
    changed,
    difference,
    ends,
    logs,
    statuses,
    submitted,
    training,
)

TRAIN = "scripts/train.py"
SETTINGS = [*RUNS, "loss=mse,cross_entropy", "optimizer.lr=0.02,0.05", "optimizer.momentum=0.9"]
SETTINGS += ["scheduler=cosine", "name=sweep"]
NUMBER = 8
"""Of runs, in two stacks."""

OF_JOBS = ["signal", "requeue", "cancel", "kill"]
KINDS = [*OF_JOBS, "kill the command"]

LONGEST = 600.0
"""Seconds that a command may take that nobody stops."""


class Preempted:
    """A sweep in a folder, whose command is given again whenever it ends before all runs have."""

    def __init__(self, commands: Commands, cluster: Cluster, folder: Path, epochs: int) -> None:
        self.commands, self.cluster, self.folder = commands, cluster, folder
        self.sweep = folder / "logs" / "sweep"
        self.arguments = [*SETTINGS, f"trainer.max_epochs={epochs}", *SLURM]
        self.commands_given = 0
        self.process = self.start()

    def start(self) -> Process:
        self.commands_given += 1
        return self.commands.start(
            self.folder, TRAIN, "-m", *self.arguments, environment=self.cluster.environment
        )

    def keep_going(self) -> None:
        """Gives the command again where it has ended; it may have lost jobs, and nothing else."""
        code = self.process.poll()
        if code is None:
            return
        said = self.process.output.read_text() + self.process.errors.read_text()
        if code not in (0, 1) or (code == 1 and " is lost: " not in said) or "Traceback" in said:
            raise SystemExit(
                f"the command ended with exit code {code}:\n{said}\n{logs(self.sweep)}"
            )
        if not self.has_ended():
            self.process = self.start()

    def kill_command(self) -> None:
        """The next one waits for the jobs that go on, and submits what others have lost."""
        self.process.end()
        self.process = self.start()

    def has_ended(self) -> bool:
        return statuses(self.sweep) == {"finished": NUMBER}

    def running(self) -> list[str]:
        states = self.cluster.jobs()
        return [job for job in submitted(self.sweep) if states.get(job) == "RUNNING"]

    def preempt(self, kind: str, random: Random) -> str | None:
        """Returns what it was done to; None if there was nothing to do it to."""
        if kind == "kill the command":
            if not self.process.output.read_text():
                return None  # it has yet to submit, or to find, a job
            killed = self.process.pid
            self.kill_command()
            return f"process {killed}"
        target = self.cluster.trainers() if kind == "kill" else self.running()
        if not target:
            return None
        chosen = random.choice(target)
        if kind == "kill":
            kill(int(chosen))
            return f"process {chosen}"
        command = {"signal": ["scancel", "--signal=USR2"], "requeue": ["scontrol", "requeue"]}
        self.cluster.attempt(*command.get(kind, ["scancel"]), str(chosen))
        return f"job {chosen}"

    def wait(self, random: Random, since: float) -> None:
        """For a moment at random: mostly while runs train, half of these while they write files."""
        deadline = time.monotonic() + 60
        if random.random() < 0.7:
            while not training(self.sweep, since) and time.monotonic() < deadline:
                self.keep_going()
                time.sleep(0.1)
        if random.random() < 0.5:
            before = changed(self.sweep)
            while changed(self.sweep) == before and time.monotonic() < deadline:
                time.sleep(0.002)
            time.sleep(random.uniform(0, 0.05))
        else:
            time.sleep(random.uniform(0, 5))

    def end(self) -> None:
        """Lets it end by itself."""
        (self.folder / SECONDS).unlink()
        deadline = time.monotonic() + LONGEST
        while not self.has_ended() or self.process.poll() is None:
            self.keep_going()
            if time.monotonic() > deadline:
                raise SystemExit(f"expected all runs to end: {statuses(self.sweep)}")
            time.sleep(0.5)


def preempt(sweep: Preempted, times: int, seed: int, minutes: float) -> Counter[str]:
    """So many times, as long as runs are left; how often each kind."""
    random, done, started = Random(seed), Counter[str](), time.monotonic()
    since = time.time()
    while done.total() < times and not sweep.has_ended():
        if time.monotonic() - started > 60 * minutes:
            raise SystemExit(f"only {done.total()} of {times} within {minutes:g} minutes")
        sweep.wait(random, since)
        kind = random.choice(KINDS)
        if (whom := sweep.preempt(kind, random)) is not None:
            since = time.time()
            done[kind] += 1
            at = time.monotonic() - started
            print(f"{done.total():3} {at:6.1f} s  {kind}: {whom}", flush=True)
            if kind in ("cancel", "kill") and random.random() < 0.5:
                sweep.kill_command()  # rather than wait until the other jobs have ended
        sweep.keep_going()
    return done


def unstopped(commands: Commands, folder: Path, epochs: int) -> Path:
    local = [*SLURM, "hydra.launcher.cluster=local"]
    command = ["-m", *SETTINGS, f"trainer.max_epochs={epochs}", *local]
    done = commands.run(folder, TRAIN, *command, timeout=LONGEST)
    if done.returncode:
        raise SystemExit(done.stdout + done.stderr)
    return folder / "logs" / "sweep"


def run(times: int, seed: int, minutes: float, folder: Path) -> bool:
    """Whether the sweep ended as one that never stopped."""
    epochs = 20 + 3 * times
    paths = [folder / name for name in ("unstopped", "preempted")]
    for path in paths:
        path.mkdir(parents=True)
    (paths[1] / SECONDS).write_text("1")
    cluster = Cluster(folder / "cluster")
    try:
        with Commands() as commands:
            reference = unstopped(commands, paths[0], epochs)
            sweep = Preempted(commands, cluster, paths[1], epochs)
            done = preempt(sweep, times, seed, minutes)
            sweep.end()
    finally:
        cluster.stop()
    found, often = difference(sweep.sweep, reference), max(ends(sweep.sweep).values())
    jobs = len(submitted(sweep.sweep))
    kinds = ", ".join(f"{kind} {done[kind]}" for kind in KINDS)
    print(*found.terminal().splitlines()[:-1], sep="\n")  # without a verdict bit for bit
    print(f"{done.total()} preemptions ({kinds}), {jobs} jobs, {sweep.commands_given} commands")
    print(f"a run ended at most {often} time(s); rounding allows {ROUNDING}, times {epochs}")
    is_same = found.runs == NUMBER and not found.problems and not beyond_rounding(found, epochs)
    print(f"{'' if is_same else 'not '}the same, up to rounding")
    return is_same and often == 1 and done.total() == times


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--times", type=int, default=8, help="how often [8]")
    parser.add_argument("--seed", type=int, default=0, help="of what is done when [0]")
    parser.add_argument("--minutes", type=float, default=120, help="it may take at most [120]")
    parser.add_argument("--folder", type=Path, help="a new one, which is kept")
    given = parser.parse_args()
    started = time.monotonic()
    with tempfile.TemporaryDirectory() as other:
        folder = (given.folder or Path(other)).absolute()
        is_same = run(given.times, given.seed, given.minutes, folder)
    print(f"{time.monotonic() - started:.0f} s")
    sys.exit(not is_same)


if __name__ == "__main__":
    main()
