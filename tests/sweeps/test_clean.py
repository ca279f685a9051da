"""`losslab clean`: what it removes, and above all what it leaves."""

import os
import shutil
from dataclasses import replace
from pathlib import Path

import pytest
from filelock import FileLock

from losslab.__main__ import main
from runlab.analysis.outcomes import read_conclusion
from runlab.analysis.rebuild import rebuild
from runlab.runs import checkpoint, record
from runlab.sweeps import clean
from tests.analysis.synthetic import write_run

SCRIPT = "scripts/clean.py"
GOOD, BAD = "loss=mse,lr=0.1,seed=0", "loss=mse,lr=10,seed=0"


def keep_checkpoints(run: Path) -> Path:
    (run / "checkpoints").mkdir()
    for name in ("best.ckpt", "last.ckpt"):
        (run / "checkpoints" / name).write_bytes(b"0" * 1000)
    return run


@pytest.fixture
def sweep(tmp_path, monkeypatch) -> Path:
    """Two runs that ended, the first of which is chosen."""
    monkeypatch.setattr("runlab.analysis.write.draw_figures", lambda *_: {})
    monkeypatch.chdir(tmp_path)
    sweep = tmp_path / "logs" / "first"
    keep_checkpoints(write_run(sweep, "mse", 0.1, 0, 0.9))
    keep_checkpoints(write_run(sweep, "mse", 10.0, 0, 0.1, status="diverged"))
    rebuild(sweep)
    return sweep


@pytest.fixture
def partial(sweep) -> Path:
    """The same, and four runs that are partial."""
    for name in ("failed", "interrupted", "running"):
        keep_checkpoints(write_run(sweep, "mse", 0.1, 1, name=name, status=name))
    (sweep / "launched" / ".hydra").mkdir(parents=True)
    return sweep


def files(folder: Path) -> set[str]:
    return {str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file()} - {
        ".comparison.lock"
    }


def runs(sweep: Path) -> set[str]:
    return {path.name for path in sweep.iterdir() if path.is_dir()} - {"comparison"}


def test_without_an_option_it_only_says_what_each_would_free(sweep, capsys):
    write_run(sweep, "mse", 0.1, 1, status="failed")
    before = files(sweep)
    main(["clean", "logs/first"])
    said = capsys.readouterr().out
    assert "logs/first: --partial: " in said
    assert " of 1 run\n" in said
    assert "logs/first: --checkpoints: 2 kB of 1 run\n" in said
    main(["clean", "logs/first", "--partial", "--checkpoints", "--dry-run", "--yes"])
    assert files(sweep) == before


def test_partial_runs_go_and_runs_that_ended_stay(partial, sweep, capsys):
    main(["clean", "logs/first", "--partial", "--yes"])
    assert runs(sweep) == {GOOD, BAD}
    assert "checkpoints/best.ckpt" in files(sweep / BAD)
    assert "of 4 runs." in capsys.readouterr().out


def test_a_run_that_trains_a_damaged_one_and_one_that_is_unknown_stay(partial, sweep, capsys):
    (write_run(sweep, "mse", 0.1, 7, name="torn") / "run.json").write_text("{")
    write_run(sweep, "mse", 0.1, 8, name="pruned", status="pruned")
    with FileLock(sweep / "running" / ".lock"), FileLock(sweep / "failed" / ".lock"):
        main(["clean", "logs/first", "--partial", "--yes"])
    assert runs(sweep) == {GOOD, BAD, "running", "failed", "torn", "pruned"}
    said = capsys.readouterr().out
    assert "left alone: running: a process trains it" in said
    assert "left alone: torn: its record can't be read" in said


