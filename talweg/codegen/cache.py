"""The folder that keeps object code from one process to the next."""

from __future__ import annotations

import hashlib
import json
import os
import tempfile
import warnings
from collections import OrderedDict
from dataclasses import asdict
from pathlib import Path
from typing import final

from talweg.base.frozen import frozen
from talweg.codegen.cpu import versions
from talweg.codegen.signature import Signature
from talweg.schedule.target import Target

MAGIC = b"talweg object 3\n"
KEPT = 32  # objects that stay in memory, for the next kernel that is part of one of them


@final
@frozen
class Compiled:
    """Object code, and how its kernel is called. It may hold other kernels too.

    Attributes:
        loaded: whether it was in the cache.
    """

    code: bytes
    signature: Signature
    loaded: bool = False


@final
class ObjectCache:
    """Object code by what it was made from.

    An entry is used only if it is whole and was made by this version of talweg and LLVM for this
    CPU from the same nest and schedule: the name of its file is a hash of all that, and the file
    repeats it. It holds how the kernel is called and a hash of the object's code, which names the
    object's file: kernels that were compiled together share one. Files appear at once or not at
    all. A folder that cannot be read or written makes compiling slower and nothing else; that is
    warned of once.

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
        self._objects: OrderedDict[str, bytes] = OrderedDict()

    def key(self, text: str, schedule: object, target: Target) -> bytes:
        """Return all that shapes what is made of a text: of a nest with its schedule, say."""
        digest = hashlib.sha256(text.encode()).hexdigest()
        key = f"talweg {self.version} {versions()} {target.key} {schedule} {digest}"
        return key.replace("\n", " ").encode() + b"\n"

    def path(self, key: bytes) -> Path:
        """Return the file of an entry."""
        return self.folder / f"{hashlib.sha256(key).hexdigest()[:40]}.k"

    def read(self, key: bytes) -> bytes | None:
        """Return what was written under a key, None if there is no whole entry."""
        head = MAGIC + key
        stored = _read(self.path(key))
        kept = stored[len(head) + 32 :]
        if not stored.startswith(head) or hashlib.sha256(kept).digest() != stored[len(head) :][:32]:
            return None
        return kept

    def write(self, key: bytes, kept: bytes) -> None:
        """Write an entry."""
        try:
            self.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            self._write(self.path(key), MAGIC + key + hashlib.sha256(kept).digest() + kept)
        except OSError as error:
            self._warn(error)

    def get(self, key: bytes) -> Compiled | None:
        """Return the entry of a kernel, None if there is no whole one."""
        kept = self.read(key)
        if kept is None:
            return None
        digest, _, described = kept.decode().partition("\n")
        code = self.object(digest)
        if code is None:
            return None
        fields = json.loads(described)
        fields["messages"] = tuple(fields["messages"])
        return Compiled(code, Signature(**fields), loaded=True)

    def object(self, digest: str) -> bytes | None:
        """Return the object code of this hash, None if it is not there."""
        code = self._objects.get(digest)
        if code is None:
            code = _read(self.folder / f"{digest[:40]}.o")
            if hashlib.sha256(code).hexdigest() != digest:
                return None
            self._keep(digest, code)
        return code

    def _keep(self, digest: str, code: bytes) -> None:
        self._objects[digest] = code
        while len(self._objects) > KEPT:
            self._objects.popitem(last=False)

    def put(self, key: bytes, made: Compiled) -> None:
        """Write the entry of a kernel."""
        digest = hashlib.sha256(made.code).hexdigest()
        kept = f"{digest}\n{json.dumps(asdict(made.signature))}".encode()
        try:
            if digest not in self._objects:
                self.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
                self._write(self.folder / f"{digest[:40]}.o", made.code)
                self._keep(digest, made.code)
        except OSError as error:
            self._warn(error)
        else:
            self.write(key, kept)

    def _write(self, path: Path, content: bytes) -> None:
        handle, name = tempfile.mkstemp(dir=self.folder, suffix=".tmp")
        try:
            with os.fdopen(handle, "wb") as file:
                file.write(content)
            Path(name).replace(path)
        except BaseException:
            Path(name).unlink(missing_ok=True)
            raise

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


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError:
        return b""
