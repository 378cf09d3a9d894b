"""The scalar functions and the combining rules of loop nests, as two tables.

`FUNCTIONS` is the only list of what a scalar expression can call: arity, dtypes, result dtype and
meaning. `COMBINES` lists how values are folded together. Builder, verifier, text form, interpreter
and code generation read these tables; none of them has a list of its own.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeAlias

import numpy as np

from talweg.base import dtypes, special
from talweg.base.dtypes import DType
from talweg.base.errors import DTypeError
from talweg.base.frozen import frozen

Meaning: TypeAlias = Callable[..., Any]

BITS = ("bool", "uint", "int")
INTEGERS = ("uint", "int")
REALS = ("uint", "int", "float")
FLOATS = ("float",)
INEXACT = ("float", "complex")
NUMBERS = ("uint", "int", "float", "complex")
ORDERED = ("bool", "uint", "int", "float")
ALL = ("bool", "uint", "int", "float", "complex")

_REAL_OF = {dtypes.complex64: dtypes.float32, dtypes.complex128: dtypes.float64}
_COMPLEX_OF = {real: complex_ for complex_, real in _REAL_OF.items()}


@frozen
class Function:
    """One scalar function.

    Args:
        arity: number of operands; they all have one dtype.
        accepts: dtype categories of the operands.
        result: `same` dtype as the operands, `bool`, `real` (complex operands lose their imaginary
            part) or `complex` (made of two reals).
        meaning: the NumPy function, on arrays of the operands' compute dtype. For bfloat16 the
            result is rounded afterwards; integer arithmetic wraps; integer division by 0 gives 0.
    """

    arity: int
    accepts: tuple[str, ...]
    result: str
    meaning: Meaning

    def result_dtype(self, dtype: DType) -> DType:
        """Return the result's dtype for operands of this dtype.

        Raises:
            DTypeError: when the function does not accept it.
        """
        if dtype.category not in self.accepts or (
            self.result == "complex" and dtype not in _COMPLEX_OF
        ):
            raise DTypeError(f"{dtype.name} is not accepted here, only {', '.join(self.accepts)}")
        if self.result == "bool":
            return dtypes.bool_
        if self.result == "complex":
            return _COMPLEX_OF[dtype]
        return _REAL_OF.get(dtype, dtype) if self.result == "real" else dtype


def _integer_power(base: Any, exponent: Any) -> Any:
    """Wrapping power; a negative exponent truncates 1 / base**n: 0 unless base is 1 or -1."""
    magnitude = np.power(base, np.where(exponent < 0, 0, exponent).astype(base.dtype))
    odd = np.where(exponent % 2 != 0, base, base * base)
    below = np.where(np.isin(base, (1, -1)), odd, 0)
    return np.where(exponent < 0, below, magnitude).astype(base.dtype)


def _power(base: Any, exponent: Any) -> Any:
    if np.asarray(base).dtype.kind in "iu":
        return _integer_power(np.asarray(base), np.asarray(exponent))
    return np.power(base, exponent)


def _sign(x: Any) -> Any:
    return np.where(np.isnan(x), 0, np.sign(x))


def _polygamma(order: Any, x: Any) -> Any:
    """The order, a whole number, is the same for all elements."""
    return special.polygamma(int(np.ravel(order)[0]), x)


def _make_complex(real: Any, imaginary: Any) -> Any:
    result = np.empty(np.broadcast_shapes(np.shape(real), np.shape(imaginary)), np.complex128)
    result.real, result.imag = real, imaginary
    return result


_ARITHMETIC = {
    "add": Function(2, ALL, "same", np.add),  # for bool: or
    "sub": Function(2, NUMBERS, "same", np.subtract),
    "mul": Function(2, ALL, "same", np.multiply),  # for bool: and
    "div": Function(2, INEXACT, "same", np.divide),
    "floordiv": Function(2, REALS, "same", np.floor_divide),  # towards minus infinity
    "mod": Function(2, REALS, "same", np.mod),  # the sign of the divisor
    "fmod": Function(2, REALS, "same", np.fmod),  # the sign of the dividend
    "pow": Function(2, NUMBERS, "same", _power),
    "atan2": Function(2, FLOATS, "same", np.arctan2),
    "copysign": Function(2, FLOATS, "same", np.copysign),
    "maximum": Function(2, ORDERED, "same", np.maximum),  # NaN if either is
    "minimum": Function(2, ORDERED, "same", np.minimum),
    "neg": Function(1, NUMBERS, "same", np.negative),
    "abs": Function(1, NUMBERS, "real", np.abs),
    "sign": Function(1, NUMBERS, "same", _sign),  # 0 for NaN
    "conj": Function(1, NUMBERS, "same", np.conj),
    "real": Function(1, INEXACT, "real", np.real),
    "imag": Function(1, INEXACT, "real", np.imag),
    "complex": Function(2, FLOATS, "complex", _make_complex),
    "floor": Function(1, FLOATS, "same", np.floor),
    "ceil": Function(1, FLOATS, "same", np.ceil),
    "round": Function(1, FLOATS, "same", np.rint),  # half to even
    "trunc": Function(1, FLOATS, "same", np.trunc),
}

_TRANSCENDENTAL = {
    "exp": Function(1, INEXACT, "same", np.exp),
    "exp2": Function(1, INEXACT, "same", np.exp2),
    "expm1": Function(1, INEXACT, "same", np.expm1),
    "log": Function(1, INEXACT, "same", np.log),
    "log2": Function(1, INEXACT, "same", np.log2),
    "log10": Function(1, INEXACT, "same", np.log10),
    "log1p": Function(1, INEXACT, "same", np.log1p),
    "sqrt": Function(1, INEXACT, "same", np.sqrt),
    "rsqrt": Function(1, INEXACT, "same", lambda x: np.reciprocal(np.sqrt(x))),
    "sin": Function(1, INEXACT, "same", np.sin),
    "cos": Function(1, INEXACT, "same", np.cos),
    "tan": Function(1, INEXACT, "same", np.tan),
    "asin": Function(1, INEXACT, "same", np.arcsin),
    "acos": Function(1, INEXACT, "same", np.arccos),
    "atan": Function(1, INEXACT, "same", np.arctan),
    "sinh": Function(1, INEXACT, "same", np.sinh),
    "cosh": Function(1, INEXACT, "same", np.cosh),
    "tanh": Function(1, INEXACT, "same", np.tanh),
    "asinh": Function(1, INEXACT, "same", np.arcsinh),
    "acosh": Function(1, INEXACT, "same", np.arccosh),
    "atanh": Function(1, INEXACT, "same", np.arctanh),
    "erf": Function(1, FLOATS, "same", special.erf),
    "erfc": Function(1, FLOATS, "same", special.erfc),
    "erfinv": Function(1, FLOATS, "same", special.erfinv),
    "lgamma": Function(1, FLOATS, "same", special.lgamma),
    "digamma": Function(1, FLOATS, "same", special.digamma),
    "polygamma": Function(2, FLOATS, "same", _polygamma),
}

_LOGIC = {
    "eq": Function(2, ALL, "bool", np.equal),
    "ne": Function(2, ALL, "bool", np.not_equal),
    "lt": Function(2, ORDERED, "bool", np.less),
    "le": Function(2, ORDERED, "bool", np.less_equal),
    "upto": Function(2, ORDERED, "bool", np.less_equal),  # le; beyond it products are zeros
    "gt": Function(2, ORDERED, "bool", np.greater),
    "ge": Function(2, ORDERED, "bool", np.greater_equal),
    "logical_and": Function(2, ("bool",), "same", np.logical_and),
    "logical_or": Function(2, ("bool",), "same", np.logical_or),
    "logical_xor": Function(2, ("bool",), "same", np.logical_xor),
    "logical_not": Function(1, ("bool",), "same", np.logical_not),
    "bit_and": Function(2, BITS, "same", np.bitwise_and),
    "bit_or": Function(2, BITS, "same", np.bitwise_or),
    "bit_xor": Function(2, BITS, "same", np.bitwise_xor),
    "bit_not": Function(1, BITS, "same", np.invert),
    "shl": Function(2, INTEGERS, "same", np.left_shift),  # by at least the width: 0
    "shr": Function(2, INTEGERS, "same", np.right_shift),  # arithmetic for signed types
    "isnan": Function(1, INEXACT, "bool", np.isnan),
    "isinf": Function(1, INEXACT, "bool", np.isinf),
    "isfinite": Function(1, INEXACT, "bool", np.isfinite),
}

FUNCTIONS: dict[str, Function] = {**_ARITHMETIC, **_TRANSCENDENTAL, **_LOGIC}


def evaluate(function: str, *operands: Any) -> Any:
    """Apply a function of the table to NumPy values, silently.

    >>> float(evaluate("maximum", 1.0, float("nan")))
    nan
    """
    with np.errstate(all="ignore"):
        return FUNCTIONS[function].meaning(*operands)


@frozen
class Combine:
    """An associative and commutative rule that folds values into a state.

    Args:
        arity: 1, or 2 for a value together with the index where it was found.
        accepts: dtype categories of the (first) value.
        function: for arity 1 the scalar function that combines state and value; for arity 2 the
            comparison by which a new value wins. NaN wins over everything; among equals the lowest
            index wins.
    """

    arity: int
    accepts: tuple[str, ...]
    function: str


COMBINES: dict[str, Combine] = {
    "add": Combine(1, ALL, "add"),
    "mul": Combine(1, ALL, "mul"),
    "maximum": Combine(1, ORDERED, "maximum"),
    "minimum": Combine(1, ORDERED, "minimum"),
    "logical_and": Combine(1, ("bool",), "logical_and"),
    "logical_or": Combine(1, ("bool",), "logical_or"),
    "bit_and": Combine(1, BITS, "bit_and"),
    "bit_or": Combine(1, BITS, "bit_or"),
    "bit_xor": Combine(1, BITS, "bit_xor"),
    "argmax": Combine(2, ORDERED, "gt"),
    "argmin": Combine(2, ORDERED, "lt"),
}


def _limits(dtype: DType) -> tuple[float, float]:
    if dtype.category == "bool":
        return 0, 1
    if dtype.category == "float":
        return -np.inf, np.inf
    info = dtypes.iinfo(dtype)
    return info.min, info.max


def identity(combine: str, dtype: DType) -> tuple[float, ...]:
    """Return the state that changes no value folded into it.

    >>> identity("maximum", dtypes.int8), identity("argmin", dtypes.float32)
    ((-128,), (inf, 9223372036854775807))
    """
    if combine in ("maximum", "argmax"):
        first = _limits(dtype)[0]
    elif combine in ("minimum", "argmin"):
        first = _limits(dtype)[1]
    elif combine == "bit_and":
        first = -1 if dtype.category == "int" else _limits(dtype)[1]
    else:
        first = 1 if combine in ("mul", "logical_and") else 0
    return (first, dtypes.iinfo(dtypes.int64).max) if COMBINES[combine].arity == 2 else (first,)


def combine_values(combine: str, state: tuple[Any, ...], values: tuple[Any, ...]) -> Any:
    """Fold `values` into `state` (NumPy scalars); both and the result have the rule's arity."""
    rule = COMBINES[combine]
    if rule.arity == 1:
        return (evaluate(rule.function, state[0], values[0]),)
    (old, old_at), (new, new_at) = state, values
    old_nan, new_nan = bool(old != old), bool(new != new)
    if old_nan or new_nan:
        better = new_nan and not (old_nan and old_at <= new_at)
    else:
        better = bool(evaluate(rule.function, new, old)) or (bool(new == old) and new_at < old_at)
    return values if better else state
