"""What cannot be in a stack and says why, and what can though it changes between blocks."""

import logging
import random
import threading

import lightning as L
import pytest
import torch
from torch import Tensor, nn
from torch.optim import SGD
from torch.optim.lr_scheduler import OneCycleLR

from losslab.data import MNIST
from losslab.losses import CrossEntropy, MSELogits
from runlab.runs import record
from tests.stacks.test_stack import (
    DOUBLE,
    NOTE,
    ONE_EPOCH,
    PAIR,
    RUNS,
    TWO_EPOCHS,
    assert_equal,
    assert_shared,
)

HERE = "tests.stacks.test_eligibility"


class Net(nn.Module):
    """Something that a stack has to notice, by its kind."""

    def __init__(self, kind: str = "", **sizes: object) -> None:
        super().__init__()
        self.kind = kind
        self.layers = nn.Sequential(nn.Flatten(), nn.Linear(784, 16), nn.ReLU())
        self.output = nn.Linear(16, 10)
        if kind == "hooks":
            self.output.register_forward_hook(lambda *arguments: None)

    def forward(self, images: Tensor) -> Tensor:
        hidden = self.layers(images)
        if self.kind == "control flow" and hidden.sum() > 0:
            hidden = 2 * hidden
        return self.output(hidden)


class Squared(SGD):
    """Says that it goes twice as far at twice the rate, and goes four times as far."""

    stackable = True

    def step(self, closure=None):
        for group in self.param_groups:
            group["lr"] = group["lr"] ** 2
        result = super().step(closure)
        for group in self.param_groups:
            group["lr"] = group["lr"] ** 0.5
        return result


class Undeclared(Squared):
    """Counts its steps, and takes every second one backwards; says nothing of its own."""

    steps = 0

    def step(self, closure=None):
        self.steps += 1
        for group in self.param_groups:
            group["maximize"] = self.steps % 2 == 0
        return super().step(closure)


class EachStep(L.Callback):
    def on_before_optimizer_step(self, trainer, pl_module, optimizer):
        pass


def cycling(optimizer, total_steps):
    return OneCycleLR(optimizer, max_lr=0.1, total_steps=total_steps, cycle_momentum=True)


def with_network(kind: str) -> list[str]:
    return [f"model._target_={HERE}.Net", f"+model.kind={kind}", "~model.widths",
            "~model.activation"]  # fmt: skip


@pytest.mark.long
@pytest.mark.parametrize(
    ("overrides", "reason"),
    [
        (with_network("control flow"), "torch.vmap cannot take its loss_step ("),
        (with_network("hooks"), "its network.output has hooks"),
        ([f"optimizer._target_={HERE}.Squared"], "its steps come out differently ("),
        ([f"optimizer._target_={HERE}.Undeclared"], "its optimizer is a Undeclared, whose step"),
        (["optimizer._target_=torch.optim.ASGD"],
         "its optimizer is a ASGD, whose step may be no multiple of the rate ("),
        (["scheduler=one_cycle", f"scheduler._target_={HERE}.cycling", "~scheduler.warmup",
          "optimizer.momentum=0.9"], "its schedule changes momentum besides the learning rate"),
        ([f"+callback.each._target_={HERE}.EachStep"],
         "the callback EachStep has to be called at on_before_optimizer_step"),
    ],
)  # fmt: skip
def test_what_cannot_be_stacked_trains_one_by_one_to_the_same_and_says_why(
    stack, alone, caplog, overrides, reason
):
    common = [ONE_EPOCH, *overrides]
    with caplog.at_level(logging.WARNING):
        entries = stack(PAIR, *common)
    said = [record.getMessage() for record in caplog.records if NOTE in record.getMessage()]
    assert len(said) == 1
    assert said[0].startswith(NOTE + reason)
    assert_shared(entries, 1)
    for own, entry in zip(PAIR.values(), entries, strict=True):
        assert entry["metrics"] == record.read(alone(*common, *own))["metrics"]


class Meddling(L.Callback):
    """Changes, in the second epoch, one of what a stack might have taken for granted."""

    def __init__(self, what: str) -> None:
        self.what = what

    def on_train_epoch_start(self, trainer, pl_module):
        Scaled.factor = 1.0
        if trainer.current_epoch == 1:
            [group] = trainer.optimizers[0].param_groups
            if self.what == "frozen":
                first, *_ = pl_module.network.parameters()
                first.requires_grad_(False)
            if self.what == "optimizer":
                group["weight_decay"] = 0.1
            if self.what == "class":
                pl_module.network.layers[2] = nn.Tanh()
            if self.what == "tensor":
                pl_module.loss.scale = torch.tensor(0.5)
            if self.what == "class attribute":
                Scaled.factor = 0.1
            if self.what == "attribute":
                pl_module.loss.k = 2.0 if group["lr"] > 0.02 else 3.0


