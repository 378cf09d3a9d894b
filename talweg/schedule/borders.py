"""Borders apart: where windows lie inside of an image no tap is compared with its ends.

    for i in parallel(n):                         for i in parallel(b - a):
        s = 0                                         s = 0
        for k in reduction(K):                        for k in reduction(K):
            s += select(i - p + k in 0 … m,               s += x[i + a - p + k] * w[k]
                        x[i - p + k], 0) * w[k]       out[i + a] = s
        out[i] = s                                for i in parallel(n - (b - a)):  as before

Between a and b the conditions hold for every k. The first axis that is cut gives stages of their
own, so that its items are still shared out; those inside of it are cut where they stand.
"""

from __future__ import annotations

import functools
from collections.abc import Iterator
from dataclasses import replace

from talweg.base import dtypes
from talweg.loops.nest import (
    Accumulate,
    Allocate,
    Block,
    Let,
    Loop,
    LoopNest,
    Statement,
    Var,
    expressions,
    map_scalars,
    statements,
)
from talweg.loops.scalar import Call, Constant, Index, Local, Scalar, Select, call, constant
from talweg.schedule.moves import around, copied, each_block, each_loop, parallel_loops, used_in
from talweg.schedule.place import Fresh, Place, children, map_places, put, rebuilt, settled, walk


def bordered(nest: LoopNest) -> LoopNest:
    """Take the borders of sums of products apart in a nest of places."""
    fresh = Fresh(nest)
    return replace(nest, body=tuple(new for s in nest.body for new in _apart(s, fresh)))


def bordered_sums(nest: LoopNest) -> LoopNest:
    """Do so with reductions: those over pixels, where every element of a window has a sum."""
    fresh = Fresh(nest)

    def cut(loop: Loop) -> Block:
        parts = _cut(loop, fresh) if loop.order == "reduction" else None
        if parts is None:
            return (loop,)
        whole, border = parts
        return *whole, *copied(border, fresh)

    slid = [each_loop((s,), cut) if _may_be_cut((s,)) else (s,) for s in nest.body]
    return replace(nest, body=tuple(s for block in slid for s in block))


def slides(block: Block) -> bool:
    """Whether a block sums products, some of which are not there."""
    return any(_met(s) for s in statements(block))


def _met(statement: Statement) -> list[Scalar]:
    """The conditions without which a statement adds nothing: a factor is 0 then."""
    if not isinstance(statement, Accumulate) or statement.combine != "add":
        return []
    product = statement.values[0]
    if not isinstance(product, Call) or product.function != "mul":
        return []
    return [
        condition
        for factor in product.operands
        if isinstance(factor, Select) and isinstance(factor.otherwise, Constant)
        if not factor.otherwise.value
        for condition in _conjuncts(factor.condition)
    ]


def _is_needed(condition: Scalar, block: Block) -> bool:
    """Whether a block does nothing where a condition does not hold."""
    return all(isinstance(s, Let | Loop) or condition in _met(s) for s in statements(block))


def _may_be_cut(block: Block) -> bool:
    return slides(block) and not any(isinstance(s, Allocate) for s in statements(block))


def _apart(statement: Statement, fresh: Fresh) -> Block:
    loops, inside = parallel_loops((statement,))
    if not loops or not _may_be_cut(inside):
        return (statement,)
    stepped = each_loop(inside, functools.partial(_stepped, last=loops[-1].index, fresh=fresh))
    if stepped != inside:
        clip = functools.partial(_clipped, last=loops[-1].index, fresh=fresh)
        lets, rest = _taken_out(each_loop(stepped, clip), {loop.index for loop in loops[:-1]})
        return around(loops[:-1], (*lets, replace(loops[-1], body=rest)))
    for n, loop in enumerate(loops):
        parts = _cut(loop, fresh)
        if parts is not None:
            whole, border = parts
            return *around(loops[:n], whole), *copied(around(loops[:n], border), fresh)
    return (statement,)


def _within(statement: Statement, fresh: Fresh) -> Block:
    """The same for the loops inside of one that is cut."""
    if not isinstance(statement, Loop) or statement.order != "parallel":
        return (statement,)
    parts = _cut(statement, fresh)
    if parts is not None:
        whole, border = parts
        return *whole, *copied(border, fresh)
    return (replace(statement, body=_all_within(statement.body, fresh)),)


def _all_within(block: Block, fresh: Fresh) -> Block:
    return tuple(new for s in block for new in _within(s, fresh))


