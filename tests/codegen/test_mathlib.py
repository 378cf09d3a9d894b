"""The mathematical functions against NumPy in a wider type: the errors that they promise."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from functools import cache

import numpy as np
import pytest

from talweg.base import dtypes as d
from talweg.base import special
from talweg.base.dtypes import DType
from talweg.codegen.object import compile_nest
from talweg.loops.build import NestBuilder
from talweg.loops.functions import FUNCTIONS, evaluate
from talweg.runtime.jit import Kernel
from tests.codegen.machine import targets

SINGLE = {
    "exp": 1.0, "exp2": 1.0, "expm1": 2.0, "log": 1.0, "log2": 1.0, "log10": 1.0, "log1p": 2.0,
    "sqrt": 0.5, "rsqrt": 1.5, "sin": 2.0, "cos": 2.0, "tan": 4.0, "asin": 0.6, "acos": 0.6,
    "atan": 2.5, "sinh": 0.6, "cosh": 0.6, "tanh": 2.0, "asinh": 0.6, "acosh": 0.6, "atanh": 0.6,
    "erf": 2.0, "erfc": 4.0, "erfinv": 1.0, "lgamma": 1.0, "digamma": 1.0,
}  # fmt: skip
DOUBLE = {
    "exp": 1.0, "exp2": 1.0, "expm1": 2.0, "log": 1.0, "log2": 1.0, "log10": 1.0, "log1p": 2.0,
    "sqrt": 0.5, "rsqrt": 1.5, "sin": 1.0, "cos": 1.0, "tan": 3.0, "asin": 3.0, "acos": 2.0,
    "atan": 3.0, "sinh": 4.0, "cosh": 2.0, "tanh": 4.0, "asinh": 3.0, "acosh": 4.0, "atanh": 4.0,
}  # fmt: skip
WIDE = np.longdouble
has_long_double = np.finfo(WIDE).nmant >= 63


@pytest.fixture(autouse=True)
def _quiet() -> Iterator[None]:
    with np.errstate(all="ignore"):
        yield


@cache
def kernel_of(name: str, dtype: DType, target: str = "host") -> Kernel:
    nest = NestBuilder(name)
    operands = [nest.input(f"x{n}", dtype, (1,)) for n in range(FUNCTIONS[name].arity)]
    out = nest.output("out", dtype, operands[0].shape)
    function = getattr(nest, name)
    nest.pointwise([out], lambda i: function(*(x[i] for x in operands)))
    made = compile_nest(nest.build().nest, targets()[target])
    return Kernel(made.code, made.signature)


def compute(name: str, dtype: DType, *operands: np.ndarray, target: str = "host") -> np.ndarray:
    out = np.empty(operands[0].shape, dtype.compute)
    arrays = [*(np.ascontiguousarray(o, dtype.compute) for o in operands), out]
    kernel_of(name, dtype, target).call([a.ctypes.data for a in arrays], [out.size] * len(operands))
    return out


def check(got: np.ndarray, want: np.ndarray, x: np.ndarray, ulps: float) -> None:
    """`want` is the exact value, in a wider type, of what `got` rounds."""
    rounded = want.astype(got.dtype)
    finite = np.isfinite(rounded)
    same = (got == rounded) | (np.isnan(got) & np.isnan(rounded))
    assert same[~finite].all(), (x[~finite][~same[~finite]][:5], got[~finite][~same[~finite]])
    unit = np.spacing(np.maximum(np.abs(rounded), np.finfo(got.dtype).tiny))
    error = np.where(finite, np.abs(got - want) / unit, 0)
    error[np.isnan(error)] = np.inf
    worst = int(np.argmax(error))
    assert error[worst] <= ulps, f"{x[worst]!r}: {got[worst]!r} is {error[worst]} ULP off"
    zero = (got == 0) & (rounded == 0)
    assert (np.signbit(got) == np.signbit(rounded))[zero].all()


def some_floats(step: int) -> np.ndarray:
    """Every step-th float32 in the order of their bits, and those next to anything special."""
    bits = np.arange(0, 2**32, step, dtype=np.uint64).astype(np.uint32)
    points = [0.0, 1.0, -1.0, 0.5, 2.0, math.pi / 2, math.pi, 88.72284, -103.97, np.inf, 1e-38]
    near = np.array(points, np.float32).view(np.uint32)[:, None] + np.arange(-3, 4)
    return np.concatenate([bits, near.astype(np.uint32).ravel()]).view(np.float32)


@cache
def sampled() -> np.ndarray:
    return some_floats(1000)


def meaning(name: str, x: np.ndarray) -> np.ndarray:
    return np.asarray(evaluate(name, x.astype(np.float64)), np.float64)


@pytest.mark.parametrize("name", sorted(set(SINGLE) - {"erfinv", "lgamma", "digamma"}))
def test_float32_over_a_sample_of_all_bit_patterns(name: str) -> None:
    x = sampled()
    check(compute(name, d.float32, x), meaning(name, x), x, SINGLE[name])


@pytest.mark.parametrize("name", ["erfinv", "lgamma", "digamma"])
def test_rare_functions(name: str) -> None:
    x = some_floats(50_001)
    for dtype, ulps in ((d.float32, SINGLE[name]), (d.float64, 64.0)):
        got = compute(name, dtype, x)
        want = meaning(name, x)
        size = np.maximum(np.abs(want), 1.0) if dtype is d.float64 else np.abs(want)
        finite = np.isfinite(want.astype(got.dtype))
        near = np.abs(got - want) <= ulps * np.finfo(got.dtype).eps * size + 1e-45
        np.testing.assert_array_equal(got[~finite], want.astype(got.dtype)[~finite])
        assert near[finite].all(), x[finite][~near[finite]]


@pytest.mark.slow
@pytest.mark.parametrize(("name", "step"), [("exp", 61), ("log", 61), ("tanh", 61), ("erf", 211)])
def test_float32_over_many_more_bit_patterns(name: str, step: int) -> None:
    """With a step of 1, and an hour, this is the whole of float32."""
    chunk = step << 22
    for start in range(0, 2**32, chunk):
        bits = np.arange(start, min(start + chunk, 2**32), step, dtype=np.uint64)
        x = bits.astype(np.uint32).view(np.float32)
        check(compute(name, d.float32, x), meaning(name, x), x, SINGLE[name])


@pytest.mark.parametrize("target", ["sse2", "short8"])
@pytest.mark.parametrize("name", ["exp", "log", "sin", "tan", "tanh", "erf", "expm1", "floor"])
def test_machines_without_fma_and_rounding_instructions(name: str, target: str) -> None:
    if target not in targets():
        pytest.skip("not an x86 machine")
    x = some_floats(20_011)
    check(compute(name, d.float32, x, target=target), meaning(name, x), x, SINGLE.get(name, 0) + 1)


def doubles() -> np.ndarray:
    rng = np.random.default_rng(0)
    edges = [0.0, -0.0, 1.0, -1.0, np.inf, -np.inf, np.nan, 5e-324, 2.3e-308, 1.7e308, 0.5, -0.5]
    edges += [
        math.pi,
        1e22,
        math.ldexp(6381956970095103, 797),
        709.78,
        -745.13,
        710.475,
        2.0**-1074,
    ]
    drawn = [
        rng.integers(0, 2**64, 20_000, dtype=np.uint64).view(np.float64),
        *(rng.uniform(-s, s, 10_000) for s in (1, 10, 800)),
        np.exp(rng.uniform(-40, 0.7, 5_000)),
        1 + rng.normal(size=5_000) * 1e-3,
    ]
    return np.concatenate([np.array(edges), *drawn])


@pytest.mark.skipif(not has_long_double, reason="needs a long double of 80 bits")
@pytest.mark.parametrize("name", sorted(DOUBLE))
def test_float64(name: str) -> None:
    x = doubles()
    check(compute(name, d.float64, x), evaluate(name, x.astype(WIDE)), x, DOUBLE[name])


@pytest.mark.parametrize("name", ["erf", "erfc"])
def test_error_functions_in_float64(name: str) -> None:
    x = np.concatenate(
        [np.random.default_rng(1).uniform(-27, 27, 5000), [0, np.inf, -np.inf, -0.0]]
    )
    function: Callable[[float], float] = getattr(math, name)
    check(compute(name, d.float64, x), np.array([function(v) for v in x], WIDE), x, 8)


POWER_EDGES = [0.0, -0.0, 1.0, -1.0, 2.0, -2.0, 3.0, -3.0, 0.5, -0.5, np.inf, -np.inf, np.nan]
POWER_EDGES += [1e300, 1e-300, 2.0**53, 2.0**53 + 2, -(2.0**53) - 1, 1e-30, 4.5]


@pytest.mark.parametrize("name", ["pow", "atan2", "fmod", "mod", "floordiv", "copysign"])
@pytest.mark.parametrize("dtype", [d.float32, d.float64], ids=lambda t: t.name)
def test_pairs_of_edges(name: str, dtype: DType) -> None:
    x, y = (v.ravel() for v in np.meshgrid(POWER_EDGES, POWER_EDGES))
    x, y = x.astype(dtype.compute), y.astype(dtype.compute)
    got, want = compute(name, dtype, x, y), evaluate(name, x, y)
    special_value = ~np.isfinite(want) | (want == 0)
    np.testing.assert_array_equal(got[special_value], want[special_value])
    np.testing.assert_array_equal(np.signbit(got)[want == 0], np.signbit(want)[want == 0])
    np.testing.assert_allclose(got, want, rtol=8 * np.finfo(dtype.compute).eps)


@pytest.mark.skipif(not has_long_double, reason="needs a long double of 80 bits")
def test_powers_and_angles_of_pairs() -> None:
    rng = np.random.default_rng(2)
    x, y = np.exp(rng.uniform(-300, 300, 20_000)), rng.uniform(-3, 3, 20_000)
    x[:5000], y[:5000] = 1 + rng.normal(size=5000) * 1e-4, rng.uniform(-1e6, 1e6, 5000)
    check(compute("pow", d.float64, x, y), np.power(x.astype(WIDE), y.astype(WIDE)), x, 4)
    x = x * np.where(rng.integers(0, 2, x.size), 1, -1)
    check(compute("atan2", d.float64, y, x), np.arctan2(y.astype(WIDE), x.astype(WIDE)), x, 4)
    single = (rng.uniform(0, 20, 20_000).astype(np.float32), y.astype(np.float32))
    wide = [v.astype(np.float64) for v in single]
    check(compute("pow", d.float32, *single), np.power(*wide), single[0], 0.6)
    check(compute("atan2", d.float32, *single), np.arctan2(*wide), single[0], 0.6)


def test_remainders_are_exact() -> None:
    rng = np.random.default_rng(3)
    bits = rng.integers(0, 2**64, (2, 20_000), dtype=np.uint64)
    x, y = bits.view(np.float64)
    np.testing.assert_array_equal(compute("fmod", d.float64, x, y), np.fmod(x, y))
    np.testing.assert_array_equal(compute("mod", d.float64, x, y), np.mod(x, y))
    x, y = bits.astype(np.uint32).view(np.float32)
    np.testing.assert_array_equal(compute("fmod", d.float32, x, y), np.fmod(x, y))
    np.testing.assert_array_equal(compute("floordiv", d.float32, x, y), np.floor_divide(x, y))


@pytest.mark.parametrize("order", [0, 1, 2, 5, 20])
def test_polygamma(order: int) -> None:
    x = np.concatenate(
        [np.random.default_rng(4).uniform(-6, 40, 500), [0.0, -1, -2, np.inf, np.nan]]
    )
    got = compute("polygamma", d.float64, np.full_like(x, order), x)
    np.testing.assert_allclose(got, special.polygamma(order, x), rtol=1e-11)
