"""Elementwise functions beside PyTorch: values, gradients, promotion."""

from __future__ import annotations

import numpy as np
import pytest
from peer import Case, Inputs, compare, parameters

pytestmark = pytest.mark.peer
D = Inputs()

REAL = (
    *("abs", "neg", "exp", "expm1", "exp2", "sin", "cos", "tan", "sinh", "cosh", "tanh", "asinh"),
    *("atan", "sigmoid", "erf", "erfc", "square", "relu", "floor", "ceil", "trunc", "frac", "sign"),
    *("sinc", "isnan", "isfinite", "isinf", "signbit", "deg2rad", "rad2deg", "round", "sgn"),
    *("logical_not", "positive"),
)
POSITIVE = ("log", "log2", "log10", "log1p", "sqrt", "rsqrt", "reciprocal", "lgamma", "digamma")
UNIT = ("asin", "acos", "atanh", "erfinv")
PLAIN = ("isnan", "isfinite", "isinf", "signbit", "logical_not")
BINARY = ("add", "sub", "mul", "div", "atan2", "maximum", "minimum", "fmax", "fmin", "hypot")
COMPARE = ("eq", "ne", "lt", "le", "gt", "ge", "logical_and", "logical_or", "logical_xor")


def unary(name: str, array: object) -> Case:
    """Return the case of a function of one Tensor."""
    return Case(name, lambda T, x: getattr(T, name)(x), (array,), gradient=name not in PLAIN)


