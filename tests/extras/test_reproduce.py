import runpy
import shutil
import sys
from pathlib import Path

import pytest
from torch.optim import Optimizer
from torch.optim.lr_scheduler import ExponentialLR

import losslab.models
from runlab import configurable
from runlab.config import targets
from runlab.extras.reproduce.reproduce import Reproduction, reproduce
from runlab.runs import record
from runlab.train import train
from tests.attacks import CALLED, RESOLVED, SECRET, attacks, nested
from tests.compose import ROOT, compose
from tests.idx import write_idx

SCRIPT = str(ROOT / "scripts" / "reproduce.py")


QUICK = ["model.widths=[4]", "trainer.max_epochs=1", "logger=none", "callback=[checkpoint]"]


def train_in(folder: Path, *overrides: str) -> Path:
    folder.mkdir(parents=True)
    train(compose(*overrides, folder=folder))
    return folder


@pytest.fixture(scope="module")
def default_run(tmp_path_factory, tiny):
    """As the configuration has it, with all its callbacks; read-only by agreement."""
    return train_in(tmp_path_factory.mktemp("logs") / "first" / "run", *tiny)


@pytest.fixture(scope="module")
def quick_run(tmp_path_factory, tiny):
    return train_in(tmp_path_factory.mktemp("quick") / "run", *tiny, *QUICK)


@pytest.fixture
def run(quick_run, tmp_path):
    """A copy of the quick run, to be changed."""
    return shutil.copytree(quick_run, tmp_path / "first" / "run")


def assert_reproduced(run):
    reproduction = reproduce(run)
    assert set(reproduction.drift) == set(record.read(run)["metrics"])
    assert set(reproduction.drift.values()) == {0.0}
    assert reproduction.changes_since == []
    assert "all 17 metrics equal, bit for bit" in " ".join(reproduction.terminal().split())
    return reproduction


def test_a_run_with_other_loggers_comes_out_the_same(tmp_path, tiny):
    loggers = ["model.widths=[8]", "logger=[tensorboard,csv]"]
    assert_reproduced(train_in(tmp_path / "first" / "run", *tiny, *loggers))


class OwnNet(losslab.models.MLP):
    """A user's own, as are the next two."""


class OwnClassifier(losslab.Classifier):
    measures = losslab.Classifier.measures


@configurable
def own_schedule(optimizer: Optimizer, total_steps: int) -> ExponentialLR:
    return ExponentialLR(optimizer, 0.5 ** (1 / total_steps))


def test_a_run_of_components_of_ones_own_comes_out_the_same(tmp_path, tiny):
    here = "tests.extras.test_reproduce"
    own = {"model": "OwnNet", "module": "OwnClassifier", "scheduler": "own_schedule"}
    overrides = [f"{key}._target_={here}.{name}" for key, name in own.items()]
    quick = [*QUICK, "scheduler=cosine", *overrides]
    assert_reproduced(train_in(tmp_path / "first" / "run", *tiny, *quick))


def test_a_run_of_a_module_without_parts_comes_out_the_same(tmp_path, tiny):
    own = ["module=plain", "module._target_=tests.level_one.Deep"]
    overrides = [*tiny, *own, "trainer.max_epochs=1", "callback=[checkpoint]"]
    run = train_in(tmp_path / "first" / "run", *overrides)
    assert "model" not in record.read(run)["config"]
    reproduction = reproduce(run)
    assert set(reproduction.drift.values()) == {0.0}
    assert reproduction.now["status"] == "finished"


def test_the_new_run_is_the_same_and_whole_and_the_old_one_as_it_was(default_run):
    run, sweeps = default_run, default_run.parents[1]
    before = {path: path.read_bytes() for path in run.rglob("*") if path.is_file()}
    folder = assert_reproduced(run).folder
    assert folder == sweeps / "first-reproduced" / "run"
    assert (folder / "checkpoints" / "best.ckpt").exists()
    assert list(folder.glob("events.out.tfevents.*"))
    assert record.read(folder)["fingerprint"] == record.read(run)["fingerprint"]
    assert {path: path.read_bytes() for path in run.rglob("*") if path.is_file()} == before


