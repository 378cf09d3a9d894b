"""Sums of many terms: products become one, of operands that are joined; parts are put side by side.

The gradient of a weight that is used in every step of a recurrence is a sum of many products, each
of little depth: adding them up moves the whole sum through memory once for each. Joined, their
depths are one loop, and the sum stays in registers. The gradient of a value that is read slice by
slice is a sum of slices among zeros; joined, each is moved once. What is joined along its first
axis often need not be moved at all (`assemble.py`): the same parts are joined once, in one order.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from functools import reduce
from typing import Final, NamedTuple

from talweg.base.shapes import Shape, size_of
from talweg.ir.node import Graph, Node, make_node
from talweg.ir.op import Op
from talweg.ir.rewrite import rewrite, same
from talweg.ops.kinds import Contract, Elementwise, Joined, Reduce, Relabelled, View, Window
from talweg.passes.reads import indices_of, place_of

MOST: Final = 16  # products in one: few numbers of them occur, so few kernels do


def join_terms(graph: Graph) -> Graph:
    """Return the Graph in which sums have fewer terms.

    Products are joined where moving their results costs more than moving their operands.
    """
    uses = Counter(i for n in graph.order for i in n.inputs)
    uses.update(graph.outputs)
    place = {node: i for i, node in enumerate(graph.order)}
    inner: set[Node] = set()
    new: dict[Node, Node] = {n: n for n in graph.inputs}
    terms: dict[Node, list[Node]] = {}
    rows = _Rows()
    for node in reversed(graph.order):
        if _adds(node) and node not in inner:
            terms[node] = _terms(node, uses, inner)
    for node in graph.order:
        new[node] = same(node, tuple(new[i] for i in node.inputs))
        if node in terms:
            ordered = sorted(terms[node], key=lambda n: place.get(n, -1))
            fewer = _joined(ordered, new, uses, node.op, rows)
            if fewer is not None:
                new[node] = _added(fewer, node.op)
    return Graph(graph.inputs, [new[o] for o in graph.outputs])


def sum_sources(graph: Graph) -> Graph:
    """Return the Graph in which a sum over what stands among zeros is that of the elements alone.

    The gradient of a pooled bias is such a sum: it reads as much less as the windows are large.
    """

    def rule(node: Node, inputs: tuple[Node, ...]) -> Node:
        if not isinstance(node.op, Reduce) or not node.op.adds:
            return same(node, inputs)
        (spread,) = inputs
        op = spread.op
        while isinstance(op, Window) and op.scattered is not None:
            axes = range(spread.rank - len(op.blocks), spread.rank)
            if not set(axes) <= set(node.op.axes):
                break
            spread = spread.inputs[op.scattered]
            op = spread.op
        return same(node, (spread,))

    return rewrite(graph, rule)


def _adds(node: Node) -> bool:
    return isinstance(node.op, Elementwise) and node.op.adds and node.type.inexact


def _terms(root: Node, uses: Mapping[Node, int], inner: set[Node]) -> list[Node]:
    """Return what is added up to `root`; sums on the way, used nowhere else, become inner ones."""
    found: list[Node] = []
    stack = list(root.inputs)
    while stack:
        node = stack.pop()
        if _adds(node) and uses[node] == 1 and node.type is root.type:
            inner.add(node)
            stack.extend(node.inputs)
        else:
            found.append(node)
    return found


def _joined(
    terms: Sequence[Node],
    new: Mapping[Node, Node],
    uses: Mapping[Node, int],
    add: Op,
    rows: _Rows,
) -> list[Node] | None:
    """Return fewer terms of the same sum, or None."""
    alike: dict[object, list[_Term]] = {}
    apart: dict[int, list[_Part]] = {}
    rest: list[Node] = []
    for node in terms:
        term = _term(node, uses)
        part = _part(node, uses)
        if term is not None:
            alike.setdefault(term.key(), []).append(term)
        elif part is not None:
            apart.setdefault(part.axis, []).append(part)
        else:
            rest.append(new[node])
    sums = [_sum(like, new, add, rows) for like in alike.values()]
    parts = [node for like in apart.values() for node in _side_by_side(like, new, rows)]
    found = [*rest, *sums, *parts]
    return found if len(found) < len(terms) else None


class _Part(NamedTuple):
    """A term that is zero but from `start` to `stop` along an axis."""

    axis: int
    start: int
    stop: int
    node: Node


def _part(node: Node, uses: Mapping[Node, int]) -> _Part | None:
    if uses[node] > 1 or not isinstance(node.op, View):
        return None
    span = node.op.span(node.inputs[0].type)
    return None if span is None or not node.inputs[0].type.size else _Part(*span, node)


def _side_by_side(parts: Sequence[_Part], new: Mapping[Node, Node], rows: _Rows) -> list[Node]:
    """Return terms of the same sum: parts that touch are one."""
    runs: list[list[_Part]] = []
    end = -1
    for part in sorted(parts, key=lambda p: (p.start, p.stop)):
        if part.start != end:
            runs.append([])
        runs[-1].append(part)
        end = part.stop
    return [_run(run, new, rows) for run in runs]


def _run(run: Sequence[_Part], new: Mapping[Node, Node], rows: _Rows) -> Node:
    first = run[0].node
    if len(run) == 1:
        return new[first]
    axis = first.type.rank - run[0].axis
    parts = [new[p.node.inputs[0]] for p in run]
    if set(parts[0].shape[: run[0].axis]) <= {1}:
        shape = list(parts[0].shape)
        shape[-axis] = sum(p.shape[-axis] for p in parts)
        whole = _shaped(rows.joined(parts, parts[0].shape[run[0].axis + 1 :]), tuple(shape))
    else:
        whole = _in_turn(parts, Joined(-axis))
    if whole.type is first.type:
        return whole
    return make_node(first.op, (whole,), first.type, first.source)


def _in_turn(parts: Sequence[Node], op: Joined) -> Node:
    """Join any number of parts by kernels of few of them."""
    parts = list(parts)
    while len(parts) > 1:
        parts = [_join(parts[i : i + MOST], op) for i in range(0, len(parts), MOST)]
    return parts[0]


def _shaped(node: Node, shape: tuple[int, ...]) -> Node:
    if node.shape == shape:
        return node
    op = Relabelled(shape)
    return make_node(op, (node,), op.infer(node.type), node.source)


class _Rows:
    """Values that are joined along their first axis."""

    def __init__(self) -> None:
        self.known: dict[tuple[Node, ...], Node] = {}
        self.orders: dict[frozenset[Node], tuple[Node, ...]] = {}

    def joined(self, parts: Sequence[Node], row: Shape) -> Node:
        """Return the elements of parts one after the other, in some shape.

        Args:
            parts: each is whole rows.
            row: the shape of a row.
        """
        stored = tuple(map(_stored, parts))
        found = self.known.get(stored)
        if found is None:
            flat = [_shaped(p, (p.type.size // size_of(row), *row)) for p in stored]
            found = self.known[stored] = _in_turn(flat, Joined(-len(row) - 1))
            self.orders.setdefault(frozenset(stored), stored)
        return found

    def order(self, parts: Sequence[Node]) -> Sequence[int] | None:
        """Return the order in which these parts were joined before, if they were."""
        parts = [*map(_stored, parts)]
        before = self.orders.get(frozenset(parts))
        if before is None or len(before) != len(parts):
            return None
        place = {node: i for i, node in enumerate(parts)}
        return [place[node] for node in before]


def _stored(node: Node) -> Node:
    """The Node of which a Node is the elements in the same order."""
    while isinstance(node.op, View) and node.op.relabels:
        (node,) = node.inputs
    return node


class _Term(NamedTuple):
    """A product of which a sum reads views.

    Args:
        views: the last one first; the first of the Nodes is the term itself.
        product: what they view.
    """

    views: Sequence[Node]
    product: Node

    def key(self) -> object:
        """Return what is equal for terms whose products can be joined."""
        types = tuple(i.type for i in self.product.inputs)
        views = tuple((v.op.token, v.type) for v in self.views)
        return self.product.op.token, types, views


def _term(node: Node, uses: Mapping[Node, int]) -> _Term | None:
    """Return a term that is a product whose result is larger than its operands."""
    views: list[Node] = []
    while uses[node] == 1 and isinstance(node.op, View) and len(node.inputs) == 1:
        views.append(node)
        (node,) = node.inputs
    op = node.op
    if uses[node] > 1 or not isinstance(op, Contract) or op.depth is None:
        return None
    shallow = node.type.size > sum(i.type.size for i in node.inputs)
    return _Term(views, node) if shallow else None


def _sum(terms: Sequence[_Term], new: Mapping[Node, Node], add: Op, rows: _Rows) -> Node:
    """Return the sum of like terms."""
    first = terms[0]
    if len(terms) == 1:
        return new[first.views[0] if first.views else first.product]
    made = _in_rows([t.product for t in terms], new, rows)
    if made is None:
        left, products = list(terms), []
        while left:
            count = min(MOST, 1 << (len(left).bit_length() - 1))
            products.append(_product([t.product for t in left[:count]], new))
            del left[:count]
        made = _added(products, add)
    for view in reversed(first.views):
        made = make_node(view.op, (made,), view.type, view.source)
    return made


def _in_rows(products: Sequence[Node], new: Mapping[Node, Node], rows: _Rows) -> Node | None:
    """Return the sum of like products as one, where what they are summed along is rows."""
    first = products[0]
    assert isinstance(first.op, Contract)
    assert first.op.depth is not None
    operands: list[tuple[View | None, list[Node]]] = []
    for i, axis in enumerate(first.op.depth):
        parts = [new[p.inputs[i]] for p in products]
        place = axis % parts[0].rank
        turn = _turn(parts, place)
        if turn is not None:
            parts = [p.inputs[0] for p in parts]
        elif place:
            return None
        operands.append((turn, parts))
    orders = [rows.order(parts) for _, parts in operands]
    order = next((o for o in orders if o is not None), range(len(products))[::-1])
    wholes: list[Node] = []
    for turn, parts in operands:
        row = parts[0].shape[1:]
        whole = rows.joined([parts[i] for i in order], row)
        whole = _shaped(whole, (sum(p.shape[0] for p in parts), *row))
        if turn is not None:
            whole = make_node(turn, (whole,), turn.infer(whole.type), whole.source)
        wholes.append(whole)
    return make_node(first.op, tuple(wholes), first.type, first.source)


def _turn(nodes: Sequence[Node], axis: int) -> View | None:
    """Return how the axes of all Nodes alike are put into another order, their first one here."""
    first = nodes[0]
    op = first.op
    if not isinstance(op, View) or op.relabels or len(first.inputs) != 1:
        return None
    at, here = place_of(op, first.inputs[0].type, first.type), indices_of(first.rank)
    if at is None or at == here or set(at) != set(here) or at[0] != here[axis]:
        return None
    return op if all(n.op == op for n in nodes) else None


def _added(terms: Sequence[Node], add: Op) -> Node:
    return reduce(lambda x, y: make_node(add, (x, y), x.type, y.source), terms)


def _product(products: Sequence[Node], new: Mapping[Node, Node]) -> Node:
    """Return the sum of like products as one."""
    first = products[0]
    if len(products) == 1:
        return new[first]
    assert isinstance(first.op, Contract)
    assert first.op.depth is not None
    joined = tuple(
        _join([new[p.inputs[i]] for p in products], Joined(axis))
        for i, axis in enumerate(first.op.depth)
    )
    return make_node(first.op, joined, first.type, first.source)


def _join(parts: Sequence[Node], op: Joined) -> Node:
    if len(parts) == 1:
        return parts[0]
    return make_node(op, tuple(parts), op.infer(*(p.type for p in parts)), parts[0].source)
