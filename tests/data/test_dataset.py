"""Data sets: joining, cutting, splitting."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest

import talweg as tw
from talweg import data
from talweg.base.errors import DataError, IndexOutOfRange, InvalidValue, ShapeError


class Numbers(data.Dataset[int]):
    def __init__(self, start: int, stop: int) -> None:
        self.range = range(start, stop)

    def __getitem__(self, index: int) -> int:
        return self.range[index]

    def __len__(self) -> int:
        return len(self.range)


class Stream(data.IterableDataset[int]):
    def __init__(self, *values: int) -> None:
        self.values = values

    def __iter__(self) -> Iterator[int]:
        return iter(self.values)


def test_tensor_dataset_gives_rows_of_every_tensor() -> None:
    x = np.arange(12, dtype=np.float32).reshape(4, 3)
    y = np.array([3, 1, 0, 2])
    rows = data.TensorDataset(tw.from_numpy(x), tw.from_numpy(y))
    assert len(rows) == 4
    image, label = rows[2]
    np.testing.assert_array_equal(image.numpy(), x[2])
    assert label.item() == 0
    batch, labels = rows[1:3]
    np.testing.assert_array_equal(batch.numpy(), x[1:3])
    assert labels.tolist() == [1, 0]


def test_tensor_dataset_refuses_different_sizes() -> None:
    with pytest.raises(ShapeError, match=r"\(2, 3\).*\(4,\)"):
        data.TensorDataset(tw.zeros(2, 3), tw.zeros(4))


@pytest.mark.parametrize("workers", [0, 1])
def test_tensor_datasets_are_read_in_whole_batches_alike(workers: int) -> None:
    x, y = tw.randn(9, 2).to(tw.bfloat16), tw.arange(9)
    rows = data.TensorDataset(x, y)
    part = data.Subset(data.Subset(rows, [8, 1, 5, 3]), [3, 0, 1])
    (batch,) = data.DataLoader(part, batch_size=3, num_workers=workers)
    slow = data.default_collate([part[i] for i in range(3)])
    for fast, wanted in zip(batch, slow, strict=True):
        assert fast.dtype is wanted.dtype
        assert fast.tolist() == wanted.tolist()
    with pytest.raises(DataError, match=r"sample 9 could not be read: .*Index"):
        list(data.DataLoader(rows, batch_sampler=[[0, 9]], num_workers=workers))


def test_gradients_flow_through_batches_of_tensors() -> None:
    x = tw.arange(6.0).reshape(3, 2).requires_grad_()
    for (row,) in data.DataLoader(data.TensorDataset(x)):
        row.sum().backward()
    assert x.grad.tolist() == [[1.0, 1.0]] * 3


def test_concat_finds_the_part_that_holds_an_index() -> None:
    joined = Numbers(0, 3) + Numbers(10, 10) + Numbers(20, 22)
    assert isinstance(joined, data.ConcatDataset)
    assert [joined[i] for i in range(len(joined))] == [0, 1, 2, 20, 21]
    assert joined[-1] == 21
    assert joined[-5] == 0
    for outside in (5, -6):
        with pytest.raises(IndexOutOfRange, match="there are 5"):
            joined[outside]


def test_concat_and_chain_name_each_other() -> None:
    with pytest.raises(InvalidValue, match="ChainDataset"):
        data.ConcatDataset([Numbers(0, 2), Stream(1)])
    with pytest.raises(InvalidValue, match="ConcatDataset"):
        data.ChainDataset([Numbers(0, 2)])
    with pytest.raises(InvalidValue, match="at least one"):
        data.ConcatDataset([])


def test_chain_reads_one_after_the_other() -> None:
    assert list(Stream(1, 2) + Stream(3)) == [1, 2, 3]


def test_subset_of_a_subset() -> None:
    outer = data.Subset(data.Subset(Numbers(100, 110), [9, 7, 5]), [2, 0])
    assert [outer[i] for i in range(len(outer))] == [105, 109]
    assert outer.__getitems__([1, 0]) == [109, 105]


def test_split_covers_everything_once() -> None:
    parts = data.random_split(Numbers(0, 11), [0.5, 0.25, 0.25], tw.Generator().manual_seed(1))
    assert [len(part) for part in parts] == [6, 3, 2]
    found = [part[i] for part in parts for i in range(len(part))]
    assert sorted(found) == list(range(11))
    assert found != list(range(11))


def test_split_follows_the_seed() -> None:
    def order(seed: int) -> list[list[int]]:
        split = data.random_split(Numbers(0, 50), [20, 30], tw.Generator().manual_seed(seed))
        return [list(part.indices) for part in split]

    assert order(3) == order(3)
    assert order(3) != order(4)


@pytest.mark.parametrize("lengths", [[5, 5], [-1, 12], [0.5, 0.6], [5.5, 5.5], []])
def test_split_refuses_lengths_that_do_not_fit(lengths: list[float]) -> None:
    with pytest.raises(InvalidValue, match="11 samples"):
        data.random_split(Numbers(0, 11), lengths)


def test_a_data_set_without_methods_says_what_to_define() -> None:
    with pytest.raises(NotImplementedError, match="__getitem__"):
        data.Dataset[int]()[0]
    with pytest.raises(NotImplementedError, match="__iter__"):
        iter(data.IterableDataset[int]())


def test_data_sets_side_by_side() -> None:
    a, b = Numbers(0, 4), Numbers(10, 14)
    pairs, named = data.StackDataset(a, b), data.StackDataset(a=a, b=b)
    assert (pairs[2], named[2], len(pairs), len(named)) == ((2, 12), {"a": 2, "b": 12}, 4, 4)
    subset = data.Subset(b, [3, 1])
    both = data.StackDataset(data.Subset(a, [1, 2]), subset)
    assert both.__getitems__([1, 0]) == [(2, 11), (1, 13)]
    x, y = next(iter(data.DataLoader(both, batch_size=2)))
    assert (x.tolist(), y.tolist()) == ([1, 2], [13, 11])
    batch = next(iter(data.DataLoader(named, batch_size=4)))
    assert batch["b"].tolist() == [10, 11, 12, 13]


@pytest.mark.parametrize(
    ("args", "named", "message"),
    [
        ((), {}, "needs data sets"),
        ((range(2),), {"x": range(2)}, "all with names or all without"),
        ((range(2), range(3)), {}, r"unequal lengths \[2, 3\]"),
        ((Stream(1),), {}, "has no length"),
    ],
)
def test_data_sets_that_cannot_be_stacked(
    args: tuple[Any, ...], named: dict[str, Any], message: str
) -> None:
    with pytest.raises(InvalidValue, match=message):
        data.StackDataset(*args, **named)


def test_a_set_that_gives_too_few_samples_is_found() -> None:
    class Short(Numbers):
        def __getitems__(self, indices: list[int]) -> list[int]:
            return [self[indices[0]]]

    with pytest.raises(InvalidValue, match="gave 1 samples for 2 indices"):
        data.StackDataset(Numbers(0, 3), Short(0, 3)).__getitems__([0, 1])
