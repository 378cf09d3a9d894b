"""Data sets: what can be indexed or iterated, and how sets are joined, cut and split.

The names and their meaning are those of `torch.utils.data`.
"""

from __future__ import annotations

import math
from bisect import bisect_right
from collections.abc import Iterable, Iterator, Sequence
from itertools import accumulate
from typing import Any, Generic, TypeVar, cast

import numpy as np

from talweg.base.errors import IndexOutOfRange, InvalidValue, ShapeError
from talweg.data.chance import numbers, seed_from
from talweg.engine.conversion import rebuild
from talweg.engine.random import Generator
from talweg.engine.tensor import Tensor, concrete

T_co = TypeVar("T_co", covariant=True)


class Dataset(Generic[T_co]):
    """Base of map-style data sets: subclasses define `__getitem__` and, mostly, `__len__`.

    A subclass may also define `__getitems__(indices)`, which returns the list of the samples of a
    whole batch; `DataLoader` prefers it.

    >>> class Squares(tw.data.Dataset):
    ...     def __getitem__(self, index):
    ...         return index * index
    ...     def __len__(self):
    ...         return 4
    >>> list(tw.data.DataLoader(Squares(), batch_size=4))
    [tensor([0, 1, 4, 9])]
    """

    def __getitem__(self, index: Any) -> T_co:
        raise NotImplementedError(f"{type(self).__name__} must define __getitem__(index)")

    def __add__(self, other: Dataset[Any]) -> ConcatDataset[Any]:
        return ConcatDataset([self, other])


class IterableDataset(Dataset[T_co]):
    """Base of data sets that are streams: subclasses define `__iter__`.

    With worker processes every worker iterates its own copy; use `get_worker_info` in `__iter__` to
    give each a part, or every sample comes once per worker.
    """

    def __iter__(self) -> Iterator[T_co]:
        raise NotImplementedError(f"{type(self).__name__} must define __iter__()")

    def __add__(self, other: Dataset[Any]) -> ChainDataset:  # type: ignore[override]
        return ChainDataset([self, cast("IterableDataset[Any]", other)])


def length_of(dataset: object, what: str = "the data set") -> int:
    """The length of a data set, or an error that says what to define."""
    if not hasattr(dataset, "__len__"):
        raise InvalidValue(f"{what} {type(dataset).__name__} has no length: define __len__")
    return len(dataset)


class TensorDataset(Dataset[tuple[Tensor, ...]]):
    """Samples that are the rows of Tensors: item `i` is the tuple of every Tensor's row `i`.

    >>> x, y = tw.arange(6).reshape(3, 2), tw.tensor([0, 1, 0])
    >>> tw.data.TensorDataset(x, y)[1]
    (tensor([2, 3]), tensor(1))

    Raises:
        ShapeError: when the Tensors differ in their first size.
    """

    def __init__(self, *tensors: Tensor) -> None:
        shapes = [tuple(t.shape) for t in tensors]
        if not shapes or any(not s or s[0] != shapes[0][0] for s in shapes):
            raise ShapeError(
                f"TensorDataset needs Tensors with one first size, got shapes {shapes}"
            )
        self.tensors = tensors

    def __getitem__(self, index: Any) -> tuple[Tensor, ...]:
        return tuple(t[index] for t in self.tensors)

    def __len__(self) -> int:
        return int(self.tensors[0].shape[0])


class ConcatDataset(Dataset[T_co]):
    """Several map-style data sets, one after the other.

    Raises:
        InvalidValue: for an empty list or an `IterableDataset` (use `ChainDataset`).
    """

    def __init__(self, datasets: Iterable[Dataset[T_co]]) -> None:
        self.datasets = list(datasets)
        if not self.datasets:
            raise InvalidValue("ConcatDataset needs at least one data set")
        if any(isinstance(d, IterableDataset) for d in self.datasets):
            raise InvalidValue("ConcatDataset cannot hold an IterableDataset; use ChainDataset")
        self.cumulative_sizes = list(accumulate(length_of(d) for d in self.datasets))

    def __getitem__(self, index: int) -> T_co:
        size = len(self)
        if not -size <= index < size:
            raise IndexOutOfRange(f"sample {index} does not exist: there are {size}")
        index %= size
        at = bisect_right(self.cumulative_sizes, index)
        return self.datasets[at][index - (self.cumulative_sizes[at - 1] if at else 0)]

    def __len__(self) -> int:
        return self.cumulative_sizes[-1]


class ChainDataset(IterableDataset[Any]):
    """Several iterable data sets, one after the other."""

    def __init__(self, datasets: Iterable[Dataset[Any]]) -> None:
        self.datasets = list(datasets)
        for part in self.datasets:
            if not isinstance(part, IterableDataset):
                raise InvalidValue(
                    f"ChainDataset holds IterableDatasets, got {type(part).__name__}; "
                    "use ConcatDataset"
                )

    def __iter__(self) -> Iterator[Any]:
        for part in self.datasets:
            yield from cast("IterableDataset[Any]", part)

    def __len__(self) -> int:
        return sum(len(d) for d in self.datasets)  # type: ignore[arg-type,misc]


