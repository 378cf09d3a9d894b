"""Arithmetic on shapes and axes. A shape is a tuple of non-negative ints."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from typing import Any

from talweg.base.errors import IndexOutOfRange, ShapeError

Shape = tuple[int, ...]


class Size(tuple[int, ...]):
    """What a Tensor's `shape` is: a tuple of ints that knows its product.

    >>> tw.zeros(2, 3).shape.numel(), tw.zeros(2, 3).shape[1:].numel()
    (6, 3)
    """

    __slots__ = ()

    def numel(self) -> int:
        """Return the number of elements of a Tensor of these sizes; 1 for none."""
        return math.prod(self)

    def __getitem__(self, index: Any) -> Any:
        found = tuple.__getitem__(self, index)
        return Size(found) if found.__class__ is tuple else found

    def __add__(self, other: Any) -> Any:
        joined = tuple.__add__(self, other)
        return joined if joined is NotImplemented else Size(joined)


def size_of(shape: Sequence[int]) -> int:
    """Return the number of elements; 1 for a scalar."""
    return math.prod(shape)


def broadcast_shapes(*shapes: Shape) -> Shape:
    """Return the common shape under NumPy's rule.

    >>> broadcast_shapes((3, 1), (4,))
    (3, 4)

    Raises:
        ShapeError: when two sizes differ and neither is 1.
    """
    rank = max((len(s) for s in shapes), default=0)
    out = [1] * rank
    for shape in shapes:
        for i, n in enumerate(shape, start=rank - len(shape)):
            if n == out[i] or n == 1:
                continue
            if out[i] != 1:
                raise ShapeError(
                    f"shapes {' and '.join(str(tuple(s)) for s in shapes)} do not broadcast: "
                    f"size {out[i]} meets {n} at dimension {i}; sizes must be equal or 1"
                )
            out[i] = n
    return tuple(out)


def normalize_axis(axis: int, rank: int) -> int:
    """Return the axis counted from the front. A 0-d value accepts 0 and -1, as PyTorch does.

    Raises:
        IndexOutOfRange: when the axis does not exist.
    """
    span = max(rank, 1)
    if not -span <= axis < span:
        raise IndexOutOfRange(
            f"dimension {axis} is out of range for a value of {rank} dimensions; "
            f"expected {-span} to {span - 1}"
        )
    return axis % span


def normalize_axes(axes: int | Iterable[int] | None, rank: int) -> tuple[int, ...]:
    """Return sorted axes counted from the front; None means every axis.

    Raises:
        IndexOutOfRange: when an axis does not exist.
        ShapeError: when an axis stands twice.
    """
    if axes is None:
        return tuple(range(rank))
    listed = [axes] if isinstance(axes, int) else list(axes)
    out = sorted(normalize_axis(a, rank) for a in listed)
    if len(set(out)) != len(out):
        raise ShapeError(f"dimension appears twice in {tuple(listed)}")
    return tuple(out) if rank else ()


def contiguous_strides(shape: Shape) -> Shape:
    """Return row-major strides, in elements.

    >>> contiguous_strides((2, 3, 4))
    (12, 4, 1)
    """
    strides = [1] * len(shape)
    for i in range(len(shape) - 2, -1, -1):
        strides[i] = strides[i + 1] * max(shape[i + 1], 1)
    return tuple(strides)


def view_strides(shape: Shape, strides: Shape, new: Shape) -> Shape | None:
    """Return the strides under which memory laid out as (shape, strides) reads as `new`.

    None when no strides do: the data must be copied. Both shapes have equally many elements.
    """
    if size_of(new) == 0:
        return contiguous_strides(new)
    old = [(n, s) for n, s in zip(shape, strides, strict=True) if n != 1]
    out: list[int] = [0] * len(new)
    at = len(new) - 1
    while old:
        n, s = old.pop()
        while old and old[-1][1] == n * s:
            n *= old.pop()[0]
        step = s
        while at >= 0 and n > 1:
            if n % new[at]:
                return None
            out[at], n, step = step, n // new[at], step * new[at]
            at -= 1
        while at >= 0 and new[at] == 1:
            out[at] = step
            at -= 1
        if n != 1:
            return None
    for i in range(at, -1, -1):
        out[i] = new[i + 1] * out[i + 1] if i + 1 < len(new) else 1
    return tuple(out)


def inverse_order(order: Sequence[int]) -> Shape:
    """Return the order of axes that undoes an order.

    >>> inverse_order((2, 0, 1))
    (1, 2, 0)
    """
    return tuple(sorted(range(len(order)), key=order.__getitem__))


def infer_size(shape: Sequence[int], count: int) -> Shape:
    """Replace one -1 by the size that makes the shape hold `count` elements.

    Raises:
        ShapeError: when no such size exists.
    """
    wanted = tuple(int(n) for n in shape)
    unknown = [i for i, n in enumerate(wanted) if n == -1]
    if len(unknown) > 1 or any(n < -1 for n in wanted):
        raise ShapeError(f"shape {wanted} is invalid: at most one size may be -1, none below it")
    known = math.prod(n for n in wanted if n != -1)
    if unknown:
        if known == 0 or count % known:
            raise ShapeError(f"cannot reshape {count} elements into shape {wanted}")
        return tuple(count // known if n == -1 else n for n in wanted)
    if known != count:
        raise ShapeError(f"cannot reshape {count} elements into shape {wanted}")
    return wanted
