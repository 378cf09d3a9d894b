"""A captured function as Python text: compared with what it saw, run, its effects left behind.

Attributes of many objects are looked at in each call. So there is no loop over tables: one function
is written for each capture, in which every object has a name. Its locals are `a0` … for leaves of
the arguments, `x0` …, `s0` … for sources and their storages, `n0` … for the Nodes with the values
of storages, `v0` … for those of arguments, `w0` … for those that are kept, `p0` … for what is at
places, `t0` … for numbers, `o0` … and `m0` … for the memory and the Nodes of outputs, `r0` … for
Tensors that are made.
"""

from __future__ import annotations

import struct
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from sys import getrefcount
from typing import Any, final

from talweg.base import dtypes
from talweg.base.errors import IndexOutOfRange
from talweg.capture.again import is_simple, is_turned, make, move
from talweg.capture.captured import MISS, Captured, Given, at_its_line
from talweg.capture.guards import alike
from talweg.capture.memory import held, spare
from talweg.capture.outcome import Made, Ref
from talweg.capture.surroundings import Place
from talweg.capture.symbols import same
from talweg.capture.text import Text, tuple_of
from talweg.capture.tree import display
from talweg.engine.arranged import arranged_on
from talweg.engine.state import STATE
from talweg.engine.tape import clock
from talweg.engine.tensor import AccumulateGrad, Storage, Writes, edge_of, wrap
from talweg.engine.watch import WATCHERS
from talweg.ir.node import input_node
from talweg.ir.types import TensorType, tensor_type
from talweg.passes.places import OUTPUT
from talweg.runtime.buffer import Buffer

_NAMES: dict[str, Any] = {
    f.__name__: f
    for f in (
        *(IndexOutOfRange, AccumulateGrad, Storage, Writes, Buffer, at_its_line, edge_of, held),
        *(alike, arranged_on, getrefcount, input_node, make, move, next, same, spare, wrap),
    )
} | {"MISS": MISS, "STATE": STATE, "WATCHERS": WATCHERS, "clock": clock, "overflow": struct.error}


def written(captured: Captured) -> Callable[[Sequence[Any]], Any]:
    """Return the replay of a captured function.

    The Program is run by addresses where that is possible and nobody watches, else by Nodes.
    """

    by_nodes: list[Callable[[Sequence[Any]], Any]] = []

    def watched(leaves: Sequence[Any]) -> Any:
        if not by_nodes:
            by_nodes.append(Writer(captured, None).function())
        return by_nodes[0](leaves)

    return Writer(captured, watched).function() if _has_addresses(captured) else watched


def _has_addresses(captured: Captured) -> bool:
    """Whether one foreign call does it all, whose outputs are all new memory."""
    recipe = captured.recipe
    program, given = recipe.program, recipe.given
    outline = program.outline
    for i, scalar in zip(recipe.inputs, program.scalars, strict=True):
        if given[i].kind == "number" and not scalar:
            return False
    return program.whole and all(place.kind == OUTPUT for place in outline.results)


