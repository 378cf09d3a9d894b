"""The verifier of Plans: every kernel finds the values that it reads where it looks for them."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TypeAlias

from talweg.base.errors import GraphError
from talweg.ir.node import Node
from talweg.ir.op import Pick
from talweg.ir.types import TensorType
from talweg.loops.count import replaceable
from talweg.ops.kinds import Part, View
from talweg.passes.places import ARENA, INPUT, OUTPUT, HostCall, Place
from talweg.passes.plan import Launch, Plan, Step

_Operand: TypeAlias = tuple[Node, TensorType, Place]


def verify_plan(plan: Plan) -> None:
    """Check a Plan.

    1. Every operand lies in the arena, in an input or in an output of at least its size.
    2. What is read from the arena and from outputs was written before, and nothing over it.
    3. A kernel writes over one of its operands only where its nest allows that.
    4. Every output was written.

    Raises:
        GraphError: naming the step and the Node.
    """
    state = _Memory(plan)
    for number, step in enumerate(plan.steps):
        reads, writes = _operands(step)
        where = f"step {number} ({_name(step)})"
        for operand in (*reads, *writes):
            state.check_room(operand, where)
        for operand in reads:
            state.check_read(operand, where)
        if isinstance(step, Launch):
            _check_replaced(step, reads, writes, where)
        for operand in writes:
            state.write(operand, where)
    for number, place in enumerate(plan.results):
        if place.kind == OUTPUT and not state.is_written(place):
            raise GraphError(f"output {number} of the plan is never written")


def _name(step: Step) -> str:
    return step.nest.name if isinstance(step, Launch) else step.node.op.name()


def _operands(step: Step) -> tuple[list[_Operand], list[_Operand]]:
    if isinstance(step, HostCall):
        reads = zip(step.node.inputs, step.types, step.places, strict=True)
        return list(reads), [
            (step.node, t, p) for t, p in zip(step.results, step.targets, strict=True)
        ]
    rows = [(n, n.type, p) for n, p in zip(step.operands, step.places, strict=True)]
    count = len(step.nest.inputs)
    return rows[:count], rows[count:]


def _check_replaced(
    step: Launch, reads: Iterable[_Operand], writes: list[_Operand], where: str
) -> None:
    allowed = replaceable(step.nest)
    for read, (old, old_type, old_place) in zip(step.nest.inputs, reads, strict=True):
        for write, (new, new_type, new_place) in zip(step.nest.outputs, writes, strict=True):
            if not _overlap(old_place, old_type, new_place, new_type):
                continue
            if (read.name, write.name) not in allowed or old_place != new_place:
                raise GraphError(f"{where} writes {new} over its operand {old}")


def _overlap(a: Place, a_type: TensorType, b: Place, b_type: TensorType) -> bool:
    if a.kind != b.kind or not a_type.nbytes or not b_type.nbytes:
        return False
    if a.kind != ARENA and a.at != b.at:
        return False
    first, second = (p.at if p.kind == ARENA else p.offset for p in (a, b))
    return first < second + b_type.nbytes and second < first + a_type.nbytes


class _Memory:
    """Which value lies where, as the steps go by."""

    def __init__(self, plan: Plan) -> None:
        self.plan = plan
        self.held: list[_Operand] = []

    def is_written(self, place: Place) -> bool:
        """Whether there is anything in an output."""
        return any((p.kind, p.at) == (OUTPUT, place.at) for _, _, p in self.held)

    def check_room(self, operand: _Operand, where: str) -> None:
        node, type, place = operand
        if place.kind == ARENA:
            fits = 0 <= place.at and place.at + type.nbytes <= self.plan.arena
        else:
            there = self.plan.inputs if place.kind == INPUT else self.plan.buffers
            fits = place.at < len(there)
            fits = fits and 0 <= place.offset <= there[place.at].nbytes - type.nbytes
        if not fits:
            raise GraphError(f"{where}: there is no room for {node} at {place}")

    def check_read(self, operand: _Operand, where: str) -> None:
        node, type, place = operand
        if place.kind == INPUT:
            return
        names = _names_of(node)
        wholes = self.plan.parts.wholes
        parts = next((wholes[n] for n in names if n in wholes), None)
        if parts is not None:
            for part in parts:
                self.check_read((part, part.type, place), where)
                place = place.moved(part.type.nbytes)
            return
        held = {n for n, _, p in self.held if p == place}
        held |= {n.inputs[0] for n in held if isinstance(n.op, Part)}  # written part by part
        if isinstance(node.op, Part) and held.isdisjoint(names):
            (whole,) = node.inputs
            self.check_read((whole, whole.type, place.moved(-node.op.start * type.nbytes)), where)
            return
        if held.isdisjoint(names) and type.nbytes:
            found = ", ".join(map(str, held)) or "nothing"
            raise GraphError(f"{where} reads {node} at {place}, where there is {found}")

    def write(self, operand: _Operand, where: str) -> None:
        node, type, place = operand
        if place.kind == INPUT:
            raise GraphError(f"{where} writes {node} over an input")
        self.held = [o for o in self.held if not _overlap(o[2], o[1], place, type)]
        self.held.append(operand)


def _names_of(node: Node) -> set[Node]:
    """The Nodes that have the value of a Node in the same memory."""
    names = {node}
    while (isinstance(node.op, View) and node.op.relabels) or isinstance(node.op, Pick):
        node = node.inputs[0]
        names.add(node)
    return names