class StackDataset(Dataset[Any]):
    """Several map-style data sets side by side: item `i` holds every set's item `i`.

    Args:
        args: the sets; items are tuples.
        kwargs: or the sets by name; items are dicts.

    >>> tw.data.StackDataset(x=range(3), y="abc")[1]
    {'x': 1, 'y': 'b'}

    Raises:
        InvalidValue: for no set, sets of unequal length, or both kinds of arguments.
    """

    datasets: tuple[Any, ...] | dict[str, Any]

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        if bool(args) == bool(kwargs):
            raise InvalidValue("StackDataset needs data sets, either all with names or all without")
        self.datasets = args or kwargs
        lengths = [length_of(d) for d in args or kwargs.values()]
        if len(set(lengths)) > 1:
            raise InvalidValue(f"StackDataset: the data sets have unequal lengths {lengths}")
        self._length = lengths[0]

    def __getitem__(self, index: Any) -> Any:
        if isinstance(self.datasets, dict):
            return {name: d[index] for name, d in self.datasets.items()}
        return tuple(d[index] for d in self.datasets)

    def __getitems__(self, indices: Sequence[int]) -> list[Any]:
        named = isinstance(self.datasets, dict)
        listed = list(self.datasets.values() if isinstance(self.datasets, dict) else self.datasets)
        columns = [samples_of(d, indices) for d in listed]
        for column in columns:
            if len(column) != len(indices):
                raise InvalidValue(
                    f"StackDataset: a data set's __getitems__ gave {len(column)} samples for "
                    f"{len(indices)} indices"
                )
        if named:
            return [
                dict(zip(self.datasets, row, strict=True)) for row in zip(*columns, strict=True)
            ]
        return list(zip(*columns, strict=True))

    def __len__(self) -> int:
        return self._length


class Subset(Dataset[T_co]):
    """The samples of `dataset` at `indices`, in their order."""

    def __init__(self, dataset: Dataset[T_co], indices: Sequence[int]) -> None:
        self.dataset = dataset
        self.indices = indices

    def __getitem__(self, index: Any) -> T_co:
        if isinstance(index, list):
            return self.dataset[[self.indices[i] for i in index]]
        return self.dataset[self.indices[index]]

    def __getitems__(self, indices: Sequence[int]) -> Sequence[T_co]:
        return samples_of(self.dataset, [self.indices[i] for i in indices])

    def __len__(self) -> int:
        return len(self.indices)


def samples_of(dataset: Dataset[T_co], indices: Sequence[int]) -> Sequence[T_co]:
    """The samples at `indices`, through `__getitems__` where the data set defines it."""
    together = getattr(dataset, "__getitems__", None)
    if together is not None:
        return cast("Sequence[T_co]", together(indices))
    return [dataset[i] for i in indices]


def rows_of(dataset: Dataset[Any], indices: Sequence[int]) -> list[Tensor] | None:
    """One batch of a `TensorDataset`, read at once; None for other data sets.

    Returns:
        What `default_collate` makes of the samples at `indices`.

    Raises:
        IndexError: when an index is out of range.
    """
    while type(dataset) is Subset:
        indices = [dataset.indices[i] for i in indices]
        dataset = dataset.dataset
    if type(dataset) is not TensorDataset or any(t.requires_grad for t in dataset.tensors):
        return None
    at = np.asarray(indices, np.int64)
    return [rebuild(Tensor, concrete(t)[at], t.dtype, False) for t in dataset.tensors]


def random_split(
    dataset: Dataset[T_co], lengths: Sequence[int | float], generator: Generator | None = None
) -> list[Subset[T_co]]:
    """Split a data set at random into parts that do not overlap.

    Args:
        dataset: a map-style data set.
        lengths: the sizes of the parts, or fractions that add up to 1; what rounding down leaves
            over goes one by one to the first parts.
        generator: source of chance; the global one by default.

    >>> parts = tw.data.random_split(range(10), [0.7, 0.3])
    >>> [len(part) for part in parts]
    [7, 3]

    Raises:
        InvalidValue: when the lengths do not add up to the data set's.
    """
    size = length_of(dataset)
    counts: list[float] = list(lengths)
    if math.isclose(sum(counts), 1) and sum(counts) <= 1 and all(0 <= n <= 1 for n in counts):
        counts = [math.floor(size * fraction) for fraction in counts]
        for i in range(size - int(sum(counts))):
            counts[i % len(counts)] += 1
    if any(n < 0 or n != int(n) for n in counts) or sum(counts) != size:
        raise InvalidValue(
            f"random_split: lengths {list(lengths)} must be counts that add up to the "
            f"{size} samples, or fractions that add up to 1"
        )
    order = numbers(seed_from(generator)).permutation(size).tolist()
    ends = list(accumulate(int(n) for n in counts))
    starts = [0, *ends[:-1]]
    return [Subset(dataset, order[a:b]) for a, b in zip(starts, ends, strict=True)]
