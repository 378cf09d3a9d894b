"""Values when they are wanted: pending Nodes become a Graph, and the Graph is run."""

from __future__ import annotations

import struct
from collections import Counter, OrderedDict
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from talweg.base.deferred import deferred
from talweg.base.errors import IndexOutOfRange
from talweg.base.open import Unfit
from talweg.engine.counters import count
from talweg.engine.scalars import is_scalar
from talweg.engine.state import CONFIG, STATE
from talweg.engine.watch import WATCHERS, interpreting, observe, wanted_anew
from talweg.ir.interpret import interpret
from talweg.ir.node import Graph, Node
from talweg.ir.op import INPUT, NUMBERED
from talweg.ir.rule import Page
from talweg.ir.trace import Layout, Trace
from talweg.ir.verify import verify
from talweg.ops.kinds import View

# The compiler takes as long to import as NumPy, and a program may end before it compiles anything.
if TYPE_CHECKING:
    from talweg.engine import building, checking, once, stored, tracing
    from talweg.engine.once import Once
    from talweg.engine.program import Program
    from talweg.passes import small
else:
    checking = deferred("talweg.engine.checking")
    building = deferred("talweg.engine.building")
    once = deferred("talweg.engine.once")
    small = deferred("talweg.passes.small")
    stored = deferred("talweg.engine.stored")
    tracing = deferred("talweg.engine.tracing")

FIRST_SIGHT = 1 << 14  # elements below which a graph is run once by the references
VIEWS = 8  # in a Graph that is not small, whose numbers are given to its Program
PROGRAMS = 2048
REPLAYS = 512


class Replay(NamedTuple):
    """How a trace is computed that is like an earlier one.

    Args:
        program: what to run.
        inputs: places in the trace of what it takes.
        outputs: places of what it gives.
        unknown: places of what is held and not computed: views of that.
        numbered: where in the trace's rows Ops stand whose numbers it is given.
    """

    program: Program
    inputs: tuple[int, ...]
    outputs: tuple[int, ...]
    unknown: tuple[int, ...]
    numbered: tuple[int, ...]


_PROGRAMS: OrderedDict[Any, Program | None] = OrderedDict()
_REPLAYS: OrderedDict[Any, Replay] = OrderedDict()
_CLOSED: set[int] = set()  # hashes of the keys of Graphs whose kernels depend on their numbers
_SEEN: set[int] = set()  # hashes of the structures of small Graphs and traces that were run once

if CONFIG.check:
    WATCHERS.append(checking.Checker())
if CONFIG.trace:
    WATCHERS.append(tracing.Tracer())


def compute_trace(trace: Trace, wanted: Sequence[Node]) -> None:
    """Compute what a trace recorded and somebody outside it holds, and empty the trace.

    Of a view, what it is a view of is computed. A trace of the same structure, of which the same
    Nodes are held, runs the same Program on other values: nothing is walked or planned. So does one
    whose views begin elsewhere, where the Program is told. Where a computation fails, its Nodes
    stay unknown and raise when they are read; the others are computed.

    Args:
        trace: of the running thread.
        wanted: Nodes to compute in any case.
    """
    if not (trace.nodes or wanted):
        return
    places = tuple([trace.enter(n) for n in wanted])
    references = trace.references()
    key = alike = trace.key(), references, places
    replay = None if WATCHERS else _REPLAYS.get(key)
    page = trace.page
    if replay is None and not WATCHERS:
        kin = trace.kin()
        if kin:
            alike = kin, references, places
            replay = _REPLAYS.get(alike)
    if replay is not None:
        trace.clear()
        if not _run_again(replay, page):
            _REPLAYS.pop(key, None)
            _REPLAYS.pop(alike, None)
        return
    layout = trace.layout()
    held = trace.held(layout, references)
    found = [n for n in dict.fromkeys((*wanted, *_behind_views(held))) if n.value is None]
    outside = set(trace.outside)
    trace.clear()
    try:
        if _computed_once(hash(alike), page, layout, found):
            return
        graph = _compute_each(found)
        if graph is None or WATCHERS:
            return
        ran = _PROGRAMS.get(_key_of(graph))
        inputs = tuple([n.at for n in graph.inputs])
        if ran is None or not outside.issuperset(inputs):
            return
        outputs = tuple([n.at for n in graph.outputs])
        unknown = tuple([n.at for n in held if n.value is None])
        numbered: tuple[int, ...] = ()
        if ran.numbers:
            numbered = tuple([int(layout.first[n.at]) for n in graph.order if n.op.numbered])
        for name in {key, alike} if numbered else {key}:
            if len(_REPLAYS) >= REPLAYS:
                _REPLAYS.popitem(last=False)
            _REPLAYS[name] = Replay(ran, inputs, outputs, unknown, numbered)
    finally:
        page.close((*wanted, *held))


