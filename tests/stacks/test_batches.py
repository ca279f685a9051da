"""A step's images of all runs, from one data set or from several."""

import torch
from torch import Tensor

from runlab.blocks.lazy_batch import LazyBatch
from runlab.stacks.batches import StackedInputs

RUNS, STEPS, BATCH = 3, 4, 5
SOURCE = torch.randint(0, 256, (20, 1, 3, 3), dtype=torch.uint8)
CHOSEN = torch.randint(0, 20, (RUNS, STEPS, BATCH))
EXPECTED = SOURCE[CHOSEN]  # [runs, steps, batch, ...]
VIEWS = [SOURCE, SOURCE.mT, SOURCE.view(torch.int8).view(torch.uint8)]


def assert_expected(images: list[Tensor]) -> None:
    batches = StackedInputs(images)
    for step in range(STEPS):
        assert torch.equal(batches[step], EXPECTED[:, step])


def test_runs_on_one_data_set_are_gathered_at_once_and_not_before():
    images = [LazyBatch(SOURCE.view(SOURCE.shape), chosen) for chosen in CHOSEN]
    assert StackedInputs(images).indices is not None
    assert_expected(images)
    assert not any(each.is_materialized for each in images)


def test_runs_on_data_sets_of_their_own_are_gathered_one_by_one():
    images = [LazyBatch(SOURCE.clone(), chosen) for chosen in CHOSEN]
    assert StackedInputs(images).indices is None
    assert_expected(images)


def test_rows_that_somebody_wrote_into_are_taken_as_they_are():
    images = [LazyBatch(SOURCE, chosen) for chosen in CHOSEN]
    images[1][2].zero_()
    expected = EXPECTED.clone()
    expected[1, 2] = 0
    batches = StackedInputs(images)
    for step in range(STEPS):
        assert torch.equal(batches[step], expected[:, step])


def test_another_view_of_the_same_memory_is_another_data_set():
    images = [LazyBatch(each, chosen) for each, chosen in zip(VIEWS, CHOSEN, strict=True)]
    batches = StackedInputs(images)
    for step in range(STEPS):
        expected = [view[chosen[step]] for view, chosen in zip(VIEWS, CHOSEN, strict=True)]
        assert torch.equal(batches[step], torch.stack(expected))


def test_images_may_be_there_already():
    assert_expected([*EXPECTED])
    assert_expected([LazyBatch(SOURCE, CHOSEN[0]), *EXPECTED[1:]])
