"""Copies of pairs of bfloat16: lines along the depth, and left rows."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import reduce
from typing import final

from talweg.base import dtypes
from talweg.codegen.contraction.matrix import SIDE
from talweg.codegen.contraction.memory import (
    Piece,
    at,
    each_step,
    number,
    present,
    step_of,
    store_vector,
)
from talweg.codegen.contraction.numbers import Numbers
from talweg.codegen.hoist import hoist
from talweg.codegen.lanes import (
    Lanes,
    bits_of,
    constant,
    resize,
    smaller,
    splat,
    where,
    where_pointer,
)
from talweg.codegen.llvm import Body
from talweg.codegen.memory import load_row, pointer
from talweg.codegen.repeat import perhaps, repeat
from talweg.codegen.transpose import write_turned
from talweg.codegen.values import Value
from talweg.loops.nest import Let
from talweg.loops.scalar import Cast, Constant, Load, Scalar, Select
from talweg.schedule.contraction import Contraction, recognise
from talweg.schedule.contraction_places import Read, is_even, step
from talweg.schedule.contraction_tiles import Tiles, used_in


def factors(contraction: Contraction, tiles: Tiles) -> Contraction:
    """Return the contraction before its factors were paired: float32s that are bfloat16s."""
    found = recognise(contraction.source, replace(tiles.order, paired=False))
    assert found is not None
    return found


def stored(factor: Scalar, index: str) -> Read | None:
    """Return the elements of memory that a factor is, if they are neighbours along an index."""
    conditions: tuple[Scalar, ...] = ()
    value = factor
    while isinstance(value, Select | Cast):
        if isinstance(value, Select):
            other = value.otherwise
            if not isinstance(other, Constant) or float(other.text) != 0.0:
                return None
            conditions = (*conditions, value.condition)
        elif value.operand.dtype is not dtypes.bfloat16:
            return None
        value = value.then if isinstance(value, Select) else value.operand
    if not isinstance(value, Load) or value.dtype is not dtypes.bfloat16 or not value.indices:
        return None
    fits = step(value, index) == 1 and index not in used_in(conditions)
    return Read(value, conditions) if fits else None


def pairs_across(body: Body, plain: Contraction, read: Read, count: Lanes, pair: Lanes) -> Lanes:
    """Return a pair of the depth in 32 neighbouring rows or columns; 0 in those beyond them.

    Args:
        body: the function, in which all indices but that of the inner depth have values.
        plain: the contraction before its factors were paired.
        read: what `stored` says of its left or right one.
        count: how many rows or columns there are.
        pair: of the inner depth.
    """
    scope, axis, writer, lanes = body.scope, plain.depth[-1], body.writer, 2 * SIDE
    names, outer, scope.lanes = scope.names, scope.lanes, lanes
    extent, there = scope.value(axis.extent).single, present(count, 0, lanes)
    halves = []
    for place in (pair * 2, pair * 2 + 1):
        scope.names = names | {axis.index: Value(dtypes.int64, (place,))}
        mask = there & splat(_met(body, read) & (place < extent), lanes)
        bits = load_row(writer, "i16", lanes, _place(body, read), mask)
        halves.append(resize(bits, "i32", signed=False))
    scope.lanes, scope.names = outer, names
    return halves[0] | (halves[1] << 16)


def _met(body: Body, read: Read) -> Lanes:
    """Whether the conditions of an element hold."""
    holds = [body.scope.value(condition).single for condition in read.conditions]
    return reduce(lambda a, b: a & b, holds, constant(body.writer, 1, "i1", 1))


def _place(body: Body, read: Read) -> str:
    """Where an element is."""
    scope = body.scope
    array, offset = scope.element(scope.arrays[read.load.buffer], read.load.indices)
    return pointer(body.writer, array, offset.single)


def copy_line(body: Body, plain: Contraction, factor: Scalar, start: Lanes, target: str) -> None:
    """Write a copy of 16 pairs that are neighbours along the depth; those beyond it are zeros.

    Args:
        body: the function, in which all other indices have values.
        plain: the contraction before its factors were paired.
        factor: its left or right one.
        start: the first pair.
        target: where it goes.
    """
    scope, axis, writer = body.scope, plain.depth[-1], body.writer
    first = start * 2
    outer, names = scope.lanes, scope.names
    count = scope.value(axis.extent).single - first
    scope.names = names | {axis.index: Value(dtypes.int64, (first,), 1)}
    scope.lanes = 2 * SIDE
    read = stored(factor, axis.index)
    if read is None:
        mask = scope.mask = scope.alive = present(count, 0, 2 * SIDE)
        found = where(mask, scope.wide(scope.value(factor)).single, 0.0)
        bits = resize(bits_of(found).shift_logical(16), "i16")
    else:
        count = where(_met(body, read), count, 0)
        bits = load_row(writer, "i16", 2 * SIDE, _place(body, read), present(count, 0, 2 * SIDE))
    writer.do(f"store {bits.type} {bits.name}, ptr {target}, align 4")
    scope.mask = scope.alive = None
    scope.lanes, scope.names = outer, names


@final
class LeftMatrices:
    """Writes the copy of the left rows of a tile, in which the steps of a piece follow each other.

    Args:
        body, numbers, contraction, tiles: the function, and what is written.
        bind_row, bind_rows: give the indices of the rows their values: in one row of a tile, or
            in all.
    """

    def __init__(
        self,
        body: Body,
        numbers: Numbers,
        contraction: Contraction,
        tiles: Tiles,
        bind_row: Callable[[Lanes, Lanes], None],
        bind_rows: Callable[[Lanes], None],
    ) -> None:
        self.body, self.numbers, self.contraction, self.tiles = body, numbers, contraction, tiles
        self.bind_row, self.bind_rows = bind_row, bind_rows
        self.writer, self.inner = body.writer, contraction.depth[-1].index

    def rows(self, base: str, first: Lanes, piece: Piece) -> tuple[str, Lanes]:
        """Write the copy, or leave rows where they are; return the first, and bytes to the next.

        Args:
            base: where a copy goes.
            first: row of the tile.
            piece: of the depth.
        """
        apart = self.numbers["apart"] * 4
        if self.tiles.left != "depth":
            self._by_rows(base, first, piece)
            return base, apart
        plain = factors(self.contraction, self.tiles)
        read = self._even(plain)
        if read is None:
            self._by_depth(plain, base, first, piece)
            return base, apart
        scope, axis = self.body.scope, plain.depth[-1]
        known = {plain.rows[0].index: first, axis.index: piece.start * 2}
        names = scope.names
        scope.names = names | {i: Value(dtypes.int64, (v,)) for i, v in known.items()}
        place = scope.value(read.load.indices[0]).single
        memory = at(self.writer, "i16", scope.arrays[read.load.buffer].pointer, place)
        scope.names = names
        far = step_of(self.body, read.place, plain.rows[0]) * 2
        bits = Lanes(self.writer, self.writer.emit(f"ptrtoint ptr {memory} to i64"), "i64", 1)
        even = ((bits | far) & (4 * SIDE - 1)) | (scope.value(axis.extent).single & 1)
        there = even.equals(0) & (first + self.tiles.rows <= self.numbers["rows"])

        def copy(_: list[Lanes]) -> Sequence[Lanes]:
            self._by_depth(plain, base, first, piece)
            return []

        perhaps(~there, [], copy)
        return where_pointer(there, memory, base), where(there, far, apart)

    @staticmethod
    def _even(plain: Contraction) -> Read | None:
        """The elements of rows that are as far from each other in all of a tile, if they are."""
        if len(plain.depth) > 1 or len(plain.rows) > 1:
            return None
        read = stored(plain.left, plain.depth[-1].index)
        return read if read and not read.conditions and is_even(read.place) else None

    def _hoist(self, factor: Scalar, lanes: int) -> None:
        """Compute what a factor has of all indices but that of the inner depth."""
        scope = self.body.scope
        outer, scope.lanes = scope.lanes, lanes
        scope.names.pop(self.inner, None)
        hoist(scope, (Let("copied", factor),), None)
        scope.lanes = outer

    def _by_depth(self, plain: Contraction, base: str, first: Lanes, piece: Piece) -> None:
        """Lines overlap where a step ends within one: what lies beyond it is written over."""
        apart, names = self.numbers["apart"], self.body.scope.names

        def row(r: Lanes, _: list[Lanes]) -> Sequence[Lanes]:
            self.body.scope.names = dict(names)
            self.bind_row(r, first)
            self._hoist(plain.left, 2 * SIDE)

            def step(n: Lanes) -> None:
                start = r * apart + n * piece.inner
                self._hoist(plain.left, 2 * SIDE)
                self._lines(plain, at(self.writer, "i32", base, start), piece)

            each_step(self.body, plain.depth[:-1], piece.step, piece.steps, step)
            return []

        rows = self.numbers["rows"] - first
        repeat(smaller(rows, self.tiles.rows), [], row)
        self.body.scope.names = names

    def _lines(self, plain: Contraction, target: str, piece: Piece) -> None:
        """Copy what a row has of a step: whole lines without a look at how long it is."""
        writer, scope, axis = self.writer, self.body.scope, plain.depth[-1]
        read, whole = stored(plain.left, axis.index), number(writer, 0)
        if read is not None:
            names, scope.names = scope.names, dict(scope.names)
            scope.names[axis.index] = Value(dtypes.int64, (piece.start * 2,), 1)
            mask, source = splat(_met(self.body, read), 2 * SIDE), _place(self.body, read)
            scope.names = names
            left = scope.value(axis.extent).single - piece.start * 2
            whole = smaller(left, piece.inner * 2).shift_logical(5) * SIDE

            def full(k: Lanes, _: list[Lanes]) -> Sequence[Lanes]:
                bits = load_row(writer, "i16", 2 * SIDE, at(writer, "i32", source, k), mask)
                to = at(writer, "i32", target, k)
                writer.do(f"store {bits.type} {bits.name}, ptr {to}, align 4")
                return []

            repeat(whole, [], full, step=SIDE)

        def line(k: Lanes, _: list[Lanes]) -> Sequence[Lanes]:
            to = at(writer, "i32", target, k)
            copy_line(self.body, plain, plain.left, piece.start + k, to)
            return []

        repeat(piece.inner, [], line, whole, SIDE)

    def _by_rows(self, base: str, first: Lanes, piece: Piece) -> None:
        scope, height, writer = self.body.scope, self.tiles.rows, self.writer
        room = writer.room(f"[{SIDE * height} x i32]")
        mask = present(self.numbers["rows"] - first, 0, height)
        axes, factor, apart = self.contraction.rows, self.contraction.left, self.numbers["apart"]
        plain, count = factors(self.contraction, self.tiles), self.numbers["rows"] - first
        read = stored(plain.left, axes[0].index) if len(axes) == 1 else None
        factor = factor if read is None else plain.left
        last = piece.steps * piece.inner - 1
        if len(axes) == 1:
            scope.names[axes[0].index] = Value(dtypes.int64, (first,), 1)
        else:
            self.bind_rows(first)

        def turn(place: Lanes) -> None:
            for half in range(0, height, SIDE):
                source = at(writer, "i32", room, half)
                target = at(writer, "i32", base, apart * half + (place & -SIDE))
                write_turned(writer, "float", SIDE, source, target, step=height, apart=apart)

        def step(n: Lanes) -> None:
            scope.mask = scope.alive = mask
            self._hoist(factor, height)
            scope.mask = scope.alive = None
            names = scope.names

            def one(k: Lanes, _: list[Lanes]) -> Sequence[Lanes]:
                place = n * piece.inner + k
                scope.lanes = height
                scope.mask = scope.alive = mask
                scope.names = names | {self.inner: Value(dtypes.int64, (piece.start + k,))}
                if read is not None:
                    found = pairs_across(self.body, plain, read, count, piece.start + k)
                else:
                    found = scope.wide(scope.value(factor)).single
                store_vector(found, at(writer, "i32", room, (place & (SIDE - 1)) * height))
                scope.mask = scope.alive = None
                scope.lanes, scope.names = 1, names
                full = (place & (SIDE - 1)).equals(SIDE - 1) | place.equals(last)

                def square(_: list[Lanes]) -> Sequence[Lanes]:
                    turn(place)
                    return []

                perhaps(full, [], square)
                return []

            repeat(piece.inner, [], one)

        each_step(self.body, self.contraction.depth[:-1], piece.step, piece.steps, step)
