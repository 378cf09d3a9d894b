"""Samplers: what they draw, how often, and from which seed."""

from __future__ import annotations

from collections import Counter

import pytest

import talweg as tw
from talweg import data
from talweg.base.errors import InvalidValue


def generator(seed: int) -> tw.Generator:
    return tw.Generator().manual_seed(seed)


def test_random_order_is_a_permutation_and_new_every_time() -> None:
    sampler = data.RandomSampler(range(100), generator=generator(0))
    first, second = list(sampler), list(sampler)
    assert sorted(first) == sorted(second) == list(range(100))
    assert first != second
    assert list(data.RandomSampler(range(100), generator=generator(0))) == first


def test_manual_seed_rules_the_order() -> None:
    tw.manual_seed(5)
    first = list(data.RandomSampler(range(100)))
    tw.manual_seed(5)
    assert list(data.RandomSampler(range(100))) == first
    assert list(data.RandomSampler(range(100))) != first


def test_more_samples_than_there_are() -> None:
    drawn = list(data.RandomSampler(range(4), num_samples=10, generator=generator(0)))
    assert sorted(drawn[:4]) == sorted(drawn[4:8]) == [0, 1, 2, 3]
    assert len(drawn) == 10


def test_replacement_repeats() -> None:
    sampler = data.RandomSampler(range(50), replacement=True, generator=generator(0))
    drawn = list(sampler)
    assert len(drawn) == len(sampler) == 50
    assert set(drawn) < set(range(50))


def test_subset_sampler_draws_only_its_indices() -> None:
    assert sorted(data.SubsetRandomSampler([9, 2, 4], generator(0))) == [2, 4, 9]


def test_weights_are_frequencies() -> None:
    sampler = data.WeightedRandomSampler([1, 0, 3], 4000, generator=generator(0))
    count = Counter(sampler)
    assert count[1] == 0
    # Binomial with n = 4000, p = 3/4: five standard deviations are 137.
    assert abs(count[2] - 3000) < 137


def test_weights_without_replacement() -> None:
    sampler = data.WeightedRandomSampler([1, 1, 0, 5], 3, replacement=False)
    assert sorted(sampler) == [0, 1, 3]


@pytest.mark.parametrize(
    ("weights", "count", "replacement", "text"),
    [
        ([1, -1], 1, True, "none negative"),
        ([1, float("nan")], 1, True, "finite"),
        ([0, 0], 1, True, "0 samples have a weight above zero"),
        ([1, 0], 2, False, "1 samples have a weight above zero"),
        ([1, 1], 0, True, "must be a positive"),
    ],
)
def test_wrong_weights(weights: list[float], count: int, replacement: bool, text: str) -> None:
    with pytest.raises(InvalidValue, match=text):
        data.WeightedRandomSampler(weights, count, replacement)


@pytest.mark.parametrize(("drop", "sizes"), [(False, [4, 4, 2]), (True, [4, 4])])
def test_batches(drop: bool, sizes: list[int]) -> None:
    batches = data.BatchSampler(range(10), 4, drop)
    assert [len(batch) for batch in batches] == sizes
    assert len(batches) == len(sizes)
    assert [i for batch in batches for i in batch] == list(range(sum(sizes)))


@pytest.mark.parametrize("size", [0, -1, 1.5, True, None])
def test_a_batch_size_is_a_positive_number(size: int) -> None:
    with pytest.raises(InvalidValue, match="batch_size"):
        data.BatchSampler(range(3), size, False)


def test_nothing_to_draw_from() -> None:
    with pytest.raises(InvalidValue, match="positive"):
        data.DataLoader([], shuffle=True)
    assert list(data.DataLoader([])) == []
    with pytest.raises(InvalidValue, match="empty"):
        list(data.RandomSampler([], num_samples=2))
    with pytest.raises(InvalidValue, match="positive"):
        data.RandomSampler([], num_samples=0)


def test_processes_share_all_indices() -> None:
    for drop_last, count in ((False, 4), (True, 3)):
        parts = [tw.data.DistributedSampler(range(10), 3, k, drop_last=drop_last) for k in range(3)]
        for part in parts:
            part.set_epoch(1)
        found = [list(part) for part in parts]
        assert [len(part) for part in parts] == [len(f) for f in found] == [count] * 3
        seen = {i for f in found for i in f}
        assert len(seen) == (9 if drop_last else 10)
    parts[0].set_epoch(2)
    assert list(parts[0]) != found[0]
    with pytest.raises(ValueError, match="rank"):
        tw.data.DistributedSampler(range(2), 2, 2)
