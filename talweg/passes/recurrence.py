"""Recurrences: the steps of a repeated Graph are planned once, and launched for every element.

A Plan has the launches of all elements, one after the other, so whatever runs, measures or checks
Plans need not know of them; what is made for another length are these rows, and nothing else. What
an element reads and writes lies in the stacks of all elements, so nothing is copied in between: a
carried value that is stacked too is read where the element before has left it, and others lie in
two places by turns.
"""

from __future__ import annotations

from collections.abc import Callable, Container, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, TypeAlias, final

from talweg.ir.node import Graph, Node, input_node, make_node
from talweg.ir.types import TensorType
from talweg.ops.kinds import Move, Part, View
from talweg.passes.places import ARENA, INPUT, Place

if TYPE_CHECKING:
    from talweg.passes.plan import Launch, Plan

_ALIGNMENT = 64
_LIMIT = 4096

# A value at some element: where it lies, and the Node that stands for it there.
_Held: TypeAlias = tuple[Place, Node]


@final
@dataclass(frozen=True, eq=False)
class Body:
    """What is run for every element.

    Args:
        plan: its inputs are those of the repeated Graph, and each output has memory of its own, but
            for one that is carried and stacked too.
        stacked: the number of the stack in which an allocated output lies.
        copies: the launches that copy final values to where they are wanted, by their types.
    """

    plan: Plan
    stacked: Mapping[int, int]
    copies: Mapping[TensorType, Launch]

    @property
    def room(self) -> int:
        """Bytes that are needed while it runs: its own arena, and two places for carried values."""
        return self.slot(len(self.plan.buffers), 0)

    def slot(self, buffer: int, turn: int) -> int:
        """Where an output that is not stacked begins, when it is written at an even or odd turn."""
        at = _aligned(self.plan.arena)
        for number, type in enumerate(self.plan.buffers[:buffer]):
            if number not in self.stacked:
                at += 2 * _aligned(type.nbytes)
        return at + turn * _aligned(self.plan.buffers[buffer].nbytes) if turn else at


_BODIES: dict[Any, Body] = {}


def body_of(node: Node, compiled: Callable[[Graph], Plan]) -> Body:
    """Return the plan of the steps of a Node; equal ones are planned once.

    Args:
        node: repeats a Graph.
        compiled: returns the Plan of a Graph.
    """
    op: Any = node.op
    key = op.graph, op.carried
    body = _BODIES.get(key)
    if body is None:
        if len(_BODIES) >= _LIMIT:
            _BODIES.clear()
        body = _BODIES[key] = _planned(op.graph, op.carried, compiled)
    return body


def _planned(graph: Graph, carried: int, compiled: Callable[[Graph], Plan]) -> Body:
    outputs = list(graph.outputs)
    while True:
        plan = compiled(Graph(graph.inputs, outputs))
        again = _without_own_memory(plan, carried)
        if not again:
            break
        for number, times in again.items():
            for _ in range(times):
                outputs[number] = make_node(Move(), (outputs[number],), outputs[number].type)
    places = plan.results
    stacked = {place.at: i for i, place in enumerate(places[carried:])}
    copies = {}
    for node in outputs[:carried]:
        if node.type not in copies:
            x = input_node(node.type)
            copy = compiled(Graph([x], [make_node(Move(), (x,), x.type)]))
            copies[node.type] = copy.launches[0]
    return Body(plan, stacked, copies)


def _without_own_memory(plan: Plan, carried: int) -> dict[int, int]:
    """Outputs that are operands, or what is stacked already: how often they are to be moved."""
    found: dict[int, int] = {}
    moves = 0
    stacked: set[Place] = set()
    for number, place in enumerate(plan.results):
        taken = place in stacked
        if number >= carried:
            stacked.add(place)
        if place.kind == INPUT or taken:
            moves += 1  # as often as no other one: equal Nodes would become one again
            found[number] = moves
    return found


