"""Every schedule against its closed form."""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import talweg as tw
from talweg.nn.state import load, save
from talweg.optim import lr_scheduler as lrs

BASES = (0.1, 0.3)


def made(name: str = "SGD", **options: Any) -> Any:
    groups = [
        {"params": [tw.zeros(1, requires_grad=True)]},
        {"params": [tw.zeros(1, requires_grad=True)], "lr": BASES[1]},
    ]
    return getattr(tw.optim, name)(groups, lr=BASES[0], **options)


def rates(optimizer: Any, schedule: Any, epochs: int) -> list[list[float]]:
    seen = []
    for _ in range(epochs):
        seen.append([float(g["lr"]) for g in optimizer.param_groups])
        assert schedule.get_last_lr() == seen[-1]
        optimizer.step()
        schedule.step()
    return seen


def cosine(t: float, length: float, low: float, high: float) -> float:
    return low + (high - low) * (1 + math.cos(math.pi * t / length)) / 2


def warm_restarts(t: int, lr: float) -> float:
    """T_0 = 3 and T_mult = 2: restarts at 3, 9, 21."""
    begin, length = next((b, n) for b, n in ((9, 12), (3, 6), (0, 3)) if t >= b)
    return cosine(t - begin, length, 0.01, lr)


FORMS: list[tuple[Any, dict[str, Any], Callable[[int, float], float]]] = [
    (lrs.StepLR, {"step_size": 3, "gamma": 0.5}, lambda t, lr: lr * 0.5 ** (t // 3)),
    (
        lrs.MultiStepLR,
        {"milestones": [7, 2, 5, 5]},
        lambda t, lr: lr * 0.1 ** sum(t >= m for m in (2, 5, 5, 7)),
    ),
    (lrs.ConstantLR, {}, lambda t, lr: lr / 3 if t < 5 else lr),
    (lrs.ConstantLR, {"factor": 0.0, "total_iters": 2}, lambda t, lr: 0.0 if t < 2 else lr),
    (lrs.LinearLR, {}, lambda t, lr: lr * (1 / 3 + 2 / 3 * min(t, 5) / 5)),
    (
        lrs.LinearLR,
        {"start_factor": 0.5, "end_factor": 0.0, "total_iters": 4},
        lambda t, lr: lr * 0.5 * (1 - min(t, 4) / 4),
    ),
    (lrs.ExponentialLR, {"gamma": 0.8}, lambda t, lr: lr * 0.8**t),
    (
        lrs.PolynomialLR,
        {"total_iters": 6, "power": 2.0},
        lambda t, lr: lr * (1 - min(t, 6) / 6) ** 2,
    ),
    (lrs.CosineAnnealingLR, {"T_max": 5}, lambda t, lr: cosine(t, 5, 0.0, lr)),
    (
        lrs.CosineAnnealingLR,
        {"T_max": 4, "eta_min": 0.02},
        lambda t, lr: cosine(t, 4, 0.02, lr),
    ),
    (lrs.CosineAnnealingWarmRestarts, {"T_0": 4}, lambda t, lr: cosine(t % 4, 4, 0.0, lr)),
    (lrs.CosineAnnealingWarmRestarts, {"T_0": 3, "T_mult": 2, "eta_min": 0.01}, warm_restarts),
    (lrs.LambdaLR, {"lr_lambda": lambda t: 1 / (t + 1)}, lambda t, lr: lr / (t + 1)),
    (
        lrs.MultiplicativeLR,
        {"lr_lambda": lambda t: t / (t + 1)},
        lambda t, lr: lr / (t + 1),
    ),
]
IDS = [f"{c.__name__}-{i}" for i, (c, _, _) in enumerate(FORMS)]


@pytest.mark.parametrize(("schedule", "options", "form"), FORMS, ids=IDS)
def test_closed_form(schedule: Any, options: dict[str, Any], form: Any) -> None:
    optimizer = made()
    seen = rates(optimizer, schedule(optimizer, **options), 20)
    expected = [[form(t, lr) for lr in BASES] for t in range(20)]
    np.testing.assert_allclose(seen, expected, rtol=1e-9, atol=1e-15)


def resumable() -> list[Callable[[Any], Any]]:
    made_with = [lambda o, c=c, k=k: c(o, **k) for c, k, _ in FORMS]
    return [
        *made_with,
        lambda o: lrs.CyclicLR(o, 0.1, 0.4, 3, 4, mode="triangular2"),
        lambda o: lrs.OneCycleLR(o, 0.4, total_steps=30),
        lambda o: lrs.SequentialLR(o, [lrs.LinearLR(o), lrs.ExponentialLR(o, 0.9)], [4]),
        lambda o: lrs.ChainedScheduler([lrs.StepLR(o, 2), lrs.ExponentialLR(o, 0.9)]),
    ]


@pytest.mark.parametrize("make", resumable(), ids=range(len(resumable())))
def test_a_saved_schedule_goes_on(make: Any, tmp_path: Any) -> None:
    optimizer = made(momentum=0.9)
    schedule = make(optimizer)
    rates(optimizer, schedule, 6)
    state = {"optimizer": optimizer.state_dict(), "schedule": schedule.state_dict()}
    save(state, tmp_path / "state.safetensors")
    expected = rates(optimizer, schedule, 10)

    resumed = made(momentum=0.9)
    again = make(resumed)
    saved = load(tmp_path / "state.safetensors")
    resumed.load_state_dict(saved["optimizer"])
    again.load_state_dict(saved["schedule"])
    assert rates(resumed, again, 10) == expected


def test_going_on_from_last_epoch() -> None:
    optimizer = made()
    expected = rates(optimizer, lrs.ExponentialLR(optimizer, 0.8), 10)
    again = made()
    again.load_state_dict(optimizer.state_dict())
    for group, lr in zip(again.param_groups, expected[4], strict=True):
        group["lr"] = lr
    np.testing.assert_allclose(
        rates(again, lrs.ExponentialLR(again, 0.8, last_epoch=3), 6), expected[4:], rtol=1e-12
    )
    with pytest.raises(ValueError, match=r"'initial_lr' is not specified in param_groups\[0\]"):
        lrs.ExponentialLR(made(), 0.8, last_epoch=3)


def test_a_rate_set_by_hand_is_kept_in_proportion() -> None:
    optimizer = made()
    schedule = lrs.ExponentialLR(optimizer, 0.5)
    optimizer.param_groups[0]["lr"] = 8.0
    optimizer.step()
    schedule.step()
    assert schedule.get_last_lr() == [4.0, 0.15]


@pytest.mark.parametrize("name", ["SGD", "Adam"])
@pytest.mark.parametrize(
    ("mode", "height"),
    [
        ("triangular", lambda t: 1.0),
        ("triangular2", lambda t: 0.5 ** (t // 6)),
        ("exp_range", lambda t: 0.9**t),
    ],
)
def test_cycles(name: str, mode: str, height: Any) -> None:
    optimizer = made(name, **({"momentum": 0.5} if name == "SGD" else {}))
    schedule = lrs.CyclicLR(optimizer, 0.1, [0.4, 0.7], 4, 2, mode, gamma=0.9)
    for t in range(20):
        way = t % 6 / 4 if t % 6 <= 4 else (6 - t % 6) / 2
        expected = [0.1 + (high - 0.1) * way * height(t) for high in (0.4, 0.7)]
        np.testing.assert_allclose(schedule.get_last_lr(), expected, rtol=1e-9)
        group = optimizer.param_groups[1]
        momentum = group["momentum"] if name == "SGD" else group["betas"][0]
        assert momentum == pytest.approx(0.9 - 0.1 * way * height(t))
        optimizer.step()
        schedule.step()


def test_cycles_of_a_function() -> None:
    optimizer = made()
    schedule = lrs.CyclicLR(optimizer, 0.0, 1.0, 2, scale_fn=lambda n: 1 / n, cycle_momentum=False)
    seen = [r[0] for r in rates(optimizer, schedule, 9)]
    np.testing.assert_allclose(seen, [0, 0.5, 1, 0.5, 0, 0.25, 0.5, 0.25, 0], atol=1e-15)


@pytest.mark.parametrize("strategy", ["cos", "linear"])
@pytest.mark.parametrize("three_phase", [False, True])
def test_one_cycle(strategy: str, three_phase: bool) -> None:
    optimizer = made(momentum=0.9)
    schedule = lrs.OneCycleLR(
        optimizer,
        [0.5, 1.0],
        epochs=4,
        steps_per_epoch=5,
        anneal_strategy=strategy,
        three_phase=three_phase,
    )
    lr, momentum = np.array([0.02, 0.5, 2e-6, 0.02]), np.array([0.95, 0.85, 0.95, 0.95])
    knots = [(5, 0, 1), (10, 1, 3), (19, 3, 2)] if three_phase else [(5, 0, 1), (19, 1, 2)]
    begin = 0
    for end, a, b in knots:
        for t in range(begin, end + 1):
            way = (t - begin) / (end - begin)
            way = (1 - math.cos(math.pi * way)) / 2 if strategy == "cos" else way
            if t > begin or t == 0:
                expected = lr[a] + (lr[b] - lr[a]) * way
                np.testing.assert_allclose(
                    schedule.get_last_lr(), [expected, 2 * expected], rtol=1e-9
                )
                assert optimizer.param_groups[0]["momentum"] == pytest.approx(
                    momentum[a] + (momentum[b] - momentum[a]) * way
                )
                optimizer.step()
                schedule.step()
        begin = end
    with pytest.raises(ValueError, match=r"Tried to step 21 times.*total steps is 20"):
        schedule.step()


def test_one_after_the_other() -> None:
    optimizer = made()
    parts = [
        lrs.ConstantLR(optimizer, 0.5, 10),
        lrs.ExponentialLR(optimizer, 0.9),
        lrs.CosineAnnealingLR(optimizer, 4),
    ]
    seen = rates(optimizer, lrs.SequentialLR(optimizer, parts, [3, 5]), 10)
    factors = [*[0.5] * 3, 1, 0.9, *(cosine(t, 4, 0, 1) for t in range(5))]
    np.testing.assert_allclose(seen, [[f * lr for lr in BASES] for f in factors], atol=1e-15)


def test_several_together() -> None:
    optimizer = made()
    parts = [lrs.ConstantLR(optimizer, 0.1, 3), lrs.ExponentialLR(optimizer, 0.9)]
    seen = rates(optimizer, lrs.ChainedScheduler(parts), 6)
    factors = [(0.1 if t < 3 else 1) * 0.9**t for t in range(6)]
    np.testing.assert_allclose(seen, [[f * lr for lr in BASES] for f in factors])


def test_several_together_after_another() -> None:
    optimizer = made()
    warm = lrs.ChainedScheduler([lrs.LinearLR(optimizer), lrs.ExponentialLR(optimizer, 0.9)])
    schedule = lrs.SequentialLR(optimizer, [warm, lrs.StepLR(optimizer, 2)], [4])
    factors = [(1 / 3 + 2 / 15 * t) * 0.9**t for t in range(4)] + [1, 1, 0.1]
    seen = rates(optimizer, schedule, 7)
    np.testing.assert_allclose(seen, [[f * lr for lr in BASES] for f in factors])


def plateau(values: list[float], **options: Any) -> list[float]:
    optimizer = tw.optim.SGD([tw.zeros(1, requires_grad=True)], lr=1.0)
    schedule = lrs.ReduceLROnPlateau(optimizer, **options)
    seen = []
    for value in values:
        schedule.step(tw.tensor(value))
        seen.append(optimizer.param_groups[0]["lr"])
    return seen


def test_plateaus() -> None:
    assert plateau([3, 2, 2, 2, 1, 1, 1], patience=1, factor=0.5) == [1, 1, 1, 0.5, 0.5, 0.5, 0.25]
    assert plateau([1, 2, 2, 2], patience=0, factor=0.5, mode="max") == [1, 1, 0.5, 0.25]
    slightly = [100, 99.5, 99, 98.5]
    assert plateau(slightly, patience=0, factor=0.5, threshold=0.1) == [1, 0.5, 0.25, 0.125]
    assert plateau(slightly, patience=0, factor=0.5, threshold=0.1, threshold_mode="abs") == [1] * 4
    worse = [1, 2, 3, 4, 5, 6, 7]
    assert plateau(worse, patience=0, factor=0.5, cooldown=2) == [
        1,
        0.5,
        0.5,
        0.5,
        0.25,
        0.25,
        0.25,
    ]
    assert plateau(worse[:3], patience=0, factor=0.5, min_lr=0.4) == [1, 0.5, 0.4]
    assert plateau(worse[:2], patience=0, factor=0.5, eps=0.6) == [1, 1]


def test_a_schedule_before_the_first_step_is_warned_of() -> None:
    optimizer = made()
    schedule = lrs.ExponentialLR(optimizer, 0.9)
    with pytest.warns(UserWarning, match="before `optimizer.step\\(\\)`"):
        schedule.step()
    optimizer.step()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        schedule.step()


class Halves:
    """A callable with a state."""

    def __init__(self) -> None:
        self.base = 2

    def __call__(self, epoch: int) -> float:
        return 1.0 / self.base**epoch


def test_the_state_of_callable_objects_is_kept() -> None:
    optimizer = made()
    schedule = lrs.LambdaLR(optimizer, [Halves(), lambda t: 1.0])
    schedule.lr_lambdas[0].base = 4
    state = schedule.state_dict()
    assert state["lr_lambdas"] == [{"base": 4}, None]
    again = lrs.LambdaLR(made(), [Halves(), lambda t: 1.0])
    again.load_state_dict(state)
    assert again.lr_lambdas[0](1) == 0.25


@pytest.mark.parametrize(
    ("make", "error", "message"),
    [
        (lambda o: lrs.StepLR(3, 1), TypeError, "int is not an Optimizer"),
        (lambda o: lrs.ConstantLR(o, 1.5), ValueError, "between 0 and 1, got 1.5"),
        (lambda o: lrs.LinearLR(o, 0.0), ValueError, "greater than 0.*got 0.0"),
        (lambda o: lrs.LinearLR(o, 0.5, -1), ValueError, "between 0 and 1, got -1"),
        (lambda o: lrs.LambdaLR(o, [abs]), ValueError, "Expected 2 lr_lambdas, but got 1"),
        (lambda o: lrs.LambdaLR(o, 0.5), TypeError, "should be a function, but got float"),
        (lambda o: lrs.CosineAnnealingWarmRestarts(o, 0), ValueError, "positive integer T_0"),
        (lambda o: lrs.CosineAnnealingWarmRestarts(o, 2, 0), ValueError, "integer T_mult"),
        (lambda o: lrs.CyclicLR(o, 0.1, 1, mode="x"), ValueError, "mode 'x' is invalid"),
        (lambda o: lrs.CyclicLR(o, [0.1], 1), ValueError, "base_lr.* 1 values for 2 groups"),
        (lambda o: lrs.CyclicLR(made("Adagrad"), 0.1, 1), ValueError, "Adagrad has neither"),
        (lambda o: lrs.OneCycleLR(o, 1), ValueError, "either total_steps OR"),
        (lambda o: lrs.OneCycleLR(o, 1, total_steps=0), ValueError, "total_steps, but got 0"),
        (lambda o: lrs.OneCycleLR(o, 1, 9, pct_start=2.0), ValueError, "pct_start, but got 2.0"),
        (lambda o: lrs.OneCycleLR(o, 1, 9, anneal_strategy="x"), ValueError, "instead got x"),
        (lambda o: lrs.ReduceLROnPlateau(o, "x"), ValueError, "mode 'x' is unknown"),
        (lambda o: lrs.ReduceLROnPlateau(o, factor=1.0), ValueError, "< 1.0, got 1.0"),
        (lambda o: lrs.ChainedScheduler([]), ValueError, "at least one scheduler"),
        (lambda o: lrs.ChainedScheduler([3]), TypeError, "int at index 0"),
        (
            lambda o: lrs.ChainedScheduler([lrs.ReduceLROnPlateau(o)]),
            ValueError,
            "not support ReduceLROnPlateau",
        ),
        (
            lambda o: lrs.SequentialLR(o, [lrs.StepLR(made(), 1)], []),
            ValueError,
            "same optimizer.*StepLR at index 0",
        ),
        (lambda o: lrs.SequentialLR(o, [lrs.StepLR(o, 1)], [3]), ValueError, "1 milestones"),
    ],
)
def test_mistakes_are_named(make: Any, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        make(made())
