"""Runs cases: every framework in a process of its own, rounds in turn, numerics before times."""

from __future__ import annotations

import json
import os
import selectors
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.case import Arrays, Case, agree, difference
from benchmarks.frameworks import missing
from benchmarks.report import Result, Round
from benchmarks.worker import cases_of

ROOT = Path(__file__).parents[1]
TRUSTED = ("torch", "jax", "numpy", "onnxruntime", "talweg")
"""Whose results the others' are compared with: the first of these that has some."""


PAUSE = 0.15  # seconds between rounds: threads of OpenBLAS look for work that long after the last


@dataclass(frozen=True)
class Settings:
    """How to measure.

    Args:
        threads: of each framework.
        sizes: `full` or `tiny`.
        rounds: how often each framework is timed.
        seconds: of one round.
        patience: seconds that a framework may take to make a case ready.
        quiet: share of the machine that others may take; a round beyond it is tried again, twice
            as many as are wanted at most.
        processor: whether processor time is taken: on a busy machine, with one thread.
        log: folder for what frameworks print; None to drop it.
    """

    threads: int
    sizes: str = "full"
    rounds: int = 7
    seconds: float = 0.4
    patience: float = 600.0
    quiet: float = 0.05
    processor: bool = False
    log: Path | None = None


class Process:
    """A worker of one framework."""

    def __init__(self, framework: str, settings: Settings) -> None:
        arguments = [sys.executable, "-m", "benchmarks.worker", framework, str(settings.threads)]
        path = os.pathsep.join(filter(None, [str(ROOT), os.environ.get("PYTHONPATH", "")]))
        errors: Any = subprocess.DEVNULL
        if settings.log is not None:
            settings.log.mkdir(parents=True, exist_ok=True)
            errors = (settings.log / f"{framework}.log").open("a")
        self.child = subprocess.Popen(
            arguments,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=errors,
            cwd=ROOT,
            env={**os.environ, "PYTHONPATH": path},
        )

    def ask(self, patience: float, **command: Any) -> dict[str, Any]:
        """Send a command and return the answer; a process that ends or hangs has failed."""
        assert self.child.stdin is not None
        assert self.child.stdout is not None
        try:
            self.child.stdin.write(json.dumps(command).encode() + b"\n")
            self.child.stdin.flush()
        except BrokenPipeError:
            return {"failed": "the process ended", "ended": True}
        with selectors.DefaultSelector() as waiting:
            waiting.register(self.child.stdout, selectors.EVENT_READ)
            if not waiting.select(patience):
                self.end()
                return {"failed": f"not ready after {patience:.0f} s", "ended": True}
        line = self.child.stdout.readline()
        if not line:
            status = self.child.wait()
            return {"failed": f"the process ended with status {status}", "ended": True}
        found: dict[str, Any] = json.loads(line)
        return found

    def end(self) -> None:
        """End the process."""
        self.child.kill()
        self.child.wait()
        for stream in (self.child.stdin, self.child.stdout):
            if stream is not None:
                stream.close()


@dataclass
class Workers:
    """The processes of one workload; one that ended is started again for the next case."""

    settings: Settings
    running: dict[str, Process] = field(default_factory=dict)

    def ask(self, framework: str, patience: float, **command: Any) -> dict[str, Any]:
        """Send a command to a framework's process."""
        if framework not in self.running:
            self.running[framework] = Process(framework, self.settings)
        found = self.running[framework].ask(patience, **command)
        if found.pop("ended", False):
            self.running.pop(framework).end()
        return found

    def end(self) -> None:
        """End all processes."""
        for process in self.running.values():
            process.end()
        self.running.clear()


def run_workload(
    workload: str, frameworks: Sequence[str], settings: Settings, only: str = ""
) -> list[Result]:
    """Run the cases of a workload whose names contain `only`; report each as it is done."""
    workers = Workers(settings)
    found = []
    try:
        for case in cases_of(workload, settings.sizes):
            if only in case.name:
                result = run_case(workload, case, frameworks, workers)
                print(result.line(), flush=True)
                found.append(result)
    finally:
        workers.end()
    return found


def run_case(workload: str, case: Case, frameworks: Sequence[str], workers: Workers) -> Result:
    """Make a case ready everywhere, compare the results, then time those that agree."""
    result = Result(
        workload=workload,
        name=case.name,
        group=case.group,
        flops=case.flops(),
        floor=case.floor(),
        load=os.getloadavg()[0],
    )
    with tempfile.TemporaryDirectory() as folder:
        results = prepare_all(workload, case, frameworks, workers, result, Path(folder))
    compare(case, results, result)
    ready = list(results)
    del results
    time_all(ready, workers, result)
    for framework in ready:
        found = workers.ask(framework, 60.0, do="metrics")
        if found and "failed" not in found:
            result.metrics[framework] = found
    return result


def prepare_all(
    workload: str,
    case: Case,
    frameworks: Sequence[str],
    workers: Workers,
    result: Result,
    folder: Path,
) -> dict[str, Arrays]:
    """Make a case ready in every framework; return the results of those that could."""
    settings, results = workers.settings, {}
    for framework in frameworks:
        reason = missing(framework)
        path = folder / f"{framework}.npz"
        command = {"do": "prepare", "workload": workload, "sizes": settings.sizes}
        found: dict[str, Any] = {"skipped": reason}
        if not reason:
            found = workers.ask(
                framework, settings.patience, name=case.name, results=str(path), **command
            )
        if "skipped" in found:
            result.skipped[framework] = found["skipped"]
        elif "failed" in found:
            result.failed[framework] = found["failed"]
        else:
            result.ready[framework] = found["seconds"]
            with np.load(path) as arrays:
                results[framework] = dict(arrays)
            path.unlink()
    return results


def compare(case: Case, results: dict[str, Arrays], result: Result) -> None:
    """Take out the frameworks whose results are not those of the trusted one."""
    trusted = next((name for name in TRUSTED if name in results), "")
    for framework in list(results):
        apart = difference(results[framework], results[trusted])
        result.apart[framework] = apart
        if not agree(case, apart):
            del results[framework]
            gaps = ", ".join(f"{kind} {gap:.1e}" for kind, gap in apart.items())
            result.failed[framework] = f"differs from {trusted}: {gaps}"


def time_all(frameworks: Sequence[str], workers: Workers, result: Result) -> None:
    """Time the frameworks in turn, beginning with another one in each round.

    Rounds during which other processes took much of the machine count only where there are not
    enough quiet ones.
    """
    settings = workers.settings
    remaining = list(frameworks)
    rounds: list[Round] = []
    while remaining and len(rounds) < 2 * settings.rounds:
        start = len(rounds) % len(remaining)
        timed: Round = {}
        for framework in remaining[start:] + remaining[:start]:
            time.sleep(PAUSE)
            how = {"seconds": settings.seconds, "processor": settings.processor}
            found = workers.ask(framework, settings.patience, do="time", **how)
            if "failed" in found:
                result.failed[framework] = found["failed"]
                remaining.remove(framework)
            else:
                timed[framework] = found
        rounds.append(timed)
        if sum(noise(timed) <= settings.quiet for timed in rounds) >= settings.rounds:
            break
    rounds.sort(key=noise)
    result.rounds = rounds[: settings.rounds]
    result.foreign = max(map(noise, result.rounds), default=0.0)


def noise(timed: Round) -> float:
    """Return the largest share of the machine that others took during a round."""
    return max((found["foreign"] for found in timed.values()), default=0.0)
