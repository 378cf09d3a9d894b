"""The process of one framework: it makes programs ready, and runs them when it is told to.

Commands are lines of JSON on standard input, answers lines of JSON on standard output; what a
framework prints goes to standard error.
"""

from __future__ import annotations

import importlib
import json
import os
import sys
import time
import traceback
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.case import Case, Program, Skipped
from benchmarks.frameworks import OURS, prepare, restrict
from benchmarks.timing import sample


def cases_of(workload: str, sizes: str) -> Sequence[Case]:
    """Return the cases of a workload by its module's name."""
    found: Sequence[Case] = importlib.import_module(f"benchmarks.{workload}").cases(sizes)
    return found


def set_threads(framework: str, threads: int) -> None:
    """Tell a framework that has been imported how many threads it may use."""
    if framework.startswith("torch"):
        importlib.import_module("torch").set_num_threads(threads)


def counted(framework: str) -> dict[str, float]:
    """Return what talweg's compiler did for the present program and those before it."""
    if framework not in OURS:
        return {}
    counters = importlib.import_module("talweg").counters()
    names = ("compiled", "loaded", "plans", "interpreted")
    return {name: float(getattr(counters, name)) for name in names}


class Worker:
    """What one process holds: the programs of one framework, one at a time.

    Args:
        framework: a name of `FRAMEWORKS`.
        threads: that it may use.
    """

    def __init__(self, framework: str, threads: int) -> None:
        self.framework = framework
        self.threads = threads
        self.program: Program | None = None

    def prepare(self, workload: str, sizes: str, name: str, results: str) -> dict[str, Any]:
        """Make a case ready and write its results into a file."""
        self.program = None
        (case,) = (case for case in cases_of(workload, sizes) if case.name == name)
        begin = time.perf_counter()
        program = prepare(case, self.framework, self.threads)
        set_threads(self.framework, self.threads)
        arrays = program.results()
        for _ in range(2 * program.period):
            program.step()
        ready = time.perf_counter() - begin
        np.savez(Path(results), **arrays)  # type: ignore[arg-type]
        self.program = program
        return {"seconds": ready}

    def time(self, seconds: float, processor: bool = False) -> dict[str, Any]:
        """Time the present program, by the wall clock or by processor time."""
        assert self.program is not None
        clock = time.process_time if processor else time.perf_counter
        return sample(self.program.step, seconds, clock).fields()

    def metrics(self) -> dict[str, Any]:
        """Return further figures of the present program, and forget it."""
        assert self.program is not None
        found = self.program.metrics() | counted(self.framework)
        self.program = None
        return dict(found)


def answer(worker: Worker, line: str) -> dict[str, Any]:
    """Run one command; return its result, why it was skipped, or what went wrong."""
    command = json.loads(line)
    method: Callable[..., dict[str, Any]] = getattr(worker, command.pop("do"))
    try:
        return method(**command)
    except Skipped as reason:
        return {"skipped": str(reason)}
    except Exception as error:
        traceback.print_exc()
        return {"failed": f"{type(error).__name__}: {error}".splitlines()[0][:200]}


def serve(framework: str, threads: int) -> None:
    """Answer commands until standard input ends."""
    with os.fdopen(os.dup(1), "w", encoding="utf-8") as out:
        os.dup2(2, 1)
        worker = Worker(framework, threads)
        for line in sys.stdin:
            print(json.dumps(answer(worker, line)), file=out, flush=True)


if __name__ == "__main__":
    restrict(int(sys.argv[2]))
    serve(sys.argv[1], int(sys.argv[2]))