class Scaled(MSELogits):
    """With a tensor of its own."""

    factor = 1.0

    def __init__(self, **numbers: float) -> None:
        super().__init__(**numbers)
        self.register_buffer("scale", torch.tensor(1.0))

    def forward(self, outputs: Tensor, labels: Tensor) -> Tensor:
        factor = self.factor if self.training else 1.0  # other runs may validate meanwhile
        return super().forward(outputs, labels) * self.scale * factor


@pytest.mark.long
@pytest.mark.parametrize(
    "what", ["frozen", "optimizer", "class", "tensor", "class attribute", "attribute"]
)
def test_what_a_callback_changes_between_blocks_holds_in_a_stack_too(stack, alone, tmp_path, what):
    common = [DOUBLE, TWO_EPOCHS, *with_network(""), f"loss._target_={HERE}.Scaled",
              "loss=mse_logits"]  # fmt: skip
    common += [f"+callback.meddling._target_={HERE}.Meddling", f"+callback.meddling.what={what}"]
    runs = RUNS if what == "attribute" else PAIR  # it becomes another in the second run
    assert_shared(stack(runs, *common), len(runs))
    for name, own in runs.items():
        assert_equal(tmp_path / name, alone(*common, *own))


class Rounding:
    """Its `repr` tells where in memory it lies."""


class Helped(MSELogits):
    stackable = True

    def __init__(self, **numbers: float) -> None:
        super().__init__(**numbers)
        self.helper = Rounding()


class HelpedToo(Helped):
    """Has to say so itself."""


@pytest.mark.long
def test_a_loss_that_holds_an_object_is_stacked_if_its_own_class_says_so(stack, caplog):
    common = [ONE_EPOCH, "loss=mse_logits"]
    assert_shared(stack(PAIR, *common, f"loss._target_={HERE}.Helped"), 2)
    others = {f"{name}_too": own for name, own in PAIR.items()}
    assert_shared(stack(others, *common, f"loss._target_={HERE}.HelpedToo"), 1)
    assert f"{NOTE}its loss's helper is or holds a Rounding: a stack cannot see" in caplog.text
    assert "(`stackable = True` in the class HelpedToo says that it is)" in caplog.text


class Annealing:
    """1, ½, ¼, … from call to call."""

    def __init__(self) -> None:
        self.value = 2.0

    def __call__(self) -> float:
        self.value /= 2
        return self.value


class Annealed(MSELogits):
    """Less from step to step, by a plain object."""

    def __init__(self, **numbers: float) -> None:
        super().__init__(**numbers)
        self.schedule = Annealing()

    def forward(self, outputs: Tensor, labels: Tensor) -> Tensor:
        return super().forward(outputs, labels) * self.schedule()


class Features:
    def __init__(self) -> None:
        self.weights = torch.randn(784, 16)


class RandomFeatures(nn.Module):
    """Learns from random features of a plain object, which are others for each seed."""

    def __init__(self, shape: list[int], num_classes: int) -> None:
        super().__init__()
        self.features, self.output = Features(), nn.Linear(16, num_classes)

    def forward(self, images: Tensor) -> Tensor:
        weights = self.features.weights.to(images.dtype)
        return self.output((images.flatten(1) @ weights).sin())


class Sharing(nn.Module):
    """Two layers, one of which is the other's memory."""

    def __init__(self, shape: list[int], num_classes: int) -> None:
        super().__init__()
        self.linear = nn.Linear(784, num_classes)
        self.register_buffer("weight", self.linear.weight.detach())

    def forward(self, images: Tensor) -> Tensor:
        return self.linear(images.flatten(1)) + images.flatten(1) @ self.weight.T


class Normalized(MNIST):
    """Divides by a number that the seed decides."""

    def normalize(self, inputs: Tensor) -> Tensor:
        return super().normalize(inputs) / (1 + self.seed)


class Blurred(MNIST):
    def __init__(self, **settings: object) -> None:
        super().__init__(**settings)
        self.blur = torch.nn.AvgPool2d(1)

    def normalize(self, inputs: Tensor) -> Tensor:
        return super().normalize(inputs)


SAME_SEED = {"first": ["seed=0", "optimizer.lr=0.1"], "second": ["seed=0", "optimizer.lr=0.02"],
             "third": ["seed=1", "optimizer.lr=0.1"]}  # fmt: skip
