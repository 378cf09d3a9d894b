"""How long every kernel takes: `profile`."""

from __future__ import annotations

import json
import os
import threading
from collections.abc import Sequence
from contextlib import ContextDecorator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self, final

from talweg.base import dtypes
from talweg.base.errors import InvalidValue
from talweg.base.source import describe
from talweg.engine.barrier import flush
from talweg.engine.peak import Peak, measured_peak
from talweg.engine.profile_page import profile_page
from talweg.engine.report import aligned
from talweg.engine.units import bytes_text, count_text, time_text
from talweg.engine.watch import KernelMade, Observation, Watcher, now
from talweg.ir.node import Graph, Node
from talweg.loops.nest import LoopNest
from talweg.passes.plan import Launch


@final
@dataclass(frozen=True, eq=False)
class Event:
    """Something that took time.

    Attributes:
        name: of the kernel, or what else it was.
        kind: `kernel`, `host`, `evaluation`, `plan`, `compiled`, `loaded`, `references` or `step`.
        thread: whose time it was.
        start, spent: in nanoseconds.
        launch: of a kernel.
        line: the user's line, where there is one.
    """

    name: str
    kind: str
    thread: int
    start: int
    spent: int
    launch: Launch | None = None
    line: str = ""


@final
@dataclass(frozen=True)
class KernelAverage:
    """All calls of one kernel. Times are in microseconds, as in PyTorch's profiler.

    Attributes:
        key: its name.
        count: how often it ran.
        cpu_time_total: how long that took together.
        flops: arithmetic operations of all calls; a multiply-add is two.
        nbytes: bytes that all calls read and wrote at least.
        input_shapes: of the first call.
        share: the least time that the machine's peak allows, as a part of the time it took: the
            larger one of its operations at the peak of arithmetic and its bytes at that of memory.
            It is more than 1 where the caches hold the data. None when no peak was measured.
        lines: the user's lines that its results come from.
    """

    key: str
    count: int
    cpu_time_total: float
    flops: int
    nbytes: int
    input_shapes: tuple[tuple[int, ...], ...]
    share: float | None
    lines: tuple[str, ...]

    @property
    def cpu_time(self) -> float:
        """Mean time of a call."""
        return self.cpu_time_total / self.count

    @property
    def self_cpu_time_total(self) -> float:
        """The total time: kernels call nothing."""
        return self.cpu_time_total

    @property
    def gflops(self) -> float:
        """10⁹ operations per second."""
        return self.flops / max(self.cpu_time_total, 1e-3) / 1e3

    @property
    def bandwidth(self) -> float:
        """10⁹ bytes per second."""
        return self.nbytes / max(self.cpu_time_total, 1e-3) / 1e3


SORTS = ("cpu_time_total", "self_cpu_time_total", "cpu_time", "count", "flops", "nbytes", "share")


@final
class KernelAverages(list[KernelAverage]):
    """The kernels of a profile, the longest first."""

    def table(
        self,
        sort_by: str | None = None,
        row_limit: int = 100,
        max_name_column_width: int | None = 55,
    ) -> str:
        """Return a table as text.

        Args:
            sort_by: an attribute of `KernelAverage`, the largest first; `self_` before it and
                `_total` behind it are as in PyTorch.
            row_limit: so many rows at most; -1 for all.
            max_name_column_width: longer names are cut off; None for none.

        Raises:
            InvalidValue: for an attribute that there is not.
        """
        if sort_by is not None and sort_by not in SORTS:
            raise InvalidValue(f"sort_by={sort_by!r} is none of {', '.join(SORTS)}")
        rows = self if sort_by is None else sorted(self, key=lambda k: -(getattr(k, sort_by) or 0))
        total = sum(k.cpu_time_total for k in self) or 1.0
        shown = [self._row(k, total, max_name_column_width) for k in rows]
        shown = shown if row_limit < 0 else shown[:row_limit]
        return aligned(HEAD, shown, "lrrrrrrr")

    def _row(self, k: KernelAverage, total: float, width: int | None) -> tuple[str, ...]:
        name = k.key if width is None or len(k.key) <= width else k.key[: width - 3] + "..."
        return (
            name,
            str(k.count),
            time_text(k.cpu_time_total * 1e3),
            f"{100 * k.cpu_time_total / total:.1f}%",
            time_text(k.cpu_time * 1e3),
            f"{k.gflops:.2f}",
            f"{k.bandwidth:.2f}",
            "" if k.share is None else f"{100 * k.share:.0f}%",
        )

    def __str__(self) -> str:
        return self.table()


