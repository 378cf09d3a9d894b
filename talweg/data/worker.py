"""Worker processes: they read samples, join them, and send the batch as arrays.

Each worker has one pipe. The parent sends `Task`s, the worker answers each with one message, in
order. A thread of the worker does
the sending, so that a worker with a full pipe still reads its tasks and both sides never wait for
each other. Another thread ends the worker when its parent has died.
"""

from __future__ import annotations

import math
import multiprocessing as mp
import os
import pickle
import queue
import signal
import sys
import threading
import time
import traceback
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from multiprocessing.connection import Connection, wait
from multiprocessing.context import BaseContext
from multiprocessing.process import BaseProcess
from multiprocessing.util import Finalize
from typing import Any

from talweg.base.errors import DataError, InvalidValue
from talweg.data.chance import mixed, seed_everything
from talweg.data.collate import default_collate
from talweg.data.dataset import Dataset, rows_of, samples_of
from talweg.data.transport import Packed, pack, receive, send

ALIVE_CHECK_SECONDS = 1.0
"""How often a parent that waits for a batch looks whether the worker still lives."""

STOP_SECONDS = 3.0
"""How long a worker may take to end by itself."""


@dataclass(frozen=True)
class WorkerInfo:
    """What `get_worker_info` returns in a worker process.

    Args:
        id: the worker's number, from 0.
        num_workers: how many workers there are.
        seed: what the worker's generators started from in this pass over the data: that of the
            pass, plus `id`.
        dataset: the worker's copy of the data set.
    """

    id: int
    num_workers: int
    seed: int
    dataset: Dataset[Any]


_INFO: WorkerInfo | None = None


def get_worker_info() -> WorkerInfo | None:
    """Return the facts about this worker process; None in the main process.

    An `IterableDataset` uses it to give every worker its own part:

    >>> class Count(tw.data.IterableDataset):
    ...     def __iter__(self):
    ...         info = tw.data.get_worker_info()
    ...         start, step = (info.id, info.num_workers) if info else (0, 1)
    ...         return iter(range(start, 6, step))
    >>> list(tw.data.DataLoader(Count(), batch_size=3))
    [tensor([0, 1, 2]), tensor([3, 4, 5])]
    """
    return _INFO


@dataclass(frozen=True)
class Task:
    """One batch to be made.

    Args:
        round: which pass over the data; a new one restarts an iterable data set.
        number: which batch of the pass.
        indices: the samples; for an iterable data set how many; one index without batching.
        seed: of the pass.
    """

    round: int
    number: int
    indices: Any
    seed: int


STOP = pack(None)


class EndOfStream:
    """The answer of a worker whose iterable data set has no more samples."""


@dataclass(frozen=True)
class Failure:
    """The answer when a batch could not be made."""

    message: str
    trace: str
    cause: BaseException | None