def _cut(loop: Loop, fresh: Fresh) -> tuple[Block, Block] | None:
    """A loop where no window reaches beyond the ends, and one for all the rest."""
    extent = loop.extent
    assert isinstance(extent, Place)
    table = extent.table
    begins: list[Place] = []
    ends: list[Place] = []
    held: set[Scalar] = set()
    counts = _counts(loop.body)
    outer = frozenset(used_in((loop,))) if loop.order == "reduction" else frozenset()
    for condition in conditions_in(loop.body):
        bound = _bound(condition, loop.index, counts, outer)
        if bound is not None and (loop.order == "reduction" or counts):
            place, first = bound
            (begins if first else ends).append(place)
            held.add(condition)
    inner = [s for s in statements(loop.body) if isinstance(s, Loop) and s.order == "parallel"]
    if not held or (loop.order == "parallel" and not inner):
        return None
    zero = table.place({})
    begin = functools.reduce(functools.partial(_settled, "maximum"), begins, zero)
    end = functools.reduce(functools.partial(_settled, "minimum"), ends, extent)
    length = _settled("maximum", end.plus(begin, -1), zero)
    index = fresh.name(loop.index + "_")
    here = settled(Index(index), table)
    body = map_scalars(loop.body, lambda value: _without(value, held))
    body = map_scalars(body, lambda value: put(value, loop.index, here.plus(begin)))
    if loop.order == "parallel":
        body = _all_within(body, fresh)
    whole = Loop(index, length, loop.order, body)
    index = fresh.name(loop.index + "_")
    here = settled(Index(index), table)
    skipped = settled(Select(call("lt", here, begin), zero, length), table)
    name = fresh.name("p")
    place = settled(Local(name, dtypes.int64), table)
    body = map_scalars(loop.body, lambda value: put(value, loop.index, place))
    if inner:
        body = each_loop(body, functools.partial(_clipped, last=inner[-1].index, fresh=fresh))
    border = (Let(name, here.plus(skipped)), *body)
    return (whole,), (Loop(index, extent.plus(length, -1), loop.order, border),)


def _clipped(loop: Loop, last: str, fresh: Fresh) -> Block:
    """A reduction over those of its iterations in which conditions hold.

    Those on an index that may become lanes of a vector stay as they are.
    """
    if loop.order != "reduction":
        return (loop,)
    extent = loop.extent
    assert isinstance(extent, Place)
    bound = {s.name for s in statements(loop.body) if isinstance(s, Let | Var)}
    table, inside = extent.table, _counts((loop,)).keys() | {last} | bound
    zero, begin, end = table.place({}), table.place({}), extent
    held: set[Scalar] = set()
    for condition in conditions_in(loop.body):
        slack = _slack(condition)
        if slack is None or slack.names() & inside != {loop.index}:
            continue
        if not _is_needed(condition, loop.body):
            continue
        factor = slack.factor(loop.index)
        step = None if factor is None else factor.number
        if step is None or abs(step) != 1:
            continue
        held.add(condition)
        rest = slack.plus(settled(Index(loop.index), table), -step)
        if step > 0:
            begin = _settled("maximum", begin, zero.plus(rest, -1))
        else:
            end = _settled("minimum", end, rest.plus(table.place({(): 1})))
    if not held:
        return (loop,)
    first, index = fresh.name("p"), fresh.name(loop.index + "_")
    start = settled(Local(first, dtypes.int64), table)
    at = start.plus(settled(Index(index), table))
    body = map_scalars(loop.body, lambda value: put(_without(value, held), loop.index, at))
    return Let(first, begin), Loop(index, end.plus(start, -1), "reduction", body)


def _taken_out(block: Block, known: set[str]) -> tuple[list[Let], Block]:
    """The places that have names in a block and depend on what is known, and the rest of it."""
    taken: list[Let] = []
    for statement in statements(block):
        if isinstance(statement, Let) and isinstance(statement.value, Place):
            if statement.value.names() <= known:
                taken.append(statement)
                known = known | {statement.name}
    return taken, each_block(block, lambda inner: tuple(s for s in inner if s not in taken))


def _stepped(loop: Loop, last: str, fresh: Fresh) -> Block:
    """A reduction over every n-th iteration, where a division leaves something in the others."""
    if loop.order != "reduction":
        return (loop,)
    inside = _counts(loop.body).keys() | {last}
    for condition in conditions_in(loop.body):
        found = _remainder(condition)
        if found is None or found[0].names() & inside or not _is_needed(condition, loop.body):
            continue
        factor = found[0].factor(loop.index)
        if factor is not None and factor.number in (-1, found[1] - 1):
            return _every(loop, condition, *found, factor.number != -1, fresh)
    return (loop,)


def _every(
    loop: Loop, condition: Scalar, dividend: Place, divisor: int, added: bool, fresh: Fresh
) -> Block:
    """The iterations in which a dividend, of which the index is taken off, has a whole quotient.

    The index is then `first + divisor * j`, and the quotient falls by one with every j; where a
    divisor for every index was `added` to what is taken off, the index is added to that.
    """
    extent, table, number = loop.extent, dividend.table, constant(divisor, dtypes.int64)
    assert isinstance(extent, Place)
    own = settled(Index(loop.index), table)
    without = dividend.plus(own, 1 - added * divisor)
    names, index = [fresh.name("p") for _ in range(3)], fresh.name(loop.index + "_")
    first, most, count = (settled(Local(name, dtypes.int64), table) for name in names)
    at = settled(Index(index), table)
    tap = first.plus(at, divisor)
    quotient = most.plus(at, -1).plus(tap, added)

    def changed(value: Scalar) -> Scalar:
        new = _without(value, {condition})
        new = map_places(new, lambda p: _divided(p, dividend, divisor, quotient))
        return put(new, loop.index, tap)

    more = extent.plus(first, -1).plus(table.place({(): divisor - 1}))
    places = call("mod", without, number), call("floordiv", without, number)
    values = [settled(value, table) for value in (*places, call("floordiv", more, number))]
    lets = (Let(name, value) for name, value in zip(names, values, strict=True))
    return *lets, Loop(index, count, "reduction", map_scalars(loop.body, changed))


