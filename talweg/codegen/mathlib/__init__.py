"""The mathematical functions of the loop language as LLVM instructions: no libm, no libcalls."""

from __future__ import annotations

from collections.abc import Sequence

from talweg.codegen.lanes import Lanes, sqrt
from talweg.codegen.mathlib import double, gamma, single


def emit(name: str, operands: Sequence[Lanes]) -> Lanes:
    """Write a real function of the table of the loop language, on float or double lanes.

    Raises:
        KeyError: for a name that is no mathematical function.
    """
    if name == "sqrt":
        return sqrt(operands[0])
    if name == "rsqrt":
        return 1 / sqrt(operands[0])
    if operands[0].kind == "float":
        if name == "pow":
            return single.power(operands[0], operands[1])
        if name in single.TABLE:
            return single.TABLE[name](*operands)
        return single.widened(name, operands)
    if name == "pow":
        return double.power(operands[0], operands[1])
    return (double.TABLE | gamma.TABLE)[name](*operands)
