"""Calls recorded again without their functions: what they give, and what they must not freeze."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import talweg as tw
from talweg.base import errors
from talweg.engine.known import Known
from talweg.engine.operands import Operands
from talweg.nn import functional as F

_RNG = np.random.default_rng(0)
A = _RNG.standard_normal((4, 6)).astype(np.float32)
B = _RNG.standard_normal((4, 6)).astype(np.float32)
W = _RNG.standard_normal((5, 6)).astype(np.float32)
V = _RNG.standard_normal(6).astype(np.float32)
IMAGES = _RNG.standard_normal((2, 3, 6, 6)).astype(np.float32)
KERNELS = _RNG.standard_normal((4, 3, 3, 3)).astype(np.float32)
LABELS = np.array([1, 0, 5, 2])
INDEX = np.array([[0, 2, 1], [5, 5, 0], [1, 2, 3], [4, 0, 2]])

CALLS: dict[str, tuple[Callable[..., Any], tuple[np.ndarray, ...]]] = {
    "linear": (F.linear, (A, W)),
    "linear bias": (lambda x, w, v: F.linear(w, x, v[:4]), (A, W, V)),
    "a keyword": (lambda x, v: F.layer_norm(x, normalized_shape=(6,), weight=v), (A, V)),
    "softmax": (lambda x: F.softmax(x, dim=-1), (A,)),
    "log_softmax": (lambda x: F.log_softmax(x, dim=0), (A,)),
    "mse": (F.mse_loss, (A, B)),
    "one operand twice": (lambda x: F.mse_loss(x, x * x), (A,)),
    "one Node, two places": (lambda x: F.mse_loss(x, x.detach()) + tw.dist(x, x), (A,)),
    "cross entropy": (F.cross_entropy, (A, LABELS)),
    "smoothed": (lambda x, y: F.cross_entropy(x, y, label_smoothing=0.1), (A, LABELS)),
    "convolution": (lambda x, w: F.conv2d(x, w, stride=2, padding=1), (IMAGES, KERNELS)),
    "max pooling": (lambda x: F.max_pool2d(x, 3, stride=2), (IMAGES,)),
    "average pooling": (lambda x: F.avg_pool2d(x, 3, 2, 1), (IMAGES,)),
    "pad": (lambda x: F.pad(x, (1, 2), value=0.5), (A,)),
    "gelu": (lambda x: F.gelu(x, approximate="tanh"), (A,)),
    "several results": (lambda x: tw.var_mean(x, dim=1), (A,)),
    "a named tuple": (lambda x: x.sort(dim=1, descending=True), (A,)),
    "a largest": (lambda x: x.max(dim=0), (A,)),
    "cat": (lambda x, y: tw.cat([x, y, x], dim=1), (A, B)),
    "stack": (lambda x, y: tw.stack((x, y), 1), (A, B)),
    "where": (lambda x, y: tw.where(x > y, x, y * 2), (A, B)),
    "clamp": (lambda x: x.clamp(-0.5, 0.5), (A,)),
    "norm": (lambda x: x.norm(dim=1), (A,)),
    "logsumexp": (lambda x: x.logsumexp(1), (A,)),
    "einsum": (lambda x, w: tw.einsum("ij,kj->ik", x, w), (A, W)),
    "addmm": (lambda x, y, w: tw.addmm(x[:, :5], y, w.t(), beta=0.5), (A, B, W)),
    "gather": (lambda x, i: x.gather(1, i), (A, INDEX)),
    "an index": (lambda x, i: x[:, i[0]], (A, INDEX)),
    "slices": (lambda x: x[1:3, ::2] * x[..., 1:4][1:3], (A,)),
    "rows": (lambda x: x[0] + x[-1], (A,)),
    "views": (lambda x: x.t().reshape(3, 8).view(2, 12).unsqueeze(0).expand(2, 2, 12), (A,)),
    "a view of a transposed": (lambda x: x.t()[1:].transpose(0, 1), (A,)),
    "chunk": (lambda x: x.chunk(3, dim=1), (A,)),
    "split": (lambda x: x.split([1, 5], dim=1), (A,)),
    "unbind": (lambda x: x.unbind(1), (A,)),
    "only one of several": (lambda x: x.chunk(3, dim=1)[1], (A,)),
    "in place": (lambda x: (x * 2).addcmul_(x, x, value=0.5), (A,)),
    "written view": (lambda x: _written(x * 1), (A,)),
    "cumsum": (lambda x: x.cumsum(dim=1), (A,)),
}


def _written(x: Any) -> Any:
    x[:, 1:3] = x[:, 2:4] * 3
    return x


def _run(call: Callable[..., Any], arrays: tuple[np.ndarray, ...]) -> list[np.ndarray]:
    """Return results and gradients."""
    leaves = [tw.tensor(a, requires_grad=a.dtype.kind == "f") for a in arrays]
    results = call(*leaves)
    listed = [results] if isinstance(results, tw.Tensor) else list(results)
    inexact = [r for r in listed if r.requires_grad]
    rng = np.random.default_rng(1)
    seeds = [tw.tensor(rng.standard_normal(r.shape).astype(np.float32)) for r in inexact]
    tw.autograd.backward(inexact, seeds)
    gradients = [t.grad for t in leaves if t.grad is not None]
    return [t.detach().numpy().copy() for t in (*listed, *gradients)]


@pytest.fixture
def again(monkeypatch: pytest.MonkeyPatch) -> list[Known]:
    """Return the list of what was recorded again."""
    found: list[Known] = []
    record = Known.record

    def counted(self: Known, *arguments: Any) -> Any:
        found.append(self)
        return record(self, *arguments)

    monkeypatch.setattr(Known, "record", counted)
    return found


@pytest.mark.parametrize("name", CALLS)
def test_a_call_recorded_again_is_the_call_of_the_function(
    name: str, again: list[Known], monkeypatch: pytest.MonkeyPatch
) -> None:
    call, arrays = CALLS[name]
    _run(call, tuple(np.ascontiguousarray(a[::-1]) for a in arrays))
    again.clear()
    found = _run(call, arrays)
    assert again
    monkeypatch.setattr(Operands, "kind", lambda self, b: None)
    again.clear()
    wanted = _run(call, arrays)
    assert not again
    assert len(found) == len(wanted)
    for a, b in zip(found, wanted):
        np.testing.assert_array_equal(a, b)


def test_a_step_has_one_plan() -> None:
    net = tw.nn.Sequential(tw.nn.Linear(6, 5), tw.nn.LayerNorm(5), tw.nn.GELU())
    x, y = tw.tensor(A), tw.tensor(B[:, :5].copy())
    optimizer = tw.optim.AdamW(net.parameters())

    def step() -> float:
        optimizer.zero_grad()
        loss = F.mse_loss(net(x), y)
        loss.backward()
        optimizer.step()
        return loss.item()

    for _ in range(4):
        step()
    plans = tw.counters().plans
    losses = [step() for _ in range(3)]
    assert tw.counters().plans == plans
    assert losses == sorted(losses, reverse=True)


def test_numbers_and_their_classes_are_told_apart() -> None:
    x = tw.tensor(A)
    for low in (-0.5, 0.25, -0.5, 0.0, -0.0):
        np.testing.assert_array_equal(x.clamp(low, 1.5).numpy(), np.clip(A, np.float32(low), 1.5))
    whole = tw.tensor([1, 2, 3])
    for value, kind in ((2, "int64"), (2.0, "float32"), (2, "int64"), (True, "int64")):
        assert str(tw.full_like(whole, value).dtype).endswith("int64")
        assert str(tw.clamp(whole, value).dtype).endswith(kind)


def test_the_default_dtype_is_heeded() -> None:
    whole = tw.tensor([[1, 2], [3, 5]])
    assert F.softmax(whole.to(tw.float32), 0).dtype is tw.float32
    assert whole.div(3).dtype is tw.float32
    tw.set_default_dtype(tw.float64)
    try:
        assert whole.div(3).dtype is tw.float64
        np.testing.assert_array_equal(whole.div(3).numpy(), np.array([[1, 2], [3, 5]]) / 3)
    finally:
        tw.set_default_dtype(tw.float32)


def test_random_numbers_are_drawn_anew() -> None:
    x = tw.ones(64)
    drawn = [F.dropout(x, 0.5).numpy() for _ in range(3)]
    assert not (drawn[0] == drawn[1]).all()
    assert not (drawn[1] == drawn[2]).all()
    samples = [F.gumbel_softmax(x, dim=0).numpy() for _ in range(3)]
    assert not (samples[1] == samples[2]).all()


def test_an_error_names_the_line_of_its_own_call() -> None:
    x, w = tw.tensor(A), tw.tensor(W)
    for _ in range(2):
        F.linear(x, w)
        with pytest.raises(errors.ShapeError, match="# this one"):
            F.linear(x.t(), w)  # this one


def test_what_was_overwritten_is_still_found_out() -> None:
    w = tw.tensor(W, requires_grad=True)
    for _ in range(3):
        x = tw.tensor(A) * 1
        y = F.linear(x, w).sum()
        x.add_(1)
        with pytest.raises(errors.GradientError, match="modified by an inplace operation"):
            y.backward()


def test_a_gradient_can_be_differentiated_every_time() -> None:
    for k in range(3):
        x = tw.tensor(A * (k + 1), requires_grad=True)
        (g,) = tw.autograd.grad(F.mse_loss(x, tw.zeros(4, 6)), x, create_graph=True)
        (h,) = tw.autograd.grad((g * g).sum(), x)
        np.testing.assert_allclose(h.numpy(), A * (k + 1) * 2 * (2 / A.size) ** 2, rtol=1e-5)
