"""Values that depend on state alone: computed once, and again when the state is another.

The factors of batch norm in evaluation, normalized or merged weights: where a captured function
changes no state, what it computes from Tensors that it finds, and not from its arguments, is cut
off its graph. The results are kept under the stamps of the memory that they were computed from (see
`runtime.buffer`), and are inputs of the rest.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Any, NamedTuple, final
from weakref import WeakValueDictionary

from talweg.capture.gradients import detached
from talweg.capture.memory import held
from talweg.engine.evaluate import compiled
from talweg.engine.program import Program
from talweg.engine.tensor import Tensor
from talweg.ir.node import Graph, Node, input_node, input_nodes
from talweg.ir.types import TensorType
from talweg.ops.kinds import Contract, Elementwise, Generate, Reduce, View
from talweg.passes.places import OUTPUT
from talweg.runtime.buffer import Buffer, next_stamp

LEAST = 1 << 12  # bytes: less is not worth a look at all state in every call
GROWTH = 2  # how many times the bytes of the state may be kept

Kept = tuple[tuple[int, ...], Sequence[Node]]


@final
class Ready:
    """What is kept for functions that compute the same values from the same Tensors.

    Args:
        program: computes the values.
        inputs: what it takes: the number of a Tensor, or a constant.
        tensors: whose storages' values they are.
        types: of the values.

    Attributes:
        kept: the stamps of the memory of the Tensors, and the values that belong to them.
    """

    __slots__ = ("__weakref__", "inputs", "kept", "program", "tensors", "types")

    def __init__(
        self,
        program: Program,
        inputs: Sequence[int | Node],
        tensors: Sequence[Tensor],
        types: Sequence[TensorType],
    ) -> None:
        self.program, self.inputs = program, inputs
        self.tensors, self.types = tensors, types
        self.kept: Kept = (), ()

    def renewed(self, nodes: Sequence[Node]) -> Kept:
        """Return what belongs to the values of the Tensors' storages, computed where it must be.

        A value that lies in memory of others is moved first. The stamps are taken before anything
        is read: who writes to the memory in the meantime removes them afterwards.
        """
        stamps = tuple(map(_stamped, nodes))
        kept = self.kept
        if kept[0] != stamps:
            given = [nodes[i] if isinstance(i, int) else i for i in self.inputs]
            self.kept = kept = stamps, input_nodes(self.types, self.program.run(given))
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
        state: the inputs of the Graph that this depends on, in the order of `ready.tensors`.
        stands: inputs of the rest for what is kept.
        rest: computes the outputs.
    """

    ready: Ready
    state: Sequence[Node]
    stands: Sequence[Node]
    rest: Graph

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
    if not state:
        return None
    depends = _depends(graph, state, constant)
    values = _values(graph, depends)
    total = sum(n.type.nbytes for n in values)
    if not LEAST <= total <= GROWTH * sum(n.type.nbytes for n in state):
        return None
    found = _ready(Graph(graph.inputs, values), state)
    if found is None:
        return None
    ready, nodes = found
    stands = [input_node(n.type) for n in values]
    at = {n: n for n in graph.inputs} | dict(zip(values, stands, strict=True))
    outputs = detached(graph.outputs, at)
    whole = Graph((*graph.inputs, *stands), outputs)
    read = {i for n in whole.order for i in n.inputs} | set(outputs)
    rest = Graph([n for n in whole.inputs if n in read], outputs, whole.order)
    return Cut(ready, nodes, stands, rest)


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


_READY: WeakValueDictionary[Any, Ready] = WeakValueDictionary()


def _ready(graph: Graph, state: Mapping[Node, Tensor]) -> tuple[Ready, list[Node]] | None:
    """Return what computes a Graph and keeps its outputs, the same for all who need the same.

    Also the inputs that are state. None where a check may fail, or an output is an input.
    """
    read = {i for n in graph.order for i in n.inputs}
    graph = Graph([n for n in graph.inputs if n in read], graph.outputs, graph.order)
    nodes = [n for n in graph.inputs if n in state]
    tensors = [state[n] for n in nodes]
    inputs = [nodes.index(n) if n in state else n for n in graph.inputs]
    key = graph.key, tuple(map(id, tensors)), tuple(_constant(i) for i in inputs)
    found = _READY.get(key)
    if found is None:
        program = compiled(graph)
        outline = program.outline
        new = all(place.kind == OUTPUT for place in outline.results)
        if not (new and program.whole and outline.donation.checked < 0):
            return None
        found = _READY[key] = Ready(program, inputs, tensors, [n.type for n in graph.outputs])
    return found, nodes


def _constant(given: int | Node) -> Any:
    """What is equal for equal inputs; arrays are told apart by their Nodes, which a Ready holds."""
    if isinstance(given, int):
        return given
    number = given.number
    return id(given) if number is None else (type(number), repr(number))
