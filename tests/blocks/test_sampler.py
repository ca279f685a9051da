"""The split and the order: fixed, complete, and functions of their seeds alone."""

import hashlib

import numpy as np
import pytest
import torch
from torch import Tensor

from runlab.blocks.sampler import EpochSampler, FixedSampler, stratified_split

INDICES = torch.arange(100, 203)  # 103 images: 10 batches of 10, three left over


def uneven_labels() -> Tensor:
    return torch.from_numpy(np.random.RandomState(0).choice(4, 997, p=[0.55, 0.3, 0.1, 0.05]))


def test_split_is_disjoint_complete_and_of_exact_size() -> None:
    train, val = stratified_split(uneven_labels(), 101, seed=0)
    assert len(train) == 896
    assert len(val) == 101
    assert sorted(torch.cat([train, val]).tolist()) == list(range(997))


@pytest.mark.parametrize("val_size", [1, 4, 101, 500, 996])
def test_split_keeps_proportions_within_one_image_a_class(val_size: int) -> None:
    labels = uneven_labels()
    _, val = stratified_split(labels, val_size, seed=0)
    exact = torch.bincount(labels) * val_size / len(labels)
    assert (torch.bincount(labels[val], minlength=4) - exact).abs().max() < 1


def test_split_is_fixed_by_its_seed_for_good() -> None:
    _, val = stratified_split(uneven_labels(), 101, seed=0)
    _, other = stratified_split(uneven_labels(), 101, seed=1)
    assert not torch.equal(val, other)
    assert hashlib.md5(val.numpy().tobytes()).hexdigest() == "db73ef41564b4b5f76b680bb11dc930b"


def test_order_is_a_permutation_without_the_incomplete_batch() -> None:
    order = EpochSampler(INDICES, 10, seed=0).order()
    assert len(order) == 100
    assert len(set(order.tolist())) == 100
    assert set(order.tolist()) < set(INDICES.tolist())


def test_order_is_a_pure_function_of_seed_and_epoch() -> None:
    orders = {}
    for seed in (0, 1):
        sampler = EpochSampler(INDICES, 10, seed=seed)
        for epoch in (0, 1, 2):
            sampler.set_epoch(epoch)
            orders[seed, epoch] = tuple(sampler)
            torch.rand(7)  # what else is drawn must not matter
            assert orders[seed, epoch] == tuple(sampler)
    assert len(set(orders.values())) == 6
    late = EpochSampler(INDICES, 10, seed=1)
    late.set_epoch(2)
    assert tuple(late) == orders[1, 2]
    assert orders[0, 0][:5] == (170, 181, 193, 160, 111)


def test_order_leaves_the_global_generators_alone() -> None:
    torch_state, numpy_state = torch.get_rng_state(), np.random.get_state()[1].copy()  # type: ignore[index,union-attr]
    EpochSampler(INDICES, 10, seed=0).order()
    stratified_split(uneven_labels(), 101, seed=0)
    assert torch.equal(torch.get_rng_state(), torch_state)
    assert np.array_equal(np.random.get_state()[1], numpy_state)  # type: ignore[index]


def test_order_is_drawn_at_the_first_image() -> None:
    sampler = EpochSampler(INDICES, 10, seed=0)
    started = iter(sampler)
    sampler.set_epoch(5)
    assert list(started) == sampler.order().tolist()


def test_ranks_share_every_batch() -> None:
    whole = EpochSampler(INDICES, 10, seed=3).order().view(-1, 10)
    ranks = [EpochSampler(INDICES, 10, 3, rank, 2) for rank in (0, 1)]
    shares = [rank.order().view(-1, 5) for rank in ranks]
    assert [len(rank) for rank in ranks] == [50, 50]
    for step in range(10):
        first, second = set(shares[0][step].tolist()), set(shares[1][step].tolist())
        assert not first & second
        assert first | second == set(whole[step].tolist())


def test_its_share_is_by_default_that_of_the_process(monkeypatch) -> None:  # type: ignore[no-untyped-def]
    for name, value in (("is_initialized", True), ("get_rank", 1), ("get_world_size", 2)):
        monkeypatch.setattr(f"torch.distributed.{name}", lambda value=value: value)
    share = EpochSampler(INDICES, 10, seed=3)
    assert torch.equal(share.order(), EpochSampler(INDICES, 10, 3, 1, 2).order())
    assert len(share) == 50


def test_a_batch_that_ranks_cannot_share_alike_is_refused() -> None:
    with pytest.raises(ValueError, match=r"multiple of 3, .* got 10"):
        EpochSampler(INDICES, 10, rank=0, world_size=3)


def test_fixed_sampler_keeps_its_order() -> None:
    indices = torch.tensor([5, 3, 8])
    assert list(FixedSampler(indices)) == [5, 3, 8]
    assert len(FixedSampler(indices)) == 3
