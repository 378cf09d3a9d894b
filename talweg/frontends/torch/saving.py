"""`torch.save` and `torch.load` of whole objects: Modules of the program's own classes, and more.

What talweg's own format holds (Tensors, arrays, numbers and text, nested) is written in it. The
rest is a pickle after a line that says so. Such a file is read with Tensors, with Modules, those of
the program too, and with what `safe_globals` adds; `weights_only=False` lifts that.
"""

from __future__ import annotations

import io
import os
import pickle
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

from talweg.base.dtypes import DType
from talweg.base.errors import DataError, InvalidValue, MissingFile
from talweg.base.shapes import Size
from talweg.engine.conversion import device, rebuild
from talweg.engine.tensor import Tensor
from talweg.nn import functional as F
from talweg.nn import state
from talweg.nn.module import Module

_HEAD = b"talweg pickle 1\n"

_HARMLESS = {
    "builtins": {"set", "frozenset", "complex", "slice", "range", "bytearray", "object"},
    "collections": {"OrderedDict", "defaultdict", "deque", "Counter"},
    "copyreg": {"_reconstructor", "__newobj__"},
    "numpy": {"ndarray", "dtype"},
    "numpy._core.multiarray": {"_reconstruct", "scalar"},
    "numpy.core.multiarray": {"_reconstruct", "scalar"},
    "_codecs": {"encode"},
}
_ALLOWED: list[Any] = []


def save(
    obj: Any,
    f: str | os.PathLike[str] | IO[bytes],
    pickle_module: Any = None,
    pickle_protocol: int = 2,
    _use_new_zipfile_serialization: bool = True,
) -> None:
    """Write an object to a file.

    Args:
        obj: Tensors, numbers, text and their nestings; or anything that can be pickled.
        f: the file's path, or an open binary file.
        pickle_module, pickle_protocol: accepted.

    Raises:
        DataError: when the file cannot be written.
    """
    if not isinstance(obj, Module):
        try:
            state.save(obj, f)
            return
        except InvalidValue:
            pass
    content = _HEAD + pickle.dumps(obj)
    if not isinstance(f, str | os.PathLike):
        f.write(content)
        return
    with state.atomic(Path(f)) as temporary:
        temporary.write_bytes(content)


def load(
    f: str | os.PathLike[str] | IO[bytes],
    map_location: Any = None,
    pickle_module: Any = None,
    *,
    weights_only: bool | None = None,
    mmap: bool | None = None,
    **pickle_load_args: Any,
) -> Any:
    """Read what `save` has written, and files of PyTorch that hold weights.

    Args:
        f: the file's path, or an open binary file.
        map_location: the CPU, in any form.
        pickle_module, mmap: accepted.
        weights_only: False lets pickles written here name any class of the program.

    Raises:
        MissingFile, DataError: when there is no such file, or it names a class that is not allowed.
    """
    try:
        raw = Path(f).read_bytes() if isinstance(f, str | os.PathLike) else f.read()
    except FileNotFoundError:
        raise MissingFile(f"{f}: there is no such file to load") from None
    if not raw.startswith(_HEAD):
        return state.load(io.BytesIO(raw), map_location, weights_only=weights_only)
    reader = pickle.Unpickler if weights_only is False else _Careful
    return reader(io.BytesIO(raw[len(_HEAD) :])).load()


class _Careful(pickle.Unpickler):
    def find_class(self, module: str, name: str) -> Any:
        found: Any = sys.modules.get(module)
        for part in name.split("."):
            found = getattr(found, part, None)
        if name in _HARMLESS.get(module, ()) or _is_value(found) or found in _ALLOWED:
            return super().find_class(module, name)
        raise DataError(
            f"the file names {module}.{name}; allow it with "
            "torch.serialization.add_safe_globals, or trust the file with weights_only=False"
        )


def _is_value(found: Any) -> bool:
    """Whether a name stands for what files hold: a layer, a Tensor, a dtype, a function of `F`."""
    if isinstance(found, type):
        return issubclass(found, Module | Tensor | Size | device)
    if found is rebuild or isinstance(found, DType):
        return True
    return found is not None and getattr(F, getattr(found, "__name__", ""), None) is found


def add_safe_globals(safe_globals: Sequence[Any]) -> None:
    """Allow classes and functions in files, from now on."""
    _ALLOWED.extend(g[0] if isinstance(g, tuple) else g for g in safe_globals)


def get_safe_globals() -> list[Any]:
    """Return what was allowed."""
    return list(_ALLOWED)


def clear_safe_globals() -> None:
    """Take back what was allowed."""
    _ALLOWED.clear()


@contextmanager
def safe_globals(safe_globals: Sequence[Any]) -> Iterator[None]:
    """Allow classes and functions in files within the block."""
    before = get_safe_globals()
    add_safe_globals(safe_globals)
    try:
        yield
    finally:
        _ALLOWED[:] = before


MODULES: dict[str, dict[str, Any]] = {
    "": {"load": load, "save": save},
    "serialization": {
        "add_safe_globals": add_safe_globals,
        "clear_safe_globals": clear_safe_globals,
        "get_safe_globals": get_safe_globals,
        "load": load,
        "safe_globals": safe_globals,
        "save": save,
    },
}
