"""Gradient modes as contexts, functions and decorators."""
# mypy: ignore-errors

from __future__ import annotations

import threading

import numpy as np
import pytest

import talweg as tw
from talweg.engine.modes import steady

on = tw.is_grad_enabled


@pytest.fixture(autouse=True)
def _modes_are_restored():
    assert on()
    yield
    assert on()


def test_contexts_nest_and_end_also_with_an_error():
    seen = [on()]
    with tw.no_grad():
        seen.append(on())
        with tw.enable_grad():
            seen.append(on())
            with tw.inference_mode():
                seen.append(on())
            with tw.inference_mode(False):
                seen.append(on())
        seen.append(on())
        with tw.inference_mode(False):
            seen.append(on())
    assert seen == [True, False, True, False, True, False, True]
    with pytest.raises(KeyError), tw.no_grad():
        raise KeyError
    assert on()


def test_inference_mode_tells():
    assert not tw.is_inference_mode_enabled()
    with tw.inference_mode():
        assert tw.is_inference_mode_enabled()
        with tw.inference_mode(False):
            assert not tw.is_inference_mode_enabled()
        with tw.enable_grad():
            assert tw.is_inference_mode_enabled()
    assert not tw.is_inference_mode_enabled()

    @tw.inference_mode()
    def tell():
        return tw.is_inference_mode_enabled(), on()

    assert tell() == (True, False)


def test_one_context_entered_twice():
    off = tw.no_grad()
    with off:
        with off:
            assert not on()
        assert not on()
    assert on()


def test_set_grad_enabled_as_a_statement_and_as_a_context():
    tw.set_grad_enabled(False)
    assert not on()
    tw.set_grad_enabled(True)
    assert on()
    with tw.set_grad_enabled(False):
        assert not on()


def test_results_and_in_place_writes_without_gradients():
    x = tw.ones(2, requires_grad=True)
    with tw.no_grad():
        y = x * 2
        x.add_(1)
        x[0] = 5.0
        leaf = tw.zeros(2, requires_grad=True)
    assert not y.requires_grad
    assert y.is_leaf
    assert x.requires_grad
    assert x.tolist() == [5.0, 2.0]
    assert leaf.requires_grad


def switched(mode):
    """Decorate with `set_grad_enabled`, which switches at once unless it decorates."""

    def decorate(function):
        return tw.set_grad_enabled(mode)(function)

    return decorate


@pytest.mark.parametrize(
    ("decorate", "inside"),
    [
        (tw.no_grad(), False),
        (tw.no_grad, False),
        (tw.enable_grad(), True),
        (tw.enable_grad, True),
        (tw.inference_mode(), False),
        (switched(False), False),
        (switched(True), True),
    ],
)
def test_decorated_functions(decorate, inside):
    def mode(depth=0):
        return [on(), *(decorated(depth - 1) if depth else [])]

    decorated = decorate(mode)
    assert on()
    assert decorated.__name__ == "mode"
    assert decorated(2) == [inside] * 3
    with tw.no_grad():
        assert decorated() == [inside]
        assert not on(), "the mode of the call is restored, not that of the decoration"
    with tw.enable_grad():
        assert decorated() == [inside]
        assert on()


def test_a_decorated_method():
    class Model:
        @tw.no_grad()
        def predict(self, x):
            return (x * 2).requires_grad

    assert not Model().predict(tw.ones(2, requires_grad=True))


def test_a_decorated_generator_is_under_the_mode_only_while_it_runs():
    seen = []

    @tw.no_grad()
    def steps():
        try:
            got = yield on()
            seen.append((got, on()))
            try:
                yield on()
            except KeyError:
                seen.append(("caught", on()))
            yield on()
        finally:
            seen.append(("end", on()))
        return "result"

    run = steps()
    assert next(run) is False
    assert on()
    assert run.send("sent") is False
    assert run.throw(KeyError) is False
    assert on()
    with pytest.raises(StopIteration) as end:
        next(run)
    assert end.value.value == "result"
    assert seen == [("sent", False), ("caught", False), ("end", False)]
    seen.clear()
    run = steps()
    next(run)
    run.close()
    assert seen == [("end", False)]
    assert list(steps()) == [False] * 3


def test_modes_belong_to_their_thread():
    seen = []
    with tw.no_grad():
        thread = threading.Thread(target=lambda: seen.append(on()))
        thread.start()
        thread.join()
    assert seen == [True]


def test_what_comes_for_the_first_time_is_compiled_where_results_must_be_steady() -> None:
    tw.zeros(1).tolist()
    tw.reset_counters()
    with steady():
        x = tw.arange(7).float()
        value = ((x * 0.37).cos() - x / 3).sum().item()
    assert tw.counters().first_sight == 0
    assert value == pytest.approx((np.cos(np.arange(7) * 0.37) - np.arange(7) / 3).sum(), rel=1e-5)
