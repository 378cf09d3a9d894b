"""Results: medians, spread and ratios; as lines, as JSON, and as Markdown tables."""

from __future__ import annotations

import math
import statistics
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

from benchmarks.frameworks import FRAMEWORKS, OURS

Round = dict[str, dict[str, Any]]
"""What one round gave: for each framework `median`, `low`, `high` and more."""

UNITS = {"s": ((1.0, "s"), (1e-3, "ms"), (1e-6, "µs")), "MB": ((1.0, "MB"),)}


@dataclass
class Result:
    """What was found for one case.

    Args:
        workload, name, group: of the case.
        flops, floor: of one step; 0 where they are not the measure.
        load: of the machine before.
        unit: of what was measured, `s` or `MB`; less is better.
        skipped, failed: frameworks without figures, and why.
        ready: seconds until the first steps were done.
        apart: how far the results of each framework are from those of the trusted one.
        rounds: what was measured.
        foreign: the largest share of the machine that others took in a round.
        metrics: further figures, by framework.
    """

    workload: str
    name: str
    group: str = ""
    flops: float = 0.0
    floor: float = 0.0
    load: float = 0.0
    unit: str = "s"
    skipped: dict[str, str] = field(default_factory=dict)
    failed: dict[str, str] = field(default_factory=dict)
    ready: dict[str, float] = field(default_factory=dict)
    apart: dict[str, dict[str, float]] = field(default_factory=dict)
    rounds: list[Round] = field(default_factory=list)
    foreign: float = 0.0
    metrics: dict[str, dict[str, float]] = field(default_factory=dict)

    def medians(self) -> dict[str, float]:
        """Return the median over the rounds, for each framework that was measured."""
        return {name: statistics.median(self.values(name)) for name in self.measured()}

    def measured(self) -> list[str]:
        """Return the frameworks that have figures, in the order of `FRAMEWORKS`."""
        return [name for name in FRAMEWORKS if any(name in r for r in self.rounds)]

    def values(self, framework: str) -> list[float]:
        """Return the figures of a framework, one for each round."""
        return [r[framework]["median"] for r in self.rounds if framework in r]

    def spread(self, framework: str) -> tuple[float, float]:
        """Return the smallest and the largest figure."""
        return min(self.values(framework)), max(self.values(framework))

    def best(self, ours: bool) -> str:
        """Return the name of our fastest, or of the fastest peer; empty where there is none."""
        medians = {n: v for n, v in self.medians().items() if (n in OURS) == ours}
        return min(medians, key=lambda name: medians[name], default="")

    def ratios(self) -> list[float]:
        """Return the best peer's figure over ours, for each round: above 1 we are faster."""
        peer, mine = self.best(ours=False), self.best(ours=True)
        return [
            r[peer]["median"] / r[mine]["median"]
            for r in self.rounds
            if peer in r and mine in r and r[mine]["median"]
        ]

    def ratio(self) -> float:
        """Return the median of `ratios`; NaN where there are none."""
        found = self.ratios()
        return statistics.median(found) if found else math.nan

    def rate(self, framework: str) -> str:
        """Return GF/s or GB/s of a framework; empty where neither is the measure."""
        seconds = self.medians()[framework]
        if self.flops:
            return f"{self.flops / seconds / 1e9:.0f} GF/s"
        if self.floor:
            return f"{self.floor / seconds / 1e9:.1f} GB/s"
        return ""

    def line(self) -> str:
        """Return the result in a line of text."""
        parts = []
        for name, median in self.medians().items():
            low, high = self.spread(name)
            around = f"{written(low, self.unit)}…{written(high, self.unit)}"
            rate = self.rate(name)
            parts.append(
                f"{FRAMEWORKS[name]} {written(median, self.unit)} ({around}{rate and ', ' + rate})"
            )
        parts += [f"{FRAMEWORKS[n]}: {why}" for n, why in self.failed.items()]
        ratio = f"{self.ratio():.2f}x" if self.ratios() else "no ratio"
        return f"{self.name}: {ratio}; " + "; ".join(parts)


def written(value: float, unit: str) -> str:
    """Return a figure with three digits and its unit."""
    steps = UNITS[unit]
    scale, name = next((step for step in steps if value >= step[0]), steps[-1])
    value /= scale
    digits = 0 if value >= 100 else 1 if value >= 10 else 2
    return f"{value:.{digits}f} {name}"


def geometric_mean(values: Iterable[float]) -> float:
    """Return the geometric mean; NaN of nothing."""
    logarithms = [math.log(value) for value in values]
    return math.exp(statistics.fmean(logarithms)) if logarithms else math.nan


