"""Compiled kernels, and the folder that keeps their object code from one process to the next."""

from __future__ import annotations

import hashlib
import os
import tempfile
import warnings
from dataclasses import dataclass
from pathlib import Path
from typing import final

from talweg.codegen.cpu import Target, compile_text
from talweg.codegen.llvm import emit
from talweg.codegen.signature import Signature, signature_of
from talweg.loops.nest import LoopNest

MAGIC = b"talweg object 1\n"


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

    def key(self, text: str, target: Target) -> bytes:
        """Return all that shapes the object code of a text."""
        digest = hashlib.sha256(text.encode()).hexdigest()
        return f"talweg {self.version} {target.key} {digest}\n".encode()

    def path(self, key: bytes) -> Path:
        """Return the file of an entry."""
        return self.folder / f"{hashlib.sha256(key).hexdigest()[:40]}.o"

    def get(self, key: bytes) -> bytes | None:
        """Return the object code of an entry, None if there is no whole one."""
        try:
            stored = self.path(key).read_bytes()
        except OSError:
            return None
        head = MAGIC + key
        digest, code = stored[len(head) : len(head) + 32], stored[len(head) + 32 :]
        whole = stored.startswith(head) and hashlib.sha256(code).digest() == digest
        return code if whole else None

    def put(self, key: bytes, code: bytes) -> None:
        """Write an entry."""
        try:
            self.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            handle, name = tempfile.mkstemp(dir=self.folder, suffix=".tmp")
            try:
                with os.fdopen(handle, "wb") as file:
                    file.write(MAGIC + key + hashlib.sha256(code).digest() + code)
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
    nest: LoopNest, target: Target, cache: ObjectCache | None = None, vectors: bool = True
) -> Compiled:
    """Return the machine code of a verified nest, from the cache where it has it.

    Raises:
        GraphError: when the size of scratch memory depends on more than arguments.
    """
    text = emit(nest, target, vectors)
    signature = signature_of(nest)
    if cache is None:
        return Compiled(compile_text(text, target), signature)
    key = cache.key(text, target)
    code = cache.get(key)
    if code is None:
        cache.misses += 1
        code = compile_text(text, target)
        cache.put(key, code)
    else:
        cache.hits += 1
    return Compiled(code, signature)
