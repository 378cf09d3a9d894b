"""The innermost loops of a contraction: a tile of sums held in registers.

    for entry in table:                          one step of the outer depth
        for k below inner:                       the inner depth
            for row, vector in tile:
                sums[row, vector] += left[row][k] * right[k][vector]

A vector of the right operand meets an element of the left one that is spread over all lanes. Which
memory the operands are in, and in which order, is up to the caller: it gives the address of every
row, and the table says how far from there each step of the outer depth begins.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import final

from talweg.base.frozen import frozen
from talweg.codegen.contraction.matrix import write_matrix
from talweg.codegen.lanes import Lanes, constant, constants, fma, splat, type_of
from talweg.codegen.memory import prefetch
from talweg.codegen.repeat import repeat
from talweg.codegen.writer import Writer
from talweg.schedule.contraction_work import Tile

BYTES = {"float": 4, "double": 8, "i32": 4, "i64": 8}

_PAIRS = {
    16: "llvm.x86.avx512.pmaddw.d.512",
    8: "llvm.x86.avx2.pmadd.wd",
    4: "llvm.x86.sse2.pmadd.wd",
}


@final
@frozen
class Micro:
    """The function of one tile; two where columns may be missing, since masks take the time of a
    multiplication each.

    Args:
        name: its symbol.
        kind: the LLVM type of elements and sums.
        tile: its registers.
        masked: whether columns may be missing.
        deep: whether sums may be continued.
        paired: whether elements are pairs of numbers of 16 bits.
        ahead: whether memory is asked for that later calls read, a vector in each step.
        late: whether the left rows are met from some place on.
    """

    name: str
    kind: str
    tile: Tile
    masked: bool
    deep: bool
    paired: bool = False
    ahead: bool = False
    late: bool = False

    def define(self, writer: Writer) -> None:
        """Write the function, and that of whole tiles."""
        if self.masked:
            self._whole.define(writer)
        parameters = [f"{kind} %{name}" for name, kind in self._parameters()]
        with writer.define(f"internal void @{self.name}({', '.join(parameters)})"):
            if self.tile.matrix:
                write_matrix(writer, self.name, self.deep)
            else:
                _Body(self, writer).write()
            writer.do("ret void")

    @property
    def _whole(self) -> Micro:
        """The function of tiles that miss no columns."""
        return replace(self, name=f"{self.name}.whole", masked=False)

    def _parameters(self) -> list[tuple[str, str]]:
        table = self.tile.table
        names = ["rows"] * (table != "rows") + ["table", "entries"] * (table != "none")
        names += ["inner"] * (table != "each") + ["right", "sums", "width"]
        names += ["apart"] * self.tile.matrix
        if table != "each":
            names += ["step"] * (not self.tile.step) + ["stride"] * (not self.tile.stride)
        names += (
            ["start"] * self.late
            + ["present"] * self.masked
            + ["continued"] * self.deep
            + ["ahead"] * self.ahead
        )
        pointers = ("rows", "table", "right", "sums", "ahead")
        return [(n, "ptr" if n in pointers else "i64") for n in names]

    def call(self, writer: Writer, **given: Lanes | str) -> None:
        """Write a call.

        Args:
            writer: the module.
            **given: rows: addresses of the left rows, or where the first of them is that are
                `apart` bytes from each other. table, entries: the table and its length.
                inner, step: the inner depth and the distance of its elements in the left rows.
                right, stride: the right operand and the distance of its rows. sums, width: the
                result and the distance of its rows. start: where the left rows are met from,
                if the outer depth is one step. present: how many columns there are.
                continued: 1 where sums are continued, else 0. ahead: what is asked for.
        """
        if not self.masked:
            self._write_call(writer, given)
            return
        present = given["present"]
        assert isinstance(present, Lanes)
        some, whole, on = writer.label("some"), writer.label("whole"), writer.label("on")
        writer.branch((present < self.tile.columns).name, some, whole)
        known = writer.known
        for label, function in ((some, self), (whole, self._whole)):
            writer.start(label, known)
            function._write_call(writer, given)
            writer.jump(on)
        writer.start(on, known)

    def _write_call(self, writer: Writer, given: Mapping[str, Lanes | str]) -> None:
        listed = []
        for name, kind in self._parameters():
            value = given[name]
            listed.append(f"{kind} {value.name if isinstance(value, Lanes) else value}")
        writer.do(f"call void @{self.name}({', '.join(listed)})")


class _Body:
    def __init__(self, micro: Micro, writer: Writer) -> None:
        self.micro, self.tile, self.writer = micro, micro.tile, writer
        self.vector = type_of(micro.kind, micro.tile.lanes)
        self.align = BYTES[micro.kind]

    def number(self, name: str) -> Lanes:
        return Lanes(self.writer, f"%{name}", "i64", 1)

    def at(self, base: str, offset: Lanes | int, kind: str | None = None) -> str:
        place = offset.name if isinstance(offset, Lanes) else offset
        return self.writer.emit(f"getelementptr {kind or self.micro.kind}, ptr {base}, i64 {place}")

    def write(self) -> None:
        micro, writer = self.micro, self.writer
        self.masks = self._masks() if micro.masked else [None] * self.tile.vectors
        sums = self._continued() if micro.deep else self._zeros()
        zero = constant(writer, 0, "i64", 1)
        sums = [*sums, *[Lanes(writer, "%ahead", "ptr", 1)] * micro.ahead]
        if self.tile.table == "none":
            start = self.number("start") if micro.late else zero
            sums = self._inner(self._rows("%rows", 0), start, "%right", sums)
        elif self.tile.table == "shared":
            fixed = self._rows("%rows", 0)

            def shared(entry: Lanes, now: list[Lanes]) -> Sequence[Lanes]:
                left, right = (self._load_number(entry * 2 + n) for n in (0, 1))
                return self._inner(fixed, left, self.at("%right", right), now)

            sums = repeat(self.number("entries"), sums, shared)
        elif self.tile.table == "each":
            fixed = self._rows("%rows", 0)

            def each(entry: Lanes, now: list[Lanes]) -> Sequence[Lanes]:
                left, right = (self._load_number(entry * 2 + n) for n in (0, 1))
                return self._products(fixed, left, self.at("%right", right), now)

            sums = repeat(self.number("entries"), sums, each)
        else:

            def own(entry: Lanes, now: list[Lanes]) -> Sequence[Lanes]:
                place = self.at("%table", entry * self.tile.entry, "i64")
                right = Lanes(writer, writer.emit(f"load i64, ptr {place}"), "i64", 1)
                return self._inner(self._rows(place, 1), zero, self.at("%right", right), now)

            sums = repeat(self.number("entries"), sums, own)
        self._store(sums)

    def _load_number(self, at: Lanes) -> Lanes:
        name = self.writer.emit(f"load i64, ptr {self.at('%table', at, 'i64')}")
        return Lanes(self.writer, name, "i64", 1)

    def _rows(self, base: str, skip: int) -> list[str]:
        places = [self.at(base, skip + r, "i64") for r in range(self.tile.rows)]
        return [self.writer.emit(f"load ptr, ptr {place}") for place in places]

    def _masks(self) -> list[Lanes | None]:
        present = Lanes(self.writer, self.writer.emit("trunc i64 %present to i32"), "i32", 1)
        lanes = self.tile.lanes
        return [
            constants(self.writer, range(v * lanes, (v + 1) * lanes), "i32") < splat(present, lanes)
            for v in range(self.tile.vectors)
        ]

    def _zeros(self) -> list[Lanes]:
        return [
            Lanes(self.writer, "zeroinitializer", self.micro.kind, self.tile.lanes)
            for _ in range(self.tile.rows * self.tile.vectors)
        ]

    def _places(self) -> list[str]:
        width, lanes = self.number("width"), self.tile.lanes
        rows = [self.at("%sums", width * r) for r in range(self.tile.rows)]
        return [self.at(row, v * lanes) for row in rows for v in range(self.tile.vectors)]

    def _continued(self) -> list[Lanes]:
        """Zeros, or the sums so far."""
        writer, zeros = self.writer, self._zeros()
        before, load, on = writer.block, writer.label("load"), writer.label("on")
        writer.branch(self.number("continued").differs(0).name, load, on)
        writer.start(load)
        loaded = [
            writer.emit(f"load {self.vector}, ptr {p}, align {self.align}") for p in self._places()
        ]
        writer.jump(on)
        writer.start(on)
        phis = [
            writer.phi(self.vector, (zero.name, before), (value, load))
            for zero, value in zip(zeros, loaded, strict=True)
        ]
        return [Lanes(writer, writer.seal(p), self.micro.kind, self.tile.lanes) for p in phis]

    def _inner(
        self, rows: list[str], start: Lanes, right: str, sums: Sequence[Lanes]
    ) -> list[Lanes]:
        """Write the loop over the inner depth."""
        writer, micro = self.writer, self.micro
        state = [*sums, start, Lanes(writer, right, "ptr", 1)]
        step = self.tile.step or self.number("step")
        stride = self.tile.stride or self.number("stride")

        def body(_: Lanes, now: list[Lanes]) -> list[Lanes]:
            *old, place, row = now
            if micro.ahead:
                prefetch(writer, old[-1].name, cache=2)
                old[-1] = Lanes(writer, self.at(old[-1].name, self.tile.lanes), "ptr", 1)
            new = self._products(rows, place, row.name, old)
            after = self.at(row.name, stride)
            return [*new, place + step, Lanes(writer, after, "ptr", 1)]

        return repeat(self.number("inner"), state, body)[: len(sums)]

    def _products(
        self, rows: list[str], place: Lanes, right: str, sums: Sequence[Lanes]
    ) -> list[Lanes]:
        micro, writer = self.micro, self.writer
        vectors = [
            self._vector(self.at(right, v * self.tile.lanes), v) for v in range(self.tile.vectors)
        ]
        new = []
        for r, row in enumerate(rows):
            found = writer.emit(f"load {micro.kind}, ptr {self.at(row, place)}, align {self.align}")
            spread = splat(Lanes(writer, found, micro.kind, 1), self.tile.lanes)
            for v, vector in enumerate(vectors):
                old = sums[r * self.tile.vectors + v]
                new.append(self._sum(spread, vector, old))
        return [*new, *sums[len(new) :]]

    def _sum(self, left: Lanes, right: Lanes, old: Lanes) -> Lanes:
        if old.floating:
            return fma(left, right, old)
        return (self._both(left, right) if self.micro.paired else left * right) + old

    def _both(self, left: Lanes, right: Lanes) -> Lanes:
        """The sums of products of both halves; added to a sum it is one instruction of VNNI."""
        lanes, writer = left.lanes, self.writer
        halves = f"<{2 * lanes} x i16>"
        given = [writer.emit(f"bitcast {x.type} {x.name} to {halves}") for x in (left, right)]
        name = _PAIRS[lanes]
        found = writer.intrinsic(name, left.type, *((halves, x) for x in given))
        return Lanes(writer, found, left.kind, lanes)

    def _vector(self, place: str, v: int) -> Lanes:
        micro, mask = self.micro, self.masks[v]
        if mask is None:
            name = self.writer.emit(f"load {self.vector}, ptr {place}, align {self.align}")
            return Lanes(self.writer, name, micro.kind, self.tile.lanes)
        suffix = {"float": "f32", "double": "f64"}.get(micro.kind, micro.kind)
        name = self.writer.intrinsic(
            f"llvm.masked.load.v{self.tile.lanes}{suffix}.p0",
            self.vector,
            ("ptr", place),
            ("i32", str(self.align)),
            (mask.type, mask.name),
            (self.vector, "zeroinitializer"),
        )
        return Lanes(self.writer, name, micro.kind, self.tile.lanes)

    def _store(self, sums: Sequence[Lanes]) -> None:
        places = self._places()
        for place, value in zip(places, sums[: len(places)], strict=True):
            self.writer.do(f"store {self.vector} {value.name}, ptr {place}, align {self.align}")
