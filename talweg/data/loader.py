"""DataLoader: batches from a data set, in this process or from worker processes."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from itertools import repeat
from multiprocessing.context import BaseContext
from typing import Any, Generic, TypeVar

from talweg.base.errors import InvalidValue
from talweg.data.chance import mixed, seed_from, seeded
from talweg.data.collate import default_collate, default_convert
from talweg.data.dataset import Dataset, IterableDataset, length_of
from talweg.data.sampler import BatchSampler, RandomSampler, SequentialSampler
from talweg.data.worker import EndOfStream, Fetcher, Pool, Task, WorkerLost, open_stream
from talweg.engine.random import Generator

T_co = TypeVar("T_co", covariant=True)


def _check_order(
    iterable: bool,
    batch_size: int | None,
    shuffle: bool | None,
    sampler: Iterable[Any] | None,
    batch_sampler: Iterable[list[Any]] | None,
    drop_last: bool,
) -> None:
    """Raise InvalidValue for arguments of a DataLoader that exclude each other."""
    if iterable and (shuffle or sampler is not None or batch_sampler is not None):
        raise InvalidValue(
            "an IterableDataset has its own order: shuffle, sampler and batch_sampler cannot be "
            "given"
        )
    if sampler is not None and shuffle:
        raise InvalidValue("sampler and shuffle exclude each other")
    if batch_sampler is not None:
        if batch_size != 1 or shuffle or sampler is not None or drop_last:
            raise InvalidValue("batch_sampler excludes batch_size, shuffle, sampler and drop_last")
    elif batch_size is None and drop_last:
        raise InvalidValue("batch_size=None makes no batches, so it excludes drop_last")


class DataLoader(Generic[T_co]):
    """Iterate over a data set in batches.

    Args:
        dataset: map-style, or an `IterableDataset`.
        batch_size: samples per batch; None gives single samples, converted but not joined.
        shuffle: a new random order every time.
        sampler: gives the order instead; excludes `shuffle`.
        batch_sampler: gives lists of indices; excludes the four arguments on batches and order.
        num_workers: worker processes; 0 reads in this process.
        collate_fn: makes a batch of a list of samples; `default_collate` by default.
        pin_memory: accepted, without effect.
        drop_last: leave out the last batch if it is smaller than the others.
        timeout: seconds to wait for a worker's batch before giving up; 0 waits as long as it lives.
        worker_init_fn: called in each worker with its number, before it reads.
        multiprocessing_context: `fork`, `spawn`, `forkserver`, or a context of `multiprocessing`.
            By default workers are forked on Linux, where nothing needs to be picklable, and
            spawned elsewhere, where data set and `collate_fn` must be.
        generator: source of chance; the global one by default.
        prefetch_factor: batches each worker prepares in advance; 2 by default.
        persistent_workers: keep the workers from one pass over the data to the next.
        pin_memory_device: accepted, without effect.

    The same seed gives the same batches for any number of workers: the order is drawn in this
    process, and before each batch the global generators of talweg, NumPy and `random` are seeded
    from the generator's seed and the batch's number (and given back their state afterwards when
    there are no workers). Only an `IterableDataset` depends on the number of workers, because each
    of them reads a stream of its own.

    A sample that cannot be read raises a `DataError`, of the error's own kind too, naming it, the
    worker, and the worker's traceback; the loop may go on with the next batch. Workers end when the
    iterator is dropped, when this process ends, and when it is killed.

    >>> x, y = tw.arange(6).reshape(3, 2), tw.tensor([0, 1, 0])
    >>> for rows, labels in tw.data.DataLoader(tw.data.TensorDataset(x, y), batch_size=2):
    ...     print(rows.shape, labels)
    (2, 2) tensor([0, 1])
    (1, 2) tensor([0])

    Raises:
        InvalidValue: for arguments that exclude each other or are out of range.
        DataError: while iterating, when a sample cannot be read or a worker is lost.
    """

    def __init__(
        self,
        dataset: Dataset[T_co],
        batch_size: int | None = 1,
        shuffle: bool | None = None,
        sampler: Iterable[Any] | None = None,
        batch_sampler: Iterable[list[Any]] | None = None,
        num_workers: int = 0,
        collate_fn: Callable[[Any], Any] | None = None,
        pin_memory: bool = False,
        drop_last: bool = False,
        timeout: float = 0,
        worker_init_fn: Callable[[int], None] | None = None,
        multiprocessing_context: str | BaseContext | None = None,
        generator: Generator | None = None,
        *,
        prefetch_factor: int | None = None,
        persistent_workers: bool = False,
        pin_memory_device: str = "",
    ) -> None:
        self.dataset = dataset
        self.num_workers = num_workers
        self.prefetch_factor = prefetch_factor
        self.pin_memory = pin_memory
        self.pin_memory_device = pin_memory_device
        self.timeout = timeout
        self.worker_init_fn = worker_init_fn
        self.multiprocessing_context = multiprocessing_context
        self.generator = generator
        self.persistent_workers = persistent_workers
        self.iterable = isinstance(dataset, IterableDataset)
        self._check_workers()
        _check_order(self.iterable, batch_size, shuffle, sampler, batch_sampler, drop_last)
        if batch_sampler is not None:
            batch_size = None
        self.batch_size = batch_size
        self.drop_last = drop_last
        self.sampler: Any = sampler
        if sampler is None and not self.iterable and batch_sampler is None:
            length_of(dataset, "a DataLoader needs a sampler, because")
            if shuffle:
                self.sampler = RandomSampler(dataset, generator=generator)  # type: ignore[arg-type]
            else:
                self.sampler = SequentialSampler(dataset)  # type: ignore[arg-type]
        if batch_size is not None:
            order = repeat(0) if self.iterable else self.sampler
            batch_sampler = BatchSampler(order, batch_size, drop_last)
        self.batch_sampler = batch_sampler
        default = default_convert if batch_sampler is None else default_collate
        self.collate_fn: Callable[[Any], Any] = collate_fn or default
        self._pool: Pool | None = None

    def _check_workers(self) -> None:
        if self.num_workers < 0:
            raise InvalidValue(f"num_workers must not be negative, got {self.num_workers}")
        if self.timeout < 0:
            raise InvalidValue(f"timeout must not be negative, got {self.timeout}")
        if self.num_workers == 0:
            for name in ("prefetch_factor", "persistent_workers", "multiprocessing_context"):
                if getattr(self, name):
                    raise InvalidValue(f"{name} needs num_workers of 1 or more")
        elif self.prefetch_factor is not None and self.prefetch_factor < 1:
            raise InvalidValue(f"prefetch_factor must be positive, got {self.prefetch_factor}")

    def __iter__(self) -> Iterator[Any]:
        seed = seed_from(self.generator)
        if self.num_workers == 0:
            return _Here(self, seed)
        return _Workers(self, seed)

    def __len__(self) -> int:
        # A TypeError where there is no length, for `list(loader)` and its like.
        if not self.iterable:
            order: Any = self.sampler if self.batch_sampler is None else self.batch_sampler
            return len(order)
        size = len(self.dataset)  # type: ignore[arg-type]
        if self.batch_size is None:
            return size
        return size // self.batch_size if self.drop_last else -(-size // self.batch_size)

    def fetcher(self) -> Fetcher:
        """What turns the loader's tasks into batches."""
        batched = self.batch_sampler is not None
        return Fetcher(self.dataset, self.collate_fn, batched, self.iterable, self.drop_last)

    def tasks(self) -> Iterator[Any]:
        """The indices of every batch; for a stream, without end, how many samples to take."""
        if self.iterable:
            return repeat(self.batch_size or 1)
        return iter(self.sampler if self.batch_sampler is None else self.batch_sampler)

    def pool(self, seed: int) -> Pool:
        """The workers: new ones, or those that persist."""
        if self._pool is not None and self._pool.usable():
            return self._pool
        context, init = self.multiprocessing_context, self.worker_init_fn
        pool = Pool(self.fetcher(), self.num_workers, context, seed, init)
        if self.persistent_workers:
            self._pool = pool
        return pool


