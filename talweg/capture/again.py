"""Tensors made again, as the captured run made them."""

from __future__ import annotations

from collections.abc import Sequence

from talweg.capture.outcome import Made
from talweg.engine.arranged import SEEN
from talweg.engine.header import header_after
from talweg.engine.tape import Edge
from talweg.engine.tensor import Storage, Tensor, view_of


def is_simple(m: Made) -> bool:
    """Return whether a Tensor is all of a new storage, and no leaf."""
    if m.kind is not Tensor or m.fresh < 0 or m.leaf:
        return False
    return m.header is None or is_turned(m)


def is_turned(m: Made) -> bool:
    """Return whether a Tensor is all of a storage, with the channels last."""
    if m.header is None or m.base is not None or not m.counted:
        return False
    return m.chain in SEEN.values() and m.header[1] == 0


def move(t: Tensor, edge: Edge) -> None:
    """Put a Tensor that was written to at another place of the tape."""
    t._storage.written().taped += 1
    t._edge = edge
    if t._view is not None:
        t._view.forget()
        t._view.taped = t._storage.taped


def make(
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
    t._view.forget()
    t._view.counted = m.counted
