"""Steps of the tape that are one Op each: their cotangents are written as rows, without Nodes.

Nobody sees the cotangents between two such steps. So they are no more than places in the trace, and
what a step adds to it is written by a Rule, known by the types of its operands.
"""

from __future__ import annotations

from collections.abc import Collection, Container
from heapq import heappop, heappush
from typing import Any, Literal, TypeAlias, final

from talweg.engine.reach import Below, directly_below
from talweg.engine.sweep import rule_at, sweep
from talweg.engine.tape import Direct, Edge, GradFn, end_of
from talweg.engine.tensor import AccumulateGrad, Writes
from talweg.ir.build import Builder
from talweg.ir.node import Node
from talweg.ir.rule import ROOM, Rule
from talweg.ir.trace import Trace

# The cotangents that no step has taken; a heap of the steps at which they arrived, by negated time;
# and the leaves at which something arrived.
OnTheWay: TypeAlias = tuple[dict[Edge, Node], list[tuple[int, GradFn]], list[AccumulateGrad]]


@final
class Stretch:
    """Takes cotangents through such steps, later ones first, as long as they follow each other.

    Args:
        b, trace: the Builder and what it records to.
        on_the_way: what the pass has not taken yet.
        useful: the steps to go through; all without it.
        asked: steps to stop before.
        release: free what the steps saved.
        below: what is known to lie below the first step.
    """

    __slots__ = (
        *("_arrived", "_asked", "_b", "_below", "_leaves", "_once", "_release", "_trace"),
        *("_useful", "_waiting"),
    )

    def __init__(
        self,
        b: Builder,
        trace: Trace,
        on_the_way: OnTheWay,
        useful: Container[GradFn] | None,
        asked: Collection[GradFn],
        release: bool,
        below: Below | None,
    ) -> None:
        self._b, self._trace, self._release = b, trace, release
        self._arrived, self._waiting, self._leaves = on_the_way
        self._useful, self._asked = useful, asked
        self._once = useful is None and not asked
        self._below = below

    def run(self, step: Direct, given: Node) -> bool:
        """Begin with a step and what arrived there; return whether it was one of these."""
        if self._once and not self._waiting:
            self._once = (
                False  # tried once: a step of another kind may lie at the end of a long way
            )
            to = self._arrived, self._leaves, self._release
            below = self._below
            if below is None or below.steps[0] is not step:
                below = directly_below(step)
            if sweep(self._b, self._trace, below, given, *to):
                return True
        written: dict[Edge, int] = {step: _place(self._trace, given)}
        done = self._walk(step, written)
        if not done:
            del written[step]
        node = self._trace.page.node
        for edge, place in written.items():
            self._arrived[edge] = node(place)
        return done

    def _walk(self, first: Direct, written: dict[Edge, int]) -> bool:
        """Go through a step and what follows it; `written` is what arrived, by places."""
        trace, waiting, release, arrived = self._trace, self._waiting, self._release, self._arrived
        nodes, rows, types, runs = trace.nodes, trace.rows, trace.types, trace.runs
        latest, enter, sealed = Writes.latest, trace.enter, len(trace.sealed)
        anywhere = self._useful is None and not self._asked
        step: Direct | None = first
        while step is not None:
            node, left, right = step.node, step.left, step.right
            if arrived:
                self._bring(left, written)
                self._bring(right, written)
            p, q = written.get(left), written.get(right)
            rule: Rule | Literal[False] | None = False
            if node is not None and step.order > latest:
                inputs = node.inputs
                x, y = inputs[0], inputs[-1]
                ends = left is None, right is None, p is None, q is None, left is right
                rule = step.rules.get(ends)
                if rule is None:
                    rule = rule_at(self._b, ends, step)
            if node is None or not rule:
                if step is not first:
                    heappush(waiting, (-step.order, step))
                break
            ct = written.pop(step)
            places: Any
            if rule.pick is None:
                places = (ct,)
            else:
                n, o, i, j = len(nodes), node.at, x.at, y.at
                _, reads_node, reads_x, reads_y, _, _ = rule.reads
                if reads_node and (o >= n or nodes[o] is not node):
                    o = enter(node)
                if reads_x and (i >= n or nodes[i] is not x):
                    i = enter(x)
                if reads_y and (j >= n or nodes[j] is not y):
                    j = enter(y)
                numbers = trace.numbers_of(rule) if rule.numbers else ()
                n = len(nodes)
                places = (ct, o, i, j, p, q, n, n + 1, n + 2, n + 3, n + 4, n + 5)
                if rule.size > ROOM:
                    places = (*places[:6], *range(n, n + rule.size))
                places += rule.tokens + numbers
                runs += (n, sealed + len(rows), rule, step.code, step.offset)
                rows += rule.pick(places)
                nodes += rule.blank
                types += rule.types
            if release:
                step.node = step.first = step.second = step.result = None
            step = None
            first_place, second_place = rule.results
            if first_place is not None:
                written[left] = places[first_place]
                if p is not None:
                    pass
                elif isinstance(left, Direct) and anywhere and left.watch is None:
                    step = left
                else:
                    step = self._reach(left, None)
            if second_place is not None:
                written[right] = places[second_place]
                if q is None:
                    step = self._reach(right, step)
            if step is None or (waiting and waiting[0][0] < -step.order):
                step = self._next(step, written)
        return step is not first

    def _bring(self, edge: Edge, written: dict[Edge, int]) -> None:
        """Let what arrived at the end of an edge before be a place too."""
        if edge in self._arrived:
            written[edge] = _place(self._trace, self._arrived.pop(edge))

    def _reach(self, edge: Edge, following: Direct | None) -> Direct | None:
        """Note that something arrived at the end of an edge; return the step to go on with."""
        if following is None and isinstance(edge, Direct) and self._fits(edge):
            return edge
        end, _ = end_of(edge)
        if isinstance(end, AccumulateGrad):
            self._leaves.append(end)
        elif end is not None:
            heappush(self._waiting, (-end.order, end))
        return following

    def _next(self, near: Direct | None, written: dict[Edge, int]) -> Direct | None:
        """Return the next step, taken from the heap; None if there is none, or of another kind."""
        waiting = self._waiting
        if near is not None:
            heappush(waiting, (-near.order, near))
        if not waiting:
            return None
        step = waiting[0][1]
        if not isinstance(step, Direct) or not self._fits(step):
            return None
        self._bring(step, written)
        if step not in written:
            return None
        heappop(waiting)
        return step

    def _fits(self, step: Direct) -> bool:
        if step.watch is not None or step in self._asked:
            return False
        return self._useful is None or step in self._useful


def _place(trace: Trace, node: Node) -> int:
    place = node.at
    nodes = trace.nodes
    return place if 0 <= place < len(nodes) and nodes[place] is node else trace.enter(node)
