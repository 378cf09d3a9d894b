"""The loader: arguments, order, chance, and what it does in worker processes."""

from __future__ import annotations

import random
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest

import talweg as tw
from talweg import data
from talweg.base.errors import DataError, InvalidValue

WORKERS = [0, 1, 3]


class Rows(data.Dataset[tuple[np.ndarray, int]]):
    """Row i is (i, i, i); `bad` rows cannot be read."""

    def __init__(self, size: int, bad: tuple[int, ...] = ()) -> None:
        self.size = size
        self.bad = bad

    def __getitem__(self, index: int) -> tuple[np.ndarray, int]:
        if index in self.bad:
            raise KeyError(f"row {index} is gone")
        return np.full(3, index, np.float32), index

    def __len__(self) -> int:
        return self.size


class Noise(Rows):
    def __getitem__(self, index: int) -> Any:
        return index, np.random.rand(), random.random(), tw.rand(()).item()


class Stream(data.IterableDataset[int]):
    def __init__(self, size: int, bad: int = -1) -> None:
        self.size = size
        self.bad = bad

    def __iter__(self) -> Iterator[int]:
        info = data.get_worker_info()
        start, step = (info.id, info.num_workers) if info else (0, 1)
        for i in range(start, self.size, step):
            if i == self.bad:
                raise OSError(f"line {i} is cut off")
            yield i

    def __len__(self) -> int:
        return self.size


def labels(loader: data.DataLoader[Any]) -> list[list[int]]:
    return [batch[1].tolist() for batch in loader]


def seeded(seed: int = 0) -> tw.Generator:
    return tw.Generator().manual_seed(seed)


@pytest.mark.parametrize("workers", WORKERS)
def test_batches_come_in_order(workers: int) -> None:
    loader = data.DataLoader(Rows(10), batch_size=4, num_workers=workers)
    assert len(loader) == 3
    batches = list(loader)
    assert [b[1].tolist() for b in batches] == [[0, 1, 2, 3], [4, 5, 6, 7], [8, 9]]
    assert batches[2][0].tolist() == [[8.0] * 3, [9.0] * 3]
    assert batches[0][0].dtype is tw.float32


@pytest.mark.parametrize("workers", WORKERS)
def test_drop_last(workers: int) -> None:
    loader = data.DataLoader(Rows(10), batch_size=4, drop_last=True, num_workers=workers)
    assert len(loader) == 2
    assert labels(loader) == [[0, 1, 2, 3], [4, 5, 6, 7]]


@pytest.mark.parametrize("workers", WORKERS)
def test_without_batches(workers: int) -> None:
    loader = data.DataLoader(Rows(3), batch_size=None, num_workers=workers)
    assert len(loader) == 3
    rows = list(loader)
    assert [row[1] for row in rows] == [0, 1, 2]
    assert isinstance(rows[1][0], tw.Tensor)
    assert rows[1][0].tolist() == [1.0] * 3


@pytest.mark.parametrize("workers", WORKERS)
def test_samplers_decide(workers: int) -> None:
    loader = data.DataLoader(Rows(9), 2, sampler=[8, 0, 4], num_workers=workers)
    assert labels(loader) == [[8, 0], [4]]
    batches = [[1], [2, 3, 4], [5]]
    loader = data.DataLoader(Rows(9), batch_sampler=batches, num_workers=workers)
    assert len(loader) == 3
    assert labels(loader) == batches


@pytest.mark.parametrize("workers", WORKERS)
def test_collate_fn(workers: int) -> None:
    loader = data.DataLoader(
        Rows(5), 2, num_workers=workers, collate_fn=lambda rows: {"sum": sum(r[1] for r in rows)}
    )
    assert list(loader) == [{"sum": 1}, {"sum": 5}, {"sum": 4}]


def test_the_same_seed_gives_the_same_batches_for_any_number_of_workers() -> None:
    def drawn(workers: int, **options: Any) -> list[Any]:
        tw.manual_seed(3)
        loader = data.DataLoader(Noise(23), 4, shuffle=True, num_workers=workers, **options)
        found = [[column.tolist() for column in batch] for _ in range(2) for batch in loader]
        return [*found, tw.rand(()).item()]

    alone = drawn(0)
    assert sorted(i for batch in alone[:6] for i in batch[0]) == list(range(23))
    assert alone[:6] != alone[6:12]
    assert len({x for batch in alone[:12] for x in batch[1]}) == 46
    assert drawn(1) == alone
    assert drawn(2) == alone
    assert drawn(3, prefetch_factor=5) == alone
    assert drawn(2, persistent_workers=True) == alone


