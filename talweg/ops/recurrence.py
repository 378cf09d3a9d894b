"""A sub-graph that is run once for each element of its operands, carrying values along."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from typing import Any, ClassVar, Literal, NamedTuple, TypeAlias, final

import numpy as np

from talweg.base import dtypes
from talweg.base.errors import GradientError, GraphError, ShapeError
from talweg.base.frozen import frozen
from talweg.ir.build import Builder
from talweg.ir.closed import close, shared
from talweg.ir.interpret import interpret
from talweg.ir.node import Graph, Node, input_node, make_node
from talweg.ir.op import INPUT, Draw, Op, Sample
from talweg.ir.types import TensorType, tensor_type
from talweg.ops.kinds import Control, Effect, Elementwise, Reduce, View, zeros_like


@frozen
class Recurrence(Control):
    """Run a Graph for one element after the other along the first axis: a scan over a sub-graph.

    1. The Graph takes the `carried` values, one element of each of the `scanned` operands, then
       all other operands as they are. It gives the carried values that the next element meets, of
       the types of those before, and then whatever is to be stacked.
    2. Operands are the first carried values, what is scanned, [T, ...] with one T of at least 1,
       and the others; at least one is scanned.
    3. Results are the carried values after the last element, and [T, ...] of every other output.
       What is made of an element stands at its place in both directions.
    4. The Graph is closed and calls nothing of the host. Graphs of one structure are one.
    5. The gradient is a Recurrence in the other direction. It reads what the steps have computed,
       where results hold that (see `recurrence`); else they are computed again. Sums over all
       steps of products and of sums are one product and one sum behind it.

    Args:
        graph: what is done for every element.
        carried: how many values are carried along.
        scanned: how many operands are gone through.
        reverse: from the last element to the first.
    """

    repeats: ClassVar[bool] = True
    partial: ClassVar[bool] = True
    graph: Graph
    carried: int
    scanned: int
    reverse: bool = False

    def __post_init__(self) -> None:
        object.__setattr__(self, "graph", shared(self.graph))
        if any(isinstance(n.op, Effect) for n in self.graph.order):
            raise GraphError("a recurrence calls nothing of the host")
        super().__post_init__()

    def infer(self, *types: TensorType) -> tuple[TensorType, ...]:
        graph, first, rest = self.graph, self.carried, self.carried + self.scanned
        rows = types[first:rest]
        if not rows or any(t.rank < 1 or t.shape[0] != rows[0].shape[0] for t in rows):
            raise ShapeError(f"a recurrence needs operands of one length, got {list(rows)}")
        length = rows[0].shape[0]
        if not length:
            raise ShapeError("a recurrence needs one element at least")
        found = (*types[:first], *(t.with_shape(t.shape[1:]) for t in rows), *types[rest:])
        wanted = tuple(n.type for n in graph.inputs)
        if found != wanted:
            raise ShapeError(f"a recurrence of {list(wanted)} was given {list(found)}")
        carried, others = graph.outputs[:first], graph.outputs[first:]
        if tuple(n.type for n in carried) != types[:first]:
            raise ShapeError(
                f"a recurrence carries {[n.type for n in carried]} along, and begins with "
                f"{list(types[:first])}"
            )
        return (*types[:first], *(n.type.with_shape((length, *n.shape)) for n in others))

    def reference(self, *arrays: np.ndarray) -> Any:
        graph, first, rest = self.graph, self.carried, self.carried + self.scanned
        types = [n.type for n in graph.inputs]
        given = [dtypes.encode(a, t.dtype) for a, t in zip(arrays, types, strict=True)]
        state, rows, others = given[:first], given[first:rest], given[rest:]
        length = len(rows[0])
        made = [np.empty((length, *n.shape), n.dtype.storage) for n in graph.outputs[first:]]
        for at in range(length - 1, -1, -1) if self.reverse else range(length):
            found = interpret(graph, [*state, *(row[at, ...] for row in rows), *others])
            state = found[:first]
            for stack, value in zip(made, found[first:], strict=True):
                stack[at] = value
        results = zip((*state, *made), graph.outputs, strict=True)
        return tuple(dtypes.decode(a, n.dtype) for a, n in results)

    def vjp(self, b: Builder, node: Node, *cotangents: Node | None) -> tuple[Node | None, ...]:
        live = tuple(i for i, ct in enumerate(cotangents) if ct is not None and i >= self.carried)
        found = _derived(b, self, live)
        if found is None:
            return (None,) * len(node.inputs)
        return _Passing(b, node, cotangents, found).run()

    @classmethod
    def samples(cls) -> Iterator[Sample]:
        before, x = (input_node(tensor_type(dtypes.float64, (2, 3))) for _ in range(2))
        draws = Draw((2, 3)), Draw((4, 2, 3))
        for reverse in (False, True):
            late = cls(Graph((before, x), (x, before, x)), 1, 1, reverse)
            yield Sample(late, draws, (dtypes.float64,))


def recurrence(
    b: Builder,
    graph: Graph,
    operands: Sequence[Node],
    carried: int,
    scanned: int,
    reverse: bool = False,
) -> tuple[Node, ...]:
    """Return the results of a `Recurrence` that has what its gradient reads as further results.

    Nobody computes those that nobody reads.
    """
    op = Recurrence(graph, carried, scanned, reverse)
    made = op
    if b.vjp_of is not None:
        found = _derived(b, op, tuple(range(carried, len(graph.outputs))))
        made = op if found is None else replace(op, graph=found.body)
    return b.results(made, *operands)[: len(graph.outputs)]


class _Row(NamedTuple):
    """A stack of values, one for each element.

    Args:
        kind: a cotangent of a result; an operand; what a carried value was before each element; a
            result; what the backward pass stacks.
        at: the number of that result, operand, carried value, result, or output.
    """

    kind: Literal["cotangent", "operand", "before", "result", "made"]
    at: int


_Sum: TypeAlias = Callable[[Builder, Callable[[_Row], Node]], Node]


class _Derived(NamedTuple):
    """How gradients go through a Recurrence.

    Args:
        body: what it does for each element, with all that gradients read among the outputs.
        kept: whether the Recurrence itself does so.
        backward: goes the other way.
        states: for each value that this carries along, the number of the carried value whose
            cotangent it begins with; -1 for a sum, which begins with zeros.
        rows: what this goes through.
        after: for carried values whose values before each element are read, the result that has
            those after it.
        others: operands of the Recurrence that the steps of `backward` read.
        data: what else they read.
        ends: for each operand, where its cotangent is found: the final carried value of a number,
            a stack, or a sum.
    """

    body: Graph
    kept: bool
    backward: Recurrence
    states: tuple[int, ...]
    rows: tuple[_Row, ...]
    after: dict[int, int]
    others: tuple[int, ...]
    data: tuple[Node, ...]
    ends: tuple[int | _Row | _Sum | None, ...]


_DERIVED: dict[tuple[Recurrence, tuple[int, ...]], _Derived | None] = {}
_LIMIT = 4096


def _derived(b: Builder, op: Recurrence, live: tuple[int, ...]) -> _Derived | None:
    """How gradients go through, where cotangents come to these stacked results."""
    key = op, live
    if key in _DERIVED:
        return _DERIVED[key]
    if len(_DERIVED) >= _LIMIT:
        _DERIVED.clear()
    made = _DERIVED[key] = _Deriving(b, op, live).run()
    return made


@final
class _Deriving:
    """Cuts the gradient of a step into what steps compute and what is computed behind them.

    What the step itself has computed is read from stacks, but for views and for what is the same
    in all steps.
    """

    def __init__(self, b: Builder, op: Recurrence, live: tuple[int, ...]) -> None:
        if b.vjp_of is None:
            raise GradientError("this Builder differentiates no sub-graph: its vjp_of is not set")
        graph, self.b, self.op = op.graph, b.apart(), op
        passing = [
            i
            for i, node in enumerate(graph.outputs)
            if node.dtype.is_inexact and (i < op.carried or i in live)
        ]
        part = Graph(graph.inputs, [graph.outputs[i] for i in passing])
        gradient, reached = b.vjp_of(part)
        self.order = gradient.order
        self.inputs = {node: i for i, node in enumerate(graph.inputs)}
        self.forward = set(graph.order)
        self.arriving = dict(zip(gradient.inputs[len(graph.inputs) :], passing, strict=True))
        self.found = dict(zip(reached, gradient.outputs, strict=True))
        self.outputs = list(graph.outputs)
        self.after: dict[int, int] = {}
        self.made: dict[Node, int] = {}
        self.rows: dict[_Row, Node] = {}
        self.varying: set[Node] = {*graph.inputs[: op.carried + op.scanned], *self.arriving}
        for node in self.order:
            if not self.varying.isdisjoint(node.inputs):
                self.varying.add(node)

    def run(self) -> _Derived | None:
        if not self.found:
            return None
        op, found = self.op, self.found
        ends: list[int | _Row | _Sum | None] = [None] * len(self.inputs)
        sums: list[int] = []
        for i, ct in found.items():
            if i >= op.carried + op.scanned:
                ends[i] = self._sum(ct)
                if ends[i] is None:
                    sums.append(i)
            elif i >= op.carried:
                ends[i] = self._stack(ct) or self._make(ct)
        states = [i for i in self.arriving.values() if i < op.carried]
        for number, i in enumerate((*states, *sums)):
            ends[i] = number if i in found else None
        graph, others, data = self._steps(states, sums)
        backward = Recurrence(graph, len(states) + len(sums), len(self.rows), not op.reverse)
        return _Derived(
            Graph(op.graph.inputs, self.outputs),
            len(self.outputs) == len(op.graph.outputs),
            backward,
            (*states, *[-1] * len(sums)),
            tuple(self.rows),
            self.after,
            others,
            data,
            tuple(ends),
        )

    # -- what is found in stacks

    def _stack(self, node: Node) -> _Row | None:
        """The stack of a Node's values; None where they are the same in all steps."""
        number = self.arriving.get(node, -1)
        if number >= self.op.carried:
            return _Row("cotangent", number)
        place = self.inputs.get(node)
        if place is not None and place < self.op.carried:
            self.after[place] = self._keep(self.op.graph.outputs[place])
            return _Row("before", place)
        if node not in self.varying:
            return None
        if place is not None:
            return _Row("operand", place)
        return _Row("result", self._keep(node)) if node in self.forward else self._make(node)

    def _keep(self, node: Node) -> int:
        """The number of the result that stacks what a step has computed."""
        if node not in self.outputs[self.op.carried :]:
            self.outputs.append(node)
        return self.outputs.index(node, self.op.carried)

    def _make(self, node: Node) -> _Row:
        return _Row("made", self.made.setdefault(node, len(self.made)))

    # -- sums over all steps

    def _sum(self, ct: Node) -> _Sum | None:
        """How the sum of a Node's values in all steps is made of stacks; None for one by one."""
        op = ct.op
        if ct in self.forward or ct in self.arriving or not ct.inputs:
            return None
        if isinstance(op, View) and len(ct.inputs) == 1:
            inner = self._sum(ct.inputs[0])
            return inner and (lambda b, find: b.apply(op, inner(b, find)))
        if isinstance(op, Elementwise) and op.adds and ct.inputs[0].type is ct.inputs[1].type:
            first, second = map(self._sum, ct.inputs)
            if first is None or second is None:
                return None
            return lambda b, find: b.add(first(b, find), second(b, find))
        if isinstance(op, Reduce) and op.adds:
            row = self._stack(ct.inputs[0])
            axes = (0, *(a + 1 for a in op.axes))
            return row and (lambda b, find: b.reduce_sum(find(row), axes=axes))
        return self._product(ct) if op.name() == "dot" and ct.rank == 2 else None

    def _product(self, ct: Node) -> _Sum | None:
        """Products of matrices: their stacks are matrices of as many rows."""
        left, right = ct.inputs
        turned = left.op.name() == "permute" and left.op == self.b.permute(right, (1, 0)).op
        x, y = self._stack(left.inputs[0] if turned else left), self._stack(right)
        if x is None or y is None:
            return None

        def product(b: Builder, find: Callable[[_Row], Node]) -> Node:
            first, second = find(x), find(y)
            if not turned:
                first = b.permute(first, (0, 2, 1))
            rows = [b.reshape(n, (n.shape[0] * n.shape[1], n.shape[2])) for n in (first, second)]
            return b.dot(b.permute(rows[0], (1, 0)), rows[1])

        return product

    # -- the steps of the backward pass

    def _steps(
        self, states: Sequence[int], sums: Sequence[int]
    ) -> tuple[Graph, tuple[int, ...], tuple[Node, ...]]:
        """What is done for an element; which operands and what other data it reads."""
        b, op, found = self.b, self.op, self.found
        ends = [*self.made, *(found[i] for i in (*states, *sums) if i in found)]
        needed = set(ends)
        for node in reversed(self.order):
            if node in needed and not self._is_kept(node):
                needed.update(node.inputs)
        new: dict[Node, Node] = {}
        given = {i: node for node, i in self.arriving.items()}
        first = []
        for i in states:
            new[given[i]] = input_node(given[i].type)
            first.append(new[given[i]])
        others = {i: input_node(n.type) for n, i in self.inputs.items() if n in needed}
        for node in (*given.values(), *self.inputs, *self.order):
            if node not in needed or node in new:
                continue
            if node.op is INPUT and node in self.inputs and node not in self.varying:
                new[node] = others[self.inputs[node]]
            elif node.op is INPUT and node not in self.varying:
                new[node] = node
            elif node.op is INPUT or self._is_kept(node):
                row = self._stack(node)
                assert row is not None
                new[node] = self.rows[row] = self.rows.get(row) or input_node(node.type)
            else:
                new[node] = make_node(node.op, tuple(new[i] for i in node.inputs), node.type)
        if not self.rows:  # no step reads anything of its own: they are counted by an operand
            x = op.graph.inputs[op.carried]
            self.rows[_Row("operand", op.carried)] = input_node(x.type)
        rest = [i for i in others if i >= op.carried + op.scanned]
        results = [
            new[found[i]] if i in found else zeros_like(b, op.graph.inputs[i]) for i in states
        ]
        for i in sums:
            first.append(input_node(op.graph.inputs[i].type))
            results.append(b.add(first[-1], new[found[i]]))
        results += [new[node] for node in self.made]
        inputs = (*first, *self.rows.values(), *(others[i] for i in rest))
        graph, data = close(Graph(inputs, results))
        return graph, tuple(rest), data

    def _is_kept(self, node: Node) -> bool:
        """Whether a Node's values are read from a stack of what the steps have computed."""
        return node in self.forward and node in self.varying and not isinstance(node.op, View)


