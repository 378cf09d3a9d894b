"""Dropout and other random layers: shares, scales, and what is random together."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import talweg as tw
import talweg.nn.functional as F
from talweg import nn
from talweg.base.errors import InvalidValue, ShapeError


@pytest.fixture(autouse=True)
def _seed() -> None:
    tw.manual_seed(5)


def test_dropout_zeroes_a_share_and_scales_the_rest() -> None:
    y = F.dropout(tw.ones(100, 100), 0.3).numpy()
    assert set(np.unique(y)) == {0, np.float32(1 / 0.7)}
    assert (y == 0).mean() == pytest.approx(0.3, abs=0.02)


def test_the_gradient_goes_through_what_was_kept() -> None:
    x = tw.ones(50, requires_grad=True)
    y = nn.Dropout(0.5)(x)
    y.sum().backward()
    np.testing.assert_array_equal(x.grad.numpy(), y.detach().numpy())


LAYERS = [
    (nn.Dropout, (3, 4)),
    (nn.Dropout1d, (3, 4, 5)),
    (nn.Dropout2d, (3, 4, 5, 6)),
    (nn.Dropout3d, (3, 4, 2, 2, 2)),
    (nn.AlphaDropout, (3, 4)),
    (nn.FeatureAlphaDropout, (3, 4, 5)),
]


@pytest.mark.parametrize(("make", "shape"), LAYERS)
def test_evaluation_and_the_ends_of_p(make: Any, shape: tuple[int, ...]) -> None:
    x = tw.randn(shape)
    layer = make(0.4)
    assert tw.equal(layer.eval()(x), x)
    assert not tw.equal(layer.train()(x), x)
    assert tw.equal(make(0.0)(x), x)
    assert not make(1.0)(x).any()
    with pytest.raises(InvalidValue, match=r"1\.5"):
        make(1.5)
    assert repr(layer) == f"{make.__name__}(p=0.4, inplace=False)"
    changed = x.clone()
    out = make(0.4, inplace=True)(changed)
    assert out is changed
    assert not tw.equal(out, x)


@pytest.mark.parametrize(("make", "shape"), LAYERS[1:4])
def test_whole_channels_are_dropped(make: Any, shape: tuple[int, ...]) -> None:
    for sizes in (shape, shape[1:] if make is not nn.Dropout2d else shape):
        y = make(0.5)(tw.ones(sizes)).numpy()
        axes = tuple(range(y.ndim - len(shape) + 2, y.ndim))
        assert (y.min(axes) == y.max(axes)).all()
        assert set(np.unique(y)) <= {0, 2}
    with pytest.raises(ShapeError, match=r"\(3,\)"):
        make(0.5)(tw.ones(3))


def test_alpha_dropout_keeps_mean_and_variance() -> None:
    for layer, shape in (
        (nn.AlphaDropout(0.3), (200, 200)),
        (nn.FeatureAlphaDropout(0.3), (200, 200, 1)),
    ):
        y = layer(tw.randn(shape)).numpy()
        assert y.mean() == pytest.approx(0, abs=0.03)
        assert y.std() == pytest.approx(1, abs=0.03)


def test_a_seed_repeats_the_draw() -> None:
    x = tw.ones(100)
    draws = []
    for seed in (1, 1, 2):
        tw.manual_seed(seed)
        draws.append(F.dropout(x).tolist())
    assert draws[0] == draws[1] != draws[2]
    assert F.dropout(x).tolist() != draws[2]


def test_rrelu_slopes() -> None:
    layer = nn.RReLU(0.1, 0.3)
    y = layer(-tw.ones(2000)).numpy()
    assert -0.3 <= y.min() < -0.28
    assert -0.12 < y.max() <= -0.1
    np.testing.assert_allclose(layer.eval()(-tw.ones(3)).numpy(), -0.2, rtol=1e-6)
    assert layer.train()(tw.ones(1)).item() == 1


def test_gumbel_softmax_draws_by_probability() -> None:
    logits = tw.tensor([0.0, float(np.log(3.0))]).expand(4000, 2)
    hard = F.gumbel_softmax(logits, hard=True).numpy()
    assert set(np.unique(hard)) <= {0, 1}
    assert hard[:, 1].mean() == pytest.approx(0.75, abs=0.03)
    np.testing.assert_allclose(F.gumbel_softmax(logits).numpy().sum(1), 1, rtol=1e-5)


@pytest.mark.parametrize("name", ["dropout2d", "dropout3d"])
def test_rows_are_read_as_channels_with_a_warning(name: str) -> None:
    tw.manual_seed(0)
    with pytest.warns(UserWarning, match="2 dimensions"):
        out = getattr(tw.nn.functional, name)(tw.ones(4, 50), 0.5)
    assert set(np.unique(out.numpy())) == {0.0, 2.0}
    with pytest.raises(tw.TalwegError, match="at least 2"):
        getattr(tw.nn.functional, name)(tw.ones(4), 0.5)
