"""`talweg run`, `profile`, `explain` and `tune`: a program is run as it is, and watched."""

from __future__ import annotations

import ast
import builtins
import runpy
import sys
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from types import ModuleType, TracebackType

from talweg.engine.barrier import flush
from talweg.engine.explain import Explainer
from talweg.engine.profile import profile
from talweg.engine.search import tune_launches
from talweg.tools import imports


def run(program: Path, arguments: Sequence[str]) -> None:
    """Run a file as Python would with these arguments.

    A program that does not import talweg finds it as `torch`, as with `run_program`.

    Raises:
        Whatever the program raises, SystemExit too.
    """
    if not _imports_talweg(program):
        imports.install()
    argv, path = sys.argv, sys.path
    sys.argv = [str(program), *arguments]
    sys.path = [str(program.resolve().parent), *path]
    try:
        runpy.run_path(str(program), run_name="__main__")
    finally:
        sys.argv, sys.path = argv, path


def _imports_talweg(program: Path) -> bool:
    for node in ast.walk(ast.parse(program.read_bytes(), str(program))):
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            names = [node.module]
        else:
            continue
        if any(name.partition(".")[0] == "talweg" for name in names):
            return True
    return False


def run_program(program: str, arguments: Sequence[str], as_module: bool = False) -> None:
    """Run a file or a module as `python` would, its `import torch` being talweg's front end.

    Tracebacks, exit codes, `sys.argv`, `sys.path` and `__main__` are those of the program alone.

    Args:
        program: a file, or with `as_module` the dotted name of a module or package.
        arguments: what follows it on the command line.
        as_module: as with `python -m`.

    Raises:
        SystemExit: with the program's exit code; 1 after an exception, which is printed; 2 for a
            file that is not there.
    """
    imports.install()
    sys.argv = [program, *arguments]
    try:
        if as_module:
            sys.path.insert(0, str(Path.cwd()))
            runpy.run_module(program, run_name="__main__", alter_sys=True)
        else:
            _run_file(program)
    except SystemExit:
        raise
    except BaseException as error:
        trace = _own_part(error.__traceback__)
        sys.excepthook(type(error), error.with_traceback(trace), trace)
        interrupted = isinstance(error, KeyboardInterrupt)
        raise SystemExit(130 if interrupted else 1) from None


def _run_file(program: str) -> None:
    path = Path(program)
    if not path.exists():
        print(f"talweg: can't open file {program!r}: there is no such file", file=sys.stderr)
        raise SystemExit(2)
    if path.is_dir() or path.suffix == ".zip":
        runpy.run_path(program, run_name="__main__")
        return
    main = ModuleType("__main__")
    vars(main).update(__file__=program, __builtins__=builtins, __cached__=None)
    sys.modules["__main__"] = main
    sys.path.insert(0, str(path.resolve().parent))
    exec(compile(path.read_bytes(), program, "exec"), vars(main))


def _own_part(trace: TracebackType | None) -> TracebackType | None:
    """Leave out the frames that lead from the command to the program."""
    while trace is not None and _leads(trace.tb_frame.f_code.co_filename):
        trace = trace.tb_next
    return trace


def _leads(file: str) -> bool:
    return file in (__file__, runpy.__file__, "<frozen runpy>")


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
