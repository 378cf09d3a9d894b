"""New Tensors: from data, constant, counted and of the shape of another."""

from __future__ import annotations

import functools
import inspect
import math
from collections.abc import Callable, Sequence
from typing import Any, TypeVar, cast

import numpy as np

from talweg.base import dtypes
from talweg.base.dtypes import DType, as_dtype
from talweg.base.errors import DeviceError, InvalidValue, ShapeError
from talweg.base.formats import RANKS, channels_last, channels_last_3d, preserve_format
from talweg.base.source import describe, here
from talweg.engine import meta
from talweg.engine.arranged import is_last, put_in
from talweg.engine.barrier import observed
from talweg.engine.record import into
from talweg.engine.state import STATE
from talweg.engine.tensor import Tensor, requires, values, wrap
from talweg.fn.views import sizes
from talweg.ir.build import Builder
from talweg.ir.node import Node
from talweg.ir.types import tensor_type

Number = bool | int | float | complex
_F = TypeVar("_F", bound=Callable[..., Any])
_WITHOUT_EFFECT = ("layout", "pin_memory")


def creator(function: _F) -> _F:
    """Let a creation function take PyTorch's keywords that mean nothing on the CPU, and `size=`.

    Also `memory_format=`: the default is that of the Tensor whose shape is taken; and `out=`, a
    Tensor to write to.
    """
    starred = bool(function.__code__.co_flags & inspect.CO_VARARGS)

    @functools.wraps(function)
    def created(*args: Any, **options: Any) -> Any:
        for name in _WITHOUT_EFFECT:
            options.pop(name, None)
        if starred and "size" in options:
            args = (*args, options.pop("size"))
        wanted = options.pop("memory_format", preserve_format)
        out = options.pop("out", None)
        if out is not None:
            made = function(*args, **{"dtype": out.dtype, **options})
            return into(out, made, function.__name__)
        made = function(*args, **options)
        like = args[0] if args else options.get("input")
        if isinstance(like, Tensor) and wanted is preserve_format and is_last(like):
            wanted = channels_last if like.ndim == RANKS[channels_last] else channels_last_3d
        return made if wanted is preserve_format or made is like else put_in(made, wanted)

    return cast(_F, created)


def check_device(device: object) -> None:
    """Accept None and names of the CPU, and the meta device.

    Raises:
        DeviceError: for any other device.
    """
    name = str(getattr(device, "type", device))
    if device is not None and not name.startswith(("cpu", "meta")):
        raise DeviceError(
            f"device {name!r} is not available; this machine offers: cpu"
            f"\n  recorded at {describe(here())}"
        )


def tensor(
    data: Any,
    dtype: DType | None = None,
    device: object = None,
    requires_grad: bool = False,
    pin_memory: bool = False,
) -> Tensor:
    """Return a new Tensor that holds a copy of the data.

    Args:
        data: a number, nested sequence, NumPy array, Tensor, or what has `__array__`, such as a
            column or a table of pandas or Polars.
        dtype: default: that of an array; for Python numbers float32, int64, bool or complex64.
        device: only the CPU.
        requires_grad: whether gradients are to be computed.
        pin_memory: accepted; has no effect on the CPU.

    Example:
        >>> import talweg as tw
        >>> tw.tensor([[1, 2], [3, 4]])
        tensor([[1, 2],
                [3, 4]])

    Raises:
        ShapeError: for ragged sequences.
        DTypeError: for data that is not numeric.
    """
    check_device(device)
    array, found = _array(data)
    kind = found if dtype is None else as_dtype(dtype)
    if meta.asked(device):
        return requires(meta.made(tensor_type(kind, array.shape)), requires_grad)
    STATE.builder.source = here()
    made = wrap(STATE.builder.constant(_converted(array, kind), kind))
    return requires(made, requires_grad)


def _converted(array: np.ndarray, dtype: DType) -> np.ndarray:
    with np.errstate(all="ignore"):
        if dtype.category != "complex" and array.dtype.kind == "c":
            array = array.real
        return np.array(array).astype(dtype.compute)


def _array(data: Any) -> tuple[np.ndarray, DType]:
    if isinstance(data, Tensor):
        return values(data), data.dtype
    if isinstance(data, np.ndarray | np.generic):
        observed("a NumPy array becomes a Tensor")
        return np.asarray(data), dtypes.from_numpy(data.dtype)
    if hasattr(data, "__array__"):
        array = np.asarray(data)
        python = array.dtype == np.float64 and _items_are_python(data)
        return array, STATE.builder.default_float if python else dtypes.from_numpy(array.dtype)
    if isinstance(data, list | tuple) and _contains_tensor(data):
        data = _plain(data)
    try:
        array = np.asarray(data)
    except ValueError as error:
        raise ShapeError(f"the nested sequence is ragged: {error}") from None
    default = STATE.builder.default_float
    if array.size == 0 and array.dtype == np.float64:
        return array, default
    if _holds_numpy(data):
        return array, dtypes.from_numpy(array.dtype)
    if array.dtype == np.float64:
        return array, default
    if array.dtype == np.complex128:
        return array, dtypes.complex128 if default is dtypes.float64 else dtypes.complex64
    return array, dtypes.from_numpy(array.dtype)


