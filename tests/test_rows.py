"""Rows behave as the tensor that they stand for, and gather no more than is looked at."""

import copy
import pickle

import pytest
import torch
from lightning.pytorch.utilities.data import extract_batch_size

from losslab.rows import Rows

SOURCE = torch.randint(0, 256, (20, 1, 3, 3), dtype=torch.uint8)
INDICES = torch.randint(0, 20, (4, 5))
WHOLE = SOURCE[INDICES]


@pytest.fixture
def rows() -> Rows:
    return Rows(SOURCE, INDICES)


def was_gathered(rows: Rows) -> bool:
    return "gathered" in vars(rows)


def test_it_tells_what_it_is_without_gathering(rows):
    assert isinstance(rows, torch.Tensor)
    assert (rows.shape, rows.dtype, rows.device) == (WHOLE.shape, WHOLE.dtype, WHOLE.device)
    assert (rows.ndim, len(rows), rows.numel()) == (5, 4, WHOLE.numel())
    assert rows.to(rows.device) is rows
    assert extract_batch_size((rows, INDICES)) == 4
    assert "(4, 5)" in repr(rows)
    assert not was_gathered(rows)


def test_a_step_is_gathered_alone(rows):
    for step in (0, 3, -1):
        assert torch.equal(rows[step], WHOLE[step])
    assert all(torch.equal(*pair) for pair in zip(rows, WHOLE, strict=True))
    assert type(rows[0]) is torch.Tensor
    assert not was_gathered(rows)
    with pytest.raises(IndexError):
        rows[4]


@pytest.mark.parametrize(
    "use",
    [
        *(lambda x: x / 2, lambda x: 2 * x, lambda x: x == 3, lambda x: x.float().mean()),
        *(lambda x: torch.stack([x, x]), lambda x: x[1:3, 2], lambda x: x[x > 100]),
        *(lambda x: x.flatten(0, 1), lambda x: x.cpu().clone(), lambda x: x.unsqueeze(0)),
        *(lambda x: torch.as_tensor(x.numpy()), lambda x: torch.tensor(x.tolist())),
        *(lambda x: x.new_zeros(2), lambda x: torch.where(x > 9, x, 0), copy.deepcopy),
        lambda x: pickle.loads(pickle.dumps(x)),
    ],
)
def test_all_else_is_done_with_the_whole(rows, use):
    assert torch.equal(torch.as_tensor(use(rows)), torch.as_tensor(use(WHOLE)))
