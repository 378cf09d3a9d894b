"""Factors of symmetric matrices that need not be positive-definite."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import numpy as np

from talweg.base import dtypes, matrices
from talweg.base.deferred import deferred
from talweg.base.errors import ShapeError
from talweg.base.frozen import frozen
from talweg.ir.op import Op, Sample
from talweg.ir.types import TensorType, tensor_type
from talweg.ops.kinds import Routine
from talweg.ops.linalg.algebra import check_matrices
from talweg.ops.linalg.systems import COMPLEX, REGULAR, RIGHT, fixed

if TYPE_CHECKING:
    from talweg.base import symmetric
    from talweg.ir.build import Builder
    from talweg.ir.node import Node
else:
    symmetric = deferred("talweg.base.symmetric")

_INDEFINITE = REGULAR + REGULAR.swapaxes(-1, -2) - 9 * np.eye(3)
_HERMITIAN = COMPLEX + COMPLEX.conj().swapaxes(-1, -2)


@frozen
class Ldl(Routine):
    """L and D of x[rows][:, rows] = L @ D @ L^T in one lower triangle, pivots, info; both int32.

    1. Only the lower triangle is read. There is no gradient, as in PyTorch.
    2. With `hermitian`, it is L^H and x is Hermitian.
    3. Info is 0 or the number of the first zero on D; `checked` raises LinAlgError there.
    """

    hermitian: bool
    checked: bool
    differentiable = False

    def infer(self, *types: TensorType) -> tuple[TensorType, ...]:
        (x,) = types
        check_matrices(self, x, square=True)
        return (
            x,
            tensor_type(dtypes.int32, x.shape[:-1]),
            tensor_type(dtypes.int32, x.shape[:-2]),
        )

    def reference(self, *arrays: np.ndarray) -> Any:
        found = symmetric.ldl(arrays[0], self.hermitian)
        if self.checked:
            matrices.complain(
                found[2],
                "linalg.ldl_factor_ex",
                lambda k: (
                    f"The D factor has a zero on its diagonal at place {k}; using it to solve a "
                    "system would divide by zero."
                ),
            )
        return found

    @classmethod
    def samples(cls) -> Iterator[Sample]:
        yield from fixed(cls(False, False), _INDEFINITE, gradient=False)
        yield from fixed(cls(True, True), _HERMITIAN, gradient=False)


@frozen
class LdlSolve(Routine):
    """x of A @ x = rhs, of what `ldl` gave of A.

    1. rhs is [..., n, k] with the batch axes of the factors.
    2. The gradient is with respect to rhs alone.
    """

    hermitian: bool

    def infer(self, *types: TensorType) -> TensorType:
        factors, pivots, rhs = types
        check_matrices(self, factors, square=True)
        check_matrices(self, rhs)
        if pivots.dtype is not dtypes.int32 or pivots.shape != factors.shape[:-1]:
            raise ShapeError(f"ldl_solve: pivots {pivots} do not belong to {factors}")
        if rhs.shape[:-1] != factors.shape[:-1] or rhs.dtype is not factors.dtype:
            raise ShapeError(f"ldl_solve: {rhs} is no right-hand side for {factors}")
        return rhs

    def reference(self, *arrays: np.ndarray) -> np.ndarray:
        factors, pivots, rhs = arrays
        return symmetric.ldl_solve(factors, pivots, rhs, self.hermitian)

    def vjp(self, b: Builder, node: Node, *cotangents: Node) -> tuple[Node | None, ...]:
        factors, pivots, _ = node.inputs
        (ct,) = cotangents
        if not factors.dtype.is_complex or self.hermitian:
            return None, None, b.apply(self, factors, pivots, ct)
        turned = b.apply(self, factors, pivots, b.conj(ct))
        return None, None, b.conj(turned)

    @classmethod
    def samples(cls) -> Iterator[Sample]:
        for x, right, hermitian in (
            (_INDEFINITE, RIGHT, False),
            (_HERMITIAN, RIGHT + 1j * RIGHT[::-1], True),
        ):
            factors, pivots, _ = symmetric.ldl(x, hermitian)
            kind = dtypes.from_numpy(x.dtype)
            yield Sample(cls(hermitian), (factors, pivots, right), (kind,), 500, gradient=False)


OPS: tuple[type[Op], ...] = (Ldl, LdlSolve)
