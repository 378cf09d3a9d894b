"""Attention computes its formula under masks of all kinds, and so do the layers made of it."""

from __future__ import annotations

import re
from typing import Any

import numpy as np
import pytest

import talweg as tw
import talweg.nn.functional as F
from talweg import nn
from talweg.base.errors import DTypeError, InvalidValue, ShapeError
from talweg.engine.evaluate import pending_graph
from talweg.passes import blocks
from talweg.passes.pipeline import compile_graph

RNG = np.random.default_rng(6)
N, H, L, S, E = 2, 4, 5, 6, 8


def draw(*shape: int) -> np.ndarray:
    return RNG.standard_normal(shape)


def attention(
    q: np.ndarray, k: np.ndarray, v: np.ndarray, hidden: Any = False, scale: float | None = None
) -> tuple[np.ndarray, np.ndarray]:
    """The formula; queries that see nothing read zeros."""
    scores = q @ k.swapaxes(-1, -2) * (q.shape[-1] ** -0.5 if scale is None else scale)
    powers = np.where(hidden, 0, np.exp(scores - scores.max(-1, keepdims=True)))
    total = powers.sum(-1, keepdims=True)
    shares = powers / np.where(total == 0, 1, total)
    return shares @ v, shares


HIDDEN = RNG.random((L, S)) < 0.4
HIDDEN[3] = True
CAUSAL = np.arange(S) > np.arange(L)[:, None]
MASKS: dict[str, tuple[dict[str, Any], Any]] = {
    "none": ({}, False),
    "scale": ({"scale": 0.3}, False),
    "causal": ({"is_causal": True}, CAUSAL),
    "bools": ({"attn_mask": ~HIDDEN}, HIDDEN),
    "bools of one key each": ({"attn_mask": ~HIDDEN[0]}, HIDDEN[0]),
    "both": ({"attn_mask": ~HIDDEN, "is_causal": True}, CAUSAL | HIDDEN),
    "numbers": ({"attn_mask": np.where(HIDDEN, -np.inf, 0.0)}, HIDDEN),
}


def given(options: dict[str, Any]) -> dict[str, Any]:
    return {k: tw.tensor(v) if isinstance(v, np.ndarray) else v for k, v in options.items()}


@pytest.mark.parametrize("name", MASKS)
def test_attention_is_its_formula(name: str) -> None:
    options, hidden = MASKS[name]
    q, k, v = draw(N, H, L, E), draw(N, H, S, E), draw(N, H, S, 3)
    got = F.scaled_dot_product_attention(*map(tw.tensor, (q, k, v)), **given(options))
    want, _ = attention(q, k, v, hidden, options.get("scale"))
    np.testing.assert_allclose(got.numpy(), want, rtol=1e-12)
    if name.endswith(("bools", "numbers", "both")):
        assert (got.numpy()[:, :, 3] == 0).all()


@pytest.mark.parametrize("name", MASKS)
def test_gradients(name: str) -> None:
    options = given(MASKS[name][0])
    leaves = [tw.tensor(draw(*s), requires_grad=True) for s in ((1, L, 3), (2, S, 3), (2, S, 2))]
    assert tw.autograd.gradcheck(lambda *xs: F.scaled_dot_product_attention(*xs, **options), leaves)
    for leaf in leaves:
        leaf.grad = None
    F.scaled_dot_product_attention(*leaves, **options).sum().backward()
    assert all(np.isfinite(leaf.grad.numpy()).all() for leaf in leaves)


def test_the_second_order_and_a_learned_mask() -> None:
    leaves = [tw.tensor(draw(*s), requires_grad=True) for s in ((2, 3), (3, 3), (3, 2), (2, 3))]
    assert tw.autograd.gradgradcheck(F.scaled_dot_product_attention, leaves)


