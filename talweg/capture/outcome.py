"""What a captured run left behind, as a recipe for leaving it behind again."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from typing import Any, Literal, NamedTuple, final

from talweg.capture.surroundings import is_plain
from talweg.capture.symbols import Symbol
from talweg.capture.tree import flatten
from talweg.capture.watched import Capture, Refusal
from talweg.engine.arranged import is_arranged
from talweg.engine.header import Header
from talweg.engine.tape import GradFn
from talweg.engine.tensor import AccumulateGrad, Storage, Tensor
from talweg.ir.node import Node
from talweg.ir.op import Op


class Ref(NamedTuple):
    """A value after the run.

    Args:
        kind: a Tensor that was made, one that was there, a changing number, a tuple of Refs, or a
            constant.
        value: the number of the Tensor among those made or among the sources; the place of the
            number among the formulas; the Refs; the constant.
    """

    kind: Literal["made", "source", "number", "tuple", "constant"]
    value: Any


class Made(NamedTuple):
    """A Tensor that the run made.

    Args:
        kind: its class.
        fresh: the number of its storage among the new ones, or -1.
        source: otherwise the source that has its storage.
        chain: the View ops that give it from the storage, or from the source.
        header: strides and offset of a view of a new storage.
        counted: whether writes through it raise the version.
        base: the Tensor it is a view of.
        edge: its number among those on the tape, or -1.
        leaf: whether it is a leaf that requires gradients.
    """

    kind: type[Tensor]
    fresh: int
    source: int
    chain: tuple[Op, ...]
    header: Header | None
    counted: bool
    base: Ref | None
    edge: int
    leaf: bool


class Write(NamedTuple):
    """A storage that holds another value than before.

    Args:
        source: which has it.
        output: the number of the value.
        versions: how many writes raised the version.
    """

    source: int
    output: int
    versions: int


@final
class Outcome:
    """What a run left behind.

    Args:
        capture: the run.
        result: what the function returned.

    Raises:
        Refusal: when a replay could not leave that behind.

    Attributes:
        nodes: the values to compute.
        made: how to make Tensors.
        tensors: those that the run made.
        fresh: for each new storage, the number of its value.
        structure, result: what to return.
        places: what to put at which places.
        writes: values of storages.
        swaps: sources that got a new storage: its number.
        gradients: arguments whose `grad` was set.
        taped: the Tensors that gradients can be taken of.
        edges: sources among those, with their numbers there.
    """

    def __init__(self, capture: Capture, result: Any) -> None:
        self._capture = capture
        self._source = {id(t): s for s, t in reversed(list(enumerate(capture.tensors)))}
        self._number: dict[int, int] = {}
        self._fresh: dict[int, int] = {}
        self._outputs: dict[Node, int] = {}
        self.nodes: list[Node] = []
        self.tensors: list[Tensor] = []
        self.made: list[Made] = []
        self.fresh: list[int] = []
        self.taped: list[Tensor] = []
        leaves: list[Any] = []
        self.structure = flatten(result, leaves)
        changes = capture.changes()
        self.result = [self._ref(v, "the function returns") for v in leaves]
        self.places = [(n, self._ref(v, "the function keeps")) for n, v in changes.items()]
        self.gradients = list(self._gradients())
        self.swaps, self.edges = list(self._swaps()), list(self._edges())
        shared = Counter(id(t._storage) for t in self.tensors)
        for t in self.tensors:
            self.made.append(self._made(t, shared[id(t._storage)] > 1))
        # Last, so that what reads the old values comes before, and they may be overwritten.
        self.writes = [self._write(s) for s in capture.written()]

    def _ref(self, value: Any, what: str) -> Ref:
        if isinstance(value, Tensor):
            source = self._source.get(id(value))
            if source is not None:
                return Ref("source", source)
            number = self._number.get(id(value))
            if number is None:
                number = self._number[id(value)] = len(self.tensors)
                self.tensors.append(value)
            return Ref("made", number)
        if type(value) is Symbol:
            return Ref("number", value.place)
        if type(value) is tuple:
            return Ref("tuple", [self._ref(v, what) for v in value])
        if not is_plain(value) and id(value) not in self._capture.surroundings.held:
            raise Refusal(f"{what} an object of type {type(value).__name__}")
        return Ref("constant", value)

    def _output(self, node: Node) -> int:
        found = self._outputs.get(node)
        if found is None:
            found = self._outputs[node] = len(self.nodes)
            self.nodes.append(node)
        return found

    def _made(self, t: Tensor, shared: bool) -> Made:
        edge, step = -1, t._edge
        leaf = isinstance(step, AccumulateGrad)
        if step is not None and not leaf:
            edge = len(self.taped)
            self.taped.append(t)
        if t.__dict__.keys() - {"_idle"}:
            raise Refusal(f"a Tensor that the function makes has attributes: {sorted(t.__dict__)}")
        storage, view = t._storage, t._view
        if self._capture.source_with(storage) is not None:
            source, chain, base = self._aliased(t)
            counted = t._counted
            return Made(type(t), -1, source, chain, None, counted, base, edge, leaf)
        if view is None or not (shared or is_arranged(t)):
            fresh = self._storage(storage, t.node(), view is None)
            return Made(type(t), fresh, -1, (), None, True, None, edge, leaf)
        fresh = self._storage(storage, storage.node, True)
        base = self._base(t)
        return Made(type(t), fresh, -1, view.chain, view.header, view.counted, base, edge, leaf)

    def _storage(self, storage: Storage, node: Node, shared: bool) -> int:
        key = id(storage) if shared else -1 - len(self.fresh)
        found = self._fresh.get(key)
        if found is None:
            found = self._fresh[key] = len(self.fresh)
            self.fresh.append(self._output(node))
        return found

    def _base(self, t: Tensor) -> Ref | None:
        base = t._base
        if base is None:
            return None
        if id(base) in self._number:
            return Ref("made", self._number[id(base)])
        source = self._source.get(id(base))
        return None if source is None else Ref("source", source)

    def _aliased(self, t: Tensor) -> tuple[int, tuple[Op, ...], Ref | None]:
        """The source that a Tensor shares its storage with, and the View ops between them."""
        best = -1
        for s, source in enumerate(self._capture.tensors):
            chain = source._chain
            if self._capture.states[s][0] is t._storage and t._chain[: len(chain)] == chain:
                if best < 0 or len(chain) > len(self._capture.tensors[best]._chain):
                    best = s
        if best < 0:
            raise Refusal("the function makes another view of the memory behind an argument")
        start = len(self._capture.tensors[best]._chain)
        return best, t._chain[start:], self._base(t)

    def _write(self, s: int) -> Write:
        storage, _, version = self._capture.states[s]
        return Write(s, self._output(storage.node), storage.version - version)

    def _swaps(self) -> Iterable[tuple[int, int]]:
        seen: set[int] = set()
        capture = self._capture
        for s, (t, (storage, view, _)) in enumerate(
            zip(capture.tensors, capture.states, strict=True)
        ):
            if id(t) in seen:
                continue
            seen.add(id(t))
            if t._storage is not storage:
                if t._view is not None or capture.source_with(t._storage) is not None:
                    raise Refusal("the function makes a Tensor another view")
                yield s, self._storage(t._storage, t._storage.node, True)
            elif t._view is not view:
                raise Refusal("the function makes a Tensor another view", True)

    def _edges(self) -> Iterable[tuple[int, int]]:
        """Arguments that the run has put somewhere else on the tape, by writing to them."""
        capture = self._capture
        for s, (t, before) in enumerate(zip(capture.tensors, capture.edges, strict=True)):
            if t._edge is before or self._source[id(t)] != s:
                continue
            if capture.sources[s].kind != "argument" or not isinstance(t._edge, GradFn | tuple):
                raise Refusal("the function changes whether a Tensor requires gradients", True)
            yield s, len(self.taped)
            self.taped.append(t)

    def _gradients(self) -> Iterable[tuple[int, Ref]]:
        capture = self._capture
        before = {
            x.number: capture.tensors[s]
            for s, x in enumerate(capture.sources)
            if x.kind == "gradient"
        }
        for i, leaf in enumerate(capture.leaves):
            if isinstance(leaf, Tensor) and leaf._grad is not before.get(i):
                grad = leaf._grad
                yield i, Ref("constant", None) if grad is None else self._ref(grad, "")
