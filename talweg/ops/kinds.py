"""The closed set of op kinds. Passes, schedules and code generation match on these, never on an Op.

An op of a known kind is one class in one family file; a new kind is a design note.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from talweg.base import dtypes
from talweg.base.dtypes import DType
from talweg.base.errors import DTypeError, ShapeError
from talweg.base.shapes import Shape
from talweg.ir.op import Op
from talweg.ir.types import TensorType


@dataclass(frozen=True)
class Elementwise(Op):
    """Each result element depends on the elements at the same place.

    1. Operands have one shape; a 0-d operand counts for every place. Nothing else broadcasts.
    2. Operands have one dtype, one of `accepts`; nothing promotes.
    3. The result has the operands' dtype, or `result` where the class names one.
    4. A `vjp` rule may return a full-shaped cotangent for a 0-d operand: the reverse pass sums it.
    """

    accepts: ClassVar[tuple[DType, ...]] = dtypes.NUMBERS
    result: ClassVar[DType | None] = None
    arity: ClassVar[int] = 1

    def infer(self, *types: TensorType) -> TensorType:
        first = types[0]
        shape = elementwise_shape(self, types)
        if any(t.dtype is not first.dtype for t in types):
            raise DTypeError(
                f"{self.name()} needs operands of one dtype, got "
                f"{', '.join(t.dtype.name for t in types)}"
            )
        check_dtype(self, first.dtype, self.accepts)
        return first.with_shape(shape).with_dtype(self.result or first.dtype)


@dataclass(frozen=True)
class Reduce(Op):
    """Axes are combined away: sum, product, maximum, arg-maximum.

    1. `axes` are sorted, distinct and counted from the front.
    2. The reduced axes disappear from the shape.
    """

    axes: tuple[int, ...]

    def reduced(self, type: TensorType) -> Shape:
        """Return the shape without the reduced axes."""
        check_axes(self, self.axes, type)
        return tuple(n for i, n in enumerate(type.shape) if i not in self.axes)


@dataclass(frozen=True)
class View(Op):
    """Every result element is one element of an operand or a fixed fill value: no arithmetic."""


@dataclass(frozen=True)
class Contract(Op):
    """Sums of products over contracted axes: batched dot, convolution."""


@dataclass(frozen=True)
class Window(Op):
    """A reduction over sliding windows: pooling."""


@dataclass(frozen=True)
class Gather(Op):
    """Elements read at computed indices."""


@dataclass(frozen=True)
class Scatter(Op):
    """Elements written or accumulated at computed indices, in row-major order of the updates."""


@dataclass(frozen=True)
class Scan(Op):
    """A sequential pass along one axis: cumulative sums, sorting."""

    axis: int


@dataclass(frozen=True)
class Generate(Op):
    """Values made from indices alone: iota, full, counter-based random bits."""


@dataclass(frozen=True)
class Control(Op):
    """Runs a sub-graph: call, cond, while, scan."""


@dataclass(frozen=True)
class Effect(Op):
    """Leaves the graph: host callbacks, collectives. Never removed, merged or reordered."""


KINDS: tuple[type[Op], ...] = (
    Elementwise,
    Reduce,
    View,
    Contract,
    Window,
    Gather,
    Scatter,
    Scan,
    Generate,
    Control,
    Effect,
)


def check_dtype(op: Op, dtype: DType, accepted: tuple[DType, ...]) -> None:
    """Raise DTypeError unless the dtype is accepted; the message lists what is."""
    if dtype not in accepted:
        names = ", ".join(d.name for d in accepted)
        raise DTypeError(f"{op.name()} does not accept {dtype.name}; it accepts {names}")


def check_axes(op: Op, axes: tuple[int, ...], type: TensorType) -> None:
    """Raise ShapeError unless the axes are sorted, distinct and exist in the type."""
    if list(axes) != sorted(set(axes)) or any(not 0 <= a < type.rank for a in axes):
        raise ShapeError(f"{op.name()}: axes {axes} are not distinct axes of {type}")


def check_rank(op: Op, type: TensorType, rank: int, role: str) -> None:
    """Raise ShapeError unless the operand has this many dimensions."""
    if type.rank != rank:
        raise ShapeError(f"{op.name()}: {role} must have {rank} dimensions, got {type}")


def elementwise_shape(op: Op, types: tuple[TensorType, ...]) -> Shape:
    """Return the one shape of elementwise operands, 0-d operands aside."""
    shape: Shape = ()
    for t in types:
        if t.shape == shape or not t.shape:
            continue
        if shape:
            raise ShapeError(
                f"{op.name()} needs operands of one shape, got {', '.join(map(repr, types))}"
            )
        shape = t.shape
    return shape
