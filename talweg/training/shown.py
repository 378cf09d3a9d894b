"""How far training is: a bar where `rich` is installed, a line for each epoch otherwise."""

from __future__ import annotations

import sys
from typing import Any, Protocol

from talweg.base.errors import MissingExtra
from talweg.base.extras import require


class Shown(Protocol):
    """Who is told how far training is."""

    def begin(self, epoch: int, epochs: int, batches: int | None, done: int) -> None:
        """Be told that an epoch begins, and how many of its batches are done."""

    def step(self, loss: float) -> None:
        """Be told that a batch is done."""

    def end(self, row: dict[str, Any]) -> None:
        """Be told what an epoch gave."""

    def close(self) -> None:
        """Be told that training ends."""


class Silent(Shown):
    """Shows nothing."""

    def begin(self, epoch: int, epochs: int, batches: int | None, done: int) -> None: ...

    def step(self, loss: float) -> None: ...

    def end(self, row: dict[str, Any]) -> None: ...

    def close(self) -> None: ...


class Lines(Silent):
    """Prints a line for each epoch."""

    def end(self, row: dict[str, Any]) -> None:
        sys.stdout.write(f"{described(row)}\n")


class Bar(Shown):
    """A bar for the present epoch, above it a line for each that is done.

    Args:
        progress: the module `rich.progress`.
    """

    def __init__(self, progress: Any) -> None:
        columns = (
            progress.TextColumn("{task.description}"),
            progress.BarColumn(),
            progress.MofNCompleteColumn(),
            progress.TimeRemainingColumn(),
            progress.TextColumn("{task.fields[loss]}"),
        )
        self.bar = progress.Progress(*columns, transient=True)
        self.task: Any = None
        self.bar.start()

    def begin(self, epoch: int, epochs: int, batches: int | None, done: int) -> None:
        name = f"epoch {epoch}/{epochs}"
        self.task = self.bar.add_task(name, total=batches, completed=done, loss="")

    def step(self, loss: float) -> None:
        self.bar.update(self.task, advance=1, loss=f"loss {loss:.4g}")

    def end(self, row: dict[str, Any]) -> None:
        self.bar.remove_task(self.task)
        self.bar.console.print(described(row), highlight=False)

    def close(self) -> None:
        self.bar.stop()


def described(row: dict[str, Any]) -> str:
    """Return a row of numbers as a line."""
    rest = ", ".join(f"{name} {value:.4g}" for name, value in row.items() if name != "epoch")
    return f"epoch {row['epoch']}: {rest}"


def shown(progress: bool) -> Shown:
    """Return who shows how far training is."""
    if not progress:
        return Silent()
    try:
        return Bar(require("rich.progress", extra="cli"))
    except MissingExtra:
        return Lines()
