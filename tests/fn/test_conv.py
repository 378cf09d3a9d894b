"""Convolutions equal loops over every window, and their gradients finite differences."""

from __future__ import annotations

from itertools import product
from typing import Any

import numpy as np
import pytest

from talweg.base import dtypes
from talweg.base.errors import DTypeError, InvalidValue, ShapeError
from talweg.fn import conv
from tests.fn.conftest import Fn

CONV = {1: conv.conv1d, 2: conv.conv2d, 3: conv.conv3d}
TRANSPOSED = {1: conv.conv_transpose1d, 2: conv.conv_transpose2d, 3: conv.conv_transpose3d}


def draw(*shape: int) -> np.ndarray:
    return np.random.default_rng(sum(shape)).standard_normal(shape)


def spread(value: Any, axes: int) -> tuple[int, ...]:
    return (value,) * axes if isinstance(value, int) else value


def loops(
    x: np.ndarray, w: np.ndarray, stride: Any, pads: Any, dilation: Any, groups: int
) -> np.ndarray:
    """The definition, one product at a time per output element and kernel element."""
    axes = x.ndim - 2
    stride, dilation = spread(stride, axes), spread(dilation, axes)
    x = np.pad(x, [(0, 0), (0, 0), *pads])
    sizes = [
        (n - d * (k - 1) - 1) // s + 1
        for n, k, s, d in zip(x.shape[2:], w.shape[2:], stride, dilation)
    ]
    out = np.zeros((len(x), len(w), *sizes))
    per_in, per_out = w.shape[1], len(w) // groups
    for n, o, p in product(range(len(x)), range(len(w)), np.ndindex(*sizes)):
        first = o // per_out * per_in
        for c, k in product(range(per_in), np.ndindex(*w.shape[2:])):
            at = tuple(i * s + j * d for i, j, s, d in zip(p, k, stride, dilation))
            out[(n, o, *p)] += x[(n, first + c, *at)] * w[(o, c, *k)]
    return out


def transposed_loops(
    x: np.ndarray, w: np.ndarray, stride: Any, cut: Any, extra: Any, groups: int, dilation: Any
) -> np.ndarray:
    """Every element of x added to its places in an output that is then cut at both ends."""
    axes = x.ndim - 2
    stride, cut, extra = spread(stride, axes), spread(cut, axes), spread(extra, axes)
    dilation = spread(dilation, axes)
    full = [
        (n - 1) * s + d * (k - 1) + 1 + e
        for n, k, s, d, e in zip(x.shape[2:], w.shape[2:], stride, dilation, extra)
    ]
    out = np.zeros((len(x), w.shape[1] * groups, *full))
    per_in = len(w) // groups
    for n, c, p in product(range(len(x)), range(len(w)), np.ndindex(*x.shape[2:])):
        first = c // per_in * w.shape[1]
        for o, k in product(range(w.shape[1]), np.ndindex(*w.shape[2:])):
            at = tuple(i * s + j * d for i, j, s, d in zip(p, k, stride, dilation))
            out[(n, first + o, *at)] += x[(n, c, *p)] * w[(c, o, *k)]
    inside = [slice(p, n - p) for p, n in zip(cut, full)]
    return out[(slice(None), slice(None), *inside)]


@pytest.mark.parametrize(
    ("x", "w", "stride", "padding", "dilation", "groups"),
    [
        ((2, 3, 7), (4, 3, 3), 1, 0, 1, 1),
        ((2, 4, 9), (6, 2, 3), 2, 1, 2, 2),
        ((2, 3, 5, 6), (4, 3, 3, 2), (2, 1), (1, 0), (1, 2), 1),
        ((2, 4, 5, 5), (4, 1, 3, 3), 1, 1, 1, 4),
        ((1, 2, 4, 20), (3, 2, 2, 3), 1, 0, 1, 1),
        ((1, 2, 3, 4, 4), (2, 2, 2, 3, 1), (1, 2, 3), (1, 1, 0), 1, 1),
        ((0, 3, 5), (2, 3, 3), 1, 0, 1, 1),
    ],
)
def test_conv_equals_loops(
    b: Fn, x: Any, w: Any, stride: Any, padding: Any, dilation: Any, groups: int
) -> None:
    values, weight, bias = draw(*x), draw(*w), draw(w[0])
    function = CONV[len(x) - 2]
    pads = [(p, p) for p in spread(padding, len(x) - 2)]
    want = loops(values, weight, stride, pads, dilation, groups)
    want += bias.reshape(-1, *(1,) * (len(x) - 2))
    got = b.run(function, values, weight, bias, stride, padding, dilation, groups)
    np.testing.assert_allclose(got, want, atol=1e-12)
    if len(values):
        alone = b.run(function, values[0], weight, bias, stride, padding, dilation, groups)
        np.testing.assert_allclose(alone, want[0], atol=1e-12)


