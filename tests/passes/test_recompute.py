"""Values that are computed again, and groups that are joined late."""

from __future__ import annotations

import numpy as np
import pytest

import talweg as tw
from talweg.nn import functional as F

from .programs import known, plan_of


def test_the_standardised_input_of_a_norm_is_not_stored_for_the_gradient() -> None:
    x, g = known(64, 128).requires_grad_(), known(64, 128)
    w = known(128).requires_grad_()
    y = F.layer_norm(x, (128,), w)
    plan = plan_of(y, *tw.autograd.grad(y, [x, w], g))
    full = {n for launch in plan.launches for n in launch.operands if n.shape == (64, 128)}
    assert len(full) == 4, "x, y and the two gradients of that shape"


def test_a_loss_and_its_gradient_are_one_pass_over_the_scores() -> None:
    target = tw.tensor(np.arange(64) % 50)
    x = known(64, 50).requires_grad_()
    loss = F.cross_entropy(x, target)
    plan = plan_of(loss, *tw.autograd.grad(loss, [x]))
    over = [k for k in plan.launches if any(n.shape == (64, 50) for n in k.operands)]
    assert len(over) == 1


def test_the_gradient_of_a_softmax_reads_its_result_and_what_arrives() -> None:
    x, w = known(64, 50).requires_grad_(), known(50, 128)
    shares = tw.softmax(x, -1)
    y = shares @ w
    plan = plan_of(y, *tw.autograd.grad(y, [x], known(64, 128)))
    over = {n for launch in plan.launches for n in launch.operands if n.shape == (64, 50)}
    assert len(over) == 4, "x, the shares, what arrives at them, and the gradient"


def test_the_gradient_of_gelu_reads_the_slope_and_what_arrives() -> None:
    x, g = known(64, 128).requires_grad_(), known(64, 128)
    y = F.gelu(x)
    kept = plan_of(y, *tw.autograd.grad(y * y, [x], g))
    full = {n for launch in kept.launches for n in launch.operands if n.shape == (64, 128)}
    assert len(full) <= 4, "x, g, y and the gradient"


def test_what_follows_a_product_computes_cheap_values_again() -> None:
    rng = np.random.default_rng(0)
    a, x, w = rng.normal(size=(64, 128)), rng.normal(size=(64, 50)), rng.normal(size=(50, 128))
    s = tw.sigmoid(tw.tensor(a))
    slope = s * (1 - s)
    y = (tw.tensor(x) @ tw.tensor(w)) * slope
    plan = plan_of(s, y)
    full = {n for launch in plan.launches for n in launch.operands if n.shape == (64, 128)}
    assert len(full) == 3, "a, s and y"
    want = 1 / (1 + np.exp(-a))
    np.testing.assert_allclose(y.numpy(), x @ w * want * (1 - want), rtol=1e-9, atol=1e-12)


def test_a_sum_of_a_value_that_waits_for_another_sum_stays_behind_it() -> None:
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(40, 30)), rng.normal(size=(40, 30))
    a, b = tw.tensor(x), tw.tensor(y)
    total = (a * b).sum()  # of all of both, so the last line cannot join the first
    rows = (a - a.mean(-1, keepdim=True)) * 2
    got = (rows * total + b).sum(-1)
    want = ((x - x.mean(-1, keepdims=True)) * 2 * (x * y).sum() + y).sum(-1)
    np.testing.assert_allclose(got.numpy(), want, rtol=1e-9)


@pytest.mark.parametrize("classes", [5, 300])
def test_cross_entropy_with_ignored_labels(classes: int) -> None:
    rng = np.random.default_rng(classes)
    x = rng.normal(size=(20, classes))
    labels = rng.integers(0, classes, 20)
    labels[::3] = -100
    a = tw.tensor(x).requires_grad_()
    loss = F.cross_entropy(a, tw.tensor(labels))
    (gradient,) = tw.autograd.grad(loss, [a])
    kept = labels != -100
    p = np.exp(x) / np.exp(x).sum(1, keepdims=True)
    want = (p - np.eye(classes)[np.where(kept, labels, 0)]) * kept[:, None] / kept.sum()
    np.testing.assert_allclose(gradient.numpy(), want, rtol=1e-9, atol=1e-12)
    log_p = np.log(p[np.arange(20), np.where(kept, labels, 0)])
    np.testing.assert_allclose(loss.item(), -(log_p * kept).sum() / kept.sum(), rtol=1e-9)


def test_many_labels_are_no_rows_of_scores() -> None:
    """What is known of 5,000 labels is long enough to be computed again, but not on rows."""
    rng = np.random.default_rng(0)
    x, labels = rng.normal(size=(5000, 3)), rng.integers(0, 3, 5000)
    a = tw.tensor(x).requires_grad_()
    loss = F.cross_entropy(a, tw.tensor(labels))
    (gradient,) = tw.autograd.grad(loss, [a])
    p = np.exp(x) / np.exp(x).sum(1, keepdims=True)
    np.testing.assert_allclose(gradient.numpy(), (p - np.eye(3)[labels]) / 5000, rtol=1e-9)
