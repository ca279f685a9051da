"""`hydra/launcher=stacked` as a user launches it, in processes of its own."""

import pickle
import re
import signal
from pathlib import Path

import pytest
from hydra.errors import InstantiationException

from runlab.config.axes import Axes
from runlab.launchers.part import picklable
from runlab.launchers.stacked import describe_stacks, group_jobs, stacked_keys
from runlab.runs import record
from tests.runs.test_resume import curves
from tests.sweeps.failing import AT_A_RATE_OF_9

TRAIN = "scripts/train.py"
STACKED = "hydra/launcher=stacked"
PLAIN = ["comparison.sections=[]", "comparison.outputs=[]"]
GRID = [*PLAIN, "loss=mse,cross_entropy", "optimizer.lr=0.05,0.1"]
BARE = [*PLAIN, "logger=none", "callback=[checkpoint,stop_on_divergence]"]
"""A run that draws and logs nothing is over in half the time."""


@pytest.fixture(scope="module")
def sweeps(tmp_path_factory, commands, tiny):
    """The same grid by two launchers."""
    folder = tmp_path_factory.mktemp("stacked")
    done = [
        commands.run(folder, TRAIN, "-m", *tiny, *GRID, f"name={name}", f"hydra/launcher={name}")
        for name in ("stacked", "basic")
    ]
    return folder, *done


@pytest.mark.long
def test_a_backend_that_torch_compile_does_not_have_is_refused(tmp_path, commands, tiny):
    done = commands.run(
        tmp_path, TRAIN, "-m", *tiny, *GRID, STACKED, "hydra.launcher.compile=wishful"
    )
    assert done.returncode == 1
    assert "got wishful" in done.stderr
    assert "inductor" in done.stderr
    assert "Traceback" not in done.stderr


def runs(sweep: Path) -> dict[str, Path]:
    return {path.parent.name: path.parent for path in sweep.glob("*/run.json")}


@pytest.mark.long
def test_every_run_is_what_the_basic_launcher_leaves(sweeps):
    folder, done, basic = sweeps
    assert done.returncode == basic.returncode == 0, done.stderr + basic.stderr
    ours, theirs = runs(folder / "logs" / "stacked"), runs(folder / "logs" / "basic")
    assert len(ours) == 4
    assert ours.keys() == theirs.keys()
    for name, run in ours.items():
        assert_alike(run, theirs[name])


def assert_alike(ours: Path, theirs: Path) -> None:
    entries = record.read(ours), record.read(theirs)
    assert entries[0].keys() == entries[1].keys()
    assert entries[0]["status"] == entries[1]["status"]
    assert entries[0]["fingerprint"] == entries[1]["fingerprint"]
    assert [entry["timing"]["stack"] for entry in entries] == [2, 1]
    for name, value in entries[1]["metrics"].items():
        assert entries[0]["metrics"][name] == pytest.approx(value, rel=1e-4, abs=1e-6), name
    files = [{p.name for p in run.rglob("*") if "tfevents" not in p.name} for run in (ours, theirs)]
    assert files[0] == files[1]
    points = [{tag: [step for step, _ in each] for tag, each in curves(run).items()}
              for run in (ours, theirs)]  # fmt: skip
    assert points[0] == points[1]
    for name in ("best.ckpt", "last.ckpt"):
        sizes = [(run / "checkpoints" / name).stat().st_size for run in (ours, theirs)]
        assert sizes[0] == pytest.approx(sizes[1], abs=200)


def test_its_output_is_that_of_the_basic_launcher(sweeps):
    _, done, basic = sweeps
    assert done.stderr == basic.stderr == ""
    texts = [
        sorted(
            re.sub(r"[\d.]+ s", "… s", line) for line in each.stdout.splitlines() if line[:1] == "["
        )
        for each in (done, basic)
    ]
    assert texts[0] == [f"{line}, the whole stack's" for line in texts[1]]
    assert len(texts[0]) == 4


