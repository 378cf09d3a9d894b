"""Copies of pairs of bfloat16: lines along the depth, and matrices of left rows."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import final

from talweg.base import dtypes
from talweg.codegen.contraction.matrix import SIDE
from talweg.codegen.contraction.memory import Piece, at, present, store_vector
from talweg.codegen.lanes import Lanes, bits_of, resize, smaller, where
from talweg.codegen.llvm import Body
from talweg.codegen.repeat import repeat
from talweg.codegen.transpose import write_turned
from talweg.codegen.values import Value
from talweg.loops.scalar import Scalar
from talweg.schedule.contraction import Contraction, recognise
from talweg.schedule.contraction_tiles import Tiles


def factors(contraction: Contraction, tiles: Tiles) -> Contraction:
    """Return the contraction before its factors were paired: float32s that are bfloat16s."""
    found = recognise(contraction.source, replace(tiles.order, paired=False))
    assert found is not None
    return found


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
    mask = scope.mask = scope.alive = present(count, 0, 2 * SIDE)
    found = where(mask, scope.wide(scope.value(factor)).single, 0.0)
    bits = resize(bits_of(found).shift_logical(16), "i16")
    writer.do(f"store {bits.type} {bits.name}, ptr {target}, align 4")
    scope.mask = scope.alive = None
    scope.lanes, scope.names = outer, names


@final
class LeftMatrices:
    """Writes the copy of the left rows of a tile: at every 16 pairs two matrices of 16 rows.

    Args:
        body, contraction, tiles: the function, and what is written.
        rows: how many rows there are.
        bind_row, bind_rows: give the indices of the rows their values: in one row of a tile, or
            in all.
    """

    def __init__(
        self,
        body: Body,
        contraction: Contraction,
        tiles: Tiles,
        rows: Lanes,
        bind_row: Callable[[Lanes, Lanes], None],
        bind_rows: Callable[[Lanes], None],
    ) -> None:
        self.body, self.contraction, self.tiles, self.rows = body, contraction, tiles, rows
        self.bind_row, self.bind_rows = bind_row, bind_rows
        self.writer, self.inner = body.writer, contraction.depth[-1].index

    def write(self, base: str, first: Lanes, piece: Piece) -> None:
        """Write the copy of a piece of the depth, which has one step.

        Args:
            base: where it goes.
            first: row of the tile.
            piece: of the depth.
        """
        if self.tiles.left == "depth":
            self._by_depth(base, first, piece)
        else:
            self._by_rows(base, first, piece)

    def _by_depth(self, base: str, first: Lanes, piece: Piece) -> None:
        plain = factors(self.contraction, self.tiles)

        def row(r: Lanes, _: list[Lanes]) -> Sequence[Lanes]:
            self.bind_row(r, first)

            def line(k: Lanes, _: list[Lanes]) -> Sequence[Lanes]:
                target = at(self.writer, "i32", base, k * self.tiles.rows + r * SIDE)
                copy_line(self.body, plain, plain.left, piece.start + k, target)
                return []

            repeat(piece.inner, [], line, step=SIDE)
            return []

        repeat(smaller(self.rows - first, self.tiles.rows), [], row)

    def _by_rows(self, base: str, first: Lanes, piece: Piece) -> None:
        scope, height, writer = self.body.scope, self.tiles.rows, self.writer
        room = writer.room(f"[{SIDE * height} x i32]")
        mask = present(self.rows - first, 0, height)
        axes = self.contraction.rows
        if len(axes) == 1:
            scope.names[axes[0].index] = Value(dtypes.int64, (first,), 1)
        else:
            self.bind_rows(first)

        def square(k: Lanes, _: list[Lanes]) -> Sequence[Lanes]:
            def one(j: Lanes, _: list[Lanes]) -> Sequence[Lanes]:
                scope.lanes = height
                scope.mask = scope.alive = mask
                scope.names[self.inner] = Value(dtypes.int64, (piece.start + k + j,))
                found = scope.wide(scope.value(self.contraction.left)).single
                store_vector(found, at(writer, "i32", room, j * height))
                scope.mask = scope.alive = None
                scope.lanes = 1
                return []

            repeat(smaller(piece.inner - k, SIDE), [], one)
            for half in range(0, height, SIDE):
                source = at(writer, "i32", room, half)
                target = at(writer, "i32", base, k * height + half * SIDE)
                write_turned(writer, "float", SIDE, source, target, step=height, apart=SIDE)
            return []

        repeat(piece.inner, [], square, step=SIDE)
