"""Activations equal their formulas in NumPy, stay finite far out, and have exact gradients."""

from __future__ import annotations

import math as python_math
from typing import Any

import numpy as np
import pytest

from talweg.base import dtypes
from talweg.base.errors import DTypeError, InvalidValue, ShapeError
from talweg.fn import activation

from .conftest import Fn, spread

X = spread((3, 4))
FAR = np.array([-1000.0, -100.0, -30.0, 30.0, 100.0, 1000.0])


def sigmoid(x: np.ndarray) -> np.ndarray:
    return 1 / (1 + np.exp(-x))


def softplus(x: np.ndarray) -> np.ndarray:
    return np.log1p(np.exp(x))


def phi(x: np.ndarray) -> np.ndarray:
    return np.vectorize(lambda v: (1 + python_math.erf(v / 2**0.5)) / 2)(x)


def bent(x: np.ndarray, below: np.ndarray) -> np.ndarray:
    return np.where(x > 0, x, below)


FORMULAS: list[tuple[str, dict[str, Any], Any]] = [
    ("relu6", {}, lambda x: np.clip(x, 0, 6)),
    ("hardtanh", {"min_val": -0.23, "max_val": 0.41}, lambda x: np.clip(x, -0.23, 0.41)),
    ("elu", {"alpha": 0.7}, lambda x: bent(x, 0.7 * np.expm1(x))),
    ("selu", {}, lambda x: 1.0507009873554805 * bent(x, 1.6732632423543772 * np.expm1(x))),
    ("celu", {"alpha": 0.7}, lambda x: bent(x, 0.7 * np.expm1(x / 0.7))),
    ("gelu", {}, lambda x: x * phi(x)),
    (
        "gelu",
        {"approximate": "tanh"},
        lambda x: x / 2 * (1 + np.tanh((2 / np.pi) ** 0.5 * (x + 0.044715 * x**3))),
    ),
    ("silu", {}, lambda x: x * sigmoid(x)),
    ("mish", {}, lambda x: x * np.tanh(softplus(x))),
    ("hardsigmoid", {}, lambda x: np.clip(x + 3, 0, 6) / 6),
    ("hardswish", {}, lambda x: x * np.clip(x + 3, 0, 6) / 6),
    ("leaky_relu", {"negative_slope": 0.2}, lambda x: bent(x, 0.2 * x)),
    ("softplus", {"beta": 2.0}, lambda x: softplus(2 * x) / 2),
    ("logsigmoid", {}, lambda x: np.log(sigmoid(x))),
    ("softsign", {}, lambda x: x / (1 + np.abs(x))),
    ("softshrink", {"lambd": 0.23}, lambda x: np.sign(x) * np.maximum(np.abs(x) - 0.23, 0)),
    ("hardshrink", {"lambd": 0.23}, lambda x: x * (np.abs(x) > 0.23)),
    ("tanhshrink", {}, lambda x: x - np.tanh(x)),
    ("threshold", {"threshold": 0.12, "value": 9.0}, lambda x: np.where(x > 0.12, x, 9.0)),
    ("rrelu", {"lower": 0.1, "upper": 0.3}, lambda x: bent(x, 0.2 * x)),
]
NAMES = [f"{name}{options or ''}" for name, options, _ in FORMULAS]


@pytest.mark.parametrize(("name", "options", "formula"), FORMULAS, ids=NAMES)
def test_formula_and_gradient(b: Fn, name: str, options: dict[str, Any], formula: Any) -> None:
    function = getattr(activation, name)
    np.testing.assert_allclose(b.run(function, X, **options), formula(X), rtol=1e-12, atol=1e-15)
    b.check_gradient(lambda b, x: function(b, x, **options), X)


@pytest.mark.parametrize("name", sorted({name for name, _, _ in FORMULAS} - {"threshold"}))
def test_far_out_values_and_gradients_are_finite(b: Fn, name: str) -> None:
    function = getattr(activation, name)
    assert np.isfinite(b.run(function, FAR)).all()
    b.check_gradient(function, FAR, step=1e-4)


def test_nan_stays_nan_and_float32_stays_float32(b: Fn) -> None:
    x = np.array([np.nan, 1.0], np.float32)
    for name, options, _ in FORMULAS:
        y = b.run(getattr(activation, name), x, **options)
        assert np.isnan(y[0]), name
        assert y.dtype == np.float32, name


@pytest.mark.parametrize(
    ("name", "at", "slope"),
    [
        ("relu6", 0.0, 0.0),
        ("relu6", 6.0, 0.0),
        ("hardtanh", 1.0, 0.0),
        ("elu", 0.0, 1.0),
        ("celu", 0.0, 1.0),
        ("leaky_relu", 0.0, 0.01),
        ("softplus", 0.0, 0.5),
        ("logsigmoid", 0.0, 0.5),
        ("hardsigmoid", -3.0, 0.0),
        ("softshrink", 0.5, 0.0),
        ("hardshrink", 0.5, 0.0),
    ],
)
def test_the_convention_at_a_kink(b: Fn, name: str, at: float, slope: float) -> None:
    x = b.constant(np.array(at))
    (grad,) = b.gradients(getattr(activation, name)(b, x), [x])
    assert grad == slope


def test_softplus_is_the_line_beyond_its_threshold(b: Fn) -> None:
    x = np.array([10.5, 9.5])
    found = b.run(activation.softplus, x, beta=2.0, threshold=20.0)
    np.testing.assert_array_equal(found, [10.5, softplus(np.array(19.0)) / 2])


