"""Every optimizer, 15 steps of a logistic regression, against the papers' formulas in NumPy."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import talweg as tw

STEPS = 15
Rule = Callable[..., np.ndarray]
RNG = np.random.default_rng(7)
X = RNG.normal(size=(12, 4))
Y = (X @ [1.0, -2.0, 0.5, 0.0] + 0.3 * RNG.normal(size=12) > 0).astype(float)
START = RNG.normal(size=4)


def gradient(w: np.ndarray) -> np.ndarray:
    """That of the mean of log(1 + exp(-z)) + (1 - y) z for z = X w."""
    return X.T @ (1 / (1 + np.exp(-X @ w)) - Y) / len(Y)


def loss_of(w: tw.Tensor) -> tw.Tensor:
    z = (tw.tensor(X) * w).sum(1)
    return ((1 + (-z).exp()).log() + (1 - tw.tensor(Y)) * z).sum() / len(Y)


# One step of each rule, at the point p with gradient g, for the t-th time; s is its memory.


def sgd(p: Any, g: Any, s: Any, t: int, lr: Any, momentum: Any = 0, **o: Any) -> np.ndarray:
    s["v"] = g if t == 1 else momentum * s["v"] + (1 - o.get("dampening", 0)) * g
    return p - lr * (g + momentum * s["v"] if o.get("nesterov") else s["v"])


def asgd(p: Any, g: Any, s: Any, t: int, lr: Any = 1e-2, t0: Any = 1e6, **o: Any) -> np.ndarray:
    lambd, alpha = o.get("lambd", 1e-4), o.get("alpha", 0.75)
    eta = lr / (1 + lambd * lr * (t - 1)) ** alpha
    p = (1 - lambd * eta) * p - eta * g
    mu = 1 / max(1, t - 1 - t0)
    s["ax"] = s.get("ax", 0) + mu * (p - s.get("ax", 0))
    return p


def moments(g: Any, s: Any, betas: Any) -> tuple[np.ndarray, np.ndarray]:
    s["m"] = betas[0] * s.get("m", 0) + (1 - betas[0]) * g
    s["v"] = betas[1] * s.get("v", 0) + (1 - betas[1]) * g**2
    return s["m"], s["v"]


def adam(
    p: Any, g: Any, s: Any, t: int, lr: Any = 1e-3, betas: Any = (0.9, 0.999), **o: Any
) -> np.ndarray:
    m, v = moments(g, s, betas)
    s["max"] = np.maximum(s.get("max", 0), v)
    v = (s["max"] if o.get("amsgrad") else v) / (1 - betas[1] ** t)
    return p - lr * m / (1 - betas[0] ** t) / (np.sqrt(v) + o.get("eps", 1e-8))


def adamax(
    p: Any, g: Any, s: Any, t: int, lr: Any = 2e-3, betas: Any = (0.9, 0.999), **o: Any
) -> np.ndarray:
    m, _ = moments(g, s, betas)
    s["u"] = np.maximum(betas[1] * s.get("u", 0), np.abs(g) + o.get("eps", 1e-8))
    return p - lr / (1 - betas[0] ** t) * m / s["u"]


def nadam(
    p: Any, g: Any, s: Any, t: int, lr: Any = 2e-3, betas: Any = (0.9, 0.999), **o: Any
) -> np.ndarray:
    m, v = moments(g, s, betas)
    psi = o.get("momentum_decay", 4e-3)
    mu = [betas[0] * (1 - 0.5 * 0.96 ** (i * psi)) for i in range(1, t + 2)]
    ahead = mu[t] * m / (1 - np.prod(mu)) + (1 - mu[t - 1]) * g / (1 - np.prod(mu[:t]))
    return p - lr * ahead / (np.sqrt(v / (1 - betas[1] ** t)) + o.get("eps", 1e-8))


def radam(
    p: Any, g: Any, s: Any, t: int, lr: Any = 1e-3, betas: Any = (0.9, 0.999), **o: Any
) -> np.ndarray:
    m, v = moments(g, s, betas)
    m = m / (1 - betas[0] ** t)
    far = 2 / (1 - betas[1]) - 1
    rho = far - 2 * t * betas[1] ** t / (1 - betas[1] ** t)
    if rho <= 5:
        return p - lr * m
    r = np.sqrt((rho - 4) * (rho - 2) * far / ((far - 4) * (far - 2) * rho))
    return p - lr * r * m * np.sqrt(1 - betas[1] ** t) / (np.sqrt(v) + o.get("eps", 1e-8))


def adagrad(p: Any, g: Any, s: Any, t: int, lr: Any = 1e-2, **o: Any) -> np.ndarray:
    s["sum"] = s.get("sum", o.get("initial_accumulator_value", 0)) + g**2
    rate = lr / (1 + (t - 1) * o.get("lr_decay", 0))
    return p - rate * g / (np.sqrt(s["sum"]) + o.get("eps", 1e-10))


def adadelta(p: Any, g: Any, s: Any, t: int, lr: Any = 1, rho: Any = 0.9, **o: Any) -> np.ndarray:
    eps = o.get("eps", 1e-6)
    s["v"] = rho * s.get("v", 0) + (1 - rho) * g**2
    delta = np.sqrt(s.get("u", 0) + eps) / np.sqrt(s["v"] + eps) * g
    s["u"] = rho * s.get("u", 0) + (1 - rho) * delta**2
    return p - lr * delta


def rmsprop(
    p: Any, g: Any, s: Any, t: int, lr: Any = 1e-2, alpha: Any = 0.99, **o: Any
) -> np.ndarray:
    s["v"] = alpha * s.get("v", 0) + (1 - alpha) * g**2
    s["m"] = alpha * s.get("m", 0) + (1 - alpha) * g
    variance = s["v"] - s["m"] ** 2 if o.get("centered") else s["v"]
    s["b"] = o.get("momentum", 0) * s.get("b", 0) + g / (np.sqrt(variance) + o.get("eps", 1e-8))
    return p - lr * s["b"]


def rprop(p: Any, g: Any, s: Any, t: int, lr: Any = 1e-2, **o: Any) -> np.ndarray:
    (shrink, grow), (low, high) = o.get("etas", (0.5, 1.2)), o.get("step_sizes", (1e-6, 50))
    out = p.copy()
    for i in range(len(p)):
        before, size = s.get(("g", i), 0.0), s.get(("size", i), lr)
        now = g[i]
        if now * before > 0:
            size = min(max(size * grow, low), high)
        elif now * before < 0:
            size, now = min(max(size * shrink, low), high), 0.0
        out[i] -= np.sign(now) * size
        s["g", i], s["size", i] = now, size
    return out


def trajectory(rule: Rule, options: dict[str, Any]) -> list[np.ndarray]:
    options = dict(options)
    decay, sign = options.pop("weight_decay", 0), -1 if options.pop("maximize", False) else 1
    decoupled = options.pop("decoupled_weight_decay", False)
    p, memory, points = START.copy(), {}, []  # type: ignore[var-annotated]
    for t in range(1, STEPS + 1):
        g = sign * gradient(p)
        if decoupled:
            p = p - options["lr"] * decay * p
        else:
            g = g + decay * p
        p = rule(p, g, memory, t, **options)
        points.append(p)
    return points


CASES: list[tuple[str, Rule, dict[str, Any]]] = [
    ("SGD", sgd, {"lr": 1e-3}),
    ("SGD", sgd, {"lr": 0.5, "momentum": 0.9}),
    ("SGD", sgd, {"lr": 0.5, "momentum": 0.9, "dampening": 0.4, "weight_decay": 0.1}),
    ("SGD", sgd, {"lr": 0.5, "momentum": 0.8, "nesterov": True, "maximize": True}),
    ("ASGD", asgd, {}),
    ("ASGD", asgd, {"lr": 0.5, "lambd": 0.1, "alpha": 0.5, "t0": 4, "weight_decay": 0.1}),
    ("Adam", adam, {}),
    ("Adam", adam, {"lr": 0.1, "betas": (0.8, 0.9), "eps": 1e-3, "weight_decay": 0.1}),
    ("Adam", adam, {"lr": 0.1, "betas": (0.5, 0.3), "amsgrad": True, "maximize": True}),
    ("AdamW", adam, {"lr": 0.1, "weight_decay": 0.2, "decoupled_weight_decay": True}),
    ("Adamax", adamax, {}),
    ("Adamax", adamax, {"lr": 0.1, "betas": (0.8, 0.9), "eps": 1e-3, "weight_decay": 0.1}),
    ("NAdam", nadam, {}),
    ("NAdam", nadam, {"lr": 0.1, "momentum_decay": 0.1, "weight_decay": 0.1}),
    ("RAdam", radam, {}),
    ("RAdam", radam, {"lr": 0.1, "betas": (0.8, 0.5), "weight_decay": 0.1}),
    ("RAdam", radam, {"lr": 0.1, "weight_decay": 0.1, "decoupled_weight_decay": True}),
    ("Adagrad", adagrad, {}),
    ("Adagrad", adagrad, {"lr": 0.5, "lr_decay": 0.1, "initial_accumulator_value": 0.2}),
    ("Adadelta", adadelta, {}),
    ("Adadelta", adadelta, {"lr": 0.5, "rho": 0.7, "eps": 1e-2, "weight_decay": 0.1}),
    ("RMSprop", rmsprop, {}),
    ("RMSprop", rmsprop, {"lr": 0.05, "alpha": 0.8, "momentum": 0.9, "weight_decay": 0.1}),
    ("RMSprop", rmsprop, {"lr": 0.05, "alpha": 0.8, "centered": True, "maximize": True}),
    ("Rprop", rprop, {}),
    ("Rprop", rprop, {"lr": 0.6, "etas": (0.4, 1.5), "step_sizes": (0.2, 0.9)}),
]


def moved(name: str, options: dict[str, Any], dtype: Any) -> list[np.ndarray]:
    options = {k: v for k, v in options.items() if k != "decoupled_weight_decay" or name != "AdamW"}
    w = tw.tensor(START, dtype=dtype, requires_grad=True)
    optimizer = getattr(tw.optim, name)([w], **options)
    points = []
    for _ in range(STEPS):
        optimizer.zero_grad()
        loss_of(w).backward()
        optimizer.step()
        points.append(w.detach().numpy().copy())
    return points


@pytest.mark.parametrize(("name", "rule", "options"), CASES)
def test_follows_the_formula(name: str, rule: Rule, options: dict[str, Any]) -> None:
    expected = trajectory(rule, options)
    assert np.abs(expected[-1] - START).max() > 1e-3
    np.testing.assert_allclose(moved(name, options, tw.float64), expected, rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("name", sorted({name for name, _, _ in CASES}))
def test_single_precision_stays_near_the_formula(name: str) -> None:
    rule, options = next((r, o) for n, r, o in CASES if n == name)
    points = moved(name, options, tw.float32)
    assert points[-1].dtype == np.float32
    np.testing.assert_allclose(points, trajectory(rule, options), rtol=1e-4, atol=1e-5)


def test_the_average_of_asgd() -> None:
    memory: dict[str, Any] = {}
    p, lr = START.copy(), 0.5
    w = tw.tensor(START, requires_grad=True)
    optimizer = tw.optim.ASGD([w], lr=lr, t0=3)
    for t in range(1, STEPS + 1):
        p = asgd(p, gradient(p), memory, t, lr=lr, t0=3)
        optimizer.zero_grad()
        loss_of(w).backward()
        optimizer.step()
    np.testing.assert_allclose(optimizer.state[w]["ax"].numpy(), memory["ax"], rtol=1e-9)


def test_decoupled_weight_decay_of_adam_is_adamw() -> None:
    options = {"lr": 0.1, "weight_decay": 0.2}
    as_adam = moved("Adam", {**options, "decoupled_weight_decay": True}, tw.float64)
    np.testing.assert_array_equal(as_adam, moved("AdamW", options, tw.float64))


def test_sgd_takes_complex_parameters() -> None:
    z = tw.tensor([1 + 2j, -1j], requires_grad=True)
    optimizer = tw.optim.SGD([z], lr=0.1)
    (z * z.conj()).real.sum().backward()
    optimizer.step()
    np.testing.assert_allclose(z.detach().numpy(), 0.8 * np.array([1 + 2j, -1j]), rtol=1e-6)


def test_adafactor_keeps_rows_and_columns_of_a_matrix() -> None:
    random = np.random.default_rng(3)
    start, grads = random.normal(size=(5, 3)), random.normal(size=(6, 5, 3))
    weight = tw.tensor(start, requires_grad=True)
    optimizer = tw.optim.Adafactor([weight], lr=0.05, weight_decay=0.1)
    p, rows, columns = start.copy(), np.zeros((5, 1)), np.zeros((1, 3))
    for t, g in enumerate(grads, 1):
        weight.grad = tw.tensor(g)
        optimizer.step()
        share = t**-0.8
        step = max(1e-3, np.sqrt((p**2).mean())) * min(0.05, t**-0.5)
        rows = (1 - share) * rows + share * (g**2).mean(1, keepdims=True)
        columns = (1 - share) * columns + share * (g**2).mean(0, keepdims=True)
        move = g / np.sqrt(rows @ columns / rows.mean())
        p = p * (1 - 0.05 * 0.1) - step * move / max(1, np.sqrt((move**2).mean()))
    np.testing.assert_allclose(weight.detach().numpy(), p, rtol=1e-6)
    state = optimizer.state[weight]
    assert {k: v.shape for k, v in state.items() if k != "step"} == {
        "row_var": (5, 1),
        "col_var": (1, 3),
    }


@pytest.mark.parametrize("shape", [(6, 10), (10, 6)])
def test_muon_moves_all_directions_as_far(shape: tuple[int, int]) -> None:
    random = np.random.default_rng(4)
    u, _, v = np.linalg.svd(random.normal(size=shape), full_matrices=False)
    gradient = u * np.geomspace(1, 0.05, 6) @ v
    weight = tw.tensor(np.zeros(shape, "float32"), requires_grad=True)
    weight.grad = tw.tensor(gradient.astype("float32"))
    tw.optim.Muon([weight], lr=1.0, weight_decay=0.0).step()
    moved = -weight.detach().numpy() / np.sqrt(max(1, shape[0] / shape[1]))
    along = np.diag(u.T @ moved @ v.T)
    assert ((along > 0.6) & (along < 1.3)).all()
    np.testing.assert_allclose(u.T @ moved @ v.T, np.diag(along), atol=0.03)
