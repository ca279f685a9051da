"""Tasks without classes, and with two: trained, stacked, compared, and shown by what they have."""

from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch
from omegaconf import open_dict
from torch import Tensor, nn
from torch.nn import functional

from losslab import Regressor
from runlab.analysis.compare import compare
from runlab.analysis.write import write
from runlab.blocks.loader import Samples
from runlab.data import Content, TensorData
from runlab.runs import checkpoint, record
from runlab.stacks import train_together
from runlab.train import train
from tests.callbacks.regression import events
from tests.compose import compose

HERE = "tests.test_tasks"
QUICK = ["data_dir=nowhere", "trainer=cpu", "trainer.max_epochs=3", "model.widths=[16]"]


class Numbers(TensorData):
    """Eight features, and what `targets_of` makes of them and some noise."""

    shape = (8,)
    num_classes = 1

    def __init__(self, **others: Any) -> None:
        super().__init__(
            train_size=256, val_size=64, batch_size=16, steps_per_execution=4, **others
        )

    def read(self) -> Content:
        generator = torch.Generator().manual_seed(0)
        inputs = torch.randn(400, 8, generator=generator)
        noise = 0.1 * torch.randn(400, generator=generator)
        targets = self.targets_of(inputs, inputs[:, 0] - 2 * inputs[:, 1] + noise)
        parts = (Samples(inputs[part], targets[part]) for part in (slice(320), slice(320, 400)))
        return Content(*parts, checksum=type(self).__name__)

    def targets_of(self, inputs: Tensor, score: Tensor) -> Tensor:
        return score.unsqueeze(1)


class TwoClasses(Numbers):
    """One output of the network for two classes."""

    classes = ("below", "above")

    def targets_of(self, inputs: Tensor, score: Tensor) -> Tensor:
        return (score > 0).long()


class Labels(Numbers):
    """Three labels, of which each holds or not."""

    num_classes = 3

    def targets_of(self, inputs: Tensor, score: Tensor) -> Tensor:
        return (inputs[:, :3] > 0).float()


class LabelsOfClasses(Labels):
    classes = ("a", "b", "c")


class BinaryCrossEntropy(nn.Module):
    """−(1/n) Σ_i log p_i[label_i] of p = (1 − σ(z), σ(z)), for outputs z [batch, 1]."""

    def forward(self, outputs: Tensor, labels: Tensor) -> Tensor:
        return functional.binary_cross_entropy_with_logits(outputs.squeeze(1), labels.float())

    def probabilities(self, outputs: Tensor) -> Tensor:
        """(1 − σ(z), σ(z))."""
        return torch.cat([-outputs, outputs], dim=1).sigmoid()


class BinaryMSE(BinaryCrossEntropy):
    """(1/n) Σ_i (label_i − σ(z_i))², for outputs z [batch, 1]."""

    def forward(self, outputs: Tensor, labels: Tensor) -> Tensor:
        return functional.mse_loss(outputs.squeeze(1).sigmoid(), labels.float())


OF_TORCH = {
    "squared_error": "MSELoss", "l1": "L1Loss", "huber": "HuberLoss",
    "several": "BCEWithLogitsLoss", "classes": "CrossEntropyLoss",
}  # fmt: skip


def trained(folder: Path, data: str, loss: str, *overrides: str) -> Any:
    """A run on a class of this file, by a loss of this file or of torch."""
    name = f"torch.nn.{OF_TORCH[loss]}" if loss in OF_TORCH else f"{HERE}.{loss}"
    cfg = compose(*QUICK, f"loss._target_={name}", *overrides, folder=folder)
    kind = globals()[data]
    with open_dict(cfg):
        cfg.run.choices = {**cfg.run.choices, "loss": loss}
        cfg.data = {"_target_": f"{HERE}.{data}", "seed": cfg.seed}
        cfg.model.shape = [*kind.shape]
        if "model.num_classes" not in {each.partition("=")[0] for each in overrides}:
            cfg.model.num_classes = kind.num_classes
        if "num_classes" in cfg.module:
            cfg.module.num_classes = len(kind.classes)
    folder.mkdir(parents=True, exist_ok=True)
    return train(cfg)


