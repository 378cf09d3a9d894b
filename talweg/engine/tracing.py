"""Tracing: a line for whatever costs time, and why (`TALWEG_TRACE=1`); and `no_sync`."""

from __future__ import annotations

import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, TextIO, final

from talweg.base.errors import ObservationError
from talweg.base.source import Source, describe, where
from talweg.engine.units import bytes_text, time_text
from talweg.engine.watch import KernelMade, Observation, Watcher
from talweg.ir.node import Graph

if TYPE_CHECKING:
    from talweg.engine.program import Program
    from talweg.loops.nest import LoopNest


@final
class Tracer(Watcher):
    """Writes a line for every observation, kernel and Plan, with the user's line that led to it.

    Args:
        stream: where to; stderr of the moment unless given.
    """

    def __init__(self, stream: TextIO | None = None) -> None:
        self._stream = stream
        self._running = threading.local()
        self._structures: set[object] = set()
        self._nests: set[LoopNest] = set()

    def _tell(self, text: str, source: Source | None = None) -> None:
        source = source or getattr(self._running, "source", None)
        print(f"talweg: {where(source)}: {text}", file=self._stream or sys.stderr)

    def observing(self, seen: Observation, graph: Graph) -> None:
        self._running.source = seen.source
        _, _, text = describe(seen.source).partition(f"{where(seen.source)}: ")
        line = f"  # {text}" if text else ""
        self._tell(f"{seen.cause} computes {_ops(graph)}{line}", seen.source)

    def interpreted(self, graph: Graph, start: int, spent: int) -> None:
        self._tell(f"{_ops(graph)} by the references, not compiled, in {time_text(spent)}")

    def kernel(self, made: KernelMade) -> None:
        if made.how == "reused":
            return
        known = made.nest in self._nests
        self._nests.add(made.nest)
        why = "new process: an earlier one has compiled it"
        if made.how == "compiled":
            why = "known structure, new schedule for these sizes" if known else "new structure"
        self._tell(f"kernel {made.nest.name} {made.how} in {time_text(made.spent)}: {why}")

    def planned(self, graph: Graph, program: Program, start: int, spent: int) -> None:
        plan, structure = program.plan, structure_of(graph)
        why = "new shapes" if structure in self._structures else "new structure"
        self._structures.add(structure)
        self._tell(
            f"plan of {_ops(graph)} in {len(plan.launches)} kernels, arena "
            f"{bytes_text(plan.arena)}, in {time_text(spent)}: {why}"
        )


def _ops(graph: Graph) -> str:
    count = len(graph.order)
    return f"{count} op" if count == 1 else f"{count} ops"


def structure_of(graph: Graph) -> object:
    """Return what graphs share that differ in sizes and other attributes only."""
    number = {n: i for i, n in enumerate(graph.inputs)}
    rows: list[object] = [len(number)]
    for node in graph.order:
        rows.append((type(node.op), *(number[i] for i in node.inputs)))
        number[node] = len(number)
    return (*rows, *(number[o] for o in graph.outputs))


@final
class _Guard(Watcher):
    def __init__(self) -> None:
        self._thread = threading.get_ident()

    def observing(self, seen: Observation, graph: Graph) -> None:
        if not seen.barrier and threading.get_ident() == self._thread:
            raise ObservationError(
                f"{seen.cause} looks at a value under no_sync: {_ops(graph)} would be computed, "
                f"and the program wait for them\n  at {describe(seen.source)}"
            )


@contextmanager
def no_sync() -> Iterator[None]:
    """Raise where the program looks at a value that is not computed yet; context or decorator.

    `item()`, `print`, `if` on a Tensor and the like cut what is recorded into pieces that are
    computed one by one; in a loop that is to run fast they are best found before they are timed.
    The natural barriers (an optimizer's `step()`, too much that is pending) are not meant, nor
    values that are known.

    Raises:
        ObservationError: inside, naming what looked and the line.

    Example:
        >>> import talweg as tw
        >>> with tw.no_sync():
        ...     x = tw.ones(3) * 2
        ...     try:
        ...         x.tolist()
        ...     except tw.TalwegError as error:
        ...         print(str(error).partition(":")[0])
        tolist() looks at a value under no_sync
        >>> x.tolist()
        [2.0, 2.0, 2.0]
    """
    with _Guard():
        yield
