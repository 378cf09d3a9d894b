"""Reductions that are cut into chunks, so that all threads take part.

Where few results come from many elements, each reduction becomes two stages:

    for p in parallel(P):                for c in parallel(chunks):
        s = first                            for p in parallel(P):
        for k in reduction(R):                   s = identity
            s.combine(f(p, k))                   for k in reduction(part of R):
        rest                                         s.combine(f(p, k + c * length))
                                                 partial[c, p] = s
                                         for p in parallel(P):
                                             s = first
                                             for c in reduction(chunks):
                                                 s.combine(partial[c, p])
                                             rest

`rest` may hold the next reduction, which is cut in the same way; what it needs of the locals before
is kept in an array with an element for each p. The chunks depend on sizes alone, so results do not
depend on the number of threads.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import final

from talweg.base import dtypes
from talweg.base.dtypes import DType
from talweg.loops.functions import identity
from talweg.loops.nest import (
    Accumulate,
    Allocate,
    Block,
    Buffer,
    Let,
    Loop,
    LoopNest,
    Statement,
    Store,
    Var,
    map_scalars,
    statements,
)
from talweg.loops.scalar import Index, Load, Local, Scalar, call, constant
from talweg.schedule.moves import around, assigned_in, copied, parallel_loops, used_in
from talweg.schedule.place import Fresh, Place, Table, names_in, put, settled, walk

ELEMENTS = 1 << 15  # of a chunk, about
CHUNKS = 64
ROWS = 16  # iterations of a chunk at least


def chunked(nest: LoopNest) -> LoopNest:
    """Cut the reductions of every parallel loop, or of the top level, into chunks."""
    cutting = _Cutting(nest)
    if _reductions(nest.body) and cutting.fits((), nest.body):
        cut = cutting.cut((), nest.body)
        return replace(nest, body=(*cutting.top, *cut))
    body: list[Statement] = []
    for statement in nest.body:
        loops, inner = parallel_loops((statement,))
        if loops and _reductions(inner) and cutting.fits(loops, inner):
            body += cutting.cut(loops, inner)
        else:
            body.append(statement)
    return replace(nest, body=(*cutting.top, *body))


def _reductions(block: Block) -> list[Loop]:
    return [s for s in block if isinstance(s, Loop) and _is_reduction(s)]


def _folds(loop: Loop) -> list[Accumulate]:
    """The folds into variables outside, one for each; none if the loop writes memory."""
    inside = list(statements(loop.body))
    if any(isinstance(s, Store | Allocate) for s in inside):
        return []
    own = {s.name for s in inside if isinstance(s, Var)}
    found: dict[tuple[str, ...], Accumulate] = {}
    for statement in inside:
        if isinstance(statement, Accumulate) and statement.names[0] not in own:
            found.setdefault(statement.names, statement)
    return list(found.values())


@final
class _Cutting:
    """Cuts the reductions of one nest."""

    def __init__(self, nest: LoopNest) -> None:
        self.fresh = Fresh(nest)
        self.top: list[Statement] = []  # sizes of chunks, and the arrays between stages

    def fits(self, loops: Sequence[Loop], body: Block) -> bool:
        """Whether extents are made of arguments, and there is no scratch of one iteration."""
        extents = [loop.extent for loop in (*loops, *_reductions(body))]
        return not any(map(names_in, extents)) and not any(isinstance(s, Allocate) for s in body)

    def cut(self, loops: Sequence[Loop], body: Block) -> Block:
        """Return the stages of a body inside of parallel loops."""
        stages: list[Statement] = []
        here: list[Statement] = []
        for place, statement in enumerate(body):
            if not _is_reduction(statement):
                here.append(statement)
                continue
            assert isinstance(statement, Loop)
            cut = _Cut(self, loops, here, statement, body[place + 1 :])
            stages += cut.stages()
            here = cut.behind()
        return (*stages, *self.nested(loops, here))

    def nested(self, loops: Sequence[Loop], body: Sequence[Statement]) -> Block:
        """A copy of the body inside of the loops, in which all names are new."""
        return copied(around(loops, tuple(body)), self.fresh)

    def array(self, dtype: DType, size: Place) -> str:
        """A new array that all stages see."""
        name = self.fresh.name("e")
        self.top.append(Allocate(Buffer(name, dtype, (size,))))
        return name

    def let(self, value: Scalar, table: Table) -> Place:
        """A name for a size."""
        name = self.fresh.name("z")
        self.top.append(Let(name, value))
        return settled(Local(name, dtypes.int64), table)


@final
class _Cut:
    """One reduction loop of a body.

    Args:
        cutting: the nest.
        loops: parallel loops around the body.
        before: the statements of the stage that stand before the reduction.
        loop: the reduction.
        after: what stands behind it.
    """

    def __init__(
        self,
        cutting: _Cutting,
        loops: Sequence[Loop],
        before: Sequence[Statement],
        loop: Loop,
        after: Block,
    ) -> None:
        assert isinstance(loop.extent, Place)
        self.cutting, self.loops, self.before, self.loop = cutting, loops, before, loop
        table = loop.extent.table
        self.count, self.at = table.place({(): 1}), table.place({})
        for outer in loops:
            assert isinstance(outer.extent, Place)
            self.count = self.count.times(outer.extent)
            index = settled(Index(outer.index), table)
            self.at = self.at.times(outer.extent).plus(index)
        self.folds = _folds(loop)
        self.spilled: list[Statement] = []
        self.again = self._kept({*used_in((loop,)), *used_in(after)})
        self.chunk = settled(Index(cutting.fresh.name("c")), table)
        self._size(loop.extent)
        self.partials = [
            cutting.array(value.dtype, self.chunks.times(self.count))
            for fold in self.folds
            for value in fold.values
        ]

    def _kept(self, used: set[str]) -> list[Statement]:
        """How names that are bound before the reduction are bound again behind it."""
        free: set[str] = {loop.index for loop in self.loops}
        changed = assigned_in(tuple(self.before))
        again: list[Statement] = []
        for statement in self.before:
            if not isinstance(statement, Let | Var) or statement.name not in used:
                continue
            value = statement.value if isinstance(statement, Let) else statement.initial
            reads = any(isinstance(p, Load) for p in walk(value))
            if not reads and statement.name not in changed and names_in(value) <= free:
                free.add(statement.name)
                again.append(statement)
                continue
            array = self.cutting.array(value.dtype, self.count)
            self.spilled.append(Store(array, (self.at,), Local(statement.name, value.dtype)))
            again.append(type(statement)(statement.name, Load(array, (self.at,), value.dtype)))
        return again

    def _size(self, extent: Place) -> None:
        """Say how long chunks are: by the sizes of the loops alone."""
        cutting, table = self.cutting, extent.table
        inner = self.count
        body = self.loop.body
        while len(body) == 1 and isinstance(body[0], Loop) and not names_in(body[0].extent):
            assert isinstance(body[0].extent, Place)
            inner, body = inner.times(body[0].extent), body[0].body
        one = constant(1, dtypes.int64)
        each = call("floordiv", constant(ELEMENTS, dtypes.int64), call("maximum", inner, one))
        few = call("floordiv", extent.plus(table.place({(): CHUNKS - 1})), _number(CHUNKS))
        least = _number(ROWS if body is self.loop.body else 1)
        length = call("maximum", call("maximum", each, few), least)
        self.length = cutting.let(length, table)
        rounded = extent.plus(self.length).plus(table.place({(): -1}))
        self.chunks = cutting.let(call("floordiv", rounded, self.length), table)

    def stages(self) -> list[Statement]:
        """What is before the reduction, if it does anything, and its chunks."""
        before = [*self.before, *self.spilled]
        made: list[Statement] = []
        if any(not isinstance(s, Let | Var) for s in before):
            made += self.cutting.nested(self.loops, before)
        extent = self.loop.extent
        assert isinstance(extent, Place)
        start = self.chunk.times(self.length)
        left = call("minimum", self.length, extent.plus(start, -1))
        index = settled(Index(self.loop.index), extent.table)
        body = map_scalars(
            self.loop.body, lambda value: put(value, self.loop.index, index.plus(start))
        )
        part = replace(self.loop, extent=settled(left, extent.table), body=body)
        stores = [
            Store(array, (self._partial,), Local(name, dtype))
            for array, (name, dtype) in zip(self.partials, self._states, strict=True)
        ]
        chunk = (*self._needed(), part, *stores)
        chunks = Loop(next(iter(self.chunk.names())), self.chunks, "parallel", ())
        return [*made, *self.cutting.nested((chunks, *self.loops), chunk)]

    @property
    def _states(self) -> list[tuple[str, DType]]:
        return [
            (name, value.dtype)
            for fold in self.folds
            for name, value in zip(fold.names, fold.values, strict=True)
        ]

    @property
    def _partial(self) -> Place:
        return self.chunk.times(self.count).plus(self.at)

    def _needed(self) -> Iterator[Statement]:
        """The names that the chunks use; what they fold into begins with what changes nothing."""
        starts = {
            name: constant(first, value.dtype)
            for fold in self.folds
            for name, value, first in zip(
                fold.names, fold.values, identity(fold.combine, fold.values[0].dtype), strict=True
            )
        }
        used = used_in((self.loop,))
        for statement in reversed(self.again):
            if isinstance(statement, Let | Var) and statement.name in used:
                used |= used_in((statement,))
        for statement in self.again:
            assert isinstance(statement, Let | Var)
            if statement.name in starts:
                yield Var(statement.name, starts[statement.name])
            elif statement.name in used:
                yield statement

    def behind(self) -> list[Statement]:
        """How the body goes on: partial results are folded."""
        values = tuple(
            Load(array, (self._partial,), dtype)
            for array, (_, dtype) in zip(self.partials, self._states, strict=True)
        )
        rest = iter(values)
        folding = tuple(
            replace(fold, values=tuple(next(rest) for _ in fold.names)) for fold in self.folds
        )
        index = next(iter(self.chunk.names()))
        return [*self.again, Loop(index, self.chunks, "reduction", folding)]


def _is_reduction(statement: Statement) -> bool:
    return (
        isinstance(statement, Loop) and statement.order == "reduction" and bool(_folds(statement))
    )


def _number(value: int) -> Scalar:
    return constant(value, dtypes.int64)
