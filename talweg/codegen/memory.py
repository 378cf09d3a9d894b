"""Loads and stores: scalars, neighbours, neighbours in reverse, and elements at any places.

Addresses are made by getelementptr alone. Alignment is promised to the size of an element only. In
a vector loop a mask says which lanes are alive; the others neither read nor write.
"""

from __future__ import annotations

from talweg.base.dtypes import DType
from talweg.base.frozen import frozen
from talweg.codegen.elements import from_memory, stored_kind, to_memory
from talweg.codegen.lanes import (
    Lanes,
    any_lane,
    constant,
    literal,
    shuffled,
    splat,
    type_of,
)
from talweg.codegen.values import Value, widened
from talweg.codegen.writer import Writer

SPREAD = 4  # how far apart elements may stand that are picked from whole rows


@frozen
class Array:
    """A buffer of the nest: where it begins, and if it has several axes its sizes.

    What `streams` is written past the caches, where whole registers at their boundaries are.
    """

    pointer: str
    dtype: DType
    shape: tuple[Value, ...]
    streams: bool = False


def pointer(writer: Writer, array: Array, offset: Lanes) -> str:
    """Write the address of an element, or of both parts of a complex one."""
    if array.dtype.is_complex:
        offset = offset * 2
    return _pointer(writer, array, offset)


def _pointer(writer: Writer, array: Array, offset: Lanes) -> str:
    if offset.name == "0":
        return array.pointer
    kind = stored_kind(array.dtype, writer)
    return writer.emit(f"getelementptr {kind}, ptr {array.pointer}, i64 {offset.name}")


def _pointers(writer: Writer, array: Array, offsets: Lanes) -> str:
    kind = stored_kind(array.dtype, writer)
    return writer.emit(f"getelementptr {kind}, ptr {array.pointer}, {offsets.type} {offsets.name}")


LINE = 64  # bytes of a cache line


def fetch(array: Array, offset: Value, lanes: int) -> None:
    """Ask for the lines of some neighbours, which need not exist, into the second-level cache."""
    writer = offset.single.writer
    first = pointer(writer, array, offset.single)
    for start in range(0, lanes * array.dtype.itemsize, LINE):
        place = writer.emit(f"getelementptr i8, ptr {first}, i64 {start}")
        prefetch(writer, place, cache=2)


def prefetch(writer: Writer, address: str, written: bool = False, cache: int = 1) -> None:
    """Ask for the line of an address, which need not exist.

    Args:
        writer: of the module.
        address: as an LLVM value.
        written: whether it will be written, not read.
        cache: how far away it is wanted: 1 for the nearest, or 2.
    """
    given = ("ptr", address), ("i32", str(int(written))), ("i32", str(4 - cache)), ("i32", "1")
    writer.intrinsic("llvm.prefetch.p0", "void", *given)


def load(array: Array, offset: Value, lanes: int, mask: Lanes | None) -> Value:
    """Return the elements at an offset, in elements; lanes without a mask bit are undefined."""
    if array.dtype.is_complex:
        parts = []
        for part in (0, 1):
            at = Value(offset.dtype, (offset.single * 2 + part,), _doubled(offset))
            parts.append(_load(array, at, lanes, mask))
        return Value(array.dtype, tuple(parts))
    return Value(array.dtype, (from_memory(_load(array, offset, lanes, mask), array.dtype),))


def _doubled(offset: Value) -> int | Lanes:
    return offset.step * 2


def _load(array: Array, offset: Value, lanes: int, mask: Lanes | None) -> Lanes:
    writer = offset.single.writer
    kind = stored_kind(array.dtype, writer)
    size = bytes_of(kind)
    if offset.is_uniform:
        return _load_one(writer, array, offset.single, mask)
    if offset.step == 1:
        return load_row(writer, kind, lanes, _pointer(writer, array, offset.single), mask)
    if offset.step == -1:
        turned = None if mask is None else _reversed(mask)
        first = _pointer(writer, array, offset.single - (lanes - 1))
        return _reversed(load_row(writer, kind, lanes, first, turned))
    fits = lanes * size <= writer.target.vector_bytes
    if isinstance(offset.step, int) and 1 < offset.step <= SPREAD and fits:
        place = _pointer(writer, array, offset.single)
        return _load_spread(writer, kind, lanes, place, offset.step, mask)
    vector = type_of(kind, lanes)
    pointers = _pointers(writer, array, widened(offset, lanes).single)
    alive = splat(constant(writer, 1, "i1", 1), lanes) if mask is None else mask
    name = writer.intrinsic(
        f"llvm.masked.gather.v{lanes}{_suffix(kind)}.v{lanes}p0",
        vector,
        (f"<{lanes} x ptr>", pointers),
        ("i32", str(size)),
        (alive.type, alive.name),
        (vector, "zeroinitializer"),
    )
    return Lanes(writer, name, kind, lanes)


def _load_one(writer: Writer, array: Array, offset: Lanes, mask: Lanes | None) -> Lanes:
    """One element for all lanes. Where no lane is alive a zero of our own is read instead."""
    kind = stored_kind(array.dtype, writer)
    place = _pointer(writer, array, offset)
    if mask is not None:
        nothing = writer.room(kind)
        writer.do(f"store {kind} {literal(0, kind)}, ptr {nothing}")
        alive = any_lane(mask)
        place = writer.emit(f"select i1 {alive.name}, ptr {place}, ptr {nothing}")
    name = writer.emit(f"load {kind}, ptr {place}, align {bytes_of(kind)}")
    return Lanes(writer, name, kind, 1)


