"""The innermost loop of a contraction where registers are matrices (AMX): 32 x 32 sums.

    for step in inner depth, 16 pairs of bfloat16 each:
        for half of the rows, half of the columns:
            sums[half, half] += left[half] @ right[half]

Registers 0 to 3 hold sums, 4 and 5 the rows, 6 and 7 the columns. The left operand is a copy in
matrices of 16 rows and 16 pairs, those of a step one after the other; the right one is a panel. The
last step may have fewer pairs: registers are then configured anew, for which sums go to memory.
Denormal factors and sums are zeros.

Source: Intel 64 and IA-32 Architectures Software Developer's Manual, volume 1, chapter 18.
"""

from __future__ import annotations

from collections.abc import Sequence

from talweg.codegen.lanes import Lanes, constant
from talweg.codegen.repeat import perhaps, repeat
from talweg.codegen.writer import Writer

SIDE = 16  # rows of a register, and 32-bit elements of one of its rows
_SUMS = tuple((n, n // 2, n % 2) for n in range(4))  # register, half of the rows, of the columns
_FULL = 0x0040_0040_0040_0040  # 64 bytes in the rows of four registers
_HIGH = 0x1010_1010_1010_1010  # 16 rows in eight registers


def define_configure(writer: Writer, name: str) -> None:
    """Write the function that configures registers for so many pairs in a step."""
    with writer.define(f"internal void @{name}.configure(i64 %pairs)"):
        place = writer.room("[8 x i64]")
        pairs = Lanes(writer, "%pairs", "i64", 1)
        row = pairs * 4
        widths = row | (row << 16) | (_FULL & -1 << 32)
        heights = (pairs << 48) | (pairs << 56) | (_HIGH & (1 << 48) - 1)
        for n, value in enumerate((1, 0, _FULL, widths, 0, 0, heights, 0)):
            text = value.name if isinstance(value, Lanes) else value
            slot = writer.emit(f"getelementptr i64, ptr {place}, i64 {n}")
            writer.do(f"store i64 {text}, ptr {slot}, align 8")
        writer.intrinsic("llvm.x86.ldtilecfg", "void", ("ptr", place))
        writer.do("ret void")


def configure(writer: Writer, name: str, pairs: Lanes | int = SIDE) -> None:
    """Write a call that configures registers; their contents are lost."""
    writer.do(f"call void @{name}.configure(i64 {getattr(pairs, 'name', pairs)})")


def release(writer: Writer) -> None:
    """Write what ends the use of the registers by a thread."""
    writer.intrinsic("llvm.x86.tilerelease", "void")


def write_matrix(writer: Writer, name: str, deep: bool) -> None:
    """Write the body of the function of a tile, whose parameters are those of `Micro`."""
    inner, zero = Lanes(writer, "%inner", "i64", 1), constant(writer, 0, "i64", 1)
    whole = inner & -SIDE
    if deep:
        before = Lanes(writer, "%continued", "i64", 1)
        fresh, load, on = writer.label("fresh"), writer.label("load"), writer.label("on")
        writer.branch(before.differs(0).name, load, fresh)
        known = writer.known
        writer.start(load, known)
        _move(writer, "tileloadd64")
        writer.jump(on)
        writer.start(fresh, known)
        _zeros(writer)
        writer.jump(on)
        writer.start(on, known)
    else:
        _zeros(writer)

    def step(place: Lanes, _: list[Lanes]) -> Sequence[Lanes]:
        _products(writer, place)
        return []

    repeat(whole, [], step, zero, SIDE)
    _move(writer, "tilestored64")
    rest = inner - whole

    def last(_: list[Lanes]) -> Sequence[Lanes]:
        configure(writer, name, rest)
        _move(writer, "tileloadd64")
        _products(writer, whole)
        _move(writer, "tilestored64")
        configure(writer, name)
        return []

    perhaps(rest > 0, [], last)


def _register(writer: Writer, word: str, number: int, place: str, apart: str) -> None:
    given = ("i8", str(number)), ("ptr", place), ("i64", apart)
    writer.intrinsic(f"llvm.x86.{word}", "void", *given)


def _zeros(writer: Writer) -> None:
    for register, _, _ in _SUMS:
        writer.intrinsic("llvm.x86.tilezero", "void", ("i8", str(register)))


def _move(writer: Writer, word: str) -> None:
    """Load or store the sums."""
    width = Lanes(writer, "%width", "i64", 1)
    apart = (width * 4).name
    for register, row, column in _SUMS:
        offset = width * (row * SIDE) + column * SIDE
        place = writer.emit(f"getelementptr float, ptr %sums, i64 {offset.name}")
        _register(writer, word, register, place, apart)


def _products(writer: Writer, place: Lanes) -> None:
    """Multiply what a step has, which begins at a pair of the depth."""

    def at(base: str, half: int, apart: int) -> str:
        offset = place * (2 * SIDE) + half * apart
        return writer.emit(f"getelementptr i32, ptr %{base}, i64 {offset.name}")

    for half in (0, 1):
        _register(writer, "tileloadd64", 6 + half, at("right", half, SIDE), str(8 * SIDE))
    for half in (0, 1):
        _register(writer, "tileloadd64", 4 + half, at("rows", half, SIDE * SIDE), str(4 * SIDE))
        for register, row, column in _SUMS:
            if row == half:
                given = (("i8", str(n)) for n in (register, 4 + row, 6 + column))
                writer.intrinsic("llvm.x86.tdpbf16ps", "void", *given)
