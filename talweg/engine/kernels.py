"""Kernels of this process: each structure is compiled, or loaded from the disk cache, once."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from itertools import zip_longest
from weakref import WeakValueDictionary

from talweg.codegen.cpu import host
from talweg.codegen.object import compile_nests
from talweg.engine.counters import count
from talweg.engine.schedules import schedule_of
from talweg.engine.state import CONFIG
from talweg.engine.watch import WATCHERS, now, tell_kernel
from talweg.engine.workers import disk_cache
from talweg.loops.nest import LoopNest
from talweg.loops.scalar import Number
from talweg.runtime.jit import Kernel
from talweg.schedule.choose import Schedule

# Programs keep their kernels; code that no Program needs is unloaded.
_KERNELS: WeakValueDictionary[tuple[LoopNest, Schedule], Kernel] = WeakValueDictionary()
_LOCK = threading.Lock()


def kernels_of(
    wanted: Sequence[tuple[LoopNest, tuple[Number, ...]]],
    schedules: Sequence[Schedule | None] = (),
) -> list[Kernel]:
    """Return the kernels of nests, each scheduled for about the sizes given with it.

    Those that this process has not are made together, on several threads.

    Args:
        wanted: the nests, with values of their arguments.
        schedules: the ones that are not as `schedule_of` has them.
    """
    keys: list[tuple[LoopNest, Schedule]] = []
    found: dict[tuple[LoopNest, Schedule], Kernel] = {}
    missing: dict[tuple[LoopNest, Schedule], None] = {}
    same: dict[tuple[int, int], tuple[LoopNest, Schedule]] = {}
    for (nest, values), given in zip_longest(wanted, schedules):
        start = now() if WATCHERS else 0
        schedule = given or schedule_of(nest, values)
        known = id(nest), id(schedule)
        again = known in same
        key = same.setdefault(known, (nest, schedule))
        keys.append(key)
        kernel = None if again else _KERNELS.get(key)
        if kernel is not None:
            found[key] = kernel
        if again or kernel is not None or key in missing:
            tell_kernel(*key, "reused", start, now() - start)
        else:
            missing[key] = None
    count(reused=len(keys) - len(missing))
    if missing:
        found |= _make(list(missing))
    made = {known: found[key] for known, key in same.items()}
    return [made[id(nest), id(schedule)] for nest, schedule in keys]


def _make(wanted: Sequence[tuple[LoopNest, Schedule]]) -> dict[tuple[LoopNest, Schedule], Kernel]:
    start = now() if WATCHERS else 0
    made: dict[tuple[LoopNest, Schedule], Kernel] = {}
    for key, one in zip(
        wanted, compile_nests(wanted, host(), disk_cache(), CONFIG.threads), strict=True
    ):
        kernel = Kernel(one.code, one.signature)
        with _LOCK:
            made[key] = _KERNELS.setdefault(key, kernel)
        count(loaded=int(one.loaded), compiled=int(not one.loaded))
        if WATCHERS:  # they were made together: each gets an equal share of the time
            share = (now() - start) // len(wanted)
            tell_kernel(*key, "loaded" if one.loaded else "compiled", start, share)
    return made
