"""GPT and ViT: what they compute, beside NumPy in float64; generation with kept keys and values."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest

import talweg as tw
from talweg import models
from talweg.base.errors import InvalidValue, ShapeError

SMALL = models.GPTConfig(8, 11, n_layer=2, n_head=2, n_embd=8)
erf = np.vectorize(math.erf)


def arrays(model: Any) -> dict[str, np.ndarray]:
    return {k: v.numpy().astype(np.float64) for k, v in model.state_dict().items()}


def normed(x: np.ndarray, p: dict[str, np.ndarray], name: str, eps: float = 1e-5) -> np.ndarray:
    centred = x - x.mean(-1, keepdims=True)
    scaled = centred / np.sqrt((centred**2).mean(-1, keepdims=True) + eps)
    return scaled * p[f"{name}.weight"] + p[f"{name}.bias"]


def linear(x: np.ndarray, p: dict[str, np.ndarray], name: str) -> np.ndarray:
    return x @ p[f"{name}.weight"].T + p[f"{name}.bias"]


def attended(qkv: np.ndarray, heads: int, causal: bool) -> np.ndarray:
    """One example's attention, head by head and place by place."""
    length, width = qkv.shape[0], qkv.shape[1] // 3
    q, k, v = (qkv[:, i * width : (i + 1) * width] for i in range(3))
    each, out = width // heads, np.zeros((length, width))
    for h in range(heads):
        own = slice(h * each, (h + 1) * each)
        for t in range(length):
            seen = t + 1 if causal else length
            scores = k[:seen, own] @ q[t, own] / math.sqrt(each)
            shares = np.exp(scores - scores.max())
            out[t, own] = shares / shares.sum() @ v[:seen, own]
    return out


def gpt_scores(p: dict[str, np.ndarray], tokens: list[int], config: models.GPTConfig) -> np.ndarray:
    x = p["transformer.wte.weight"][tokens] + p["transformer.wpe.weight"][: len(tokens)]
    for i in range(config.n_layer):
        at = f"transformer.h.{i}"
        qkv = linear(normed(x, p, f"{at}.ln_1"), p, f"{at}.attn.c_attn")
        x = x + linear(attended(qkv, config.n_head, True), p, f"{at}.attn.c_proj")
        wide = linear(normed(x, p, f"{at}.ln_2"), p, f"{at}.mlp.c_fc")
        wide = 0.5 * wide * (1 + np.tanh(math.sqrt(2 / math.pi) * (wide + 0.044715 * wide**3)))
        x = x + linear(wide, p, f"{at}.mlp.c_proj")
    return normed(x, p, "transformer.ln_f") @ p["lm_head.weight"].T


def bigger(model: Any) -> Any:
    """Draw larger weights than a network begins with, so that every part shows."""
    with tw.no_grad():
        for param in model.parameters():
            param.normal_(0.0, 0.5)
    return model


def test_gpt_computes_what_numpy_does() -> None:
    tw.manual_seed(0)
    model = bigger(models.GPT(SMALL)).eval()
    tokens = [3, 1, 4, 1, 5]
    wanted = gpt_scores(arrays(model), tokens, SMALL)
    targets = tw.tensor([[1, 4, -1, 5, 9]])
    logits, loss = model(tw.tensor([tokens]), targets)
    np.testing.assert_allclose(logits[0].numpy(force=True), wanted, rtol=1e-3, atol=1e-3)
    chosen = [
        wanted[t, c] - np.log(np.exp(wanted[t]).sum()) for t, c in ((0, 1), (1, 4), (3, 5), (4, 9))
    ]
    assert loss.item() == pytest.approx(-np.mean(chosen), rel=1e-4)
    last, none = model(tw.tensor([tokens]))
    assert none is None
    np.testing.assert_allclose(last[0, 0].numpy(force=True), wanted[-1], rtol=1e-3, atol=1e-3)


def test_kept_keys_and_values_change_nothing() -> None:
    tw.manual_seed(1)
    model = bigger(models.GPT(SMALL)).eval()
    start = tw.tensor([[3, 1, 4], [1, 5, 9]])
    rows = start.tolist()
    p = arrays(model)
    for row in rows:
        for _ in range(9):  # past block_size: the oldest tokens are not read
            row.append(int(gpt_scores(p, row[-8:], SMALL)[-1].argmax()))
    assert model.generate(start, 9, temperature=0).tolist() == rows
    assert model.generate(start, 4, top_k=1).tolist() == [r[:7] for r in rows]


