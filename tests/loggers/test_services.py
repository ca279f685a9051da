"""Loggers of services: with the package missing, and with one that only notes what it is told."""

from importlib.util import find_spec
from types import SimpleNamespace
from typing import ClassVar

import pytest
from lightning.pytorch.loggers import MLFlowLogger, WandbLogger

from runlab.config.messages import is_user_error, user_message
from runlab.loggers.services import continue_service_runs
from runlab.train import train
from tests.compose import compose
from tests.loggers.test_hparams import SHOWN_FIRST
from tests.runs.test_resume import STOP, Stop


@pytest.fixture
def run(tmp_path, tiny):
    def train_in(folder, *overrides):
        (tmp_path / folder).mkdir(exist_ok=True)
        return train(compose(*tiny, *overrides, folder=tmp_path / folder))

    return train_in


@pytest.mark.parametrize("package", ["wandb", "mlflow"])
def test_a_logger_whose_package_is_missing_is_one_sentence(run, package):
    if find_spec(package):
        pytest.skip(f"{package} is installed")
    with pytest.raises(Exception, match=package) as error:
        run("run", f"logger={package}")
    assert is_user_error(error.value)
    assert f"pip install -U '{package}" in user_message(error.value)


class Wandb(WandbLogger):
    """As far as it concerns us: names a run unless told its name, and notes what happens to it."""

    said: ClassVar[list[tuple[str, object]]] = []

    def __init__(self):
        self._wandb_init = {"id": None}
        self._experiment = None
        self._checkpoint_callbacks = {}
        self._log_model = False

    @property
    def experiment(self):
        if self._experiment is None:
            name = self._wandb_init["id"]
            self._experiment = SimpleNamespace(
                id=name, finish=lambda code: self.say("finish", code)
            )
            self.say("init", name)
        return self._experiment

    @property
    def save_dir(self):
        return None

    @property
    def name(self):
        return None

    @property
    def version(self):
        return self.experiment.id

    def say(self, verb, what):
        self.said.append((verb, what))

    def log_hyperparams(self, params):
        assert self.experiment
        self.say("hyperparameters", dict(params))

    def log_metrics(self, metrics, step=None):
        self.say("metrics", set(metrics))

    def log_image(self, key, images, step=None):
        self.say("image", key)


LOGGER = "+logger.stub._target_=tests.loggers.test_services.Wandb"


@pytest.fixture
def said():
    Wandb.said.clear()
    return Wandb.said


def told(said, verb):
    return [what for each, what in said if each == verb]


def test_a_service_is_told_what_a_run_is_at_its_start_and_how_good_it_is_at_its_end(run, said):
    run("run", LOGGER, "loss=mse")
    assert [verb for verb, _ in said][:2] == ["init", "hyperparameters"]
    [hyperparameters] = told(said, "hyperparameters")
    assert hyperparameters["loss"] == "mse"
    assert set(SHOWN_FIRST) <= told(said, "metrics")[-1]
    assert said[-1] == ("finish", 0), "the process may train other runs"


@pytest.mark.parametrize(
    ("callback", "error"),
    [("loggers.test_hparams.Broken", RuntimeError), ("runs.test_resume.Stop", SystemExit)],
)
def test_a_run_that_fails_or_is_stopped_is_closed_too(run, said, callback, error):
    Stop.at("epoch end", 0)
    with pytest.raises(error):
        run("run", LOGGER, f"+callback.stop._target_=tests.{callback}")
    assert said[-1] == ("finish", 1)


def test_a_resumed_run_goes_on_under_its_name(run, said):
    Stop.at("epoch end", 1)
    with pytest.raises(SystemExit):
        run("run", STOP, LOGGER, "trainer.max_epochs=3")
    run("run", STOP, LOGGER, "trainer.max_epochs=3")
    first, second = told(said, "init")
    assert first == second


def test_mlflow_goes_on_with_its_run():
    logger = MLFlowLogger.__new__(MLFlowLogger)  # which needs the package
    continue_service_runs([logger], {"MLFlowLogger": "abc"})
    assert logger._run_id == "abc"
