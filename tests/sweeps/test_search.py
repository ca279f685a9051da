"""`experiment=tune_learning_rate`: Optuna proposes, and each batch of trials trains together."""

import shutil
import threading
from math import inf, nan
from pathlib import Path

import pytest
from hydra.core.utils import JobReturn, JobStatus
from omegaconf import OmegaConf

from hydra_plugins.stacked_launcher import StackedLauncher
from runlab.runs import alike
from runlab.runs.lock import run_lock, wait_until_free
from runlab.stacks import train_together
from runlab.sweeps import search
from runlab.sweeps.search import train_and_report

TRAIN = "scripts/train.py"
STUDY = ["-m", "experiment=tune_learning_rate", "hydra.launcher.processes=1"]


@pytest.fixture
def tune(tmp_path, commands, tiny):
    """Runs scripts/train.py with these arguments; returns its output and its last sentence."""

    def run(*arguments: str) -> tuple[str, str]:
        done = commands.run(tmp_path, TRAIN, *STUDY, *tiny, "trainer.max_epochs=1", *arguments)
        assert (done.returncode == 0) == (done.stderr == "")
        return done.stdout, done.stderr.strip().rpartition("\n")[2]

    return run


def trials(folder: Path) -> dict[str, dict]:
    return {path.name: entry for path, entry in alike.readable(folder)}


@pytest.mark.long
def test_each_batch_is_one_stack_and_what_is_left_of_a_study_goes_on(tune, tmp_path):
    folder = tmp_path / "logs" / "tune_learning_rate_mse"
    few = ["hydra.sweeper.n_jobs=5", "hydra.sweeper.sampler.n_startup_trials=4", "logger=none"]
    first, _ = tune(*few, "hydra.sweeper.n_trials=5")
    five = trials(folder)
    assert len(five) == 5
    assert {entry["timing"]["stack"] for entry in five.values()} == {5}
    assert first.count("[1/5] ") == 1

    lost = list(five)[:2]
    for name in lost:
        shutil.rmtree(folder / name)  # as if stopped within the batch
    second, _ = tune(*few, "hydra.sweeper.n_trials=7")
    seven = trials(folder)
    assert len(seven) == 7
    assert second.count(", skipped") == 3
    assert all(seven[name] == five[name] for name in five.keys() - lost)
    assert [seven[name]["timing"]["stack"] for name in lost] == [2, 2]

    found = OmegaConf.load(folder / "optimization_results.yaml")
    assert found.best_value == max(each["metrics"]["val/accuracy"] for each in seven.values())
    rate = found.best_params["optimizer.lr"]
    assert f"best val/accuracy: {found.best_value:.4f} with optimizer.lr={rate}\n" in second
    noise = ("Study name", "A new study", "Storage", "Sampler", "Directions")
    assert not any(word in first + second for word in noise)


@pytest.mark.long
def test_studies_of_two_losses_lie_apart_and_a_diverged_trial_is_a_bad_one(tune, tmp_path):
    output, sentence = tune(
        "loss=cross_entropy",
        "hydra.sweeper.n_trials=4",
        "hydra.sweeper.n_jobs=4",
        "optimizer.lr=interval(1.0, 10000.0)",
        "objective=val/nll",
        "hydra.sweeper.direction=minimize",
    )
    assert sentence == ""
    found = trials(tmp_path / "logs" / "tune_learning_rate_cross_entropy")
    assert "diverged" in {entry["status"] for entry in found.values()}
    assert "best val/nll: " in output


@pytest.mark.long
def test_a_trial_that_fails_stops_the_study_after_its_batch(tune, tmp_path):
    study = [
        "optimizer.lr=choice(-1.0, -2.0)",
        "hydra.sweeper.n_trials=4",
        "hydra.sweeper.n_jobs=1",
    ]
    output, sentence = tune(*study)
    assert output.count(": failed: expected optimizer.lr to be a finite number") == 1
    assert sentence.startswith("expected optimizer.lr to be a finite number of at least 0, got -")
    _, again = tune(*study)
    assert "(retry=failed trains it again)" in again