@pytest.mark.parametrize("mask", [None, (L, S), (4, L, S), (1, L, S)])
def test_heads_that_share_keys(mask: tuple[int, ...] | None) -> None:
    q, k, v = draw(N, 4, L, E), draw(N, 2, S, E), draw(N, 2, S, 3)
    hidden = False if mask is None else RNG.random(mask) < 0.3
    options = {} if mask is None else {"attn_mask": ~np.asarray(hidden)}
    leaves = [tw.tensor(a, requires_grad=True) for a in (q, k, v)]
    got = F.scaled_dot_product_attention(*leaves, **given(options), enable_gqa=True)
    want, _ = attention(q, k.repeat(2, 1), v.repeat(2, 1), hidden)
    np.testing.assert_allclose(got.detach().numpy(), want, rtol=1e-12)
    again = [tw.tensor(a, requires_grad=True) for a in (q, k, v)]
    wide = (x.repeat_interleave(2, 1) for x in again[1:])
    F.scaled_dot_product_attention(again[0], *wide, **given(options)).sin().sum().backward()
    got.sin().sum().backward()
    for a, b in zip(leaves, again, strict=True):
        np.testing.assert_allclose(a.grad.numpy(), b.grad.numpy(), rtol=1e-9, atol=1e-12)


def test_dropout_of_shares() -> None:
    q, k, v = tw.zeros(1, 1, 4), tw.zeros(1, 1000, 4), tw.ones(1, 1000, 1)
    assert abs(F.scaled_dot_product_attention(q, k, v, dropout_p=0.5).item() - 1) < 0.2
    assert F.scaled_dot_product_attention(q, k, v, dropout_p=1.0).item() == 0
    layer = nn.MultiheadAttention(4, 2, dropout=0.5)
    x = tw.rand(9, 1, 4)
    assert (layer(x, x, x)[1].detach().numpy() == 0).any()
    assert (layer.eval()(x, x, x)[1].detach().numpy() > 0).all()


