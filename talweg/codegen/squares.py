"""Squares: elements that stand along the rows' index are turned to stand along columns.

For every operand that needs it the square is read in lines along the rows' index, one for each
column, transposed, and kept in memory of the function; a row of the square is then one vector.
Lines behind the last column are the last one again, elements behind the last row are not read.

The lines of a square to come are fetched meanwhile, and those it will be written to as well: a
store that misses the caches holds up those behind it.
"""

from __future__ import annotations

import functools
from collections.abc import Sequence

from talweg.codegen import memory
from talweg.codegen.elements import stored_kind
from talweg.codegen.expressions import Scope
from talweg.codegen.lanes import Lanes, type_of
from talweg.codegen.transpose import write_turned
from talweg.loops.nest import Loop, Store
from talweg.loops.scalar import Load
from talweg.schedule.place import Place
from talweg.schedule.tiles import Square, is_across, loads


def turn(scope: Scope, rows: Loop, columns: Loop, square: Square) -> None:
    """Turn the operands of a square; loads in its loops then take rows of it.

    Args:
        scope: the names in front of the loop over the rows.
        rows, columns: the loops of the square.
        square: what the schedule says of them.
    """
    turned: dict[tuple[str, Place], str] = {}
    for load in loads(columns.body):
        if not is_across(load, rows.index, columns.index):
            continue
        (place,) = load.indices
        assert isinstance(place, Place)
        key = load.buffer, place
        if key not in turned:
            turned[key] = _turned(scope, load, (rows, columns), square)
        scope.kept["row", id(load)] = load, turned[key], rows.index
    for store in columns.body:
        if isinstance(store, Store) and not scope.arrays[store.buffer].streams:
            _fetched(scope, store, (rows, columns), square)


def _origin(scope: Scope, accessed: Load | Store, loops: Sequence[Loop]) -> tuple[Place, str]:
    """Where a square begins, as a place and as an address."""
    (place,) = accessed.indices
    assert isinstance(place, Place)
    array, zero = scope.arrays[accessed.buffer], place.table.place({})
    origin = functools.reduce(lambda at, loop: at.at(loop.index, zero), loops, place)
    row, offset = scope.element(array, (origin,))
    return place, memory.pointer(scope.writer, row, offset.single)


def _turned(scope: Scope, load: Load, loops: tuple[Loop, Loop], square: Square) -> str:
    """The address of a transposed square."""
    writer, lanes = scope.writer, square.size
    kind = stored_kind(scope.arrays[load.buffer].dtype, writer)
    place, address = _origin(scope, load, loops)
    step, ahead = (_move(scope, place, index) for index in (square.columns, square.read))
    rows, columns = (scope.value(loop.extent).single for loop in loops)
    room = writer.room(f"[{lanes} x {type_of(kind, lanes)}]")
    whole = {"step": step, "ahead": ahead, "present": rows, "lines": columns}
    write_turned(writer, kind, lanes, address, room, apart=lanes, **whole)
    return room


def _move(scope: Scope, place: Place, index: str) -> Lanes:
    """How far an index moves a place; nowhere if that is not the same everywhere."""
    factor = place.factor(index)
    return scope.place(place.table.place({}) if factor is None else factor).single


def _fetched(scope: Scope, store: Store, loops: tuple[Loop, Loop], square: Square) -> None:
    """Fetch the lines to which squares will be written some iterations later."""
    writer = scope.writer
    kind = stored_kind(scope.arrays[store.buffer].dtype, writer)
    place, address = _origin(scope, store, loops)
    apart = _move(scope, place, loops[0].index).name
    further = place.factor(square.written)
    assert further is not None
    ahead = scope.place(further.times(place.table.place({(): square.ahead}))).single.name
    address = writer.emit(f"getelementptr {kind}, ptr {address}, i64 {ahead}")
    for _ in range(square.size):
        memory.prefetch(writer, address, written=True)
        address = writer.emit(f"getelementptr {kind}, ptr {address}, i64 {apart}")
