from types import SimpleNamespace

import pytest
import torch

from runlab.blocks.random import AUGMENT, DRAW, augments, step_generator

CPU = torch.device("cpu")


def drawn(seed: int = 0, step: int = 0, stream: int = AUGMENT, batch: int = 0) -> tuple[float, ...]:
    return tuple(torch.rand(4, generator=step_generator(seed, step, stream, CPU, batch)).tolist())


def test_each_step_seed_stream_and_batch_draws_numbers_of_its_own():
    others = [drawn(), drawn(seed=1), drawn(step=1), drawn(stream=DRAW), drawn(batch=1)]
    assert len(set(others)) == len(others)


def test_a_step_draws_the_same_whenever_it_is_taken():
    before = drawn(step=3)
    torch.manual_seed(7)
    drawn(step=4)
    assert drawn(step=3) == before


@pytest.mark.parametrize(("augment", "expected"), [(min, True), (None, False), (False, False)])
def test_a_data_module_augments_if_it_has_a_function_for_it(augment, expected):
    assert augments(SimpleNamespace(augment=augment)) is expected


def test_an_augment_that_would_do_nothing_is_refused():
    with pytest.raises(ValueError, match=r"to be a function .*, got True"):
        augments(SimpleNamespace(augment=True))
