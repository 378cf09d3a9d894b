"""Nodes and Graphs."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from operator import attrgetter
from typing import Any

import numpy as np

from talweg.base.errors import GraphError
from talweg.base.source import Source
from talweg.ir.op import INPUT, Op
from talweg.ir.types import TensorType

_key = attrgetter("key")


class Node:
    """One application of an Op; it also stands for its result.

    Ops with several results have a tuple for `type`, and `Pick` Nodes select one result each.

    Args:
        op: what is applied.
        inputs: the Nodes it is applied to.
        type: type of the result.
        source: the user's line that recorded it; not part of its identity.
        keep: the value may be read by a gradient later, so whoever computes it stores it in
            `array`.

    Attributes:
        key: hash of the whole expression above this Node: Ops and types, not data.
        array: the value in its stored form once it is known, else None. It is a memo: setting it
            never changes what the Node means.
    """

    __slots__ = ("array", "inputs", "keep", "key", "op", "source", "type")

    op: Op
    inputs: tuple[Node, ...]
    type: TensorType
    source: Source | None
    keep: bool
    key: int
    array: np.ndarray | None

    def __init__(
        self,
        op: Op,
        inputs: tuple[Node, ...],
        type: Any,
        source: Source | None = None,
        keep: bool = False,
    ) -> None:
        self.op = op
        self.inputs = inputs
        self.type = type
        self.source = source
        self.keep = keep
        self.array = None
        self.key = hash((op.token, *map(_key, inputs))) if inputs else hash((op.token, type))

    def __repr__(self) -> str:
        return f"<Node {self.op.name()}: {self.type}>"

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape of the result."""
        return self.type.shape

    @property
    def dtype(self) -> Any:
        """Dtype of the result."""
        return self.type.dtype

    @property
    def rank(self) -> int:
        """Number of dimensions of the result."""
        return self.type.rank


def input_node(type: TensorType, array: np.ndarray | None = None) -> Node:
    """Return a Node for a given value, with its data where it is known already."""
    node = Node(INPUT, (), type)
    node.array = array
    return node


def topological(outputs: Iterable[Node], stop: Iterable[Node] = ()) -> list[Node]:
    """Return every Node that the outputs need, inputs before users, without recursion.

    Nodes in `stop` are not entered and not listed.
    """
    seen: set[Node] = set(stop)
    order: list[Node] = []
    stack: list[tuple[Node, bool]] = [(n, False) for n in reversed(list(outputs))]
    while stack:
        node, done = stack.pop()
        if done:
            order.append(node)
            continue
        if node in seen:
            continue
        seen.add(node)
        stack.append((node, True))
        for i in reversed(node.inputs):
            if i not in seen:
                stack.append((i, False))
    return order


class Graph:
    """A function from inputs to outputs: the inputs, the outputs and every Node in order.

    Args:
        inputs: Nodes of Op `Input`, the parameters of the function.
        outputs: the results.

    Raises:
        GraphError: when an output depends on an input that is not listed and has no data.
    """

    __slots__ = ("_key", "inputs", "order", "outputs")

    def __init__(self, inputs: Sequence[Node], outputs: Sequence[Node]) -> None:
        self.inputs = tuple(inputs)
        self.outputs = tuple(outputs)
        self.order = tuple(topological(self.outputs, stop=self.inputs))
        self._key: tuple[object, ...] | None = None
        for node in self.order:
            if node.op is INPUT and node.array is None:
                raise GraphError(f"the graph reads an input {node.type} that is not listed")

    @property
    def key(self) -> tuple[object, ...]:
        """The structure: Ops, types and connections; equal for equal programs on other data."""
        if self._key is None:
            place = {n: i for i, n in enumerate(self.inputs)}
            rows: list[object] = [n.type for n in self.inputs]
            for node in self.order:
                place[node] = len(place)
                rows.append((node.op.token, node.type, *(place[i] for i in node.inputs)))
            self._key = (*rows, *(place[o] for o in self.outputs))
        return self._key
