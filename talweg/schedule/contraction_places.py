"""Places in contractions: where operands read memory, and how far each index moves them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping

from talweg.base.frozen import frozen
from talweg.loops.nest import Block, Store, expressions, statements
from talweg.loops.scalar import Call, Constant, Load, Scalar, Select, call
from talweg.schedule.place import Place, children, names_in, settled, walk


@frozen
class Read:
    """An operand that is an element of memory, or 0 where not all conditions hold."""

    load: Load
    conditions: tuple[Scalar, ...]

    @property
    def place(self) -> Place:
        """Where in the buffer the element is."""
        (place,) = self.load.indices
        assert isinstance(place, Place)
        return place


def read_of(value: Scalar) -> Read | None:
    """Return the operand as an element of memory, None if it is anything else."""
    load: Scalar = value
    conditions: tuple[Scalar, ...] = ()
    if isinstance(value, Select):
        other = value.otherwise
        if not isinstance(other, Constant) or float(other.text) != 0.0:
            return None
        load, conditions = value.then, tuple(_conjuncts(value.condition))
    return Read(load, conditions) if isinstance(load, Load) and load.indices else None


def conditions_in(value: Scalar) -> Iterator[Scalar]:
    """Yield what the choices in an expression depend on."""
    return (p.condition for p in walk(value) if isinstance(p, Select))


def _conjuncts(condition: Scalar) -> Iterator[Scalar]:
    if isinstance(condition, Call) and condition.function == "logical_and":
        for part in condition.operands:
            yield from _conjuncts(part)
    else:
        yield condition


def loads(*values: Scalar) -> Iterator[Load]:
    """Yield the loads of memory with axes in expressions."""
    for value in values:
        yield from (p for p in walk(value) if isinstance(p, Load) and p.indices)


def elements(block: Block) -> Iterator[Scalar]:
    """Yield the expressions of a block; what it stores to stands as a load."""
    for statement in statements(block):
        if isinstance(statement, Store):
            yield Load(statement.buffer, statement.indices, statement.value.dtype)
            yield statement.value
        else:
            yield from expressions(statement)


def step(load: Load, index: str) -> int | None:
    """Return how far a load moves with an index, None where that is no known number."""
    (place,) = load.indices
    assert isinstance(place, Place)
    factor = place.factor(index)
    return None if factor is None else factor.number


def step_of(value: Scalar, index: str) -> int | None:
    """Return how far all loads of an expression that move with an index do so."""
    steps = {step(load, index) for load in loads(value) if index in names_in(load)}
    return steps.pop() if len(steps) == 1 else None


def stored(epilogue: Block) -> list[Load]:
    """Return what an epilogue stores to, as loads."""
    stores = [s for s in statements(epilogue) if isinstance(s, Store)]
    return [Load(s.buffer, s.indices, s.value.dtype) for s in stores]


def is_even(place: Place) -> bool:
    """Whether a place is a sum of indices times what stays the same."""
    indices = place.names()
    return all(place.factor(index) is not None for index in indices) and all(
        sum(len(place.table.inside[atom]) for atom in monomial) <= 1 for monomial in place.terms
    )


def walked_as_one(outer: str, inner: str, extent: Place, values: Iterable[Scalar]) -> bool:
    """Whether two axes are only used in places, and always so that they are one longer axis."""
    return all(
        _is_one_axis(outer, inner, extent, place, element)
        for value in values
        for place, element in _places(value, False)
    )


def _is_one_axis(outer: str, inner: str, extent: Place, place: Place, element: bool) -> bool:
    names = place.names()
    if outer not in names and inner not in names:
        return True
    far, near = place.factor(outer), place.factor(inner)
    return element and far is not None and near is not None and far == near.times(extent)


def _places(value: Scalar, element: bool) -> Iterator[tuple[Place, bool]]:
    """The places in an expression, and whether each says where an element is."""
    if isinstance(value, Place):
        yield value, element
    for part in children(value):
        yield from _places(part, isinstance(value, Load))


def divided(place: Place, below: Mapping[str, Place]) -> Place:
    """Return a place whose quotients and remainders have no multiples of the divisor inside.

    `below` says for some indices by which divisor they need not be divided any more.
    """
    total = place.table.place({})
    for monomial, factor in place.terms.items():
        term = place.table.place({(): factor})
        for atom in monomial:
            term = term.times(_reduced(place, atom, below))
        total = total.plus(term)
    return total


def _reduced(place: Place, atom: str, below: Mapping[str, Place]) -> Place:
    table = place.table
    same = table.place({(atom,): 1})
    value = table.atoms[atom]
    if not isinstance(value, Call) or value.function not in ("floordiv", "mod"):
        return same
    dividend, divisor = value.operands
    if not isinstance(dividend, Place) or not isinstance(divisor, Place):
        return same
    dividend = divided(dividend, below)
    whole, rest = _cut(dividend, divisor)
    small = any(rest.terms == {(i,): 1} and divisor == size for i, size in below.items())
    if not rest.terms or small:
        return whole if value.function == "floordiv" else rest
    left = settled(call(value.function, rest, divisor), table)
    return whole.plus(left) if value.function == "floordiv" else left


def _cut(dividend: Place, divisor: Place) -> tuple[Place, Place]:
    """(Q, R) with dividend = divisor * Q + R."""
    table, number = dividend.table, divisor.number
    whole, rest = table.place({}), dividend
    if number:
        kept = {m: f // number for m, f in dividend.terms.items() if f % number == 0}
        whole = table.place(kept)
    elif len(divisor.terms) == 1 and 1 in divisor.terms.values():
        (part,) = divisor.terms
        for monomial, factor in dividend.terms.items():
            left = list(monomial)
            if all(atom in left for atom in part):
                for atom in part:
                    left.remove(atom)
                whole = whole.plus(table.place({tuple(left): factor}))
    return whole, rest.plus(whole.times(divisor), -1)
