"""Programs: Plans whose kernels are compiled, ready to run on values."""

from __future__ import annotations

import struct
from collections.abc import Iterable, Sequence
from typing import Any, final

import numpy as np

from talweg.base import dtypes
from talweg.engine.counters import count
from talweg.engine.kernels import kernels_of, pool
from talweg.engine.once import run_once
from talweg.engine.scalars import format_of
from talweg.engine.state import CONFIG
from talweg.engine.watch import WATCHERS, now, run_part
from talweg.ir.interpret import run as run_reference
from talweg.ir.node import Graph, Node, input_node, make_node
from talweg.ir.types import TensorType
from talweg.passes.apart import is_small, plan_graph
from talweg.passes.plan import ARENA, INPUT, OUTPUT, HostCall, Launch, Place, Plan, Step
from talweg.runtime import executor
from talweg.runtime.buffer import Buffer, address_of
from talweg.runtime.executor import Executor


def build(graph: Graph, scalars: Sequence[bool]) -> Program:
    """Return the Program of a Graph: planned, and its kernels made.

    Args:
        graph: the Program keeps nothing of it that holds a value.
        scalars: for each input, whether it is given as a number.
    """
    start = now()
    program = Program(plan_graph(without_values(graph), CONFIG.check), scalars)
    count(plans=1)
    for watcher in tuple(WATCHERS):
        watcher.planned(graph, program, start, now() - start)
    return program


def without_values(graph: Graph) -> Graph:
    """Return the Graph anew, made of Nodes that hold no value."""
    made = {node: input_node(node.type) for node in graph.inputs}
    for node in graph.order:
        inputs = tuple(made[i] for i in node.inputs)
        made[node] = make_node(node.op, inputs, node.type, node.source)
    return Graph([made[i] for i in graph.inputs], [made[o] for o in graph.outputs])


def is_once(graph: Graph) -> bool:
    """Whether a Graph that comes for the first time is run by `Once`."""
    return is_small(graph)


@final
class Once:
    """A small Graph that is run when it comes for the first time, and then forgotten.

    Args:
        graph: its inputs are known.
        scalars: for each input, whether it is given as a number.
    """

    def __init__(self, graph: Graph, scalars: Sequence[bool]) -> None:
        self.graph = graph
        self.scalars = scalars

    def run(self, inputs: Sequence[Node]) -> list[Any]:
        """Return what `Node.value` of each output becomes; `inputs` are those of the Graph.

        Raises:
            IndexOutOfRange: when a check of a kernel fails.
        """
        return run_once(self.graph, self.scalars)


