"""The trace: Nodes in the order of recording, and their structure as a flat key."""

from __future__ import annotations

from collections.abc import Sequence
from operator import attrgetter
from sys import getrefcount
from typing import Any, NamedTuple, final

import numpy as np

from talweg.ir.node import Late, Node, input_node
from talweg.ir.op import INPUT, NUMBERED, NUMBERED_TOKENS
from talweg.ir.rule import WIDTH, Page, Rows, Rule
from talweg.ir.types import TensorType

_OUTSIDE = 1 << 48  # more than there are places
_type: Any = attrgetter("type")


class Layout(NamedTuple):
    """The structure of a trace, as columns by place.

    Args:
        tokens: of Ops; 0 for Nodes from outside.
        arity: how many operands.
        cells: one Node after the other: its place, and those of its operands.
        first: where it begins there.
        types: of the values.
        pending: whether a value is not known.
    """

    tokens: np.ndarray
    arity: np.ndarray
    cells: np.ndarray
    first: np.ndarray
    types: Sequence[TensorType]
    pending: np.ndarray

    def uses(self, readers: np.ndarray | None = None) -> np.ndarray:
        """Return how often each place is read, by all or by some."""
        read, own = self.cells, np.ones(len(self.tokens), bool)
        if readers is not None:
            read, own = read[np.repeat(readers, self.arity + 1)], readers
        found: np.ndarray = np.bincount(read, minlength=len(self.tokens)) - own
        return found


