"""What work costs, roughly: enough to say when a second thread pays."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from talweg.base import dtypes
from talweg.loops.nest import Block, Loop, Statement, Store, blocks, expressions
from talweg.loops.scalar import Call, Load, Scalar, call, cast
from talweg.loops.scalar import constant as number
from talweg.schedule.place import names_in, walk
from talweg.schedule.vectors import Choice, cost_of

TICKET = 20_000.0  # cycles that are worth a ticket of their own: some 10 microseconds
LONG = 16.0  # how often a loop runs whose extent is not known before


def grain(body: Block, block: int, items: Sequence[str], vectors: Mapping[str, Choice]) -> Scalar:
    """Return how many items of a stage are worth a ticket: an int64 expression of arguments.

    Args:
        body: one iteration.
        block: iterations of one item.
        items: the index that the item itself counts.
        vectors: the loops that run in vectors.
    """
    lanes = max((vectors[i].widest for i in items if i in vectors), default=1)
    one = _cycles(body, vectors, lanes) * float(block)
    bounded = call("maximum", one, number(1.0, dtypes.float64))
    tickets = call("div", number(TICKET, dtypes.float64), bounded)
    return cast(tickets, dtypes.int64) + 1


def _cycles(block: Iterable[Statement], vectors: Mapping[str, Choice], lanes: int) -> Scalar:
    total: Scalar = number(1.0, dtypes.float64)
    for statement in block:
        own = sum(_instructions(v) for v in expressions(statement))
        own += 2.0 * isinstance(statement, Store)
        total = total + own / lanes
        if isinstance(statement, Loop):
            inner = vectors[statement.index].widest if statement.index in vectors else lanes
            total = total + _times(statement.extent) * _cycles(statement.body, vectors, inner)
            continue
        for part in blocks(statement):
            if part:
                total = total + _cycles(part, vectors, lanes)
    return total


def _instructions(value: Scalar) -> float:
    cost = 0.0
    for part in walk(value):
        if isinstance(part, Load):
            cost += 1.0
        elif isinstance(part, Call):
            cost += cost_of(part)
    return cost


def _times(extent: Scalar) -> Scalar:
    if names_in(extent) or any(isinstance(p, Load) for p in walk(extent)):
        return number(LONG, dtypes.float64)
    return call("maximum", cast(extent, dtypes.float64), number(0.0, dtypes.float64))
