"""Large values between products: made in blocks, with the results of whole ones."""

from __future__ import annotations

import numpy as np
import pytest

import talweg as tw
from talweg.engine.evaluate import pending_graph
from talweg.ir.interpret import interpret
from talweg.passes import blocks
from talweg.passes.blocks import compute_in_blocks
from talweg.passes.pipeline import compile_graph
from tests.checked import unchecked

B, H, T, D = 2, 3, 96, 8


def attention(q: tw.Tensor, k: tw.Tensor, v: tw.Tensor, mask: tw.Tensor | None) -> tw.Tensor:
    scores = q @ k.transpose(-2, -1) * D**-0.5
    if mask is not None:
        scores = scores.masked_fill(mask, float("-inf"))
    return tw.softmax(scores, -1) @ v


def wanted(mask: str, dtype: np.dtype) -> tuple[list[tw.Tensor], list[np.ndarray]]:
    """The result of attention and its gradients, pending, and what they are."""
    rng = np.random.default_rng(0)
    x, g = (rng.normal(size=(3, B, H, T, D)).astype(dtype) for _ in range(2))
    g = g[0]
    q, k, v = leaves = [tw.tensor(a).requires_grad_() for a in x]
    hidden = np.triu(np.ones((T, T), bool), 1)
    if mask == "given":
        hidden = rng.random((T, T)) < 0.3
    given = {"none": None, "given": tw.tensor(hidden)}
    made = given[mask] if mask in given else tw.ones(T, T, dtype=tw.bool).triu(1)
    y = attention(q, k, v, made)
    got = [y, *tw.autograd.grad((y * y * tw.tensor(g)).sum(), leaves)]

    x = x.astype(np.float64)
    scores = x[0] @ x[1].swapaxes(-1, -2) * D**-0.5
    if mask != "none":
        scores[..., hidden] = -np.inf
    p = np.exp(scores - scores.max(-1, keepdims=True))
    p /= p.sum(-1, keepdims=True)
    out = p @ x[2]
    by_out = 2 * out * g
    by_p = by_out @ x[2].swapaxes(-1, -2)
    by_scores = p * (by_p - (by_p * p).sum(-1, keepdims=True)) * D**-0.5
    by_k = by_scores.swapaxes(-1, -2) @ x[0]
    return got, [out, by_scores @ x[1], by_k, p.swapaxes(-1, -2) @ by_out]


@pytest.fixture
def small(monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest) -> None:
    monkeypatch.setattr(blocks, "LEAST", 1)
    monkeypatch.setattr(blocks, "BLOCK", request.param)


ROWS, HEAD, BATCH = 32 * T * 8, T * T * 8, H * T * T * 8  # bytes: some rows, one matrix, several


@pytest.mark.parametrize("mask", ["none", "causal", "given"])
@pytest.mark.parametrize("small", [ROWS, HEAD, BATCH], indirect=True)
@pytest.mark.usefixtures("small")
def test_attention_in_blocks(mask: str) -> None:
    got, want = wanted(mask, np.dtype(np.float64))
    graph = pending_graph([t.node() for t in got])
    scores = B * H * T * T * 8
    plan = compile_graph(graph, checking=True)
    assert all(n.type.nbytes < scores for launch in plan.launches for n in launch.operands)
    for tensor, array in zip(got, want, strict=True):
        np.testing.assert_allclose(tensor.detach().numpy(), array, rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("small", [ROWS], indirect=True)
@pytest.mark.usefixtures("small")
def test_the_graph_means_the_same() -> None:
    got, want = wanted("causal", np.dtype(np.float64))
    graph = compute_in_blocks(pending_graph([t.node() for t in got]))
    arrays = [n.array for n in graph.inputs]
    for found, array in zip(interpret(graph, arrays), want, strict=True):
        np.testing.assert_allclose(found, array, rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("small", [ROWS], indirect=True)
@pytest.mark.usefixtures("small")
def test_values_that_are_wanted_are_whole() -> None:
    x = tw.tensor(np.random.default_rng(0).normal(size=(T, D)))
    p = tw.softmax(x @ x.transpose(0, 1), -1)
    graph = pending_graph([t.node() for t in (p, p @ x)])
    assert compute_in_blocks(graph) is graph


@unchecked
def test_memory_grows_with_the_length_not_its_square() -> None:
    def arena(length: int) -> float:
        q, k, v = (tw.rand(4, 8, length, 64) for _ in range(3))
        for t in (q, k, v):
            t.tolist()
        mask = tw.ones(length, length, dtype=tw.bool).triu(1)
        return compile_graph(pending_graph([attention(q, k, v, mask).node()])).arena

    assert arena(4096) < 3 * arena(2048)
    assert arena(2048) < 4 * 8 * 2048 * 2048 * 4 / 2, "half of the scores"
