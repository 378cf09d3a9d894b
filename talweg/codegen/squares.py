"""Squares: elements that stand along the rows' index are turned to stand along columns.

For every operand that needs it the square is read in lines along the rows' index, one for each
column, transposed, and kept in memory of the function; a row of the square is then one vector.
Lines behind the last column are the last one again, elements behind the last row are not read.
"""

from __future__ import annotations

from talweg.codegen import memory
from talweg.codegen.elements import stored_kind
from talweg.codegen.expressions import Scope
from talweg.codegen.lanes import Lanes, constant, constants, resize, splat, type_of, where
from talweg.codegen.transpose import transposed
from talweg.codegen.writer import Writer
from talweg.loops.nest import Loop
from talweg.loops.scalar import Load
from talweg.schedule.place import Place
from talweg.schedule.tiles import is_across, loads


def turn(scope: Scope, rows: Loop, columns: Loop, lanes: int) -> None:
    """Turn the operands of a square; loads in its loops then take rows of it.

    Args:
        scope: the names in front of the loop over the rows.
        rows, columns: the loops of the square.
        lanes: their largest extent.
    """
    turned: dict[tuple[str, Place], str] = {}
    for load in loads(columns.body):
        if not is_across(load, rows.index, columns.index):
            continue
        (place,) = load.indices
        assert isinstance(place, Place)
        key = load.buffer, place
        if key not in turned:
            turned[key] = _turned(scope, load, rows, columns, lanes)
        scope.kept["row", id(load)] = load, turned[key], rows.index


def _turned(scope: Scope, load: Load, rows: Loop, columns: Loop, lanes: int) -> str:
    """The address of a transposed square."""
    writer = scope.writer
    (place,) = load.indices
    assert isinstance(place, Place)
    array = scope.arrays[load.buffer]
    kind = stored_kind(array.dtype, writer)
    zero = place.table.place({})
    step = place.factor(columns.index)
    assert step is not None
    origin = place.at(rows.index, zero).at(columns.index, zero)
    row, offset = scope.element(array, (origin,))
    address = memory.pointer(writer, row, offset.single)
    counts = [scope.value(loop.extent).single.name for loop in (rows, columns)]
    room = writer.room(f"[{lanes} x {type_of(kind, lanes)}]")
    name = _function(writer, kind, lanes)
    stride = scope.place(step).single.name
    given = ", ".join(f"i64 {value}" for value in (stride, *counts))
    writer.do(f"call void @{name}(ptr {address}, {given}, ptr {room})")
    return room


def _function(writer: Writer, kind: str, lanes: int) -> str:
    """A function of the module that turns a square: the text is long, and the same for all."""
    name = f"turn_{kind}_{lanes}"
    if name in writer.defined:
        return name
    writer.defined[name] = ()
    head = f"internal void @{name}(ptr %from, i64 %step, i64 %rows, i64 %columns, ptr %to)"
    with writer.define(head):
        step, rows, columns = (
            Lanes(writer, f"%{n}", "i64", 1) for n in ("step", "rows", "columns")
        )
        places = constants(writer, range(lanes), "i32")
        mask = places < splat(resize(rows, "i32"), lanes)
        square = (step * lanes).name
        address, lines = "%from", []
        for n in range(lanes):
            lines.append(memory.load_row(writer, kind, lanes, address, mask))
            following = writer.emit(f"getelementptr {kind}, ptr {address}, i64 {square}")
            hint = (("ptr", following), ("i32", "0"), ("i32", "3"), ("i32", "1"))
            writer.intrinsic("llvm.prefetch.p0", "void", *hint)
            further = where(constant(writer, n + 1, "i64", 1) < columns, step, 0)
            address = writer.emit(f"getelementptr {kind}, ptr {address}, i64 {further.name}")
        for n, line in enumerate(transposed(lines)):
            at = writer.emit(f"getelementptr {line.type}, ptr %to, i64 {n}")
            writer.do(f"store {line.type} {line.name}, ptr {at}")
        writer.do("ret void")
    return name
