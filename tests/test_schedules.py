"""Any schedule by YAML alone: how long it is, and when it steps."""

import io
from functools import partial

import lightning as L
import pytest
import torch
from omegaconf import OmegaConf
from torch import nn
from torch.optim import SGD, lr_scheduler
from torch.utils.data import DataLoader, IterableDataset, TensorDataset

from runlab.module import Module
from runlab.schedules import build_schedule_factory, total_epochs, total_steps
from runlab.train import train
from tests.compose import compose

HERE = "tests.test_schedules"
BATCHES, BATCH = 10, 4
INPUTS = torch.randn(BATCHES * BATCH, 3, generator=torch.Generator().manual_seed(0))
TRAINED = DataLoader(TensorDataset(INPUTS, INPUTS.sum(1, keepdim=True)), batch_size=BATCH)
QUIET = {
    "accelerator": "cpu", "logger": False, "enable_checkpointing": False,
    "enable_progress_bar": False, "enable_model_summary": False, "num_sanity_val_steps": 0,
}  # fmt: skip
TORCH = "torch.optim.lr_scheduler"


def halved(step: int) -> float:
    return 0.5**step


class Rates(L.Callback):
    """The learning rate of each optimizer step."""

    def __init__(self) -> None:
        self.taken: list[float] = []

    def on_before_optimizer_step(self, trainer, pl_module, optimizer):
        self.taken.append(optimizer.param_groups[0]["lr"])


class Automatic(L.LightningModule):
    """As Lightning's documentation writes one."""

    def __init__(self, scheduler) -> None:
        super().__init__()
        self.network, self.scheduler = nn.Linear(3, 1), scheduler

    def training_step(self, batch, batch_index):
        return nn.functional.mse_loss(self.network(batch[0]), batch[1])

    def validation_step(self, batch, batch_index):
        self.log("val/loss", self.training_step(batch, batch_index))

    def configure_optimizers(self):
        optimizer = SGD(self.parameters(), lr=1e-3)
        return [optimizer], [self.scheduler(optimizer)]


def manual(scheduler) -> Module:
    optimizer = partial(SGD, lr=1e-3)
    return Module(nn.Linear(3, 1), nn.MSELoss(), optimizer=optimizer, scheduler=scheduler)


def fit(node, kind=manual, loader=TRAINED, **options):
    """Trains; returns the rate of each optimizer step, and the trainer."""
    scheduler = build_schedule_factory(OmegaConf.create(node))
    rates = Rates()
    trainer = L.Trainer(**QUIET, **{"max_epochs": 2} | options, callbacks=[rates])
    scheduler.module = kind(scheduler)
    trainer.fit(scheduler.module, loader, TRAINED)
    return rates.taken, trainer


def by_hand(make, steps: int) -> list[float]:
    """The rates of a schedule that steps after each optimizer step."""
    optimizer = SGD([nn.Parameter(torch.zeros(1))], lr=1e-3)
    schedule, rates = make(optimizer), []
    for _ in range(steps):
        rates.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        schedule.step()
    return rates


STEP_BY_STEP = {
    "StepLR": {"step_size": 3},
    "MultiStepLR": {"milestones": [2, 5]},
    "LambdaLR": {"lr_lambda": {"_target_": f"{HERE}.halved", "_partial_": True}},
    "MultiplicativeLR": {"lr_lambda": {"_target_": f"{HERE}.halved", "_partial_": True}},
    "ConstantLR": {"factor": 0.5},
    "LinearLR": {"total_iters": 6},
    "ExponentialLR": {"gamma": 0.9},
    "CosineAnnealingLR": {"T_max": 7},
    "CosineAnnealingWarmRestarts": {"T_0": 4},
    "OneCycleLR": {"max_lr": 0.01, "total_steps": 20},
    "CyclicLR": {"base_lr": 1e-3, "max_lr": 0.01, "step_size_up": 3, "cycle_momentum": False},
    "PolynomialLR": {"total_iters": 8},
}
OTHERS = {"ReduceLROnPlateau", "SequentialLR", "ChainedScheduler"}


def test_no_class_of_torch_is_forgotten():
    there = {
        name
        for name, each in vars(lr_scheduler).items()
        if isinstance(each, type) and issubclass(each, lr_scheduler.LRScheduler)
    }
    assert there - {"LRScheduler", "_LRScheduler"} == STEP_BY_STEP.keys() | OTHERS


