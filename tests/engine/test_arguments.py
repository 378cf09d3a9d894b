"""Wrong arguments: one error that names the function, the parameter, the line and the remedy."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import talweg as tw
import talweg.nn.functional as F
from talweg import nn

ARRAY = np.ones((2, 3), np.float32)


def x() -> tw.Tensor:
    return tw.ones(2, 3)


@pytest.mark.parametrize(
    ("call", "text"),
    [
        (lambda: tw.relu(ARRAY), "relu: input must be a Tensor, got ndarray"),
        (lambda: tw.sum([1, 2]), "sum: input must be a Tensor, got list"),
        (lambda: F.relu([x(), x()]), r"got a list of Tensors; tw.stack\(\) or tw.cat\(\)"),
        (lambda: nn.Linear(3, 2)(ARRAY), "linear: input must be a Tensor, got ndarray"),
        (lambda: tw.reshape(ARRAY, (3, 2)), "reshape: input must be a Tensor, got ndarray"),
        (tw.reshape, "reshape: missing a required argument: 'input'"),
        (lambda: tw.matmul(x(), [1.0]), "matmul: other must be a Tensor, got list"),
        (lambda: tw.cat([x(), ARRAY]), "cat: tensors must be a list of Tensors, one .* is ndarray"),
        (lambda: tw.cat(3), "cat: tensors must be a list of Tensors, got int"),
        (lambda: tw.exp(x(), 1, 2), r"exp: too many positional .* are \(input\)"),
        (lambda: tw.sum(x(), dimm=1), "sum: got an unexpected .* 'dimm'; .*input, dim, keepdim"),
        (lambda: tw.matmul(x()), "matmul: missing a required argument: 'other'"),
        (lambda: F.mse_loss(x(), ARRAY), r"got ndarray; convert it with tw.tensor\(\)"),
    ],
)
def test_wrong_argument(call: Callable[[], Any], text: str) -> None:
    with pytest.raises(TypeError, match=text) as caught:
        call()
    assert "test_arguments.py" in str(caught.value)


def test_an_error_of_a_users_own_code_is_left_alone() -> None:
    class Broken(tw.autograd.Function):
        @staticmethod
        def forward(ctx: Any, t: tw.Tensor) -> tw.Tensor:
            return t.no_such_method()  # type: ignore[no-any-return]

        @staticmethod
        def backward(ctx: Any, g: tw.Tensor) -> tw.Tensor:
            return g

    with pytest.raises(AttributeError, match="no_such_method"):
        Broken.apply(x())
