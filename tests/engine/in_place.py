"""One call of every method that writes into its Tensor, but for those that draw."""

from __future__ import annotations

from typing import Any

import numpy as np


def words(text: str) -> list[str]:
    """Return the words of a text."""
    return text.split()


def _real(*shape: int) -> np.ndarray:
    return RNG.standard_normal(shape).astype(np.float32)


def _inside(*shape: int) -> np.ndarray:
    return RNG.uniform(0.05, 0.95, shape).astype(np.float32)


RNG = np.random.RandomState(5)
INSIDE, OTHER, REAL = _inside(3, 4), _inside(3, 4), _real(3, 4)
WHOLE, SMALL = RNG.randint(0, 100, (3, 4)), RNG.randint(1, 5, (3, 4))
TRUTH = RNG.rand(3, 4) > 0.5
ROWS = np.array([2, 0])
PLACES = RNG.randint(0, 3, (3, 2))
LEFT, RIGHT, VECTOR = _real(3, 2), _real(2, 4), _real(2)

UNARY = words("""
abs absolute acos arccos asin arcsin asinh arcsinh atan arctan atanh arctanh ceil cos cosh deg2rad
digamma erf erfc erfinv exp exp2 expm1 fix floor frac lgamma log log10 log1p log2 logit nan_to_num
neg negative rad2deg reciprocal relu round rsqrt sgn sigmoid sign sin sinc sinh sqrt square tan tanh
trunc cumsum cumprod
""")
BINARY = words("""
add sub subtract mul multiply div divide true_divide floor_divide remainder fmod pow float_power
atan2 arctan2 hypot copysign xlogy ldexp
""")
COMPARISONS = words("""
eq ne not_equal lt less le less_equal gt greater ge greater_equal logical_and logical_or logical_xor
""")
BITS = words("bitwise_and bitwise_or bitwise_xor bitwise_left_shift bitwise_right_shift")

# The arguments behind the Tensor; arrays become Tensors.
CALLS: dict[str, tuple[np.ndarray, tuple[Any, ...]]] = {
    **{n: (INSIDE, (0,) if n.startswith("cum") else ()) for n in UNARY},
    **dict.fromkeys(BINARY, (INSIDE, (OTHER,))),
    **{n: (SMALL.astype("float32"), (SMALL[::-1].astype("float32"),)) for n in COMPARISONS},
    **dict.fromkeys(BITS, (WHOLE, (SMALL,))),
    "float_power": (INSIDE.astype("float64"), (OTHER,)),
    "acosh": (INSIDE + 1, ()),
    "arccosh": (INSIDE + 1, ()),
    "heaviside": (REAL, (OTHER,)),
    "logical_not": (TRUTH.astype("float32"), ()),
    "bitwise_not": (WHOLE, ()),
    "clamp": (REAL, (-0.5, 0.5)),
    "clip": (REAL, (-0.5, 0.5)),
    "clamp_min": (REAL, (0.1,)),
    "clamp_max": (REAL, (0.1,)),
    "lerp": (REAL, (OTHER, 0.3)),
    "addcmul": (REAL, (OTHER, INSIDE)),
    "addcdiv": (REAL, (OTHER, INSIDE)),
    "masked_fill": (REAL, (TRUTH, 2.5)),
    "masked_scatter": (REAL, (TRUTH, _real(12))),
    "addmm": (REAL, (LEFT, RIGHT)),
    "addmv": (_real(3), (LEFT, VECTOR)),
    "addr": (LEFT, (_real(3), VECTOR)),
    "baddbmm": (REAL[None], (LEFT[None], RIGHT[None])),
    "addbmm": (REAL, (LEFT[None], RIGHT[None])),
    "tril": (REAL, (1,)),
    "triu": (REAL, (1,)),
    "scatter": (REAL, (0, PLACES, LEFT)),
    "scatter_add": (REAL, (0, PLACES, LEFT)),
    "scatter_reduce": (REAL, (0, PLACES, LEFT, "amax")),
    "index_add": (REAL, (0, ROWS, _real(2, 4))),
    "index_copy": (REAL, (0, ROWS, _real(2, 4))),
    "index_fill": (REAL, (0, ROWS, 2.5)),
    "index_reduce": (REAL, (0, ROWS, _real(2, 4), "amax")),
    "renorm": (REAL, (2, 0, 1.0)),
    "fill_diagonal": (REAL, (2.5,)),
    "put": (REAL, (np.array([1, 7, 3]), _real(3))),
    "copy": (REAL, (_real(4),)),
    "fill": (REAL, (2.5,)),
    "zero": (REAL, ()),
    "squeeze": (REAL[:, None], ()),
    "unsqueeze": (REAL, (1,)),
    "transpose": (REAL, (0, 1)),
    "swapaxes": (REAL, (0, 1)),
    "swapdims": (REAL, (0, 1)),
    "t": (REAL, ()),
}
