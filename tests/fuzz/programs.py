"""Random programs: lists of steps that run on Tensors and on NumPy arrays alike."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import hypothesis.strategies as st
import numpy as np

import talweg as tw

Draw = Callable[..., Any]
Pair = tuple[Callable[..., Any], Callable[..., Any]]


def _sigmoid(x: np.ndarray) -> np.ndarray:
    return 1 / (1 + np.exp(-x))


def _softmax(x: np.ndarray, k: int) -> np.ndarray:
    e = np.exp(x - x.max(k, keepdims=True))
    return e / e.sum(k, keepdims=True)


def _put(x: np.ndarray, i: int, v: np.ndarray) -> np.ndarray:
    out = x.copy()
    out[i] = v[i] * 2
    out *= v
    return out


def _put_ours(x: tw.Tensor, i: int, v: tw.Tensor) -> tw.Tensor:
    out = x.clone()
    out[i] = v[i] * 2
    out.mul_(v)
    return out


def _column(x: np.ndarray, v: np.ndarray) -> np.ndarray:
    out = x.copy()
    out.T[0] += v.T[0] * v.T[0]
    return out


def _column_ours(x: tw.Tensor, v: tw.Tensor) -> tw.Tensor:
    out = x * 1
    out.transpose(0, -1)[0].add_(v.transpose(0, -1)[0] ** 2)
    return out


# Each step is smooth almost everywhere and keeps values of moderate size.
UNARY: dict[str, Pair] = {
    "neg": (lambda x: -x, lambda x: -x),
    "tanh": (lambda x: x.tanh(), np.tanh),
    "sin": (tw.sin, np.sin),
    "sigmoid": (tw.sigmoid, _sigmoid),
    "square": (lambda x: x**2 * 0.5, lambda x: x * x * 0.5),
    "log1p": (lambda x: tw.log1p(x * x), lambda x: np.log1p(x * x)),
    "sqrt": (lambda x: (x.abs() + 1).sqrt(), lambda x: np.sqrt(np.abs(x) + 1)),
    "relu": (lambda x: x.relu(), lambda x: np.maximum(x, 0)),
    "clamp": (lambda x: x.clamp(-0.7, 0.9), lambda x: np.clip(x, -0.7, 0.9)),
    "affine": (lambda x: 2.5 - x * 0.5, lambda x: 2.5 - x * 0.5),
    "reciprocal": (lambda x: 1 / (x * x + 1), lambda x: 1 / (x * x + 1)),
    "where": (
        lambda x: tw.where(x > 0.1, x, x * x),
        lambda x: np.where(x > 0.1, x, x * x),
    ),
    "flat": (lambda x: x.reshape(-1), lambda x: x.reshape(-1)),
    "lift": (lambda x: x.unsqueeze(-1), lambda x: x[..., None]),
    "clone_inplace": (lambda x: x.clone().add_(1).mul_(0.5), lambda x: (x + 1) * 0.5),
    "exp_inplace": (lambda x: (x * 0.5).tanh_().exp_(), lambda x: np.exp(np.tanh(x * 0.5))),
    "outer": (
        lambda x: x.reshape(-1)[:3].outer(x.reshape(-1)[:2]),
        lambda x: np.outer(x.reshape(-1)[:3], x.reshape(-1)[:2]),
    ),
    "total": (lambda x: x.sum() * 0.3, lambda x: x.sum() * 0.3),
}
AXIS: dict[str, Pair] = {
    "sum": (lambda x, k: x.sum(k) * 0.5, lambda x, k: x.sum(k) * 0.5),
    "mean": (lambda x, k: x.mean(k, keepdim=True), lambda x, k: x.mean(k, keepdims=True)),
    "amax": (lambda x, k: x.amax(k), lambda x, k: x.max(k)),
    "var": (lambda x, k: x.var(k, correction=0), lambda x, k: x.var(k)),
    "prod": (lambda x, k: x.tanh().prod(k), lambda x, k: np.tanh(x).prod(k)),
    "logsumexp": (lambda x, k: x.logsumexp(k), lambda x, k: np.log(np.exp(x).sum(k))),
    "softmax": (lambda x, k: x.softmax(k), _softmax),
    "cumsum": (lambda x, k: x.cumsum(k) * 0.5, lambda x, k: np.cumsum(x, k) * 0.5),
    "flip": (lambda x, k: x.flip(k), np.flip),
    "roll": (lambda x, k: x.roll(1, k), lambda x, k: np.roll(x, 1, k)),
    "swap": (lambda x, k: x.transpose(0, k), lambda x, k: x.swapaxes(0, k)),
    "first": (lambda x, k: x.select(k, 0), lambda x, k: x.take(0, k)),
    "last": (lambda x, k: x.narrow(k, x.shape[k] - 1, 1), lambda x, k: x.take([-1], k)),
    "twice": (
        lambda x, k: x.index_select(k, tw.tensor([0, 0, -1 + x.shape[k]])),
        lambda x, k: x.take([0, 0, -1], k),
    ),
    "gather": (lambda x, k: x[tw.tensor([[0], [-1]])], lambda x, k: x[np.array([[0], [-1]])]),
    "max": (lambda x, k: x.max(k).values, lambda x, k: x.max(k)),
    "sort": (lambda x, k: x.sort(k).values, np.sort),
    "chunks": (
        lambda x, k: tw.cat(list(reversed(x.chunk(2, k))), k),
        lambda x, k: np.concatenate(list(reversed(_chunks(x, k))), k),
    ),
}
BINARY: dict[str, Pair] = {
    "add": (lambda x, y: x + y, lambda x, y: x + y),
    "sub": (lambda x, y: x - y, lambda x, y: x - y),
    "mul": (lambda x, y: x * y, lambda x, y: x * y),
    "div": (lambda x, y: x / (y * y + 1), lambda x, y: x / (y * y + 1)),
    "maximum": (tw.maximum, np.maximum),
    "hypot": (lambda x, y: (x * x + y * y + 1).sqrt(), lambda x, y: np.sqrt(x * x + y * y + 1)),
}
SAME: dict[str, Pair] = {
    "cat": (lambda x, y: tw.cat([x, y]), lambda x, y: np.concatenate([x, y])),
    "stack": (lambda x, y: tw.stack((x, y), -1), lambda x, y: np.stack((x, y), -1)),
    "put": (lambda x, y: _put_ours(x, 0, y), lambda x, y: _put(x, 0, y)),
    "column": (_column_ours, _column),
    "dot": (lambda x, y: x.reshape(-1) @ y.reshape(-1), lambda x, y: x.reshape(-1) @ y.reshape(-1)),
    "gram": (
        lambda x, y: x.reshape(len(x), -1) @ y.reshape(len(y), -1).T,
        lambda x, y: x.reshape(len(x), -1) @ y.reshape(len(y), -1).T,
    ),
}
TABLE: dict[str, Pair] = {**UNARY, **AXIS, **BINARY, **SAME}
Step = tuple[str, tuple[int, ...], tuple[int, ...]]


def _chunks(x: np.ndarray, k: int) -> list[np.ndarray]:
    size = -(-x.shape[k] // 2)
    return np.split(x, list(range(size, x.shape[k], size)), k)


class Program:
    """Steps over leaves; `run` gives every value, leaves first."""

    def __init__(self, leaves: list[np.ndarray], steps: list[Step]) -> None:
        self.leaves = leaves
        self.steps = steps

    def __repr__(self) -> str:
        leaves = ", ".join(str(x.shape) for x in self.leaves)
        return f"Program(leaves {leaves}; {'; '.join(f'{n}{i}{a}' for n, i, a in self.steps)})"

    def run(
        self, leaves: list[Any], side: int, look: Callable[[int, Any], None] | None = None
    ) -> list[Any]:
        """Run on Tensors (side 0) or arrays (side 1); `look` is called after every step."""
        values = list(leaves)
        for name, inputs, arguments in self.steps:
            values.append(TABLE[name][side](*(values[i] for i in inputs), *arguments))
            if look is not None:
                look(len(values) - 1, values[-1])
        return values

    def loss(self, values: list[Any], side: int) -> Any:
        """Return a number to which the last values contribute with different weights."""
        total: Any = 0.0
        for i, v in enumerate(values[-3:]):
            weight = np.cos(np.arange(v.numel() if side == 0 else v.size) + i).reshape(v.shape)
            total = total + (v * (weight if side else tw.tensor(weight))).sum()
        return total


@st.composite
def programs(draw: Draw, most: int) -> Program:
    """Draw a program whose values stay small, from leaves without ties."""
    count = draw(st.integers(1, 3))
    shapes = st.sampled_from([(), (1,), (3,), (2, 3), (3, 1), (2, 1, 3), (1, 1)])
    random = np.random.default_rng(draw(st.integers(0, 10_000)))
    leaves = [random.uniform(-1.5, 1.5, draw(shapes)) for _ in range(count)]
    values: list[np.ndarray] = list(leaves)
    steps: list[Step] = []
    for _ in range(draw(st.integers(1, most))):
        i = draw(st.integers(max(0, len(values) - 4), len(values) - 1))
        x = values[i]
        same = [j for j, v in enumerate(values) if v.shape == x.shape]
        fits = [j for j, v in enumerate(values) if _broadcast(v.shape, x.shape)]
        kinds = ["unary", "binary", *(["axis", "same"] if x.ndim else [])]
        kind = draw(st.sampled_from(kinds))
        arguments: tuple[int, ...] = ()
        inputs: tuple[int, ...] = (i,)
        if kind == "unary":
            name = draw(st.sampled_from(list(UNARY)))
        elif kind == "axis":
            name = draw(st.sampled_from(list(AXIS)))
            arguments = (draw(st.integers(-x.ndim, x.ndim - 1)),)
        elif kind == "binary":
            name = draw(st.sampled_from(list(BINARY)))
            inputs = (i, draw(st.sampled_from(fits)))
        else:
            name = draw(st.sampled_from(list(SAME)))
            inputs = (i, draw(st.sampled_from(same)))
        made = TABLE[name][1](*(values[j] for j in inputs), *arguments)
        if np.size(made) > 200 or not np.all(np.abs(made) < 1e3):
            continue
        steps.append((name, inputs, arguments))
        values.append(np.asarray(made))
    return Program(leaves, steps)


def _broadcast(a: tuple[int, ...], b: tuple[int, ...]) -> bool:
    return all(n == m or 1 in (n, m) for n, m in zip(reversed(a), reversed(b)))
