"""Transposition of squares of registers.

What turns a square is long, and LLVM takes 30 ms for it: it is one function of a module.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from talweg.codegen import memory
from talweg.codegen.lanes import (
    INTEGER_OF,
    Lanes,
    constant,
    constants,
    resize,
    shuffled,
    smaller,
    splat,
    where,
)
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
        low = [at if not at & size else lanes + at - size for at in range(lanes)]
        high = [at + size if not at & size else lanes + at for at in range(lanes)]
        mixes = [_mixing(rows[0], order) for order in (low, high)]
        for n in range(lanes):
            if not n & size:
                pair = now[n], now[n | size]
                now[n], now[n | size] = (mix(*pair) for mix in mixes)
        size *= 2
    return now


_CHOOSING = {"float": "ps", "double": "pd", "i32": "d", "i64": "q"}


def _mixing(line: Lanes, order: Sequence[int]) -> Callable[[Lanes, Lanes], Lanes]:
    """What takes lanes of two vectors in an order.

    Where an instruction takes any lanes, the order is read from memory: LLVM looks at one that it
    knows with every shuffle before and behind, for 20 ms a square, and finds nothing better.
    """
    writer, bits, suffix = line.writer, line.lanes * line.bits, _CHOOSING.get(line.kind)
    target = writer.target
    whole = bits == 512 or (bits == 256 and target.has("avx512vl"))
    if suffix is None or not whole or not target.is_x86 or not target.has("avx512f"):
        return lambda first, second: shuffled(first, order, second)
    orders = constants(writer, order, INTEGER_OF.get(line.kind, line.kind))
    name = f"order_{orders.kind}_{'_'.join(map(str, order))}"
    writer.declare(name, f"@{name} = private constant {orders.type} {orders.name}")
    loaded = writer.emit(f"load {orders.type}, ptr @{name}")

    def mix(first: Lanes, second: Lanes) -> Lanes:
        given = (first.type, first.name), (orders.type, loaded), (second.type, second.name)
        found = writer.intrinsic(f"llvm.x86.avx512.vpermi2var.{suffix}.{bits}", first.type, *given)
        return Lanes(writer, found, first.kind, first.lanes)

    return mix
