"""Values that depend on state alone: computed once, and again when the state is another.

The factors of batch norm in evaluation, normalized or merged weights: where a captured function
changes no state, what it computes from Tensors that it finds, and not from its arguments, is cut
off its graph. The results are kept under the stamps of the memory that they were computed from (see
`runtime.buffer`), and are inputs of the rest. So are copies of weights in the order in which
kernels of the rest multiply them: a schedule that copies an operand leaves out its first stage,
and adds in the same order.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Any, NamedTuple, TypeAlias, final
from weakref import WeakValueDictionary

from talweg.capture.gradients import detached
from talweg.capture.memory import held
from talweg.engine.evaluate import compiled
from talweg.engine.program import Copied, Launched, Program
from talweg.engine.scalars import is_scalar
from talweg.engine.tensor import Tensor
from talweg.engine.workers import pool
from talweg.ir.node import Graph, Node, input_node, input_nodes
from talweg.ir.types import TensorType
from talweg.ops.kinds import Contract, Elementwise, Generate, Reduce, View
from talweg.passes.places import OUTPUT
from talweg.runtime.buffer import Buffer, next_stamp
from talweg.runtime.executor import Executor, Launch, Place

LEAST = 1 << 12  # bytes: less is not worth a look at all state in every call
GROWTH = 2  # how many times the bytes of the state may be kept

Kept: TypeAlias = tuple[tuple[int, ...], Sequence[Node]]


@final
class Part:
    """What is kept for functions that compute the same from the same Tensors.

    Args:
        compute: returns the values that belong to those of the Tensors' storages.
        tensors: whose storages' values they are.

    Attributes:
        kept: the stamps of the memory of the Tensors, and the values that belong to them.
    """

    __slots__ = ("__weakref__", "compute", "kept", "tensors")

    def __init__(
        self,
        compute: Callable[[tuple[int, ...], Sequence[Node]], Sequence[Node]],
        tensors: Sequence[Tensor],
    ) -> None:
        self.compute, self.tensors = compute, tensors
        self.kept: Kept = (), ()

    def renewed(self, stamps: tuple[int, ...], nodes: Sequence[Node]) -> Sequence[Node]:
        """Return what belongs to the values of the Tensors' storages, computed where it must be."""
        kept = self.kept
        if kept[0] != stamps:
            self.kept = kept = stamps, self.compute(stamps, nodes)
        return kept[1]


@final
class Ready:
    """All that is kept for a captured function.

    Args:
        parts: what is kept, each with the places of its Tensors among all.
        types: of all that is kept.

    Attributes:
        kept: the stamps of the memory of all Tensors, and the values that belong to them.
    """

    __slots__ = ("kept", "parts", "types")

    def __init__(
        self, parts: Sequence[tuple[Part, Sequence[int]]], types: Sequence[TensorType]
    ) -> None:
        self.parts, self.types = parts, types
        self.kept: Kept = (), ()

    def renewed(self, nodes: Sequence[Node]) -> Kept:
        """Return what belongs to the values of the Tensors' storages, computed where it must be.

        A value that lies in memory of others is moved first. The stamps are taken before anything
        is read: who writes to the memory in the meantime removes them afterwards.
        """
        stamps = tuple(map(_stamped, nodes))
        kept = self.kept
        if kept[0] != stamps:
            found: list[Node] = []
            for part, at in self.parts:
                found += part.renewed(tuple([stamps[i] for i in at]), [nodes[i] for i in at])
            self.kept = kept = stamps, found
        return kept


def _stamped(node: Node) -> int:
    memory = held(node)
    if memory.stamp < 0:
        array = node.array
        assert array is not None, "held leaves a value"
        memory = Buffer(node.type.nbytes)
        memory.array(node.type.dtype.storage, node.type.shape)[...] = array
        node.buffer = memory
    stamp = memory.stamp
    if not stamp:
        memory.stamp = stamp = next_stamp()
    return stamp


class Cut(NamedTuple):
    """A Graph in two.

    Args:
        ready: computes and keeps what the rest takes from the state.
        state: the inputs of the Graph that this depends on, in the order of the Tensors.
        stands: inputs of the rest for what is kept.
        inputs: all of the rest.
        program: computes the outputs from these.
    """

    ready: Ready
    state: Sequence[Node]
    stands: Sequence[Node]
    inputs: Sequence[Node]
    program: Program

    def fill(self) -> None:
        """Give the inputs of the rest their values."""
        for stand, node in zip(self.stands, self.ready.renewed(self.state)[1], strict=True):
            stand.value = node.value


