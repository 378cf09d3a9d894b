"""Pictures of plans as inline SVG: which kernel feeds which, and what lies in memory when."""

from __future__ import annotations

import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import final

from talweg.engine.report import escaped

WIDTH, HEIGHT, ACROSS, DOWN = 158, 36, 16, 30


@final
@dataclass(frozen=True)
class Box:
    """A step of a plan.

    Args:
        name: what is written in it, cut off where it is too long.
        below: a second line, in small letters.
        tip: shown when the pointer rests on it.
        weight: from 0 to 1: how much of it is filled.
        kind: another class of its outline.
    """

    name: str
    below: str
    tip: str
    weight: float
    kind: str = ""


def flow_picture(boxes: Mapping[int, Box], edges: Sequence[tuple[int, int, float]]) -> str:
    """Draw steps in layers: each below those it reads from.

    Args:
        boxes: by number; an edge leads to a larger one.
        edges: from, to, and a width in pixels.
    """
    rows, columns = _arranged(boxes, edges)
    place = {
        n: (int(columns[n] * (WIDTH + ACROSS)) + 4, rows[n] * (HEIGHT + DOWN) + 4) for n in boxes
    }
    width = max((x for x, _ in place.values()), default=0) + WIDTH + 4
    height = max((y for _, y in place.values()), default=0) + HEIGHT + 4
    lines = [_edge(place[a], place[b], wide) for a, b, wide in edges]
    drawn = [_box(boxes[n], *place[n]) for n in place]
    return _svg(width, height, "".join([*lines, *drawn]))


def _arranged(
    boxes: Mapping[int, Box], edges: Sequence[tuple[int, int, float]]
) -> tuple[dict[int, int], dict[int, float]]:
    """The row of each box, and its column: as near as can be to the middle of what it reads."""
    before: dict[int, list[int]] = {n: [] for n in boxes}
    for a, b, _ in edges:
        before[b].append(a)
    rows: dict[int, int] = {}
    for number in sorted(boxes):
        rows[number] = max((rows[a] + 1 for a in before[number]), default=0)
    columns: dict[int, float] = {}
    for row in range(max(rows.values(), default=-1) + 1):
        layer = [n for n in sorted(boxes) if rows[n] == row]
        wanted = {
            n: sum(columns[a] for a in before[n]) / len(before[n]) if before[n] else 0.0
            for n in layer
        }
        free = 0.0
        for number in sorted(layer, key=lambda n: wanted[n]):
            columns[number] = max(free, wanted[number])
            free = columns[number] + 1
    return rows, columns


def _edge(start: tuple[int, int], end: tuple[int, int], width: float) -> str:
    x, y = start[0] + WIDTH / 2, start[1] + HEIGHT
    u, v = end[0] + WIDTH / 2, end[1]
    bend = max(14.0, (v - y) / 2)
    path = f"M{x:.0f} {y}C{x:.0f} {y + bend:.0f} {u:.0f} {v - bend:.0f} {u:.0f} {v}"
    return f'<path class="edge" d="{path}" stroke-width="{width:.1f}"/>'


def _box(box: Box, x: int, y: int) -> str:
    name = box.name if len(box.name) <= 24 else box.name[:23] + "…"
    return (
        f'<g transform="translate({x} {y})"><title>{escaped(box.tip)}</title>'
        f'<rect class="box {box.kind}" width="{WIDTH}" height="{HEIGHT}" rx="5"/>'
        f'<rect class="value" stroke="none" x="1" y="{HEIGHT - 4}" height="3" '
        f'width="{max(box.weight, 0) * (WIDTH - 2):.1f}"/>'
        f'<text x="7" y="14">{escaped(name)}</text>'
        f'<text class="small" x="7" y="27">{escaped(box.below)}</text></g>'
    )


@final
@dataclass(frozen=True)
class Span:
    """A rectangle: from `left` to `right`, `low` to `high`, in units of the picture."""

    left: float
    right: float
    low: float
    high: float
    tip: str


def memory_picture(spans: Sequence[Span], steps: int, nbytes: int, label: str) -> str:
    """Draw values as rectangles: steps go to the right, addresses upwards."""
    width, height = max(420, min(1100, 26 * steps)), 230
    across, up = width / max(steps, 1), height / max(nbytes, 1)
    parts = [f'<text class="small" x="2" y="10">{escaped(label)}</text>']
    for span in spans:
        x, y = span.left * across, 14 + height - span.high * up
        w, h = (span.right - span.left) * across, (span.high - span.low) * up
        parts.append(
            f'<rect class="value" x="{x:.1f}" y="{y:.1f}" width="{w:.1f}" height="{h:.2f}">'
            f"<title>{escaped(span.tip)}</title></rect>"
        )
    base = height + 14
    parts.append(f'<line class="axis" x1="0" x2="{width}" y1="{base}" y2="{base}"/>')
    every = max(1, steps // 20)
    for step in range(0, steps, every):
        x = (step + 0.5) * across
        parts.append(f'<text class="small" x="{x:.0f}" y="{base + 12}">{step}</text>')
    return _svg(width, base + 16, "".join(parts))


def _svg(width: float, height: float, body: str) -> str:
    return (
        f'<div class="picture"><svg xmlns="http://www.w3.org/2000/svg" width="{width:.0f}" '
        f'height="{height:.0f}" viewBox="0 0 {width:.0f} {height:.0f}">{body}</svg></div>'
    )


@final
@dataclass(frozen=True)
class Mark:
    """Something on a line of time.

    Args:
        lane: marks of one lane stand in one row.
        start, length: in any unit.
        color: equal texts have one colour.
        tip: shown when the pointer rests on it.
    """

    lane: str
    start: float
    length: float
    color: str
    tip: str


def time_picture(marks: Sequence[Mark], label: str) -> str:
    """Draw marks along a line of time, a row for each lane."""
    lanes = list(dict.fromkeys(m.lane for m in marks))
    end = max((m.start + m.length for m in marks), default=0) or 1
    width, row, left = 1000, 22, 150
    parts = [
        f'<text class="small" x="2" y="{n * row + 15}">{escaped(lane)}</text>'
        for n, lane in enumerate(lanes)
    ]
    for mark in marks:
        x = left + mark.start / end * width
        parts.append(
            f'<rect class="span" x="{x:.2f}" y="{lanes.index(mark.lane) * row + 3}" '
            f'width="{max(mark.length / end * width, 0.3):.2f}" height="{row - 6}" '
            f'fill="hsl({_hue(mark.color)} 55% 62%)"><title>{escaped(mark.tip)}</title></rect>'
        )
    height = len(lanes) * row + 16
    parts.append(f'<text class="small" x="{left}" y="{height - 3}">{escaped(label)}</text>')
    return _svg(left + width + 4, height, "".join(parts))


def _hue(text: str) -> int:
    return zlib.crc32(text.encode()) % 360
