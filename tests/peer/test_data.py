"""`utils.data`, called in both libraries: the same batches, lengths and kinds of errors."""

from __future__ import annotations

from collections import Counter, namedtuple
from collections.abc import Callable, Iterator
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

import talweg as tw

torch: Any = pytest.importorskip("torch")

Pair = namedtuple("Pair", "x y")
OURS = SimpleNamespace(tw=tw, D=tw.data)
THEIRS = SimpleNamespace(tw=torch, D=torch.utils.data)


def plain(value: Any) -> Any:
    """Tensors, at any depth, as their dtype and numbers; containers keep their kind."""
    if isinstance(value, tw.Tensor | torch.Tensor):
        return str(value.dtype).split(".")[-1], tuple(value.shape), value.tolist()
    if isinstance(value, dict):
        return {k: plain(v) for k, v in value.items()}
    if isinstance(value, tuple) and hasattr(value, "_fields"):
        return type(value).__name__, [plain(v) for v in value]
    if isinstance(value, list | tuple):
        return [type(value).__name__, *map(plain, value)]
    return value


def outcome(call: Callable[..., Any], lib: Any) -> tuple[Any, BaseException | None]:
    try:
        return plain(call(lib.tw, lib.D)), None
    except Exception as error:
        return None, error


def rows(D: Any, size: int = 10) -> Any:
    class Rows(D.Dataset):  # type: ignore[misc]
        def __getitem__(self, index: int) -> Any:
            if not -size <= index < size:
                raise IndexError(index)
            return index, float(index), f"row {index}"

        def __len__(self) -> int:
            return size

    return Rows()


def stream(D: Any, size: int = 7) -> Any:
    class Stream(D.IterableDataset):  # type: ignore[misc]
        def __iter__(self) -> Iterator[int]:
            return iter(range(size))

    return Stream()


def loaded(*args: Any, **named: Any) -> Callable[..., Any]:
    return lambda T, D: list(D.DataLoader(rows(D), *args, **named))


def streamed(*args: Any, **named: Any) -> Callable[..., Any]:
    return lambda T, D: list(D.DataLoader(stream(D), *args, **named))


def spread(count: int, replicas: int, **named: Any) -> Callable[..., Any]:
    def call(T: Any, D: Any) -> Any:
        made = [D.DistributedSampler(range(count), replicas, r, **named) for r in range(replicas)]
        return [[len(s), s.total_size, list(s)] for s in made]

    return call


def permuted(T: Any, D: Any) -> Any:
    """A shuffled sampler is a permutation; which one is each library's own."""
    found = [list(D.DistributedSampler(range(9), 3, r, seed=4)) for r in range(3)]
    return sorted(i for part in found for i in part)


def counts(sampler: Any) -> Any:
    return sorted(Counter(Counter(sampler).values()).items()), len(sampler)


