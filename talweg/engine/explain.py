"""What the compiler made of a function: `explain`."""

from __future__ import annotations

import itertools
import threading
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any, final

from talweg.base.errors import GraphError
from talweg.base.source import describe, where
from talweg.engine.barrier import flush
from talweg.engine.pages import explanation_page
from talweg.engine.program import Program
from talweg.engine.report import aligned
from talweg.engine.schedules import schedule_of
from talweg.engine.stored import without_values
from talweg.engine.tensor import Tensor, concrete
from talweg.engine.units import bytes_text, count_text, time_text
from talweg.engine.watch import KernelMade, Observation, Watcher
from talweg.ir.node import Graph, Node
from talweg.ir.types import TensorType
from talweg.loops.text import format_nest
from talweg.passes.apart import plan_graph
from talweg.passes.places import ARENA, HostCall, Place
from talweg.passes.plan import Launch, Plan
from talweg.runtime.executor import Executor
from talweg.schedule.choose import Schedule


@final
@dataclass(frozen=True, eq=False)
class KernelReport:
    """One kernel of a plan.

    Attributes:
        number: of the step.
        launch: the step.
        made: how the process came by the kernel; None where it was made before.
        scratch: bytes of memory for each thread that runs it.
        shared: bytes of memory for all of them.
        stages: of each stage, how many items of work it has and how many a thread takes at least.
    """

    number: int
    launch: Launch
    made: KernelMade | None
    scratch: int
    shared: int
    stages: tuple[tuple[int, int], ...]

    @property
    def name(self) -> str:
        """What profiles call it."""
        return self.launch.nest.name

    @property
    def how(self) -> str:
        """`compiled`, `loaded` or `reused`."""
        return "reused" if self.made is None else self.made.how

    @property
    def nbytes(self) -> int:
        """Bytes read and written at least: each operand once."""
        return self.launch.nbytes

    @property
    def operations(self) -> int:
        """Arithmetic operations and folds; a multiply-add is two."""
        return self.launch.operations

    @cached_property
    def nodes(self) -> tuple[Node, ...]:
        """The Nodes it computes, views included."""
        return self.launch.graph.order

    @property
    def lines(self) -> tuple[str, ...]:
        """The user's lines that recorded these Nodes, as `file:line: text`."""
        nodes = *self.nodes, *self.launch.nodes
        sources = dict.fromkeys(n.source for n in nodes if n.source is not None)
        return tuple(dict.fromkeys(describe(source) for source in sources))

    @property
    def schedule(self) -> Schedule:
        """How its loops are cut up."""
        return schedule_of(self.launch.nest, self.launch.values)

    @property
    def nest(self) -> str:
        """The text of its loop nest."""
        return format_nest(self.launch.nest)


@final
@dataclass(frozen=True)
class ArenaValue:
    """A value in the arena: where, how large, and from which step to which it lives."""

    node: Node
    offset: int
    nbytes: int
    first: int
    last: int


