"""Loops: the schedule of every nest that is no contraction."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import replace
from typing import final

from talweg.base.frozen import frozen
from talweg.loops.count import extent
from talweg.loops.nest import Buffer, Loop, LoopNest, Statement, Store, expressions, statements
from talweg.loops.scalar import Index, Load, Number, walk
from talweg.schedule.abreast import abreast
from talweg.schedule.ahead import fetched_ahead
from talweg.schedule.borders import bordered, bordered_sums, slides
from talweg.schedule.fixed import fixed, small_extents, window_extents
from talweg.schedule.jam import jammed
from talweg.schedule.moves import collapsed, parallel_loops, unrolled
from talweg.schedule.parts import parted
from talweg.schedule.place import placed
from talweg.schedule.reductions import chunked
from talweg.schedule.stages import Staged, split
from talweg.schedule.taps import inside
from talweg.schedule.target import Target
from talweg.schedule.tiles import tiled
from talweg.schedule.vectors import Choice, choose
from talweg.schedule.windows import neighbours

FEW = 8  # work items that do not keep all threads busy
LANES = 64  # neighbouring results that are one work item
WORTH = 1 << 15  # elements that are worth several threads
FAR = 1 << 20  # bytes of an operand that does not come from the nearest caches
LARGE = 1 << 25  # bytes of a result that is gone from the caches before anybody reads it


@final
@frozen
class Loops:
    """Loops are cut into stages, and some of them become vectors.

    Args:
        vectors: whether any become vectors.
        chunks: whether reductions are cut into chunks.
        streams: results that are written past the caches.
        large: whether operands come from memory: rows that are passed over several times are
            fetched ahead, and long bodies are written twice, once without masks.
        sizes: arguments that the code is made for, with their values.
        light: whether LLVM spends little effort on the code.
    """

    vectors: bool = True
    chunks: bool = False
    streams: tuple[str, ...] = ()
    large: bool = False
    sizes: tuple[tuple[str, int], ...] = ()
    light: bool = False


def staged(nest: LoopNest, schedule: Loops, target: Target) -> Staged:
    """Apply a schedule to a verified nest."""
    moved = parted(placed(fixed(nest, schedule.sizes)))
    moved = jammed(collapsed(unrolled(bordered(inside(moved)))), rows=False)
    if schedule.chunks:
        moved = chunked(moved)
    moved = bordered_sums(moved)
    moved = jammed(moved, rows=True)
    if schedule.vectors:
        moved = neighbours(abreast(moved))
    if not schedule.vectors:
        return split(moved, {})
    moved, squares = tiled(moved, target)
    streams = schedule.streams if target.streams else ()
    vectors = choose(moved, target, schedule.large)
    for statement in moved.body:  # lanes of squares stand along their columns, and no loop around
        loops = [s.index for s in statements((statement,)) if isinstance(s, Loop)]
        for square in [squares[index] for index in loops if index in squares]:
            vectors = {index: v for index, v in vectors.items() if index not in loops}
            vectors[square.columns] = Choice((), square.size, once=True)
    kernel = replace(split(moved, vectors, squares), streams=streams)
    return replace(kernel, ahead=fetched_ahead(kernel)) if schedule.large else kernel


def choose_loops(nest: LoopNest, values: Mapping[str, Number]) -> Loops:
    """Return the schedule for about these values of the arguments."""
    if not values:
        return Loops()
    alone = any(isinstance(s, Loop) and s.order == "reduction" for s in nest.body)
    listed = [nest.body] if alone else [(s,) for s in nest.body]
    chunks = any(_is_narrow(block, values) for block in listed)
    large = max((_bytes(b, values) for b in nest.inputs), default=0) >= FAR
    streams, sizes = _streams(nest, values), small_extents(nest, values)
    if slides(nest.body):
        sizes = tuple(sorted({*sizes, *window_extents(nest, values)}))
    return Loops(chunks=chunks, streams=streams, large=large, sizes=sizes)


def _streams(nest: LoopNest, values: Mapping[str, Number]) -> tuple[str, ...]:
    """The large results that the nest only writes, an element once."""
    large = [b.name for b in nest.outputs if _bytes(b, values) >= LARGE]
    if not large:
        return ()
    inside = list(statements(nest.body))
    again = {
        p.buffer for s in inside for v in expressions(s) for p in walk(v) if isinstance(p, Load)
    }
    stores = [s for s in inside if isinstance(s, Store)]
    again |= {s.buffer for s in stores if s.combine != "set"}
    once = {s.buffer for s in stores if sum(t.buffer == s.buffer for t in stores) == 1}
    return tuple(name for name in large if name in once - again)


def _bytes(buffer: Buffer, values: Mapping[str, Number]) -> int:
    sizes = (extent(size, values) for size in buffer.shape)
    return math.prod(sizes, start=buffer.dtype.itemsize)


def _is_narrow(block: tuple[Statement, ...], values: Mapping[str, Number]) -> bool:
    """Whether few results come from many elements."""
    loops, inside = parallel_loops(block)
    results = math.prod(extent(loop.extent, values) for loop in loops)
    for statement in inside:
        if isinstance(statement, Loop) and statement.order == "reduction":
            folded, last = 1, statement
            for inner in statements((statement,)):
                if isinstance(inner, Loop):
                    folded, last = folded * extent(inner.extent, values), inner
            many = folded >= LANES or (results < FEW and folded > FEW)
            narrow = results < FEW if _runs_along(last) else results < WORTH
            if many and narrow and results * folded >= WORTH:
                return True
    return False


def _runs_along(loop: Loop) -> bool:
    """Whether neighbouring iterations read neighbouring elements."""
    return any(
        isinstance(part, Load) and part.indices and Index(loop.index) in walk(part.indices[-1])
        for statement in loop.body
        for value in expressions(statement)
        for part in walk(value)
    )
