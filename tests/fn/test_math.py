"""Elementwise functions equal NumPy in value, and central differences in gradient."""

from __future__ import annotations

import math as python_math
from typing import Any

import numpy as np
import pytest

from talweg.autodiff.reverse import vjp
from talweg.base.errors import DTypeError, InvalidValue, ShapeError
from talweg.fn import elementary, logic, math

from .conftest import spread, value_of

X = spread((3, 4))
Y = spread((3, 4), seed=1) + 0.02
UNIT = spread((3, 4)) / 0.65  # within (-1, 1)
POSITIVE = spread((3, 4)) + 0.8
COUNTS = np.arange(-6, 6).reshape(3, 4)
ODD = np.array([np.nan, np.inf, -np.inf, 0.0, -0.0, 1.5])

UNARY: list[tuple[Any, Any, np.ndarray]] = [
    (math.square, np.square, X),
    (math.reciprocal, np.reciprocal, X),
    (math.neg, np.negative, X),
    (math.abs, np.abs, X),
    (math.relu, lambda x: np.maximum(x, 0), X),
    (math.frac, lambda x: x - np.trunc(x), X),
    (elementary.sqrt, np.sqrt, POSITIVE),
    (elementary.rsqrt, lambda x: 1 / np.sqrt(x), POSITIVE),
    (elementary.exp, np.exp, X),
    (elementary.exp2, np.exp2, X),
    (elementary.expm1, np.expm1, X),
    (elementary.log, np.log, POSITIVE),
    (elementary.log2, np.log2, POSITIVE),
    (elementary.log10, np.log10, POSITIVE),
    (elementary.log1p, np.log1p, POSITIVE),
    (elementary.sin, np.sin, X),
    (elementary.cos, np.cos, X),
    (elementary.tan, np.tan, X),
    (elementary.asin, np.arcsin, UNIT * 0.9),
    (elementary.acos, np.arccos, UNIT * 0.9),
    (elementary.atan, np.arctan, X),
    (elementary.sinh, np.sinh, X),
    (elementary.cosh, np.cosh, X),
    (elementary.tanh, np.tanh, X),
    (elementary.asinh, np.arcsinh, X),
    (elementary.acosh, np.arccosh, POSITIVE + 1),
    (elementary.atanh, np.arctanh, UNIT * 0.9),
    (elementary.sigmoid, lambda x: 1 / (1 + np.exp(-x)), X),
    (elementary.erf, np.vectorize(python_math.erf), X),
    (elementary.erfc, np.vectorize(python_math.erfc), X),
    (elementary.lgamma, np.vectorize(python_math.lgamma), POSITIVE),
    (elementary.logit, lambda x: np.log(x / (1 - x)), (UNIT + 1.02) / 2.1),
    (elementary.sinc, np.sinc, X),
    (elementary.deg2rad, np.deg2rad, X),
    (elementary.rad2deg, np.rad2deg, X),
]

BINARY: list[tuple[Any, Any, np.ndarray, np.ndarray]] = [
    (math.add, np.add, X, Y),
    (math.sub, np.subtract, X, Y),
    (math.rsub, lambda x, y: y - x, X, Y),
    (math.mul, np.multiply, X, Y),
    (math.div, np.divide, X, Y),
    (math.fmod, np.fmod, X, Y),
    (math.remainder, np.remainder, X, Y),
    (math.pow, np.power, POSITIVE, Y),
    (math.maximum, np.maximum, X, Y),
    (math.minimum, np.minimum, X, Y),
    (math.fmax, np.fmax, X, Y),
    (math.fmin, np.fmin, X, Y),
    (math.copysign, np.copysign, X, Y),
    (math.float_power, np.float_power, POSITIVE, Y),
    (elementary.xlogy, lambda x, y: x * np.log(y), X, POSITIVE),
    (elementary.logaddexp, np.logaddexp, X, Y),
    (elementary.logaddexp2, np.logaddexp2, X, Y),
    (elementary.hypot, np.hypot, X, Y),
    (elementary.atan2, np.arctan2, X, Y),
    (elementary.ldexp, lambda x, y: x * 2.0**y, X, Y),
]


def name(value: Any) -> str | None:
    return getattr(value, "__name__", "") if callable(value) else ""


@pytest.mark.parametrize(("function", "oracle", "x"), UNARY, ids=name)
def test_unary(b: Any, function: Any, oracle: Any, x: np.ndarray) -> None:
    np.testing.assert_allclose(b.run(function, x), oracle(x), rtol=1e-12)
    b.check_gradient(function, x)


