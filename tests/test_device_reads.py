"""How often an epoch waits for the device, with all that a run usually has beside it.

Runs train on `device="meta"` under `Copies`, which counts looks at values and answers them by
zeros.
"""

from collections import Counter
from collections.abc import Callable
from functools import partial
from itertools import pairwise
from pathlib import Path
from typing import Any

import lightning as L
import pytest
import torch
from hydra.utils import instantiate

from runlab.blocks.metric_buffer import copy_to_cpu, number_on_cpu
from runlab.components import build_data, build_module
from runlab.module import stack_of_run
from runlab.runs.resume import ResumeCallback
from runlab.stacks import train_together
from tests.compose import compose
from tests.meta import Copies, MetaStrategy, stack_on_meta

EPOCHS = 3
TRAINING, VALIDATION, PICTURES = 1, 1, 8
"""Copies of an epoch: of the first two one each; of sample images six, of two more pictures two."""
READS = [TRAINING + VALIDATION] * 2 + [TRAINING + VALIDATION + PICTURES]


class CountEpochs(L.Callback):
    """What has been copied by the start of each epoch, and by the end."""

    def __init__(self, copies: Copies) -> None:
        self.copies = copies
        self.stacked = 1
        self.counts: list[Counter[str]] = []

    def on_train_epoch_start(self, *_: Any) -> None:
        self.counts.append(Counter(self.copies.counts))

    def on_train_end(self, *_: Any) -> None:
        self.counts.append(Counter(self.copies.counts))

    def during_epochs(self, kind: str) -> list[int]:
        return [after[kind] - before[kind] for before, after in pairwise(self.counts)]


@pytest.fixture
def fit(tmp_path, tiny, monkeypatch) -> Callable[..., CountEpochs]:
    monkeypatch.setattr("runlab.callbacks.pictures.MAX_VALIDATIONS", 1)  # drawn is after the last

    def fit_on_meta(*overrides: str, epochs: int = EPOCHS) -> CountEpochs:
        cfg = compose(*tiny, f"trainer.max_epochs={epochs}", *overrides, folder=tmp_path)
        folder = Path(cfg.run.folder) / str(cfg.seed)
        cfg.run.folder = str(folder)
        data = build_data(cfg)
        module = build_module(cfg)
        module.save_hyperparameters({"config": {}}, logger=False)  # as `build_components` does
        module.stack = stack_of_run.get()
        entry: dict[str, Any] = {"metrics": {}, "timing": {}}
        with Copies() as copies:
            counted = CountEpochs(copies)
            callbacks = [instantiate(node) for node in cfg.callback.values()]
            trainer = L.Trainer(
                strategy=MetaStrategy(), max_epochs=epochs, num_sanity_val_steps=0,
                logger=[instantiate(node) for node in cfg.logger.values()],
                log_every_n_steps=1, enable_model_summary=False, use_distributed_sampler=False,
                callbacks=[*callbacks, ResumeCallback(folder, entry, None), counted],
            )  # fmt: skip
            folder.mkdir()
            trainer.fit(module, datamodule=data)
        assert trainer.global_step == 10 * epochs
        counted.stacked = getattr(module.stack, "largest", 1)
        return counted

    return fit_on_meta


def test_an_epoch_reads_its_training_at_once_and_its_validation_at_once(fit):
    counted = fit()
    assert counted.during_epochs("read") == READS
    assert counted.during_epochs("upload") == [0] * EPOCHS


@pytest.mark.long
def test_so_does_each_run_of_a_stack(fit, monkeypatch):
    stack_on_meta(monkeypatch)
    for counted in train_together([partial(fit, f"seed={seed}") for seed in range(2)], 50):
        if isinstance(counted, Exception):
            raise counted
        assert counted.stacked == 2
        assert counted.during_epochs("read") == READS
        assert counted.during_epochs("upload") == [0] * EPOCHS


def test_nothing_that_is_shipped_computes_in_double_precision_on_the_device(fit):
    counted = fit("callback=[default,histograms,pr_curves,projector,graph]", epochs=1)
    assert counted.counts[-1]["read"] > 0


def test_numbers_copied_at_once_stay_what_they_are():
    values = [
        torch.tensor(0.1),
        torch.tensor([2**24 + 1]),
        torch.tensor(0.1, dtype=torch.float64),
        torch.tensor([[float("nan")]]),
    ]
    copies = copy_to_cpu(values)
    for value, copy in zip(values, copies, strict=True):
        assert (copy.dtype, copy.shape) == (value.dtype, value.shape)
        assert torch.equal(copy, value) or (copy.isnan() and value.isnan())
        assert copy.untyped_storage().nbytes() == value.element_size(), "a checkpoint keeps it all"
    assert number_on_cpu(0.1).dtype == torch.float32
    assert number_on_cpu(True) == 1.0
