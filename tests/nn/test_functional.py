"""Spellings of `nn.functional` that no layer uses."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import talweg as tw
import talweg.nn.functional as F

RNG = np.random.default_rng(4)
IN_PLACE: dict[str, tuple[float, ...]] = {
    **dict.fromkeys(("relu", "relu6", "selu", "silu", "mish", "hardswish", "hardsigmoid"), ()),
    "elu": (0.5,),
    "celu": (0.5,),
    "leaky_relu": (0.2,),
    "hardtanh": (-0.5, 0.7),
    "threshold": (0.1, 2.0),
}


@pytest.mark.parametrize("name", IN_PLACE)
def test_activations_in_place(name: str) -> None:
    x = tw.tensor(RNG.standard_normal((3, 4)), requires_grad=True)
    wanted = getattr(F, name)(x, *IN_PLACE[name])
    (slope,) = tw.autograd.grad(wanted.sum(), x)
    y = x * 1
    assert getattr(F, f"{name}_")(y, *IN_PLACE[name]) is y
    assert tw.equal(y, wanted)
    assert tw.equal(tw.autograd.grad(y.sum(), x)[0], slope)


def test_rrelu_in_place_has_one_slope_in_evaluation() -> None:
    y = tw.tensor([-6.0, 1.0])
    assert F.rrelu_(y, 0.25, 0.75) is y
    assert y.tolist() == [-3, 1]


@pytest.mark.parametrize("axes", [1, 2, 3])
def test_dropout_of_whole_channels(axes: int) -> None:
    x = tw.ones(40, 50, *(2,) * axes)
    drop = getattr(F, f"dropout{axes}d")
    channels = drop(x, 0.25).numpy().reshape(2000, -1)
    assert (channels == channels[:, :1]).all()
    assert set(np.unique(channels)) == {0, np.float32(1 / 0.75)}
    assert (channels[:, 0] == 0).mean() == pytest.approx(0.25, abs=0.04)
    assert tw.equal(drop(x, 0.25, training=False), x)


@pytest.mark.parametrize("name", ["alpha_dropout", "feature_alpha_dropout"])
def test_alpha_dropout_keeps_mean_and_variance(name: str) -> None:
    x = tw.tensor(RNG.standard_normal((200, 300, 2)))
    y = getattr(F, name)(x, 0.3, training=True)
    assert y.mean().item() == pytest.approx(0, abs=0.03)
    assert y.std().item() == pytest.approx(1, abs=0.03)
    found, counts = np.unique(y.numpy(), return_counts=True)
    dropped = y.numpy() == found[counts.argmax()]
    assert dropped.mean() == pytest.approx(0.3, abs=0.02)
    whole = bool((dropped[..., 0] == dropped[..., 1]).all())
    assert whole == (name == "feature_alpha_dropout")
    assert tw.equal(getattr(F, name)(x, 0.3), x)


def test_triplets_under_any_distance() -> None:
    a, p, n = (tw.tensor(RNG.standard_normal((4, 3))) for _ in range(3))

    def city(x: Any, y: Any) -> Any:
        return (x - y).abs().sum(1)

    got = F.triplet_margin_with_distance_loss(a, p, n, distance_function=city, reduction="none")
    near, far = city(a, p).numpy(), city(a, n).numpy()
    np.testing.assert_allclose(got.numpy(), np.maximum(near - far + 1, 0))
    swapped = F.triplet_margin_with_distance_loss(a, p, n, distance_function=city, swap=True)
    far = np.minimum(far, city(p, n).numpy())
    np.testing.assert_allclose(swapped.numpy(), np.maximum(near - far + 1, 0).mean())
