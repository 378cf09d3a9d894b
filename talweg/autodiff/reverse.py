"""Reverse mode: cotangents of outputs become cotangents of inputs, as new Nodes."""

from __future__ import annotations

from collections.abc import Sequence

from talweg.base.errors import GradientError
from talweg.ir.build import Builder
from talweg.ir.node import Node, topological
from talweg.ir.op import Pick
from talweg.ir.types import TensorType


def vjp(
    b: Builder,
    outputs: Sequence[Node],
    inputs: Sequence[Node],
    cotangents: Sequence[Node | None],
) -> list[Node | None]:
    """Return the cotangent of each input, or None where no gradient reaches it.

    Args:
        b: makes the new Nodes.
        outputs: the values that were computed from `inputs`.
        inputs: the walk stops at these.
        cotangents: one per output, of its type; None counts as zero.

    Raises:
        GradientError: when an Op on the way has no gradient and a real value flows through it.
    """
    order = topological(outputs, stop=inputs)
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
        if node not in active:
            sums.pop(node, None)
            continue
        if isinstance(node.type, TensorType):
            total = sums.pop(node, None)
            if total is None:
                continue
            if isinstance(node.op, Pick):
                parts.setdefault(node.inputs[0], {})[node.op.index] = total
                continue
            given: list[Node] = [total]
        else:
            arrived = parts.pop(node, None)
            if arrived is None:
                continue
            given = [
                arrived[i] if i in arrived else b.expand(b.scalar(0, t.dtype), t.shape)
                for i, t in enumerate(node.type)
            ]
        _through(b, node, given, active, sums)
    return [sums.get(n) for n in inputs]


def _through(
    b: Builder, node: Node, given: list[Node], active: set[Node], sums: dict[Node, Node]
) -> None:
    if not node.op.differentiable:
        return
    rows = node.op.vjp(b, node, *given)
    if len(rows) != len(node.inputs):
        raise GradientError(f"{node.op.name()}: {len(rows)} cotangents, {len(node.inputs)} inputs")
    for i, ct in zip(node.inputs, rows, strict=True):
        if ct is None or i not in active or not i.type.dtype.is_inexact:
            continue
        if ct.type is not i.type and i.type.rank == 0:
            ct = b.reduce_sum(ct, tuple(range(ct.type.rank)))
        if ct.type is not i.type:
            raise GradientError(f"{node.op.name()}: cotangent {ct.type} for input {i.type}")
        _accumulate(b, sums, i, ct)


def _accumulate(b: Builder, sums: dict[Node, Node], node: Node, ct: Node) -> None:
    before = sums.get(node)
    sums[node] = ct if before is None else b.add(before, ct)
