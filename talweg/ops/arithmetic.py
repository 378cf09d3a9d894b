"""Elementwise arithmetic: + - * / and their integer and rounding relatives."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

import numpy as np

from talweg.base import dtypes
from talweg.base.dtypes import DType
from talweg.ir.op import Draw, Op, Sample
from talweg.ops.kinds import Elementwise

if TYPE_CHECKING:
    from talweg.ir.build import Builder
    from talweg.ir.node import Node


@dataclass(frozen=True)
class Add(Elementwise):
    """x + y. For bool: logical or."""

    accepts: ClassVar[tuple[DType, ...]] = dtypes.ALL
    arity: ClassVar[int] = 2

    def reference(self, *arrays: np.ndarray) -> np.ndarray:
        x, y = arrays
        return np.add(x, y)

    def vjp(self, b: Builder, node: Node, *cotangents: Node) -> tuple[Node | None, ...]:
        (ct,) = cotangents
        return ct, ct

    @classmethod
    def samples(cls) -> Iterator[Sample]:
        yield Sample(cls(), (Draw((3, 4)), Draw((3, 4))), dtypes.ALL)
        yield Sample(cls(), (Draw((3, 4)), Draw(())), dtypes.FLOATS)


@dataclass(frozen=True)
class Mul(Elementwise):
    """x * y. For bool: logical and."""

    accepts: ClassVar[tuple[DType, ...]] = dtypes.ALL
    arity: ClassVar[int] = 2

    def reference(self, *arrays: np.ndarray) -> np.ndarray:
        x, y = arrays
        return np.multiply(x, y)

    def vjp(self, b: Builder, node: Node, *cotangents: Node) -> tuple[Node | None, ...]:
        (ct,) = cotangents
        x, y = node.inputs
        return b.mul(ct, b.adjoint(y)), b.mul(ct, b.adjoint(x))

    @classmethod
    def samples(cls) -> Iterator[Sample]:
        yield Sample(cls(), (Draw((3, 4)), Draw((3, 4))), dtypes.ALL)
        yield Sample(cls(), (Draw(()), Draw((3, 4))), dtypes.FLOATS)


OPS: tuple[type[Op], ...] = (Add, Mul)