CASES: dict[str, Callable[..., Any]] = {
    "single": loaded(),
    "batches": loaded(4),
    "drop last": loaded(4, drop_last=True),
    "no batches": loaded(None),
    "larger than the set": loaded(32),
    "sampler": loaded(2, sampler=[7, 1, 3]),
    "batch sampler": loaded(batch_sampler=[[1, 2], [3]]),
    "collate": loaded(3, collate_fn=lambda b: [x[0] for x in b]),
    "no batches, collate": loaded(None, collate_fn=lambda x: x[0]),
    "workers": loaded(4, num_workers=2),
    "workers, no batches": loaded(None, num_workers=2),
    "workers, prefetch": loaded(3, num_workers=1, prefetch_factor=5, persistent_workers=True),
    "stream": streamed(3),
    "stream, drop last": streamed(3, drop_last=True),
    "stream, no batches": streamed(None),
    "stream, every worker reads it whole": streamed(4, num_workers=2),
    "lengths": lambda T, D: [
        len(D.DataLoader(rows(D), n, drop_last=d)) for n in (1, 3, 10, 11) for d in (False, True)
    ],
    "length without batches": lambda T, D: len(D.DataLoader(rows(D), None)),
    "attributes": lambda T, D: [
        getattr(D.DataLoader(rows(D), 3), name)
        for name in ("batch_size", "num_workers", "drop_last", "pin_memory", "timeout")
    ],
    "kinds of samplers": lambda T, D: [
        type(D.DataLoader(rows(D), 3, shuffle=s).sampler).__name__ for s in (None, False, True)
    ],
    "batch size beside a batch sampler": lambda T, D: D.DataLoader(
        rows(D), batch_sampler=[[1]]
    ).batch_size,
    "sequential": lambda T, D: list(D.SequentialSampler(range(4))),
    "random is a permutation": lambda T, D: sorted(D.RandomSampler(range(9))),
    "random, more than there are": lambda T, D: counts(D.RandomSampler(range(4), num_samples=10)),
    "random, fewer": lambda T, D: counts(D.RandomSampler(range(9), num_samples=3)),
    "random, with replacement": lambda T, D: [
        len(s := list(D.RandomSampler(range(3), True, 50))),
        set(s) <= {0, 1, 2},
    ],
    "random subset": lambda T, D: sorted(D.SubsetRandomSampler([3, 5, 9])),
    "weighted, one possible": lambda T, D: list(D.WeightedRandomSampler([0, 1.0, 0], 4)),
    "weighted, without replacement": lambda T, D: sorted(
        D.WeightedRandomSampler([0.5, 0, 2, 1], 3, replacement=False)
    ),
    "weighted, length": lambda T, D: len(D.WeightedRandomSampler([1, 2], 7)),
    "batches of a sampler": lambda T, D: [
        list(D.BatchSampler(range(7), 3, drop)) for drop in (False, True)
    ],
    "batches, lengths": lambda T, D: [
        len(D.BatchSampler(range(7), 3, drop)) for drop in (False, True)
    ],
    "spread": spread(10, 3, shuffle=False),
    "spread, drop last": spread(10, 3, shuffle=False, drop_last=True),
    "spread, evenly": spread(9, 3, shuffle=False),
    "spread, fewer than processes": spread(2, 5, shuffle=False),
    "spread, drop last, fewer": spread(4, 3, shuffle=False, drop_last=True),
    "spread, permuted": permuted,
    "concat": lambda T, D: [(rows(D, 3) + rows(D, 2))[i] for i in (0, 2, 3, -1, -5)],
    "concat, lengths": lambda T, D: [
        len(c := D.ConcatDataset([rows(D, 3), rows(D, 1), rows(D, 2)])), c.cumulative_sizes
    ],
    "chain": lambda T, D: list(D.ChainDataset([stream(D, 2), stream(D, 3)])),
    "chain by adding": lambda T, D: list(stream(D, 2) + stream(D, 1)),
    "subset": lambda T, D: [(s := D.Subset(rows(D), [5, 2]))[1], len(s)],
    "subset, many": lambda T, D: D.Subset(rows(D), [5, 2]).__getitems__([1, 0]),
    "stack": lambda T, D: [(s := D.StackDataset(rows(D, 3), range(3)))[2], len(s)],
    "stack, named": lambda T, D: D.StackDataset(a=range(3), b=rows(D, 3))[1],
    "stack, many": lambda T, D: D.StackDataset(
        a=range(3), b=D.Subset(rows(D, 3), [2, 1, 0])
    ).__getitems__([0, 2]),
    "stack, loaded": lambda T, D: list(D.DataLoader(D.StackDataset(range(3), range(3)), 2)),
    "tensors": lambda T, D: [
        (d := D.TensorDataset(T.arange(6).view(3, 2), T.arange(3)))[1], len(d), d[-1], d[:2]
    ],
    "tensors, loaded": lambda T, D: list(
        D.DataLoader(D.TensorDataset(T.arange(6).view(3, 2), T.tensor([1.0, 0, 1])), 2)
    ),
    "split": lambda T, D: [
        [len(p) for p in D.random_split(range(n), parts)]
        for n, parts in (
            (10, [3, 7]), (10, [0.3, 0.7]), (11, [0.5, 0.5]), (7, [0.2, 0.2, 0.6]), (5, [5, 0])
        )
    ],
    "split holds everything": lambda T, D: sorted(
        i for p in D.random_split(range(10), [4, 6]) for i in p.indices
    ),
    "split is seeded": lambda T, D: [
        D.random_split(range(10), [4, 6], T.Generator().manual_seed(2))[0].indices
        == D.random_split(range(10), [4, 6], T.Generator().manual_seed(2))[0].indices
    ],
    "collate numbers": lambda T, D: D.default_collate([1, 2, 3]),
    "collate floats": lambda T, D: D.default_collate([0.5, 2.0]),
    "collate truths": lambda T, D: D.default_collate([True, False]),
    "collate words": lambda T, D: D.default_collate(["a", "b"]),
    "collate dicts": lambda T, D: D.default_collate([{"a": 1, "b": [1, 2]}, {"a": 3, "b": [4, 5]}]),
    "collate tuples": lambda T, D: D.default_collate([(1, "x", 0.5), (2, "y", 1.5)]),
    "collate named tuples": lambda T, D: D.default_collate([Pair(1, 2), Pair(3, 4)]),
    "collate Tensors": lambda T, D: D.default_collate([T.ones(2), T.zeros(2)]),
    "collate arrays": lambda T, D: D.default_collate(
        [np.arange(2, dtype=np.int32), np.zeros(2, np.int32)]
    ),
    "collate NumPy numbers": lambda T, D: D.default_collate([np.float32(1), np.float32(2)]),
    "convert": lambda T, D: D.default_convert(
        {"a": np.arange(2), "b": [np.float64(1), "x"], "c": (1, np.ones(1))}
    ),
    "convert named tuples": lambda T, D: D.default_convert(Pair(np.ones(2), "x")),
    "no worker here": lambda T, D: D.get_worker_info(),
}  # fmt: skip

