"""Packed copies of the right operand: panels in the order in which the micro-kernel reads them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import final

from talweg.base import dtypes
from talweg.codegen.contraction.bfloat import copy_line, factors, pairs_across, stored
from talweg.codegen.contraction.memory import (
    Piece,
    at,
    each_step,
    number,
    present,
    step_of,
    store_vector,
)
from talweg.codegen.contraction.micro import Micro
from talweg.codegen.hoist import hoist
from talweg.codegen.lanes import Lanes, larger, smaller, type_of
from talweg.codegen.llvm import Body
from talweg.codegen.repeat import repeat
from talweg.codegen.transpose import write_turned
from talweg.codegen.values import Value
from talweg.loops.nest import Let
from talweg.schedule.contraction import Contraction
from talweg.schedule.contraction_places import Read, is_even, read_of
from talweg.schedule.contraction_tiles import Tiles


@final
class Packing:
    """Writes panels: target[depth, column], as wide as a tile.

    Args:
        body: the function.
        contraction: whose right operand is copied.
        micro: the tile.
        tiles: the schedule; it says what vectors run along while copying.
    """

    def __init__(self, body: Body, contraction: Contraction, micro: Micro, tiles: Tiles) -> None:
        self.body, self.contraction, self.micro = body, contraction, micro
        self.along, self.tiles, self.writer = tiles.right, tiles, body.writer
        self.column, self.inner = contraction.columns[-1].index, contraction.depth[-1].index

    def panel(self, target: str, first: Lanes, columns: Lanes, piece: Piece) -> None:
        """Copy a piece of a panel. The outer columns have values.

        Args:
            target: where the copy goes.
            first: the first inner column.
            columns: how many inner columns there are.
            piece: of the depth.
        """
        each = piece.inner * self.micro.tile.columns

        def step(n: Lanes) -> None:
            self.step(at(self.writer, self.micro.kind, target, n * each), first, columns, piece)

        each_step(self.body, self.contraction.depth[:-1], piece.step, piece.steps, step)

    def step(self, target: str, first: Lanes, columns: Lanes, piece: Piece) -> None:
        """Copy what one step of the outer depth, whose indices have values, has of a panel."""
        if self.along == "depth":
            self._by_depth(target, first, columns, piece)
        else:
            self._by_columns(target, first, columns, piece)

    def _by_columns(self, target: str, first: Lanes, columns: Lanes, piece: Piece) -> None:
        copy = self._columns(first, columns)

        def row(k: Lanes, _: list[Lanes]) -> Sequence[Lanes]:
            copy(target, k * self.micro.tile.columns, piece.start + k)
            return []

        repeat(piece.inner, [], row)

    def rows(self, target: str, panels: Lanes, apart: Lanes, columns: Lanes, piece: Piece) -> None:
        """Copy elements of the inner depth for all panels, so that memory is read in its order.

        Args:
            target: where the first panel has what begins the piece.
            panels: how many there are, of columns of one axis.
            apart: elements from one panel to the next.
            columns: how many columns there are.
            piece: of the depth; the indices of the outer one have values.
        """
        width = self.micro.tile.columns

        def panel(n: Lanes, _: list[Lanes]) -> Sequence[Lanes]:
            copy = self._columns(n * width, columns)

            def row(k: Lanes, _: list[Lanes]) -> Sequence[Lanes]:
                copy(target, n * apart + k * width, piece.start + k)
                return []

            repeat(piece.inner, [], row)
            return []

        repeat(panels, [], panel)

    def _columns(self, first: Lanes, columns: Lanes) -> Callable[[str, Lanes, Lanes], None]:
        """Write what is the same for all of the depth; return what copies a row of a panel."""
        scope, tile, kind = self.body.scope, self.micro.tile, self.micro.kind
        outer, lanes, value = scope.names, tile.lanes, self.contraction.right
        plain = factors(self.contraction, self.tiles) if tile.matrix else None
        read = None if plain is None else stored(plain.right, self.column)
        if plain is not None and read is not None:
            return self._pairs(plain, read, first, columns)
        parts: list[tuple[dict[str, Value], Lanes]] = []
        scope.lanes = lanes
        for v in range(tile.vectors):
            scope.names = dict(outer)
            scope.names[self.column] = Value(dtypes.int64, (first + v * lanes,), 1)
            scope.names.pop(self.inner, None)
            hoist(scope, (Let("copied", value),), None)
            parts.append((scope.names, present(columns - first, v * lanes, lanes)))
        scope.lanes, scope.names = 1, outer

        def copy(target: str, place: Lanes, depth: Lanes) -> None:
            names, scope.lanes = scope.names, lanes
            for v, (known, mask) in enumerate(parts):
                scope.names = names | known | {self.inner: Value(dtypes.int64, (depth,))}
                scope.mask = scope.alive = mask
                found = scope.wide(scope.value(value)).single
                store_vector(found, at(self.writer, kind, target, place + v * lanes))
            scope.mask = scope.alive = None
            scope.lanes, scope.names = 1, names

        return copy

    def _pairs(
        self, plain: Contraction, read: Read, first: Lanes, columns: Lanes
    ) -> Callable[[str, Lanes, Lanes], None]:
        """The same for pairs of elements that are neighbours along the columns."""
        scope, outer = self.body.scope, self.body.scope.names
        scope.names = dict(outer)
        scope.names[self.column] = Value(dtypes.int64, (first,), 1)
        scope.names.pop(self.inner, None)
        scope.lanes = self.micro.tile.columns
        hoist(scope, (Let("copied", plain.right),), None)
        known, scope.lanes, scope.names = scope.names, 1, outer

        def copy(target: str, place: Lanes, depth: Lanes) -> None:
            names, scope.names = scope.names, scope.names | known
            found = pairs_across(self.body, plain, read, columns - first, depth)
            store_vector(found, at(self.writer, self.micro.kind, target, place))
            scope.names = names

        return copy

    def _by_depth(self, target: str, first: Lanes, columns: Lanes, piece: Piece) -> None:
        """Copy squares, which are turned in registers.

        The last square begins early, so that it ends with the depth. Of a depth that is shorter
        than a vector the rows beyond it are written first, where the last true one comes to stand.
        """
        scope, tile, kind = self.body.scope, self.micro.tile, self.micro.kind
        lanes, inner = tile.lanes, piece.inner
        last = columns - 1
        mask = present(inner, 0, lanes)

        def group(v: Lanes, _: list[Lanes]) -> Sequence[Lanes]:
            def square(k: Lanes, _: list[Lanes]) -> Sequence[Lanes]:
                begin = larger(smaller(k, inner - lanes), 0)
                column = smaller(first + v, last)
                scope.names[self.inner] = Value(dtypes.int64, (piece.start + begin,))
                given: dict[str, Lanes | int] = {
                    "present": inner,
                    "apart": tile.columns,
                    "last": inner - begin - 1,
                }
                given |= {"lines": last - column + 1}
                to = at(self.writer, kind, target, begin * tile.columns + v)
                source, step = self._lines(column, last, mask)
                write_turned(self.writer, kind, lanes, source, to, step=step, **given)
                return []

            repeat(inner, [], square, step=lanes)
            return []

        repeat(number(self.writer, tile.columns), [], group, step=lanes)

    def _lines(self, first: Lanes, last: Lanes, mask: Lanes) -> tuple[str, Lanes | int]:
        """Where columns stand along the depth, and how far apart: in memory, or in a copy."""
        scope, value, kind = self.body.scope, self.contraction.right, self.micro.kind
        lanes, read = self.micro.tile.lanes, read_of(self.contraction.right)
        if read is not None and not read.conditions and is_even(read.place):
            array = scope.arrays[read.load.buffer]
            if read.load.dtype is self.contraction.dtype:
                scope.names[self.column] = Value(dtypes.int64, (first,))
                place = scope.value(read.load.indices[0]).single
                step = step_of(self.body, read.place, self.contraction.columns[-1])
                return at(self.writer, kind, array.pointer, place), step
        room = self.writer.room(f"[{lanes} x {type_of(kind, lanes)}]")
        outer = scope.names[self.inner].single
        if self.micro.tile.matrix:
            plain = factors(self.contraction, self.tiles)
            for n in range(lanes):
                scope.names[self.column] = Value(dtypes.int64, (smaller(first + n, last),))
                to = at(self.writer, kind, room, n * lanes)
                copy_line(self.body, plain, plain.right, outer, to)
            return room, lanes
        scope.lanes, scope.mask, scope.alive = lanes, mask, mask
        scope.names[self.inner] = Value(dtypes.int64, (outer,), 1)
        for n in range(lanes):
            scope.names[self.column] = Value(dtypes.int64, (smaller(first + n, last),))
            line = scope.wide(scope.value(value)).single
            store_vector(line, at(self.writer, kind, room, n * lanes))
        scope.lanes, scope.mask, scope.alive = 1, None, None
        return room, lanes
