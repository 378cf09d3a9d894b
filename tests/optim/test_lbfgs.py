"""LBFGS and its line search, on functions whose minima and curvature are known."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest

import talweg as tw
from talweg.optim.line_search import Point, cubic_minimum, strong_wolfe


def minimise(f: Any, start: list[float], steps: int, **options: Any) -> tuple[Any, list[float]]:
    x = tw.tensor(start, dtype=tw.float64, requires_grad=True)
    optimizer = tw.optim.LBFGS([x], **options)

    def closure() -> tw.Tensor:
        optimizer.zero_grad()
        loss = f(x)
        loss.backward()
        return loss

    losses = [float(optimizer.step(closure)) for _ in range(steps)]
    return x, losses


def rosenbrock(x: tw.Tensor) -> tw.Tensor:
    return (1 - x[0]) ** 2 + 100 * (x[1] - x[0] ** 2) ** 2


def test_finds_the_minimum_of_rosenbrock() -> None:
    x, losses = minimise(rosenbrock, [-1.2, 1.0], 3, line_search_fn="strong_wolfe")
    np.testing.assert_allclose(x.tolist(), [1, 1], atol=1e-4)
    assert losses[0] == pytest.approx(24.2)
    assert losses[-1] < 1e-8


def test_solves_a_quadratic_in_as_many_directions_as_dimensions() -> None:
    rng = np.random.default_rng(0)
    half = rng.normal(size=(4, 4))
    a, b = half @ half.T + np.eye(4), rng.normal(size=4)

    def f(x: tw.Tensor) -> tw.Tensor:
        return (x * ((tw.tensor(a) * x).sum(1) / 2 - tw.tensor(b))).sum()

    x, _ = minimise(f, [0.0] * 4, 1, max_iter=25, max_eval=100, line_search_fn="strong_wolfe")
    np.testing.assert_allclose(x.tolist(), np.linalg.solve(a, b), atol=1e-6)


def test_without_line_search_the_first_step_follows_the_gradient() -> None:
    x, _ = minimise(lambda x: (3 * x).sum(), [1.0, 2.0], 1, lr=0.1, max_iter=1)
    step = 0.1 * min(1, 1 / 6) * 3
    np.testing.assert_allclose(x.tolist(), [1 - step, 2 - step])


def test_the_second_direction_is_that_of_the_updated_inverse_hessian() -> None:
    """H after one BFGS update of gamma I (Nocedal and Wright, equation 6.17)."""
    scale = np.array([1.0, 4.0, 9.0])
    start = np.array([1.0, 1.0, 1.0])

    def f(x: tw.Tensor) -> tw.Tensor:
        return (tw.tensor(scale) * x * x).sum() / 2

    x, _ = minimise(f, start.tolist(), 1, lr=0.1, max_iter=2, max_eval=9)
    g0 = scale * start
    s = -g0 * 0.1 * min(1, 1 / np.abs(g0).sum())
    g1 = scale * (start + s)
    y = g1 - g0
    rho = 1 / (y @ s)
    left = np.eye(3) - rho * np.outer(s, y)
    h = left @ (np.eye(3) * (s @ y) / (y @ y)) @ left.T + rho * np.outer(s, s)
    np.testing.assert_allclose(x.tolist(), start + s - 0.1 * h @ g1, rtol=1e-10)


def test_stops_at_a_minimum_and_counts_calls() -> None:
    x, _ = minimise(lambda x: (x * x).sum(), [0.0, 0.0], 1)
    assert x.tolist() == [0.0, 0.0]
    x = tw.tensor([1.0], requires_grad=True)
    optimizer = tw.optim.LBFGS([x], lr=0.01, max_iter=7)
    calls = []

    def closure() -> tw.Tensor:
        calls.append(0)
        optimizer.zero_grad()
        loss = (x**4).sum()
        loss.backward()
        return loss

    optimizer.step(closure)
    assert optimizer.state[x]["func_evals"] == len(calls)
    assert optimizer.state[x]["n_iter"] == 7


def test_a_parameter_without_gradient_counts_as_constant() -> None:
    x, idle = tw.ones(2, requires_grad=True), tw.ones(3, requires_grad=True)
    optimizer = tw.optim.LBFGS([idle, x], line_search_fn="strong_wolfe")

    def closure() -> tw.Tensor:
        optimizer.zero_grad()
        loss = (x * x).sum()
        loss.backward()
        return loss

    optimizer.step(closure)
    assert idle.tolist() == [1.0] * 3
    np.testing.assert_allclose(x.tolist(), [0, 0], atol=1e-5)


def point(f: Any, df: Any, t: float) -> Point:
    return Point(t, f(t), df(t), tw.tensor(df(t)))


@pytest.mark.parametrize(
    ("f", "df", "t"),
    [
        (lambda t: (t - 3) ** 2, lambda t: 2 * (t - 3), 1.0),
        (lambda t: (t - 3) ** 2, lambda t: 2 * (t - 3), 1e-3),
        (lambda t: (t - 3) ** 2, lambda t: 2 * (t - 3), 500.0),
        (lambda t: -t / (t * t + 2), lambda t: (t * t - 2) / (t * t + 2) ** 2, 10.0),
        (lambda t: math.cos(5 * t) - t, lambda t: -5 * math.sin(5 * t) - 1, 2.0),
    ],
)
def test_the_line_search_meets_both_wolfe_conditions(f: Any, df: Any, t: float) -> None:
    calls = []

    def evaluate(t: float) -> Point:
        calls.append(t)
        return point(f, df, t)

    found, count = strong_wolfe(evaluate, point(f, df, 0.0), t, 1.0)
    assert count == len(calls)
    assert found.value <= f(0) + 1e-4 * found.t * df(0)
    assert abs(found.slope) <= 0.9 * abs(df(0))
    assert found.t > 0


def test_the_line_search_gives_up_with_the_best_point() -> None:
    """A line that falls for ever never flattens."""
    found, count = strong_wolfe(
        lambda t: point(lambda t: -t, lambda t: -1.0, t), Point(0.0, 0.0, -1.0, tw.ones(1)), 1, 1.0
    )
    assert count == 26
    assert found.t > 0


def test_the_minimum_of_a_cubic() -> None:
    def f(t: float) -> float:
        return t**3 - 3 * t

    def df(t: float) -> float:
        return 3 * t * t - 3

    a, b = point(f, df, 0.0), point(f, df, 3.0)
    assert cubic_minimum(a, b, (0, 3)) == pytest.approx(1)
    assert cubic_minimum(b, a, (0, 3)) == pytest.approx(1)
    assert cubic_minimum(a, b, (0, 0.5)) == 0.5
    assert cubic_minimum(a, a, (0, 1)) == 0.5
