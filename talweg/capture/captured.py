"""A captured function: checked against what it sees, run as a Program, its effects left behind."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from operator import attrgetter, is_, itemgetter
from typing import Any, NamedTuple, final

from talweg.base.errors import IndexOutOfRange
from talweg.capture.effects import Effects
from talweg.capture.gradients import Tape
from talweg.capture.guards import Guard, Reader, settled
from talweg.capture.prepared import Given, Quick, at_its_line, prepared
from talweg.capture.surroundings import Place
from talweg.capture.symbols import Replay
from talweg.engine.barrier import evaluate
from talweg.engine.program import Program
from talweg.engine.state import STATE, Recording
from talweg.engine.tape import Edge, GradFn
from talweg.engine.tensor import AccumulateGrad, Storage, Tensor, edge_of, wrap
from talweg.engine.watch import WATCHERS
from talweg.ir.node import Node, input_node, input_nodes
from talweg.ir.op import Op
from talweg.ir.types import TensorType

MISS: Any = object()
"""What a replay returns when it does not fit."""

Modes = tuple[bool, bool, Any]

_storage_of = attrgetter("_storage")
_node_of = attrgetter("node")
_type_of = attrgetter("type")


def modes_of(now: Recording) -> Modes:
    """Return the modes that recording depends on."""
    return now.grad, now.inference, now.builder.default_float


class Finding(NamedTuple):
    """How a source is found.

    Args:
        kind: an argument, the gradient of one, what is at a place, or a Tensor that never changes.
        where: the number of the argument, the Place, or the Tensor.
        type: of its storage's value; None for arguments.
        tracked: whether it requires gradients.
    """

    kind: str
    where: Any
    type: TensorType | None
    tracked: bool


class Argument(NamedTuple):
    """What a Tensor among the arguments must be like.

    Args:
        number: among the leaves.
        kind: its class.
        type: of its value.
        edge: what `edge_kind` says of its place on the tape.
        grad: whether it has a gradient; None when that does not matter.
        chain: the View ops that it sees its storage through; None when they do not matter.
    """

    number: int
    kind: Any
    type: TensorType
    edge: Any
    grad: bool | None
    chain: tuple[Op, ...] | None


def edge_kind(edge: Edge) -> Any:
    """Return None, or AccumulateGrad for leaves, or GradFn for results."""
    if edge is None:
        return None
    return AccumulateGrad if edge.__class__ is AccumulateGrad else GradFn


@final
class Numbers:
    """The numbers of a captured function that change from call to call.

    Args:
        replay: computes them.
        places: of the surroundings, to which the `place` keys of the replay belong.
        generators: with how far a run moves the counter of each.
        before: what was given during the capture.
        tuples: tuples that hold such numbers, by the numbers of their places.
        equal: places of numbers that must be equal to that at another place.
        values: what was at all places during the capture.
    """

    def __init__(
        self,
        replay: Replay,
        places: Sequence[Place],
        generators: Sequence[tuple[Any, int]],
        before: Sequence[Any],
        tuples: Mapping[int, tuple[Any, ...]],
        equal: Mapping[int, int],
        values: Sequence[Any],
    ) -> None:
        self.replay = replay
        self.places = places
        self.generators = generators
        self.before = before
        self._arguments = [(k[1], type(v)) for k, v in self._rows("argument")]
        self._tuples = tuples
        numbers = dict.fromkeys((*(k[1] for k, _ in self._rows("place")), *equal))
        self._read = Reader([places[n] for n in numbers])
        names = {n: f"p{self._read.order[i]}" for i, n in enumerate(numbers)}
        parameters = [
            *(f"p{i}" for i in range(self._read.width)),
            *(f"a{i}" for i, _ in self._arguments),
            *(f"g{i}" for i in range(2 * len(generators))),
        ]
        drawn = {id(g): i for i, (g, _) in enumerate(generators)}
        given = []
        for kind, which, *item in replay.given:
            if kind == "place":
                given.append(names[which] + (f"[{item[0]}]" if item != [None] else ""))
            elif kind == "argument":
                given.append(f"a{which}")
            else:
                given.append(f"g{2 * drawn[which] + (kind == 'offset')}")
        pairs = [(names[a], names[b]) for a, b in equal.items()]
        self._compute = replay.function(parameters, given, pairs)
        self._types = [*map(type, self._read.spread([values[n] for n in numbers]))]
        self.constant = None if parameters else self._compute()

    def _rows(self, kind: str) -> list[tuple[Any, Any]]:
        rows = zip(self.replay.given, self.before, strict=True)
        return [(key, value) for key, value in rows if key[0] == kind]

    def given(self, leaves: Sequence[Any]) -> list[Any]:
        """Return what the replay would be given now, MISSING where there is nothing any more."""
        found: list[Any] = []
        positions = {id(g): g.position for g, _ in self.generators}
        for kind, which, *item in self.replay.given:
            if kind == "place":
                value = self.places[which].now()
                inside = item != [None] and type(value) is tuple and item[0] < len(value)
                found.append(value[item[0]] if inside else value)
            elif kind == "argument":
                found.append(leaves[which])
            else:
                found.append(positions[which][kind == "offset"])
        return found

    def wanted(self, leaves: Sequence[Any]) -> list[Any] | None:
        """Return the numbers for a replay, and draw; None when a check does not hold."""
        if self.constant is not None:
            return self.constant
        try:
            values = self._read.values()
            if [*map(type, values)] != self._types:
                return None
            for n, before in self._tuples.items():
                if not _alike(self.places[n].get(), before):
                    return None
            for i, kind in self._arguments:
                if type(leaves[i]) is not kind:
                    return None
                values.append(leaves[i])
            if not self.generators:
                return self._compute(*values)
            seen = [n for g, _ in self.generators for n in g.position]
            wanted = self._compute(*values, *seen)
            if wanted is None:
                return None
            drawn = [n for g, count in self.generators for n in g.skip(count)]
            return wanted if drawn == seen else self._compute(*values, *drawn) or wanted
        except (LookupError, AttributeError, ArithmeticError, ValueError):
            return None


def _alike(now: Any, before: tuple[Any, ...]) -> bool:
    """Whether a tuple is as it was, but for its numbers."""
    if type(now) is not tuple or len(now) != len(before):
        return False
    rows = zip(now, before, strict=True)
    return all(type(b) in (int, float) or settled(a, b) for a, b in rows)


@final
class Captured:
    """A function for one kind of arguments.

    Args:
        modes: in which it was captured.
        arguments: what the Tensors among the arguments must be like.
        guard: what must be as it was.
        sources: the Tensors that are used.
        same, distinct: which of these lie over one storage, and which must not.
        numbers: those that change.
        given: the inputs of the function.
        program: computes the outputs.
        inputs: for each input of the program, its number among `given`.
        types: of the outputs.
        effects: what to do with them.
        tape: how gradients go through; None where none do.

    Attributes:
        replays: how often it was run again.
    """

    def __init__(
        self,
        modes: Modes,
        arguments: Sequence[Argument],
        guard: Guard,
        sources: Sequence[Finding],
        same: Sequence[tuple[int, int]],
        distinct: Sequence[int],
        numbers: Numbers,
        given: Sequence[Given],
        program: Program,
        inputs: Sequence[int],
        types: Sequence[TensorType],
        effects: Effects,
        tape: Tape | None,
    ) -> None:
        self.grad, self.inference, self.default_float = modes
        self.arguments = arguments
        self.guard = guard
        self.guarded = bool(guard)
        self.sources = sources
        self.same = same
        self._apart_of = itemgetter(*distinct) if len(distinct) > 1 else None
        self._count = len(distinct)
        self.numbers = numbers
        self.given = given
        self.program = program
        self.inputs = inputs
        self.types = types
        self.effects = effects
        self.tape = tape
        self.replays = 0
        first = {a.number: i for i, a in enumerate(arguments)}
        self._direct = [f[:2] for f in sources] == [("argument", a.number) for a in arguments]
        read = {g.value for g in given if g.kind == "storage"}
        self._direct = self._direct and not read and not same and not distinct
        values = {g.value for g in given if g.kind == "value"}
        self._values = [(s, first[sources[s].where]) for s in values]
        others = [s for s, f in enumerate(sources) if f.kind != "argument"]
        self._others = itemgetter(*others, others[0]) if others else None
        self._types = [sources[s].type for s in (*others, *others[:1])]
        self._plain = effects.plain and tape is None
        conflict = bool(read & values)
        self._fast = (
            None if conflict else prepared(program, given, inputs, len(sources), effects.writes)
        )
        self._quick = self._make_quick()

    def _make_quick(self) -> Quick | None:
        fast = self._fast
        simple = self._plain and self._direct and not self.guarded and self.numbers.constant
        if fast is None or simple != [] or fast.executor is None or not fast.direct:
            return None
        if any(a.edge is not None or a.chain or a.grad is not None for a in self.arguments):
            return None
        if [a.number for a in self.arguments] != [*range(len(self.arguments))]:
            return None
        return Quick([(a.kind, a.type) for a in self.arguments], fast, self.types[0])

    # -- checks

    def arguments_of(self, leaves: Sequence[Any]) -> list[Node] | None:
        """Return the values of the arguments that are Tensors; None if they are of another kind."""
        nodes: list[Node] = []
        for number, kind, type, edge, grad, chain in self.arguments:
            t = leaves[number]
            if t.__class__ is not kind:
                return None
            if t._view is None:
                node = t._storage.node
                end = t._edge
            else:
                node = t.node()
                end = edge_of(t)
            if node.type is not type or (end is not edge and edge_kind(end) is not edge):
                return None
            if grad is not None and (t._grad is not None) is not grad:
                return None
            if chain is not None and t._chain != chain:
                return None
            nodes.append(node)
        return nodes

    def broken(self, leaves: Sequence[Any]) -> tuple[Any, Any, Any]:
        """Return what is not as it was, by Place or description, with values then and now."""
        found = self.guard.broken()
        if found is not None:
            return found
        numbers = self.numbers
        given = numbers.given(leaves)
        key = numbers.replay.unlike(numbers.before, given)
        if key is not None:
            at = numbers.replay.given.index(key)
            name = numbers.places[key[1]].path if key[0] == "place" else f"{key[0]} {key[1]}"
            return f"{name}, by which Python decides,", numbers.before[at], given[at]
        return "the way Tensors share memory", "another", "new"

    def _find(self, leaves: Sequence[Any]) -> list[Tensor] | None:
        """The sources; None when one is not as it was."""
        found: list[Tensor] = []
        for kind, where, _, tracked in self.sources:
            if kind == "tensor":
                found.append(where)
            elif kind == "argument":
                found.append(leaves[where])
            else:
                t = leaves[where]._grad if kind == "gradient" else where.get()
                if not isinstance(t, Tensor) or (edge_of(t) is not None) is not tracked:
                    return None
                if t._view is not None:
                    return None
                found.append(t)
        return found

    def _apart(self, storages: Sequence[Storage]) -> bool:
        """Whether the sources share memory as they did."""
        for a, b in self.same:
            if storages[a] is not storages[b]:
                return False
        return self._apart_of is None or len({*self._apart_of(storages)}) == self._count

    # -- replay

    def run(self, leaves: Sequence[Any]) -> Any:
        """Return the result for other arguments; MISS when something is not as it was.

        Raises:
            IndexOutOfRange: as the function does, naming the line that recorded the operation.
        """
        now = STATE.now
        if (
            now.grad is not self.grad
            or now.inference is not self.inference
            or now.builder.default_float is not self.default_float
            or now.capture is not None
            or now.anomaly
        ):
            return MISS
        if self._quick is not None and not WATCHERS:
            try:
                result = self._quick.run(leaves)
            except IndexOutOfRange as error:
                raise at_its_line(error) from None
            if result is not None:
                self.replays += 1
                return result
        nodes = self.arguments_of(leaves)
        if nodes is None or (self.guarded and not self.guard.holds()):
            return MISS
        tensors: Sequence[Tensor] = leaves
        if not self._direct:
            found = self._find(leaves)
            if found is None:
                return MISS
            tensors = found
            storages = [*map(_storage_of, tensors)]
            own, nodes = nodes, [*map(_node_of, storages)]
            if self._others is not None:
                if not all(map(is_, map(_type_of, self._others(nodes)), self._types)):
                    return MISS
            if not self._apart(storages):
                return MISS
            for s, a in self._values:
                nodes[s] = own[a]
            del own
        numbers = self.numbers.wanted(leaves)
        if numbers is None:
            return MISS
        if self._fast is None or WATCHERS:
            return self._run_by_nodes(leaves, tensors, numbers)
        try:
            buffers = self._fast.run(nodes, numbers)
        except IndexOutOfRange as error:
            raise at_its_line(error) from None
        self.replays += 1
        if self._plain:
            return wrap(input_node(self.types[0], buffers[0]))
        outputs = input_nodes(self.types, buffers)
        return self._leave(leaves, tensors, nodes, numbers, outputs)

    def _run_by_nodes(
        self, leaves: Sequence[Any], tensors: Sequence[Tensor], numbers: Sequence[Any]
    ) -> Any:
        """Run a program that cannot be run by addresses alone, or that somebody watches."""
        nodes = [self._node(g, tensors, numbers) for g in self.given]
        try:
            values = self.program.run([nodes[i] for i in self.inputs])
        except IndexOutOfRange as error:
            raise at_its_line(error) from None
        self.replays += 1
        outputs = input_nodes(self.types, values)
        steps: Sequence[Edge] = ()
        if self.tape is not None:
            steps = self.tape.steps(tensors, nodes.__getitem__, outputs)
        return self.effects.leave(leaves, tensors, numbers, outputs, steps)

    def _node(self, given: Given, tensors: Sequence[Tensor], numbers: Sequence[Any]) -> Node:
        kind, value, type = given
        if kind == "constant":
            node: Node = value
            return node
        if kind == "number":
            return input_node(type, numbers[value])
        t = tensors[value]
        node = t.node() if kind == "value" else t._storage.node
        if node.value is None:
            evaluate([node])
        return node

    def _leave(
        self,
        leaves: Sequence[Any],
        tensors: Sequence[Tensor],
        nodes: Sequence[Node],
        numbers: Sequence[Any],
        outputs: Sequence[Node],
    ) -> Any:
        steps: Sequence[Edge] = ()
        if self.tape is not None:

            def node(i: int) -> Node:
                kind, value, type = self.given[i]
                if kind == "number":
                    return input_node(type, numbers[value])
                found: Node = value if kind == "constant" else nodes[value]
                return found

            steps = self.tape.steps(tensors, node, outputs)
        return self.effects.leave(leaves, tensors, numbers, outputs, steps)
