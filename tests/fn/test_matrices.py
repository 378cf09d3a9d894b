"""Matrix functions against NumPy, their gradients against finite differences, and failures."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import talweg as tw
from talweg.base import matrices
from talweg.base.errors import GradientError, LinAlgError

RANDOM = np.random.default_rng(5)
SQUARE = RANDOM.normal(size=(2, 4, 4)) + 3 * np.eye(4)
COMPLEX = SQUARE + 1j * RANDOM.normal(size=SQUARE.shape)
TALL = RANDOM.normal(size=(5, 3))


def definite(x: Any) -> Any:
    return x @ x.mH + tw.eye(x.shape[-1], dtype=x.dtype)


def product(*factors: tw.Tensor) -> np.ndarray:
    out = factors[0]
    for factor in factors[1:]:
        out = out @ factor
    return np.asarray(out.numpy())


@pytest.mark.parametrize("a", [SQUARE, COMPLEX], ids=["real", "complex"])
def test_values_are_numpys(a: np.ndarray) -> None:
    L, x = tw.linalg, tw.tensor(a)
    np.testing.assert_allclose(L.inv(x).numpy(), np.linalg.inv(a), atol=1e-12)
    np.testing.assert_allclose(L.det(x).numpy(), np.linalg.det(a), rtol=1e-12)
    np.testing.assert_allclose(L.slogdet(x)[1].numpy(), np.linalg.slogdet(a)[1], rtol=1e-12)
    np.testing.assert_allclose(L.pinv(x).numpy(), np.linalg.pinv(a), atol=1e-12)
    np.testing.assert_allclose(L.svdvals(x).numpy(), np.linalg.svd(a)[1], rtol=1e-12)
    for p in (None, "fro", "nuc", 1, -1, 2, -2, np.inf, -np.inf):
        np.testing.assert_allclose(L.cond(x, p).numpy(), np.linalg.cond(a, p), rtol=1e-10)
        if p is not None:
            expected = np.linalg.norm(a, p, (0, 2))
            np.testing.assert_allclose(L.norm(x, p, (0, 2)).numpy(), expected, rtol=1e-12)
    rhs = tw.tensor(a[..., :2])
    np.testing.assert_allclose(product(x, L.solve(x, rhs)), rhs.numpy(), atol=1e-12)
    power = np.linalg.matrix_power(a, -3)
    np.testing.assert_allclose(L.matrix_power(x, -3).numpy(), power, rtol=1e-8, atol=1e-12)


@pytest.mark.parametrize("a", [SQUARE, COMPLEX, SQUARE[:, :2], COMPLEX[..., :3]])
def test_factors_multiply_to_the_matrix(a: np.ndarray) -> None:
    x = tw.tensor(a)
    np.testing.assert_allclose(product(*tw.linalg.qr(x)), a, atol=1e-12)
    np.testing.assert_allclose(product(*tw.linalg.qr(x, "complete")), a, atol=1e-12)
    np.testing.assert_allclose(product(*tw.linalg.lu(x)), a, atol=1e-12)
    u, s, vh = tw.linalg.svd(x, full_matrices=False)
    np.testing.assert_allclose(product(u * s.unsqueeze(-2), vh), a, atol=1e-12)
    if a.shape[-1] == a.shape[-2]:
        values, vectors = tw.linalg.eig(x)
        np.testing.assert_allclose(
            product(x.to(vectors.dtype), vectors),
            product(vectors * values[..., None, :]),
            atol=1e-9,
        )
        factor = tw.linalg.cholesky(definite(x))
        np.testing.assert_allclose(product(factor, factor.mH), definite(x).numpy(), atol=1e-12)
        values, vectors = tw.linalg.eigh(x + x.mH)
        np.testing.assert_allclose(
            product(vectors * values[..., None, :], vectors.mH), (x + x.mH).numpy(), atol=1e-11
        )


def test_lu_of_many_columns_is_blocked_and_solves() -> None:
    a = RANDOM.normal(size=(2, 130, 130))
    packed, pivots, rows, info = matrices.lu(a)
    low = np.tril(packed, -1) + np.eye(130)
    ordered = np.take_along_axis(a, rows[..., None], 1)
    np.testing.assert_allclose(low @ np.triu(packed), ordered, atol=1e-11)
    np.testing.assert_array_equal(matrices.rows_of(pivots, 130), rows)
    assert not info.any()
    assert np.abs(low).max() <= 1
    rhs = RANDOM.normal(size=(2, 130, 3))
    LU, order = tw.linalg.lu_factor(tw.tensor(a))
    for adjoint in (False, True):
        x = tw.linalg.lu_solve(LU, order, tw.tensor(rhs), adjoint=adjoint).numpy()
        np.testing.assert_allclose((a.swapaxes(1, 2) if adjoint else a) @ x, rhs, atol=1e-9)


@pytest.mark.parametrize("upper", [False, True])
def test_triangular_systems_read_one_triangle(upper: bool) -> None:
    a = RANDOM.normal(size=(100, 100)) + 20 * np.eye(100)
    rhs = RANDOM.normal(size=(100, 2))
    x = tw.linalg.solve_triangular(tw.tensor(a), tw.tensor(rhs), upper=upper).numpy()
    np.testing.assert_allclose((np.triu if upper else np.tril)(a) @ x, rhs, atol=1e-10)


def test_the_exponential_of_large_small_and_nilpotent_matrices() -> None:
    w, v = np.linalg.eigh(SQUARE + SQUARE.swapaxes(-1, -2))
    expected = (v * np.exp(w)[..., None, :]) @ v.swapaxes(-1, -2)
    found = tw.linalg.matrix_exp(tw.tensor(SQUARE + SQUARE.swapaxes(-1, -2))).numpy()
    np.testing.assert_allclose(found, expected, rtol=1e-9)
    nilpotent = np.array([[0, 30.0], [0, 0]])
    np.testing.assert_allclose(matrices.exponential(nilpotent), [[1, 30], [0, 1]], rtol=1e-14)
    assert matrices.exponential(np.zeros((3, 0, 0))).shape == (3, 0, 0)


def test_least_squares() -> None:
    rhs = RANDOM.normal(size=(5, 2))
    found = tw.linalg.lstsq(tw.tensor(TALL), tw.tensor(rhs), driver="gelsd")
    x, residuals, rank, values = np.linalg.lstsq(TALL, rhs, rcond=None)
    np.testing.assert_allclose(found.solution.numpy(), x, atol=1e-12)
    np.testing.assert_allclose(found.residuals.numpy(), residuals, rtol=1e-10)
    np.testing.assert_allclose(found.singular_values.numpy(), values, rtol=1e-12)
    assert found.rank.item() == rank


GRADIENTS: dict[str, Callable[[tw.Tensor], Any]] = {
    "cholesky": lambda x: tw.linalg.cholesky(definite(x)),
    "eigh": lambda x: tw.linalg.eigh(x + x.mH)[0],
    "eigh vectors": lambda x: tw.linalg.eigh(x + x.mH)[1].abs(),
    "eig": lambda x: tw.linalg.eigvals(x).abs().sum(),
    "eig vectors": lambda x: tw.linalg.eig(x)[1].abs().sum(),
    "svd": lambda x: [y.abs() for y in tw.linalg.svd(x, full_matrices=False)],
    "svd of rows": lambda x: [y.abs() for y in tw.linalg.svd(x[..., :2, :], False)],
    "lstsq": lambda x: tw.linalg.lstsq(x[..., :2], x[..., 2:]).solution,
    "lstsq of rows": lambda x: tw.linalg.lstsq(x[..., :2, :], x[..., 2:, :]).solution,
    "lu_solve": lambda x: tw.linalg.lu_solve(*tw.linalg.lu_factor(x), x, left=False, adjoint=True),
    "householder": lambda x: tw.linalg.householder_product(x[..., :3], x[..., 0, :2]),
    "logdet": lambda x: tw.logdet(definite(x)),
    "cond": lambda x: tw.linalg.cond(x, "fro"),
    "nuc": lambda x: tw.linalg.matrix_norm(x, "nuc"),
    "cholesky_inverse": lambda x: tw.cholesky_inverse(tw.linalg.cholesky(definite(x))),
}


@pytest.mark.parametrize("name", GRADIENTS)
@pytest.mark.parametrize("a", [SQUARE[0], COMPLEX[0]], ids=["real", "complex"])
def test_gradients(name: str, a: np.ndarray) -> None:
    x = tw.tensor(a).requires_grad_()
    assert tw.autograd.gradcheck(GRADIENTS[name], x)


@pytest.mark.parametrize("name", ["cholesky", "eigh", "svd", "logdet"])
def test_second_gradients(name: str) -> None:
    x = tw.tensor(SQUARE[0, :3, :3]).requires_grad_()

    def call(x: tw.Tensor) -> tw.Tensor:
        found = GRADIENTS[name](x)
        return found[1] if isinstance(found, list) else found

    assert tw.autograd.gradgradcheck(call, x)


def test_a_singular_matrix_raises_where_it_is_observed_and_names_the_line() -> None:
    a = tw.tensor(np.stack([np.eye(2), np.zeros((2, 2))]))
    out = tw.linalg.inv(a)
    with pytest.raises(LinAlgError, match=r"\(Batch element 1\).*singular(.|\n)*test_matrices"):
        out.sum().item()
    with pytest.raises(LinAlgError, match="leading minor of order 2"):
        tw.linalg.cholesky(tw.tensor([[1.0, 2.0], [2.0, 1.0]])).tolist()
    factor, info = tw.linalg.cholesky_ex(-a)
    assert info.tolist() == [1, 1]
    assert factor.shape == a.shape
    assert tw.linalg.inv_ex(a).info.tolist() == [0, 1]
    with pytest.raises(GradientError, match="complete"):
        tw.linalg.qr(tw.ones(3, 2, requires_grad=True), "complete")[0].sum().backward()


def test_library_calls_are_no_interpreted_nodes_and_run_in_compiled_programs() -> None:
    x = tw.tensor(SQUARE.astype("float32"))

    @tw.compile
    def solved(x: tw.Tensor) -> tw.Tensor:
        return (tw.linalg.inv(x) @ x).sum()

    tw.reset_counters()
    for _ in range(4):
        assert abs(solved(x).item() - 8) < 1e-4
        assert abs((tw.linalg.inv(x * 1.0) @ x).sum().item() - 8) < 1e-4
    assert tw.counters().interpreted == 0
    text = str(tw.explain(lambda: tw.linalg.inv(x * 2.0).sum()))
    assert "1 host call (inverse)" in text
    with tw.profile() as seen:
        tw.linalg.inv(x * 2.0).sum().item()
    assert seen.times()["host calls"] > 0


def test_equal_calls_are_one_and_an_unread_one_is_not_computed() -> None:
    def program(x: tw.Tensor) -> tw.Tensor:
        x = x * 2.0
        tw.linalg.svd(x)
        return tw.linalg.inv(x) @ tw.linalg.inv(x)

    text = str(tw.explain(program, tw.tensor(SQUARE[0])))
    assert "1 host call (inverse)" in text


def test_float32_stays_float32() -> None:
    x = tw.tensor(SQUARE.astype("float32"))
    for result in (tw.linalg.inv(x), tw.linalg.svdvals(x), tw.linalg.matrix_exp(x), tw.det(x)):
        assert result.dtype is tw.float32
    assert tw.linalg.eigvals(x).dtype is tw.complex64
    with pytest.raises(TypeError, match="low precision"):
        tw.linalg.inv(x.half())


def _parts(packed: np.ndarray, pivots: np.ndarray, hermitian: bool) -> tuple[Any, Any, list[int]]:
    """L, D and the order of rows, from LAPACK's form; rows are exchanged only from there on."""
    n = len(packed)
    low, middle = np.eye(n, dtype=packed.dtype), np.zeros_like(packed)
    rows, k = list(range(n)), 0
    while k < n:
        size = 1 if pivots[k] > 0 else 2
        last, other = k + size - 1, abs(int(pivots[k])) - 1
        low[[last, other], :k] = low[[other, last], :k]
        rows[last], rows[other] = rows[other], rows[last]
        low[k + size :, k : k + size] = packed[k + size :, k : k + size]
        block = np.tril(packed[k : k + size, k : k + size])
        if size == 2:
            block[0, 1] = block[1, 0].conj() if hermitian else block[1, 0]
        middle[k : k + size, k : k + size] = block
        k += size
    return low, middle, rows


