"""The table of scalar functions against Python's own arithmetic, and the laws of folding."""

from __future__ import annotations

import cmath
import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from talweg.base import dtypes as d
from talweg.base.dtypes import DType
from talweg.loops.build import NestBuilder
from talweg.loops.functions import COMBINES, FUNCTIONS, combine_values, evaluate, identity
from talweg.loops.operand import Operand, Point
from talweg.loops.scalar import Scalar, evaluate_cast

Run = Callable[..., Any]
REAL = {
    "exp": math.exp, "exp2": math.exp2, "expm1": math.expm1, "log": math.log, "log2": math.log2,
    "log10": math.log10, "log1p": math.log1p, "sqrt": math.sqrt, "sin": math.sin,
    "cos": math.cos, "tan": math.tan, "asin": math.asin, "acos": math.acos, "atan": math.atan,
    "sinh": math.sinh, "cosh": math.cosh, "tanh": math.tanh, "asinh": math.asinh,
    "acosh": math.acosh, "atanh": math.atanh, "erf": math.erf, "erfc": math.erfc,
    "lgamma": math.lgamma, "floor": math.floor, "ceil": math.ceil, "round": round,
    "trunc": math.trunc, "abs": abs, "isnan": math.isnan, "isinf": math.isinf,
    "isfinite": math.isfinite, "rsqrt": lambda x: 1 / math.sqrt(x),
}  # fmt: skip


@pytest.mark.parametrize("name", sorted(REAL))
def test_real_functions(name: str) -> None:
    domain = {"asin": (-1, 1), "acos": (-1, 1), "atanh": (-0.99, 0.99), "acosh": (1, 9)}
    positive = ("log", "log2", "log10", "sqrt", "rsqrt", "lgamma")
    low, high = domain.get(name, (0.1, 9) if name in positive else (-0.9, 9))
    x = np.random.default_rng(1).uniform(low, high, 50)
    expected = [float(REAL[name](float(v))) for v in x]
    np.testing.assert_allclose(evaluate(name, x).astype(float), expected, rtol=1e-14, atol=1e-15)


def test_halves_round_to_even() -> None:
    x = np.array([-2.5, -1.5, -0.5, 0.5, 1.5, 2.5])
    assert evaluate("round", x).tolist() == [-2, -2, 0, 0, 2, 2]


@pytest.mark.parametrize("name", ["exp", "log", "sqrt", "sin", "tanh", "acosh", "asin"])
def test_complex_functions(name: str) -> None:
    z = np.array([0.3 + 0.7j, -1.2 + 0.4j, 2.0 - 1.0j])
    np.testing.assert_allclose(evaluate(name, z), [getattr(cmath, name)(v) for v in z], rtol=1e-13)


PYTHON: dict[str, Callable[[int, int], int]] = {
    "add": lambda a, b: a + b, "sub": lambda a, b: a - b, "mul": lambda a, b: a * b,
    "floordiv": lambda a, b: a // b if b else 0, "mod": lambda a, b: a % b if b else 0,
    "fmod": lambda a, b: int(math.fmod(a, b)) if b else 0,
    "pow": lambda a, b: a**b if b >= 0 else int(1 / a**-b) if a else 0,
    "bit_and": lambda a, b: a & b, "bit_or": lambda a, b: a | b, "bit_xor": lambda a, b: a ^ b,
    "maximum": max, "minimum": min, "shl": lambda a, b: a << b if b >= 0 else 0,
    "shr": lambda a, b: a >> b if b >= 0 else 0,
    "eq": lambda a, b: a == b, "lt": lambda a, b: a < b, "ge": lambda a, b: a >= b,
}  # fmt: skip


def wrapped(value: int, dtype: DType) -> int:
    value %= 1 << dtype.bits
    return value - (1 << dtype.bits) if dtype.is_signed and value >> (dtype.bits - 1) else value


@pytest.mark.parametrize("name", sorted(PYTHON))
@given(st.sampled_from(d.INTS), st.integers(), st.integers(-40, 70))
def test_integer_functions_wrap(name: str, dtype: DType, a: int, b: int) -> None:
    a, b = wrapped(a, dtype), wrapped(b, dtype)
    if (name in ("shl", "shr") and not 0 <= b < 300) or (name == "fmod" and dtype.bits == 64):
        return  # shifts by a negative amount have no meaning; math.fmod is exact to 53 bits only
    if name == "pow" and b > 300:
        b = 3
    got = evaluate(name, dtype.compute.type(a), dtype.compute.type(b))
    if FUNCTIONS[name].result == "bool":
        assert bool(got) == PYTHON[name](a, b)
    else:
        assert np.asarray(got).dtype == dtype.compute
        assert int(got) == wrapped(PYTHON[name](a, b), dtype)


