import torch

from runlab.blocks.random import AUGMENT, DRAW, step_generator

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