def _remainder(condition: Scalar) -> tuple[Place, int] | None:
    """The dividend and the divisor, where a condition is that nothing is left of a division."""
    if not isinstance(condition, Call) or condition.function != "eq":
        return None
    left, right = condition.operands
    if not isinstance(left, Place) or not isinstance(right, Place) or right.terms:
        return None
    (term, *others) = left.terms.items() or [((), 0)]
    if others or term[1] != 1 or len(term[0]) != 1:
        return None
    atom = left.table.atoms[term[0][0]]
    if not isinstance(atom, Call) or atom.function != "mod":
        return None
    dividend, divisor = atom.operands
    if not isinstance(dividend, Place) or not isinstance(divisor, Place) or not divisor.number:
        return None
    return dividend, divisor.number


def _divided(place: Place, dividend: Place, divisor: int, quotient: Place) -> Place:
    """A place with another one put for a quotient."""
    table = place.table
    total = table.place({})
    for monomial, number in place.terms.items():
        term = table.place({(): number})
        for name in monomial:
            atom = table.atoms[name]
            same = isinstance(atom, Call) and atom.function == "floordiv"
            same = same and children(atom) == (dividend, table.place({(): divisor}))
            term = term.times(quotient if same else table.place({(name,): 1}))
        total = total.plus(term)
    return total


def _settled(function: str, one: Place, other: Place) -> Place:
    return settled(call(function, one, other), one.table)


def _counts(block: Block) -> dict[str, Place]:
    """How often the reductions in a block run."""
    loops = (s for s in statements(block) if isinstance(s, Loop) and s.order == "reduction")
    return {loop.index: loop.extent for loop in loops if isinstance(loop.extent, Place)}


def conditions_in(block: Block) -> Iterator[Scalar]:
    """Yield what the choices in a block depend on, each condition alone."""
    for statement in statements(block):
        for value in expressions(statement):
            for part in walk(value):
                if isinstance(part, Select):
                    yield from _conjuncts(part.condition)


def _conjuncts(condition: Scalar) -> list[Scalar]:
    if isinstance(condition, Call) and condition.function == "logical_and":
        return [c for operand in condition.operands for c in _conjuncts(operand)]
    return [condition]


def _bound(
    condition: Scalar, index: str, counts: dict[str, Place], outer: frozenset[str]
) -> tuple[Place, bool] | None:
    """From where on, or up to where, an index meets a condition for all taps; or None."""
    rest = _slack(condition)
    if rest is None or index not in rest.names():
        return None
    table, one = rest.table, rest.table.place({(): 1})
    factor = rest.factor(index)
    step = None if factor is None else factor.number
    taps = rest.names() - outer - {index}
    if not step or not taps <= counts.keys():
        return None
    rest = rest.plus(settled(Index(index), table), -step)
    for tap in taps:
        factor = rest.factor(tap)
        each = None if factor is None else factor.number
        if each is None:
            return None
        rest = rest.plus(settled(Index(tap), table), -each)
        if each < 0:
            rest = rest.plus(counts[tap].plus(one, -1), each)
    if abs(step) > 1:
        rest = settled(call("floordiv", rest, constant(abs(step), dtypes.int64)), table)
    return (table.place({}).plus(rest, -1), True) if step > 0 else (rest.plus(one), False)


def _slack(condition: Scalar) -> Place | None:
    """What is not below 0 where a condition holds."""
    if not isinstance(condition, Call) or condition.function not in ("ge", "lt"):
        return None
    left, right = condition.operands
    if not isinstance(left, Place) or not isinstance(right, Place):
        return None
    if condition.function == "ge":
        return left.plus(right, -1)
    return right.plus(left, -1).plus(left.table.place({(): 1}), -1)


def _without(value: Scalar, held: set[Scalar]) -> Scalar:
    """An expression whose conditions are not looked at where they hold."""
    if isinstance(value, Place):
        return value
    parts = tuple(_without(part, held) for part in children(value))
    if isinstance(value, Select):
        left = [c for c in _conjuncts(value.condition) if c not in held]
        if not left:
            return parts[1]
        condition = functools.reduce(functools.partial(call, "logical_and"), left)
        return Select(condition, *parts[1:])
    same = all(a is b for a, b in zip(parts, children(value), strict=True))
    return value if same else rebuilt(value, parts)
