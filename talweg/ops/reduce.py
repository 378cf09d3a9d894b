"""Reductions over axes."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from talweg.base import dtypes
from talweg.ir.op import Draw, Op, Sample
from talweg.ir.types import TensorType
from talweg.ops.kinds import Reduce, check_dtype

if TYPE_CHECKING:
    from talweg.ir.build import Builder
    from talweg.ir.node import Node


@dataclass(frozen=True)
class ReduceSum(Reduce):
    """Sum over axes, in the operand's dtype; half types accumulate in float32."""

    def infer(self, *types: TensorType) -> TensorType:
        (x,) = types
        check_dtype(self, x.dtype, dtypes.NUMBERS)
        return x.with_shape(self.reduced(x))

    def reference(self, *arrays: np.ndarray) -> np.ndarray:
        (x,) = arrays
        wide = np.float32 if x.dtype == np.float16 else x.dtype
        return np.asarray(np.sum(x, axis=self.axes, dtype=wide)).astype(x.dtype)

    def vjp(self, b: Builder, node: Node, *cotangents: Node) -> tuple[Node | None, ...]:
        (ct,) = cotangents
        shape = node.inputs[0].shape
        kept = tuple(1 if i in self.axes else n for i, n in enumerate(shape))
        return (b.expand(b.reshape(ct, kept), shape),)

    @classmethod
    def samples(cls) -> Iterator[Sample]:
        yield Sample(cls((1,)), (Draw((3, 4, 2)),), dtypes.NUMBERS, tolerance=16)
        yield Sample(cls((0, 2)), (Draw((3, 4, 2)),), dtypes.FLOATS, tolerance=16)


OPS: tuple[type[Op], ...] = (ReduceSum,)