def _items_are_python(data: Any) -> bool:
    """Return whether a column gives Python's numbers, as Polars' do: they have no dtype."""
    try:
        return type(data[0]) is float
    except (LookupError, TypeError, ValueError):
        return False


def _contains_tensor(data: Any) -> bool:
    if isinstance(data, Tensor):
        return True
    return isinstance(data, list | tuple) and bool(data) and _contains_tensor(data[0])


def _holds_numpy(data: Any) -> bool:
    while isinstance(data, list | tuple) and data:
        data = data[0]
    return isinstance(data, np.ndarray | np.generic)


def _plain(data: Any) -> Any:
    if isinstance(data, Tensor):
        return values(data).tolist()
    return [_plain(d) for d in data] if isinstance(data, list | tuple) else data


def as_tensor(data: Any, dtype: DType | None = None, device: object = None) -> Tensor:
    """Return `data` itself when it is a Tensor of the dtype, else a new Tensor."""
    check_device(device)
    if isinstance(data, Tensor):
        if device is not None and meta.asked(device) and not meta.is_meta(data):
            return meta.made(tensor_type(dtype or data.dtype, data.shape))
        return data if dtype is None or data.dtype is dtype else data.to(dtype)
    return tensor(data, dtype, device)


def from_numpy(array: np.ndarray) -> Tensor:
    """Return a Tensor with the values of a NumPy array, as they are now: the memory is not shared.

    Raises:
        DTypeError: for arrays of objects, strings or dates.
    """
    if not isinstance(array, np.ndarray):
        raise InvalidValue(f"from_numpy needs a NumPy array, got {type(array).__name__}")
    return tensor(array)


def _new(
    make: Callable[[Builder, DType], Node], dtype: DType | None, device: object, grad: bool
) -> Tensor:
    check_device(device)
    b = STATE.builder
    kind = b.default_float if dtype is None else as_dtype(dtype)
    if meta.asked(device):
        return requires(meta.made(make(b.apart(), kind).type), grad)
    b.source = here()
    return requires(wrap(make(b, kind)), grad)


def check_range(value: Number, dtype: DType) -> None:
    """Refuse a number that an integer dtype cannot hold; negative ones wrap in unsigned dtypes.

    Raises:
        InvalidValue: naming both.
    """
    if dtype.category not in ("int", "uint") or isinstance(value, complex):
        return
    top = 2 ** (dtype.bits - (dtype.category == "int"))
    if not -top <= value < top:
        raise InvalidValue(
            f"value {value} cannot be converted to {dtype.name} without overflow"
            f"\n  recorded at {describe(here())}"
        )


@creator
def full(
    size: Sequence[int] | int,
    fill_value: Number | Tensor,
    dtype: DType | None = None,
    device: object = None,
    requires_grad: bool = False,
) -> Tensor:
    """Return a Tensor of one value.

    Example:
        >>> import talweg as tw
        >>> tw.full((2,), 7)
        tensor([7, 7])
    """
    value = fill_value.item() if isinstance(fill_value, Tensor) else fill_value
    shape = sizes((size,))
    if min(shape, default=0) < 0:
        raise ShapeError(f"sizes must not be negative, got {shape}")
    dtype = _array(value)[1] if dtype is None else as_dtype(dtype)
    check_range(value, dtype)
    return _new(lambda b, d: b.expand(b.scalar(value, d), shape), dtype, device, requires_grad)


@creator
def zeros(
    *size: Any,
    dtype: DType | None = None,
    device: object = None,
    requires_grad: bool = False,
) -> Tensor:
    """Return a Tensor of zeros: `zeros(2, 3)` or `zeros((2, 3))`."""
    kind = STATE.builder.default_float if dtype is None else dtype
    return full(sizes(size), 0, kind, device, requires_grad)


@creator
def ones(
    *size: Any,
    dtype: DType | None = None,
    device: object = None,
    requires_grad: bool = False,
) -> Tensor:
    """Return a Tensor of ones: `ones(2, 3)` or `ones((2, 3))`."""
    kind = STATE.builder.default_float if dtype is None else dtype
    return full(sizes(size), 1, kind, device, requires_grad)


@creator
def empty(*size: Any, **options: Any) -> Tensor:
    """Return a Tensor whose values are not specified (they are zeros)."""
    return zeros(*size, **options)


def _like(x: Tensor, options: dict[str, Any]) -> dict[str, Any]:
    if options.get("dtype") is None:
        options["dtype"] = x.dtype
    if options.get("device") is None and (meta.PLACE.used or meta.PLACE.default):
        options["device"] = "meta" if meta.is_meta(x) else "cpu"
    return options