@pytest.mark.parametrize("hermitian", [False, True])
@pytest.mark.parametrize("n", [2, 5, 9])
def test_factors_of_indefinite_matrices(n: int, hermitian: bool) -> None:
    draws = np.random.RandomState(n)
    x = draws.randn(3, n, n) + (1j * draws.randn(3, n, n))
    other = x.conj() if hermitian else x
    x = x + other.swapaxes(-1, -2)
    x[0] -= np.diag(np.diag(x[0]))
    rhs = draws.randn(3, n, 2) + 0j
    packed, pivots = tw.linalg.ldl_factor(tw.tensor(x), hermitian=hermitian)
    found = tw.linalg.ldl_solve(packed, pivots, tw.tensor(rhs), hermitian=hermitian)
    np.testing.assert_allclose(x @ found.numpy(), rhs, atol=1e-8)
    for a, p, whole in zip(packed.numpy(), pivots.numpy(), x, strict=True):
        low, middle, rows = _parts(a, p, hermitian)
        across = low.conj().T if hermitian else low.T
        np.testing.assert_allclose(low @ middle @ across, whole[np.ix_(rows, rows)], atol=1e-10)


def test_ldl_of_singular_matrices_and_gradients() -> None:
    info = tw.linalg.ldl_factor_ex(tw.zeros(2, 2)).info
    assert info.item() == 1
    with pytest.raises(tw.linalg.LinAlgError, match="zero on its diagonal"):
        tw.linalg.ldl_factor(tw.zeros(2, 2)).LD.tolist()
    a = tw.tensor([[1.0, 2.0], [2.0, -1.0]], dtype=tw.float64)
    packed, pivots = tw.linalg.ldl_factor(a)
    rhs = tw.tensor([[1.0], [2.0]], dtype=tw.float64, requires_grad=True)
    assert tw.autograd.gradcheck(lambda r: tw.linalg.ldl_solve(packed, pivots, r), (rhs,))
    with pytest.raises(ValueError, match="do not fit"):
        tw.linalg.ldl_solve(packed, pivots, tw.ones(3, 1, dtype=tw.float64))
