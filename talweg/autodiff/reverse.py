"""Reverse mode: cotangents of outputs become cotangents of inputs, as new Nodes."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Any

from talweg.base.errors import GradientError
from talweg.ir.build import Builder
from talweg.ir.node import Graph, Node, input_node, topological
from talweg.ir.op import Pick
from talweg.ir.types import TensorType


def vjp(
    b: Builder,
    outputs: Sequence[Node],
    inputs: Sequence[Node],
    cotangents: Sequence[Node | None],
    order: Sequence[Node] | None = None,
) -> list[Node | None]:
    """Return the cotangent of each input, or None where no gradient reaches it.

    Args:
        b: makes the new Nodes.
        outputs: the values that were computed from `inputs`.
        inputs: the walk stops at these.
        cotangents: one per output, of its type; None counts as zero.
        order: every Node between inputs and outputs, inputs before users; others may stand among
            them. Found by walking where it is not given.

    Raises:
        GradientError: when an Op on the way has no gradient and a real value flows through it.
    """
    if b.vjp_of is None:
        b.vjp_of = partial(vjp_of, b)
    if order is None:
        order = topological(outputs, stop=inputs)
    ends = set(inputs)
    active = set(inputs)
    for node in order:
        if not active.isdisjoint(node.inputs):
            active.add(node)
    sums: dict[Node, Node] = {}
    parts: dict[Node, dict[int, Node]] = {}
    for node, ct in zip(outputs, cotangents, strict=True):
        if ct is not None:
            _accumulate(b, sums, node, ct)
    for node in reversed(order):
        if node in ends:
            continue
        if node not in active:
            sums.pop(node, None)
            continue
        several: Any = node.type
        if isinstance(several, TensorType):
            total = sums.pop(node, None)
            if total is None:
                continue
            if isinstance(node.op, Pick):
                parts.setdefault(node.inputs[0], {})[node.op.index] = total
                continue
            given: list[Node | None] = [total]
        else:
            arrived = parts.pop(node, None)
            if arrived is None:
                continue
            given = [arrived.get(i) for i in range(len(several))]
            if not node.op.partial:
                given = [
                    b.expand(b.scalar(0, t.dtype), t.shape) if ct is None else ct
                    for ct, t in zip(given, several, strict=True)
                ]
            b.made = order
        _through(b, node, given, active, sums)
        b.made = ()
    return [sums.get(n) for n in inputs]


def vjp_of(b: Builder, graph: Graph) -> tuple[Graph, tuple[int, ...]]:
    """Return the Graph of a Graph's gradient, and the positions of the inputs it is for.

    It takes the inputs and one cotangent per output; it returns one cotangent for each input that
    a gradient reaches.
    """
    b = b.apart()
    given = [input_node(o.type) for o in graph.outputs]
    arriving = [ct if ct.dtype.is_inexact else None for ct in given]
    found = vjp(b, graph.outputs, graph.inputs, arriving)
    reached = [(i, ct) for i, ct in enumerate(found) if ct is not None]
    gradient = Graph((*graph.inputs, *given), [ct for _, ct in reached])
    return gradient, tuple(i for i, _ in reached)


def _through(
    b: Builder, node: Node, given: list[Node | None], active: set[Node], sums: dict[Node, Node]
) -> None:
    if not node.op.differentiable:
        return
    rows = node.op.vjp(b, node, *given)
    if len(rows) != len(node.inputs):
        raise GradientError(f"{node.op.name()}: {len(rows)} cotangents, {len(node.inputs)} inputs")
    for i, ct in zip(node.inputs, rows, strict=True):
        if ct is None or i not in active or not i.type.inexact:
            continue
        _accumulate(b, sums, i, ct if ct.type is i.type else settled(b, node, i, ct))


def settled(b: Builder, node: Node, x: Node, ct: Node) -> Node:
    """Return the cotangent of an input `x` of a Node, summed where `x` is a number for all places.

    Raises:
        GradientError: when it has another type than its input.
    """
    if x.type.rank == 0:
        ct = b.reduce_sum(ct, tuple(range(ct.type.rank)))
    if ct.type is not x.type:
        raise GradientError(f"{node.op.name()}: cotangent {ct.type} for input {x.type}")
    return ct


def _accumulate(b: Builder, sums: dict[Node, Node], node: Node, ct: Node) -> None:
    before = sums.get(node)
    sums[node] = ct if before is None else b.add(before, ct)
