"""`save` and `load`: parameters and whole training states as one safetensors file.

The Tensors are the file's tensors, named by their path ("model.0.weight"), so every program that
reads safetensors can read them. What lies around them (dicts, lists, numbers, text) is JSON in the
file's metadata, under the key "talweg".
"""

from __future__ import annotations

import json
import math
import os
import secrets
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType
from typing import IO, Any

import numpy as np

from talweg.base import dtypes
from talweg.base.dtypes import DType
from talweg.base.errors import DataError, DTypeError, InvalidValue, MissingFile
from talweg.base.extras import require
from talweg.engine.conversion import rebuild
from talweg.engine.creation import check_device
from talweg.engine.tensor import Tensor, concrete
from talweg.nn import pickled

VERSION = 1
_KEY = "talweg"
_NAMES = {
    "BOOL": "bool", "F16": "float16", "BF16": "bfloat16", "F32": "float32", "F64": "float64",
    "I8": "int8", "I16": "int16", "I32": "int32", "I64": "int64",
    "U8": "uint8", "U16": "uint16", "U32": "uint32", "U64": "uint64", "C64": "complex64",
}  # fmt: skip
_KINDS = {
    b"\x89HDF": "an HDF5 file",
    b"\x93NUMPY": "a NumPy file",
}


def save(obj: Any, f: str | os.PathLike[str] | IO[bytes]) -> None:
    """Write a model's parameters, or a whole training state, to a safetensors file.

    The file appears under its name only when it is complete: a failure or a power cut leaves the
    old file as it was.

    Args:
        obj: a Module (its `state_dict()` is saved), or any nesting of dicts, lists and tuples of
            Tensors, NumPy arrays, dtypes, numbers, text, bool and None.
        f: the file's path, mostly `*.safetensors`; or an open binary file, such as a BytesIO.

    >>> model, step = {"weight": tw.ones(2, 3, dtype=tw.bfloat16)}, 7
    >>> tw.save({"model": model, "step": step}, "state.safetensors")
    >>> tw.load("state.safetensors")["step"]
    7

    Raises:
        InvalidValue: for a value of another type, and for a structure that holds itself; the
            message names its place.
        DataError: when the file cannot be written.
        MissingExtra: when the safetensors package is not installed.
    """
    library = require("safetensors", extra="io")
    if not isinstance(obj, Mapping) and callable(getattr(obj, "state_dict", None)):
        obj = obj.state_dict()
    tensors: dict[str, tuple[str, np.ndarray]] = {}
    structure = _describe(obj, (), tensors, set())
    text = json.dumps({"version": VERSION, "content": structure}, allow_nan=False)
    specs = {name: _spec(library, dtype, array) for name, (dtype, array) in tensors.items()}
    if not isinstance(f, str | os.PathLike):
        f.write(library.serialize(specs, {_KEY: text}))
        return
    with atomic(Path(f)) as temporary:
        try:
            library.serialize_file(specs, temporary, {_KEY: text})
        except library.SafetensorError as error:
            raise DataError(f"{f}: cannot be written ({error})") from error


def load(
    f: str | os.PathLike[str] | IO[bytes],
    map_location: object = None,
    pickle_module: object = None,
    *,
    weights_only: bool | None = True,
    mmap: bool | None = None,
    encoding: str = "utf-8",
) -> Any:
    """Read what `save` or `torch.save` has written; from other safetensors files, their Tensors.

    Files of `torch.save` (`*.pt`, `*.pth`) are pickles; they are read without running what stands
    in them: values, Tensors and layers of `torch.nn` are made, any other name is refused.

    Args:
        f: the file's path, or an open binary file.
        map_location: the CPU, if given as a device; other forms are accepted.
        pickle_module, mmap: accepted.
        weights_only: accepted; nothing but values and layers is ever loaded.
        encoding: of text in pickles that Python 2 wrote.

    Returns:
        The saved structure, with new Tensors; those of `save` do not require gradients.

    Raises:
        MissingFile: when there is no such file.
        DataError: when the file is truncated, damaged, of another kind, or asks for a name that is
            not known to be harmless.
        DeviceError: for a device that is not there.
        MissingExtra: when the safetensors package is not installed.
    """
    if not callable(map_location) and not isinstance(map_location, Mapping):
        check_device(map_location)
    path, raw = _contents(f)
    if raw[:2] == b"PK" or raw[:1] == b"\x80":
        if raw[8:9] != b"{":  # a safetensors file begins with a length, which may look like these
            return pickled.read(path, raw, encoding)
    library = require("safetensors", extra="io")
    header = _header(path, raw)
    try:
        found = dict(library.deserialize(raw))
    except library.SafetensorError as error:
        raise DataError(f"{path}: is damaged ({error}); use an older copy of it") from None
    tensors = {name: _array(path, name, entry) for name, entry in found.items()}
    text = header.get("__metadata__", {}).get(_KEY)
    if text is None:
        order = sorted(tensors, key=lambda name: header[name]["data_offsets"])
        return {name: rebuild(Tensor, *tensors[name], False) for name in order}
    try:
        meta = json.loads(text)
        if meta["version"] > VERSION:
            raise DataError(
                f"{path}: was written by a newer talweg (format {meta['version']}, this one reads "
                f"{VERSION}); update talweg"
            )
        return _restore(meta["content"], tensors)
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        if isinstance(error, DataError):
            raise
        raise DataError(f"{path}: its description is damaged ({error!r})") from error


