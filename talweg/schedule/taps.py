"""Taps inside: sums of products for every element of a window read what they share once.

    for t in parallel(3):                         for c in parallel(C):
        for c in parallel(C):                         s0 = s1 = s2 = 0
            s = 0                                     for k in reduction(K):
            for k in reduction(K):                        s0 += y[k, c] * x[k, c]
                s += y[k, c] * x[k + t, c]                s1 += y[k, c] * x[k + 1, c]; …
            out[t, c] = s                             out[0, c] = s0; …

So are the gradients of kernels of single channels: else both images pass by once for every tap.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from itertools import product
from math import prod

from talweg.loops.nest import Block, Let, Loop, LoopNest, Statement, Var, map_scalars, statements
from talweg.loops.scalar import Scalar
from talweg.schedule.borders import conditions_in, slides
from talweg.schedule.moves import around, parallel_loops, renamed
from talweg.schedule.place import Fresh, Place, names_in, put

SUMS = 25  # that are kept in registers


def inside(nest: LoopNest) -> LoopNest:
    """Move small loops over the elements of windows into the sums of a nest of places."""
    fresh = Fresh(nest)
    return replace(nest, body=tuple(_inside(s, fresh) for s in nest.body))


def _inside(statement: Statement, fresh: Fresh) -> Statement:
    loops, body = parallel_loops((statement,))
    if not loops or not slides(body) or not _is_sum(body):
        return statement
    summed = {s.index for s in statements(body) if isinstance(s, Loop)}
    met = [names_in(condition) for condition in conditions_in(body)]
    taps = [
        loop
        for loop in loops[:-1]
        if _count(loop) and any(loop.index in names and names & summed for names in met)
    ]
    counts = [_count(loop) for loop in taps]
    if not taps or prod(counts) > SUMS:
        return statement
    copies = [_copy(body, taps, numbers, fresh) for numbers in product(*map(range, counts))]
    (made,) = around([loop for loop in loops if loop not in taps], _together(copies))
    return made


def _is_sum(body: Block) -> bool:
    """Whether there is one reduction, of loops that stand alone in each other."""
    found = [s for s in body if isinstance(s, Loop)]
    inner: Block = tuple(found)
    while len(inner) == 1 and isinstance(inner[0], Loop):
        if inner[0].order != "reduction":
            return False
        inner = inner[0].body
    return len(found) == 1 and not any(isinstance(s, Loop) for s in inner)


def _count(loop: Loop) -> int:
    return (isinstance(loop.extent, Place) and loop.extent.number) or 0


def _copy(body: Block, taps: Sequence[Loop], numbers: Sequence[int], fresh: Fresh) -> Block:
    """The sum of one element, with names of its own."""
    for loop, number in zip(taps, numbers, strict=True):
        assert isinstance(loop.extent, Place)
        place = loop.extent.table.place({(): number} if number else {})
        body = map_scalars(body, partial(_put, index=loop.index, place=place))
    bound = {s.name: fresh.name(s.name + "_") for s in statements(body) if isinstance(s, Let | Var)}
    return renamed(body, bound)


def _put(value: Scalar, index: str, place: Place) -> Scalar:
    return put(value, index, place)


def _together(copies: Sequence[Block]) -> Block:
    """Copies of one block, their loops as one."""
    at = next((n for n, s in enumerate(copies[0]) if isinstance(s, Loop)), None)
    if at is None:
        return tuple(s for copy in copies for s in copy)
    loops = [loop for copy in copies if isinstance(loop := copy[at], Loop)]
    joined = replace(loops[0], body=_together([loop.body for loop in loops]))
    before = (s for copy in copies for s in copy[:at])
    behind = (s for copy in copies for s in copy[at + 1 :])
    return (*before, joined, *behind)