@pytest.mark.parametrize(("function", "oracle", "x", "y"), BINARY, ids=name)
def test_binary(b: Any, function: Any, oracle: Any, x: np.ndarray, y: np.ndarray) -> None:
    np.testing.assert_allclose(b.run(function, x, y), oracle(x, y), rtol=1e-12)
    b.check_gradient(function, x, y)
    row = y[1]
    np.testing.assert_allclose(b.run(function, x, row), oracle(x, row), rtol=1e-12)
    b.check_gradient(function, x, row)


@pytest.mark.parametrize(
    ("function", "oracle"),
    [
        (math.floor, np.floor),
        (math.ceil, np.ceil),
        (math.trunc, np.trunc),
        (math.round, np.round),
        (math.sign, lambda x: np.sign(np.nan_to_num(x, posinf=1, neginf=-1))),
        (math.signbit, np.signbit),
        (math.nan_to_num, np.nan_to_num),
        (logic.isnan, np.isnan),
        (logic.isinf, np.isinf),
        (logic.isfinite, np.isfinite),
        (logic.isposinf, np.isposinf),
        (logic.isneginf, np.isneginf),
        (logic.logical_not, np.logical_not),
    ],
    ids=name,
)
def test_odd_values(b: Any, function: Any, oracle: Any) -> None:
    for x in (ODD, ODD.astype(np.float32), ODD.astype(np.float16), COUNTS):
        if function is math.signbit and x is COUNTS:
            oracle = lambda x: x < 0  # noqa: E731
        np.testing.assert_array_equal(b.run(function, x), oracle(x))


def test_round_to_places(b: Any) -> None:
    x = np.array([1.25, -0.375, 127.5])
    np.testing.assert_array_equal(b.run(math.round, x, decimals=1), np.round(x, 1))
    np.testing.assert_array_equal(b.run(math.round, x, decimals=-1), np.round(x, -1))


@pytest.mark.parametrize("dtype", [np.int64, np.int8, np.uint8, np.float64])
def test_three_divisions(b: Any, dtype: Any) -> None:
    x, y = np.meshgrid(np.arange(-7, 8).astype(dtype), np.array([-3, -2, 2, 5]).astype(dtype))
    exact = x.astype(np.float64) / y
    np.testing.assert_allclose(b.run(math.div, x, y), exact, rtol=1e-6)
    floor = b.run(math.div, x, y, rounding_mode="floor")
    trunc = b.run(math.div, x, y, rounding_mode="trunc")
    assert floor.dtype == trunc.dtype == dtype
    np.testing.assert_array_equal(floor, np.floor(exact).astype(dtype))
    np.testing.assert_array_equal(trunc, np.trunc(exact).astype(dtype))


@pytest.mark.parametrize("exponent", [-2, 0, 0.5, 1, 2, 2.5, 3])
def test_powers_by_a_number(b: Any, exponent: float) -> None:
    np.testing.assert_allclose(b.run(math.pow, POSITIVE, exponent), POSITIVE**exponent, rtol=1e-12)
    b.check_gradient(lambda b, x: math.pow(b, x, exponent), POSITIVE)
    if exponent > 0:
        found = value_of(math.pow(b, exponent, b.constant(Y)))
        np.testing.assert_allclose(found, float(exponent) ** Y, rtol=1e-12)


def test_integers_become_the_default_float(b: Any) -> None:
    for function in (elementary.exp, elementary.sigmoid, math.reciprocal):
        assert b.run(function, COUNTS).dtype == np.float32
    assert b.run(math.div, COUNTS, 2).dtype == np.float32
    assert b.run(math.pow, COUNTS, 2).dtype == np.int64
    assert b.run(math.pow, COUNTS, 2.0).dtype == np.float32


def test_alpha_scales_the_other_operand(b: Any) -> None:
    np.testing.assert_allclose(b.run(math.add, X, Y, alpha=0.5), X + 0.5 * Y)
    np.testing.assert_allclose(b.run(math.sub, X, 2, alpha=3), X - 6)
    np.testing.assert_allclose(b.run(math.rsub, X, 2, alpha=3), 2 - 3 * X)


