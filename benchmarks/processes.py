"""What is measured from outside: start, first loss, compile time, installed size, peak memory.

Each figure is that of a fresh process; `python -m benchmarks.processes MEASURE FRAMEWORK` is that
process and prints a number. Caches of compiled code are in a new folder for cold starts.
"""

from __future__ import annotations

import importlib
import importlib.metadata
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks.case import Case, Skipped
from benchmarks.frameworks import missing, prepare, restrict
from benchmarks.report import Result, Round
from benchmarks.worker import cases_of, set_threads

ROOT = Path(__file__).parents[1]
NAMES = {
    "import": "import, whole process",
    "first-loss-cold": "process start to first LeNet loss, empty cache",
    "first-loss-warm": "process start to first LeNet loss, warm cache",
    "compile-lenet": "compilation of the LeNet training step, empty cache",
    "compile-resnet18": "compilation of the ResNet-18 training step, empty cache",
    "size": "installed size with dependencies",
    "memory": "peak memory of a ResNet-18 training process, batch 8",
}
CACHES = ("TALWEG_CACHE_DIR", "TORCHINDUCTOR_CACHE_DIR", "JAX_COMPILATION_CACHE_DIR")
MEGABYTE = 1e6


@dataclass(frozen=True)
class Request:
    """What a measuring process is asked for.

    Args:
        measure: a name of `NAMES`.
        framework: a name of `FRAMEWORKS`.
        threads: that it may use.
        sizes: `full` or `tiny`.
    """

    measure: str
    framework: str
    threads: int
    sizes: str


def training_case(request: Request) -> Case:
    """Return the training step of the network that a measure is about."""
    resnet = request.measure in ("memory", "compile-resnet18")
    return cases_of("resnet18" if resnet else "lenet", request.sizes)[0]


def first_loss(request: Request) -> float:
    """Run one training step; the parent takes the time."""
    program = prepare(training_case(request), request.framework, request.threads)
    set_threads(request.framework, request.threads)
    program.step()
    return 0.0


def compilation(request: Request) -> float:
    """Return how much longer the first steps take than later ones, in seconds."""
    program = prepare(training_case(request), request.framework, request.threads)
    set_threads(request.framework, request.threads)
    taken = []
    for _ in range(8):
        begin = time.perf_counter()
        program.step()
        taken.append(time.perf_counter() - begin)
    usual = statistics.median(taken[4:])
    return sum(max(0.0, seconds - usual) for seconds in taken[:4])


def memory(request: Request) -> float:
    """Return the largest resident size of a process that trains, in MB."""
    resource: Any = importlib.import_module("resource")
    program = prepare(training_case(request), request.framework, request.threads)
    set_threads(request.framework, request.threads)
    for _ in range(4):
        program.step()
    kilobytes: int = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return kilobytes * 1024 / MEGABYTE


def installed_size(request: Request) -> float:
    """Return the bytes of a framework's distributions and all that they require, in MB."""
    name = request.framework.partition("-")[0]
    distributions = {"talweg": {"numpy", "llvmlite"}}.get(name) or requirements(name)
    total = sum(distribution_bytes(distribution) for distribution in distributions)
    if name == "talweg":
        total += sum(p.stat().st_size for p in (ROOT / "talweg").rglob("*.py"))
    return total / MEGABYTE


def requirements(name: str) -> set[str]:
    """Return a distribution and all that it requires without extras, if installed."""
    found: set[str] = set()
    waiting = [name]
    while waiting:
        distribution = waiting.pop()
        try:
            required = importlib.metadata.requires(distribution) or []
        except importlib.metadata.PackageNotFoundError:
            continue
        if distribution not in found:
            found.add(distribution)
            waiting += [plain(text) for text in required if "extra ==" not in text]
    return found


def plain(requirement: str) -> str:
    """Return the name alone of a requirement."""
    end = next((i for i, c in enumerate(requirement) if not (c.isalnum() or c in "-_.")), None)
    return requirement[:end].lower()


