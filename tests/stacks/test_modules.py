"""Modules that a stack knows nothing of: batch norm, draws, parameters and groups of their own."""

import copy
import logging
from functools import partial
from pathlib import Path
from typing import Any

import lightning as L
import pytest
import torch
from torch import Tensor, nn
from torch.optim import SGD, Optimizer
from torch.optim.lr_scheduler import LambdaLR
from torch.utils.data import DataLoader

from losslab import Classifier
from losslab.data import MNIST
from runlab.module import Module, stack_of_run
from runlab.stacks import train_together
from tests.stacks.test_stack import (
    DOUBLE,
    NOTE,
    ONE_EPOCH,
    TWO_EPOCHS,
    assert_equal,
    assert_shared,
    checkpoint,
)

HERE = "tests.stacks.test_modules"
RUNS = {"first": ["optimizer.lr=0.01", "seed=0"], "second": ["optimizer.lr=0.004", "seed=1"]}
CONVOLUTION = "{_target_: torch.nn.Conv2d, in_channels: 1, out_channels: 3, kernel_size: 1}"
RESNET = "{_target_: torchvision.models.resnet18, num_classes: 10}"
RESNET_18 = [
    *("model=linear", "~model.shape", "~model.num_classes", "model._target_=torch.nn.Sequential"),
    f"+model._args_=[{CONVOLUTION},{RESNET}]",
]
NORMALIZED = ["model=linear", f"model._target_={HERE}.Normalized"]


def state(folder: Path) -> dict[str, Tensor]:
    return checkpoint(folder)["state_dict"]


def assert_same_state(together: Path, alone: Path, tolerance: float = 1e-9) -> None:
    """Each parameter and buffer."""
    ours, theirs = state(together), state(alone)
    assert ours.keys() == theirs.keys()
    for name, expected in theirs.items():
        allowed = tolerance * expected.double().norm() if expected.is_floating_point() else 0
        assert (ours[name] - expected).double().norm() <= allowed, name


def as_module(name: str) -> list[str]:
    return [f"module._target_={HERE}.{name}"]


@pytest.mark.long
def test_a_network_with_batch_norm_is_what_it_is_alone_running_statistics_too(
    stack, alone, tmp_path
):
    common = [*RESNET_18, DOUBLE, TWO_EPOCHS]  # 20 steps
    assert_shared(stack(RUNS, *common), 2)
    assert_same_state(tmp_path / "first", alone(*common, *RUNS["first"]))
    assert state(tmp_path / "first")["network.1.bn1.num_batches_tracked"] == 20


class Normalized(nn.Module):
    """Small, with batch norm; on request it draws at random too."""

    def __init__(self, shape: list[int], num_classes: int, dropout: float = 0.0) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            nn.Flatten(), nn.Linear(784, 16, bias=False), nn.BatchNorm1d(16), nn.ReLU(),
            nn.Dropout(dropout), nn.Linear(16, num_classes),
        )  # fmt: skip

    def forward(self, images: Tensor) -> Tensor:
        return self.layers(images)


@pytest.mark.long
@pytest.mark.parametrize(
    "own",
    [
        ["optimizer.momentum=0.9", "scheduler=cosine", "trainer.gradient_clip_val=0.5"],
        ["optimizer=adam"],
        ["data.loader=dataloader"],  # ordinary batches
        ["trainer.accumulate_grad_batches=3", "trainer.gradient_clip_val=0.5"],
    ],
)
def test_buffers_come_to_the_same_by_any_optimizer_and_loader(stack, alone, tmp_path, own):
    common = [*NORMALIZED, *own, DOUBLE, TWO_EPOCHS]
    assert_shared(stack(RUNS, *common), 2)
    for name, run in RUNS.items():
        assert_same_state(tmp_path / name, alone(*common, *run))


@pytest.mark.long
def test_batch_norm_beside_dropout_is_stacked_watched_and_compiled(stack, monkeypatch, caplog):
    monkeypatch.setattr("runlab.stacks.scheduler.WATCHED", 1.0)
    common = [*NORMALIZED, "+model.dropout=0.3", ONE_EPOCH]
    assert_shared(stack(RUNS, *common, backend="aot_eager"), 2)
    assert "not compiled" not in caplog.text


