"""Compiled kernels, and the folder that keeps their object code from one process to the next."""

from __future__ import annotations

import hashlib
import json
import os
import tempfile
import warnings
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import final

from talweg.base.errors import GraphError
from talweg.codegen import contraction
from talweg.codegen.cpu import compile_text, versions
from talweg.codegen.llvm import emit
from talweg.codegen.signature import Signature, signature_of
from talweg.codegen.sizes import expression_of
from talweg.loops.nest import LoopNest
from talweg.loops.text import format_nest
from talweg.schedule import Schedule
from talweg.schedule.contraction import recognise
from talweg.schedule.contraction_tiles import Tiles
from talweg.schedule.loops import Loops, staged
from talweg.schedule.target import Target

MAGIC = b"talweg object 2\n"


@final
@dataclass(frozen=True)
class Compiled:
    """Object code, and how its kernel is called."""

    code: bytes
    signature: Signature


@final
class ObjectCache:
    """Object code by what it was made from.

    An entry is used only if it is whole and was made by this version of talweg and LLVM for this
    CPU from the same text: the name of its file is a hash of all that, and the file repeats it
    beside a hash of the code. Entries appear at once or not at all. A folder that cannot be read
    or written makes compiling slower and nothing else; that is warned of once.

    Args:
        folder: made when it is missing, for the user alone: what is loaded from it is run.
        version: of talweg.
    """

    def __init__(self, folder: Path, version: str) -> None:
        self.folder = folder
        self.version = version
        self.hits = 0
        self.misses = 0
        self._warned = False

    def key(self, text: str, schedule: Schedule, target: Target) -> bytes:
        """Return all that shapes the object code of the text of a nest."""
        digest = hashlib.sha256(text.encode()).hexdigest()
        key = f"talweg {self.version} {versions()} {target.key} {schedule} {digest}"
        return key.replace("\n", " ").encode() + b"\n"

    def path(self, key: bytes) -> Path:
        """Return the file of an entry."""
        return self.folder / f"{hashlib.sha256(key).hexdigest()[:40]}.o"

    def get(self, key: bytes) -> Compiled | None:
        """Return an entry, None if there is no whole one."""
        try:
            stored = self.path(key).read_bytes()
        except OSError:
            return None
        head = MAGIC + key
        digest, kept = stored[len(head) : len(head) + 32], stored[len(head) + 32 :]
        if not stored.startswith(head) or hashlib.sha256(kept).digest() != digest:
            return None
        described, _, code = kept.partition(b"\n")
        fields = json.loads(described)
        fields["messages"] = tuple(fields["messages"])
        return Compiled(code, Signature(**fields))

    def put(self, key: bytes, made: Compiled) -> None:
        """Write an entry."""
        kept = json.dumps(asdict(made.signature)).encode() + b"\n" + made.code
        try:
            self.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            handle, name = tempfile.mkstemp(dir=self.folder, suffix=".tmp")
            try:
                with os.fdopen(handle, "wb") as file:
                    file.write(MAGIC + key + hashlib.sha256(kept).digest() + kept)
                Path(name).replace(self.path(key))
            except BaseException:
                Path(name).unlink(missing_ok=True)
                raise
        except OSError as error:
            self._warn(error)

    def _warn(self, error: OSError) -> None:
        if self._warned:
            return
        self._warned = True
        warnings.warn(
            f"compiled kernels cannot be kept in {self.folder}: {error}; set TALWEG_CACHE_DIR to a "
            "folder that can be written, or every process compiles them again",
            RuntimeWarning,
            stacklevel=4,
        )


def compile_nest(
    nest: LoopNest,
    target: Target,
    cache: ObjectCache | None = None,
    schedule: Schedule | None = None,
) -> Compiled:
    """Return the machine code of a verified nest, from the cache where it has it.

    Args:
        nest: the kernel.
        target: the machine.
        cache: where code is kept.
        schedule: how the nest is cut up; by its structure alone unless given.

    Raises:
        GraphError: when the size of scratch memory depends on more than arguments, or the schedule
            does not fit the nest.
    """
    schedule = schedule or Loops()
    if cache is None:
        return _compiled(nest, target, schedule)
    key = cache.key(format_nest(nest), schedule, target)
    found = cache.get(key)
    if found is None:
        cache.misses += 1
        found = _compiled(nest, target, schedule)
        cache.put(key, found)
    else:
        cache.hits += 1
    return found


def _compiled(nest: LoopNest, target: Target, schedule: Schedule) -> Compiled:
    if isinstance(schedule, Tiles):
        found = recognise(nest, schedule.swapped)
        if found is None:
            raise GraphError(f"{nest.name} is no contraction and cannot be computed in tiles")
        text, signature = contraction.emit(found, schedule, target)
        return Compiled(compile_text(text, target), signature)
    kernel = staged(nest, schedule, target)
    scratch = any(any(True for _ in stage.scratch()) for stage in kernel.stages)
    sizes = expression_of(kernel)
    signature = signature_of(nest, len(kernel.stages), scratch, bool(kernel.shared), sizes)
    return Compiled(compile_text(emit(kernel, target), target), signature)
