"""The header of a Tensor over its data: strides and offset, and how View ops move them."""

from __future__ import annotations

from collections.abc import Sequence

from talweg.base.shapes import Shape, view_strides
from talweg.ir.node import Node
from talweg.ir.op import Op
from talweg.ops.view import Diagonal, Expand, Permute, Reshape, Slice

Header = tuple[Shape, int]


def _moved(op: Op, shape: Shape, strides: Shape, offset: int) -> tuple[Shape, Shape, int] | None:
    """Return shape, strides and offset after a View op; None when no strides express it."""
    if isinstance(op, Reshape):
        moved = view_strides(shape, strides, op.shape)
        return None if moved is None else (op.shape, moved, offset)
    if isinstance(op, Permute):
        return (
            tuple(shape[a] for a in op.axes),
            tuple(strides[a] for a in op.axes),
            offset,
        )
    if isinstance(op, Expand):
        lead = len(op.shape) - len(shape)
        kept = (
            0 if n == 1 and m != 1 else s
            for n, s, m in zip(shape, strides, op.shape[lead:], strict=True)
        )
        return op.shape, (0,) * lead + tuple(kept), offset
    if isinstance(op, Diagonal):
        return shape[:-1], (*strides[:-2], strides[-2] + strides[-1]), offset
    if isinstance(op, Slice):
        offset += sum(a * s for a, s in zip(op.starts, strides, strict=True))
        sizes = tuple(len(range(s.start, s.stop, s.step)) for s in op.slices())
        return sizes, tuple(s * k for s, k in zip(strides, op.steps, strict=True)), offset
    return None


def chain_between(start: Node, end: Node) -> tuple[Op, ...] | None:
    """Return the single-input View ops that lead from `start` to `end`; None when none do."""
    ops: list[Op] = []
    while end is not start:
        if not isinstance(end.op, Reshape | Permute | Expand | Slice | Diagonal):
            return None
        ops.append(end.op)
        end = end.inputs[0]
    return tuple(reversed(ops))


def header_after(shape: Shape, header: Header, chain: Sequence[Op]) -> Header | None:
    """Return strides and offset behind View ops; None when the data would have to be copied."""
    strides, offset = header
    for op in chain:
        moved = _moved(op, shape, strides, offset)
        if moved is None:
            return None
        shape, strides, offset = moved
    return strides, offset
