"""Times in these tests are seconds after T0; a run is described by what its run.json says."""

import json
import math
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from filelock import FileLock

from runlab.runs import lock, record
from runlab.sweeps.status import duration, sweep_status

T0 = datetime(2026, 3, 1, 12, 0, 0, tzinfo=UTC)


def at(seconds: float) -> datetime:
    return T0 + timedelta(seconds=seconds)


def stamp(seconds: float) -> str:
    return at(seconds).isoformat(timespec="seconds")


def write(sweep: Path, name: str, state: str = "finished", **entries: Any) -> Path:
    """A run's folder; `started`, `latest`, `seconds`, `resumed` go to its timing.

    `epochs` goes to its metrics, `sweep_index=(12, 300)` says where it was in its launch.
    """
    folder = sweep / name
    folder.mkdir(parents=True)
    keys = ("started", "seconds", "resumed", "latest")
    timing = {key: entries.pop(key) for key in keys if key in entries}
    for key in ("started", "latest"):
        if key in timing:
            timing[key] = stamp(timing[key])
    metrics = {"epochs": entries.pop("epochs")} if "epochs" in entries else {}
    number, of = entries.pop("sweep_index", (None, None))
    entry = {
        "layout": record.LAYOUT,
        "status": state,
        "metrics": metrics,
        "timing": timing,
        "config": {"trainer": {"max_epochs": 3}},
        "overrides": [],
        "choices": {},
        "fingerprint": "00",
        "measures": [],
        "provenance": {"git": None, "versions": {}, "hardware": None, "data": None},
        "sweep_index": None if of is None else {"number": number, "of": of},
    }
    (folder / "run.json").write_text(json.dumps(entry | entries))
    return folder


@pytest.fixture
def training() -> Iterator[Any]:
    """Writes a running run whose lock is held until the test's end."""
    with ExitStack() as held:

        def start(sweep: Path, name: str, **entries: Any) -> Path:
            folder = write(sweep, name, "running", **entries)
            held.enter_context(FileLock(folder / ".lock"))
            return folder

        yield start


def lines(sweep: Path, now: float = 100) -> list[str]:
    return replace(sweep_status(sweep, at(now)), sweep=Path("S")).terminal().splitlines()[2:]


def remaining(sweep: Path, now: float = 100) -> float | None:
    return sweep_status(sweep, at(now)).remaining


def test_a_sweep_in_progress_is_shown_whole(tmp_path, training):
    write(tmp_path, "a", started=0, seconds=40.0, sweep_index=(1, 6))
    write(tmp_path, "b", "diverged", started=40, seconds=20.0, sweep_index=(2, 6))
    write(
        tmp_path, "c", "failed", started=60, seconds=2.0, sweep_index=(3, 6), error="no more memory"
    )
    training(tmp_path, "d", started=90, sweep_index=(4, 6), epochs=1)
    # typical (40 + 20) / 2 = 30; 2 to come and 20 of d's: 80 s
    assert lines(tmp_path) == [
        "S: 3 of 6 runs ended after 1 min 40 s, about 1 min 20 s left",
        "",
        "status       runs",
        "-----------------",
        "finished        1",
        "diverged        1",
        "failed          1",
        "running         1",
        "not started     2",
        "",
        "running   epoch  elapsed",
        "------------------------",
        "d        2 of 3     10 s",
        "",
        "failed",
        "- c: no more memory",
    ]


def test_a_stopped_sweep_says_how_to_go_on(tmp_path):
    write(tmp_path, "a", started=0, seconds=40.0, sweep_index=(1, 4))
    write(
        tmp_path, "b", "failed", started=40, seconds=5.0, sweep_index=(2, 4), error="no more memory"
    )
    write(
        tmp_path, "c", "interrupted", started=45, seconds=15.0, sweep_index=(3, 4), error="Ctrl-C"
    )
    assert lines(tmp_path, now=9999) == [
        "S: 2 of 4 runs ended after 1 min; nothing is being trained",
        "",
        "status       runs",
        "-----------------",
        "finished        1",
        "failed          1",
        "interrupted     1",
        "not started     1",
        "",
        "failed",
        "- b: no more memory",
        "",
        "The same command goes on with what is left (1 interrupted, 1 not started).",
        "The same command with retry=failed trains what failed again.",
    ]


