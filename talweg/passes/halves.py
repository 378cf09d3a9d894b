"""Products leave out what is surely zero, or what nobody looks at, on one side of the diagonal.

A mask made of indices says it: behind a causal one the scores of attention are minus infinity,
their exponentials and shares zeros, and so are gradients that are multiplied with these. What an
elementwise Op makes of known values is learnt by computing a few: a result is known if it is the
same whatever finite numbers the other operands hold.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from typing import Final, TypeAlias

import numpy as np

from talweg.base import dtypes
from talweg.base.dtypes import DType
from talweg.ir.node import Graph, Node, make_node
from talweg.ir.op import Op
from talweg.ir.rewrite import same
from talweg.loops.build import NestBuilder
from talweg.loops.scalar import Call, call
from talweg.ops.halves import COLUMN, DEPTH, ROW, SUMMED, HalfDot
from talweg.ops.kinds import Contract, Elementwise, Generate, View
from talweg.passes.reads import indices_of, place_of
from talweg.passes.simplify import has_one_result

LEAST: Final = 64  # of the sizes that are compared: less is a tile or two
ABOVE, BELOW = 0, 1  # the diagonal, of the last two axes: where the column is larger; less
_DEPTH: Final = (-1, -2)
_SMALLER: Final = {"lt": 0, "le": 0, "gt": 1, "ge": 1}  # the place of the smaller operand
_TRIED: Final = (-1.5, 0.25, 3.0, 1e30, -1e30)
_WHOLE: Final = (0, 1, 0, 2, 5)

Values: TypeAlias = tuple[float | None, float | None]  # above and below the diagonal, if known
Known: TypeAlias = Mapping[Node, Values]
NOTHING: Final[Values] = (None, None)


def leave_out_zeros(graph: Graph) -> Graph:
    """Return the Graph with products of triangles, and those of which one is needed, as such."""
    known = _known(graph) if any(map(_is_product, graph.order)) else {}
    if not known:
        return graph
    unseen = _unseen(graph, known)
    new: dict[Node, Node] = {n: n for n in graph.inputs}
    for node in graph.order:
        inputs = tuple(new[i] for i in node.inputs)
        sides = _sides(node, known, unseen) if _is_product(node) else None
        if sides is None:
            new[node] = same(node, inputs) if inputs else node
        else:
            new[node] = make_node(HalfDot(*sides), inputs, node.type, node.source)
    return Graph(graph.inputs, [new[o] for o in graph.outputs], [new[n] for n in graph.order])


def _is_product(node: Node) -> bool:
    op = node.op
    return (
        isinstance(op, Contract)
        and op.depth == _DEPTH
        and not isinstance(op, HalfDot)
        and node.dtype in SUMMED
    )


def _sides(
    node: Node, known: Known, unseen: Mapping[Node, tuple[bool, bool]]
) -> tuple[int, int] | None:
    """What is compared in a product: the smaller index and the larger one.

    Every sum keeps a term: where a row sees nothing, shares are NaN, and what is read by them too.
    """
    x, y = node.inputs
    (rows, depth), columns = x.shape[-2:], y.shape[-1]
    left, right = known.get(x, NOTHING), known.get(y, NOTHING)
    if min(rows, depth) >= LEAST and left[ABOVE] == 0.0:
        return DEPTH, ROW
    if depth >= rows >= LEAST and left[BELOW] == 0.0:
        return ROW, DEPTH
    if depth >= columns >= LEAST and right[ABOVE] == 0.0:
        return COLUMN, DEPTH
    if min(columns, depth) >= LEAST and right[BELOW] == 0.0:
        return DEPTH, COLUMN
    if min(rows, columns) >= LEAST and any(unseen[node]):
        return (COLUMN, ROW) if unseen[node][ABOVE] else (ROW, COLUMN)
    return None


def _known(graph: Graph) -> dict[Node, Values]:
    found: dict[Node, Values] = {}
    for node in graph.order:
        if not has_one_result(node) or node.rank < 2:
            continue
        op, values = node.op, NOTHING
        if isinstance(op, View):
            values = _read(node, found)
        elif isinstance(op, Elementwise):
            given = [found.get(i) if i.shape == node.shape else None for i in node.inputs]
            if any(given):
                above, below = (
                    _learnt(
                        op, tuple(i.dtype for i in node.inputs), tuple(g and g[n] for g in given)
                    )
                    for n in (ABOVE, BELOW)
                )
                values = above, below
            else:
                values = _compared(node)
        if values != NOTHING:
            found[node] = values
    return found


def _read(node: Node, known: Known) -> Values:
    """What is known of a view's elements."""
    turned = _is_turned(node) if len(node.inputs) == 1 and node.inputs[0] in known else None
    if turned is None:
        return NOTHING
    above, below = known[node.inputs[0]]
    return (below, above) if turned else (above, below)