def test_each_runs_log_file_holds_its_own_lines(sweeps):
    folder, *_ = sweeps
    for name, run in runs(folder / "logs" / "stacked").items():
        [line] = (run / "train.log").read_text().splitlines()
        assert f"{name}: val " in line


def test_a_stacked_runs_checkpoint_is_evaluated_to_its_records_metrics(sweeps, commands):
    folder, *_ = sweeps
    run = next(iter(runs(folder / "logs" / "stacked").values()))
    checkpoint = f"checkpoint={run}/checkpoints/best.ckpt"
    done = commands.run(folder, "scripts/evaluate.py", checkpoint)
    assert done.returncode == 0, done.stderr
    [line] = [line for line in done.stdout.splitlines() if line.startswith("NLL")]
    expected = [record.read(run)["metrics"][f"{split}/nll"] for split in ("val", "test")]
    assert [float(each) for each in line.split()[1:]] == pytest.approx(expected, abs=1e-4)


@pytest.mark.long
def test_early_stopping_ends_each_run_of_a_stack_when_it_ends_alone(tmp_path, commands, tiny):
    stopping = ["logger=none", "callback=[checkpoint,early_stopping]", "trainer.max_epochs=9"]
    epochs = {}
    for launcher in ("stacked", "basic"):
        done = commands.run(
            tmp_path, TRAIN, "-m", *tiny, *PLAIN, *stopping, "optimizer.lr=0,0.02,0.1",
            f"name={launcher}", f"hydra/launcher={launcher}",
        )  # fmt: skip
        assert done.returncode == 0, done.stderr
        entries = [record.read(run) for run in runs(tmp_path / "logs" / launcher).values()]
        epochs[launcher] = {
            entry["config"]["optimizer"]["lr"]: entry["metrics"]["epochs"] for entry in entries
        }
        size = {"stacked": 3, "basic": 1}[launcher]
        assert {entry["timing"]["stack"] for entry in entries} == {size}
    assert epochs["stacked"] == epochs["basic"]
    assert epochs["stacked"][0] == 4  # the first validation, and three that are no better
    assert len(set(epochs["stacked"].values())) > 1


@pytest.mark.long
def test_the_same_command_again_trains_nothing(sweeps, commands, tiny):
    folder, *_ = sweeps
    found = runs(folder / "logs" / "stacked").values()
    before = {run: (run / "run.json").stat().st_mtime_ns for run in found}
    again = commands.run(folder, TRAIN, "-m", *tiny, *GRID, "name=stacked", STACKED)
    assert "4 of 4 runs have ended already" in again.stdout
    assert {run: (run / "run.json").stat().st_mtime_ns for run in before} == before


@pytest.mark.long
def test_a_run_that_fails_leaves_the_others_their_results(sweeps, commands, tiny):
    folder, *_ = sweeps
    grid = [*tiny, *BARE, AT_A_RATE_OF_9, "optimizer.lr=0.1,9", "seed=0,1", "name=partly"]
    done = commands.run(folder, TRAIN, "-m", *grid, STACKED)
    assert done.returncode == 1
    found = {n: record.read(run)["status"] for n, run in runs(folder / "logs" / "partly").items()}
    assert sorted(found.values()) == ["failed", "failed", "finished", "finished"]
    assert all(("lr=9" in name) == (status == "failed") for name, status in found.items())
    assert done.stdout.count(": failed: ") == 1  # the same reason is told once
    assert "2 runs left out as failed" in done.stdout
    assert "Traceback" not in done.stderr


SIGNALS = [(signal.SIGINT, 130), (signal.SIGTERM, 143), (signal.SIGUSR2, 140)]


def interrupted_by(number: int, processes: int) -> list[str]:
    interrupt = "+callback.interrupt"
    return [f"{interrupt}._target_=tests.sweeps.interrupt.Interrupt",
            f"{interrupt}.number={number}", f"{interrupt}.processes={processes}"]  # fmt: skip


