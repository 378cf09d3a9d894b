"""Tables as text and HTML, and pages that need nothing beside themselves."""

from __future__ import annotations

import html
from collections.abc import Iterable, Sequence
from typing import TypeAlias

Row: TypeAlias = Sequence[str]

GAP = "  "


def aligned(head: Row, rows: Iterable[Row], sides: str) -> str:
    """Return a table as text, a line below its head.

    Args:
        head: a name for each column.
        rows: the texts.
        sides: of each column a letter: `l` for text, `r` for numbers, `k` for a keyword.

    >>> print(aligned(("name", "n"), [("one", "1"), ("eleven", "11")], "lr"))
    name     n
    ------  --
    one      1
    eleven  11
    """
    lines = [list(head), *map(list, rows)]
    widths = [max(len(line[c]) for line in lines) for c in range(len(head))]
    lines.insert(1, ["-" * width for width in widths])
    return "\n".join(
        GAP.join(
            text.rjust(width) if side == "r" else text.ljust(width)
            for text, width, side in zip(line, widths, sides, strict=True)
        ).rstrip()
        for line in lines
    )


def escaped(text: object) -> str:
    """Return text as HTML."""
    return html.escape(str(text))


def table(head: Row, rows: Iterable[Row], sides: str) -> str:
    """Return a table as HTML; cells are HTML already. Arguments are those of `aligned`."""

    def cells(row: Row, tag: str) -> str:
        return "".join(
            f'<{tag} class="{side}">{text}</{tag}>' for text, side in zip(row, sides, strict=True)
        )

    body = "".join(f"<tr>{cells(row, 'td')}</tr>\n" for row in rows)
    return (
        f'<div class="wide"><table><thead><tr>{cells([escaped(h) for h in head], "th")}</tr>'
        f"</thead><tbody>\n{body}</tbody></table></div>"
    )


def folded(title: str, body: str, open: bool = False) -> str:
    """Return HTML that is shown when its title is clicked."""
    return f"<details{' open' * open}><summary>{title}</summary>{body}</details>"


def code(text: str) -> str:
    """Return a block of code as HTML."""
    return f"<pre>{escaped(text)}</pre>"


def bar(share: float, text: str) -> str:
    """Return a cell whose background is filled by so much."""
    percent = 100 * min(max(share, 0.0), 1.0)
    return f'<span class="bar" style="--share:{percent:.1f}%">{escaped(text)}</span>'


def page(title: str, body: str) -> str:
    """Return a whole page."""
    return (
        '<!DOCTYPE html>\n<html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<title>{escaped(title)}</title><style>{_STYLE}</style></head>\n"
        f"<body><h1>{escaped(title)}</h1>\n{body}\n</body></html>\n"
    )


_STYLE = """
:root { --ink: #1c2733; --muted: #66727f; --line: #dfe4ea; --ground: #fff; --fill: #cfe3f7;
  --strong: #2f6fb3; --box: #f5f8fb; --warm: #e9a15b; color-scheme: light dark }
@media (prefers-color-scheme: dark) { :root { --ink: #dfe6ee; --muted: #93a1b0; --line: #33404d;
  --ground: #161c22; --fill: #2b4a6b; --strong: #7db4ea; --box: #1e262e; --warm: #c98a4b } }
body { font: 14px/1.45 system-ui, sans-serif; color: var(--ink); background: var(--ground);
  margin: 2rem auto; max-width: 76rem; padding: 0 1rem }
h1 { font-size: 1.35rem } h2 { font-size: 1.1rem; margin: 2rem 0 .4rem }
p.note, .muted { color: var(--muted) }
table { border-collapse: collapse; font-variant-numeric: tabular-nums; margin: .6rem 0 }
th { text-align: left; font-weight: 600; border-bottom: 2px solid var(--line) }
th, td { padding: .18rem .7rem .18rem 0; vertical-align: top }
td { border-bottom: 1px solid var(--line) } th.r, td.r { text-align: right }
code, pre, td.k { font-family: ui-monospace, monospace; font-size: .85em }
pre { background: var(--box); padding: .7rem; overflow: auto; max-height: 34rem }
details { margin: .25rem 0 } summary { cursor: pointer }
.wide, .picture { overflow: auto; max-height: 46rem }
.bar { display: inline-block; width: 100%; min-width: 5rem; background:
  linear-gradient(var(--fill), var(--fill)) no-repeat left / var(--share) 100% }
svg text { font: 11px system-ui, sans-serif; fill: var(--ink) }
svg .small { font-size: 9.5px; fill: var(--muted) }
svg .box { fill: var(--box); stroke: var(--strong) } svg .host { stroke: var(--warm) }
svg .edge { fill: none; stroke: var(--muted); stroke-opacity: .45 }
svg .value { fill: var(--fill); stroke: var(--strong); stroke-width: .6 }
svg .axis { stroke: var(--line) }
svg .span { stroke: var(--ground); stroke-width: .3 }
"""
