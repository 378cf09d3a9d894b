"""Every method that writes into its Tensor, beside PyTorch's: results and gradients."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from peer import Case, Inputs, compare, torch

import talweg as tw

pytestmark = pytest.mark.peer
D = Inputs(5)
INSIDE, OTHER, REAL = D.probability(3, 4), D.probability(3, 4), D.real(3, 4)
SQUARE = D.real(3, 3)
WHOLE, SMALL = D.whole(3, 4, high=100), D.whole(3, 4, low=1, high=5)
TRUTH = D.truth(3, 4)
ROWS = np.array([2, 0])
PLACES = D.whole(3, 2, high=3)
LEFT, RIGHT, VECTOR = D.real(3, 2), D.real(2, 4), D.real(2)


def _words(text: str) -> list[str]:
    return text.split()


UNARY = _words("""
abs absolute acos arccos asin arcsin asinh arcsinh atan arctan atanh arctanh ceil cos cosh deg2rad
digamma erf erfc erfinv exp exp2 expm1 fix floor frac lgamma log log10 log1p log2 logit nan_to_num
neg negative rad2deg reciprocal relu round rsqrt sgn sigmoid sign sin sinc sinh sqrt square tan tanh
trunc cumsum cumprod
""")
BINARY = _words("""
add sub subtract mul multiply div divide true_divide floor_divide remainder fmod pow float_power
atan2 arctan2 hypot copysign xlogy ldexp
""")
COMPARISONS = _words("""
eq ne not_equal lt less le less_equal gt greater ge greater_equal logical_and logical_or logical_xor
""")
BITS = _words("bitwise_and bitwise_or bitwise_xor bitwise_left_shift bitwise_right_shift")

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
    "masked_scatter": (REAL, (TRUTH, D.real(12))),
    "addmm": (REAL, (LEFT, RIGHT)),
    "addmv": (D.real(3), (LEFT, VECTOR)),
    "addr": (LEFT, (D.real(3), VECTOR)),
    "baddbmm": (REAL[None], (LEFT[None], RIGHT[None])),
    "addbmm": (REAL, (LEFT[None], RIGHT[None])),
    "tril": (REAL, (1,)),
    "triu": (REAL, (1,)),
    "scatter": (REAL, (0, PLACES, LEFT)),
    "scatter_add": (REAL, (0, PLACES, LEFT)),
    "scatter_reduce": (REAL, (0, PLACES, LEFT, "amax")),
    "index_add": (REAL, (0, ROWS, D.real(2, 4))),
    "index_copy": (REAL, (0, ROWS, D.real(2, 4))),
    "index_fill": (REAL, (0, ROWS, 2.5)),
    "put": (REAL, (np.array([1, 7, 3]), D.real(3))),
    "copy": (REAL, (D.real(4),)),
    "fill": (REAL, (2.5,)),
    "zero": (REAL, ()),
    "squeeze": (REAL[:, None], ()),
    "unsqueeze": (REAL, (1,)),
    "transpose": (REAL, (0, 1)),
    "swapaxes": (REAL, (0, 1)),
    "swapdims": (REAL, (0, 1)),
    "t": (REAL, ()),
}
PLAIN = {
    *(*COMPARISONS, "logical_not", "heaviside", "zero", "fill", "copy", "floor_divide"),
    *("asinh", "arcsinh", "acosh", "arccosh", "atanh", "arctanh"),  # PyTorch has no gradients
}
DRAWN = _words("bernoulli cauchy exponential geometric log_normal normal random uniform")
ELSEWHERE = _words("detach requires_grad index_put apply")


def call(T: Any, name: str, arguments: tuple[Any, ...], x: Any) -> Any:
    """Write into a copy of x, and check that the copy is what the method returns."""
    y = x * 1
    given = [T.tensor(a) if isinstance(a, np.ndarray) else a for a in arguments]
    assert getattr(y, f"{name}_")(*given) is y
    return y


@pytest.mark.parametrize("name", CALLS)
def test_equals_pytorch(name: str) -> None:
    array, arguments = CALLS[name]
    gradient = array.dtype.kind == "f" and name not in PLAIN
    compare(Case(f"{name}_", lambda T, x: call(T, name, arguments, x), (array,), gradient, 4))


def test_index_put() -> None:
    def write(T: Any, x: Any, v: Any) -> Any:
        places = (T.tensor([0, 0]), T.tensor([1, 1]))
        return (x * 1).index_put_(places, v, accumulate=True)

    compare(Case("index_put_", write, (REAL, VECTOR)))


@pytest.mark.parametrize("library", [tw, torch])
@pytest.mark.parametrize("name", DRAWN)
def test_drawn_in_place(name: str, library: Any) -> None:
    """Drawn numbers differ; their moments must not."""
    library.manual_seed(0)
    arguments = {"geometric": (0.3,), "bernoulli": (0.3,), "random": (10,), "cauchy": ()}
    x = library.zeros(20_000)
    assert getattr(x, f"{name}_")(*arguments.get(name, ())) is x
    middle = {
        "bernoulli": 0.0,
        "cauchy": 0.0,
        "exponential": np.log(2),
        "geometric": 2.0,
        "log_normal": np.exp(1),
        "normal": 0.0,
        "random": 4.5,
        "uniform": 0.5,
    }
    assert x.median().item() == pytest.approx(middle[name], abs=0.6 if name == "random" else 0.12)


def test_every_method_is_compared() -> None:
    ours = {n[:-1] for n in dir(tw.Tensor) if n.endswith("_") and not n.startswith("_")}
    assert ours == {*CALLS, *DRAWN, *ELSEWHERE}
    lacking = {n for n in ours if not hasattr(torch.Tensor, f"{n}_")}
    assert not lacking