def test_a_generator_rules_order_and_chance() -> None:
    def drawn(seed: int) -> list[Any]:
        loader = data.DataLoader(Noise(9), 3, shuffle=True, generator=seeded(seed))
        return [[column.tolist() for column in batch] for batch in loader]

    assert drawn(1) == drawn(1)
    assert drawn(1) != drawn(2)


def test_reading_here_leaves_the_global_generators_alone() -> None:
    np.random.seed(1)
    random.seed(1)
    expected = np.random.RandomState(1).rand(2).tolist(), random.Random(1).random()
    first = np.random.rand()
    list(data.DataLoader(Noise(4), generator=seeded()))
    assert ([first, np.random.rand()], random.random()) == expected


def test_split_then_load_through_subsets() -> None:
    parts = data.random_split(Rows(10), [6, 4], seeded())
    here, there = (
        [batch for part in parts for batch in labels(data.DataLoader(part, 3, num_workers=w))]
        for w in (0, 2)
    )
    assert here == there
    assert sorted(i for batch in here for i in batch) == list(range(10))


@pytest.mark.parametrize("workers", WORKERS)
def test_the_sample_that_failed_is_named_and_the_loop_may_go_on(workers: int) -> None:
    batches = iter(data.DataLoader(Rows(8, bad=(3, 6)), 2, num_workers=workers))
    assert next(batches)[1].tolist() == [0, 1]
    with pytest.raises(DataError, match=r"^sample 3 could not be read: KeyError") as failure:
        next(batches)
    assert isinstance(failure.value.__cause__, KeyError)
    if workers:
        text = str(failure.value)
        assert f"worker 1 of {workers}" in text or workers == 1
        assert "Traceback (most recent call last)" in text
        assert "in __getitem__" in text
    assert next(batches)[1].tolist() == [4, 5]
    with pytest.raises(DataError, match="sample 6"):
        next(batches)
    with pytest.raises(StopIteration):
        next(batches)


@pytest.mark.parametrize("workers", WORKERS)
def test_the_sample_is_named_through_a_subset(workers: int) -> None:
    part = data.Subset(Rows(8, bad=(3,)), [5, 3])
    with pytest.raises(DataError, match="sample 1 could not be read: KeyError: 'row 3 is gone'"):
        list(data.DataLoader(part, 2, num_workers=workers))


@pytest.mark.parametrize("workers", WORKERS)
def test_a_batch_that_cannot_be_collated_is_named(workers: int) -> None:
    ragged = [np.zeros(i) for i in range(4)]
    with pytest.raises(DataError, match=r"batch of samples \[0, 1\] could not be collated"):
        list(data.DataLoader(ragged, 2, num_workers=workers))


def test_streams_are_batched_and_shared_among_workers() -> None:
    def read(workers: int, **options: Any) -> list[list[int]]:
        loader = data.DataLoader(Stream(10), num_workers=workers, **options)
        return [batch.tolist() for batch in loader]

    assert read(0, batch_size=4) == [[0, 1, 2, 3], [4, 5, 6, 7], [8, 9]]
    assert read(2, batch_size=4) == [[0, 2, 4, 6], [1, 3, 5, 7], [8], [9]]
    assert read(2, batch_size=4, drop_last=True) == [[0, 2, 4, 6], [1, 3, 5, 7]]
    assert read(3, batch_size=1) == [[i] for i in range(10)]
    assert len(data.DataLoader(Stream(10), 4)) == 3
    assert list(data.DataLoader(Stream(3), batch_size=None, num_workers=1)) == [0, 1, 2]


def test_a_stream_without_length() -> None:
    class Open(data.IterableDataset[int]):
        def __iter__(self) -> Iterator[int]:
            return iter([4, 5])

    loader = data.DataLoader(Open())
    assert [batch.item() for batch in list(loader)] == [4, 5]
    with pytest.raises(TypeError, match="Open"):
        len(loader)


def test_a_stream_starts_again_in_persistent_workers() -> None:
    loader = data.DataLoader(Stream(4), 2, num_workers=2, persistent_workers=True)
    for _ in range(2):
        assert [batch.tolist() for batch in loader] == [[0, 2], [1, 3]]


