"""The `talweg` command."""

from __future__ import annotations

import platform
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any, Literal, TypeAlias

import numpy as np

import talweg as tw
from talweg.base import config
from talweg.base.deferred import deferred
from talweg.base.errors import MissingExtra, TalwegError
from talweg.base.extras import require

if TYPE_CHECKING:
    import llvmlite
    import llvmlite.binding as llvm

    from talweg.tools import bench as benchmark
    from talweg.tools import demo as demonstration
    from talweg.tools import programs
else:
    llvmlite = deferred("llvmlite")
    llvm = deferred("llvmlite.binding")
    benchmark = deferred("talweg.tools.bench")
    demonstration = deferred("talweg.tools.demo")
    programs = deferred("talweg.tools.programs")

Sort: TypeAlias = Literal["cpu_time_total", "cpu_time", "count", "flops", "nbytes", "share"]

WELCOME = (
    "[bold]talweg[/bold]: deep learning in pure Python.\n\n"
    "Write a network as in PyTorch; talweg records it into one graph and differentiates that.\n\n"
    "Begin with [bold]talweg demo[/bold]: it trains a small network on handwritten digits, and "
    "leaves the model and its pictures in a folder. [bold]talweg info[/bold] says what this "
    "machine offers. In Python: [bold]import talweg as tw[/bold]."
)


_RUN_BY = {
    "always": "machine code, made through LLVM",
    "auto": "machine code, made through LLVM; small ones, at first sight, by NumPy references",
    "never": "the NumPy references (TALWEG_COMPILE=never)",
}


def host_features() -> list[str]:
    """The vector instruction sets of the host CPU that code generation cares about.

    Returns:
        LLVM's names, such as `avx2`; empty where LLVM cannot tell.
    """
    wanted = ("avx", "fma", "avx2", "avx512", "amx", "f16c", "neon", "sve", "fullfp16")
    try:
        found = llvm.get_host_cpu_features()
    except RuntimeError:
        return []
    return sorted(name for name, has in found.items() if has and name.startswith(wanted))


def facts() -> dict[str, str]:
    """What `talweg info` shows: one line of text for each name.

    Raises:
        InvalidValue: when an environment variable such as `TALWEG_NUM_THREADS` is not valid.
    """
    settings = config.read()
    llvm_version = ".".join(map(str, llvm.llvm_version_info))
    return {
        "talweg": tw.__version__,
        "Python": f"{platform.python_version()} ({sys.executable})",
        "NumPy": np.__version__,
        "llvmlite": f"{llvmlite.__version__} with LLVM {llvm_version}",
        "system": f"{platform.system()} {platform.machine()}",
        "CPU": llvm.get_host_cpu_name(),
        "features": " ".join(host_features()) or "none that talweg knows",
        "devices": "cpu",
        "threads": str(settings.threads),
        "graphs run by": _RUN_BY[settings.compile],
        "cache": f"{settings.cache}{'' if Path(settings.cache).exists() else ' (not made yet)'}",
    }


@contextmanager
def plain_errors() -> Iterator[None]:
    """Turn talweg's own errors and Ctrl-C into one line and an exit status (1 and 130)."""
    try:
        yield
    except TalwegError as error:
        print(f"talweg: {error}", file=sys.stderr)
        raise SystemExit(1) from None
    except KeyboardInterrupt:
        print("talweg: interrupted", file=sys.stderr)
        raise SystemExit(130) from None


