"""What work costs, roughly: enough to say when a second thread pays."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from talweg.base import dtypes
from talweg.base.frozen import frozen
from talweg.loops.nest import Block, Loop, Statement, Store, blocks, expressions
from talweg.loops.scalar import Call, Load, Scalar, call, cast
from talweg.loops.scalar import constant as number
from talweg.schedule.place import Place, names_in, walk
from talweg.schedule.vectors import Choice, cost_of

TICKET = 20_000.0  # cycles that are worth a ticket of their own: some 10 microseconds
LONG = 16.0  # how often a loop runs whose extent is not known before
ACCESS = 2.0  # cycles of a load or store


def grain(
    body: Block,
    block: int,
    items: Sequence[str],
    vectors: Mapping[str, Choice],
    known: frozenset[str],
) -> Scalar:
    """Return how many items of a stage are worth a ticket: an int64 expression of arguments.

    Args:
        body: one iteration.
        block: iterations of one item.
        items: the index that the item itself counts.
        vectors: the loops that run in vectors.
        known: names of locals that are made of arguments.
    """
    lanes = max((vectors[i].narrowest for i in items if i in vectors), default=1)
    one = _Cycles(vectors, known).block(body, lanes) * float(block)
    bounded = call("maximum", one, number(1.0, dtypes.float64))
    tickets = call("div", number(TICKET, dtypes.float64), bounded)
    return cast(tickets, dtypes.int64) + 1


@frozen
class _Cycles:
    vectors: Mapping[str, Choice]
    known: frozenset[str]

    def block(self, block: Iterable[Statement], lanes: int) -> Scalar:
        """The cycles of statements, for each iteration of so many at once."""
        total = 1.0
        inner: list[Scalar] = []
        for statement in block:
            own = sum(map(_instructions, expressions(statement)))
            total += (own + ACCESS * isinstance(statement, Store)) / lanes
            if isinstance(statement, Loop):
                choice = self.vectors.get(statement.index)
                width = choice.narrowest if choice else lanes
                times = self.times(statement.extent)
                inner.append(times * self.block(statement.body, width))
            else:
                inner += [self.block(part, lanes) for part in blocks(statement) if part]
        whole: Scalar = number(total, dtypes.float64)
        for part in inner:
            whole = whole + part
        return whole

    def times(self, extent: Scalar) -> Scalar:
        """How often a loop runs; the whole length where the last of several pieces is shorter."""
        if isinstance(extent, Place):
            atoms = extent.expressions()
            if len(extent.terms) == len(atoms) == 1:
                return self.times(atoms[0])
        if isinstance(extent, Call) and extent.function == "minimum":
            fixed = [part for part in extent.operands if names_in(part) <= self.known]
            if len(fixed) == 1:
                return self.times(fixed[0])
        if not names_in(extent) <= self.known or any(isinstance(p, Load) for p in walk(extent)):
            return number(LONG, dtypes.float64)
        return call("maximum", cast(extent, dtypes.float64), number(0.0, dtypes.float64))


def _instructions(value: Scalar) -> float:
    cost = 0.0
    for part in walk(value):
        if isinstance(part, Load):
            cost += ACCESS
        elif isinstance(part, Call):
            cost += cost_of(part)
    return cost
