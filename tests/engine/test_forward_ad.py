"""Forward mode: tangents of what is computed from dual Tensors."""

from __future__ import annotations

import numpy as np
import pytest

import talweg as tw
from talweg.base.errors import GradientError, ShapeError

forward = tw.autograd.forward_ad
RNG = np.random.default_rng(31)


def test_tangents_are_directional_derivatives() -> None:
    a, x, t = RNG.standard_normal((4, 3)), RNG.standard_normal(3), RNG.standard_normal(3)
    with forward.dual_level():
        dual = forward.make_dual(tw.tensor(x), tw.tensor(t))
        value, tangent = forward.unpack_dual((tw.tensor(a) @ dual).tanh())
    expected = (1 - np.tanh(a @ x) ** 2) * (a @ t)
    np.testing.assert_allclose(value.numpy(), np.tanh(a @ x))
    np.testing.assert_allclose(tangent.numpy(), expected)
    assert not value.requires_grad
    assert not tangent.requires_grad


def test_several_tangents_add_up() -> None:
    with forward.dual_level():
        x = forward.make_dual(tw.tensor(3.0), tw.tensor(1.0))
        y = forward.make_dual(tw.tensor(5.0), tw.tensor(10.0))
        assert forward.unpack_dual(x * y).tangent.item() == 35.0
        assert forward.unpack_dual(x).tangent.item() == 1.0
        assert forward.unpack_dual(x * 0 + 2).tangent.item() == 0.0
        assert forward.unpack_dual(tw.ones(2)).tangent is None


def test_reverse_goes_through_forward() -> None:
    x = tw.tensor([1.0, 2.0], dtype=tw.float64, requires_grad=True)
    with forward.dual_level():
        dual = forward.make_dual(x, tw.tensor([1.0, 1.0], dtype=tw.float64))
        tangent = forward.unpack_dual((dual**3).sum()).tangent
    tangent.backward()
    np.testing.assert_allclose(x.grad.numpy(), 6 * x.detach().numpy())


def test_outside_of_levels() -> None:
    one = tw.ones(2)
    assert forward.unpack_dual(one) == (one, None)
    with pytest.raises(GradientError, match="enter_dual_level"):
        forward.make_dual(one, one)
    with pytest.raises(GradientError, match="does not exist"):
        forward.exit_dual_level()
    with forward.dual_level():
        with pytest.raises(GradientError, match="Nested"):
            forward.enter_dual_level()
        with pytest.raises(ShapeError, match="tangent"):
            forward.make_dual(one, tw.ones(3))
        with pytest.raises(TypeError, match="floating"):
            forward.make_dual(tw.tensor([1, 2]), one)
        with tw.no_grad(), pytest.raises(GradientError, match="gradients enabled"):
            forward.make_dual(one, one)
