"""LazyBatch behave as the tensor that they stand for, and are not gathered before they are used."""

import copy
import pickle

import numpy as np
import pytest
import torch
from lightning.pytorch.utilities.data import extract_batch_size

from runlab.blocks.lazy_batch import LazyBatch, step_of

SOURCE = torch.randint(0, 256, (20, 1, 3, 3), dtype=torch.uint8)
INDICES = torch.randint(0, 20, (4, 5))
WHOLE = SOURCE[INDICES]


@pytest.fixture
def rows() -> LazyBatch:
    return LazyBatch(SOURCE, INDICES)


def test_it_tells_what_it_is_without_gathering(rows):
    assert isinstance(rows, torch.Tensor)
    assert (rows.shape, rows.dtype, rows.device) == (WHOLE.shape, WHOLE.dtype, WHOLE.device)
    assert (rows.ndim, len(rows), rows.numel()) == (5, 4, WHOLE.numel())
    assert rows.to(rows.device) is rows
    assert extract_batch_size((rows, INDICES)) == 4
    assert not rows.is_materialized


def test_a_step_is_materialized_alone(rows):
    for step in (0, 3, -1):
        assert torch.equal(step_of(rows, step), WHOLE[step])
    assert type(step_of(rows, 0)) is torch.Tensor
    assert not rows.is_materialized
    with pytest.raises(IndexError):
        step_of(rows, 4)


@pytest.mark.parametrize(
    "use",
    [
        *(lambda x: x / 2, lambda x: 2 * x, lambda x: x == 3, lambda x: x.float().mean()),
        *(lambda x: torch.stack([x, x]), lambda x: x[1:3, 2], lambda x: x[x > 100]),
        *(lambda x: x[2], lambda x: torch.stack(list(x)), lambda x: x[torch.tensor(1)]),
        *(lambda x: x.flatten(0, 1), lambda x: x.cpu().clone(), lambda x: x.unsqueeze(0)),
        *(lambda x: torch.as_tensor(x.numpy()), lambda x: torch.tensor(x.tolist())),
        *(lambda x: torch.as_tensor(np.asarray(x)), lambda x: torch.from_dlpack(x)),
        *(lambda x: x.new_zeros(2), lambda x: torch.where(x > 9, x, 0), copy.deepcopy),
        *(lambda x: torch.ones(2).to(x), lambda x: torch.ones(2).expand(x.size()[-2], 2)),
        *(lambda x: x.to(torch.float64), lambda x: x.half(), lambda x: x.clone().share_memory_()),
        lambda x: torch.vmap(lambda each: each.float().sum())(x),
        lambda x: pickle.loads(pickle.dumps(x)),
    ],
)
def test_all_else_is_done_with_the_whole(rows, use):
    assert torch.equal(torch.as_tensor(use(rows)), torch.as_tensor(use(WHOLE)))


def test_its_shape_is_that_of_what_was_done_to_it(rows):
    rows.unsqueeze_(0)
    assert (rows.shape, rows.ndim, len(rows)) == (WHOLE.unsqueeze(0).shape, 6, 1)


def test_it_has_memory_where_somebody_asks_for_it(rows):
    assert rows.data_ptr() != 0
    assert rows.untyped_storage().nbytes() == WHOLE.nbytes
    assert repr(rows) == repr(WHOLE)


@pytest.mark.parametrize(
    "write",
    [
        *(lambda x: x.add_(1), lambda x: x[1].zero_(), lambda x: x[0:2].fill_(7)),
        *(lambda x: x.view(20, -1).zero_(), lambda x: x.__setitem__(2, 5)),
        *(lambda x: x.numpy().fill(3), lambda x: [each.zero_() for each in x]),
        *(lambda x: x.data.zero_(), lambda x: x.copy_(255 - x), lambda x: torch.neg(x, out=x)),
    ],
)
def test_what_is_written_into_it_stays(rows, write):
    expected = WHOLE.clone()
    write(expected)
    write(rows)
    assert not torch.equal(expected, WHOLE)
    for step in range(4):
        assert torch.equal(step_of(rows, step), expected[step])
    assert torch.equal(rows.clone(), expected)
    assert torch.equal(SOURCE[INDICES], WHOLE)
