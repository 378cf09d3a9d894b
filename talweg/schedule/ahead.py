"""Rows that are fetched ahead: while one row is computed, the next one comes from memory.

A row that several loops pass over comes from memory in the first of them; the others would leave
the memory idle. So the heaviest of these asks for the row of the next item.
"""

from __future__ import annotations

from collections.abc import Collection

from talweg.loops.nest import Loop, Statement, expressions, statements
from talweg.loops.scalar import Call, Load
from talweg.schedule.place import Place, names_in, walk
from talweg.schedule.stages import Staged
from talweg.schedule.vectors import cost_of


def fetched_ahead(kernel: Staged) -> dict[str, tuple[Load, ...]]:
    """Return which elements of the next item each loop asks for, by the loops' indices."""
    inputs = {buffer.name for buffer in kernel.nest.inputs}
    found: dict[str, tuple[Load, ...]] = {}
    for stage in kernel.stages:
        if not stage.indices or stage.block > 1:
            continue
        row, body = stage.indices[-1], stage.body
        inner = [s for s in body if isinstance(s, Loop) and s.order == "sequential"]
        if len(inner) == 1:
            row, body = inner[0].index, inner[0].body
        bound = {name for s in statements(body) for name in _bound(s)}
        passes = [s for s in body if isinstance(s, Loop) and s.index in kernel.vectors]
        for first, *others in _alike(passes):
            loads = _next_rows(first, row, inputs, bound)
            if others and loads:
                heaviest = max(others, key=_cost)
                new = tuple(_moved(load, first.index, heaviest.index) for load in loads)
                found[heaviest.index] = new
    return found


def _bound(statement: Statement) -> Collection[str]:
    name = getattr(statement, "name", None)
    return () if name is None else (name,)


def _alike(passes: list[Loop]) -> list[list[Loop]]:
    """Loops that run equally often, in lists."""
    lists: list[list[Loop]] = []
    for loop in passes:
        same = next((known for known in lists if known[0].extent == loop.extent), None)
        if same is None:
            lists.append([loop])
        else:
            same.append(loop)
    return lists


def _next_rows(loop: Loop, row: str, inputs: set[str], bound: set[str]) -> list[Load]:
    """What the loop reads one element after the other, one row further on."""
    found: dict[Load, None] = {}
    for statement in loop.body:
        for value in expressions(statement):
            for part in walk(value):
                if not isinstance(part, Load) or part.buffer not in inputs:
                    continue
                place = part.indices[0] if part.indices else None
                if not isinstance(place, Place) or names_in(place) & bound:
                    continue
                step, along = place.factor(row), place.factor(loop.index)
                if step is None or not step.terms or along is None or along.number != 1:
                    continue
                found[Load(part.buffer, (place.plus(step),), part.dtype)] = None
    return list(found)


def _moved(load: Load, old: str, new: str) -> Load:
    place = load.indices[0]
    assert isinstance(place, Place)
    terms = {tuple(new if n == old else n for n in names): f for names, f in place.terms.items()}
    return Load(load.buffer, (place.table.place(terms),), load.dtype)


def _cost(loop: Loop) -> float:
    calls = (p for s in statements(loop.body) for v in expressions(s) for p in walk(v))
    return sum(cost_of(p) for p in calls if isinstance(p, Call))
