"""Places: index arithmetic in normal form, a Scalar among the others between moves.

A place is a sum of products of names, each with a whole factor: `i * n + j * 2 - a`. So how far a
loop moves an access is read off, and equal places are equal. What is not arithmetic (a loaded
index, a quotient) is an atom with a name of its own, which the nest's table explains.

`placed` gives a nest whose buffers are single rows and whose int64 expressions are places;
`spelled` gives back a nest of plain expressions.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import replace
from typing import TypeAlias, final

from talweg.base import dtypes
from talweg.base.dtypes import DType
from talweg.loops.affine import Ranges, to_polynomial
from talweg.loops.nest import (
    Allocate,
    Block,
    Buffer,
    Guard,
    Let,
    Loop,
    LoopNest,
    Statement,
    Store,
    Var,
    map_scalars,
    statements,
)
from talweg.loops.scalar import (
    Argument,
    Call,
    Constant,
    Index,
    Load,
    Local,
    Scalar,
    constant,
    substitute,
)
from talweg.loops.scalar import children as plain_children
from talweg.loops.scalar import rebuild as plain_rebuild
from talweg.loops.scalar import walk as plain_walk

Monomial: TypeAlias = tuple[str, ...]
Terms: TypeAlias = dict[Monomial, int]


@final
class Table:
    """What the names in places of one nest stand for.

    Attributes:
        atoms: Index, Argument or Local, or an expression with a name that begins with `@`.
        inside: the names of indices and locals in each atom.
    """

    def __init__(self) -> None:
        self.atoms: dict[str, Scalar] = {}
        self.inside: dict[str, frozenset[str]] = {}
        self._known: dict[Scalar, str] = {}

    def name(self, atom: Scalar) -> str:
        """Return the name of an atom."""
        if isinstance(atom, Index | Argument | Local):
            if atom.name not in self.atoms:
                self.atoms[atom.name] = atom
                fixed = isinstance(atom, Argument)
                self.inside[atom.name] = frozenset() if fixed else frozenset((atom.name,))
            return atom.name
        found = self._known.get(atom)
        if found is None:
            found = self._known[atom] = f"@{len(self._known)}"
            self.atoms[found] = atom
            self.inside[found] = frozenset(names_in(atom))
        return found

    def place(self, terms: Terms) -> Place:
        """Return a place of this table."""
        return Place(terms, self)


@final
class Place(Scalar):
    """A sum of products of atoms with factors; immutable."""

    __slots__ = ("_code", "_expressions", "_factors", "_names", "table", "terms")

    dtype: DType = dtypes.int64

    def __init__(self, terms: Terms, table: Table) -> None:
        self.terms, self.table = terms, table
        self._code: int | None = None
        self._names: frozenset[str] | None = None
        self._expressions: tuple[Scalar, ...] | None = None
        self._factors: dict[str, Place | None] = {}

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Place) and self.terms == other.terms

    def __hash__(self) -> int:
        if self._code is None:
            self._code = hash(frozenset(self.terms.items()))
        return self._code

    def __repr__(self) -> str:
        return f"Place({self.terms})"

    @property
    def number(self) -> int | None:
        """The value of a place without names."""
        if not self.terms:
            return 0
        return self.terms.get(()) if len(self.terms) == 1 else None

    def names(self) -> frozenset[str]:
        """Return the indices and locals that it holds."""
        if self._names is None:
            inside, atoms = self.table.inside, {a for monomial in self.terms for a in monomial}
            self._names = frozenset().union(*[inside[atom] for atom in atoms])
        return self._names

    def expressions(self) -> tuple[Scalar, ...]:
        """Return the atoms that are more than names."""
        if self._expressions is None:
            names = [atom for monomial in self.terms for atom in monomial if atom[0] == "@"]
            self._expressions = tuple([self.table.atoms[name] for name in names])
        return self._expressions

    def factor(self, index: str) -> Place | None:
        """Return what an index is multiplied with; None where it is not just multiplied."""
        try:
            return self._factors[index]
        except KeyError:
            found = self._factors[index] = self._factor(index)
            return found

    def _factor(self, index: str) -> Place | None:
        total: Terms = {}
        inside = self.table.inside
        for monomial, number in self.terms.items():
            if index in monomial:
                rest = list(monomial)
                rest.remove(index)
                if any(index in inside[atom] for atom in rest):
                    return None
                total[tuple(rest)] = number
            elif any(index in inside[atom] for atom in monomial):
                return None
        return Place(total, self.table)

    def plus(self, other: Place, scale: int = 1) -> Place:
        """Return the sum with a multiple of another place."""
        total = dict(self.terms)
        for monomial, number in other.terms.items():
            value = total.get(monomial, 0) + scale * number
            if value:
                total[monomial] = value
            else:
                total.pop(monomial, None)
        return Place(total, self.table)

    def times(self, other: Place) -> Place:
        """Return the product."""
        total: Terms = {}
        for one, x in self.terms.items():
            for two, y in other.terms.items():
                both = tuple(sorted(one + two)) if one and two else one or two
                value = total.get(both, 0) + x * y
                if value:
                    total[both] = value
                else:
                    total.pop(both, None)
        return Place(total, self.table)

    def at(self, index: str, value: Place) -> Place:
        """Return the place with another one put for an index, inside atoms too."""
        if index not in self.names():
            return self
        total = Place({}, self.table)
        for monomial, number in self.terms.items():
            term = Place({(): number}, self.table)
            for atom in monomial:
                if atom == index:
                    part = value
                elif index in self.table.inside[atom]:
                    changed = put(self.table.atoms[atom], index, value)
                    part = settled(changed, self.table)
                else:
                    part = Place({(atom,): 1}, self.table)
                term = term.times(part)
            total = total.plus(term)
        return total


# -- expressions that may hold places


def children(value: Scalar) -> tuple[Scalar, ...]:
    """Return the direct parts of an expression; those of a place are its atoms."""
    if isinstance(value, Place):
        return value.expressions()
    return plain_children(value)


def walk(value: Scalar) -> Iterator[Scalar]:
    """Yield an expression and all its parts."""
    stack = [value]
    while stack:
        value = stack.pop()
        yield value
        parts = value.expressions() if value.__class__ is Place else plain_children(value)
        if parts:
            stack.extend(parts[::-1])


def names_in(value: Scalar) -> set[str]:
    """Return the indices and locals in an expression."""
    found: set[str] = set()
    for part in plain_walk(value):
        if isinstance(part, Place):
            found |= part.names()
        elif isinstance(part, Index | Local):
            found.add(part.name)
    return found


def map_places(value: Scalar, change: Callable[[Place], Scalar]) -> Scalar:
    """Return an expression with its places replaced, but for those inside of places."""
    if isinstance(value, Place):
        return change(value)
    parts = plain_children(value)
    if not parts:
        return value
    new = tuple(map_places(p, change) for p in parts)
    return value if all(a is b for a, b in zip(new, parts, strict=True)) else rebuilt(value, new)


def rebuilt(value: Scalar, parts: tuple[Scalar, ...]) -> Scalar:
    """Return an expression with other parts of the same dtypes, without checking them again."""
    if isinstance(value, Call):
        new = object.__new__(Call)
        for field, given in (
            ("function", value.function), ("operands", parts), ("dtype", value.dtype)
        ):  # fmt: skip
            object.__setattr__(new, field, given)
        return new
    return plain_rebuild(value, parts)


def put(value: Scalar, index: str, new: Place) -> Scalar:
    """Return an expression with a place put for an index."""
    return map_places(value, lambda place: place.at(index, new))


def replaced(value: Scalar, parts: Mapping[Scalar, Scalar]) -> Scalar:
    """Return an expression with some of its parts, outside of places, replaced."""
    if value in parts:
        return parts[value]
    if isinstance(value, Place):
        return value
    old = plain_children(value)
    new = tuple(replaced(p, parts) for p in old)
    return value if all(a is b for a, b in zip(new, old, strict=True)) else rebuilt(value, new)


def settled(value: Scalar, table: Table) -> Place:
    """Return the place of an int64 expression of places."""
    if isinstance(value, Place):
        return value
    if isinstance(value, Call) and value.function in ("floordiv", "mod"):
        left, right = (settled(o, table) for o in value.operands)
        a, b = left.number, right.number
        if a is not None and b:
            return table.place(_number(a // b if value.function == "floordiv" else a % b))
    return table.place({(table.name(value),): 1})


def _number(value: int) -> Terms:
    return {(): value} if value else {}


# -- nests of places


def placed(nest: LoopNest) -> LoopNest:
    """Return the nest with rows for buffers and places for int64 expressions.

    A buffer of several axes keeps its elements in row-major order. Lets of index arithmetic are
    gone: what they stand for is part of the places that use them.
    """
    making = _Placing(nest)
    body = making.block(nest.body, {})
    inputs, outputs = (tuple(making.row(b) for b in bs) for bs in (nest.inputs, nest.outputs))
    return replace(nest, inputs=inputs, outputs=outputs, body=body)


class _Placing:
    """Rewrites one nest."""

    def __init__(self, nest: LoopNest) -> None:
        self.table = Table()
        self.shapes = {b.name: b.shape for b in nest.inputs + nest.outputs}
        self.variables = {s.name for s in statements(nest.body) if isinstance(s, Var)}
        self.lets: dict[str, Scalar] = {}
        self.one = self.table.place({(): 1})

    def row(self, buffer: Buffer) -> Buffer:
        if not buffer.shape:
            return buffer
        total = self.one
        for size in buffer.shape:
            total = total.times(self.place(size, {}))
        return replace(buffer, shape=(total,))

    def block(self, block: Block, ranges: Ranges) -> Block:
        return tuple(new for s in block for new in self.statement(s, ranges))

    def statement(self, statement: Statement, ranges: Ranges) -> tuple[Statement, ...]:
        match statement:
            case Loop(index, extent, order, body):
                plain = substitute(extent, self.lets) if self.lets else extent
                inner = self.block(body, {**ranges, index: plain})
                return (Loop(index, self.place(extent, ranges), order, inner),)
            case Guard(condition, body, otherwise):
                inside, outside = (self.block(b, ranges) for b in (body, otherwise))
                return (Guard(self.value(condition, ranges), inside, outside),)
            case Store(buffer, indices, value, combine):
                place = self.element(buffer, indices, ranges)
                return (Store(buffer, place, self.value(value, ranges), combine),)
            case Let(name, value):
                if value.dtype is dtypes.int64 and self._is_arithmetic(value):
                    self.lets[name] = substitute(value, self.lets)
                    return ()
                return (Let(name, self.value(value, ranges)),)
            case Allocate(buffer):
                self.shapes[buffer.name] = buffer.shape
                return (Allocate(self.row(buffer)),)
        return map_scalars((statement,), lambda value: self.value(value, ranges))

    def _is_arithmetic(self, value: Scalar) -> bool:
        """Whether a value is made of indices and arguments by sums, products and divisions."""
        for part in plain_walk(value):
            if isinstance(part, Local):
                if part.name not in self.lets:
                    return False
            elif isinstance(part, Call):
                if part.function not in ("add", "sub", "mul", "neg", "floordiv", "mod"):
                    return False
            elif not isinstance(part, Constant | Argument | Index):
                return False
        return True

    def value(self, value: Scalar, ranges: Ranges) -> Scalar:
        """An expression with places in it."""
        if isinstance(value, Load):
            return Load(
                value.buffer, self.element(value.buffer, value.indices, ranges), value.dtype
            )
        if value.dtype is dtypes.int64:
            return self.place(value, ranges)
        parts = plain_children(value)
        if not parts:
            return value
        return rebuilt(value, tuple(self.value(p, ranges) for p in parts))

    def element(self, buffer: str, indices: Iterable[Scalar], ranges: Ranges) -> tuple[Scalar, ...]:
        """The row-major position of an element."""
        sizes = self.shapes[buffer]
        at: Scalar | None = None
        if any(_divides(i) for i in indices):
            for index, size in zip(indices, sizes, strict=True):
                at = index if at is None else at * size + index
            return () if at is None else (self.place(at, ranges),)
        total: Place | None = None
        for index, size in zip(indices, sizes, strict=True):
            here = self.place(index, ranges)
            total = here if total is None else total.times(self.place(size, {})).plus(here)
        return () if total is None else (total,)

    def place(self, value: Scalar, ranges: Ranges) -> Place:
        """The place of an int64 expression."""
        if _divides(value) or any(
            isinstance(p, Local) and p.name in self.lets and _divides(self.lets[p.name])
            for p in plain_walk(value)
        ):
            whole = substitute(value, self.lets) if self.lets else value
            total = self.table.place({})
            for monomial, number in to_polynomial(whole, ranges).items():
                term = self.table.place({(): number})
                for atom in monomial:
                    term = term.times(self._sum(atom, ranges))
                total = total.plus(term)
            return total
        return self._sum(value, ranges)

    def _sum(self, value: Scalar, ranges: Ranges) -> Place:
        match value:
            case Constant():
                return self.table.place(_number(int(value.text)))
            case Local(name) if name in self.lets:
                return self.place(self.lets[name], ranges)
            case Index() | Argument() | Local():
                return self.table.place({(self.table.name(value),): 1})
            case Call("add" | "sub" as function, (left, right)):
                scale = 1 if function == "add" else -1
                return self._sum(left, ranges).plus(self._sum(right, ranges), scale)
            case Call("mul", (left, right)):
                return self._sum(left, ranges).times(self._sum(right, ranges))
            case Call("neg", (operand,)):
                return self.table.place({}).plus(self._sum(operand, ranges), -1)
            case Load():
                return settled(self.value(value, ranges), self.table)
        parts = tuple(self.value(p, ranges) for p in plain_children(value))
        return settled(rebuilt(value, parts), self.table)


def _divides(value: Scalar) -> bool:
    return any(isinstance(p, Call) and p.function in ("floordiv", "mod") for p in plain_walk(value))


def spelled(nest: LoopNest) -> LoopNest:
    """Return the nest with places written as plain expressions."""
    inputs, outputs = (
        tuple(replace(b, shape=tuple(map(plain, b.shape))) for b in bs)
        for bs in (nest.inputs, nest.outputs)
    )
    return replace(nest, inputs=inputs, outputs=outputs, body=map_scalars(nest.body, plain))


def plain(value: Scalar) -> Scalar:
    """Return an expression without places."""
    return map_places(value, _plain_place)


def _plain_place(place: Place) -> Scalar:
    total: Scalar | None = None
    for monomial, number in sorted(place.terms.items(), key=lambda t: (t[1] < 0, t[0])):
        parts = [plain(place.table.atoms[atom]) for atom in monomial]
        if abs(number) != 1 or not parts:
            parts.append(constant(abs(number), dtypes.int64))
        term = parts[0]
        for part in parts[1:]:
            term = term * part
        if total is None:
            total = term if number > 0 else -term
        else:
            total = total + term if number > 0 else total - term
    return constant(0, dtypes.int64) if total is None else total


# -- names


def names_of(nest: LoopNest) -> set[str]:
    """Return every name that stands in a nest."""
    found = {a.name for a in nest.arguments} | {b.name for b in nest.inputs + nest.outputs}
    for statement in statements(nest.body):
        match statement:
            case Loop(index, _, _, _):
                found.add(index)
            case Let(name, _) | Var(name, _):
                found.add(name)
            case Allocate(buffer):
                found.add(buffer.name)
    return found


class Fresh:
    """Gives names that do not stand in a nest."""

    def __init__(self, nest: LoopNest) -> None:
        self.taken = names_of(nest)

    def name(self, stem: str) -> str:
        """Return a new name that begins like this."""
        n = 0
        while f"{stem}{n}" in self.taken:
            n += 1
        self.taken.add(f"{stem}{n}")
        return f"{stem}{n}"
