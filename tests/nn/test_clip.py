"""Clipped gradients, and parameters as one vector."""

from __future__ import annotations

import math

import numpy as np
import pytest

import talweg as tw
from talweg import nn
from talweg.base.errors import GradientError, ShapeError
from talweg.nn import utils


def parameters(*grads: list[float]) -> list[nn.Parameter]:
    made = []
    for g in grads:
        p = nn.Parameter(tw.zeros(len(g)))
        p.grad = tw.tensor(g)
        made.append(p)
    return [*made, nn.Parameter(tw.zeros(2))]


@pytest.mark.parametrize("p", [1.0, 2.0, 3.0, math.inf])
def test_norms_are_taken_together(p: float) -> None:
    params = parameters([3.0, -4.0], [12.0])
    whole = np.array([3.0, -4.0, 12.0])
    norm = np.linalg.norm(whole, p)
    assert utils.clip_grad_norm_(params, 2.0, p).item() == pytest.approx(norm)
    found = np.concatenate([q.grad.numpy() for q in params[:2]])
    np.testing.assert_allclose(found, whole * 2 / norm, rtol=1e-5)


def test_short_gradients_are_left_alone() -> None:
    params = parameters([0.3, 0.4])
    assert utils.clip_grad_norm_(params, 1.0).item() == pytest.approx(0.5)
    np.testing.assert_array_equal(params[0].grad.numpy(), np.float32([0.3, 0.4]))
    assert utils.clip_grad_norm_([], 1.0).item() == 0


def test_a_norm_that_is_not_finite_can_raise() -> None:
    params = parameters([math.nan])
    with pytest.raises(GradientError, match="non-finite"):
        utils.clip_grad_norm_(params, 1.0, error_if_nonfinite=True)


def test_values() -> None:
    params = parameters([3.0, -4.0, 0.5])
    utils.clip_grad_value_(params, 1.0)
    assert params[0].grad.tolist() == [1, -1, 0.5]


def test_vector_and_back() -> None:
    model = nn.Linear(3, 2)
    vector = utils.parameters_to_vector(model.parameters())
    expected = np.concatenate([model.weight.detach().numpy().ravel(), model.bias.tolist()])
    np.testing.assert_allclose(vector.detach().numpy(), expected)
    utils.vector_to_parameters(tw.arange(8.0), model.parameters())
    assert model.weight.tolist() == [[0, 1, 2], [3, 4, 5]]
    assert model.bias.tolist() == [6, 7]
    with pytest.raises(ShapeError, match=r"8 elements, the vector shape \(7,\)"):
        utils.vector_to_parameters(tw.zeros(7), model.parameters())


@pytest.mark.parametrize("p", [1.0, 2.0, math.inf])
def test_total_norm(p: float) -> None:
    parts = [np.array([[3.0, -4.0]]), np.array([12.0])]
    got = utils.get_total_norm([tw.tensor(a) for a in parts], p)
    assert got.item() == pytest.approx(np.linalg.norm([3, -4, 12], p))
    assert utils.get_total_norm([]).item() == 0


def test_a_known_norm_clips_the_same() -> None:
    grads = []
    for known in (False, True):
        w = tw.tensor([3.0, 4.0], requires_grad=True)
        (w * w / 2).sum().backward()
        if known:
            norm = nn.utils.get_total_norm([w.grad])
            assert norm.item() == 5
            nn.utils.clip_grads_with_norm_(w, 1.0, norm)
        else:
            nn.utils.clip_grad_norm_(w, 1.0)
        grads.append(w.grad.tolist())
    assert grads[0] == grads[1]