def test_a_second_reproduction_has_a_folder_of_its_own(run, tmp_path):
    assert reproduce(run).folder == tmp_path / "first-reproduced" / "run"
    assert reproduce(run).folder == tmp_path / "first-reproduced-2" / "run"


def test_a_diverged_run_is_reproduced_too(tmp_path, tiny):
    diverging = ["loss=mse_logits", "optimizer.lr=1e6"]
    reproduction = reproduce(train_in(tmp_path / "first" / "run", *tiny, *QUICK, *diverging))
    assert reproduction.now["status"] == "diverged"
    assert reproduction.largest_drift() == 0


def test_drift_and_what_changed_are_shown(run):
    entry = record.read(run)
    entry["metrics"]["test/nll"] += 0.25
    entry["metrics"]["test/ece"] = None
    entry["provenance"]["versions"]["torch"] = "1.13.1"
    record.write(run, entry)
    reproduction = reproduce(run)
    assert reproduction.drift["test/nll"] == pytest.approx(-0.25)
    assert reproduction.largest_drift() == float("inf")
    shown = reproduction.terminal()
    assert "not the same: finished then, finished now" in shown
    assert "changed since: versions.torch: 1.13.1 ->" in shown


def test_a_run_of_a_stack_is_said_to_have_been_one(run):
    entry = record.read(run)
    entry["metrics"]["test/nll"] += 1e-6
    entry["timing"]["stack"] = 6
    record.write(run, entry)
    shown = " ".join(reproduce(run).terminal().split())
    assert "changed since: stack: 6 -> 1; it was one of a stack of 6, which rounds" in shown


def test_what_cannot_be_reproduced_is_said(run, tmp_path):
    with pytest.raises(ValueError, match=r"expected a run record at .*nowhere"):
        reproduce(tmp_path / "nowhere")
    with pytest.raises(ValueError, match="expected a folder without a run"):
        reproduce(run, folder=run)
    write_idx(tmp_path / "other", seed=1)
    with pytest.raises(ValueError, match=r"expected the data of .*--data-dir"):
        reproduce(run, data_dir=tmp_path / "other")
    record.write(run, record.read(run) | {"status": "interrupted"})
    with pytest.raises(ValueError, match=r"expected a run that has ended in .*interrupted"):
        reproduce(run)
    assert not (tmp_path / "first-reproduced").exists()


@pytest.mark.long
@pytest.mark.parametrize("place", [*targets.BASES, "callback.x", "logger.x"])
def test_a_received_record_calls_nothing_that_it_names(run, tmp_path, place):
    entry = record.read(run)
    group, _, name = place.partition(".")
    sound = entry["config"][group] or {}
    for what, attack in attacks(tmp_path).items():
        for node in [attack, *nested(sound, attack)]:
            changed = {**sound, name: node} if name else node
            record.write(run, {**entry, "config": {**entry["config"], group: changed}})
            with pytest.raises(ValueError, match=rf"^(expected|cannot import) {group}"):
                reproduce(run)
            assert not (tmp_path / CALLED).exists(), what
    assert not (tmp_path / "first-reproduced").exists()


def test_a_received_record_imports_nothing_that_is_not_built(run, tmp_path):
    entry = record.read(run)
    entry["config"]["comparison"] = {"arm_styles": {"a": {"_target_": "antigravity.fly"}}}
    record.write(run, entry)
    with pytest.raises(ValueError, match=r"^expected no _target_ in comparison\.arm_styles\.a, of"):
        reproduce(run)
    assert "antigravity" not in sys.modules  # it would open a browser
    assert not (tmp_path / "first-reproduced").exists()


