"""Nests of contraction ops whose operands lie in memory in any order of axes."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from talweg.base.dtypes import DType
from talweg.ir.op import Op
from talweg.ir.types import tensor_type
from talweg.loops.build import NestBuilder
from talweg.loops.nest import LoopNest
from talweg.loops.operand import Indices, Operand
from talweg.loops.scalar import Scalar
from talweg.passes.extents import settle_extents

Order = tuple[int, ...]
Epilogue = Callable[[NestBuilder, Scalar, Indices, list[Operand]], Scalar]


def inverse(order: Order) -> Order:
    return tuple(order.index(a) for a in range(len(order)))


def placed(array: np.ndarray, order: Order) -> np.ndarray:
    """The elements in the order in which they lie in memory."""
    return np.ascontiguousarray(array.transpose(order))


class Laid:
    """The nest of an op on operands in given orders, with an epilogue if one is given.

    Args:
        op: a contraction.
        dtype: of the operands.
        shapes: of the operands, logical.
        orders: of the operands and of the result: the logical axis at each place in memory.
        epilogue: called with the nest, the sum, its logical indices and the further operands.
        more: logical shapes of further operands, which lie in the order of the result.
        prologue: applied to the operands' elements.
    """

    def __init__(
        self,
        op: Op,
        dtype: DType,
        shapes: Sequence[tuple[int, ...]],
        orders: Sequence[Order] | None = None,
        epilogue: Epilogue | None = None,
        more: Sequence[tuple[int, ...]] = (),
        prologue: Callable[[NestBuilder, Scalar], Scalar] = lambda nest, x: x,
    ) -> None:
        self.op, self.dtype = op, dtype
        outs = op.infer(*(tensor_type(dtype, s) for s in shapes))
        self.shape = outs.shape
        plain = [tuple(range(len(s))) for s in (*shapes, outs.shape)]
        self.orders = list(orders) if orders is not None else plain
        nest = NestBuilder(op.name())
        operands = [
            self._declared(nest.input, f"x{n}", s, o)
            for n, (s, o) in enumerate(zip(shapes, self.orders))
        ]
        further = [
            self._declared(nest.input, f"y{n}", s, self.orders[-1] if len(s) > 1 else (0,))
            for n, s in enumerate(more)
        ]
        out = self._declared(nest.output, "out", outs.shape, self.orders[-1])
        changed = [
            Operand(x.dtype, x.shape, lambda i, x=x: prologue(nest, x.read(i)), x.buffer)
            for x in operands
        ]
        point = op.lower(nest, *changed)
        order = self.orders[-1]
        with nest.loops([out.shape[a] for a in order]) as physical:
            at = tuple(physical[p] for p in inverse(order))
            value: Any = point(at)
            if epilogue is not None:
                value = epilogue(nest, value, at, further)
            place = tuple(at[a] for a in order)
            nest.store(Operand(dtype, out.shape, out.read, out.buffer), place, value)
        made = nest.build()
        self.nest: LoopNest
        self.nest, self.values = settle_extents(made.nest, made.values)

    def _declared(self, declare: Any, name: str, shape: tuple[int, ...], order: Order) -> Operand:
        buffer = declare(name, self.dtype, [shape[a] for a in order])
        logical = inverse(order)
        sizes = tuple(buffer.shape[p] for p in logical)
        return Operand(
            self.dtype, sizes, lambda i: buffer.read(tuple(i[a] for a in order)), buffer.buffer
        )
