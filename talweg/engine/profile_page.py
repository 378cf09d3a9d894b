"""The page that shows a profile."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from talweg.engine.pictures import Mark, time_picture
from talweg.engine.report import bar, escaped, folded, page, table
from talweg.engine.units import time_text

if TYPE_CHECKING:
    from talweg.engine.profile import Event, KernelAverage, profile

PICTURED = 5000  # events: the first ones are drawn
LANES = {
    "step": "steps",
    "evaluation": "evaluations",
    "plan": "planning",
    "compiled": "planning",
    "loaded": "planning",
    "references": "kernels",
    "kernel": "kernels",
}


def profile_page(title: str, found: profile) -> str:
    """Return the whole page."""
    kernels = found.key_averages()
    most = max((k.cpu_time_total for k in kernels), default=0.0) or 1.0
    head = ("kernel", "calls", "total", "mean", "GFLOP/s", "GB/s", "of peak", "from")
    rows = [_row(kernel, most) for kernel in kernels]
    times = found.times()
    whole = times.pop("all") or 1
    parts = [
        (escaped(name), bar(ns / whole, time_text(ns)), f"{100 * ns / whole:.1f}%")
        for name, ns in times.items()
    ]
    note = "Kernels run one by one under a profile: the time between them is longer than without."
    return page(
        title,
        "\n".join(
            [
                table(head, rows, "krrrrrrl"),
                f"<h2>The whole: {time_text(whole)}</h2>",
                table(("", "time", "part"), parts, "lrr"),
                f'<p class="note">{note}</p>',
                folded("when what ran", _timeline(found.events()), open=True),
            ]
        ),
    )


def _row(kernel: KernelAverage, most: float) -> tuple[str, ...]:
    return (
        escaped(kernel.key),
        str(kernel.count),
        bar(kernel.cpu_time_total / most, time_text(kernel.cpu_time_total * 1e3)),
        time_text(kernel.cpu_time * 1e3),
        f"{kernel.gflops:.2f}",
        f"{kernel.bandwidth:.2f}",
        "" if kernel.share is None else bar(kernel.share, f"{100 * kernel.share:.0f}%"),
        "<br>".join(f"<code>{escaped(line)}</code>" for line in kernel.lines),
    )


def _timeline(events: Sequence[Event]) -> str:
    shown = sorted(events, key=lambda e: e.start)[:PICTURED]
    if not shown:
        return ""
    begin = shown[0].start
    threads = list(dict.fromkeys(e.thread for e in shown))
    marks = [
        Mark(
            f"thread {threads.index(e.thread)}: {LANES[e.kind]}",
            e.start - begin,
            e.spent,
            e.name,
            f"{e.name}: {time_text(e.spent)} after {time_text(e.start - begin)}",
        )
        for e in shown
    ]
    left = "" if len(events) <= PICTURED else f", the first {PICTURED} of {len(events)}"
    return time_picture(marks, f"{time_text(max(m.start + m.length for m in marks))}{left}")
