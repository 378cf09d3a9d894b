"""Factors of symmetric and Hermitian matrices that need not be positive-definite, in NumPy.

Source: J. R. Bunch and L. Kaufman, "Some stable methods for calculating inertia and solving
symmetric linear systems", 1977. Factors and pivots are stored as LAPACK's xSYTRF and xHETRF store
them, of lower triangles: rows k and pivots[k] - 1 were exchanged for a 1 x 1 block of D; two equal
negative pivots stand for a 2 x 2 block, whose second row was exchanged with row -pivots[k] - 1.
"""

from __future__ import annotations

import math
from typing import Any, TypeAlias

import numpy as np

from talweg.base.matrices import batches

Array: TypeAlias = np.ndarray[Any, Any]

_GROWTH = (1 + math.sqrt(17)) / 8


def _size(x: Array) -> Array:
    return np.asarray(np.abs(x.real) + np.abs(x.imag))


def _chosen(a: Array, k: int, hermitian: bool) -> tuple[int, int]:
    """Return the size of the next block of D, 0 where its column is zero, and its pivot row."""
    n = len(a)
    here = abs(a[k, k].real) if hermitian else float(_size(a[k, k]))
    column = _size(a[k + 1 :, k])
    highest = k + 1 + int(column.argmax()) if k + 1 < n else k
    most = float(column.max(initial=0.0))
    if max(here, most) == 0 or np.isnan(here):
        return 0, k
    if here >= _GROWTH * most:
        return 1, k
    row = float(_size(a[highest, k:highest]).max())
    row = max(row, float(_size(a[highest + 1 :, highest]).max(initial=0.0)))
    if here >= _GROWTH * most * (most / row):
        return 1, k
    other = abs(a[highest, highest].real) if hermitian else float(_size(a[highest, highest]))
    return (1 if other >= _GROWTH * row else 2), highest


def _exchange(a: Array, first: int, other: int, hermitian: bool) -> None:
    """Exchange rows and columns of what is left, of which the lower triangle is kept."""

    def turned(x: Array) -> Array:
        return x.conj() if hermitian else x.copy()

    below = slice(other + 1, None)
    a[below, first], a[below, other] = a[below, other].copy(), a[below, first].copy()
    between = slice(first + 1, other)
    a[between, first], a[other, between] = turned(a[other, between]), turned(a[between, first])
    if hermitian:
        a[other, first] = a[other, first].conj()
    a[first, first], a[other, other] = a[other, other], a[first, first]


def _factored(a: Array, pivots: Array, hermitian: bool) -> int:
    """Factor one matrix in its place; return 0 or the number of the first zero on D."""
    n, k, info = len(a), 0, 0
    if hermitian:
        np.fill_diagonal(a, a.diagonal().real)
    while k < n:
        size, other = _chosen(a, k, hermitian)
        if size == 0:
            info = info or k + 1
            pivots[k] = k + 1
            k += 1
            continue
        last = k + size - 1
        if other != last:
            _exchange(a, last, other, hermitian)
            if size == 2:
                a[last, k], a[other, k] = a[other, k], a[last, k]
        rest = slice(k + size, None)
        columns = a[rest, k : k + size].copy()
        scaled = columns @ np.linalg.inv(_block(a, k, size, hermitian))
        across = columns.conj().T if hermitian else columns.T
        a[rest, rest] -= scaled @ across
        if hermitian:
            np.fill_diagonal(a[rest, rest], a[rest, rest].diagonal().real)
        a[rest, k : k + size] = scaled
        pivots[k : k + size] = other + 1 if size == 1 else -(other + 1)
        k += size
    return info


def _block(a: Array, k: int, size: int, hermitian: bool) -> Array:
    block = a[k : k + size, k : k + size].copy()
    if size == 2:
        block[0, 1] = block[1, 0].conj() if hermitian else block[1, 0]
    return block


def ldl(a: Array, hermitian: bool) -> tuple[Array, Array, Array]:
    """Return L and D in one lower triangle, int32 pivots, and for each matrix 0 or a zero's number.

    Args:
        a: [..., n, n]; only lower triangles are read.
        hermitian: whether complex matrices are Hermitian; otherwise they are symmetric.
    """
    out = np.tril(a)
    pivots = np.zeros(a.shape[:-1], np.int32)
    info = np.zeros(a.shape[:-2], np.int32)
    for i in batches(a):
        info[i] = _factored(out[i], pivots[i], hermitian and out.dtype.kind == "c")
    return np.tril(out), pivots, info


def _solved(a: Array, pivots: Array, x: Array, hermitian: bool) -> None:
    """Solve for one matrix in the place of the right-hand side."""
    n, k = len(a), 0
    starts = []
    while k < n:
        size = 1 if pivots[k] > 0 else 2
        last, other = k + size - 1, abs(int(pivots[k])) - 1
        x[[last, other]] = x[[other, last]]
        rest = slice(k + size, None)
        x[rest] -= a[rest, k : k + size] @ x[k : k + size]
        x[k : k + size] = np.linalg.solve(_block(a, k, size, hermitian), x[k : k + size])
        starts.append((k, size, last, other))
        k += size
    for k, size, last, other in reversed(starts):
        rest = slice(k + size, None)
        across = a[rest, k : k + size].T
        x[k : k + size] -= (across.conj() if hermitian else across) @ x[rest]
        x[[last, other]] = x[[other, last]]


def ldl_solve(a: Array, pivots: Array, rhs: Array, hermitian: bool) -> Array:
    """Return x of A @ x = rhs, of factors and pivots that `ldl` returned; NaN where D is singular.

    Args:
        a: [..., n, n].
        pivots: [..., n].
        rhs: [..., n, k].
        hermitian: as of `ldl`.
    """
    x = np.array(rhs)
    for i in batches(a):
        try:
            _solved(a[i], pivots[i], x[i], hermitian and a.dtype.kind == "c")
        except np.linalg.LinAlgError:
            x[i] = np.nan
    return x
