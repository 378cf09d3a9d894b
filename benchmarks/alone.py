"""The command line of a single workload: `python -m benchmarks.lenet --framework talweg`."""

from __future__ import annotations

import argparse
import os
import sys
import time

from benchmarks.case import Skipped
from benchmarks.frameworks import FRAMEWORKS, missing, prepare, restrict
from benchmarks.report import Result
from benchmarks.timing import sample
from benchmarks.worker import cases_of, set_threads


def processors() -> int:
    """Return how many processors this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def main(workload: str) -> None:
    """Run the cases of a workload in one framework, in this process, and print the times."""
    parser = argparse.ArgumentParser(prog=f"python -m benchmarks.{workload}")
    parser.add_argument("--framework", choices=FRAMEWORKS, default="talweg")
    parser.add_argument("--threads", type=int, default=processors())
    parser.add_argument("--sizes", choices=("full", "tiny"), default="full")
    parser.add_argument("--seconds", type=float, default=2.0, help="of timing for each case")
    parser.add_argument("--processor-time", action="store_true", help="instead of wall time")
    parser.add_argument("--case", default="", help="a part of the name of the cases to run")
    chosen = parser.parse_args()
    if reason := missing(chosen.framework):
        sys.exit(reason)
    restrict(chosen.threads)
    clock = time.process_time if chosen.processor_time else time.perf_counter
    for case in cases_of(workload, chosen.sizes):
        if chosen.case not in case.name:
            continue
        result = Result(workload, case.name, case.group, case.flops(), case.floor())
        try:
            program = prepare(case, chosen.framework, chosen.threads)
        except Skipped as reason_:
            result.failed[chosen.framework] = str(reason_)
        else:
            set_threads(chosen.framework, chosen.threads)
            for _ in range(2 * program.period):
                program.step()
            result.rounds = [
                {chosen.framework: sample(program.step, chosen.seconds / 3, clock).fields()}
                for _ in range(3)
            ]
        print(result.line(), flush=True)
