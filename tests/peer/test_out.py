"""`out=` beside PyTorch."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from peer import Inputs, close, torch

import talweg as tw

pytestmark = [pytest.mark.peer, pytest.mark.filterwarnings("ignore:.*resized:UserWarning")]
D = Inputs(34)
X, Y = D.real(3, 4), D.real(3, 4)

CALLS: list[Callable[[Any, Any, Any, Any], Any]] = [
    lambda T, x, y, out: T.add(x, y, out=out),
    lambda T, x, y, out: T.mul(x, 2, out=out),
    lambda T, x, y, out: T.matmul(x, y.T, out=out),
    lambda T, x, y, out: T.sum(x, 1, out=out),
    lambda T, x, y, out: T.cat([x, y], 1, out=out),
    lambda T, x, y, out: T.exp(input=x, out=out),
    lambda T, x, y, out: T.clamp(x, 0, 1, out=out),
    lambda T, x, y, out: T.linalg.norm(x, out=out),
    lambda T, x, y, out: T.stack([x, y], out=out),
    lambda T, x, y, out: T.linspace(0, 1, 5, out=out),
    lambda T, x, y, out: T.ones(2, 3, out=out),
]


EXACT = {"float32": CALLS, "float64": [CALLS[0], CALLS[1], CALLS[5]]}


@pytest.mark.parametrize(("dtype", "call"), [(d, c) for d, calls in EXACT.items() for c in calls])
@pytest.mark.parametrize("shape", [(0,), (3, 4), (2, 3)])
def test_out(dtype: str, call: Callable[..., Any], shape: tuple[int, ...]) -> None:
    found = []
    for T in (tw, torch):
        out = T.zeros(shape, dtype=getattr(T, dtype))
        assert call(T, T.tensor(X), T.tensor(Y), out) is out
        found.append(out)
    close(found[0], found[1], 8, "out")


@pytest.mark.parametrize(
    "call",
    [
        lambda T: T.add(T.ones(2, requires_grad=True), 1, out=T.empty(2)),
        lambda T: T.add(T.ones(2), 0.5, out=T.empty(2, dtype=T.int64)),
        lambda T: T.matmul(T.ones(2, 3), T.ones(2, 3), out=T.empty(2)),
    ],
)
def test_errors(call: Callable[[Any], Any]) -> None:
    for library in (tw, torch):
        with pytest.raises(RuntimeError):
            call(library)
