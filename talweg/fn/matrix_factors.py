"""Factors, eigenvalues and singular values of batches of matrices, and norms made of them.

Matrices are the last two dimensions of float32, float64, complex64 or complex128 Tensors. LAPACK
computes the factors (`ops.linalg`).
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, NamedTuple

from talweg.base import dtypes
from talweg.base.dtypes import DType
from talweg.base.errors import DTypeError, InvalidValue, ShapeError
from talweg.base.shapes import normalize_axis
from talweg.fn.linalg import adjoint
from talweg.fn.matrix_systems import (
    check_inexact,
    check_matrices,
    lu_solve,
    one_batch,
    real_of,
    same_dtype,
    tolerances,
)
from talweg.fn.promotion import cast, expand_to
from talweg.fn.reduction import Dim, amax, amin, vector_norm
from talweg.fn.reduction import sum as total
from talweg.fn.shaping import tril, triu
from talweg.fn.views import movedim, slice_axis, squeeze, unsqueeze
from talweg.ir.build import Builder
from talweg.ir.node import Node
from talweg.ops.linalg.factors import Cholesky, Lu, LuRows, Qr
from talweg.ops.linalg.spectra import Eig, Eigh, Svd
from talweg.ops.linalg.symmetric import Ldl, LdlSolve
from talweg.ops.linalg.systems import Inverse


class FactorInfo(NamedTuple):
    """Cholesky factors, and 0 or the order of the minor that is not positive."""

    L: Node
    info: Node


class QR(NamedTuple):
    """Orthonormal columns, and upper triangular matrices."""

    Q: Node
    R: Node


class PLU(NamedTuple):
    """Permutation, lower and upper triangular matrices."""

    P: Node
    L: Node
    U: Node


class PackedLU(NamedTuple):
    """Both triangles in one matrix, and pivots."""

    LU: Node
    pivots: Node


class PackedLUInfo(NamedTuple):
    """Both triangles in one matrix, pivots, and 0 or the number of the zero on U's diagonal."""

    LU: Node
    pivots: Node
    info: Node


class PackedLDL(NamedTuple):
    """Factors of symmetric matrices in one triangle, and pivots."""

    LD: Node
    pivots: Node


class LDLInfo(NamedTuple):
    """Factors in one triangle, pivots, and 0 or the number of the zero on D's diagonal."""

    LD: Node
    pivots: Node
    info: Node


class Eigen(NamedTuple):
    """Eigenvalues, and eigenvectors as columns."""

    eigenvalues: Node
    eigenvectors: Node


class SVD(NamedTuple):
    """Left singular vectors as columns, singular values, right singular vectors as rows."""

    U: Node
    S: Node
    Vh: Node


class OlderSVD(NamedTuple):
    """Left singular vectors as columns, singular values, right singular vectors as columns."""

    U: Node
    S: Node
    V: Node


def _cholesky(b: Builder, name: str, A: Node, upper: bool, check: bool) -> tuple[Node, Node]:
    check_matrices(name, A, square=True)
    factor, info = b.results(Cholesky(check), adjoint(b, A) if upper else A)
    factor = tril(b, factor)
    return adjoint(b, factor) if upper else factor, info


def cholesky(b: Builder, A: Node, *, upper: bool = False) -> Node:
    """Return L with L @ L^H = A, or U with U^H @ U = A, for positive-definite matrices.

    Only one triangle of A is read.

    Raises:
        LinAlgError: when the result is observed, for a matrix that is not positive-definite.

    >>> import talweg as tw
    >>> tw.linalg.cholesky(tw.tensor([[4.0, 2.0], [2.0, 5.0]])).tolist()
    [[2.0, 0.0], [1.0, 2.0]]
    """
    return _cholesky(b, "linalg.cholesky", A, upper, True)[0]


def cholesky_ex(
    b: Builder, A: Node, *, upper: bool = False, check_errors: bool = False
) -> FactorInfo:
    """Return Cholesky factors, and info: 0 or the order of the minor that is not positive."""
    return FactorInfo(*_cholesky(b, "linalg.cholesky_ex", A, upper, check_errors))


def qr(b: Builder, A: Node, mode: str = "reduced") -> QR:
    """Return Q with orthonormal columns and upper triangular R: Q @ R = A.

    Args:
        mode: 'reduced', 'complete' (Q is square), or 'r' (Q is empty, and there is no gradient).

    Raises:
        GradientError: for the gradient of 'complete' where A has more rows than columns.
    """
    check_matrices("linalg.qr", A)
    if mode not in ("reduced", "complete", "r"):
        raise InvalidValue(f"linalg.qr: mode must be reduced, complete or r, not {mode!r}")
    q, r = b.results(Qr(mode == "complete"), A)
    return QR(b.expand(b.scalar(0, A.dtype), (0,)) if mode == "r" else q, r)


