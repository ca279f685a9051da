"""How many samples a batch of whatever form holds."""

import pytest
import torch

from runlab.blocks.block import Block, samples_in


@pytest.mark.parametrize(
    ("batch", "expected"),
    [
        (Block(torch.zeros(3, 4, 2), torch.zeros(3, 4)), 12),
        ((torch.zeros(4, 2), torch.zeros(4)), 4),
        ({"a_weight": torch.ones(()), "x": torch.zeros(4, 2)}, 4),
    ],
)
def test_a_batch_has_as_many_samples_as_its_first_tensor_entries(batch, expected):
    assert samples_in(batch) == expected


def test_a_batch_without_such_a_tensor_is_refused():
    with pytest.raises(ValueError, match="an entry a sample in each batch, got none"):
        samples_in({"weight": torch.ones(()), "name": "x"})
