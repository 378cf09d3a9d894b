"""Fractional max pooling beside Graham's windows, written with NumPy."""

from __future__ import annotations

from itertools import product
from typing import Any

import numpy as np
import pytest

import talweg as tw
import talweg.nn.functional as F
from talweg import nn
from talweg.base.errors import InvalidValue, ShapeError

RNG = np.random.default_rng(17)
POOLS: dict[int, Any] = {2: nn.FractionalMaxPool2d, 3: nn.FractionalMaxPool3d}
SIZES: dict[int, tuple[int, ...]] = {2: (9, 7), 3: (5, 8, 6)}


def starts(u: float, n: int, k: int, m: int) -> list[int]:
    """Where m windows of k elements begin on an axis of n: trunc(a (i + u)) - trunc(a u).

    Graham, "Fractional max-pooling" (2014): the last window ends with the axis.
    """
    if m == 1:
        return [n - k]
    a = (n - k) / (m - 1)
    return [int((i + u) * a) - int(u * a) for i in range(m - 1)] + [n - k]


def pooled(x: Any, samples: Any, kernel: Any, size: Any) -> tuple[Any, Any]:
    """The maxima of the windows, one at a time, and their places in the flattened axes."""
    axes = len(size)
    values = np.empty((*x.shape[:2], *size))
    places = np.empty((*x.shape[:2], *size), dtype=np.int64)
    for image in product(*map(range, x.shape[:2])):
        u = samples[image][::-1] if axes == 2 else samples[image]
        begin = [starts(*case) for case in zip(u.tolist(), x.shape[2:], kernel, size, strict=True)]
        for at in product(*map(range, size)):
            corner = [b[i] for b, i in zip(begin, at, strict=True)]
            window = tuple(slice(c, c + k) for c, k in zip(corner, kernel, strict=True))
            inside = np.unravel_index(x[image][window].argmax(), kernel)
            place = tuple(c + i for c, i in zip(corner, inside, strict=True))
            values[(*image, *at)] = x[image][place]
            places[(*image, *at)] = np.ravel_multi_index(place, x.shape[2:])
    return values, places


@pytest.mark.parametrize("axes", [2, 3])
@pytest.mark.parametrize("out", [1, 3, 4])
def test_windows_are_grahams(axes: int, out: int) -> None:
    x = RNG.standard_normal((2, 3, *SIZES[axes]))
    samples = RNG.random((2, 3, axes))
    kernel, size = (2, 3, 2)[:axes], (out, out, max(out - 1, 1))[:axes]
    layer = POOLS[axes](kernel, size, return_indices=True, _random_samples=tw.tensor(samples))
    values, places = layer(tw.tensor(x))
    expected, at = pooled(x, samples, kernel, size)
    np.testing.assert_array_equal(values.numpy(), expected)
    np.testing.assert_array_equal(places.numpy(), at)
    assert places.dtype == tw.int64


@pytest.mark.parametrize("axes", [2, 3])
def test_drawn_windows_give_elements_at_their_places(axes: int) -> None:
    tw.manual_seed(3)
    x = RNG.standard_normal((3, *SIZES[axes]))
    layer = POOLS[axes](2, output_ratio=0.6, return_indices=True)
    values, places = layer(tw.tensor(x))
    assert values.shape == (3, *(int(n * 0.6) for n in SIZES[axes]))
    flat, at = x.reshape(3, -1), places.numpy().reshape(3, -1)
    np.testing.assert_array_equal(np.take_along_axis(flat, at, 1), values.numpy().reshape(3, -1))
    # The last window ends with each axis, so nothing in the last corner is larger.
    corner = x[(slice(None), *(slice(-2, None),) * axes)].reshape(3, -1).max(1)
    np.testing.assert_array_equal(values.numpy().reshape(3, -1)[:, -1], corner)


@pytest.mark.parametrize("axes", [2, 3])
def test_gradients_go_to_the_maxima(axes: int) -> None:
    x = tw.tensor(RNG.standard_normal((1, 2, *SIZES[axes])), requires_grad=True)
    samples = tw.tensor(RNG.random((1, 2, axes)))
    layer = POOLS[axes](2, output_size=3, _random_samples=samples)
    assert tw.autograd.gradcheck(layer, (x,))


def test_sizes_that_do_not_fit_are_named() -> None:
    x = tw.ones(1, 1, 4, 4)
    with pytest.raises(InvalidValue, match="output_size or an output_ratio"):
        F.fractional_max_pool2d(x, 2)
    with pytest.raises(InvalidValue, match="only one"):
        nn.FractionalMaxPool2d(2, output_size=2, output_ratio=0.5)
    with pytest.raises(InvalidValue, match="between 0 and 1"):
        nn.FractionalMaxPool3d(2, output_ratio=1.5)
    with pytest.raises(ShapeError, match="do not fit"):
        F.fractional_max_pool2d(x, 2, output_size=4)
    with pytest.raises(ShapeError, match="dimensions"):
        F.fractional_max_pool3d(tw.ones(4, 4), 2, output_size=1)