@pytest.mark.parametrize("kind", [manual, Automatic])
@pytest.mark.parametrize("name", STEP_BY_STEP)
def test_every_schedule_of_torch_steps_with_the_optimizer(name, kind):
    node, target = STEP_BY_STEP[name], getattr(lr_scheduler, name)
    rates, trainer = fit({"_target_": f"{TORCH}.{name}", **node}, kind)
    given = {k: halved if k == "lr_lambda" else v for k, v in node.items()}
    assert rates == by_hand(lambda optimizer: target(optimizer, **given), 2 * BATCHES)
    content = io.BytesIO()
    torch.save(trainer.lr_scheduler_configs[0].scheduler.state_dict(), content)
    content.seek(0)
    torch.load(content, weights_only=True)


def test_schedules_of_schedules():
    warmup = {"_target_": f"{TORCH}.LinearLR", "start_factor": 0.5, "total_iters": 2}
    down = {"_target_": f"{TORCH}.CosineAnnealingLR", "T_max": "0.9 * total_steps"}
    both = {"schedulers": [warmup, down]}
    rates, _ = fit({"_target_": f"{TORCH}.SequentialLR", **both, "milestones": [2]})
    assert rates[:4] == pytest.approx([5e-4, 7.5e-4, 1e-3, 9.924e-4], rel=1e-3)
    assert rates[-1] == pytest.approx(1e-3 * (1 - 0.98481) / 2, rel=1e-3)  # cos(17/18 π)
    rates, _ = fit({"_target_": f"{TORCH}.ChainedScheduler", **both})
    assert rates[9] == pytest.approx(5e-4, rel=1e-3)  # cos(π/2) = 0


@pytest.mark.parametrize("kind", [manual, Automatic])
def test_an_interval_of_epochs_steps_after_the_last_step_of_each(kind):
    node = {"_target_": f"{TORCH}.ExponentialLR", "gamma": 0.5, "interval": "epoch"}
    rates, _ = fit(node, kind, max_epochs=3)
    assert rates == [1e-3] * 10 + [5e-4] * 10 + [2.5e-4] * 10
    rates, _ = fit({**node, "frequency": 2}, kind, max_epochs=3)
    assert rates == [1e-3] * 20 + [5e-4] * 10
    rates, _ = fit({**node, "interval": "step", "frequency": 10}, kind, max_epochs=2)
    assert rates == [1e-3] * 10 + [5e-4] * 10


def test_a_schedule_by_a_metric_steps_after_each_validation():
    node = {"_target_": f"{TORCH}.ReduceLROnPlateau", "monitor": "val/loss", "mode": "max",
            "patience": 0, "factor": 0.5}  # fmt: skip
    rates, _ = fit(node, max_epochs=4)  # the loss falls, so that it never improves
    assert rates == [1e-3] * 20 + [5e-4] * 10 + [2.5e-4] * 10
    rates, _ = fit({**node, "mode": "min"}, max_epochs=4)
    assert rates == [1e-3] * 40
    rates, _ = fit(node, max_epochs=1, val_check_interval=5)
    assert rates == [1e-3] * 10
    rates, _ = fit(node, max_epochs=2, val_check_interval=5)
    assert rates == [1e-3] * 10 + [5e-4] * 5 + [2.5e-4] * 5
    rates, _ = fit({**node, "monitor": "train/loss"}, max_epochs=3, limit_val_batches=0)
    assert rates == [1e-3] * 20 + [5e-4] * 10
    with pytest.raises(ValueError, match=r"scheduler\.monitor=val/f1; expected one of: .*val/loss"):
        fit({**node, "monitor": "val/f1"})


class Endless(IterableDataset):
    def __iter__(self):
        while True:
            yield INPUTS[0], INPUTS[0].sum().view(1)


@pytest.mark.parametrize(
    ("options", "steps", "epochs"),
    [
        ({"max_epochs": 3}, 30, 3),
        ({"max_epochs": 3, "limit_train_batches": 1}, 3, 3),
        ({"max_epochs": 3, "limit_train_batches": 7}, 21, 3),
        ({"max_epochs": 3, "limit_train_batches": 0.25}, 6, 3),
        ({"max_epochs": 3, "overfit_batches": 2}, 6, 3),
        ({"max_epochs": 3, "max_steps": 17}, 17, 2),
        ({"max_epochs": 1, "max_steps": 17}, 10, 1),
        ({"max_epochs": -1, "max_steps": 17}, 17, 2),
        ({"fast_dev_run": True}, 1, 1),
        ({"max_epochs": 3, "loader": DataLoader(Endless(), batch_size=4), "max_steps": 8}, 8, None),
        ({"max_epochs": 3, "accumulate_grad_batches": 4}, 9, 3),
        ({"max_epochs": 3, "accumulate_grad_batches": 4, "max_steps": 5}, 5, 2),
    ],
)
def test_total_steps_are_those_that_are_trained(options, steps, epochs):
    kind = Automatic if "accumulate_grad_batches" in options else manual
    _, trainer = fit({"_target_": f"{TORCH}.CosineAnnealingLR"}, kind, **options)
    assert trainer.global_step == steps
    assert trainer.lr_scheduler_configs[0].scheduler.T_max == steps
    assert total_steps(trainer) == steps
    assert epochs is None or total_epochs(trainer) == epochs
    last = trainer.optimizers[0].param_groups[0]["lr"]
    assert last == pytest.approx(0, abs=1e-9)