@dataclass(frozen=True)
class Fetcher:
    """How tasks become batches: the part of a loader that its workers need.

    Args:
        dataset: where the samples come from.
        collate_fn: joins a list of samples; without batching, converts one sample.
        batched: whether a task is a list of indices or a single one.
        iterable: whether the data set is a stream.
        drop_last: leave out the last batch of a stream if it is too small.
    """

    dataset: Dataset[Any]
    collate_fn: Callable[[Any], Any]
    batched: bool
    iterable: bool
    drop_last: bool

    def fetch(self, indices: Any, stream: Iterator[Any] | None) -> Any:
        """Return one batch, or EndOfStream.

        Raises:
            DataError: naming the sample that failed, with the sample's error as its cause; it is of
                that error's kind, too.
        """
        if stream is not None:
            return self._from_stream(indices, stream)
        if not self.batched:
            return self._join(self._sample(indices), f"sample {indices}")
        indices = list(indices)
        if self.collate_fn is default_collate and indices:
            with suppress(IndexError):  # said below, with the sample's number
                rows = rows_of(self.dataset, indices)
                if rows is not None:
                    return rows
        samples: Sequence[Any]
        if hasattr(self.dataset, "__getitems__"):
            try:
                samples = samples_of(self.dataset, indices)
            except Exception as error:
                for index in indices:  # one of them fails again, and then the message names it
                    self._sample(index)
                text = f"the samples {_some(indices)} could not be read: {_said(error)}"
                raise failed(text, error) from error
        else:
            samples = [self._sample(i) for i in indices]
        return self._join(samples, f"the batch of samples {_some(indices)}")

    def _sample(self, index: Any) -> Any:
        try:
            return self.dataset[index]
        except Exception as error:
            raise failed(f"sample {index} could not be read: {_said(error)}", error) from error

    def _join(self, samples: Any, what: str) -> Any:
        try:
            return self.collate_fn(samples)
        except Exception as error:
            raise failed(f"{what} could not be collated: {_said(error)}", error) from error

    def _from_stream(self, count: int, stream: Iterator[Any]) -> Any:
        samples: list[Any] = []
        for _ in range(count):
            try:
                samples.append(next(stream))
            except StopIteration:
                break
            except Exception as error:
                text = f"sample {len(samples)} of the stream's next batch could not be read"
                raise failed(f"{text}: {_said(error)}", error) from error
        if not samples or (len(samples) < count and self.drop_last):
            return EndOfStream()
        if not self.batched:
            return self._join(samples[0], "a sample of the stream")
        return self._join(samples, f"a batch of {len(samples)} samples of the stream")


def failed(text: str, cause: BaseException | None) -> DataError:
    """Return a DataError that is of the cause's kind, too: a program may wait for that one."""
    kind = type(cause)
    ends = (StopIteration, StopAsyncIteration)  # would end the loop in silence
    if isinstance(cause, Exception) and not isinstance(cause, ends):
        with suppress(TypeError):  # two classes of built-in layouts that exclude each other
            own = {"__str__": Exception.__str__, "__module__": DataError.__module__}
            both = type(DataError.__name__, (DataError, kind), own)
            found: DataError = both(text)
            return found
    return DataError(text)


def _said(error: BaseException) -> str:
    return f"{type(error).__name__}: {error}" if str(error) else type(error).__name__


def _some(indices: Sequence[Any]) -> str:
    head = ", ".join(map(str, indices[:8]))
    return f"[{head}{', ...' if len(indices) > 8 else ''}]"


def _failure(error: Exception) -> Failure:
    cause = error.__cause__
    trace = "".join(traceback.format_exception(cause or error))
    try:
        pickle.loads(pickle.dumps(cause))
    except Exception:
        cause = None
    return Failure(str(error), trace, cause)


# ---------------------------------------------------------------------------------------------
# the worker's side


def _end(signum: int, frame: object) -> None:
    raise SystemExit(0)


def _hold_interrupts(hold: bool) -> None:
    """Keep a Ctrl-C waiting while a worker starts, so that it never sees one."""
    if hasattr(signal, "pthread_sigmask"):
        how = signal.SIG_BLOCK if hold else signal.SIG_UNBLOCK
        signal.pthread_sigmask(how, [signal.SIGINT])


def _watch_parent() -> None:
    parent = mp.parent_process()
    if parent is not None:
        wait([parent.sentinel])
        os._exit(1)


def _send_all(pipe: Connection, outbox: queue.SimpleQueue[Packed]) -> None:
    try:
        while True:
            send(pipe, outbox.get())
    except OSError:
        os._exit(1)  # the parent has closed its end


