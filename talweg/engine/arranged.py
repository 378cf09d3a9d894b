"""Tensors whose channels stand last in memory: views of a stored value N, *spatial, C.

There is no other kind of storage. Such a Tensor reads its storage through one Permute; functions
that PyTorch has keep the order of images give Tensors of the same kind, see `keeping`.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Final

from talweg.base.errors import ShapeError
from talweg.base.formats import RANKS, MemoryFormat, last_strides, preserve_format
from talweg.base.source import describe, here
from talweg.engine.barrier import note
from talweg.engine.state import STATE
from talweg.engine.tensor import Storage, Tensor, View, wrap
from talweg.ir.node import Node
from talweg.ir.op import INPUT
from talweg.ops.kinds import Contract, Elementwise, Window
from talweg.ops.kinds import View as ViewOp
from talweg.ops.view import Pad, Permute

TURNED: Final = {4: Permute((0, 2, 3, 1)), 5: Permute((0, 2, 3, 4, 1))}
"""By rank: from N, C, *spatial to what is stored."""

SEEN: Final = {4: (Permute((0, 3, 1, 2)),), 5: (Permute((0, 4, 1, 2, 3)),)}
"""By rank: the chain from what is stored to the Tensor."""


def is_last(t: Tensor) -> bool:
    """Whether the channels of a Tensor stand last in memory, and it is not row-major as well."""
    return t._view is not None and t._view.last


def is_arranged(t: Tensor) -> bool:
    """Whether a Tensor is all of a storage N, *spatial, C."""
    view = t._view
    return view is not None and view.last and view.chain == SEEN[len(view.header[0])]


def can_lie_last(node: Node) -> bool:
    """Whether channels last is another order than row-major for a value."""
    type = node.type
    return type.rank in TURNED and type.size > 0 and type.shape[1] > 1 and max(type.shape[2:]) > 1


def arranged(node: Node, cls: type[Tensor] = Tensor) -> Tensor:
    """Return a new leaf Tensor on a Node N, C, *spatial, whose channels stand last."""
    return arranged_on(stored_of(node), cls, node)


def arranged_on(stored: Node, cls: type[Tensor] = Tensor, node: Node | None = None) -> Tensor:
    """Return a new leaf Tensor on a stored value N, *spatial, C.

    Args:
        stored: the value.
        cls: the class of the Tensor.
        node: the same value as the Tensor has it, where there is a Node of it.
    """
    t = wrap(stored, cls)
    see_turned(t, stored if node is None else node)
    assert t._view is not None
    if node is None or stored.value is not None:
        t._view.forget()
    return t


def stored_of(node: Node) -> Node:
    """Return the value N, *spatial, C of images."""
    if (node.op,) == SEEN[node.type.rank]:
        return node.inputs[0]
    return STATE.builder.apply(TURNED[node.type.rank], node)


def seen_of(stored: Node) -> Node:
    """Return images of which this is the value N, *spatial, C."""
    (op,) = SEEN[stored.type.rank]
    return STATE.builder.apply(op, stored)


def see_turned(t: Tensor, node: Node) -> None:
    """Make a Tensor that has a storage N, *spatial, C see that through a Permute; `node` is it."""
    storage: Storage = t._storage
    shape = storage.node.type.shape
    shape = (shape[0], shape[-1], *shape[1:-1])
    t._view = view = View()
    view.base = None
    view.chain = SEEN[len(shape)]
    view.header = last_strides(shape), 0
    view.counted = view.last = True
    view.part = None
    view.node = node
    view.root = storage.node
    view.taped = storage.taped
    view.part = None


def put_in(t: Tensor, format: MemoryFormat | None) -> Tensor:
    """Give a new Tensor, of which there is no view yet, a place in a format; return it.

    Raises:
        ShapeError: for images that have not so many axes.
    """
    if format is None or format is preserve_format:
        return t
    last = format in RANKS
    if last and t.ndim != RANKS[format]:
        raise ShapeError(
            f"required rank {RANKS[format]} tensor to use {format.name} format, got shape {t.shape}"
            f"\n  recorded at {describe(here())}"
        )
    node = t.node()
    if last == is_last(t) or not can_lie_last(node):
        return t
    storage = t._storage
    if last:
        storage.node = stored_of(node)
        see_turned(t, node)
    else:
        storage.node = node
        t._view = None
    note(t, storage.node, renewed=True)
    return t


def new(node: Node, last: bool) -> Tensor:
    """Return a new leaf Tensor on a Node, with the channels last where that is another order."""
    return arranged(node) if last and can_lie_last(node) else wrap(node)


KEEPING: Final = frozenset((
    "adaptive_avg_pool2d", "adaptive_avg_pool3d", "adaptive_max_pool2d", "adaptive_max_pool3d",
    "flip", "glu", "group_norm", "interpolate", "local_response_norm", "lp_pool2d", "lp_pool3d",
    "max_unpool2d", "max_unpool3d", "pad", "pixel_shuffle", "pixel_unshuffle", "roll", "upsample",
))  # fmt: skip
"""Functions that keep the order of their first operand, however they are made."""


def keeping(
    name: str, outs: Sequence[Node], tensors: Sequence[Tensor], made: Iterable[Node]
) -> set[Node]:
    """Return those results of a function whose channels stand last since its operands' do.

    As PyTorch has it: images that are convolved, pooled, padded or computed element by element
    from such images; where a result is computed element by element, the first operand of its shape
    decides.

    Args:
        name: of the function.
        outs: the results.
        tensors: the operands.
        made: the Nodes of the function, in order.
    """
    if name in KEEPING:
        return {o for o in outs if is_last(tensors[0]) and can_lie_last(o)}
    found = _spread({t.node() for t in tensors if is_last(t)}, made)
    kept = {o for o in outs if o in found and can_lie_last(o)}
    return {o for o in kept if not _follows_rows(o, tensors)}


def with_channels_last(nodes: Iterable[Node]) -> set[Node]:
    """Return the images of a Graph whose channels stand last, since those of its inputs do."""
    nodes = list(nodes)
    seen = {n for n in nodes if isinstance(n.op, Permute) and (n.op,) in SEEN.values()}
    found = _spread({n for n in seen if n.inputs[0].op is INPUT}, nodes)
    return {n for n in found if can_lie_last(n)} - seen


def _spread(found: set[Node], made: Iterable[Node]) -> set[Node]:
    """Return these images and what is made of them with its channels last too."""
    for node in made:
        op, inputs = node.op, node.inputs
        if isinstance(op, Elementwise):
            keeps = any(i in found and i.type.shape == node.type.shape for i in inputs)
        elif isinstance(op, Contract):
            keeps = -1 in op.images and not found.isdisjoint(inputs)
        elif isinstance(op, ViewOp):
            grows = isinstance(op, Pad) or op.joins(node.type.rank) is not None
            keeps = grows and inputs[0] in found
        else:
            keeps = isinstance(op, Window) and inputs[0] in found
        if keeps:
            found.add(node)
    return found


def _follows_rows(out: Node, tensors: Sequence[Tensor]) -> bool:
    """Whether an elementwise result is made of row-major images first."""
    if not isinstance(out.op, Elementwise):
        return False
    like = (t for t in tensors if t.node().type.shape == out.type.shape)
    return any(not is_last(t) for t in list(like)[:1])
