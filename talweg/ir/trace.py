"""The trace: Nodes in the order of recording, and their structure as a flat key."""

from __future__ import annotations

from collections.abc import Sequence
from sys import getrefcount
from typing import NamedTuple, final

import numpy as np

from talweg.ir.node import Node
from talweg.ir.op import INPUT
from talweg.ir.types import TensorType

_OUTSIDE = 1 << 48  # more than there are places


class Layout(NamedTuple):
    """The structure of a trace, as columns by place.

    Args:
        tokens: of Ops; 0 for Nodes from outside.
        arity: how many operands.
        first: where they begin among all.
        operands: the places of all operands, one Node after the other.
    """

    tokens: np.ndarray
    arity: np.ndarray
    first: np.ndarray
    operands: np.ndarray


@final
class Trace:
    """What was recorded and not run yet.

    Every Node of a trace has a place: those recorded, and those they read from outside it, which
    enter when they are first read. `rows` says the structure in one list of numbers. A recorded
    Node is a row of its Op's token, which is negative, and the places of its operands; one from
    outside is `outside_row` of it. Equal rows mean equal programs, on other data.

    Attributes:
        nodes: the Nodes by place.
        rows: the structure.
        outside: the places of those from outside: known values, or placeholders.
    """

    __slots__ = ("nodes", "outside", "rows")

    def __init__(self) -> None:
        self.clear()

    def clear(self) -> None:
        """Forget everything."""
        self.nodes: list[Node] = []
        self.rows: list[int] = []
        self.outside: list[int] = []

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

    def key(self) -> tuple[int, ...]:
        """Return the structure, hashable."""
        return tuple(self.rows)

    def references(self) -> tuple[int, ...]:
        """Return how often each recorded Node is referenced.

        Those from outside count as 0. Traces of equal structure with equal references hold the same
        values for others: `held` gives the same places.
        """
        counts = list(map(getrefcount, self.nodes))
        for place in self.outside:
            counts[place] = 0
        return tuple(counts)

    def held(self, layout: Layout | None = None) -> list[Node]:
        """Return the recorded Nodes with one result that somebody outside the trace references.

        Live Tensors and steps of the tape do. CPython counts the references of an object; those
        that come from the trace itself and from operands of its Nodes are known.

        Args:
            layout: of this trace, where it was made already.
        """
        nodes = self.nodes
        inside = np.bincount((layout or self.layout()).operands, minlength=len(nodes))
        found = np.flatnonzero(np.array(self.references()) > _OWN + inside).tolist()
        return [nodes[place] for place in found if nodes[place].type.__class__ is TensorType]

    def layout(self) -> Layout:
        """Return the structure as columns."""
        rows = np.array(self.rows, np.int64)
        heads = (rows < 0) | (rows >= _OUTSIDE)
        at = np.flatnonzero(heads)
        arity = np.diff(at, append=len(rows)) - 1
        return Layout(np.minimum(rows[at], 0), arity, np.cumsum(arity) - arity, rows[~heads])


def layout_of(nodes: Sequence[Node]) -> Layout:
    """Return the structure of Nodes that are in no trace: each comes after those that it reads.

    Those with a value, or without operands, count as from outside.
    """
    places = {node: place for place, node in enumerate(nodes)}
    rows = [() if node.value is not None else node.inputs for node in nodes]
    arity = np.array([len(row) for row in rows], np.int64)
    operands = np.array([places[node] for row in rows for node in row], np.int64)
    tokens = [0 if node.value is not None else node.op.token for node in nodes]
    return Layout(np.array(tokens, np.int64), arity, np.cumsum(arity) - arity, operands)


def outside_row(type: TensorType, number: bool) -> int:
    """Return the row of a Node from outside: of its type, and of whether it is a number."""
    return _OUTSIDE + 2 * type.token + number


def _is_pending(node: Node) -> bool:
    return node.value is None and node.op is not INPUT


def _own_references() -> int:
    trace = Trace()
    trace.nodes.append(Node())
    return trace.references()[0]


_OWN = _own_references()
