"""Interpolation equals its definition: a sum over source elements, written out per result."""

from __future__ import annotations

from fractions import Fraction
from math import floor
from typing import Any

import numpy as np
import pytest

from talweg.base.errors import DTypeError, InvalidValue, ShapeError
from talweg.fn import resize
from tests.fn.conftest import Fn, spread

SIZES = [1, 3, 5, 8, 13]
N = 5
ROW = spread((2, 1, N))


def cubic(t: float, a: float) -> float:
    t = abs(t)
    if t <= 1:
        return (a + 2) * t**3 - (a + 3) * t**2 + 1
    return a * t**3 - 5 * a * t**2 + 8 * a * t - 4 * a if t < 2 else 0.0


def matrix(mode: str, n: int, m: int, corners: bool, antialias: bool = False) -> np.ndarray:
    """The weight of each source element in each result element, one axis."""
    out = np.zeros((m, n))
    for i in range(m):
        scale = ((n - 1) / (m - 1) if m > 1 else 0.0) if corners else n / m
        at = i * scale if corners else (i + 0.5) * scale - 0.5
        if antialias:
            wide = max(scale, 1.0)
            for j in range(n):
                t = (j + 0.5 - (i + 0.5) * scale) / wide
                out[i, j] = cubic(t, -0.5) if mode == "cubic" else max(0.0, 1 - abs(t))
            out[i] /= out[i].sum()
            continue
        at = at if mode == "cubic" else min(max(at, 0.0), n - 1)
        for j in range(floor(at) - 1, floor(at) + 3):
            weight = cubic(at - j, -0.75) if mode == "cubic" else max(0.0, 1 - abs(at - j))
            out[i, min(max(j, 0), n - 1)] += weight
    return out


@pytest.mark.parametrize("corners", [True, False])
@pytest.mark.parametrize("m", SIZES)
def test_linear_and_cubic(b: Fn, m: int, corners: bool) -> None:
    got = b.run(resize.interpolate, ROW, m, mode="linear", align_corners=corners)
    np.testing.assert_allclose(got, ROW @ matrix("linear", N, m, corners).T, atol=1e-12)
    x = spread((2, 2, 4, N))
    for mode, name in (("bilinear", "linear"), ("bicubic", "cubic")):
        rows, cols = matrix(name, 4, 7, corners), matrix(name, N, m, corners)
        got = b.run(resize.interpolate, x, (7, m), mode=mode, align_corners=corners)
        np.testing.assert_allclose(got, rows @ x @ cols.T, atol=1e-12)
    x = spread((1, 2, 3, 4, N))
    got = b.run(resize.interpolate, x, (3, 4, m), mode="trilinear", align_corners=corners)
    np.testing.assert_allclose(got, x @ matrix("linear", N, m, corners).T, atol=1e-12)


@pytest.mark.parametrize(("mode", "name"), [("bilinear", "linear"), ("bicubic", "cubic")])
def test_antialias_weighs_all_that_is_covered(b: Fn, mode: str, name: str) -> None:
    x = spread((1, 2, 11, 7))
    for size in ((3, 2), (4, 9), (11, 7)):
        rows = matrix(name, 11, size[0], False, True)
        cols = matrix(name, 7, size[1], False, True)
        got = b.run(resize.interpolate, x, size, mode=mode, antialias=True)
        np.testing.assert_allclose(got, rows @ x @ cols.T, atol=1e-12)


@pytest.mark.parametrize("m", SIZES)
def test_nearest_and_area(b: Fn, m: int) -> None:
    low = [floor(Fraction(i * N, m)) for i in range(m)]
    exact = [floor((i + Fraction(1, 2)) * Fraction(N, m)) for i in range(m)]
    np.testing.assert_array_equal(b.run(resize.interpolate, ROW, m), ROW[..., low])
    got = b.run(resize.interpolate, ROW, m, mode="nearest-exact")
    np.testing.assert_array_equal(got, ROW[..., exact])
    ends = [-floor(Fraction(-(i + 1) * N, m)) for i in range(m)]
    want = np.stack([ROW[..., a:z].mean(-1) for a, z in zip(low, ends)], -1)
    got = b.run(resize.interpolate, ROW, m, mode="area")
    np.testing.assert_allclose(got, want, atol=1e-12)
    whole = np.arange(6).reshape(1, 1, 2, 3)
    got = b.run(resize.upsample, whole, scale_factor=2)
    np.testing.assert_array_equal(got, whole.repeat(2, 2).repeat(2, 3))


def test_coordinates_follow_the_factor_unless_recomputed(b: Fn) -> None:
    # 5 * 1.5 is 7 elements: a step of 1 / 1.5, or of 5 / 7 when recomputed.
    given = b.run(resize.interpolate, ROW, scale_factor=1.5, mode="linear")
    again = b.run(
        resize.interpolate, ROW, scale_factor=1.5, mode="linear", recompute_scale_factor=True
    )
    places = np.clip((np.arange(7) + 0.5) / 1.5 - 0.5, 0, N - 1)
    want = [[np.interp(places, np.arange(N), row) for row in plane] for plane in ROW]
    np.testing.assert_allclose(given, want, atol=1e-12)
    np.testing.assert_allclose(again, ROW @ matrix("linear", N, 7, False).T, atol=1e-12)


def test_gradients(b: Fn) -> None:
    x = spread((1, 2, 4, 5))
    for mode in ("nearest", "area", "bilinear", "bicubic"):
        b.check_gradient(lambda b, x, m=mode: resize.interpolate(b, x, (3, 8), mode=m), x)


@pytest.mark.parametrize(
    ("arguments", "error", "words"),
    [
        ({"mode": "cubic"}, InvalidValue, "'cubic'"),
        ({"mode": "bilinear", "size": 3}, ShapeError, r"\(2, 1, 5\)"),
        ({}, InvalidValue, "either size or scale_factor"),
        ({"size": 3, "scale_factor": 2}, InvalidValue, "either size or scale_factor"),
        ({"size": (3, 4)}, ShapeError, "one entry per axis"),
        ({"size": 0}, ShapeError, "at least 1"),
        ({"size": 3, "align_corners": True}, InvalidValue, "align_corners"),
        ({"size": 3, "mode": "linear", "antialias": True}, InvalidValue, "antialias"),
        ({"size": 3, "recompute_scale_factor": True}, InvalidValue, "recompute_scale_factor"),
    ],
)
def test_errors(b: Fn, arguments: Any, error: type[Exception], words: str) -> None:
    with pytest.raises(error, match=words):
        b.run(resize.interpolate, ROW, **arguments)


def test_integers_have_no_mean(b: Fn) -> None:
    with pytest.raises(DTypeError, match="int64"):
        b.run(resize.interpolate, np.arange(4).reshape(1, 1, 4), 2, mode="linear")
