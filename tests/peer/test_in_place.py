"""Every method that writes into its Tensor, beside PyTorch's: results and gradients."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from peer import Case, compare, torch

import talweg as tw
from tests.engine.in_place import CALLS, COMPARISONS, REAL, VECTOR, words

pytestmark = pytest.mark.peer
PLAIN = {
    *(*COMPARISONS, "logical_not", "heaviside", "zero", "fill", "copy", "floor_divide"),
    *("asinh", "arcsinh", "acosh", "arccosh", "atanh", "arctanh"),  # PyTorch has no gradients
}
DRAWN = words("bernoulli cauchy exponential geometric log_normal normal random uniform")
ELSEWHERE = words("detach requires_grad index_put apply map map2 resize resize_as")


def call(T: Any, name: str, arguments: tuple[Any, ...], x: Any) -> Any:
    """Write into a copy of x, and check that the copy is what the method returns."""
    y = x * 1
    given = [T.tensor(a) if isinstance(a, np.ndarray) else a for a in arguments]
    assert getattr(y, f"{name}_")(*given) is y
    return y


@pytest.mark.filterwarnings("ignore:index_reduce.* is in beta")
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


@pytest.mark.filterwarnings("ignore:This overload")
@pytest.mark.parametrize("name", ["add", "sub", "addcmul", "addcdiv"])
def test_factors_before_the_tensors(name: str) -> None:
    array, arguments = CALLS[name]
    given = (0.5, *arguments)
    compare(Case(f"{name}_", lambda T, x: call(T, name, given, x), (array,), True, 4))


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
