"""`torch.profiler`, `torch.autograd.profiler` and `torch.utils.benchmark`."""

from __future__ import annotations

import os
import statistics
import sys
import textwrap
import timeit
from collections.abc import Callable, Iterator, Sequence
from contextlib import ContextDecorator, contextmanager
from enum import Enum
from pathlib import Path
from typing import Any

from talweg.engine.barrier import flush
from talweg.engine.profile import SORTS, KernelAverages
from talweg.engine.profile import profile as Measured
from talweg.engine.report import aligned
from talweg.engine.units import time_text

# ---------------------------------------------------------------------------------------------
# profiles


class ProfilerActivity(Enum):
    """What a profile watches: the CPU, in any case."""

    CPU = 0
    XPU = 1
    CUDA = 2
    MTIA = 3


class ProfilerAction(Enum):
    """What a schedule says of a step."""

    NONE = 0
    WARMUP = 1
    RECORD = 2
    RECORD_AND_SAVE = 3


def schedule(
    *,
    wait: int,
    warmup: int,
    active: int,
    repeat: int = 0,
    skip_first: int = 0,
    skip_first_wait: int = 0,
    reset_thread_cpu_ratio: Any = None,
) -> Callable[[int], ProfilerAction]:
    """Return a function from the number of a step to what is done in it."""

    def action(step: int) -> ProfilerAction:
        step -= skip_first
        if step < 0:
            return ProfilerAction.NONE
        if skip_first_wait:
            step += wait
        cycle = wait + warmup + active
        if repeat > 0 and step // cycle >= repeat:
            return ProfilerAction.NONE
        place = step % cycle
        if place < wait:
            return ProfilerAction.NONE
        if place < wait + warmup:
            return ProfilerAction.WARMUP
        last = place == cycle - 1
        return ProfilerAction.RECORD_AND_SAVE if last else ProfilerAction.RECORD

    return action


class _Averages(list[Any]):
    """Kernels and their times."""

    def __init__(self, kernels: KernelAverages) -> None:
        super().__init__(kernels)
        self._kernels = kernels

    def table(
        self, sort_by: str | None = None, row_limit: int = 100, *args: Any, **options: Any
    ) -> str:
        """Return a table as text; times of other devices sort as those of the CPU."""
        name = sort_by or ""
        for device in ("cuda", "device", "xpu"):
            name = name.replace(f"{device}_time", "cpu_time")
        return self._kernels.table(name if name in SORTS else None, row_limit)

    def total_average(self) -> Any:
        """Return the longest kernel, or None."""
        return self[0] if self else None


class profile(ContextDecorator):
    """Measures every kernel; see `talweg.profile`, which this calls.

    Args:
        activities, record_shapes, profile_memory, with_stack, with_flops, with_modules,
            experimental_config, options: accepted.
        schedule: a function from the number of a step to what is done in it.
        on_trace_ready: called with the profile when a cycle of the schedule, or the block, ends.
        enabled: False measures nothing.
    """

    def __init__(
        self,
        activities: Any = None,
        *,
        schedule: Callable[[int], ProfilerAction] | None = None,
        on_trace_ready: Callable[..., Any] | None = None,
        enabled: bool = True,
        **options: Any,
    ) -> None:
        self.enabled = enabled and (activities is not False)
        self.schedule = schedule
        self.on_trace_ready = on_trace_ready
        self.step_num = 0
        self.inner = Measured()
        self.inner.peak = None

    def start(self) -> None:
        """Begin to measure."""
        if self.enabled:
            self.inner.__enter__()

    def stop(self) -> None:
        """Stop to measure, and hand the profile on, without a schedule."""
        if self.enabled:
            self.inner.__exit__(None, None, None)
            if self.schedule is None and self.on_trace_ready is not None:
                self.on_trace_ready(self)

    def __enter__(self) -> profile:
        self.start()
        return self

    def __exit__(self, *failure: Any) -> None:
        self.stop()

    def step(self) -> None:
        """Say that a step of the program ends."""
        self.inner.step()
        done = self.schedule(self.step_num) if self.schedule is not None else None
        self.step_num += 1
        if done is ProfilerAction.RECORD_AND_SAVE and self.on_trace_ready is not None:
            self.on_trace_ready(self)

    def key_averages(self, group_by_input_shape: bool = False, *args: Any, **options: Any) -> Any:
        """Return the kernels, the longest first."""
        return _Averages(self.inner.key_averages(group_by_input_shape))

    def events(self) -> Any:
        """Return everything that took time."""
        return self.inner.events

    @property
    def self_cpu_time_total(self) -> float:
        """The time of all kernels, in microseconds."""
        return sum(k.cpu_time_total for k in self.inner.key_averages())

    def table(self, *args: Any, **options: Any) -> str:
        """Return the table of `key_averages`."""
        made: str = self.key_averages().table(*args, **options)
        return made

    def __str__(self) -> str:
        return self.table()

    def export_chrome_trace(self, path: str) -> None:
        """Write the events as a file that Chrome and Perfetto show."""
        self.inner.export_chrome_trace(path)