@pytest.mark.long
@pytest.mark.parametrize(
    ("overrides", "steps"),
    [
        ([], 20),
        (["+trainer.limit_train_batches=1"], 2),
        (["+trainer.limit_train_batches=0.5"], 10),
        (["+trainer.max_steps=7"], 7),
        (["+trainer.overfit_batches=3"], 6),
        (["trainer.accumulate_grad_batches=3"], 8),
        (["data.loader=dataloader", "trainer.log_every_n_steps=1"], 20),
    ],
)
def test_the_cosine_of_a_run_in_blocks_ends_at_zero(tmp_path, tiny, overrides, steps):
    quiet = ["scheduler=cosine", "logger=none", "callback=checkpoint"]
    train(compose(*tiny, *quiet, *overrides, folder=tmp_path / "run"))
    state = torch.load(tmp_path / "run" / "checkpoints" / "last.ckpt", weights_only=True)
    [schedule] = state["lr_schedulers"]
    assert (schedule["T_max"], schedule["last_epoch"], state["global_step"]) == (steps,) * 3
    assert schedule["_last_lr"] == pytest.approx([0], abs=1e-9)


def test_the_length_is_in_the_unit_of_the_interval():
    node = {"_target_": f"{TORCH}.CosineAnnealingLR", "interval": "epoch"}
    rates, _ = fit(node, max_epochs=4)
    assert rates[::10] == pytest.approx([1e-3, 8.536e-4, 5e-4, 1.464e-4], rel=1e-3)
    rates, _ = fit({**node, "interval": "step", "frequency": 5}, max_epochs=2)
    assert rates[::5] == pytest.approx([1e-3, 8.536e-4, 5e-4, 1.464e-4], rel=1e-3)


def test_endless_data_need_a_number_of_steps():
    with pytest.raises(ValueError, match=r"expected trainer\.max_steps, .* with a length"):
        fit({"_target_": f"{TORCH}.CosineAnnealingLR"}, loader=DataLoader(Endless()))


@pytest.mark.parametrize(
    ("node", "told"),
    [
        ({"_target_": f"{TORCH}.StepLR"}, "expected scheduler.step_size for StepLR, got none"),
        ({"_target_": f"{TORCH}.StepLR", "step_size": 1, "interval": "day"}, "step or epoch, got"),
        ({"_target_": f"{TORCH}.StepLR", "step_size": 1, "frequency": 0}, "of at least 1, got 0"),
        ({"_target_": f"{TORCH}.StepLR", "step_size": 1, "monitor": "val/loss"}, "no metric, got"),
        ({"_target_": f"{TORCH}.ReduceLROnPlateau"}, "expected scheduler.monitor, the metric"),
        (
            {
                "_target_": f"{TORCH}.SequentialLR",
                "schedulers": [{"_target_": f"{TORCH}.CosineAnnealingLR"}],
                "milestones": [1],
            },
            r"expected scheduler\.schedulers\[0\]\.T_max for CosineAnnealingLR",
        ),
    ],
)
def test_a_schedule_that_cannot_be_is_told_before_training(node, told):
    with pytest.raises(ValueError, match=told):
        build_schedule_factory(OmegaConf.create(node))


@pytest.mark.long
@pytest.mark.parametrize(
    ("choice", "first", "last"),
    [("cosine", 0.1, 0.0), ("warm_restarts", 0.1, 0.0), ("warmup", 0.001, 0.1),
     ("warmup_cosine", 0.001, 0.0), ("step", 0.1, 0.01), ("exponential", 0.1, 0.0729)],
)  # fmt: skip
def test_the_shipped_schedules_begin_and_end_there(choice, first, last):
    factory = build_schedule_factory(compose(f"scheduler={choice}").scheduler)
    optimizer = SGD([nn.Parameter(torch.zeros(1))], lr=0.1)
    factory.length = lambda: 100 if factory.interval == "step" else 3
    schedule = factory(optimizer)["scheduler"]
    assert optimizer.param_groups[0]["lr"] == pytest.approx(first)
    for _ in range(factory.length()):
        optimizer.step()
        schedule.step()
    assert optimizer.param_groups[0]["lr"] == pytest.approx(last, abs=0.002)
