"""No step of training or validation looks at a value, for which a GPU would have to be waited for.

Runs train on `device="meta"`, whose tensors have no values: `.item()`, `bool()` or `.tolist()` of
one raises there, and so does an operation on it and a tensor of the CPU. What these runs read once
an epoch, where that is meant, is replaced by zeros. Where `Copies` watches, a look is counted.
"""

from collections.abc import Callable
from functools import partial
from typing import Any

import lightning as L
import pytest
import torch
from hydra.utils import instantiate

from losslab import Classifier
from runlab.components import build_data, build_module
from runlab.module import Module, stack_of_run
from runlab.stacks import train_together
from runlab.stacks.stack import Stack
from tests.compose import compose
from tests.meta import Copies, MetaStrategy, stack_on_meta

EPOCHS, BLOCKS = 2, 3
WATCHERS = ("gradient_norm", "output_gradient", "throughput")


@pytest.fixture
def reads(monkeypatch) -> list[int]:
    """How many deferred numbers were read from the device, each time."""
    counts: list[int] = []

    def read(entries: Any, trainer: L.Trainer) -> list[float]:
        counts.append(len(entries))
        return [0.0 for _ in entries]

    def copy(values: Any) -> list[torch.Tensor]:
        return [torch.zeros(value.shape) for value in values]

    monkeypatch.setattr("runlab.blocks.metric_buffer.read_values", read)
    monkeypatch.setattr("runlab.blocks.metric_buffer.copy_to_cpu", copy)
    # Lightning's own look at how long a loader is, once before the first epoch
    for loop in ("fit_loop", "evaluation_loop"):
        monkeypatch.setattr(f"lightning.pytorch.loops.{loop}.has_len_all_ranks", lambda *_, **__: 1)
    monkeypatch.setattr(L.Trainer, "_teardown", lambda trainer: None)  # takes results to the CPU
    return counts


@pytest.fixture
def fit(tmp_path, tiny, reads) -> Callable[..., L.Trainer]:
    """Trains and validates as `train` does, with the callbacks that act in each block."""

    def fit_on_meta(*overrides: str, module: type[Module] = Classifier) -> L.Trainer:
        cfg = compose(*tiny, f"trainer.max_epochs={EPOCHS}", *overrides, folder=tmp_path)
        data = build_data(cfg)
        built = build_module(cfg)
        built.__class__ = module
        built.stack = stack_of_run.get()
        callbacks = [instantiate(cfg.callback[name]) for name in WATCHERS]
        trainer = L.Trainer(
            strategy=MetaStrategy(), max_epochs=EPOCHS, num_sanity_val_steps=0,
            logger=False, enable_checkpointing=False, enable_progress_bar=False,
            enable_model_summary=False, use_distributed_sampler=False, callbacks=callbacks,
        )  # fmt: skip
        trainer.fit(built, datamodule=data)
        return trainer

    return fit_on_meta


@pytest.fixture
def no_copies(monkeypatch) -> None:
    """Computing a block, by a run or a stack, copies nothing that the device is waited for."""

    def without_copies(function: Callable[..., Any]) -> Callable[..., Any]:
        def watched(*arguments: Any) -> Any:
            with Copies() as copies:
                result = function(*arguments)
            assert not +copies.counts, f"within a block: {dict(copies.counts)}"
            return result

        return watched

    monkeypatch.setattr(Module, "take_steps", without_copies(Module.take_steps))
    for name in ("__init__", "take_steps", "write_back"):
        monkeypatch.setattr(Stack, name, without_copies(getattr(Stack, name)))


RUNS = {
    "default": [],
    "adam, clipped, with a schedule and dropout": [
        "model=cnn", "model.widths=[8]", "model.dropout=0.2", "optimizer=adam",
        "scheduler=one_cycle", "trainer.gradient_clip_val=1.0", "loss=mse",
    ],
    "momentum": ["optimizer.momentum=0.9", "scheduler=cosine", "loss=mse_logits"],
}  # fmt: skip


@pytest.mark.long
@pytest.mark.usefixtures("no_copies")
@pytest.mark.parametrize("run", RUNS)
def test_a_run_looks_at_nothing_but_once_an_epoch(fit, reads, run):
    trainer = fit(*RUNS[run])
    assert trainer.global_step == 10 * EPOCHS
    assert {"val/loss", "train/gradient_norm"} <= trainer.callback_metrics.keys()
    assert all(value.device.type == "cpu" for value in trainer.callback_metrics.values())
    of_an_epoch = [count for count in reads if count > 0]
    assert len(of_an_epoch) == EPOCHS
    assert all(count % BLOCKS == 0 for count in of_an_epoch)


@pytest.mark.long
def test_single_batches_are_taken_without_a_look_too(fit):
    assert fit("data.loader=dataloader").global_step == 10 * EPOCHS


@pytest.fixture
def fit_together(fit, monkeypatch) -> Callable[..., list[L.Trainer | Exception]]:
    """Three runs as a stack; whether they may be one is a look at numbers, once."""
    stack_on_meta(monkeypatch)

    def fit_stack(*overrides: str) -> list[L.Trainer | Exception]:
        return train_together([partial(fit, *overrides, f"seed={seed}") for seed in range(3)], 50)

    return fit_stack


@pytest.mark.long
@pytest.mark.usefixtures("no_copies")
@pytest.mark.parametrize("run", RUNS)
def test_nor_does_a_stack(fit_together, reads, caplog, run):
    trainers = fit_together(*RUNS[run])
    assert "not stacked" not in caplog.text
    for trainer in trainers:
        if isinstance(trainer, Exception):
            raise trainer
        assert trainer.global_step == 10 * EPOCHS
        assert trainer.lightning_module.stack.largest == 3
    assert len([count for count in reads if count > 0]) == 3 * EPOCHS


class Looking(Classifier):
    def loss_step(self, batch, drawn):
        loss, outputs = super().loss_step(batch, drawn)
        return (loss if loss.item() > 0 else 2 * loss), outputs


class OnTheCPU(Classifier):
    def loss_step(self, batch, drawn):
        images, labels = batch
        return super().loss_step((images * torch.ones(28), labels), drawn)


class Uploading(Classifier):
    def loss_step(self, batch, drawn):
        images, labels = batch
        return super().loss_step((images * torch.ones(28).to(images.device), labels), drawn)


class InDoublePrecision(Classifier):
    def loss_step(self, batch, drawn):
        images, labels = batch
        return super().loss_step((images.double().float(), labels), drawn)


class LookingInValidation(Classifier):
    def validation_step(self, batch, batch_index):
        return super().validation_step(batch, int(batch[1].max()))


@pytest.mark.usefixtures("no_copies")
@pytest.mark.parametrize(
    ("module", "error"),
    [
        (Looking, "within a block: .*read"),
        (OnTheCPU, "device"),
        (Uploading, "within a block: .*upload"),
        (InDoublePrecision, "double precision"),
        (LookingInValidation, "item"),
    ],
)
def test_a_look_at_a_value_and_a_tensor_of_the_cpu_raise(fit, module, error):
    with pytest.raises((RuntimeError, AssertionError), match=error):
        fit(module=module)