class record_function(ContextDecorator):
    """Accepted: names a part of a program.

    Args:
        name: of the part.
        args: accepted.
    """

    def __init__(self, name: str, args: str | None = None) -> None:
        self.name = name

    def __enter__(self) -> record_function:
        return self

    def __exit__(self, *failure: Any) -> None:
        return None


def tensorboard_trace_handler(
    dir_name: str, worker_name: str | None = None, use_gzip: bool = False
) -> Callable[[profile], None]:
    """Return what writes a profile into a folder, as a file for Chrome and Perfetto."""

    def write(made: profile) -> None:
        Path(dir_name).mkdir(parents=True, exist_ok=True)
        name = f"{worker_name or f'worker_{os.getpid()}'}.{made.step_num}.pt.trace.json"
        made.export_chrome_trace(str(Path(dir_name, name)))

    return write


def supported_activities() -> set[ProfilerActivity]:
    """Return what can be watched: the CPU."""
    return {ProfilerActivity.CPU}


@contextmanager
def emit_nvtx(*args: Any, **options: Any) -> Iterator[None]:
    """Do nothing: there is no GPU."""
    yield


# ---------------------------------------------------------------------------------------------
# benchmarks


class Measurement:
    """How long a statement took.

    Args:
        number_per_run: how often it ran for each time.
        raw_times: seconds of each run.
        title: what was measured.
        num_threads: accepted.

    Attributes:
        times: seconds of one execution, for each run.
    """

    def __init__(
        self, number_per_run: int, raw_times: Sequence[float], title: str, num_threads: int = 1
    ) -> None:
        self.number_per_run = number_per_run
        self.raw_times = list(raw_times)
        self.title = title
        self.num_threads = num_threads
        self.times = [t / number_per_run for t in self.raw_times]

    @property
    def mean(self) -> float:
        """Mean time of one execution."""
        return statistics.fmean(self.times)

    @property
    def median(self) -> float:
        """Median time of one execution."""
        return statistics.median(self.times)

    @property
    def iqr(self) -> float:
        """Distance of the quartiles."""
        if len(self.times) < 2:
            return 0.0
        quarters = statistics.quantiles(self.times, n=4, method="inclusive")
        return quarters[2] - quarters[0]

    def __repr__(self) -> str:
        runs = f"{len(self.times)} measurement{'s' * (len(self.times) > 1)}"
        middle = "Median" if len(self.times) > 1 else "Time"
        return (
            f"<talweg Measurement>\n{self.title}\n  {middle}: {time_text(self.median * 1e9)}\n"
            f"  {runs}, {self.number_per_run} runs per measurement, {self.num_threads} thread(s)"
        )