def table(results: Sequence[Result], shares: bool = True) -> str:
    """Return a Markdown table, a row for each result.

    Args:
        results: rows.
        shares: whether there is a column for our GF/s or GB/s.
    """
    names = [n for n in FRAMEWORKS if any(n in r.measured() for r in results)]
    heads = ["workload", *(FRAMEWORKS[name] for name in names), "ratio", "spread"]
    lines = ["| " + " | ".join(heads + ["talweg's rate"] * shares) + " |"]
    lines.append("|---" * (len(heads) + shares) + "|")
    for result in results:
        medians = result.medians()
        cells = [result.name.replace("|", "\\|")]
        for name in names:
            text = written(medians[name], result.unit) if name in medians else why(result, name)
            cells.append(f"**{text}**" if name == result.best(ours=False) else text)
        ratios = result.ratios()
        cells.append(f"{result.ratio():.2f}" if ratios else "–")
        cells.append(f"{min(ratios):.2f}–{max(ratios):.2f}" if ratios else "–")
        if shares:
            mine = result.best(ours=True)
            cells.append((mine and result.rate(mine)) or "–")
        lines.append("| " + " | ".join(cells) + " |")
    return "\n".join(lines)


def why(result: Result, framework: str) -> str:
    """Return what stands in a cell without a figure."""
    return "failed" if framework in result.failed else "–"


def summaries(results: Sequence[Result]) -> str:
    """Return a Markdown table of the groups: geometric mean and worst of their ratios."""
    groups: dict[str, list[Result]] = {}
    for result in results:
        if result.group and result.ratios():
            groups.setdefault(result.group, []).append(result)
    training = [r for r in results if r.name.endswith(("training step", "AdamW step"))]
    if any(r.ratios() for r in training):
        groups["training steps"] = [r for r in training if r.ratios()]
    if not groups:
        return ""
    lines = ["| group | cases | geometric mean | worst |", "|---|---|---|---|"]
    for group, members in groups.items():
        ratios = [r.ratio() for r in members]
        worst = min(members, key=Result.ratio)
        lines.append(
            f"| {group} | {len(members)} | {geometric_mean(ratios):.2f} "
            f"| {worst.ratio():.2f} ({worst.name}) |"
        )
    return "\n".join(lines)


def failures(results: Sequence[Result]) -> str:
    """Return a Markdown list of what failed; empty when nothing did."""
    lines = [
        f"- {result.name}, {FRAMEWORKS[name]}: {reason}"
        for result in results
        for name, reason in result.failed.items()
    ]
    return "\n".join(lines)


def further(results: Sequence[Result]) -> str:
    """Return a Markdown list of further figures; empty where there are none."""
    lines = []
    for result in results:
        for framework, found in result.metrics.items():
            shown = [f"{name} {value:.2f}" for name, value in found.items() if " " in name]
            if found.get("interpreted"):
                shown.append(f"{found['interpreted']:.0f} nodes without a kernel so far")
            if shown:
                lines.append(f"- {result.name}, {FRAMEWORKS[framework]}: {', '.join(shown)}")
    return "\n".join(lines)


def markdown(results: Sequence[Result], circumstances: Sequence[str]) -> str:
    """Return the whole report.

    Args:
        results: of all cases.
        circumstances: lines about the machine and the versions.
    """
    single = [r for r in results if not r.group]
    parts = ["\n".join(f"- {line}" for line in circumstances)]
    times = [r for r in single if r.unit == "s"]
    if times:
        parts.append(table(times))
    if other := [r for r in single if r.unit != "s"]:
        parts.append(table(other, shares=False))
    if summary := summaries(results):
        parts.append(summary)
    for group in dict.fromkeys(r.group for r in results if r.group):
        rows = table([r for r in results if r.group == group])
        parts.append(f"<details><summary>{group}</summary>\n\n{rows}\n\n</details>")
    if listed := further(results):
        parts.append(listed)
    if listed := failures(results):
        parts.append(f"Without figures:\n\n{listed}")
    return "\n\n".join(parts)


def as_json(results: Sequence[Result], circumstances: Sequence[str]) -> dict[str, Any]:
    """Return everything that was found, for `json.dump`."""
    rows = []
    for result in results:
        ratio = result.ratio()
        summary = {"medians": result.medians(), "ratio": None if ratio != ratio else ratio}
        rows.append(asdict(result) | summary)
    return {"circumstances": list(circumstances), "results": rows}