def _unpacked(b: Builder, LU: Node, rows: Node) -> PLU:
    m, n = LU.shape[-2:]
    k = min(m, n)
    low = slice_axis(b, LU, LU.rank - 1, 0, k)
    one = b.eq(*(b.iota(low.shape, low.rank - i, dtypes.int64) for i in (2, 1)))
    low = b.where(one, b.scalar(1, LU.dtype), tril(b, low, -1))
    up = triu(b, slice_axis(b, LU, LU.rank - 2, 0, k))
    square = (*rows.shape, m)
    here = b.iota(square, len(square) - 2, dtypes.int64)
    order = b.eq(here, expand_to(b, unsqueeze(b, rows, -2), square))
    return PLU(b.cast(order, LU.dtype), low, up)


def _check_pivot(name: str, pivot: bool) -> None:
    if not pivot:
        raise InvalidValue(f"{name}: LU without pivoting is not implemented")


def lu(b: Builder, A: Node, *, pivot: bool = True) -> PLU:
    """Return P, L and U with P @ L @ U = A: a permutation, unit lower and upper triangles."""
    check_matrices("linalg.lu", A)
    _check_pivot("linalg.lu", pivot)
    packed, _, rows, _ = b.results(Lu(False), A)
    return _unpacked(b, packed, rows)


def lu_factor(b: Builder, A: Node, *, pivot: bool = True) -> PackedLU:
    """Return the factors of `lu` in one matrix, and int32 pivots: row k changes with pivots[k].

    Pivots count from 1, as LAPACK's. `lu_solve` takes both.

    Raises:
        LinAlgError: when a result is observed, for a zero on the diagonal of U.
    """
    check_matrices("linalg.lu_factor", A)
    _check_pivot("linalg.lu_factor", pivot)
    return PackedLU(*b.results(Lu(True), A)[:2])


def lu_factor_ex(
    b: Builder, A: Node, *, pivot: bool = True, check_errors: bool = False
) -> PackedLUInfo:
    """Return what `lu_factor` does, and info: 0 or the number of the first zero on U's diagonal."""
    check_matrices("linalg.lu_factor_ex", A)
    _check_pivot("linalg.lu_factor_ex", pivot)
    packed, pivots, _, info = b.results(Lu(check_errors), A)
    return PackedLUInfo(packed, pivots, info)


def lu_unpack(
    b: Builder,
    LU_data: Node,
    LU_pivots: Node,
    unpack_data: bool = True,
    unpack_pivots: bool = True,
) -> PLU:
    """Return P, L and U of what `lu_factor` returned; those not wanted are empty."""
    found = _unpacked(b, LU_data, b.apply(LuRows(LU_data.shape[-2]), LU_pivots))
    empty = b.expand(b.scalar(0, LU_data.dtype), (0,))
    data = found[1:] if unpack_data else (empty, empty)
    return PLU(found.P if unpack_pivots else empty, *data)


def ldl_factor_ex(
    b: Builder, A: Node, *, hermitian: bool = False, check_errors: bool = False
) -> LDLInfo:
    """Return what `ldl_factor` does, and info: 0 or the number of the first zero on D's diagonal.

    Raises:
        LinAlgError: when a result is observed, for such a zero, if `check_errors`.
    """
    check_matrices("linalg.ldl_factor_ex", A, square=True)
    return LDLInfo(*b.results(Ldl(hermitian, check_errors), A))


def ldl_factor(b: Builder, A: Node, *, hermitian: bool = False) -> PackedLDL:
    """Return factors L @ D @ L^T of symmetric matrices in one, and pivots; there is no gradient.

    D has blocks of one or two rows. `ldl_solve` takes both results, which are stored as LAPACK's.

    Args:
        A: [..., n, n], of which the lower triangle is read.
        hermitian: complex matrices are Hermitian, L @ D @ L^H; otherwise they are symmetric.

    >>> import talweg as tw
    >>> a = tw.tensor([[0.0, 2.0], [2.0, 0.0]])
    >>> LD, pivots = tw.linalg.ldl_factor(a)
    >>> tw.linalg.ldl_solve(LD, pivots, tw.tensor([[2.0], [4.0]])).tolist()
    [[2.0], [1.0]]
    """
    check_matrices("linalg.ldl_factor", A, square=True)
    return PackedLDL(*b.results(Ldl(hermitian, True), A)[:2])


