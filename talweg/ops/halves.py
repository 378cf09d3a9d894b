"""The matrix product of which a half is known to be zero, or not needed."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, ClassVar

import numpy as np

from talweg.base import dtypes
from talweg.base.errors import ShapeError
from talweg.base.frozen import frozen
from talweg.ir.op import Op, Sample
from talweg.ir.types import TensorType
from talweg.loops.scalar import Select, call, constant
from talweg.ops.kinds import Contract, check_dtype

if TYPE_CHECKING:
    from talweg.loops.build import NestBuilder
    from talweg.loops.operand import Indices, Operand, Point
    from talweg.loops.scalar import Scalar

ROW, COLUMN, DEPTH = 0, 1, 2
SUMMED = (dtypes.float32, dtypes.float64)


@frozen
class HalfDot(Contract):
    """Matrix products, of terms whose one index is at most another one; other terms are left out.

    1. Operands have the same batch axes (all but the last two) and one dtype, float32 or float64.
    2. A kernel may add some of the other terms. So they must be zeros of an operand, or, where row
       and column are compared, belong to results that change nothing.
    3. It has no gradient: passes put it in the place of products whose gradients are there.

    Args:
        low, high: the indices, of ROW, COLUMN and DEPTH.
    """

    low: int
    high: int
    depth = (-1, -2)
    differentiable: ClassVar[bool] = False

    def infer(self, *types: TensorType) -> TensorType:
        x, y = types
        check_dtype(self, x.dtype, SUMMED)
        fits = x.dtype is y.dtype and x.rank == y.rank > 1 and x.shape[:-2] == y.shape[:-2]
        if not fits or x.shape[-1] != y.shape[-2]:
            raise ShapeError(f"half_dot needs matrices that fit, got {x} and {y}")
        return x.with_shape((*x.shape[:-1], y.shape[-1]))

    def reference(self, *arrays: np.ndarray) -> np.ndarray:
        x, y = arrays
        sizes = {ROW: x.shape[-2], COLUMN: y.shape[-1], DEPTH: x.shape[-1]}
        kept = np.arange(sizes[self.low])[:, None] <= np.arange(sizes[self.high])
        if DEPTH not in (self.low, self.high):
            return np.asarray(np.matmul(x, y) * (kept if self.low == ROW else kept.T))
        if ROW in (self.low, self.high):
            return np.asarray(np.matmul(x * (kept if self.low == ROW else kept.T), y))
        return np.asarray(np.matmul(x, y * (kept if self.low == DEPTH else kept.T)))

    def lower(self, nest: NestBuilder, *ins: Operand) -> Point:
        x, y = ins

        def point(i: Indices) -> Scalar:
            def term(k: Indices) -> Scalar:
                places = (i[-2], i[-1], k[0])
                product = x[(*i[:-1], *k)] * y[(*i[:-2], *k, i[-1])]
                kept = call("upto", places[self.low], places[self.high])
                return Select(kept, product, constant(0, product.dtype))

            return nest.fold("add", x.shape[-1:], term)

        return point

    @classmethod
    def samples(cls) -> Iterator[Sample]:
        draw = np.random.default_rng(0)
        x, y = draw.standard_normal((2, 5, 5)), draw.standard_normal((2, 5, 5))
        for dtype, of in zip(SUMMED, (np.float32, np.float64), strict=True):
            a, b = x.astype(of), y.astype(of)
            rows = [
                (ROW, COLUMN, np.triu(a), np.triu(b)),
                (COLUMN, ROW, np.tril(a), np.tril(b)),
                (DEPTH, ROW, np.tril(a), b),
                (ROW, DEPTH, np.triu(a), b),
                (DEPTH, COLUMN, a, np.triu(b)),
                (COLUMN, DEPTH, a, np.tril(b)),
            ]
            for low, high, left, right in rows:
                yield Sample(cls(low, high), (left, right), (dtype,), 32, gradient=False)


OPS: tuple[type[Op], ...] = (HalfDot,)