def load_row(writer: Writer, kind: str, lanes: int, place: str, mask: Lanes | None) -> Lanes:
    """Return neighbours as they are stored, from an address on; 0 in lanes without a mask bit."""
    size = bytes_of(kind)
    vector = type_of(kind, lanes)
    if mask is None:
        name = writer.emit(f"load {vector}, ptr {place}, align {size}")
        return Lanes(writer, name, kind, lanes)
    name = writer.intrinsic(
        f"llvm.masked.load.v{lanes}{_suffix(kind)}.p0",
        vector,
        ("ptr", place),
        ("i32", str(size)),
        (mask.type, mask.name),
        (vector, "zeroinitializer"),
    )
    return Lanes(writer, name, kind, lanes)


def _load_spread(
    writer: Writer, kind: str, lanes: int, place: str, step: int, mask: Lanes | None
) -> Lanes:
    """Elements that stand a few apart, picked from the rows that hold them and nothing behind."""
    starts = [n * lanes for n in range(step - 1)] + [(lanes - 1) * (step - 1)]
    total: Lanes | None = None
    covered = 0
    for start in starts:
        row = writer.emit(f"getelementptr {kind}, ptr {place}, i64 {start}")
        inside = range(start, start + lanes)
        alive = None
        if mask is not None:
            wanted = [e // step if e % step == 0 else lanes for e in inside]
            alive = shuffled(mask, wanted, splat(constant(writer, 0, "i1", 1), lanes))
        part = load_row(writer, kind, lanes, row, alive)
        order = [
            n if n < covered else lanes + n * step - start if n * step in inside else n
            for n in range(lanes)
        ]
        if total is None:
            order = [n * step if n * step < lanes else 0 for n in range(lanes)]
            total = shuffled(part, order)
        else:
            total = shuffled(total, order, part)
        covered = sum(n * step < start + lanes for n in range(lanes))
    assert total is not None
    return total


def store(array: Array, offset: Value, value: Value, lanes: int, mask: Lanes | None) -> None:
    """Write elements at an offset, in the lanes of the mask."""
    if array.dtype.is_complex:
        for part in (0, 1):
            at = Value(offset.dtype, (offset.single * 2 + part,), _doubled(offset))
            _store(array, at, value.parts[part], lanes, mask)
        return
    _store(array, offset, to_memory(value.single, array.dtype), lanes, mask)


def _store(array: Array, offset: Value, value: Lanes, lanes: int, mask: Lanes | None) -> None:
    writer, size = value.writer, bytes_of(value.kind)
    if lanes == 1:
        place = _pointer(writer, array, offset.single)
        writer.do(f"store {value.kind} {value.name}, ptr {place}, align {size}")
        return
    value = splat(value, lanes)
    if offset.step == -1:
        mask = None if mask is None else _reversed(mask)
        value = _reversed(value)
        offset = Value(offset.dtype, (offset.single - (lanes - 1),), 1)
    alive = splat(constant(writer, 1, "i1", 1), lanes) if mask is None else mask
    given = (("i32", str(size)), (alive.type, alive.name))
    if offset.step == 1 and not offset.is_vector:
        place = _pointer(writer, array, offset.single)
        if mask is None:
            plain = f"store {value.type} {value.name}, ptr {place}, align {size}"
            if array.streams and lanes * size % writer.target.vector_bytes == 0:
                _stream(writer, value, place, plain)
            else:
                writer.do(plain)
            return
        name = f"llvm.masked.store.v{lanes}{_suffix(value.kind)}.p0"
        writer.intrinsic(name, "void", (value.type, value.name), ("ptr", place), *given)
        return
    pointers = _pointers(writer, array, widened(offset, lanes).single)
    name = f"llvm.masked.scatter.v{lanes}{_suffix(value.kind)}.v{lanes}p0"
    writer.intrinsic(name, "void", (value.type, value.name), (f"<{lanes} x ptr>", pointers), *given)


def _stream(writer: Writer, value: Lanes, place: str, plain: str) -> None:
    """Write past the caches, which would first read the rest of a line; not across lines."""
    align = writer.target.vector_bytes
    writer.declare("!0", "!0 = !{i32 1}")
    address = Lanes(writer, writer.emit(f"ptrtoint ptr {place} to i64"), "i64", 1)
    whole, broken, on = writer.label("whole"), writer.label("broken"), writer.label("on")
    writer.branch((address & (align - 1)).equals(0).name, whole, broken)
    writer.start(whole)
    text = f"store {value.type} {value.name}, ptr {place}, align {align}, !nontemporal !0"
    writer.do(text)
    writer.jump(on)
    writer.start(broken)
    writer.do(plain)
    writer.jump(on)
    writer.start(on)


def _reversed(x: Lanes) -> Lanes:
    return shuffled(x, range(x.lanes - 1, -1, -1))


def bytes_of(kind: str) -> int:
    """Return the size of an element of an LLVM type in memory."""
    return {"float": 4, "double": 8, "half": 2}.get(kind) or int(kind[1:]) // 8


def _suffix(kind: str) -> str:
    return {"float": "f32", "double": "f64", "half": "f16"}.get(kind, kind)
