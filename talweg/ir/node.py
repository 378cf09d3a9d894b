"""Nodes and Graphs."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from types import CodeType
from typing import Any, Protocol

import numpy as np

from talweg.base import dtypes
from talweg.base.errors import GraphError
from talweg.base.source import Source
from talweg.ir.op import INPUT, Op
from talweg.ir.types import TensorType

Number = bool | int | float

_NUMBERS = frozenset((bool, int, float))


class Memory(Protocol):
    """Where the elements of a value lie, row-major and in stored form."""

    @property
    def address(self) -> int:
        """Place of the first element."""

    def array(self, dtype: Any, shape: tuple[int, ...]) -> np.ndarray:
        """Return the elements as an array that keeps the memory alive."""


class Node:
    """One application of an Op; it also stands for its result. Made by a Builder or `make_node`.

    Ops with several results have a tuple for `type`, and `Pick` Nodes select one result each.

    Attributes:
        op: what is applied.
        inputs: the Nodes it is applied to.
        type: type of the result.
        code, offset: the user's line that recorded it; not part of its identity.
        value: what is known of the result: None, an array in stored form, the Memory where a plan
            left it, or the Python number that a 0-d run-time input stands for. It is a memo:
            setting it never changes what the Node means.
        at: the place in the trace that listed it last; -1 before the first.
        behind: of a Late Node, what tells its inputs.
    """

    __slots__ = ("_made", "at", "behind", "code", "inputs", "offset", "op", "type", "value")

    op: Op
    inputs: tuple[Node, ...]
    type: TensorType
    code: CodeType | None
    offset: int
    value: Any
    at: int
    behind: Callable[[], tuple[Node, ...]]
    _made: np.ndarray

    def __repr__(self) -> str:
        return f"<Node {self.op.name()}: {self.type}>"

    @property
    def source(self) -> Source | None:
        """The user's line, for `describe`."""
        return None if self.code is None else (self.code, self.offset)

    @property
    def known(self) -> bool:
        """Whether the value is known; hot code asks `value is not None` itself."""
        return self.value is not None

    @property
    def array(self) -> np.ndarray | None:
        """The value as an array in stored form, made at the first demand; None while unknown."""
        value = self.value
        if value is None or isinstance(value, np.ndarray):
            return value
        try:
            return self._made
        except AttributeError:
            self._made = made = self._array_of(value)
            return made

    @array.setter
    def array(self, array: np.ndarray | None) -> None:
        self.value = array

    def _array_of(self, value: Any) -> np.ndarray:
        type = self.type
        if value.__class__ in _NUMBERS:
            return dtypes.encode(np.array(value).astype(type.dtype.compute), type.dtype)
        made: np.ndarray = value.array(type.dtype.storage, type.shape)
        return made

    @property
    def number(self) -> Number | None:
        """The Python number that a run-time scalar holds; None for any other value."""
        value: Number | None = self.value
        return value if value.__class__ in _NUMBERS else None

    @property
    def buffer(self) -> Memory | None:
        """The Memory that holds the value; None where the value is unknown, array or number."""
        value: Any = self.value
        held = value is None or isinstance(value, np.ndarray) or value.__class__ in _NUMBERS
        return None if held else value

    @buffer.setter
    def buffer(self, memory: Memory | None) -> None:
        self.value = memory
        if hasattr(self, "_made"):
            del self._made

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


class Late(Node):
    """A Node whose inputs are made when somebody asks for them; then it is like any other."""

    __slots__ = ()

    def __getattr__(self, name: str) -> Any:
        if name != "inputs":
            raise AttributeError(name)
        behind = self.behind
        del self.behind
        self.__class__ = Node  # type: ignore[assignment]
        self.inputs = inputs = behind()
        return inputs

    def cut(self) -> None:
        """Be a Node without inputs: its value is known, or nobody wants it."""
        del self.behind
        self.__class__ = Node  # type: ignore[assignment]
        self.inputs = ()


def make_node(op: Op, inputs: tuple[Node, ...], type: Any, source: Source | None = None) -> Node:
    """Return a Node whose value is not known."""
    node = Node()
    node.op = op
    node.inputs = inputs
    node.type = type
    node.code, node.offset = source or (None, 0)
    node.value = None
    node.at = -1
    return node


def input_node(type: TensorType, value: Any = None) -> Node:
    """Return a Node for a given value: an array in stored form, a number, Memory, or None yet."""
    node = Node()
    node.op = INPUT
    node.inputs = ()
    node.type = type
    node.code = None
    node.offset = 0
    node.value = value
    node.at = -1
    return node


def input_nodes(types: Iterable[TensorType], values: Iterable[Any]) -> list[Node]:
    """Return one Node for each of some given values, as `input_node` does."""
    return [input_node(type, value) for type, value in zip(types, values, strict=True)]


def known_node(node: Node) -> Node:
    """Return an input that holds the known value of a Node, without the graph behind it."""
    return input_node(node.type, node.value)


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
        order: of all Nodes that they need, inputs before users; None where any will do.

    Raises:
        GraphError: when an output depends on an input that is not listed and has no data.
    """

    __slots__ = ("_key", "inputs", "order", "outputs")

    def __init__(
        self, inputs: Sequence[Node], outputs: Sequence[Node], order: Sequence[Node] | None = None
    ) -> None:
        self.inputs = tuple(inputs)
        self.outputs = tuple(outputs)
        if order is None:
            order = topological(self.outputs, stop=self.inputs)
        self.order = tuple(order)
        self._key: tuple[object, ...] | None = None
        for node in self.order:
            if node.op is INPUT and node.value is None:
                raise GraphError(f"the graph reads an input {node.type} that is not listed")

    @property
    def key(self) -> tuple[object, ...]:
        """The structure: Ops, types and connections; equal for equal programs on other data."""
        if self._key is None:
            self._key = self._structure([n.op.token for n in self.order])
        return self._key

    @property
    def kin(self) -> tuple[object, ...]:
        """The key, equal also for programs that differ in the numbers of Ops, see `Op.numbers`."""
        return self._structure([n.op.kin for n in self.order])

    @property
    def numbers(self) -> list[int]:
        """The numbers of all Ops, in order."""
        return [number for n in self.order if n.op.numbered for number in n.op.numbers]

    def _structure(self, tokens: Sequence[int]) -> tuple[object, ...]:
        place = {n: i for i, n in enumerate(self.inputs)}
        of = place.__getitem__
        rows: list[object] = [n.type for n in self.inputs]
        for node, token in zip(self.order, tokens, strict=True):
            place[node] = len(place)
            rows.append((token, node.type, *map(of, node.inputs)))
        return (*rows, *(place[o] for o in self.outputs))
