"""Singular values by random projections, and quantiles of what is not NaN, beside NumPy's."""

from __future__ import annotations

import numpy as np
import pytest

import talweg as tw
from talweg.base.errors import DTypeError, InvalidValue, ShapeError

RNG = np.random.default_rng(37)


@pytest.mark.parametrize("shape", [(9, 5), (5, 9), (2, 6, 6)])
@pytest.mark.parametrize("kind", ["float64", "complex128"])
def test_matrices_of_low_rank_are_recovered(shape: tuple[int, ...], kind: str) -> None:
    tw.manual_seed(7)

    def draw(*size: int) -> np.ndarray:
        found = RNG.standard_normal(size)
        return found + 1j * RNG.standard_normal(size) if kind == "complex128" else found

    a = draw(*shape[:-1], 3) @ draw(*shape[:-2], 3, shape[-1])
    u, s, v = tw.svd_lowrank(tw.tensor(a), 4)
    assert (u.shape, v.shape) == ((*shape[:-1], 4), (*shape[:-2], shape[-1], 4))
    np.testing.assert_allclose((u * s.unsqueeze(-2) @ v.mH).numpy(), a, atol=1e-9)
    exact = np.linalg.svd(a, compute_uv=False)[..., :4]
    np.testing.assert_allclose(s.numpy(), exact, atol=1e-9)


def test_components_are_those_of_centred_columns() -> None:
    tw.manual_seed(8)
    a = RNG.standard_normal((12, 4)) + 5
    _, s, v = tw.pca_lowrank(tw.tensor(a), 4)
    _, exact, vh = np.linalg.svd(a - a.mean(0))
    np.testing.assert_allclose(s.numpy(), exact)
    np.testing.assert_allclose(np.abs(v.numpy()), np.abs(vh.T), atol=1e-9)
    _, s, _ = tw.svd_lowrank(tw.tensor(a), 4, M=tw.tensor(a.mean(0)))
    np.testing.assert_allclose(s.numpy(), exact)
    assert tw.pca_lowrank(tw.tensor(a), center=False)[1].shape == (4,)


def test_ranks_that_are_too_large_are_named() -> None:
    a = tw.ones(4, 3)
    with pytest.raises(InvalidValue, match="min"):
        tw.pca_lowrank(a, 5)
    with pytest.raises(InvalidValue, match="niter"):
        tw.pca_lowrank(a, niter=-1)
    with pytest.raises(InvalidValue, match="q=6"):
        tw.svd_lowrank(a)
    with pytest.raises(ShapeError, match="matrices"):
        tw.svd_lowrank(tw.ones(3), 1)


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("way", ["linear", "lower", "higher", "midpoint", "nearest"])
def test_quantiles_of_what_is_not_nan(way: str) -> None:
    a = RNG.standard_normal((5, 7))
    a[a > 1] = np.nan
    a[:, 2] = np.nan
    x, q = tw.tensor(a), np.array([0.1, 0.5, 0.8])
    how = {"interpolation": way}
    found = tw.nanquantile(x, tw.tensor(q), 0, **how)
    np.testing.assert_allclose(found.numpy(), np.nanquantile(a, q, 0, method=way))
    expected = np.nanquantile(a, 0.3, 1, method=way, keepdims=True)
    np.testing.assert_allclose(x.nanquantile(0.3, 1, True, **how).numpy(), expected)
    np.testing.assert_allclose(
        tw.nanquantile(x, 0.3, **how).item(), np.nanquantile(a, 0.3, method=way)
    )


def test_the_gradient_goes_to_both_neighbours() -> None:
    x = tw.tensor([4.0, float("nan"), 1.0, 2.0], dtype=tw.float64, requires_grad=True)
    tw.nanquantile(x, 0.75).backward()
    np.testing.assert_array_equal(x.grad.numpy(), [0.5, 0, 0, 0.5])
    with pytest.raises(DTypeError, match="nanquantile"):
        tw.nanquantile(tw.tensor([1, 2]), 0.5)
    with pytest.raises(InvalidValue, match="nanquantile"):
        tw.nanquantile(x, 1.5)