def test_a_run_that_begins_or_ends_meanwhile_stays(partial, sweep):
    found, _ = clean.partial_runs(sweep)
    record.write(sweep / "running", record.read(sweep / "running") | {"status": "finished"})
    with FileLock(sweep / "failed" / ".lock"):
        told = {each.run: clean.remove_run(each.folder) for each in found}
    assert told == {
        "failed": "a process trains it",
        "interrupted": "",
        "launched": "",
        "running": "it has ended since",
    }
    assert runs(sweep) - {".removed"} == {GOOD, BAD, "running", "failed"}


def test_no_link_is_followed(sweep, tmp_path):
    outside = keep_checkpoints(write_run(tmp_path / "elsewhere", "mse", 0.1, 1, status="failed"))
    (sweep / "linked").symlink_to(outside)
    disk = keep_checkpoints(tmp_path / "elsewhere") / "checkpoints"
    failed = write_run(sweep, "mse", 0.1, 1, status="failed")
    (failed / "disk").symlink_to(disk)
    (sweep / BAD / "disk").symlink_to(disk)
    (sweep / BAD / "far.ckpt").symlink_to(disk / "best.ckpt")
    before = files(tmp_path / "elsewhere")
    main(["clean", "logs/first", "--partial", "--checkpoints", "--yes"])
    assert files(tmp_path / "elsewhere") == before
    assert runs(sweep) == {GOOD, BAD, "linked"}
    assert {"disk", "far.ckpt"} <= set(os.listdir(sweep / BAD))


def test_a_removal_that_is_killed_leaves_no_half_of_a_run(partial, sweep, monkeypatch):
    with monkeypatch.context() as patch:
        patch.setattr("shutil.rmtree", lambda path: (_ for _ in ()).throw(KeyboardInterrupt))
        with pytest.raises(SystemExit):
            main(["clean", "logs/first", "--partial", "--yes"])
    assert runs(sweep) == {GOOD, BAD, ".removed"}
    assert {folder.name for folder in record.folders(sweep)} == {GOOD, BAD}
    main(["clean", "logs/first", "--partial", "--yes"])
    assert runs(sweep) == {GOOD, BAD}


def test_checkpoints_go_of_runs_that_no_comparison_chose_and_records_say_so(sweep):
    before = files(sweep)
    main(["clean", "logs/first", "--checkpoints", "--yes"])
    gone = {f"{BAD}/checkpoints/{name}.ckpt" for name in ("best", "last")}
    assert before - files(sweep) == gone
    assert record.CHECKPOINTS_REMOVED in record.read(sweep / BAD)
    assert record.CHECKPOINTS_REMOVED not in record.read(sweep / GOOD)
    rebuild(sweep)  # as before
    with pytest.raises(
        ValueError,
        match=r"removed at 20.* \(losslab clean, or keep_checkpoints=false\); train it again with",
    ):
        checkpoint.load(sweep / BAD / "checkpoints" / "best.ckpt")


