"""Layout: in which order the axes of stored values stand in memory.

Convolutions sum over channels, so images whose channels fill vectors are stored channels last, and
whatever elementwise or pooling Ops make of them as well: no value is reordered on the way from one
convolution to the next. Inputs and outputs stand as the caller has them (`borders.py`), values that
are reshaped row-major. Loop nests
read and write through the order; only the gradient of a kernel is moved, once, when it is complete.

Where channels would leave many lanes idle and the batch fills them, all images are stored with the
batch last: then convolutions read a row of every example at once and copy nothing.
"""

from __future__ import annotations

from collections.abc import Collection
from typing import TypeAlias

from talweg.base import dtypes
from talweg.base.frozen import frozen
from talweg.base.shapes import Shape
from talweg.ir.node import Graph, Node, make_node
from talweg.ir.rewrite import rewrite, same
from talweg.ops.kinds import Contract, Control, Effect, Elementwise, Move, Reduce, View, Window
from talweg.passes.borders import Borders, channels_last, name_borders
from talweg.passes.simplify import has_one_result

Order: TypeAlias = tuple[int, ...]

LANES = 16
WIDE = 32  # pixels of a row from which on single channels of an input need not be copied
FEW = 8  # channels that are copied with a border
FILLED = 0.6  # channels are stored last if they fill this much of their vectors of so many lanes
IDLE = 1.25  # time that idle lanes may cost before the batch is stored last
ROWS = 32  # examples that a batch consists of a multiple of, where it is stored last


@frozen
class Images:
    """How the images N, C, *spatial of a Graph are stored.

    Args:
        batch: with the batch last, else with the channels last.
    """

    batch: bool = False

    def order(self, rank: int) -> Order:
        """Return the order of so many axes in memory."""
        return (*range(2, rank), 1, 0) if self.batch else (0, *range(2, rank), 1)

    def fills_vectors(self, shape: Shape) -> bool:
        """Whether images of this shape are better stored so than row-major."""
        if len(shape) < 3 or max(shape[2:]) <= 1:
            return False
        return not shape[0] % ROWS if self.batch else _fills(shape[1])