def ldl_solve(b: Builder, LD: Node, pivots: Node, B: Node, *, hermitian: bool = False) -> Node:
    """Return X of A @ X = B for the A whose factors `ldl_factor` returned.

    Args:
        LD: [..., n, n].
        pivots: [..., n].
        B: [..., n, k]; a gradient reaches it alone.
        hermitian: as it was given to `ldl_factor`.

    Raises:
        ShapeError, DTypeError: when they do not fit.
    """
    name = "linalg.ldl_solve"
    check_matrices(name, LD, square=True)
    check_matrices(name, B)
    if LD.shape[-1] != B.shape[-2] or pivots.shape != LD.shape[:-1]:
        raise ShapeError(
            f"{name}: shapes of LD {LD.shape}, pivots {pivots.shape} and B {B.shape} do not fit"
        )
    if pivots.dtype.category not in ("int", "uint"):
        raise DTypeError(f"{name}: pivots must be integers, got {pivots.dtype.name}")
    same_dtype(name, LD, B)
    LD, B = one_batch(b, LD, B)
    pivots = expand_to(b, cast(b, pivots, dtypes.int32), LD.shape[:-1])
    return b.apply(LdlSolve(hermitian), LD, pivots, B)


def _eigh(b: Builder, name: str, A: Node, UPLO: str) -> tuple[Node, Node]:
    check_matrices(name, A, square=True)
    if UPLO not in ("L", "U", "l", "u"):
        raise InvalidValue(f"{name}: expected UPLO to be 'L' or 'U', got {UPLO!r}")
    values, vectors = b.results(Eigh(), adjoint(b, A) if UPLO in ("U", "u") else A)
    return values, vectors


def eigh(b: Builder, A: Node, UPLO: str = "L") -> Eigen:
    """Return the eigenvalues, ascending, and orthonormal eigenvectors of Hermitian matrices.

    Args:
        UPLO: 'L' or 'U', the triangle that is read.

    >>> import talweg as tw
    >>> tw.linalg.eigh(tw.tensor([[2.0, 0.0], [0.0, 1.0]])).eigenvalues.tolist()
    [1.0, 2.0]
    """
    return Eigen(*_eigh(b, "linalg.eigh", A, UPLO))


def eigvalsh(b: Builder, A: Node, UPLO: str = "L") -> Node:
    """Return the eigenvalues of Hermitian matrices, ascending."""
    return _eigh(b, "linalg.eigvalsh", A, UPLO)[0]


def eig(b: Builder, A: Node) -> Eigen:
    """Return the eigenvalues and eigenvectors of square matrices, complex, in no special order."""
    check_matrices("linalg.eig", A, square=True)
    return Eigen(*b.results(Eig(), A))


def eigvals(b: Builder, A: Node) -> Node:
    """Return the eigenvalues of square matrices, complex, in no special order."""
    check_matrices("linalg.eigvals", A, square=True)
    return b.results(Eig(), A)[0]


_DRIVERS = (None, "gesvd", "gesvdj", "gesvda")


def svd(b: Builder, A: Node, full_matrices: bool = True, *, driver: str | None = None) -> SVD:
    """Return U, S and Vh with U @ diag(S) @ Vh = A, singular values descending.

    Args:
        full_matrices: U and Vh are square; otherwise of min(m, n) columns and rows.
        driver: names of other devices' algorithms, without effect.

    >>> import talweg as tw
    >>> tw.linalg.svd(tw.tensor([[3.0, 0.0], [0.0, 4.0]])).S.tolist()
    [4.0, 3.0]
    """
    check_matrices("linalg.svd", A)
    if driver not in _DRIVERS:
        raise InvalidValue(f"linalg.svd: unknown driver {driver!r}")
    return SVD(*b.results(Svd(full_matrices), A))


def svdvals(b: Builder, A: Node, *, driver: str | None = None) -> Node:
    """Return the singular values, descending."""
    check_matrices("linalg.svdvals", A)
    return b.results(Svd(False), A)[1]


