"""Gradients of single Ops as Rules: learned once for the types of the operands."""

from __future__ import annotations

from collections.abc import Sequence
from functools import reduce

from talweg.autodiff.reverse import settled
from talweg.ir.build import Builder
from talweg.ir.node import Node, input_node, make_node
from talweg.ir.rule import Rule, rule_of
from talweg.ir.trace import Trace


def gradient_rule(
    b: Builder, node: Node, wanted: Sequence[bool], added: Sequence[bool], same: bool
) -> Rule | None:
    """Return what the cotangents of an Op's operands are made of.

    The places given to it are those of the cotangent of the result, of the result, of two operands
    (whether there are two or one), and of what has arrived at each of them before. Its results are
    the sums of what has arrived at the operands.

    Args:
        b: has the settings of recording.
        node: of a differentiable Op with one result and one or two operands.
        wanted: for which of them a cotangent is wanted.
        added: for which of them one has arrived before.
        same: both operands are one, of which the first stands for both.

    Returns:
        None where that takes other values than these and numbers.
    """
    types = [x.type for x in node.inputs]
    inputs = tuple(map(input_node, types))
    before = tuple([input_node(types[n]) for n in (0, -1)])
    arriving, again = input_node(node.type), make_node(node.op, inputs, node.type)
    own = b.apart()
    own.trace, own.vjp_of = Trace(), b.vjp_of
    found: list[Node | None] = []
    for n, (x, ct) in enumerate(zip(inputs, node.op.vjp(own, again, arriving), strict=True)):
        if ct is not None and wanted[n]:
            ct = ct if ct.type is x.type else settled(own, again, x, ct)
            found.append(own.add(before[n], ct) if added[n] and not same else ct)
        else:
            found.append(before[n] if added[n] else None)
    if same:
        total = reduce(own.add, [ct for ct in found if ct is not None])
        found = [own.add(before[0], total) if added[0] else total]
    two = inputs if len(inputs) == 2 else (*inputs, input_node(node.type))
    given = [arriving, again, *two, *before]
    return rule_of(own.trace.nodes, given, [*found, None][:2])
