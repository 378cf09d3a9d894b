"""Element types and PyTorch's promotion rules.

A DType is a singleton: compare with `is` or `==`. `storage` is the NumPy dtype of bytes at rest,
`compute` the NumPy dtype that reference rules see. They differ for bfloat16 only: it is stored as
uint16 and computed in float32 arrays that hold representable values.
"""

from __future__ import annotations

from dataclasses import field

import numpy as np

from talweg.base.errors import DTypeError
from talweg.base.frozen import frozen

_RANK = {"bool": 0, "uint": 1, "int": 1, "float": 2, "complex": 3}


@frozen
class DType:
    """An element type.

    Args:
        name: as printed, `float32`.
        category: `bool`, `uint`, `int`, `float` or `complex`.
        bits: width of one element.
        storage: NumPy dtype of the stored bytes.
        compute: NumPy dtype of the values that reference rules receive.

    Attributes:
        is_inexact: floating or complex: the types that have gradients.
        rank: position of the category in promotion: bool 0, integers 1, floats 2, complex 3.
    """

    name: str
    category: str
    bits: int
    storage: np.dtype
    compute: np.dtype
    is_floating_point: bool = field(init=False)
    is_complex: bool = field(init=False)
    is_inexact: bool = field(init=False)
    rank: int = field(init=False)
    itemsize: int = field(init=False)

    __eq__ = object.__eq__
    __hash__ = object.__hash__

    def __post_init__(self) -> None:
        object.__setattr__(self, "is_floating_point", self.category == "float")
        object.__setattr__(self, "is_complex", self.category == "complex")
        object.__setattr__(self, "is_inexact", self.category in ("float", "complex"))
        object.__setattr__(self, "rank", _RANK[self.category])
        object.__setattr__(self, "itemsize", self.bits // 8)

    def __repr__(self) -> str:
        return f"talweg.{self.name}"

    def __reduce__(self) -> str:
        return "bool_" if self.name == "bool" else self.name

    @property
    def is_signed(self) -> bool:
        """True when negative values exist."""
        return self.category in ("int", "float", "complex")


def _make(name: str, category: str, bits: int, storage: str, compute: str | None = None) -> DType:
    stored = np.dtype(storage)
    return DType(name, category, bits, stored, np.dtype(compute) if compute else stored)


bool_ = _make("bool", "bool", 8, "bool")
uint8 = _make("uint8", "uint", 8, "uint8")
uint16 = _make("uint16", "uint", 16, "uint16")
uint32 = _make("uint32", "uint", 32, "uint32")
uint64 = _make("uint64", "uint", 64, "uint64")
int8 = _make("int8", "int", 8, "int8")
int16 = _make("int16", "int", 16, "int16")
int32 = _make("int32", "int", 32, "int32")
int64 = _make("int64", "int", 64, "int64")
bfloat16 = _make("bfloat16", "float", 16, "uint16", "float32")
float16 = _make("float16", "float", 16, "float16")
float32 = _make("float32", "float", 32, "float32")
float64 = _make("float64", "float", 64, "float64")
complex64 = _make("complex64", "complex", 64, "complex64")
complex128 = _make("complex128", "complex", 128, "complex128")

UINTS = (uint8, uint16, uint32, uint64)
INTS = (int8, int16, int32, int64, *UINTS)
FLOATS = (bfloat16, float16, float32, float64)
COMPLEX = (complex64, complex128)
REALS = (*INTS, *FLOATS)
NUMBERS = (*REALS, *COMPLEX)
ALL = (bool_, *NUMBERS)

BY_NAME = {d.name: d for d in ALL}
_FROM_NUMPY = {d.storage: d for d in ALL if d is not bfloat16}
_PROMOTE: dict[tuple[DType, DType], DType] = {}


def from_numpy(dtype: np.dtype) -> DType:
    """Return the DType of a NumPy dtype.

    Raises:
        DTypeError: for a NumPy dtype without a counterpart (object, strings, dates).
    """
    found = _FROM_NUMPY.get(np.dtype(dtype).newbyteorder("="))
    if found is None:
        raise DTypeError(
            f"NumPy dtype {dtype} has no talweg dtype; convert it first, for example with "
            "array.astype('float32')"
        )
    return found


def as_dtype(value: object) -> DType:
    """Accept a DType, its name, a NumPy dtype or a Python type (`float` is float32)."""
    if isinstance(value, DType):
        return value
    if value is float:
        return float32
    if value is int:
        return int64
    if value is bool:
        return bool_
    if value is complex:
        return complex64
    if isinstance(value, str):
        found = BY_NAME.get(value.removeprefix("talweg.").removeprefix("torch."))
        if found is not None:
            return found
    try:
        return from_numpy(np.dtype(value))  # type: ignore[call-overload]
    except TypeError:
        raise DTypeError(f"{value!r} is not a dtype; use talweg.float32 and its like") from None


def _promote(a: DType, b: DType) -> DType:
    if a.rank < b.rank:
        a, b = b, a
    if a.rank > b.rank:
        if a.category == "complex" and b is float64:
            return complex128
        return a
    if a.bits < b.bits:
        a, b = b, a
    if a.rank == 2 and {a, b} == {float16, bfloat16}:
        return float32
    if a.category == b.category or a.category == "int":
        if a.category == "int" and b.category == "uint" and a.bits == b.bits:
            return BY_NAME[f"int{2 * a.bits}"] if a.bits < 64 else _no_common(a, b)
        return a
    if b.category == "uint" or a.bits == 64:
        return _no_common(a, b)
    return BY_NAME[f"int{2 * a.bits}"]


def _no_common(a: DType, b: DType) -> DType:
    raise DTypeError(
        f"{a.name} and {b.name} have no common integer type; convert one of them with .to()"
    )


def promote(a: DType, b: DType) -> DType:
    """Return the smallest common type of two tensors' dtypes, as PyTorch chooses it.

    >>> from talweg.base import dtypes as d
    >>> d.promote(d.int64, d.float16)
    talweg.float16
    """
    if a is b:
        return a
    found = _PROMOTE.get((a, b))
    if found is None:
        found = _PROMOTE[a, b] = _promote(a, b)
    return found


def round_to_bfloat16(array: np.ndarray) -> np.ndarray:
    """Round float32 values to the nearest bfloat16 (ties to even), kept in a float32 array."""
    return decode(encode(array, bfloat16), bfloat16)


def encode(array: np.ndarray, dtype: DType) -> np.ndarray:
    """Convert computed values to stored bytes (only bfloat16 changes representation)."""
    if dtype is not bfloat16:
        return array
    bits = np.ascontiguousarray(array, np.float32).view(np.uint32).reshape(np.shape(array))
    rounded = (bits + (((bits >> 16) & 1) + np.uint32(0x7FFF))) >> 16
    quiet_nan = (bits >> 16) | 0x40
    return np.where(np.isnan(array), quiet_nan, rounded).astype(np.uint16)


def decode(array: np.ndarray, dtype: DType) -> np.ndarray:
    """Convert stored bytes to the values that reference rules compute with."""
    if dtype is not bfloat16:
        return array
    wide = np.left_shift(array.astype(np.uint32), 16, dtype=np.uint32)
    return np.ascontiguousarray(wide).view(np.float32).reshape(np.shape(array))


@frozen
class FloatInfo:
    """Limits of a floating type, with the names of `numpy.finfo`."""

    dtype: DType
    bits: int
    eps: float
    max: float
    min: float
    tiny: float
    resolution: float

    @property
    def smallest_normal(self) -> float:
        """The same as `tiny`."""
        return self.tiny


@frozen
class IntInfo:
    """Limits of an integer type, with the names of `numpy.iinfo`."""

    dtype: DType
    bits: int
    max: int
    min: int


def finfo(dtype: DType = float32) -> FloatInfo:
    """Return the limits of a floating (or complex) type.

    >>> import talweg as tw
    >>> tw.finfo(tw.bfloat16).eps
    0.0078125

    Raises:
        DTypeError: for integers and bool.
    """
    if dtype is bfloat16:
        largest = float(np.float32(3.3895314e38))
        return FloatInfo(dtype, 16, 2.0**-7, largest, -largest, 2.0**-126, 0.01)
    if not dtype.is_inexact:
        raise DTypeError(f"finfo needs a floating type, got {dtype.name}; use iinfo")
    info = np.finfo(dtype.compute)
    return FloatInfo(
        dtype,
        info.bits,
        float(info.eps),
        float(info.max),
        float(info.min),
        float(info.tiny),
        10.0**-info.precision,
    )


def iinfo(dtype: DType) -> IntInfo:
    """Return the limits of an integer type.

    Raises:
        DTypeError: for floating types and bool.
    """
    if dtype.category not in ("int", "uint"):
        raise DTypeError(f"iinfo needs an integer type, got {dtype.name}; use finfo")
    info = np.iinfo(dtype.compute)
    return IntInfo(dtype, dtype.bits, int(info.max), int(info.min))
