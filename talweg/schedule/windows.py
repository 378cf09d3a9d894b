"""Neighbouring windows are summed together: what weighs their elements is read once for all.

    for i in parallel(I):                     for b in parallel(I / 4):
        for c in parallel(C):                     for c in parallel(C):
            s = 0                                     s0, …, s3 = 0
            s += x[i, c] * w[0, c]                    s0 += x[4 * b, c] * w[0, c]; …; s3 += …
            s += x[i + 1, c] * w[1, c]                s0 += x[4 * b + 1, c] * w[1, c]; …
            out[i, c] = s                             out[4 * b, c] = s0; …
                                              for r in parallel(I % 4):  as before

Alone, a window of 3 x 3 loads 18 vectors for 9 sums of products. Four of them load 27 for 36, since
elements that windows share are loaded once too.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from functools import partial

from talweg.base import dtypes
from talweg.loops.nest import (
    Accumulate,
    Block,
    Let,
    Loop,
    LoopNest,
    Statement,
    Store,
    Var,
    statements,
)
from talweg.loops.scalar import Call, Index, Load, call, constant
from talweg.schedule.moves import copied, each_loop, iteration
from talweg.schedule.place import Fresh, Place, names_in, settled

WINDOWS = 4
TAPS = 4  # that a window is written out with at least


def neighbours(nest: LoopNest) -> LoopNest:
    """Take windows together in a nest of places, wherever their weights are the same."""
    return replace(nest, body=each_loop(nest.body, partial(_several, fresh=Fresh(nest))))


def _several(loop: Loop, fresh: Fresh) -> Block:
    if not _shares_weights(loop):
        return (loop,)
    extent = loop.extent
    assert isinstance(extent, Place)
    table = extent.table
    number = constant(WINDOWS, dtypes.int64)
    blocks = settled(call("floordiv", extent, number), table)
    several, rest = fresh.name(loop.index + "_"), fresh.name(loop.index + "_")
    first = settled(Index(several), table).times(table.place({(): WINDOWS}))
    places = [first.plus(table.place({(): n} if n else {})) for n in range(WINDOWS)]
    copies = [iteration(loop, place, fresh) for place in places]
    if not _overlap(*copies[:2]):
        return (loop,)
    behind = blocks.times(table.place({(): WINDOWS}))
    last = copied(iteration(loop, behind.plus(settled(Index(rest), table)), fresh), fresh)
    return (
        Loop(several, blocks, "parallel", _woven(copies)),
        Loop(rest, extent.plus(behind, -1), "parallel", last),
    )


def _woven(copies: Sequence[Block]) -> Block:
    """Copies of one block, statement by statement, their loops as one."""
    made: list[Statement] = []
    for row in zip(*copies, strict=True):
        loops = [s for s in row if isinstance(s, Loop)]
        made += [replace(loops[0], body=_woven([s.body for s in loops]))] if loops else row
    return tuple(made)


def _shares_weights(loop: Loop) -> bool:
    """Whether all iterations of a loop sum products with the same elements of an inner loop."""
    if loop.order != "parallel" or len(loop.body) != 1 or not isinstance(loop.body[0], Loop):
        return False
    (inner,) = loop.body
    if not isinstance(inner, Loop) or inner.order != "parallel":
        return False
    inside = list(statements((inner,)))
    if not all(isinstance(s, Loop | Let | Var | Accumulate | Store) for s in inside):
        return False
    own = {loop.index, *(s.name for s in inside if isinstance(s, Let | Var))}
    loops = [s for s in inside if isinstance(s, Loop)]
    if any(names_in(s.extent) & own for s in loops):
        return False
    if any(s.order != "reduction" for s in loops[1:]):
        return False
    factors = _factors((inner,))
    shared = [f for f in factors if not names_in(f) & own]
    return len(shared) >= TAPS and 2 * len(shared) == len(factors)


def _overlap(one: Block, other: Block) -> bool:
    """Whether two windows have half of their elements in common, without their weights."""
    pairs = [(a, b) for a, b in zip(_factors(one), _factors(other), strict=True) if a != b]
    return 2 * len({a for a, _ in pairs} & {b for _, b in pairs}) >= len(pairs)


def _factors(block: Block) -> list[Load]:
    """The elements of which products are added up in a block."""
    sums = [s for s in statements(block) if isinstance(s, Accumulate) and s.combine == "add"]
    products = [s.values[0] for s in sums]
    found = [p for p in products if isinstance(p, Call) and p.function == "mul"]
    return [part for p in found for part in p.operands if isinstance(part, Load)]
