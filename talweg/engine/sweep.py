"""Long ways down the tape, gone at once: their cotangents are written by operations on columns.

Where all that lies below a step is steps of one Op each, down to the leaves, the way is known
before it is gone: later steps first. So which Rule each step writes, and which places it reads, are
found for all of them together. What is written is what `Stretch` would write step by step.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import chain
from typing import Any, Literal, NamedTuple

import numpy as np

from talweg.autodiff.rules import gradient_rule
from talweg.engine.reach import Below
from talweg.engine.tape import Direct, Edge, Ends
from talweg.engine.tensor import AccumulateGrad, Writes
from talweg.ir.build import Builder
from talweg.ir.node import Node
from talweg.ir.rule import Rows, Rule
from talweg.ir.trace import Trace

FEWEST = 100  # steps: for fewer it takes longer than step by step

# What a Rule is given: the places of the cotangent, of the result, of its two operands, and of what
# arrived at these before; then come the place of the first row that it writes, and nothing.
_ARRIVED, _RESULT, _X, _Y, _LEFT, _RIGHT, _ROW, _NOTHING = range(8)


def rule_at(b: Builder, ends: Ends, step: Direct) -> Rule | Literal[False]:
    """Return what a step writes, learning it where it is not known; False for what is no Rule."""
    found = step.rules.get(ends)
    if found is not None:
        return found
    node = step.node
    assert node is not None
    no_left, no_right, none_left, none_right, same = ends
    b.code, b.offset = step.code, step.offset
    rule: Rule | Literal[False] = False
    if not same or node.inputs[0] is node.inputs[-1]:
        wanted, added = (not no_left, not no_right), (not none_left, not none_right)
        rule = gradient_rule(b, node, wanted, added, same) or False
    step.rules[ends] = rule
    return rule


class _Way(NamedTuple):
    """Steps, and where their cotangents go.

    Edges have numbers: two of each step, then that of what is given, then one of each leaf at which
    something arrived before.

    Args:
        steps: all below the first one, in any order.
        leaves: below them.
        line: the steps in order, later ones first.
        read: for each in this order the places of its Node and of that one's two operands.
        ends: by edge the number of a step, then of leaves, then of nothing.
        same: by step, whether both edges are one; the second leads to nothing then.
        last: by the number of a step or leaf, the last edge that leads there.
        before: by edge, the one before that leads there too; -1 where there is none.
    """

    steps: list[Direct]
    leaves: list[AccumulateGrad]
    line: np.ndarray
    read: np.ndarray
    ends: np.ndarray
    same: np.ndarray
    last: np.ndarray
    before: np.ndarray


def sweep(
    b: Builder,
    trace: Trace,
    below: Below | None,
    given: Node,
    arrived: dict[Edge, Node],
    reached: list[AccumulateGrad],
    release: bool,
) -> bool:
    """Take a cotangent from a step to the leaves; return whether that could be done at once.

    Args:
        b, trace: the Builder and what it records to.
        below: a step and what lies below it; no other waits.
        given: what arrived there.
        arrived: what arrived at leaves before; what arrives there is put here.
        reached: the leaves at which something arrived.
        release: free what the steps saved.
    """
    if any([edge.__class__ is not AccumulateGrad for edge in arrived]):  # noqa: C419 - few
        return False
    way = _way_down(trace, below, arrived)
    if way is None:
        return False
    ruled = _ruled(b, way)
    if ruled is None:
        return False
    known = [given, *[arrived[leaf] for leaf in way.leaves if leaf in arrived]]
    places = _write(trace, way, *ruled, [trace.enter(node) for node in known])
    if release:
        for step in way.steps:
            step.node = step.first = step.second = step.result = None
    for leaf, place in zip(way.leaves, places.tolist(), strict=True):
        if leaf not in arrived:
            reached.append(leaf)
        arrived[leaf] = trace.page.node(place)
    return True


def _way_down(trace: Trace, below: Below | None, arrived: dict[Edge, Node]) -> _Way | None:
    """Return the way down; None where it must be gone step by step."""
    if below is None or len(below.steps) < FEWEST:
        return None
    steps, leaves, number = below
    size, nothing = len(steps), len(steps) + len(leaves)
    orders = np.fromiter([step.order for step in steps], np.int64, size)
    nodes = [step.node for step in steps]
    if orders.min() <= Writes.latest or None in nodes:
        return None
    listed = [node.at for node in nodes if node is not None]
    if max(listed) >= len(trace.nodes) or [trace.nodes[at] for at in listed] != nodes:
        return None
    line = np.argsort(-orders)  # later ones first
    rank = np.full(nothing + 1, nothing)  # by number
    rank[line] = np.arange(size)
    rank[size:-1] = np.arange(nothing - 1, size - 1, -1)
    left = rank[np.fromiter([number[step.left] for step in steps], np.int64, size)][line]
    right = rank[np.fromiter([number[step.right] for step in steps], np.int64, size)][line]
    at = np.fromiter(listed, np.int64, size)[line]
    x, y = trace.operands(at)
    same = left == right
    here = np.arange(size)
    if line[0] or (left <= here).any() or (right <= here).any() or (x != y)[same].any():
        return None
    ends = np.stack((left, np.where(same, nothing, right)), 1).ravel()
    last = np.full(nothing + 1, -1)
    last[0] = 2 * size
    again = [n for n, leaf in enumerate(leaves, size) if leaf in arrived]
    last[again] = np.arange(2 * size + 1, 2 * size + 1 + len(again))
    before = last[ends]
    order = np.argsort(ends.astype(np.uint16) if nothing < 1 << 16 else ends, kind="stable")
    follows = np.flatnonzero(np.diff(ends[order]) == 0)
    before[order[follows + 1]] = order[follows]
    before[1::2][same] = before[::2][same]
    last[ends] = np.arange(2 * size)
    return _Way(steps, leaves, line, np.stack((at, x, y), 1), ends, same, last, before)


def _ruled(b: Builder, way: _Way) -> tuple[list[Rule], np.ndarray] | None:
    """Return Rules, and which of them each step writes; None where one is missing."""
    nothing = len(way.last) - 1
    left, right = way.ends.reshape(-1, 2).T == nothing
    none_left, none_right = way.before.reshape(-1, 2).T < 0
    right = right & ~way.same
    flags = (left, right, left | none_left, right | none_right, way.same)
    kinds = np.fromiter([step.rules.number for step in way.steps], np.int64, len(way.line))
    kinds = kinds[way.line]
    for flag in flags:
        kinds = kinds << 1 | flag
    examples, kind = _distinct(kinds)
    rules: list[Rule] = []
    for n in examples.tolist():
        ends: Any = tuple([bool(flag[n]) for flag in flags])
        rule = rule_at(b, ends, way.steps[way.line[n]])
        if not rule or not _gives(rule, not ends[0], not (ends[1] or ends[4])):
            return None
        rules.append(rule)
    return rules, kind


def _distinct(kinds: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return an example of each kind, and for each what kind it is of these."""
    low = kinds.min()
    known = np.zeros(int(kinds.max() - low) + 1, np.int64)
    known[kinds - low] = np.arange(1, len(kinds) + 1)
    which = np.flatnonzero(known)
    examples = known[which] - 1
    known[which] = np.arange(len(which))
    return examples, known[kinds - low]