def test_a_record_never_claims_checkpoints_that_a_killed_removal_took(sweep, monkeypatch):
    def killed(path: Path, **_: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(Path, "unlink", killed)
        patch.setattr("runlab.atomic.replace", lambda path, content: path.write_bytes(content))
        with pytest.raises(KeyboardInterrupt):
            clean.remove_checkpoints(sweep / BAD)
    assert record.CHECKPOINTS_REMOVED in record.read(sweep / BAD)


@pytest.mark.parametrize("content", [None, "{", "{}", '{"chosen": 1, "ended": null}'])
def test_checkpoints_stay_where_it_is_not_known_what_was_chosen(sweep, content):
    path = sweep / "comparison" / "conclusion.json"
    path.unlink() if content is None else path.write_text(content)
    before = files(sweep)
    with pytest.raises(SystemExit, match="expected a comparison of the 2 runs that have ended"):
        main(["clean", "logs/first", "--checkpoints", "--yes"])
    assert files(sweep) == before


def test_runs_that_any_comparison_chose_keep_their_checkpoints(sweep):
    other = sweep / "comparison_nll"
    other.mkdir()
    (other / "comparison.md").touch()
    conclusion = read_conclusion(sweep / "comparison")
    (other / "conclusion.json").write_text(replace(conclusion, chosen=[BAD]).to_json())
    assert clean.spare_checkpoints(sweep) == ([], [])
    (other / "conclusion.json").unlink()
    with pytest.raises(ValueError, match=r"earlier one in .*_nll: .* compare .* --metric nll"):
        clean.spare_checkpoints(sweep)


@pytest.mark.parametrize("change", ["removed", "trained again"])
def test_checkpoints_stay_where_the_comparison_is_of_other_runs(sweep, change):
    if change == "removed":  # and another one ended: as many as before
        shutil.rmtree(sweep / GOOD)
        write_run(sweep, "mse", 0.2, 0, 0.8)
    else:
        entry = record.read(sweep / GOOD)
        record.write(sweep / GOOD, entry | {"timing": {"latest": "2026-03-01T12:00:00+00:00"}})
    with pytest.raises(ValueError, match="expected a comparison of the 2 runs that have ended"):
        clean.spare_checkpoints(sweep)
    rebuild(sweep)
    assert [each.run for each in clean.spare_checkpoints(sweep)[0]] == [BAD]


def test_checkpoints_stay_as_long_as_runs_are_yet_to_end(partial, sweep):
    before = files(sweep)
    with (
        FileLock(sweep / "running" / ".lock"),
        pytest.raises(SystemExit, match="got 1 running, 1 interrupted, 1 never begun, which may"),
    ):
        main(["clean", "logs/first", "--partial", "--checkpoints", "--yes"])
    assert files(sweep) - {"running/.lock"} == before
    main(["clean", "logs/first", "--partial", "--yes"])
    main(["clean", "logs/first", "--checkpoints", "--yes"])
    assert not any(path.startswith(f"{BAD}/checkpoints") for path in files(sweep))


def test_it_asks_on_a_terminal_alone(partial, sweep, monkeypatch):
    before = files(sweep)
    with pytest.raises(SystemExit, match=r"expected --yes to remove .* no terminal to ask on"):
        main(["clean", "logs/first", "--partial"])
    monkeypatch.setattr("sys.stdin.isatty", lambda: True, raising=False)
    for answer in ("", "n", "what?"):
        monkeypatch.setattr("builtins.input", lambda _, answer=answer: answer)
        with pytest.raises(SystemExit, match="nothing was removed"):
            main(["clean", "logs/first", "--partial"])
    monkeypatch.setattr("builtins.input", lambda _: (_ for _ in ()).throw(EOFError))  # Ctrl-D
    with pytest.raises(SystemExit, match="nothing was removed"):
        main(["clean", "logs/first", "--partial"])
    assert files(sweep) == before
    monkeypatch.setattr("builtins.input", lambda _: "y")
    main(["clean", "logs/first", "--partial"])
    assert runs(sweep) == {GOOD, BAD}


@pytest.mark.long
def test_the_same_command_trains_no_finished_run_again(tmp_path, commands, tiny):
    command = [
        *("scripts/train.py", "-m", *tiny, "name=kept", "loss=mse", "optimizer.lr=0.1,1e-9"),
        *("seed=0", "logger=none"),
    ]
    assert commands.run(tmp_path, *command).returncode == 0
    sweep = tmp_path / "logs" / "kept"
    before = {run.name: record.read(run)["timing"] for run in record.folders(sweep)}
    process = commands.run(tmp_path, SCRIPT, "logs/kept", "--partial", "--checkpoints", "--yes")
    assert process.returncode == 0, process.stderr
    assert len(list(sweep.rglob("*.ckpt"))) == 2
    again = commands.run(tmp_path, *command)
    assert again.returncode == 0, again.stderr
    assert "2 of 2 runs have ended already" in again.stdout
    assert {run.name: record.read(run)["timing"] for run in record.folders(sweep)} == before
