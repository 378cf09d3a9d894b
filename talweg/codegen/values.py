"""Values of expressions, and how they move from lane to lane.

Inside a vector loop a value is either the same in all lanes, and kept as a scalar; or an int64
that grows by a step from lane to lane, kept as the scalar of the first lane; or a vector. So
addresses are computed once for all lanes, and neighbours are seen to be neighbours.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import TypeAlias

from talweg.base import dtypes
from talweg.base.dtypes import DType
from talweg.base.frozen import frozen
from talweg.codegen.elements import Parts
from talweg.codegen.lanes import Lanes, constants, splat

Step: TypeAlias = int | Lanes


@frozen
class Value:
    """The value of an expression.

    Args:
        dtype: of the elements.
        parts: one Lanes, or two for complex numbers; scalars, or vectors of all lanes.
        step: what is added from lane to lane where parts are the scalars of the first lane.
    """

    dtype: DType
    parts: Parts
    step: Step = 0

    @property
    def single(self) -> Lanes:
        """The only part of a value that is not complex."""
        return self.parts[0]

    @property
    def is_vector(self) -> bool:
        """Whether every lane is kept."""
        return self.parts[0].lanes > 1

    @property
    def is_uniform(self) -> bool:
        """Whether all lanes surely hold the same."""
        return not self.is_vector and isinstance(self.step, int) and self.step == 0


def widened(value: Value, lanes: int) -> Value:
    """Return the value with every lane kept."""
    if value.is_vector or lanes == 1:
        return value
    parts = tuple(splat(part, lanes) for part in value.parts)
    if not value.is_uniform:
        writer = parts[0].writer
        places = constants(writer, range(lanes), "i64")
        step = value.step
        if isinstance(step, Lanes):
            places = places * splat(step, lanes)
        elif step != 1:
            places = constants(writer, [step * n for n in range(lanes)], "i64")
        parts = (parts[0] + places,)
    return Value(value.dtype, parts)


def linear(function: str, operands: Sequence[Value]) -> Value | None:
    """Return a sum, difference, negative or product that still moves by a step, or None."""
    if any(v.is_vector or v.dtype is not dtypes.int64 for v in operands):
        return None
    first = operands[0]
    if function == "neg":
        return replace(first, parts=(-first.single,), step=_negative(first.step))
    if function in ("add", "sub"):
        second = operands[1]
        if function == "add":
            return Value(
                first.dtype, (first.single + second.single,), _plus(first.step, second.step)
            )
        step = _plus(first.step, _negative(second.step))
        return Value(first.dtype, (first.single - second.single,), step)
    if function == "mul" and any(v.is_uniform for v in operands):
        moving, factor = operands if operands[1].is_uniform else reversed(operands)
        product = moving.single * factor.single
        return Value(first.dtype, (product,), _times(moving.step, factor.single))
    return None


def _known(x: Step) -> int | None:
    """The number that a step is, where that is known."""
    if isinstance(x, int):
        return x
    return None if x.name.startswith("%") else int(x.name)


def _plus(a: Step, b: Step) -> Step:
    x, y = _known(a), _known(b)
    if x is not None and y is not None:
        return x + y
    if x == 0 or y == 0:
        return b if x == 0 else a
    return a + b if isinstance(a, Lanes) else b + a


def _negative(a: Step) -> Step:
    return -a


def _times(a: Step, b: Lanes) -> Step:
    x, y = _known(a), _known(b)
    if x is not None and y is not None:
        return x * y
    if x == 0 or y == 0:
        return 0
    if x == 1:
        return b
    return b * a