@pytest.mark.parametrize(
    "options", [{"is_causal": True}, {"attn_mask": True}, {"enable_gqa": True}]
)
def test_long_sequences_are_never_stored_as_pairs(
    options: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    heads, length = 3, 96
    monkeypatch.setattr(blocks, "LEAST", 1)
    monkeypatch.setattr(blocks, "BLOCK", 32 * length * 4)
    if "attn_mask" in options:
        options = {"attn_mask": tw.tensor(RNG.random((length, length)) < 0.7)}
    x = [tw.rand(2, heads, length, 8, requires_grad=True) for _ in range(3)]
    made = F.scaled_dot_product_attention(*x, **options)
    gradients = tw.autograd.grad((made * made).sum(), x)
    plan = compile_graph(pending_graph([t.node() for t in (made, *gradients)]))
    pairs = 2 * heads * length * length * 4
    sizes = [n.type.nbytes for launch in plan.launches for n in launch.operands]
    assert max(sizes) < pairs // 4


def test_heads_are_attention_between_projections() -> None:
    layer = nn.MultiheadAttention(E, 2, add_bias_kv=True, add_zero_attn=True).double()
    q, k = draw(L, E), draw(S, E)
    made, shares = layer(*map(tw.tensor, (q, k, k)), average_attn_weights=False)
    state = {name: t.numpy() for name, t in layer.state_dict().items()}
    w = state["in_proj_weight"].reshape(3, E, E)
    b = state["in_proj_bias"].reshape(3, E)
    q, k, v = (x @ m.T + c for x, m, c in zip((q, k, k), w, b, strict=True))
    k = np.concatenate([k, state["bias_k"][0], np.zeros((1, E))])
    v = np.concatenate([v, state["bias_v"][0], np.zeros((1, E))])
    heads = [x.reshape(len(x), 2, E // 2).swapaxes(0, 1) for x in (q, k, v)]
    read, want = attention(*heads)
    np.testing.assert_allclose(shares.detach().numpy(), want)
    out = read.swapaxes(0, 1).reshape(L, E) @ state["out_proj.weight"].T + state["out_proj.bias"]
    np.testing.assert_allclose(made.detach().numpy(), out)


@pytest.mark.parametrize("weights", [True, False])
@pytest.mark.parametrize("kinds", ["bools", "numbers", "mixed"])
@pytest.mark.filterwarnings("ignore:Support for mismatched:UserWarning")
def test_masks_of_pairs_and_of_keys(kinds: str, weights: bool) -> None:
    layer = nn.MultiheadAttention(E, 2, batch_first=True).double()
    x = tw.tensor(draw(N, L, E))
    pairs = RNG.random((N * 2, L, L)) < 0.3
    pairs[:, :, 0] = False
    keys = np.arange(L) >= np.array([[3], [5]])

    def mask(hidden: np.ndarray, kind: str) -> tw.Tensor:
        return tw.tensor(hidden if kind == kinds else np.where(hidden, -np.inf, 0.0))

    made, shares = layer(
        x, x, x, mask(keys, "bools"), weights, mask(pairs, "mixed"), average_attn_weights=False
    )
    hidden = pairs.reshape(N, 2, L, L) | keys[:, None, None]
    if weights:
        assert ((shares.detach().numpy() == 0) == hidden).all()
    numbers = tw.tensor(np.where(hidden, -np.inf, 0.0).reshape(N * 2, L, L))
    want, _ = layer(x, x, x, attn_mask=numbers)
    np.testing.assert_allclose(made.detach().numpy(), want.detach().numpy(), rtol=1e-9)


def test_a_hint_stands_for_the_causal_mask() -> None:
    layer = nn.MultiheadAttention(E, 2)
    x = tw.rand(L, N, E)
    mask = nn.Transformer.generate_square_subsequent_mask(L)
    plain = layer(x, x, x, attn_mask=mask)[0]
    hinted = layer(x, x, x, attn_mask=mask, is_causal=True, need_weights=False)[0]
    np.testing.assert_allclose(hinted.detach().numpy(), plain.detach().numpy(), atol=1e-6)


def transformer_norms() -> Any:
    x = tw.tensor(draw(L, N, E))
    first = nn.TransformerEncoderLayer(E, 2, 16, 0.0, norm_first=True).double()
    last = nn.TransformerEncoderLayer(E, 2, 16, 0.0).double()
    last.load_state_dict(first.state_dict())
    return x, first, last


def test_norms_come_first_or_last() -> None:
    x, first, last = transformer_norms()
    y = x + first.self_attn(first.norm1(x), first.norm1(x), first.norm1(x))[0]
    y = y + first.linear2(first.linear1(first.norm2(y)).relu())
    np.testing.assert_allclose(first(x).detach().numpy(), y.detach().numpy())
    y = last.norm1(x + last.self_attn(x, x, x)[0])
    y = last.norm2(y + last.linear2(last.linear1(y).relu()))
    np.testing.assert_allclose(last(x).detach().numpy(), y.detach().numpy())


def test_a_transformer_is_its_layers() -> None:
    model = nn.Transformer(E, 2, 2, 1, 16, 0.0, activation="gelu", batch_first=True)
    src, tgt = tw.rand(N, S, E), tw.rand(N, L, E)
    mask = model.generate_square_subsequent_mask(L)
    memory = src
    for layer in model.encoder.layers:
        memory = layer(memory)
    memory = model.encoder.norm(memory)
    layer = model.decoder.layers[0]
    y = layer.norm1(tgt + layer.self_attn(tgt, tgt, tgt, attn_mask=mask)[0])
    y = layer.norm2(y + layer.multihead_attn(y, memory, memory)[0])
    y = layer.norm3(y + layer.linear2(F.gelu(layer.linear1(y))))
    want = model.decoder.norm(y).detach().numpy()
    np.testing.assert_allclose(model(src, tgt, tgt_mask=mask).detach().numpy(), want, atol=1e-5)
    moved = model(src, tgt + tw.tensor([[[0.0]]] * N), tgt_mask=mask)
    assert moved.shape == (N, L, E)


def test_a_decoder_is_its_layers_and_then_its_norm() -> None:
    layer = nn.TransformerDecoderLayer(E, 2, 16, 0.0, batch_first=True)
    model = nn.TransformerDecoder(layer, 2, norm=nn.LayerNorm(E))
    x, memory = tw.rand(N, L, E), tw.rand(N, S, E)
    (first, second), norm = model.layers, model.norm
    assert first is not layer
    want = norm(second(first(x, memory), memory)).detach().numpy()
    np.testing.assert_allclose(model(x, memory).detach().numpy(), want, atol=1e-6)


def test_the_future_is_not_seen() -> None:
    layer = nn.TransformerEncoder(nn.TransformerEncoderLayer(E, 2, 16, 0.0), 2)
    x = tw.rand(L, 1, E)
    mask = nn.Transformer.generate_square_subsequent_mask(L)
    other = x.clone()
    other[-1] += 1
    a, b = (layer(t, mask, is_causal=hint) for t, hint in ((x, True), (other, False)))
    np.testing.assert_allclose(a[:-1].detach().numpy(), b[:-1].detach().numpy(), atol=1e-5)
    assert not np.allclose(a[-1].detach().numpy(), b[-1].detach().numpy(), atol=1e-3)


def test_training_steps_compile() -> None:
    model = nn.Transformer(E, 2, 1, 1, 16)
    optimizer = tw.optim.Adam(model.parameters())

    @tw.compile
    def step(src: tw.Tensor, tgt: tw.Tensor) -> tw.Tensor:
        optimizer.zero_grad()
        loss = model(src, tgt, tgt_mask=model.generate_square_subsequent_mask(L)).square().mean()
        loss.backward()
        optimizer.step()
        return loss

    for _ in range(5):
        assert np.isfinite(step(tw.rand(S, N, E), tw.rand(L, N, E)).item())
    assert step.reports[-1].replays, step.explain()


def test_mistakes() -> None:
    x = tw.ones(L, N, 4)
    layer = nn.MultiheadAttention(4, 2)
    q = tw.ones(3, 4)
    sdpa = F.scaled_dot_product_attention
    for call, error, message in (
        (lambda: sdpa(q, q[:, :3], q), ShapeError, "(3, 3)"),
        (lambda: sdpa(q[0], q, q), ShapeError, "at least 2 dimensional"),
        (lambda: sdpa(q, q.double(), q), DTypeError, "float64"),
        (lambda: sdpa(q, q, q, tw.ones(4, 3)), ShapeError, "(4, 3)"),
        (lambda: sdpa(q, q, q, tw.ones(3, 3).long()), DTypeError, "int64"),
        (lambda: sdpa(q, q, q, dropout_p=2), InvalidValue, "between 0 and 1"),
        (lambda: sdpa(tw.ones(4, 3, 4), *[tw.ones(3, 3, 4)] * 2, enable_gqa=True), ShapeError, "3"),
        (lambda: nn.MultiheadAttention(5, 2), InvalidValue, "divisible"),
        (lambda: layer(x[0, 0], x, x), ShapeError, "1-D"),
        (lambda: layer(x, x, x[0]), ShapeError, "2-D"),
        (lambda: layer(x, x, x, is_causal=True), InvalidValue, "is_causal hint"),
        (lambda: layer(x, x, x, attn_mask=tw.ones(3, 3)), ShapeError, f"({L}, {L})"),
        (lambda: layer(x, x, x, tw.ones(3, 3)), ShapeError, f"({N}, {L})"),
        (lambda: layer(x, x, x, tw.ones(N, L).int()), DTypeError, "bool and floating"),
        (lambda: nn.TransformerEncoderLayer(4, 2, activation="tanh"), InvalidValue, "tanh"),
        (lambda: nn.Transformer(4, 2, 1, 1)(x, x[:, :1]), ShapeError, "batch number"),
        (lambda: nn.Transformer(8, 2, 1, 1)(x, x), ShapeError, "d_model"),
    ):
        with pytest.raises(error, match=re.escape(message)):
            call()