def test_a_complete_sweep_gives_no_advice(tmp_path):
    write(tmp_path, "single", started=0, seconds=40.0)
    assert lines(tmp_path)[0] == "S: 1 of 1 run ended after 40 s; nothing is being trained"
    write(tmp_path, "of a grid", started=40, seconds=5.0, sweep_index=(1, 1))
    assert lines(tmp_path)[0] == "S: 2 of 2 runs ended after 45 s; nothing is being trained"
    assert lines(tmp_path)[-1] == "finished     2"


def test_a_running_run_that_nobody_holds_is_interrupted(tmp_path, training):
    write(tmp_path, "never locked", "running", started=0)
    freed = write(tmp_path, "freed", "running", started=0)
    with FileLock(freed / ".lock"):
        pass
    training(tmp_path, "held", started=0)
    found = {run.name: run.status for run in sweep_status(tmp_path, at(1)).runs}
    assert found == {"never locked": "interrupted", "freed": "interrupted", "held": "running"}


def test_a_run_is_running_for_another_process_until_that_dies(tmp_path):
    folder = write(tmp_path, "a", "running", started=0)
    code = (
        "import sys; from pathlib import Path; from runlab.runs.lock import run_lock\n"
        "with run_lock(Path(sys.argv[1])) as ours: print(ours, flush=True); sys.stdin.read()"
    )
    with subprocess.Popen(
        [sys.executable, "-c", code, folder],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as other:
        assert other.stdout is not None
        assert other.stdout.readline() == "True\n"
        assert len(sweep_status(tmp_path, at(1)).with_status("running")) == 1
        other.kill()
    assert len(sweep_status(tmp_path, at(1)).with_status("interrupted")) == 1


def test_a_run_that_ends_while_it_is_looked_at_has_ended(tmp_path, monkeypatch):
    folder = write(tmp_path, "a", "running", started=0)

    def ends(folder: Path) -> bool:
        record.write(folder, record.read(folder) | {"status": "finished"})
        return False

    monkeypatch.setattr(lock, "is_held", ends)
    assert [run.status for run in sweep_status(tmp_path, at(1)).runs] == ["finished"]
    assert record.read(folder)["status"] == "finished"


@pytest.mark.parametrize("error", [PermissionError(13, "denied"), OSError(30, "read-only")])
def test_a_lock_that_cannot_be_opened_leaves_the_record_believed(tmp_path, monkeypatch, error):
    write(tmp_path, "a", "running", started=0)

    def refused(folder: Path) -> bool:
        raise error

    monkeypatch.setattr(lock, "is_held", refused)
    assert [run.status for run in sweep_status(tmp_path, at(1)).runs] == ["running"]


def test_only_locks_of_running_runs_are_looked_at(tmp_path, training, monkeypatch):
    looked = []
    monkeypatch.setattr(lock, "is_held", lambda folder: looked.append(folder.name) or True)
    for state in ("finished", "diverged", "failed", "interrupted"):
        (write(tmp_path, state, state) / ".lock").touch()
    training(tmp_path, "running")
    sweep_status(tmp_path, at(0))
    assert looked == ["running"]


def test_nothing_is_written(tmp_path):
    write(tmp_path, "finished", started=0)
    write(tmp_path, "killed", "running", started=0)
    before = sorted(tmp_path.rglob("*"))
    sweep_status(tmp_path, at(1)).terminal()
    assert sorted(tmp_path.rglob("*")) == before


def test_damaged_records_are_counted_and_named(tmp_path):
    write(tmp_path, "a", started=0, seconds=40.0)
    for name, content in {"half": '{"status": "fin', "list": "[]"}.items():
        (write(tmp_path, name) / "run.json").write_text(content)
    (tmp_path / "folder" / "run.json").mkdir(parents=True)
    text = "\n".join(lines(tmp_path))
    assert text.startswith("S: 1 of 4 runs ended after 40 s; nothing is being trained")
    assert "unreadable     3" in text
    for name in ("half", "list", "folder"):
        assert f"- {name}: expected a run record in" in text
    assert text.endswith("The same command goes on with what is left (3 unreadable).")


def test_records_of_another_layout_are_refused_by_name(tmp_path):
    write(tmp_path, "old", layout=1)
    assert "unreadable     1" in lines(tmp_path)
    words = " ".join(" ".join(lines(tmp_path)).split())
    assert f"- old: expected a run record of layout {record.LAYOUT} in" in words


SAYS_LITTLE = {"timing": {}, "metrics": {}, "config": {}}


@pytest.mark.parametrize(
    "entry",
    [
        {},
        {
            "timing": {"seconds": None},
            "metrics": {"epochs": None},
            "config": {"trainer": {"max_epochs": None}},
            "error": None,
        },
    ],
)
@pytest.mark.parametrize("state", record.STATUSES)
def test_records_that_say_little_are_shown(tmp_path, training, state, entry):
    start = training if state == "running" else partial(write, state=state)
    start(tmp_path, "a", **(SAYS_LITTLE | entry))
    found = sweep_status(tmp_path, at(0))
    assert (found.elapsed, found.remaining, found.not_started) == (None, None, 0)
    assert [run.status for run in found.runs] == [state]
    assert f"{state}     1" in found.terminal()
    assert (lines(tmp_path)[-1] == "a            1") == (state == "running")


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("timing", None),
        ("metrics", []),
        ("config", "x"),
        ("sweep_index", 3),
        ("timing", {"started": "yesterday"}),
        ("timing", {"seconds": "3"}),
        ("timing", {"seconds": -5}),
        ("metrics", {"epochs": math.inf}),
    ],
)
def test_a_record_of_impossible_values_is_named_and_the_others_are_counted(tmp_path, key, value):
    write(tmp_path, "a", started=0, seconds=40.0)
    write(tmp_path, "b")
    path = tmp_path / "b" / "run.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {key: value}))
    text = " ".join("\n".join(lines(tmp_path)).split())
    assert text.startswith("S: 1 of 2 runs ended after 40 s; nothing is being trained")
    assert f"- b: expected a run record in {path}, got " in text


