"""Memory formats: in which order the axes of a Tensor stand in memory, as PyTorch names them."""

from __future__ import annotations

from typing import final

from talweg.base.shapes import Shape


@final
class MemoryFormat:
    """An order of axes in memory; `tw.channels_last` and its like are the only ones.

    Args:
        name: what it is called.
    """

    __slots__ = ("name",)

    def __init__(self, name: str) -> None:
        self.name = name

    def __repr__(self) -> str:
        return f"talweg.{self.name}"

    def __reduce__(self) -> str:
        return self.name


contiguous_format = MemoryFormat("contiguous_format")
preserve_format = MemoryFormat("preserve_format")
channels_last = MemoryFormat("channels_last")
channels_last_3d = MemoryFormat("channels_last_3d")

RANKS = {channels_last: 4, channels_last_3d: 5}
"""How many axes Tensors have whose channels stand last."""


def last_strides(shape: Shape) -> Shape:
    """Return the strides of values N, C, *spatial whose channels stand last, without gaps."""
    strides = [0] * len(shape)
    step = 1
    for axis in (1, *range(len(shape) - 1, 1, -1), 0):
        strides[axis] = step
        step *= max(shape[axis], 1)
    return tuple(strides)


def lies_last(shape: Shape, strides: Shape) -> bool:
    """Whether the channels of values N, C, *spatial stand last, and they are not row-major as well.

    That is what PyTorch's `suggest_memory_format` says; one channel, or one pixel, stands in both
    orders.
    """
    rank = len(shape)
    if rank not in (4, 5) or 0 in shape or not strides[1]:
        return False
    if shape[1] == 1 or max(shape[2:]) == 1:
        return False
    least = 0
    for axis in (1, *range(rank - 1, 1, -1), 0):
        if strides[axis] < least:
            return False
        least = strides[axis] * shape[axis]
    return True
