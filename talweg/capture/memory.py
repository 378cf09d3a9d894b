"""Memory that a replay may write over, since nobody else can see it: counted by references."""

from __future__ import annotations

from sys import getrefcount

import numpy as np

from talweg.base import dtypes
from talweg.engine.arranged import is_arranged
from talweg.engine.barrier import evaluate
from talweg.engine.tensor import Tensor, wrap
from talweg.ir.node import Node, input_node
from talweg.ir.types import TensorType, tensor_type
from talweg.runtime.buffer import Buffer


def held(node: Node) -> Buffer:
    """Return the memory of a Node's value, which is computed or moved there where it is not yet."""
    if node.value is None:
        evaluate([node])
    if node.value.__class__ is not Buffer:
        array = node.array
        assert array is not None, "evaluate leaves a value"
        node.buffer = Buffer.of(np.ascontiguousarray(array))
    memory: Buffer = node.value
    return memory


def references(t: Tensor) -> tuple[int, int, int, int]:
    """Return how often a Tensor, its storage, that one's Node and its memory are referenced."""
    storage = t._storage
    node = storage.node
    memory = node.value
    return getrefcount(t), getrefcount(storage), getrefcount(node), getrefcount(memory)


def spare(t: Tensor | None, type: TensorType, turned: bool = False) -> Buffer | None:
    """Return the memory of a gradient if only the `grad` of one Tensor leads to it, else None.

    Args:
        t: the gradient, which the caller does not hold otherwise.
        type: what its storage must have.
        turned: whether it must have its channels last; it must be row-major otherwise.
    """
    if t.__class__ is not Tensor or t._edge is not None:
        return None
    view = t._view
    if view is not None:
        if not (turned and is_arranged(t)):
            return None
        view.forget()
    elif turned:
        return None
    storage = t._storage
    node = storage.node
    memory = node.value
    if (
        node.type is type
        and memory.__class__ is Buffer
        and memory.stamp >= 0
        and storage.writes is None
        and t._grad is None
        and (getrefcount(t), getrefcount(storage), getrefcount(node), getrefcount(memory)) == _ALONE
    ):
        memory.stamp = 0
        return memory
    return None


def _alone() -> tuple[int, int, int, int]:
    """Return what `references` gives for a gradient that nobody else holds."""
    type = tensor_type(dtypes.float32, ())
    leaf = wrap(input_node(type, 0.0))
    leaf._grad = wrap(input_node(type, Buffer(type.nbytes)))
    return references(leaf._grad)


_ALONE = _alone()
