"""Kernels of this process: each structure is compiled, or loaded from the disk cache, once."""

from __future__ import annotations

import hashlib
import threading
from functools import cache
from pathlib import Path

from talweg.base.version import VERSION
from talweg.codegen.cpu import host
from talweg.codegen.object import ObjectCache, compile_nest
from talweg.engine.counters import count
from talweg.engine.state import CONFIG
from talweg.engine.watch import WATCHERS, now, tell_kernel
from talweg.loops.nest import LoopNest
from talweg.loops.scalar import Number
from talweg.runtime.jit import Kernel
from talweg.schedule import Schedule, choose

_KERNELS: dict[tuple[LoopNest, Schedule], Kernel] = {}
_LOCK = threading.Lock()


@cache
def disk_cache() -> ObjectCache:
    """Return the folder of compiled objects, for this version of the compiler."""
    return ObjectCache(Path(CONFIG.cache), f"{VERSION} {_compiler_state()}")


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


def kernel_of(nest: LoopNest, values: tuple[Number, ...]) -> Kernel:
    """Return the kernel of a nest, scheduled for about these sizes."""
    named = {a.name: v for a, v in zip(nest.arguments, values, strict=True)}
    start = now() if WATCHERS else 0
    schedule = choose(nest, named, host())
    key = nest, schedule
    kernel = _KERNELS.get(key)
    if kernel is not None:
        count(reused=1)
        tell_kernel(nest, schedule, "reused", start)
        return kernel
    folder = disk_cache()
    hits = folder.hits
    made = compile_nest(nest, host(), folder, schedule)
    loaded = folder.hits > hits
    count(loaded=int(loaded), compiled=int(not loaded))
    with _LOCK:
        kernel = _KERNELS.setdefault(key, Kernel(made.code, made.signature))
    tell_kernel(nest, schedule, "loaded" if loaded else "compiled", start)
    return kernel
