"""Transposition of squares of registers.

What turns a square is long, and LLVM takes 30 ms for it: it is one function of a module.
"""

from __future__ import annotations

from collections.abc import Sequence

from talweg.codegen import memory
from talweg.codegen.lanes import Lanes, constant, constants, resize, smaller, splat, where
from talweg.codegen.writer import Writer

_NUMBERS = ("step", "present", "lines", "ahead", "apart", "last")


def write_turned(
    writer: Writer, kind: str, lanes: int, source: str, target: str, **given: Lanes | int
) -> None:
    """Write a call that copies a square of memory to its transpose.

    Args:
        writer: the module.
        kind: the LLVM type of elements.
        lanes: the size of the square.
        source, target: where both begin.
        **given: step: elements from a line of the source to the next one. present: how many
            elements of a line there are; all, unless the target has masks. lines: how many lines
            there are; the last one stands for those behind it. ahead: how far from each line
            memory is fetched. apart: elements from a line of the target to the next one. last: the
            line of the target behind which none is written; what would be is written to that one
            before it is.
    """
    name = _function(writer, kind, lanes)
    whole: dict[str, Lanes | int] = {"present": lanes, "lines": lanes, "ahead": 0, "last": lanes}
    values = ((whole | given)[number] for number in _NUMBERS)
    listed = ", ".join(f"i64 {v.name if isinstance(v, Lanes) else v}" for v in values)
    writer.do(f"call void @{name}(ptr {source}, ptr {target}, {listed})")


def _function(writer: Writer, kind: str, lanes: int) -> str:
    name = f"turn_{kind}_{lanes}"
    if name in writer.defined:
        return name
    writer.defined[name] = ()
    numbers = ", ".join(f"i64 %{number}" for number in _NUMBERS)
    with writer.define(f"internal void @{name}(ptr %from, ptr %to, {numbers})"):
        step, present, lines, apart, last = (
            Lanes(writer, f"%{n}", "i64", 1) for n in ("step", "present", "lines", "apart", "last")
        )
        mask = None
        size = memory.bytes_of(kind)
        if writer.target.masks(8 * size):
            few = resize(smaller(present, lanes), "i32")
            mask = constants(writer, range(lanes), "i32") < splat(few, lanes)
        read = []
        for address in _lines(writer, kind, "%from", lanes, step, lines - 1):
            read.append(memory.load_row(writer, kind, lanes, address, mask))
            following = writer.emit(f"getelementptr {kind}, ptr {address}, i64 %ahead")
            memory.prefetch(writer, following)
        places = _lines(writer, kind, "%to", lanes, apart, last)
        for address, line in reversed(list(zip(places, transposed(read), strict=True))):
            writer.do(f"store {line.type} {line.name}, ptr {address}, align {size}")
        writer.do("ret void")
    return name


def _lines(
    writer: Writer, kind: str, address: str, count: int, step: Lanes, last: Lanes
) -> list[str]:
    """The addresses of lines; those behind the last one are the last one again."""
    found = [address]
    for n in range(1, count):
        further = where(constant(writer, n, "i64", 1) > last, 0, step)
        found.append(writer.emit(f"getelementptr {kind}, ptr {found[-1]}, i64 {further.name}"))
    return found


def transposed(rows: Sequence[Lanes]) -> list[Lanes]:
    """Return the columns of as many vectors as each has lanes, a power of two.

    Squares of 1, 2, 4 … lanes change places with their partners across the diagonal.
    """
    lanes = len(rows)
    now = list(rows)
    size = 1
    while size < lanes:
        following = list(now)
        for n in range(lanes):
            if n & size:
                continue
            first, second = now[n], now[n | size]
            low = [at if not at & size else lanes + at - size for at in range(lanes)]
            high = [at + size if not at & size else lanes + at for at in range(lanes)]
            following[n], following[n | size] = (
                _mixed(first, second, order) for order in (low, high)
            )
        now, size = following, size * 2
    return now


def _mixed(first: Lanes, second: Lanes, order: Sequence[int]) -> Lanes:
    listed = ", ".join(f"i32 {n}" for n in order)
    name = first.writer.emit(
        f"shufflevector {first.type} {first.name}, {second.type} {second.name}, "
        f"<{len(order)} x i32> <{listed}>"
    )
    return Lanes(first.writer, name, first.kind, first.lanes)