def test_a_status_of_a_later_release_is_counted_as_it_is_called(tmp_path):
    write(tmp_path, "a", started=0, seconds=40.0)
    write(tmp_path, "b", "pruned", started=0, seconds=20.0)
    assert lines(tmp_path) == [
        "S: 2 of 2 runs ended after 40 s; nothing is being trained",
        "",
        "status    runs",
        "--------------",
        "finished     1",
        "pruned       1",
    ]


def test_what_a_record_says_of_its_failure_moves_no_cursor(tmp_path):
    write(tmp_path, "a\x1b]0;title\x07", "failed", error="no \x1b[2J memory\r\nfor \u202eit")
    text = "\n".join(lines(tmp_path))
    assert r"- a\x1b]0;title\x07: no \x1b[2J memory\r\nfor \u202eit" in text
    assert text.replace("\n", "").isprintable()


def test_folders_without_a_record_are_no_runs(tmp_path):
    write(tmp_path, "a", started=0, seconds=1.0)
    (tmp_path / "comparison").mkdir()
    (tmp_path / "multirun.yaml").touch()
    assert [run.name for run in sweep_status(tmp_path, at(0)).runs] == ["a"]


def test_a_folder_that_cannot_be_opened_is_unreadable(tmp_path, monkeypatch):
    locked = write(tmp_path, "a") / "run.json"
    stat, read_text = Path.stat, Path.read_text

    def denied(method: Any) -> Any:
        def refuse(path: Path, *args: Any, **kwargs: Any) -> Any:
            if path == locked:
                raise PermissionError(13, "Permission denied")
            return method(path, *args, **kwargs)

        return refuse

    monkeypatch.setattr(Path, "stat", denied(stat))
    monkeypatch.setattr(Path, "read_text", denied(read_text))
    [run] = sweep_status(tmp_path, at(0)).runs
    assert run.status == "unreadable"
    assert "Permission denied" in run.problem


def test_a_missing_folder_is_named(tmp_path):
    with pytest.raises(ValueError, match=r"got .*nowhere, which is not a folder; name one"):
        sweep_status(tmp_path / "nowhere")


def test_an_empty_folder_is_named(tmp_path):
    with pytest.raises(ValueError, match=rf"run\.json in {tmp_path}, got none; launch runs into"):
        sweep_status(tmp_path)


def test_a_single_run_points_to_the_folder_that_holds_it(tmp_path, monkeypatch):
    folder = write(tmp_path, "a")
    (folder / "checkpoints").mkdir()
    with pytest.raises(ValueError, match=f"name the folder that holds it: {tmp_path}$"):
        sweep_status(folder)
    monkeypatch.chdir(folder)
    with pytest.raises(ValueError, match=f"name the folder that holds it: {tmp_path}$"):
        sweep_status(Path("."))


