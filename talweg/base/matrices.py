"""Matrix algorithms in NumPy, for batches of matrices in the last two axes.

LAPACK computes what `numpy.linalg` offers of it; here stands what needs more: which matrix of a
batch has failed and where, factors with pivots, triangular systems, exponentials.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from typing import Any, TypeAlias

import numpy as np

from talweg.base.errors import LinAlgError

Array: TypeAlias = np.ndarray[Any, Any]

_BLOCK = 48  # columns that are eliminated, and rows that are substituted, one by one


def batches(x: Array) -> Iterator[tuple[int, ...]]:
    """Yield the index of every matrix of a batch."""
    yield from np.ndindex(x.shape[:-2])


def complain(info: Array, what: str, why: Callable[[int], str]) -> None:
    """Raise LinAlgError for the first matrix whose info is not 0, naming its place in the batch."""
    if not info.any():
        return
    at = int(np.flatnonzero(info)[0])
    batch = f"(Batch element {at}): " if info.ndim else ""
    raise LinAlgError(f"{what}: {batch}{why(int(info.reshape(-1)[at]))}")


def _tried(function: Callable[..., Array], why: Callable[[Array], int], *xs: Array) -> Any:
    """Return a function of matrices and, for each, 0 or why it failed; NaN where it did."""
    a = xs[0]
    info = np.zeros(a.shape[:-2], np.int32)
    try:
        return function(*xs), info
    except np.linalg.LinAlgError:
        out = np.full_like(xs[-1], np.nan)
    for i in batches(a):
        try:
            out[i] = function(*(x[i] for x in xs))
        except np.linalg.LinAlgError:
            info[i] = why(a[i])
    return out, info


def _zero_pivot(a: Array) -> int:
    return int(lu(a)[3]) or a.shape[-1]


def _bad_minor(a: Array) -> int:
    for n in range(1, len(a) + 1):
        try:
            np.linalg.cholesky(a[:n, :n])
        except np.linalg.LinAlgError:
            return n
    return len(a)


def inverse(a: Array) -> tuple[Array, Array]:
    """Return inverses, and for each matrix 0 or the number of the pivot that is zero."""
    found: tuple[Array, Array] = _tried(np.linalg.inv, _zero_pivot, a)
    return found


def solve(a: Array, rhs: Array) -> tuple[Array, Array]:
    """Return x of a @ x = rhs, and for each matrix 0 or the number of the pivot that is zero."""
    found: tuple[Array, Array] = _tried(np.linalg.solve, _zero_pivot, a, rhs)
    return found


def cholesky(a: Array) -> tuple[Array, Array]:
    """Return lower factors, and for each matrix 0 or the order of the minor that is not positive.

    Only lower triangles are read.
    """
    found: tuple[Array, Array] = _tried(np.linalg.cholesky, _bad_minor, a)
    return found


def lu(a: Array) -> tuple[Array, Array, Array, Array]:
    """Return the factors of a[rows] = L @ U in one matrix, pivots, rows, and info.

    The unit diagonal of L is not stored. Pivots count from 1, as LAPACK's: row k was exchanged
    with row pivots[k], which has the largest |re| + |im| from row k on. Info is 0, or the number of
    the first zero on the diagonal of U.

    Source: Golub and Van Loan, "Matrix Computations", section 3.4; blocked, right-looking.
    """
    m, n = a.shape[-2:]
    batch = a.shape[:-2]
    x = np.array(a.reshape(math.prod(batch), m, n))
    count, steps = len(x), min(m, n)
    every = np.arange(count)
    rows = np.broadcast_to(np.arange(m), (count, m)).copy()
    pivots = np.zeros((count, steps), np.int32)
    for start in range(0, steps, _BLOCK):
        stop = min(start + _BLOCK, steps)
        for k in range(start, stop):
            below = x[:, k:, k]
            chosen = k + np.argmax(np.abs(below.real) + np.abs(below.imag), axis=1)
            pivots[:, k] = chosen + 1
            for held in (x, rows):
                held[every, k], held[every, chosen] = held[every, chosen], held[every, k].copy()
            pivot = x[:, k, k]
            safe = np.where(pivot == 0, 1, pivot)
            x[:, k + 1 :, k] /= safe[:, None]
            x[:, k + 1 :, k + 1 : stop] -= x[:, k + 1 :, k, None] * x[:, k, None, k + 1 : stop]
        if stop < n:
            corner = x[:, start:stop, start:stop]
            x[:, start:stop, stop:] = substitute(corner, x[:, start:stop, stop:], False, True)
            x[:, stop:, stop:] -= x[:, stop:, start:stop] @ x[:, start:stop, stop:]
    zero = np.diagonal(x, axis1=1, axis2=2) == 0
    info = np.where(zero.any(1), zero.argmax(1) + 1, 0) if steps else np.zeros(count)
    return (
        x.reshape(a.shape),
        pivots.reshape(*batch, steps),
        rows.reshape(*batch, m),
        info.astype(np.int32).reshape(batch),
    )


def rows_of(pivots: Array, m: int) -> Array:
    """Return the order of m rows after the exchanges of `lu`."""
    flat = pivots.reshape(math.prod(pivots.shape[:-1]), pivots.shape[-1])
    rows = np.broadcast_to(np.arange(m), (len(flat), m)).copy()
    every = np.arange(len(flat))
    for k in range(flat.shape[-1]):
        other = flat[:, k] - 1
        rows[every, k], rows[every, other] = rows[every, other], rows[every, k].copy()
    return rows.reshape(*pivots.shape[:-1], m)


def substitute(a: Array, rhs: Array, upper: bool, unit: bool) -> Array:
    """Return x of a @ x = rhs for triangular a; the other triangle is not read.

    Args:
        unit: the diagonal counts as ones, and is not read either.
    """
    n = a.shape[-1]
    x = np.array(np.broadcast_to(rhs, (*a.shape[:-2], *rhs.shape[-2:])))
    starts = range(0, n, _BLOCK)
    for start in reversed(starts) if upper else starts:
        stop = min(start + _BLOCK, n)
        known = slice(stop, n) if upper else slice(0, start)
        x[..., start:stop, :] -= a[..., start:stop, known] @ x[..., known, :]
        for i in range(stop - 1, start - 1, -1) if upper else range(start, stop):
            near = slice(i + 1, stop) if upper else slice(start, i)
            x[..., i, :] -= (a[..., i, None, near] @ x[..., near, :])[..., 0, :]
            if not unit:
                x[..., i, :] /= a[..., i, i, None]
    return x


def cofactors(a: Array) -> Array:
    """Return det(a) * inverse(a) transposed, also where the inverse does not exist."""
    n = a.shape[-1]
    u, s, vh = np.linalg.svd(a)
    others = np.where(np.eye(n, dtype=bool), 1, s[..., None, :]).prod(-1).astype(a.dtype)
    phase = np.linalg.det(u) * np.linalg.det(vh)
    out: Array = phase[..., None, None] * ((u.conj() * others[..., None, :]) @ vh.conj())
    return out


def pseudo_inverse(a: Array, atol: Array, rtol: Array, hermitian: bool) -> Array:
    """Return Moore and Penrose's inverse; singular values up to max(atol, rtol * largest) are 0."""
    if not a.size:
        return np.zeros((*a.shape[:-2], a.shape[-1], a.shape[-2]), a.dtype)
    if hermitian:
        s, u = np.linalg.eigh(a)
        vh = u.conj().swapaxes(-1, -2)
    else:
        u, s, vh = np.linalg.svd(a, full_matrices=False)
    size = np.abs(s)
    kept = size > np.maximum(atol, rtol * size.max(-1))[..., None]
    inverted = np.where(kept, 1 / np.where(kept, s, 1), 0).astype(a.dtype)
    out: Array = (vh.conj().swapaxes(-1, -2) * inverted[..., None, :]) @ u.conj().swapaxes(-1, -2)
    return out


