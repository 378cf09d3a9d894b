"""Initial values have the variances and bounds of their papers."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest

import talweg as tw
from talweg import nn
from talweg.base.errors import InvalidValue, ShapeError
from talweg.nn import init


def seeded() -> tw.Generator:
    return tw.Generator().manual_seed(3)


SHAPE = (60, 40, 3, 3)
FAN_IN, FAN_OUT = 40 * 9, 60 * 9
STD: list[tuple[str, dict[str, Any], float]] = [
    ("uniform_", {"a": -1.0, "b": 3.0}, 4 / math.sqrt(12)),
    ("normal_", {"mean": 5.0, "std": 0.3}, 0.3),
    ("xavier_uniform_", {"gain": 2.0}, 2 * math.sqrt(2 / (FAN_IN + FAN_OUT))),
    ("xavier_normal_", {}, math.sqrt(2 / (FAN_IN + FAN_OUT))),
    ("kaiming_uniform_", {}, math.sqrt(2 / FAN_IN)),
    ("kaiming_uniform_", {"a": math.sqrt(5)}, math.sqrt(1 / (3 * FAN_IN))),
    ("kaiming_normal_", {"mode": "fan_out", "nonlinearity": "relu"}, math.sqrt(2 / FAN_OUT)),
    ("kaiming_normal_", {"nonlinearity": "linear"}, math.sqrt(1 / FAN_IN)),
]


@pytest.mark.parametrize(("name", "options", "std"), STD)
def test_standard_deviation(name: str, options: dict[str, Any], std: float) -> None:
    t = nn.Parameter(tw.zeros(SHAPE))
    assert getattr(init, name)(t, generator=seeded(), **options) is t
    values = t.detach().numpy()
    assert values.std() == pytest.approx(std, rel=0.02)
    if "uniform" in name:
        middle = np.mean([options.get("a", 0), options.get("b", 0)]) if name == "uniform_" else 0
        bound = std * math.sqrt(3)
        assert np.abs(values - middle).max() == pytest.approx(bound, rel=1e-2)
    assert t.is_leaf
    assert t.requires_grad


def test_truncated_normal_stays_within_and_is_bell_shaped() -> None:
    t = init.trunc_normal_(tw.zeros(20000), mean=1.0, std=2.0, a=-1.0, b=3.0, generator=seeded())
    values = t.numpy()
    assert values.min() >= -1
    assert values.max() <= 3
    assert values.mean() == pytest.approx(1, abs=0.03)
    # A normal distribution cut at one standard deviation on both sides.
    phi = math.exp(-0.5) / math.sqrt(2 * math.pi)
    variance = 4 * (1 - 2 * phi / math.erf(math.sqrt(0.5)))
    assert values.var() == pytest.approx(variance, rel=0.03)


@pytest.mark.parametrize("shape", [(6, 4), (4, 6), (5, 5), (4, 2, 3)])
def test_orthogonal(shape: tuple[int, ...]) -> None:
    t = init.orthogonal_(tw.zeros(shape, dtype=tw.float64), gain=2.0, generator=seeded()).numpy()
    m = t.reshape(shape[0], -1)
    short = m @ m.T if m.shape[0] <= m.shape[1] else m.T @ m
    np.testing.assert_allclose(short, 4 * np.eye(len(short)), atol=1e-12)


def test_constants_and_patterns() -> None:
    t = tw.zeros(2, 3)
    assert (init.constant_(t, 1.5) == 1.5).all()
    assert (init.ones_(t) == 1).all()
    assert not init.zeros_(t).any()
    assert init.eye_(t).tolist() == [[1, 0, 0], [0, 1, 0]]


def test_dirac_keeps_channels() -> None:
    for groups in (1, 2):
        layer = nn.Conv1d(4, 4, 3, padding=1, groups=groups, bias=False)
        init.dirac_(layer.weight, groups)
        x = tw.randn(2, 4, 5)
        np.testing.assert_array_equal(layer(x).detach().numpy(), x.numpy())


def test_sparse_columns() -> None:
    t = init.sparse_(tw.zeros(10, 20), sparsity=0.25, generator=seeded()).numpy()
    np.testing.assert_array_equal((t == 0).sum(0), np.full(20, 3))


def test_gains() -> None:
    assert init.calculate_gain("relu") == math.sqrt(2)
    assert init.calculate_gain("tanh") == 5 / 3
    assert init.calculate_gain("leaky_relu", 0.2) == math.sqrt(2 / 1.04)
    assert init.calculate_gain("conv2d") == 1
    with pytest.raises(InvalidValue, match="'cubic'"):
        init.calculate_gain("cubic")


def test_wrong_shapes_and_modes() -> None:
    for call in (init.xavier_normal_, init.kaiming_uniform_, init.orthogonal_, init.eye_):
        with pytest.raises(ShapeError, match=r"\(3,\)"):
            call(tw.zeros(3))
    with pytest.raises(ShapeError, match=r"\(2, 3\)"):
        init.dirac_(tw.zeros(2, 3))
    with pytest.raises(InvalidValue, match="'fan'"):
        init.kaiming_normal_(tw.zeros(2, 3), mode="fan")


def test_layers_begin_as_pytorchs() -> None:
    tw.manual_seed(0)
    for layer, fan_in in (
        (nn.Linear(400, 300), 400),
        (nn.Conv2d(20, 40, 5), 500),
        (nn.Bilinear(100, 30, 30), 100),
    ):
        bound = 1 / math.sqrt(fan_in)
        for p in layer.parameters():
            values = p.detach().numpy()
            assert np.abs(values).max() <= bound
            if values.size > 200:
                assert values.std() == pytest.approx(bound / math.sqrt(3), rel=0.1)
    table = nn.Embedding(200, 50, padding_idx=7).weight.detach().numpy()
    assert table.std() == pytest.approx(1, rel=0.03)
    assert not table[7].any()
