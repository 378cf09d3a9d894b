"""Grids and sampling along them against loops over elements; pairwise distances; windows drawn."""

from __future__ import annotations

import math
from itertools import product

import numpy as np
import pytest

import talweg as tw
from talweg.nn import functional as F

RANDOM = np.random.RandomState(5)


def unnormalised(place: float, n: int, corners: bool) -> float:
    return (place + 1) * (n - 1) / 2 if corners else ((place + 1) * n - 1) / 2


def thrown_back(at: float, n: int, corners: bool) -> float:
    low, high = (0.0, n - 1.0) if corners else (-0.5, n - 0.5)
    if low == high:
        return 0.0
    while not low <= at <= high:
        at = 2 * low - at if at < low else 2 * high - at
    return at


def sampled(x: np.ndarray, grid: np.ndarray, beyond: str, corners: bool) -> np.ndarray:
    """Bilinear values, one by one, in float64."""
    out = np.zeros((*x.shape[:2], *grid.shape[1:3]))
    height, width = x.shape[2:]
    for n, i, j in product(range(x.shape[0]), *map(range, grid.shape[1:3])):
        place = []
        for at, size in zip(grid[n, i, j], (width, height), strict=True):
            at = unnormalised(at, size, corners)
            if beyond == "reflection":
                at = thrown_back(at, size, corners)
            place.append(at if beyond == "zeros" else min(max(at, 0.0), size - 1.0))
        left, top = math.floor(place[0]), math.floor(place[1])
        for row, column in product((top, top + 1), (left, left + 1)):
            if 0 <= row < height and 0 <= column < width:
                weight = (1 - abs(place[0] - column)) * (1 - abs(place[1] - row))
                out[n, :, i, j] += weight * x[n, :, row, column]
    return out


@pytest.mark.parametrize("beyond", ["zeros", "border", "reflection"])
@pytest.mark.parametrize("corners", [False, True])
def test_bilinear_samples_are_weighted_neighbours(beyond: str, corners: bool) -> None:
    x, grid = RANDOM.randn(2, 3, 4, 5), RANDOM.rand(2, 3, 4, 2) * 3 - 1.5
    found = F.grid_sample(tw.tensor(x), tw.tensor(grid), padding_mode=beyond, align_corners=corners)
    np.testing.assert_allclose(found.numpy(), sampled(x, grid, beyond, corners), atol=1e-12)


def test_an_identity_reads_the_image_itself() -> None:
    x = tw.tensor(RANDOM.randn(2, 3, 4, 5))
    same = tw.tensor([[[1.0, 0.0, 0.0], [0.0, 1.0, 0.0]]], dtype=tw.float64).expand(2, 2, 3)
    for corners in (False, True):
        for mode in ("bilinear", "nearest", "bicubic"):
            grid = F.affine_grid(same, (2, 3, 4, 5), align_corners=corners)
            found = F.grid_sample(x, grid, mode, align_corners=corners)
            np.testing.assert_allclose(found.numpy(), x.numpy(), atol=1e-12)


def test_a_shift_by_one_element() -> None:
    x = tw.arange(4.0).reshape(1, 1, 1, 4)
    shift = tw.tensor([[[1.0, 0.0, 0.5], [0.0, 1.0, 0.0]]])
    grid = F.affine_grid(shift, (1, 1, 1, 4), align_corners=False)
    assert F.grid_sample(x, grid, align_corners=False).flatten().tolist() == [1.0, 2.0, 3.0, 0.0]
    held = F.grid_sample(x, grid, padding_mode="border", align_corners=False)
    assert held.flatten().tolist() == [1.0, 2.0, 3.0, 3.0]


@pytest.mark.parametrize("mode", ["bilinear", "bicubic"])
def test_gradients_of_images_and_grids(mode: str) -> None:
    x = tw.tensor(RANDOM.randn(1, 2, 4, 4), requires_grad=True)
    grid = tw.tensor(RANDOM.rand(1, 2, 3, 2) * 1.2 - 0.6, requires_grad=True)

    def call(x: tw.Tensor, grid: tw.Tensor) -> tw.Tensor:
        return F.grid_sample(x, grid, mode, align_corners=False)

    assert tw.autograd.gradcheck(call, (x, grid))


def test_volumes() -> None:
    x = tw.arange(8.0).reshape(1, 1, 2, 2, 2)
    centre = tw.zeros(1, 1, 1, 1, 3)
    assert F.grid_sample(x, centre, align_corners=False).item() == 3.5
    theta = tw.eye(3, 4).unsqueeze(0)
    grid = F.affine_grid(theta, (1, 1, 2, 2, 2), align_corners=True)
    assert F.grid_sample(x, grid, align_corners=True).tolist() == x.tolist()


@pytest.mark.parametrize("p", [0.0, 1.0, 2.0, 3.0, float("inf")])
def test_distances_of_pairs(p: float) -> None:
    x = RANDOM.randn(4, 3)
    wanted = [np.linalg.norm(x[i] - x[j], p) for i in range(4) for j in range(i + 1, 4)]
    np.testing.assert_allclose(F.pdist(tw.tensor(x), p).numpy(), wanted, rtol=1e-12)
    assert F.pdist(tw.ones(1, 3)).shape == (0,)


def test_fractional_windows_cover_the_image() -> None:
    x = RANDOM.randn(1, 2, 7, 9)
    tw.manual_seed(0)
    values, places = F.fractional_max_pool2d(
        tw.tensor(x), (3, 2), output_size=(4, 5), return_indices=True
    )
    flat = x.reshape(1, 2, -1)
    taken = np.take_along_axis(flat, places.numpy().reshape(1, 2, -1), 2)
    np.testing.assert_array_equal(values.numpy().reshape(1, 2, -1), taken)
    # The last window ends with the image, so the corner belongs to it.
    assert (values.numpy()[..., -1, -1] == x[..., 4:, 7:].max((2, 3))).all()
    halves = F.fractional_max_pool3d(tw.ones(1, 4, 4, 4), 2, output_ratio=0.5)
    assert halves.shape == (1, 2, 2, 2)
