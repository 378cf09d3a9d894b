"""Arrays in other shapes, parts of arrays, and matrices, as the array API standard has them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from talweg.array_api.calls import FUNCTIONS, METHODS
from talweg.array_api.kinds import promoted
from talweg.base.errors import IndexOutOfRange, InvalidValue, ShapeError
from talweg.base.shapes import broadcast_shapes as common_shape
from talweg.engine import dependent
from talweg.engine.conversion import clone
from talweg.engine.tensor import Tensor

Axes = int | tuple[int, ...]


def axes_of(axis: Axes | None, rank: int) -> tuple[int, ...]:
    """Return axes as numbers from 0, all of them for None.

    Raises:
        IndexOutOfRange: for an axis that does not exist.
        ShapeError: for one that comes twice.
    """
    if axis is None:
        return tuple(range(rank))
    listed = (axis,) if isinstance(axis, int) else tuple(axis)
    found = tuple(a + rank if a < 0 else a for a in listed)
    if any(not 0 <= a < rank for a in found):
        raise IndexOutOfRange(f"axes {listed} of an array of {rank} dimensions do not all exist")
    if len(set(found)) < len(found):
        raise ShapeError(f"axes {listed} must be different axes of {rank}")
    return found


def broadcast_arrays(*arrays: Tensor) -> tuple[Tensor, ...]:
    """Return the arrays in their common shape."""
    return tuple(broadcast_to(x, broadcast_shapes(*(a.shape for a in arrays))) for x in arrays)


def broadcast_shapes(*shapes: tuple[int, ...]) -> tuple[int, ...]:
    """Return the common shape of arrays of these shapes.

    Raises:
        ShapeError: when there is none.

    >>> import talweg as tw
    >>> tw.array_api.broadcast_shapes((3, 1), (4,))
    (3, 4)
    """
    return tuple(common_shape(*map(tuple, shapes)))


def broadcast_to(x: Tensor, /, shape: tuple[int, ...]) -> Tensor:
    """Return the array in a shape to which it broadcasts."""
    return METHODS["expand"](x, tuple(shape))


def concat(arrays: Sequence[Tensor], /, *, axis: int | None = 0) -> Tensor:
    """Return arrays joined along an axis, or all their elements in a row for None."""
    same = promoted(*arrays)
    if axis is None:
        return FUNCTIONS["cat"]([METHODS["reshape"](x, (-1,)) for x in same])
    return FUNCTIONS["cat"](list(same), axis)


def stack(arrays: Sequence[Tensor], /, *, axis: int = 0) -> Tensor:
    """Return arrays of one shape joined along a new axis."""
    return FUNCTIONS["stack"](list(promoted(*arrays)), axis)


def unstack(x: Tensor, /, *, axis: int = 0) -> tuple[Tensor, ...]:
    """Return the slices along an axis."""
    return tuple(FUNCTIONS["unbind"](x, axis))


def expand_dims(x: Tensor, /, axis: Axes) -> Tensor:
    """Return the array with axes of size 1 at places of the result.

    Raises:
        IndexOutOfRange: for a place outside it.
    """
    count = 1 if isinstance(axis, int) else len(axis)
    places = axes_of(axis, x.ndim + count)
    sizes = iter(x.shape)
    return METHODS["reshape"](
        x, tuple(1 if a in places else next(sizes) for a in range(x.ndim + count))
    )


def squeeze(x: Tensor, /, axis: Axes) -> Tensor:
    """Return the array without axes of size 1.

    Raises:
        InvalidValue: for an axis of another size.
    """
    gone = axes_of(axis, x.ndim)
    if any(x.shape[a] != 1 for a in gone):
        raise InvalidValue(f"squeeze: axes {axis} of shape {x.shape} must be of size 1")
    return METHODS["reshape"](x, tuple(n for a, n in enumerate(x.shape) if a not in gone))


def flip(x: Tensor, /, *, axis: Axes | None = None) -> Tensor:
    """Return the array with some axes, by default all, in reverse order."""
    return FUNCTIONS["flip"](x, axes_of(axis, x.ndim))


def moveaxis(x: Tensor, source: Axes, destination: Axes, /) -> Tensor:
    """Return the array with axes at other places, the others in their order."""
    return FUNCTIONS["moveaxis"](x, source, destination)


def permute_dims(x: Tensor, /, axes: tuple[int, ...]) -> Tensor:
    """Return the array with its axes in another order."""
    return FUNCTIONS["permute"](x, tuple(axes))


def repeat(x: Tensor, repeats: int | Tensor, /, *, axis: int | None = None) -> Tensor:
    """Return each element, or slice along an axis, several times in a row."""
    return dependent.repeat_interleave(x, repeats, axis)


def reshape(x: Tensor, /, shape: tuple[int, ...], *, copy: bool | None = None) -> Tensor:
    """Return the elements in another shape, in memory of their own where `copy` is true.

    Raises:
        ShapeError: when `copy` is false and the elements cannot be read in place.
    """
    if copy is False:
        return METHODS["view"](x, tuple(shape))
    return METHODS["reshape"](clone(x) if copy else x, tuple(shape))


def roll(x: Tensor, /, shift: Axes, *, axis: Axes | None = None) -> Tensor:
    """Return the elements moved along axes, those at the end to the beginning."""
    if isinstance(shift, int) and isinstance(axis, tuple):
        shift = (shift,) * len(axis)
    return FUNCTIONS["roll"](x, shift, axis)


def tile(x: Tensor, repetitions: tuple[int, ...], /) -> Tensor:
    """Return the array repeated along its axes."""
    return FUNCTIONS["tile"](x, tuple(repetitions))


def take(x: Tensor, indices: Tensor, /, *, axis: int | None = None) -> Tensor:
    """Return slices along an axis, which vectors need not name.

    Raises:
        ShapeError: without an axis for an array of another rank than 1.
    """
    if axis is None and x.ndim != 1:
        raise ShapeError(f"take needs an axis for an array of shape {x.shape}")
    (at,) = axes_of(-1 if axis is None else axis, x.ndim)
    whole: tuple[Any, ...] = (slice(None),) * at
    return x[(*whole, indices)]


def take_along_axis(x: Tensor, indices: Tensor, /, *, axis: int = -1) -> Tensor:
    """Return elements by their indices along an axis; other axes broadcast."""
    size = x.shape[axis]
    return FUNCTIONS["take_along_dim"](
        x, FUNCTIONS["where"](indices < 0, indices + size, indices), axis
    )


def matmul(x1: Tensor, x2: Tensor, /) -> Tensor:
    """Return products of matrices and vectors; batches broadcast."""
    return FUNCTIONS["matmul"](*promoted(x1, x2))


def matrix_transpose(x: Tensor, /) -> Tensor:
    """Return matrices with rows and columns exchanged.

    Raises:
        ShapeError: for a vector or a number.
    """
    if x.ndim < 2:
        raise ShapeError(f"matrix_transpose needs matrices, got shape {x.shape}")
    return METHODS["transpose"](x, -2, -1)


def tensordot(
    x1: Tensor, x2: Tensor, /, *, axes: int | tuple[Sequence[int], Sequence[int]] = 2
) -> Tensor:
    """Return sums of products over axes: the last of x1 and first of x2, or pairs."""
    return FUNCTIONS["tensordot"](*promoted(x1, x2), axes)


def vecdot(x1: Tensor, x2: Tensor, /, *, axis: int = -1) -> Tensor:
    """Return sums over an axis of conj(x1) x2; other axes broadcast.

    Raises:
        ShapeError: when the axis has two sizes.
    """
    a, b = promoted(x1, x2)
    if a.shape[axis] != b.shape[axis]:
        raise ShapeError(f"vecdot: axis {axis} of {a.shape} and {b.shape} must have one size")
    a, b = (METHODS["movedim"](v, axis, -1) for v in (a, b))
    product = FUNCTIONS["conj"](METHODS["unsqueeze"](a, -2))
    return METHODS["reshape"](
        FUNCTIONS["matmul"](product, METHODS["unsqueeze"](b, -1)),
        broadcast_shapes(a.shape[:-1], b.shape[:-1]),
    )
