"""Linear algebra on batches of matrices: the extension `linalg` of the array API standard."""

from __future__ import annotations

from typing import Any, NamedTuple

from talweg.array_api import reductions
from talweg.array_api.calls import FUNCTIONS, METHODS, Call
from talweg.array_api.elementwise import BINARY
from talweg.array_api.kinds import promoted, wide
from talweg.array_api.shaping import (
    Axes,
    axes_of,
    broadcast_arrays,
    matmul,
    matrix_transpose,
    tensordot,
    vecdot,
)
from talweg.base.dtypes import DType
from talweg.base.errors import ShapeError
from talweg.engine.conversion import to
from talweg.engine.record import lift
from talweg.engine.tensor import Tensor
from talweg.fn import matrix_factors, matrix_systems

__all__ = [
    "cholesky",
    "cross",
    "det",
    "diagonal",
    "eig",
    "eigh",
    "eigvals",
    "eigvalsh",
    "inv",
    "matmul",
    "matrix_norm",
    "matrix_power",
    "matrix_rank",
    "matrix_transpose",
    "outer",
    "pinv",
    "qr",
    "slogdet",
    "solve",
    "svd",
    "svdvals",
    "tensordot",
    "trace",
    "vecdot",
    "vector_norm",
]

_OF: dict[str, Call] = {
    f.__name__: lift(f) for f in (*matrix_systems.LINALG, *matrix_factors.LINALG)
}


class Eigen(NamedTuple):
    """Eigenvalues, and eigenvectors as columns."""

    eigenvalues: Tensor
    eigenvectors: Tensor


class QR(NamedTuple):
    """Orthonormal columns and an upper triangle, whose product the matrix is."""

    Q: Tensor
    R: Tensor


class SVD(NamedTuple):
    """Singular vectors as columns, singular values in descending order, and vectors as rows."""

    U: Tensor
    S: Tensor
    Vh: Tensor


class SignLog(NamedTuple):
    """The sign of a determinant and the logarithm of its magnitude."""

    sign: Tensor
    logabsdet: Tensor


def cholesky(x: Tensor, /, *, upper: bool = False) -> Tensor:
    """Return the triangle L whose product L Lᴴ a positive definite matrix is, or Lᴴ."""
    return _OF["cholesky"](x, upper=upper)


def cross(x1: Tensor, x2: Tensor, /, *, axis: int = -1) -> Tensor:
    """Return cross products along an axis of size 3; other axes broadcast.

    Raises:
        ShapeError: for an axis of another size.
    """
    if not x1.shape[axis] == x2.shape[axis] == 3:
        raise ShapeError(f"cross: axis {axis} of {x1.shape} and {x2.shape} must have size 3")
    return _OF["cross"](*broadcast_arrays(*promoted(x1, x2)), dim=axis)


def det(x: Tensor, /) -> Tensor:
    """Return determinants."""
    return _OF["det"](x)


def diagonal(x: Tensor, /, *, offset: int = 0) -> Tensor:
    """Return diagonals as the last axis."""
    return METHODS["diagonal"](x, offset, -2, -1)


def eig(x: Tensor, /) -> Eigen:
    """Return complex eigenvalues and eigenvectors."""
    return Eigen(*_OF["eig"](x))


def eigvals(x: Tensor, /) -> Tensor:
    """Return complex eigenvalues."""
    return _OF["eigvals"](x)


def eigh(x: Tensor, /) -> Eigen:
    """Return eigenvalues, ascending, and eigenvectors of symmetric or Hermitian matrices."""
    return Eigen(*_OF["eigh"](x))


def eigvalsh(x: Tensor, /) -> Tensor:
    """Return eigenvalues, ascending, of symmetric or Hermitian matrices."""
    return _OF["eigvalsh"](x)


def inv(x: Tensor, /) -> Tensor:
    """Return inverses."""
    return _OF["inv"](x)


def matrix_norm(x: Tensor, /, *, keepdims: bool = False, ord: Any = "fro") -> Tensor:
    """Return norms of matrices: `fro`, `nuc`, 1, 2, inf or their negatives."""
    if ord is None:
        ord = "fro"
    return _OF["matrix_norm"](x, ord, (-2, -1), keepdims)


def matrix_power(x: Tensor, n: int, /) -> Tensor:
    """Return products of a matrix with itself; of its inverse for negative n."""
    return _OF["matrix_power"](x, n)


def matrix_rank(x: Tensor, /, *, rtol: float | Tensor | None = None) -> Tensor:
    """Return how many singular values exceed rtol times the largest."""
    return _OF["matrix_rank"](x, rtol=rtol)


def outer(x1: Tensor, x2: Tensor, /) -> Tensor:
    """Return the products of all pairs of elements of two vectors.

    Raises:
        ShapeError: for other arrays than vectors.
    """
    if x1.ndim != 1 or x2.ndim != 1:
        raise ShapeError(f"outer needs vectors, got {x1.shape} and {x2.shape}")
    return BINARY["multiply"](METHODS["unsqueeze"](x1, -1), x2)


def pinv(x: Tensor, /, *, rtol: float | Tensor | None = None) -> Tensor:
    """Return Moore-Penrose inverses; singular values up to rtol times the largest count as 0."""
    return _OF["pinv"](x, rtol=rtol)


def qr(x: Tensor, /, *, mode: str = "reduced") -> QR:
    """Return QR decompositions, `reduced` or `complete`."""
    return QR(*_OF["qr"](x, mode))


def slogdet(x: Tensor, /) -> SignLog:
    """Return signs and logarithms of determinants."""
    return SignLog(*_OF["slogdet"](x))


def solve(x1: Tensor, x2: Tensor, /) -> Tensor:
    """Return solutions y of x1 y = x2; x2 is a vector exactly when it has one axis."""
    a, b = promoted(x1, x2)
    if b.ndim == 1:
        found = _OF["solve"](a, METHODS["unsqueeze"](b, -1))
        return METHODS["reshape"](found, found.shape[:-1])
    rank = max(a.ndim, b.ndim)
    both = (METHODS["reshape"](v, (1,) * (rank - v.ndim) + tuple(v.shape)) for v in (a, b))
    return _OF["solve"](*both)


def svd(x: Tensor, /, *, full_matrices: bool = True) -> SVD:
    """Return singular value decompositions."""
    return SVD(*_OF["svd"](x, full_matrices))


def svdvals(x: Tensor, /) -> Tensor:
    """Return singular values in descending order."""
    return _OF["svdvals"](x)


def trace(x: Tensor, /, *, offset: int = 0, dtype: DType | None = None) -> Tensor:
    """Return sums of diagonals; integers are added in 64 bits."""
    return reductions.sum(diagonal(x, offset=offset), axis=-1, dtype=dtype or wide(x.dtype))


def vector_norm(
    x: Tensor, /, *, axis: Axes | None = None, keepdims: bool = False, ord: float = 2
) -> Tensor:
    """Return norms of vectors over axes, of order `ord`."""
    gone = axes_of(axis, x.ndim)
    if not gone:
        ones = FUNCTIONS["ne"](x, 0) if ord == 0 else FUNCTIONS["abs"](x)
        return to(ones, FUNCTIONS["abs"](x).dtype)
    return _OF["vector_norm"](x, ord, gone, keepdims)
