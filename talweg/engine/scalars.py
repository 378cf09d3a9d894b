"""Numbers that travel with the call of a program, not in memory of their own."""

from __future__ import annotations

from functools import cache
from typing import Any

from talweg.base import dtypes
from talweg.ir.node import Node
from talweg.ir.types import TensorType

_FORMATS = {"float": {64: "d", 32: "f4x", 16: "e6x"}, "bool": {8: "?7x"}}
_INTS = {8: "b7x", 16: "h6x", 32: "i4x", 64: "q"}


def is_scalar(node: Node) -> bool:
    """Whether the value of an input travels with the call: a number that `struct` can pack.

    One that wraps around or rounds to infinity in its dtype is given as an array.
    """
    number: Any = node.number
    if number is None or format_of(node.type) == "":
        return False
    if isinstance(number, float) and not node.dtype.is_inexact:
        return False
    limits = _limits(node.type)
    return limits is None or limits[0] <= number <= limits[1] or number - number != 0


@cache
def _limits(type: TensorType) -> tuple[float, float] | None:
    """The smallest and largest number of a dtype; infinities and NaN fit floats all the same."""
    dtype = type.dtype
    if dtype.category == "float":
        largest = float(dtypes.finfo(dtype).max)
        return -largest, largest
    if dtype.category == "bool":
        return None
    info = dtypes.iinfo(dtype)
    return info.min, info.max


@cache
def format_of(type: TensorType) -> str:
    """How `struct` packs a number of a dtype into 8 bytes; empty where it cannot."""
    dtype = type.dtype
    if dtype is dtypes.bfloat16:
        return ""
    if dtype.category in ("int", "uint"):
        form = _INTS[dtype.bits]
        return form if dtype.category == "int" else form.upper().replace("X", "x")
    return _FORMATS.get(dtype.category, {}).get(dtype.bits, "")
