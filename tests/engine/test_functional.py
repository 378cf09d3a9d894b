"""Derivatives of functions, and the checks of gradients for users."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import talweg as tw
from talweg.autograd import Function, functional, gradcheck, gradgradcheck

hessian, hvp, jacobian = functional.hessian, functional.hvp, functional.jacobian
jvp, vhp, vjp = functional.jvp, functional.vhp, functional.vjp

X = tw.tensor([1.0, 2.0], dtype=tw.float64)
Y = tw.tensor([3.0, 4.0], dtype=tw.float64)


def plain(value: Any) -> Any:
    return [plain(v) for v in value] if isinstance(value, tuple) else value.tolist()


def test_vector_jacobian_products() -> None:
    assert plain(vjp(lambda x: x * x, X, Y)) == [[1.0, 4.0], [6.0, 16.0]]
    assert plain(vjp(lambda x: (x * x).sum(), X)) == [5.0, [2.0, 4.0]]
    pair = vjp(lambda x, y: (x * y, x + y), (X, Y), (X, Y))
    assert plain(pair) == [[[3.0, 8.0], [4.0, 6.0]], [[6.0, 12.0], [4.0, 8.0]]]
    with pytest.raises(tw.TalwegError, match="v is needed"):
        vjp(lambda x: x * x, X)
    with pytest.raises(tw.TalwegError, match=r"\(3,\).*\(2,\)"):
        vjp(lambda x: x * x, X, tw.ones(3))


def test_jacobian_vector_products() -> None:
    assert plain(jvp(lambda x: x * 3, X, Y)) == [[3.0, 6.0], [9.0, 12.0]]
    _, product = jvp(lambda x: x.exp().sum(), X, Y)
    assert product.item() == pytest.approx(3 * np.e + 4 * np.e**2)
    pair = jvp(lambda x, y: (x * y, x.sum()), (X, Y), (X, Y))
    assert plain(pair) == [[[3.0, 8.0], 3.0], [[6.0, 16.0], 3.0]]


def test_jacobians() -> None:
    x = tw.tensor([1.0, 2.0, 3.0])
    j = jacobian(lambda x: tw.stack([x.sum(), x.prod()]), x)
    assert plain(j) == [[1.0, 1.0, 1.0], [6.0, 3.0, 2.0]]
    table = jacobian(lambda x, y: (x * y, x.sum()), (X, Y))
    assert plain(table) == [
        [[[3.0, 0.0], [0.0, 4.0]], [[1.0, 0.0], [0.0, 2.0]]],
        [[1.0, 1.0], [0.0, 0.0]],
    ]
    assert jacobian(lambda x: x.outer(x), tw.ones(3)).shape == (3, 3, 3)
    assert plain(jacobian(lambda x: tw.ones(2), X)) == [[0.0, 0.0], [0.0, 0.0]]
    with pytest.raises(tw.TalwegError, match="does not depend"):
        jacobian(lambda x: tw.ones(2), X, strict=True)
    with pytest.raises(tw.TalwegError, match="does not depend on one of the inputs"):
        jacobian(lambda x, y: x * 2, (X, Y), strict=True)


def test_jacobians_are_differentiable_on_request() -> None:
    x = X.clone().requires_grad_()
    assert not jacobian(lambda x: x**3, x).requires_grad
    jacobian(lambda x: x**3, x, create_graph=True).sum().backward()
    assert x.grad.tolist() == [6.0, 12.0]


def test_hessians() -> None:
    h = hessian(lambda x: (x**3).sum() + x[0] * x[1], X)
    assert plain(h) == [[6.0, 1.0], [1.0, 12.0]]
    table = hessian(lambda x, y: (x * x * y).sum(), (X, Y))
    assert plain(table) == [
        [[[6.0, 0.0], [0.0, 8.0]], [[2.0, 0.0], [0.0, 4.0]]],
        [[[2.0, 0.0], [0.0, 4.0]], [[0.0, 0.0], [0.0, 0.0]]],
    ]
    assert plain(hessian(lambda x: (x * 3).sum(), X)) == [[0.0, 0.0], [0.0, 0.0]]
    with pytest.raises(tw.TalwegError, match="one single element"):
        hessian(lambda x: x * 3, X)


def test_hessian_vector_products() -> None:
    def f(x: tw.Tensor, y: tw.Tensor) -> tw.Tensor:
        return (x**3 * y).sum()

    v = (tw.tensor([1.0, 5.0], dtype=tw.float64), Y)
    h = [[np.array(b.tolist()) for b in row] for row in hessian(f, (X, Y))]
    wanted = [sum(h[i][j] @ np.array(v[j].tolist()) for j in range(2)) for i in range(2)]
    for product in (hvp, vhp):
        value, found = product(f, (X, Y), v)
        assert value.item() == 35.0
        for got, expected in zip(found, wanted):
            np.testing.assert_allclose(got.numpy(), expected)


def test_gradcheck_accepts_right_gradients() -> None:
    x, y = X.clone().requires_grad_(), Y.clone().requires_grad_()

    def in_place(x: tw.Tensor) -> tw.Tensor:
        z = x * 1
        z[0] = z[1].clone() * 3
        return z.mul_(x)

    assert gradcheck(lambda x, y: (x * y, x.sum(), x > 1), (x, y))
    assert gradgradcheck(lambda x, y: (x * y, x.sum()), (x, y))
    assert gradcheck(in_place, x)
    assert gradgradcheck(in_place, x)
    z = tw.tensor([1 + 2j, 0.5j], dtype=tw.complex128, requires_grad=True)
    assert gradcheck(lambda z: (z * z.conj()).real + z.abs(), z)
    assert gradcheck(lambda z: z * z, z)


def test_gradcheck_finds_wrong_gradients() -> None:
    class Wrong(Function):
        @staticmethod
        def forward(ctx: Any, x: tw.Tensor) -> tw.Tensor:
            ctx.save_for_backward(x)
            return x**3

        @staticmethod
        def backward(ctx: Any, g: tw.Tensor) -> tw.Tensor:
            return g * 2

    class WrongTwice(Wrong):
        @staticmethod
        def backward(ctx: Any, g: tw.Tensor) -> tw.Tensor:
            (x,) = ctx.saved_tensors
            return g * 3 * x.detach() ** 2

    x = X.clone().requires_grad_()
    with pytest.raises(tw.TalwegError, match=r"Jacobian mismatch for output 0 .* input 0"):
        gradcheck(Wrong.apply, x)
    assert not gradcheck(Wrong.apply, x, raise_exception=False)
    assert gradcheck(WrongTwice.apply, x)
    assert not gradgradcheck(WrongTwice.apply, x, raise_exception=False)
    with pytest.raises(tw.TalwegError, match="at least one input that requires gradients"):
        gradcheck(Wrong.apply, X)
