"""Ops that leave the graph: calls of Python functions."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

import numpy as np

from talweg.base import dtypes
from talweg.base.errors import GradientError, InvalidValue, ShapeError
from talweg.base.frozen import frozen
from talweg.ir.op import Draw, Op, Sample
from talweg.ir.types import TensorType, tensor_type
from talweg.ops.kinds import Effect

if TYPE_CHECKING:
    from talweg.ir.build import Builder
    from talweg.ir.node import Node


@frozen
class HostCallback(Effect):
    """Call a Python function on the operands as NumPy arrays.

    The function returns one array, or a tuple when there are several `results`. `backward` takes
    the operands and one cotangent per result, and returns in the same way the cotangents of those
    operands that are floating or complex.

    1. At least one result; the function returns arrays of these types (bfloat16 as float32).
    2. Without `backward` there is no gradient; with it, there is one of the first order.
    3. Equal function objects make equal Ops, and are kept for good: give a lasting function.
    """

    function: Callable[..., Any]
    results: tuple[TensorType, ...]
    backward: Callable[..., Any] | None = None

    def infer(self, *types: TensorType) -> TensorType | tuple[TensorType, ...]:
        if not self.results:
            raise ShapeError("host_callback needs at least one result type")
        return self.results[0] if len(self.results) == 1 else self.results

    def reference(self, *arrays: np.ndarray) -> Any:
        found = self.function(*arrays)
        count = len(self.results)
        if count > 1 and not (isinstance(found, tuple) and len(found) == count):
            raise InvalidValue(f"{self.function!r} must return a tuple of {count} arrays")
        return found

    def vjp(self, b: Builder, node: Node, *cotangents: Node) -> tuple[Node | None, ...]:
        if self.backward is None:
            raise GradientError(
                f"host_callback of {self.function!r} has no gradient; give it a backward function"
            )
        wanted = [i for i, n in enumerate(node.inputs) if n.dtype.is_inexact]
        gradient = HostCallback(self.backward, tuple(node.inputs[i].type for i in wanted))
        found = b.results(gradient, *node.inputs, *cotangents)
        rows: list[Node | None] = [None] * len(node.inputs)
        for i, ct in zip(wanted, found, strict=True):
            rows[i] = ct
        return tuple(rows)

    @classmethod
    def samples(cls) -> Iterator[Sample]:
        result = tensor_type(dtypes.float64, (2, 3))
        inputs = Draw((2, 3)), Draw((2, 3))
        op = cls(np.multiply, (result,), _product_gradient)
        yield Sample(op, inputs, (dtypes.float64,), gradient=False)


def _product_gradient(x: np.ndarray, y: np.ndarray, ct: np.ndarray) -> tuple[np.ndarray, ...]:
    return ct * y, ct * x


OPS: tuple[type[Op], ...] = (HostCallback,)