@final
@dataclass(eq=False)
class Evaluation:
    """What was computed at one place of the program, as often as it was.

    Attributes:
        seen: why, and where.
        graph: what was recorded, without values; None for what `compile` had captured before.
        program: its compiled form; None for what the references computed.
        made: how the process came by the kernels.
        planning: nanoseconds that the passes and the kernels took.
        runs: how often it was computed.
    """

    seen: Observation | None
    graph: Graph | None
    program: Program | None
    made: tuple[KernelMade, ...] = ()
    planning: int = 0
    runs: int = 0

    @property
    def plan(self) -> Plan | None:
        """Its steps."""
        return None if self.program is None else self.program.plan

    @cached_property
    def kernels(self) -> tuple[KernelReport, ...]:
        """The kernels, in the order in which they run."""
        return () if self.program is None else tuple(_kernels(self.program, self.made))

    @cached_property
    def passes(self) -> tuple[tuple[str, str], ...]:
        """The name of every pass, and the text of what it made of the Graph."""
        if self.graph is None or self.program is None:
            return ()
        found: list[tuple[str, str]] = []
        try:
            plan_graph(self.graph, dump=lambda name, text: found.append((name, text)))
        except GraphError as error:  # a host function has no text
            found.append(("text", str(error)))
        return tuple(found)

    @cached_property
    def values(self) -> tuple[ArenaValue, ...]:
        """What lies in the arena."""
        return () if self.plan is None else tuple(_values(self.plan))

    @cached_property
    def flow(self) -> tuple[tuple[int, int, int], ...]:
        """Two steps, and how many bytes the second reads of what the first has written."""
        return () if self.plan is None else tuple(_flow(self.plan))

    @property
    def nbytes(self) -> int:
        """Bytes that all kernels read and write at least."""
        return sum(k.nbytes for k in self.kernels)

    @property
    def operations(self) -> int:
        """Operations of all kernels."""
        return sum(k.operations for k in self.kernels)

    @property
    def arena(self) -> int:
        """Bytes of memory for values between kernels."""
        return 0 if self.plan is None else self.plan.arena

    @property
    def memory(self) -> int:
        """Bytes of memory while it runs: inputs, outputs, arena, and what kernels work in."""
        if self.program is None:
            return 0
        working = [p.memory.arena for p in self.program.parts if isinstance(p, Executor)]
        plan = self.program.plan
        given = sum(t.nbytes for t in (*plan.inputs, *plan.buffers))
        hosted = len(self.program.parts) > 1
        return given + max(working, default=0) + (plan.arena if hosted else 0)

    @property
    def title(self) -> str:
        """Why, and where."""
        if self.seen is None:
            return "captured before"
        return f"{self.seen.cause} at {describe(self.seen.source)}"

    @property
    def summary(self) -> str:
        """One line: Nodes, kernels, bytes, operations, memory."""
        nodes = "captured" if self.graph is None else _counted(len(self.graph.order), "node")
        if self.program is None:
            return f"{nodes} by the references, not compiled"
        hosts = [s.node.op.name() for s in self.program.plan.steps if isinstance(s, HostCall)]
        parts = [
            f"{nodes} -> {_counted(len(self.kernels), 'kernel')}"
            + (f" and {_counted(len(hosts), 'host call')} ({', '.join(hosts)})" if hosts else ""),
            f"{bytes_text(self.nbytes)} read and written",
            f"{count_text(self.operations)} operations",
            f"arena {bytes_text(self.arena)}, memory {bytes_text(self.memory)}",
            _how_often(self.kernels),
            f"planned in {time_text(self.planning)}" if self.planning else "",
        ]
        return ", ".join(filter(None, parts)) + (f"; run {self.runs} times" * (self.runs > 1))

    def __str__(self) -> str:
        head = ("#", "kernel", "made", "bytes", "ops", "ops/B", "items", "schedule", "from")
        rows = [
            (
                str(k.number),
                k.name,
                k.how,
                bytes_text(k.nbytes),
                count_text(k.operations),
                f"{k.operations / max(k.nbytes, 1):.3g}",
                "+".join(str(items) for items, _ in k.stages),
                type(k.schedule).__name__.lower(),
                _short(k.nodes),
            )
            for k in self.kernels
        ]
        return "\n".join([self.title, aligned(head, rows, "llkrrrrll"), self.summary])


def _how_often(kernels: Sequence[KernelReport]) -> str:
    counts = {how: sum(k.how == how for k in kernels) for how in ("compiled", "loaded", "reused")}
    return ", ".join(f"{n} {how}" for how, n in counts.items() if n)


def _counted(count: int, noun: str) -> str:
    return f"{count} {noun}" if count == 1 else f"{count} {noun}s"


def _short(nodes: Sequence[Node]) -> str:
    """The user's lines: the name of the file and numbers."""
    numbers: dict[str, dict[str, None]] = {}
    for source in (n.source for n in nodes):
        if source is not None:
            file, _, line = where(source).rpartition(":")
            numbers.setdefault(Path(file).name, {})[line] = None
    return " ".join(f"{file}:{','.join(lines)}" for file, lines in numbers.items())


def _kernels(program: Program, made: Sequence[KernelMade]) -> Iterator[KernelReport]:
    events: dict[int, list[KernelMade]] = {}
    for event in made:
        events.setdefault(id(event.nest), []).append(event)
    sizes = {
        id(launch.label): launch.kernel.sizes(launch.values)
        for part in program.parts
        if isinstance(part, Executor)
        for launch in part.launches
    }
    for number, step in enumerate(program.plan.steps):
        if isinstance(step, Launch):
            scratch, shared, *work = sizes[id(step)]
            stages = tuple(zip(work[::2], work[1::2], strict=True))
            mine = events.get(id(step.nest))
            yield KernelReport(number, step, mine.pop(0) if mine else None, scratch, shared, stages)


def _operands(step: Launch | HostCall) -> tuple[list[Any], list[Any]]:
    """What a step reads and writes: Node and Place."""
    if isinstance(step, HostCall):
        reads = list(zip(step.node.inputs, step.places, strict=True))
        return reads, [(step.node, p) for p in step.targets]
    rows = list(zip(step.operands, step.places, strict=True))
    count = len(step.nest.inputs)
    return rows[:count], rows[count:]


def _flow(plan: Plan) -> Iterator[tuple[int, int, int]]:
    writer: dict[Place, int] = {}
    for number, step in enumerate(plan.steps):
        reads, writes = _operands(step)
        sizes: dict[int, int] = {}
        for node, place in reads:
            if place in writer:
                sizes[writer[place]] = sizes.get(writer[place], 0) + node.type.nbytes
        yield from ((first, number, size) for first, size in sizes.items())
        writer.update({p: number for _, p in writes})