@pytest.mark.parametrize(
    ("entries", "seconds"),
    [
        ({"started": 70}, 30),
        ({"started": 70, "seconds": 20.0}, 30),  # as of its latest epoch's end
        ({"started": 0, "latest": 90, "resumed": 1, "seconds": 50.0}, 50),
        ({"started": 0, "latest": 20, "resumed": 1, "seconds": 50.0}, 80),
        ({"started": 0, "latest": 60}, 40),  # trained again from its start
        ({"started": 130}, 0),  # the clock was set back
        ({"started": 130, "seconds": 4.0}, 4),
        ({"seconds": 4.0}, 4),
        ({}, None),
    ],
)
def test_elapsed_of_a_running_run(tmp_path, training, entries, seconds):
    training(tmp_path, "a", **entries)
    [run] = sweep_status(tmp_path, at(100)).runs
    assert run.elapsed(at(100).timestamp()) == seconds


def test_what_is_running_longest_comes_first(tmp_path, training):
    training(tmp_path, "a", started=80, epochs=3)
    training(tmp_path, "b", started=0, latest=30, resumed=1, seconds=60.0, epochs=2)
    assert lines(tmp_path)[-2:] == ["b        3 of 3  1 min 10 s", "a        3 of 3        20 s"]


def test_elapsed_of_a_sweep_goes_on_while_something_is_running(tmp_path, training):
    write(tmp_path, "a", started=10, seconds=5.0)
    assert sweep_status(tmp_path, at(100)).elapsed == 5
    training(tmp_path, "b", started=90)
    assert sweep_status(tmp_path, at(100)).elapsed == 90
    assert sweep_status(tmp_path, at(0)).elapsed == 0


def test_elapsed_of_a_stopped_sweep_ends_with_its_last_run(tmp_path):
    write(tmp_path, "a", started=0, seconds=50.0)
    write(tmp_path, "b", started=10, seconds=20.0)
    assert sweep_status(tmp_path, at(9999)).elapsed == 50
    write(tmp_path, "c", started=20, latest=300, resumed=1, seconds=60.0)
    assert sweep_status(tmp_path, at(9999)).elapsed == 300


def test_an_estimate_shares_what_is_to_come_among_the_running(tmp_path, training):
    for index, seconds in enumerate((10.0, 30.0, 500.0)):
        write(tmp_path, f"done {index}", started=0, seconds=seconds, sweep_index=(index + 1, 9))
    write(tmp_path, "failed", "failed", started=0, seconds=9000.0, sweep_index=(4, 9))
    training(tmp_path, "a", started=90, sweep_index=(5, 9))
    training(tmp_path, "b", started=95, sweep_index=(6, 9))
    # the median is 30, a lacks 20, b lacks 25, 3 are to come: (90 + 45) / 2
    assert remaining(tmp_path) == 67.5


def test_a_run_slower_than_typical_lacks_nothing(tmp_path, training):
    write(tmp_path, "done", started=0, seconds=10.0, sweep_index=(1, 3))
    training(tmp_path, "a", started=15, sweep_index=(2, 3))
    assert remaining(tmp_path) == 10
    training(tmp_path, "b", started=16, sweep_index=(3, 3))
    assert remaining(tmp_path) == 0
    assert lines(tmp_path)[0] == "S: 1 of 3 runs ended after 1 min 40 s, the end is due"


def test_before_any_run_has_ended_the_pace_of_the_running_ones_tells(tmp_path, training):
    training(tmp_path, "a", started=70, seconds=20.0, epochs=2, sweep_index=(1, 3))
    # 20 s for 2 of 3 epochs: 30 s for a run, none left of a, 2 to come
    assert remaining(tmp_path) == 60
    training(tmp_path, "b", started=80, epochs=1, sweep_index=(2, 3))
    # b: 20 s for 1 of 3 epochs, 60 s for a run; median 45, of which a lacks 15, b 25, 1 is to come
    assert remaining(tmp_path) == (45 + 15 + 25) / 2


