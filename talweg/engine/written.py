"""Writes into memory that nobody else sees: done at once, and nothing is recorded.

Below the Tensor everything is functional, so a recorded write copies all that it leaves alone.
Where the value is known, and what will be written too, and no Node that waits can still read the
memory, the elements are put where they belong: a buffer of many rows costs a row for each write.
"""

from __future__ import annotations

from sys import getrefcount
from typing import Any

import numpy as np

from talweg.base.dtypes import float32
from talweg.engine.creation import check_range
from talweg.engine.state import STATE
from talweg.engine.tensor import Storage, Tensor
from talweg.ir.node import Node, input_node
from talweg.ir.types import tensor_type
from talweg.runtime.buffer import Buffer

LEAST = 1 << 12  # bytes of a value; smaller ones are copied as fast


def write_at_once(part: Tensor, value: Any) -> bool:
    """Write a value into a part of a Tensor whose value is known, if nobody else can see that.

    Args:
        part: a view of a whole Tensor, of which no gradient is taken.
        value: a Tensor or number.

    Returns:
        whether it was done.
    """
    storage, view = part._storage, part._view
    node = storage.node
    if view is None or node.type.nbytes < LEAST or node.value.__class__ is not Buffer:
        return False
    if not is_alone(storage) or STATE.now.capture is not None:
        return False
    type = view.part
    assert type is not None, "the part is that of a known value"
    found = _stored(value, type.dtype)
    if found is None or not _fits(found.shape, type.shape):
        return False
    memory: Buffer = node.value
    whole = memory.array(type.dtype.storage, (node.type.size,))
    start = view.header[1]
    memory.stamp = 0
    whole[start : start + type.size].reshape(type.shape)[...] = found
    storage.replace(input_node(node.type, memory), part._counted)
    return True


def _stored(value: Any, dtype: Any) -> np.ndarray | None:
    """A value in stored form, if it is known and of this dtype."""
    if type(value) in (bool, int, float):
        check_range(value, dtype)
        return input_node(tensor_type(dtype, ()), value).array
    if not isinstance(value, Tensor) or (value._edge is not None and STATE.grad):
        return None
    node = value.node()
    return node.array if node.value is not None and node.type.dtype is dtype else None


def _fits(shape: tuple[int, ...], target: tuple[int, ...]) -> bool:
    """Whether one shape is broadcast to the other."""
    if len(shape) > len(target):
        return False
    pairs = zip(shape, target[len(target) - len(shape) :], strict=True)
    return all(n in (1, m) for n, m in pairs)


def is_alone(storage: Storage) -> bool:
    """Whether a known value is that of its storage alone: no Node, no view and no array has it.

    The caller may hold the Node, and one view.
    """
    node = storage.node
    made = getattr(node, "_made", None)
    if made is not None:
        if getrefcount(made) > _ALONE[2]:
            return False
        del made, node._made
    memory = node.value
    if memory.stamp < 0 or getrefcount(memory) > _ALONE[1]:
        return False
    return getrefcount(node) <= _ALONE[0] + 2


def _alone() -> tuple[int, int, int]:
    """What `is_alone` counts where it is so."""
    storage = Storage()
    storage.node = input_node(tensor_type(float32, ()), Buffer(4))
    node: Node = storage.node
    made = node.array
    array = getrefcount(made)
    del made, node._made
    memory = node.value
    return getrefcount(node), getrefcount(memory), array


_ALONE = _alone()