def test_clamp(b: Any) -> None:
    x = np.array([-2.0, 0.0, 0.5, 1.0, 3.0, np.nan])
    np.testing.assert_array_equal(b.run(math.clamp, x, 0, 1), np.clip(x, 0, 1))
    np.testing.assert_array_equal(b.run(math.clamp, x, min=0), np.maximum(x, 0))
    np.testing.assert_array_equal(b.run(math.clamp_max, x, 1), np.minimum(x, 1))
    np.testing.assert_array_equal(b.run(math.clamp, x, 2, 1), [1, 1, 1, 1, 1, np.nan])
    low, high = np.array([[0.0], [1.0]]), np.array([2.0])
    found = value_of(math.clamp(b, b.constant(x), b.constant(low), b.constant(high)))
    np.testing.assert_array_equal(found, np.clip(x, low, high))
    b.check_gradient(math.clamp, X, np.full((4,), -0.33), np.array(0.22))
    assert b.run(math.clamp, COUNTS, 0.5).dtype == np.float32


def test_gradient_is_kept_at_the_limits_of_clamp_and_dropped_at_the_kink_of_relu(b: Any) -> None:
    from_clamp = gradient(b, lambda b, x: math.clamp(b, x, 0, 1), np.array([-1.0, 0.0, 1.0, 2.0]))
    np.testing.assert_array_equal(from_clamp, [0, 1, 1, 0])
    np.testing.assert_array_equal(gradient(b, math.relu, np.array([-1.0, 0.0, 1.0])), [0, 0, 1])


def gradient(b: Any, function: Any, x: np.ndarray) -> np.ndarray:
    node = b.constant(x)
    result = function(b, node)
    (out,) = vjp(b, [result], [node], [b.constant(np.ones_like(x))])
    return value_of(out)


def test_three_operands(b: Any) -> None:
    w = spread((4,), seed=2)
    np.testing.assert_allclose(b.run(math.lerp, X, Y, w), X + w * (Y - X))
    np.testing.assert_allclose(b.run(math.lerp, X, Y, 0.3), X + 0.3 * (Y - X))
    np.testing.assert_allclose(b.run(math.addcmul, X, Y, w, value=0.5), X + 0.5 * Y * w)
    np.testing.assert_allclose(b.run(math.addcdiv, X, Y, w, value=2), X + 2 * Y / w)
    for function in (math.lerp, math.addcmul, math.addcdiv):
        b.check_gradient(function, X, Y, w)


def test_where_and_masked_fill(b: Any) -> None:
    mask = X > 0
    np.testing.assert_array_equal(b.run(logic.where, mask, X, Y), np.where(mask, X, Y))
    np.testing.assert_array_equal(
        b.run(logic.where, mask[:, :1], X, 0), np.where(mask[:, :1], X, 0)
    )
    assert b.run(logic.where, mask, 1, 0).dtype == np.int64
    assert b.run(logic.where, mask, 1.0, 0).dtype == np.float32
    filled = b.run(logic.masked_fill, X, mask[0], 9.0)
    np.testing.assert_array_equal(filled, np.where(mask[0], 9.0, X))
    b.check_gradient(lambda b, x, y: logic.where(b, b.constant(mask), x, y), X, Y[0])
    whole = b.run(logic.masked_fill, COUNTS, mask, 2.5)
    np.testing.assert_array_equal(whole, np.where(mask, 2, COUNTS))
    with pytest.raises(DTypeError, match="int64"):
        logic.masked_fill(b, b.constant(COUNTS), b.constant(mask), 1j)
    with pytest.raises(DTypeError, match="float64"):
        logic.where(b, b.constant(X), 1, 0)


def test_comparisons_promote(b: Any) -> None:
    for function, oracle in [
        (logic.eq, np.equal),
        (logic.ne, np.not_equal),
        (logic.lt, np.less),
        (logic.le, np.less_equal),
        (logic.gt, np.greater),
        (logic.ge, np.greater_equal),
    ]:
        np.testing.assert_array_equal(b.run(function, COUNTS, 0.5), oracle(COUNTS, 0.5))
        np.testing.assert_array_equal(b.run(function, COUNTS, X[0]), oracle(COUNTS, X[0]))


def test_logic_and_bits(b: Any) -> None:
    other = np.array([0, 1, 2, 3])
    pairs = [
        (logic.logical_and, np.logical_and),
        (logic.logical_or, np.logical_or),
        (logic.logical_xor, np.logical_xor),
        (logic.bitwise_and, np.bitwise_and),
        (logic.bitwise_or, np.bitwise_or),
        (logic.bitwise_xor, np.bitwise_xor),
        (logic.bitwise_left_shift, np.left_shift),
        (logic.bitwise_right_shift, np.right_shift),
    ]
    for function, oracle in pairs:
        np.testing.assert_array_equal(b.run(function, COUNTS, other), oracle(COUNTS, other))
    np.testing.assert_array_equal(b.run(logic.logical_or, ODD, np.zeros(6)), ODD != 0)
    np.testing.assert_array_equal(b.run(logic.bitwise_not, COUNTS), ~COUNTS)
    with pytest.raises(DTypeError, match="float"):
        logic.bitwise_and(b, b.constant(X), b.constant(X))