def work(
    pipe: Connection,
    fetcher: Fetcher,
    number: int,
    count: int,
    seed: int,
    init: Callable[[int], None] | None,
) -> None:
    """What a worker process runs, until it is terminated or its parent is gone.

    Args:
        pipe: the worker's end.
        fetcher: makes the batches.
        number: of this worker.
        count: of all workers.
        seed: of the first pass.
        init: the loader's `worker_init_fn`.
    """
    # Ctrl-C reaches the whole process group; the parent alone decides what it means.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, _end)
    _hold_interrupts(False)
    outbox: queue.SimpleQueue[Packed] = queue.SimpleQueue()
    threading.Thread(target=_watch_parent, daemon=True).start()
    threading.Thread(target=_send_all, args=(pipe, outbox), daemon=True).start()
    try:
        _begin(fetcher, number, count, seed)
        if init is not None:
            init(number)
        problem = None
    except Exception as error:
        problem = DataError(f"the worker could not start: {_said(error)}")
        problem.__cause__ = error
    round_number, stream = -1, None
    with suppress(EOFError, OSError):
        while True:
            task = receive(pipe)
            if not isinstance(task, Task):
                return
            try:
                if problem is not None:
                    raise problem
                if task.round != round_number:
                    round_number = task.round
                    _begin(fetcher, number, count, task.seed)
                    stream = open_stream(fetcher)
                seed_everything(mixed(task.seed, task.number))
                answer = pack(fetcher.fetch(task.indices, stream))
            except Exception as error:
                answer = pack(_failure(error))
            outbox.put(answer)


def _begin(fetcher: Fetcher, number: int, count: int, seed: int) -> None:
    global _INFO
    own = (seed + number) % 2**63
    _INFO = WorkerInfo(number, count, own, fetcher.dataset)
    seed_everything(own)


def open_stream(fetcher: Fetcher) -> Iterator[Any] | None:
    """Start an iterable data set; None for the others.

    Raises:
        DataError: when its `__iter__` fails.
    """
    if not fetcher.iterable:
        return None
    try:
        return iter(fetcher.dataset)
    except Exception as error:
        raise failed(f"the stream could not be started: {_said(error)}", error) from error


# ---------------------------------------------------------------------------------------------
# the parent's side