def _contents(f: str | os.PathLike[str] | IO[bytes]) -> tuple[Path, bytes]:
    """Return the name of a file, for messages, and its bytes."""
    if not isinstance(f, str | os.PathLike):
        return Path(str(getattr(f, "name", "the open file"))), f.read()
    path = Path(f)
    try:
        return path, path.read_bytes()
    except FileNotFoundError:
        raise MissingFile(f"{path}: there is no such file to load") from None
    except OSError as error:
        raise DataError(f"{path}: cannot be read ({error.strerror or error})") from None


@contextmanager
def atomic(path: Path) -> Iterator[Path]:
    """Yield a temporary path beside `path`; at the end of the block it takes the place of `path`.

    When the block fails, the temporary file is removed and `path` stays as it was.

    Raises:
        DataError: when the folder does not exist or cannot be written.
    """
    temporary = path.with_name(f".{path.name}.{secrets.token_hex(4)}")
    try:
        temporary.touch(exist_ok=False)
        mode = temporary.stat().st_mode
        yield temporary
        temporary.chmod(mode)  # the writer may have made a private file of its own in its place
        with temporary.open("rb+") as file:
            os.fsync(file.fileno())
        temporary.replace(path)
        _sync_folder(path.parent)
    except OSError as error:
        raise DataError(f"{path}: cannot be written ({error.strerror or error})") from error
    finally:
        temporary.unlink(missing_ok=True)


def _sync_folder(folder: Path) -> None:
    if os.name == "posix":
        handle = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)


def _spec(library: ModuleType, dtype: str, array: np.ndarray) -> Any:
    shape = list(array.shape)
    make: Callable[..., Any] | None = getattr(library, "TensorSpec", None)
    if make is None:  # before safetensors 0.8
        return {"dtype": dtype, "shape": shape, "data": array.tobytes()}
    return make(dtype=dtype, shape=shape, data_ptr=array.ctypes.data, data_len=array.nbytes)


# ---------------------------------------------------------------------------------------------
# the structure around the tensors: JSON, in which an object with one key that begins with "$"
# stands for what JSON lacks


def _describe(
    value: Any,
    place: tuple[Any, ...],
    tensors: dict[str, tuple[str, np.ndarray]],
    above: set[int],
) -> Any:
    """The JSON form of a value; its tensors are added to `tensors`."""
    if value is None or isinstance(value, bool | str):
        return value
    if isinstance(value, int) and type(value) is int:
        return value
    if isinstance(value, float) and type(value) is float:
        return value if math.isfinite(value) else {"$float": str(value)}
    if isinstance(value, complex) and type(value) is complex:
        return {"$complex": str(value)}
    if isinstance(value, DType):
        return {"$dtype": value.name}
    if isinstance(value, Tensor):
        return {"$tensor": _add(value.dtype, concrete(value), place, tensors)}
    if isinstance(value, np.ndarray | np.generic):
        array = np.asarray(value)
        try:
            dtype = dtypes.from_numpy(array.dtype)
        except DTypeError as error:
            raise InvalidValue(f"save: {_text(place)}: {error}") from None
        kind = "$array" if isinstance(value, np.ndarray) else "$scalar"
        return {kind: _add(dtype, array.astype(dtype.storage, copy=False), place, tensors)}
    if id(value) in above:
        raise InvalidValue(f"save: {_text(place)} holds itself")
    above = above | {id(value)}
    if isinstance(value, Mapping):
        return _describe_mapping(value, place, tensors, above)
    if isinstance(value, list) or type(value) is tuple:
        items = [_describe(v, (*place, i), tensors, above) for i, v in enumerate(value)]
        return items if isinstance(value, list) else {"$tuple": items}
    raise InvalidValue(
        f"save: {_text(place)} is {type(value).__name__}, which cannot be saved: use dicts, lists "
        "and tuples of Tensors, NumPy arrays, numbers, text, bool and None"
    )


