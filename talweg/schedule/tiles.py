"""Tiles: transposed copies go through squares of registers.

Where results stand along one index and operands along another,

    for i in parallel(I):                for p in parallel(squares along i):
        for j in parallel(J):                for q in parallel(squares along j):
            out[i * J + j] = x[j * I + i]        for i in parallel(rows of the square):
                                                     for j in parallel(columns):
                                                         …

and the code generator reads the operands of a square along i, transposes them in registers, and
has rows along j. Every line of memory is then read and written once.
"""

from __future__ import annotations

import functools
from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import TypeAlias, final

from talweg.base import dtypes
from talweg.base.dtypes import DType
from talweg.base.frozen import frozen
from talweg.loops.nest import Block, Let, Loop, LoopNest, Statement, Store, expressions, map_scalars
from talweg.loops.scalar import Index, Load, Scalar, Select, call, constant
from talweg.schedule.moves import parallel_loops
from talweg.schedule.place import Fresh, Place, children, names_in, put, settled, walk
from talweg.schedule.target import Target


@final
@frozen
class Square:
    """Loops that are transposed in registers.

    Args:
        columns: the index of the inner loop.
        size: the largest extent of both.
        read: the loop whose next iteration is fetched meanwhile, as it is read.
        written: the loop for which lines of results are fetched, that it will write.
        ahead: so many iterations before.
    """

    columns: str
    size: int
    read: str
    written: str
    ahead: int = 1


Squares: TypeAlias = dict[str, Square]
"""The squares of a nest, by the index of their rows."""

AHEAD = 8  # iterations before short pieces of a row are written
BLOCK = 8  # squares along each side of a block: few pages of memory, each used for long
NEAR = 4  # steps from one element to the next that are not worth a square


def tiled(nest: LoopNest, target: Target) -> tuple[LoopNest, Squares]:
    """Cut nests of parallel loops into squares where that makes reads contiguous."""
    squares: Squares = {}
    fresh = Fresh(nest)
    body = tuple(_tiled(statement, target, fresh, squares) for statement in nest.body)
    return replace(nest, body=body), squares


def _tiled(statement: Statement, target: Target, fresh: Fresh, squares: Squares) -> Statement:
    loops, body = parallel_loops((statement,))
    if any(names_in(loop.extent) for loop in loops):
        return statement
    if len(loops) < 2 or not all(isinstance(s, Let | Store) for s in body):
        return statement
    types = _types(body)
    lanes = target.vector_bytes // max((max(4, t.bits // 8) for t in types), default=4)
    masked = all(target.masks(t.bits) for t in types)
    long = [loop for loop in loops if not _is_short(loop, lanes)]
    columns = _contiguous(long, body)
    rows = None if columns is None else _across(long, body, columns)
    if rows is None or columns is None or lanes < 2 or not masked:
        return statement
    if any(t.is_complex for t in types):
        return statement
    return _square(loops, rows, columns, body, lanes, fresh, squares)


def _is_short(loop: Loop, lanes: int) -> bool:
    """Whether a loop surely leaves most of a square empty."""
    count = loop.extent.number if isinstance(loop.extent, Place) else None
    return count is not None and 2 * count <= lanes


def _types(body: Block) -> set[DType]:
    """The dtypes of what is read, computed and written."""
    found = {s.value.dtype for s in body if isinstance(s, Store)}
    for statement in body:
        for value in expressions(statement):
            found |= {p.dtype for p in walk(value) if isinstance(p, Load) or p.dtype.is_inexact}
    return found


def _contiguous(loops: Sequence[Loop], body: Block) -> Loop | None:
    """The loop along which all results stand."""
    places = [s.indices[0] for s in body if isinstance(s, Store) and s.indices]
    for loop in loops:
        if places and all(_step(place, loop.index) == 1 for place in places):
            return loop
    return None


def _across(loops: Sequence[Loop], body: Block, columns: Loop) -> Loop | None:
    """The loop along which operands stand that are far apart along the columns."""
    for loop in reversed(loops):
        if loop is columns:
            continue
        if any(is_across(load, loop.index, columns.index) for load in loads(body)):
            return loop
    return None


