"""Eigenvalues and singular values.

Source of the gradients: Giles, "Collected matrix derivative results for forward and reverse mode
algorithmic differentiation", 2008; for complex matrices Wan and Zhang, "Automatic differentiation
for complex valued SVD", 2019. Vectors are fixed but for a sign or phase: a function that depends on
it has no gradient. Equal values have no gradient of their vectors.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import numpy as np

from talweg.base.errors import LinAlgError
from talweg.base.frozen import frozen
from talweg.ir.op import Op, Sample
from talweg.ir.types import TensorType, tensor_type
from talweg.ops.kinds import Routine
from talweg.ops.linalg.algebra import (
    COMPLEX as COMPLEX_OF,
)
from talweg.ops.linalg.algebra import (
    check_matrices,
    diagonal_mask,
    diagonal_of,
    like,
    on_diagonal,
    over,
    part,
    product,
    real,
    real_of,
    spread,
    turned,
)
from talweg.ops.linalg.systems import COMPLEX, REGULAR, Solve, fixed

if TYPE_CHECKING:
    from talweg.ir.build import Builder
    from talweg.ir.node import Node


def _gaps(b: Builder, values: Node, square: tuple[int, ...]) -> Node:
    """Value j minus value i, and ones on the diagonal."""
    gaps = b.sub(spread(b, values, square, -2), spread(b, values, square, -1))
    return b.where(diagonal_mask(b, square), b.scalar(1, gaps.dtype), gaps)


@frozen
class Eigh(Routine):
    """Eigenvalues of Hermitian matrices, real and ascending, and orthonormal eigenvectors.

    1. Only the lower triangle is read.
    """

    def infer(self, *types: TensorType) -> tuple[TensorType, ...]:
        (x,) = types
        check_matrices(self, x, square=True)
        return tensor_type(real_of(x.dtype), x.shape[:-1]), x

    def reference(self, *arrays: np.ndarray) -> Any:
        try:
            values, vectors = np.linalg.eigh(arrays[0])
        except np.linalg.LinAlgError as error:
            raise LinAlgError(f"linalg.eigh: {error}") from None
        return values, vectors

    def vjp(self, b: Builder, node: Node, *cotangents: Node) -> tuple[Node | None, ...]:
        values, vectors = b.results(self, *node.inputs)
        for_values, for_vectors = cotangents
        back = turned(b, vectors)
        gaps = _gaps(b, values, vectors.shape)
        inside = over(b, b.dot(back, for_vectors), gaps)
        inside = on_diagonal(b, inside, like(b, for_values, vectors.dtype))
        return (product(b, vectors, inside, back),)

    @classmethod
    def samples(cls) -> Iterator[Sample]:
        yield from fixed(cls(), REGULAR + REGULAR.swapaxes(-1, -2), gradient=False)
        yield from fixed(cls(), COMPLEX + COMPLEX.conj().swapaxes(-1, -2), gradient=False)


@frozen
class Eig(Routine):
    """Eigenvalues of square matrices, and eigenvectors of length 1; both complex."""

    def infer(self, *types: TensorType) -> tuple[TensorType, ...]:
        (x,) = types
        check_matrices(self, x, square=True)
        dtype = COMPLEX_OF[x.dtype]
        return tensor_type(dtype, x.shape[:-1]), tensor_type(dtype, x.shape)

    def reference(self, *arrays: np.ndarray) -> Any:
        (x,) = arrays
        try:
            values, vectors = np.linalg.eig(x)
        except np.linalg.LinAlgError as error:
            raise LinAlgError(f"linalg.eig: {error}") from None
        dtype = np.result_type(x.dtype, np.complex64)
        return values.astype(dtype), vectors.astype(dtype)

    def vjp(self, b: Builder, node: Node, *cotangents: Node) -> tuple[Node | None, ...]:
        (x,) = node.inputs
        values, vectors = b.results(self, x)
        for_values, for_vectors = cotangents
        back = turned(b, vectors)
        inside = b.dot(back, for_vectors)
        lengths = like(b, real(b, diagonal_of(b, inside)), vectors.dtype)
        scaled = b.mul(vectors, spread(b, lengths, vectors.shape, -2))
        inside = b.sub(inside, b.dot(back, scaled))
        inside = b.div(inside, b.conj(_gaps(b, values, vectors.shape)))
        inside = b.dot(on_diagonal(b, inside, for_values), back)
        return (like(b, b.results(Solve(True), back, inside)[0], x.dtype),)

    @classmethod
    def samples(cls) -> Iterator[Sample]:
        yield from fixed(cls(), REGULAR, gradient=False)
        yield from fixed(cls(), COMPLEX, gradient=False)


@frozen
class Svd(Routine):
    """u, singular values (real, descending) and vh: u @ diag(s) @ vh = x.

    1. u has min(m, n) columns and vh as many rows; with `full`, m and n.
    2. The gradient reads the cotangents of the first min(m, n) columns and rows only.
    """

    full: bool

    def infer(self, *types: TensorType) -> tuple[TensorType, ...]:
        (x,) = types
        check_matrices(self, x)
        batch, (m, n) = x.shape[:-2], x.shape[-2:]
        k = min(m, n)
        return (
            x.with_shape((*batch, m, m if self.full else k)),
            tensor_type(real_of(x.dtype), (*batch, k)),
            x.with_shape((*batch, n if self.full else k, n)),
        )

    def reference(self, *arrays: np.ndarray) -> Any:
        try:
            u, s, vh = np.linalg.svd(arrays[0], self.full)
        except np.linalg.LinAlgError as error:
            raise LinAlgError(f"linalg.svd: {error}") from None
        return u, s, vh

    def vjp(self, b: Builder, node: Node, *cotangents: Node) -> tuple[Node | None, ...]:
        (x,) = node.inputs
        m, n = x.shape[-2:]
        k = min(m, n)
        u, s, vh = b.results(self, x)
        u, vh = part(b, u, -1, 0, k), part(b, vh, -2, 0, k)
        for_u, for_v = part(b, cotangents[0], -1, 0, k), turned(b, part(b, cotangents[2], -2, 0, k))
        back, v = turned(b, u), turned(b, vh)
        square = (*x.shape[:-2], k, k)
        across, down = spread(b, s, square, -2), spread(b, s, square, -1)
        squares = _gaps(b, b.mul(s, s), square)
        of_u, of_v = _skew(b, b.dot(back, for_u)), _skew(b, b.dot(vh, for_v))
        inside = b.add(
            b.mul(over(b, of_u, squares), like(b, across, x.dtype)),
            b.mul(over(b, of_v, squares), like(b, down, x.dtype)),
        )
        middle = like(b, cotangents[1], x.dtype)
        if x.dtype.is_complex:
            turn = over(b, diagonal_of(b, of_u), b.add(s, s))
            middle = b.add(middle, turn)
        out = product(b, u, on_diagonal(b, inside, middle), vh)
        if m > k:
            rest = b.sub(for_u, product(b, u, back, for_u))
            out = b.add(out, b.dot(over(b, rest, spread(b, s, rest.shape, -2)), vh))
        if n > k:
            rest = b.sub(for_v, product(b, v, vh, for_v))
            out = b.add(out, b.dot(u, turned(b, over(b, rest, spread(b, s, rest.shape, -2)))))
        return (out,)

    @classmethod
    def samples(cls) -> Iterator[Sample]:
        for x in (REGULAR, REGULAR[:, :2], REGULAR[:, :, :2]):
            yield from fixed(cls(False), x)
            yield from fixed(cls(True), x, gradient=False)
        yield from fixed(cls(False), COMPLEX, gradient=False)


def _skew(b: Builder, x: Node) -> Node:
    return b.sub(x, turned(b, x))


OPS: tuple[type[Op], ...] = (Eigh, Eig, Svd)