@pytest.mark.long
@pytest.mark.parametrize(("number", "code"), SIGNALS)
def test_stacks_in_processes_of_their_own_stop_and_go_on(tmp_path, commands, tiny, number, code):
    grid = [*tiny, *BARE, "trainer.max_epochs=4", "loss=mse,cross_entropy", "seed=0,1",
            "name=stopped", *interrupted_by(number, processes=2)]  # fmt: skip
    options = [STACKED, "hydra.launcher.processes=2"]
    stopped = commands.run(tmp_path, TRAIN, "-m", *grid, *options)
    assert stopped.returncode == code
    assert "interrupted: the same command goes on" in stopped.stderr
    assert stopped.stderr.count("stopping, saving …\n") == 1
    sweep = tmp_path / "logs" / "stopped"
    assert [record.read(run)["status"] for run in runs(sweep).values()] == ["interrupted"] * 4
    done = commands.run(tmp_path, TRAIN, "-m", *grid, *options)
    assert done.returncode == 0, done.stderr
    entries = [record.read(run) for run in runs(sweep).values()]
    assert [(e["status"], e["metrics"]["epochs"]) for e in entries] == [("finished", 4)] * 4
    assert all(entry["timing"]["resumed"] == 1 for entry in entries)


@pytest.mark.long
@pytest.mark.parametrize(("number", "code"), SIGNALS)
def test_a_stopped_stack_is_gone_on_with_by_either_launcher(tmp_path, commands, tiny, number, code):
    grid = [*tiny, *BARE, "trainer.max_epochs=4", "optimizer.lr=0.05,0.1,0.2",
            "name=stopped", *interrupted_by(number, processes=1)]  # fmt: skip
    stopped = commands.run(tmp_path, TRAIN, "-m", *grid, STACKED)
    assert stopped.returncode == code
    output = stopped.stdout + stopped.stderr
    assert "interrupted: the same command goes on with what is left" in output
    assert "Traceback" not in output
    assert "3 runs in 1 stack" in output
    assert output.count("stopping, saving …\n") == 1
    assert "expected at least one finished run" not in output
    sweep = tmp_path / "logs" / "stopped"
    assert [record.read(run)["status"] for run in runs(sweep).values()] == ["interrupted"] * 3
    launcher = STACKED if number == signal.SIGINT else "hydra/launcher=basic"
    done = commands.run(tmp_path, TRAIN, "-m", *grid, launcher)
    assert done.returncode == 0, done.stderr
    entries = [record.read(run) for run in runs(sweep).values()]
    assert [(e["status"], e["metrics"]["epochs"]) for e in entries] == [("finished", 4)] * 3
    assert all(entry["timing"]["resumed"] == 1 for entry in entries)


@pytest.mark.long
def test_fail_fast_stops_every_run_of_a_stack(tmp_path, commands, tiny):
    grid = [
        *tiny,
        *BARE,
        AT_A_RATE_OF_9,
        "optimizer.lr=0.1,0.2,9,0.3",
        "name=fast",
        "fail_fast=true",
    ]
    done = commands.run(tmp_path, TRAIN, "-m", *grid, STACKED)
    assert done.returncode == 1
    assert "got 9 (fail_fast)" in done.stderr
    statuses = [record.read(run)["status"] for run in runs(tmp_path / "logs" / "fast").values()]
    assert sorted(statuses) == ["failed", "interrupted", "interrupted"]


def test_runs_are_grouped_by_all_but_seed_and_learning_rate():
    jobs = [
        ["loss=mse", "seed=0", "optimizer.lr=0.1"],
        ["loss=cross_entropy", "seed=0", "optimizer.lr=0.1"],
        ["loss=mse", "++seed=1"],
        ["seed=2", "loss=mse", "optimizer.lr=1"],
        ["loss=mse", "seed=0", "optimizer=adam"],
    ]
    assert group_jobs(jobs, 50) == [[0, 2, 3], [1], [4]]
    assert group_jobs(jobs, 2) == [[0], [2, 3], [1], [4]]