def cut(graph: Graph, state: Mapping[Node, Tensor], constant: Collection[Node]) -> Cut | None:
    """Return a Graph in two, or None where that does not pay.

    Args:
        graph: of a function that changes no state.
        state: inputs that are the values of the storages of Tensors that the function finds.
        constant: inputs that are the same in each call.
    """
    most = GROWTH * sum(n.type.nbytes for n in state)
    if most < LEAST:
        return None
    depends = _depends(graph, state, constant)
    values = _values(graph, depends)
    least = sum(n.type.nbytes for n in values)
    found = _ready(Graph(graph.inputs, values), state) if 0 < least <= most else None
    stands: list[Node] = []
    rest, sources = graph, {n: _Source((n,), (state[n],)) for n in state if not is_scalar(n)}
    parts: list[tuple[Part, Sequence[Node]]] = []
    if found is not None:
        parts.append(found)
        stands = [input_node(n.type) for n in values]
        rest = _rest(graph, values, stands)
        for i, stand in enumerate(stands):
            sources[stand] = _Source(found[1], (), found[0], i)
    program = _compiled(rest, sources)
    copies = program.outline.inputs[len(rest.inputs) :]
    total = sum(n.type.nbytes for n in stands) + sum(t.nbytes for t in copies)
    if copies and total > most:
        program, copies = compiled(rest), ()
        total = sum(n.type.nbytes for n in stands)
    if total < LEAST:
        return None
    parts += [_copied(program, n, rest.inputs, sources) for n in range(len(copies))]
    stands += [input_node(t) for t in copies]
    nodes = list(dict.fromkeys(n for _, read in parts for n in read))
    placed = [(part, [nodes.index(n) for n in read]) for part, read in parts]
    ready = Ready(placed, [n.type for n in stands])
    inputs = (*rest.inputs, *stands[len(stands) - len(copies) :])
    return Cut(ready, nodes, stands, inputs, program)


def _compiled(rest: Graph, sources: Mapping[Node, _Source]) -> Program:
    """Return the Program with copies, but for those of what has enough copies of other kinds."""
    inputs = rest.inputs
    fixed = frozenset(i for i, n in enumerate(inputs) if n in sources)
    program = compiled(rest, fixed)
    many: set[int] = set()
    for step in program.copied:
        assert step.copied is not None
        read = [step.places[n].at for n in step.copied.reads]
        key, made_of = _key(step.copied, [sources[inputs[i]] for i in read])
        others = [k for k in list(_PARTS.keys()) if k[-1] == made_of and k[0] != key]
        if len(others) >= GROWTH and (key, made_of) not in _PARTS:
            many.update(read)
    return compiled(rest, fixed - many) if many else program


def _rest(graph: Graph, values: Sequence[Node], stands: Sequence[Node]) -> Graph:
    """Return a Graph that takes some of its values as inputs."""
    at = {n: n for n in graph.inputs} | dict(zip(values, stands, strict=True))
    outputs = detached(graph.outputs, at)
    whole = Graph((*graph.inputs, *stands), outputs)
    read = {i for n in whole.order for i in n.inputs} | set(outputs)
    return Graph([n for n in whole.inputs if n in read], outputs, whole.order)


def _depends(
    graph: Graph, state: Collection[Node], constant: Collection[Node]
) -> dict[Node, frozenset[Node]]:
    """Return the Nodes that depend on state and constants alone, each with the state it reads."""
    found = {n: frozenset((n,) if n in state else ()) for n in (*state, *constant)}
    for node in graph.order:
        plain = isinstance(node.op, Elementwise | View | Reduce | Contract)
        alone = plain or (isinstance(node.op, Generate) and not node.inputs)
        if alone and node.type.__class__ is TensorType and all(i in found for i in node.inputs):
            found[node] = frozenset().union(*(found[i] for i in node.inputs))
    return found


def _values(graph: Graph, depends: Mapping[Node, Collection[Node]]) -> list[Node]:
    """Return what is worth keeping: the last results before what depends on arguments.

    Views of them are read in place by the rest. What is much larger than the state that it is made
    of is computed as ever, and what is a result of the Graph needs memory of its own.
    """
    values: dict[Node, None] = {}
    for node in graph.order:
        for value in node.inputs if node not in depends else ():
            while isinstance(value.op, View) and len(value.inputs) == 1:
                (value,) = value.inputs
            state = depends.get(value)
            if value.type.dtype.category in ("int", "uint"):  # products read short ones in place
                continue
            if state and value.inputs and value not in state and value not in graph.outputs:
                if value.type.nbytes <= GROWTH * sum(n.type.nbytes for n in state):
                    values[value] = None
    return list(values)


