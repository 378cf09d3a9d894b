"""Elements of every dtype as Lanes: how they are held, converted, rounded, loaded and stored.

bool is held as i1, integers as they are, floating types of 16 bits as floats that the type can
represent, complex numbers as two floats: hence every value is a tuple of one or two Lanes.
"""

from __future__ import annotations

from typing import TypeAlias

from talweg.base import dtypes
from talweg.base.dtypes import DType
from talweg.codegen.lanes import (
    Lanes,
    absolute,
    bits_of,
    constant,
    copysign,
    from_bits,
    from_integer,
    is_nan,
    resize,
    to_double,
    to_float,
    to_half,
    to_integer,
    where,
)
from talweg.codegen.writer import Writer

Parts: TypeAlias = tuple[Lanes, ...]

_FLOATS = {
    dtypes.bfloat16: "float",
    dtypes.float16: "float",
    dtypes.float32: "float",
    dtypes.float64: "double",
    dtypes.complex64: "float",
    dtypes.complex128: "double",
}


def kind_of(dtype: DType) -> str:
    """Return the LLVM type in which elements, or the two parts of complex ones, are held."""
    if dtype.category == "bool":
        return "i1"
    return _FLOATS.get(dtype) or f"i{dtype.bits}"


def stored_kind(dtype: DType, writer: Writer) -> str:
    """Return the LLVM type of elements, or of the parts of complex ones, in memory."""
    if dtype is dtypes.float16 and writer.target.half:
        return "half"
    if dtype in (dtypes.float16, dtypes.bfloat16):
        return "i16"
    return "i8" if dtype.category == "bool" else kind_of(dtype)


def number(writer: Writer, value: complex, dtype: DType) -> Parts:
    """Return a constant of a dtype, already rounded to it."""
    kind = kind_of(dtype)
    if dtype.is_complex:
        given = complex(value)
        return tuple(constant(writer, part, kind, 1) for part in (given.real, given.imag))
    if dtype.category == "uint" and value.real >= 1 << (dtype.bits - 1):
        value = value.real - (1 << dtype.bits)
    return (constant(writer, value.real, kind, 1),)


# -- the types of 16 bits


def rounded(x: Lanes, dtype: DType) -> Lanes:
    """Round floats to what a floating dtype can represent."""
    if dtype is dtypes.bfloat16:
        return _round_bfloat16(x)
    if dtype is dtypes.float16:
        return to_float(to_half(x)) if x.writer.target.half else _round_half(x)
    return x


def _round_bfloat16(x: Lanes) -> Lanes:
    bits = bits_of(x)
    up = bits + (bits.shift_logical(16) & 1) + 0x7FFF
    return from_bits(where(is_nan(x), bits | 0x400000, up) & -0x10000)


def _round_half(x: Lanes) -> Lanes:
    """Without an instruction for it: 11 bits of a normal number, else multiples of 2**-24."""
    size = absolute(x)
    bits = bits_of(size)
    normal = from_bits((bits + (bits.shift_logical(13) & 1) + 0xFFF) & -0x2000)
    normal = where(normal >= 65536.0, float("inf"), normal)
    tiny = (size + 0.5) - 0.5
    return where(is_nan(x), x, copysign(where(size < 2.0**-14, tiny, normal), x))


def _half_bits(x: Lanes) -> Lanes:
    """The bits of halves held as floats."""
    size = absolute(x)
    bits = bits_of(size)
    normal = bits.shift_logical(13) - (112 << 10)
    tiny = to_integer(where(size < 2.0**-14, size, 0.0) * 2.0**24, "i32")
    far = where(is_nan(x), bits.like(0x7E00), 0x7C00)
    chosen = where(size < 2.0**-14, tiny, where(size < float("inf"), normal, far))
    return resize(chosen | (bits_of(x).shift_logical(16) & 0x8000), "i16")


def _half_value(half: Lanes) -> Lanes:
    """The floats of the bits of halves."""
    bits = resize(half, "i32", signed=False)
    size = bits & 0x7FFF
    normal = from_bits((size << 13) + (112 << 23))
    tiny = from_integer(size, "float") * 2.0**-24
    far = from_bits((size << 13) | 0x7F800000)
    chosen = where(size < 0x400, tiny, where(size < 0x7C00, normal, far))
    return from_bits(bits_of(chosen) | ((bits & 0x8000) << 16))


def from_memory(x: Lanes, dtype: DType) -> Lanes:
    """Return elements as they are held, from what was loaded."""
    if dtype.category == "bool":
        return x.differs(0)
    if dtype is dtypes.bfloat16:
        return from_bits(resize(x, "i32", signed=False) << 16)
    if dtype is dtypes.float16:
        return to_float(x) if x.kind == "half" else _half_value(x)
    return x


def to_memory(x: Lanes, dtype: DType) -> Lanes:
    """Return elements as they are stored."""
    if dtype.category == "bool":
        return resize(x, "i8")
    if dtype is dtypes.bfloat16:
        return resize(bits_of(x).shift_logical(16), "i16")
    if dtype is dtypes.float16:
        return to_half(x) if x.writer.target.half else _half_bits(x)
    return x


# -- conversions


def bitcast(x: Lanes, source: DType, target: DType) -> Lanes:
    """Return the bits of elements under another dtype of the same width."""
    stored = to_memory(x, source)
    kind = stored_kind(target, x.writer)
    if stored.kind != kind:
        stored = from_bits(stored, kind)
    return from_memory(stored, target)


def cast(parts: Parts, source: DType, target: DType) -> Parts:
    """Convert values in the way `Cast` of the loop language means it."""
    if source is target:
        return parts
    if target.category == "bool":
        truth = parts[0].differs(0)
        for other in parts[1:]:
            truth = truth | other.differs(0)
        return (truth,)
    if target.is_complex:
        real = _real(parts[0], source, target)
        return real, _real(parts[1], source, target) if source.is_complex else real.like(0.0)
    return (_real(parts[0], source, target),)


def _real(x: Lanes, source: DType, target: DType) -> Lanes:
    kind = kind_of(target)
    if target.is_inexact:
        if not x.floating:
            wide = from_integer(x, kind, signed=source.is_signed)
        elif x.kind == "double" and target is dtypes.float16:
            wide = _to_odd(x)
        else:
            wide = to_double(x) if kind == "double" else to_float(x) if x.kind != kind else x
        return rounded(wide, target)
    if not x.floating:
        return resize(x, kind, signed=source.is_signed)
    if target is dtypes.uint64:
        return to_integer(x, kind, signed=False)
    wide_kind = "i32" if target.bits < 32 or target is dtypes.int32 else "i64"
    return resize(to_integer(x, wide_kind), kind)


def _to_odd(x: Lanes) -> Lanes:
    """Doubles as floats, inexact ones with a last bit of 1: rounding again is then harmless."""
    near = to_float(x)
    bits = bits_of(near)
    back = absolute(to_double(near))
    even = (bits & 1).equals(0) & (absolute(near) < float("inf"))
    below, above = back < absolute(x), back > absolute(x)
    moved = bits + where(even & below, bits.like(1), 0) - where(even & above, bits.like(1), 0)
    return from_bits(moved)