@pytest.mark.long
@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["objective=null"], "expected an objective for a sweeper that chooses runs by their re"),
        (["objective=test/accuracy"], "unknown metric objective=test/accuracy; did you mean val/a"),
        (["objective=val/nll"], "expected hydra.sweeper.direction=minimize with objective=val/nll"),
    ],
)
def test_an_objective_that_the_sweeper_cannot_use_is_refused(tune, tmp_path, arguments, sentence):
    assert tune(*arguments)[1].startswith(sentence)
    assert not list(tmp_path.glob("logs/*/*/run.json"))


@pytest.mark.parametrize(("value", "told"), [(0.5, 0.5), (nan, inf), (None, inf), (inf, inf)])
def test_a_loss_that_is_no_number_is_as_bad_as_can_be(monkeypatch, value, told):
    monkeypatch.setattr(search, "mistake", lambda *_: "")
    monkeypatch.setattr(search, "train", lambda cfg: {"metrics": {"val/nll": value}})
    assert train_and_report(OmegaConf.create({"objective": "val/nll"})) == told


@pytest.fixture
def trained_elsewhere(monkeypatch):
    """A trial that another process trains until it is waited for; how often that was."""
    waits: list[Path] = []
    monkeypatch.setattr(search, "mistake", lambda *_: "")
    monkeypatch.setattr(
        search, "train", lambda cfg: {"metrics": {"val/nll": 0.5}} if waits else None
    )
    monkeypatch.setattr(search.lock, "wait_until_free", waits.append)
    run = {"folder": "logs/study/lr=1", "position": "[2/4] "}
    return OmegaConf.create({"objective": "val/nll", "run": run}), waits


def test_the_result_of_a_trial_that_another_process_trains_is_waited_for(trained_elsewhere, caplog):
    cfg, waits = trained_elsewhere
    caplog.set_level("INFO")
    assert train_and_report(cfg) == 0.5
    assert waits == [Path("logs/study/lr=1")]
    assert "[2/4] lr=1: its result is waited for" in caplog.messages


def test_a_stack_does_not_wait_within_but_asks_again_afterwards(trained_elsewhere):
    cfg, waits = trained_elsewhere
    [outcome] = train_together([lambda: train_and_report(cfg)], 50)
    assert outcome is None
    assert waits == []
    launcher = StackedLauncher()
    launcher.config = cfg
    assert launcher.lacks_result(job_return(None))
    assert not launcher.lacks_result(job_return(0.5))
    launcher.config = OmegaConf.create({"objective": None})
    assert not launcher.lacks_result(job_return(None))


def job_return(value: float | None) -> JobReturn:
    returned = JobReturn(status=JobStatus.COMPLETED)
    returned.return_value = value
    return returned


def test_a_run_is_waited_for_until_its_process_is_through(tmp_path):
    done = threading.Event()
    with run_lock(tmp_path) as ours:
        assert ours
        waiter = threading.Thread(target=lambda: (wait_until_free(tmp_path), done.set()))
        waiter.start()
        assert not done.wait(0.2)
    assert done.wait(10)
    waiter.join()


def test_without_the_sweepers_package_one_sentence_says_what_to_install(tmp_path, commands):
    hidden = tmp_path / "hydra_plugins" / "hydra_optuna_sweeper"
    hidden.mkdir(parents=True)
    (hidden / "__init__.py").touch()
    environment = {"PYTHONPATH": str(tmp_path)}
    done = commands.run(tmp_path, TRAIN, *STUDY, environment=environment)
    assert done.returncode == 1
    assert done.stderr.strip() == (
        "expected hydra-optuna-sweeper to be installed, which brings hydra/sweeper/optuna, "
        "got no such package: pip install hydra-optuna-sweeper"
    )