def test_before_any_epoch_is_done_nothing_is_estimated(tmp_path, training):
    training(tmp_path, "a", started=90, sweep_index=(1, 3))
    write(tmp_path, "b", "failed", started=0, seconds=5.0, sweep_index=(2, 3))
    assert remaining(tmp_path) is None
    expected = "S: 1 of 3 runs ended after 1 min 40 s; no estimate before a first epoch is done"
    assert lines(tmp_path)[0] == expected


def test_nothing_is_estimated_where_nothing_is_running(tmp_path):
    write(tmp_path, "a", started=0, seconds=10.0, sweep_index=(1, 5))
    assert remaining(tmp_path) is None


def test_the_run_that_was_started_or_resumed_last_tells_what_is_to_come(tmp_path):
    write(tmp_path, "a", started=0, sweep_index=(7, 10))
    write(tmp_path, "b", started=0, latest=50, resumed=1, sweep_index=(3, 10))
    write(tmp_path, "c", started=10, sweep_index=(2, 10))
    write(tmp_path, "single", started=99)
    # of 4 to 10, the seventh is there
    assert sweep_status(tmp_path, at(100)).not_started == 6


def test_of_runs_started_in_the_same_second_the_later_in_order_tells(tmp_path):
    for number in (3, 4, 2):
        write(tmp_path, f"old {number}", started=0, sweep_index=(number, 10))
        write(tmp_path, f"new {number}", started=50, sweep_index=(number, 10))
    assert sweep_status(tmp_path, at(100)).not_started == 6


def test_stacks_that_start_runs_in_an_order_of_their_own_have_all_others_to_come(
    tmp_path, training
):
    for number in (1, 3):
        write(tmp_path, f"ended {number}", started=0, seconds=10.0, sweep_index=(number, 8))
    for number in (5, 7):
        training(tmp_path, f"training {number}", started=96, sweep_index=(number, 8))
    write(tmp_path, "interrupted", "interrupted", started=1, seconds=1.0, sweep_index=(2, 8))
    found = sweep_status(tmp_path, at(100))
    assert (found.not_started, found.at_most) == (3, False)  # 4, 6 and 8
    # 6 s of each of two that train at a time, 10 of each of the other four
    assert found.remaining == (4 * 10 + 2 * 6) / 2


def test_what_a_command_passes_by_is_not_to_come(tmp_path, training):
    for number in (1, 2):
        write(tmp_path, f"old {number}", started=0, seconds=10.0, sweep_index=(number, 2))
    training(tmp_path, "new 4", started=96, sweep_index=(4, 6))
    found = sweep_status(tmp_path, at(100))
    assert (found.not_started, found.at_most) == (3, True)  # 5, 6 and either 1, 2 or 3


def test_an_index_beyond_the_last_leaves_nothing_to_come(tmp_path):
    write(tmp_path, "a", started=0, sweep_index=(12, 10))
    assert sweep_status(tmp_path, at(0)).not_started == 0


def test_trying_a_failed_run_again_leaves_the_others_as_they_are(tmp_path, training):
    write(tmp_path, "a", started=0, seconds=10.0, sweep_index=(1, 4))
    training(tmp_path, "b", started=96, sweep_index=(2, 4))
    write(tmp_path, "c", started=20, seconds=10.0, sweep_index=(3, 4))
    write(tmp_path, "d", "interrupted", started=30, seconds=1.0, sweep_index=(4, 4))
    # d is still to come, but it has been started: 6 s of b, 10 of d
    assert (sweep_status(tmp_path, at(100)).not_started, remaining(tmp_path)) == (0, 16)
    assert lines(tmp_path)[0].startswith("S: 2 of 4 runs ended")


def test_what_another_command_trained_makes_what_is_to_come_a_bound(tmp_path, training):
    for number in (1, 2):
        write(tmp_path, f"seed={number}", started=0, seconds=10.0, sweep_index=(number, 2))
    training(tmp_path, "seed=3", started=96, sweep_index=(3, 5))
    text = lines(tmp_path)
    # 6 s of the running one, and 2 to come, which take 10 each unless they are there already
    assert text[0] == "S: 2 of at most 5 runs ended after 1 min 40 s, at most about 26 s left"
    assert "not started   ≤ 2" in text


def test_two_commands_of_as_many_runs_are_not_taken_for_one(tmp_path, training):
    for number in (1, 2, 3):
        write(tmp_path, f"seed={number}", started=0, seconds=10.0, sweep_index=(number, 3))
    training(tmp_path, "seed=4", started=90, sweep_index=(1, 3))
    found = sweep_status(tmp_path, at(100))
    assert (found.not_started, found.at_most) == (2, True)


