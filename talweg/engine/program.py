"""Programs: Plans whose kernels are compiled, ready to run on values."""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterable, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol, final

import numpy as np

from talweg.base import dtypes
from talweg.base.open import Open, Unfit
from talweg.engine.scalars import format_of
from talweg.engine.watch import WATCHERS, now, run_part, tell_called
from talweg.engine.workers import pool
from talweg.ir.interpret import run as run_reference
from talweg.ir.node import Node
from talweg.ir.types import TensorType
from talweg.passes.donation import Donation
from talweg.passes.places import ARENA, INPUT, OUTPUT, HostCall, Place
from talweg.runtime import executor
from talweg.runtime.buffer import Buffer, address_of
from talweg.runtime.executor import Executor
from talweg.runtime.jit import Kernel

if TYPE_CHECKING:
    from talweg.passes.plan import Plan


class Outline(Protocol):
    """What running a Plan needs of it beside its steps; `passes.plan.Plan` has the same."""

    @property
    def arena(self) -> int:
        """Bytes of memory for intermediate values."""

    @property
    def inputs(self) -> tuple[TensorType, ...]:
        """Types of the inputs."""

    @property
    def buffers(self) -> tuple[TensorType, ...]:
        """Types of the outputs that must be allocated."""

    @property
    def results(self) -> tuple[Place, ...]:
        """Where the value of each output of the Graph is found."""

    @property
    def donation(self) -> Donation:
        """Which outputs may lie in the memory of which inputs."""


class Copied(NamedTuple):
    """A copy of operands that the first stage of a kernel has made before a Program runs.

    Args:
        input: the number of the Plan's input that holds it.
        reads: the numbers of the kernel's buffers that it is made of.
        key: equal for copies that hold the same where their operands do.
    """

    input: int
    reads: tuple[int, ...]
    key: str


class Shared(NamedTuple):
    """A copy of operands that several launches of a Program read.

    Args:
        at: where it lies in the arena.
        made: whether an earlier launch has made it.
    """

    at: int
    made: bool


class Launched(NamedTuple):
    """A kernel with its operands.

    Args:
        kernel: loaded.
        places: of its buffers.
        values: of the nest's arguments.
        label: the `passes.plan.Launch`, or what stands for it.
        sizes: what `Kernel.sizes` says, where that is known.
        copied: the copy that its first stage has made, which is not run then.
        shared: the copy that its first stage makes for other launches too.
    """

    kernel: Kernel
    places: Sequence[Place]
    values: Sequence[Any]
    label: Any
    sizes: tuple[int, ...] | None = None
    copied: Copied | None = None
    shared: Shared | None = None


class Sized(NamedTuple):
    """A kernel whose work may depend on numbers that are open.

    Args:
        kernel: which one.
        values: of the nest's arguments.
        told: what the kernel says of them.
    """

    kernel: Kernel
    values: Sequence[Any]
    told: tuple[int, ...]

    def check(self, numbers: Sequence[int]) -> None:
        """Raise Unfit where it says something else with these numbers."""
        given = [numbers[v.place] if v.__class__ is Open else v for v in self.values]
        if self.kernel.told(given) != self.told:
            raise Unfit


