"""Kernels of this process: each structure is compiled, or loaded from the disk cache, once."""

from __future__ import annotations

import threading
from collections.abc import Sequence

from talweg.codegen.cpu import host
from talweg.codegen.object import compile_nests
from talweg.engine.counters import count
from talweg.engine.state import CONFIG
from talweg.engine.watch import WATCHERS, now, tell_kernel
from talweg.engine.workers import disk_cache
from talweg.loops.nest import LoopNest
from talweg.loops.scalar import Number
from talweg.runtime.jit import Kernel
from talweg.schedule.choose import Schedule, choose

_KERNELS: dict[tuple[LoopNest, Schedule], Kernel] = {}
_LOCK = threading.Lock()


def kernels_of(wanted: Sequence[tuple[LoopNest, tuple[Number, ...]]]) -> list[Kernel]:
    """Return the kernels of nests, each scheduled for about the sizes given with it.

    Those that this process has not are made together, on several threads.
    """
    keys: list[tuple[LoopNest, Schedule]] = []
    missing: dict[tuple[LoopNest, Schedule], None] = {}
    for nest, values in wanted:
        start = now() if WATCHERS else 0
        named = {a.name: v for a, v in zip(nest.arguments, values, strict=True)}
        key = nest, choose(nest, named, host())
        keys.append(key)
        if key in _KERNELS or key in missing:
            tell_kernel(*key, "reused", start, now() - start)
        else:
            missing[key] = None
    count(reused=len(keys) - len(missing))
    if missing:
        _make(list(missing))
    return [_KERNELS[key] for key in keys]


def _make(wanted: Sequence[tuple[LoopNest, Schedule]]) -> None:
    start = now() if WATCHERS else 0
    found = compile_nests(wanted, host(), disk_cache(), CONFIG.threads)
    for key, made in zip(wanted, found, strict=True):
        kernel = Kernel(made.code, made.signature)
        with _LOCK:
            _KERNELS.setdefault(key, kernel)
        count(loaded=int(made.loaded), compiled=int(not made.loaded))
        if WATCHERS:  # they were made together: each gets an equal share of the time
            share = (now() - start) // len(wanted)
            tell_kernel(*key, "loaded" if made.loaded else "compiled", start, share)
