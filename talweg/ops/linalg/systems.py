"""Inverses, determinants and systems of linear equations."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import numpy as np

from talweg.base import dtypes, matrices
from talweg.base.errors import ShapeError
from talweg.base.frozen import frozen
from talweg.ir.op import Draw, Op, Sample
from talweg.ir.types import TensorType, tensor_type
from talweg.ops.kinds import Routine
from talweg.ops.linalg.algebra import (
    ACCEPTED,
    check_matrices,
    like,
    lower,
    part,
    product,
    real_of,
    scaled,
    spread,
    turned,
    upper,
)

if TYPE_CHECKING:
    from talweg.ir.build import Builder
    from talweg.ir.node import Node

REGULAR = np.array(
    [[[4.0, 1, -1], [0.5, 3, 1], [-1, 0.25, 2.5]], [[2.0, 0, 1], [1, -3, 0.5], [0, 1, 4]]]
)
RIGHT = np.array([[[1.0, -2], [0.5, 1], [3, 0]], [[-1.0, 0.25], [2, 1], [0, -3]]])
COMPLEX = REGULAR + 1j * np.array([[0.5, -1, 0], [0.25, 0, 1], [-0.5, 0, 1]])


def fixed(op: Op, *arrays: np.ndarray, gradient: bool = True) -> Iterator[Sample]:
    """Yield samples on these float64 or complex128 arrays, and on single precision ones."""
    wide = np.result_type(*arrays)
    narrow = np.complex64 if wide.kind == "c" else np.float32
    for kind in (wide, narrow):
        rows = tuple(x.astype(kind) for x in arrays)
        yield Sample(op, rows, (dtypes.from_numpy(np.dtype(kind)),), 500, gradient)


def _info(x: TensorType) -> TensorType:
    return tensor_type(dtypes.int32, x.shape[:-2])


@frozen
class Inverse(Routine):
    """Inverses of square matrices, and 0 or the number of the pivot that is zero, int32.

    1. `checked` raises LinAlgError for singular matrices; unchecked, their inverses are NaN.
    """

    checked: bool

    def infer(self, *types: TensorType) -> tuple[TensorType, ...]:
        (x,) = types
        check_matrices(self, x, square=True)
        return x, _info(x)

    def reference(self, *arrays: np.ndarray) -> Any:
        out, info = matrices.inverse(*arrays)
        if self.checked:
            matrices.complain(
                info,
                "linalg.inv",
                lambda k: (
                    f"The diagonal element {k} is zero, the inversion could not be completed "
                    "because the input matrix is singular."
                ),
            )
        return out, info

    def vjp(self, b: Builder, node: Node, *cotangents: Node) -> tuple[Node | None, ...]:
        back = turned(b, b.results(self, *node.inputs)[0])
        return (b.neg(product(b, back, cotangents[0], back)),)

    @classmethod
    def samples(cls) -> Iterator[Sample]:
        yield from fixed(cls(True), REGULAR)
        yield from fixed(cls(False), COMPLEX)
        yield Sample(cls(True), (Draw((2, 0, 0)),), ACCEPTED, gradient=False)


@frozen
class Solve(Routine):
    """x of a @ x = rhs for square matrices, and 0 or the number of the pivot that is zero, int32.

    1. rhs is [..., n, k] with the batch axes of a.
    2. `checked` raises LinAlgError for singular matrices; unchecked, their results are NaN.
    """

    checked: bool

    def infer(self, *types: TensorType) -> tuple[TensorType, ...]:
        a, rhs = types
        _check_system(self, a, rhs)
        return rhs, _info(a)

    def reference(self, *arrays: np.ndarray) -> Any:
        out, info = matrices.solve(*arrays)
        if self.checked:
            why = "The solver failed because the input matrix is singular."
            matrices.complain(info, "linalg.solve", lambda k: why)
        return out, info

    def vjp(self, b: Builder, node: Node, *cotangents: Node) -> tuple[Node | None, ...]:
        x = b.results(self, *node.inputs)[0]
        for_rhs = b.results(self, turned(b, node.inputs[0]), cotangents[0])[0]
        return b.neg(b.dot(for_rhs, turned(b, x))), for_rhs

    @classmethod
    def samples(cls) -> Iterator[Sample]:
        yield from fixed(cls(True), REGULAR, RIGHT)
        yield from fixed(cls(False), COMPLEX, RIGHT + 1j)


@frozen
class SolveTriangular(Routine):
    """x of a @ x = rhs for triangular matrices; the other triangle is not read.

    1. rhs is [..., n, k] with the batch axes of a.
    2. With `unit`, the diagonal counts as ones and is not read.
    3. A zero on the diagonal gives infinities and NaN.
    """

    upper: bool
    unit: bool

    def infer(self, *types: TensorType) -> TensorType:
        a, rhs = types
        _check_system(self, a, rhs)
        return rhs

    def reference(self, *arrays: np.ndarray) -> np.ndarray:
        a, rhs = arrays
        return matrices.substitute(a, rhs, self.upper, self.unit)

    def vjp(self, b: Builder, node: Node, *cotangents: Node) -> tuple[Node | None, ...]:
        a, _ = node.inputs
        for_rhs = b.apply(SolveTriangular(not self.upper, self.unit), turned(b, a), cotangents[0])
        for_a = b.neg(b.dot(for_rhs, turned(b, node)))
        return (upper if self.upper else lower)(b, for_a, self.unit), for_rhs

    @classmethod
    def samples(cls) -> Iterator[Sample]:
        for up in (False, True):
            yield from fixed(cls(up, False), REGULAR, RIGHT)
            yield from fixed(cls(up, True), COMPLEX, RIGHT + 1j)


@frozen
class Det(Routine):
    """Determinants of square matrices. The gradient exists where a matrix is singular too."""

    def infer(self, *types: TensorType) -> TensorType:
        (x,) = types
        check_matrices(self, x, square=True)
        return x.with_shape(x.shape[:-2])

    def reference(self, *arrays: np.ndarray) -> np.ndarray:
        return np.asarray(np.linalg.det(*arrays), arrays[0].dtype)

    def vjp(self, b: Builder, node: Node, *cotangents: Node) -> tuple[Node | None, ...]:
        (x,) = node.inputs
        ct = spread(b, spread(b, cotangents[0], x.shape[:-1], -1), x.shape, -1)
        return (b.mul(ct, b.adjoint(b.cofactors(x))),)

    @classmethod
    def samples(cls) -> Iterator[Sample]:
        yield from fixed(cls(), REGULAR)
        yield from fixed(cls(), COMPLEX)
        yield Sample(cls(), (Draw((2, 0, 0)),), ACCEPTED, gradient=False)


@frozen
class Cofactors(Routine):
    """det(x) * inverse(x) transposed, of singular matrices too; its own gradient needs regular x.

    With x = u s vh, it is det(u) det(vh) conj(u) s' conj(vh), where s' are the products of all
    other singular values.
    """

    def infer(self, *types: TensorType) -> TensorType:
        (x,) = types
        check_matrices(self, x, square=True)
        return x

    def reference(self, *arrays: np.ndarray) -> np.ndarray:
        return matrices.cofactors(*arrays)

    def vjp(self, b: Builder, node: Node, *cotangents: Node) -> tuple[Node | None, ...]:
        (x,), (ct,) = node.inputs, cotangents
        back = turned(b, b.results(Inverse(False), x)[0])
        share = b.reduce_sum(b.mul(ct, b.adjoint(node)), (x.rank - 2, x.rank - 1))
        share = spread(b, spread(b, share, x.shape[:-1], -1), x.shape, -1)
        flipped = b.adjoint(turned(b, ct))
        return (b.sub(b.mul(share, back), product(b, back, flipped, b.adjoint(node))),)

    @classmethod
    def samples(cls) -> Iterator[Sample]:
        yield from fixed(cls(), REGULAR)
        yield from fixed(cls(), COMPLEX)


@frozen
class Slogdet(Routine):
    """Sign (or phase) of determinants and the logarithms of their sizes, which are real.

    1. Singular matrices have sign 0 and -infinity.
    """

    def infer(self, *types: TensorType) -> tuple[TensorType, ...]:
        (x,) = types
        check_matrices(self, x, square=True)
        batch = x.shape[:-2]
        return tensor_type(x.dtype, batch), tensor_type(real_of(x.dtype), batch)

    def reference(self, *arrays: np.ndarray) -> Any:
        sign, size = np.linalg.slogdet(*arrays)
        dtype = arrays[0].dtype
        return np.asarray(sign, dtype), np.asarray(size, np.zeros(0, dtype).real.dtype)

    def vjp(self, b: Builder, node: Node, *cotangents: Node) -> tuple[Node | None, ...]:
        (x,) = node.inputs
        for_sign, for_size = cotangents
        weight = like(b, for_size, x.dtype)
        if x.dtype.is_complex:
            sign = b.results(self, x)[0]
            turn = b.imag(b.mul(b.conj(for_sign), sign))
            weight = b.make_complex(for_size, b.neg(turn))
        weight = spread(b, spread(b, weight, x.shape[:-1], -1), x.shape, -1)
        return (b.mul(weight, turned(b, b.results(Inverse(True), x)[0])),)

    @classmethod
    def samples(cls) -> Iterator[Sample]:
        yield from fixed(cls(), REGULAR)
        yield from fixed(cls(), COMPLEX)


@frozen
class Pinv(Routine):
    """Moore and Penrose's inverse; singular values up to max(atol, rtol * largest) count as 0.

    1. atol and rtol are real, one for each matrix. They have no gradient.
    2. `hermitian` reads the lower triangle of square matrices.

    Source of the gradient: Golub and Pereyra, "The differentiation of pseudo-inverses", 1973.
    """

    hermitian: bool

    def infer(self, *types: TensorType) -> TensorType:
        x, *tolerances = types
        check_matrices(self, x, self.hermitian)
        wanted = tensor_type(real_of(x.dtype), x.shape[:-2])
        if any(t is not wanted for t in tolerances):
            raise ShapeError(f"pinv of {x} needs tolerances {wanted}, got {tolerances}")
        return x.with_shape((*x.shape[:-2], x.shape[-1], x.shape[-2]))

    def reference(self, *arrays: np.ndarray) -> np.ndarray:
        x, atol, rtol = arrays
        return matrices.pseudo_inverse(x, atol, rtol, self.hermitian)

    def vjp(self, b: Builder, node: Node, *cotangents: Node) -> tuple[Node | None, ...]:
        x = node.inputs[0]
        back, ct = turned(b, node), turned(b, cotangents[0])
        if x.shape[-2] <= x.shape[-1]:
            k = b.dot(ct, node)
            both = b.dot(k, back)
            near = b.sub(both, turned(b, b.dot(node, k)))
            near = b.sub(near, product(b, x, node, both))
            return b.add(near, product(b, back, node, b.sub(ct, b.dot(k, x)))), None, None
        k = b.dot(node, ct)
        both = b.dot(back, k)
        near = b.sub(both, turned(b, b.dot(k, node)))
        near = b.sub(near, product(b, both, node, x))
        return b.add(near, product(b, b.sub(ct, b.dot(x, k)), node, back)), None, None

    @classmethod
    def samples(cls) -> Iterator[Sample]:
        none = np.zeros(2)
        for x in (REGULAR, REGULAR[:, :2], REGULAR[:, :, :2], COMPLEX[:, :2]):
            for wide in (True, False):
                kind = x.dtype if wide else np.dtype(np.complex64 if x.dtype.kind == "c" else "f4")
                real = np.zeros(0, kind).real.dtype
                rows = (x.astype(kind), none.astype(real), none.astype(real))
                yield Sample(cls(False), rows, (dtypes.from_numpy(kind),), 500)


@frozen
class LeastSquares(Routine):
    """The smallest x with least |a @ x - rhs|, the rank of a (int64), and its singular values.

    1. rhs is [..., m, k] with the batch axes of a.
    2. Singular values up to rcond * largest count as 0; rcond is 0-d and real.
    3. Only x has a gradient, where the rank does not change.
    """

    def infer(self, *types: TensorType) -> tuple[TensorType, ...]:
        a, rhs, _ = types
        check_matrices(self, a)
        if rhs.shape[:-1] != a.shape[:-1] or rhs.dtype is not a.dtype:
            raise ShapeError(f"least_squares: {rhs} does not fit {a}")
        batch, (m, n) = a.shape[:-2], a.shape[-2:]
        return (
            a.with_shape((*batch, n, rhs.shape[-1])),
            tensor_type(dtypes.int64, batch),
            tensor_type(real_of(a.dtype), (*batch, min(m, n))),
        )

    def reference(self, *arrays: np.ndarray) -> Any:
        return matrices.least_squares(*arrays)

    def vjp(self, b: Builder, node: Node, *cotangents: Node) -> tuple[Node | None, ...]:
        a, rhs, rcond = node.inputs
        ct = cotangents[0]
        batch = a.shape[:-2]
        near = b.expand(rcond, batch) if batch else rcond
        inverse = b.pinv(a, scaled(b, near, 0.0), near, hermitian=False)
        for_a = inverse.op.vjp(b, inverse, b.dot(ct, turned(b, rhs)))[0]
        return for_a, b.dot(turned(b, inverse), ct), None

    @classmethod
    def samples(cls) -> Iterator[Sample]:
        tiny = np.array(1e-9)
        for x in (REGULAR, REGULAR[:, :, :2], REGULAR[:, :2]):
            yield Sample(cls(), (x, RIGHT[:, : x.shape[1]], tiny), (dtypes.float64,), 500, False)


@frozen
class MatrixExp(Routine):
    """The exponential of square matrices, computed in double precision.

    Source of the gradient: Al-Mohy and Higham, "Computing the Fréchet derivative of the matrix
    exponential", 2009: it is a corner of the exponential of a matrix twice as large.
    """

    def infer(self, *types: TensorType) -> TensorType:
        (x,) = types
        check_matrices(self, x, square=True)
        return x

    def reference(self, *arrays: np.ndarray) -> np.ndarray:
        return matrices.exponential(*arrays)

    def vjp(self, b: Builder, node: Node, *cotangents: Node) -> tuple[Node | None, ...]:
        (x,), (ct,) = node.inputs, cotangents
        n, back = x.shape[-1], turned(b, x)
        none = b.expand(b.scalar(0, x.dtype), x.shape)
        top = b.concat(back, ct, axis=x.rank - 1)
        bottom = b.concat(none, back, axis=x.rank - 1)
        whole = b.matrix_exp(b.concat(top, bottom, axis=x.rank - 2))
        return (part(b, part(b, whole, -2, 0, n), -1, n, 2 * n),)

    @classmethod
    def samples(cls) -> Iterator[Sample]:
        yield from fixed(cls(), REGULAR / 2)
        yield from fixed(cls(), COMPLEX / 2)


def _check_system(op: Op, a: TensorType, rhs: TensorType) -> None:
    check_matrices(op, a, square=True)
    if rhs.shape[:-1] != a.shape[:-1] or rhs.dtype is not a.dtype:
        raise ShapeError(f"{op.name()}: {rhs} does not fit {a}")


OPS: tuple[type[Op], ...] = (
    *(Inverse, Solve, SolveTriangular, Det, Cofactors, Slogdet, Pinv, LeastSquares, MatrixExp),
)
