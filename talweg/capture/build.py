"""From a watched run to a captured function."""

from __future__ import annotations

import gc
from collections.abc import Iterator, Sequence
from operator import attrgetter
from sys import getrefcount
from typing import Any, NamedTuple, final

from talweg.base.errors import GradientError, IndexOutOfRange
from talweg.capture.captured import (
    Argument,
    Captured,
    Effects,
    Finding,
    Given,
    Keeping,
    Modes,
    Numbers,
    Recipe,
    at_its_line,
    edge_kind,
)
from talweg.capture.gradients import Tape, derive, detached, split
from talweg.capture.guards import Guard
from talweg.capture.outcome import Made, Outcome, Ref, Write
from talweg.capture.ready import Cut, cut
from talweg.capture.surroundings import Place
from talweg.capture.symbols import Symbol, plain
from talweg.capture.watched import Anchor, Capture, Refusal
from talweg.engine.arranged import (
    is_arranged,
    is_last,
    seen_of,
    stored_of,
    with_channels_last,
)
from talweg.engine.evaluate import compiled, pending_graph
from talweg.engine.modes import set_grad_enabled
from talweg.engine.state import STATE
from talweg.engine.tape import Edge, GradFn
from talweg.engine.tensor import Storage, Tensor
from talweg.ir.node import Graph, Node, input_node, known_node

_MASK = 2**64 - 1


class Gradients(NamedTuple):
    """The gradients of the results on the tape.

    Args:
        ends: the sources that they are for.
        nodes: they, computed from `cotangents` and the inputs of the function; as storages have
            them where those sources have their channels last.
        cotangents: of the results that have one, as the storages of those results have them.
        kept: what the forward pass keeps for them, and what it keeps of that: images with their
            channels last as a storage has them.
        turned, seen, steps: see `Tape`.
    """

    ends: list[int]
    nodes: list[Node]
    cotangents: list[Node]
    kept: dict[Node, Node]
    turned: list[bool]
    seen: list[bool]
    steps: list[int | str]