@final
class Writer:
    """Writes one replay.

    Args:
        captured: the function.
        watched: what replays while somebody watches; None to run the Program by Nodes.
    """

    def __init__(self, captured: Captured, watched: Callable[[Sequence[Any]], Any] | None) -> None:
        self.captured = captured
        self.recipe = recipe = captured.recipe
        self.watched = watched
        self.text = Text(_NAMES)
        self.chains = {a.number: a.chain for a in recipe.arguments}
        self.inputs = [recipe.given[i] for i in recipe.inputs]
        self.wanted: list[str] = []
        self.spares = {} if watched is None else dict(self._spares())
        self.reused = {} if watched is None else dict(self._reused())

    def function(self) -> Callable[[Sequence[Any]], Any]:
        """Return the function."""
        text, recipe = self.text, self.recipe
        if self.watched is not None:
            text.names["watched"] = self.watched
            text.add("if WATCHERS: return watched(leaves)")
        with text.block("try:"):
            self._modes()
            self._arguments()
            recipe.guard.write(text)
            self._sources()
            self._numbers()
        errors = "LookupError, AttributeError, ArithmeticError, ValueError, overflow"
        text.add(f"except ({errors}): return MISS")
        self._ready()
        if self.watched is not None:
            self._run()
        else:
            self._run_by_nodes()
        text.add(f"{text.name(self.captured)}.replays += 1")
        self._effects()
        return text.function(recipe.name, "leaves")

    # -- what must be as it was

    def _modes(self) -> None:
        grad, inference, default, cast = self.recipe.modes
        self.text.add(
            "now = STATE.now",
            f"if now.grad is not {grad} or now.inference is not {inference} or now.anomaly"
            f" or now.capture or now.builder.default_float is not {self.text.name(default)}"
            f" or now.cast is not {None if cast is None else self.text.name(cast)}: return MISS",
        )

    def _arguments(self) -> None:
        text, given = self.text, self.recipe.numbers.replay.given
        leaves = {a.number for a in self.recipe.arguments}
        for i in sorted(leaves | {key[1] for key in given if key[0] == "argument"}):
            text.add(f"a{i} = leaves[{i}]")
        for i, kind, type, edge, grad, chain, arranged, last in self.recipe.arguments:
            tests = [f"v{i}.type is not {text.name(type)}"]
            if edge is None:
                tests.append("e is not None")
            else:
                leaf = "not " * (edge is AccumulateGrad)
                tests.append(f"e is None or e.__class__ is {leaf}AccumulateGrad")
            if grad is not None:
                tests.append(f"a{i}._grad is {'' if grad else 'not '}None")
            if chain is not None:
                tests.append(f"a{i}._chain != {text.name(chain)}")
            text.add(
                f"if a{i}.__class__ is not {text.name(kind)}: return MISS",
                f"if a{i}._view is None: v{i} = a{i}._storage.node; e = a{i}._edge",
                f"elif a{i}._view.last is not {last}: return MISS",
                f"else: v{i} = a{i}.{'_storage.node' if arranged else 'node()'}; e = edge_of(a{i})",
                f"if {' or '.join(tests)}: return MISS",
            )

    def is_whole(self, s: int) -> bool:
        """Return whether a source is certain to see all of its storage in order."""
        kind, where, *_ = self.recipe.sources[s]
        return kind != "argument" or self.chains[where] == ()

    def source(self, s: int) -> str:
        """Return how a source is written."""
        kind, where, *_ = self.recipe.sources[s]
        if kind == "argument":
            return f"a{where}"
        return self.text.name(where) if kind == "tensor" else f"x{s}"

    def node(self, given: Given) -> str:
        """Return how the Node of an input is written."""
        kind, s, type = given
        if kind == "number":
            return f"input_node({self.text.name(type)}, {self.wanted[s]})"
        if kind == "constant":
            return self.text.name(s)
        if kind == "ready":
            return f"w{s}"
        return (
            f"n{s}" if kind == "storage" or self.is_whole(s) else f"v{self.recipe.sources[s].where}"
        )

    def _sources(self) -> None:
        recipe, text = self.recipe, self.text
        stored = {g.value for g in recipe.given if g.kind == "storage"}
        needed = stored | {w.source for w in recipe.effects.writes} | set(recipe.distinct)
        needed.update(s for pair in recipe.same for s in pair)
        for s, (kind, where, type, tracked, chain) in enumerate(recipe.sources):
            x = self.source(s)
            if kind in ("place", "gradient"):
                found = text.at(where) if kind == "place" else f"a{where}._grad"
                seen = f"{x}._chain != {text.name(chain)}" if chain else f"{x}._view is not None"
                text.add(
                    f"{x} = {found}",
                    f"if {seen} or {x}._edge is {'' if tracked else 'not '}None: return MISS",
                )
            if kind != "argument" or s in needed or self.is_whole(s):
                text.add(f"s{s} = {x}._storage", f"n{s} = s{s}.node")
            if kind != "argument" or s in stored:
                text.add(f"if n{s}.type is not {text.name(type)}: return MISS")
        for a, b in recipe.same:
            text.add(f"if s{a} is not s{b}: return MISS")
        if len(recipe.distinct) > 1:
            storages = ", ".join(f"s{s}" for s in recipe.distinct)
            text.add(f"if len({{{storages}}}) != {len(recipe.distinct)}: return MISS")

    def _numbers(self) -> None:
        """Numbers are computed, and random numbers drawn last: a miss must not draw any."""
        text, numbers = self.text, self.recipe.numbers
        places = [k[1] for k in numbers.replay.given if k[0] == "place"]
        for n in dict.fromkeys((*places, *numbers.equal)):
            text.add(f"p{n} = {text.at(numbers.places[n])}")
            before = numbers.values[n]
            if n in numbers.tuples:
                text.add(f"if not alike(p{n}, {text.name(before)}): return MISS")
            elif n in numbers.equal:
                first = f"p{numbers.equal[n]}"
                text.add(f"if p{n} is not {first} and not same(p{n}, {first}): return MISS")
            else:
                text.add(f"if p{n}.__class__ is not {text.name(type(before))}: return MISS")
        for key, before in zip(numbers.replay.given, numbers.before, strict=True):
            if key[0] == "argument":
                kind = text.name(type(before))
                text.add(f"if a{key[1]}.__class__ is not {kind}: return MISS")
        drawn = [text.name(g) for g, _ in numbers.generators]
        if not drawn:
            self._computed({})
            return
        with text.block("while True:"):
            for i, g in enumerate(drawn):
                text.add(f"seed{i}, offset{i} = {g}.position")
            self._computed({id(g): i for i, (g, _) in enumerate(numbers.generators)})
            moved = [
                f"{g}.move(seed{i}, offset{i}, {count})"
                for i, (g, (_, count)) in enumerate(zip(drawn, numbers.generators, strict=True))
            ]
            text.add(f"if {' and '.join(moved)}: break")

    def _computed(self, drawn: dict[int, int]) -> None:
        text, numbers = self.text, self.recipe.numbers
        given = []
        for kind, which, *item in numbers.replay.given:
            if kind == "place":
                given.append(f"p{which}" + (f"[{item[0]}]" if item != [None] else ""))
            elif kind == "argument":
                given.append(f"a{which}")
            else:
                given.append(f"{kind}{drawn[which]}")
        self.wanted = numbers.replay.write(text, given)
        if self.watched is not None:
            self._pack()

    def _pack(self) -> None:
        rows = [g for g, s in zip(self.inputs, self.recipe.program.scalars, strict=True) if s]
        pack = self.recipe.program.pack
        if any(g.kind == "number" for g in rows):
            numbers = [
                self.wanted[g.value] if g.kind == "number" else self.text.name(g.value.value)
                for g in rows
            ]
            self.text.add(f"packed = {self.text.name(pack)}({', '.join(numbers)})")
        else:
            self.text.names["packed"] = pack(*(g.value.value for g in rows))

    def _ready(self) -> None:
        """Kept values, computed anew if one of the stamps is another, or there is none."""
        ready, text = self.recipe.ready, self.text
        if ready is None:
            return
        nodes = [f"n{s}" for s in ready.sources]
        kept, count = text.name(ready.keeper), len(ready.keeper.types)
        text.add(
            f"try: stamps = {tuple_of([f'{n}.value.stamp' for n in nodes])}",
            "except AttributeError: stamps = None",
            f"kept = {kept}.kept",
            f"if kept[0] != stamps: kept = {kept}.renewed({tuple_of(nodes)})",
            f"{tuple_of([f'w{i}' for i in range(count)])} = kept[1]",
        )

    # -- the run

    def _reused(self) -> Iterator[tuple[int, int]]:
        """Outputs that may take the memory of the value that they replace, and whose that is."""
        recipe = self.recipe
        kept = () if recipe.tape is None else recipe.tape.read
        outline = recipe.program.outline
        numbers: dict[int, list[int]] = {}
        for i, given in enumerate(self.inputs):
            if given.kind in ("value", "storage"):
                numbers.setdefault(given.value, []).append(i)
        for s, j, _ in recipe.effects.writes:
            if self.is_whole(s) and s in numbers and s not in kept and self._is_alone(j):
                types, at = {outline.inputs[i] for i in numbers[s]}, outline.results[j].at
                if types == {outline.buffers[at]} and all(
                    outline.donation.may_replace(i, at) for i in numbers[s]
                ):
                    yield j, s

    def _is_alone(self, j: int) -> bool:
        """Whether an output has memory of its own: equal ones share it."""
        results = self.recipe.program.outline.results
        return results.count(results[j]) == 1

    def _spares(self) -> Iterator[tuple[int, Place]]:
        """Outputs that become gradients and nothing else, and the places of those."""
        effects, tape = self.recipe.effects, self.recipe.tape
        read = {id(f.where.container) for f in self.recipe.sources if f.kind == "place"}
        used = Counter(effects.fresh)
        used.update(w.output for w in effects.writes)
        used.update(i for kind, i in (tape.inputs if tape else ()) if kind == "output")
        refs = Counter(r.value for r in self._refs() if r.kind == "made")
        storages = Counter(m.fresh for m in effects.made)
        for place, ref in effects.places:
            if ref.kind == "made" and place.key == "_grad" and not place.item:
                m = effects.made[ref.value]
                j = effects.fresh[m.fresh]
                alone = refs[ref.value] == storages[m.fresh] == used[j] == 1 and self._is_alone(j)
                if alone and is_simple(m) and m.edge < 0 and id(place.container) not in read:
                    yield ref.value, place

    def _refs(self) -> Iterator[Ref]:
        effects = self.recipe.effects
        stack = [*effects.result, *(r for _, r in (*effects.places, *effects.gradients))]
        stack += [m.base for m in effects.made if m.base is not None]
        while stack:
            ref = stack.pop()
            yield ref
            if ref.kind == "tuple":
                stack += ref.value

    def _run(self) -> None:
        text, program = self.text, self.recipe.program
        addresses: dict[str, str] = {}
        listed: list[str] = []
        for given, scalar in zip(self.inputs, program.scalars, strict=True):
            node = self.node(given)
            if scalar:
                continue
            if node not in addresses and given.kind == "constant":
                text.names[f"b{node}"] = memory = held(given.value)
                addresses[node] = str(memory.address)
            elif node not in addresses:
                addresses[node] = f"b{node}.address"
                text.add(
                    f"b{node} = {node}.value",
                    f"if b{node}.__class__ is not Buffer: b{node} = held({node})",
                )
            listed.append(addresses[node])
        first = {place.at: j for j, place in reversed([*enumerate(program.outline.results)])}
        for at, type in enumerate(program.outline.buffers):
            self._output(at, first[at], type)
        executor = program.sole_executor
        if executor is not None:
            outputs = ", ".join(f"o{j}.address" for j in range(len(program.outline.buffers)))
            run = text.name(executor.run)
            text.add(
                f"try: {run}([{', '.join(listed)}], packed, [{outputs}])",
                "except IndexOutOfRange as error: raise at_its_line(error) from None",
            )

    def _output(self, at: int, j: int, type: TensorType) -> None:
        """The memory of an output: that of what it replaces, where nobody else sees it."""
        text = self.text
        fresh = f"Buffer({type.nbytes})"
        made = next((n for n in self.spares if self.output_of(n) == j), None)
        if j in self.reused:
            s = self.reused[j]
            node = _REFERENCES[0] + (self.recipe.sources[s].kind == "argument")
            if self.recipe.sources[s].chain:
                text.add(f"{self.source(s)}._view.forget()")
            text.add(
                f"if getrefcount(n{s}) == {node} and getrefcount(bn{s}) == {_REFERENCES[1]}"
                f" and bn{s}.stamp >= 0: o{at} = bn{s}; m{j} = n{s}; o{at}.stamp = 0",
                f"else: o{at} = {fresh}; m{j} = None",
            )
        elif made is not None:
            turned = is_turned(self.recipe.effects.made[made])
            text.add(
                f"o{at} = spare({text.at(self.spares[made])}, {text.name(type)}, {turned})",
                f"m{j} = o{at} is None",
                f"if m{j}: o{at} = {fresh}",
            )
        else:
            text.add(f"o{at} = {fresh}")

    def memory(self, j: int) -> str:
        """Return how the memory of an output is written."""
        return f"o{j if self.watched is None else self.recipe.program.outline.results[j].at}"

    def _run_by_nodes(self) -> None:
        text, program = self.text, self.recipe.program
        nodes = [self.node(g) for g in self.inputs]
        for node in dict.fromkeys(n for n in nodes if n[0] in "nv"):
            text.add(f"if {node}.value is None: held({node})")
        outputs = ", ".join(f"o{j}" for j in range(len(self.recipe.types)))
        text.add(
            f"try: [{outputs}] = {text.name(program.run)}([{', '.join(nodes)}])",
            "except IndexOutOfRange as error: raise at_its_line(error) from None",
        )

    # -- what it leaves behind

    def output_of(self, made: int) -> int:
        """Return the output that is the value of a new storage."""
        effects = self.recipe.effects
        return effects.fresh[effects.made[made].fresh]

    def _effects(self) -> None:
        text, recipe = self.text, self.recipe
        effects = recipe.effects
        spared = {self.output_of(n) for n in self.spares}
        for j, type in enumerate(recipe.types):
            if j not in spared:
                new = f"m{j} = input_node({text.name(type)}, {self.memory(j)})"
                if j in self.reused:
                    text.add(f"if m{j} is None: {new}", f"else: {self.memory(j)}.stamp = 0")
                else:
                    text.add(new)
        self._tape()
        self._writes()
        storages = Counter(m.fresh for m in effects.made)
        simple = {n for n, m in enumerate(effects.made) if is_simple(m) and storages[m.fresh] == 1}
        alone = {effects.made[n].fresh for n in simple}
        for f, j in enumerate(effects.fresh):
            if f not in alone:
                text.add(f"f{f} = Storage(); f{f}.node = m{j}; f{f}.writes = None")
        for s, f in effects.swaps:
            text.add(f"{self.source(s)}._storage = f{f}; {self.source(s)}._view = None")
        for n, m in enumerate(effects.made):
            if n in self.spares:
                continue
            if n not in simple:
                self._make(n)
                continue
            text.add(f"r{n} = {_wrapping(m)}(m{effects.fresh[m.fresh]})")
            if m.edge >= 0:
                text.add(f"r{n}._edge = steps[{m.edge}]")
        for s, e in effects.edges:
            text.add(f"move({self.source(s)}, steps[{e}])")
        self._places()
        text.add(f"return {display(effects.structure, map(self.ref, effects.result), text)}")

    def _tape(self) -> None:
        tape, outcome = self.recipe.tape, self.recipe.effects
        if tape is not None:
            saved = [
                self.node(self.recipe.given[i]) if kind == "input" else f"m{i}"
                for kind, i in tape.inputs
                if kind != "cotangent"
            ]
            sources = tuple_of([self.source(s) for s in range(len(self.recipe.sources))])
            name = self.text.name(tape.steps)
            self.text.add(f"steps = {name}({sources}, [{', '.join(saved)}])")
        elif any(m.edge >= 0 for m in outcome.made):
            raise AssertionError("a result on the tape, and no tape")

    def _writes(self) -> None:
        text, writes = self.text, self.recipe.effects.writes
        if any(w.versions for w in writes):
            text.add("Writes.latest = now = next(clock)")
        for s, j, versions in writes:
            text.add(f"s{s}.node = m{j}")
            if versions:
                text.add(
                    f"c = s{s}.writes or s{s}.written()",
                    f"c.version += {versions}; c.last = now; c.times.append(now)",
                )

    def _make(self, n: int) -> None:
        effects = self.recipe.effects
        fresh = [f"f{f}" for f in range(len(effects.fresh))]
        m = effects.made[n]
        listed = [f if i == m.fresh else "None" for i, f in enumerate(fresh)]
        sources = tuple_of([self.source(s) for s in range(len(self.recipe.sources))])
        before = tuple_of([f"r{i}" if i not in self.spares else "None" for i in range(n)])
        steps = "steps" if self.recipe.tape is not None else "()"
        name = self.text.name(m)
        self.text.add(f"r{n} = make({name}, {tuple_of(listed)}, {sources}, {before}, {steps})")

    def _places(self) -> None:
        text, effects = self.text, self.recipe.effects
        for place, ref in effects.places:
            if ref.kind == "made" and ref.value in self.spares:
                j = self.output_of(ref.value)
                type = text.name(self.recipe.types[j])
                wrapping = _wrapping(effects.made[ref.value])
                new = f"{wrapping}(input_node({type}, {self.memory(j)}))"
                text.add(f"if m{j}: {text.at(place)} = {new}")
            else:
                text.add(f"{text.at(place)} = {self.ref(ref)}")
        for i, ref in effects.gradients:
            text.add(f"a{i}._grad = {self.ref(ref)}")

    def ref(self, ref: Ref) -> str:
        """Return how a value after the run is written."""
        kind, value = ref
        if kind == "made":
            return f"r{value}"
        if kind == "source":
            return self.source(value)
        if kind == "number":
            number: str = self.wanted[value]
            return number
        return tuple_of([*map(self.ref, value)]) if kind == "tuple" else self.text.name(value)


def _wrapping(m: Made) -> str:
    """Return what makes a Tensor that is all of its storage."""
    return "arranged_on" if is_turned(m) else "wrap"


def _references() -> tuple[int, int]:
    """Return how often the Node of a storage and its memory are referenced in a replay."""
    storage = wrap(input_node(tensor_type(dtypes.float32, ()), Buffer(4)))._storage
    text = Text({"getrefcount": getrefcount})
    text.add("n0 = s0.node", "bn0 = n0.value", "return getrefcount(n0), getrefcount(bn0)")
    found: tuple[int, int] = text.function("nothing", "s0")(storage)
    return found


_REFERENCES = _references()