class Pool:
    """The worker processes of one loader. They end with this object, at the latest.

    Args:
        fetcher: what they run.
        count: how many.
        context: start method: `fork`, `spawn` or `forkserver`; by default `fork` on Linux, where
            anything may be a data set, and else `spawn`, where it must be picklable.
        seed: of the first pass.
        init: called in each worker with its number.

    Raises:
        InvalidValue: when what the workers need cannot be sent to them.
    """

    def __init__(
        self,
        fetcher: Fetcher,
        count: int,
        context: str | BaseContext | None,
        seed: int,
        init: Callable[[int], None] | None,
    ) -> None:
        if context is None:
            context = "fork" if sys.platform == "linux" else "spawn"
        if isinstance(context, str):
            context = mp.get_context(context)
        self.owner = os.getpid()
        self.rounds = 0
        self._pipes: list[Connection] = []
        self._processes: list[BaseProcess] = []
        self._asked: list[deque[Task]] = [deque() for _ in range(count)]
        self._stop = Finalize(self, _stop, (self._pipes, self._processes), exitpriority=10)
        try:
            for number in range(count):
                ours, theirs = context.Pipe()
                self._pipes.append(ours)
                process = context.Process(  # type: ignore[attr-defined]
                    target=work,
                    args=(theirs, fetcher, number, count, seed, init),
                    name=f"talweg-data-{number}",
                    daemon=True,
                )
                _hold_interrupts(True)
                try:
                    process.start()
                finally:
                    _hold_interrupts(False)
                theirs.close()
                self._processes.append(process)
        except (pickle.PicklingError, AttributeError, TypeError) as error:
            self.stop()
            raise InvalidValue(
                f"the data set, collate_fn or worker_init_fn cannot be sent to worker processes "
                f"({_said(error)}): define it at the top of a module, or use "
                "multiprocessing_context='fork'"
            ) from error
        except BaseException:
            self.stop()
            raise

    def __len__(self) -> int:
        return len(self._processes)

    def usable(self) -> bool:
        """Whether the workers are there: not stopped, and not those of a parent of this process."""
        return self._stop.still_active() and self.owner == os.getpid()

    def next_round(self) -> int:
        """Begin a new pass over the data; answers to the last one are thrown away.

        Raises:
            WorkerLost: when a worker has died meanwhile.
        """
        for worker, tasks in enumerate(self._asked):
            while tasks:
                self._answer(worker, tasks.popleft(), 0)
        self.rounds += 1
        return self.rounds

    def send(self, worker: int, task: Task) -> None:
        """Give a worker something to do."""
        self._asked[worker].append(task)
        with suppress(OSError):  # a dead worker is reported when its answer is missing
            send(self._pipes[worker], pack(task))

    def receive(self, worker: int, timeout: float) -> Any:
        """Wait for a worker's answer to the oldest task it was sent.

        Args:
            worker: its number.
            timeout: seconds; 0 waits as long as the worker lives.

        Raises:
            DataError: when a sample failed.
            WorkerLost: when the worker has died or takes too long.
        """
        answer = self._answer(worker, self._asked[worker].popleft(), timeout)
        if isinstance(answer, Failure):
            trace = f"The traceback in {self._name(worker)}:\n{answer.trace}"
            raise failed(f"{answer.message}\n{trace}", answer.cause) from answer.cause
        return answer

    def _name(self, worker: int) -> str:
        return f"worker {worker} of {len(self)} (pid {self._processes[worker].pid})"

    def _answer(self, worker: int, task: Task, timeout: float) -> Any:
        pipe, process = self._pipes[worker], self._processes[worker]
        deadline = time.monotonic() + timeout if timeout else math.inf
        try:
            while not pipe.poll(min(ALIVE_CHECK_SECONDS, max(0.0, deadline - time.monotonic()))):
                if not process.is_alive() and not pipe.poll():
                    raise EOFError
                if time.monotonic() >= deadline:
                    raise WorkerLost(
                        f"{self._name(worker)} gave no answer for {timeout:g} seconds while it "
                        f"read {_task_text(task)}; raise the DataLoader's timeout, or find what "
                        "makes the sample slow"
                    )
            return receive(pipe)
        except (EOFError, OSError):
            process.join(ALIVE_CHECK_SECONDS)
            # Answers that it had ready but not sent are lost too, so any of these may be the cause.
            tasks = " or ".join(map(_task_text, [task, *self._asked[worker]]))
            raise WorkerLost(
                f"{self._name(worker)} {_ending(process.exitcode)} while it read {tasks}"
            ) from None

    def stop(self) -> None:
        """End all workers."""
        self._stop()


class WorkerLost(DataError):
    """A worker process that has died or does not answer."""


def _task_text(task: Task) -> str:
    if isinstance(task.indices, list):
        return f"samples {_some(task.indices)}"
    return f"batch {task.number}"


def _ending(code: int | None) -> str:
    if code is None:
        return "closed its pipe"
    if code >= 0:
        return f"ended with exit status {code}"
    try:
        name = signal.Signals(-code).name
    except ValueError:
        name = f"signal {-code}"
    if name == "SIGKILL":
        name += " (the system does that when memory runs out: use fewer workers, smaller batches)"
    return f"was killed by {name}"


def _stop(pipes: list[Connection], processes: list[BaseProcess]) -> None:
    # The signal ends a worker that is busy, the message one that is about to wait for a task: a
    # signal that comes just before a blocking read does not interrupt it.
    for pipe in pipes:
        with suppress(OSError):
            os.set_blocking(pipe.fileno(), False)
            send(pipe, STOP)
    for process in processes:
        process.terminate()
    deadline = time.monotonic() + STOP_SECONDS
    for process in processes:
        process.join(max(0.0, deadline - time.monotonic()))
        if process.is_alive():
            process.kill()
            process.join()
        process.close()
    for pipe in pipes:
        pipe.close()