def distribution_bytes(name: str) -> int:
    """Return the size of the files of an installed distribution."""
    files = importlib.metadata.distribution(name).files or []
    paths = [Path(str(file.locate())) for file in files]
    return sum(path.stat().st_size for path in paths if path.is_file())


MEASURES: dict[str, Callable[[Request], float]] = {
    "first-loss-cold": first_loss,
    "first-loss-warm": first_loss,
    "compile-lenet": compilation,
    "compile-resnet18": compilation,
    "size": installed_size,
    "memory": memory,
}


def takes_part(measure: str, framework: str) -> str:
    """Return why a framework is not measured; empty when it is."""
    if framework in ("numpy", "onnxruntime") or framework.endswith("-channels-last"):
        return "trains nothing, or is measured under another name"
    if measure in ("import", "size") and framework.endswith("-compile"):
        return "the same package"
    if measure.startswith("compile-") and framework == "torch":
        return "compiles nothing"
    return missing(framework)


def run_process(request: Request, cache: str, patience: float) -> float:
    """Start a measuring process and return its figure; seconds of its life where it has none.

    Raises:
        Skipped: when it says that it does not take part.
        RuntimeError: when it fails.
    """
    module = request.framework.partition("-")[0]
    command = [sys.executable, "-c", f"import {module}"]
    if request.measure != "import":
        arguments = (request.measure, request.framework, str(request.threads), request.sizes)
        command = [sys.executable, "-m", "benchmarks.processes", *arguments]
    path = os.pathsep.join(filter(None, [str(ROOT), os.environ.get("PYTHONPATH", "")]))
    environment = {**os.environ, "PYTHONPATH": path, **dict.fromkeys(CACHES, cache)}
    environment.pop("PYTHONDONTWRITEBYTECODE", None)  # what is installed is byte-compiled
    begin = time.perf_counter()
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, cwd=ROOT, env=environment
    ) as child:
        try:
            out, err = child.communicate(timeout=patience)
        except subprocess.TimeoutExpired:
            child.kill()
            raise RuntimeError(f"not done after {patience:.0f} s") from None
    seconds = time.perf_counter() - begin
    if child.returncode:
        last = err.decode(errors="replace").strip().splitlines()[-1:]
        raise RuntimeError(last[0] if last else f"ended with status {child.returncode}")
    text = out.decode().strip().splitlines()[-1:]
    if text and text[0].startswith("skipped"):
        raise Skipped(text[0])
    return float(text[0]) if text and float(text[0]) else seconds


def run_measure(
    measure: str,
    frameworks: Sequence[str],
    threads: int,
    sizes: str,
    rounds: int,
    patience: float,
) -> Result:
    """Measure every framework in turn, several times."""
    unit = "MB" if measure in ("size", "memory") else "s"
    result = Result("processes", NAMES[measure], unit=unit, load=os.getloadavg()[0])
    remaining = []
    for framework in frameworks:
        if reason := takes_part(measure, framework):
            result.skipped[framework] = reason
        else:
            remaining.append(framework)
    for _ in range(1 if measure == "size" else rounds):
        timed: Round = {}
        for framework in list(remaining):
            request = Request(measure, framework, threads, sizes)
            try:
                with tempfile.TemporaryDirectory() as cache:
                    for _ in range(1 + measure.endswith("-warm")):
                        figure = run_process(request, cache, patience)
            except Skipped as reason_:
                result.skipped[framework] = str(reason_)
                remaining.remove(framework)
            except RuntimeError as error:
                result.failed[framework] = str(error)
                remaining.remove(framework)
            else:
                timed[framework] = {"median": figure, "low": figure, "high": figure}
        result.rounds.append(timed)
    return result


def measuring(measure: str, framework: str, threads: int, sizes: str) -> None:
    """Be the measuring process: print the figure; 0 when the process itself is the measure."""
    restrict(threads)
    try:
        print(MEASURES[measure](Request(measure, framework, threads, sizes)))
    except Skipped as reason:
        print(f"skipped: {reason}")


if __name__ == "__main__":
    measuring(sys.argv[1], sys.argv[2], int(sys.argv[3]), sys.argv[4])
