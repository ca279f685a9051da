"""What a run needs for what was asked: without validation data, with too few, without loaders."""

import logging

import lightning as L
import pytest
from omegaconf import open_dict
from torch.utils.data import DataLoader

from losslab.metrics import MEASURES
from losslab.regressor import MEASURES as OF_REGRESSION
from runlab.requirements import warn_of_small_validation
from runlab.train import train
from tests.compose import compose
from tests.data.plain import Plain, samples

ALL = ["data.train_size=200", "data.val_size=0"]
EARLY = [
    "+callback.early._target_=lightning.pytorch.callbacks.EarlyStopping",
    "+callback.early.monitor=val/accuracy",
    "+callback.early.mode=max",
]


@pytest.fixture
def run(tmp_path, tiny):
    def train_once(*overrides, target=None):
        cfg = compose(*tiny, *overrides, folder=tmp_path)
        if target is not None:
            with open_dict(cfg):
                cfg.data = {"_target_": f"tests.test_requirements.{target}"}
        return train(cfg)

    return train_once


def test_without_validation_all_samples_are_trained_on_and_the_last_weights_tested(run, tmp_path):
    entry = run(*ALL, "trainer.max_epochs=3")
    assert entry["status"] == "finished"
    assert entry["metrics"]["epochs"] == 3
    assert entry["metrics"]["test/samples"] == 50
    assert entry["metrics"]["test/accuracy"] > 0.5
    assert "best_epoch" not in entry["metrics"]
    assert not [name for name in entry["metrics"] if name.startswith("val/")]
    assert [path.name for path in (tmp_path / "checkpoints").iterdir()] == ["last.ckpt"]


def test_a_callback_that_waits_for_a_validation_is_named(run):
    with pytest.raises(ValueError, match=r"validation data for EarlyStopping.*val/accuracy, got"):
        run(*ALL, *EARLY)


@pytest.mark.long
def test_a_validation_too_small_to_choose_by_is_warned_of_once(run, caplog):
    warn_of_small_validation.cache_clear()
    with caplog.at_level(logging.WARNING):
        for seed in (0, 1):
            own = ["trainer.max_epochs=1", f"seed={seed}", "overwrite=true"]
            run("data.train_size=196", "data.val_size=4", *own)
    assert "4 validation samples tell accuracy with a standard error of up to 25 points" in (
        caplog.text
    )
    assert caplog.text.count("standard error") == 1


class Few(Plain):
    def val_dataloader(self) -> DataLoader:  # type: ignore[type-arg]
        return DataLoader(samples(20, 1), batch_size=5)


def test_any_data_and_a_limited_validation_are_warned_of_by_what_was_seen(run, caplog):
    warn_of_small_validation.cache_clear()
    sizes = ["model.shape=[3]", "model.num_classes=2", "module.num_classes=2"]
    with caplog.at_level(logging.WARNING):
        run(*sizes, "trainer.max_epochs=1", target="Few")
        run("+trainer.limit_val_batches=1", "+data.eval_batch_size=15", "overwrite=true")
    told = [each for each in caplog.messages if "standard error" in each]
    assert [each.split()[0] for each in told] == ["20", "15"]
    assert "up to 11 points" in told[0]


@pytest.mark.parametrize(("samples", "warned"), [(24, True), (25, False), (5_000, False)])
def test_fewer_than_25_samples_are_too_few_to_choose_by(caplog, samples, warned):
    warn_of_small_validation.cache_clear()
    with caplog.at_level(logging.WARNING):
        warn_of_small_validation(samples, MEASURES[0])
        warn_of_small_validation(4, OF_REGRESSION[0])
    assert len(caplog.messages) == warned


class WithoutTest(L.LightningDataModule):
    train_dataloader = Plain.train_dataloader
    val_dataloader = Plain.val_dataloader


class Loose:
    """Has everything but the base class."""

    def prepare_data(self) -> None: ...

    def train_dataloader(self) -> object:
        return samples(10, 0)


@pytest.mark.parametrize(
    ("target", "message"),
    [
        (
            "WithoutTest",
            r"expected data with a test_dataloader, to test at the end, got WithoutTes",
        ),
        ("Loose", r"expected data to be a LightningDataModule, got a Loose"),
    ],
)
def test_what_data_lack_is_said_before_training(run, target, message):
    sizes = ["model.shape=[3]", "model.num_classes=2", "module.num_classes=2"]
    with pytest.raises(ValueError, match=message):
        run(*sizes, target=target)
