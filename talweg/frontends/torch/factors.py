"""Factors of matrices under names of LAPACK, and extreme eigenvalues."""

from __future__ import annotations

from typing import Any

import numpy as np

from talweg.engine import creation
from talweg.engine.functions import FUNCTIONS
from talweg.engine.record import lift
from talweg.engine.tensor import Tensor, values
from talweg.fn import matrix_factors

_householder = lift(matrix_factors.householder_product)
_eigh = lift(matrix_factors.eigh)


def geqrf(input: Tensor) -> tuple[Tensor, Tensor]:
    """Return R with the reflections of Q below its diagonal, and their factors, as LAPACK does."""
    array = values(input)
    raw = [np.linalg.qr(a, "raw") for a in array.reshape(-1, *array.shape[-2:])]
    factors = np.stack([h.T for h, _ in raw]).reshape(array.shape)
    taus = np.stack([t for _, t in raw]).reshape(*array.shape[:-2], -1)
    return creation.tensor(factors, input.dtype), creation.tensor(taus, input.dtype)


def ormqr(
    input: Tensor, tau: Tensor, other: Tensor, left: bool = True, transpose: bool = False
) -> Tensor:
    """Return Q @ other, or other @ Q unless `left`, for the square Q that `geqrf` gave."""
    m, n = input.shape[-2:]
    rest = creation.zeros(*input.shape[:-1], m - n, dtype=input.dtype)
    q = _householder(FUNCTIONS["cat"]([input, rest], -1), tau)
    q = q.mH if transpose else q
    made: Tensor = q @ other if left else other @ q
    return made


def lobpcg(
    A: Tensor,
    k: int | None = None,
    B: Tensor | None = None,
    X: Tensor | None = None,
    n: int | None = None,
    iK: Tensor | None = None,
    niter: int | None = None,
    tol: float | None = None,
    largest: bool | None = None,
    method: str | None = None,
    tracker: Any = None,
    ortho_iparams: Any = None,
    ortho_fparams: Any = None,
    ortho_bparams: Any = None,
) -> tuple[Tensor, Tensor]:
    """Return the k largest eigenvalues of A x = w B x, and eigenvectors as columns.

    All are computed, by LAPACK; what steers an iteration is accepted.

    Args:
        A: [..., m, m], symmetric.
        k: how many; by default as many as X has columns, or 1.
        B: positive-definite; the identity unless given.
        X: only its number of columns counts; `n` instead.
        largest: False for the smallest.
    """
    count = k or (X.shape[-1] if X is not None else n) or 1
    low = None if B is None else FUNCTIONS["cholesky"](B)
    back = None if low is None else FUNCTIONS["inverse"](low)
    matrix = A if back is None else back @ A @ back.mT
    found, vectors = _eigh(matrix)
    vectors = vectors if back is None else back.mT @ vectors
    if largest is False:
        return found[..., :count], vectors[..., :count]
    return found[..., -count:].flip(-1), vectors[..., -count:].flip(-1)


PUBLIC = (geqrf, ormqr, lobpcg)
MODULES: dict[str, dict[str, Any]] = {"": {f.__name__: f for f in PUBLIC}}
