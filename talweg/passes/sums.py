"""Sums of many terms: products become one, of operands that are joined; parts are put side by side.

The gradient of a weight that is used in every step of a recurrence is a sum of many products, each
of little depth: adding them up moves the whole sum through memory once for each. Joined, their
depths are one loop, and the sum stays in registers. The gradient of a value that is read slice by
slice is a sum of slices among zeros; joined, each is moved once.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from functools import reduce
from typing import Final, NamedTuple

from talweg.ir.node import Graph, Node, make_node
from talweg.ir.op import Op
from talweg.ir.rewrite import rewrite, same
from talweg.ops.kinds import Contract, Elementwise, Joined, Reduce, View, Window

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
    for node in reversed(graph.order):
        if _adds(node) and node not in inner:
            terms[node] = _terms(node, uses, inner)
    for node in graph.order:
        new[node] = same(node, tuple(new[i] for i in node.inputs))
        if node in terms:
            ordered = sorted(terms[node], key=lambda n: place.get(n, -1))
            fewer = _joined(ordered, new, uses, node.op)
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
    terms: Sequence[Node], new: Mapping[Node, Node], uses: Mapping[Node, int], add: Op
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
    sums = [_sum(like, new, add) for like in alike.values()]
    parts = [node for like in apart.values() for node in _side_by_side(like, new)]
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


def _side_by_side(parts: Sequence[_Part], new: Mapping[Node, Node]) -> list[Node]:
    """Return terms of the same sum: parts that touch are one."""
    runs: list[list[_Part]] = []
    end = -1
    for part in sorted(parts, key=lambda p: (p.start, p.stop)):
        if part.start != end:
            runs.append([])
        runs[-1].append(part)
        end = part.stop
    return [_run(run, new) for run in runs]


def _run(run: Sequence[_Part], new: Mapping[Node, Node]) -> Node:
    first = run[0].node
    if len(run) == 1:
        return new[first]
    op = Joined(run[0].axis - first.type.rank)
    parts = [new[p.node.inputs[0]] for p in run]
    while len(parts) > 1:
        parts = [_join(parts[i : i + MOST], op) for i in range(0, len(parts), MOST)]
    (whole,) = parts
    if whole.type is first.type:
        return whole
    return make_node(first.op, (whole,), first.type, first.source)


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


def _sum(terms: Sequence[_Term], new: Mapping[Node, Node], add: Op) -> Node:
    """Return the sum of like terms."""
    first, left = terms[0], list(terms)
    if len(terms) == 1:
        return new[first.views[0] if first.views else first.product]
    products: list[Node] = []
    while left:
        count = min(MOST, 1 << (len(left).bit_length() - 1))
        products.append(_product([t.product for t in left[:count]], new))
        del left[:count]
    made = _added(products, add)
    for view in reversed(first.views):
        made = make_node(view.op, (made,), view.type, view.source)
    return made


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
