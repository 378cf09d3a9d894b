"""Vectors and addresses of a contraction's operands."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from talweg.base import dtypes
from talweg.base.frozen import frozen
from talweg.codegen.contraction.micro import BYTES
from talweg.codegen.contraction.numbers import digits
from talweg.codegen.lanes import Lanes, constant, constants, resize, smaller, splat, where
from talweg.codegen.llvm import Body
from talweg.codegen.repeat import repeat
from talweg.codegen.values import Value
from talweg.codegen.writer import Writer
from talweg.schedule.contraction import Axes, Axis
from talweg.schedule.place import Place


@frozen
class Piece:
    """A part of the depth: so many steps of the outer one, and of the inner one, from two places.

    It is the whole inner depth unless there is one step only.
    """

    step: Lanes
    steps: Lanes
    start: Lanes
    inner: Lanes


def over(a: Lanes, b: int) -> Lanes:
    """Return a / b rounded up, for natural numbers."""
    return (a + (b - 1)).binary("udiv", b)


def number(writer: Writer, value: int) -> Lanes:
    """Return an int64."""
    return constant(writer, value, "i64", 1)


def at(writer: Writer, kind: str, base: str, offset: Lanes | int) -> str:
    """Return the address of an element."""
    place = offset.name if isinstance(offset, Lanes) else offset
    return writer.emit(f"getelementptr {kind}, ptr {base}, i64 {place}")


def store_vector(value: Lanes, place: str, mask: Lanes | None = None) -> None:
    """Write lanes of a value to memory."""
    writer, size = value.writer, 8 if value.kind == "ptr" else BYTES[value.kind]
    if mask is None:
        writer.do(f"store {value.type} {value.name}, ptr {place}, align {size}")
        return
    suffix = {"float": "f32", "double": "f64"}.get(value.kind, value.kind)
    writer.intrinsic(
        f"llvm.masked.store.v{value.lanes}{suffix}.p0",
        "void",
        (value.type, value.name),
        ("ptr", place),
        ("i32", str(size)),
        (mask.type, mask.name),
    )


def present(count: Lanes, first: int, lanes: int) -> Lanes:
    """Return which lanes, counted from `first`, are below a count."""
    writer = count.writer
    # Counts beyond int32 would wrap.
    few = resize(smaller(count, first + lanes), "i32")
    return constants(writer, range(first, first + lanes), "i32") < splat(few, lanes)


def step_of(body: Body, place: Place, axis: Axis) -> Lanes:
    """Return how far an element is from the next one along an axis."""
    factor = place.factor(axis.index)
    assert factor is not None
    return body.scope.value(factor).single


def moved(body: Body, place: Place, axes: Axes) -> Lanes:
    """Return how far the indices of some axes move a place."""
    total = number(body.writer, 0)
    for axis in axes:
        total = total + step_of(body, place, axis) * body.scope.names[axis.index].single
    return total


def flat(body: Body, axes: Axes) -> Lanes:
    """Return the number of the present iteration of a group."""
    total = number(body.writer, 0)
    for n, axis in enumerate(axes):
        here = body.scope.names[axis.index].single
        total = total * body.scope.value(axis.extent).single + here if n else here
    return total


def counted(now: Sequence[Lanes], sizes: Sequence[Lanes], more: Lanes) -> list[Lanes]:
    """Return the digits of the number that follows: `more`, 0 or 1, is added to the last one."""
    following: list[Lanes] = []
    for n in range(len(now) - 1, 0, -1):
        grown = now[n] + more
        full = grown.equals(sizes[n])
        following.append(where(full, 0, grown))
        more = resize(full, "i64")
    if now:
        following.append(now[0] + more)
    return following[::-1]


def each_step(
    body: Body, axes: Axes, first: Lanes, count: Lanes, one: Callable[[Lanes], None]
) -> None:
    """Write a loop over steps of a group, in which its indices have values.

    `one` is called with the number of the step, counted from the first.
    """

    def step(n: Lanes) -> Lanes:
        one(n)
        return n + 1

    kept_steps(body, axes, first, count, step)


def kept_steps(
    body: Body, axes: Axes, first: Lanes, count: Lanes, one: Callable[[Lanes], Lanes]
) -> Lanes:
    """Write a loop over steps of a group, some of which are kept; return how many.

    `one` is called with the number of steps kept so far and returns it, grown by one if this step
    is kept as well.
    """
    scope = body.scope
    sizes = [scope.value(axis.extent).single for axis in axes]
    names = scope.names

    def step(_: Lanes, now: list[Lanes]) -> Sequence[Lanes]:
        scope.names = dict(names)
        kept, *place = now
        for axis, digit in zip(axes, place, strict=True):
            scope.names[axis.index] = Value(dtypes.int64, (digit,))
        after = one(kept)
        return [after, *counted(place, sizes, number(body.writer, 1))]

    kept, *_ = repeat(count, [number(body.writer, 0), *digits(first, sizes)], step)
    scope.names = names
    return kept