def matrix_norm(
    b: Builder,
    A: Node,
    ord: float | str = "fro",
    dim: tuple[int, int] = (-2, -1),
    keepdim: bool = False,
    *,
    dtype: DType | None = None,
) -> Node:
    """Return norms of the matrices in two dimensions.

    Args:
        ord: 'fro' (Frobenius), 'nuc' (sum of singular values), 2 and -2 (largest and smallest
            singular value), 1 and -1 (of column sums), inf and -inf (of row sums).

    Raises:
        InvalidValue: for another `ord`.
    """
    if A.rank < 2 or len(dim) != 2:
        raise ShapeError(f"linalg.matrix_norm: two dimensions are needed, got {A.shape} and {dim}")
    A = cast(b, A, dtype or A.dtype)
    rows, columns = (normalize_axis(d, A.rank) for d in dim)
    if rows == columns:
        raise ShapeError(f"linalg.matrix_norm: dimensions {dim} must differ")
    if ord == "fro":
        return vector_norm(b, A, 2, (rows, columns), keepdim)
    if ord in ("nuc", 2, -2):
        check_inexact("linalg.matrix_norm", A)
        s = svdvals(b, movedim(b, A, (rows, columns), (-2, -1)))
        out = total(b, s, -1) if ord == "nuc" else (amax if ord == 2 else amin)(b, s, -1)
        for axis in sorted((rows, columns)) if keepdim else ():
            out = unsqueeze(b, out, axis)
        return out
    if ord not in (1, -1, math.inf, -math.inf):
        raise InvalidValue(f"linalg.matrix_norm: order {ord} is not supported")
    first, second = (rows, columns) if abs(float(ord)) == 1 else (columns, rows)
    sums = vector_norm(b, A, 1, first, True)
    out = (amax if float(ord) > 0 else amin)(b, sums, second, True)
    return out if keepdim else squeeze(b, out, (rows, columns))


def norm(
    b: Builder,
    x: Node,
    ord: float | str | None = None,
    dim: Dim = None,
    keepdim: bool = False,
    *,
    dtype: DType | None = None,
) -> Node:
    """Return a vector or matrix norm.

    Args:
        ord: None for the 2-norm of all elements, or of those along `dim`.
        dim: one dimension for vectors, two for matrices; unless given, x has one or two.

    >>> import talweg as tw
    >>> tw.linalg.norm(tw.tensor([3.0, 4.0])).item()
    5.0
    """
    if isinstance(dim, int):
        dim = (dim,)
    if ord is None:
        return vector_norm(b, x, 2, dim, keepdim, dtype=dtype)
    if dim is None:
        if x.rank not in (1, 2):
            raise ShapeError(f"linalg.norm: with ord={ord}, x must have 1 or 2 dimensions or dim=")
        dim = tuple(range(x.rank))
    if len(dim) == 2:
        return matrix_norm(b, x, ord, (dim[0], dim[1]), keepdim, dtype=dtype)
    if isinstance(ord, str):
        raise InvalidValue(f"linalg.norm: order {ord!r} needs two dimensions")
    return vector_norm(b, x, ord, dim, keepdim, dtype=dtype)


def cond(b: Builder, A: Node, p: float | str | None = None) -> Node:
    """Return condition numbers: norm(A) * norm(inverse), infinite for singular matrices.

    Args:
        p: a norm of `matrix_norm`; None is 2, the ratio of extreme singular values.
    """
    check_matrices("linalg.cond", A, square=p not in (None, 2, -2))
    if p in (None, 2, -2):
        s = svdvals(b, A)
        large, small = amax(b, s, -1), amin(b, s, -1)
        return b.div(small, large) if p == -2 else b.div(large, small)
    assert p is not None
    inverse, info = b.results(Inverse(False), A)
    out = b.mul(matrix_norm(b, A, p), matrix_norm(b, inverse, p))
    singular = b.ne(info, b.scalar(0, info.dtype))
    return b.where(singular, b.scalar(math.inf, out.dtype), out)


def matrix_rank(
    b: Builder,
    A: Node,
    tol: Any = None,
    hermitian: bool = False,
    *,
    atol: Any = None,
    rtol: Any = None,
) -> Node:
    """Return how many singular values exceed max(atol, rtol * largest), int64.

    Args:
        tol: an older name of `atol`, with an `rtol` of 0.
        hermitian: the matrices are Hermitian; the lower triangle is read.
        atol, rtol: numbers or Tensors; see `pinv`.
    """
    check_matrices("linalg.matrix_rank", A, square=hermitian)
    if tol is not None:
        atol, rtol = tol, 0.0
    s = b.abs(eigvalsh(b, A)) if hermitian else svdvals(b, A)
    batch = A.shape[:-2]
    low, relative = tolerances(b, A, atol, rtol, batch, real_of(A.dtype))
    if not s.shape[-1]:
        return b.expand(b.scalar(0, dtypes.int64), batch)
    limit = b.maximum(low, b.mul(relative, amax(b, s, -1)))
    return total(b, b.gt(s, expand_to(b, unsqueeze(b, limit, -1), s.shape)), -1)


