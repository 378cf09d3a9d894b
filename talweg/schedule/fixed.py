"""Extents that are numbers: the small ones of innermost loops, which decide how memory is walked.

A kernel is otherwise made for all sizes. But axes of one or a few elements at the end, as the
windows of convolutions have, leave nothing for vectors; what is next to them then matters.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from talweg.base import dtypes
from talweg.loops.count import extent
from talweg.loops.nest import Block, Buffer, Loop, LoopNest, map_scalars, scalars, statements
from talweg.loops.scalar import (
    Argument,
    Call,
    Index,
    Number,
    Scalar,
    constant,
    substitute,
    walk,
)
from talweg.schedule.moves import each_loop

SMALL = 4
WINDOW = 7  # elements that a window has along an axis at most


def small_extents(nest: LoopNest, values: Mapping[str, Number]) -> tuple[tuple[str, int], ...]:
    """Return the small extents of innermost parallel loops, by their arguments."""
    found: dict[str, int] = {}
    for statement in nest.body:
        loops: list[Loop] = []
        body: Block = (statement,)
        while len(body) == 1 and isinstance(body[0], Loop) and body[0].order == "parallel":
            loops.append(body[0])
            body = body[0].body
        while len(loops) > 1:
            last = loops.pop().extent
            if not isinstance(last, Argument) or extent(last, values) > SMALL:
                break
            found[last.name] = extent(last, values)
    return tuple(sorted(found.items()))


def window_extents(nest: LoopNest, values: Mapping[str, Number]) -> tuple[tuple[str, int], ...]:
    """Return the extents of windows that slide over longer axes, by their arguments."""
    loops = {s.index: s for s in statements(nest.body) if isinstance(s, Loop)}
    sizes = {
        index: extent(loop.extent, values)
        for index, loop in loops.items()
        if isinstance(loop.extent, Argument)
    }
    found: dict[str, int] = {}
    for part in scalars(nest.body):
        if not isinstance(part, Call) or part.function not in ("ge", "lt"):
            continue
        together = sorted(
            (sizes[p.name], p.name) for p in walk(part) if isinstance(p, Index) and p.name in sizes
        )
        if len(together) != 2 or together[0][0] > min(WINDOW, together[1][0] - 1):
            continue
        size, index = together[0]
        argument = loops[index].extent
        assert isinstance(argument, Argument)
        found[argument.name] = size
    return tuple(sorted(found.items()))


def fixed(nest: LoopNest, sizes: tuple[tuple[str, int], ...]) -> LoopNest:
    """Return a nest in which some arguments are numbers; it still takes them all."""
    if not sizes:
        return nest
    numbers: dict[str, Scalar] = {name: constant(size, dtypes.int64) for name, size in sizes}

    def value(old: Scalar) -> Scalar:
        return substitute(old, numbers)

    def buffer(old: Buffer) -> Buffer:
        return replace(old, shape=tuple(map(value, old.shape)))

    def single(loop: Loop) -> Block:
        if loop.extent != constant(1, dtypes.int64):
            return (loop,)
        zero: dict[str, Scalar] = {loop.index: constant(0, dtypes.int64)}
        return map_scalars(loop.body, lambda old: substitute(old, zero))

    body = each_loop(map_scalars(nest.body, value), single)
    return replace(
        nest,
        inputs=tuple(map(buffer, nest.inputs)),
        outputs=tuple(map(buffer, nest.outputs)),
        body=body,
    )