HEAD = ("kernel", "calls", "total", "of all", "mean", "GFLOP/s", "GB/s", "of peak")


@final
class profile(ContextDecorator, Watcher):
    """Time every kernel that runs inside; a context or a decorator.

    Kernels run one by one meanwhile, each with all threads, so the time between them grows: times
    of kernels are right, that of the whole is not. What waits is computed on entry and at the end.

    Attributes:
        peak: what the machine reaches; measured at the first table (two seconds, once for a
            machine) unless it is set before. None leaves the share out.

    Example:
        >>> import talweg as tw
        >>> x = tw.ones(200, 200)
        >>> with tw.profile() as prof:
        ...     for _ in range(3):
        ...         y = (x @ x).relu().sum().item()
        >>> [(k.key, k.count) for k in prof.key_averages()][-1][1]
        3
    """

    stepwise = True

    def __init__(self) -> None:
        self.wall = 0
        self._events: list[Event] = []
        self._start = 0
        self._stepped = 0
        self._steps = 0
        self._inside: set[int] = set()
        self._lines: dict[int, str] = {}
        self._stray = 0
        self._peak: Peak | None = None
        self._has_peak = False

    def __enter__(self) -> Self:
        flush()
        self._start = self._stepped = now()
        return super().__enter__()

    def __exit__(self, *_: object) -> None:
        flush()
        super().__exit__()
        self.wall += now() - self._start

    def step(self) -> None:
        """Mark the end of a step of the program, as PyTorch's profiler does."""
        start, self._stepped = self._stepped, now()
        name = f"ProfilerStep#{self._steps}"
        self._steps += 1
        self._add(name, "step", start, self._stepped - start)

    # -- what is seen

    def _add(
        self, name: str, kind: str, start: int, spent: int, launch: Launch | None = None
    ) -> None:
        thread = threading.get_native_id()
        line = self._lines.get(thread, "") if launch is None else ""
        self._events.append(Event(name, kind, thread, start, spent, launch, line))

    def observing(self, seen: Observation, graph: Graph) -> None:
        thread = threading.get_native_id()
        self._inside.add(thread)
        self._lines[thread] = describe(seen.source)

    def observed(self, seen: Observation, graph: Graph, start: int, spent: int) -> None:
        self._add(seen.cause, "evaluation", start, spent)
        self._inside.discard(threading.get_native_id())

    def interpreted(self, graph: Graph, start: int, spent: int) -> None:
        self._add(f"{len(graph.order)} ops by the references", "references", start, spent)

    def planned(self, graph: Graph, program: Any, start: int, spent: int) -> None:
        self._add(f"plan of {len(graph.order)} ops", "plan", start, spent)

    def kernel(self, made: KernelMade) -> None:
        if made.how != "reused":
            self._add(made.nest.name, made.how, made.start, made.spent)

    def launched(
        self, launch: Launch, operands: Sequence[int], note: Any, start: int, spent: int
    ) -> None:
        self._add(launch.nest.name, "kernel", start, spent, launch)
        if threading.get_native_id() not in self._inside:
            self._stray += spent

    def called(self, node: Node, start: int, spent: int) -> None:
        self._add(node.op.name(), "host", start, spent)
        if threading.get_native_id() not in self._inside:
            self._stray += spent

    # -- what is told

    @property
    def peak(self) -> Peak | None:
        """What the machine reaches at most."""
        if not self._has_peak:
            self.peak = measured_peak()
        return self._peak

    @peak.setter
    def peak(self, peak: Peak | None) -> None:
        self._peak, self._has_peak = peak, True

    def events(self) -> tuple[Event, ...]:
        """Return all that took time, in the order in which it ended."""
        return tuple(self._events)

    def key_averages(self, group_by_input_shape: bool = False) -> KernelAverages:
        """Return the calls of each kernel together, the longest first.

        Args:
            group_by_input_shape: keep calls on other sizes apart.
        """
        groups: dict[object, list[Event]] = {}
        for event in self._events:
            if event.launch is not None:
                values = event.launch.values if group_by_input_shape else ()
                groups.setdefault((event.launch.nest, values), []).append(event)
        made = [_average(events, self.peak) for events in groups.values()]
        return KernelAverages(sorted(made, key=lambda k: -k.cpu_time_total))

    def times(self) -> dict[str, int]:
        """Return what the time went to, in nanoseconds: the parts, and their sum as `all`."""
        spent = dict.fromkeys(("kernel", "host", "evaluation", "plan", *_WHERE), 0)
        for event in self._events:
            if event.kind in spent:
                spent[event.kind] += event.spent
        made = spent["compiled"] + spent["loaded"]
        inside = spent["kernel"] + spent["host"] - self._stray
        parts = {
            "kernels": spent["kernel"],
            "host calls": spent["host"],
            "references": spent["references"],
            "planning": spent["plan"] - made,
            "compiling kernels": spent["compiled"],
            "loading kernels": spent["loaded"],
            "calling kernels": spent["evaluation"] - spent["plan"] - spent["references"] - inside,
            "recording and Python": self.wall - spent["evaluation"] - self._stray,
        }
        return {name: max(ns, 0) for name, ns in parts.items()} | {"all": self.wall}

    def table(self, sort_by: str | None = None, row_limit: int = 100) -> str:
        """Return the kernels, and what the rest of the time went to, as text.

        Args:
            sort_by, row_limit: as for `KernelAverages.table`.
        """
        times = self.times()
        whole = times["all"] or 1
        rows = [(name, time_text(ns), f"{100 * ns / whole:.1f}%") for name, ns in times.items()]
        kernels = self.key_averages()
        head = (
            f"{sum(k.count for k in kernels)} calls of {len(kernels)} kernels: "
            f"{count_text(sum(k.flops for k in kernels))} operations, "
            f"{bytes_text(sum(k.nbytes for k in kernels))} read and written"
        )
        parts = [kernels.table(sort_by, row_limit), head, aligned(("time", "", ""), rows, "lrr")]
        return "\n\n".join(parts)

    def __str__(self) -> str:
        return self.table()

    def export_chrome_trace(self, path: str | Path) -> None:
        """Write a file for chrome://tracing or ui.perfetto.dev."""
        Path(path).write_text(json.dumps(self.trace()), encoding="utf-8")

    chrome_trace = export_chrome_trace

    def trace(self) -> dict[str, Any]:
        """Return the events in the Trace Event Format that Chrome and Perfetto read."""
        process = os.getpid()
        rows = [
            {
                "name": event.name,
                "cat": event.kind,
                "ph": "X",
                "ts": event.start / 1e3,
                "dur": event.spent / 1e3,
                "pid": process,
                "tid": event.thread,
                "args": _arguments(event),
            }
            for event in sorted(self._events, key=lambda e: (e.start, -e.spent))
        ]
        name = {"name": "process_name", "ph": "M", "pid": process, "args": {"name": "talweg"}}
        return {"traceEvents": [name, *rows], "displayTimeUnit": "ns"}

    def html(self, title: str = "talweg: where the time went") -> str:
        """Return a page that needs nothing beside itself."""
        return profile_page(title, self)

    _repr_html_ = html

    def save(self, path: str | Path) -> None:
        """Write the page to a file."""
        Path(path).write_text(self.html(), encoding="utf-8")


