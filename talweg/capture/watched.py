"""One run of a function that is watched, so that it can be done again without running Python.

Before the run, all Tensors that the function can reach are made known values: its sources. The run
records a graph from them, as every run does, but nothing is computed meanwhile. After the run the
graph's inputs are traced back to sources, constants and numbers, and its outputs are what the run
left behind: results, gradients, and values of storages that were written to.

What the run did besides that a replay cannot do makes it a Refusal: it looked at data, kept a
Tensor where nobody finds it, or changed Python objects.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, Literal, NamedTuple, final

import numpy as np

from talweg.base.errors import CaptureError
from talweg.base.source import describe, here
from talweg.capture.guards import settled
from talweg.capture.surroundings import MISSING, Place, Surroundings
from talweg.capture.symbols import Formulas, plain
from talweg.engine.arranged import is_arranged
from talweg.engine.barrier import evaluate, flush
from talweg.engine.state import CONFIG, STATE
from talweg.engine.tape import Edge, GradFn, end_of
from talweg.engine.tensor import AccumulateGrad, Storage, Tensor, edge_of
from talweg.ir.build import Builder
from talweg.ir.node import Node, input_node
from talweg.ir.trace import Trace
from talweg.ops import OpBuilder
from talweg.runtime.buffer import Buffer

_UNLIMITED = 1 << 62
_NUMBERS = frozenset((int, float))


@final
class Refusal(Exception):
    """A run that cannot be done again.

    Args:
        reason: why, for users.
        again: whether the next run may be different: this one changed what Python saw.
        place: where the run left another number.
    """

    def __init__(self, reason: str, again: bool = False, place: Place | None = None) -> None:
        super().__init__(reason)
        self.reason = reason
        self.again = again
        self.place = place


class Source(NamedTuple):
    """Where a Tensor is found at every replay.

    Args:
        kind: an argument, the gradient of an argument, or what is at a place.
        number: of the argument, or of the place.
    """

    kind: Literal["argument", "gradient", "place"]
    number: int


@final
class Anchor(GradFn):
    """Stands on the tape for what was recorded before the capture.

    Args:
        capture: which finds out when a backward pass of the function itself goes through here.
        edge: where the cotangent goes.
    """

    __slots__ = ("capture", "edge")

    def __init__(self, capture: Capture, edge: Edge) -> None:
        super().__init__()
        self.capture = capture
        self.edge = edge

    @property
    def edges(self) -> tuple[Edge, ...]:
        return (self.edge,)

    def apply(
        self, b: Builder, cotangents: list[Node | None], tape: dict[Node, Edge] | None
    ) -> Sequence[Node | None]:
        if STATE.now.capture is self.capture:
            self.capture.observed("a backward pass goes on into what was recorded outside of it")
        return cotangents[:1]


@final
class _Builder(OpBuilder):
    """A Builder that remembers the values that come into being while the function runs."""

    __slots__ = ("known",)

    known: set[Node]

    def __init__(self, trace: Trace | None = None) -> None:
        super().__init__(trace)
        self.known = set()

    def scalar(self, value: Any, dtype: Any) -> Node:
        node = super().scalar(value, dtype)
        self.known.add(node)
        return node

    def constant(self, array: np.ndarray, dtype: Any = None) -> Node:
        node = super().constant(array, dtype)
        self.known.add(node)
        return node


@final
class Capture:
    """A run of a function.

    Args:
        roots: what the function reaches, with names for it.
        leaves: the Tensors and other values among its arguments.
        numbers: which of them are numbers that change from call to call.
        promoted: whether numbers at a place do.
        strict: raise CaptureError where the run does what cannot be done again.

    Attributes:
        sources: of all Tensors that the function can reach.
        tensors: what they were during the run.
        first: for each source, the first one with the same storage.
        origins: the Nodes that hold the values of sources, with their numbers.
        formulas: the numbers that change.
        marked: the Symbols at places.
        equal: places whose number is, and must be, the same as at another place.
        draws: generators, and their positions before the run.
        reason: why the run cannot be done again, once that is known.
        waiting: whether a barrier was passed.
        graded: whether the run depends on which Tensors have a gradient.
    """

    def __init__(
        self,
        roots: Iterable[tuple[Any, str]],
        leaves: Sequence[Any],
        numbers: Iterable[int],
        promoted: Callable[[Place], bool],
        strict: bool,
    ) -> None:
        flush()
        self.now = STATE.now
        self.surroundings = Surroundings(roots)
        self.leaves = list(leaves)
        self.formulas = Formulas()
        self.draws: dict[int, tuple[Any, tuple[int, int]]] = {}
        self.reason: str | None = None
        self.waiting = self.graded = False
        self.strict = strict
        self.sources: list[Source] = []
        self.tensors: list[Tensor] = []
        self.first: list[int] = []
        self.origins: dict[Node, int] = {}
        self.views: dict[Node, int] = {}
        self._by_value: dict[int, Node] = {}
        self._by_storage: dict[int, int] = {}
        self._find_sources()
        self.states = [(t._storage, t._view, t._storage.version) for t in self.tensors]
        self.edges = [edge_of(t) for t in self.tensors]
        self.types = [
            t.node().type if s.kind == "argument" and not is_arranged(t) else t._storage.node.type
            for t, s in zip(self.tensors, self.sources, strict=True)
        ]
        self.marked: dict[int, Any] = {}
        self.equal: dict[int, int] = {}
        self._alike: dict[Any, int] = {}
        self.known: set[Node] = set()
        for i in numbers:
            self.leaves[i] = self.formulas.symbol(("argument", i), leaves[i])
        for n, place in enumerate(self.surroundings.places):
            if place.changing or promoted(place):
                self._mark(n, self.surroundings.values[n])

    # -- before the run

    def _find_sources(self) -> None:
        for i, leaf in enumerate(self.leaves):
            if isinstance(leaf, Tensor):
                self._add(Source("argument", i), leaf)
                if isinstance(leaf._grad, Tensor):
                    self._add(Source("gradient", i), leaf._grad)
        for n, value in enumerate(self.surroundings.values):
            if isinstance(value, Tensor):
                self._add(Source("place", n), value)

    def _add(self, source: Source, t: Tensor) -> None:
        number = len(self.sources)
        first = self._by_storage.setdefault(id(t._storage), number)
        self.sources.append(source)
        self.tensors.append(t)
        self.first.append(first)
        if first == number:
            storage = t._storage
            storage.node = self._known(storage.node)
            self.origins[storage.node] = number
        view = t._view
        if view is not None and (source.kind == "place" or is_arranged(t)):
            view.forget()
        elif view is not None:
            view.node = self._known(t.node())
            view.root, view.taped = t._storage.node, t._storage.taped
            self.views[view.node] = number

    def _known(self, node: Node) -> Node:
        """Return an input of its own with the value of a Node, in memory nobody else names."""
        if node.value is None:
            evaluate([node])
        value = node.value
        if value.__class__ is not Buffer or id(value) in self._by_value:
            value = Buffer(node.type.nbytes)
            value.array(node.type.dtype.storage, node.type.shape)[...] = node.array
        made = input_node(node.type, value)
        self._by_value[id(value)] = made
        return made

    def _mark(self, n: int, value: Any) -> None:
        """Make the number at a place, or the numbers in a tuple there, Symbols.

        Equal numbers under one name, such as the counts of steps of all parameters, are one Symbol.
        """
        if type(value) in _NUMBERS:
            key = self.surroundings.places[n].key, type(value), value
            first = self._alike.setdefault(key, n)
            if first != n:
                self.equal[n] = first
            self.marked[n] = self.formulas.symbol(("place", first, None), value)
        elif type(value) is tuple and any(type(v) in _NUMBERS for v in value):
            self.marked[n] = tuple(
                self.formulas.symbol(("place", n, i), v) if type(v) in _NUMBERS else v
                for i, v in enumerate(value)
            )

    # -- the run

    def run(self, call: Callable[[Sequence[Any]], Any]) -> Any:
        """Return what the function returns for the leaves of its arguments."""
        places = self.surroundings.places
        anchors: dict[int, Anchor] = {}
        for t, edge in zip(self.tensors, self.edges, strict=True):
            if edge is not None and not isinstance(end_of(edge)[0], AccumulateGrad):
                t._edge = anchors.setdefault(id(t), Anchor(self, edge))
        self.anchors = [anchors.get(id(t)) for t in self.tensors]
        for n, symbol in self.marked.items():
            places[n].set(symbol)
        now = self.now
        elsewhere = random.getstate(), np.random.get_state()
        modes = now.grad, now.inference, now.anomaly, now.cast
        try:
            with self.watching():
                result = call(self.leaves)
            if not _same_state(elsewhere, (random.getstate(), np.random.get_state())):
                self.reason = self.reason or "it draws random numbers that are not talweg's"
            if modes != (now.grad, now.inference, now.anomaly, now.cast):
                self.reason = self.reason or "it switches the gradient mode for what comes after it"
            return result
        finally:
            for t, edge, anchor in zip(self.tensors, self.edges, self.anchors, strict=True):
                if anchor is not None and t._edge is anchor:
                    t._edge = edge
            self.after = self.surroundings.read()
            for n in self.marked:
                self._unmark(n)

    @contextmanager
    def watching(self) -> Iterator[None]:
        """Watch what is recorded, and evaluate nothing."""
        now = self.now
        builder = now.builder
        now.builder = own = _Builder(now.trace)
        own.default_float, own.vjp_of, own.known = builder.default_float, builder.vjp_of, self.known
        now.limit = _UNLIMITED
        now.capture = self
        casts = now.casts
        now.casts = None if casts is None else {}
        try:
            yield
        finally:
            now.casts = casts
            self._end()
            now.builder = builder
            if own.default_float is not builder.default_float:
                builder.default_float = own.default_float
                self.reason = self.reason or "the function sets the default dtype"

    def _end(self) -> None:
        self.now.capture = None
        self.now.limit = 0 if CONFIG.sync else CONFIG.pending

    def _unmark(self, n: int) -> None:
        value = self.after[n]
        if type(value) is tuple:
            value = tuple(map(plain, value))
        if value is not MISSING:
            self.surroundings.places[n].set(plain(value))

    def observed(self, what: str) -> None:
        """Give up: go on as if nobody had watched."""
        if self.reason is None:
            self.reason = f"{what} ({describe(here())})"
        self._end()
        if self.strict:
            raise CaptureError(f"cannot be captured: {self.reason}")

    def drawn(self, generator: Any, key: int, offset: int) -> tuple[Any, Any]:
        """Return Symbols for the position of a generator."""
        _, (_, start) = self.draws.setdefault(id(generator), (generator, (key, offset)))
        seed = self.formulas.symbol(("seed", id(generator)), key)
        first: Any = self.formulas.symbol(("offset", id(generator)), start)
        return seed, first + (offset - start)

    # -- after the run

    def changes(self) -> dict[int, Any]:
        """Return what the run left at the places where it left something else.

        Raises:
            Refusal: when it left what a replay cannot make.
        """
        if self.reason is not None:
            raise Refusal(self.reason)
        found: dict[int, Any] = {}
        places, before = self.surroundings.places, self.surroundings.values
        for n, (place, old, new) in enumerate(zip(places, before, self.after, strict=True)):
            if n in self.marked:
                if not _same_symbols(self.marked[n], new):
                    found[n] = new
            elif isinstance(new, Tensor) or isinstance(old, Tensor):
                if new is not old:
                    found[n] = new
                    self.graded = self.graded or place.key == "_grad"
                if (new is None) is not (old is None):
                    text = f"{place.path} was {_short(old)} before, {_short(new)} after"
                    raise Refusal(text, True)
            elif not settled(new, old):
                number = place if type(new) in _NUMBERS and type(new) is type(old) else None
                text = f"{place.path} changed from {_short(old)} to {_short(new)}"
                raise Refusal(text, True, number)
        grown = self.surroundings.resized()
        if grown is not None:
            raise Refusal(f"{grown} gained or lost entries", True)
        return found

    def settled_at(self, n: int) -> bool:
        """Return whether the run left at a place what was there."""
        if n in self.marked:
            return _same_symbols(self.marked[n], self.after[n])
        return self.after[n] is self.surroundings.values[n]

    def source_of(self, node: Node) -> int | None:
        """Return the source whose value a known Node holds, or None; views are sources too."""
        node = self._by_value.get(id(node.value), node)
        found = self.origins.get(node)
        return self.views.get(node) if found is None else found

    def is_view(self, node: Node) -> bool:
        """Return whether a known Node holds the value of an argument that is a view."""
        return self._by_value.get(id(node.value), node) in self.views

    def source_with(self, storage: Storage) -> int | None:
        """Return the first source that had a storage before the run, or None."""
        return self._by_storage.get(id(storage))

    def written(self) -> list[int]:
        """Return the sources whose storages hold another value than before."""
        listed = {self.source_with(s) for s in self.now.written}
        return sorted(
            s for s in listed if s is not None and self.origins.get(self.states[s][0].node) != s
        )


def _same_state(before: Any, now: Any) -> bool:
    if isinstance(before, tuple):
        return all(map(_same_state, before, now))
    return bool(np.array_equal(before, now))


def _same_symbols(before: Any, now: Any) -> bool:
    if type(before) is tuple:
        return (
            type(now) is tuple
            and len(now) == len(before)
            and all(a is b for a, b in zip(before, now, strict=True))
        )
    return now is before


def _short(value: Any) -> str:
    if value is None or value is MISSING:
        return repr(value)
    if isinstance(value, Tensor):
        return f"a Tensor of shape {value.shape}"
    text = repr(plain(value))
    return text if len(text) <= 60 else f"a {type(value).__name__}"