def test_drawn_tokens_come_from_the_best() -> None:
    tw.manual_seed(2)
    model = bigger(models.GPT(SMALL)).eval()
    start = tw.tensor([[3]] * 200)
    drawn = model.generate(start, 1, temperature=2.0, top_k=3)[:, 1].tolist()
    best = gpt_scores(arrays(model), [3], SMALL)[0].argsort()[-3:]
    assert set(drawn) == set(best.tolist())


def test_gpt_trains_and_shares_its_embedding() -> None:
    model = models.GPT(models.GPTConfig(8, 11, n_layer=1, n_head=2, n_embd=8, dropout=0.1))
    assert model.lm_head.weight is model.transformer.wte.weight
    model(tw.tensor([[1, 2, 3]]), tw.tensor([[2, 3, 4]]))[1].backward()
    assert [k for k, p in model.named_parameters() if p.grad is None] == []
    with pytest.raises(InvalidValue, match="cannot read 9 tokens at once, block_size is 8"):
        model(tw.zeros(1, 9, dtype=tw.int64))
    with pytest.raises(InvalidValue, match="must divide"):
        models.GPT(models.GPTConfig(8, 11, n_layer=1, n_head=3, n_embd=8))


@pytest.mark.parametrize(
    ("name", "count"),
    [
        ("gpt2", 124_439_808),
        pytest.param("gpt2_medium", 354_823_168, marks=pytest.mark.slow),
    ],
)
def test_sizes_of_gpt_2(name: str, count: int) -> None:
    # The counts of OpenAI's published weights, as the library transformers states them.
    make = getattr(models, name)
    model = make()
    assert sum(p.numel() for p in model.parameters()) == count
    assert f"{count:,} parameters" in make.__doc__
    assert model.get_num_params() == count - 1024 * model.config.n_embd
    with pytest.raises(InvalidValue, match="unknown option"):
        make(heads=3)


def test_published_weights_of_gpt_2_are_known_by_their_own_names() -> None:
    model, other = models.GPT(SMALL), models.GPT(SMALL)
    turned = ("c_attn.weight", "c_proj.weight", "c_fc.weight")
    published = {
        k.removeprefix("transformer."): v.T if k.endswith(turned) else v
        for k, v in model.state_dict().items()
        if k != "lm_head.weight"
    }
    published["h.0.attn.bias"] = tw.ones(1, 1, 8, 8)
    other.load_state_dict(published)
    for key, value in model.state_dict().items():
        assert tw.equal(other.state_dict()[key], value)


def test_vit_computes_what_numpy_does() -> None:
    tw.manual_seed(3)
    model = bigger(models.VisionTransformer(8, 4, 2, 2, 8, 12, num_classes=5)).eval()
    p = arrays(model)
    image = np.random.RandomState(0).standard_normal((3, 8, 8))
    patches = [image[:, i : i + 4, j : j + 4].ravel() for i in (0, 4) for j in (0, 4)]
    proj = p["conv_proj.weight"].reshape(8, -1)
    x = np.concatenate([p["class_token"][0], np.array(patches) @ proj.T + p["conv_proj.bias"]])
    x = x + p["encoder.pos_embedding"][0]
    for i in range(2):
        at = f"encoder.layers.encoder_layer_{i}"
        inner = normed(x, p, f"{at}.ln_1", 1e-6)
        qkv = inner @ p[f"{at}.self_attention.in_proj_weight"].T
        qkv = qkv + p[f"{at}.self_attention.in_proj_bias"]
        x = x + linear(attended(qkv, 2, False), p, f"{at}.self_attention.out_proj")
        wide = linear(normed(x, p, f"{at}.ln_2", 1e-6), p, f"{at}.mlp.0")
        x = x + linear(0.5 * wide * (1 + erf(wide / math.sqrt(2))), p, f"{at}.mlp.3")
    wanted = linear(normed(x, p, "encoder.ln", 1e-6)[0], p, "heads.head")
    found = model(tw.tensor(image[None].astype(np.float32)))[0]
    np.testing.assert_allclose(found.numpy(force=True), wanted, rtol=2e-3, atol=2e-3)
    with pytest.raises(ShapeError, match="made for images of 8 x 8"):
        model(tw.zeros(1, 3, 12, 8))
    with pytest.raises(InvalidValue, match="do not divide"):
        models.VisionTransformer(10, 4, 1, 1, 4, 4)