def least_squares(a: Array, rhs: Array, rcond: Array) -> tuple[Array, Array, Array]:
    """Return the smallest x with least |a @ x - rhs|, the ranks and the singular values."""
    batch, (m, n), k = a.shape[:-2], a.shape[-2:], rhs.shape[-1]
    x = np.zeros((*batch, n, k), a.dtype)
    rank = np.zeros(batch, np.int64)
    s = np.zeros((*batch, min(m, n)), np.zeros(0, a.dtype).real.dtype)
    for i in batches(a) if min(m, n) else ():
        x[i], _, rank[i], s[i] = np.linalg.lstsq(a[i], rhs[i], float(rcond))
    return x, rank, s


_PADE = (
    64764752532480000.0,
    32382376266240000.0,
    7771770303897600.0,
    1187353796428800.0,
    129060195264000.0,
    10559470521600.0,
    670442572800.0,
    33522128640.0,
    1323241920.0,
    40840800.0,
    960960.0,
    16380.0,
    182.0,
    1.0,
)
_THETA = 5.371920351148152  # up to this norm the approximant is exact in float64


def exponential(a: Array) -> Array:
    """Return the matrix exponential, computed in float64 or complex128.

    Source: Higham, "The scaling and squaring method for the matrix exponential revisited", 2005.
    """
    if not a.size:
        return a.copy()
    x = a.astype(np.result_type(a.dtype, np.float64))
    one = np.eye(x.shape[-1], dtype=x.dtype)
    size = np.abs(x).sum(-2).max(-1, initial=0)
    size = np.where(np.isfinite(size), size, 0)
    halvings = np.ceil(np.log2(np.maximum(size / _THETA, 1))).astype(int)
    x = x * 0.5 ** halvings[..., None, None]
    c = _PADE
    x2 = x @ x
    x4 = x2 @ x2
    x6 = x4 @ x2
    odd = x6 @ (c[13] * x6 + c[11] * x4 + c[9] * x2) + c[7] * x6 + c[5] * x4 + c[3] * x2
    odd = x @ (odd + c[1] * one)
    even = x6 @ (c[12] * x6 + c[10] * x4 + c[8] * x2) + c[6] * x6 + c[4] * x4 + c[2] * x2
    even = even + c[0] * one
    out = np.linalg.solve(even - odd, even + odd)
    for step in range(int(halvings.max(initial=0))):
        out = np.where((step < halvings)[..., None, None], out @ out, out)
    return np.asarray(out.astype(a.dtype))