@final
class Building:
    """What is found out about a run on the way to a captured function.

    Args:
        name: of the function.
        capture: the run.
        result: what it returned.
        modes: in which it ran.

    Raises:
        Refusal: when it cannot be done again.
    """

    def __init__(self, name: str, capture: Capture, result: Any, modes: Modes) -> None:
        self.name, self.capture, self.modes = name, capture, modes
        self.outcome = outcome = Outcome(capture, result)
        self.places = self._variable_places()
        self.used: dict[int, int] = {}
        self.wanted: dict[int, int] = {}
        self.given: dict[Node, int] = {}
        self.rows: list[Given] = []
        for s, source in enumerate(capture.sources):
            if source.kind == "argument":
                self._use(s)
        self._use_variable()
        gradients = self._differentiate() if outcome.taped else None
        kept = gradients.kept.values() if gradients is not None else ()
        # As they were recorded: so values are computed in the order in which a run computes them.
        self.outputs = sorted(dict.fromkeys((*outcome.nodes, *kept)), key=attrgetter("at"))
        self.number = {n: i for i, n in enumerate(self.outputs)}
        graph = pending_graph(self.outputs)
        ordered = sorted(graph.inputs, key=self._order)
        self.graph = Graph(ordered, self.outputs)
        tape = None if gradients is None else self._tape(gradients)
        self.cut = self._cut()
        self.inputs = self.graph.inputs if self.cut is None else self.cut.inputs
        inputs = [self._given(n) for n in self.inputs]
        self.program = compiled(self.graph) if self.cut is None else self.cut.program
        effects = self._effects()
        same, distinct = self._aliases()
        self.captured = Captured(
            Recipe(
                name,
                modes,
                list(self._arguments()),
                self._guard(),
                [self._finding(s) for s in self.used],
                same,
                distinct,
                self._numbers(),
                self.rows,
                self.program,
                inputs,
                [n.type for n in self.outputs],
                effects,
                tape,
                self._keeping(),
            )
        )

    # -- inputs

    def _given(self, node: Node) -> int:
        """The number of an input of the graph among the inputs of the function."""
        found = self.given.get(node)
        if found is None:
            found = self.given[node] = len(self.rows)
            self.rows.append(self._row(node))
        return found

    def _order(self, node: Node) -> tuple[int, int]:
        """Sources first, in their order, then constants, then numbers."""
        number = self._given(node)
        kind, value, _ = self.rows[number]
        kinds = ("value", "storage", "constant", "number")
        return kinds.index(kind), number if kind == "constant" else value

    def _row(self, node: Node) -> Given:
        value = node.value
        if type(value) is Symbol:
            return Given("number", self._want(value.place), node.type)
        source = self.capture.source_of(node)
        if source is not None:
            t = self.capture.tensors[source]
            argument = self.capture.sources[source].kind == "argument"
            value = argument and (t._view is None or self.capture.is_view(node))
            return Given("value" if value else "storage", self._use(source), node.type)
        if node not in self.capture.known and node.number is None:
            raise Refusal(
                f"it reads a Tensor of shape {node.shape} that is neither an argument nor found "
                "from the names that its code mentions"
            )
        return Given("constant", node, node.type)

    def _cut(self) -> Cut | None:
        """The graph in two, where a part depends on state alone, and the run leaves all state."""
        o, capture = self.outcome, self.capture
        if o.writes or o.swaps or o.gradients or o.edges or o.taped:
            return None
        state: dict[Node, Tensor] = {}
        constant: list[Node] = []
        for node in self.graph.inputs:
            kind = self.rows[self._given(node)].kind
            source = capture.source_of(node)
            if kind == "storage" and source is not None and self._is_fixed(source):
                state[node] = capture.tensors[source]
            elif kind == "constant":
                constant.append(node)
        found = cut(self.graph, state, constant)
        for i, stand in enumerate(found.stands if found is not None else ()):
            self.given[stand] = len(self.rows)
            self.rows.append(Given("ready", i, stand.type))
        return found

    def _is_fixed(self, source: int) -> bool:
        """Whether a source is the same Tensor in each call."""
        kind, number = self.capture.sources[source]
        return kind == "place" and number not in self.places

    def _keeping(self) -> Keeping | None:
        if self.cut is None:
            return None
        rows = [self.rows[self.given[n]] for n in self.cut.state]
        return Keeping(self.cut.ready, [row.value for row in rows])

    def _use_variable(self) -> None:
        """Tensors at places that are replaced: their type matters, even if nothing else does."""
        for s, (kind, number) in enumerate(self.capture.sources):
            if kind == "place" and number in self.places:
                if self.capture.surroundings.places[number].key != "_grad":
                    self._use(s)

    def _use(self, source: int) -> int:
        return self.used.setdefault(source, len(self.used))

    def _want(self, place: int) -> int:
        return self.wanted.setdefault(place, len(self.wanted))

    def _variable_places(self) -> set[int]:
        """Places of the surroundings that are allowed to hold something else at a replay."""
        found = {n for n, _ in self.outcome.places} | self.capture.marked.keys()
        for n, place in enumerate(self.capture.surroundings.places):
            if place.key == "_grad" and not place.item:
                found.add(n)
        return found

    def _finding(self, s: int) -> Finding:
        capture = self.capture
        kind, number = capture.sources[s]
        t = capture.tensors[s]
        first = capture.first[s]
        type = next(n.type for n, o in capture.origins.items() if o == first)
        tracked = capture.edges[s] is not None
        chain = t._chain if is_arranged(t) else ()
        if kind != "place":
            return Finding(kind, number, type, tracked, chain)
        if number in self.places:
            return Finding(kind, capture.surroundings.places[number], type, tracked, chain)
        return Finding("tensor", t, type, tracked, chain)

    def _arguments(self) -> Iterator[Argument]:
        capture, outcome = self.capture, self.outcome
        bound = {w.source for w in outcome.writes} | {m.source for m in outcome.made}
        bound |= {s for s, _ in (*outcome.swaps, *outcome.edges)}
        bound = {capture.first[s] for s in bound if s >= 0}
        for s, (kind, number) in enumerate(capture.sources):
            if kind == "argument":
                t = capture.tensors[s]
                grad = any(x == ("gradient", number) for x in capture.sources)
                matters = capture.graded or bool(self.outcome.gradients)
                view = capture.states[s][1]
                chain = () if view is None else view.chain
                seen = capture.first[s] in bound or is_arranged(t)
                edge = edge_kind(capture.edges[s])
                yield Argument(
                    number,
                    type(t),
                    capture.types[s],
                    edge,
                    grad if matters else None,
                    chain if seen else None,
                    is_arranged(t),
                    is_last(t),
                )

    def _guard(self) -> Guard:
        surroundings, capture = self.capture.surroundings, self.capture
        rows = [
            (p, v)
            for n, (p, v) in enumerate(zip(surroundings.places, surroundings.values, strict=True))
            if n not in self.places
        ]
        present = [
            (surroundings.places[n], surroundings.values[n] is not None)
            for n in self.places - capture.marked.keys()
            if capture.graded or surroundings.places[n].key != "_grad"
        ]
        seen: set[int] = set()
        for s, source in enumerate(capture.sources):
            t = capture.tensors[s]
            if source.kind != "place" or source.number in self.places or id(t) in seen:
                continue
            seen.add(id(t))
            path = surroundings.tensors.get(id(t), "")
            if s not in self.used:
                rows.append((Place(t, "_storage", False, f"{path}.data"), t._storage))
            if s in self.used or capture.edges[s] is not None:
                rows.append((Place(t, "_edge", False, f"{path}.requires_grad"), capture.edges[s]))
                rows.append((Place(t, "_view", False, f"{path}.stride()"), t._view))
        places, values = [p for p, _ in rows], [v for _, v in rows]
        return Guard(places, values, surroundings.sizes, present, surroundings.copies)

    def _aliases(self) -> tuple[list[tuple[int, int]], list[int]]:
        """Which sources lie over one storage, and which must not, since one of them is written."""
        capture = self.capture
        fixed = [kind == "place" and number not in self.places for kind, number in capture.sources]
        same: list[tuple[int, int]] = []
        for s, f in enumerate(capture.first):
            if s == f or (f not in self.used and s not in self.used):
                continue
            if capture.tensors[s] is not capture.tensors[f] or not (fixed[s] and fixed[f]):
                same.append((self._use(s), self._use(f)))
        distinct: list[int] = []
        if self.outcome.writes and not all(fixed[s] for s in self.used):
            distinct = [i for s, i in self.used.items() if capture.first[s] == s]
        return same, distinct

    def _numbers(self) -> Numbers:
        capture = self.capture
        formulas = capture.formulas
        replay = formulas.kept(list(self.wanted))
        before = [formulas.values[formulas.given[key]] for key in replay.given]
        generators: list[tuple[Any, int]] = []
        for generator, (_, offset) in capture.draws.values():
            generators.append((generator, (generator.position[1] - offset) & _MASK))
        values = capture.surroundings.values
        tuples = {n: values[n] for n, v in capture.marked.items() if type(v) is tuple}
        places = capture.surroundings.places
        return Numbers(replay, places, values, before, generators, tuples, capture.equal)

    # -- outputs

    def _effects(self) -> Effects:
        outcome, places = self.outcome, self.capture.surroundings.places
        return Effects(
            [self._made(m) for m in outcome.made],
            [self.number[outcome.nodes[j]] for j in outcome.fresh],
            outcome.structure,
            [self._ref(r) for r in outcome.result],
            [(places[n], self._ref(r)) for n, r in outcome.places],
            [
                Write(self._use(s), self.number[outcome.nodes[j]], versions)
                for s, j, versions in outcome.writes
            ],
            [(self._use(s), j) for s, j in outcome.swaps],
            [(i, self._ref(r)) for i, r in outcome.gradients],
            [(self._use(s), e) for s, e in outcome.edges],
        )

    def _ref(self, ref: Ref) -> Ref:
        kind, value = ref
        if kind == "source":
            return Ref(kind, self._use(value))
        if kind == "number":
            return Ref(kind, self._want(value))
        return Ref(kind, [self._ref(r) for r in value]) if kind == "tuple" else ref

    def _made(self, m: Made) -> Made:
        base = None if m.base is None else self._ref(m.base)
        source = self._use(m.source) if m.source >= 0 else -1
        return m._replace(source=source, base=base)

    # -- gradients

    def _differentiate(self) -> Gradients:
        capture, taped = self.capture, self.outcome.taped
        steps: list[int | str] = []
        live: list[tuple[Edge, Node]] = []
        cotangents: list[Node] = []
        turned: list[bool] = []
        with capture.watching(), set_grad_enabled(False):
            b = STATE.builder
            for t in taped:
                last = is_last(t)
                given = input_node(stored_of(t.node()).type if last else t.node().type)
                root = t._edge, seen_of(given) if last else given
                try:
                    derive(b, [root])
                except GradientError as error:
                    steps.append(str(error))
                else:
                    steps.append(len(live))
                    live.append(root)
                    cotangents.append(given)
                    turned.append(last)
            found, results = derive(b, live)
            pairs = [(e, g) for e, g in zip(found, results, strict=True) if g is not None]
            ends = [self._end(e) for e, _ in pairs]
            seen = [is_last(capture.tensors[s]) for s in ends]
            nodes = [stored_of(g) if s else g for (_, g), s in zip(pairs, seen, strict=True)]
            kept = split(pending_graph(nodes), cotangents, self.outcome.nodes)
            last_ones = with_channels_last(pending_graph(kept).order)
            stored = {n: stored_of(n) if n in last_ones else n for n in kept}
        if capture.reason is not None:
            raise Refusal(capture.reason)
        return Gradients(ends, nodes, cotangents, stored, turned, seen, steps)

    def _end(self, end: GradFn) -> int:
        """The source at which the tape ends."""
        capture = self.capture
        places: Sequence[Any] = capture.anchors if isinstance(end, Anchor) else capture.edges
        for s, place in enumerate(places):
            if place is end:
                return s
        raise Refusal("gradients flow to a leaf that the function makes itself")

    def _tape(self, found: Gradients) -> Tape:
        of = {input_node(n.type): n for n in found.kept.values()}
        at = {n: stand for stand, n in of.items()}
        stands = {
            n: at[stored] if stored is n else seen_of(at[stored])
            for n, stored in found.kept.items()
        }
        graph = pending_graph(detached(found.nodes, stands)) if found.nodes else None
        cotangent = {ct: i for i, ct in enumerate(found.cotangents)}
        inputs: list[tuple[str, int]] = []
        read: list[int] = []
        for node in graph.inputs if graph is not None else ():
            if node in cotangent:
                inputs.append(("cotangent", cotangent[node]))
            elif node in of:
                inputs.append(("output", self.number[of[node]]))
            else:
                place = self._given(node)
                inputs.append(("input", place))
                if self.rows[place].kind in ("value", "storage"):
                    read.append(self.rows[place].value)
        return Tape(
            self.name,
            None if graph is None else compiled(graph),
            inputs,
            [self._use(s) for s in found.ends],
            [ct.type for ct in found.cotangents],
            [n.type for n in found.nodes],
            found.turned,
            found.seen,
            found.steps,
            read,
        )

    # -- the captured run itself

    def commit(self) -> str | None:
        """Compute what the run left behind; return why it cannot be done again after all, or None.

        Raises:
            IndexOutOfRange: as the function does. Nothing is left behind then.
        """
        nodes = list(self.given)
        for node in nodes:
            node.value = plain(node.value)
        try:
            if self.cut is not None:
                self.cut.fill()
            values = self.program.run(self.inputs)
        except IndexOutOfRange as error:
            self._undo()
            raise at_its_line(error) from None
        for node, value in zip(self.outputs, values, strict=True):
            node.value = value
        capture, outcome = self.capture, self.outcome
        tensors = [capture.tensors[s] for s in self.used]
        tape = self.captured.recipe.tape
        for s, _ in outcome.edges:
            capture.tensors[s]._edge = capture.edges[s]
        steps: Sequence[Edge] = ()
        if tape is not None:
            saved = [
                nodes[i] if kind == "input" else self.outputs[i]
                for kind, i in tape.inputs
                if kind != "cotangent"
            ]
            steps = tape.steps(tensors, saved)
        for t, step in zip(outcome.taped, steps, strict=True):
            t._edge = step
        now = capture.now
        pending = list(dict.fromkeys((*now.pending, *now.renewed)))
        now.pending.clear()
        now.renewed.clear()
        _let_go(pending, list(now.written))
        now.trace.clear()
        now.written.clear()
        now.nbytes = 0
        return self._escaped(pending)

    def _undo(self) -> None:
        """Put back what was before the run."""
        capture = self.capture
        for s in capture.written():
            storage = capture.states[s][0]
            storage.node = next(n for n, o in capture.origins.items() if o == s)
        for n in self.places - {n for n in self.places if capture.settled_at(n)}:
            capture.surroundings.places[n].set(capture.surroundings.values[n])

    def _escaped(self, pending: list[Tensor]) -> str | None:
        """Why Tensors of the run are found where no replay puts new ones, or None."""
        stack = [*self.outcome.tensors, *self.capture.tensors]
        known: set[int] = set()
        while stack:
            t = stack.pop()
            if id(t) not in known:
                known.add(id(t))
                stack += [x for x in (t._base, t._grad) if x is not None]
        alive = _alive(pending, known)
        if alive:
            gc.collect()
            alive = _alive(alive, known)
        if not alive:
            return None
        return f"a Tensor of shape {alive[0].shape} that it makes is kept where no replay finds it"


def _let_go(tensors: Sequence[Tensor], storages: Sequence[Storage]) -> None:
    """Keep computed values without the graphs that they come from."""
    for storage in (*storages, *(t._storage for t in tensors)):
        if storage.node.inputs and storage.node.value is not None:
            storage.node = known_node(storage.node)
    for t in tensors:
        if t._view is not None:
            t._view.forget()


def _alive(tensors: list[Tensor], known: set[int]) -> list[Tensor]:
    """Take Tensors off a list, the last first; return those that somebody else references."""
    found: list[Tensor] = []
    while tensors:
        t = tensors.pop()
        if getrefcount(t) > _UNUSED and id(t) not in known:
            found.append(t)
    return found[::-1]


_UNUSED = 2  # the local variable, the argument of getrefcount
