"""The Plan: what a runtime needs to know to compute the outputs of a Graph.

A Plan is a sequence of steps. A Launch runs one kernel on operands that lie in the arena, in the
caller's inputs or in the outputs. A HostCall leaves the compiled world for a Python function.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import field, replace
from functools import cached_property
from typing import TypeAlias, final

from talweg.base.frozen import frozen
from talweg.ir.node import Graph, Node
from talweg.ir.types import TensorType
from talweg.loops.count import operations
from talweg.loops.nest import LoopNest
from talweg.loops.scalar import Number
from talweg.ops.kinds import Effect
from talweg.passes.assemble import Assembly
from talweg.passes.donation import Donation, Touched, donation_of
from talweg.passes.groups import Fusion
from talweg.passes.layout import Order
from talweg.passes.lower import Kernel
from talweg.passes.memory import lay_out
from talweg.passes.places import ARENA, INPUT, OUTPUT, HostCall, Place
from talweg.passes.recurrence import Body, Repetition


@final
@frozen
class Launch:
    """One kernel with its operands.

    Args:
        nest: what is computed.
        values: of the nest's arguments.
        places: one per buffer, inputs before outputs.
        operands: the Nodes whose values lie there.
        orders: of their axes in memory; None for row-major.
        owners: for each check of the nest, the Node whose line a failure names.
        nodes: the Nodes that are computed, for reports.
        nbytes: what is read and written at least, each operand counted once.
        operations: arithmetic operations, see `loops.count`.
        in_place: pairs of places, by number: an input's may be an output's too.
        own: the operands in the Graph that the kernel was made for, where that is another one.
    """

    nest: LoopNest
    values: tuple[Number, ...]
    places: tuple[Place, ...]
    operands: tuple[Node, ...]
    orders: tuple[Order | None, ...]
    owners: tuple[Node, ...]
    nodes: tuple[Node, ...]
    nbytes: int
    operations: int
    in_place: tuple[tuple[int, int], ...] = ()
    own: tuple[Node, ...] = ()

    __eq__ = object.__eq__
    __hash__ = object.__hash__

    @property
    def meant(self) -> tuple[Node, ...]:
        """The operands in the Graph that the kernel was made for."""
        return self.own or self.operands

    @property
    def graph(self) -> Graph:
        """What it computes, from the operands that it reads to those that it writes."""
        operands, count = self.meant, len(self.nest.inputs)
        return Graph(operands[:count], operands[count:])

    def touched(self) -> Touched:
        """Return what it does with memory."""
        count, at = len(self.nest.inputs), self.places
        pairs = [(at[i], at[o]) for i, o in self.in_place]
        return Touched(at[:count], at[count:], pairs, bool(self.owners))


Step: TypeAlias = Launch | HostCall


@final
@frozen
class Plan:
    """Steps, and the memory they need.

    Args:
        steps: in order.
        arena: bytes of memory for intermediate values.
        inputs: types of the inputs.
        buffers: types of the outputs that must be allocated, in the order of `Place.at`.
        results: for each output of the Graph, where its value is found.
        parts: values that lie in the memory of others.
    """

    steps: tuple[Step, ...]
    arena: int
    inputs: tuple[TensorType, ...]
    buffers: tuple[TensorType, ...]
    results: tuple[Place, ...]
    parts: Assembly = field(default_factory=Assembly)

    __eq__ = object.__eq__
    __hash__ = object.__hash__

    @property
    def launches(self) -> tuple[Launch, ...]:
        """The kernels alone."""
        return tuple(s for s in self.steps if isinstance(s, Launch))

    @cached_property
    def donation(self) -> Donation:
        """Which outputs may lie in the memory of which inputs."""
        touched = [
            s.touched() if isinstance(s, Launch) else Touched(s.places, s.targets, (), True)
            for s in self.steps
        ]
        return donation_of(touched, len(self.inputs), len(self.buffers))


def make_plan(
    graph: Graph,
    fusion: Fusion,
    kernels: Sequence[Kernel],
    results: Mapping[Node, tuple[Node, ...]],
    orders: Mapping[Node, Order],
    parts: Assembly,
    bodies: Mapping[Node, Body],
) -> Plan:
    """Return the Plan of lowered groups, given in the order in which they run.

    Args:
        graph, fusion, kernels, results, orders, parts: what passes made.
        bodies: for Nodes that repeat a Graph, the plan of that.
    """
    places: dict[Node, Place] = {n: Place(INPUT, i) for i, n in enumerate(graph.inputs)}
    buffers: list[TensorType] = []
    for node in graph.outputs:
        root = fusion.root(node)
        if root not in places:
            places[root] = Place(OUTPUT, len(buffers))
            buffers.append(_stored(root, orders))
    reads = [tuple(fusion.root(n) for n in k.inputs) for k in kernels]
    writes = [k.outputs for k in kernels]
    repeated = [bodies.get(next(iter(k.group.members))) for k in kernels]
    rooms = [0 if body is None else body.room for body in repeated]
    arena = lay_out(kernels, reads, writes, frozenset(places), parts, rooms)
    places |= {n: Place(ARENA, offset) for n, offset in arena.offsets.items()}
    steps: list[Step] = []
    wholes = dict(parts.wholes)
    for kernel, body, room in zip(kernels, repeated, arena.rooms, strict=True):
        node = next(iter(kernel.group.members))
        if body is None:
            steps.append(_step(kernel, fusion, places, results.get(node, ()), orders))
            continue
        given, made = (
            [(places[fusion.root(n)], n) for n in nodes] for nodes in (node.inputs, results[node])
        )
        repetition = Repetition(node, body, given, made, fusion.stored, room)
        steps += repetition.launches()
        wholes |= repetition.wholes
    return Plan(
        tuple(steps),
        arena.nbytes,
        tuple(_stored(n, orders) for n in graph.inputs),
        tuple(buffers),
        tuple(places[fusion.root(o)] for o in graph.outputs),
        replace(parts, wholes=wholes),
    )


def _stored(node: Node, orders: Mapping[Node, Order]) -> TensorType:
    """The type of a value as it lies in memory, row-major."""
    order = orders.get(node)
    if order is None:
        return node.type
    return node.type.with_shape(tuple(node.shape[a] for a in order))


def _step(
    kernel: Kernel,
    fusion: Fusion,
    places: Mapping[Node, Place],
    results: tuple[Node, ...],
    orders: Mapping[Node, Order],
) -> Step:
    nodes = tuple(kernel.group.members)
    if isinstance(nodes[0].op, Effect):
        (node,) = nodes
        targets = results or (node,)
        return HostCall(
            node,
            tuple(n.type for n in node.inputs),
            tuple(places[fusion.root(n)] for n in node.inputs),
            tuple(n.type for n in targets),
            tuple(places[n] for n in targets),
        )
    operands = (*kernel.inputs, *kernel.outputs)
    return Launch(
        kernel.nest,
        kernel.values,
        tuple(places[fusion.root(n)] for n in operands),
        operands,
        tuple(orders.get(fusion.root(n)) for n in operands),
        kernel.owners,
        nodes,
        sum(n.type.nbytes for n in operands),
        operations(kernel.nest, kernel.nest.named(kernel.values)),
        tuple(
            (i, len(kernel.inputs) + o)
            for i, old in enumerate(kernel.inputs)
            for o, new in enumerate(kernel.outputs)
            if (old, new) in kernel.in_place
        ),
    )