@pytest.mark.parametrize(
    ("rate", "more"),
    [
        ("optimizer.lr", False), ("parameter_groups.0.lr", True), ("optimizer.momentum", False),
        ("module.lr", True), ("loss.k", False), (None, False),
    ],
)  # fmt: skip
def test_an_optimizers_other_learning_rate_parts_no_stack(rate, more):
    keys = stacked_keys(Axes("model", rate))
    assert keys == {"seed", "optimizer.lr", *([rate] if more else [])}
    jobs = [[f"{rate}=1", "optimizer.lr=0.1"], [f"{rate}=2", "optimizer.lr=0.2"]]
    together = more or rate == "optimizer.lr"
    assert len(group_jobs(jobs, 50, 1, keys)) == (1 if together else 2)


def test_runs_alike_are_shared_out_among_processes_where_they_are_many():
    for processes, expected in [(1, [14]), (2, [7, 7]), (3, [7, 7])]:
        jobs = [[f"seed={seed}"] for seed in range(14)]
        assert [len(part) for part in group_jobs(jobs, 50, processes)] == expected
    for runs, expected in [(9, [9]), (11, [5, 6]), (101, [33, 34, 34])]:
        jobs = [[f"seed={seed}"] for seed in range(runs)]
        assert [len(part) for part in group_jobs(jobs, 50, 2)] == expected


class PickyError(Exception):
    """What pickle makes of it cannot be read again."""

    def __init__(self, first: str, second: str) -> None:
        super().__init__(f"{first} {second}")


def test_an_exception_leaves_a_process_with_what_it_says():
    plain = RuntimeError("no luck")
    assert picklable(plain) is plain
    picky = picklable(PickyError("out of", "luck"))
    assert (type(picky), str(picky)) == (RuntimeError, "PickyError: out of luck")
    mistake = InstantiationException("Error in call to target")
    mistake.__cause__ = ValueError("expected k above 0, got -1")
    sent = pickle.loads(pickle.dumps(picklable(mistake)))
    assert (type(sent), str(sent)) == (ValueError, "expected k above 0, got -1")


@pytest.mark.long
def test_one_process_and_several_come_to_the_same(sweeps, commands, tiny):
    folder, *_ = sweeps
    options = [STACKED, "hydra.launcher.processes=1", "name=by_one"]
    done = commands.run(folder, TRAIN, "-m", *tiny, *GRID, *options)
    assert done.returncode == 0, done.stderr
    ours, theirs = runs(folder / "logs" / "by_one"), runs(folder / "logs" / "stacked")
    for name, run in ours.items():
        entries = record.read(run), record.read(theirs[name])
        assert [entry["timing"]["stack"] for entry in entries] == [2, 2]
        assert entries[0]["metrics"] == pytest.approx(entries[1]["metrics"], rel=1e-4, abs=1e-6)


def test_a_stack_of_no_runs_is_refused(tmp_path, commands, tiny):
    grid = [*tiny, "seed=0,1", STACKED, "hydra.launcher.size=0"]
    done = commands.run(tmp_path, TRAIN, "-m", *grid)
    assert done.returncode == 1
    assert done.stderr.strip() == (
        "expected hydra.launcher.size to be a whole number of 1 to 1000, got 0"
    )


def test_the_launcher_says_what_keeps_runs_apart():
    swept = {"seed", "model.widths", "loss", "optimizer.lr"}
    told = describe_stacks(16, 4, swept, 1)
    assert told == "16 runs in 4 stacks, apart where they differ in loss, model.widths"
    assert describe_stacks(3, 1, {"seed"}, 1) == "3 runs in 1 stack"
    assert describe_stacks(20, 4, {"seed"}, 2) == "20 runs in 4 stacks, 2 at a time"
    rates = {"scheduler.lr", "loss"}
    told = describe_stacks(4, 2, rates, 1, stacked_keys(Axes("loss", "scheduler.lr")))
    assert told == "4 runs in 2 stacks, apart where they differ in loss"
