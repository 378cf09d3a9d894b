"""Data, networks and comparisons for the tests of `tw.compile`."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import talweg as tw
from talweg import nn


def data(*shape: int, seed: int = 0, grad: bool = False) -> tw.Tensor:
    values = np.random.default_rng(seed).normal(size=shape).astype(np.float32)
    return tw.tensor(values, requires_grad=grad)


def flat(value: Any) -> list[Any]:
    """The Tensors of a nested value as arrays, and the other leaves."""
    if isinstance(value, tw.Tensor):
        return [value.detach().numpy(), value.requires_grad, value.stride()]
    if isinstance(value, tuple | list):
        return [type(value), *(leaf for v in value for leaf in flat(v))]
    if isinstance(value, dict):
        return [*value, *(leaf for v in value.values() for leaf in flat(v))]
    return [value]


def assert_same(found: Any, expected: Any, exactly: bool = False) -> None:
    """Compare values; `exactly` also the last bit of every element."""
    a, b = flat(found), flat(expected)
    assert len(a) == len(b)
    for x, y in zip(a, b, strict=True):
        if exactly and isinstance(y, np.ndarray):
            np.testing.assert_array_equal(x, y)
        elif isinstance(y, np.ndarray):
            np.testing.assert_allclose(x, y, rtol=2e-5, atol=2e-6)
        elif isinstance(y, float) and not exactly:
            assert x == pytest.approx(y, rel=2e-5, abs=2e-6)
        else:
            assert x == y


def replays(compiled: Any) -> int:
    return sum(r.replays for r in compiled.reports)


def mlp() -> nn.Module:
    return nn.Sequential(nn.Linear(6, 8), nn.Tanh(), nn.Linear(8, 3))


def normalized() -> nn.Module:
    return nn.Sequential(
        *(nn.Linear(6, 8, bias=False), nn.BatchNorm1d(8), nn.ReLU(), nn.Dropout(0.4)),
        nn.Linear(8, 3),
    )


def lenet() -> nn.Module:
    return nn.Sequential(
        nn.Unflatten(1, (1, 8, 8)),
        *(nn.Conv2d(1, 3, 3), nn.ReLU(), nn.MaxPool2d(2), nn.Flatten(), nn.Linear(27, 3)),
    )
