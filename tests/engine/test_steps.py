"""Steps of the tape under PyTorch's names, and what they show of the values they keep."""

from __future__ import annotations

import numpy as np
import pytest

import talweg as tw
from talweg.base.errors import GradientError

X = tw.tensor([[1.0, 2.0], [3.0, 4.0]])


@pytest.mark.parametrize(
    ("make", "name"),
    [
        (lambda x: tw.nn.functional.linear(x, X, X[0]), "AddmmBackward0"),
        (lambda x: x @ X, "MmBackward0"),
        (lambda x: x.reshape(4), "ViewBackward0"),
        (lambda x: tw.nn.functional.conv1d(x[None], X[None]), "ConvolutionBackward0"),
        (lambda x: tw.nn.functional.max_pool2d(x[None], 2), "MaxPool2DWithIndicesBackward0"),
        (lambda x: tw.nn.functional.layer_norm(x, (2,)), "NativeLayerNormBackward0"),
        (lambda x: tw.nn.functional.cross_entropy(x, tw.tensor([0, 1])), "NllLossBackward0"),
        (lambda x: x.log_softmax(1), "LogSoftmaxBackward0"),
        (lambda x: tw.nn.functional.mse_loss(x, X), "MseLossBackward0"),
    ],
)
def test_names(make: object, name: str) -> None:
    x = X.clone().requires_grad_()
    assert make(x).grad_fn.name() == name  # type: ignore[operator]


def test_a_linear_layers_bias_comes_first() -> None:
    layer = tw.nn.Linear(2, 2)
    step = layer(X.clone().requires_grad_().exp()).grad_fn
    names = [s.name() for s, _ in step.next_functions]
    assert names == ["AccumulateGrad", "ExpBackward0", "AccumulateGrad"]
    assert step.next_functions[0][0].variable is layer.bias


def test_saved_values() -> None:
    x = X.clone().requires_grad_()
    y = x.pow(2)
    assert tw.equal(y.grad_fn._saved_self, x)
    assert y.grad_fn._saved_self.requires_grad
    z = y.exp()
    assert z.grad_fn._saved_result.grad_fn is z.grad_fn
    np.testing.assert_allclose(z.grad_fn._saved_result.detach(), np.exp(X.numpy() ** 2), rtol=1e-6)
    both = (x * y).grad_fn
    assert [n for n in dir(both) if n.startswith("_saved_")] == ["_saved_other", "_saved_self"]
    assert tw.equal(both._saved_other, y)
    assert both._saved_other.grad_fn is y.grad_fn
    assert tw.equal((x * x).grad_fn._saved_other, x)
    with pytest.raises(AttributeError, match="'ExpBackward0' object has no attribute '_saved_x'"):
        z.grad_fn._saved_x  # noqa: B018


def test_what_was_freed_is_told() -> None:
    x = X.clone().requires_grad_()
    y = x.exp()
    y.sum().backward()
    with pytest.raises(GradientError, match="retain_graph"):
        y.grad_fn._saved_result  # noqa: B018
