"""What runs leave that train together, and what they leave alone."""

from functools import partial
from pathlib import Path

import pytest
import torch
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from runlab.runs import record
from runlab.stacks import train_together
from tests.runs.test_resume import curves
from tests.stacks.conftest import FULL, train_in

DOUBLE = "+trainer.precision=64-true"
ONE_EPOCH, TWO_EPOCHS = "trainer.max_epochs=1", "trainer.max_epochs=2"
NOTE = "not stacked, one run after another: "
RUNS = {
    "first": ["optimizer.lr=0.1", "seed=0"],
    "second": ["optimizer.lr=0.02", "seed=1"],
    "third": ["optimizer.lr=0.05", "seed=2"],
}
PAIR = {name: RUNS[name] for name in ("first", "second")}
CLIPPED = ["trainer.gradient_clip_val=0.1"]
ADAPTIVE = {name: [own[0].replace("0.", "0.0"), own[1]] for name, own in RUNS.items()}
SMALL_CNN = ["model=cnn", "model.widths=[8]"]
HEAVY_BALL = ["optimizer.momentum=0.9", "optimizer.weight_decay=0.01"]


def checkpoint(folder: Path, name: str = "last") -> dict:
    return torch.load(folder / "checkpoints" / f"{name}.ckpt", weights_only=True)


def weights(content: dict) -> torch.Tensor:
    state = content["state_dict"].items()
    return torch.cat([value.flatten() for name, value in state if name.startswith("network.")])


def tensors(value: object) -> list[torch.Tensor]:
    if isinstance(value, torch.Tensor):
        return [value]
    children = value.values() if isinstance(value, dict) else value
    return [each for child in children for each in tensors(child)] if iterable(value) else []


def iterable(value: object) -> bool:
    return isinstance(value, dict | list | tuple)


def assert_equal(together: Path, alone: Path, tolerance: float = 1e-9) -> None:
    """Weights, and optimizer states, to a relative tolerance; the rest of the checkpoint at all."""
    ours, theirs = checkpoint(together), checkpoint(alone)
    assert (weights(ours) - weights(theirs)).norm() <= tolerance * weights(theirs).norm()
    for key in ("epoch", "global_step", "loops", "lr_schedulers"):
        assert ours[key] == theirs[key]
    states = [tensors(each["optimizer_states"]) for each in (ours, theirs)]
    assert len(states[0]) == len(states[1])
    for a, b in zip(*states, strict=True):
        torch.testing.assert_close(a, b, rtol=10 * tolerance, atol=1e-12)
    sizes = [(each / "checkpoints" / "last.ckpt").stat().st_size for each in (together, alone)]
    assert sizes[0] == pytest.approx(sizes[1], abs=200)  # names of folders are in it


def assert_shared(entries, runs=3):
    for entry in entries:
        if isinstance(entry, Exception):
            raise entry
    assert [entry["timing"]["stack"] for entry in entries] == [runs] * len(entries)


SETTINGS = [
    (RUNS, [*HEAVY_BALL, "scheduler=one_cycle"]),
    (ADAPTIVE, ["optimizer=adam", "scheduler=cosine", *CLIPPED, "loss=mse"]),
    (RUNS, ["trainer.accumulate_grad_batches=3"]),
    (RUNS, []),
    (RUNS, ["model=linear"]),
    (RUNS, [*HEAVY_BALL, *CLIPPED, "scheduler=one_cycle", "trainer.accumulate_grad_batches=3"]),
    (ADAPTIVE, ["optimizer=adam", "data.loader=dataloader", "trainer.accumulate_grad_batches=4"]),
    (RUNS, [*HEAVY_BALL, *SMALL_CNN, "optimizer.nesterov=true", "scheduler=cosine"]),
    (RUNS, ["trainer.gradient_clip_val=0.5", "loss=mse_logits"]),
    (ADAPTIVE, ["optimizer=adamw", *SMALL_CNN]),
    (RUNS, [*SMALL_CNN, "scheduler=exponential", "data.steps_per_execution=3"]),
    (
        RUNS,
        [
            *HEAVY_BALL,
            "scheduler=plateau",
            "scheduler.patience=0",
            "scheduler.mode=min",
            "scheduler.monitor=val/loss",
            "+scheduler.threshold=0.99",
        ],
    ),
    (ADAPTIVE, ["optimizer=adamw", "model=linear", "scheduler=one_cycle"]),
    (ADAPTIVE, ["optimizer=adam", "optimizer.weight_decay=0.1", "data.loader=dataloader"]),
]


@pytest.mark.parametrize(
    ("runs", "common"),
    [*SETTINGS[:3], *(pytest.param(*each, marks=pytest.mark.long) for each in SETTINGS[3:])],
)
def test_in_double_precision_runs_are_those_that_train_alone(stack, alone, tmp_path, runs, common):
    common = [*common, DOUBLE, TWO_EPOCHS]
    assert_shared(stack(runs, *common))
    for name, own in runs.items():
        assert_equal(tmp_path / name, alone(*common, *own))


@pytest.fixture(scope="module")
def pair(tmp_path_factory, tiny):
    """A run that trained with two others, and the same one alone."""
    home = tmp_path_factory.mktemp("pair")
    runs = [partial(train_in, home / name, *tiny, *own, *FULL) for name, own in RUNS.items()]
    assert_shared(train_together(runs, size=50))
    train_in(home / "alone", *tiny, *RUNS["second"], *FULL)
    return home / "second", home / "alone"


def test_a_run_leaves_what_it_leaves_alone(pair):
    together, alone = pair
    names = [
        {path.relative_to(folder) for path in folder.rglob("*") if "tfevents" not in path.name}
        for folder in pair
    ]
    assert names[0] == names[1]
    metrics = [record.read(folder)["metrics"] for folder in pair]
    assert metrics[0] == pytest.approx(metrics[1], rel=1e-4)
    for tag, points in curves(alone).items():
        found = curves(together)[tag]
        assert [step for step, _ in found] == [step for step, _ in points]
        values = [[float(value) for _, value in each] for each in (found, points)]
        assert values[0] == pytest.approx(values[1], rel=1e-3, abs=1e-5), tag
    ours, theirs = [[{k: float(v) for k, v in row.items()} for row in rows_of(f)] for f in pair]
    assert len(ours) == len(theirs) == 2
    for a, b in zip(ours, theirs, strict=True):
        assert a == pytest.approx(b, rel=1e-3, abs=1e-5)


def rows_of(folder):
    lines = (folder / "curves.csv").read_text().splitlines()
    header, *values = [line.split(",") for line in lines]
    return [dict(zip(header, line, strict=True)) for line in values]


def test_hparams_and_every_tag_are_in_a_stacked_runs_events(pair):
    tags = []
    for folder in pair:
        events = EventAccumulator(str(folder))
        events.Reload()
        tags.append(set(events.Tags()["scalars"]))
        assert events.SummaryMetadata("_hparams_/session_start_info")
    assert tags[0] == tags[1]


def test_the_last_weights_are_measured_in_a_stack_too(stack, alone):
    overrides = ["+trainer.max_steps=14", "optimizer.lr=0.02"]
    together = stack({"0": ["seed=0"], "1": ["seed=1"]}, *overrides)
    reference = record.read(alone(*overrides, "seed=0"))["metrics"]
    assert [each["timing"]["stack"] for each in together] == [2, 2]
    assert [each["metrics"]["epochs"] for each in together] == [1.4, 1.4]
    assert together[0]["metrics"]["val/nll"] == pytest.approx(reference["val/nll"])
