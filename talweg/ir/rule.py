"""Rules: rows of a trace that are written together, without Nodes."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterable, Sequence
from functools import partial
from operator import itemgetter
from types import CodeType
from typing import Any, TypeAlias, final

import numpy as np

from talweg.ir.node import Late, Node
from talweg.ir.op import INPUT, Op
from talweg.ir.types import TensorType

ROOM = 6  # places that are given for rows at least


@final
class Rule:
    """Rows made of given places: what the gradient of an operation comes to, for example.

    Operands and results are numbers: given places come first, then the rows, then the Python
    numbers that are read.

    Args:
        given: how many places are given.
        rows: for each an Op, the type of its result, and its operands.
        numbers: Python numbers that are read, and their types.
        results: what comes out; None for nothing.

    Attributes:
        size: how many rows there are.
        picked: what is appended to a trace's rows: which of the given places, `room` places from
            that of the first row on, `tokens`, and the places of `numbers`.
        pick: takes them from a tuple of all these; None without rows.
        reads: for each given place, whether it is wanted.
        ops, types, arity, tokens: columns by row.
        starts: where a row begins.
        blank: None for each row.
    """

    __slots__ = (
        *("arity", "blank", "numbers", "ops", "pick", "picked", "reads", "results", "room", "size"),
        *("starts", "tokens", "types"),
    )

    def __init__(
        self,
        given: int,
        rows: Sequence[tuple[Op, TensorType, tuple[int, ...]]],
        numbers: Sequence[tuple[Any, TensorType]],
        results: tuple[int | None, ...],
    ) -> None:
        self.size = len(rows)
        self.ops = [op for op, _, _ in rows]
        self.types = tuple([type for _, type, _ in rows])
        self.arity = [len(operands) for _, _, operands in rows]
        self.starts = [sum(self.arity[:n]) + n for n in range(self.size)]
        self.tokens = tuple([op.token for op in self.ops])
        self.blank = (None,) * self.size
        self.numbers = tuple(numbers)
        self.results = results
        self.room = room = max(ROOM, self.size)
        picked: list[int] = []
        for n, (_, _, operands) in enumerate(rows):
            picked.append(given + room + n)
            picked += [at if at < given + self.size else at + room for at in operands]
        self.picked = tuple(picked)
        self.pick: Any = itemgetter(*picked) if picked else None
        self.reads = tuple([at in picked or at in results for at in range(given)])


@final
class Rows:
    """Rules that were written at once, one after the other.

    Args:
        rules: some Rules.
        kinds: which of them was written, each time.
        places: of the first row, each time.
        starts: and where it begins in the trace's rows.
        lines: the place of a Node whose line is the user's, each time.
        size: how many rows there are.
    """

    __slots__ = ("kinds", "lines", "places", "rules", "size", "starts")

    def __init__(
        self,
        rules: Sequence[Rule],
        kinds: np.ndarray,
        places: np.ndarray,
        starts: np.ndarray,
        lines: np.ndarray,
        size: int,
    ) -> None:
        self.rules, self.kinds, self.places = rules, kinds, places
        self.starts, self.lines, self.size = starts, lines, size

    def run(self, nodes: Sequence[Node], place: int) -> tuple[int, int, Rule, CodeType | None, int]:
        """Return what was written at a place, of a trace's Nodes, as one run."""
        n = int(np.searchsorted(self.places, place, "right")) - 1
        line = nodes[self.lines[n]]
        rule = self.rules[self.kinds[n]]
        return int(self.places[n]), int(self.starts[n]), rule, line.code, line.offset


# A Rule that was written: the place and the start of its first row, and the user's line.
Run: TypeAlias = tuple[int, int, Rule, CodeType | None, int]
WIDTH = 5  # how many values that is: in a trace they follow each other


@final
class Page:
    """What a trace recorded up to some barrier, for the Nodes that are made of it later.

    Args:
        nodes, rows, runs: those of the trace.

    Attributes:
        late: the places of the Nodes made.
        sealed: that of the trace.
    """

    __slots__ = ("_first", "late", "nodes", "rows", "runs", "sealed")

    def __init__(self, nodes: list[Any], rows: list[int], runs: list[Any]) -> None:
        self.nodes, self.rows, self.runs = nodes, rows, runs
        self.sealed = np.empty(0, np.int64)
        self.late: list[int] = []
        self._first: list[int] = []

    def node(self, place: int) -> Node:
        """Return the Node of a place, making it where there is none yet."""
        found: Node | None = self.nodes[place]
        if found is None:
            first, _, rule, code, offset = self._run(place)
            found = Late()
            found.op = rule.ops[place - first]
            found.type = rule.types[place - first]
            found.code = code
            found.offset = offset
            found.value = None
            found.at = place
            found.behind = partial(self.operands, place)
            self.nodes[place] = found
            self.late.append(place)
        return found

    def close(self, held: Iterable[Node]) -> None:
        """Let go of what was recorded: Nodes that are still unknown, and held, keep their inputs.

        Args:
            held: whatever somebody else may reference.
        """
        if not self.late:
            return
        stack, seen = list(held), set[Node]()
        while stack:
            node = stack.pop()
            if node.value is None and node not in seen:
                seen.add(node)
                stack += node.inputs
        for place in self.late:
            node = self.nodes[place]
            if node.__class__ is Late:
                node.cut()

    def operands(self, place: int) -> tuple[Node, ...]:
        """Return the operands of a row that was written by a Rule."""
        first, start, rule, _, _ = self._run(place)
        start += rule.starts[place - first] + 1
        size, sealed = rule.arity[place - first], len(self.sealed)
        if start < sealed:
            read = self.sealed[start : start + size].tolist()
        else:
            read = self.rows[start - sealed : start - sealed + size]
        return tuple([self.node(at) for at in read])

    def cell(self, at: int) -> int:
        """Return a number of the structure."""
        sealed = len(self.sealed)
        return int(self.sealed[at]) if at < sealed else self.rows[at - sealed]

    def _run(self, place: int) -> Run:
        self._first += self.runs[len(self._first) * WIDTH :: WIDTH]
        start = (bisect_right(self._first, place) - 1) * WIDTH
        found: Run = tuple(self.runs[start : start + WIDTH])
        rule: Any = found[2]
        if rule.__class__ is Rows:
            run: Run = rule.run(self.nodes, place)
            return run
        return found


def rule_of(
    nodes: Sequence[Node], given: Sequence[Node], results: Sequence[Node | None]
) -> Rule | None:
    """Return Nodes as a Rule; None where they read what is neither given nor a number.

    Args:
        nodes: those made, in order; given ones may be among them.
        given: the Nodes that stand for given places.
        results: what comes out.
    """
    made = [n for n in _read(nodes, results) if n not in given]
    numbers = [n for n in made if n.op is INPUT]
    listed = [n for n in made if n.op is not INPUT]
    places = {node: at for at, node in enumerate((*given, *listed, *numbers))}
    rows = [(n.op, n.type, tuple([places.get(x, -1) for x in n.inputs])) for n in listed]
    if any(n.number is None for n in numbers):
        return None
    if any(-1 in row[2] or row[1].__class__ is not TensorType for row in rows):
        return None
    ends = tuple([None if r is None else places[r] for r in results])
    return Rule(len(given), rows, [(n.number, n.type) for n in numbers], ends)


def _read(nodes: Sequence[Node], results: Sequence[Node | None]) -> list[Node]:
    """Return the Nodes that results are made of."""
    wanted = set(results)
    for node in reversed(nodes):
        if node in wanted:
            wanted.update(node.inputs)
    return [n for n in nodes if n in wanted]