class _Here:
    """One pass over the data in this process."""

    def __init__(self, loader: DataLoader[Any], seed: int) -> None:
        self._fetcher = loader.fetcher()
        self._tasks = enumerate(loader.tasks())
        self._seed = seed
        self._ended = False
        with seeded(seed):
            self._stream = open_stream(self._fetcher)

    def __iter__(self) -> Iterator[Any]:
        return self

    def __next__(self) -> Any:
        if self._ended:
            raise StopIteration
        number, indices = next(self._tasks)
        with seeded(mixed(self._seed, number)):
            batch = self._fetcher.fetch(indices, self._stream)
        if isinstance(batch, EndOfStream):
            self._ended = True
            raise StopIteration
        return batch


class _Workers:
    """One pass over the data by worker processes.

    Batches are handed out and come back in turn, worker by worker, so their order depends on
    nothing else. A worker whose stream has ended drops out of the turn.
    """

    def __init__(self, loader: DataLoader[Any], seed: int) -> None:
        self._pool = loader.pool(seed)
        self._keep = loader.persistent_workers
        self._timeout = loader.timeout
        self._seed = seed
        self._tasks = enumerate(loader.tasks())
        self._round = self._pool.next_round()
        self._turns: deque[int] = deque()
        self._ended: set[int] = set()
        for _ in range(loader.prefetch_factor or 2):
            for worker in range(len(self._pool)):
                self._ask(worker)

    def __iter__(self) -> Iterator[Any]:
        return self

    def _ask(self, worker: int) -> None:
        found = None if worker in self._ended else next(self._tasks, None)
        if found is not None:
            self._pool.send(worker, Task(self._round, *found, self._seed))
            self._turns.append(worker)

    def __next__(self) -> Any:
        if self._turns and self._pool.rounds != self._round:
            raise InvalidValue(
                "a later pass over this DataLoader has taken its persistent workers; iterate twice "
                "at once only without persistent_workers"
            )
        try:
            while self._turns:
                batch = self._answer(self._turns.popleft())
                if not isinstance(batch, EndOfStream):
                    return batch
        except (WorkerLost, KeyboardInterrupt, SystemExit):
            self._turns.clear()
            self._pool.stop()
            raise
        if not self._keep:
            self._pool.stop()
        raise StopIteration

    def _answer(self, worker: int) -> Any:
        try:
            answer = self._pool.receive(worker, self._timeout)
            if isinstance(answer, EndOfStream):
                self._ended.add(worker)
            return answer
        finally:
            self._ask(worker)