def _is_turned(view: Node) -> bool | None:
    """Whether a view exchanges the last two axes; None where it does not even keep them."""
    (base,) = view.inputs
    at = place_of(view.op, base.type, view.type) if base.rank > 1 else None
    if at is None or sorted(base.shape[-2:]) != sorted(view.shape[-2:]):
        return None
    row, column = indices_of(view.rank)[-2:]
    return at[-2:] == (column, row) if at[-2:] in ((row, column), (column, row)) else None


def _compared(node: Node) -> Values:
    """What is known of a comparison of indices."""
    if node.dtype is not dtypes.bool_ or len(node.inputs) != 2:
        return NOTHING
    if not all(isinstance(i.op, Generate) and not i.inputs for i in node.inputs):
        return NOTHING
    nest, at = NestBuilder("probe"), indices_of(node.rank)
    with nest.block() as written:
        points = [i.op.lower(nest) for i in node.inputs]
        found = node.op.lower(nest, *(point(at) for point in points))
    if written or not isinstance(found, Call) or found.function not in _SMALLER:
        return NOTHING
    if _SMALLER[found.function]:
        found = call(found.function, *found.operands[::-1])
    row, column = at[-2:]
    if found.operands == (column, row):
        return 0.0, 1.0
    return (1.0, 0.0) if found.operands == (row, column) else NOTHING


@cache
def _learnt(op: Op, types: tuple[DType, ...], given: tuple[float | None, ...]) -> float | None:
    """Return the result where some operands are known, None where it depends on the others."""
    if all(value is None for value in given):
        return None
    operands = []
    for n, (dtype, value) in enumerate(zip(types, given, strict=True)):
        tried = np.roll(_TRIED, n) if value is None else np.full(len(_TRIED), value)
        if value is None and not dtype.is_inexact:
            tried = np.roll(_WHOLE, n)
        operands.append(tried.astype(dtype.compute))
    with np.errstate(all="ignore"):
        results = np.asarray(op.reference(*operands))
    first = results.flat[0]
    return float(first) if results.dtype.kind in "bf" and np.all(results == first) else None


def _unseen(graph: Graph, known: Known) -> dict[Node, tuple[bool, bool]]:
    """Return of which values the elements above and below the diagonal change nothing."""
    users: dict[Node, list[Node]] = {n: [] for n in (*graph.inputs, *graph.order)}
    for node in graph.order:
        for i in dict.fromkeys(node.inputs):
            users[i].append(node)
    wanted, found = set(graph.outputs), dict[Node, tuple[bool, bool]]()

    def hides(user: Node, node: Node) -> tuple[bool, bool]:
        if isinstance(user.op, Elementwise) and user.shape == node.shape:
            above, below = known.get(user, NOTHING)
            more = found[user]
            return above is not None or more[ABOVE], below is not None or more[BELOW]
        if isinstance(user.op, View) and len(user.inputs) == 1:
            turned, (above, below) = _is_turned(user), found[user]
            same_size = user.type.size == node.type.size
            return (
                (False, False)
                if turned is None or not same_size
                else ((below, above) if turned else (above, below))
            )
        return False, False

    for node in reversed(graph.order):
        sides = [hides(user, node) for user in users[node]] if node not in wanted else []
        found[node] = all(s[ABOVE] for s in sides), all(s[BELOW] for s in sides)
        if not sides:
            found[node] = False, False
    return found
