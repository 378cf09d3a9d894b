"""GradScaler: what it does to gradients, steps and its scale."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import talweg as tw


def made(**options: Any) -> tuple[tw.Tensor, Any, Any]:
    w = tw.tensor([1.0, 2.0], requires_grad=True)
    return w, tw.optim.SGD([w], lr=0.5), tw.amp.GradScaler("cpu", **options)


def test_steps_are_those_without_scaling() -> None:
    w, sgd, scaler = made(init_scale=1024.0, growth_interval=2)
    v = tw.tensor([1.0, 2.0], requires_grad=True)
    plain = tw.optim.SGD([v], lr=0.5)
    for _ in range(5):
        for x, optimizer in ((w, sgd), (v, plain)):
            optimizer.zero_grad()
            loss = (x.square() * tw.tensor([0.1, 0.3])).sum()
            (scaler.scale(loss) if optimizer is sgd else loss).backward()
        scaler.step(sgd)
        scaler.update()
        plain.step()
    assert tw.equal(w, v)
    assert scaler.get_scale() == 4096


def test_an_infinite_gradient_leaves_out_the_step_and_halves_the_scale() -> None:
    w, sgd, scaler = made(init_scale=8.0, growth_interval=2)
    for factor in (float("inf"), float("nan")):
        sgd.zero_grad()
        scaler.scale((w * factor).sum()).backward()
        assert scaler.step(sgd) is None
        scaler.update()
    assert w.tolist() == [1, 2]
    assert scaler.get_scale() == 2
    sgd.zero_grad()
    scaler.scale(w.sum()).backward()
    scaler.unscale_(sgd)
    assert w.grad is not None
    assert w.grad.tolist() == [1, 1]
    scaler.step(sgd)
    scaler.update()
    assert w.tolist() == [0.5, 1.5]
    assert scaler.state_dict()["_growth_tracker"] == 1


def test_a_gradient_that_float16_loses_is_kept_by_scaling() -> None:
    grads = []
    for scale in (1.0, 2.0**14):
        w = tw.tensor([1.0], requires_grad=True)
        scaler = tw.amp.GradScaler("cpu", init_scale=scale)
        sgd = tw.optim.SGD([w], lr=1.0)
        with tw.autocast("cpu", dtype=tw.float16):
            y = w.reshape(1, 1) @ tw.full((1, 1), 1e-4)
        scaler.scale((y * 1e-4).sum()).backward()
        scaler.unscale_(sgd)
        assert w.grad is not None
        grads.append(w.grad.item())
    assert grads[0] == 0
    assert grads[1] == pytest.approx(1e-8, rel=0.01)


def test_the_order_of_calls_is_checked() -> None:
    w, sgd, scaler = made()
    with pytest.raises(RuntimeError, match="No inf checks were recorded prior to update"):
        scaler.update()
    with pytest.raises(RuntimeError, match="No inf checks were recorded for this"):
        scaler.step(sgd)
    w, sgd, scaler = made()
    scaler.scale(w.sum()).backward()
    scaler.unscale_(sgd)
    with pytest.raises(RuntimeError, match="already been called on this optimizer"):
        scaler.unscale_(sgd)
    scaler.step(sgd)
    with pytest.raises(RuntimeError, match="already been called since"):
        scaler.step(sgd)
    with pytest.raises(RuntimeError, match="after step"):
        scaler.unscale_(sgd)
    with pytest.raises(RuntimeError, match="Closure"):
        scaler.step(sgd, closure=lambda: None)
    scaler.update(new_scale=4.0)
    assert scaler.get_scale() == 4


def test_parameters_of_float16_are_refused() -> None:
    w = tw.ones(2, dtype=tw.float16, requires_grad=True)
    scaler = tw.amp.GradScaler("cpu", init_scale=2.0)
    scaler.scale(w.sum()).backward()
    with pytest.raises(ValueError, match="FP16"):
        scaler.unscale_(tw.optim.SGD([w], lr=0.1))


def test_state_goes_on() -> None:
    w, sgd, scaler = made(init_scale=4.0, growth_interval=3)
    scaler.scale(w.sum()).backward()
    scaler.step(sgd)
    scaler.update()
    other = tw.amp.GradScaler("cpu")
    other.load_state_dict(scaler.state_dict())
    assert other.state_dict() == scaler.state_dict()
    with pytest.raises(RuntimeError, match="empty"):
        other.load_state_dict({})


def test_disabled_it_does_nothing() -> None:
    w, sgd, scaler = made(enabled=False)
    loss = w.sum()
    assert scaler.scale(loss) is loss
    assert scaler.get_scale() == 1
    assert not scaler.is_enabled()
    loss.backward()
    scaler.unscale_(sgd)
    scaler.step(sgd)
    scaler.update()
    assert w.tolist() == [0.5, 1.5]
    assert scaler.state_dict() == {}
    with pytest.warns(UserWarning, match="Disabling"):
        assert not tw.amp.GradScaler().is_enabled()


def test_several_outputs_are_scaled() -> None:
    _, _, scaler = made(init_scale=2.0)
    first, (second, third) = scaler.scale([tw.ones(1), (tw.ones(1), tw.ones(1) * 3)])
    np.testing.assert_array_equal([first.item(), second.item(), third.item()], [2, 2, 6])
    with pytest.raises(ValueError, match="iterable"):
        scaler.scale(1.0)
    for wrong in ({"growth_factor": 1.0}, {"backoff_factor": 1.0}):
        with pytest.raises(ValueError, match="factor"):
            made(**wrong)