_WHERE = ("references", "compiled", "loaded")


def _average(events: Sequence[Event], peak: Peak | None) -> KernelAverage:
    launches = [e.launch for e in events if e.launch is not None]
    first = launches[0]
    flops = sum(launch.operations for launch in launches)
    nbytes = sum(launch.nbytes for launch in launches)
    spent = sum(e.spent for e in events)
    share = None if peak is None else 1e9 * _least(flops, nbytes, first.nest, peak) / max(spent, 1)
    shapes = tuple(n.shape for n in first.operands[: len(first.nest.inputs)])
    lines = dict.fromkeys(describe(n.source) for n in first.nodes if n.source is not None)
    return KernelAverage(
        first.nest.name, len(events), spent / 1e3, flops, nbytes, shapes, share, tuple(lines)
    )


def _least(flops: int, nbytes: int, nest: LoopNest, peak: Peak) -> float:
    """The seconds that work takes at the machine's peak."""
    wide = any(b.dtype in (dtypes.float64, dtypes.complex128) for b in nest.outputs)
    rate = (peak.float64 if wide else peak.float32)[1]
    return max(flops / rate, nbytes / max(peak.read[1], peak.triad[1]))


def _arguments(event: Event) -> dict[str, Any]:
    launch = event.launch
    if launch is None:
        return {"line": event.line} if event.line else {}
    lines = dict.fromkeys(describe(n.source) for n in launch.nodes if n.source is not None)
    return {
        "lines": list(lines),
        "bytes": launch.nbytes,
        "operations": launch.operations,
        "GFLOP/s": round(launch.operations / max(event.spent, 1), 3),
        "GB/s": round(launch.nbytes / max(event.spent, 1), 3),
        "operands": [str(n.type) for n in launch.operands],
    }