class Timer:
    """Times a statement, with all that it records computed.

    Args:
        stmt: what is timed, as text.
        setup: what runs before.
        global_setup, env, language: accepted.
        timer: gives seconds.
        globals: names that the statement reads, besides `torch`.
        label, sub_label, description: titles.
        num_threads: accepted; see `torch.set_num_threads`.
    """

    def __init__(
        self,
        stmt: str = "pass",
        setup: str = "pass",
        global_setup: str = "",
        timer: Callable[[], float] = timeit.default_timer,
        globals: dict[str, Any] | None = None,
        label: str | None = None,
        sub_label: str | None = None,
        description: str | None = None,
        env: str | None = None,
        num_threads: int = 1,
        language: Any = "python",
    ) -> None:
        self.title = ": ".join(t for t in (label or stmt, sub_label, description) if t)
        self.num_threads = num_threads
        self._timer = timer
        self._names = {"torch": sys.modules["talweg.frontends.torch"], **(globals or {})}
        stmt, setup = (textwrap.dedent(text).strip() for text in (stmt, setup))
        self._setup = compile(setup, "<setup>", "exec")
        try:
            # The value of an expression is kept until it has been computed.
            self._code = compile(f"_value = (\n{stmt}\n)", "<stmt>", "exec")
        except SyntaxError:
            self._code = compile(stmt, "<stmt>", "exec")

    def _run(self, number: int) -> float:
        names = self._names
        begin = self._timer()
        for _ in range(number):
            exec(self._code, names)
            flush()
        return self._timer() - begin

    def timeit(self, number: int = 1000000) -> Measurement:
        """Run the statement so often, and return how long that took."""
        exec(self._setup, self._names)
        self._run(max(number // 100, 2))
        return Measurement(number, [self._run(number)], self.title, self.num_threads)

    def blocked_autorange(self, callback: Any = None, min_run_time: float = 0.2) -> Measurement:
        """Run the statement for so many seconds at least, in blocks."""
        exec(self._setup, self._names)
        self._run(2)
        number, spent = 1, self._run(1)
        while spent < min_run_time / 100:
            number *= 10
            spent = self._run(number)
        times = [spent]
        while sum(times) < min_run_time:
            times.append(self._run(number))
        return Measurement(number, times, self.title, self.num_threads)

    def adaptive_autorange(
        self,
        threshold: float = 0.1,
        *,
        min_run_time: float = 0.01,
        max_run_time: float = 10.0,
        callback: Any = None,
    ) -> Measurement:
        """Run the statement until its times agree; see `blocked_autorange`."""
        return self.blocked_autorange(callback, max(min_run_time, 0.1))


class Compare:
    """A table of measurements.

    Args:
        results: of timers.
    """

    def __init__(self, results: Sequence[Measurement]) -> None:
        self.results = list(results)

    def extend_results(self, results: Sequence[Measurement]) -> None:
        """Add measurements."""
        self.results.extend(results)

    def trim_significant_figures(self) -> None:
        """Do nothing: times have few digits."""

    def colorize(self, rowwise: bool = False) -> None:
        """Do nothing: the table has no colours."""

    def __str__(self) -> str:
        rows = [(m.title, time_text(m.median * 1e9)) for m in self.results]
        return aligned(("", "median"), rows, "lr")

    def print(self) -> None:
        """Print the table."""
        sys.stdout.write(f"{self}\n")


_PROFILER: dict[str, Any] = {
    "ProfilerAction": ProfilerAction,
    "ProfilerActivity": ProfilerActivity,
    "profile": profile,
    "record_function": record_function,
    "schedule": schedule,
    "supported_activities": supported_activities,
    "tensorboard_trace_handler": tensorboard_trace_handler,
}

MODULES: dict[str, dict[str, Any]] = {
    "autograd.profiler": {
        "emit_nvtx": emit_nvtx,
        "profile": profile,
        "record_function": record_function,
    },
    "profiler": _PROFILER,
    "utils.benchmark": {"Compare": Compare, "Measurement": Measurement, "Timer": Timer},
}
