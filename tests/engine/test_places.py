"""Tensors of one value but of different places on the tape: each has its own gradient."""

from __future__ import annotations

import talweg as tw


def vector(*numbers: float) -> tw.Tensor:
    return tw.tensor(numbers, dtype=tw.float64, requires_grad=True)


def test_a_detached_factor_is_a_constant() -> None:
    for product in (
        lambda w: w * w.detach(),
        lambda w: w.detach() * w,
        lambda w: w * w.data,
        lambda w: tw.stack([w.detach(), w]).prod(0),
        lambda w: tw.mul(w.detach(), other=w),
    ):
        w = vector(1.0, 2.0)
        product(w).sum().backward()
        assert w.grad.tolist() == [1.0, 2.0]


def test_a_detached_intermediate_is_a_constant_also_while_it_waits() -> None:
    w = vector(1.0, 2.0)
    y = w * 3
    (y * y.detach()).sum().backward()
    assert w.grad.tolist() == [9.0, 18.0]


def test_the_straight_through_estimator() -> None:
    w = vector(0.2, 1.7)
    rounded = w + (w.round() - w).detach()
    (rounded * rounded).sum().backward()
    assert rounded.tolist() == [0.0, 2.0]
    assert w.grad.tolist() == [0.0, 4.0]


def test_a_view_of_the_same_shape_has_a_gradient_of_its_own() -> None:
    w = vector(1.0, 2.0)
    v = w.view(2)
    v.retain_grad()
    (w * v).sum().backward()
    assert v.grad.tolist() == [1.0, 2.0]
    assert w.grad.tolist() == [2.0, 4.0]


def test_a_hook_on_a_view_of_the_same_shape_sees_its_share() -> None:
    w = vector(1.0, 2.0)
    y = w * 1
    v = y.view(2)
    v.register_hook(lambda g: g * 10)
    (y * v).sum().backward()
    assert w.grad.tolist() == [11.0, 22.0]


def test_a_cotangent_that_is_also_an_operand() -> None:
    w, v = vector(1.0, 2.0), vector(3.0, 4.0)
    (g,) = tw.autograd.grad(w * v, w, grad_outputs=v, create_graph=True)
    g.sum().backward()  # g = v * v
    assert v.grad.tolist() == [6.0, 8.0]
    assert w.grad is None


def test_a_detached_cotangent_that_is_also_an_operand() -> None:
    w, v = vector(1.0, 2.0), vector(3.0, 4.0)
    (g,) = tw.autograd.grad(w * v, w, grad_outputs=v.detach(), create_graph=True)
    g.sum().backward()
    assert v.grad.tolist() == [3.0, 4.0]


def test_one_value_as_two_cotangents() -> None:
    w, v = vector(1.0, 2.0), vector(3.0, 4.0)
    (g,) = tw.autograd.grad([w * v, w * 2], w, grad_outputs=[v, v.detach()], create_graph=True)
    g.sum().backward()  # g = v * v + 2 * constant
    assert v.grad.tolist() == [6.0, 8.0]


def test_a_hook_may_return_a_tensor_of_the_forward_pass() -> None:
    w = vector(1.0, 2.0)
    y = w * w
    y.register_hook(lambda g: w)
    (g,) = tw.autograd.grad(y.sum(), w, create_graph=True)
    g.sum().backward()  # g = w * 2w
    assert g.tolist() == [2.0, 8.0]
    assert w.grad.tolist() == [4.0, 8.0]


def test_a_hook_may_return_a_constant_of_the_same_value() -> None:
    w = vector(1.0, 2.0)
    y = w * w
    y.register_hook(lambda g: w.detach())
    (g,) = tw.autograd.grad(y.sum(), w, create_graph=True)
    g.sum().backward()  # g = constant * 2w
    assert w.grad.tolist() == [2.0, 4.0]


def test_a_function_may_return_one_gradient_twice_once_detached() -> None:
    class Sum(tw.autograd.Function):
        @staticmethod
        def forward(ctx, x, y):  # type: ignore[no-untyped-def]
            return x + y

        @staticmethod
        def backward(ctx, g):  # type: ignore[no-untyped-def]
            return g, g.detach()

    a, b = vector(2.0), vector(3.0)
    out = Sum.apply(a * a, b * b) ** 2
    ga, gb = tw.autograd.grad(out, [a, b], create_graph=True)
    first, second = tw.autograd.grad(ga + gb, [a, b])
    # out = (a² + b²)²: ga = 4a(a² + b²); gb = constant · 2b with constant = 2(a² + b²) = 26.
    assert ga.tolist() == [104.0]
    assert gb.tolist() == [156.0]
    assert first.tolist() == [4 * (3 * 4 + 9)]
    assert second.tolist() == [4 * 2 * 2 * 3 + 52]