OPAQUE = {
    "loss._target_={}.Annealed": "its loss's schedule is or holds a Annealing: ",
    "model._target_={}.RandomFeatures": "its network's features is or holds a Features: ",
    "model._target_={}.Sharing": "its network.linear.weight and network.weight share their memory",
    "data._target_={}.Normalized": None,  # each by itself
    "data._target_={}.Blurred": "its data's blur is a AvgPool2d that is not among its modules",
}


@pytest.mark.long
@pytest.mark.parametrize("component", OPAQUE)
def test_what_a_stack_cannot_see_trains_alone_and_is_named(
    stack, alone, tmp_path, caplog, component
):
    # in which Lightning copies each tensor by itself, so that none are shared
    double = [] if "Sharing" in component else [DOUBLE]
    own = [ONE_EPOCH, *double, component.format(HERE)]
    common = ["loss=mse_logits", *own] if "loss" in component else ["model=linear", *own]
    with caplog.at_level(logging.WARNING):
        entries = stack(SAME_SEED, *common)
    expected = [2, 2, 1] if "Normalized" in component else [1, 1, 1]
    assert [entry["timing"]["stack"] for entry in entries] == expected
    for name, run in SAME_SEED.items():
        assert_equal(tmp_path / name, alone(*common, *run))
    assert (OPAQUE[component] or "") in caplog.text


class Counting(nn.Module):
    """Cross-entropy that counts its calls."""

    def __init__(self) -> None:
        super().__init__()
        self.calls = 0

    def forward(self, outputs: Tensor, labels: Tensor) -> Tensor:
        self.calls += 1
        return nn.functional.cross_entropy(outputs, labels) / self.calls

    def probabilities(self, outputs: Tensor) -> Tensor:
        return outputs.softmax(dim=1)


class Tallying(Counting):
    """Counts in a tensor that is no buffer."""

    def __init__(self) -> None:
        super().__init__()
        self.calls = torch.tensor(0)


steps = {"taken": 0}


class Scheduled(CrossEntropy):
    """Counts in a global, of which it makes use late."""

    def forward(self, outputs: Tensor, labels: Tensor) -> Tensor:
        steps["taken"] += self.training
        return super().forward(outputs, labels) * (1 if steps["taken"] < 10_000 else 0.1)


class OfAll(CrossEntropy):
    """Counts in its class."""

    taken = 0

    def forward(self, outputs: Tensor, labels: Tensor) -> Tensor:
        OfAll.taken += 1
        return super().forward(outputs, labels) * (1 if OfAll.taken < 10_000 else 0.1)


class Tally:
    def __init__(self) -> None:
        self.taken = 0


tally = Tally()


class Telling(CrossEntropy):
    """Tells an object, which is a global, of its steps."""

    def forward(self, outputs: Tensor, labels: Tensor) -> Tensor:
        tally.taken += 1
        return super().forward(outputs, labels) * (1 if tally.taken < 10_000 else 0.1)


class Lucky(nn.Module):
    """Draws from Python's generator."""

    def __init__(self, shape: list[int], num_classes: int) -> None:
        super().__init__()
        self.linear = nn.Linear(784, num_classes)

    def forward(self, images: Tensor) -> Tensor:
        return self.linear(images.flatten(1)) * (1 + random.random() / 10)


class Uncopiable(nn.Module):
    def __init__(self, shape: list[int], num_classes: int) -> None:
        super().__init__()
        self.linear = nn.Linear(784, num_classes)
        self.lock = threading.Lock()

    def forward(self, images: Tensor) -> Tensor:
        return self.linear(images.flatten(1))


@pytest.mark.long
@pytest.mark.parametrize(
    ("group", "component", "reason"),
    [
        ("loss", "Counting", "a training step changes its loss's calls"),
        ("loss", "Tallying", "its loss's calls is a tensor that is neither parameter nor buffer"),
        ("loss", "Scheduled", f"a training step changes steps of the module {HERE}"),
        ("loss", "OfAll", "a training step changes taken of the class OfAll"),
        ("loss", "Telling", f"a training step changes tally of the module {HERE}"),
        ("model", "Lucky", "a training step changes Python's or NumPy's random generator"),
        ("model", "Uncopiable", "its network's lock is or holds a lock"),
    ],
)
def test_what_has_a_state_of_its_own_is_not_stacked(
    stack, alone, tmp_path, caplog, group, component, reason
):
    base = ["model=linear"] if group == "model" else []
    common = [*base, f"{group}._target_={HERE}.{component}", DOUBLE, ONE_EPOCH]
    with caplog.at_level(logging.WARNING):
        entries = stack(PAIR, *common)
    assert_shared(entries, 1)
    assert reason in caplog.text
    if component == "Lucky":
        return  # while tests run, the type checker draws from the same generator
    for name, own in PAIR.items():
        assert_equal(tmp_path / name, alone(*common, *own))
