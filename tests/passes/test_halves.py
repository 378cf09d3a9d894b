"""Products leave out what a mask of indices hides: forward and both gradients of attention."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable

import numpy as np
import pytest

import talweg as tw
from talweg.engine.evaluate import pending_graph
from talweg.ir.interpret import interpret
from talweg.nn import functional as F
from talweg.ops.halves import COLUMN, DEPTH, ROW, HalfDot
from talweg.passes.halves import leave_out_zeros

Attention = Callable[[tw.Tensor, tw.Tensor, tw.Tensor], tw.Tensor]


def causal(q: tw.Tensor, k: tw.Tensor, v: tw.Tensor) -> tw.Tensor:
    return F.scaled_dot_product_attention(q, k, v, is_causal=True)


def halves(values: list[tw.Tensor]) -> Counter[tuple[int, int]]:
    graph = leave_out_zeros(pending_graph([x.node() for x in values]))
    return Counter((n.op.low, n.op.high) for n in graph.order if isinstance(n.op, HalfDot))


def pending(attention: Attention, rows: int, keys: int, dtype: str) -> list[tw.Tensor]:
    rng = np.random.default_rng(rows)
    g, *x = (rng.normal(size=(2, n, 16)).astype(dtype) for n in (rows, rows, keys, keys))
    cotangent = tw.tensor(g)
    leaves = [tw.tensor(a).requires_grad_() for a in x]
    y = attention(*leaves)
    return [y, *tw.autograd.grad(y, leaves, cotangent)]


def wanted(rows: int, keys: int, dtype: str) -> list[np.ndarray]:
    rng = np.random.default_rng(rows)
    g, q, k, v = (
        rng.normal(size=(2, n, 16)).astype(dtype).astype(np.float64)
        for n in (rows, rows, keys, keys)
    )
    seen = np.arange(keys) <= np.arange(rows)[:, None]
    scores = np.where(seen, q @ k.swapaxes(1, 2) / 4, -np.inf)
    shares = np.exp(scores - scores.max(-1, keepdims=True))
    shares /= shares.sum(-1, keepdims=True)
    arrived = g @ v.swapaxes(1, 2)
    slope = shares * (arrived - (arrived * shares).sum(-1, keepdims=True)) / 4
    return [shares @ v, slope @ k, slope.swapaxes(1, 2) @ q, shares.swapaxes(1, 2) @ g]


def test_all_products_of_causal_attention_are_halves() -> None:
    found = halves(pending(causal, 96, 96, "float32"))
    hidden, by_row = found[COLUMN, ROW], found[DEPTH, ROW]
    assert (hidden, by_row) == (2, 2)
    assert sum(found.values()) == 6


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize(("rows", "keys"), [(96, 96), (65, 200), (200, 65), (131, 131)])
def test_results_and_gradients_are_those_of_all_products(rows: int, keys: int, dtype: str) -> None:
    values = pending(causal, rows, keys, dtype)
    assert halves(values)
    for got, want in zip(values, wanted(rows, keys, dtype), strict=True):
        bound = 16 * np.finfo(dtype).eps * np.abs(want).max()
        assert np.abs(got.detach().numpy() - want).max() <= bound


def test_the_pass_keeps_the_meaning_of_a_graph() -> None:
    graph = pending_graph([x.node() for x in pending(causal, 70, 80, "float64")])
    made = leave_out_zeros(graph)
    inputs = [np.random.default_rng(n).normal(size=i.shape) for n, i in enumerate(graph.inputs)]
    for got, want in zip(interpret(made, inputs), interpret(graph, inputs), strict=True):
        assert np.allclose(got, want, rtol=1e-12, atol=1e-12)


def by_hand(q: tw.Tensor, k: tw.Tensor, v: tw.Tensor) -> tw.Tensor:
    hidden = tw.ones(q.shape[-2], k.shape[-2], dtype=tw.bool).triu(1)
    scores = (q @ k.transpose(-2, -1)).mul(0.25).masked_fill(hidden, float("-inf"))
    return tw.softmax(scores, -1) @ v


def by_choice(q: tw.Tensor, k: tw.Tensor, v: tw.Tensor) -> tw.Tensor:
    seen = tw.ones(q.shape[-2], k.shape[-2], dtype=tw.bool).tril()
    return tw.softmax(tw.where(seen, q @ k.mT / 4, float("-inf")), -1) @ v


@pytest.mark.parametrize("attention", [by_hand, by_choice])
def test_masks_made_by_hand_are_seen_through(attention: Attention) -> None:
    values = pending(attention, 130, 96, "float32")
    assert sum(halves(values).values()) == 6
    for got, want in zip(values, wanted(130, 96, "float32"), strict=True):
        bound = 16 * np.finfo(np.float32).eps * np.abs(want).max()
        assert np.abs(got.detach().numpy() - want).max() <= bound


@pytest.mark.parametrize("diagonal", [-1, 0])
@pytest.mark.parametrize("name", ["tril", "triu"])
def test_a_row_that_sees_nothing_reads_nothing(name: str, diagonal: int) -> None:
    q, k, v = (tw.tensor(np.ones((n, 8), np.float32)) for n in (150, 80, 80))
    seen = getattr(tw.ones(150, 80, dtype=tw.bool), name)(diagonal)
    got = (tw.softmax(tw.where(seen, q @ k.T, float("-inf")), -1) @ v).numpy()
    some = getattr(np, name)(np.ones((150, 80), bool), diagonal).any(-1)
    assert np.array_equal(np.isnan(got).any(-1), ~some)
    assert np.allclose(got[some], 1)


def test_a_number_of_a_captured_program_is_none_that_stays() -> None:
    @tw.compile
    def filled(x: tw.Tensor, fill: float, one: bool) -> tw.Tensor:
        hidden = tw.full((3, 3), one, dtype=tw.bool).triu(1)
        return x.masked_fill(hidden, fill)

    x, hidden = tw.tensor(np.zeros((3, 3), np.float32)), np.triu(np.ones((3, 3), bool), 1)
    for fill, one in [(-np.inf, True), (-np.inf, False), (-1.0, True), (2.0, False)]:
        for _ in range(3):
            want = np.where(hidden & one, np.float32(fill), np.float32(0))
            assert np.array_equal(filled(x, fill, one).numpy(), want)


def ordinary(q: tw.Tensor, k: tw.Tensor, v: tw.Tensor) -> tw.Tensor:
    return F.scaled_dot_product_attention(q, k, v)


def filled_with_numbers(q: tw.Tensor, k: tw.Tensor, v: tw.Tensor) -> tw.Tensor:
    """A number of the program, which may be another one in the next step."""
    n = tw.arange(q.shape[-2])
    scores = (q @ k.transpose(-2, -1)).masked_fill(n > n[:, None], -1e9)
    return tw.softmax(scores, -1) @ v


@pytest.mark.parametrize("attention", [ordinary, filled_with_numbers])
def test_nothing_is_left_out_where_it_counts(attention: Attention) -> None:
    assert not halves(pending(attention, 96, 96, "float32"))


def test_scores_that_somebody_reads_are_whole() -> None:
    q = tw.tensor(np.ones((96, 16), np.float32))
    scores = q @ q.T
    n = tw.arange(96)
    kept = tw.where(n <= n[:, None], scores, 0.0)
    assert not halves([kept, scores])


def test_small_products_stay_as_they_are() -> None:
    assert not halves(pending(causal, 32, 32, "float32"))