@pytest.mark.parametrize(("kernel", "dilation"), [(3, 1), (4, 1), (2, 3)])
def test_same_padding_keeps_sizes_and_puts_the_odd_zero_behind(
    b: Fn, kernel: int, dilation: int
) -> None:
    x, w = draw(1, 2, 8), draw(3, 2, kernel)
    total = dilation * (kernel - 1)
    want = loops(x, w, 1, [(total // 2, total - total // 2)], dilation, 1)
    got = b.run(conv.conv1d, x, w, padding="same", dilation=dilation)
    assert got.shape == (1, 3, 8)
    np.testing.assert_allclose(got, want, atol=1e-12)
    valid = b.run(conv.conv1d, x, w, padding="valid", dilation=dilation)
    np.testing.assert_allclose(valid, loops(x, w, 1, [(0, 0)], dilation, 1), atol=1e-12)


@pytest.mark.parametrize(
    ("x", "w", "stride", "cut", "extra", "groups", "dilation"),
    [
        ((2, 3, 4), (3, 2, 3), 1, 0, 0, 1, 1),
        ((2, 4, 4), (4, 3, 3), 3, 1, 2, 2, 2),
        ((1, 2, 3), (2, 2, 2), 1, 0, 1, 1, 2),
        ((1, 2, 3), (2, 2, 2), 1, 1, 2, 1, 3),
        ((1, 2, 3), (2, 2, 2), 2, 0, 3, 1, 4),
        ((2, 3, 3, 4), (3, 2, 2, 3), (2, 1), (0, 1), (1, 0), 1, 1),
        ((1, 2, 2, 2, 3), (2, 1, 2, 2, 2), 2, 1, 1, 2, 1),
    ],
)
def test_conv_transpose_equals_loops(
    b: Fn, x: Any, w: Any, stride: Any, cut: Any, extra: Any, groups: int, dilation: Any
) -> None:
    values, weight, bias = draw(*x), draw(*w), draw(w[1] * groups)
    function = TRANSPOSED[len(x) - 2]
    want = transposed_loops(values, weight, stride, cut, extra, groups, dilation)
    want += bias.reshape(-1, *(1,) * (len(x) - 2))
    got = b.run(function, values, weight, bias, stride, cut, extra, groups, dilation)
    np.testing.assert_allclose(got, want, atol=1e-12)
    alone = b.run(function, values[0], weight, bias, stride, cut, extra, groups, dilation)
    np.testing.assert_allclose(alone, want[0], atol=1e-12)


def test_gradients(b: Fn) -> None:
    b.check_gradient(
        lambda b, x, w, c: conv.conv2d(b, x, w, c, (2, 1), 1, 1, 2),
        draw(2, 4, 5, 4),
        draw(4, 2, 3, 2),
        draw(4),
    )
    b.check_gradient(
        lambda b, x, w, c: conv.conv_transpose2d(b, x, w, c, 2, 1, 1),
        draw(2, 3, 3, 2),
        draw(3, 2, 3, 3),
        draw(2),
    )


def test_half_types_accumulate_in_float32(b: Fn) -> None:
    x = b.constant(np.full((1, 4096, 1), 1.0), dtypes.float16)
    w = b.constant(np.full((1, 4096, 1), 1.0), dtypes.float16)
    assert b.run(lambda b: conv.conv1d(b, x, w)).item() == 4096


@pytest.mark.parametrize(
    ("function", "arguments", "error", "words"),
    [
        (conv.conv2d, (draw(1, 3, 8, 8), draw(4, 2, 3, 3)), ShapeError, r"\(1, 3, 8, 8\).*\(4, 2"),
        (conv.conv2d, (draw(3, 8), draw(4, 3, 3, 3)), ShapeError, r"\(3, 8\)"),
        (conv.conv2d, (draw(3, 8, 8), draw(4, 3, 3)), ShapeError, r"weight.*\(4, 3, 3\)"),
        (conv.conv1d, (draw(1, 1, 2), draw(1, 1, 3)), ShapeError, r"\(3,\).*larger.*\(1, 1, 2\)"),
        (conv.conv1d, (draw(1, 1, 5), draw(2, 1, 3), draw(3)), ShapeError, r"bias.*\(2,\).*\(3,\)"),
        (conv.conv1d, (draw(1, 4, 5), draw(3, 2, 3), None, 1, 0, 1, 2), ShapeError, "groups=2"),
        (conv.conv1d, (draw(1, 1, 5), draw(1, 1, 3), None, 2, "same"), InvalidValue, "stride 1"),
        (conv.conv1d, (draw(1, 1, 5), draw(1, 1, 3), None, 0), InvalidValue, "stride"),
        (conv.conv1d, (draw(1, 1, 5), draw(1, 1, 3), None, (1, 2)), ShapeError, "stride"),
        (conv.conv1d, (draw(1, 1, 5), draw(1, 1, 3).astype("f")), DTypeError, "float64.*float32"),
        (conv.conv_transpose1d, (draw(1, 3, 4), draw(2, 3, 3)), ShapeError, r"\(2, 3, 3\).*\(1, 3"),
        (
            conv.conv_transpose1d,
            (draw(1, 1, 4), draw(1, 1, 3), None, 2, 0, 2),
            InvalidValue,
            "output_padding",
        ),
        (
            conv.conv_transpose1d,
            (draw(1, 1, 1), draw(1, 1, 2), None, 1, 1),
            ShapeError,
            r"no output",
        ),
    ],
)
def test_errors_name_shapes(
    b: Fn, function: Any, arguments: Any, error: type[Exception], words: str
) -> None:
    with pytest.raises(error, match=words):
        b.run(function, *arguments)