def _gives(rule: Rule, left: bool, right: bool) -> bool:
    """Whether a Rule has the results that are wanted, and they are no numbers."""
    wanted = [found for found, wants in zip(rule.results, (left, right), strict=True) if wants]
    return all([found is not None and found < _ROW + rule.size for found in wanted])  # noqa: C419


def _write(
    trace: Trace, way: _Way, rules: Sequence[Rule], kind: np.ndarray, known: Sequence[int]
) -> np.ndarray:
    """Write what steps write; return the places of what arrived at each leaf.

    Args:
        trace: where.
        way: the steps.
        rules, kind: Rules, and which of them each step writes.
        known: the places of what comes along the edges after those of the steps.
    """
    size = len(way.steps)
    written = [_written(trace, rule) for rule in rules]
    columns, added = (np.concatenate(part) for part in zip(*written, strict=True))
    each = np.array([len(column) for column, _ in written])
    lengths, sizes = each[kind], np.array([rule.size for rule in rules])[kind]
    given = np.zeros((size, _NOTHING + 1), np.int64)
    given[:, _RESULT : _Y + 1] = way.read
    given[:, _ROW] = _before(sizes) + len(trace.nodes)
    edges = way.last[:size], way.before[::2], way.before[1::2]
    given[:, _ARRIVED], given[:, _LEFT], given[:, _RIGHT] = edges
    results = np.array([_results(rule) for rule in rules])[kind].ravel()
    places = _resolved(given, results, known)
    given[:, _ARRIVED], given[:, _LEFT], given[:, _RIGHT] = (places[edge] for edge in edges)
    starts = _before(lengths)
    cell = np.arange(int(lengths.sum())) + np.repeat(_before(each)[kind] - starts, lengths)
    lines = np.repeat(np.arange(0, given.size, _NOTHING + 1), lengths)
    cells = given.ravel()[lines + columns[cell]] + added[cell]
    types = list(
        chain.from_iterable(map([rule.types for rule in rules].__getitem__, kind.tolist()))
    )
    rows = Rows(rules, kind, given[:, _ROW], starts + trace.cells, way.read[:, 0], len(types))
    trace.write(rows, cells, types)
    found: np.ndarray = places[way.last[size:-1]]
    return found


def _resolved(given: np.ndarray, results: np.ndarray, known: Sequence[int]) -> np.ndarray:
    """Return the places of what goes along each edge.

    Args:
        given: what Rules are given, by step; of what arrived, the edges along which it came.
        results: for each edge of a step which of these it is, or the number of a row.
        known: the places of what comes along the other edges.
    """
    column = np.minimum(results, _ROW)
    found = given.ravel()[np.repeat(np.arange(0, given.size, _NOTHING + 1), 2) + column]
    found += results - column
    follow = np.arange(len(found) + len(known))
    passed = np.flatnonzero((column == _ARRIVED) | (column == _LEFT) | (column == _RIGHT))
    follow[passed] = found[passed]
    further = follow[follow]
    while (further != follow).any():  # each turn goes twice as far
        follow, further = further, further[further]
    places: np.ndarray = np.append(found, known)[follow]
    return places


def _results(rule: Rule) -> list[int]:
    """Return which given place or row a Rule's results are; a row where nothing is wanted."""
    return [_ROW if result is None else result for result in rule.results]


def _written(trace: Trace, rule: Rule) -> tuple[np.ndarray, np.ndarray]:
    """Return for each number that a Rule writes which given one it is, and what is added to it."""
    picked = np.array(rule.picked, np.int64)
    constant = np.flatnonzero(picked >= _ROW + rule.room)
    column = np.minimum(picked, _ROW)
    added = picked - column
    rest = (*rule.tokens, *(trace.numbers_of(rule) if rule.numbers else ()))
    added[constant] = [rest[n - rule.room] for n in added[constant].tolist()]
    column[constant] = _NOTHING
    return column, added


def _before(counts: np.ndarray) -> np.ndarray:
    total: np.ndarray = np.cumsum(counts) - counts
    return total