ERRORS: dict[str, Callable[..., Any]] = {
    "shuffle and sampler": loaded(2, shuffle=True, sampler=[1]),
    "batch sampler and batch size": loaded(2, batch_sampler=[[1]]),
    "batch sampler and shuffle": loaded(shuffle=True, batch_sampler=[[1]]),
    "batch sampler and drop last": loaded(drop_last=True, batch_sampler=[[1]]),
    "drop last without batches": loaded(None, drop_last=True),
    "negative workers": loaded(num_workers=-1),
    "negative timeout": loaded(timeout=-1),
    "prefetch without workers": loaded(prefetch_factor=2),
    "negative prefetch": loaded(num_workers=1, prefetch_factor=-1),
    "persistent without workers": loaded(persistent_workers=True),
    "batch size 0": loaded(0),
    "batch size -1": loaded(-1),
    "batch size 1.5": loaded(1.5),
    "stream and shuffle": streamed(2, shuffle=True),
    "stream and sampler": streamed(2, sampler=[1]),
    "stream and batch sampler": streamed(batch_sampler=[[1]]),
    "beyond the end": loaded(2, sampler=[3, 99]),
    "no length of a stream": lambda T, D: len(D.DataLoader(stream(D))),
    "random, no samples": lambda T, D: list(D.RandomSampler(range(3), num_samples=0)),
    "random, nothing there": lambda T, D: list(D.RandomSampler([])),
    "random, replacement 1.5": lambda T, D: D.RandomSampler(range(3), 1.5),
    "weighted, no samples": lambda T, D: D.WeightedRandomSampler([1.0], 0),
    "weighted, samples True": lambda T, D: D.WeightedRandomSampler([1.0], True),
    "weighted, replacement 1": lambda T, D: D.WeightedRandomSampler([1.0], 1, 1),
    "weighted, two rows": lambda T, D: D.WeightedRandomSampler([[1.0]], 1),
    "weighted, negative": lambda T, D: list(D.WeightedRandomSampler([1.0, -1.0], 1)),
    "batches of 0": lambda T, D: D.BatchSampler(range(3), 0, False),
    "batches of True": lambda T, D: D.BatchSampler(range(3), True, False),
    "batches, drop last 1": lambda T, D: D.BatchSampler(range(3), 1, 1),
    "rank too high": lambda T, D: D.DistributedSampler(range(3), 2, 2),
    "rank negative": lambda T, D: D.DistributedSampler(range(3), 2, -1),
    "concat of nothing": lambda T, D: D.ConcatDataset([]),
    "concat of a stream": lambda T, D: D.ConcatDataset([stream(D)]),
    "concat, beyond": lambda T, D: D.ConcatDataset([rows(D, 2)])[5],
    "concat, before": lambda T, D: D.ConcatDataset([rows(D, 2)])[-3],
    "chain of a set": lambda T, D: list(D.ChainDataset([rows(D)])),
    "stack of nothing": lambda T, D: D.StackDataset(),
    "stack, both kinds": lambda T, D: D.StackDataset(range(2), a=range(2)),
    "stack, unequal": lambda T, D: D.StackDataset(range(2), range(3)),
    "tensors, unequal": lambda T, D: D.TensorDataset(T.ones(2), T.ones(3)),
    "split, other sum": lambda T, D: D.random_split(range(3), [1, 1]),
    "split, fraction above 1": lambda T, D: D.random_split(range(3), [1.5, -0.5]),
    "collate unequal shapes": lambda T, D: D.default_collate([T.ones(2), T.ones(3)]),
    "collate unequal lengths": lambda T, D: D.default_collate([[1], [1, 2]]),
    "collate an object": lambda T, D: D.default_collate([object(), object()]),
    "collate missing keys": lambda T, D: D.default_collate([{"a": 1}, {"b": 1}]),
    "no __getitem__": lambda T, D: D.Dataset()[0],
    "no __iter__": lambda T, D: iter(D.IterableDataset()),
}


@pytest.mark.parametrize("name", CASES)
def test_results_are_those_of_pytorch(name: str) -> None:
    (ours, wrong), (theirs, failed) = (outcome(CASES[name], lib) for lib in (OURS, THEIRS))
    assert failed is None, failed
    assert wrong is None, wrong
    assert ours == theirs


# Where PyTorch says `assert`, or lets an error of its own parts through, ours is what it means.
MEANT = {
    "concat of nothing": ValueError,
    "concat of a stream": ValueError,
    "chain of a set": ValueError,
    "tensors, unequal": ValueError,
    "concat, before": IndexError,
    "collate an object": ValueError,
    "collate missing keys": ValueError,
    "beyond the end": ValueError,
    "weighted, negative": ValueError,
    "no __iter__": NotImplementedError,
}


@pytest.mark.parametrize("name", ERRORS)
def test_errors_are_of_the_kinds_of_pytorch(name: str) -> None:
    (_, ours), (_, theirs) = (outcome(ERRORS[name], lib) for lib in (OURS, THEIRS))
    assert theirs is not None
    assert isinstance(ours, MEANT.get(name, type(theirs))), f"{ours!r} for {theirs!r}"
    assert str(ours)
