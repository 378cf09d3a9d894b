"""`tw.compile` in programs: methods, Modules, threads, decorators."""

from __future__ import annotations

import copy
import gc
import pickle
import threading
from typing import Any

import numpy as np
import pytest

import talweg as tw
from talweg import nn, optim
from talweg.capture.compiled import Compiled
from tests.capture.replaying import assert_same, data, mlp, normalized, replays


def test_errors_of_the_function_are_its_own() -> None:
    def f(x: tw.Tensor, fail: bool) -> tw.Tensor:
        if fail:
            raise KeyError("mine")
        return x + 1

    compiled = tw.compile(f)
    for _ in range(2):
        with pytest.raises(KeyError, match="mine"):
            compiled(data(2), True)
        assert_same(compiled(tw.zeros(2), False), tw.ones(2))


def test_compiled_functions_call_each_other_and_themselves() -> None:
    inner = tw.compile(lambda x: x * 2)

    @tw.compile
    def power(x: tw.Tensor, n: int) -> tw.Tensor:
        return inner(x) if n == 0 else power(x, n - 1) * x

    for _ in range(3):
        assert_same(power(data(2), 3), data(2) ** 4 * 2)
    assert replays(inner) == 0
    assert len(inner.reports) == 0


def test_methods() -> None:
    class Model:
        def __init__(self, factor: float) -> None:
            self.factor = factor

        @tw.compile
        def scaled(self, x: tw.Tensor) -> tw.Tensor:
            return x * self.factor

    a, b = Model(2.0), Model(3.0)
    for _ in range(3):
        assert_same(a.scaled(tw.ones(2)), tw.full((2,), 2.0))
        assert_same(b.scaled(tw.ones(2)), tw.full((2,), 3.0))
    assert replays(Model.scaled) == 4


def test_modules_stay_modules() -> None:
    net = normalized()
    compiled = tw.compile(net)
    assert isinstance(compiled, nn.Sequential)
    assert compiled is not net
    assert list(compiled.state_dict()) == list(net.state_dict())
    assert repr(compiled) == repr(net)
    compiled.eval()
    x = data(4, 6)
    expected = net(x)
    assert_same(compiled(x), expected)
    for twin in (copy.deepcopy(compiled), pickle.loads(pickle.dumps(compiled))):
        assert_same(twin(x), expected)
        assert isinstance(type(twin).compiled, Compiled)
        assert twin[0].weight is not net[0].weight
    whole = nn.Sequential(compiled, nn.Tanh())
    assert_same(whole(x), expected.tanh())
    assert replays(type(compiled).compiled) == 1


def test_hooks_of_modules_are_captured_with_them() -> None:
    net = nn.Linear(2, 2)
    compiled = tw.compile(net)
    x = data(3, 2)
    compiled(x)
    handle = net.register_forward_hook(lambda module, args, out: out * 0)
    assert_same(compiled(x), tw.zeros(3, 2) * compiled(x))
    handle.remove()
    assert_same(compiled(x), net(x))


def test_as_a_decorator_and_switched_off() -> None:
    @tw.compile(dynamic=False, mode="max-autotune")
    def f(x: tw.Tensor) -> tw.Tensor:
        """Doubles."""
        return x * 2

    assert isinstance(f, Compiled)
    assert f.__name__ == "f"
    assert f.__doc__ == "Doubles."
    assert_same(f(tw.ones(1)), tw.full((1,), 2.0))
    plain = lambda x: x  # noqa: E731
    assert tw.compile(plain, disable=True) is plain
    assert tw.compile(f) is f


def test_threads_replay_at_once() -> None:
    net = mlp()
    compiled = tw.compile(net)
    inputs = [data(16, 6, seed=i) for i in range(8)]
    with tw.no_grad():
        expected = [net(x).tolist() for x in inputs]
        compiled(inputs[0])
    failed: list[Any] = []

    def work(i: int) -> None:
        with tw.no_grad():
            for _ in range(30):
                found = compiled(inputs[i])
                if not np.allclose(found.numpy(), expected[i], rtol=1e-4, atol=1e-6):
                    failed.append(i)

    threads = [threading.Thread(target=work, args=(i,)) for i in range(8)]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    assert not failed


def test_pending_values_are_computed_first() -> None:
    f = tw.compile(lambda x, y: x - y)
    for i in range(3):
        x = data(3, seed=i) + 1
        assert_same(f(x * 2, x), x)


def test_a_long_loop_needs_no_more_memory() -> None:
    w = data(16, grad=True)
    optimizer = optim.Adam([w], 0.01)

    @tw.compile
    def step(x: tw.Tensor) -> tw.Tensor:
        optimizer.zero_grad()
        loss = (w * x).square().sum()
        loss.backward()
        optimizer.step()
        return loss

    x = data(16)
    for _ in range(20):
        step(x)
    gc.collect()
    before = len(gc.get_objects())
    for _ in range(200):
        step(x)
    gc.collect()
    assert len(gc.get_objects()) - before < 50