def _describe_mapping(
    value: Mapping[Any, Any],
    place: tuple[Any, ...],
    tensors: dict[str, tuple[str, np.ndarray]],
    above: set[int],
) -> Any:
    items = {k: _describe(v, (*place, k), tensors, above) for k, v in value.items()}
    if all(isinstance(k, str) for k in items) and not any(k[:1] == "$" for k in items):
        return items
    keys = [_describe(k, (*place, "key"), tensors, above) for k in items]
    return {"$dict": [list(pair) for pair in zip(keys, items.values(), strict=True)]}


def _text(place: tuple[Any, ...]) -> str:
    return "the value at " + "".join(f"[{p!r}]" for p in place) if place else "the value"


def _add(
    dtype: DType,
    array: np.ndarray,
    place: tuple[Any, ...],
    tensors: dict[str, tuple[str, np.ndarray]],
) -> Any:
    """Name an array by its place; return the name, or for complex128 the name and the dtype."""
    base = ".".join(map(str, place)) or "value"
    name, count = base, 1
    while name in tensors or name == "__metadata__":
        count += 1
        name = f"{base}~{count}"
    array = np.require(array, requirements="C").reshape(array.shape)
    if array.dtype.byteorder == ">":
        array = array.astype(array.dtype.newbyteorder("<"))
    if dtype is dtypes.complex128:
        tensors[name] = "float64", array.reshape(-1).view(np.float64).reshape(*array.shape, 2)
        return [name, dtype.name]
    tensors[name] = dtype.name, array
    return name


def _restore(value: Any, tensors: dict[str, tuple[np.ndarray, DType]]) -> Any:
    if isinstance(value, list):
        return [_restore(v, tensors) for v in value]
    if not isinstance(value, dict):
        return value
    tag = next(iter(value), "")
    if tag[:1] != "$":
        return {k: _restore(v, tensors) for k, v in value.items()}
    content = value[tag]
    if tag == "$tensor":
        return rebuild(Tensor, *_found(content, tensors), False)
    if tag == "$array":
        return _found(content, tensors)[0]
    if tag == "$scalar":
        return _found(content, tensors)[0][()]
    if tag == "$tuple":
        return tuple(_restore(v, tensors) for v in content)
    if tag == "$dict":
        return {_restore(k, tensors): _restore(v, tensors) for k, v in content}
    if tag == "$dtype":
        return dtypes.as_dtype(content)
    return {"$float": float, "$complex": complex}[tag](content)


def _found(
    entry: str | list[str], tensors: dict[str, tuple[np.ndarray, DType]]
) -> tuple[np.ndarray, DType]:
    if isinstance(entry, str):
        return tensors[entry]
    array, _ = tensors[entry[0]]
    return array.reshape(-1).view(np.complex128).reshape(array.shape[:-1]), dtypes.as_dtype(
        entry[1]
    )


# ---------------------------------------------------------------------------------------------
# reading


def _header(path: Path, raw: bytes) -> dict[str, Any]:
    """The JSON at the head of the file, after what can be said about a wrong file is said."""
    size = int.from_bytes(raw[:8], "little")
    opens = raw[8:9] == b"{"  # the first bytes are a length, which may look like anything
    for start, kind in _KINDS.items():
        if raw.startswith(start) and not opens:
            raise DataError(
                f"{path}: {kind}, neither a safetensors file nor one of torch.save; convert it "
                "with the program that wrote it"
            )
    if len(raw) >= 9 and not opens:
        raise DataError(f"{path}: not a safetensors file: no header follows its first 8 bytes")
    if len(raw) < 9 or len(raw) < 8 + size:
        raise DataError(
            f"{path}: truncated: its header needs {8 + size if len(raw) > 8 else 9} bytes, the "
            f"file has {len(raw)}; copy it again, or use an older one"
        )
    try:
        header = json.loads(raw[8 : 8 + size])
        ends = [e["data_offsets"][1] for k, e in header.items() if k != "__metadata__"]
        needed = 8 + size + max(ends, default=0)
    except (ValueError, KeyError, TypeError, AttributeError, IndexError) as error:
        raise DataError(f"{path}: its safetensors header is damaged ({error!r})") from None
    if len(raw) != needed:
        problem = "truncated" if len(raw) < needed else "too long"
        raise DataError(
            f"{path}: {problem}: its tensors need {needed} bytes, the file has {len(raw)}; "
            "copy it again, or use an older one"
        )
    return dict(header)


def _array(path: Path, name: str, entry: Mapping[str, Any]) -> tuple[np.ndarray, DType]:
    found = _NAMES.get(entry["dtype"])
    if found is None:
        raise DataError(f"{path}: tensor {name!r} has dtype {entry['dtype']}, which talweg lacks")
    dtype = dtypes.BY_NAME[found]
    stored = np.frombuffer(entry["data"], dtype.storage.newbyteorder("<"))
    return stored.astype(dtype.storage).reshape(entry["shape"]), dtype
