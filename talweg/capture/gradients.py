"""Gradients through a replayed function: one step of the tape, whose backward is a Program.

After a function was captured, its tape is walked once with cotangents that are inputs of the graph.
That gives the gradients as a graph. It is cut from the forward graph where values would have to be
kept: views, constants and cheap elementwise results are computed again instead.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from operator import attrgetter
from typing import NamedTuple, final

import numpy as np

from talweg.base.errors import GradientError
from talweg.base.source import Source, describe, here
from talweg.capture.watched import Anchor, Refusal
from talweg.engine.arranged import seen_of, stored_of
from talweg.engine.barrier import evaluate
from talweg.engine.program import Program
from talweg.engine.state import STATE
from talweg.engine.tape import FREED, CallStep, Edge, GradFn, end_of
from talweg.engine.tensor import AccumulateGrad, Storage, Tensor, edge_of
from talweg.ir.build import Builder
from talweg.ir.node import Graph, Node, input_node, input_nodes, make_node
from talweg.ir.types import TensorType
from talweg.ops.kinds import Elementwise, Generate, Unary, View
from talweg.runtime.buffer import Buffer

_DEPTH = 4  # elementwise results that are computed again in a row, instead of being kept


def derive(
    b: Builder, roots: Iterable[tuple[Edge, Node]]
) -> tuple[list[GradFn], list[Node | None]]:
    """Walk the tape from some results to where it began before the capture, or at leaves.

    Args:
        b: makes the Nodes.
        roots: places on the tape, with their cotangents.

    Returns:
        The ends, and the cotangents that arrive there.

    Raises:
        Refusal: when the tape has hooks, which a replay would not run.
        GradientError: when the tape was freed by a backward pass.
    """
    arrived: dict[GradFn, dict[int, Node]] = {}

    def send(edge: Edge, ct: Node | None) -> None:
        step, index = end_of(edge)
        if step is not None and ct is not None:
            sums = arrived.setdefault(step, {})
            before = sums.get(index)
            sums[index] = ct if before is None else b.add(before, ct)

    roots = list(roots)
    for root in roots:
        send(*root)
    inner, ends = _below([edge for edge, _ in roots])
    for step in sorted(inner, key=attrgetter("order"), reverse=True):
        watch = step.watch
        if watch is not None and (watch.hooks or watch.outer or watch.before or watch.retained):
            raise Refusal(f"a hook waits for a gradient inside ({describe(step.source)})")
        got = arrived.pop(step, None)
        if got is None:
            continue
        out = step.apply(b, [got.get(i) for i in range(step.width)], None)
        for edge, ct in zip(step.edges, out, strict=True):
            send(edge, ct)
    return ends, [arrived.get(end, {}).get(0) for end in ends]


def _below(roots: Iterable[Edge]) -> tuple[list[GradFn], list[GradFn]]:
    """Return the steps that were recorded during the capture, and where they end."""
    found = dict.fromkeys(step for step, _ in map(end_of, roots) if step is not None)
    stack = list(found)
    ends: list[GradFn] = []
    while stack:
        step = stack.pop()
        if isinstance(step, AccumulateGrad | Anchor):
            ends.append(step)
            continue
        for below, _ in map(end_of, step.edges):
            if below is not None and below not in found:
                found[below] = None
                stack.append(below)
    return [s for s in found if s not in set(ends)], ends


def split(graph: Graph, cotangents: Collection[Node], computed: Collection[Node]) -> list[Node]:
    """Return the Nodes whose values the forward pass keeps for the gradients.

    Args:
        graph: computes the gradients, from the inputs of the function and the cotangents.
        cotangents: inputs of it.
        computed: Nodes whose values are results anyway.
    """
    late = set(cotangents)
    wanted: list[Node] = []
    for node in graph.order:
        if any(i in late for i in node.inputs):
            late.add(node)
            wanted += [i for i in node.inputs if i not in late]
    wanted += [g for g in graph.outputs if g not in late]
    free = set(graph.inputs)
    kept: set[Node] = set()
    while wanted:
        node = wanted.pop()
        if node in free or node in kept:
            continue
        constant = isinstance(node.op, Generate) and not node.inputs
        if node not in computed and (constant or isinstance(node.op, View)):
            free.add(node)
            wanted += node.inputs
        else:
            kept.add(node)
    depth = dict.fromkeys((*graph.inputs, *kept), 0)
    saved: list[Node] = []
    for node in graph.order:
        if node in free and node not in depth:
            depth[node] = max((depth.get(i, _DEPTH) for i in node.inputs), default=0)
        elif node in kept:
            again = 1 + max((depth.get(i, _DEPTH) for i in node.inputs), default=_DEPTH)
            light = isinstance(node.op, Elementwise) and not isinstance(node.op, Unary)
            if node not in computed and light and again <= _DEPTH:
                depth[node] = again
            else:
                saved.append(node)
    return saved


def detached(outputs: Sequence[Node], at: Mapping[Node, Node]) -> list[Node]:
    """Return the Nodes `outputs` computed from other Nodes in the place of some."""
    new: dict[Node, Node] = dict(at)
    stack = [n for n in outputs if n not in new]
    while stack:
        node = stack[-1]
        missing = [i for i in node.inputs if i not in new]
        stack += missing
        if missing:
            continue
        stack.pop()
        if node in new:
            continue
        inputs = tuple(new[i] for i in node.inputs)
        same = all(a is b for a, b in zip(inputs, node.inputs, strict=True))
        new[node] = node if same else make_node(node.op, inputs, node.type, node.source)
    return [new[n] for n in outputs]


class Tape(NamedTuple):
    """How gradients go through a replay.

    Args:
        name: of the function.
        backward: computes them; None where there are none.
        inputs: for each input of it: an input of the function, an output of it, or a cotangent.
        ends: for each gradient, the source it belongs to.
        types: of the results whose cotangents it takes.
        results: types of the gradients.
        turned: for each of those cotangents, whether it is taken as a storage has it.
        seen: for each gradient, whether it is computed so.
        numbers: for each result on the tape, its number among those, or why it has none.
        read: the sources whose values it reads.
    """

    name: str
    backward: Program | None
    inputs: Sequence[tuple[str, int]]
    ends: Sequence[int]
    types: Sequence[TensorType]
    results: Sequence[TensorType]
    turned: Sequence[bool]
    seen: Sequence[bool]
    numbers: Sequence[int | str]
    read: Sequence[int]

    def run(self, saved: Sequence[Node], cotangents: Sequence[Node]) -> Sequence[Node | None]:
        """Return the gradients: `saved` holds what `inputs` names besides cotangents."""
        if self.backward is None:
            return []
        rest = iter(saved)
        given = [cotangents[i] if kind == "cotangent" else next(rest) for kind, i in self.inputs]
        found = input_nodes(self.results, self.backward.run(given))
        return [seen_of(n) if seen else n for n, seen in zip(found, self.seen, strict=True)]

    def steps(self, sources: Sequence[Tensor], saved: Sequence[Node]) -> list[Edge]:
        """Return where the results of a replay stand on the tape.

        Args:
            sources: its Tensors.
            saved: the inputs and outputs that the backward pass reads.
        """
        edges = tuple(edge_of(sources[s]) for s in self.ends)
        versions = [(sources[s]._storage, sources[s]._storage.version) for s in self.read]
        step = CompiledStep(self, edges, saved, versions, here())
        return [
            FreedStep(n) if isinstance(n, str) else (step, n) if n else step for n in self.numbers
        ]


@final
class CompiledStep(CallStep):
    """The step of a replayed function, from cotangents of its results to those of its sources.

    Args:
        tape: how they go through.
        edges: where the cotangents go.
        saved: what the backward pass reads.
        versions: storages that it reads, and their versions.
        source: the user's line that called the function.
    """

    __slots__ = ("saved", "tape", "versions")

    def __init__(
        self,
        tape: Tape,
        edges: tuple[Edge, ...],
        saved: Sequence[Node],
        versions: Sequence[tuple[Storage, int]],
        source: Source | None,
    ) -> None:
        super().__init__(edges, source, len(tape.types))
        self.tape = tape
        self.saved: Sequence[Node] | None = saved
        self.versions = versions

    def name(self) -> str:
        return f"Compiled{self.tape.name}Backward"

    def apply(
        self, b: Builder, cotangents: list[Node | None], tape: dict[Node, Edge] | None
    ) -> Sequence[Node | None]:
        where = f"\n  recorded at {describe(self.source)}"
        if self.saved is None:
            raise GradientError(FREED.format(name=self.name()) + where)
        if tape is not None:
            raise GradientError(
                f"{self.name()}: a gradient through a compiled function cannot be differentiated "
                "again. Call the function itself, without tw.compile, where create_graph=True"
                + where
            )
        for storage, version in self.versions:
            if storage.version != version:
                raise GradientError(
                    "one of the variables needed for gradient computation has been modified by an "
                    f"inplace operation: a Tensor that {self.name()} reads is at version "
                    f"{storage.version}; expected version {version} instead" + where
                )
        capture = STATE.now.capture
        if capture is not None:
            capture.observed("a backward pass goes through a function that is compiled itself")
        passed = self.tape
        given = [
            zeros(type) if ct is None else stored_of(ct) if turned else ct
            for ct, type, turned in zip(cotangents, passed.types, passed.turned, strict=True)
        ]
        evaluate(given)
        return passed.run(self.saved, given)

    def release(self) -> None:
        self.saved = None
        self.versions = ()

    @property
    def released(self) -> bool:
        return self.saved is None


def zeros(type: TensorType) -> Node:
    """Return a known Node of zeros."""
    return input_node(type, Buffer.of(np.zeros(type.shape, type.dtype.storage)))


@final
class FreedStep(GradFn):
    """The step of a result whose gradient the function has taken itself.

    Args:
        message: what passing through raises.
    """

    __slots__ = ("message",)

    def __init__(self, message: str) -> None:
        super().__init__()
        self.message = message

    def apply(
        self, b: Builder, cotangents: list[Node | None], tape: dict[Node, Edge] | None
    ) -> Sequence[Node | None]:
        raise GradientError(self.message)

    @property
    def released(self) -> bool:
        return True