@final
class Program:
    """A Plan with its kernels and memory.

    Args:
        plan: the steps.
        scalars: for each input, whether it is given as a number.

    Attributes:
        plan: as given.
        parts: what is run in turn: an Executor for the launches up to the next host call.
    """

    def __init__(self, plan: Plan, scalars: Sequence[bool]) -> None:
        self.plan = plan
        self.scalars = tuple(scalars)
        self._packer = struct.Struct(
            "=" + "".join(format_of(t) for t, s in zip(plan.inputs, scalars, strict=True) if s)
        )
        self._hosted = any(isinstance(s, HostCall) for s in plan.steps)
        self._slots: list[tuple[str, int]] = []
        counts = {"input": 0, "scalar": 0}
        for scalar in self.scalars:
            kind = "scalar" if scalar else "input"
            self._slots.append((kind, counts[kind]))
            counts[kind] += 1
        self._addresses = counts["input"]
        self.parts: list[Executor | HostCall] = list(self._parts(plan.steps))

    @property
    def whole(self) -> bool:
        """Whether no host call comes between the launches: one foreign call runs them all."""
        return not self._hosted

    @property
    def sole_executor(self) -> Executor | None:
        """What runs a whole Program; None where nothing is launched."""
        return next((p for p in self.parts if isinstance(p, Executor)), None)

    def pack(self, *numbers: Any) -> bytes:
        """Return the inputs that are numbers in the form that an Executor takes."""
        return self._packer.pack(*numbers)

    def _parts(self, steps: Sequence[Step]) -> Iterable[Executor | HostCall]:
        launches: list[executor.Launch] = []
        kernels = iter(kernels_of([(s.nest, s.values) for s in steps if isinstance(s, Launch)]))
        for step in steps:
            if isinstance(step, Launch):
                places = [self._place(p) for p in step.places]
                launches.append(executor.Launch(next(kernels), places, step.values, step))
                continue
            if launches:
                yield self._executor(launches)
                launches = []
            yield step
        if launches:
            yield self._executor(launches)

    def _executor(self, launches: Sequence[executor.Launch]) -> Executor:
        arena = 0 if self._hosted else self.plan.arena
        inputs = self._addresses + self._hosted
        count = sum(self.scalars)
        return Executor(pool(), launches, arena, inputs, count, len(self.plan.buffers))

    def _place(self, place: Place) -> executor.Place:
        if place.kind == ARENA:
            if self._hosted:  # the arena must outlive each part: it is given as the last input
                return executor.Place("input", self._addresses, place.at)
            return executor.Place("arena", 0, place.at)
        if place.kind == OUTPUT:
            return executor.Place("output", place.at)
        kind, number = self._slots[place.at]
        return executor.Place("scalar" if kind == "scalar" else "input", number)

    def run(self, inputs: Sequence[Node]) -> list[Any]:
        """Return what `Node.value` of each output becomes.

        Args:
            inputs: Nodes whose values are known.

        Raises:
            IndexOutOfRange: when a check of a kernel fails.
        """
        kept: list[Any] = []
        addresses: list[int] = []
        numbers: list[Any] = []
        for node, scalar in zip(inputs, self.scalars, strict=True):
            value = node.value
            if scalar:
                numbers.append(value)
            elif value.__class__ is Buffer:
                addresses.append(value.address)
            else:
                array = node.array
                assert array is not None
                if not array.flags.c_contiguous:
                    array = np.ascontiguousarray(array)
                    kept.append(array)
                addresses.append(address_of(array))
        buffers = [Buffer(t.nbytes) for t in self.plan.buffers]
        if self._hosted:
            kept.append(Buffer(self.plan.arena))
            addresses.append(kept[-1].address)
        scalars = self._packer.pack(*numbers)
        outputs = [b.address for b in buffers]
        for part in self.parts:
            if isinstance(part, HostCall):
                self._call_host(part, inputs, buffers, kept)
            elif WATCHERS:
                run_part(self, part, addresses, scalars, buffers)
            else:
                part.run(addresses, scalars, outputs)
        return [
            self._alias(inputs[p.at]) if p.kind == INPUT else buffers[p.at]
            for p in self.plan.results
        ]

    def _alias(self, node: Node) -> Any:
        value = node.value
        return value if value.__class__ is Buffer else Buffer.of(np.ascontiguousarray(node.array))

    def _call_host(
        self, step: HostCall, inputs: Sequence[Node], buffers: Sequence[Buffer], kept: list[Any]
    ) -> None:
        def array(place: Place, type: TensorType) -> np.ndarray:
            storage = type.dtype.storage
            if place.kind == ARENA:
                arena = kept[-1].array(np.uint8, (self.plan.arena,))
                return np.ndarray(type.shape, storage, arena, place.at)
            if place.kind == OUTPUT:
                return buffers[place.at].array(storage, type.shape)
            found = inputs[place.at].array
            assert found is not None
            return found.reshape(type.shape)

        operands = [
            dtypes.decode(array(p, t), t.dtype)
            for p, t in zip(step.places, step.types, strict=True)
        ]
        found = run_reference(step.node, operands)
        several = found if isinstance(found, tuple) else (found,)
        for result, place, type in zip(several, step.targets, step.results, strict=True):
            array(place, type)[...] = dtypes.encode(result, type.dtype)
