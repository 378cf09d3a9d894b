"""What is done with finished sums: the epilogue, in vectors of neighbouring columns.

Where results are neighbours along the rows, squares of sums are turned in registers before.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import final

from talweg.base import dtypes
from talweg.codegen.contraction.left import LeftRows
from talweg.codegen.contraction.memory import at, number
from talweg.codegen.contraction.numbers import Numbers
from talweg.codegen.elements import kind_of
from talweg.codegen.lanes import Lanes, smaller
from talweg.codegen.llvm import Body
from talweg.codegen.memory import Array
from talweg.codegen.repeat import repeat
from talweg.codegen.transpose import write_turned
from talweg.codegen.values import Value
from talweg.loops.nest import Let, Loop, scalars
from talweg.loops.scalar import Argument, Call, Constant, Index, Load, Scalar, walk
from talweg.schedule.contraction import Axis
from talweg.schedule.contraction_work import Work
from talweg.schedule.vectors import CHEAP, Choice, cost_of

SUMS, SHIFT = "tile_sums", "tile_shift"  # what the epilogue reads sums by


@final
class Sums:
    """Writes the epilogue of tiles.

    Args:
        body, numbers, work: the function and its numbers.
        place: where sums are kept.
        bind_panel: gives the outer columns of a panel their values and returns its first column.
    """

    def __init__(
        self,
        body: Body,
        numbers: Numbers,
        work: Work,
        place: str,
        bind_panel: Callable[[Lanes], Lanes],
    ) -> None:
        self.body, self.numbers, self.work = body, numbers, work
        self.contraction, self.tile = work.contraction, work.tile
        self.place, self.bind_panel = place, bind_panel
        size = Value(dtypes.int64, (numbers["width"],))
        body.scope.arrays[SUMS] = Array(place, self.contraction.dtype, (size,))

    def finish(
        self, left: LeftRows, first_row: Lanes, first: Lanes, end: Lanes, start: Lanes
    ) -> None:
        """Write the loops over the rows of a tile and the columns of some panels.

        Args:
            left: knows the indices of the rows.
            first_row: of the tile.
            first, end: the panels.
            start: where the sum of the first row and column is.
        """
        scope, width, columns = self.body.scope, self.numbers["width"], self.tile.columns
        outer = dict(scope.names)

        def row(r: Lanes, _: list[Lanes]) -> Sequence[Lanes]:
            scope.names = dict(outer)
            left.bind_row(r, first_row)
            here = start + r * width
            if len(self.contraction.columns) == 1:
                last = smaller(end * columns, self.numbers["columns"])
                self._columns(here, first * columns, last)
                return []
            bound = dict(scope.names)

            def panel(n: Lanes, _: list[Lanes]) -> Sequence[Lanes]:
                scope.names = dict(bound)
                column = self.bind_panel(n)
                last = smaller(column + columns, self.numbers["columns"])
                self._columns(here + (n - first) * columns, column, last)
                return []

            repeat(end, [], panel, first)
            return []

        repeat(smaller(self.numbers["rows"] - first_row, self.tile.rows), [], row)
        scope.names = outer

    def finish_turned(
        self, turned: str, first_row: Lanes, end_row: Lanes, first: Lanes, end: Lanes
    ) -> None:
        """Write the loops over some panels, their columns, and the rows of all tiles of an item.

        Args:
            turned: memory for the sums of a panel, column by column.
            first_row, end_row: the rows.
            first, end: the panels.
        """
        scope, columns, lanes = self.body.scope, self.tile.columns, self.tile.lanes
        axis = self.contraction.columns[-1]
        height = (end_row - first_row + (lanes - 1)) & -lanes
        scope.arrays[SUMS] = Array(
            turned, self.contraction.dtype, (Value(dtypes.int64, (height,)),)
        )
        outer = dict(scope.names)

        def panel(n: Lanes, _: list[Lanes]) -> Sequence[Lanes]:
            scope.names = dict(outer)
            first_column = self.bind_panel(n)
            self._turn(turned, (n - first) * columns, height)
            bound = dict(scope.names)

            def column(c: Lanes, _: list[Lanes]) -> Sequence[Lanes]:
                scope.names = dict(bound)
                scope.names[axis.index] = Value(dtypes.int64, (first_column + c,))
                self._along(self.contraction.rows[-1], c * height, first_row, end_row, lanes)
                return []

            repeat(smaller(self.numbers["columns"] - first_column, columns), [], column)
            return []

        repeat(end, [], panel, first)
        scope.names = outer

    def _turn(self, turned: str, start: Lanes, height: Lanes) -> None:
        """Write the sums of a panel column by column."""
        writer, width, lanes = self.body.writer, self.numbers["width"], self.tile.lanes
        kind = kind_of(self.contraction.dtype)

        def rows(row: Lanes, _: list[Lanes]) -> Sequence[Lanes]:
            def square(column: Lanes, _: list[Lanes]) -> Sequence[Lanes]:
                source = at(writer, kind, self.place, start + column + row * width)
                target = at(writer, kind, turned, column * height + row)
                write_turned(writer, kind, lanes, source, target, step=width, apart=height)
                return []

            repeat(number(writer, self.tile.columns), [], square, step=lanes)
            return []

        repeat(height, [], rows, step=lanes)

    def _columns(self, sums: Lanes, first: Lanes, last: Lanes) -> None:
        """Write the epilogue of neighbouring columns whose sums stand from a place on."""
        lanes = self.tile.lanes
        whole = lanes << (self.tile.vectors.bit_length() - 1) if self._is_cheap() else lanes
        self._along(self.contraction.columns[-1], sums, first, last, whole)

    def _along(self, axis: Axis, sums: Lanes, first: Lanes, last: Lanes, whole: int) -> None:
        """Write the epilogue of sums that stand from a place on, in so wide vectors."""
        c = self.contraction
        loop = Loop(
            axis.index,
            axis.extent,
            "parallel",
            (Let(c.state, self._sum(axis, sums - first)), *c.epilogue),
        )
        rest = self.tile.lanes if self.body.writer.target.masks(8) else 1
        self.body.chosen = {axis.index: Choice((whole,), rest)}
        self.body.loop(loop, first, last)

    def _is_cheap(self) -> bool:
        """Whether the epilogue may be written for all vectors of a tile at once."""
        calls = (p for value in scalars(self.contraction.epilogue) for p in walk(value))
        return all(cost_of(c) < CHEAP for c in calls if isinstance(c, Call))

    def _sum(self, axis: Axis, place: Lanes) -> Scalar:
        """The sum at an index that is added to a place."""
        c, splits = self.contraction, self.work.tiles.splits
        apart = self.numbers["tiles"] * self.numbers["width"] * self.tile.rows if splits > 1 else 0
        parts: list[Scalar] = []
        for n in range(splits):
            name = f"{SHIFT}_{n}"
            here = place + apart * n if n else place
            self.body.scope.names[name] = Value(dtypes.int64, (here,))
            index = Index(axis.index) + Argument(name, dtypes.int64)
            parts.append(Load(SUMS, (index,), c.dtype))
        while len(parts) > 1:
            pairs = list(zip(parts[::2], parts[1::2], strict=False))
            parts = [a + b for a, b in pairs] + parts[2 * len(pairs) :]
        if not isinstance(c.initial, Constant) or float(c.initial.text) != 0.0:
            return c.initial + parts[0]
        return parts[0]