def test_isclose(b: Any) -> None:
    x = np.array([1.0, 1.0, np.inf, np.inf, np.nan, 0.0])
    y = np.array([1.0 + 1e-6, 1.1, np.inf, -np.inf, np.nan, 1e-9])
    for equal_nan in (False, True):
        found = b.run(logic.isclose, x, y, equal_nan=equal_nan)
        np.testing.assert_array_equal(found, np.isclose(x, y, equal_nan=equal_nan))
    np.testing.assert_array_equal(b.run(logic.isclose, COUNTS, COUNTS[0]), COUNTS == COUNTS[0])


def test_edges_of_sums_of_exponentials(b: Any) -> None:
    inf = np.inf
    x = np.array([inf, -inf, -inf, 0.0, 1000.0])
    y = np.array([inf, -inf, 0.0, 0.0, 1000.0])
    np.testing.assert_allclose(b.run(elementary.logaddexp, x, y), np.logaddexp(x, y))
    same = np.array([0.5, -1.0])
    b.check_gradient(elementary.logaddexp, same, same)
    zeros, odd = np.zeros(3), np.array([0.0, np.nan, 2.0])
    np.testing.assert_array_equal(b.run(elementary.xlogy, zeros, odd), [0, np.nan, 0])


def test_complex_numbers(b: Any) -> None:
    z = X + 1j * Y
    np.testing.assert_array_equal(b.run(elementary.complex, X, Y), z)
    np.testing.assert_array_equal(b.run(elementary.real, z), X)
    np.testing.assert_array_equal(b.run(elementary.imag, z), Y)
    np.testing.assert_array_equal(b.run(elementary.conj, z), z.conj())
    np.testing.assert_allclose(b.run(elementary.angle, z), np.angle(z))
    np.testing.assert_allclose(b.run(math.sgn, z), z / np.abs(z))
    np.testing.assert_allclose(b.run(elementary.polar, np.abs(z), np.angle(z)), z)
    np.testing.assert_allclose(b.run(elementary.exp, z), np.exp(z))
    np.testing.assert_array_equal(b.run(logic.isreal, np.array([1j, 2])), [False, True])
    np.testing.assert_allclose(b.run(elementary.angle, X), np.angle(X))


def test_broadcast_tensors(b: Any) -> None:
    found = value_of(math.broadcast_tensors(b, *map(b.constant, (X[:1], Y[:, :1], np.array(2.0)))))
    for array, wanted in zip(found, np.broadcast_arrays(X[:1], Y[:, :1], 2.0)):
        np.testing.assert_array_equal(array, wanted)


@pytest.mark.parametrize(
    ("function", "arguments", "error"),
    [
        (math.sub, (X > 0, X > 0), DTypeError),
        (math.sub, (X > 0, 1), DTypeError),
        (math.neg, (X > 0,), DTypeError),
        (math.relu, (X > 0,), DTypeError),
        (logic.isposinf, (X + 1j,), DTypeError),
        (math.add, (X, Y[:2]), ShapeError),
        (math.pow, (COUNTS, -1), DTypeError),
        (math.clamp, (X,), InvalidValue),
        (math.lerp, (COUNTS, COUNTS, 0.5), DTypeError),
        (math.addcdiv, (X, COUNTS, COUNTS), DTypeError),
        (elementary.imag, (X,), DTypeError),
        (elementary.polygamma, (-1, X), InvalidValue),
        (logic.isclose, (X, X, -1.0), InvalidValue),
    ],
    ids=name,
)
def test_errors(b: Any, function: Any, arguments: Any, error: type[Exception]) -> None:
    with pytest.raises(error):
        b.run(function, *arguments)
    with pytest.raises(DTypeError, match="alpha"):
        math.add(b, b.constant(COUNTS), 1, alpha=0.5)
    with pytest.raises(InvalidValue, match="up"):
        math.div(b, b.constant(X), 2, rounding_mode="up")


def test_every_listed_name_exists() -> None:
    for module in (math, elementary, logic):
        names = [*module.METHODS, *module.INPLACE, *module.ALIASES.values()]
        assert [n for n in names if not callable(getattr(module, n, None))] == []
        assert set(module.INPLACE) <= set(module.METHODS)
