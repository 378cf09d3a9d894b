"""Copies with a part replaced, against NumPy; their gradients against finite differences."""

from __future__ import annotations

import numpy as np
import pytest

import talweg as tw

RNG = np.random.default_rng(0)


def real(*shape: int) -> np.ndarray:
    return RNG.standard_normal(shape)


def test_parts_are_replaced() -> None:
    x, part = real(3, 5), real(3, 2)
    wanted = x.copy()
    wanted[:, 1:4:2] = part
    found = tw.slice_scatter(tw.tensor(x), tw.tensor(part), 1, 1, 4, 2)
    np.testing.assert_array_equal(found.numpy(), wanted)
    wanted = x.copy()
    wanted[:, -2] = part[:, 0]
    found = tw.tensor(x).select_scatter(tw.tensor(part[:, 0].copy()), 1, -2)
    np.testing.assert_array_equal(found.numpy(), wanted)
    with pytest.raises(ValueError, match="slice_scatter"):
        tw.slice_scatter(tw.tensor(x), tw.tensor(part), 0)


@pytest.mark.parametrize("offset", [-2, -1, 0, 1, 4])
def test_diagonals_are_replaced(offset: int) -> None:
    x = real(3, 2, 4)
    size = len(np.diagonal(x[:, 0], offset))
    part = real(2, size)
    found = tw.diagonal_scatter(tw.tensor(x), tw.tensor(part), offset, 0, 2).numpy()
    for k in range(2):
        np.testing.assert_array_equal(np.diagonal(found[:, k], offset), part[k])
        mask = np.eye(3, 4, offset) == 0
        np.testing.assert_array_equal(found[:, k][mask], x[:, k][mask])


@pytest.mark.parametrize("shape", [(3, 3), (7, 3), (2, 5), (3, 3, 3)])
@pytest.mark.parametrize("wrap", [False, True])
def test_a_filled_diagonal(shape: tuple[int, ...], wrap: bool) -> None:
    x = real(*shape)
    wanted = x.copy()
    np.fill_diagonal(wanted, 9.0, wrap=wrap)
    t = tw.tensor(x)
    assert t.fill_diagonal_(9.0, wrap) is t
    np.testing.assert_array_equal(t.numpy(), wanted)


def test_vectors_on_diagonals() -> None:
    x = real(2, 3)
    np.testing.assert_array_equal(tw.diagflat(tw.tensor(x), -1).numpy(), np.diagflat(x, -1))


@pytest.mark.parametrize("include", [False, True])
@pytest.mark.parametrize("reduce", ["prod", "mean", "amax", "amin"])
def test_slices_are_combined(reduce: str, include: bool) -> None:
    x, source, index = real(4, 3), real(5, 3), np.array([0, 2, 2, 0, 0])
    combine = {"prod": np.prod, "mean": np.mean, "amax": np.max, "amin": np.min}[reduce]
    wanted = x.copy()
    for row in (0, 2):
        rows = source[index == row]
        wanted[row] = combine(np.concatenate([x[row : row + 1], rows]) if include else rows, axis=0)
    given = tw.tensor(x), 0, tw.tensor(index), tw.tensor(source), reduce
    np.testing.assert_allclose(tw.index_reduce(*given, include_self=include).numpy(), wanted)
    with pytest.raises(ValueError, match="index_reduce"):
        tw.index_reduce(*given[:4], "sum")


def test_complex_numbers_as_pairs() -> None:
    z = real(3, 2) + 1j * real(3, 2)
    pairs = tw.view_as_real(tw.tensor(z))
    np.testing.assert_array_equal(pairs.numpy(), np.stack([z.real, z.imag], -1))
    np.testing.assert_array_equal(tw.view_as_complex(pairs).numpy(), z)
    with pytest.raises(TypeError, match="complex"):
        tw.view_as_real(tw.ones(2))
    with pytest.raises(ValueError, match="size 2"):
        tw.view_as_complex(tw.ones(2, 3))


@pytest.mark.parametrize("p", [1.0, 2.0, float("inf")])
def test_slices_are_scaled_down(p: float) -> None:
    x = real(3, 4, 2) * np.reshape([0.01, 1, 5], (3, 1, 1))
    found = tw.renorm(tw.tensor(x), p, 0, 1.5).numpy()
    for ours, row in zip(found, x, strict=True):
        norm = np.linalg.norm(row.reshape(-1), p)
        np.testing.assert_allclose(ours, row * min(1.5 / norm, 1), rtol=1e-6)


def test_places_and_strides() -> None:
    places = np.array([[0, 7], [11, 5]])
    found = tw.unravel_index(tw.tensor(places), (2, 2, 3))
    for ours, wanted in zip(found, np.unravel_index(places, (2, 2, 3)), strict=True):
        np.testing.assert_array_equal(ours.numpy(), wanted)
    x = real(12)
    wanted = np.lib.stride_tricks.as_strided(x[1:], (3, 2), (16, 24))
    strided = tw.as_strided(tw.tensor(x), (3, 2), (2, 3), 1)
    np.testing.assert_array_equal(strided.numpy(), wanted)
    with pytest.raises(IndexError, match="as_strided"):
        tw.as_strided(tw.tensor(x), (3, 2), (6, 1))


@pytest.mark.parametrize(
    "function",
    [
        lambda x, y: tw.slice_scatter(x, y[:, :2], 1, 0, 3, 2),
        lambda x, y: tw.select_scatter(x, y[0], 0, 1),
        lambda x, y: tw.diagonal_scatter(x, y[0, :2], 1),
        lambda x, y: tw.index_reduce(x, 0, tw.tensor([1, 1]), y[:2], "mean"),
        lambda x, y: tw.renorm(x * 4, 2, 0, 1) + y,
        lambda x, y: tw.as_strided(x, (3, 2), (1, 2)) + y[:, :2],
        lambda x, y: tw.view_as_real(tw.complex(x, y)).sin(),
    ],
)
def test_gradients(function: object) -> None:
    inputs = [tw.tensor(real(3, 3), requires_grad=True) for _ in range(2)]
    assert tw.autograd.gradcheck(function, inputs)
