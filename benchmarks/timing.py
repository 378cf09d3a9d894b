"""How long a step takes."""

from __future__ import annotations

import os
import statistics
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Any

SAMPLE = 2e-3
"""Seconds of one sample: a faster step is repeated within it."""


@dataclass(frozen=True)
class Sampled:
    """Seconds of one step, from many samples.

    Args:
        median, low, high: of the samples; low and high are the first and the ninth tenth.
        samples: how many.
        steps: in each.
        foreign: share of the machine that other processes took meanwhile; -1 where unknown.
    """

    median: float
    low: float
    high: float
    samples: int
    steps: int
    foreign: float

    def fields(self) -> dict[str, Any]:
        """Return the fields, for JSON."""
        return asdict(self)


def sample(
    step: Callable[[], object], seconds: float, clock: Callable[[], float] = time.perf_counter
) -> Sampled:
    """Time a step again and again, for about so many seconds, and at least three times.

    Args:
        step: what is timed.
        seconds: of the wall clock.
        clock: `time.process_time` takes the processor time of all threads instead.
    """
    begin = clock()
    step()
    once = clock() - begin
    steps = max(1, round(SAMPLE / max(once, 1e-9)))
    found: list[float] = []
    busy, own = busy_seconds(), time.process_time()
    start = now = time.perf_counter()
    while len(found) < 3 or now < start + seconds:
        begin = clock()
        for _ in range(steps):
            step()
        found.append((clock() - begin) / steps)
        now = time.perf_counter()
    others = busy_seconds() - busy - (time.process_time() - own)
    share = others / ((now - start) * (os.cpu_count() or 1)) if busy else -1.0
    found.sort()
    return Sampled(
        median=statistics.median(found),
        low=found[len(found) // 10],
        high=found[len(found) * 9 // 10],
        samples=len(found),
        steps=steps,
        foreign=round(max(share, -1.0), 3),
    )


def busy_seconds() -> float:
    """Return how long all processors together have been busy so far; 0 where nobody says."""
    try:
        with open("/proc/stat", encoding="ascii") as file:
            ticks = [int(word) for word in file.readline().split()[1:9]]
    except (OSError, ValueError):
        return 0.0
    idle = ticks[3] + ticks[4]
    return (sum(ticks) - idle) / float(os.sysconf("SC_CLK_TCK"))
