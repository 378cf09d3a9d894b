"""The meta device: Tensors with a shape and a dtype, and without values.

Nothing is computed before somebody looks, so such a Tensor is one whose value may never be asked
for: a Node that raises where it is run. What is computed of it is as unknown, and has its shape.
"""

from __future__ import annotations

from typing import Any

from talweg.base.errors import DeviceError
from talweg.base.source import here
from talweg.engine.state import STATE
from talweg.engine.tensor import Storage, Tensor
from talweg.ir.node import Node
from talweg.ir.types import TensorType
from talweg.ops.effect import HostCallback

_new: Any = object.__new__


class _Place:
    """Where Tensors are made that name no device, and whether there ever was a meta Tensor."""

    __slots__ = ("default", "used")

    def __init__(self) -> None:
        self.default: list[Any] = []
        self.used = False


PLACE = _Place()


def _refuse(*arrays: Any) -> Any:
    raise DeviceError(
        "this Tensor is on the meta device: it has a shape and no values. Give its Module memory "
        'with module.to_empty(device="cpu") and load a state_dict, or make a Tensor with '
        'torch.empty_like(x, device="cpu")'
    )


def asked(device: object) -> bool:
    """Return whether a device, or None for the default one, is the meta device."""
    if device is None:
        if not PLACE.default:
            return False
        device = PLACE.default[-1]
    return str(getattr(device, "type", device)).partition(":")[0] == "meta"


def made(kind: TensorType, cls: type[Tensor] = Tensor) -> Tensor:
    """Return a Tensor of a type on the meta device.

    It is not listed as pending: nobody computes it with what else is computed.
    """
    PLACE.used = True
    STATE.builder.source = here()
    t: Tensor = _new(cls)
    t._storage = Storage()
    t._storage.node = STATE.builder.apart().apply(HostCallback(_refuse, (kind,)))
    t._storage.writes = None
    t._view = t._edge = t._grad = None
    return t


def is_meta(t: Tensor) -> bool:
    """Return whether a Tensor has no values, or is computed of one that has none."""
    if not PLACE.used:
        return False
    seen: set[Node] = set()
    stack = [t._storage.node]
    while stack:
        node = stack.pop()
        if node.value is not None or node in seen:
            continue
        if isinstance(node.op, HostCallback) and node.op.function is _refuse:
            return True
        seen.add(node)
        stack.extend(node.inputs)
    return False
