"""How the left operand comes to the micro-kernel: addresses of its rows, or a packed copy."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import reduce
from typing import final

from talweg.base import dtypes
from talweg.codegen.contraction.bfloat import LeftMatrices
from talweg.codegen.contraction.memory import (
    Piece,
    at,
    counted,
    each_step,
    flat,
    kept_steps,
    moved,
    number,
    present,
    step_of,
    store_vector,
)
from talweg.codegen.contraction.micro import BYTES, Micro
from talweg.codegen.contraction.numbers import Numbers, digits
from talweg.codegen.lanes import Lanes, any_lane, constants, resize, smaller, splat, where
from talweg.codegen.llvm import Body
from talweg.codegen.repeat import repeat
from talweg.codegen.values import Value, widened
from talweg.codegen.writer import Writer
from talweg.loops.scalar import Load
from talweg.schedule.contraction import Contraction
from talweg.schedule.contraction_places import Read, read_of
from talweg.schedule.contraction_tiles import Tiles


@final
class LeftRows:
    """The rows of the left operand, of one tile after the other.

    Args:
        body, numbers: the function and its numbers.
        contraction, tiles, micro: what is written.
        places: the memory of the thread.
        right_place: writes how far the present step of the outer depth moves the right operand.
    """

    def __init__(
        self,
        body: Body,
        numbers: Numbers,
        contraction: Contraction,
        tiles: Tiles,
        micro: Micro,
        places: dict[str, str],
        right_place: Callable[[], Lanes],
    ) -> None:
        self.body, self.numbers, self.contraction = body, numbers, contraction
        self.tiles, self.micro, self.tile = tiles, micro, micro.tile
        self.places, self.right_place = places, right_place
        self.writer = body.writer

    @property
    def read(self) -> Read:
        """The left operand where it is read in place."""
        read = read_of(self.contraction.left)
        assert read is not None
        return read

    def _slot(self, name: str, offset: Lanes | int) -> str:
        return at(self.writer, "i64", self.places[name], offset)

    def _keep(self, value: Lanes, name: str, offset: Lanes | int) -> None:
        self.writer.do(f"store i64 {value.name}, ptr {self._slot(name, offset)}")

    # -- before the first tile

    def prepare(self) -> None:
        """Write what is the same for all tiles: a table that rows share, a row of zeros."""
        if self.tile.table == "shared" and not self.tiles.by_panel:

            def entry(n: Lanes) -> None:
                self._keep(self.place(), "table", n * 2)
                self._keep(self.right_place(), "table", n * 2 + 1)

            zero = number(self.writer, 0)
            depth = self.contraction.depth[:-1]
            each_step(self.body, depth, zero, self.numbers["steps"], entry)
        if self.tiles.left == "taps":
            count = self.numbers["inner"] * BYTES[self.micro.kind]
            self.writer.intrinsic(
                "llvm.memset.p0.i64",
                "void",
                ("ptr", self.places["zeros"]),
                ("i8", "0"),
                ("i64", count.name),
                ("i1", "false"),
            )

    def place(self, piece: Piece | None = None) -> Lanes:
        """Write how far the present step of the outer depth moves the rows.

        With a piece: the present element of the depth, counted from the piece's first inner one.
        """
        depth = self.contraction.depth
        if self.tiles.left == "rows":
            return moved(self.body, self.read.place, depth[:-1] if piece is None else depth)
        here = flat(self.body, depth[:-1]) * self._packed_step()
        if piece is None:
            return here
        inner = self.body.scope.names[depth[-1].index].single - piece.start
        return here + (inner * self.tile.padded if self.tiles.left == "columns" else inner)

    def _packed_step(self) -> Lanes:
        inner = self.numbers["inner"]
        return inner * self.tile.padded if self.tiles.left == "columns" else inner

    # -- tiles

    def rows(self, first: Lanes, piece: Piece) -> dict[str, Lanes | str]:
        """Write what a tile needs before its first panel; return what the micro-kernel is told."""
        self.keep_rows(first)
        given: dict[str, Lanes | str] = {"rows": self.places["rows"], "inner": piece.inner}
        if self.tile.matrix:
            given["inner"] = piece.inner * piece.steps
            return given | self._matrices(first, piece)
        if self.tile.table == "shared" and not self.tiles.by_panel:
            table = self._slot("table", piece.step * 2)
            given |= {"table": table, "entries": piece.steps}
        if self.tiles.left == "rows":
            self._pointers(first, piece)
            given["step"] = step_of(self.body, self.read.place, self.contraction.depth[-1])
        elif self.tiles.left == "taps":
            entries = self._taps(first, piece)
            given |= {"table": self.places["table"], "entries": entries}
        else:
            self._packed(first, piece)
        return given

    def keep_rows(self, first: Lanes) -> None:
        """Keep the indices of the rows of a tile, the last one again for those beyond it."""
        axes = self.contraction.rows
        if len(axes) < 2:
            return
        name = _keeping(self.writer, len(axes), self.tile.padded)
        sizes = [self.body.scope.value(axis.extent).single for axis in axes[1:]]
        given = [first, self.numbers["rows"], *sizes]
        listed = ", ".join(f"i64 {value.name}" for value in given)
        self.writer.do(f"call void @{name}(ptr {self.places['state']}, {listed})")

    def bind_row(self, r: Lanes, first: Lanes) -> None:
        """Give the indices of the rows their values in one row of the tile."""
        axes, names = self.contraction.rows, self.body.scope.names
        if len(axes) == 1:
            names[axes[0].index] = Value(dtypes.int64, (first + r,))
            return
        for n, axis in enumerate(axes):
            place = self._slot("state", r + n * self.tile.padded)
            digit = self.writer.emit(f"load i64, ptr {place}")
            names[axis.index] = Value(dtypes.int64, (Lanes(self.writer, digit, "i64", 1),))

    def _bind_rows(self, first: Lanes) -> None:
        """Give the indices of the rows their values, in as many lanes as a tile has rows."""
        axes, names, padded = self.contraction.rows, self.body.scope.names, self.tile.padded
        if len(axes) == 1:
            rows = splat(first, padded) + constants(self.writer, range(padded), "i64")
            last = splat(self.numbers["rows"] - 1, padded)
            names[axes[0].index] = Value(dtypes.int64, (smaller(rows, last),))
            return
        for n, axis in enumerate(axes):
            place = self._slot("state", n * padded)
            digit = self.writer.emit(f"load {_vector(padded)}, ptr {place}, align 8")
            lanes = Lanes(self.writer, digit, "i64", padded)
            names[axis.index] = Value(dtypes.int64, (lanes,))

    def _addresses(self, load: Load) -> Lanes:
        """Where a load reads, in every row."""
        scope, padded = self.body.scope, self.tile.padded
        offsets = widened(scope.value(load.indices[0]), padded).single
        base = scope.arrays[load.buffer].pointer
        name = self.writer.emit(
            f"getelementptr {self.micro.kind}, ptr {base}, {offsets.type} {offsets.name}"
        )
        return Lanes(self.writer, name, "ptr", padded)

    def _pointers(self, first: Lanes, piece: Piece) -> None:
        scope = self.body.scope
        names = scope.names
        scope.names = dict(names)
        scope.lanes = self.tile.padded
        self._bind_rows(first)
        for axis in self.contraction.depth[:-1]:
            scope.names[axis.index] = Value(dtypes.int64, (number(self.writer, 0),))
        start = number(self.writer, 0) if self.tile.table == "each" else piece.start
        scope.names[self.contraction.depth[-1].index] = Value(dtypes.int64, (start,))
        store_vector(self._addresses(self.read.load), self.places["rows"])
        scope.lanes, scope.names = 1, names

    def _taps(self, first: Lanes, piece: Piece) -> Lanes:
        """Fill the table with the address of every row at every step, or of a row of zeros.

        Steps that no row meets are left out; returns how many are in the table.
        """
        scope, padded = self.body.scope, self.tile.padded
        read = self.read
        names = scope.names
        scope.names = dict(names)
        self._bind_rows(first)
        scope.names[self.contraction.depth[-1].index] = Value(dtypes.int64, (piece.start,))
        zeros = splat(Lanes(self.writer, self.places["zeros"], "ptr", 1), padded)

        def entry(count: Lanes) -> Lanes:
            scope.lanes = padded
            rows = self._addresses(read.load)
            meets = [scope.wide(scope.value(c)).single for c in read.conditions]
            met = reduce(lambda a, b: a & b, meets)
            place = count * self.tile.entry
            self._keep(self.right_place(), "table", place)
            store_vector(where(met, rows, zeros), self._slot("table", place + 1))
            scope.lanes = 1
            return count + resize(any_lane(met), "i64")

        depth = self.contraction.depth[:-1]
        entries = kept_steps(self.body, depth, piece.step, piece.steps, entry)
        scope.names = names
        return entries

    # -- packed copies

    def _matrices(self, first: Lanes, piece: Piece) -> dict[str, Lanes | str]:
        """Where the rows of a tile are, as matrices want them."""
        scope, n = self.body.scope, self.numbers
        names, scope.names = scope.names, dict(scope.names)
        matrices = LeftMatrices(
            self.body, n, self.contraction, self.tiles, self.bind_row, self._bind_rows
        )
        rows, apart = matrices.rows(self.places["left"], first, piece)
        scope.names = names
        return {"rows": rows, "apart": apart}

    def _packed(self, first: Lanes, piece: Piece) -> None:
        """Copy the rows of a tile, and say where they are."""
        scope, padded = self.body.scope, self.tile.padded
        names = scope.names
        scope.names = dict(names)
        along = self.tiles.left == "depth"
        places = constants(self.writer, range(padded), "i64")
        if along:
            places = places * splat(self.numbers["piece"], padded)
        base = self.places["left"]
        early = at(self.writer, self.micro.kind, base, -(piece.step * self._packed_step()))
        name = self.writer.emit(
            f"getelementptr {self.micro.kind}, ptr {early}, {places.type} {places.name}"
        )
        store_vector(Lanes(self.writer, name, "ptr", padded), self.places["rows"])
        if along:
            self._by_depth(base, first, piece)
        else:
            self._by_rows(base, first, piece)
        scope.names = names

    def _by_depth(self, base: str, first: Lanes, piece: Piece) -> None:
        scope, lanes = self.body.scope, self.tile.lanes
        depth, kind = self.contraction.depth, self.micro.kind

        def row(r: Lanes, _: list[Lanes]) -> Sequence[Lanes]:
            self.bind_row(r, first)

            def step(n: Lanes) -> None:
                start = r * self.numbers["piece"] + n * piece.inner

                def vector(k: Lanes, _: list[Lanes]) -> Sequence[Lanes]:
                    scope.lanes = lanes
                    scope.mask = scope.alive = present(piece.inner - k, 0, lanes)
                    scope.names[depth[-1].index] = Value(dtypes.int64, (piece.start + k,), 1)
                    found = scope.wide(scope.value(self.contraction.left)).single
                    store_vector(found, at(self.writer, kind, base, start + k), scope.mask)
                    scope.mask = scope.alive = None
                    scope.lanes = 1
                    return []

                repeat(piece.inner, [], vector, step=lanes)

            each_step(self.body, depth[:-1], piece.step, piece.steps, step)
            return []

        repeat(smaller(self.numbers["rows"] - first, self.tile.rows), [], row)

    def _by_rows(self, base: str, first: Lanes, piece: Piece) -> None:
        scope, padded, kind = self.body.scope, self.tile.padded, self.micro.kind
        depth, rows = self.contraction.depth, self.contraction.rows
        mask = present(self.numbers["rows"] - first, 0, padded)
        if len(rows) == 1:
            scope.names[rows[0].index] = Value(dtypes.int64, (first,), 1)
        else:
            self._bind_rows(first)

        def step(n: Lanes) -> None:
            def one(k: Lanes, _: list[Lanes]) -> Sequence[Lanes]:
                scope.lanes = padded
                scope.mask = scope.alive = mask
                scope.names[depth[-1].index] = Value(dtypes.int64, (piece.start + k,))
                found = scope.wide(scope.value(self.contraction.left)).single
                store_vector(found, at(self.writer, kind, base, (n * piece.inner + k) * padded))
                scope.mask = scope.alive = None
                scope.lanes = 1
                return []

            repeat(piece.inner, [], one)

        each_step(self.body, depth[:-1], piece.step, piece.steps, step)


def _vector(lanes: int) -> str:
    return "i64" if lanes == 1 else f"<{lanes} x i64>"


def _keeping(writer: Writer, axes: int, padded: int) -> str:
    """Return the function of the module that keeps the indices of so many rows.

    The first row is given as a number that counts through them, then how many rows there are, and
    the extents of all axes but the first one. Behind the last row it stands again.
    """
    name = f"rows_{axes}_{padded}"
    if name in writer.defined:
        return name
    writer.defined[name] = ()
    names = ["first", "rows", *(f"size{n}" for n in range(1, axes))]
    listed = ", ".join(f"i64 %{given}" for given in names)
    with writer.define(f"internal void @{name}(ptr %state, {listed})"):
        first, rows, *sizes = (Lanes(writer, f"%{given}", "i64", 1) for given in names)
        extents = [first, *sizes]  # the outermost index counts on

        def row(r: Lanes, now: list[Lanes]) -> Sequence[Lanes]:
            for n, digit in enumerate(now):
                place = at(writer, "i64", "%state", r + n * padded)
                writer.do(f"store i64 {digit.name}, ptr {place}")
            return counted(now, extents, resize(first + r + 1 < rows, "i64"))

        repeat(number(writer, padded), digits(first, extents), row)
        writer.do("ret void")
    return name
