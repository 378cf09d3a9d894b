"""The innermost loop of a contraction where registers are matrices (AMX): 32 x 32 sums.

    for step in depth, 16 pairs of bfloat16 each:
        for half of the rows, half of the columns:
            sums[half, half] += left[half] @ right[half]

Registers 0 to 3 hold sums, 4 and 5 the rows, 6 and 7 the columns. The left operand is 32 rows of
pairs, so many bytes apart; the right one is a panel. Steps of an outer depth follow each other
in both, so that all of the depth is one axis. The last step may have fewer pairs: registers are
then configured anew, for which sums go to memory. Denormal factors and sums are zeros.

Source: Intel 64 and IA-32 Architectures Software Developer's Manual, volume 1, chapter 18.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

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
    products = _products(writer)
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
        products(place)
        return []

    repeat(whole, [], step, zero, SIDE)
    _move(writer, "tilestored64")
    rest = inner - whole

    def last(_: list[Lanes]) -> Sequence[Lanes]:
        configure(writer, name, rest)
        _move(writer, "tileloadd64")
        products(whole)
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
        place = _at(writer, "%sums", width * (row * SIDE) + column * SIDE)
        _register(writer, word, register, place, apart)


def _products(writer: Writer) -> Callable[[Lanes], None]:
    """Return what multiplies the pairs that a step has, which begins at one of them."""
    apart = Lanes(writer, "%apart", "i64", 1)
    below = writer.emit(f"getelementptr i8, ptr %rows, i64 {(apart * SIDE).name}")
    rows = "%rows", below
    columns = "%right", _at(writer, "%right", constant(writer, SIDE, "i64", 1))

    def products(place: Lanes) -> None:
        for half, base in enumerate(columns):
            here = _at(writer, base, place * (2 * SIDE))
            _register(writer, "tileloadd64", 6 + half, here, str(8 * SIDE))
        for half, base in enumerate(rows):
            _register(writer, "tileloadd64", 4 + half, _at(writer, base, place), "%apart")
            for register, low, column in _SUMS:
                if low == half:
                    given = (("i8", str(n)) for n in (register, 4 + low, 6 + column))
                    writer.intrinsic("llvm.x86.tdpbf16ps", "void", *given)

    return products


def _at(writer: Writer, base: str, offset: Lanes) -> str:
    return writer.emit(f"getelementptr i32, ptr {base}, i64 {offset.name}")
