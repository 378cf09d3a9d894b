"""Matrix products equal NumPy's, in value and in gradient."""

from __future__ import annotations

from functools import partial
from typing import Any

import numpy as np
import pytest

from talweg.base.errors import DTypeError, InvalidValue, ShapeError
from talweg.fn import einsum, linalg

from .conftest import spread, value_of

V = spread((4,))
W = spread((4,), seed=1)
M = spread((3, 4), seed=2)
N = spread((4, 5), seed=3)
A = spread((2, 3, 4), seed=4)
B = spread((2, 4, 5), seed=5)

RANKS = [
    ((4,), (4,)),
    ((4,), (4, 5)),
    ((3, 4), (4,)),
    ((3, 4), (4, 5)),
    ((2, 3, 4), (4, 5)),
    ((2, 3, 4), (4,)),
    ((4,), (2, 4, 5)),
    ((2, 3, 4), (2, 4, 5)),
    ((6, 1, 3, 4), (2, 4, 5)),
    ((2, 1, 3, 4), (1, 6, 4, 5)),
    ((3, 4), (2, 4, 5)),
    ((0, 4), (4, 5)),
    ((3, 0), (0, 5)),
]


@pytest.mark.parametrize(("one", "two"), RANKS, ids=str)
def test_matmul(b: Any, one: tuple[int, ...], two: tuple[int, ...]) -> None:
    x, y = spread(one), spread(two, seed=1)
    found = b.run(linalg.matmul, x, y)
    assert found.shape == np.matmul(x, y).shape
    np.testing.assert_allclose(found, np.matmul(x, y), atol=1e-12)
    b.check_gradient(linalg.matmul, x, y)


def test_products_of_fixed_ranks(b: Any) -> None:
    z = V + 1j * W
    for function, arguments, expected in [
        (linalg.mm, (M, N), M @ N),
        (linalg.bmm, (A, B), A @ B),
        (linalg.mv, (M, V), M @ V),
        (linalg.dot, (V, W), V @ W),
        (linalg.vdot, (z, z * 1j), np.vdot(z, z * 1j)),
        (linalg.outer, (V, M[:, 0]), np.outer(V, M[:, 0])),
        (linalg.inner, (A, M), np.inner(A, M)),
        (linalg.inner, (A, np.array(2.0)), A * 2),
        (linalg.trace, (M,), np.trace(M)),
        (linalg.chain_matmul, (M, N, N.T), M @ N @ N.T),
        (linalg.adjoint, (A + 1j,), (A - 1j).swapaxes(-1, -2)),
    ]:
        np.testing.assert_allclose(b.run(function, *arguments), expected)


def test_scaled_sums(b: Any) -> None:
    for function, base, one, two, product in [
        (linalg.addmm, N[0], M, N, M @ N),
        (linalg.addmv, M[:, 0], M, V, M @ V),
        (linalg.addr, M, M[:, 1], V, np.outer(M[:, 1], V)),
        (linalg.baddbmm, N[0], A, B, A @ B),
        (linalg.addbmm, N[0], A, B, (A @ B).sum(0)),
    ]:
        found = b.run(function, base, one, two, beta=0.5, alpha=2)
        np.testing.assert_allclose(found, 0.5 * base + 2 * product)
        b.check_gradient(partial(function, beta=0.5, alpha=2), base, one, two)
        unread = b.run(function, np.full_like(base, np.nan), one, two, beta=0)
        np.testing.assert_allclose(unread, product)


def test_tensordot(b: Any) -> None:
    x, y = spread((2, 3, 4, 5)), spread((4, 5, 6), seed=1)
    for dims in (2, ((2, -1), (0, 1)), ((3,), (1,))):
        arguments = [*dims] if isinstance(dims, tuple) else dims
        np.testing.assert_allclose(
            b.run(linalg.tensordot, x, y, dims), np.tensordot(x, y, arguments)
        )
    assert b.run(linalg.tensordot, V, W, 0).shape == (4, 4)
    b.check_gradient(lambda b, x, y: linalg.tensordot(b, x, y, ((1,), (0,))), M, N)


def test_the_order_of_a_chain_is_the_cheapest(b: Any) -> None:
    nodes = [b.constant(spread(s)) for s in ((20, 2), (2, 30), (30, 1))]
    result = linalg.multi_dot(b, nodes)
    outermost = result.op.name(), [i.shape for i in result.inputs]
    assert outermost == ("dot", [(20, 2), (2, 1)])
    np.testing.assert_allclose(
        value_of(result), np.linalg.multi_dot([spread(s) for s in ((20, 2), (2, 30), (30, 1))])
    )
    ends = [b.constant(v) for v in (M[:, 0], M, V)]
    np.testing.assert_allclose(value_of(linalg.multi_dot(b, ends)), M[:, 0] @ M @ V)


@pytest.mark.parametrize("n", [0, 1, 2, 5, 8])
def test_powers(b: Any, n: int) -> None:
    x = np.stack([M[:, :3], M[:, 1:]])
    np.testing.assert_allclose(b.run(linalg.matrix_power, x, n), np.linalg.matrix_power(x, n))


def test_cross(b: Any) -> None:
    x, y = spread((5, 3)), spread((3,), seed=1)
    np.testing.assert_allclose(b.run(linalg.cross, x, b.constant(y)), np.cross(x, y), atol=1e-12)
    z = spread((3, 3, 2))
    found = b.run(linalg.cross, z, b.constant(z[::-1].copy()), 1)
    np.testing.assert_allclose(found, np.cross(z, z[::-1], axis=1), atol=1e-12)
    b.check_gradient(linalg.cross, x, y)


