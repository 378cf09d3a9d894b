"""Attention and transformers beside PyTorch's: masks of all kinds, and all gradients."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from peer import Case, Inputs, array_of, close, compare, copied, parameters, torch

import talweg as tw

pytestmark = [
    pytest.mark.peer,
    pytest.mark.filterwarnings("ignore:Support for mismatched:UserWarning"),
    pytest.mark.filterwarnings("ignore:enable_nested_tensor:UserWarning"),
    pytest.mark.filterwarnings("ignore:The PyTorch API of nested:UserWarning"),
]
D = Inputs(8)
N, H, L, S, E = 2, 4, 5, 6, 8

Q, K, V = D.real(N, H, L, E), D.real(N, H, S, E), D.real(N, H, S, 3)
SEEN = D.truth(L, S)
SEEN[:, 0] = True
NONE_SEEN = SEEN.copy()
NONE_SEEN[2] = False
NUMBERS = np.where(SEEN, D.real(L, S), -np.inf).astype("float32")


def attention(name: str, *arrays: np.ndarray, **options: Any) -> Case:
    """Return a call of the function; a mask comes last."""
    return Case(
        name,
        lambda T, *xs: T.nn.functional.scaled_dot_product_attention(*xs, **options),
        arrays,
        slack=4,
    )


def masked(name: str, mask: np.ndarray, **options: Any) -> Case:
    """Return a call with a mask that needs no gradient."""
    return Case(
        name,
        lambda T, *xs: T.nn.functional.scaled_dot_product_attention(
            *xs, attn_mask=T.tensor(mask), **options
        ),
        (Q, K, V),
        slack=4,
    )


FEW = (D.real(N, 2, S, E), D.real(N, 2, S, 3))
ATTENTION = [
    attention("plain", Q, K, V),
    attention("causal", Q, K, V, is_causal=True),
    attention("causal, more queries", D.real(N, H, 9, E), K, V, is_causal=True),
    attention("scale", Q, K, V, scale=0.3),
    attention("two dimensions", Q[0, 0], K[0, 0], V[0, 0]),
    attention("three dimensions", Q[0], K[0], V[0]),
    attention("broadcast", Q, K[:1, :1], V[:, :1]),
    attention("float64", *(a.astype("float64") for a in (Q, K, V))),
    attention("float16", *(a.astype("float16") for a in (Q, K, V))),
    attention("learned mask", Q, K, V, D.real(L, S)),
    attention("groups", Q, *FEW, enable_gqa=True),
    attention("groups, causal", Q, *FEW, enable_gqa=True, is_causal=True),
    attention("groups of two sizes", Q, FEW[0], V[:, :1], enable_gqa=True),
    attention("groups without a batch", Q[0], FEW[0][0], FEW[1][0], enable_gqa=True),
    attention("no queries", Q[:, :, :0], K, V),
    attention("no keys", Q, K[:, :, :0], V[:, :, :0]),
    masked("bools", SEEN),
    masked("bools of heads", D.truth(N, H, L, S) | (np.arange(S) == 0)),
    masked("bools of keys", D.truth(N, 1, 1, S) | (np.arange(S) == 0)),
    masked("rows without keys", NONE_SEEN),
    masked("numbers", NUMBERS),
    masked("numbers, rows without keys", np.where(NONE_SEEN, 0, -np.inf).astype("float32")),
    Case(
        "groups, a mask of heads",
        lambda T, *xs: T.nn.functional.scaled_dot_product_attention(
            *xs, attn_mask=T.tensor(D.truth(N, H, L, S) | True), enable_gqa=True
        ),
        (Q, *FEW),
        slack=4,
    ),
]


@pytest.mark.parametrize("case", parameters(ATTENTION))
def test_attention_equals_pytorchs(case: Case) -> None:
    compare(case)


Layer = Callable[[Any], Any]
SELF, OTHER = D.real(L, N, E), D.real(S, N, E)
WIDE_KEYS, WIDE_VALUES = D.real(S, N, 3), D.real(S, N, 7)
PAIRS = ~SEEN
KEYS = np.arange(S) >= np.array([[4], [6]])

HEADS: dict[str, tuple[dict[str, Any], tuple[np.ndarray, ...], dict[str, Any]]] = {
    "self": ({}, (SELF,), {}),
    "keys and values are one": ({}, (SELF, OTHER), {}),
    "three inputs": ({}, (SELF, OTHER, D.real(S, N, E)), {}),
    "no bias": ({"bias": False}, (SELF, OTHER), {}),
    "other widths": ({"kdim": 3, "vdim": 7}, (SELF, WIDE_KEYS, WIDE_VALUES), {}),
    "batch first": ({"batch_first": True}, (SELF.swapaxes(0, 1).copy(),), {}),
    "one sequence": ({}, (SELF[:, 0].copy(), OTHER[:, 0].copy()), {}),
    "one sequence, batch first": ({"batch_first": True}, (SELF[:, 0].copy(),), {}),
    "one more key": ({"add_bias_kv": True}, (SELF, OTHER), {}),
    "a key of zeros": ({"add_zero_attn": True}, (SELF, OTHER), {}),
    "bools": ({}, (SELF, OTHER), {"attn_mask": PAIRS}),
    "numbers": ({}, (SELF, OTHER), {"attn_mask": NUMBERS}),
    "bools of heads": ({}, (SELF, OTHER), {"attn_mask": np.stack([PAIRS] * (2 * N))}),
    "padding": ({}, (SELF, OTHER), {"key_padding_mask": KEYS}),
    "padding by numbers": (
        {},
        (SELF, OTHER),
        {"key_padding_mask": np.where(KEYS, -np.inf, 0.5).astype("float32")},
    ),
    "both": ({}, (SELF, OTHER), {"key_padding_mask": KEYS, "attn_mask": PAIRS & False}),
    "both, of two kinds": ({}, (SELF, OTHER), {"key_padding_mask": KEYS, "attn_mask": NUMBERS}),
    "all options": (
        {"add_bias_kv": True, "add_zero_attn": True, "batch_first": True, "kdim": 3, "vdim": 7},
        tuple(a.swapaxes(0, 1).copy() for a in (SELF, WIDE_KEYS, WIDE_VALUES)),
        {"key_padding_mask": KEYS, "attn_mask": PAIRS},
    ),
    "causal": ({}, (SELF,), {"attn_mask": np.triu(np.ones((L, L), bool), 1), "is_causal": True}),
    "padding of one sequence": (
        {},
        (SELF[:, 0].copy(), OTHER[:, 0].copy()),
        {"key_padding_mask": KEYS[0], "attn_mask": np.stack([PAIRS] * 2)},
    ),
}


@pytest.mark.parametrize("weights", [True, False, "heads"])
@pytest.mark.parametrize("name", HEADS)
def test_heads_equal_pytorchs(name: str, weights: bool | str) -> None:
    options, arrays, masks = HEADS[name]
    ours, theirs = copied(lambda nn: nn.MultiheadAttention(E, 2, **options))
    assert repr(ours) == repr(theirs)
    for shuffled in (ours, theirs):
        for p in shuffled.parameters():
            p.data += 0.1
    sides = []
    for library, net in ((tw, ours), (torch, theirs)):
        leaves = [library.tensor(a).requires_grad_() for a in arrays]
        given = (leaves * 3)[:3] if len(leaves) != 2 else [leaves[0], leaves[1], leaves[1]]
        named = {k: library.tensor(v) if isinstance(v, np.ndarray) else v for k, v in masks.items()}
        made, shares = net(
            *given, need_weights=bool(weights), average_attn_weights=weights != "heads", **named
        )
        assert (shares is None) == (weights is False)
        total = made.sin().sum() + (0 if shares is None else shares.cos().sum())
        total.backward()
        found = [made] if shares is None else [made, shares]
        sides.append([*found, *(t.grad for t in leaves), *(p.grad for p in net.parameters())])
    for i, (a, b) in enumerate(zip(*sides, strict=True)):
        close(a, b, 32, f"{name}: value {i}")


def test_the_function_takes_keys_and_values_that_are_given() -> None:
    arrays = [D.real(3 * E, E), D.real(3 * E), D.real(E, E), D.real(E)]
    static = D.real(N * 2, S, 4), D.real(N * 2, S, 4)
    for options in ({}, {"need_weights": False}):
        sides = []
        for T in (tw, torch):
            w, bias, out, last = (T.tensor(a) for a in arrays)
            x = T.tensor(SELF)
            k, v = (T.tensor(a) for a in static)
            sides.append(
                T.nn.functional.multi_head_attention_forward(
                    *(x, x, x, E, 2, w, bias, None, None, False, 0.0, out, last),
                    static_k=k,
                    static_v=v,
                    **options,
                )
            )
        for a, b in zip(*sides, strict=True):
            assert (a is None) == (b is None)
            if b is not None:
                close(a, b, 64, "static")


TARGET = D.real(L, N, E)
CAUSAL = np.triu(np.full((L, L), -np.inf, "float32"), 1)
NETS: dict[str, tuple[Layer, tuple[np.ndarray, ...], dict[str, Any]]] = {
    "encoder layer": (
        lambda nn: nn.TransformerEncoderLayer(E, 2, 16, 0.0),
        (SELF,),
        {"src_mask": PAIRS[:, :L], "src_key_padding_mask": KEYS[:, :L]},
    ),
    "encoder layer, norm first": (
        lambda nn: nn.TransformerEncoderLayer(E, 2, 16, 0.0, "gelu", 1e-3, True, True, False),
        (SELF.swapaxes(0, 1).copy(),),
        {},
    ),
    "encoder layer, causal": (
        lambda nn: nn.TransformerEncoderLayer(E, 2, 16, 0.0, nn.SiLU()),
        (SELF,),
        {"src_mask": CAUSAL, "is_causal": True},
    ),
    "decoder layer": (
        lambda nn: nn.TransformerDecoderLayer(E, 2, 16, 0.0),
        (TARGET, OTHER),
        {"tgt_mask": CAUSAL, "memory_key_padding_mask": KEYS, "tgt_is_causal": True},
    ),
    "decoder layer, norm first": (
        lambda nn: nn.TransformerDecoderLayer(E, 2, 16, 0.0, norm_first=True, batch_first=True),
        (TARGET.swapaxes(0, 1).copy(), OTHER.swapaxes(0, 1).copy()),
        {"memory_mask": PAIRS},
    ),
    "encoder": (
        lambda nn: nn.TransformerEncoder(
            nn.TransformerEncoderLayer(E, 2, 16, 0.0), 2, nn.LayerNorm(E)
        ),
        (SELF,),
        {"mask": CAUSAL},
    ),
    "decoder": (
        lambda nn: nn.TransformerDecoder(nn.TransformerDecoderLayer(E, 2, 16, 0.0), 2),
        (TARGET, OTHER),
        {"tgt_mask": CAUSAL},
    ),
    "transformer": (
        lambda nn: nn.Transformer(E, 2, 2, 2, 16, 0.0),
        (OTHER, TARGET),
        {
            "tgt_mask": CAUSAL,
            "src_key_padding_mask": KEYS,
            "memory_key_padding_mask": KEYS,
            "tgt_is_causal": True,
        },
    ),
    "transformer without a batch": (
        lambda nn: nn.Transformer(E, 2, 1, 1, 16, 0.0, batch_first=True, norm_first=True),
        (OTHER[:, 0].copy(), TARGET[:, 0].copy()),
        {},
    ),
}


@pytest.mark.parametrize("name", NETS)
def test_a_transformer_equals_pytorchs(name: str) -> None:
    make, arrays, masks = NETS[name]
    ours, theirs = copied(make)
    if name == "encoder":
        theirs.use_nested_tensor = False
    assert repr(ours) == repr(theirs)
    sides = []
    for library, net in ((tw, ours), (torch, theirs)):
        leaves = [library.tensor(a).requires_grad_() for a in arrays]
        named = {k: library.tensor(v) if isinstance(v, np.ndarray) else v for k, v in masks.items()}
        made = net(*leaves, **named)
        made.sin().sum().backward()
        grads = [p.grad for p in net.parameters()]
        evaluated = net.eval()(*leaves, **named)
        sides.append([made, evaluated, *(t.grad for t in leaves), *grads])
    for i, (a, b) in enumerate(zip(*sides, strict=True)):
        close(a, b, 64, f"{name}: value {i}")


def test_first_weights_have_pytorchs_spread() -> None:
    for make in (
        lambda nn: nn.MultiheadAttention(32, 4, add_bias_kv=True),
        lambda nn: nn.MultiheadAttention(32, 4, kdim=16, vdim=24),
        lambda nn: nn.Transformer(32, 4, 1, 1, 64),
    ):
        ours, theirs = make(tw.nn), make(torch.nn)
        for (a, p), (b, q) in zip(ours.named_parameters(), theirs.named_parameters(), strict=True):
            assert a == b
            x, y = array_of(p), array_of(q)
            assert x.shape == y.shape
            if y.std() == 0:
                np.testing.assert_array_equal(x, y)
            else:
                assert 0.5 < x.std() / y.std() < 2, a
    masks = [T.nn.Transformer.generate_square_subsequent_mask(4) for T in (tw, torch)]
    close(*masks, 1, "mask")


def z(T: Any, *shape: int) -> Any:
    return T.ones(*shape)


def sdpa(T: Any, *args: Any, **options: Any) -> Any:
    return T.nn.functional.scaled_dot_product_attention(*args, **options)


def heads(T: Any, *shapes: tuple[int, ...], options: Any = None, **masks: Any) -> Any:
    return T.nn.MultiheadAttention(4, 2, **(options or {}))(*(z(T, *s) for s in shapes), **masks)


X = (3, 2, 4)
MISTAKES: dict[str, Callable[[Any], Any]] = {
    "rank": lambda T: sdpa(T, z(T, 4), z(T, 5, 4), z(T, 5, 4)),
    "width": lambda T: sdpa(T, z(T, 3, 4), z(T, 5, 3), z(T, 5, 4)),
    "keys": lambda T: sdpa(T, z(T, 3, 4), z(T, 5, 4), z(T, 6, 4)),
    "dtypes": lambda T: sdpa(T, z(T, 3, 4), z(T, 5, 4).double(), z(T, 5, 4)),
    "integers": lambda T: sdpa(T, *[z(T, 3, 4).int()] * 3),
    "mask's dtype": lambda T: sdpa(T, *[z(T, 3, 4)] * 3, z(T, 3, 3).long()),
    "mask's shape": lambda T: sdpa(T, *[z(T, 3, 4)] * 3, z(T, 4, 3)),
    "mask's rank": lambda T: sdpa(T, *[z(T, 1, 3, 4)] * 3, z(T, 5, 3, 3)),
    "dropout": lambda T: sdpa(T, *[z(T, 3, 4)] * 3, dropout_p=1.5),
    "groups": lambda T: sdpa(T, z(T, 8, 3, 4), *[z(T, 3, 3, 4)] * 2, enable_gqa=True),
    "groups' rank": lambda T: sdpa(T, *[z(T, 3, 4)] * 3, enable_gqa=True),
    "heads": lambda T: T.nn.MultiheadAttention(5, 2),
    "no heads": lambda T: T.nn.MultiheadAttention(4, 0),
    "query's rank": lambda T: heads(T, (1, 3, 2, 4), X, X),
    "key's rank": lambda T: heads(T, X, (3, 4), X),
    "embedding": lambda T: heads(T, (3, 2, 5), (3, 2, 5), (3, 2, 5)),
    "value": lambda T: heads(T, X, X, (4, 2, 4)),
    "value of another width": lambda T: heads(T, X, X, (4, 2, 3), options={"vdim": 3}),
    "pairs": lambda T: heads(T, X, X, X, attn_mask=z(T, 3, 4)),
    "pairs of heads": lambda T: heads(T, X, X, X, attn_mask=z(T, 3, 3, 3)),
    "pairs' rank": lambda T: heads(T, X, X, X, attn_mask=z(T, 3)),
    "pairs' dtype": lambda T: heads(T, X, X, X, attn_mask=z(T, 3, 3).int()),
    "padding": lambda T: heads(T, X, X, X, key_padding_mask=z(T, 3, 3)),
    "padding's rank": lambda T: heads(T, X, X, X, key_padding_mask=z(T, 3)),
    "causal without a mask": lambda T: heads(T, X, X, X, is_causal=True),
    "activation": lambda T: T.nn.TransformerEncoderLayer(4, 2, activation="tanh"),
    "batches": lambda T: T.nn.Transformer(4, 2, 1, 1, 8)(z(T, 3, 2, 4), z(T, 3, 1, 4)),
    "features": lambda T: T.nn.Transformer(4, 2, 1, 1, 8)(z(T, 3, 2, 4), z(T, 3, 2, 5)),
}


@pytest.mark.parametrize("name", MISTAKES)
def test_mistakes_raise_as_in_pytorch(name: str) -> None:
    with pytest.raises(Exception) as theirs:
        MISTAKES[name](torch)
    wanted = tw.TalwegError if theirs.type in (AssertionError, IndexError) else theirs.type
    with pytest.raises(wanted):
        MISTAKES[name](tw)
