"""Values when they are wanted: pending Nodes become a Graph, and the Graph is run."""

from __future__ import annotations

import sys
from collections import OrderedDict
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from talweg.base.deferred import deferred
from talweg.base.errors import IndexOutOfRange
from talweg.engine.counters import count
from talweg.engine.scalars import is_scalar
from talweg.engine.state import CONFIG
from talweg.engine.watch import WATCHERS, interpreting, observe, wanted_anew
from talweg.ir.interpret import interpret
from talweg.ir.node import Graph, Node
from talweg.ir.op import INPUT
from talweg.ir.verify import verify

# The compiler takes as long to import as NumPy, and a program may end before it compiles anything.
if TYPE_CHECKING:
    from talweg.engine import checking, tracing
    from talweg.engine import program as programs
    from talweg.engine.program import Program
else:
    checking = deferred("talweg.engine.checking")
    programs = deferred("talweg.engine.program")
    tracing = deferred("talweg.engine.tracing")

FIRST_SIGHT = 1 << 14  # elements below which a graph is run once by the references
PROGRAMS = 4096

_PROGRAMS: OrderedDict[Any, Program | None] = OrderedDict()

if CONFIG.check:
    WATCHERS.append(checking.Checker())
if CONFIG.trace:
    WATCHERS.append(tracing.Tracer())


def evaluate(nodes: Sequence[Node]) -> None:
    """Compute the Nodes whose value is not known yet, leaving it in `Node.value`.

    Raises:
        IndexOutOfRange and other run-time errors, with the line that recorded the Node.
    """
    wanted = [n for n in nodes if n.value is None]
    if not wanted:
        return
    graph = pending_graph(wanted)
    if CONFIG.check:
        verify(graph)
    kept = _held(graph, set(wanted))
    if kept:
        graph = Graph(graph.inputs, (*graph.outputs, *kept))
    for node, value in zip(graph.outputs, run(graph), strict=True):
        node.value = value


def run(graph: Graph) -> list[Any]:
    """Return what `Node.value` of each output of a Graph becomes; its inputs are known."""
    return observe(_run, graph) if WATCHERS else _run(graph)


def _run(graph: Graph) -> list[Any]:
    program = _program_of(graph)
    if program is not None:
        try:
            return program.run(graph.inputs)
        except IndexOutOfRange:
            _interpreted(graph)  # raises again, naming the user's line
            raise
    return interpreting(_interpreted, graph) if WATCHERS else _interpreted(graph)


def _interpreted(graph: Graph) -> list[Any]:
    arrays = [n.array for n in graph.inputs if n.array is not None]
    return [_settled(a) for a in interpret(graph, arrays)]


def _program_of(graph: Graph) -> Program | None:
    """The compiled form of a Graph; None for a small one that is seen for the first time."""
    scalars = tuple(is_scalar(n) for n in graph.inputs)
    key = graph.key, scalars
    found = _PROGRAMS.get(key)
    anew = bool(WATCHERS) and wanted_anew(key)
    if found is not None and not anew:
        count(hits=1)
        return found
    if len(_PROGRAMS) >= PROGRAMS:
        _PROGRAMS.popitem(last=False)
    if CONFIG.compile == "never" or (not anew and key not in _PROGRAMS and _is_small(graph)):
        _PROGRAMS[key] = None
        count(first_sight=len(graph.order))
        return None
    program = _PROGRAMS[key] = programs.build(graph, scalars)
    return program


def _is_small(graph: Graph) -> bool:
    if CONFIG.compile == "always":
        return False
    total = 0
    for node in graph.order:
        total += getattr(node.type, "size", 0)
        if total > FIRST_SIGHT:
            return False
    return True


def pending_graph(outputs: Sequence[Node]) -> Graph:
    """Return the Graph from known values to `outputs`."""
    known: list[Node] = []
    seen: set[Node] = set()
    stack = list(outputs)
    while stack:
        node = stack.pop()
        if node in seen:
            continue
        seen.add(node)
        if node.value is not None or node.op is INPUT:
            known.append(node)
        else:
            stack.extend(node.inputs)
    return Graph(known, outputs)


_OWN_REFERENCES = 3  # the order of the graph, the loop variable, the argument of getrefcount


def _held(graph: Graph, wanted: set[Node]) -> list[Node]:
    """The Nodes marked `keep` that somebody outside the Graph holds: a gradient may read them.

    CPython counts references; those of the Graph itself are known.
    """
    inside: dict[Node, int] = {}
    for node in graph.order:
        for i in node.inputs:
            inside[i] = inside.get(i, 0) + 1
    held: list[Node] = []
    for node in graph.order:
        several: Any = node.type
        if not node.keep or node in wanted or several.__class__ is tuple:
            continue
        count_inside = inside.get(node, 0) + (node in inside)
        if sys.getrefcount(node) > count_inside + _OWN_REFERENCES:
            held.append(node)
    return held


def _settled(array: np.ndarray) -> np.ndarray:
    """Return the array in row-major order, without holding on to a much larger one."""
    owner = array.base
    if isinstance(owner, np.ndarray) and owner.nbytes > 2 * array.nbytes:
        return array.copy()
    return np.asarray(array, order="C")