class Mixup(Classifier):
    """Mixes samples by a weight that is drawn, and learns a temperature besides its network."""

    def __init__(self, *args: Any, **settings: Any) -> None:
        super().__init__(*args, **settings)
        self.temperature = nn.Parameter(torch.ones(10))
        self.register_buffer("seen", torch.zeros((), dtype=torch.int64))
        self.strength = 1.0

    def draw(self, batch, generator):
        size = len(batch[1])
        weight = torch.rand((), generator=generator)
        return {"order": torch.randperm(size, generator=generator), "weight": weight}

    def loss_step(self, batch, drawn):
        if drawn is None:  # in validation and test
            return super().loss_step(batch, drawn)
        images, labels = batch
        self.seen += len(labels)
        order, weight = drawn["order"], drawn["weight"]
        outputs = self.network(weight * images + (1 - weight) * images[order]) * self.temperature
        first, second = self.loss(outputs, labels), self.loss(outputs, labels[order])
        loss = self.strength * (weight * first + (1 - weight) * second)
        return loss, {"outputs": outputs, "first": first}


class Noisy(MNIST):
    """Augments bytes on the device."""

    def augment(self, inputs: Tensor, generator: torch.Generator) -> Tensor:
        noise = torch.randint(0, 9, inputs.shape, generator=generator, device=inputs.device)
        return (inputs // 2 + noise).to(inputs.dtype)


class Shape(L.Callback):
    def on_train_batch_end(self, trainer, pl_module, outputs, batch, batch_idx):
        assert outputs["outputs"]["outputs"].shape == (16, 10)
        assert outputs["outputs"]["first"].shape == ()


@pytest.mark.long
@pytest.mark.parametrize(
    "own",
    ["data.loader=tensor", "data.loader=dataloader", "trainer.accumulate_grad_batches=3"],
)
def test_what_is_drawn_and_augmented_is_each_runs_own(stack, alone, tmp_path, monkeypatch, own):
    monkeypatch.setattr("runlab.stacks.scheduler.WATCHED", 1.0)
    common = [*as_module("Mixup"), f"data._target_={HERE}.Noisy", own,
              f"+callback.shape._target_={HERE}.Shape", DOUBLE, TWO_EPOCHS]  # fmt: skip
    assert_shared(stack(RUNS, *common), 2)
    for name, run in RUNS.items():
        assert_equal(tmp_path / name, alone(*common, *run))
        assert_same_state(tmp_path / name, alone(*common, *run))
    assert state(tmp_path / "first")["seen"] == 20 * 16
    plain = alone(TWO_EPOCHS, DOUBLE, *RUNS["first"])
    weights = [state(each)["network.layers.1.weight"] for each in (tmp_path / "first", plain)]
    assert not torch.allclose(*weights)


class Queue(Mixup):
    """Draws the images of the step before."""

    def __init__(self, *args: Any, **settings: Any) -> None:
        super().__init__(*args, **settings)
        self.register_buffer("before", torch.zeros(16, 1, 28, 28))

    def draw(self, batch, generator):
        self.before.copy_(batch[0] / 255)
        return super().draw(batch, generator)


class Counts(Mixup):
    drawn = 0

    def draw(self, batch, generator):
        self.drawn += 1
        return super().draw(batch, generator)


class DrawsInPlace(Mixup):
    def draw(self, batch, generator):
        batch[0].bitwise_right_shift_(1)
        return super().draw(batch, generator)


class StepsInPlace(Mixup):
    def loss_step(self, batch, drawn):
        batch[1].add_(1).remainder_(10)
        return super().loss_step(batch, drawn)


class DarkensInPlace(MNIST):
    def augment(self, inputs: Tensor, generator: torch.Generator) -> Tensor:
        return inputs.bitwise_right_shift_(1)


@pytest.mark.parametrize(
    ("own", "told"),
    [
        (as_module("Queue"), "expected draw of Queue to leave its module as it is"),
        (
            as_module("Counts"),
            "expected draw of Counts to leave the module as it is, got another d",
        ),
        (as_module("DrawsInPlace"), "expected draw of DrawsInPlace to leave its batch as it is"),
        (as_module("StepsInPlace"), "expected loss_step of StepsInPlace to leave its batch as it"),
        (
            [f"data._target_={HERE}.DarkensInPlace"],
            "expected augment of DarkensInPlace to leave its inputs as it is",
        ),
    ],
)
def test_what_changes_its_batch_or_draws_by_a_state_is_refused_alone_and_stacked(
    stack, alone, own, told
):
    """A stack looks at a step before it is taken: whatever changed would change twice."""
    with pytest.raises(ValueError, match=told):
        alone(*own, ONE_EPOCH, *RUNS["first"])
    for entry in stack(RUNS, *own, ONE_EPOCH):
        assert told in str(entry)


class Weaker(L.Callback):
    def on_train_epoch_start(self, trainer, pl_module):
        pl_module.strength = 0.5**trainer.current_epoch


@pytest.mark.long
def test_what_a_callback_sets_in_the_module_holds_in_a_stack_too(stack, alone, tmp_path):
    common = [*as_module("Mixup"), f"+callback.weaker._target_={HERE}.Weaker", DOUBLE, TWO_EPOCHS]
    assert_shared(stack(RUNS, *common), 2)
    assert_equal(tmp_path / "first", alone(*common, *RUNS["first"]))


class TwoRates(Classifier):
    """Its last layer at ten times the rate, by a schedule of its own; its first one is frozen."""

    def configure_optimizers(self) -> Any:
        first, *body, head, bias = self.network.parameters()
        first.requires_grad_(False)
        rate = self.optimizer_factory([first]).defaults["lr"]
        groups = [{"params": [first, *body]}, {"params": [head, bias], "lr": 10 * rate}]
        optimizer = SGD(groups, lr=rate, momentum=self.momentum)
        return [optimizer], [LambdaLR(optimizer, [lambda step: 1.0, lambda step: 0.9**step])]

    momentum = 0.0


class TwoRatesWithMomentum(TwoRates):
    momentum = 0.9


@pytest.mark.long
@pytest.mark.parametrize("module", ["TwoRates", "TwoRatesWithMomentum"])
def test_each_group_of_parameters_has_its_own_rate_and_schedule(stack, alone, tmp_path, module):
    common = [*as_module(module), DOUBLE, TWO_EPOCHS]
    assert_shared(stack(RUNS, *common), 2)
    for name, run in RUNS.items():
        assert_equal(tmp_path / name, alone(*common, *run))


class StepsItself(Classifier):
    def take_step(self, *args: Any, **settings: Any) -> Any:
        return super().take_step(*args, **settings)


class LeavesOut(Classifier):
    def configure_optimizers(self) -> Optimizer:
        return self.optimizer_factory([*self.network.parameters()][2:])


class Deep(Classifier):
    """Holds what a stack cannot see into."""

    def __init__(self, *args: Any, **settings: Any) -> None:
        super().__init__(*args, **settings)
        self.helper = object()


class DrawsElsewhere(Mixup):
    def draw(self, batch, generator):
        return super().draw(batch, None)


class DrawsByWeights(Mixup):
    def draw(self, batch, generator):
        drawn = super().draw(batch, generator)
        return {**drawn, "weight": drawn["weight"] * self.temperature.sum().sigmoid()}


class Teacher(Mixup):
    """Changes, in a step, a parameter that is frozen."""

    def __init__(self, *args: Any, **settings: Any) -> None:
        super().__init__(*args, **settings)
        self.frozen = nn.Parameter(torch.zeros(10), requires_grad=False)

    def loss_step(self, batch, drawn):
        self.frozen.data.add_(1)
        return super().loss_step(batch, drawn)


class Expanded(Mixup):
    """A buffer that is one number, seen as ten."""

    def __init__(self, *args: Any, **settings: Any) -> None:
        super().__init__(*args, **settings)
        self.register_buffer("shared", torch.ones(1).expand(10), persistent=False)


class ReadsItsSeed(Mixup):
    def loss_step(self, batch, drawn):
        loss, outputs = super().loss_step(batch, drawn)
        return loss * (1 + self.hparams["config"]["seed"]), outputs


class Remembers(Mixup):
    """Keeps a number of its own from step to step."""

    taken = 0

    def loss_step(self, batch, drawn):
        self.taken += 1
        loss, outputs = super().loss_step(batch, drawn)
        return loss / self.taken, outputs


@pytest.mark.long
@pytest.mark.parametrize(
    ("module", "reason"),
    [
        ("Expanded", "its shared holds one number for several places"),
        ("StepsItself", "its StepsItself has a take_step of its own, which a stack does not call"),
        (
            "LeavesOut",
            "its network.layers.1.weight is in no group of its optimizer",
        ),
        ("Deep", "its helper is or holds a object: a stack cannot see"),
        ("DrawsElsewhere", "its draw or augment draws from another generator than the one"),
        ("DrawsByWeights", "what its draw or augment returns depends on more than the batch"),
        ("Teacher", "a training step changes its frozen"),
        ("ReadsItsSeed", "its loss_step reads hparams.config, another one in each run"),
        ("Remembers", "a training step changes its taken"),
    ],
)
def test_what_a_stack_cannot_reproduce_trains_alone_and_is_named(stack, caplog, module, reason):
    with caplog.at_level(logging.WARNING):
        entries = stack(RUNS, *as_module(module), ONE_EPOCH)
    assert_shared(entries, 1)
    assert f"{NOTE}{reason}" in caplog.text


class Copies(L.Callback):
    """As an average of weights does it."""

    blocks_suffice = True
    copied: list[Any] = []  # noqa: RUF012

    def on_train_batch_end(self, trainer, pl_module, outputs, batch, batch_idx):
        Copies.copied.append(copy.deepcopy(pl_module))


@pytest.mark.long
def test_a_callback_may_copy_the_module_of_a_stack(stack, monkeypatch):
    monkeypatch.setattr(Copies, "copied", [])
    assert_shared(stack(RUNS, ONE_EPOCH, f"+callback.copies._target_={HERE}.Copies"), 2)
    assert len(Copies.copied) == 2 * 3
    assert all(each.stack is None for each in Copies.copied)


class Rows(L.LightningDataModule):
    """Batches as PyTorch's own loader gives them, as dictionaries."""

    def train_dataloader(self) -> DataLoader[Any]:
        inputs = torch.linspace(-1, 1, 24).view(8, 3)
        rows = [{"x": x, "y": x.sum()} for x in inputs]
        return DataLoader(rows, batch_size=2)  # type: ignore[arg-type]

    val_dataloader = train_dataloader


class Regression(Module):
    def __init__(self, lr: float) -> None:
        super().__init__()
        self.linear, self.lr = nn.Linear(3, 1), lr

    def loss_step(self, batch, drawn):
        outputs = self.linear(batch["x"]).squeeze(1)
        return nn.functional.mse_loss(outputs, batch["y"]), outputs

    def configure_optimizers(self) -> Optimizer:
        return SGD(self.parameters(), lr=self.lr)


class UsesItsRate(Regression):
    def loss_step(self, batch, drawn):
        loss, outputs = super().loss_step(batch, drawn)
        return loss * self.lr, outputs


def fit(seed: int, kind: type[Regression] = Regression) -> Regression:
    torch.manual_seed(seed)
    module = kind(lr=0.1 + 0.1 * seed)
    config = {"comparison": {"rate": "module.lr"}, "module": {"lr": module.lr}}
    module.save_hyperparameters({"config": config}, logger=False)
    module.stack = stack_of_run.get()
    trainer = L.Trainer(
        max_epochs=2, accelerator="cpu", logger=False, enable_checkpointing=False,
        enable_progress_bar=False, enable_model_summary=False,
        limit_val_batches=1, num_sanity_val_steps=0,
    )  # fmt: skip
    trainer.fit(module, datamodule=Rows())
    return module


def test_dictionaries_of_an_ordinary_loader_and_a_modules_own_rate_are_stacked():
    for seed, module in enumerate(train_together([partial(fit, 0), partial(fit, 1)], 50)):
        if isinstance(module, Exception):
            raise module
        assert module.stack.largest == 2
        torch.testing.assert_close(module.linear.weight, fit(seed).linear.weight)


def test_a_step_that_uses_the_rate_in_which_runs_differ_is_not_stacked(caplog):
    fits = [partial(fit, seed, UsesItsRate) for seed in range(2)]
    assert [module.stack.largest for module in train_together(fits, 50)] == [1, 1]
    assert "'UsesItsRate' object has no attribute 'lr'" in caplog.text