@pytest.mark.parametrize("p", [0, 1, 2, 3.5, np.inf])
def test_cdist(b: Any, p: float) -> None:
    x, y = spread((2, 5, 3)), spread((4, 3), seed=1)
    expected = np.linalg.norm(x[:, :, None] - y, p, axis=-1)
    np.testing.assert_allclose(b.run(linalg.cdist, x, b.constant(y), p), expected)
    if p:
        b.check_gradient(lambda b, x, y: linalg.cdist(b, x, y, p), x, y)


EQUATIONS: list[tuple[str, list[np.ndarray]]] = [
    ("ij,jk->ik", [M, N]),
    ("ij,jk", [M, N]),
    ("bij,bjk->bik", [A, B]),
    ("bij,bjk->kib", [A, B]),
    ("i,i->", [V, W]),
    ("i,j->ji", [V, W]),
    ("ij->ji", [M]),
    ("ij->", [M]),
    ("ij->j", [M]),
    ("ii->i", [M[:, :3]]),
    ("ii", [M[:, :3]]),
    ("iij->ji", [spread((3, 3, 2))]),
    ("iji->j", [spread((3, 2, 3))]),
    ("...ij,...jk->...ik", [A, B]),
    ("...ij,jk->...ik", [A, N]),
    ("i...,i...->...", [A, A]),
    ("...,...", [A, V]),
    ("...i->i...", [A]),
    ("ij,ij->ij", [M, M]),
    ("ij,j,j->i", [M, V, W]),
    ("ij,jk,kl->il", [M, N, N.T]),
    ("ab,cd->abcd", [M, N]),
    ("bhqd,bhkd->bhqk", [spread((2, 2, 3, 4)), spread((2, 2, 5, 4), seed=1)]),
    ("zij,j->iz", [A, V]),
    ("ij,kl->", [M, N]),
    (" i j , j k -> i k ", [M, N]),
]


@pytest.mark.parametrize(("equation", "arrays"), EQUATIONS, ids=str)
def test_einsum(b: Any, equation: str, arrays: list[np.ndarray]) -> None:
    nodes = [b.constant(a) for a in arrays]
    found = value_of(einsum.einsum(b, equation, *nodes))
    expected = np.einsum(equation, *arrays)
    assert found.shape == expected.shape
    np.testing.assert_allclose(found, expected, atol=1e-12)
    np.testing.assert_array_equal(value_of(einsum.einsum(b, equation, nodes)), found)
    b.check_gradient(lambda b, *xs: einsum.einsum(b, equation, *xs), *arrays)


def test_einsum_stretches_size_one(b: Any) -> None:
    found = value_of(einsum.einsum(b, "ij,ij->i", b.constant(M), b.constant(M[:1, :1])))
    np.testing.assert_allclose(found, M.sum(1) * M[0, 0])


@pytest.mark.parametrize(
    ("equation", "arrays", "error"),
    [
        ("ij,jk->ik", [M], InvalidValue),
        ("i1->i", [M], InvalidValue),
        ("ij->k", [M], InvalidValue),
        ("ij->ii", [M], InvalidValue),
        ("ijk->i", [M], ShapeError),
        ("i->i", [M], ShapeError),
        ("ij,jk->ik", [M, M], ShapeError),
        ("ii->i", [M], ShapeError),
    ],
)
def test_einsum_errors(b: Any, equation: str, arrays: Any, error: type[Exception]) -> None:
    with pytest.raises(error, match="einsum"):
        einsum.einsum(b, equation, *[b.constant(a) for a in arrays])


@pytest.mark.parametrize(
    ("function", "arguments", "error", "message"),
    [
        (linalg.matmul, (M, M), ShapeError, r"\(3, 4\)"),
        (linalg.matmul, (M, np.array(1.0)), ShapeError, "dimension"),
        (linalg.matmul, (M, N.astype(np.float32)), DTypeError, "float32"),
        (linalg.matmul, (M > 0, N > 0), DTypeError, "bool"),
        (linalg.matmul, (np.stack([A] * 3), B[:1].repeat(5, 0)), ShapeError, "broadcast"),
        (linalg.mm, (A, N), ShapeError, "mm"),
        (linalg.bmm, (A, B[:1]), ShapeError, "2 and 1"),
        (linalg.dot, (M, V), ShapeError, "dot"),
        (linalg.addmm, (V, M, N), ShapeError, r"\(4,\)"),
        (linalg.tensordot, (M, N, 3), ShapeError, "3"),
        (linalg.tensordot, (M, N, 2), ShapeError, "size"),
        (linalg.matrix_power, (M, 2), ShapeError, "square"),
        (linalg.cross, (M, M, 1), ShapeError, "3"),
        (linalg.cdist, (M, N), ShapeError, "rows"),
        (linalg.trace, (A,), ShapeError, "trace"),
    ],
)
def test_errors(
    b: Any, function: Any, arguments: Any, error: type[Exception], message: str
) -> None:
    with pytest.raises(error, match=message):
        b.run(function, *arguments)


def test_every_listed_name_exists() -> None:
    names = [*linalg.METHODS, *linalg.INPLACE, *linalg.ALIASES.values()]
    assert [n for n in names if not callable(getattr(linalg, n, None))] == []
