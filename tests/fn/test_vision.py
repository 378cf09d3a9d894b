"""Padding, patches and shuffles equal NumPy and loops."""

from __future__ import annotations

from itertools import product
from typing import Any

import numpy as np
import pytest

from talweg.base.errors import InvalidValue, ShapeError
from talweg.fn import vision
from tests.fn.conftest import Fn, spread

X = spread((2, 3, 5, 6))
MODES = {"constant": "constant", "reflect": "reflect", "replicate": "edge", "circular": "wrap"}


@pytest.mark.parametrize("mode", MODES)
def test_pad_equals_numpy(b: Fn, mode: str) -> None:
    for pads in ([1, 2], [0, 3, 2, 0], [1, 1, 2, 3], [0, 0], []):
        widths = [(0, 0)] * (4 - len(pads) // 2)
        widths += [(pads[i], pads[i + 1]) for i in range(len(pads) - 2, -1, -2)]
        want = np.pad(X, widths, mode=MODES[mode])  # type: ignore[call-overload]
        np.testing.assert_array_equal(b.run(vision.pad, X, pads, mode), want)


def test_pad_values_and_negative_numbers(b: Fn) -> None:
    row = np.array([[1, 2, 3, 4, 5]])
    for mode, want in {
        "constant": [[2, 3, 4, 5, 9, 9]],
        "reflect": [[2, 3, 4, 5, 4, 3]],
        "replicate": [[2, 3, 4, 5, 5, 5]],
        "circular": [[2, 3, 4, 5, 2, 3]],
    }.items():
        value = 9 if mode == "constant" else None
        np.testing.assert_array_equal(b.run(vision.pad, row, (-1, 2), mode, value), want)


def columns(x: np.ndarray, k: Any, d: Any, p: Any, s: Any) -> np.ndarray:
    """Every window of every image, flattened, one after the other."""
    x = np.pad(x, [(0, 0), (0, 0), (p[0], p[0]), (p[1], p[1])])
    reach = [n - e * (m - 1) for n, m, e in zip(x.shape[2:], k, d)]
    out = []
    for i, j in product(range(0, reach[0], s[0]), range(0, reach[1], s[1])):
        window = x[:, :, i : i + d[0] * (k[0] - 1) + 1 : d[0], j : j + d[1] * (k[1] - 1) + 1 : d[1]]
        out.append(window.reshape(len(x), -1))
    return np.stack(out, -1)


@pytest.mark.parametrize(
    "how",
    [
        ((2, 2), (1, 1), (0, 0), (1, 1)),
        ((3, 2), (1, 2), (1, 0), (2, 1)),
        ((2, 3), (2, 1), (1, 2), (1, 3)),
    ],
)
def test_unfold_equals_loops_and_fold_is_its_adjoint(b: Fn, how: Any) -> None:
    want = columns(X, *how)
    np.testing.assert_array_equal(b.run(vision.unfold, X, *how), want)
    np.testing.assert_array_equal(b.run(vision.unfold, X[0], *how), want[0])
    y = np.random.default_rng(1).standard_normal(want.shape)
    back = b.run(vision.fold, y, X.shape[2:], *how)
    assert back.shape == X.shape
    np.testing.assert_allclose(np.sum(back * X), np.sum(want * y))
    np.testing.assert_allclose(b.run(vision.fold, y[0], X.shape[2:], *how), back[0])


def test_shuffles_equal_loops(b: Fn) -> None:
    r = 2
    x = spread((2, 3, 8, 2, 3))
    want = np.zeros((2, 3, 2, 4, 6))
    for c, i, j in np.ndindex(2, 4, 6):
        want[:, :, c, i, j] = x[:, :, c * r * r + (i % r) * r + j % r, i // r, j // r]
    np.testing.assert_array_equal(b.run(vision.pixel_shuffle, x, r), want)
    np.testing.assert_array_equal(b.run(vision.pixel_unshuffle, want, r), x)
    x = spread((2, 6, 2))
    want = np.stack([x[:, c % 3 * 2 + c // 3] for c in range(6)], 1)
    np.testing.assert_array_equal(b.run(vision.channel_shuffle, x, 3), want)


def test_gradients(b: Fn) -> None:
    for mode in MODES:
        b.check_gradient(lambda b, x, m=mode: vision.pad(b, x, (2, 1, -1, 3), m), X)
    b.check_gradient(lambda b, x: vision.unfold(b, x, 2, 1, 1, 2), X)
    b.check_gradient(lambda b, x: vision.fold(b, x, (4, 4), 2, 1, 1, 2), spread((1, 8, 9)))


@pytest.mark.parametrize(
    ("function", "arguments", "error", "words"),
    [
        (vision.pad, (X, (1, 2, 3)), ShapeError, "pair"),
        (vision.pad, (X, (6, 0), "reflect"), ShapeError, r"reflect.*at most 5"),
        (vision.pad, (X, (0, 7), "circular"), ShapeError, r"circular.*at most 6"),
        (vision.pad, (X, (-4, -4), "circular"), ShapeError, "removes more"),
        (vision.pad, (X, (1, 1), "mirror"), InvalidValue, "mirror"),
        (vision.pad, (X, (1, 1), "reflect", 3), InvalidValue, "no value"),
        (vision.unfold, (X[0, 0], 2), ShapeError, r"\(5, 6\)"),
        (vision.unfold, (X, 7), ShapeError, r"\(7, 7\).*\(5, 6\)"),
        (vision.fold, (spread((1, 8, 5)), (4, 4), 2), ShapeError, r"9 windows.*\(1, 8, 5\)"),
        (vision.pixel_shuffle, (X, 2), ShapeError, r"\(2, 3, 5, 6\)"),
        (vision.pixel_unshuffle, (X, 2), ShapeError, r"\(2, 3, 5, 6\)"),
        (vision.channel_shuffle, (X, 2), ShapeError, r"\(2, 3, 5, 6\)"),
    ],
)
def test_errors_name_shapes(
    b: Fn, function: Any, arguments: Any, error: type[Exception], words: str
) -> None:
    with pytest.raises(error, match=words):
        b.run(function, *arguments)
