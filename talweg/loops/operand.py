"""Operands of lowering rules: what can be read at indices, and the arithmetic of such indices."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Protocol, TypeAlias, final

from talweg.base import dtypes
from talweg.base.dtypes import DType
from talweg.base.errors import GraphError
from talweg.base.frozen import frozen
from talweg.loops.scalar import Numeric, Scalar, cast, constant

Indices: TypeAlias = tuple[Scalar, ...]
Point: TypeAlias = Callable[[Indices], "Scalar | tuple[Scalar, ...]"]


class Shaped(Protocol):
    """What `lower` needs of an operand's type; ir.TensorType is one."""

    @property
    def dtype(self) -> DType:
        """The element type."""

    @property
    def shape(self) -> tuple[int, ...]:
        """The sizes."""


@final
@frozen
class Operand:
    """Something that can be read at indices: an array, or another op's result before it is stored.

    Args:
        dtype: of the elements.
        shape: int64 Scalars.
        read: gives the element at as many indices as there are axes.
        buffer: the name of the array, for those that can be written.
        order: of the axes in memory, the outermost first; none where it is row-major.
    """

    dtype: DType
    shape: Indices
    read: Callable[[Indices], Scalar]
    buffer: str = ""
    order: tuple[int, ...] = ()

    @property
    def rank(self) -> int:
        """The number of axes."""
        return len(self.shape)

    def __getitem__(self, indices: Scalar | Sequence[Numeric]) -> Scalar:
        return self.read(as_indices(indices, self.rank))


def as_indices(indices: Scalar | Sequence[Numeric], rank: int) -> Indices:
    """Return one int64 Scalar per axis.

    Raises:
        GraphError: when there are not as many as axes.
    """
    listed = (indices,) if isinstance(indices, Scalar) else tuple(indices)
    if len(listed) != rank:
        raise GraphError(f"an operand of {rank} axes was used with {len(listed)} indices")
    return tuple(constant(i, dtypes.int64) for i in listed)


def wide(value: Scalar, multiplied: bool = False) -> Scalar:
    """Return the value in the dtype in which it is summed: float32 for the half types.

    And int32 for products of short integers, whose sums wrap around to the same.
    """
    if multiplied and value.dtype.category in ("int", "uint") and value.dtype.bits < 32:
        return cast(value, dtypes.int32)
    half = value.dtype in (dtypes.float16, dtypes.bfloat16)
    return cast(value, dtypes.float32) if half else value


def merged(kept: Sequence[Scalar], removed: Sequence[Scalar], axes: Sequence[int]) -> Indices:
    """Return full indices: those of `removed` at `axes`, those of `kept` at the other axes."""
    rest, taken = iter(kept), dict(zip(axes, removed, strict=True))
    total = len(kept) + len(removed)
    return tuple(taken[a] if a in taken else next(rest) for a in range(total))


def flat(indices: Sequence[Scalar], shape: Sequence[Numeric]) -> Scalar:
    """Return the row-major position of indices in a shape."""
    position = constant(0, dtypes.int64)
    for n, (index, size) in enumerate(zip(indices, shape, strict=True)):
        position = position * size + index if n else index
    return position


def unflat(position: Scalar, shape: Sequence[Scalar]) -> Indices:
    """Return the indices of a row-major position in a shape: the inverse of `flat`."""
    indices: list[Scalar] = []
    for size in reversed(shape[1:]):
        indices.append(position % size)
        position = position // size
    return (position, *reversed(indices)) if shape else ()