@final
@dataclass(eq=False)
class Repetition:
    """The launches of all elements.

    Args:
        node: repeats a Graph.
        body: its plan.
        operands: where they lie, and their Nodes.
        results: the same for results.
        read: those of them that somebody reads.
        room: where the memory begins that is needed meanwhile.

    Attributes:
        wholes: values that are complete when their parts are, and these.
    """

    node: Node
    body: Body
    operands: Sequence[_Held]
    results: Sequence[_Held]
    read: Container[Node]
    room: int
    wholes: dict[Node, tuple[Node, ...]] = field(default_factory=dict)

    def launches(self) -> Iterator[Launch]:
        """Yield the launches in the order in which they run."""
        op: Any = self.node.op
        plan, carried, scanned = self.body.plan, op.carried, op.scanned
        length = self.operands[carried][1].shape[0]
        state = list(self.operands[:carried])
        rows = self.operands[carried : carried + scanned]
        types = [n.type for n in op.graph.inputs[carried : carried + scanned]]
        others = self.operands[carried + scanned :]
        parts: dict[int, dict[int, Node]] = {}
        for turn in range(length):
            at = length - 1 - turn if op.reverse else turn
            scans = [
                _part(*row, type, at * type.nbytes, {})
                for row, type in zip(rows, types, strict=True)
            ]
            outputs = [self._output(i, at, turn, length) for i in range(len(plan.buffers))]
            for i, (_, made) in enumerate(outputs):
                parts.setdefault(i, {})[at] = made
            yield from self._element([*state, *scans, *others], outputs)
            state = [outputs[plan.results[i].at] for i in range(carried)]
        for i, number in self.body.stacked.items():
            whole = self.results[carried + number][1]
            self.wholes[whole] = tuple(parts[i][at] for at in range(length))
        for last, result in zip(state, self.results, strict=False):
            if last[0] != result[0] and result[1] in self.read:
                copy = self.body.copies[result[1].type]
                yield self._launch(copy, [last], [result], {})

    def _output(self, number: int, at: int, turn: int, length: int) -> _Held:
        """Where an output of the plan lies at an element."""
        type = self.body.plan.buffers[number]
        stack = self.body.stacked.get(number)
        if stack is not None:
            place = self.results[self._carried + stack][0]
            return place.moved(at * type.nbytes), input_node(type)
        if turn == length - 1:
            for i, found in enumerate(self.body.plan.results[: self._carried]):
                if found.at == number and self.results[i][1] in self.read:
                    return self.results[i]
        return Place(ARENA, self.room + self.body.slot(number, turn % 2)), input_node(type)

    @property
    def _carried(self) -> int:
        op: Any = self.node.op
        count: int = op.carried
        return count

    def _element(self, inputs: Sequence[_Held], outputs: Sequence[_Held]) -> Iterator[Launch]:
        plan = self.body.plan
        inside: dict[Any, Node] = {}
        for launch in plan.launches:
            yield self._launch(launch, inputs, outputs, inside)
        for whole, parts in plan.parts.wholes.items():
            if whole in inside:
                self.wholes[inside[whole]] = tuple(inside.get(part, part) for part in parts)

    def _launch(
        self,
        launch: Launch,
        inputs: Sequence[_Held],
        outputs: Sequence[_Held],
        inside: dict[Any, Node],
    ) -> Launch:
        """The launch at one element: what it reads and writes lies where that is then.

        Args:
            launch: of the plan of the steps.
            inputs, outputs: of that plan.
            inside: for Nodes in its arena, those that stand for them here.
        """
        found: list[_Held] = []
        for node, place in zip(launch.operands, launch.places, strict=True):
            if place.kind == ARENA:
                base = _stored(node)
                if base not in inside:
                    inside[base] = input_node(base.type)
                found.append((place.moved(self.room), inside[base]))
            else:
                held = (inputs if place.kind == INPUT else outputs)[place.at]
                found.append(_part(*held, node.type, place.offset, inside))
        return launch.__class__(
            launch.nest,
            launch.values,
            tuple(place for place, _ in found),
            tuple(node for _, node in found),
            launch.orders,
            launch.owners,
            launch.nodes,
            launch.nbytes,
            launch.operations,
            (),
            launch.meant,
        )


def _stored(node: Node) -> Node:
    """The Node that has the memory of a value in an arena."""
    while isinstance(node.op, View) and node.op.relabels:
        (node,) = node.inputs
    return node


def _part(
    place: Place, node: Node, type: TensorType, offset: int, inside: dict[Any, Node]
) -> _Held:
    """What lies some bytes behind the beginning of a value: an element of a stack, if not all."""
    if type.nbytes == node.type.nbytes:
        return place, node
    at = offset // type.nbytes
    if (node, at) not in inside:
        inside[node, at] = make_node(Part(-node.rank, at, at + 1), (node,), type)
    return place.moved(offset), inside[node, at]


def _aligned(nbytes: int) -> int:
    return -(-nbytes // _ALIGNMENT) * _ALIGNMENT