def images_of(graph: Graph) -> Images:
    """Return how the images of a Graph are stored: so that few lanes of convolutions are idle."""
    work = time = 0.0
    for node in graph.order:
        op = node.op
        if not isinstance(op, Contract) or -1 not in op.images:
            continue
        kernel, channels = node.inputs[1], node.shape[1]
        whole = node.inputs[0].shape[1] * channels == kernel.shape[0] * kernel.shape[1]
        if not whole or not node.shape[0] or node.shape[0] % ROWS:
            return Images()
        products = node.type.size * kernel.type.size / channels
        work += products
        time += products * -(-channels // LANES) * LANES / channels
    return Images(time > IDLE * work and not _normalizes(graph))


def _normalizes(graph: Graph) -> bool:
    """Whether images are made of sums over images: their loops want channels side by side."""
    made: set[Node] = set()
    for node in graph.order:
        sums = isinstance(node.op, Reduce) and node.inputs[0].rank > 2
        if sums or not made.isdisjoint(node.inputs):
            made.add(node)
            if isinstance(node.op, Elementwise) and node.rank > 2:
                return True
    return False


def choose_orders(graph: Graph) -> tuple[Graph, dict[Node, Order]]:
    """Return the Graph with Moves put in, and the order of axes of what is not stored row-major."""
    borders = name_borders(graph)
    images = Images() if _meets_images(borders) else images_of(borders.graph)
    graph, orders = _with_moves(borders, images)
    last = [graph.outputs[i] for i in sorted(borders.last)]
    fixed = {o for i, o in enumerate(graph.outputs) if i not in borders.last}
    fixed |= {n.inputs[0] for n in graph.order if isinstance(n.op, View) and n.op.relabels}
    fixed |= {i for n in graph.order if isinstance(n.op, Control | Effect) for i in n.inputs}
    orders = {n: order for n, order in orders.items() if n not in fixed}
    fixed |= set(graph.inputs)
    if not images.batch:
        for node in last:
            if node not in fixed and _has_orders(node):
                orders[node] = images.order(node.rank)
    for node in graph.order if orders or _has_images(graph) else ():
        if node not in fixed and has_one_result(node):
            order = _order_of(node, orders, images)
            if order is not None:
                orders[node] = order
    for node in reversed(graph.order):
        if not isinstance(node.op, Contract):
            continue
        for place in node.op.images:
            image = node if place < 0 else node.inputs[place]
            if image in orders or image in fixed or not isinstance(image.op, Elementwise):
                continue
            if images.fills_vectors(image.shape):
                orders[image] = images.order(image.rank)
    return _with_channels_last(graph, orders, borders.last), orders


def _with_channels_last(graph: Graph, orders: dict[Node, Order], last: Collection[int]) -> Graph:
    """Put Moves before outputs that are wanted with the channels last and are not stored so."""
    outputs = list(graph.outputs)
    for i in last:
        node, order = outputs[i], channels_last(outputs[i].rank)
        if orders.get(node) != order:
            outputs[i] = make_node(Move(), (node,), node.type, node.source)
            orders[outputs[i]] = order
    return Graph(graph.inputs, outputs) if last else graph


def _has_orders(node: Node) -> bool:
    """Whether a Node may be stored in any order."""
    if isinstance(node.op, Contract):
        return -1 in node.op.images
    return has_one_result(node) and isinstance(node.op, Elementwise | Window | Move)


def _meets_images(borders: Borders) -> bool:
    """Whether images come with the channels last."""
    return any(
        n.inputs[i] in borders.orders
        for n in borders.graph.order
        if isinstance(n.op, Contract)
        for i in n.op.images
        if i >= 0
    )


def _has_images(graph: Graph) -> bool:
    return any(isinstance(n.op, Contract) and n.op.images for n in graph.order)


def _with_moves(borders: Borders, images: Images) -> tuple[Graph, dict[Node, Order]]:
    """Put Moves in where values of other orders meet convolutions.

    Gradients of kernels O, I, *spatial are summed with O last, those of bfloat16 with I last where
    kernels are. Inputs and results of the Graph that
    are row-major are copied where kernels slide over them. Few channels, computed ones too, get
    their border of zeros with a copy, so that no element needs to be tested. Kernels of single
    channels are copied with the channels last. Returns the orders of the copies, and of inputs.
    """
    graph, orders = borders.graph, dict(borders.orders)
    if not _has_images(graph):
        return graph, orders
    kernels: dict[Node, Node] = {}
    copies: dict[tuple[Node, Move], Node] = {}
    given, trains = set(graph.inputs) - orders.keys(), _trains(graph)
    slid = _slid(graph, given, images)
    turned = {n.shape for n in (*orders, *(graph.outputs[i] for i in borders.last))}

    def moved(node: Node, move: Move, order: Order | None) -> Node:
        if (node, move) not in copies:
            made = copies[node, move] = make_node(move, (node,), move.infer(node.type), node.source)
            if order is not None:
                orders[made] = order
        return copies[node, move]

    def met(node: Node, reader: Node) -> Node:
        """What a reader that is no contraction finds of a Node."""
        if node in kernels or not images.batch or not images.fills_vectors(node.shape):
            return kernels.get(node, node)
        if isinstance(reader.op, View) and reader.op.relabels and _is_image(node):
            return moved(node, Move(), None)
        if isinstance(reader.op, Window) and isinstance(node.op, View) and node.op.relabels:
            return moved(node, Move(), images.order(node.rank))
        return node

    def rule(node: Node, inputs: tuple[Node, ...]) -> Node:
        op = node.op
        if not isinstance(op, Contract):
            return same(node, tuple(met(i, node) for i in inputs))
        found, last = list(inputs), images.order(node.rank)
        if op.slides and (trains or not _is_wide(node, found[0] in given)):
            for place in op.images:
                if place < 0 or not images.fills_vectors(found[place].shape):
                    continue
                if found[place] in given:
                    found[place] = moved(found[place], Move(), last)
                elif _is_short(found[place], given):
                    (base,) = found[place].inputs
                    found[place] = same(found[place], (moved(base, Move(), last),))
            if op.single and found[1] in given and images.fills_vectors(found[0].shape):
                found[1] = moved(found[1], Move(), _kernels_last(node.rank))
        few = op.slides and found[0].shape[1] <= FEW and not images.batch
        if few and any(map(any, op.border)):
            found[0] = moved(found[0], Move(op.border), last)
            made = make_node(op.borderless(), tuple(found), node.type, node.source)
        else:
            made = same(node, tuple(found))
        if _sums_kernels(made) and _is_halved(made) and made.shape in turned:
            orders[made] = channels_last(made.rank)
        elif _sums_kernels(made) and _fills(made.shape[0]):
            kernels[made] = make_node(Move(), (made,), made.type, made.source)
            if made.shape in turned:
                orders[kernels[made]] = channels_last(made.rank)
        return made

    found = rewrite(graph, rule)
    for i, (old, new) in enumerate(zip(graph.outputs, found.outputs, strict=True)):
        if old in slid and new not in kernels and i not in borders.last:
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


def _slid(graph: Graph, given: set[Node], images: Images) -> set[Node]:
    """The images that are made by sliding kernels, and what is made of them at the same place."""
    found: set[Node] = set()
    trains = _trains(graph)
    for node in graph.order:
        if isinstance(node.op, Contract):
            made = node.op.slides and -1 in node.op.images
            made = made and (trains or not _is_wide(node, node.inputs[0] in given))
        else:
            made = isinstance(node.op, Elementwise) and any(
                i in found and i.shape == node.shape for i in node.inputs
            )
        if made and images.fills_vectors(node.shape):
            found.add(node)
    return found


def _is_image(node: Node) -> bool:
    """Whether a Node is made of images at the same place, by a contraction or by pooling."""
    while isinstance(node.op, Elementwise):
        like = [i for i in node.inputs if i.shape == node.shape]
        if not like:
            return False
        node = like[0]
    return isinstance(node.op, Window | Contract)


def _sums_kernels(node: Node) -> bool:
    return isinstance(node.op, Contract) and bool(node.op.images) and -1 not in node.op.images


def _is_halved(node: Node) -> bool:
    """Whether a gradient of kernels has copies of both sides in any case, of pairs of bfloat16."""
    return node.dtype is dtypes.bfloat16 and _fills(node.shape[1])


def _order_of(node: Node, orders: dict[Node, Order], images: Images) -> Order | None:
    op = node.op
    if isinstance(op, Contract):
        if _sums_kernels(node) and node in orders:
            return orders[node]
        if _sums_kernels(node):
            return _kernels_last(node.rank) if _fills(node.shape[0]) else None
        image = -1 in op.images and images.fills_vectors(node.shape)
        return images.order(node.rank) if image else None
    if isinstance(op, Window):
        return images.order(node.rank) if images.fills_vectors(node.shape) else None
    if isinstance(op, Elementwise):
        found = (orders.get(i) for i in node.inputs if i.shape == node.shape)
        return next((order for order in found if order is not None), None)
    return None


def _kernels_last(rank: int) -> Order:
    """The order *spatial, I, O of the axes O, I, *spatial of kernels."""
    return (*range(2, rank), 1, 0)


def _fills(channels: int) -> bool:
    return channels >= FILLED * LANES * -(-channels // LANES)
