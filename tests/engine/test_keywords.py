"""Functions take the keywords that PyTorch's take, and show them in their signatures."""

from __future__ import annotations

import inspect

import numpy as np
import pytest

import talweg as tw
import talweg.nn.functional as F
from talweg.engine.functions import FUNCTIONS

X = np.arange(6, dtype=np.float32).reshape(2, 3)


def x() -> tw.Tensor:
    return tw.tensor(X)


@pytest.mark.parametrize(
    ("got", "wanted"),
    [
        (lambda: tw.add(input=x(), other=x()), X + X),
        (lambda: tw.sum(input=x(), dim=1, keepdim=True), X.sum(1, keepdims=True)),
        (lambda: tw.sum(x(), axis=0), X.sum(0)),
        (lambda: x().mean(axis=1, keepdims=True), X.mean(1, keepdims=True)),
        (lambda: tw.cumsum(x(), axis=1), X.cumsum(1)),
        (lambda: tw.reshape(input=x(), shape=(3, 2)), X.reshape(3, 2)),
        (lambda: tw.permute(input=x(), dims=(1, 0)), X.T),
        (lambda: tw.permute(x(), dims=(1, 0)), X.T),
        (lambda: tw.flip(x(), dims=[1]), X[:, ::-1]),
        (lambda: tw.tile(x(), dims=(2, 1)), np.tile(X, (2, 1))),
        (lambda: x().view(size=(6,)), X.reshape(6)),
        (lambda: x().expand(size=(2, 2, 3)), np.broadcast_to(X, (2, 2, 3))),
        (lambda: tw.broadcast_to(x(), size=(1, 2, 3)), X[None]),
        (lambda: tw.transpose(input=x(), dim0=0, dim1=1), X.T),
        (lambda: x().split(split_size=1)[1], X[1:]),
        (lambda: tw.dot(input=x()[0], tensor=x()[1]), X[0] @ X[1]),
        (lambda: tw.searchsorted(x()[0], input=x()[1]), np.searchsorted(X[0], X[1])),
        (lambda: F.relu(input=x() - 2), np.maximum(X - 2, 0)),
        (lambda: F.relu(input=x() - 2, inplace=True), np.maximum(X - 2, 0)),
        (lambda: F.relu_(input=x() - 2), np.maximum(X - 2, 0)),
        (lambda: F.pad(input=x(), pad=(1, 0)), np.pad(X, ((0, 0), (1, 0)))),
    ],
)
def test_keyword(got: object, wanted: np.ndarray) -> None:
    assert callable(got)
    np.testing.assert_array_equal(got().numpy(), wanted)


def test_gradients_flow_through_keyword_operands() -> None:
    a = tw.tensor(X, requires_grad=True)
    tw.mul(input=a, other=a).sum().backward()
    assert a.grad is not None
    np.testing.assert_array_equal(a.grad.numpy(), 2 * X)


def test_signatures_show_input() -> None:
    first = {name: next(iter(inspect.signature(f).parameters)) for name, f in FUNCTIONS.items()}
    assert first["softmax"] == first["conv2d"] == first["reshape"] == "input"
    assert "x" not in first.values()
    assert next(iter(inspect.signature(F.relu).parameters)) == "input"
    assert next(iter(inspect.signature(F.relu_).parameters)) == "input"


def test_old_arguments_of_grad() -> None:
    a = tw.tensor([3.0], requires_grad=True)
    (g,) = tw.autograd.grad(
        outputs=a * a, inputs=a, grad_outputs=tw.ones(1), create_graph=True, only_inputs=True
    )
    assert g.tolist() == [6.0]
    assert g.requires_grad
    assert a.grad is None
