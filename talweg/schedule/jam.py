"""Loops that run equally often one behind the other become one loop.

Two reductions that do not need each other then read what they share once. A row that one loop
computes and the next one sums up is summed up as it is computed.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from talweg.loops.nest import (
    Allocate,
    Block,
    Let,
    Loop,
    LoopNest,
    Statement,
    Store,
    Var,
    expressions,
    map_scalars,
    statements,
)
from talweg.loops.scalar import Index, Load, Local, Scalar
from talweg.schedule.moves import assigned_in, each_loop, used_in
from talweg.schedule.place import Fresh, Place, put, replaced, settled, walk


def jammed(nest: LoopNest, rows: bool) -> LoopNest:
    """Join loops of a nest of places.

    Args:
        nest: what to change.
        rows: whether a loop that stores a row may join one that reads it.
    """
    fresh = Fresh(nest)

    def change(loop: Loop) -> Block:
        return (replace(loop, body=_jam(loop.body, rows, fresh)),)

    # On the top level a loop that stores is a stage of its own, shared out among threads.
    return replace(nest, body=_jam(each_loop(nest.body, change), False, fresh))


def _jam(block: Block, rows: bool, fresh: Fresh) -> Block:
    """A block in which neighbouring loops are joined, as long as there are any to join."""
    for place, first in enumerate(block):
        if not isinstance(first, Loop):
            continue
        end = next((n for n in range(place + 1, len(block)) if _stops(block[n])), None)
        second = None if end is None else block[end]
        if end is None or not isinstance(second, Loop):
            continue
        between = block[place + 1 : end]
        joined = _joined(first, between, second, rows, fresh)
        if joined is not None:
            return _jam((*block[:place], *between, joined, *block[end + 1 :]), rows, fresh)
    return block


def _stops(statement: Statement) -> bool:
    return not isinstance(statement, Let | Var | Allocate)


def _joined(
    first: Loop, between: Sequence[Statement], second: Loop, rows: bool, fresh: Fresh
) -> Loop | None:
    if second.order != "reduction" or first.extent != second.extent or _stores(second):
        return None
    if first.order != "reduction" and (first.order != "parallel" or not rows):
        return None
    changed = assigned_in((first,))
    if changed & (used_in(tuple(between)) | used_in((second,))):
        return None
    stored = {store.buffer for store in _stores(first)}
    if stored & _read(tuple(between)) or (stored and not rows):
        return None
    assert isinstance(first.extent, Place)
    index = settled(Index(first.index), first.extent.table)
    inner = map_scalars(second.body, lambda value: put(value, second.index, index))
    body = first.body
    for buffer in stored & _read(inner):
        forwarded = _forwarded(body, inner, buffer, fresh)
        if forwarded is None:
            return None
        body, inner = forwarded
    block = (*body, *inner)
    return replace(first, order="reduction", body=_jam(block, rows, fresh))


def _forwarded(body: Block, inner: Block, buffer: str, fresh: Fresh) -> tuple[Block, Block] | None:
    """Both bodies, where the second takes from a name what the first stores in a buffer."""
    stores = [s for s in _stores_in(body) if s.buffer == buffer]
    if len(stores) != 1 or stores[0] not in body or stores[0].combine != "set":
        return None
    (store,) = stores
    loads = {p for p in _parts(inner) if isinstance(p, Load) and p.buffer == buffer}
    if any(load.indices != store.indices for load in loads) or buffer in _read(body):
        return None
    name = fresh.name("v")
    value = Local(name, store.value.dtype)
    at = body.index(store)
    new = (*body[:at], Let(name, store.value), replace(store, value=value), *body[at + 1 :])
    return new, map_scalars(inner, lambda part: replaced(part, dict.fromkeys(loads, value)))


def _stores(loop: Loop) -> list[Store]:
    return _stores_in(loop.body)


def _stores_in(block: Block) -> list[Store]:
    return [s for s in statements(block) if isinstance(s, Store)]


def _read(block: Block) -> set[str]:
    return {part.buffer for part in _parts(block) if isinstance(part, Load)}


def _parts(block: Block) -> list[Scalar]:
    return [p for s in statements(block) for v in expressions(s) for p in walk(v)]
