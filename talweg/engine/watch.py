"""Watching evaluation: tracing, profiling, explaining and checking see the same few events.

While nobody watches, each place where an event is told costs one look at an empty list.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, Literal, Self, TypeAlias, final

from talweg.base.frozen import frozen
from talweg.base.source import Source, entered
from talweg.engine.state import CONFIG

if TYPE_CHECKING:
    from talweg.engine.program import Program
    from talweg.ir.node import Graph, Node
    from talweg.loops.nest import LoopNest
    from talweg.passes.plan import Launch
    from talweg.runtime.buffer import Buffer
    from talweg.runtime.executor import Executor
    from talweg.schedule.choose import Schedule

How: TypeAlias = Literal["compiled", "loaded", "reused"]


@final
@frozen
class Observation:
    """Why values are computed, and where in the user's program.

    Attributes:
        cause: what asks for them, such as `item()` or `SGD.step()`.
        source: the user's line.
        barrier: whether nobody looks at a value: an optimizer steps, or too much waits.
    """

    cause: str
    source: Source | None
    barrier: bool


@final
@frozen
class KernelMade:
    """A kernel that a Program asked for.

    Attributes:
        nest: what it computes.
        schedule: how.
        how: whether LLVM made it, the cache folder had it, or this process.
        start: when that began, by `time.perf_counter_ns`.
        spent: nanoseconds; an equal share for each of those that were made together.
    """

    nest: LoopNest
    schedule: Schedule
    how: How
    start: int
    spent: int


class Watcher:
    """Somebody who watches, from entering it as a context until leaving it, in all threads.

    Attributes:
        stepwise: whether plans are to be run launch by launch, which is slower.
    """

    stepwise = False

    def __enter__(self) -> Self:
        WATCHERS.append(self)
        return self

    def __exit__(self, *_: object) -> None:
        WATCHERS.remove(self)

    def wants(self, key: object) -> bool:
        """Whether the Graph of this structure is to be planned anew, and not by the references."""
        return False

    def observing(self, seen: Observation, graph: Graph) -> None:
        """A Graph is about to be computed."""

    def observed(self, seen: Observation, graph: Graph, start: int, spent: int) -> None:
        """A Graph was computed. Times are of `now`."""

    def interpreted(self, graph: Graph, start: int, spent: int) -> None:
        """A Graph was run by the references."""

    def planned(self, graph: Graph, program: Program, start: int, spent: int) -> None:
        """A Graph was planned, and its kernels made."""

    def kernel(self, made: KernelMade) -> None:
        """A Program asked for a kernel."""

    def running(self, program: Program) -> None:
        """A Program is about to run."""

    def launching(self, launch: Launch, operands: Sequence[int]) -> Any:
        """A kernel is about to run on operands at these addresses; what is returned is a note."""

    def launched(
        self, launch: Launch, operands: Sequence[int], note: Any, start: int, spent: int
    ) -> None:
        """A kernel has run; `spent` leaves out what a call costs that runs nothing."""

    def called(self, node: Node, start: int, spent: int) -> None:
        """A function of the host was called between kernels, for this Node."""

    def ran(self, run: Callable[[], None], outputs: Sequence[Buffer]) -> None:
        """Kernels have run one by one; `run()` runs them all again, as is done otherwise."""


WATCHERS: list[Watcher] = []


def now() -> int:
    """Return the time in nanoseconds, from an arbitrary beginning."""
    return time.perf_counter_ns()


def observe(run: Callable[[Graph], list[Any]], graph: Graph) -> list[Any]:
    """Run a Graph, telling why."""
    seen, start = _observation(), now()
    for watcher in tuple(WATCHERS):
        watcher.observing(seen, graph)
    found = run(graph)
    spent = now() - start
    for watcher in tuple(WATCHERS):
        watcher.observed(seen, graph, start, spent)
    return found


def interpreting(run: Callable[[Graph], list[Any]], graph: Graph) -> list[Any]:
    """Run a Graph by the references, telling so."""
    start = now()
    found = run(graph)
    spent = now() - start
    for watcher in tuple(WATCHERS):
        watcher.interpreted(graph, start, spent)
    return found


def wanted_anew(key: object) -> bool:
    """Whether a watcher wants the Graph of this structure to be planned anew."""
    return any(watcher.wants(key) for watcher in tuple(WATCHERS))


def tell_kernel(nest: LoopNest, schedule: Schedule, how: How, start: int, spent: int) -> None:
    """Tell that a kernel was made."""
    for watcher in tuple(WATCHERS):
        watcher.kernel(KernelMade(nest, schedule, how, start, spent))


def run_part(
    program: Program,
    part: Executor,
    inputs: Sequence[int],
    scalars: bytes,
    outputs: Sequence[Buffer],
) -> None:
    """Run kernels of a Program, launch by launch where somebody wants to see each."""
    watchers = tuple(WATCHERS)
    if part is next(p for p in program.parts if p.__class__ is part.__class__):
        for watcher in watchers:
            watcher.running(program)
    addresses = [b.address for b in outputs]

    def run() -> None:
        part.run(inputs, scalars, addresses)

    if not any(watcher.stepwise for watcher in watchers):
        run()
        return
    for step in part.steps(inputs, scalars, addresses):
        launch: Any = step.launch.label
        notes = [watcher.launching(launch, step.addresses) for watcher in watchers]
        start = now()
        spent = step.run()
        for watcher, note in zip(watchers, notes, strict=True):
            watcher.launched(launch, step.addresses, note, start, spent)
    if len(program.parts) > 1 or not set(addresses).isdisjoint(inputs):
        return  # a part may have written over what it read: it runs once
    for watcher in watchers:
        watcher.ran(run, outputs)


def tell_called(node: Node, start: int) -> None:
    """Tell that a function of the host was called, and has returned now."""
    spent = now() - start
    for watcher in tuple(WATCHERS):
        watcher.called(node, start, spent)


_TITLES = {
    "as_complex": "complex()",
    "as_float": "float()",
    "as_index": "index()",
    "as_int": "int()",
    "contains": "in",
    "formatted": "format()",
    "getitem": "indexing",
    "setitem": "indexing",
    "reduce": "pickle",
    "text": "print or repr",
    "to_array": "conversion to a NumPy array",
    "truth": "bool() or if",
}
_MECHANISM = frozenset(
    ("observe", "run", "compute", "compute_trace", "evaluate", "flush", "concrete", "values")
)


def _observation() -> Observation:
    names, source = entered()
    plain = [name.rpartition(".")[2] for name in names]
    if "overdue" in plain:
        why = "TALWEG_SYNC=1" if CONFIG.sync else "too much is pending"
        return Observation(why, source, True)
    barrier = "flush" in plain and "evaluate" not in plain[plain.index("flush") + 1 :]
    asked = [n for n in names if n not in _MECHANISM and "<locals>" not in n and n[0] != "_"]
    if not asked:
        return Observation("evaluation", source, barrier)
    first, last = asked[0], asked[-1]
    cause = _TITLES.get(last) or (f"{first}()" if first == last else f"{first}() in {last}()")
    return Observation(cause, source, barrier)
