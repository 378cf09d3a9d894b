"""What runs Plans and keeps what was compiled: the threads, and the folder of objects."""

from __future__ import annotations

import hashlib
from functools import cache
from pathlib import Path

from talweg.base.version import VERSION
from talweg.codegen.cache import ObjectCache
from talweg.codegen.cpu import host
from talweg.codegen.executor import compile_executor
from talweg.engine.state import CONFIG
from talweg.runtime.pool import Pool

COMPILER = ("loops", "schedule", "codegen", "codegen/mathlib", "codegen/contraction")


@cache
def disk_cache() -> ObjectCache:
    """Return the folder of compiled objects, for this version of the compiler."""
    return ObjectCache(Path(CONFIG.cache), f"{VERSION} {state_of(*COMPILER)}")


@cache
def pool() -> Pool:
    """Return the threads that run plans."""
    return Pool(compile_executor(host(), disk_cache()), CONFIG.threads)


def state_of(*folders: str) -> str:
    """Return a hash over files of talweg: a changed compiler never loads what it made before."""
    package = Path(__file__).parents[1]
    found = hashlib.sha256()
    for folder in folders:
        for path in sorted((package / folder).glob("*.py")):
            state = path.stat()
            found.update(f"{path.name} {state.st_size} {state.st_mtime_ns}\n".encode())
    return found.hexdigest()[:16]