@creator
def zeros_like(input: Tensor, **options: Any) -> Tensor:
    """Return zeros of the shape and dtype of another Tensor."""
    return zeros(input.shape, **_like(input, options))


@creator
def ones_like(input: Tensor, **options: Any) -> Tensor:
    """Return ones of the shape and dtype of another Tensor."""
    return ones(input.shape, **_like(input, options))


@creator
def empty_like(input: Tensor, **options: Any) -> Tensor:
    """Return unspecified values of the shape and dtype of another Tensor."""
    return zeros(input.shape, **_like(input, options))


@creator
def full_like(input: Tensor, fill_value: Number, **options: Any) -> Tensor:
    """Return one value in the shape and dtype of another Tensor."""
    return full(input.shape, fill_value, **_like(input, options))


@creator
def arange(
    start: Number,
    end: Number | None = None,
    step: Number = 1,
    dtype: DType | None = None,
    device: object = None,
    requires_grad: bool = False,
) -> Tensor:
    """Return start, start + step, … below end; integers give int64.

    Raises:
        InvalidValue: when step is zero or leads away from end.
    """
    first: Any = 0 if end is None else start
    last: Any = start if end is None else end
    numbers = [v.item() if isinstance(v, Tensor) else v for v in (first, last, step)]
    first, last, by = numbers
    if by == 0 or (last - first) / by < 0:
        raise InvalidValue(f"arange from {first} to {last} needs a step towards it, got {by}")
    if dtype is None:
        whole = all(isinstance(v, int) for v in numbers)
        dtype = dtypes.int64 if whole else STATE.builder.default_float
    count = math.ceil((last - first) / by)
    array = np.asarray(first + by * np.arange(count)).astype(dtype.compute)
    return _new(lambda b, d: b.constant(array, d), dtype, device, requires_grad)


@creator
def linspace(
    start: float,
    end: float,
    steps: int,
    dtype: DType | None = None,
    device: object = None,
    requires_grad: bool = False,
) -> Tensor:
    """Return `steps` evenly spaced values from start to end, both included."""
    array = np.linspace(float(start), float(end), steps)
    return _new(lambda b, d: b.constant(array, d), dtype, device, requires_grad)


@creator
def logspace(
    start: float,
    end: float,
    steps: int,
    base: float = 10.0,
    dtype: DType | None = None,
    device: object = None,
    requires_grad: bool = False,
) -> Tensor:
    """Return `steps` values from base**start to base**end, evenly spaced in the exponent."""
    array = np.logspace(float(start), float(end), steps, base=base)
    return _new(lambda b, d: b.constant(array, d), dtype, device, requires_grad)


@creator
def eye(
    n: int,
    m: int | None = None,
    dtype: DType | None = None,
    device: object = None,
    requires_grad: bool = False,
) -> Tensor:
    """Return an (n, m) matrix with ones on the diagonal, zeros elsewhere."""
    array = np.eye(n, n if m is None else m)
    return _new(lambda b, d: b.constant(array, d), dtype, device, requires_grad)


@creator
def tril_indices(
    row: int, col: int, offset: int = 0, dtype: DType | None = None, device: object = None
) -> Tensor:
    """Return the (2, n) row and column indices of a lower triangle."""
    return tensor(np.stack(np.tril_indices(row, offset, col)), dtype, device)


@creator
def triu_indices(
    row: int, col: int, offset: int = 0, dtype: DType | None = None, device: object = None
) -> Tensor:
    """Return the (2, n) row and column indices of an upper triangle."""
    return tensor(np.stack(np.triu_indices(row, offset, col)), dtype, device)


def new_like(make: Callable[..., Tensor]) -> Callable[..., Tensor]:
    """Return the method form of a creation function: `x.new_zeros(2, 3)` has the dtype of x."""

    @creator
    def method(self: Tensor, *args: Any, **options: Any) -> Tensor:
        return make(*args, **_like(self, options))

    method.__name__ = f"new_{make.__name__}"
    method.__doc__ = f"`tw.{make.__name__}` with the dtype of this Tensor."
    return method


def set_default_dtype(dtype: DType) -> None:
    """Set the dtype of Python floats and of new floating Tensors (in this thread).

    Raises:
        InvalidValue: unless the dtype is floating.
    """
    if not as_dtype(dtype).is_floating_point:
        raise InvalidValue(f"the default dtype must be floating, got {dtype}")
    STATE.builder.default_float = as_dtype(dtype)


def get_default_dtype() -> DType:
    """Return the dtype of Python floats and of new floating Tensors."""
    return STATE.builder.default_float


PUBLIC = (
    tensor,
    as_tensor,
    from_numpy,
    full,
    zeros,
    ones,
    empty,
    zeros_like,
    ones_like,
    empty_like,
    full_like,
    arange,
    linspace,
    logspace,
    eye,
    tril_indices,
    triu_indices,
    set_default_dtype,
    get_default_dtype,
)
