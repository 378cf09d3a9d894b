"""What training went through: one row of numbers for each epoch."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from typing import Any

from talweg.base.errors import InvalidValue
from talweg.base.extras import require


class History:
    """Rows of numbers, one for each epoch; `history["loss"]` is a curve.

    Args:
        rows: one dict per epoch, of numbers by name.
        stopped: why training ended: "epochs", "patience", or "" while it has not.

    >>> history = tw.training.History([{"epoch": 1, "loss": 2.0}, {"epoch": 2, "loss": 1.5}])
    >>> history["loss"], history.best("loss")["epoch"]
    ([2.0, 1.5], 2)
    """

    def __init__(self, rows: Sequence[dict[str, Any]] = (), stopped: str = "") -> None:
        self.rows = list(rows)
        self.stopped = stopped

    def __getitem__(self, name: str) -> list[Any]:
        """Return a number of all epochs.

        Raises:
            InvalidValue: when no epoch has it.
        """
        if not any(name in row for row in self.rows):
            raise InvalidValue(f"history has no {name!r}; it has {', '.join(self.names) or 'none'}")
        return [row.get(name) for row in self.rows]

    def __iter__(self) -> Iterator[dict[str, Any]]:
        return iter(self.rows)

    def __len__(self) -> int:
        return len(self.rows)

    def __repr__(self) -> str:
        last = ", ".join(f"{k} {v:.4g}" for k, v in (self.rows or [{}])[-1].items())
        return f"<History of {len(self)} epochs: {last}>"

    @property
    def names(self) -> list[str]:
        """What there is a curve of."""
        return list(dict.fromkeys(name for row in self.rows for name in row))

    def best(self, name: str, mode: str = "min") -> dict[str, Any]:
        """Return the row where a number is smallest, or largest with mode "max"."""
        self[name]
        rows = [row for row in self.rows if name in row]
        return (max if mode == "max" else min)(rows, key=lambda row: float(row[name]))

    def draw(self, path: str | os.PathLike[str] | None = None, names: Sequence[str] = ()) -> Any:
        """Return the curves as a figure of Matplotlib: those of training and validation together.

        Args:
            path: where to save it, as well.
            names: which ones; all but the epoch's number unless given.

        Raises:
            MissingExtra: when Matplotlib is not installed.
        """
        figure = require("matplotlib.figure", extra="plot").Figure(layout="constrained")
        wanted = list(names) or [n for n in self.names if n != "epoch"]
        groups: dict[str, list[str]] = {}
        for name in wanted:
            groups.setdefault(name.removeprefix("validation "), []).append(name)
        axes = figure.subplots(len(groups), 1, squeeze=False, sharex=True)[:, 0]
        for ax, (title, curves) in zip(axes, groups.items(), strict=True):
            for name in curves:
                ax.plot(self["epoch"], self[name], marker=".", label=name)
            ax.set_ylabel(title)
            if len(curves) > 1:
                ax.legend()
        if len(axes):
            axes[-1].set_xlabel("epoch")
        if path is not None:
            figure.savefig(path)
        return figure
