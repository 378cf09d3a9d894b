"""Layout: in which order the axes of stored values stand in memory.

Convolutions sum over channels, so images whose channels fill vectors are stored channels last, and
whatever elementwise or pooling Ops make of them as well: no value is reordered on the way from one
convolution to the next. Inputs, outputs and values that are reshaped stay row-major. Loop nests
read and write through the order; only the gradient of a kernel is moved, once, when it is complete.
"""

from __future__ import annotations

from typing import TypeAlias

from talweg.base.shapes import Shape
from talweg.ir.node import Graph, Node, make_node
from talweg.ir.rewrite import rewrite, same
from talweg.ops.kinds import Contract, Effect, Elementwise, Move, View, Window
from talweg.passes.simplify import has_one_result

Order: TypeAlias = tuple[int, ...]

LANES = 16
WIDE = 32  # pixels of a row from which on single channels of an input need not be copied
FEW = 8  # channels that are copied with a border
FILLED = 0.6  # channels are stored last if they fill this much of their vectors of so many lanes


def choose_orders(graph: Graph) -> tuple[Graph, dict[Node, Order]]:
    """Return the Graph with Moves put in, and the order of axes of what is not stored row-major."""
    graph, orders = _with_moves(graph)
    fixed = set(graph.outputs) | set(graph.inputs)
    fixed |= {n.inputs[0] for n in graph.order if isinstance(n.op, View) and n.op.relabels}
    fixed |= {i for n in graph.order if isinstance(n.op, Effect) for i in n.inputs}
    images = any(isinstance(n.op, Contract) and n.op.images for n in graph.order)
    for node in graph.order if images else ():
        if node not in fixed and has_one_result(node):
            order = _order_of(node, orders)
            if order is not None:
                orders[node] = order
    for node in reversed(graph.order):
        if not isinstance(node.op, Contract):
            continue
        for place in node.op.images:
            image = node if place < 0 else node.inputs[place]
            if image in orders or image in fixed or not isinstance(image.op, Elementwise):
                continue
            if fills_vectors(image.shape):
                orders[image] = channels_last(image.rank)
    return graph, orders


def _with_moves(graph: Graph) -> tuple[Graph, dict[Node, Order]]:
    """Put Moves in where values of other orders meet convolutions.

    Gradients of kernels O, I, *spatial are summed with O last. Inputs and results of the Graph,
    which are row-major, are copied where kernels slide over them. Few channels, computed ones too,
    get their border of zeros with a copy, so that no element needs to be tested. Kernels of single
    channels are copied with the channels last. Returns the orders of the copies.
    """
    if not any(isinstance(n.op, Contract) and n.op.images for n in graph.order):
        return graph, {}
    kernels: dict[Node, Node] = {}
    copies: dict[tuple[Node, Move], Node] = {}
    orders: dict[Node, Order] = {}
    slid, given, trains = _slid(graph), set(graph.inputs), _trains(graph)

    def moved(node: Node, move: Move, order: Order) -> Node:
        if (node, move) not in copies:
            made = make_node(move, (node,), move.infer(node.type), node.source)
            copies[node, move], orders[made] = made, order
        return copies[node, move]

    def rule(node: Node, inputs: tuple[Node, ...]) -> Node:
        op = node.op
        if not isinstance(op, Contract):
            return same(node, tuple(kernels.get(i, i) for i in inputs))
        found, last = list(inputs), channels_last(node.rank)
        if op.slides and (trains or not _is_wide(node, found[0] in given)):
            for place in op.images:
                if place < 0 or not fills_vectors(found[place].shape):
                    continue
                if found[place] in given:
                    found[place] = moved(found[place], Move(), last)
                elif _is_short(found[place], given):
                    (base,) = found[place].inputs
                    found[place] = same(found[place], (moved(base, Move(), last),))
            if op.single and found[1] in given and fills_vectors(found[0].shape):
                found[1] = moved(found[1], Move(), _kernels_last(node.rank))
        few = op.slides and found[0].shape[1] <= FEW
        if few and any(map(any, op.border)):
            found[0] = moved(found[0], Move(op.border), last)
            made = make_node(op.borderless(), tuple(found), node.type, node.source)
        else:
            made = same(node, tuple(found))
        if _sums_kernels(made) and _fills(made.shape[0]):
            kernels[made] = make_node(Move(), (made,), made.type, made.source)
        return made

    found = rewrite(graph, rule)
    for old, new in zip(graph.outputs, found.outputs, strict=True):
        if old in slid and new not in kernels:
            kernels[new] = make_node(Move(), (new,), new.type, new.source)
    outputs = [kernels.get(o, o) for o in found.outputs]
    return Graph(found.inputs, outputs), orders


def _trains(graph: Graph) -> bool:
    return any(_sums_kernels(n) for n in graph.order)


def _is_wide(node: Node, given: bool) -> bool:
    """Whether single channels are met as they are given: rows of pixels fill vectors as well."""
    assert isinstance(node.op, Contract)
    return given and node.op.single and node.inputs[0].shape[-1] >= WIDE


def _is_short(node: Node, given: set[Node]) -> bool:
    """Whether a Node is an input of fewer bytes as wider integers: its copy stays short."""
    if not isinstance(node.op, Elementwise) or not node.op.converts or node.dtype.is_inexact:
        return False
    return node.inputs[0] in given and node.inputs[0].dtype.itemsize < node.dtype.itemsize


def _slid(graph: Graph) -> set[Node]:
    """The images that are made by sliding kernels, and what is made of them at the same place."""
    found: set[Node] = set()
    given, trains = set(graph.inputs), _trains(graph)
    for node in graph.order:
        if isinstance(node.op, Contract):
            made = node.op.slides and -1 in node.op.images
            made = made and (trains or not _is_wide(node, node.inputs[0] in given))
        else:
            made = isinstance(node.op, Elementwise) and any(
                i in found and i.shape == node.shape for i in node.inputs
            )
        if made and fills_vectors(node.shape):
            found.add(node)
    return found


def _sums_kernels(node: Node) -> bool:
    return isinstance(node.op, Contract) and bool(node.op.images) and -1 not in node.op.images


def _order_of(node: Node, orders: dict[Node, Order]) -> Order | None:
    op = node.op
    if isinstance(op, Contract):
        if _sums_kernels(node):
            return _kernels_last(node.rank) if _fills(node.shape[0]) else None
        image = -1 in op.images and fills_vectors(node.shape)
        return channels_last(node.rank) if image else None
    if isinstance(op, Window):
        return channels_last(node.rank) if fills_vectors(node.shape) else None
    if isinstance(op, Elementwise):
        found = (orders.get(i) for i in node.inputs if i.shape == node.shape)
        return next((order for order in found if order is not None), None)
    return None


def channels_last(rank: int) -> Order:
    """Return the order N, *spatial, C of axes N, C, *spatial."""
    return (0, *range(2, rank), 1)


def _kernels_last(rank: int) -> Order:
    """The order *spatial, I, O of the axes O, I, *spatial of kernels."""
    return (*range(2, rank), 1, 0)


def fills_vectors(shape: Shape) -> bool:
    """Whether images N, C, *spatial are better stored channels last."""
    return len(shape) > 2 and max(shape[2:]) > 1 and _fills(shape[1])


def _fills(channels: int) -> bool:
    return channels >= FILLED * LANES * -(-channels // LANES)
