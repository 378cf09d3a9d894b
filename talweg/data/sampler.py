"""Samplers: in which order the samples of a data set are read."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence, Sized
from typing import Generic, TypeVar

import numpy as np

from talweg.base.errors import DTypeError, InvalidValue
from talweg.data.chance import mixed, numbers, seed_from
from talweg.engine.random import Generator

T_co = TypeVar("T_co", covariant=True)


class Sampler(Generic[T_co]):
    """Base of samplers: subclasses define `__iter__`, which gives indices, and mostly `__len__`."""

    def __iter__(self) -> Iterator[T_co]:
        raise NotImplementedError(f"{type(self).__name__} must define __iter__()")


def _check_count(name: str, count: object) -> None:
    if not isinstance(count, int) or isinstance(count, bool) or count <= 0:
        raise InvalidValue(f"{name}: num_samples must be a positive whole number, got {count!r}")


def _check_bool(name: str, value: object) -> None:
    if not isinstance(value, bool):
        raise InvalidValue(f"{name} must be a bool, got {value!r}")


class SequentialSampler(Sampler[int]):
    """0, 1, 2, and so on."""

    def __init__(self, data_source: Sized) -> None:
        self.data_source = data_source

    def __iter__(self) -> Iterator[int]:
        return iter(range(len(self.data_source)))

    def __len__(self) -> int:
        return len(self.data_source)


class RandomSampler(Sampler[int]):
    """A new random order every time.

    Args:
        data_source: what is sampled; only its length is used.
        replacement: draw every index independently, instead of a permutation.
        num_samples: how many indices; the data set's length by default. Without replacement, more
            than that means one permutation after the other.
        generator: source of chance; the global one by default.

    Raises:
        InvalidValue: when `num_samples` is no positive whole number: an empty data set without it.
        DTypeError: when `replacement` is no bool.
    """

    def __init__(
        self,
        data_source: Sized,
        replacement: bool = False,
        num_samples: int | None = None,
        generator: Generator | None = None,
    ) -> None:
        if not isinstance(replacement, bool):
            raise DTypeError(f"RandomSampler: replacement must be a bool, got {replacement!r}")
        _check_count("RandomSampler", len(data_source) if num_samples is None else num_samples)
        self.data_source = data_source
        self.replacement = replacement
        self.generator = generator
        self._num_samples = num_samples

    @property
    def num_samples(self) -> int:
        """How many indices one pass gives."""
        return len(self.data_source) if self._num_samples is None else self._num_samples

    def __iter__(self) -> Iterator[int]:
        size, left = len(self.data_source), self.num_samples
        if left and not size:
            raise InvalidValue("RandomSampler: the data set is empty")
        rng = numbers(seed_from(self.generator))
        while left > 0:
            many = min(left, size)
            if self.replacement:
                yield from rng.integers(size, size=many).tolist()
            else:
                yield from rng.permutation(size)[:many].tolist()
            left -= many

    def __len__(self) -> int:
        return self.num_samples


class SubsetRandomSampler(Sampler[int]):
    """The given indices in a new random order every time."""

    def __init__(self, indices: Sequence[int], generator: Generator | None = None) -> None:
        self.indices = indices
        self.generator = generator

    def __iter__(self) -> Iterator[int]:
        for i in numbers(seed_from(self.generator)).permutation(len(self.indices)).tolist():
            yield self.indices[i]

    def __len__(self) -> int:
        return len(self.indices)


class WeightedRandomSampler(Sampler[int]):
    """Indices drawn with the given probabilities.

    Args:
        weights: one weight for each sample, not negative; they need not add up to 1.
        num_samples: how many indices one pass gives.
        replacement: whether an index may come again.
        generator: source of chance; the global one by default.

    Raises:
        InvalidValue: for weights that are negative, NaN or all zero, and when fewer samples have
            a weight above zero than are drawn without replacement.
    """

    def __init__(
        self,
        weights: Sequence[float],
        num_samples: int,
        replacement: bool = True,
        generator: Generator | None = None,
    ) -> None:
        _check_count("WeightedRandomSampler", num_samples)
        _check_bool("WeightedRandomSampler: replacement", replacement)
        self.weights = np.asarray(weights, dtype=np.float64)
        if self.weights.ndim != 1 or not np.all(np.isfinite(self.weights) & (self.weights >= 0)):
            raise InvalidValue(
                "WeightedRandomSampler: weights must be one row of finite numbers, none negative, "
                f"got {weights!r}"
            )
        positive = int(np.count_nonzero(self.weights))
        if positive == 0 or (not replacement and positive < num_samples):
            raise InvalidValue(
                f"WeightedRandomSampler: {positive} samples have a weight above zero, too few to "
                f"draw {num_samples}"
            )
        self.num_samples = num_samples
        self.replacement = replacement
        self.generator = generator

    def __iter__(self) -> Iterator[int]:
        chances = self.weights / self.weights.sum()
        rng = numbers(seed_from(self.generator))
        drawn = rng.choice(len(chances), self.num_samples, replace=self.replacement, p=chances)
        return iter(drawn.tolist())

    def __len__(self) -> int:
        return self.num_samples


class BatchSampler(Sampler[list[int]]):
    """The indices of another sampler, in lists of `batch_size`.

    >>> list(tw.data.BatchSampler(range(5), batch_size=2, drop_last=False))
    [[0, 1], [2, 3], [4]]

    Raises:
        InvalidValue: when `batch_size` is not a positive whole number, or `drop_last` no bool.
    """

    def __init__(self, sampler: Iterable[int], batch_size: int, drop_last: bool) -> None:
        if type(batch_size) is not int or batch_size <= 0:
            raise InvalidValue(f"batch_size must be a positive whole number, got {batch_size!r}")
        _check_bool("drop_last", drop_last)
        self.sampler = sampler
        self.batch_size = batch_size
        self.drop_last = drop_last

    def __iter__(self) -> Iterator[list[int]]:
        batch: list[int] = []
        for index in self.sampler:
            batch.append(index)
            if len(batch) == self.batch_size:
                yield batch
                batch = []
        if batch and not self.drop_last:
            yield batch

    def __len__(self) -> int:
        count = len(self.sampler)  # type: ignore[arg-type]
        return count // self.batch_size if self.drop_last else -(-count // self.batch_size)


class DistributedSampler(Sampler[int]):
    """The part of the indices that one of several processes takes, all of equal length.

    Args:
        dataset: its length counts.
        num_replicas: how many processes there are; 1 unless given.
        rank: which of them this one is, from 0 on; 0 unless given.
        shuffle: draw the order anew for each epoch, the same for all processes.
        seed: of the order.
        drop_last: leave out what does not divide evenly, instead of giving some indices twice.

    Raises:
        InvalidValue: unless 0 <= rank < num_replicas.

    >>> list(tw.data.DistributedSampler(range(5), 2, 1, shuffle=False))
    [1, 3, 0]
    """

    def __init__(
        self,
        dataset: Sized,
        num_replicas: int | None = None,
        rank: int | None = None,
        shuffle: bool = True,
        seed: int = 0,
        drop_last: bool = False,
    ) -> None:
        self.num_replicas = 1 if num_replicas is None else num_replicas
        self.rank = 0 if rank is None else rank
        if not 0 <= self.rank < self.num_replicas:
            raise InvalidValue(
                f"Invalid rank {self.rank}, rank should be in the interval "
                f"[0, {self.num_replicas - 1}]"
            )
        self.dataset, self.shuffle, self.seed, self.drop_last = dataset, shuffle, seed, drop_last
        self.epoch = 0
        count = len(dataset)
        even = count // self.num_replicas
        uneven = count % self.num_replicas != 0 and not drop_last
        self.num_samples = even + uneven
        self.total_size = self.num_samples * self.num_replicas

    def __iter__(self) -> Iterator[int]:
        count = len(self.dataset)
        order = list(range(count))
        if self.shuffle:
            order = numbers(mixed(self.seed, self.epoch)).permutation(count).tolist()
        repeated = order * -(-self.total_size // max(count, 1))
        return iter(repeated[: self.total_size][self.rank :: self.num_replicas])

    def __len__(self) -> int:
        return self.num_samples

    def set_epoch(self, epoch: int) -> None:
        """Choose the order of an epoch."""
        self.epoch = epoch
