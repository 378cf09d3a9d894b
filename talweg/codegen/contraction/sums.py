"""What is done with finished sums: the epilogue, in vectors of neighbouring columns."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import final

from talweg.base import dtypes
from talweg.codegen.contraction.left import LeftRows
from talweg.codegen.contraction.numbers import Numbers
from talweg.codegen.lanes import Lanes, smaller
from talweg.codegen.llvm import Body
from talweg.codegen.memory import Array
from talweg.codegen.repeat import repeat
from talweg.codegen.values import Value
from talweg.loops.nest import Let, Loop, scalars
from talweg.loops.scalar import Argument, Call, Constant, Index, Load, Scalar, walk
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
        self.bind_panel = bind_panel
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

    def _columns(self, sums: Lanes, first: Lanes, last: Lanes) -> None:
        """Write the epilogue of neighbouring columns whose sums stand from a place on."""
        c = self.contraction
        axis = c.columns[-1]
        loop = Loop(
            axis.index,
            axis.extent,
            "parallel",
            (Let(c.state, self._sum(sums - first)), *c.epilogue),
        )
        lanes = self.tile.lanes
        whole = lanes << (self.tile.vectors.bit_length() - 1) if self._is_cheap() else lanes
        rest = lanes if self.body.writer.target.masks(8) else 1
        self.body.chosen = {axis.index: Choice((whole,), rest)}
        self.body.loop(loop, first, last)

    def _is_cheap(self) -> bool:
        """Whether the epilogue may be written for all vectors of a tile at once."""
        calls = (p for value in scalars(self.contraction.epilogue) for p in walk(value))
        return all(cost_of(c) < CHEAP for c in calls if isinstance(c, Call))

    def _sum(self, place: Lanes) -> Scalar:
        """The sum of one column, whose index is added to a place."""
        c, splits = self.contraction, self.work.tiles.splits
        apart = self.numbers["tiles"] * self.numbers["width"] * self.tile.rows if splits > 1 else 0
        parts: list[Scalar] = []
        for n in range(splits):
            name = f"{SHIFT}_{n}"
            here = place + apart * n if n else place
            self.body.scope.names[name] = Value(dtypes.int64, (here,))
            column = Index(c.columns[-1].index) + Argument(name, dtypes.int64)
            parts.append(Load(SUMS, (column,), c.dtype))
        while len(parts) > 1:
            pairs = list(zip(parts[::2], parts[1::2], strict=False))
            parts = [a + b for a, b in pairs] + parts[2 * len(pairs) :]
        if not isinstance(c.initial, Constant) or float(c.initial.text) != 0.0:
            return c.initial + parts[0]
        return parts[0]
