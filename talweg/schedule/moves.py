"""Moves: a loop nest becomes another one that means the same.

They work on nests of places (`place.placed`). What a move may do rests on the orders of loops:
iterations of parallel loops are independent, those of reduction loops may be regrouped.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace

from talweg.loops.nest import (
    Accumulate,
    Allocate,
    Assign,
    Block,
    Guard,
    Let,
    Loop,
    LoopNest,
    Statement,
    Var,
    expressions,
    map_scalars,
    statements,
)
from talweg.loops.scalar import Index, Local, Scalar
from talweg.schedule.place import Fresh, Place, names_in, put, rebuilt, settled, walk
from talweg.schedule.place import children as parts_of

COPIES = 16  # iterations of small loops that are written out
WRITTEN = 400  # parts of expressions that these copies may have together


def each_loop(block: Block, change: Callable[[Loop], Block]) -> Block:
    """Return a block with every loop replaced, inner loops first."""
    return each_block(block, lambda inner: tuple(s for new in inner for s in _changed(new, change)))


def _changed(statement: Statement, change: Callable[[Loop], Block]) -> Block:
    return change(statement) if isinstance(statement, Loop) else (statement,)


def each_block(block: Block, change: Callable[[Block], Block]) -> Block:
    """Return a block with every block in it, and itself, replaced; inner blocks first."""
    found: list[Statement] = []
    for statement in block:
        match statement:
            case Loop(index, extent, order, body):
                found.append(Loop(index, extent, order, each_block(body, change)))
            case Guard(condition, body, otherwise):
                inner, outer = each_block(body, change), each_block(otherwise, change)
                found.append(Guard(condition, inner, outer))
            case _:
                found.append(statement)
    return change(tuple(found))


def parallel_loops(block: Block) -> tuple[tuple[Loop, ...], Block]:
    """Return the parallel loops of a block that stand alone in each other, and what is inside."""
    loops: list[Loop] = []
    while len(block) == 1 and isinstance(block[0], Loop) and block[0].order == "parallel":
        loops.append(block[0])
        block = block[0].body
    return tuple(loops), block


def around(loops: Sequence[Loop], block: Block) -> Block:
    """Return a block inside of loops, the first of them outermost."""
    for loop in reversed(loops):
        block = (replace(loop, body=block),)
    return block


# -- small loops written out


def unrolled(nest: LoopNest) -> LoopNest:
    """Write out innermost reduction and sequential loops of few iterations, as windows have."""
    fresh = Fresh(nest)

    def written(loop: Loop) -> Block:
        count = _count(loop)
        if count is None or count > COPIES or loop.order == "parallel":
            return (loop,)
        inside = list(statements(loop.body))
        if any(isinstance(s, Loop | Allocate) for s in inside):
            return (loop,)
        size = sum(1 for s in inside for v in expressions(s) for _ in walk(v))
        if size * count > WRITTEN:
            return (loop,)
        return tuple(s for n in range(count) for s in _copy(loop, n, fresh))

    return replace(nest, body=each_loop(nest.body, written))


def _count(loop: Loop) -> int | None:
    return loop.extent.number if isinstance(loop.extent, Place) else None


def _copy(loop: Loop, n: int, fresh: Fresh) -> Block:
    assert isinstance(loop.extent, Place)
    return iteration(loop, loop.extent.table.place({(): n} if n else {}), fresh)


def iteration(loop: Loop, place: Place, fresh: Fresh) -> Block:
    """Return what a loop does at one place, with names of its own."""
    body = map_scalars(loop.body, lambda value: put(value, loop.index, place))
    inside = [s for s in statements(body) if isinstance(s, Let | Var)]
    return renamed(body, {s.name: fresh.name(s.name + "_") for s in inside}) if inside else body


def renamed(block: Block, names: Mapping[str, str]) -> Block:
    """Return a block whose Lets and Vars have other names."""

    def value(old: Scalar) -> Scalar:
        return _renamed(old, names)

    return tuple(_renamed_statement(s, names, value) for s in block)


def _renamed(value: Scalar, names: Mapping[str, str]) -> Scalar:
    if isinstance(value, Local):
        return Local(names[value.name], value.dtype) if value.name in names else value
    if isinstance(value, Place):
        return _renamed_place(value, names)
    parts = parts_of(value)
    if not parts:
        return value
    new_parts = tuple(_renamed(p, names) for p in parts)
    same = all(a is b for a, b in zip(new_parts, parts, strict=True))
    return value if same else rebuilt(value, new_parts)


def _renamed_place(place: Place, names: Mapping[str, str]) -> Place:
    """The place with other names, inside its atoms too."""
    table = place.table
    if not place.names() & names.keys():
        return place
    total = Place({}, table)
    for monomial, number in place.terms.items():
        term = Place({(): number}, table)
        for atom in monomial:
            part = Place({(atom,): 1}, table)
            if names.keys() & set(table.inside[atom]):
                part = settled(_renamed(table.atoms[atom], names), table)
            term = term.times(part)
        total = total.plus(term)
    return total


def _renamed_statement(
    statement: Statement, names: Mapping[str, str], value: Callable[[Scalar], Scalar]
) -> Statement:
    match statement:
        case Loop(_, extent, _, body):
            return replace(statement, extent=value(extent), body=renamed(body, names))
        case Guard(condition, body, otherwise):
            inner, outer = renamed(body, names), renamed(otherwise, names)
            return Guard(value(condition), inner, outer)
        case Let(name, old) | Var(name, old) | Assign(name, old):
            return type(statement)(names.get(name, name), value(old))
        case Accumulate(combine, folded, values):
            return Accumulate(
                combine, tuple(names.get(n, n) for n in folded), tuple(map(value, values))
            )
    (plain,) = map_scalars((statement,), value)
    return plain


def copied(block: Block, fresh: Fresh) -> Block:
    """Return a block that binds new names."""
    inside = list(statements(block))
    names = {s.name: fresh.name(s.name + "_") for s in inside if isinstance(s, Let | Var)}
    block = renamed(block, names) if names else block

    def counted(loop: Loop) -> Block:
        assert isinstance(loop.extent, Place)
        index = fresh.name(loop.index + "_")
        new = settled(Index(index), loop.extent.table)
        body = map_scalars(loop.body, lambda value: put(value, loop.index, new))
        return (Loop(index, loop.extent, loop.order, body),)

    return each_loop(block, counted)


def assigned_in(block: Block) -> set[str]:
    """Return the names that a block gives new values."""
    found: set[str] = set()
    for statement in statements(block):
        if isinstance(statement, Assign):
            found.add(statement.name)
        elif isinstance(statement, Accumulate):
            found.update(statement.names)
    return found


def used_in(block: Block) -> set[str]:
    """Return the indices and locals that a block uses and does not bind."""
    inside = list(statements(block))
    bound = {s.name for s in inside if isinstance(s, Let | Var)}
    bound |= {s.index for s in inside if isinstance(s, Loop)}
    used = {name for s in inside for v in expressions(s) for name in names_in(v)}
    return (used | assigned_in(block)) - bound


# -- loops that walk memory as one


def collapsed(nest: LoopNest) -> LoopNest:
    """Join loops that stand alone in each other and are only used like digits of one number."""
    return replace(nest, body=each_loop(nest.body, _joined))


def _joined(outer: Loop) -> Block:
    if len(outer.body) != 1 or not isinstance(outer.body[0], Loop):
        return (outer,)
    (inner,) = outer.body
    assert isinstance(inner, Loop)
    if inner.order != outer.order or outer.order == "sequential":
        return (outer,)
    assert isinstance(outer.extent, Place)
    assert isinstance(inner.extent, Place)
    if outer.index in inner.extent.names() or not _walked_as_one(outer, inner):
        return (outer,)
    zero = inner.extent.table.place({})
    body = map_scalars(inner.body, lambda value: put(value, outer.index, zero))
    return (replace(inner, extent=outer.extent.times(inner.extent), body=body),)


def _walked_as_one(outer: Loop, inner: Loop) -> bool:
    """Whether both indices stand in places only, and there as outer * size + inner."""
    size = inner.extent
    assert isinstance(size, Place)

    def as_one(place: Place) -> bool:
        names = place.names()
        if outer.index not in names and inner.index not in names:
            return True
        far, near = place.factor(outer.index), place.factor(inner.index)
        return far is not None and near is not None and far == near.times(size)

    return all(
        as_one(part)
        for statement in statements(inner.body)
        for value in expressions(statement)
        for part in walk(value)
        if isinstance(part, Place)
    )