def _add_watching(typer: ModuleType, app: Any) -> None:
    """Add the commands that run a program and watch it."""
    # What follows the program belongs to it.
    settings = {"ignore_unknown_options": True, "allow_interspersed_args": False}
    file = typer.Argument(exists=True, dir_okay=False, help="A Python program.")
    rest = typer.Argument(None, help="Its arguments.")
    page = typer.Option(None, help="Write a page with pictures, too.")

    def run(
        program: str = typer.Argument(help="A Python program; with -m, a module."),
        arguments: list[str] | None = rest,
        as_module: bool = typer.Option(False, "-m", help="Run a module, as python -m does."),
    ) -> None:
        """Run a Python program whose `import torch` is to mean talweg."""
        programs.run_program(program, arguments or [], as_module)

    def profile(
        program: Path = file,
        arguments: list[str] | None = rest,
        sort_by: Sort = typer.Option("cpu_time_total", help="Order of the table."),
        rows: int = typer.Option(30, min=-1, help="Of the table; -1 for all."),
        html: Path | None = page,
        trace: Path | None = typer.Option(None, help="Write a trace for ui.perfetto.dev, too."),
    ) -> None:
        """Run a Python program and show what its time went to, kernel by kernel.

        One that does not import talweg finds it as torch.
        """
        programs.profile_program(program, arguments or [], sort_by, rows, html, trace)

    def explain(
        program: Path = file, arguments: list[str] | None = rest, html: Path | None = page
    ) -> None:
        """Run a Python program and show what the compiler made of it.

        One that does not import talweg finds it as torch.
        """
        programs.explain_program(program, arguments or [], html)

    def tune(
        program: Path = file,
        arguments: list[str] | None = rest,
        seconds: float = typer.Option(60.0, min=1.0, help="How long to measure."),
        schedules: int = typer.Option(12, min=2, help="How many to try of each kernel."),
    ) -> None:
        """Run a Python program and search better schedules for its kernels.

        They are kept in the cache folder and taken from then on. Nothing else should run meanwhile.
        """
        programs.tune_program(program, arguments or [], seconds, schedules)

    app.command(context_settings=settings)(run)
    app.command(context_settings=settings)(profile)
    app.command(context_settings=settings)(explain)
    app.command(context_settings=settings)(tune)


def application(typer: ModuleType) -> Any:
    """Build the command-line application.

    Args:
        typer: the module, which is an optional package.
    """

    def info() -> None:
        """Show versions, processor, devices, threads and folders."""
        with plain_errors():
            table = require("rich.table", extra="cli").Table(box=None, show_header=False)
            table.add_column(style="bold")
            table.add_column(overflow="fold")
            for name, text in facts().items():
                table.add_row(name, text)
            require("rich.console", extra="cli").Console().print(table, soft_wrap=False)

    def demo(
        data: Literal["digits", "fashion"] = typer.Option(
            "digits",
            help="digits: 1,797 small handwritten digits that come with scikit-learn. "
            "fashion: Fashion-MNIST, 70,000 pictures of clothes, read from --data-dir.",
        ),
        epochs: int | None = typer.Option(
            None, min=1, help="Passes over the training set; by default enough for the data set."
        ),
        out: Path = typer.Option(Path("demo-out"), help="Folder for the model and the pictures."),
        seed: int = typer.Option(0, help="The same seed gives the same numbers."),
        data_dir: Path | None = typer.Option(None, help="Folder of the Fashion-MNIST files."),
        resume: bool = typer.Option(
            False, "--resume", help="Continue an interrupted run in --out."
        ),
    ) -> None:
        """Train a convolutional network, save it, load it back, and show its mistakes."""
        with plain_errors():
            demonstration.run(data, epochs, out, seed, data_dir, resume)

    def peak(
        again: bool = typer.Option(False, "--again", help="Measure even if the figures are known."),
    ) -> None:
        """Show what this machine reaches at most: arithmetic and memory, 1 thread and all."""
        with plain_errors():
            benchmark.show_peak(again)

    bench = typer.Typer(help="Measure this machine.", no_args_is_help=True)
    bench.command()(peak)

    app = typer.Typer(
        name="talweg",
        help=WELCOME,
        rich_markup_mode="rich",
        no_args_is_help=True,
        add_completion=False,
        pretty_exceptions_enable=False,
    )
    app.command()(demo)
    app.command()(info)
    app.add_typer(bench, name="bench")
    _add_watching(typer, app)
    return app


def main() -> None:
    """Run the command line; the entry point of the `talweg` script."""
    try:
        app = application(require("typer", extra="cli"))
    except MissingExtra as error:
        print(f"talweg: {error}", file=sys.stderr)
        raise SystemExit(1) from None
    app(prog_name="talweg")


if __name__ == "__main__":
    main()