@pytest.mark.parametrize("dim", [0, 1, -1])
def test_softmax_family(b: Fn, dim: int) -> None:
    x = spread((3, 4, 2)) * 5
    powers = np.exp(x - x.max(dim, keepdims=True))
    expected = powers / powers.sum(dim, keepdims=True)
    np.testing.assert_allclose(b.run(activation.softmax, x, dim), expected, rtol=1e-12)
    np.testing.assert_allclose(b.run(activation.softmin, -x, dim), expected, rtol=1e-12)
    np.testing.assert_allclose(b.run(activation.log_softmax, x, dim), np.log(expected), rtol=1e-10)
    for f in (activation.softmax, activation.softmin, activation.log_softmax):
        b.check_gradient(lambda b, x, f=f: f(b, x, dim), x)


def test_softmax_of_far_values_of_nothing_and_of_one_number(b: Fn) -> None:
    x = np.array([[1e30, -1e30], [-1e30, -1e30]])
    np.testing.assert_array_equal(b.run(activation.softmax, x, 1), [[1, 0], [0.5, 0.5]])
    found = b.run(activation.log_softmax, np.array([0.0, -np.inf]), 0)
    np.testing.assert_array_equal(found, [0, -np.inf])
    assert b.run(activation.softmax, np.zeros((3, 0)), 1).shape == (3, 0)
    assert b.run(activation.softmax, np.array(1000.0), 0) == 1
    assert b.run(activation.log_softmax, np.array(1000.0), 0) == 0


def test_softmax_without_a_dimension_takes_pytorchs_choice(b: Fn) -> None:
    for shape, axis in (((4,), 0), ((3, 4), 1), ((2, 3, 4), 0), ((2, 3, 4, 5), 1)):
        total = b.run(activation.softmax, spread(shape)).sum(axis)
        np.testing.assert_allclose(total, np.ones_like(total), rtol=1e-12)


def test_softmax_in_another_dtype(b: Fn) -> None:
    x = np.array([1, 2, 3])
    found = b.run(activation.softmax, x, 0, dtypes.float64)
    np.testing.assert_allclose(found, np.exp(x) / np.exp(x).sum())
    with pytest.raises(DTypeError, match="int64"):
        b.run(activation.softmax, x, 0)


@pytest.mark.parametrize("shape", [(1,), (4,)])
def test_prelu_has_one_weight_or_one_per_channel(b: Fn, shape: tuple[int, ...]) -> None:
    x, weight = spread((3, 4, 2)), spread(shape)
    column = weight.reshape(-1, 1)
    np.testing.assert_allclose(b.run(activation.prelu, x, weight), bent(x, x * column))
    b.check_gradient(activation.prelu, x, weight)


def test_prelu_names_the_shapes(b: Fn) -> None:
    with pytest.raises(ShapeError, match=r"\(3, 4, 2\).*\(3,\)"):
        b.run(activation.prelu, spread((3, 4, 2)), spread((3,)))


def test_rrelu_takes_slopes_from_the_noise(b: Fn) -> None:
    noise = np.linspace(0, 0.99, 12).reshape(3, 4)
    found = b.run(activation.rrelu, X, 0.1, 0.3, True, noise)
    np.testing.assert_allclose(found, bent(X, X * (0.1 + 0.2 * noise)))


def test_glu_gates_one_half_by_the_other(b: Fn) -> None:
    x = spread((3, 4))
    np.testing.assert_allclose(b.run(activation.glu, x), x[:, :2] * sigmoid(x[:, 2:]))
    b.check_gradient(activation.glu, x)
    with pytest.raises(ShapeError, match=r"\(3, 4\).*even"):
        b.run(activation.glu, x, 0)


def test_gumbel_softmax_hard_samples_have_the_soft_gradient(b: Fn) -> None:
    noise = spread((3, 4), seed=3) * 1.37
    soft = b.run(activation.gumbel_softmax, X, noise, 0.5)
    powers = np.exp((X + noise) / 0.5)
    np.testing.assert_allclose(soft, powers / powers.sum(1, keepdims=True))
    hard = b.run(activation.gumbel_softmax, X, noise, 0.5, True)
    np.testing.assert_allclose(hard, soft == soft.max(1, keepdims=True), atol=1e-15)
    x, n, weight = b.constant(X), b.constant(noise), b.constant(spread((3, 4), seed=5))
    both = [b.mul(activation.gumbel_softmax(b, x, n, 0.5, h), weight) for h in (False, True)]
    soft_grad, hard_grad = (b.gradients(y, [x])[0] for y in both)
    np.testing.assert_allclose(hard_grad, soft_grad)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda b, x: activation.gelu(b, x, "exact"), "'exact'"),
        (lambda b, x: activation.hardtanh(b, x, 2.0, 1.0), "min_val 2.0 exceeds max_val 1.0"),
        (lambda b, x: activation.celu(b, x, 0.0), "alpha"),
        (lambda b, x: activation.softshrink(b, x, -1.0), "-1.0"),
        (lambda b, x: activation.rrelu(b, x, 0.5, 0.1), "0.5 exceeds upper 0.1"),
    ],
)
def test_wrong_options(b: Fn, call: Any, message: str) -> None:
    with pytest.raises(InvalidValue, match=message):
        b.run(call, X)
