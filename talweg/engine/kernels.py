"""Kernels of this process: each structure is compiled, or loaded from the disk cache, once."""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Sequence
from functools import cache
from pathlib import Path

from talweg.base.version import VERSION
from talweg.codegen.cpu import host
from talweg.codegen.executor import compile_executor
from talweg.codegen.object import ObjectCache, compile_nests
from talweg.engine.counters import count
from talweg.engine.state import CONFIG
from talweg.engine.watch import WATCHERS, now, tell_kernel
from talweg.loops.nest import LoopNest
from talweg.loops.scalar import Number
from talweg.runtime.jit import Kernel
from talweg.runtime.pool import Pool
from talweg.schedule import Schedule, choose

_KERNELS: dict[tuple[LoopNest, Schedule], Kernel] = {}
_LOCK = threading.Lock()


@cache
def disk_cache() -> ObjectCache:
    """Return the folder of compiled objects, for this version of the compiler."""
    return ObjectCache(Path(CONFIG.cache), f"{VERSION} {_compiler_state()}")


@cache
def pool() -> Pool:
    """Return the threads that run plans."""
    return Pool(compile_executor(host(), disk_cache()), CONFIG.threads)


def _compiler_state() -> str:
    """A hash over the compiler's own files: a changed compiler never loads what it made before."""
    package = Path(__file__).parents[1]
    folders = ("loops", "schedule", "codegen", "codegen/mathlib", "codegen/contraction")
    found = hashlib.sha256()
    for folder in folders:
        for path in sorted((package / folder).glob("*.py")):
            state = path.stat()
            found.update(f"{path.name} {state.st_size} {state.st_mtime_ns}\n".encode())
    return found.hexdigest()[:16]


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