_PARTS: WeakValueDictionary[Any, Part] = WeakValueDictionary()


def _ready(graph: Graph, state: Mapping[Node, Tensor]) -> tuple[Part, list[Node]] | None:
    """Return what computes a Graph and keeps its outputs, the same for all who need the same.

    Also the inputs that are state. None where a check may fail, or an output is an input.
    """
    read = {i for n in graph.order for i in n.inputs}
    graph = Graph([n for n in graph.inputs if n in read], graph.outputs, graph.order)
    nodes = [n for n in graph.inputs if n in state]
    tensors = [state[n] for n in nodes]
    inputs = [nodes.index(n) if n in state else n for n in graph.inputs]
    key = graph.key, tuple(map(id, tensors)), tuple(_constant(i) for i in inputs)
    found = _PARTS.get(key)
    if found is None:
        program = compiled(graph)
        outline = program.outline
        new = all(place.kind == OUTPUT for place in outline.results)
        if not (new and program.whole and outline.donation.checked < 0):
            return None
        types = [n.type for n in graph.outputs]

        def compute(_: tuple[int, ...], given: Sequence[Node]) -> Sequence[Node]:
            whole = [given[i] if isinstance(i, int) else i for i in inputs]
            return input_nodes(types, program.run(whole))

        found = _PARTS[key] = Part(compute, tensors)
    return found, nodes


class _Source(NamedTuple):
    """What a copy is made of: the value of a Tensor's storage, or one that is kept.

    Args:
        state: the inputs of the Graph that it depends on.
        tensors: the Tensor.
        part: that keeps the value.
        number: of the value there.
    """

    state: Sequence[Node]
    tensors: Sequence[Tensor]
    part: Part | None = None
    number: int = 0


def _copied(
    program: Program, number: int, inputs: Sequence[Node], sources: Mapping[Node, _Source]
) -> tuple[Part, Sequence[Node]]:
    """Return what makes one of a Program's copies and keeps it, and the state that it depends on.

    Args:
        program: whose kernels make copies before.
        number: of the copy.
        inputs: of the Program, but for the copies.
        sources: the inputs that stay what they are.
    """
    at = len(inputs) + number
    step = next(s for s in program.copied if s.copied is not None and s.copied.input == at)
    assert step.copied is not None
    found = [sources[inputs[step.places[n].at]] for n in step.copied.reads]
    state = list(dict.fromkeys(n for s in found for n in s.state))
    key = _key(step.copied, found)
    part = _PARTS.get(key)
    if part is None:
        starts = [[state.index(n) for n in s.state] for s in found]
        run = _first_stage(step, program.outline.inputs[at])

        def compute(stamps: tuple[int, ...], given: Sequence[Node]) -> Sequence[Node]:
            operands = []
            for source, places in zip(found, starts, strict=True):
                nodes: Sequence[Node] = [given[i] for i in places]
                if source.part is not None:
                    nodes = source.part.renewed(tuple([stamps[i] for i in places]), nodes)
                operands.append(nodes[source.number])
            return [run(operands)]

        tensors = [t for s in found for t in (s.part.tensors if s.part is not None else s.tensors)]
        part = _PARTS[key] = Part(compute, tensors)
    return part, state


def _key(copied: Copied, found: Sequence[_Source]) -> tuple[str, Any]:
    """Return the kind of a copy, and what it is made of."""
    return copied.key, tuple((tuple(map(id, s.tensors)), id(s.part), s.number) for s in found)


def _first_stage(step: Launched, type: TensorType) -> Callable[[Sequence[Node]], Node]:
    """Return what runs the first stage of a kernel alone: it returns the copy that this makes."""
    assert step.copied is not None
    reads = step.copied.reads
    places = [Place("input", reads.index(n) if n in reads else 0) for n in range(len(step.places))]
    only = Launch(
        step.kernel, places, step.values, step.label, step.sizes, Place("output"), slice(1)
    )
    executor = Executor(pool(), [only], 0, len(reads), 0, 1)

    def run(operands: Sequence[Node]) -> Node:
        memory = Buffer(type.nbytes)
        executor.run([held(n).address for n in operands], b"", [memory.address])
        return input_node(type, memory)

    return run


def _constant(given: int | Node) -> Any:
    """What is equal for equal inputs; arrays are told apart by their Nodes, which a Part holds."""
    if isinstance(given, int):
        return given
    number = given.number
    return id(given) if number is None else (type(number), repr(number))