@pytest.fixture(scope="module")
def regressions(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three losses, six seeds each; those of a loss train as one stack."""
    sweep = tmp_path_factory.mktemp("regression")
    for loss in ("squared_error", "l1", "huber"):
        common = ["module=regression", "comparison.margin=0.5"]
        common += ["+metric.rmse.measure.unit=m"]
        tasks = [
            partial(trained, sweep / f"{loss},{seed}", "Numbers", loss, f"seed={seed}", *common)
            for seed in range(6)
        ]
        for entry in train_together(tasks, 6):
            assert entry["status"] == "finished"
            assert entry["timing"]["stack"] == 6
    return sweep


@pytest.mark.long
def test_a_regression_by_three_losses_is_compared_by_rmse_with_a_margin(regressions: Path) -> None:
    comparison = compare(regressions)
    assert comparison.measure.axis("test") == "test RMSE, m"
    assert set(comparison.arms["arm"]) == {"squared_error", "l1", "huber"}
    assert (comparison.arms["test_mean"] < 1.0).all(), "the targets' standard deviation is 2.2"
    assert comparison.margin == 0.5
    assert any("within ±0.5 m" in sentence for sentence in comparison.conclusions)
    assert {"test_mae", "test_r2"} <= set(comparison.arms)


@pytest.mark.long
def test_nothing_of_a_regression_shows_classes(regressions: Path) -> None:
    folder = regressions / "huber,0"
    assert not (folder / "predictions.npz").exists()
    assert events(folder).Tags()["images"] == []
    assert not [tag for tag in events(folder).Tags()["scalars"] if "output_gradient" in tag]
    page = (write(compare(regressions)) / "comparison.html").read_text()
    assert 'id="calibration"' not in page
    assert 'id="why"' not in page
    assert not (regressions / "comparison" / "gradients.png").exists()


@pytest.mark.long
def test_a_regression_in_a_stack_is_that_alone(regressions: Path, tmp_path: Path) -> None:
    alone = trained(tmp_path / "alone", "Numbers", "l1", "module=regression", "seed=3")
    together = compare(regressions).runs.set_index("run").loc["l1,3"]
    for name in ("val/rmse", "test/mae", "test/r2", "train/loss"):
        assert together[name] == pytest.approx(alone["metrics"][name], rel=1e-4)


def test_one_output_a_sample_is_compared_with_its_target_alone() -> None:
    module = Regressor(nn.Linear(2, 1), nn.MSELoss(), optimizer=None)
    inputs, targets = torch.randn(5, 2), torch.randn(5)
    expected = (module(inputs).squeeze(1) - targets).square().mean()
    for each in (targets, targets.unsqueeze(1)):  # torch would take each output with each target
        assert module.loss_step((inputs, each), None)[0] == expected


def test_a_regression_refuses_outputs_of_another_shape_than_its_targets(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"outputs of the targets' shape \[16, 1\], got \[16, 3\]"):
        trained(tmp_path / "run", "Numbers", "l1", "module=regression", "model.num_classes=3")


def test_a_regression_with_one_validation_sample_is_one_sentence() -> None:
    module = Regressor(nn.Linear(2, 1), nn.MSELoss(), optimizer=None)
    module.metrics["val"].update(torch.ones(1, 1), torch.zeros(1, 1))
    with pytest.raises(ValueError, match=r"at least two samples for validation, .*got 1: set data"):
        module.metrics["val"].compute()


@pytest.mark.long
@pytest.mark.parametrize("loss", ["BinaryCrossEntropy", "BinaryMSE"])
def test_two_classes_by_one_output(tmp_path: Path, loss: str) -> None:
    entry = trained(tmp_path, "TwoClasses", loss, "optimizer.lr=0.5")
    assert entry["status"] == "finished"
    assert entry["metrics"]["test/accuracy"] > 0.9
    assert entry["metrics"]["val/chance"] == pytest.approx(0.5, abs=0.05)
    assert entry["module"] == {"probability_formula": "(1 − σ(z), σ(z))"}
    tags = events(tmp_path).Tags()
    assert tags["images"] == ["errors/confusion"]
    assert "val/output_gradient_norm_wrong" in tags["scalars"]
    assert (tmp_path / "predictions.npz").exists()


def test_several_labels_by_a_plain_module_and_a_metric(tmp_path: Path) -> None:
    f1 = "+metric.f1={_target_:torchmetrics.classification.MultilabelF1Score,num_labels:3}"
    entry = trained(
        tmp_path, "Labels", "several", "module=plain", f1, "comparison.metric=f1",
        "optimizer.lr=0.5",
    )  # fmt: skip
    assert entry["status"] == "finished"
    assert [each["name"] for each in entry["measures"]] == ["f1", "loss"]
    assert entry["metrics"]["test/f1"] > 0.6
    module, config = checkpoint.load(tmp_path / "checkpoints" / "best.ckpt")
    assert [*module.metrics["val"]] == ["f1"]
    assert config["callback"]["best"]["monitor"] == "val/f1"


def test_without_probabilities_accuracy_is_all_that_is_measured_of_classes(tmp_path: Path) -> None:
    """torch's own cross-entropy takes two outputs, and says nothing of probabilities."""
    entry = trained(tmp_path, "TwoClasses", "classes", "model.num_classes=2", "optimizer.lr=0.5")
    assert [each["name"] for each in entry["measures"]] == ["accuracy", "loss"]
    assert entry["metrics"]["test/accuracy"] > 0.9
    assert "test/nll" not in entry["metrics"]
    assert not (tmp_path / "predictions.npz").exists()
    module, _ = checkpoint.load(tmp_path / "checkpoints" / "best.ckpt")
    with pytest.raises(ValueError, match="expected a loss that makes class probabilities"):
        module.predict_probabilities(torch.zeros(1, 8))


@pytest.fixture(scope="module")
def by_f1(tmp_path_factory: pytest.TempPathFactory, tiny: list[str]) -> Path:
    """Two losses by macro-F1: its YAML over torchmetrics and nothing else."""
    sweep = tmp_path_factory.mktemp("by_f1")
    by = ["metric=f1", "comparison.metric=f1", "+comparison.margin.f1=0.05", "optimizer.lr=0.05"]
    for loss in ("mse", "cross_entropy"):
        (folder := sweep / f"loss={loss}").mkdir()
        train(compose(*tiny, *by, f"loss={loss}", "objective=val/f1", folder=folder))
    return sweep


@pytest.mark.long
def test_a_sweep_is_compared_by_the_primary_measure_that_its_configuration_names(
    by_f1: Path,
) -> None:
    comparison = compare(by_f1)
    assert (comparison.measure.name, comparison.measure.title) == ("f1", "macro-F1")
    assert comparison.folder.name == "comparison"
    assert comparison.margin == 0.05, "the accuracy's 0.2 points are no margin of another measure"
    assert compare(by_f1, "accuracy").margin == 0.2
    assert compare(by_f1, "nll").margin is None


def test_checkpoint_record_and_loggers_follow_the_primary_measure(by_f1: Path) -> None:
    entry = record.read(by_f1 / "loss=mse")
    assert entry["measures"][0]["name"] == "f1"
    content = checkpoint.read(by_f1 / "loss=mse" / "checkpoints" / "best.ckpt")
    [best] = [each for key, each in content["callbacks"].items() if "'val/f1'" in key]
    assert best["best_model_score"] == pytest.approx(entry["metrics"]["val/f1"])
    assert {"best/f1", "final/f1"} <= set(events(by_f1 / "loss=mse").Tags()["scalars"])
    f1 = [event.value for event in events(by_f1 / "loss=mse").Scalars("val/f1")]
    assert entry["metrics"]["val/f1"] == pytest.approx(max(f1))


def test_a_metric_of_several_numbers_is_refused_at_the_first_validation(
    tmp_path: Path, tiny: list[str]
) -> None:
    cfg = compose(*tiny, "metric=f1", "metric.f1.average=null", folder=tmp_path)
    with pytest.raises(ValueError, match="expected the metric f1 to compute one number, got 10"):
        train(cfg)


def test_a_metric_that_a_module_does_not_take_is_refused(tmp_path: Path, tiny: list[str]) -> None:
    boring = "module._target_=lightning.pytorch.demos.boring_classes.BoringModel"
    cfg = compose(*tiny, "metric=f1", boring, "~module.num_classes", folder=tmp_path)
    with pytest.raises(ValueError, match=r"expected no metric that the engine computes \(f1\)"):
        train(cfg)


def test_a_loss_of_classes_is_refused_for_numbers(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"expected a loss of numbers.*CrossEntropyLoss"):
        trained(tmp_path / "run", "Numbers", "classes", "module=regression")


def test_targets_that_are_numbers_are_refused_for_classes(tmp_path: Path) -> None:
    own = ["module=plain", "module._target_=losslab.Classifier", "+module.num_classes=3"]
    with pytest.raises(ValueError, match=r"numbers of classes, got torch.float32: .*=regression"):
        trained(tmp_path / "run", "LabelsOfClasses", "classes", *own)