@final
class Trace:
    """What was recorded and not run yet.

    Every Node of a trace has a place: those recorded, and those they read from outside it, which
    enter when they are first read. `rows` says the structure in one list of numbers. A recorded
    Node is a row of its Op's token, which is negative, and the places of its operands; one from
    outside is `outside_row` of it. Equal rows mean equal programs, on other data.

    What a Rule writes are rows without Nodes: those are made when somebody asks for them.

    Attributes:
        nodes: the Nodes by place; None where there is none yet.
        types: the types of their values.
        sealed: the structure up to where Rules were written together.
        rows: the structure that follows.
        outside: the places of those from outside: known values, or placeholders.
        runs: what was written by Rules: the values of one `rule.Run` after the other.
        numbers: the places of the numbers that a Rule reads.
    """

    __slots__ = (
        *("_array", "_page", "nodes", "numbers", "outside", "rows", "runs", "sealed", "types"),
    )

    def __init__(self) -> None:
        self.clear()

    def clear(self) -> None:
        """Forget everything."""
        self.nodes: list[Any] = []
        self.types: list[Any] = []
        self.rows: list[int] = []
        self.outside: list[int] = []
        self.runs: list[Any] = []
        self.numbers: dict[Rule, tuple[int, ...]] = {}
        self._page: Page | None = None
        self.sealed = self._array = np.empty(0, np.int64)

    def __contains__(self, node: Node) -> bool:
        place = node.at
        return 0 <= place < len(self.nodes) and self.nodes[place] is node

    def add(self, node: Node) -> None:
        """Append a Node that was made just now."""
        places = [i.at if i in self else self.enter(i) for i in node.inputs]
        self.rows.append(node.op.token)
        self.rows += places
        self._append(node)

    def _append(self, node: Node) -> None:
        node.at = len(self.nodes)
        self.nodes.append(node)
        self.types.append(node.type)

    @property
    def page(self) -> Page:
        """What is recorded, for who needs Nodes of it after the trace was cleared."""
        if self._page is None:
            self._page = Page(self.nodes, self.rows, self.runs)
            self._page.sealed = self.sealed
        return self._page

    @property
    def cells(self) -> int:
        """How many numbers the structure is."""
        return len(self.sealed) + len(self.rows)

    def numbers_of(self, rule: Rule) -> tuple[int, ...]:
        """Return the places of the numbers that a Rule reads."""
        found = self.numbers.get(rule)
        if found is None:
            made = [input_node(type, number) for number, type in rule.numbers]
            found = self.numbers[rule] = tuple(map(self.enter, made))
        return found

    def write(self, rows: Rows, cells: np.ndarray, types: Sequence[TensorType]) -> None:
        """Append what Rules write.

        Args:
            rows: says which.
            cells: the structure.
            types: of the results.
        """
        self.runs += (len(self.nodes), self.cells, rows, None, 0)
        self.sealed = self._array = np.append(self._columns(), cells)
        self.rows.clear()
        self.page.sealed = self.sealed
        self.types += types
        self.nodes += [None] * rows.size

    def operands(self, places: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return the places of the first and of the last operands of recorded Nodes."""
        cells = self._columns()
        first = _beginnings(cells)
        end = np.append(first, len(cells))[places + 1]
        return cells[first[places] + 1], cells[end - 1]

    def enter(self, node: Node) -> int:
        """Return the place of a Node, giving it one where it has none.

        A Node from an earlier trace whose value is not known enters with what it is computed from.
        """
        if node not in self:
            if _is_pending(node):
                stack = [node]
                while stack:
                    last = stack[-1]
                    missing = [i for i in last.inputs if _is_pending(i) and i not in self]
                    stack += missing
                    if not missing:
                        stack.pop()
                        if last not in self:
                            self.add(last)
            else:
                self.rows.append(outside_row(node.type, node.number is not None))
                self.outside.append(len(self.nodes))
                self._append(node)
        return node.at

    def key(self) -> bytes:
        """Return the structure, hashable."""
        return self._columns().tobytes()

    def kin(self) -> bytes:
        """Return the key without the numbers of Ops, see `Op.numbers`; nothing without any."""
        rows = self._columns()
        at = np.flatnonzero(_are_numbered(rows))
        if not len(at):
            return b""
        alike = rows.copy()
        alike[at] = [NUMBERED[token].kin for token in rows[at].tolist()]
        return alike.tobytes()

    def _columns(self) -> np.ndarray:
        if len(self._array) != self.cells:
            rows = np.fromiter(self.rows, np.int64, len(self.rows))
            self._array = np.append(self.sealed, rows)
        return self._array

    def references(self) -> bytes:
        """Return how often each recorded Node is referenced.

        Those from outside count as 0, as do rows without a Node. Traces of equal structure with
        equal references hold the same values for others: `held` gives the same places.
        """
        return self._counts().tobytes()

    def _counts(self) -> np.ndarray:
        counts = np.fromiter(map(getrefcount, self.nodes), np.int64, len(self.nodes))
        if self.runs:
            blank = self._written()
            blank[self.page.late] = False
            counts[blank] = 0
        counts[self.outside] = 0
        return counts

    def _written(self) -> np.ndarray:
        """Whether a row was written by a Rule."""
        starts = np.array(self.runs[::WIDTH], np.int64)
        sizes = np.array([rule.size for rule in self.runs[2::WIDTH]], np.int64)
        edges = np.zeros(len(self.nodes) + 1, np.int8)
        edges[starts] += 1
        edges[starts + sizes] -= 1
        return np.cumsum(edges[:-1], dtype=np.int8).astype(bool)

    def held(self, layout: Layout | None = None, references: bytes = b"") -> list[Node]:
        """Return the recorded Nodes with one result that somebody outside the trace references.

        Live Tensors and steps of the tape do. CPython counts the references of an object; those
        that come from the trace itself and from operands of its Nodes are known.

        Args:
            layout, references: of this trace, where they were made already.
        """
        nodes = self.nodes
        layout = layout or self.layout()
        readers = None
        if self.runs:
            readers = ~self._written()
            readers[[at for at in self.page.late if nodes[at].__class__ is not Late]] = True
        inside = layout.uses(readers)
        counts = np.frombuffer(references, np.int64) if references else self._counts()
        found = np.flatnonzero(counts > _OWN + inside).tolist()
        return [nodes[place] for place in found if nodes[place].type.__class__ is TensorType]

    def layout(self) -> Layout:
        """Return the structure as columns."""
        cells = self._columns().copy()
        first = _beginnings(cells)
        arity = np.diff(first, append=len(cells)) - 1
        tokens = np.minimum(cells[first], 0)
        cells[first] = np.arange(len(first))
        pending = tokens < 0
        nodes = enumerate(self.nodes)
        pending[[at for at, n in nodes if n is not None and n.value is not None]] = False
        return Layout(tokens, arity, cells, first, self.types, pending)


def _beginnings(cells: np.ndarray) -> np.ndarray:
    """Return where rows begin."""
    found: np.ndarray = np.flatnonzero((cells < 0) | (cells >= _OUTSIDE))
    return found


_numbered = np.zeros(1 << 10, bool)  # by the negated tokens of Ops, so far as these were looked at
_looked_at = 0


def _are_numbered(rows: np.ndarray) -> np.ndarray:
    """Return which rows begin with the token of an Op that has numbers."""
    global _looked_at, _numbered
    known, start = _numbered, _looked_at
    new = [-token for token in NUMBERED_TOKENS[start:]]
    if new:
        top = max(new)
        if top >= len(known):
            known = np.append(known, np.zeros(top + 1, bool))
        known[new] = True
        _numbered, _looked_at = known, start + len(new)
    places = -rows
    places[(places < 0) | (places >= len(known))] = 0
    found: np.ndarray = known[places]
    return found


def layout_of(nodes: Sequence[Node]) -> Layout:
    """Return the structure of Nodes that are in no trace: each comes after those that it reads.

    Those with a value, or without operands, count as from outside.
    """
    places = {node: place for place, node in enumerate(nodes)}
    rows = [(node, *(() if node.value is not None else node.inputs)) for node in nodes]
    size = np.array([len(row) for row in rows], np.int64)
    cells = np.array([places[node] for row in rows for node in row], np.int64)
    pending = np.array([node.value is None for node in nodes], bool)
    tokens = np.where(pending, np.array([node.op.token for node in nodes], np.int64), 0)
    types = list(map(_type, nodes))
    return Layout(tokens, size - 1, cells, np.cumsum(size) - size, types, pending)


def outside_row(type: TensorType, number: bool) -> int:
    """Return the row of a Node from outside: of its type, and of whether it is a number."""
    return _OUTSIDE + 2 * type.token + number


def _is_pending(node: Node) -> bool:
    return node.value is None and node.op is not INPUT


def _own_references() -> int:
    trace = Trace()
    trace.nodes.append(Node())
    return int(np.frombuffer(trace.references(), np.int64)[0])


_OWN = _own_references()
