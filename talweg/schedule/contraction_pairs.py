"""Pairs: products of numbers of 16 bits, two of them in one lane of 32 bits.

    sum over k of a[k] * b[k]  =  sum over j of  a[2 j] * b[2 j] + a[2 j + 1] * b[2 j + 1]

Machines multiply both and add them in one instruction. Copies of the operands hold pairs in the
order in which they are multiplied, the even element in the low half; a last one that has no partner
has zero. Sums of integers are exact, or wrap around as those of int32 do; those of bfloat16 are
float32.
"""

from __future__ import annotations

from talweg.base import dtypes
from talweg.loops.scalar import Bitcast, Cast, Constant, Scalar, Select, call, constant
from talweg.schedule.place import Place, map_places

SHORT = (dtypes.int8, dtypes.uint8, dtypes.int16, dtypes.bool_)


def is_short(value: Scalar) -> bool:
    """Return whether an int32 is one of 16 bits that was cast, or zero."""
    return _is_cast(value, SHORT, dtypes.int32)


def is_bfloat16(value: Scalar) -> bool:
    """Return whether a float32 is a bfloat16 that was cast, or zero."""
    return _is_cast(value, (dtypes.bfloat16,), dtypes.float32)


def _is_cast(value: Scalar, narrow: tuple[dtypes.DType, ...], wide: dtypes.DType) -> bool:
    if value.dtype is not wide:
        return False
    if isinstance(value, Select):
        return all(_is_cast(v, narrow, wide) for v in (value.then, value.otherwise))
    if isinstance(value, Constant):
        return value.value == 0
    return isinstance(value, Cast) and value.operand.dtype in narrow


def pair(value: Scalar, index: str, extent: Place) -> Scalar:
    """Return the pair of two neighbours along an axis, an int32; the index then counts pairs.

    Args:
        value: an int32 that is short, or a float32 that is a bfloat16.
        index: of the axis.
        extent: of the axis, before.
    """
    table = extent.table
    even, odd = (table.place({(index,): 2} | ({(): n} if n else {})) for n in (0, 1))
    low = map_places(value, lambda p: p.at(index, even))
    high = map_places(value, lambda p: p.at(index, odd))
    partner = Select(call("lt", odd, extent), high, constant(0, value.dtype))
    if value.dtype is dtypes.float32:  # the lower half of its bits is zero
        bits = Bitcast(low, dtypes.int32)
        low = call("shr", bits, constant(16, dtypes.int32))
        return call("bit_and", low, constant(0xFFFF, dtypes.int32)) + Bitcast(partner, dtypes.int32)
    return call("bit_and", low, constant(0xFFFF, dtypes.int32)) + partner * 0x10000
