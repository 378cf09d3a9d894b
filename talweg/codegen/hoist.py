"""What a loop does not change is computed in front of it.

Of places, the part that is known already: addresses are kept as where a row begins, so that what is
left in the loop is an index. Of other expressions, the largest parts that stay the same. Inputs are
not written while a kernel runs, so their elements stay too; but an element is only read early where
the loop surely reads it. Values found here stand beside the names of the scope, and end with them.
"""

from __future__ import annotations

from typing import final

from talweg.base import dtypes
from talweg.codegen import memory
from talweg.codegen.expressions import Scope
from talweg.codegen.lanes import Lanes, where_pointer
from talweg.codegen.values import Value
from talweg.loops.nest import Allocate, Block, Let, Loop, Store, blocks, expressions
from talweg.loops.scalar import Argument, Constant, Index, Load, Local, Scalar, Select
from talweg.schedule.moves import assigned_in
from talweg.schedule.place import Monomial, Place, Terms, children, walk


def hoist(scope: Scope, block: Block, runs: Lanes | None) -> None:
    """Compute what is known already of the expressions in the body of a loop.

    Args:
        scope: the names in front of the loop.
        block: the body.
        runs: whether it runs at all; None if that is not known.
    """
    _Hoist(scope, assigned_in(block), runs).block(block, runs is not None)


@final
class _Hoist:
    def __init__(self, scope: Scope, changing: set[str], runs: Lanes | None) -> None:
        self.scope, self.changing, self.runs = scope, changing, runs

    def block(self, block: Block, sure: bool) -> None:
        """Look at statements; `sure` if they run whenever the loop does."""
        for statement in block:
            if isinstance(statement, Allocate):
                continue
            if isinstance(statement, Store):
                self.address(statement.buffer, statement.indices, sure)
            for value in expressions(statement):
                if self.look(value, sure):
                    self.keep(value)
            if isinstance(statement, Let) and self.kept(statement.value):
                self.scope.names[statement.name] = self.scope.value(statement.value)
            for inner in blocks(statement):
                self.block(inner, False)
                sure = sure and isinstance(statement, Loop)

    def look(self, value: Scalar, sure: bool) -> bool:
        """Whether a value stays the same; if it does not, its largest parts that do are kept."""
        if isinstance(value, Constant) or self.kept(value):
            return True
        if isinstance(value, Argument | Index | Local):
            return value.name in self.scope.names and value.name not in self.changing
        if isinstance(value, Place):
            return self.look_at_place(value, sure)
        if isinstance(value, Load):
            still = [self.look(i, sure) for i in value.indices]
            if all(still) and value.buffer in self.scope.inputs and (sure or not value.indices):
                return self.uniform(value)
            self.address(value.buffer, value.indices, sure)
            return False
        inner = sure and not isinstance(value, Select)
        parts = [(part, self.look(part, inner)) for part in children(value)]
        if all(same for _, same in parts):
            return True
        for part, same in parts:
            if same:
                self.keep(part)
        return False

    def uniform(self, load: Load) -> bool:
        """Whether an element is at one place for all lanes."""
        return all(
            isinstance(place, Place) and all(_is_same(self.scope, place, m) for m in place.terms)
            for place in load.indices
        )

    def kept(self, value: Scalar) -> bool:
        return ("value", id(value)) in self.scope.kept

    def keep(self, value: Scalar) -> None:
        if isinstance(value, Constant | Argument | Index | Local | Place) or self.kept(value):
            return
        if isinstance(value, Load) and value.indices:
            array, offset = self.scope.element(self.scope.arrays[value.buffer], value.indices)
            assert self.runs is not None
            place = memory.pointer(self.scope.writer, array, offset.single)
            place = where_pointer(self.runs, place, "%block")
            row = memory.Array(place, array.dtype, array.shape, array.streams)
            found = self.scope.load(row, self.scope.whole(0))
        else:
            for part in walk(value):
                if part is not value and isinstance(part, Load):
                    self.keep(part)
            found = self.scope.value(value)
        self.scope.kept["value", id(value)] = value, found

    # -- places

    def look_at_place(self, place: Place, sure: bool) -> bool:
        for part in children(place):
            if self.look(part, sure):
                self.keep(part)
        scope = self.scope
        base, rest = scope.kept.get(("known", place), (None, place))
        known = self.known(rest)
        if sum(len(m) + (abs(factor) != 1) for m, factor in known.items()) > 1:
            value = self.sum_of(known, place)
            if base is not None:
                value = scope.call("add", dtypes.int64, (base, value))
            scope.kept["known", place] = value, _without(rest, known)
        return len(known) == len(rest.terms)

    def address(self, buffer: str, indices: tuple[Scalar, ...], sure: bool) -> None:
        for part in indices:
            for inner in children(part):
                if self.look(inner, sure):
                    self.keep(inner)
        scope = self.scope
        if not indices or not isinstance(indices[0], Place) or buffer not in scope.arrays:
            return
        array, place = scope.arrays[buffer], indices[0]
        key = "row", array.pointer, place
        pointer, rest = scope.kept.get(key, (array.pointer, place))
        known = {m: f for m, f in self.known(rest).items() if m and _is_same(scope, place, m)}
        if not known:
            return
        begins = "begin", pointer, frozenset(known.items())
        begin = scope.kept.get(begins)
        if begin is None:
            row = memory.Array(pointer, array.dtype, array.shape, array.streams)
            begin = memory.pointer(scope.writer, row, self.sum_of(known, place).single)
            scope.kept[begins] = begin
        scope.kept[key] = begin, _without(rest, known)

    def sum_of(self, known: Terms, place: Place) -> Value:
        """The value of some terms of a place, computed once."""
        key = "sum", frozenset(known.items())
        value: Value | None = self.scope.kept.get(key)
        if value is None:
            value = self.scope.kept[key] = self.scope.sum_of(known, place)
        return value

    def known(self, place: Place) -> Terms:
        """The terms whose atoms all have values that stay."""
        return {m: f for m, f in place.terms.items() if all(self.stays(place, a) for a in m)}

    def stays(self, place: Place, atom: str) -> bool:
        inside = place.table.inside[atom]
        if any(name not in self.scope.names or name in self.changing for name in inside):
            return False
        expression = place.table.atoms[atom]
        return all(not isinstance(p, Load) or self.kept(p) for p in walk(expression))


def _is_same(scope: Scope, place: Place, monomial: Monomial) -> bool:
    """Whether a product has one value for all lanes."""
    inside = (name for atom in monomial for name in place.table.inside[atom])
    return all(scope.names[name].is_uniform for name in inside)


def _without(place: Place, known: Terms) -> Place:
    return place.table.place({m: f for m, f in place.terms.items() if m not in known})
