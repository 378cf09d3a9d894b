"""A search for better schedules: `tune` measures those that the default was chosen from."""

from __future__ import annotations

import math
import statistics
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, final

import numpy as np

from talweg.base.errors import InvalidValue
from talweg.codegen.cpu import host
from talweg.codegen.object import compile_nests
from talweg.engine.evaluate import forget_programs
from talweg.engine.explain import explain
from talweg.engine.report import aligned
from talweg.engine.schedules import keep_schedules
from talweg.engine.state import CONFIG
from talweg.engine.units import time_text
from talweg.engine.watch import now
from talweg.engine.workers import disk_cache, pool
from talweg.loops.nest import LoopNest
from talweg.loops.scalar import Number
from talweg.passes.plan import Launch
from talweg.runtime.buffer import Buffer
from talweg.runtime.executor import Executor, Place
from talweg.runtime.executor import Launch as Run
from talweg.runtime.jit import Kernel
from talweg.schedule.choose import Schedule
from talweg.schedule.search import candidates

ROUNDS = 9
LEAST = 200_000  # nanoseconds of a sample
WORTH = 1.03  # times faster than the default that another schedule must be


@final
@dataclass(frozen=True)
class Tuned:
    """What was measured of one kernel.

    Attributes:
        name: of the kernel.
        tried: how many schedules.
        default: nanoseconds with the schedule that talweg chooses by itself.
        best: nanoseconds with the best one.
        schedule: that one; the default where nothing was faster by more than 3%.
        ratio: the default's time over the best one's, the median of rounds.
    """

    name: str
    tried: int
    default: float
    best: float
    schedule: Schedule
    ratio: float


@final
@dataclass(frozen=True)
class Tuning:
    """What a search found. `print` shows a table.

    Attributes:
        kernels: the slowest first.
        skipped: how many kernels were left out because time was over.
    """

    kernels: tuple[Tuned, ...]
    skipped: int

    def __str__(self) -> str:
        head = ("kernel", "tried", "default", "best", "times faster")
        rows = [
            (k.name, str(k.tried), time_text(int(k.default)), time_text(int(k.best)),
             f"{k.ratio:.2f}")
            for k in self.kernels
        ]  # fmt: skip
        before, after = (sum(getattr(k, n) for k in self.kernels) for n in ("default", "best"))
        better = sum(k.ratio > 1 for k in self.kernels)
        last = (
            f"{better} of {len(self.kernels)} kernels are faster: {time_text(int(before))} -> "
            f"{time_text(int(after))}" + f"; no time for {self.skipped}" * bool(self.skipped)
        )
        return "\n".join([aligned(head, rows, "lrrrr"), last])

    __repr__ = __str__


def tune(
    function: Callable[..., Any],
    *args: Any,
    seconds: float = 60.0,
    schedules: int = 12,
    **kwargs: Any,
) -> Tuning:
    """Search better schedules for the kernels of a function, and keep them in the cache folder.

    By default a schedule is chosen by what it should cost. Here the cheapest ones are compiled and
    measured in turn, alone, on operands of the same sizes. What is faster than the default is taken
    for these sizes from then on, in this process and in later ones with the same processor, number
    of threads and version of talweg. Functions that `tw.compile` has captured before keep what they
    have: in this process, tune first.

    Args:
        function: called once, with the other arguments.
        seconds: how long to measure; the slowest kernels come first.
        schedules: how many to try of each kernel.

    Raises:
        InvalidValue: for fewer than two schedules.
        Whatever the function raises.

    Example:
        >>> import talweg as tw
        >>> x, w = tw.rand(64, 300), tw.rand(300, 80)
        >>> found = tw.tune(lambda: x @ w, seconds=5, schedules=4)
        >>> [kernel.name for kernel in found.kernels]
        ['dot']
        >>> found.kernels[0].ratio >= 1
        True
    """
    if schedules < 2:
        raise InvalidValue(f"schedules={schedules} leaves nothing to compare; give 2 or more")
    found = explain(function, *args, **kwargs)
    return tune_launches([kernel.launch for kernel in found.kernels], seconds, schedules)


def tune_launches(launches: Sequence[Launch], seconds: float, schedules: int) -> Tuning:
    """Search schedules for launches, and keep them; see `tune`."""
    end = now() + int(seconds * 1e9)
    different = {(launch.nest, tuple(launch.values)): launch for launch in launches}
    wanted = [key for key, launch in different.items() if _is_measured(launch)]
    wanted.sort(key=lambda k: different[k].nbytes + different[k].operations, reverse=True)
    done: list[Tuned] = []
    kept: dict[tuple[LoopNest, tuple[Number, ...]], Schedule] = {}
    for key in wanted:
        if now() >= end:
            break
        tuned = _measured(different[key], schedules)
        done.append(tuned)
        if tuned.ratio > 1:
            kept[key] = tuned.schedule
    if kept:
        keep_schedules(kept)
        forget_programs()
    done.sort(key=lambda tuned: tuned.default, reverse=True)
    return Tuning(tuple(done), len(wanted) - len(done))


def _is_measured(launch: Launch) -> bool:
    """Whether its operands can be made up: what an index reads is not known here."""
    read = launch.operands[: len(launch.nest.inputs)]
    return all(n.type.size for n in launch.operands) and all(n.type.dtype.is_inexact for n in read)


def _measured(launch: Launch, schedules: int) -> Tuned:
    """Measure so many schedules of a launch in turn."""
    nest, values = launch.nest, launch.values
    tried = candidates(nest, nest.named(values), host(), schedules)
    made = compile_nests([(nest, s) for s in tried], host(), disk_cache(), CONFIG.threads)
    operands = list(_made_up(launch))
    runs = [_timed(Kernel(one.code, one.signature), launch, operands) for one in made]
    rounds = [[run() for run in runs] for _ in range(ROUNDS)]
    times = [statistics.median(column) for column in zip(*rounds, strict=True)]
    best = min(range(len(tried)), key=times.__getitem__)
    ratio = statistics.median(row[0] / row[best] for row in rounds)
    if ratio < WORTH:
        best, ratio = 0, 1.0
    return Tuned(nest.name, len(tried), times[0], times[best], tried[best], ratio)


def _made_up(launch: Launch) -> Iterator[np.ndarray]:
    """Yield an array for each input and each result, in memory such as Programs use."""
    chance = np.random.default_rng(0)
    for node in launch.operands:
        array = Buffer(node.type.nbytes).array(node.type.dtype.storage, node.type.shape)
        array[...] = 0
        if array.dtype.kind in "fc":
            array[...] = chance.random(array.shape)
        yield array


def _timed(kernel: Kernel, launch: Launch, operands: Sequence[np.ndarray]) -> Callable[[], float]:
    """Return a function that runs a kernel some times and returns nanoseconds of a call."""
    count = len(launch.nest.inputs)
    places = [
        Place("input", n) if n < count else Place("output", n - count) for n in range(len(operands))
    ]
    step = [Run(kernel, places, launch.values)]
    executor = Executor(pool(), step, 0, count, 0, len(operands) - count)
    addresses = [array.ctypes.data for array in operands]

    def spent(times: int) -> int:
        start = now()
        for _ in range(times):
            executor.run(addresses[:count], b"", addresses[count:])
        return now() - start

    spent(1)
    times = max(1, math.ceil(LEAST / max(spent(1), 1)))
    return lambda: spent(times) / times
