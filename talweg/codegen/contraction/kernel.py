"""Contraction -> LLVM IR of stages: panels are packed, tiles are summed, sums become results.

    pack     items: a panel at a step of the outer depth        panel[depth, column] = right
    sum      items: some panels, one tile of rows or several    sums = micro(left rows, panel)
                                                                epilogue of every sum
    finish   items: a tile of rows                              sums of all splits, epilogue

The first stage is missing where the right operand is read in place, or packed by every item for
itself; the last one where the depth is not split. Where the copy is `ready`, the first stage is run
when the operand has changed, and the others as often as there is another left operand.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import TypeAlias, final

from talweg.base import dtypes
from talweg.codegen.contraction.left import LeftRows
from talweg.codegen.contraction.matrix import configure, define_configure, release
from talweg.codegen.contraction.memory import Piece, at, flat, number, over, step_of
from talweg.codegen.contraction.micro import Micro
from talweg.codegen.contraction.numbers import Numbers, Table, bind, digits, text_of
from talweg.codegen.contraction.packing import Packing
from talweg.codegen.contraction.right import RightTable
from talweg.codegen.contraction.sums import Sums
from talweg.codegen.elements import kind_of
from talweg.codegen.lanes import Lanes, larger, resize, smaller, where
from talweg.codegen.llvm import Body
from talweg.codegen.memory import fetch
from talweg.codegen.repeat import repeat
from talweg.codegen.signature import Signature, signature_of, symbol
from talweg.codegen.values import Value
from talweg.codegen.writer import Writer
from talweg.loops.nest import Store
from talweg.loops.scalar import Load
from talweg.schedule.contraction import Contraction
from talweg.schedule.contraction_places import read_of, step
from talweg.schedule.contraction_tiles import Tiles
from talweg.schedule.contraction_work import DEPTH, ROWS, Work
from talweg.schedule.stages import Staged
from talweg.schedule.target import Target

Given: TypeAlias = dict[str, Lanes | str]


def emit(contraction: Contraction, tiles: Tiles, target: Target) -> tuple[str, Signature]:
    """Return the LLVM IR of a contraction, and how its kernel is called."""
    work, writer = Work(contraction, tiles, target), Writer(target)
    table = Table(work)
    name = symbol(contraction.nest)
    micro = Micro(
        f"{name}.micro",
        kind_of(contraction.dtype),
        work.tile,
        not tiles.packed,
        tiles.deep,
        contraction.paired,
        tiles.ready and tiles.near and not work.tile.matrix,
        work.cut is not None and work.cut[1] == "depth",
    )
    if work.tile.matrix:
        define_configure(writer, micro.name)
    micro.define(writer)
    stages = [_Stage.pack] * ("right" in work.shared()) + [_Stage.sum]
    stages += [_Stage.finish] * (tiles.splits > 1)
    for n, write in enumerate(stages):
        head = f"i32 @{name}.{n}(ptr %block, ptr %scratch, i64 %begin, i64 %end)"
        with writer.define(head, tiles.light and not work.tile.matrix):
            write(_Stage(writer, work, micro, table))
            writer.do("ret i32 0")
    sizes, numbers = text_of(work, table, contraction.nest), len(table.slots)
    shared = bool(work.shared())
    signature = signature_of(contraction.nest, len(stages), True, shared, sizes, numbers)
    return writer.text(), signature


@final
class _Stage:
    """Writes the function of one stage."""

    def __init__(self, writer: Writer, work: Work, micro: Micro, table: Table) -> None:
        self.writer, self.work, self.micro = writer, work, micro
        self.contraction, self.tiles, self.tile = work.contraction, work.tiles, work.tile
        staged = Staged(self.contraction.nest, (), (), (), (), {})
        self.body = Body(writer, staged)
        self.body.enter()
        self.scope = self.body.scope
        self.n = Numbers(self.body, table)

    # -- stages

    def pack(self) -> None:
        """Write the stage that copies the right operand."""
        packed = self._shared()["right"]
        packing = Packing(self.body, self.contraction, self.micro, self.tiles)
        zero, one = (number(self.writer, n) for n in (0, 1))

        def rows(place: Lanes) -> None:
            blocks = over(self.n["inner"], ROWS)
            # Taps of kernels share lines: all steps of a block come one after the other.
            copy, block, step = digits(place, [self.n["copies"], blocks, self.n["steps"]])
            self._bind_step(copy, step)
            start = block * ROWS
            piece = Piece(step, one, start, smaller(self.n["inner"] - start, ROWS))
            first = self._panel_place(copy, zero, step) + start * self.tile.columns
            apart = self.n["steps"] * self.n["inner"] * self.tile.columns
            target = at(self.writer, self.micro.kind, packed, first)
            packing.rows(target, self.n["panels"], apart, self.n["columns"], piece)

        def item(place: Lanes) -> None:
            parts = over(self.n["inner"], DEPTH)
            sizes = [self.n["copies"], self.n["panels"], self.n["steps"], parts]
            copy, panel, step, part = digits(place, sizes)
            self._bind_step(copy, step)
            first = self._bind_panel(panel)
            start = part * DEPTH
            piece = Piece(step, one, start, smaller(self.n["inner"] - start, DEPTH))
            place = self._panel_place(copy, panel, step) + start * self.tile.columns
            target = at(self.writer, self.micro.kind, packed, place)
            packing.step(target, first, self.n["columns"], piece)

        self._items(rows if self.work.by_rows else item)

    def _bind_step(self, copy: Lanes, step: Lanes) -> None:
        """Give the indices of the batch and of the outer depth their values."""
        if self.work.batched:
            bind(self.body, self.contraction.batch, copy)
        bind(self.body, self.contraction.depth[:-1], step)

    def sum(self) -> None:
        """Write the stage that multiplies."""
        places = self.n.places("scratch", "%scratch", self.work.scratch())
        shared = self._shared()
        tiles, body = self.tiles, self.body
        packed = places.get("right") if tiles.own else shared.get("right")
        kept = shared["sums"] if tiles.splits > 1 else places["sums"]
        left = LeftRows(
            body, self.n, self.contraction, tiles, self.micro, places, self._right_place
        )
        left.prepare()
        item = _Item(self, left, packed or "", kept, places.get("turned", ""))
        if self.tile.matrix:
            configure(self.writer, self.micro.name)
        self._items(item.write)
        if self.tile.matrix:
            release(self.writer)

    def finish(self) -> None:
        """Write the stage that adds the sums of all splits."""
        places = self.n.places("scratch", "%scratch", self.work.scratch())
        left = LeftRows(
            self.body, self.n, self.contraction, self.tiles, self.micro, places, self._right_place
        )
        sums = Sums(self.body, self.n, self.work, self._shared()["sums"], self._bind_panel)

        def item(place: Lanes) -> None:
            batch, tile = digits(place, [self.n["batch"], self.n["tiles"]])
            bind(self.body, self.contraction.batch, batch)
            row = tile * self.tile.rows
            left.keep_rows(row)
            start = (batch * self.tiles.splits * self.n["tiles"] + tile) * self.tile.rows
            zero = number(self.writer, 0)
            sums.finish(left, row, zero, self.n["panels"], start * self.n["width"])

        self._items(item)

    # -- parts of stages

    def _shared(self) -> dict[str, str]:
        parts = self.work.shared()
        if not parts:
            return {}
        slot = len(self.body.nest.inputs) + len(self.body.nest.outputs)
        base = self.writer.emit(f"load ptr, ptr {at(self.writer, 'i64', '%block', slot)}")
        return self.n.places("shared", base, parts)

    def _items(self, one: Callable[[Lanes], None]) -> None:
        """Write the loop over the items of a ticket."""
        begin, end = (Lanes(self.writer, name, "i64", 1) for name in ("%begin", "%end"))
        names = self.scope.names

        def item(place: Lanes, _: list[Lanes]) -> Sequence[Lanes]:
            self.scope.names = dict(names)
            one(place)
            return []

        repeat(end, [], item, begin)
        self.scope.names = names

    def _bind_panel(self, panel: Lanes) -> Lanes:
        """Give the outer columns of a panel their values; return its first inner column."""
        outer = self.contraction.columns[:-1]
        if not outer:
            return panel * self.tile.columns
        block, place = digits(panel, [self.n["blocks"], self.n["along"]])
        bind(self.body, outer, block)
        return place * self.tile.columns

    def _panel_place(self, copy: Lanes, panel: Lanes, step: Lanes) -> Lanes:
        """Where a step of a panel begins among the copies for all items."""
        panels = copy * self.n["panels"] + panel if self.work.batched else panel
        return (panels * self.n["steps"] + step) * self.n["inner"] * self.tile.columns

    def _right_place(self) -> Lanes:
        """How far the present step of the outer depth moves the right operand."""
        depth = self.contraction.depth[:-1]
        if self.tiles.packed:
            return flat(self.body, depth) * self.n["inner"] * self.tile.columns
        read = read_of(self.contraction.right)
        assert read is not None
        total = number(self.writer, 0)
        for axis in depth:
            index = self.scope.names[axis.index].single
            total = total + step_of(self.body, read.place, axis) * index
        return total


@final
class _Item:
    """Writes one item of the stage that multiplies."""

    def __init__(self, stage: _Stage, left: LeftRows, packed: str, kept: str, turned: str) -> None:
        self.stage, self.left, self.packed, self.kept = stage, left, packed, kept
        self.turned = turned
        self.body, self.n, self.writer = stage.body, stage.n, stage.writer
        self.tiles, self.tile, self.micro = stage.tiles, stage.tile, stage.micro
        self.contraction = stage.contraction
        self.sums = Sums(self.body, self.n, stage.work, kept, stage._bind_panel)
        self.right = RightTable(self.body, left, self.tile)
        self.packing = Packing(self.body, self.contraction, self.micro, self.tiles)

    def write(self, place: Lanes) -> None:
        """Write the item."""
        n, splits = self.n, number(self.writer, self.tiles.splits)
        sizes = [n["batch"], splits, n["parts"], n["stacks"]]
        self.batch, self.split, part, stack = digits(place, sizes)
        bind(self.body, self.contraction.batch, self.batch)
        self.first = part * n["taken"]
        self.end = smaller(self.first + n["taken"], n["panels"])
        low = stack * n["high"]
        high = smaller(low + n["high"], n["tiles"])
        self.low = low
        self.high = high
        zero = number(self.writer, 0)
        if not self.tiles.deep:
            self._all(Piece(zero, n["steps"], zero, n["inner"]), zero)
        else:
            self._pieces()
        if self.tiles.splits > 1:
            return
        if self.stage.work.turned:
            first, last = (tile * self.tile.rows for tile in (low, high))
            last = smaller(last, n["rows"])
            self.sums.finish_turned(self.turned, first, last, self.first, self.end)
            return

        def finish(tile: Lanes) -> None:
            row, start = tile * self.tile.rows, self._sums_place(tile)
            if self.tiles.deep:
                self._each(self.first, self.end, lambda p: self._fetch(tile + 1, p))
            if self.stage.work.stacked:
                self.left.keep_rows(row)
            self.sums.finish(self.left, row, self.first, self.end, start)

        self._each(low, high, finish)

    def _pieces(self) -> None:
        """Write the loop over the pieces of a split."""
        n = self.n
        first = self.split * n["ahead"]
        last = larger(smaller(first + n["ahead"], n["pieces"]), first + 1)

        def piece(p: Lanes) -> None:
            part = self._piece(p)
            if self.tiles.own:
                self._pack(part)
            self._all(part, resize(p > first, "i64"))

        self._each(first, last, piece)

    def _all(self, piece: Piece, before: Lanes) -> None:
        """Write the sums of all tiles and panels of the item, over a piece of the depth."""
        if not self.tiles.by_panel:

            def tile(t: Lanes) -> None:
                part = self._within_rows(t, piece)
                given = self.left.rows(t * self.tile.rows, part)
                start = self._sums_place(t)

                def panel(p: Lanes) -> None:
                    if not self.tiles.deep:
                        self._fetch(t, p)
                    self._call(t, p, part, before, start, given)

                self._each(self.first, self.end, panel)

            self._each(self.low, self.high, tile)
            return

        def panel(p: Lanes) -> None:
            right, more = self._direct(p, piece)
            table = self.right.fill(piece)

            def tile(t: Lanes) -> None:
                given = self.left.rows(t * self.tile.rows, piece) | table
                sums = self._sums_place(t) + (p - self.first) * self.tile.columns
                self._micro(right, sums, before, given | more)

            self._each(self.low, self.high, tile)

        self._each(self.first, self.end, panel)

    def _fetch(self, tile: Lanes, panel: Lanes) -> None:
        """Ask for the memory where the results of a tile and a panel will go."""
        c, scope = self.contraction, self.body.scope
        if len(c.rows) != 1:
            return
        outer, (row,), column = dict(scope.names), c.rows, c.columns[-1]
        first = Value(dtypes.int64, (self.stage._bind_panel(panel),))
        bound = dict(scope.names)
        stores = [s for s in c.epilogue if isinstance(s, Store) and s.indices]
        read = (Load(s.buffer, s.indices, s.value.dtype) for s in stores)
        along = [load for load in read if step(load, column.index) == 1]

        def fetched(r: Lanes) -> None:
            here = Value(dtypes.int64, (r,))
            scope.names = bound | {row.index: here, column.index: first}
            for load in along:
                place = scope.value(load.indices[0])
                fetch(scope.arrays[load.buffer], place, self.tile.columns)

        if along:
            rows = tile * self.tile.rows
            self._each(rows, rows + self.tile.rows, fetched)
        scope.names = outer

    def _call(
        self, tile: Lanes, panel: Lanes, piece: Piece, before: Lanes, start: Lanes, given: Given
    ) -> None:
        right, more = self._right(panel, piece)
        if self.micro.ahead:  # the tiles share in asking for the piece that follows
            far = self.tile.columns + (tile - self.low) * self.tile.lanes
            place = at(self.writer, self.micro.kind, right, self.n["piece"] * far)
            more = more | {"ahead": place}
        more = given | more
        if self.stage.work.cut is not None:
            right, within = self._within(tile, panel, piece, right, more)
            more = more | within
        sums = start + (panel - self.first) * self.tile.columns
        self._micro(right, sums, before, more)

    def _within_rows(self, tile: Lanes, piece: Piece) -> Piece:
        """The part of a piece of the depth that the rows of a tile meet."""
        if self.stage.work.cut != ("depth", "row"):
            return piece
        met = (tile + 1) * self.tile.rows - piece.start
        return replace(piece, inner=larger(smaller(met, piece.inner), 0))

    def _within(
        self, tile: Lanes, panel: Lanes, piece: Piece, right: str, given: Given
    ) -> tuple[str, Given]:
        """The right operand and what else is said of the part of a piece that a panel meets."""
        assert self.stage.work.cut is not None
        low, high = self.stage.work.cut
        first = {"row": tile * self.tile.rows}
        if "column" in (low, high):
            first["column"] = self.stage._bind_panel(panel)
        width = {"row": self.tile.rows, "column": self.tile.columns}
        if low == "depth":
            met = first[high] + width[high] - piece.start
            return right, {"inner": larger(smaller(met, piece.inner), 0)}
        if high != "depth":
            met = first[high] + width[high]
            return right, {"inner": where(first[low] < met, piece.inner, 0)}
        skipped = smaller(larger(first[low] - piece.start, 0), piece.inner)
        stride = self.tile.stride or given["stride"]
        step = self.tile.step or given["step"]
        assert not isinstance(stride, str)
        assert not isinstance(step, str)
        right = at(self.writer, self.micro.kind, right, skipped * stride)
        return right, {"inner": piece.inner - skipped, "start": skipped * step}

    def _micro(self, right: str, sums: Lanes, before: Lanes, given: Given) -> None:
        place = at(self.writer, self.micro.kind, self.kept, sums)
        more: Given = {"right": right, "sums": place, "width": self.n["width"], "continued": before}
        self.micro.call(self.writer, **given, **more)

    def _piece(self, place: Lanes) -> Piece:
        n = self.n
        step, start = digits(place, [n["pieces"], n["inner_pieces"]])
        step, start = step * n["piece_steps"], start * n["piece_inner"]
        steps = larger(smaller(n["steps"] - step, n["piece_steps"]), 0)
        inner = smaller(n["inner"] - start, n["piece_inner"])
        return Piece(step, steps, start, where(steps > 0, inner, 0))

    def _each(self, first: Lanes, end: Lanes, one: Callable[[Lanes], None]) -> None:
        """Write a loop, in which names may be given values."""
        outer = self.body.scope.names

        def step(n: Lanes, _: list[Lanes]) -> Sequence[Lanes]:
            self.body.scope.names = dict(outer)
            one(n)
            return []

        repeat(end, [], step, first)
        self.body.scope.names = outer

    def _pack(self, piece: Piece) -> None:
        """Copy the right operand of the item's panels."""
        each = self.n["piece"] * self.tile.columns

        def panel(n: Lanes) -> None:
            first = self.stage._bind_panel(n)
            target = at(self.writer, self.micro.kind, self.packed, (n - self.first) * each)
            self.packing.panel(target, first, self.n["columns"], piece)

        self._each(self.first, self.end, panel)

    def _sums_place(self, tile: Lanes) -> Lanes:
        """Where the sums of the item's panels begin."""
        width = self.n["width"]
        if self.tiles.splits == 1:
            return (tile - self.low) * width * self.tile.rows
        split = self.batch * self.tiles.splits + self.split
        start = (split * self.n["tiles"] + tile) * width * self.tile.rows
        return start + self.first * self.tile.columns

    def _right(self, panel: Lanes, piece: Piece) -> tuple[str, Given]:
        """Where the right operand of a panel begins, and what else must be said of it."""
        kind, columns = self.micro.kind, self.tile.columns
        if not self.tiles.packed:
            return self._direct(panel, piece)
        before = piece.step * self.n["inner"]  # which tables count from the first step
        if self.tiles.own:
            place = (panel - self.first) * self.n["piece"] - (0 if self.tile.matrix else before)
            return at(self.writer, kind, self.packed, place * columns), {}
        zero = number(self.writer, 0)
        start = piece.start + before if self.tile.matrix else piece.start
        place = self.stage._panel_place(self.batch, panel, zero) + start * columns
        return at(self.writer, kind, self.packed, place), {}

    def _direct(self, panel: Lanes, piece: Piece) -> tuple[str, Given]:
        names, depth = self.body.scope.names, self.contraction.depth
        read = read_of(self.contraction.right)
        assert read is not None
        first = self.stage._bind_panel(panel)
        names[self.contraction.columns[-1].index] = Value(dtypes.int64, (first,))
        for axis in depth[:-1]:
            names[axis.index] = Value(dtypes.int64, (number(self.writer, 0),))
        start = number(self.writer, 0) if self.tile.table == "each" else piece.start
        names[depth[-1].index] = Value(dtypes.int64, (start,))
        place = self.body.scope.value(read.load.indices[0]).single
        pointer = self.body.scope.arrays[read.load.buffer].pointer
        more: Given = {
            "stride": step_of(self.body, read.place, depth[-1]),
            "present": self.n["columns"] - first,
        }
        return at(self.writer, self.micro.kind, pointer, place), more
