"""Hooks before and after forward, and around the gradient."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import talweg as tw
from talweg import nn
from talweg.base.errors import InvalidValue


class Double(nn.Module):
    def forward(self, x: Any, factor: float = 2.0) -> Any:
        return x * factor


def test_forward_hooks_see_and_replace() -> None:
    m, seen = Double(), []
    first = m.register_forward_pre_hook(lambda m, args: (args[0] + 1,))
    m.register_forward_hook(lambda m, args, out: seen.append((args[0].item(), out.item())))
    m.register_forward_hook(lambda m, args, out: out + 100)
    assert m(tw.tensor(3.0)).item() == 108
    assert seen == [(4, 8)]
    first.remove()
    assert m(tw.tensor(3.0)).item() == 106


def test_prepend_runs_first() -> None:
    m, order = nn.Identity(), []
    m.register_forward_hook(lambda *_: order.append("a"))
    m.register_forward_hook(lambda *_: order.append("b"), prepend=True)
    m(1)
    assert order == ["b", "a"]


def test_hooks_with_kwargs() -> None:
    m, seen = Double(), []
    m.register_forward_pre_hook(
        lambda m, args, kwargs: (args, {"factor": kwargs["factor"] + 1}), with_kwargs=True
    )
    m.register_forward_hook(lambda m, args, kwargs, out: seen.append(kwargs), with_kwargs=True)
    assert m(tw.tensor(3.0), factor=4.0).item() == 15
    assert seen == [{"factor": 5.0}]


def test_always_call_runs_after_an_error() -> None:
    m, seen = Double(), []
    m.register_forward_hook(lambda m, args, out: seen.append(out), always_call=True)
    m.register_forward_hook(lambda m, args, out: seen.append("never"))
    with pytest.raises(TypeError):
        m(None)
    assert seen == [None]


def test_backward_hooks_see_the_gradients() -> None:
    layer = nn.Linear(3, 2)
    seen: list[Any] = []
    layer.register_full_backward_hook(lambda m, gi, go: seen.append((m, gi, go)))
    x = tw.randn(4, 3, requires_grad=True)
    layer(x).sum().backward()
    ((module, grad_input, grad_output),) = seen
    assert module is layer
    np.testing.assert_array_equal(grad_output[0].numpy(), np.ones((4, 2)))
    expected = np.ones((4, 2)) @ layer.weight.detach().numpy()
    np.testing.assert_allclose(grad_input[0].numpy(), expected, rtol=1e-5)
    np.testing.assert_allclose(x.grad.numpy(), expected, rtol=1e-5)


def test_backward_hooks_replace_gradients() -> None:
    m = Double()
    m.register_full_backward_pre_hook(lambda m, go: (go[0] * 10,))
    m.register_full_backward_hook(lambda m, gi, go: (gi[0] + go[0],))
    x = tw.tensor(1.0, requires_grad=True)
    m(x).backward()
    assert x.grad.item() == 30


def test_backward_hooks_without_gradients_of_inputs() -> None:
    layer, seen = nn.Linear(3, 2), []
    handle = layer.register_full_backward_hook(lambda m, gi, go: seen.append((gi, go[0].shape)))
    layer(tw.ones(1, 3)).sum().backward()
    assert seen == [((None,), (1, 2))]
    assert layer.weight.grad is not None
    handle.remove()
    layer(tw.ones(1, 3)).sum().backward()
    assert len(seen) == 1


def test_a_hook_that_returns_too_few_gradients_is_named() -> None:
    m = nn.Bilinear(2, 2, 1)
    m.register_full_backward_hook(lambda m, gi, go: (gi[0],))
    x = tw.ones(1, 2, requires_grad=True)
    with pytest.raises(InvalidValue, match="Bilinear returned 1 gradients for 2 inputs"):
        m(x, x * 2).sum().backward()