@final
class _Passing:
    """The cotangents of one Recurrence.

    Args:
        b: makes the Nodes.
        node: the Recurrence.
        cotangents: of its results.
        derived: how gradients go through.
    """

    def __init__(
        self, b: Builder, node: Node, cotangents: Sequence[Node | None], derived: _Derived
    ) -> None:
        op: Any = node.op
        self.b, self.node, self.cotangents, self.derived = b, node, cotangents, derived
        self.reverse: bool = op.reverse
        self.again: tuple[Node, ...] = ()
        if not derived.kept:
            self.again = b.results(replace(op, graph=derived.body), *node.inputs)
        self.made: tuple[Node, ...] = ()
        self.found: dict[_Row, Node] = {}

    def run(self) -> tuple[Node | None, ...]:
        b, derived, inputs = self.b, self.derived, self.node.inputs
        op = derived.backward
        first = []
        for number, i in enumerate(derived.states):
            ct = self.cotangents[i] if i >= 0 else None
            if ct is None:
                type = op.graph.inputs[number].type
                ct = b.expand(b.scalar(0, type.dtype), type.shape)
            first.append(ct)
        rows = [self._find(row) for row in derived.rows]
        rest = [inputs[i] for i in derived.others]
        data = [n if n.number is None else b.scalar(n.number, n.dtype) for n in derived.data]
        results = b.results(op, *first, *rows, *rest, *data)
        self.made = results[len(first) :]
        return tuple(
            end
            if end is None
            else results[end]
            if isinstance(end, int)
            else self._find(end)
            if isinstance(end, _Row)
            else end(b, self._find)
            for end in derived.ends
        )

    def _find(self, row: _Row) -> Node:
        if row not in self.found:
            self.found[row] = self._stacked(row)
        return self.found[row]

    def _stacked(self, row: _Row) -> Node:
        kind, at = row
        if kind == "operand":
            return self.node.inputs[at]
        if kind == "made":
            return self.made[at]
        if kind == "cotangent":
            ct = self.cotangents[at]
            assert ct is not None
            return ct
        if kind == "before":
            return self._before(self._result(self.derived.after[at]), self.node.inputs[at])
        return self._result(at)

    def _result(self, at: int) -> Node:
        return self.again[at] if self.again else self.b.picked(self.node, at)

    def _before(self, after: Node, first: Node) -> Node:
        """Values before each element, from those after it."""
        b, length, rank = self.b, after.shape[0], after.rank
        first = b.reshape(first, (1, *first.shape))
        if length == 1:
            return first
        low, high = (1, length) if self.reverse else (0, length - 1)
        starts, stops = (low, *(0,) * (rank - 1)), (high, *after.shape[1:])
        kept = b.slice(after, starts, stops, (1,) * rank)
        return b.concat(*((kept, first) if self.reverse else (first, kept)), axis=0)


OPS: tuple[type[Op], ...] = (Recurrence,)
