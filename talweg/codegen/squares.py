"""Squares: elements that stand along the rows' index are turned to stand along columns.

For every operand that needs it the square is read in lines along the rows' index, one for each
column, transposed, and kept in memory of the function; a row of the square is then one vector.
Lines behind the last column are the last one again, elements behind the last row are not read.
"""

from __future__ import annotations

from talweg.codegen import memory
from talweg.codegen.transpose import transposed
from talweg.codegen.elements import stored_kind
from talweg.codegen.expressions import Scope
from talweg.codegen.lanes import Lanes, constant, constants, resize, splat, type_of, where
from talweg.loops.nest import Block, Loop, expressions, statements
from talweg.loops.scalar import Load
from talweg.schedule.place import Place, walk
from talweg.schedule.tiles import is_across


def turn(scope: Scope, rows: Loop, columns: Loop, lanes: int) -> None:
    """Turn the operands of a square; loads in its loops then take rows of it.

    Args:
        scope: the names in front of the loop over the rows.
        rows, columns: the loops of the square.
        lanes: their largest extent.
    """
    row_count = scope.value(rows.extent).single
    column_count = scope.value(columns.extent).single
    places = constants(scope.writer, range(lanes), "i32")
    mask = places < splat(resize(row_count, "i32"), lanes)
    turned: dict[tuple[str, Place], str] = {}
    for load in _loads(columns.body):
        if not is_across(load, rows.index, columns.index):
            continue
        (place,) = load.indices
        assert isinstance(place, Place)
        key = load.buffer, place
        if key not in turned:
            turned[key] = _turned(scope, load, rows, columns, column_count, mask)
        scope.kept["row", id(load)] = load, turned[key], rows.index


def _turned(scope: Scope, load: Load, rows: Loop, columns: Loop, count: Lanes, mask: Lanes) -> str:
    """The address of a transposed square."""
    writer, lanes = scope.writer, mask.lanes
    (place,) = load.indices
    assert isinstance(place, Place)
    array = scope.arrays[load.buffer]
    kind = stored_kind(array.dtype, writer)
    zero = place.table.place({})
    step = place.factor(columns.index)
    assert step is not None
    stride = scope.place(step).single
    origin = place.at(rows.index, zero).at(columns.index, zero)
    row, offset = scope.element(array, (origin,))
    address = memory.pointer(writer, row, offset.single)
    lines = []
    for n in range(lanes):
        lines.append(memory.load_row(writer, kind, lanes, address, mask))
        further = where(constant(writer, n + 1, "i64", 1) < count, stride, 0)
        address = writer.emit(f"getelementptr {kind}, ptr {address}, i64 {further.name}")
    room = writer.room(f"[{lanes} x {type_of(kind, lanes)}]")
    for n, line in enumerate(transposed(lines)):
        at = writer.emit(f"getelementptr {line.type}, ptr {room}, i64 {n}")
        writer.do(f"store {line.type} {line.name}, ptr {at}")
    return room


def _loads(block: Block) -> list[Load]:
    return [
        part
        for statement in statements(block)
        for value in expressions(statement)
        for part in walk(value)
        if isinstance(part, Load)
    ]
