"""The trace: Nodes in the order of recording, and their structure as a flat key."""

from __future__ import annotations

from collections import Counter
from itertools import chain
from operator import attrgetter
from sys import getrefcount
from typing import Any, final

from talweg.ir.node import Node
from talweg.ir.op import INPUT

_inputs = attrgetter("inputs")


@final
class Trace:
    """What was recorded and not run yet.

    Every Node of a trace has an ordinal: those recorded, and those they read from outside it, which
    get theirs when they are first read. `rows` says the structure in one list. A recorded Node is a
    row of its Op's token, which is negative, and the ordinals of its operands; one from outside is
    its type. Equal rows mean equal programs, on other data.

    Attributes:
        nodes: the recorded Nodes, in order.
        ordinals: the ordinal of every Node, in order.
        rows: the structure.
        outside: the Nodes from outside whose ordinals the trace has given, in order. They are known
            when the trace runs, or placeholders.
    """

    __slots__ = ("nodes", "ordinals", "outside", "rows")

    def __init__(self) -> None:
        self.clear()

    def clear(self) -> None:
        """Forget everything."""
        self.nodes: list[Node] = []
        self.ordinals: dict[Node, int] = {}
        self.rows: list[Any] = []
        self.outside: list[Node] = []

    def add(self, node: Node) -> None:
        """Append a Node that was made just now."""
        ordinals = self.ordinals
        rows = self.rows
        try:
            places = [ordinals[i] for i in node.inputs]
        except KeyError:
            places = [self.enter(i) for i in node.inputs]
        rows.append(node.op.token)
        rows += places
        ordinals[node] = len(ordinals)
        self.nodes.append(node)

    def enter(self, node: Node) -> int:
        """Return the ordinal of a Node, giving it one where it has none.

        A Node from an earlier trace whose value is not known enters with what it is computed from.
        """
        ordinals = self.ordinals
        if node in ordinals:
            return ordinals[node]
        if _is_pending(node):
            stack = [node]
            while stack:
                last = stack[-1]
                missing = [i for i in last.inputs if i not in ordinals and _is_pending(i)]
                stack += missing
                if not missing:
                    stack.pop()
                    if last not in ordinals:
                        self.add(last)
            return ordinals[node]
        place = ordinals[node] = len(ordinals)
        self.rows.append(node.type)
        self.outside.append(node)
        return place

    def key(self) -> tuple[Any, ...]:
        """Return the structure, hashable."""
        return tuple(self.rows)

    def references(self) -> tuple[int, ...]:
        """Return how often each recorded Node is referenced.

        Traces of equal structure with equal references hold the same values for others: `held`
        gives the same places.
        """
        return tuple(map(getrefcount, self.nodes))

    def held(self) -> list[Node]:
        """Return the recorded Nodes that somebody outside the trace references.

        Live Tensors and steps of the tape do. CPython counts the references of an object; those
        that come from the trace itself and from operands of recorded Nodes are known.
        """
        inside = Counter(chain.from_iterable(map(_inputs, self.nodes)))
        return [
            node
            for node, count in zip(self.nodes, self.references(), strict=True)
            if count > _OWN + inside[node]
        ]


def _is_pending(node: Node) -> bool:
    return node.value is None and node.op is not INPUT


def _own_references() -> int:
    trace = Trace()
    trace.nodes.append(Node())
    trace.ordinals[trace.nodes[0]] = 0
    return trace.references()[0]


_OWN = _own_references()