def test_a_received_record_reads_no_environment(run, tmp_path, monkeypatch):
    monkeypatch.setenv(SECRET, "hidden")
    entry = record.read(run)
    for text in RESOLVED:
        record.write(run, {**entry, "config": {**entry["config"], "objective": text}})
        with pytest.raises(ValueError, match=r"expected objective as plain text") as raised:
            reproduce(run)
        assert "hidden" not in str(raised.value)
    assert not (tmp_path / "first-reproduced").exists()


def test_names_and_overrides_are_taken_as_they_are(run, tmp_path, monkeypatch):
    monkeypatch.setenv(SECRET, "hidden")
    named = run.rename(run.with_name(f"a\\${{oc.env:{SECRET}}}"))
    entry = record.read(named)
    entry["overrides"] = [f"objective=${{oc.env:{SECRET}}}", "name=${run.name}"]
    record.write(named, entry)
    folder = reproduce(named).folder
    assert folder == tmp_path / "first-reproduced" / named.name
    assert record.read(folder)["overrides"] == sorted(entry["overrides"])
    for path in folder.rglob("*"):
        assert path.is_dir() or b"hidden" not in path.read_bytes(), path


def test_nothing_is_written_outside_of_the_new_folder(run, tmp_path, monkeypatch):
    entry = record.read(run)
    best = entry["config"]["callback"]["best"]
    for place in (str(run / "checkpoints"), "checkpoints", "${run.folder}/../run"):
        record.write(run, entry)
        entry["config"]["callback"]["best"] = {**best, "dirpath": place}
        record.write(run, entry)
        with pytest.raises(ValueError, match=r"expected callback\.best\.dirpath in the run's own"):
            reproduce(run)
    assert not (tmp_path / "first-reproduced").exists()
    entry["config"]["callback"]["best"] = best
    del entry["config"]["trainer"]["default_root_dir"]
    record.write(run, entry)
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    assert reproduce(run).largest_drift() == 0
    assert list((tmp_path / "here").iterdir()) == []


def test_the_script_tells_what_it_does_not_run_in_one_sentence(run, tmp_path, monkeypatch, capsys):
    entry = record.read(run)
    entry["config"]["optimizer"] = attacks(tmp_path)["pickle"]
    record.write(run, entry)
    monkeypatch.setattr(sys, "argv", [SCRIPT, str(run)])
    with pytest.raises(SystemExit) as raised:
        runpy.run_path(SCRIPT, run_name="__main__")
    assert str(raised.value.code).startswith("expected optimizer._target_ to name a class derived")
    assert "\n" not in str(raised.value.code)
    assert capsys.readouterr().out == ""
    assert not (tmp_path / CALLED).exists()


@pytest.mark.parametrize("key", ["data", "model", "threads"])
def test_a_configuration_that_lacks_something_is_refused_before_a_folder_is_made(
    run, tmp_path, key
):
    entry = record.read(run)
    del entry["config"][key]
    record.write(run, entry)
    with pytest.raises(ValueError, match=rf"expected config\.{key}[ ,].* got none"):
        reproduce(run)
    assert not (tmp_path / "first-reproduced").exists()


def test_without_metrics_nothing_has_drifted():
    assert Reproduction(Path(), {"metrics": {}}, {"metrics": {}}).largest_drift() == 0


def test_the_scripts_exit_code_tells(run, monkeypatch, capsys):

    def code(*arguments: str) -> object:
        monkeypatch.setattr(sys, "argv", [SCRIPT, str(run), *arguments])
        with pytest.raises(SystemExit) as raised:
            runpy.run_path(SCRIPT, run_name="__main__")
        return raised.value.code

    assert not code()
    assert "bit for bit" in " ".join(capsys.readouterr().out.split())
    entry = record.read(run)
    entry["metrics"]["test/nll"] += 0.25
    record.write(run, entry)
    assert code() == 1
    assert not code("--tolerance", "0.3")
    assert "expected a folder without a run" in str(code("--folder", str(run)))
