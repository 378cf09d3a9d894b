"""Parts that are replaced: a copy, and a loop over the part alone.

    for i in parallel(n):                         for i in parallel(n):
        out[i] = select(i >= a and i < b,             out[i] = x[i]
                        new[i - a], x[i])         for j in parallel(min(b, n) - max(a, 0)):
                                                      out[j + max(a, 0)] = new[j + max(a, 0) - a]

No element is compared with the bounds of the part; and where the result lies in the memory of the
operand, the code generator leaves out the copy: what is written is the part.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from functools import partial

from talweg.loops.nest import Block, Loop, LoopNest, Statement, Store, map_scalars
from talweg.loops.scalar import Call, Index, Load, Scalar, Select, call
from talweg.schedule.moves import around, parallel_loops
from talweg.schedule.place import Fresh, Place, names_in, put, settled


def parted(nest: LoopNest) -> LoopNest:
    """Take replaced parts out of the copies of a nest of places."""
    fresh = Fresh(nest)
    return replace(nest, body=tuple(new for s in nest.body for new in _parted(s, fresh)))


def copied_from(block: Block) -> tuple[str, str] | None:
    """Return the buffers, target and source, of loops that copy elements to the same places."""
    _, store = _copying(block)
    if store is None or not isinstance(store.value, Load) or store.combine != "set":
        return None
    if store.value.indices != store.indices:
        return None
    return store.buffer, store.value.buffer


def _copying(block: Block) -> tuple[dict[str, Loop], Store | None]:
    """The parallel loops that stand alone in each other, by index, and the one store inside."""
    loops, inside = parallel_loops(block)
    store = inside[0] if len(inside) == 1 else None
    return {loop.index: loop for loop in loops}, store if isinstance(store, Store) else None


def _parted(statement: Statement, fresh: Fresh) -> Block:
    loops, store = _copying((statement,))
    if store is None or not isinstance(store.value, Select) or store.combine != "set":
        return (statement,)
    condition, new, old = store.value.condition, store.value.then, store.value.otherwise
    if not isinstance(old, Load) or old.indices != store.indices:
        return (statement,)
    if any(names_in(loop.extent) for loop in loops.values()):
        return (statement,)
    bounds = _bounds(condition, loops)
    if bounds is None:
        return (statement,)
    whole = around(list(loops.values()), (replace(store, value=old),))
    part: Block = (replace(store, value=new),)
    inner: list[Loop] = []
    for index, loop in loops.items():
        assert isinstance(loop.extent, Place)
        table = loop.extent.table
        lows, highs = bounds[index]
        first, end = table.place({}), loop.extent
        for low in lows:
            first = settled(call("maximum", first, low), table)
        for high in highs:
            end = settled(call("minimum", end, high), table)
        name = fresh.name(index + "_")
        at = settled(Index(name), table).plus(first)
        part = map_scalars(part, partial(put, index=index, new=at))
        inner.append(Loop(name, end.plus(first, -1), "parallel", ()))
    return *whole, *around(inner, part)


def _bounds(
    condition: Scalar, loops: dict[str, Loop]
) -> dict[str, tuple[list[Place], list[Place]]] | None:
    """Where each loop begins and ends if a condition is to hold; None for other conditions."""
    found: dict[str, tuple[list[Place], list[Place]]] = {index: ([], []) for index in loops}
    for test in _tests(condition):
        if not isinstance(test, Call) or test.function not in ("ge", "lt"):
            return None
        left, right = test.operands
        if not isinstance(left, Place) or not isinstance(right, Place):
            return None
        names = names_in(left)
        if len(names) != 1 or names_in(right):
            return None
        (index,) = names
        factor = left.factor(index)
        if index not in loops or factor is None or factor.number != 1:
            return None
        limit = right.plus(left, -1).plus(settled(Index(index), left.table))
        found[index][test.function == "lt"].append(limit)
    return found


def _tests(condition: Scalar) -> Iterator[Scalar]:
    if isinstance(condition, Call) and condition.function == "logical_and":
        for operand in condition.operands:
            yield from _tests(operand)
    else:
        yield condition
