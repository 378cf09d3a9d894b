"""Arguments that functions along spatial axes share: sizes per axis, and the batch axis."""

from __future__ import annotations

from collections.abc import Sequence
from operator import index

from talweg.base.errors import DTypeError, InvalidValue, ShapeError
from talweg.base.shapes import Shape
from talweg.ir.build import Builder
from talweg.ir.node import Node


def per_axis(
    name: str, what: str, value: int | Sequence[int], axes: int, least: int | None = None
) -> Shape:
    """Return one int per spatial axis; a single one counts for every axis.

    Args:
        name, what: the function and the argument, for the message.
        least: the smallest value allowed.

    Raises:
        ShapeError: when the number of entries is neither 1 nor `axes`.
        InvalidValue: when an entry is below `least`.
    """
    sizes = (index(value),) if isinstance(value, int) else tuple(map(index, value))
    if len(sizes) == 1:
        sizes *= axes
    if len(sizes) != axes:
        raise ShapeError(f"{name}: {what} needs one int or {axes}, got {value}")
    if least is not None and min(sizes) < least:
        raise InvalidValue(f"{name}: {what} must be at least {least}, got {value}")
    return sizes


def with_batch(b: Builder, name: str, x: Node, axes: int) -> Node:
    """Return x with a batch axis in front, added where it lacks one.

    Raises:
        ShapeError: unless x is [N, C, *spatial] or [C, *spatial].
    """
    if x.rank == axes + 1:
        return b.reshape(x, (1, *x.shape))
    if x.rank != axes + 2:
        raise ShapeError(
            f"{name}: expected {axes + 1} dimensions [C, *spatial] or {axes + 2} dimensions "
            f"[N, C, *spatial], got shape {x.shape}"
        )
    return x


def like_batch(b: Builder, y: Node, x: Node) -> Node:
    """Return y without its batch axis when x, of one dimension less, has none."""
    return y if y.rank == x.rank else b.reshape(y, y.shape[1:])


def check_floating(name: str, x: Node) -> None:
    """Raise DTypeError unless x is floating or complex."""
    if not x.dtype.is_inexact:
        raise DTypeError(f"{name}: expected a floating dtype, got {x.dtype.name}; convert it first")
