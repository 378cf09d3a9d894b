"""What the gradients of matrix functions are written with: Nodes of batches of matrices."""

from __future__ import annotations

from typing import TYPE_CHECKING

from talweg.base import dtypes
from talweg.base.dtypes import DType
from talweg.base.errors import ShapeError
from talweg.base.shapes import Shape
from talweg.ir.op import Op
from talweg.ir.types import TensorType
from talweg.ops.kinds import REAL_PART, check_dtype

if TYPE_CHECKING:
    from talweg.ir.build import Builder
    from talweg.ir.node import Node

FLOATS = (dtypes.float32, dtypes.float64)
ACCEPTED = (*FLOATS, dtypes.complex64, dtypes.complex128)
COMPLEX = {
    dtypes.float32: dtypes.complex64,
    dtypes.float64: dtypes.complex128,
    dtypes.complex64: dtypes.complex64,
    dtypes.complex128: dtypes.complex128,
}


def real_of(dtype: DType) -> DType:
    """Return the dtype of real and imaginary parts; of a real dtype, itself."""
    return REAL_PART.get(dtype, dtype)


def check_matrices(op: Op, x: TensorType, square: bool = False) -> None:
    """Raise ShapeError or DTypeError unless x holds (square) matrices of an accepted dtype."""
    check_dtype(op, x.dtype, ACCEPTED)
    if x.rank < 2 or (square and x.shape[-1] != x.shape[-2]):
        raise ShapeError(f"{op.name()} needs {'square ' * square}matrices, got {x}")


def turned(b: Builder, x: Node) -> Node:
    """Return the conjugate transpose."""
    return b.permute(b.adjoint(x), (*range(x.rank - 2), x.rank - 1, x.rank - 2))


def product(b: Builder, x: Node, *more: Node) -> Node:
    """Return the matrix product, from the left."""
    for y in more:
        x = b.dot(x, y)
    return x


def spread(b: Builder, x: Node, shape: Shape, axis: int) -> Node:
    """Return x with a new axis, -1 or -2, of the size it has in `shape`."""
    at = len(shape) + axis
    return b.expand(b.reshape(x, (*x.shape[:at], 1, *x.shape[at:])), shape)


def _places(b: Builder, shape: Shape) -> tuple[Node, Node]:
    rows, columns = (b.iota(shape[-2:], axis, dtypes.int64) for axis in (0, 1))
    return rows, columns


def diagonal_mask(b: Builder, shape: Shape) -> Node:
    """Return where the main diagonal is."""
    mask = b.eq(*_places(b, shape))
    return mask if len(shape) == 2 else b.expand(mask, shape)


def lower(b: Builder, x: Node, strict: bool = False) -> Node:
    """Return x without what is above the diagonal, or without the diagonal too."""
    mask = (b.gt if strict else b.ge)(*_places(b, x.shape))
    return b.where(mask if x.rank == 2 else b.expand(mask, x.shape), x, b.scalar(0, x.dtype))


def upper(b: Builder, x: Node, strict: bool = False) -> Node:
    """Return x without what is below the diagonal, or without the diagonal too."""
    mask = (b.lt if strict else b.le)(*_places(b, x.shape))
    return b.where(mask if x.rank == 2 else b.expand(mask, x.shape), x, b.scalar(0, x.dtype))


def unit_lower(b: Builder, x: Node) -> Node:
    """Return what is below the diagonal, with ones on it."""
    mask = diagonal_mask(b, x.shape)
    return b.where(mask, b.scalar(1, x.dtype), lower(b, x, True))


def diagonal_of(b: Builder, x: Node) -> Node:
    """Return the main diagonal."""
    n = min(x.shape[-2:])
    return b.diagonal(part(b, part(b, x, -2, 0, n), -1, 0, n))


def on_diagonal(b: Builder, x: Node, diagonal: Node) -> Node:
    """Return square x with another diagonal."""
    return b.where(diagonal_mask(b, x.shape), spread(b, diagonal, x.shape, -1), x)


def halved_triangle(b: Builder, x: Node) -> Node:
    """Return the lower triangle, half of the diagonal's real part in its place."""
    kept = lower(b, x, True)
    half = scaled(b, real(b, diagonal_of(b, x)), 0.5)
    return on_diagonal(b, kept, like(b, half, x.dtype))


def part(b: Builder, x: Node, axis: int, start: int, stop: int) -> Node:
    """Return the elements from start to stop along an axis; x itself when all."""
    axis %= x.rank
    if start == 0 and stop == x.shape[axis]:
        return x
    starts, stops = [0] * x.rank, list(x.shape)
    starts[axis], stops[axis] = start, stop
    return b.slice(x, tuple(starts), tuple(stops), (1,) * x.rank)


def scaled(b: Builder, x: Node, number: float) -> Node:
    """Return x times a number."""
    return b.mul(x, b.scalar(number, x.dtype))


def hermitian(b: Builder, x: Node) -> Node:
    """Return the mean of x and its conjugate transpose."""
    return scaled(b, b.add(x, turned(b, x)), 0.5)


def real(b: Builder, x: Node) -> Node:
    """Return the real part."""
    return b.real(x) if x.dtype.is_complex else x


def like(b: Builder, x: Node, dtype: DType) -> Node:
    """Return x in a dtype, imaginary parts cut off where that is real."""
    x = x if dtype.is_complex else real(b, x)
    return x if x.dtype is dtype else b.cast(x, dtype)


def over(b: Builder, x: Node, y: Node) -> Node:
    """Return x / y, for y that may be real where x is complex."""
    return b.div(x, like(b, y, x.dtype))