def householder_product(b: Builder, input: Node, tau: Node) -> Node:
    """Return the first n columns of the product of Householder reflections.

    Args:
        input: [..., m, n], column i holds vector i below its diagonal, where it is 1.
        tau: [..., k], the factors of the reflections I - tau * v @ v^H; k <= n <= m.
    """
    check_matrices("linalg.householder_product", input)
    m, n = input.shape[-2:]
    k = tau.shape[-1] if tau.rank else -1
    if m < n or not 0 <= k <= n or tau.shape[:-1] != input.shape[:-2]:
        raise ShapeError(
            f"linalg.householder_product: [..., m, n] and [..., k] with m >= n >= k are needed, "
            f"got {input.shape} and {tau.shape}"
        )
    one = b.eq(*(b.iota(input.shape, input.rank - i, dtypes.int64) for i in (2, 1)))
    unit = b.where(one, b.scalar(1, input.dtype), tril(b, input, -1))
    out = b.cast(one, input.dtype)
    for i in reversed(range(k)):
        v = slice_axis(b, unit, unit.rank - 1, i, i + 1)
        factor = unsqueeze(b, slice_axis(b, tau, tau.rank - 1, i, i + 1), -1)
        weight = b.mul(expand_to(b, factor, v.shape), v)
        out = b.sub(out, b.dot(weight, b.dot(adjoint(b, v), out)))
    return out


def older_cholesky(b: Builder, x: Node, upper: bool = False) -> Node:
    """Return Cholesky factors; see `linalg.cholesky`."""
    return _cholesky(b, "cholesky", x, upper, True)[0]


def older_qr(b: Builder, x: Node, some: bool = True) -> QR:
    """Return Q and R, Q square unless `some`; see `linalg.qr`."""
    return qr(b, x, "reduced" if some else "complete")


def older_svd(b: Builder, x: Node, some: bool = True, compute_uv: bool = True) -> OlderSVD:
    """Return U, S and V with U @ diag(S) @ V^H = x; see `linalg.svd`.

    Args:
        some: U and V have min(m, n) columns.
        compute_uv: return U and V; zeros otherwise.
    """
    check_matrices("svd", x)
    u, s, vh = b.results(Svd(compute_uv and not some), x)
    if not compute_uv:
        square = [(*x.shape[:-2], n, n) for n in x.shape[-2:]]
        u, v = (b.expand(b.scalar(0, x.dtype), shape) for shape in square)
        return OlderSVD(u, s, v)
    return OlderSVD(u, s, adjoint(b, vh))


def older_lu(b: Builder, x: Node, pivot: bool = True, get_infos: bool = False) -> tuple[Node, ...]:
    """Return packed factors and pivots, with `get_infos` info too; see `linalg.lu_factor`."""
    if get_infos:
        return tuple(lu_factor_ex(b, x, pivot=pivot))
    return tuple(lu_factor(b, x, pivot=pivot))


def older_lu_solve(b: Builder, x: Node, LU_data: Node, LU_pivots: Node) -> Node:
    """Return the solutions for right-hand sides x; see `linalg.lu_solve`."""
    return lu_solve(b, LU_data, LU_pivots, x)


def orgqr(b: Builder, x: Node, tau: Node) -> Node:
    """Return products of reflections; see `linalg.householder_product`."""
    return householder_product(b, x, tau)


_OLDER = (older_cholesky, older_qr, older_svd, older_lu, older_lu_solve)
for _f in _OLDER:
    _f.__name__ = _f.__name__.removeprefix("older_")

LINALG: tuple[Callable[..., Any], ...] = (
    *(cholesky, cholesky_ex, qr, lu, lu_factor, lu_factor_ex, eigh, eigvalsh, eig, eigvals),
    *(ldl_factor, ldl_factor_ex, ldl_solve),
    *(svd, svdvals, vector_norm, matrix_norm, norm, cond, matrix_rank, householder_product),
)
PUBLIC: tuple[Callable[..., Any], ...] = (*_OLDER, lu_unpack, orgqr)
METHODS: tuple[str, ...] = ("cholesky", "qr", "svd", "lu", "lu_solve", "orgqr")