def is_across(load: Load, rows: str, columns: str) -> bool:
    """Whether elements are neighbours along the rows' index and far apart along the columns'."""
    if not load.indices or _step(load.indices[0], rows) != 1:
        return False
    place = load.indices[0]
    assert isinstance(place, Place)
    step = place.factor(columns)
    return step is not None and (step.number is None or step.number > NEAR)


def _step(place: Scalar, index: str) -> int | None:
    """How far an index moves a place; None where that is not a number."""
    assert isinstance(place, Place)
    factor = place.factor(index)
    return None if factor is None else factor.number


def loads(body: Block) -> list[Load]:
    """Return the loads of a block that happen in any case: those of no branch of a Select."""
    return [load for s in body for value in expressions(s) for load in _sure(value)]


def _sure(value: Scalar) -> Iterator[Load]:
    if isinstance(value, Load):
        yield value
    for part in (value.condition,) if isinstance(value, Select) else children(value):
        yield from _sure(part)


def _square(
    loops: Sequence[Loop],
    rows: Loop,
    columns: Loop,
    body: Block,
    lanes: int,
    fresh: Fresh,
    squares: Squares,
) -> Statement:
    others = [loop for loop in loops if loop is not rows and loop is not columns]
    run = [loop for loop in others if _follows(loop, columns, body, lanes)]
    outer = [loop for loop in others if loop not in run]
    blocks: list[Loop] = []
    middle: list[Loop] = []
    inner: list[Loop] = []
    for loop in (rows, columns):
        extent = loop.extent
        assert isinstance(extent, Place)
        table = extent.table
        block, at, index = (fresh.name(stem) for stem in "pqr")
        first = settled(Index(block), table).times(table.place({(): lanes * BLOCK}))
        start = first.plus(settled(Index(at), table).times(table.place({(): lanes})))
        place = start.plus(settled(Index(index), table))
        body = map_scalars(body, functools.partial(put, index=loop.index, new=place))
        blocks.append(Loop(block, _pieces(extent, lanes * BLOCK), "parallel", ()))
        squares_left = call("minimum", _number(BLOCK), _pieces(extent.plus(first, -1), lanes))
        middle.append(Loop(at, settled(squares_left, table), "parallel", ()))
        left = call("minimum", _number(lanes), extent.plus(start, -1))
        inner.append(Loop(index, settled(left, table), "parallel", ()))
    read = middle[0].index
    square = Square(inner[1].index, lanes, read, middle[1].index)
    for loop in run:
        block, index = fresh.name("p"), fresh.name("r")
        extent = loop.extent
        assert isinstance(extent, Place)
        first = settled(Index(block), extent.table).times(extent.table.place({(): lanes}))
        place = first.plus(settled(Index(index), extent.table))
        body = map_scalars(body, functools.partial(put, index=loop.index, new=place))
        outer.append(Loop(block, _pieces(extent, lanes), "parallel", ()))
        left = call("minimum", _number(lanes), extent.plus(first, -1))
        middle.insert(1, Loop(index, settled(left, extent.table), "parallel", ()))
        square = Square(inner[1].index, lanes, read, index, AHEAD)
    squares[inner[0].index] = square
    for loop in reversed((*outer, *blocks, *middle, *inner)):
        body = (replace(loop, body=body),)
    return body[0]


def _follows(loop: Loop, columns: Loop, body: Block, lanes: int) -> bool:
    """Whether results of an iteration stand right behind those of the one before it, and are few.

    Some iterations then run inside a block, one after the other: kernels, say, are written in runs
    of many taps, not of one.
    """
    extent = columns.extent
    if not isinstance(extent, Place) or extent.number is None or extent.number > lanes:
        return False
    places = [s.indices[0] for s in body if isinstance(s, Store)]
    return all(isinstance(p, Place) and p.factor(loop.index) == extent for p in places)


def _pieces(extent: Place, size: int) -> Place:
    """How many pieces of a size cover an extent."""
    rounded = extent.plus(extent.table.place({(): size - 1}))
    return settled(call("floordiv", rounded, _number(size)), extent.table)


def _number(value: int) -> Scalar:
    return constant(value, dtypes.int64)
