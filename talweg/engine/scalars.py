"""Numbers that travel with the call of a program, not in memory of their own."""

from __future__ import annotations

from functools import cache

from talweg.base import dtypes
from talweg.ir.node import Node
from talweg.ir.types import TensorType

_FORMATS = {"float": {64: "d", 32: "f4x", 16: "e6x"}, "bool": {8: "?7x"}}
_INTS = {8: "b7x", 16: "h6x", 32: "i4x", 64: "q"}


def is_scalar(node: Node) -> bool:
    """Whether the value of an input travels with the call: a number in a dtype of 8 bytes."""
    return node.number is not None and format_of(node.type) != ""


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
