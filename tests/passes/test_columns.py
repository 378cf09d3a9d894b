"""Sums over rows that grow while the rows are computed."""

from __future__ import annotations

import numpy as np
import pytest

import talweg as tw
from talweg.nn import functional as F

from .programs import plan_of

SHAPES = [(40, 160), (1, 160), (7, 200), (4, 33, 130), (300, 129), (3, 2, 5, 128)]


@pytest.mark.parametrize("shape", SHAPES)
def test_the_gradients_of_a_layer_norm(shape: tuple[int, ...]) -> None:
    rng = np.random.default_rng(len(shape))
    x, g = rng.normal(size=shape), rng.normal(size=shape)
    w, b = rng.normal(size=shape[-1:]), rng.normal(size=shape[-1:])
    a, scale, shift = (tw.tensor(v).requires_grad_() for v in (x, w, b))
    y = F.layer_norm(a, shape[-1:], scale, shift)
    dx, dw, db = tw.autograd.grad(y, [a, scale, shift], tw.tensor(g))
    rest = tuple(range(len(shape) - 1))
    centred = x - x.mean(-1, keepdims=True)
    rstd = 1 / np.sqrt((centred**2).mean(-1, keepdims=True) + 1e-5)
    h = centred * rstd
    np.testing.assert_allclose(y.detach().numpy(), h * w + b, rtol=1e-9)
    np.testing.assert_allclose(db.numpy(), g.sum(rest), rtol=1e-9)
    np.testing.assert_allclose(dw.numpy(), (g * h).sum(rest), rtol=1e-9, atol=1e-11)
    means = (g * w).mean(-1, keepdims=True), (g * w * h).mean(-1, keepdims=True)
    want = rstd * (g * w - means[0] - h * means[1])
    np.testing.assert_allclose(dx.numpy(), want, rtol=1e-7, atol=1e-10)


@pytest.mark.parametrize("shape", [(64, 256), (4, 16, 256)])
def test_a_layer_norm_and_all_its_gradients_are_one_kernel(shape: tuple[int, ...]) -> None:
    rng = np.random.default_rng(0)
    x, w, b = (tw.tensor(rng.normal(size=s)).requires_grad_() for s in (shape, 256, 256))
    y = F.layer_norm(x, (256,), w, b)
    plan = plan_of(y, *tw.autograd.grad(y, [x, w, b], tw.tensor(rng.normal(size=shape))))
    assert len(plan.launches) == 1


def test_another_number_of_rows_is_no_other_kernel() -> None:
    nests = set()
    for rows in (64, 65, 300, 5000):
        x = tw.tensor(np.ones((rows, 256), np.float32))
        y = (x - x.sum(-1, keepdim=True)) * 2
        (launch,) = plan_of(y, y.sum(0), x.sum(0)).launches
        nests.add(launch.nest)
    assert len(nests) == 1


def test_sums_of_what_is_not_summed_as_it_is_stay_apart() -> None:
    rng = np.random.default_rng(1)
    x = rng.normal(size=(50, 140)).astype(np.float16)
    a = tw.tensor(x)
    rows = a - a.amax(-1, keepdim=True)
    got, largest = rows.sum(0), rows.amax(0)
    want = x - x.max(-1, keepdims=True)
    np.testing.assert_array_equal(largest.numpy(), want.max(0))
    exact = want.astype(np.float64).sum(0)
    np.testing.assert_allclose(got.numpy(), exact, rtol=2e-3)
