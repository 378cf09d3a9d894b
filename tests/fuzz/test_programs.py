"""Random programs through the Tensor API: values against NumPy, gradients against differences."""

from __future__ import annotations

import dataclasses
from typing import Any

import hypothesis.strategies as st
import numpy as np
import pytest
from hypothesis import HealthCheck, assume, given, settings

import talweg as tw
from talweg.engine import barrier, evaluate
from talweg.engine.barrier import flush

from .programs import Program, programs

EPS = 1e-5


def leaves_of(p: Program, arrays: list[np.ndarray] | None = None) -> list[tw.Tensor]:
    return [tw.tensor(a, requires_grad=True) for a in (p.leaves if arrays is None else arrays)]


def gradients(p: Program, arrays: list[np.ndarray], seen: Any = None) -> list[np.ndarray]:
    leaves = leaves_of(p, arrays)
    loss = p.loss(p.run(leaves, 0, seen), 0)
    found = tw.autograd.grad(loss, leaves, allow_unused=True, materialize_grads=True)
    return [g.numpy() for g in found]


def number(p: Program, arrays: list[np.ndarray]) -> float:
    return float(p.loss([np.asarray(v) for v in p.run(arrays, 1)], 1))


def moved(arrays: list[np.ndarray], i: int, place: Any, by: float) -> list[np.ndarray]:
    out = [a.copy() for a in arrays]
    out[i][place] += by
    return out


def smooth(p: Program, arrays: list[np.ndarray], i: int, place: Any) -> tuple[bool, float]:
    """Return whether the loss is smooth around here, and its derivative by one element."""
    f = {k: number(p, moved(arrays, i, place, k * EPS)) for k in (-2, -1, 0, 1, 2)}
    near, far = (f[1] - f[-1]) / (2 * EPS), (f[2] - f[-2]) / (4 * EPS)
    kink = abs(f[1] - 2 * f[0] + f[-1]) / EPS
    return abs(near - far) < 1e-5 * (1 + abs(near)) and kink < 0.05 * (1 + abs(near)), near


@settings(max_examples=120, suppress_health_check=[HealthCheck.too_slow])
@given(programs(10), st.randoms(use_true_random=False))
def test_values_equal_numpy_whatever_is_observed_when(p: Program, random: Any) -> None:
    wanted = p.run(p.leaves, 1)

    def look(_: int, value: tw.Tensor) -> None:
        chance = random.random()
        if chance < 0.2:
            value.detach().numpy()
        elif chance < 0.3:
            flush()

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(evaluate, "CONFIG", dataclasses.replace(evaluate.CONFIG, check=True))
        lazy = p.run(leaves_of(p), 0)
        eager = p.run(leaves_of(p), 0, look)
        order = list(range(len(wanted)))
        random.shuffle(order)
        for i in order:
            np.testing.assert_allclose(lazy[i].detach().numpy(), wanted[i], rtol=1e-9, atol=1e-12)
            assert np.array_equal(eager[i].detach().numpy(), lazy[i].detach().numpy())


@settings(max_examples=120, suppress_health_check=[HealthCheck.too_slow])
@given(programs(8), st.randoms(use_true_random=False))
def test_gradients_equal_differences(p: Program, random: Any) -> None:
    found = gradients(p, p.leaves)
    for i, a in enumerate(p.leaves):
        assert found[i].shape == a.shape
        place = tuple(random.randrange(n) for n in a.shape)
        fine, wanted = smooth(p, p.leaves, i, place)
        if fine:
            assert found[i][place] == pytest.approx(wanted, rel=1e-4, abs=1e-5)


@settings(max_examples=60, suppress_health_check=[HealthCheck.too_slow])
@given(programs(8), st.randoms(use_true_random=False))
def test_gradients_do_not_depend_on_what_was_observed(p: Program, random: Any) -> None:
    def look(_: int, value: tw.Tensor) -> None:
        chance = random.random()
        if chance < 0.3:
            value.detach().numpy()
        elif chance < 0.5:
            flush()

    plain = gradients(p, p.leaves)
    for ours, theirs in zip(gradients(p, p.leaves, look), plain):
        np.testing.assert_allclose(ours, theirs, rtol=1e-12, atol=1e-14)
    with pytest.MonkeyPatch.context() as patch:
        soon = dataclasses.replace(barrier.CONFIG, pending=random.randint(1, 9))
        patch.setattr(barrier, "CONFIG", soon)
        barrier.flush()
        for ours, theirs in zip(gradients(p, p.leaves), plain):
            np.testing.assert_allclose(ours, theirs, rtol=1e-12, atol=1e-14)
    leaves = leaves_of(p)
    loss = p.loss(p.run(leaves, 0), 0)
    loss.backward(retain_graph=True)
    flush()
    loss.backward()
    for leaf, theirs in zip(leaves, plain):
        ours = np.zeros_like(theirs) if leaf.grad is None else leaf.grad.numpy()
        np.testing.assert_allclose(ours, 2 * theirs, rtol=1e-12, atol=1e-12)


@settings(max_examples=60, suppress_health_check=[HealthCheck.too_slow])
@given(programs(6), st.randoms(use_true_random=False))
def test_second_derivatives_equal_differences_of_gradients(p: Program, random: Any) -> None:
    leaves = leaves_of(p)
    loss = p.loss(p.run(leaves, 0), 0)
    first = tw.autograd.grad(
        loss, leaves, create_graph=True, allow_unused=True, materialize_grads=True
    )
    mixed = sum((g * (k + 1)).sum() for k, g in enumerate(first))
    assume(mixed.requires_grad)
    second = tw.autograd.grad(mixed, leaves, allow_unused=True, materialize_grads=True)

    def along(arrays: list[np.ndarray]) -> float:
        return float(sum(g.sum() * (k + 1) for k, g in enumerate(gradients(p, arrays))))

    for i, a in enumerate(p.leaves):
        place = tuple(random.randrange(n) for n in a.shape)
        f = {k: along(moved(p.leaves, i, place, k * EPS)) for k in (-2, -1, 1, 2)}
        near, far = (f[1] - f[-1]) / (2 * EPS), (f[2] - f[-2]) / (4 * EPS)
        if abs(near - far) < 1e-5 * (1 + abs(near)) and smooth(p, p.leaves, i, place)[0]:
            got = second[i].numpy()[place]
            assert got == pytest.approx(near, rel=1e-4, abs=1e-4)


@pytest.mark.slow
@settings(max_examples=120, suppress_health_check=[HealthCheck.too_slow])
@given(programs(14), st.randoms(use_true_random=False))
def test_long_programs(p: Program, random: Any) -> None:
    test_values_equal_numpy_whatever_is_observed_when.hypothesis.inner_test(p, random)
    test_gradients_equal_differences.hypothesis.inner_test(p, random)
    test_second_derivatives_equal_differences_of_gradients.hypothesis.inner_test(p, random)
