"""NaN in gradients is found where it begins."""

from __future__ import annotations

import pytest

import talweg as tw
import talweg.nn.functional as F
from talweg.base.errors import GradientError


def test_nan_labels_are_found_at_the_loss() -> None:
    model = tw.nn.Linear(3, 2)
    before = model.weight.detach().clone()
    labels = tw.tensor([[0.0, float("nan")]])
    with tw.autograd.detect_anomaly():
        loss = F.mse_loss(model(tw.ones(1, 3)), labels)
        with pytest.raises(GradientError, match=r"MseLoss.*nan.*0th output\n.*mse_loss\(model"):
            loss.backward()
    assert model.weight.grad is None
    assert tw.equal(model.weight.detach(), before)


def test_only_the_step_that_makes_the_nan_is_named() -> None:
    x = tw.tensor([0.0, 1.0], requires_grad=True)
    with tw.autograd.set_detect_anomaly(True):
        y = (x.sqrt() * tw.tensor([0.0, 1.0])).exp().sum()
        with pytest.raises(GradientError, match="Function 'SqrtBackward0' returned nan"):
            tw.autograd.grad(y, x)


@pytest.mark.parametrize("dtype", [tw.float16, tw.bfloat16, tw.float64, tw.complex64])
def test_every_floating_dtype_is_watched(dtype: tw.dtype) -> None:
    x = tw.ones(2, dtype=dtype, requires_grad=True)
    with tw.autograd.detect_anomaly():
        (x * 2).sum().backward(tw.tensor(1, dtype=dtype))
        with pytest.raises(GradientError, match="MulBackward0"):
            (x * float("nan")).sum().backward(tw.tensor(1, dtype=dtype))


def test_switching() -> None:
    x = tw.ones(2, requires_grad=True)
    nan = (x * float("nan")).sum()
    nan.backward(retain_graph=True)
    assert not tw.autograd.is_anomaly_enabled()
    tw.autograd.set_detect_anomaly(True)
    try:
        assert tw.autograd.is_anomaly_enabled()
        with pytest.raises(GradientError):
            nan.backward(retain_graph=True)
        with tw.autograd.detect_anomaly(check_nan=False):
            nan.backward(retain_graph=True)
        assert tw.autograd.is_anomaly_enabled()
    finally:
        tw.autograd.set_detect_anomaly(False)
    nan.backward()
