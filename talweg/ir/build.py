"""The Builder: makes Nodes, inferring their types and noting who recorded them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from operator import attrgetter
from types import CodeType
from typing import TYPE_CHECKING, Any, Self

import numpy as np

from talweg.base import dtypes
from talweg.base.dtypes import DType
from talweg.base.source import Source
from talweg.ir.node import Graph, Node, input_node
from talweg.ir.op import INPUT, Op, Pick
from talweg.ir.trace import Trace, outside_row
from talweg.ir.types import TensorType, tensor_type

_type = attrgetter("type")
_MEMO_LIMIT = 100_000
_LOWEST = -(1 << 63)


def _in_64_bits(value: Any) -> bool:
    held: bool = _LOWEST <= value < -_LOWEST
    return held


class Builder:
    """Makes Nodes.

    Every registered Op is also a method named after it, inputs first, then the Op's fields:
    `b.reduce_sum(x, axes=(0,))`. `talweg.ops.OpBuilder` carries these methods.

    Attributes:
        code, offset: the user's line given to the Nodes made next.
        default_float: dtype of Python floats that meet no floating tensor.
        trace: where the Nodes made are listed; None for the Nodes of a Graph of their own.
        vjp_of: set by reverse mode: from a Graph to the Graph of its gradient, which takes the
            inputs and one cotangent per output, and the positions of the inputs it is for.
        made: set by reverse mode: the Nodes between which it goes; results of Ops among them.
    """

    __slots__ = (
        "_types",
        "code",
        "default_float",
        "made",
        "offset",
        "trace",
        "vjp_of",
    )

    def __init__(self, trace: Trace | None = None) -> None:
        self.code: CodeType | None = None
        self.offset = 0
        self.default_float: DType = dtypes.float32
        self.trace = trace
        self.vjp_of: Callable[[Graph], tuple[Graph, tuple[int, ...]]] | None = None
        self.made: Sequence[Node] = ()
        self._types: dict[tuple[Any, ...], Any] = {}

    @property
    def source(self) -> Source | None:
        """The user's line given to the Nodes made next."""
        return None if self.code is None else (self.code, self.offset)

    @source.setter
    def source(self, source: Source | None) -> None:
        self.code, self.offset = source or (None, 0)

    def apart(self) -> Self:
        """Return a Builder with the same settings, whose Nodes enter no trace."""
        made = type(self)()
        made.default_float = self.default_float
        made.code, made.offset = self.code, self.offset
        return made

    if TYPE_CHECKING:

        def __getattr__(self, name: str) -> Callable[..., Node]: ...

    def apply(self, op: Op, *inputs: Node) -> Node:
        """Return the Node of `op` on these inputs.

        Raises:
            ShapeError, DTypeError: from the Op's `infer` rule.
        """
        key = (op.token, *map(_type, inputs))
        memo = self._types
        result: Any = memo.get(key)
        if result is None:
            result = op.infer(*key[1:])
            if len(memo) >= _MEMO_LIMIT:
                memo.clear()
            memo[key] = result
        if len(inputs) == 2:
            return self.pair(op, *inputs, result)
        if len(inputs) == 1:
            return self.sole(op, *inputs, result)
        return self.row(op, inputs, result)

    def row(self, op: Op, inputs: tuple[Node, ...], type: Any) -> Node:
        """Return the Node of an Op with any inputs whose result type is known already."""
        node = Node()
        node.op = op
        node.inputs = inputs
        node.type = type
        node.code = self.code
        node.offset = self.offset
        node.value = None
        node.at = -1
        if self.trace is not None:
            self.trace.add(node)
        return node

    def sole(self, op: Op, x: Node, type: Any) -> Node:
        """Return the Node of an Op with one input whose result type is known already."""
        node = Node()
        node.op = op
        node.inputs = (x,)
        node.type = type
        node.code = self.code
        node.offset = self.offset
        node.value = None
        trace = self.trace
        if trace is None:
            node.at = -1
        else:
            nodes = trace.nodes
            rows = trace.rows
            i = x.at
            try:
                if nodes[i] is not x:
                    i = trace.enter(x)
            except IndexError:
                i = trace.enter(x)
            rows.append(op.token)
            rows.append(i)
            trace.types.append(type)
            node.at = len(nodes)
            nodes.append(node)
        return node

    def pair(self, op: Op, x: Node, y: Node, type: Any) -> Node:
        """Return the Node of an Op with two inputs whose result type is known already."""
        node = Node()
        node.op = op
        node.inputs = (x, y)
        node.type = type
        node.code = self.code
        node.offset = self.offset
        node.value = None
        trace = self.trace
        if trace is None:
            node.at = -1
        else:
            nodes = trace.nodes
            rows = trace.rows
            i = x.at
            try:
                if nodes[i] is not x:
                    i = trace.enter(x)
                j = y.at
                if nodes[j] is not y:
                    j = trace.enter(y)
            except IndexError:
                i = trace.enter(x)
                j = trace.enter(y)
            rows.append(op.token)
            rows.append(i)
            rows.append(j)
            trace.types.append(type)
            node.at = len(nodes)
            nodes.append(node)
        return node

    def results(self, op: Op, *inputs: Node) -> tuple[Node, ...]:
        """Return one Node per result of an Op, which may have several."""
        node = self.apply(op, *inputs)
        several: Any = node.type
        if several.__class__ is TensorType:
            return (node,)
        return tuple(self.apply(Pick(i), node) for i in range(len(several)))

    def picked(self, node: Node, index: int) -> Node:
        """Return a result of a Node with several: the Node that stands for it already, if any."""
        for made in self.made:
            op = made.op
            if isinstance(op, Pick) and op.index == index and made.inputs[0] is node:
                return made
        return self.apply(Pick(index), node)

    def scalar(self, value: bool | int | float | complex, dtype: DType) -> Node:
        """Return a 0-d run-time input: its value is data, never part of the structure.

        The Node keeps the number itself; an array is made of it when somebody reads one.

        Raises:
            OverflowError: for an integer that no dtype holds.
        """
        kind = value.__class__
        node = Node()
        node.op = INPUT
        node.inputs = ()
        node.type = type = tensor_type(dtype, ())
        node.code = None
        node.offset = 0
        node.at = -1
        trace = self.trace
        if kind is float or kind is bool or (kind is int and _in_64_bits(value)):
            node.value = value
            if trace is not None:
                nodes = trace.nodes
                node.at = len(nodes)
                trace.outside.append(len(nodes))
                trace.rows.append(outside_row(type, True))
                trace.types.append(type)
                nodes.append(node)
        else:
            node.value = dtypes.encode(np.array(value).astype(dtype.compute), dtype)
        return node

    def constant(self, array: np.ndarray, dtype: DType | None = None) -> Node:
        """Return an input that holds the values of a NumPy array."""
        dtype = dtype or dtypes.from_numpy(array.dtype)
        stored = dtypes.encode(np.asarray(array, dtype.compute), dtype)
        return input_node(tensor_type(dtype, stored.shape), stored)

    def adjoint(self, x: Node) -> Node:
        """Return the complex conjugate; a real value is returned as it is."""
        return self.conj(x) if x.type.dtype.category == "complex" else x


def sole_method(op: Op) -> Callable[[Builder, Node], Node]:
    """Return the Builder method of an Op with one input and no fields."""
    results: dict[TensorType, Any] = {}

    def sole(b: Builder, x: Node) -> Node:
        type = x.type
        result = results.get(type)
        if result is None:
            node = b.apply(op, x)
            results[type] = node.type
            return node
        return b.sole(op, x, result)

    return sole


def pair_method(op: Op) -> Callable[[Builder, Node, Node], Node]:
    """Return the Builder method of an Op with two inputs, mostly of one type, and no fields."""
    results: dict[TensorType, Any] = {}

    def pair(b: Builder, x: Node, y: Node) -> Node:
        type = x.type
        if y.type is not type:
            return b.apply(op, x, y)
        result = results.get(type)
        if result is None:
            node = b.apply(op, x, y)
            results[type] = node.type
            return node
        return b.pair(op, x, y, result)

    return pair
