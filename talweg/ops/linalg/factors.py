"""Triangular factors: Cholesky, QR, LU."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import numpy as np

from talweg.base import dtypes, matrices
from talweg.base.errors import GradientError, ShapeError
from talweg.base.frozen import frozen
from talweg.ir.op import Op, Sample
from talweg.ir.types import TensorType, tensor_type
from talweg.ops.kinds import Routine
from talweg.ops.linalg.algebra import (
    check_matrices,
    halved_triangle,
    hermitian,
    lower,
    part,
    turned,
    unit_lower,
    upper,
)
from talweg.ops.linalg.systems import COMPLEX, REGULAR, SolveTriangular, fixed

if TYPE_CHECKING:
    from talweg.ir.build import Builder
    from talweg.ir.node import Node

_DEFINITE = REGULAR @ REGULAR.swapaxes(-1, -2)
_COMPLEX_DEFINITE = COMPLEX @ COMPLEX.conj().swapaxes(-1, -2)
_WIDE = np.concatenate([REGULAR, np.array([[[1.0], [-2], [3]], [[0.5], [1], [-1]]])], -1)


@frozen
class Cholesky(Routine):
    """Lower triangular L with L @ L^H = x, and 0 or the order of the minor that is not positive.

    1. Only the lower triangle is read. The gradient is that of a Hermitian operand.
    2. `checked` raises LinAlgError where a matrix is not positive-definite; unchecked, L is NaN.
    """

    checked: bool

    def infer(self, *types: TensorType) -> tuple[TensorType, ...]:
        (x,) = types
        check_matrices(self, x, square=True)
        return x, tensor_type(dtypes.int32, x.shape[:-2])

    def reference(self, *arrays: np.ndarray) -> Any:
        out, info = matrices.cholesky(*arrays)
        if self.checked:
            matrices.complain(
                info,
                "linalg.cholesky",
                lambda k: (
                    "The factorization could not be completed because the input is not "
                    f"positive-definite (the leading minor of order {k} is not positive-definite)."
                ),
            )
        return out, info

    def vjp(self, b: Builder, node: Node, *cotangents: Node) -> tuple[Node | None, ...]:
        factor = b.results(self, *node.inputs)[0]
        back = turned(b, factor)
        middle = halved_triangle(b, b.dot(back, cotangents[0]))
        solve = SolveTriangular(True, False)
        near = b.apply(solve, back, middle)
        return (hermitian(b, turned(b, b.apply(solve, back, turned(b, near)))),)

    @classmethod
    def samples(cls) -> Iterator[Sample]:
        yield from fixed(cls(True), _DEFINITE, gradient=False)
        yield from fixed(cls(False), _COMPLEX_DEFINITE, gradient=False)


@frozen
class Qr(Routine):
    """q with orthonormal columns and upper triangular r: q @ r = x.

    1. q has min(m, n) columns, with `complete` m of them.
    2. There is a gradient unless `complete` adds columns. For n < m, r must be regular.

    Source: Walter and Lehmann, "Algorithmic differentiation of linear algebra functions", 2013;
    Roberts and Roberts, "QR and LQ decomposition matrix backpropagation algorithms", 2020.
    """

    complete: bool

    def infer(self, *types: TensorType) -> tuple[TensorType, ...]:
        (x,) = types
        check_matrices(self, x)
        (m, n), batch = x.shape[-2:], x.shape[:-2]
        k = m if self.complete else min(m, n)
        return x.with_shape((*batch, m, k)), x.with_shape((*batch, k, n))

    def reference(self, *arrays: np.ndarray) -> Any:
        q, r = np.linalg.qr(arrays[0], "complete" if self.complete else "reduced")
        return q, r

    def vjp(self, b: Builder, node: Node, *cotangents: Node) -> tuple[Node | None, ...]:
        (x,) = node.inputs
        m, n = x.shape[-2:]
        q, r = b.results(self, x)
        if q.shape[-1] > n:
            raise GradientError(
                "qr: there is no gradient in mode 'complete' of matrices with more rows than "
                f"columns, such as {x.shape}"
            )
        for_q, for_r = cotangents
        if m >= n:
            return (_back(b, q, r, for_q, for_r),)
        rest = part(b, for_r, -1, m, n)
        for_q = b.add(for_q, b.dot(part(b, x, -1, m, n), turned(b, rest)))
        near = _back(b, q, part(b, r, -1, 0, m), for_q, part(b, for_r, -1, 0, m))
        return (b.concat(near, b.dot(q, rest), axis=x.rank - 1),)

    @classmethod
    def samples(cls) -> Iterator[Sample]:
        for x in (REGULAR, REGULAR[:, :, :2], _WIDE):
            yield from fixed(cls(False), x)
        yield from fixed(cls(False), COMPLEX)
        yield from fixed(cls(True), _WIDE)
        yield from fixed(cls(True), REGULAR[:, :, :2], gradient=False)


def _back(b: Builder, q: Node, r: Node, for_q: Node, for_r: Node) -> Node:
    middle = b.sub(b.dot(r, turned(b, for_r)), b.dot(turned(b, for_q), q))
    half = halved_triangle(b, middle)
    inside = b.add(for_q, b.dot(q, b.add(half, turned(b, half))))
    return turned(b, b.apply(SolveTriangular(True, False), r, turned(b, inside)))


@frozen
class Lu(Routine):
    """Factors with row exchanges: x[rows] = L @ U.

    Results: L (below the diagonal; ones on it are not stored) and U in one matrix; pivots, int32,
    as LAPACK's, counted from 1; rows, int64; and 0 or the number of the first zero on the diagonal
    of U, int32.

    1. The gradient needs a regular leading square.
    2. `checked` raises LinAlgError for a zero on the diagonal of U.
    """

    checked: bool

    def infer(self, *types: TensorType) -> tuple[TensorType, ...]:
        (x,) = types
        check_matrices(self, x)
        batch, (m, n) = x.shape[:-2], x.shape[-2:]
        return (
            x,
            tensor_type(dtypes.int32, (*batch, min(m, n))),
            tensor_type(dtypes.int64, (*batch, m)),
            tensor_type(dtypes.int32, batch),
        )

    def reference(self, *arrays: np.ndarray) -> Any:
        found = matrices.lu(*arrays)
        if self.checked:
            matrices.complain(
                found[3],
                "linalg.lu_factor",
                lambda k: (
                    f"U[{k},{k}] is zero and using it on lu_solve would result in a division by "
                    "zero."
                ),
            )
        return found

    def vjp(self, b: Builder, node: Node, *cotangents: Node) -> tuple[Node | None, ...]:
        (x,) = node.inputs
        found, _, rows, _ = b.results(self, x)
        m, n = x.shape[-2:]
        k = min(m, n)
        ct = cotangents[0]
        corner = part(b, part(b, found, -2, 0, k), -1, 0, k)
        for_corner = part(b, part(b, ct, -2, 0, k), -1, 0, k)
        for_low, for_up = lower(b, for_corner, True), upper(b, for_corner)
        low, up = turned(b, unit_lower(b, corner)), turned(b, upper(b, corner))
        from_left = SolveTriangular(True, True)
        more: Node | None = None
        if m > n:
            below, for_below = part(b, found, -2, k, m), part(b, ct, -2, k, m)
            more = _from_right(b, up, for_below)
            for_up = b.sub(for_up, upper(b, b.dot(turned(b, below), more)))
        elif n > m:
            right, for_right = part(b, found, -1, k, n), part(b, ct, -1, k, n)
            more = b.apply(from_left, low, for_right)
            for_low = b.sub(for_low, lower(b, b.dot(more, turned(b, right)), True))
        inside = b.add(lower(b, b.dot(low, for_low), True), upper(b, b.dot(for_up, up)))
        out = _from_right(b, up, b.apply(from_left, low, inside))
        if more is not None:
            out = b.concat(out, more, axis=x.rank - (2 if m > n else 1))
        return (_put_rows(b, rows, out),)

    @classmethod
    def samples(cls) -> Iterator[Sample]:
        for x in (REGULAR, REGULAR[:, :, :2], _WIDE, COMPLEX):
            yield from fixed(cls(False), x[:, ::-1])
        yield from fixed(cls(True), REGULAR)


def _from_right(b: Builder, up: Node, x: Node) -> Node:
    """x times the inverse of `up`, which is lower triangular."""
    return turned(b, b.apply(SolveTriangular(True, False), turned(b, up), turned(b, x)))


def _put_rows(b: Builder, rows: Node, x: Node) -> Node:
    """The matrices whose rows `rows` are those of x."""
    square = (*rows.shape, rows.shape[-1])
    at = b.expand(b.reshape(rows, (*rows.shape, 1)), square)
    here = b.iota(square, rows.rank, dtypes.int64)
    return b.dot(turned(b, b.cast(b.eq(at, here), x.dtype)), x)


@frozen
class LuRows(Routine):
    """The order of `m` rows, int64, that exchanges of rows by int32 pivots from `lu` give."""

    m: int
    differentiable = False

    def infer(self, *types: TensorType) -> TensorType:
        (pivots,) = types
        if pivots.dtype is not dtypes.int32 or not pivots.rank:
            raise ShapeError(f"lu_rows needs int32 pivots, got {pivots}")
        return tensor_type(dtypes.int64, (*pivots.shape[:-1], self.m))

    def reference(self, *arrays: np.ndarray) -> np.ndarray:
        return matrices.rows_of(arrays[0], self.m)

    @classmethod
    def samples(cls) -> Iterator[Sample]:
        pivots = np.array([[3, 3, 3], [2, 2, 3]], np.int32)
        yield Sample(cls(3), (pivots,), (dtypes.int32,), gradient=False)


OPS: tuple[type[Op], ...] = (Cholesky, Qr, Lu, LuRows)
