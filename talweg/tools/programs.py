"""`talweg profile`, `explain` and `tune`: a program is run as it is, and watched."""

from __future__ import annotations

import runpy
import sys
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

from talweg.engine.barrier import flush
from talweg.engine.explain import Explainer
from talweg.engine.profile import profile
from talweg.engine.search import tune_launches


def run(program: Path, arguments: Sequence[str]) -> None:
    """Run a file as Python would with these arguments.

    Raises:
        Whatever the program raises, SystemExit too.
    """
    argv, path = sys.argv, sys.path
    sys.argv = [str(program), *arguments]
    sys.path = [str(program.resolve().parent), *path]
    try:
        runpy.run_path(str(program), run_name="__main__")
    finally:
        sys.argv, sys.path = argv, path


def profile_program(
    program: Path,
    arguments: Sequence[str],
    sort_by: str = "cpu_time_total",
    rows: int = 30,
    html: Path | None = None,
    trace: Path | None = None,
) -> None:
    """Run a program and print what its time went to, even if it fails.

    Args:
        program, arguments: what is run.
        sort_by, rows: of the table, see `profile.table`.
        html, trace: files to write: a page, and a trace for Chrome or Perfetto.
    """
    found = profile()
    try:
        with found:
            run(program, arguments)
    finally:
        print(found.table(sort_by, rows))
        if html is not None:
            found.save(html)
        if trace is not None:
            found.export_chrome_trace(trace)


def explain_program(program: Path, arguments: Sequence[str], html: Path | None = None) -> None:
    """Run a program and print what the compiler made of it, even if it fails.

    Args:
        program, arguments: what is run.
        html: a page to write.
    """
    explainer = Explainer()
    try:
        with explainer:
            run(program, arguments)
            flush()
    finally:
        print(explainer.explanation)
        if html is not None:
            explainer.explanation.save(html)


def tune_program(program: Path, arguments: Sequence[str], seconds: float, schedules: int) -> None:
    """Run a program, search better schedules for its kernels, and print what was found.

    Args:
        program, arguments: what is run.
        seconds: how long to search.
        schedules: how many to try of each kernel.

    Raises:
        Whatever the program raises, but for SystemExit.
    """
    explainer = Explainer()
    with explainer, suppress(SystemExit):
        run(program, arguments)
        flush()
    launches = [kernel.launch for kernel in explainer.explanation.kernels]
    print(tune_launches(launches, seconds, schedules))
