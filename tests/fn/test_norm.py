"""Normalisations equal their definitions in NumPy, gradients equal finite differences."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from talweg.autodiff.reverse import vjp
from talweg.base.errors import DTypeError, InvalidValue, ShapeError
from talweg.fn import norm
from tests.fn.conftest import Fn, value_of

SHAPES = [(4, 6), (4, 6, 5), (3, 6, 2, 4)]


def draw(*shape: int) -> np.ndarray:
    return np.random.default_rng(sum(shape)).standard_normal(shape)


def standard(x: np.ndarray, axes: Any, eps: float = 1e-5) -> np.ndarray:
    mean, var = x.mean(axis=axes, keepdims=True), x.var(axis=axes, keepdims=True)
    return (x - mean) / np.sqrt(var + eps)


def channels(value: np.ndarray, x: np.ndarray) -> np.ndarray:
    return value.reshape(-1, *(1,) * (x.ndim - 2))


W, C, MEAN, VAR = draw(6) + 2, draw(6), draw(6) - 1, np.abs(draw(6)) + 0.5


@pytest.mark.parametrize("shape", SHAPES)
def test_batch_norm(b: Fn, shape: Any) -> None:
    x = draw(*shape)
    axes = (0, *range(2, x.ndim))
    trained = standard(x, axes) * channels(W, x) + channels(C, x)
    got = b.run(norm.batch_norm, x, MEAN, VAR, W, C, training=True)
    np.testing.assert_allclose(got, trained, atol=1e-12)
    fixed = (x - channels(MEAN, x)) / np.sqrt(channels(VAR, x) + 0.1)
    got = b.run(norm.batch_norm, x, MEAN, VAR, eps=0.1)
    np.testing.assert_allclose(got, fixed, atol=1e-12)
    got = b.run(norm.batch_norm, x, MEAN, VAR, W, C, eps=0.1)
    np.testing.assert_allclose(got, fixed * channels(W, x) + channels(C, x), atol=1e-12)
    y, mean, var = b.run(norm.batch_norm_update, x, MEAN, VAR, W, C, momentum=0.3)
    np.testing.assert_allclose(y, trained, atol=1e-12)
    np.testing.assert_allclose(mean, 0.7 * MEAN + 0.3 * x.mean(axes), atol=1e-12)
    np.testing.assert_allclose(var, 0.7 * VAR + 0.3 * x.var(axes, ddof=1), atol=1e-12)


@pytest.mark.parametrize("shape", SHAPES)
def test_layer_and_rms_norm(b: Fn, shape: Any) -> None:
    x = draw(*shape)
    for count in range(1, x.ndim):
        sizes, axes = shape[-count:], tuple(range(x.ndim - count, x.ndim))
        weight, bias = draw(*sizes), draw(*sizes) + 1
        want = standard(x, axes, 0.01) * weight + bias
        got = b.run(norm.layer_norm, x, sizes, weight, bias, 0.01)
        np.testing.assert_allclose(got, want, atol=1e-12)
        root = np.sqrt((x**2).mean(axes, keepdims=True) + 0.01)
        got = b.run(norm.rms_norm, x, sizes, weight, 0.01)
        np.testing.assert_allclose(got, x / root * weight, atol=1e-12)
    root = np.sqrt((x**2).mean(-1, keepdims=True) + np.finfo(float).eps)
    np.testing.assert_allclose(b.run(norm.rms_norm, x, shape[-1]), x / root, atol=1e-12)


@pytest.mark.parametrize("shape", SHAPES)
def test_group_and_instance_norm(b: Fn, shape: Any) -> None:
    x = draw(*shape)
    grouped = standard(x.reshape(shape[0], 3, -1), 2).reshape(shape)
    want = grouped * channels(W, x) + channels(C, x)
    np.testing.assert_allclose(b.run(norm.group_norm, x, 3, W, C), want, atol=1e-12)
    if x.ndim > 2:
        want = standard(x, tuple(range(2, x.ndim))) * channels(W, x) + channels(C, x)
        got = b.run(norm.instance_norm, x, weight=b.node(W), bias=b.node(C))
        np.testing.assert_allclose(got, want, atol=1e-12)
        got = b.run(norm.instance_norm, x, MEAN, VAR, use_input_stats=False)
        want = (x - channels(MEAN, x)) / np.sqrt(channels(VAR, x) + 1e-5)
        np.testing.assert_allclose(got, want, atol=1e-12)


@pytest.mark.parametrize("size", [1, 2, 3, 4])
def test_local_response_norm(b: Fn, size: int) -> None:
    x = draw(2, 6, 3)
    want = np.zeros_like(x)
    for c in range(6):
        part = x[:, max(0, c - size // 2) : c + (size - 1) // 2 + 1]
        want[:, c] = x[:, c] / (2.0 + 0.1 * (part**2).sum(1) / size) ** 0.6
    got = b.run(norm.local_response_norm, x, size, 0.1, 0.6, 2.0)
    np.testing.assert_allclose(got, want, atol=1e-12)


@pytest.mark.parametrize("p", [1, 2.0, 3.0, float("inf")])
def test_normalize(b: Fn, p: float) -> None:
    x = draw(3, 4, 2)
    want = x / np.linalg.norm(x, p, axis=1, keepdims=True)
    np.testing.assert_allclose(b.run(norm.normalize, x, p), want, atol=1e-12)
    b.check_gradient(lambda b, x: norm.normalize(b, x, p), x)
    zero = b.constant(np.zeros((1, 2)))
    y = norm.normalize(b, zero, p, eps=0.5)
    (grad,) = vjp(b, [y], [zero], [b.constant(np.array([[1.0, 2.0]]))])
    np.testing.assert_array_equal(value_of(y), [[0, 0]])
    np.testing.assert_array_equal(value_of(grad), [[2, 4]])


def test_gradients(b: Fn) -> None:
    x = draw(3, 4, 5)
    w, c = draw(4) + 2, draw(4)
    b.check_gradient(lambda b, x, w, c: norm.batch_norm(b, x, None, None, w, c, True), x, w, c)
    b.check_gradient(norm.batch_norm, x, draw(4), np.abs(draw(4)) + 0.5)
    b.check_gradient(lambda b, x, w, c: norm.group_norm(b, x, 2, w, c), x, w, c)
    b.check_gradient(lambda b, x, w, c: norm.layer_norm(b, x, 5, w, c), x, draw(5), draw(5))
    b.check_gradient(lambda b, x, w: norm.rms_norm(b, x, 5, w), x, draw(5))
    b.check_gradient(norm.instance_norm, x)
    b.check_gradient(lambda b, x: norm.local_response_norm(b, x, 3), x)


def test_half_statistics_are_taken_in_float32(b: Fn) -> None:
    x = (draw(2, 3000) * 40 + 100).astype(np.float16)
    wide = standard(x.astype(np.float64), 1)
    got = b.run(norm.layer_norm, x, 3000)
    assert got.dtype == np.float16
    np.testing.assert_allclose(got, wide, rtol=1e-3, atol=1e-3)
    weight = draw(3000).astype(np.float32)
    assert b.run(norm.layer_norm, x, 3000, weight).dtype == np.float16


@pytest.mark.parametrize(
    ("function", "arguments", "error", "words"),
    [
        (norm.batch_norm, (draw(1, 3), None, None, None, None, True), ShapeError, r"more than 1"),
        (norm.batch_norm, (draw(2, 3), None, None), InvalidValue, "running_mean"),
        (norm.batch_norm, (draw(2, 3), draw(4), draw(4)), ShapeError, r"\(2, 3\).*\(4,\)"),
        (norm.batch_norm, (draw(3), None, None, None, None, True), ShapeError, r"\(3,\)"),
        (norm.batch_norm, (np.ones((2, 3), int), None, None, None, None, True), DTypeError, "int"),
        (norm.layer_norm, (draw(2, 3), (2,)), ShapeError, r"\(2, 3\).*\(2,\)"),
        (norm.layer_norm, (draw(2, 3), (3,), draw(2)), ShapeError, r"\(3,\).*\(2,\)"),
        (norm.group_norm, (draw(2, 6), 4), ShapeError, "4 groups"),
        (norm.instance_norm, (draw(2, 6, 1),), ShapeError, r"\(2, 6, 1\)"),
        (norm.normalize, (draw(2, 6), -1), InvalidValue, "above 0"),
    ],
)
def test_errors_name_shapes(
    b: Fn, function: Any, arguments: Any, error: type[Exception], words: str
) -> None:
    with pytest.raises(error, match=words):
        b.run(function, *arguments)
