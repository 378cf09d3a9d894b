"""The largest singular values of large matrices, by random projections.

Halko, Martinsson and Tropp, "Finding structure with randomness" (2009), algorithm 4.4.
"""

from __future__ import annotations

from talweg.base.dtypes import complex128, float32, float64
from talweg.base.errors import InvalidValue, ShapeError
from talweg.engine import random
from talweg.engine.functions import FUNCTIONS, METHODS
from talweg.engine.record import lift
from talweg.engine.tensor import Tensor
from talweg.fn import matrix_factors

_qr = lift(matrix_factors.qr)
_svd = lift(matrix_factors.svd)


def _turned(x: Tensor) -> Tensor:
    found: Tensor = METHODS["transpose"](x, -2, -1)
    return FUNCTIONS["conj"](found) if x.dtype.is_complex else found


def _noise(a: Tensor, q: int) -> Tensor:
    shape = (a.shape[-1], q)
    if not a.dtype.is_complex:
        return random.randn(*shape, dtype=a.dtype)
    kind = float64 if a.dtype is complex128 else float32
    found: Tensor = FUNCTIONS["complex"](*(random.randn(*shape, dtype=kind) for _ in range(2)))
    return found


def _basis(a: Tensor, q: int, niter: int) -> Tensor:
    """Return [..., m, q] orthonormal columns that nearly span those of a."""
    found: Tensor = _qr(a @ _noise(a, q))[0]
    for _ in range(niter):
        found = _qr(a @ _qr(_turned(a) @ found)[0])[0]
    return found


def svd_lowrank(
    A: Tensor, q: int | None = 6, niter: int | None = 2, M: Tensor | None = None
) -> tuple[Tensor, Tensor, Tensor]:
    """Return U, S and V of about the q largest singular values of A, or of A - M.

    Args:
        A: [..., m, n].
        q: a little above the rank that is expected; 6 unless given.
        niter: how many times the basis is made better; 2 unless given.
        M: broadcasts to A.

    Returns:
        U [..., m, q], S [..., q] and V [..., n, q]: A is nearly U @ diag(S) @ V.mH.

    Example:
        >>> import talweg as tw
        >>> a = tw.arange(20.0).reshape(5, 4)
        >>> u, s, v = tw.svd_lowrank(a, 2)
        >>> tw.allclose(u * s @ v.mT, a, atol=1e-4)
        True
    """
    q, niter = 6 if q is None else q, 2 if niter is None else niter
    if A.ndim < 2:
        raise ShapeError(f"svd_lowrank: expected matrices, got shape {A.shape}")
    if not 0 <= q <= min(A.shape[-2:]):
        raise InvalidValue(f"svd_lowrank: q={q} must be from 0 to the smaller size of {A.shape}")
    a = A if M is None else A - M
    wide = a.shape[-2] < a.shape[-1]
    a = _turned(a) if wide else a
    basis = _basis(a, q, niter)
    u, s, vh = _svd(_turned(basis) @ a, False)
    u, v = basis @ u, _turned(vh)
    return (v, s, u) if wide else (u, s, v)


def pca_lowrank(
    A: Tensor, q: int | None = None, center: bool = True, niter: int = 2
) -> tuple[Tensor, Tensor, Tensor]:
    """Return U, S and V of about the q principal components of observations (rows).

    Args:
        A: [..., m, n].
        q: how many; min(6, m, n) unless given.
        center: whether the columns' means are subtracted first.
        niter: as of `svd_lowrank`.

    Raises:
        InvalidValue: for a negative niter, or q beyond the smaller size.

    Example:
        >>> import talweg as tw
        >>> u, s, v = tw.pca_lowrank(tw.eye(4, 3), 2)
        >>> u.shape, s.shape, v.shape
        ((4, 2), (2,), (3, 2))
    """
    if niter < 0:
        raise InvalidValue(f"niter(={niter}) must be non-negative integer")
    m, n = A.shape[-2:]
    q = min(6, m, n) if q is None else q
    if not 0 <= q <= min(m, n):
        raise InvalidValue(
            f"q(={q}) must be non-negative integer and not greater than min(m, n)={min(m, n)}"
        )
    return svd_lowrank(A - A.mean(-2, keepdim=True) if center else A, q, niter)