@pytest.mark.parametrize("workers", WORKERS)
def test_a_broken_stream_is_reported(workers: int) -> None:
    with pytest.raises(DataError, match=r"stream's next batch .*OSError: line 5 is cut off"):
        list(data.DataLoader(Stream(10, bad=5), 4, num_workers=workers))


@pytest.mark.parametrize(
    ("options", "text"),
    [
        ({"num_workers": -1}, "num_workers"),
        ({"timeout": -1}, "timeout"),
        ({"prefetch_factor": 2}, "prefetch_factor needs num_workers"),
        ({"persistent_workers": True}, "persistent_workers needs num_workers"),
        ({"num_workers": 1, "prefetch_factor": 0}, "must be positive"),
        ({"sampler": [0], "shuffle": True}, "exclude each other"),
        ({"batch_sampler": [[0]], "shuffle": True}, "batch_sampler excludes"),
        ({"batch_sampler": [[0]], "batch_size": 2}, "batch_sampler excludes"),
        ({"batch_size": None, "drop_last": True}, "excludes drop_last"),
        ({"batch_size": 0}, "batch_size must be a positive whole number, got 0"),
    ],
)
def test_arguments_that_do_not_fit(options: dict[str, Any], text: str) -> None:
    with pytest.raises(InvalidValue, match=text):
        data.DataLoader(Rows(4), **options)


def test_streams_have_their_own_order() -> None:
    for options in ({"shuffle": True}, {"sampler": [0]}, {"batch_sampler": [[0]]}):
        with pytest.raises(InvalidValue, match="its own order"):
            data.DataLoader(Stream(3), **options)
    assert len(list(data.DataLoader(Stream(3), shuffle=False))) == 3


def test_a_data_set_without_length_needs_a_sampler() -> None:
    class Endless(data.Dataset[int]):
        def __getitem__(self, index: int) -> int:
            return index

    with pytest.raises(InvalidValue, match="Endless has no length"):
        data.DataLoader(Endless())
    assert [b.tolist() for b in data.DataLoader(Endless(), sampler=[5, 7])] == [[5], [7]]


class Seeds(Rows):
    def __getitem__(self, index: int) -> Any:
        info = data.get_worker_info()
        assert info is not None
        return info.id, info.seed


@pytest.mark.parametrize("persistent", [False, True])
def test_a_worker_s_seed_is_that_of_the_pass_and_its_number(persistent: bool) -> None:
    loader = data.DataLoader(
        Seeds(6), num_workers=3, generator=seeded(5), persistent_workers=persistent
    )
    passes = []
    for _ in range(2):
        found = {int(i): int(s) for i, s in loader}
        assert [found[i] - found[0] for i in range(3)] == [0, 1, 2]
        passes.append(found[0])
    assert passes[0] != passes[1]


class Strange(Exception):
    def __init__(self, code: int, place: str) -> None:
        super().__init__(code, place)
        self.code = code


def unicode_error() -> Exception:
    try:
        return AssertionError(b"\xff".decode())
    except UnicodeDecodeError as error:
        return error


class Failing(Rows):
    def __init__(self, error: Exception) -> None:
        super().__init__(2)
        self.error = error

    def __getitem__(self, index: int) -> Any:
        raise self.error


@pytest.mark.parametrize("workers", [0, 1])
@pytest.mark.parametrize(
    "error",
    [
        KeyError("gone"),
        FileNotFoundError(2, "No such file", "a.txt"),
        ZeroDivisionError(),
        NotImplementedError("later"),
        unicode_error(),
        Strange(7, "here"),
        InvalidValue("wrong"),
    ],
    ids=lambda error: type(error).__name__,
)
def test_an_error_is_of_its_own_kind_too(error: Exception, workers: int) -> None:
    loader = data.DataLoader(Failing(error), num_workers=workers)
    with pytest.raises(type(error)) as caught:
        next(iter(loader))
    assert isinstance(caught.value, DataError)
    assert str(caught.value).startswith(f"sample 0 could not be read: {type(error).__name__}")
    assert repr(caught.value).startswith("DataError(")


def test_an_error_that_would_end_the_loop_is_an_error() -> None:
    with pytest.raises(DataError, match="StopIteration"):
        list(data.DataLoader(Failing(StopIteration())))