def _values(plan: Plan) -> Iterator[ArenaValue]:
    there: dict[Place, tuple[Node, int, int]] = {}

    def closed(place: Place) -> Iterator[ArenaValue]:
        if place in there:
            node, first, last = there.pop(place)
            several: Any = node.type
            nbytes = several.nbytes if isinstance(several, TensorType) else 0
            yield ArenaValue(node, place.at, nbytes, first, last)

    for number, step in enumerate(plan.steps):
        reads, writes = _operands(step)
        for _, place in reads:
            if place in there:
                node, first, _ = there[place]
                there[place] = node, first, number
        for node, place in writes:
            if place.kind == ARENA:
                yield from closed(place)
                there[place] = node, number, number
    for place in list(there):
        yield from closed(place)


@final
@dataclass(frozen=True, eq=False)
class Explanation:
    """What the compiler did.

    `print` shows a table of kernels for each evaluation; `html` and `save` a page with pictures.

    Attributes:
        evaluations: in the order in which they first happened.
    """

    evaluations: tuple[Evaluation, ...]

    @property
    def kernels(self) -> tuple[KernelReport, ...]:
        """All kernels."""
        return tuple(itertools.chain.from_iterable(e.kernels for e in self.evaluations))

    @property
    def nbytes(self) -> int:
        """Bytes that all kernels read and write at least, each evaluation counted once."""
        return sum(e.nbytes for e in self.evaluations)

    @property
    def operations(self) -> int:
        """Operations of all kernels, each evaluation counted once."""
        return sum(e.operations for e in self.evaluations)

    @property
    def summary(self) -> str:
        """One line."""
        count = len(self.evaluations)
        if not count:
            return "nothing was computed"
        return (
            f"{_counted(count, 'evaluation')}, {_counted(len(self.kernels), 'kernel')}, "
            f"{bytes_text(self.nbytes)} read and written, {count_text(self.operations)} operations"
        )

    def __str__(self) -> str:
        if len(self.evaluations) == 1:
            return str(self.evaluations[0])
        return "\n\n".join([*map(str, self.evaluations), self.summary])

    __repr__ = __str__

    def html(self, title: str = "talweg: what the compiler did") -> str:
        """Return a page that needs nothing beside itself."""
        return explanation_page(title, self)

    _repr_html_ = html

    def save(self, path: str | Path) -> None:
        """Write the page to a file."""
        Path(path).write_text(self.html(), encoding="utf-8")


@final
@dataclass(eq=False)
class Explainer(Watcher):
    """Collects what the compiler does in this thread: every graph is planned anew, once."""

    evaluations: list[Evaluation] = field(default_factory=list)
    thread: int = field(default_factory=threading.get_ident)
    _keys: set[object] = field(default_factory=set)
    _made: list[KernelMade] = field(default_factory=list)
    _seen: Observation | None = None

    @property
    def explanation(self) -> Explanation:
        """What was seen so far."""
        return Explanation(tuple(self.evaluations))

    def _here(self) -> bool:
        return threading.get_ident() == self.thread

    def wants(self, key: object) -> bool:
        if not self._here() or key in self._keys:
            return False
        self._keys.add(key)
        return True

    def observing(self, seen: Observation, graph: Graph) -> None:
        if self._here():
            self._seen = seen

    def kernel(self, made: KernelMade) -> None:
        if self._here():
            self._made.append(made)

    def planned(self, graph: Graph, program: Program, start: int, spent: int) -> None:
        if self._here():
            made, self._made = tuple(self._made), []
            bare = without_values(graph)
            self.evaluations.append(Evaluation(self._seen, bare, program, made, spent))

    def interpreted(self, graph: Graph, start: int, spent: int) -> None:
        if self._here():
            self.evaluations.append(Evaluation(self._seen, without_values(graph), None, runs=1))

    def running(self, program: Program) -> None:
        if not self._here():
            return
        for evaluation in self.evaluations:
            if evaluation.program is program:
                evaluation.runs += 1
                return
        self.evaluations.append(Evaluation(None, None, program, runs=1))


def explain(function: Callable[..., Any], *args: Any, **kwargs: Any) -> Explanation:
    """Call a function and return what the compiler made of it.

    Whatever the function computes is planned anew, and compiled at first sight; kernels that the
    process has, or the cache folder, are used. What the function returns is computed too.

    Args:
        function: called once, with the other arguments.

    Raises:
        Whatever the function raises.

    Example:
        >>> import talweg as tw
        >>> def f(x):
        ...     return (x.exp() * 2).sum()
        >>> found = tw.explain(f, tw.rand(300, 200))
        >>> [(k.nbytes, k.operations) for k in found.kernels]
        [(240008, 180000)]
    """
    flush()
    with Explainer() as explainer:
        result = function(*args, **kwargs)
        flush()
        for tensor in tensors_in(result):
            concrete(tensor)
    return explainer.explanation


def tensors_in(value: Any) -> Iterator[Tensor]:
    """Yield the Tensors of nested tuples, lists and dicts."""
    if isinstance(value, Tensor):
        yield value
    elif isinstance(value, dict):
        for part in value.values():
            yield from tensors_in(part)
    elif isinstance(value, list | tuple):
        for part in value:
            yield from tensors_in(part)