def test_signs_of_remainders_and_zeros() -> None:
    assert evaluate("mod", -7, 3) == 2
    assert evaluate("fmod", -7, 3) == -1
    assert evaluate("floordiv", -7.0, 2.0) == -4
    assert math.copysign(1, evaluate("copysign", 3.0, -0.0)) == -1
    assert np.isnan(evaluate("maximum", np.nan, 1.0))
    assert np.isnan(evaluate("minimum", 1.0, np.nan))
    assert evaluate("sign", np.array([-3.0, 0.0, 5.0, np.nan])).tolist() == [-1, 0, 1, 0]


@pytest.mark.parametrize("dtype", d.ALL, ids=lambda t: t.name)
def test_every_function_answers_in_the_dtype_it_promises(run_rule: Run, dtype: DType) -> None:
    if dtype is d.bfloat16:
        return  # no NumPy array of its own; rounding is tested below
    names = [n for n, f in FUNCTIONS.items() if dtype.category in f.accepts and n != "complex"]
    results = [FUNCTIONS[n].result_dtype(dtype) for n in names]

    def rule(nest: NestBuilder, x: Scalar) -> tuple[Scalar, ...]:
        return tuple(getattr(nest, n)(*[x] * FUNCTIONS[n].arity) for n in names)

    got = run_rule(rule, [np.ones((1,), dtype.compute)], [(r, (1,)) for r in results], True)
    for name, value, result in zip(names, got, results, strict=True):
        expected = evaluate(name, *[np.ones((1,), dtype.compute)] * FUNCTIONS[name].arity)
        np.testing.assert_array_equal(value, np.asarray(expected).astype(result.compute), name)


def test_bfloat16_is_rounded_after_every_function(run_rule: Run) -> None:
    def rule(nest: NestBuilder, x: Operand) -> Point:
        return lambda i: nest.cast(nest.cast(x[i], d.bfloat16) / 3 * 3, d.float32)

    x = np.array([1, 2, 5, 100], np.float32)
    third = d.round_to_bfloat16(x / np.float32(3))
    expected = d.round_to_bfloat16(third * np.float32(3))
    np.testing.assert_array_equal(run_rule(rule, [x], [(d.float32, (4,))]), expected)


def test_bitcasts(run_rule: Run) -> None:
    def rule(nest: NestBuilder, x: Operand) -> Point:
        return lambda i: nest.bitcast(nest.cast(x[i], d.bfloat16), d.uint16)

    got = run_rule(rule, [np.array([1.0, -2.0], np.float32)], [(d.uint16, (2,))])
    assert [hex(v) for v in got] == ["0x3f80", "0xc000"]


def test_casts() -> None:
    def cast(value: object, source: DType, target: DType) -> Any:
        return evaluate_cast(np.asarray(value, source.compute), source, target)[()]

    assert cast(-2.7, d.float32, d.int32) == -2
    assert cast(300, d.int64, d.uint8) == 44
    assert cast(0.5, d.float64, d.bool_) == np.True_
    assert cast(3 + 4j, d.complex64, d.float32) == 3
    assert cast(1 + 2**-9, d.float32, d.bfloat16) == 1


VALUES = st.one_of(st.integers(-3, 3).map(float), st.sampled_from([np.nan, np.inf, -np.inf]))


@pytest.mark.parametrize("name", sorted(COMBINES))
@given(st.data())
def test_combining_is_associative_and_has_an_identity(name: str, data: st.DataObject) -> None:
    rule = COMBINES[name]
    accepted = [t for t in d.ALL if t.category in rule.accepts]
    dtype = data.draw(st.sampled_from(accepted))

    def draw(place: int) -> tuple[Any, ...]:
        if dtype.category == "bool":
            value: Any = data.draw(st.booleans())
        elif dtype.category in ("int", "uint"):
            value = data.draw(st.integers(0 if dtype.category == "uint" else -3, 3))
        else:
            value = data.draw(st.integers(-3, 3)) if rule.arity == 1 else data.draw(VALUES)
        return (dtype.compute.type(value), np.int64(place))[: rule.arity]

    a, b, c = draw(0), draw(1), draw(2)
    left = combine_values(name, combine_values(name, a, b), c)
    right = combine_values(name, a, combine_values(name, b, c))
    swapped = combine_values(name, c, combine_values(name, b, a))
    np.testing.assert_array_equal(left, right)
    np.testing.assert_array_equal(left, swapped)
    start = tuple(
        t.type(v) for v, t in zip(identity(name, dtype), (dtype.compute, np.dtype("int64")))
    )
    np.testing.assert_array_equal(combine_values(name, start, a), a)