def test_a_stopped_sweep_of_several_commands_says_at_most(tmp_path):
    write(tmp_path, "seed=0", started=0, seconds=10.0, sweep_index=(1, 1))
    write(tmp_path, "seed=1", started=10, seconds=10.0, sweep_index=(1, 3))
    assert lines(tmp_path)[0] == "S: 2 of at most 4 runs ended after 20 s; nothing is being trained"
    advice = "The same command goes on with what is left (at most 2 not started)."
    assert lines(tmp_path)[-1] == advice


def test_single_runs_have_nothing_to_come(tmp_path, training):
    write(tmp_path, "a", started=0, seconds=30.0)
    training(tmp_path, "b", started=80)
    assert lines(tmp_path)[0] == "S: 1 of 2 runs ended after 1 min 40 s, about 10 s left"


def test_every_failed_run_is_named_within_the_line(tmp_path):
    for index in range(30):
        error = f"expected {'something quite long ' * 8}, got {index}"
        write(tmp_path, f"loss=mse,{'x' * 150},seed={index}", "failed", error=error)
    write(tmp_path, "quiet", "failed")
    text = lines(tmp_path)
    words = " ".join(" ".join(text).split())
    assert all(f"got {index} " in words for index in range(30))
    assert "- quiet: no reason was recorded" in words
    assert max(map(len, text)) <= 100


def test_only_a_name_too_long_for_its_line_is_cut_in_its_middle(tmp_path, training):
    training(tmp_path, "x" * 83, started=91)
    training(tmp_path, "a" * 100 + "z" * 100, started=90)
    [*_, cut, whole] = lines(tmp_path)
    # 83 characters are free beside "  1 of 3" and "  elapsed"
    assert cut == f"{'a' * 41}…{'z' * 41}  1 of 3     10 s"
    assert whole == f"{'x' * 83}  1 of 3      9 s"


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (-5.0, "0 s"),
        (8.4, "8 s"),
        (59.6, "1 min"),
        (200.0, "3 min 20 s"),
        (3599.0, "59 min 59 s"),
        (3600.0, "1 h"),
        (7199.0, "2 h"),
        (7500.0, "2 h 5 min"),
        (180_000.0, "50 h"),
    ],
)
def test_durations_are_read_at_a_glance(seconds, text):
    assert duration(seconds) == text


def test_the_script_prints_the_status_or_one_sentence(tmp_path, commands):
    write(tmp_path, "a", started=0, seconds=40.0)
    shown = commands.run(tmp_path, "scripts/status.py", str(tmp_path))
    assert (shown.returncode, shown.stderr) == (0, "")
    assert shown.stdout == sweep_status(tmp_path).terminal() + "\n"
    refused = commands.run(tmp_path, "scripts/status.py", "nowhere")
    assert (refused.returncode, refused.stdout) == (1, "")
    assert refused.stderr.startswith("expected the folder of a sweep, got ")
    assert refused.stderr.count("\n") == 1


@pytest.mark.parametrize("module", ["status", "index", "summary"])
def test_it_is_quick_to_import(module):
    code = f"import sys, runlab.sweeps.{module}; print(*sys.modules)"
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    modules = {name.partition(".")[0] for name in run.stdout.split()}
    slow = {"torch", "lightning", "pandas", "numpy", "matplotlib", "scipy", "hydra", "omegaconf"}
    assert not modules & slow


def test_what_fails_alike_is_told_once_and_stacks_take_a_line(tmp_path, training, monkeypatch):
    monkeypatch.setenv("COLUMNS", "80")
    for number in range(20):
        write(tmp_path, f"lr={number}", "failed", started=0, error=f"lr={number}: no more memory")
    for number in range(50):
        timing = {"started": stamp(0), "process": 1 + number % 2}
        training(tmp_path, f"seed={number:02}", timing=timing, label=f"seed {number}")
    shown = lines(tmp_path)
    assert shown[8:] == [
        "running              epoch     elapsed",
        "--------------------------------------",
        "seed 0 and 24 more  1 of 3  1 min 40 s",
        "seed 1 and 24 more  1 of 3  1 min 40 s",
        "",
        "failed",
        "- lr=0: lr=0: no more memory (and 19 more runs)",
    ]
