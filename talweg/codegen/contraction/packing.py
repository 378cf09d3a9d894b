"""Packed copies of the right operand: panels in the order in which the micro-kernel reads them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import final

from talweg.base import dtypes
from talweg.codegen.contraction.memory import Piece, at, each_step, number, present, store_vector
from talweg.codegen.contraction.micro import Micro
from talweg.codegen.contraction.transpose import transposed
from talweg.codegen.lanes import Lanes, larger, smaller
from talweg.codegen.llvm import Body
from talweg.codegen.repeat import repeat
from talweg.codegen.values import Value
from talweg.schedule.contraction import Contraction


@final
class Packing:
    """Writes panels: target[depth, column], as wide as a tile.

    Args:
        body: the function.
        contraction: whose right operand is copied.
        micro: the tile.
        along: "columns" or "depth": what vectors run along while copying.
    """

    def __init__(self, body: Body, contraction: Contraction, micro: Micro, along: str) -> None:
        self.body, self.contraction, self.micro = body, contraction, micro
        self.along, self.writer = along, body.writer
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
        scope, tile, kind = self.body.scope, self.micro.tile, self.micro.kind
        lanes = tile.lanes
        masks = [present(columns - first, v * lanes, lanes) for v in range(tile.vectors)]

        def row(k: Lanes, _: list[Lanes]) -> Sequence[Lanes]:
            scope.lanes = lanes
            scope.names[self.inner] = Value(dtypes.int64, (piece.start + k,))
            for v, mask in enumerate(masks):
                scope.names[self.column] = Value(dtypes.int64, (first + v * lanes,), 1)
                scope.mask = scope.alive = mask
                found = scope.wide(scope.value(self.contraction.right)).single
                place = at(self.writer, kind, target, k * tile.columns + v * lanes)
                store_vector(found, place)
            scope.mask = scope.alive = None
            scope.lanes = 1
            return []

        repeat(piece.inner, [], row)

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
                scope.lanes = lanes
                scope.mask = scope.alive = mask
                scope.names[self.inner] = Value(dtypes.int64, (piece.start + begin,), 1)
                rows = []
                for n in range(lanes):
                    column = smaller(first + v + n, last)
                    scope.names[self.column] = Value(dtypes.int64, (column,))
                    rows.append(scope.wide(scope.value(self.contraction.right)).single)
                turned = transposed(rows)
                for n in range(lanes - 1, -1, -1):
                    place = smaller(begin + n, inner - 1) * tile.columns + v
                    store_vector(turned[n], at(self.writer, kind, target, place))
                scope.mask = scope.alive = None
                scope.lanes = 1
                return []

            repeat(inner, [], square, step=lanes)
            return []

        repeat(number(self.writer, tile.columns), [], group, step=lanes)
