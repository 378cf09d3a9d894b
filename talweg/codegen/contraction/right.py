"""Where the right operand is read in place under conditions: the table of a panel."""

from __future__ import annotations

from functools import reduce
from typing import final

from talweg.codegen.contraction.left import LeftRows
from talweg.codegen.contraction.memory import Piece, at, kept_steps, moved
from talweg.codegen.lanes import Lanes, resize
from talweg.codegen.llvm import Body
from talweg.schedule.contraction_places import read_of
from talweg.schedule.contraction_work import Tile


@final
class RightTable:
    """Fills the table of the steps, or elements, of the depth at which the conditions hold.

    What the conditions exclude is not multiplied at all.
    """

    def __init__(self, body: Body, left: LeftRows, tile: Tile) -> None:
        self.body, self.left, self.tile = body, left, tile
        self.contraction, self.writer = left.contraction, body.writer

    def fill(self, piece: Piece) -> dict[str, Lanes | str]:
        """Write the table of a piece; return it and its length. The panel's indices have values."""
        each, axes = self.tile.table == "each", self.contraction.depth
        read = read_of(self.contraction.right)
        assert read is not None
        conditions = read.conditions
        inner = self.left.numbers["inner"]
        first, count = piece.step, piece.steps
        if each:
            first, count = first * inner + piece.start, count * piece.inner
        else:
            axes = axes[:-1]

        def entry(kept: Lanes) -> Lanes:
            meets = [self.body.scope.value(c).single for c in conditions]
            places = self.left.place(piece if each else None), moved(self.body, read.place, axes)
            for n, value in enumerate(places):
                slot = at(self.writer, "i64", self.left.places["table"], kept * 2 + n)
                self.writer.do(f"store i64 {value.name}, ptr {slot}")
            return kept + resize(reduce(lambda a, b: a & b, meets), "i64")

        entries = kept_steps(self.body, axes, first, count, entry)
        return {"table": self.left.places["table"], "entries": entries}
