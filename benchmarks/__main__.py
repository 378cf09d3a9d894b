"""Runs workloads in every framework that is installed: `python -m benchmarks --help`."""

from __future__ import annotations

import argparse
import datetime
import json
import os
import platform
import re
import sys
from collections.abc import Sequence
from pathlib import Path

from benchmarks.alone import processors
from benchmarks.frameworks import FRAMEWORKS, missing, versions
from benchmarks.processes import NAMES, run_measure
from benchmarks.report import Result, as_json, markdown
from benchmarks.runner import Settings, run_workload

WORKLOADS = (
    "two_layer",
    "mlp",
    "lenet",
    "resnet18",
    "vgg11",
    "lstm",
    "gpt",
    "convolutions",
    "bandwidth",
    "gemm",
    "tiny_ops",
    "compiled_call",
)
README = Path(__file__).parent / "README.md"
BEGIN, END = (
    "<!-- results: written by `python -m benchmarks --write` -->",
    "<!-- end of results -->",
)


def processor() -> str:
    """Return the processor's name."""
    try:
        text = Path("/proc/cpuinfo").read_text(encoding="utf-8")
    except OSError:
        return platform.processor() or platform.machine()
    found = re.search(r"^model name\s*:\s*(.+)$", text, re.M)
    return found[1] if found else platform.machine()


def circumstances(threads: int, processor_time: bool, results: Sequence[Result]) -> list[str]:
    """Return lines about when, where and with what was measured."""
    packages = ", ".join(f"{name} {version}" for name, version in versions().items())
    loads = [result.load for result in results]
    foreign = max((result.foreign for result in results), default=0.0)
    return [
        f"{datetime.date.today().isoformat()}; {processor()}, {os.cpu_count()} processors, "
        f"{platform.system()}; threads: {threads}"
        + (", processor time instead of wall time" if processor_time else ""),
        f"Python {platform.python_version()}, {packages}",
        f"load of the machine before a case: {min(loads):.1f}–{max(loads):.1f}; "
        f"largest share that other processes took in a counted round: {max(foreign, 0):.0%}",
    ]


def write(report: str) -> None:
    """Put the report between the marks of the README."""
    text = README.read_text(encoding="utf-8")
    before, _, rest = text.partition(BEGIN)
    _, _, after = rest.partition(END)
    README.write_text(f"{before}{BEGIN}\n\n{report}\n\n{END}{after}", encoding="utf-8")


def parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    choice = [*WORKLOADS, "processes"]
    parser.add_argument("workloads", nargs="*", help=", ".join(choice), metavar="workload")
    parser.add_argument("--framework", action="append", choices=FRAMEWORKS, metavar="NAME")
    parser.add_argument("--threads", type=int, default=processors())
    parser.add_argument("--sizes", choices=("full", "tiny"), default="full")
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--seconds", type=float, default=0.4, help="of a round")
    parser.add_argument("--quiet", type=float, default=0.05, help="share left to other processes")
    parser.add_argument(
        "--processor-time",
        action="store_true",
        help="take processor time: for comparisons with one thread on a busy machine",
    )
    parser.add_argument("--patience", type=float, default=600, help="seconds to get ready")
    parser.add_argument("--case", default="", help="a part of the name of the cases to run")
    parser.add_argument("--json", type=Path, help="file for all that was found")
    parser.add_argument("--log", type=Path, help="folder for what the frameworks print")
    parser.add_argument("--write", action="store_true", help="put the tables into the README")
    chosen = parser.parse_args(arguments)
    if unknown := [name for name in chosen.workloads if name not in choice]:
        parser.error(f"there is no workload {unknown[0]!r}; there are {', '.join(choice)}")
    chosen.workloads = chosen.workloads or choice
    chosen.framework = chosen.framework or list(FRAMEWORKS)
    return chosen


def main(arguments: Sequence[str] | None = None) -> None:
    """Run what the command line asks for."""
    chosen = parse(arguments)
    settings = Settings(
        threads=chosen.threads,
        sizes=chosen.sizes,
        rounds=chosen.rounds,
        seconds=chosen.seconds,
        patience=chosen.patience,
        quiet=1.0 if chosen.processor_time else chosen.quiet,
        processor=chosen.processor_time,
        log=chosen.log,
    )
    for framework in chosen.framework:
        if reason := missing(framework):
            print(f"without {FRAMEWORKS[framework]}: {reason}", file=sys.stderr)
    results: list[Result] = []
    for workload in chosen.workloads:
        if workload == "processes":
            results += measure_processes(chosen, settings)
        else:
            results += run_workload(workload, chosen.framework, settings, chosen.case)
    report(results, chosen)


def measure_processes(chosen: argparse.Namespace, settings: Settings) -> list[Result]:
    """Run the measures that take a process each."""
    found = []
    for measure, name in NAMES.items():
        if chosen.case in name:
            rounds = min(settings.rounds, 3)
            result = run_measure(
                measure,
                chosen.framework,
                settings.threads,
                settings.sizes,
                rounds,
                settings.patience,
            )
            print(result.line(), flush=True)
            found.append(result)
    return found


def report(results: Sequence[Result], chosen: argparse.Namespace) -> None:
    """Print the tables and write the files that the command line asks for."""
    if not results:
        sys.exit(f"no case has {chosen.case!r} in its name")
    lines = circumstances(chosen.threads, chosen.processor_time, results)
    text = markdown(results, lines)
    print(f"\n{text}")
    if chosen.json:
        chosen.json.write_text(json.dumps(as_json(results, lines), indent=1), encoding="utf-8")
    if chosen.write:
        write(text)


if __name__ == "__main__":
    main()