CASES = [
    *(unary(n, D.real(3, 4)) for n in REAL),
    *(unary(n, D.positive(3, 4)) for n in POSITIVE),
    *(unary(n, D.unit(3, 4)) for n in UNIT),
    unary("acosh", D.positive(3, 4) + 1),
    unary("logit", D.probability(3, 4)),
    *(Case(n, lambda T, x, y, n=n: getattr(T, n)(x, y), (D.real(3, 4), D.real(4))) for n in BINARY),
    *(
        Case(
            f"{n} column", lambda T, x, y, n=n: getattr(T, n)(x, y), (D.real(3, 1), D.real(2, 1, 4))
        )
        for n in ("add", "mul", "div", "maximum")
    ),
    *(
        Case(n, lambda T, x, y, n=n: getattr(T, n)(x, y), (D.whole(3, 4), D.whole(3, 4)), False)
        for n in COMPARE
    ),
    Case("pow", lambda T, x, y: T.pow(x, y), (D.positive(3, 4), D.real(3, 4))),
    Case("pow number", lambda T, x: x**3, (D.real(3, 4),)),
    Case("pow half", lambda T, x: x**0.5, (D.positive(3, 4),)),
    Case("rpow", lambda T, x: 2**x, (D.real(3, 4),)),
    Case("float_power", lambda T, x: T.float_power(x, 2), (D.real(3),)),
    Case("remainder", lambda T, x: T.remainder(x, 0.7), (D.real(3, 4),)),
    Case("fmod", lambda T, x: T.fmod(x, 0.7), (D.real(3, 4),)),
    Case("floor_divide", lambda T, x, y: x // y, (D.real(3, 4), D.positive(4)), False),
    Case(
        "remainder int",
        lambda T, x, y: x % y,
        (D.whole(9, low=-9, high=9), D.whole(9, low=1)),
        False,
    ),
    Case(
        "floor_divide int",
        lambda T, x, y: x // y,
        (D.whole(9, low=-9, high=9), D.whole(9, low=1)),
        False,
    ),
    Case("div trunc", lambda T, x: T.div(x, 0.6, rounding_mode="trunc"), (D.real(9),), False),
    Case("div floor", lambda T, x: T.div(x, 0.6, rounding_mode="floor"), (D.real(9),), False),
    Case("true divide int", lambda T, x: x / 3, (D.whole(5),), False),
    Case("add alpha", lambda T, x, y: T.add(x, y, alpha=2.5), (D.real(3), D.real(3))),
    Case("sub alpha", lambda T, x, y: T.sub(x, y, alpha=2), (D.real(3), D.real(3))),
    Case("rsub", lambda T, x: 1 - x, (D.real(3),)),
    Case("rdiv", lambda T, x: 1 / x, (D.positive(3),)),
    Case("clamp", lambda T, x: T.clamp(x, -0.5, 0.5), (D.real(3, 4),)),
    Case("clamp min", lambda T, x: x.clamp(min=0.1), (D.real(3, 4),)),
    Case(
        "clamp tensors",
        lambda T, x, a, b: T.clamp(x, a, b),
        (D.real(3, 4), D.real(4), D.positive(4)),
    ),
    Case("lerp", lambda T, x, y: T.lerp(x, y, 0.3), (D.real(3), D.real(3))),
    Case(
        "lerp tensor", lambda T, x, y, w: T.lerp(x, y, w), (D.real(3), D.real(3), D.probability(3))
    ),
    Case(
        "addcmul",
        lambda T, x, y, z: T.addcmul(x, y, z, value=0.5),
        (D.real(3), D.real(3), D.real(3)),
    ),
    Case(
        "addcdiv",
        lambda T, x, y, z: T.addcdiv(x, y, z, value=2),
        (D.real(3), D.real(3), D.positive(3)),
    ),
    Case("where", lambda T, c, x, y: T.where(c, x, y), (D.truth(3, 4), D.real(3, 4), D.real(4))),
    Case("where number", lambda T, c, x: T.where(c, x, 0.0), (D.truth(3, 4), D.real(3, 4))),
    Case("masked_fill", lambda T, x, c: x.masked_fill(c, -1.5), (D.real(3, 4), D.truth(3, 4))),
    Case("xlogy", lambda T, x, y: T.xlogy(x, y), (D.positive(3), D.positive(3))),
    Case("logaddexp", lambda T, x, y: T.logaddexp(x, y), (D.real(3), D.real(3))),
    Case("logaddexp2", lambda T, x, y: T.logaddexp2(x, y), (D.real(3), D.real(3))),
    Case("copysign", lambda T, x, y: T.copysign(x, y.detach()), (D.real(9), D.real(9))),
    Case("heaviside", lambda T, x, y: T.heaviside(x, y), (D.real(9), D.real(9)), False),
    Case("nan_to_num", lambda T, x: T.nan_to_num(T.log(x)), (D.real(9),), False),
    Case("polygamma", lambda T, x: T.polygamma(1, x), (D.positive(5),), slack=4),
    Case("round decimals", lambda T, x: T.round(x, decimals=2), (D.real(9),), False),
    *(
        Case(f"{a} is {b}", lambda T, x, a=a: getattr(T, a)(x), (D.unit(3, 4),), a != "fix")
        for a, b in (
            *(("absolute", "abs"), ("negative", "neg"), ("fix", "trunc"), ("arcsin", "asin")),
            *(("arccos", "acos"), ("arctan", "atan"), ("arcsinh", "asinh"), ("arctanh", "atanh")),
        )
    ),
    *(
        Case(a, lambda T, x, y, a=a: getattr(T, a)(x, y), (D.real(3, 4), D.positive(4)), slack=2)
        for a in ("subtract", "multiply", "divide", "true_divide", "arctan2", "clamp_min")
    ),
    *(
        Case(a, lambda T, x, y, a=a: getattr(T, a)(x, y), (D.real(9), D.real(9)), False)
        for a in ("greater", "greater_equal", "less", "less_equal", "not_equal", "clamp_max")
    ),
    Case("arccosh", lambda T, x: T.arccosh(x + 1), (D.positive(3),)),
    Case("clip", lambda T, x: T.clip(x, -0.5, 0.5), (D.real(3, 4),)),
    Case("ldexp", lambda T, x, e: T.ldexp(x, e), (D.real(4), D.whole(4)), False),
    *(
        Case(
            a, lambda T, x, a=a: getattr(T, a)(x), (np.array([1, np.nan, np.inf, -np.inf]),), False
        )
        for a in ("isneginf", "isposinf", "isreal", "isinf", "nan_to_num")
    ),
    Case("conj", lambda T, x, y: T.conj(T.complex(x, y)).imag, (D.real(5), D.real(5))),
    Case(
        "bitwise_left_shift",
        lambda T, x: T.bitwise_left_shift(x, 2),
        (D.whole(9, high=200, dtype="int32"),),
        False,
    ),
    Case(
        "bitwise_right_shift",
        lambda T, x: T.bitwise_right_shift(x, 2),
        (D.whole(9, low=-200, high=200, dtype="int16"),),
        False,
    ),
    Case("isclose", lambda T, x, y: T.isclose(x, y), (D.real(9), D.real(9)), False),
    Case("bitwise_and", lambda T, x, y: x & y, (D.whole(9, high=200), D.whole(9, high=200)), False),
    Case("bitwise_or", lambda T, x, y: x | y, (D.whole(9, high=200), D.whole(9, high=200)), False),
    Case("bitwise_xor", lambda T, x, y: x ^ y, (D.whole(9, high=200), D.whole(9, high=200)), False),
    Case("bitwise_not", lambda T, x: ~x, (D.whole(9, high=200),), False),
    Case("bitwise_not bool", lambda T, x: ~x, (D.truth(9),), False),
    Case("shift left", lambda T, x: x << 3, (D.whole(9, high=200),), False),
    Case("shift right", lambda T, x: x >> 1, (D.whole(9, high=200),), False),
    Case("uint8 wraps", lambda T, x: x + 250, (D.whole(9, high=200, dtype="uint8"),), False),
    Case("int8 * float", lambda T, x: x * 0.5, (D.whole(9, dtype="int8"),), False),
    Case("bool + int", lambda T, x: x + 1, (D.truth(9),), False),
    Case("int32 + int64", lambda T, x, y: x + y, (D.whole(9, dtype="int32"), D.whole(9)), False),
    Case("float + double", lambda T, x, y: x * y, (D.real(3), D.real(3, dtype="float64"))),
    Case("float + 0-d double", lambda T, x, y: x * y, (D.real(3), D.real(dtype="float64"))),
    Case("half", lambda T, x: (x * x + 1).exp(), (D.real(5, dtype="float16"),), slack=8),
    Case("bfloat16", lambda T, x: (x.to(T.bfloat16) * 3).tanh(), (D.real(5),), False),
    Case(
        "complex product",
        lambda T, x, y: T.abs(T.complex(x, y) * T.complex(y, x)),
        (D.real(5), D.real(5)),
    ),
    Case("complex exp", lambda T, x, y: T.exp(T.complex(x, y)).real, (D.real(5), D.real(5))),
    Case("polar", lambda T, x, y: T.polar(x, y).imag, (D.positive(5), D.real(5))),
    Case("angle", lambda T, x, y: T.angle(T.complex(x, y)), (D.real(5), D.real(5))),
    Case("cast", lambda T, x: x.double() * 2, (D.real(5),)),
    Case("to int", lambda T, x: (x * 3).int(), (D.real(9),), False),
    Case("to uint8", lambda T, x: (x * 100).to(T.uint8), (D.positive(9),), False),
    Case("to bool", lambda T, x: x.bool(), (D.whole(9, high=2),), False),
]


@pytest.mark.parametrize("case", parameters(CASES))
def test_equals_pytorch(case: Case) -> None:
    compare(case)
