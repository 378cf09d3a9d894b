"""Gradients through and inside replayed functions."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

import talweg as tw
from talweg import nn, optim
from talweg.base.errors import GradientError
from tests.capture.replaying import assert_same, data, lenet, replays

F = nn.functional


def both(function: Callable[..., Any], *arguments: Callable[[], Any], **options: Any) -> Any:
    """Gradients of the squares of the results, replayed and not."""

    def gradients(f: Any) -> list[Any]:
        given = [a() for a in arguments]
        out = f(*given)
        results = [out] if isinstance(out, tw.Tensor) else out
        sum(r.square().sum() for r in results if r is not None).backward()
        return [out, [g.grad for g in given if isinstance(g, tw.Tensor)]]

    compiled = tw.compile(function, **options)
    for _ in range(3):
        assert_same(gradients(compiled), gradients(function))
    assert replays(compiled) == 2, compiled.explain()
    return compiled


def test_gradients_go_through_a_replay() -> None:
    both(lambda x, y: (x * y).tanh(), lambda: data(3, grad=True), lambda: data(3, seed=1))
    both(lambda x, y: x @ y, lambda: data(3, 4, grad=True), lambda: data(4, 2, grad=True))
    both(lambda x: (x.exp(), x.sum(), None), lambda: data(3, grad=True))
    both(lambda x: F.softmax(x, 1).chunk(2), lambda: data(4, 3, grad=True))
    both(lambda x: x * x.detach(), lambda: data(3, grad=True))
    both(lambda x: F.layer_norm(x, (4,)), lambda: data(3, 4, grad=True))
    both(lambda x: x[1:].t(), lambda: data(3, 4, grad=True))


def test_gradients_of_modules() -> None:
    net, again = lenet(), lenet()
    again.load_state_dict(net.state_dict())
    compiled = tw.compile(net)
    for i in range(3):
        x, y = data(5, 64, seed=i, grad=True), data(5, 64, seed=i, grad=True)
        compiled(x).logsumexp(1).sum().backward()
        again(y).logsumexp(1).sum().backward()
        assert_same(x.grad, y.grad)
        assert_same([p.grad for p in net.parameters()], [p.grad for p in again.parameters()])
    assert replays(compiled.compiled) == 2


def test_a_replay_inside_a_larger_graph() -> None:
    f = tw.compile(lambda x: (x * 2).sin())
    for _ in range(3):
        x = data(3, grad=True)
        y = f(f(x + 1) * 3)
        (found,) = tw.autograd.grad(y.sum(), x)
        expected = (6 * (2 * x + 2).sin()).cos() * 6 * (2 * x + 2).cos() * 2
        assert_same(found, expected.detach())


def test_results_nobody_differentiates_count_as_zero() -> None:
    f = tw.compile(lambda x: (x * 2, x * 3, x.sum()))
    for _ in range(3):
        x = data(3, grad=True)
        _, second, _ = f(x)
        second.sum().backward()
        assert x.grad.tolist() == [3.0, 3.0, 3.0]


def test_a_written_argument_goes_on_along_the_tape() -> None:
    def f(x: tw.Tensor) -> None:
        x.mul_(3)

    compiled = tw.compile(f)
    for g in (f, compiled, compiled, compiled):
        x = data(3, grad=True)
        y = x * 2
        g(y)
        y.sum().backward()
        assert x.grad.tolist() == [6.0] * 3
    assert replays(compiled) == 2


def test_gradients_are_freed_kept_and_refused_as_ever() -> None:
    f = tw.compile(lambda x: x.sin() * x)
    for _ in range(2):
        x = data(3, grad=True)
        y = f(x).sum()
        y.backward(retain_graph=True)
        y.backward()
        with pytest.raises(GradientError, match="a second time"):
            y.backward()
        with pytest.raises(GradientError, match=r"without tw\.compile"):
            tw.autograd.grad(f(x).sum(), x, create_graph=True)
        z = f(x).sum()
        with tw.no_grad():
            x.add_(1)
        with pytest.raises(GradientError, match="inplace"):
            z.backward()


def test_a_loss_differentiated_inside_cannot_be_again() -> None:
    w = data(3, grad=True)

    @tw.compile
    def step(x: tw.Tensor) -> tw.Tensor:
        w.grad = None
        loss = (w * x).sum()
        loss.backward()
        return loss

    for _ in range(3):
        loss = step(data(3))
        assert loss.requires_grad
        with pytest.raises(GradientError, match="a second time"):
            loss.backward()


def test_gradients_add_up() -> None:
    w = data(3, grad=True)
    step = tw.compile(lambda x: (w * x).sum().backward())
    total = tw.zeros(3)
    for i in range(5):
        x = data(3, seed=i)
        step(x)
        total += x
        assert_same(w.grad, total)
    assert replays(step) == 3


def test_arguments_get_gradients() -> None:
    step = tw.compile(lambda x: (x * x).sum().backward())
    for i in range(4):
        x = data(3, seed=i, grad=True)
        step(x)
        assert_same(x.grad, 2 * x.detach())
    assert replays(step) == 3
    step(x)
    assert_same(x.grad, 4 * x.detach())


def test_own_functions_and_hooks_on_leaves() -> None:
    class Double(tw.autograd.Function):
        @staticmethod
        def forward(ctx: Any, x: tw.Tensor) -> tw.Tensor:
            ctx.save_for_backward(x)
            return x * 2

        @staticmethod
        def backward(ctx: Any, grad: tw.Tensor) -> tw.Tensor:
            (x,) = ctx.saved_tensors
            return grad * x * 10

    w, seen = data(3, grad=True), []
    w.register_hook(lambda g: seen.append(1))
    f = tw.compile(lambda: Double.apply(w))
    for i in range(3):
        w.grad = None
        f().sum().backward()
        assert_same(w.grad, w.detach() * 10)
        assert len(seen) == i + 1
    assert replays(f) == 2


def test_a_step_that_is_replayed_counts_as_a_write() -> None:
    w = data(3, grad=True)
    optimizer = optim.SGD([w], lr=0.1)

    @tw.compile
    def step(x: tw.Tensor) -> None:
        optimizer.zero_grad()
        (w * x).sum().backward()
        optimizer.step()

    for i in range(4):
        step(data(3, seed=i))
    loss = w.sin().sum()
    step(data(3))
    with pytest.raises(GradientError, match="inplace"):
        loss.backward()
