"""Strides: convolutions whose kernels take steps, without them where that is less work.

A kernel of one element meets every n-th pixel. Where images are row-major, as inputs and results of
the Graph are, these are copied together once: products of all rows follow, forward and by the
kernel. The gradient by such an image is a product, spread among zeros.

Transposed convolutions with steps, which gradients by images are, write several pixels for every
place of their operand. As channels of one place these fill vectors where an image of few channels
does not: then one convolution without steps computes them all, and they are put in order after it.
"""

from __future__ import annotations

from math import prod

from talweg.base.shapes import Shape
from talweg.ir.node import Graph, Node, make_node
from talweg.ir.op import Op
from talweg.ir.rewrite import rewrite, same
from talweg.ops.kinds import Contract, Move
from talweg.ops.strides import Every, Spread
from talweg.passes.layout import LANES


def without_steps(graph: Graph) -> Graph:
    """Return the Graph with convolutions with strides written as such without, where that helps."""
    if not any(_takes_steps(node) for node in graph.order):
        return graph
    given, wanted = set(graph.inputs), set(graph.outputs)
    copies: dict[tuple[Node, Shape], Node] = {}

    def every(image: Node, steps: Shape, node: Node) -> Node:
        if (image, steps) not in copies:
            copies[image, steps] = _made(Move(), node, _made(Every(steps), node, image))
        return copies[image, steps]

    def rule(node: Node, inputs: tuple[Node, ...]) -> Node:
        op = node.op
        if not isinstance(op, Contract) or not _takes_steps(node):
            return same(node, inputs)
        first, second = inputs
        if op.spreads:
            made = spread(op, node, first, second)
        elif first in given:
            made = taken(op, node, first, second)
        else:
            made = None
        return made or same(node, inputs)

    def taken(op: Contract, node: Node, first: Node, second: Node) -> Node | None:
        places = node.shape[2:] if -1 in op.images else second.shape[2:]
        product = op.stepless(places)
        if product is None:
            return None
        return _made(product, node, every(first, op.steps, node), second)

    def spread(op: Contract, node: Node, first: Node, second: Node) -> Node | None:
        product = op.stepless(first.shape[2:]) if node in wanted else None
        if product is not None:
            made = _made(product, node, first, second)
            return _made(Spread(op.steps, node.shape[2:]), node, made)
        found = op.in_phases(second.shape[2:], first.shape[2:]) if _is_narrow(node) else None
        if found is None:
            return None
        conv, cut, order = found
        phases = _made(conv, node, first, _made(Move(), node, _made(cut, node, second)))
        return _made(order, node, phases)

    return rewrite(graph, rule)


def _made(op: Op, node: Node, *inputs: Node) -> Node:
    return make_node(op, inputs, op.infer(*(i.type for i in inputs)), node.source)


def _takes_steps(node: Node) -> bool:
    op = node.op
    return isinstance(op, Contract) and max(op.steps, default=1) > 1 and node.type.size > 0


def _is_narrow(node: Node) -> bool:
    """Whether vectors of a result's channels have more idle lanes than phases multiply zeros."""
    assert isinstance(node.op, Contract)
    kernel, steps = node.inputs[1].shape[2:], node.op.steps
    taps = prod(-(-k // step) for k, step in zip(kernel, steps, strict=True))
    return _lanes(node.shape[1] * prod(steps)) * taps < _lanes(node.shape[1]) * prod(kernel)


def _lanes(channels: int) -> int:
    return -(-channels // LANES) * LANES