def _run_again(replay: Replay, page: Page) -> bool:
    """Compute a trace that is like an earlier one; return whether its Program serves."""
    program, inputs, outputs, unknown, numbered = replay
    nodes = page.nodes
    ends = list(map(page.node, outputs))
    numbers = [number for at in numbered for number in NUMBERED[page.cell(at)].numbers]
    serves = True
    try:
        values = program.run([nodes[i] for i in inputs], numbers)
    except (IndexOutOfRange, OverflowError, struct.error):  # or a number that does not fit
        _compute_each(ends)
    except Unfit:
        serves = False
        _compute_each(ends)
    else:
        for node, value in zip(ends, values, strict=True):
            node.value = value
        count(hits=1)
    page.close([*ends, *[nodes[i] for i in unknown]])
    return serves


def _computed_once(key: int, page: Page, layout: Layout, wanted: Sequence[Node]) -> bool:
    """Compute small values straight from their Nodes if they come for the first time."""
    if WATCHERS or CONFIG.compile != "always" or key in _SEEN or not wanted or STATE.now.steady:
        return False
    try:
        values = once.run_once(page, layout, wanted)
    except (IndexOutOfRange, OverflowError, struct.error, Unfit):
        return False
    if values is None:
        return False
    _see(key)
    for node, value in zip(wanted, values, strict=True):
        node.value = value
    return True


def _see(key: int) -> None:
    if len(_SEEN) >= PROGRAMS:
        _SEEN.clear()
    _SEEN.add(key)


def _behind_views(held: Iterable[Node]) -> list[Node]:
    """Return what Nodes are views of, where that is smaller or held by others too.

    A view that is all that is left of a value is computed itself: its axes stand in order then.
    """
    behind = {node: _behind(node) for node in held}
    holders = Counter(behind.values())
    return [
        node if holders[base] == 1 and base.type.nbytes == node.type.nbytes else base
        for node, base in behind.items()
    ]


def _behind(node: Node) -> Node:
    while node.value is None and isinstance(node.op, View) and len(node.inputs) == 1:
        (behind,) = node.inputs
        if behind.type.nbytes > node.type.nbytes:
            break
        node = behind
    return node


def _compute_each(nodes: Sequence[Node]) -> Graph | None:
    """Compute together; where that fails, in halves, so that only those at fault stay behind."""
    try:
        return compute(nodes) if nodes else None
    except Exception:
        if len(nodes) > 1:
            half = len(nodes) // 2
            _compute_each(nodes[:half])
            _compute_each(nodes[half:])
        return None


def compute(nodes: Sequence[Node]) -> Graph:
    """Compute Nodes whose value is not known yet, leaving it in `Node.value`.

    Returns:
        what was computed.

    Raises:
        IndexOutOfRange and other run-time errors, with the line that recorded the Node.
    """
    graph = pending_graph(nodes)
    if CONFIG.check:
        verify(graph)
    for node, value in zip(graph.outputs, run(graph), strict=True):
        node.value = value
    return graph


def run(graph: Graph) -> list[Any]:
    """Return what `Node.value` of each output of a Graph becomes; its inputs are known."""
    return observe(_run, graph) if WATCHERS else _run(graph)


def _run(graph: Graph) -> list[Any]:
    program = _program_of(graph)
    if program is not None:
        try:
            try:
                return program.run(graph.inputs, graph.numbers if program.numbers else ())
            except Unfit:
                _close(graph)
                return compiled(graph).run(graph.inputs)
        except IndexOutOfRange:
            _interpreted(graph)  # raises again, naming the user's line
            raise
    return interpreting(_interpreted, graph) if WATCHERS else _interpreted(graph)


