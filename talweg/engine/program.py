"""Programs: Plans whose kernels are compiled, ready to run on values."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, TypeAlias, final

import numpy as np

from talweg.base import dtypes
from talweg.engine.kernels import kernel_of
from talweg.ir.interpret import run as run_reference
from talweg.ir.types import TensorType
from talweg.passes.plan import ARENA, INPUT, HostCall, Launch, Place, Plan
from talweg.runtime.jit import Kernel

Value: TypeAlias = Any


@final
class Program:
    """A Plan with its kernels.

    Args:
        plan: the steps.
    """

    def __init__(self, plan: Plan) -> None:
        self.plan = plan
        self.kernels: list[Kernel | None] = [
            kernel_of(s.nest, s.values) if isinstance(s, Launch) else None for s in plan.steps
        ]

    def run(self, inputs: Sequence[Value]) -> list[Value]:
        """Return the stored values of the outputs."""
        arrays = [np.ascontiguousarray(a).reshape(a.shape) for a in inputs]
        arena = np.empty(self.plan.arena + 64, np.uint8)
        start = arena.ctypes.data + -arena.ctypes.data % 64
        buffers = [np.empty(t.shape, t.dtype.storage) for t in self.plan.buffers]

        def address(place: Place) -> int:
            if place.kind == ARENA:
                return start + place.at
            listed = arrays if place.kind == INPUT else buffers
            return int(listed[place.at].ctypes.data)

        def array(place: Place, type: TensorType) -> np.ndarray:
            if place.kind == ARENA:
                offset = start - arena.ctypes.data + place.at
                part = arena[offset : offset + type.nbytes]
                return part.view(type.dtype.storage).reshape(type.shape)
            listed = arrays if place.kind == INPUT else buffers
            return listed[place.at].reshape(type.shape)

        for step, kernel in zip(self.plan.steps, self.kernels, strict=True):
            if isinstance(step, HostCall):
                _call_host(step, array)
            else:
                assert kernel is not None
                kernel.call([address(p) for p in step.places], step.values)
        return [arrays[p.at] if p.kind == INPUT else buffers[p.at] for p in self.plan.results]


def _call_host(step: HostCall, array: Any) -> None:
    operands = [
        dtypes.decode(array(p, t), t.dtype) for p, t in zip(step.places, step.types, strict=True)
    ]
    found = run_reference(step.node, operands)
    several = found if isinstance(found, tuple) else (found,)
    for result, place, type in zip(several, step.targets, step.results, strict=True):
        array(place, type)[...] = dtypes.encode(result, type.dtype)
