"""What a replay leaves behind: results, values of storages, gradients, numbers in objects."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, final

from talweg.capture.outcome import Made, Ref, Write
from talweg.capture.surroundings import Place
from talweg.capture.tree import LEAF, rebuild
from talweg.engine.header import header_after
from talweg.engine.tape import Edge, clock
from talweg.engine.tensor import Storage, Tensor, view_of
from talweg.ir.node import Node


@final
class Effects:
    """See `Outcome`; sources and numbers are counted among those that a replay finds."""

    def __init__(
        self,
        made: Sequence[Made],
        fresh: Sequence[int],
        structure: Any,
        result: Sequence[Ref],
        places: Sequence[tuple[Place, Ref]],
        writes: Sequence[Write],
        swaps: Sequence[tuple[int, int]],
        gradients: Sequence[tuple[int, Ref]],
        edges: Sequence[tuple[int, int]],
    ) -> None:
        self.made = made
        self.writes = writes
        self._fresh = fresh
        self._structure = structure
        self._result = result
        self._swaps = swaps
        self._gradients = gradients
        self._edges = edges
        self._simple = all(map(_is_simple, made))
        self._items: list[tuple[Any, Any, int]] = []
        self._grads: list[tuple[Tensor, int]] = []
        self._places: list[tuple[Place, Ref]] = []
        for place, ref in places:
            if place.item and ref.kind == "number":
                self._items.append((place.container, place.key, ref.value))
            elif not place.item and place.key == "_grad" and ref.kind == "made":
                self._grads.append((place.container, ref.value))
            else:
                self._places.append((place, ref))
        others = places, writes, swaps, gradients, edges
        self.plain = (
            not any(others)
            and structure is LEAF
            and len(made) == len(fresh) == 1
            and _is_simple(made[0])
            and made[0].edge < 0
            and result[0].kind == "made"
        )

    def leave(
        self,
        leaves: Sequence[Any],
        sources: Sequence[Tensor],
        numbers: Sequence[Any],
        outputs: Sequence[Node],
        steps: Sequence[Edge],
    ) -> Any:
        """Leave behind what the captured run did, with other values; return the result.

        Args:
            leaves: of the arguments.
            sources: the Tensors that were there.
            numbers: those that change from call to call.
            outputs: the values.
            steps: where results stand on the tape.
        """
        for source, output, versions in self.writes:
            storage = sources[source]._storage
            storage.node = outputs[output]
            if versions:
                writes = storage.writes or storage.written()
                writes.version += versions
                writes.last = time = next(clock)
                writes.times.append(time)
        fresh: list[Storage] = []
        for output in self._fresh:
            storage = Storage()
            storage.node = outputs[output]
            storage.writes = None
            fresh.append(storage)
        for source, number in self._swaps:
            sources[source]._storage = fresh[number]
            sources[source]._view = None
        made = self._make(fresh, sources, steps)
        for source, number in self._edges:
            _move(sources[source], steps[number])
        for container, key, number in self._items:
            container[key] = numbers[number]
        for leaf, number in self._grads:
            leaf._grad = made[number]

        def value(ref: Ref) -> Any:
            kind, which = ref
            if kind == "made":
                return made[which]
            if kind == "source":
                return sources[which]
            if kind == "number":
                return numbers[which]
            return tuple(map(value, which)) if kind == "tuple" else which

        for place, ref in self._places:
            place.set(value(ref))
        for number, ref in self._gradients:
            leaves[number]._grad = value(ref)
        if self._structure is LEAF:
            return value(self._result[0])
        return rebuild(self._structure, [value(r) for r in self._result])

    def _make(
        self, fresh: Sequence[Storage], sources: Sequence[Tensor], steps: Sequence[Edge]
    ) -> list[Tensor]:
        made: list[Tensor] = []
        if not self._simple:
            for m in self.made:
                made.append(_make(m, fresh, sources, made, steps))
            return made
        for m in self.made:
            t: Tensor = _new(Tensor)
            t._storage = fresh[m.fresh]
            t._view = t._grad = None
            t._edge = steps[m.edge] if m.edge >= 0 else None
            made.append(t)
        return made


_new: Any = object.__new__


def _is_simple(m: Made) -> bool:
    """Whether a Tensor is all of a new storage, and no leaf."""
    return m.kind is Tensor and m.fresh >= 0 and m.header is None and not m.leaf


def _move(t: Tensor, edge: Edge) -> None:
    """Put a Tensor that was written to at another place of the tape."""
    t._storage.written().taped += 1
    t._edge = edge
    if t._view is not None:
        t._view.node = None
        t._view.taped = t._storage.taped


def _make(
    m: Made,
    fresh: Sequence[Storage],
    sources: Sequence[Tensor],
    before: Sequence[Tensor],
    steps: Sequence[Edge],
) -> Tensor:
    """Return a Tensor as the captured run made it.

    Args:
        m: how.
        fresh: new storages.
        sources: Tensors that were there.
        before: those made already.
        steps: places on the tape.
    """
    t: Tensor = m.kind.__new__(m.kind)
    t._view = t._edge = t._grad = None
    if m.fresh >= 0:
        t._storage = fresh[m.fresh]
    else:
        t._storage = sources[m.source]._storage
    if m.fresh < 0 or m.header is not None:
        _see(t, m, sources, before)
    if m.leaf:
        t.requires_grad = True
    elif m.edge >= 0:
        t._edge = steps[m.edge]
    return t


def _see(t: Tensor, m: Made, sources: Sequence[Tensor], before: Sequence[Tensor]) -> None:
    """Make a Tensor a view, if it reads only a part of its storage or in another order."""
    base = None
    if m.base is not None:
        found = sources if m.base.kind == "source" else before
        base = found[m.base.value] if m.base.value < len(found) else None
    if m.header is not None:
        t._view = view_of(t, base, t._storage.node, m.chain, m.header)
    else:
        x = sources[m.source]
        if not m.chain and x._view is None and m.counted:
            return
        header = header_after(x.shape, x.header(), m.chain)
        assert header is not None, "the capture made this view"
        t._view = view_of(x, base, x.node(), x._chain + m.chain, header)
    t._view.node = None
    t._view.counted = m.counted
