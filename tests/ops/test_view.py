"""Padding, joining and reversing at their edges."""

from __future__ import annotations

import numpy as np
import pytest

from talweg.base import dtypes
from talweg.base.errors import ShapeError


@pytest.mark.parametrize("n", [0, 1, 2, 4])
@pytest.mark.parametrize("low", [-3, -1, 0, 2])
@pytest.mark.parametrize("high", [-2, 0, 3])
@pytest.mark.parametrize("interior", [0, 2])
def test_pad_along_one_axis(b, n, low, high, interior):
    values = np.arange(1.0, n + 1)
    x, fill = b.constant(values), b.constant(np.array(9.0))
    size = n + max(n - 1, 0) * interior + low + high
    if size < 0:
        with pytest.raises(ShapeError, match="no valid shape"):
            b.pad(x, fill, (low,), (high,), (interior,))
        return
    out = b.pad(x, fill, (low,), (high,), (interior,))
    places = {low + i * (interior + 1): v for i, v in enumerate(values)}
    assert b.value(out).tolist() == [places.get(i, 9.0) for i in range(size)]
    kept = [float(0 <= i < size) for i in places]
    assert b.gradient(out, x, fill) == [kept, size - sum(kept)]


def test_pad_fill_has_the_dtype(b):
    x = b.constant(np.zeros(3))
    with pytest.raises(ShapeError, match=r"0-d of its dtype, got float32\[\]"):
        b.pad(x, b.scalar(0, dtypes.float32), (1,), (1,), (0,))
    with pytest.raises(ShapeError, match="per axis"):
        b.pad(x, b.scalar(0, dtypes.float64), (1, 0), (1, 0), (0, 0))


def test_concat_of_one_of_empty_and_of_misfits(b):
    x = b.constant(np.arange(6.0).reshape(2, 3))
    empty = b.constant(np.zeros((2, 0)))
    assert b.concat(x, axis=0).shape == (2, 3)
    assert b.concat(empty, x, empty, axis=1).shape == (2, 3)
    assert b.gradient(b.concat(x, x, empty, axis=1), x) == [[[2, 2, 2], [2, 2, 2]]]
    with pytest.raises(ShapeError, match=r"float64\[2,0\] does not fit float64\[2,3\]"):
        b.concat(x, empty, axis=0)
    with pytest.raises(ShapeError, match="at least one"):
        b.concat(axis=0)


def test_flip_and_its_axes(b):
    x = b.constant(np.arange(6).reshape(2, 3))
    assert b.value(b.flip(x, (1,))).tolist() == [[2, 1, 0], [5, 4, 3]]
    with pytest.raises(ShapeError, match=r"\(1, 0\)"):
        b.flip(x, (1, 0))
