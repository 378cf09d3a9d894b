"""Copies of pairs of bfloat16: lines along the depth, and left rows."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import reduce
from typing import final

from talweg.base import dtypes
from talweg.codegen.contraction.matrix import SIDE
from talweg.codegen.contraction.memory import Piece, at, each_step, present, step_of, store_vector
from talweg.codegen.contraction.numbers import Numbers
from talweg.codegen.hoist import hoist
from talweg.codegen.lanes import Lanes, bits_of, resize, smaller, where, where_pointer
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


def _stored(factor: Scalar, index: str) -> Read | None:
    """The elements of memory that a factor is, if they are neighbours along an index."""
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
    read = _stored(factor, axis.index)
    if read is None:
        mask = scope.mask = scope.alive = present(count, 0, 2 * SIDE)
        found = where(mask, scope.wide(scope.value(factor)).single, 0.0)
        bits = resize(bits_of(found).shift_logical(16), "i16")
    else:
        holds = [scope.value(condition).single for condition in read.conditions]
        if holds:
            count = where(reduce(lambda a, b: a & b, holds), count, 0)
        array, offset = scope.element(scope.arrays[read.load.buffer], read.load.indices)
        place = pointer(writer, array, offset.single)
        bits = load_row(writer, "i16", 2 * SIDE, place, present(count, 0, 2 * SIDE))
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
        whole = (scope.value(axis.extent).single & 1).equals(0)
        there = whole & (first + self.tiles.rows <= self.numbers["rows"])

        def copy(_: list[Lanes]) -> Sequence[Lanes]:
            self._by_depth(plain, base, first, piece)
            return []

        perhaps(~there, [], copy)
        far = step_of(self.body, read.place, plain.rows[0]) * 2
        return where_pointer(there, memory, base), where(there, far, apart)

    @staticmethod
    def _even(plain: Contraction) -> Read | None:
        """The elements of rows that are as far from each other in all of a tile, if they are."""
        if len(plain.depth) > 1 or len(plain.rows) > 1:
            return None
        read = _stored(plain.left, plain.depth[-1].index)
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

                def line(k: Lanes, _: list[Lanes]) -> Sequence[Lanes]:
                    target = at(self.writer, "i32", base, start + k)
                    copy_line(self.body, plain, plain.left, piece.start + k, target)
                    return []

                repeat(piece.inner, [], line, step=SIDE)

            each_step(self.body, plain.depth[:-1], piece.step, piece.steps, step)
            return []

        rows = self.numbers["rows"] - first
        repeat(smaller(rows, self.tiles.rows), [], row)
        self.body.scope.names = names

    def _by_rows(self, base: str, first: Lanes, piece: Piece) -> None:
        scope, height, writer = self.body.scope, self.tiles.rows, self.writer
        room = writer.room(f"[{SIDE * height} x i32]")
        mask = present(self.numbers["rows"] - first, 0, height)
        axes, factor, apart = self.contraction.rows, self.contraction.left, self.numbers["apart"]
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
