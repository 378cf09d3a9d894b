"""The functions of the loop language's table on elements of every dtype."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from talweg.base.dtypes import DType
from talweg.codegen import mathlib
from talweg.codegen.elements import Parts, rounded
from talweg.codegen.lanes import (
    Lanes,
    absolute,
    ceil,
    copysign,
    floor,
    is_nan,
    rint,
    to_double,
    to_float,
    trunc,
    where,
)
from talweg.codegen.mathlib import complexes, remainder
from talweg.loops.functions import COMBINES

COMPARISONS = ("eq", "ne", "lt", "le", "gt", "ge")
SAME = ("conj", "real")


def apply(name: str, dtype: DType, operands: Sequence[Parts]) -> Parts:
    """Write a call of a function on operands of one dtype and width."""
    if name == "complex":
        return operands[0][0], operands[1][0]
    if dtype.is_complex:
        return _complex(name, operands)
    plain = [parts[0] for parts in operands]
    if name == "upto":
        name = "le"
    if name in COMPARISONS:
        return (plain[0].compare(name, plain[1], signed=dtype.is_signed),)
    if name in SAME:
        return (plain[0],)
    if dtype.category == "bool":
        return (_BOOL[name](*plain),)
    if dtype.category == "float":
        result = _float(name, plain)
        return (result if result.kind == "i1" else rounded(result, dtype),)
    return (_integer(name, plain, dtype.is_signed),)


# -- bool and integers

_BITS: dict[str, Callable[..., Lanes]] = {
    "bit_and": lambda x, y: x & y,
    "bit_or": lambda x, y: x | y,
    "bit_xor": lambda x, y: x ^ y,
    "bit_not": lambda x: ~x,
}
_BOOL = _BITS | {
    "add": _BITS["bit_or"],
    "mul": _BITS["bit_and"],
    "maximum": _BITS["bit_or"],
    "minimum": _BITS["bit_and"],
    "logical_and": _BITS["bit_and"],
    "logical_or": _BITS["bit_or"],
    "logical_xor": _BITS["bit_xor"],
    "logical_not": _BITS["bit_not"],
}
_ARITHMETIC: dict[str, Callable[..., Lanes]] = {
    "add": lambda x, y: x + y,
    "sub": lambda x, y: x - y,
    "mul": lambda x, y: x * y,
    "neg": lambda x: -x,
}


def _integer(name: str, operands: list[Lanes], signed: bool) -> Lanes:
    if name in _BITS:
        return _BITS[name](*operands)
    if name in _ARITHMETIC:
        return _ARITHMETIC[name](*operands)
    x = operands[0]
    if name == "abs":
        return where(x < 0, -x, x) if signed else x
    if name == "sign":
        positive = where(x.differs(0), x.like(1), 0)
        return where(x < 0, -1, positive) if signed else positive
    y = operands[1]
    if name in ("maximum", "minimum"):
        return where(x.compare("gt" if name == "maximum" else "lt", y, signed), x, y)
    if name in ("shl", "shr"):
        return _shift(name, x, y, signed)
    if name == "pow":
        return remainder.whole_power(x, y, signed)
    return _divide(name, x, y, signed)


def _shift(name: str, x: Lanes, y: Lanes, signed: bool) -> Lanes:
    inside = y.compare("lt", x.bits, signed=False)
    amount = where(inside, y, x.bits - 1 if name == "shr" and signed else 0)
    if name == "shr" and signed:
        return x >> amount
    return where(inside, x << amount if name == "shl" else x.shift_logical(amount), 0)


def _divide(name: str, x: Lanes, y: Lanes, signed: bool) -> Lanes:
    """floordiv, mod and fmod, which are 0 for a divisor of 0; nothing else can trap."""
    zero = y.equals(0)
    if not signed:
        operation = "udiv" if name == "floordiv" else "urem"
        return where(zero, 0, x.binary(operation, where(zero, 1, y)))
    least = -(1 << (x.bits - 1))
    beyond = y.equals(-1) & x.equals(least)  # the quotient wraps to x, the remainder is 0
    safe = where(zero | beyond, 1, y)
    rest = x.binary("srem", safe)
    if name == "fmod":
        return where(zero, 0, rest)
    other = rest.differs(0) & ((rest ^ safe) < 0)
    if name == "mod":
        return where(zero, 0, where(other, rest + safe, rest))
    quotient = x.binary("sdiv", safe)
    return where(zero, 0, where(other, quotient - 1, quotient))


# -- floats

_FLOAT = _ARITHMETIC | {
    "div": lambda x, y: x / y,
    "floordiv": remainder.floordiv,
    "mod": remainder.mod,
    "fmod": remainder.fmod,
    "copysign": copysign,
    "maximum": lambda x, y: _or_nan(where(y > x, y, x), y),
    "minimum": lambda x, y: _or_nan(where(y < x, y, x), y),
    "abs": absolute,
    "sign": lambda x: where(x > 0, x.like(1.0), where(x < 0, x.like(-1.0), 0.0)),
    "imag": lambda x: x.like(0.0),
    "floor": floor,
    "ceil": ceil,
    "round": rint,
    "trunc": trunc,
    "isnan": is_nan,
    "isinf": lambda x: absolute(x).equals(float("inf")),
    "isfinite": lambda x: absolute(x) < float("inf"),
}


def _or_nan(chosen: Lanes, y: Lanes) -> Lanes:
    """What was chosen of x and y, which is x where one is NaN; y where that is NaN."""
    return chosen if y.is_number else where(is_nan(y), y, chosen)


def _float(name: str, operands: list[Lanes]) -> Lanes:
    if name in _FLOAT:
        return _FLOAT[name](*operands)
    return mathlib.emit(name, operands)


# -- complex numbers


def _complex(name: str, operands: Sequence[Parts]) -> Parts:
    z = operands[0][0], operands[0][1]
    if name in ("isnan", "isinf", "isfinite"):
        real, imaginary = (_FLOAT[name](part) for part in z)
        return (real & imaginary if name == "isfinite" else real | imaginary,)
    if name in ("real", "imag"):
        return (z[name == "imag"],)
    if name == "conj":
        return z[0], -z[1]
    if name == "neg":
        return -z[0], -z[1]
    if len(operands) == 2:
        return _complex_pair(name, z, (operands[1][0], operands[1][1]))
    wide = to_double(z[0]), to_double(z[1])
    if name == "abs":
        result: Parts = (complexes.magnitude(wide),)
    else:
        result = complexes.TABLE[name](wide)
    return result if z[0].kind == "double" else tuple(map(to_float, result))


def _complex_pair(name: str, z: complexes.Pair, w: complexes.Pair) -> Parts:
    if name in ("eq", "ne"):
        real, imaginary = (a.compare(name, b) for a, b in zip(z, w, strict=True))
        return (real & imaginary if name == "eq" else real | imaginary,)
    if name == "mul":
        return complexes.multiply(z, w)
    if name == "div":
        return complexes.divide(z, w)
    if name == "pow":
        result = complexes.power(
            (to_double(z[0]), to_double(z[1])), (to_double(w[0]), to_double(w[1]))
        )
        return result if z[0].kind == "double" else (to_float(result[0]), to_float(result[1]))
    return tuple(_ARITHMETIC[name](a, b) for a, b in zip(z, w, strict=True))


# -- folding


def combine(
    name: str, dtype: DType, state: Sequence[Parts], values: Sequence[Parts]
) -> tuple[Parts, ...]:
    """Write one step of a combining rule; `dtype` is that of the first value."""
    rule = COMBINES[name]
    if rule.arity == 1:
        return (apply(rule.function, dtype, (state[0], values[0])),)
    (old,), (old_at,) = state
    (new,), (new_at,) = values
    earlier = new_at < old_at
    better = new.compare(rule.function, old, signed=dtype.is_signed) | (new.equals(old) & earlier)
    if dtype.category == "float":
        old_nan, new_nan = is_nan(old), is_nan(new)
        better = where(old_nan | new_nan, new_nan & (~old_nan | earlier), better)
    return (where(better, new, old),), (where(better, new_at, old_at),)