@final
class Program:
    """A Plan with its kernels and memory.

    Args:
        outline: the Plan, or as much of it as was kept.
        steps: its steps, with the kernels.
        scalars: for each input, whether it is given as a number.
        plan: returns the Plan.
        numbers: how many numbers of its arguments are open: each run is given others.

    Attributes:
        outline: as given.
        parts: what is run in turn: an Executor for the launches up to the next host call.
        copied: the launches whose first stage was run before.
        shared: those that share a copy.
        sized: those whose work may depend on numbers that are open.
    """

    def __init__(
        self,
        outline: Outline,
        steps: Sequence[Launched | HostCall],
        scalars: Sequence[bool],
        plan: Callable[[], Plan],
        numbers: int = 0,
    ) -> None:
        self.outline, self._plan, self.numbers = outline, plan, numbers
        self.scalars = tuple(scalars)
        self._packer = struct.Struct(
            "=" + "".join(format_of(t) for t, s in zip(outline.inputs, scalars, strict=True) if s)
        )
        self._hosted = any(isinstance(s, HostCall) for s in steps)
        self._slots: list[tuple[str, int]] = []
        counts = {"input": 0, "scalar": 0}
        for scalar in self.scalars:
            kind = "scalar" if scalar else "input"
            self._slots.append((kind, counts[kind]))
            counts[kind] += 1
        self._addresses = counts["input"]
        self.copied = [s for s in steps if isinstance(s, Launched) and s.copied is not None]
        self.shared = [s for s in steps if isinstance(s, Launched) and s.shared is not None]
        self.sized: list[Sized] = []
        self.parts: list[Executor | HostCall] = list(self._parts(steps))

    @property
    def plan(self) -> Plan:
        """The Plan; it is made again where only its outline was kept."""
        return self._plan()

    @property
    def whole(self) -> bool:
        """Whether no host call comes between the launches: one foreign call runs them all."""
        return not self._hosted

    @property
    def sole_executor(self) -> Executor | None:
        """What runs a whole Program; None where nothing is launched."""
        return next((p for p in self.parts if isinstance(p, Executor)), None)

    @property
    def launches(self) -> int:
        """How many kernels it runs."""
        return sum(len(p.launches) for p in self.parts if isinstance(p, Executor))

    def pack(self, *numbers: Any) -> bytes:
        """Return the inputs that are numbers in the form that an Executor takes."""
        return self._packer.pack(*numbers)

    def _parts(self, steps: Iterable[Launched | HostCall]) -> Iterable[Executor | HostCall]:
        launches: list[executor.Launch] = []
        for step in steps:
            if isinstance(step, Launched):
                launches.append(self._launch(*step))
                continue
            if launches:
                yield self._executor(launches)
                launches = []
            yield step
        if launches:
            yield self._executor(launches)

    def _launch(
        self,
        kernel: Kernel,
        places: Sequence[Place],
        values: Sequence[Any],
        label: Any,
        sizes: tuple[int, ...] | None,
        copied: Copied | None,
        shared: Shared | None,
    ) -> executor.Launch:
        here = [self._place(p) for p in places]
        given: Sequence[tuple[int, int]] = ()
        if self.numbers:
            first = self._addresses + self._hosted
            given = [(slot, first + place) for slot, place in kernel.open_slots(values)]
            if kernel.is_sized_by(values):
                self.sized.append(Sized(kernel, values, kernel.told(values)))
        if copied is not None:
            found, made = Place(INPUT, copied.input), True
        elif shared is not None:
            found, made = Place(ARENA, shared.at), shared.made
        else:
            return executor.Launch(kernel, here, values, label, sizes, given=given)
        stages = slice(1 if made else 0, None)
        at = self._place(found)
        return executor.Launch(kernel, here, values, label, sizes, at, stages, given)

    def _executor(self, launches: Sequence[executor.Launch]) -> Executor:
        arena = 0 if self._hosted else self.outline.arena
        inputs = self._addresses + self._hosted + self.numbers
        count = sum(self.scalars)
        return Executor(pool(), launches, arena, inputs, count, len(self.outline.buffers))

    def _place(self, place: Place) -> executor.Place:
        if place.kind == ARENA:
            if self._hosted:  # the arena must outlive each part: it is given as the last input
                return executor.Place("input", self._addresses, place.at)
            return executor.Place("arena", 0, place.at)
        if place.kind == OUTPUT:
            return executor.Place("output", place.at, place.offset)
        kind, number = self._slots[place.at]
        return executor.Place("scalar" if kind == "scalar" else "input", number, place.offset)

    def run(self, inputs: Sequence[Node], numbers: Sequence[int] = ()) -> list[Any]:
        """Return what `Node.value` of each output becomes.

        Args:
            inputs: Nodes whose values are known.
            numbers: those that are open.

        Raises:
            IndexOutOfRange: when a check of a kernel fails.
            Unfit: when the Plan does not serve these numbers.
        """
        for one in self.sized:
            one.check(numbers)
        kept: list[Any] = []
        addresses: list[int] = []
        given: list[Any] = []
        for node, scalar in zip(inputs, self.scalars, strict=True):
            value = node.value
            if scalar:
                given.append(value)
            elif value.__class__ is Buffer:
                addresses.append(value.address)
            else:
                array = node.array
                assert array is not None
                if not array.flags.c_contiguous:
                    array = np.ascontiguousarray(array)
                    kept.append(array)
                addresses.append(address_of(array))
        buffers = [Buffer(t.nbytes) for t in self.outline.buffers]
        if self._hosted:
            kept.append(Buffer(self.outline.arena))
            addresses.append(kept[-1].address)
        addresses += numbers
        scalars = self._packer.pack(*given)
        outputs = [b.address for b in buffers]
        for part in self.parts:
            if isinstance(part, HostCall):
                start = now() if WATCHERS else 0
                self._call_host(part, inputs, buffers, kept)
                if WATCHERS:
                    tell_called(part.node, start)
            elif WATCHERS:
                run_part(self, part, addresses, scalars, buffers)
            else:
                part.run(addresses, scalars, outputs)
        return [
            self._alias(inputs[p.at]) if p.kind == INPUT else buffers[p.at]
            for p in self.outline.results
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
                arena = kept[-1].array(np.uint8, (self.outline.arena,))
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
