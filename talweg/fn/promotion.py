"""Dtype promotion and broadcasting, with PyTorch's rules.

Operands fall into three categories: Nodes with dimensions, 0-d Nodes, Python numbers. A lower
category changes the result only when its kind of number (bool, integer, float, complex) ranks
higher: `int8 tensor + 300` is int8, `int8 tensor + 0.5` is the default float.
"""

from __future__ import annotations

from typing import TypeAlias

from talweg.base import dtypes
from talweg.base.dtypes import DType
from talweg.base.errors import DTypeError, ShapeError
from talweg.base.shapes import Shape, broadcast_shapes
from talweg.ir.build import Builder
from talweg.ir.node import Node

Numeric: TypeAlias = Node | bool | int | float | complex

_COMPLEX_OF = {dtypes.float64: dtypes.complex128, dtypes.complex128: dtypes.complex128}


def complex_of(dtype: DType) -> DType:
    """Return the complex dtype whose parts hold this dtype: complex128 for float64 alone."""
    return _COMPLEX_OF.get(dtype, dtypes.complex64)


def float_of(b: Builder, dtype: DType) -> DType:
    """Return the dtype in which functions such as `exp` compute: ints take the default float."""
    return dtype if dtype.is_inexact else b.default_float


def number_dtype(b: Builder, value: bool | int | float | complex) -> DType:
    """Return the dtype of a Python number on its own.

    Raises:
        DTypeError: for anything else than a number.
    """
    if isinstance(value, bool):
        return dtypes.bool_
    if isinstance(value, int):
        return dtypes.int64
    if isinstance(value, float):
        return b.default_float
    if isinstance(value, complex):
        return complex_of(b.default_float)
    raise DTypeError(
        f"expected a Tensor or a number, got {type(value).__name__}; convert it with tw.tensor()"
    )


def _combine(higher: DType | None, lower: DType | None) -> DType | None:
    if higher is None or lower is None:
        return higher or lower
    if higher.category == "complex":
        return higher
    if higher.category == "float":
        return complex_of(higher) if lower.category == "complex" else higher
    if higher.category == "bool" or lower.is_inexact:
        return dtypes.promote(higher, lower)
    return higher


def result_type(b: Builder, *values: Numeric) -> DType:
    """Return the common dtype of values under PyTorch's promotion.

    Args:
        values: Nodes and Python numbers, at least one.

    Raises:
        DTypeError: when two unsigned and signed types have no common type.
    """
    found: list[DType | None] = [None, None, None]
    for value in values:
        if isinstance(value, Node):
            place, dtype = (0 if value.type.rank else 1), value.type.dtype
        else:
            place, dtype = 2, number_dtype(b, value)
        before = found[place]
        found[place] = dtype if before is None else dtypes.promote(before, dtype)
    result = _combine(found[0], _combine(found[1], found[2]))
    if result is None:
        raise DTypeError("result_type needs at least one value")
    return result


def cast(b: Builder, x: Node, dtype: DType) -> Node:
    """Return x in another dtype; x itself when it has that dtype."""
    return x if x.type.dtype is dtype else b.cast(x, dtype)


def to_float(b: Builder, x: Node) -> Node:
    """Return x, bools and integers converted to the default float."""
    return x if x.type.dtype.is_inexact else b.cast(x, b.default_float)


def as_node(b: Builder, value: Numeric, dtype: DType | None = None) -> Node:
    """Return a Node for a value; a Python number becomes a 0-d run-time input."""
    if isinstance(value, Node):
        return value if dtype is None else cast(b, value, dtype)
    return b.scalar(value, dtype or number_dtype(b, value))


def expand_to(b: Builder, x: Node, shape: Shape) -> Node:
    """Return x broadcast to a shape; x itself when it has it.

    Raises:
        ShapeError: when a size is neither 1 nor the wanted one.
    """
    return x if x.type.shape == shape else b.expand(x, shape)


def full(b: Builder, shape: Shape, value: bool | int | float | complex, dtype: DType) -> Node:
    """Return one run-time number broadcast to a shape."""
    return expand_to(b, b.scalar(value, dtype), shape)


def broadcast(b: Builder, *nodes: Node) -> list[Node]:
    """Return the Nodes in one shape, ready for an elementwise op: 0-d Nodes stay 0-d.

    Raises:
        ShapeError: when the shapes do not broadcast.
    """
    shapes = {n.type.shape for n in nodes if n.type.rank}
    if len(shapes) < 2:
        return list(nodes)
    shape = broadcast_shapes(*(n.type.shape for n in nodes))
    return [expand_to(b, n, shape) if n.type.rank else n for n in nodes]


def operands(b: Builder, *values: Numeric, dtype: DType | None = None) -> list[Node]:
    """Return operands for an elementwise op: one dtype, and one shape or 0-d.

    Args:
        values: Nodes and Python numbers; at least one Node.
        dtype: the dtype wanted; the promoted one unless given.

    Raises:
        ShapeError: when the shapes do not broadcast.
        DTypeError: when the dtypes have no common type.
    """
    if dtype is None:
        if len(values) == 2:
            x, y = values
            if isinstance(x, Node) and isinstance(y, Node) and x.type is y.type:
                return [x, y]
        dtype = result_type(b, *values)
    return broadcast(b, *(as_node(b, v, dtype) for v in values))


def float_operands(b: Builder, *values: Numeric) -> list[Node]:
    """Return operands as `operands` does, bools and integers converted to the default float."""
    return operands(b, *values, dtype=float_of(b, result_type(b, *values)))


def check_dims(name: str, x: Node, *ranks: int) -> None:
    """Raise ShapeError unless x has one of these numbers of dimensions."""
    if x.type.rank not in ranks:
        raise ShapeError(
            f"{name}: expected {' or '.join(map(str, ranks))} dimensions, got shape {x.type.shape}"
        )


def one_dtype(x: DType, *parameters: DType) -> str:
    """Say how an operand and its parameters come to one dtype."""
    if x in parameters or len(set(parameters)) != 1:
        return "use .to()"
    return f"convert the input with .to(tw.{parameters[0].name})"