def _interpreted(graph: Graph) -> list[Any]:
    arrays = [n.array for n in graph.inputs if n.array is not None]
    return [_settled(a) for a in interpret(graph, arrays)]


def _is_open(graph: Graph) -> bool:
    """Whether a Graph is run by a Program that is told where its views begin.

    In a small one each Node has a kernel of its own, the same for all such numbers. In others
    passes put parts side by side that touch; so it is one with few views, of which one at most
    has its operand stand among zeros.
    """
    if WATCHERS or CONFIG.compile == "never":
        return False
    views = [n.op for n in graph.order if n.op.numbered]
    if not views:
        return False
    few = len(views) <= VIEWS and sum([op.embeds for op in views]) < 2
    return few or small.is_small(graph)


def _key_of(graph: Graph) -> tuple[object, ...]:
    """What Programs are found by: the structure, and which inputs are given as numbers.

    Those that are told where views begin have a third part.
    """
    scalars = tuple([is_scalar(n) for n in graph.inputs])
    if _is_open(graph):
        key = graph.kin, scalars, "open"
        if hash(key) not in _CLOSED:
            return key
    return graph.key, scalars


def _close(graph: Graph) -> None:
    """Plan Graphs like this one for their own numbers from now on: kernels depend on these."""
    if len(_CLOSED) >= PROGRAMS:
        _CLOSED.clear()
    _CLOSED.add(hash(_key_of(graph)))


def _program_of(graph: Graph) -> Program | Once | None:
    """The compiled form of a Graph; None for a small one that is seen for the first time."""
    key = _key_of(graph)
    found = _PROGRAMS.get(key)
    anew = bool(WATCHERS) and wanted_anew(key)
    if found is not None and not anew:
        count(hits=1)
        return found
    if len(_PROGRAMS) >= PROGRAMS:
        _PROGRAMS.popitem(last=False)
    first = not STATE.now.steady
    if first and not WATCHERS and CONFIG.compile == "always" and small.is_small(graph):
        seen = hash(key)
        if seen not in _SEEN:
            _see(seen)
            return once.Once(graph)
    first = first and not anew and key not in _PROGRAMS
    if CONFIG.compile == "never" or (first and _is_small(graph)):
        _PROGRAMS[key] = None
        count(first_sight=len(graph.order))
        return None
    scalars = [is_scalar(n) for n in graph.inputs]
    program = _PROGRAMS[key] = _made(stored.opened(graph) if len(key) > 2 else graph, scalars)
    return program


def _made(graph: Graph, scalars: Sequence[bool], fixed: frozenset[int] = frozenset()) -> Program:
    """The Program of a Graph, from an earlier process where that is not watched or checked."""
    found = None if WATCHERS or CONFIG.check else stored.find(graph, scalars, fixed)
    return building.build(graph, scalars, fixed) if found is None else found


def compiled(graph: Graph, fixed: frozenset[int] = frozenset()) -> Program:
    """Return the compiled form of a Graph, even of a small one that is seen for the first time.

    Args:
        graph: what is computed.
        fixed: the numbers of inputs that stay what they are. Copies that kernels make of these are
            more inputs of the Program, see `Program.copied`.
    """
    scalars = tuple(is_scalar(n) for n in graph.inputs)
    key = graph.key, scalars
    name = (*key, fixed) if fixed else key
    found = _PROGRAMS.get(name)
    if found is None:
        found = _PROGRAMS[name] = _made(graph, scalars, fixed)
        if not found.copied:
            _PROGRAMS[key] = found
    return found


def forget_programs() -> None:
    """Have every Graph planned anew: its kernels may have other schedules now."""
    _PROGRAMS.clear()
    _REPLAYS.clear()


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


def _settled(array: np.ndarray) -> np.ndarray:
    """Return the array in row-major order, without holding on to a much larger one."""
    owner = array.base
    if isinstance(owner, np.ndarray) and owner.nbytes > 2 * array.nbytes:
        return array.copy()
    return np.asarray(array, order="C")
