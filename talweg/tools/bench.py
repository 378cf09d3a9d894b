"""`talweg bench`: what this machine can reach, as a table."""

from __future__ import annotations

from talweg.base.extras import require
from talweg.engine.peak import Peak, measured_peak

ROWS = (
    ("float32 multiply-add", "float32", "GF/s"),
    ("float64 multiply-add", "float64", "GF/s"),
    ("read", "read", "GB/s"),
    ("triad, a = b + s·c", "triad", "GB/s"),
)


def rows(peak: Peak) -> list[tuple[str, str, str]]:
    """Return the lines of the table: what, on one thread, on all."""
    made = []
    for title, name, unit in ROWS:
        one, all_ = (f"{rate / 1e9:.1f} {unit}" for rate in getattr(peak, name))
        made.append((title, one, all_))
    return made


def show_peak(again: bool) -> None:
    """Print what this machine reaches.

    Args:
        again: measure even if the figures are known.

    Raises:
        MissingExtra: without rich.
    """
    rich_table = require("rich.table", extra="cli")
    peak = measured_peak(again)
    table = rich_table.Table(title=peak.cpu, title_justify="left", box=None)
    table.add_column("at most", style="bold")
    table.add_column("1 thread", justify="right")
    table.add_column(f"{peak.threads} threads", justify="right")
    for row in rows(peak):
        table.add_row(*row)
    require("rich.console", extra="cli").Console().print(table)
