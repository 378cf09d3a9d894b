"""Small Graphs: every Node has a kernel of its own, the same in all Graphs.

Fusing saves memory traffic, and where values are small there is none to save; but each structure
of a Graph gives kernels of its own then. A program whose structure depends on its data would
compile without end. So a Graph of small values is cut into *pieces*: one Node each, together with
the views that it reads through. Pieces of one key are computed by one plan, made once. Where views
begin is no part of a key: these numbers are open in the plan, and each piece brings its own.

Whether a Graph is cut so depends on the Graph alone: the same program gives the same bits.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence, Set
from dataclasses import replace
from operator import attrgetter
from typing import Any, Final, TypeAlias

from talweg.base.open import Open
from talweg.ir.node import Graph, Node, input_node, make_node
from talweg.ir.op import Op
from talweg.ir.text import print_graph
from talweg.ir.types import TensorType
from talweg.loops.text import format_nest
from talweg.ops.kinds import Contract, View, Window
from talweg.passes.pipeline import Dump, compile_graph
from talweg.passes.places import ARENA, INPUT, OUTPUT, Place
from talweg.passes.plan import Launch, Plan
from talweg.passes.small import ALIGNMENT, ROLES, SHOWN, is_small
from talweg.passes.verify import verify_plan

Key: TypeAlias = tuple[Any, ...]
Piece: TypeAlias = tuple[Key, Node, Sequence[Node], Sequence[int]]

DEPTH: Final = 3  # views that one kernel reads through, one after the other

_type = attrgetter("type")
_LIMIT = 1 << 15
_PLANS: dict[Key, Plan] = {}


def cut(graph: Graph) -> list[Piece]:
    """Return the pieces of a small Graph in the order in which they run.

    A piece is a key, the Node that is computed, the Nodes that are read (they are inputs of the
    Graph or computed by earlier pieces), and its numbers. What only views are made of is not
    computed.
    """
    shown = views_of(graph.order)
    needed = {root_of(node, shown) for node in graph.outputs}
    pieces: list[Piece] = []
    for node in reversed(graph.order):
        if node in needed:
            key, bases, numbers = key_of(node, shown)
            needed.update(bases)
            pieces.append((key, node, bases, numbers))
    pieces.reverse()
    return pieces


def views_of(nodes: Iterable[Node]) -> set[Node]:
    """Return those of pending Nodes that are read through."""
    return {n for n in nodes if ROLES[n.op.__class__] == SHOWN and n.value is None}


def key_of(node: Node, shown: Set[Node]) -> tuple[Key, Sequence[Node], Sequence[int]]:
    """Return what a piece depends on: the Op, and how each operand is read; the Nodes in memory
    that are read; and the numbers of the Ops.

    Args:
        node: what is computed.
        shown: the Nodes that are read through.
    """
    op, bases = node.op, node.inputs
    if shown.isdisjoint(bases):
        return (op.kin, *map(_type, bases)), bases, op.numbers
    numbers = list(op.numbers)
    found = [_through(operand, shown, 0, op, numbers) for operand in bases]
    return (op.kin, *(part for part, _ in found)), [base for _, base in found], numbers


def root_of(node: Node, shown: Set[Node]) -> Node:
    """Return the Node whose elements, in the same order, a Node is another name for."""
    while node in shown and _relabels(node):
        (node,) = node.inputs
    return node


def _relabels(node: Node) -> bool:
    return isinstance(node.op, View) and node.op.relabels


def _is_read_through(node: Node, shown: Set[Node], depth: int, reader: Op) -> bool:
    """Whether the kernel of an Op reads through a view, as one of so many.

    What products compute of their arguments, and what they leave out among zeros, would depend on
    where it begins.
    """
    if node not in shown or depth >= DEPTH or len(node.inputs) != 1:
        return False
    return not (node.op.numbered and isinstance(reader, Contract | Window))


def _through(
    node: Node, shown: Set[Node], depth: int, reader: Op, numbers: list[int]
) -> tuple[Any, Node]:
    """The part of a key that says how an operand is read, and the Node in memory.

    Args:
        node: the operand.
        shown: the Nodes that are read through.
        depth: how many of them are read through before.
        reader: the Op of the piece.
        numbers: those of Ops are appended.
    """
    if node in shown and _relabels(node):
        return node.type, root_of(node, shown)
    if not _is_read_through(node, shown, depth, reader):
        return node.type, node
    numbers += node.op.numbers
    part, base = _through(node.inputs[0], shown, depth + 1, reader, numbers)
    return (node.op.kin, part), base


def plan_of(piece: Piece, shown: Set[Node], checking: bool = False) -> Plan:
    """Return the Plan of a piece: its inputs are what is read, its output is the Node.

    Its numbers are open, in the order in which the piece has them.

    Args:
        piece: what is planned.
        shown: the Nodes that are read through.
        checking: verify it.
    """
    key, node = piece[:2]
    plan = _PLANS.get(key)
    if plan is None:
        if len(_PLANS) >= _LIMIT:
            _PLANS.clear()
        plan = _PLANS[key] = compile_graph(_alone(node, shown), checking)
    return plan


def _alone(node: Node, shown: Set[Node]) -> Graph:
    inputs: list[Node] = []
    count = len(node.op.numbers)

    def operand(of: Node, depth: int) -> Node:
        nonlocal count
        if _relabels(of) or not _is_read_through(of, shown, depth, node.op):
            inputs.append(input_node(of.type))
            return inputs[-1]
        op = of.op.opened(count)
        count += len(op.numbers)
        return make_node(op, (operand(of.inputs[0], depth + 1),), of.type)

    operands = tuple(operand(i, 0) for i in node.inputs)
    return Graph(inputs, [make_node(node.op.opened(0), operands, node.type)])


def lay_out(pieces: Sequence[Piece], places: dict[Node, int], start: int) -> int:
    """Give the values of pieces places in an arena, from their making to their last use.

    Args:
        pieces: in order.
        places: has the Nodes whose values lie elsewhere; gets the others.
        start: what comes first.

    Returns:
        the place after the last.
    """
    free: dict[int, list[int]] = {}
    inside: dict[Node, list[int]] = {}  # where a place goes when its value is not needed
    top = start
    for _, node, bases, _ in reversed(pieces):
        for base in bases:
            if base in places:
                continue
            nbytes = base.type.nbytes
            unused = free.get(nbytes)
            if unused is None:
                unused = free[nbytes] = []
            inside[base] = unused
            if unused:
                places[base] = unused.pop()
            else:
                places[base] = top
                top += nbytes + ALIGNMENT - 1 & -ALIGNMENT
        home = inside.get(node)
        if home is not None:
            home.append(places[node])
    return top


def plan_graph(graph: Graph, checking: bool = False, dump: Dump | None = None) -> Plan:
    """Return the Plan of a Graph: a small one is cut into its Nodes, others are fused.

    Args:
        graph, checking, dump: as for `compile_graph`.
    """
    if not is_small(graph):
        return compile_graph(graph, checking, dump)
    plan = _planned(graph, checking)
    if checking:
        verify_plan(plan)
    if dump is not None:
        dump("cut", print_graph(graph))
        dump("lower", "\n".join(format_nest(step.nest) for step in plan.launches))
    return plan


def _planned(graph: Graph, checking: bool) -> Plan:
    shown = views_of(graph.order)
    pieces = cut(graph)
    plans = [plan_of(piece, shown, checking) for piece in pieces]
    places: dict[Node, Place] = {n: Place(INPUT, i) for i, n in enumerate(graph.inputs)}
    buffers: list[TensorType] = []
    roots = [root_of(node, shown) for node in graph.outputs]
    for root in roots:
        if root not in places:
            places[root] = Place(OUTPUT, len(buffers))
            buffers.append(root.type)
    start = max((plan.arena for plan in plans), default=0)
    offsets = dict.fromkeys(places, 0)
    arena = lay_out(pieces, offsets, start + ALIGNMENT - 1 & -ALIGNMENT)
    places |= {n: Place(ARENA, offset) for n, offset in offsets.items() if n not in places}
    steps = tuple(
        step
        for piece, plan in zip(pieces, plans, strict=True)
        for step in _steps(piece, plan, places)
    )
    types = tuple(n.type for n in graph.inputs)
    return Plan(steps, arena, types, tuple(buffers), tuple(places[root] for root in roots))


def _steps(piece: Piece, plan: Plan, places: Mapping[Node, Place]) -> Iterable[Launch]:
    _, node, bases, numbers = piece
    for launch in plan.launches:
        operands: list[Node] = []
        found: list[Place] = []
        for own, place in zip(launch.operands, launch.places, strict=True):
            stands = own if place.kind == ARENA else node if place.kind == OUTPUT else None
            operands.append(bases[place.at] if stands is None else stands)
            found.append(place if place.kind == ARENA else places[operands[-1]])
        values = launch.values
        if numbers:
            values = tuple([numbers[v.place] if isinstance(v, Open) else v for v in values])
        yield replace(
            launch,
            values=values,
            places=tuple(found),
            operands=tuple(operands),
            own=launch.operands if len(plan.launches) > 1 or any(launch.orders) else (),
            owners=(node,) * len(launch.owners),
            nodes=(node,),
        )
