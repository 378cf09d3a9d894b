"""What a loop does not change of its places is computed in front of it.

Addresses are kept as where a row begins, so that what is left in the loop is an index. Values found
here stand beside the names of the scope, and end with them.
"""

from __future__ import annotations

from dataclasses import replace

from talweg.base import dtypes
from talweg.codegen import memory
from talweg.codegen.expressions import Scope
from talweg.codegen.values import Value
from talweg.loops.nest import Allocate, Block, Store, expressions, statements
from talweg.loops.scalar import Load, Scalar
from talweg.schedule.place import Monomial, Place, Terms, children, walk


def hoist(scope: Scope, block: Block) -> None:
    """Compute what is known already of the places in a block."""
    for statement in statements(block):
        if isinstance(statement, Allocate):
            continue
        if isinstance(statement, Store):
            _address(scope, statement.buffer, statement.indices)
            _look(scope, statement.value)
        else:
            for value in expressions(statement):
                _look(scope, value)


def _look(scope: Scope, value: Scalar) -> None:
    if isinstance(value, Load):
        _address(scope, value.buffer, value.indices)
        return
    if isinstance(value, Place):
        _sum(scope, value)
    for part in children(value):
        _look(scope, part)


def _address(scope: Scope, buffer: str, indices: tuple[Scalar, ...]) -> None:
    for part in indices:
        for inner in children(part):
            _look(scope, inner)
    if not indices or not isinstance(indices[0], Place) or buffer not in scope.arrays:
        return
    array, place = scope.arrays[buffer], indices[0]
    key = "row", array.pointer, place
    pointer, rest = scope.kept.get(key, (array.pointer, place))
    known = {m: f for m, f in _known(scope, rest).items() if m and _is_same(scope, place, m)}
    if not known:
        return
    begins = "begin", pointer, frozenset(known.items())
    begin = scope.kept.get(begins)
    if begin is None:
        row = replace(array, pointer=pointer)
        begin = memory.pointer(scope.writer, row, scope.sum_of(known, place).single)
        scope.kept[begins] = begin
    scope.kept[key] = begin, _without(rest, known)


def _sum(scope: Scope, place: Place) -> None:
    base, rest = scope.kept.get(("known", place), (None, place))
    known = _known(scope, rest)
    if sum(len(m) + (abs(factor) != 1) for m, factor in known.items()) < 2:
        return
    value: Value | None = scope.kept.get(key := ("sum", frozenset(known.items())))
    if value is None:
        value = scope.kept[key] = scope.sum_of(known, place)
    if base is not None:
        value = scope.call("add", dtypes.int64, (base, value))
    scope.kept["known", place] = value, _without(rest, known)


def _known(scope: Scope, place: Place) -> Terms:
    """The terms whose atoms all have values that stay."""
    return {m: f for m, f in place.terms.items() if all(_stays(scope, place, a) for a in m)}


def _stays(scope: Scope, place: Place, atom: str) -> bool:
    inside = place.table.inside[atom]
    if any(name not in scope.names or name in scope.variables for name in inside):
        return False
    return atom[0] != "@" or not any(_reads(p) for p in walk(place.table.atoms[atom]))


def _is_same(scope: Scope, place: Place, monomial: Monomial) -> bool:
    """Whether a product has one value for all lanes."""
    inside = (name for atom in monomial for name in place.table.inside[atom])
    return all(scope.names[name].is_uniform for name in inside)


def _reads(part: Scalar) -> bool:
    return isinstance(part, Load)


def _without(place: Place, known: Terms) -> Place:
    return place.table.place({m: f for m, f in place.terms.items() if m not in known})
