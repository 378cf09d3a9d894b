"""What is computed when: a value that waits for another."""

from __future__ import annotations

from talweg.ir.build import Builder
from talweg.ir.node import Node


def after(b: Builder, x: Node, before: Node) -> Node:
    """Return x as a value that is not known before another one is.

    What is computed from it is never merged with what is computed from x itself.

    Args:
        b: makes the Nodes.
        x: any shape and dtype; without elements it is returned itself.
        before: any shape; one that is complex, or without elements, is not waited for.
    """
    if not x.type.size or not before.type.size or before.dtype.is_complex:
        return x
    first = before
    if rank := before.type.rank:
        first = b.reshape(b.slice(before, (0,) * rank, (1,) * rank, (1,) * rank), ())
    never = b.expand(b.lt(first, first), x.shape)
    return b.where(never, b.expand(b.scalar(0, x.dtype), x.shape), x)
