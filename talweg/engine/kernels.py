"""Kernels of this process: each structure is compiled, or loaded from the disk cache, once."""

from __future__ import annotations

import threading
from collections.abc import Mapping, Sequence
from dataclasses import replace
from itertools import zip_longest
from typing import TypeAlias
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
from talweg.schedule.contraction_choice import keep_made
from talweg.schedule.contraction_tiles import Tiles

# Programs keep their kernels; code that no Program needs is unloaded.
_Key: TypeAlias = tuple[LoopNest, Schedule]
_KERNELS: WeakValueDictionary[_Key, Kernel] = WeakValueDictionary()
_LOCK = threading.Lock()

# Of a Program that takes a while, the kernels that take least are compiled with little effort, as
# long as they take this part of its time together.
SHARE, WHILE = 0.02, 1e6  # nanoseconds
BRIEF = 8e3  # up to which a kernel is not compiled once more because it could be a quarter faster
_MULTIPLIED, _COMPUTED, _MOVED, _CALLED = 100.0, 4.0, 8.0, 1000.0  # operations, bytes; a launch


def kernels_of(
    wanted: Sequence[tuple[LoopNest, tuple[Number, ...]]],
    schedules: Sequence[Schedule | None] = (),
    work: Sequence[tuple[int, int]] = (),
) -> list[Kernel]:
    """Return the kernels of nests, each scheduled for about the sizes given with it.

    Those that this process has not are made together, on several threads.

    Args:
        wanted: the nests, with values of their arguments.
        schedules: the ones that are not as `schedule_of` has them.
        work: operations and bytes of each, where these are all that run together: those that take
            little of the time are compiled fast then, and run a little slower.
    """
    names: list[tuple[int, int]] = []
    same: dict[tuple[int, int], _Key] = {}
    for (nest, values), given in zip_longest(wanted, schedules):
        schedule = given or schedule_of(nest, values)
        names.append((id(nest), id(schedule)))
        same.setdefault(names[-1], (nest, schedule))
    if work:
        light = _light(names, same, work)
        same = {name: light.get(key, key) for name, key in same.items()}
    found: dict[_Key, Kernel] = {}
    missing: dict[_Key, None] = {}
    seen: set[tuple[int, int]] = set()
    for name in names:
        start = now() if WATCHERS else 0
        key, again = same[name], name in seen
        seen.add(name)
        kernel = None if again else _KERNELS.get(key)
        if kernel is not None:
            found[key] = kernel
        if again or kernel is not None or key in missing:
            tell_kernel(*key, "reused", start, now() - start)
        else:
            missing[key] = None
    count(reused=len(names) - len(missing))
    if missing:
        found |= _make(list(missing))
    made = {name: found[key] for name, key in same.items()}
    return [made[name] for name in names]


def _light(
    names: Sequence[tuple[int, int]],
    keys: Mapping[tuple[int, int], _Key],
    work: Sequence[tuple[int, int]],
) -> Mapping[_Key, _Key]:
    """Return what stands for kernels that take little of the time of all, and are not there yet."""
    alone = dict.fromkeys(names, 0.0)
    for name, (operations, nbytes) in zip(names, work, strict=True):
        rate = _MULTIPLIED if isinstance(keys[name][1], Tiles) else _COMPUTED
        alone[name] += max(operations / rate, nbytes / _MOVED)
    times: dict[_Key, float] = {}
    for name, time in alone.items():
        times[keys[name]] = times.get(keys[name], _CALLED) + time
    left = sum(times.values()) * SHARE
    if left < SHARE * WHILE:
        left = 0.0
    found: dict[_Key, _Key] = {}
    for key in sorted(times, key=lambda key: times[key]):
        left -= times[key]
        if left < 0 and times[key] > BRIEF:
            break
        lighter = key[0], replace(key[1], light=True)
        if key not in _KERNELS and (left >= 0 or lighter in _KERNELS):
            found[key] = lighter
    return found


def _make(wanted: Sequence[_Key]) -> dict[_Key, Kernel]:
    start = now() if WATCHERS else 0
    made: dict[_Key, Kernel] = {}
    for key, one in zip(
        wanted, compile_nests(wanted, host(), disk_cache(), CONFIG.threads), strict=True
    ):
        kernel = Kernel(one.code, one.signature)
        with _LOCK:
            made[key] = _KERNELS.setdefault(key, kernel)
        if isinstance(key[1], Tiles):
            keep_made(key[0], key[1])
        count(loaded=int(one.loaded), compiled=int(not one.loaded))
        if WATCHERS:  # they were made together: each gets an equal share of the time
            share = (now() - start) // len(wanted)
            tell_kernel(*key, "loaded" if one.loaded else "compiled", start, share)
    return made
