"""GPT-2 (Radford et al., 2019, "Language models are unsupervised multitask learners"): a decoder
that reads tokens from left to right and says which comes next."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from typing import Any

from talweg import nn
from talweg.base.errors import InvalidValue
from talweg.engine import creation, random
from talweg.engine.modes import no_grad
from talweg.engine.tensor import Tensor
from talweg.models.parts import cat, untrained
from talweg.nn import functional as F
from talweg.nn import init
from talweg.nn.state_dict import Incompatible

# Keys and values of the tokens read so far, [N, heads, T, width], one pair for each block.
Cache = list[tuple[Tensor, Tensor]]


@dataclass(frozen=True)
class GPTConfig:
    """Sizes of a GPT.

    Attributes:
        block_size: the most tokens it reads at once.
        vocab_size: how many tokens there are.
        n_layer, n_head, n_embd: blocks, heads of attention in each, width.
        dropout: behind embeddings, attention and each block's layers.
        bias: whether linear layers and normalisations have one.
        approximate: of GELU: "tanh" as in GPT-2, or "none".
    """

    block_size: int = 1024
    vocab_size: int = 50257
    n_layer: int = 12
    n_head: int = 12
    n_embd: int = 768
    dropout: float = 0.0
    bias: bool = True
    approximate: str = "tanh"


class CausalSelfAttention(nn.Module):
    """Each place reads itself and the places before it (Vaswani et al., 2017)."""

    def __init__(self, config: GPTConfig) -> None:
        super().__init__()
        if config.n_embd % config.n_head:
            raise InvalidValue(f"n_head={config.n_head} must divide n_embd={config.n_embd}")
        self.c_attn = nn.Linear(config.n_embd, 3 * config.n_embd, bias=config.bias)
        self.c_proj = nn.Linear(config.n_embd, config.n_embd, bias=config.bias)
        self.resid_dropout = nn.Dropout(config.dropout)
        self.n_head = config.n_head
        self.dropout = config.dropout

    def forward(
        self, x: Tensor, mask: Tensor | None, past: tuple[Tensor, Tensor] | None
    ) -> tuple[Tensor, tuple[Tensor, Tensor]]:
        """Read [N, T, width] with what was read before; return the result and all keys, values."""
        n, length, width = x.shape
        parts = self.c_attn(x).view(n, length, 3, self.n_head, width // self.n_head)
        q, k, v = parts.permute(2, 0, 3, 1, 4).unbind(0)
        if past is not None:
            k, v = cat([past[0], k], 2), cat([past[1], v], 2)
        y = F.scaled_dot_product_attention(q, k, v, mask, self.dropout if self.training else 0.0)
        y = y.transpose(1, 2).reshape(n, length, width)
        return self.resid_dropout(self.c_proj(y)), (k, v)


class MLP(nn.Module):
    """Four times as wide, GELU, and back."""

    def __init__(self, config: GPTConfig) -> None:
        super().__init__()
        self.c_fc = nn.Linear(config.n_embd, 4 * config.n_embd, bias=config.bias)
        self.gelu = nn.GELU(config.approximate)
        self.c_proj = nn.Linear(4 * config.n_embd, config.n_embd, bias=config.bias)
        self.dropout = nn.Dropout(config.dropout)

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.dropout(self.c_proj(self.gelu(self.c_fc(x))))
        return out


class Block(nn.Module):
    """Attention and two linear layers, each behind its normalisation and beside a shortcut."""

    def __init__(self, config: GPTConfig) -> None:
        super().__init__()
        self.ln_1 = nn.LayerNorm(config.n_embd, bias=config.bias)
        self.attn = CausalSelfAttention(config)
        self.ln_2 = nn.LayerNorm(config.n_embd, bias=config.bias)
        self.mlp = MLP(config)

    def forward(
        self, x: Tensor, mask: Tensor | None, past: tuple[Tensor, Tensor] | None
    ) -> tuple[Tensor, tuple[Tensor, Tensor]]:
        """Return the result and the keys and values of all places read."""
        read, kept = self.attn(self.ln_1(x), mask, past)
        x = x + read
        return x + self.mlp(self.ln_2(x)), kept


class GPT(nn.Module):
    """Embeddings of tokens and places, blocks, and a linear layer that shares the embedding.

    Args:
        config: its sizes.

    Attributes:
        transformer: `wte` and `wpe` (embeddings of tokens and places), `drop`, `h` (the blocks) and
            `ln_f`.
        lm_head: from a place's state to a score for each token; its weight is that of `wte`.

    Example:
        >>> from talweg import models
        >>> model = models.GPT(models.GPTConfig(8, 11, n_layer=1, n_head=2, n_embd=4))
        >>> logits, loss = model(tw.tensor([[1, 2, 3]]), tw.tensor([[2, 3, 4]]))
        >>> logits.shape, loss.shape
        ((1, 3, 11), ())
        >>> model.generate(tw.tensor([[1, 2]]), 3).shape
        (1, 5)
    """

    def __init__(self, config: GPTConfig) -> None:
        super().__init__()
        self.config = config
        self.transformer = nn.ModuleDict(
            {
                "wte": nn.Embedding(config.vocab_size, config.n_embd),
                "wpe": nn.Embedding(config.block_size, config.n_embd),
                "drop": nn.Dropout(config.dropout),
                "h": nn.ModuleList([Block(config) for _ in range(config.n_layer)]),
                "ln_f": nn.LayerNorm(config.n_embd, bias=config.bias),
            }
        )
        self.lm_head = nn.Linear(config.n_embd, config.vocab_size, bias=False)
        self.transformer.wte.weight = self.lm_head.weight
        for name, p in self.named_parameters():
            if name.endswith("c_proj.weight"):
                init.normal_(p, 0.0, 0.02 / math.sqrt(2 * config.n_layer))
            elif p.ndim > 1:
                init.normal_(p, 0.0, 0.02)
            elif name.endswith("bias"):
                init.zeros_(p)

    def forward(self, idx: Tensor, targets: Tensor | None = None) -> tuple[Tensor, Tensor | None]:
        """Return scores for the next token, and the loss where targets are given.

        Args:
            idx: tokens, int64 [N, T], T at most block_size.
            targets: the tokens that come next, [N, T]; -1 where none counts.

        Returns:
            With targets: scores [N, T, vocab_size] and the mean cross-entropy. Without: scores of
            the last place only, [N, 1, vocab_size], and None.

        Raises:
            InvalidValue: for more tokens than block_size.
        """
        x, _ = self._read(idx, None)
        if targets is None:
            return self.lm_head(x[:, -1:]), None
        logits = self.lm_head(x)
        flat = logits.reshape(-1, logits.shape[-1])
        return logits, F.cross_entropy(flat, targets.reshape(-1), ignore_index=-1)

    def _read(self, idx: Tensor, cache: Cache | None) -> tuple[Tensor, Cache]:
        """Return the states of new tokens, and keys and values of all tokens."""
        length, before = idx.shape[1], cache[0][0].shape[2] if cache else 0
        if before + length > self.config.block_size:
            raise InvalidValue(
                f"cannot read {before + length} tokens at once, block_size is "
                f"{self.config.block_size}"
            )
        places = creation.arange(before, before + length)
        x = self.transformer.drop(self.transformer.wte(idx) + self.transformer.wpe(places))
        mask = None
        if length > 1:
            mask = places.unsqueeze(1) >= creation.arange(before + length)
        kept: Cache = []
        for i, block in enumerate(self.transformer.h):
            x, own = block(x, mask, cache[i] if cache else None)
            kept.append(own)
        return self.transformer.ln_f(x), kept

    def generate(
        self,
        idx: Tensor,
        max_new_tokens: int,
        temperature: float = 1.0,
        top_k: int | None = None,
    ) -> Tensor:
        """Add tokens one by one, drawn by their scores; each step reads only what is new.

        Args:
            idx: the tokens to go on from, int64 [N, T].
            max_new_tokens: how many to add; when all exceed block_size, the oldest are not read.
            temperature: divides the scores; 0: always the token with the highest score.
            top_k: draw from the k tokens with the highest scores only.

        Returns:
            [N, T + max_new_tokens].
        """
        cache: Cache | None = None
        limit = self.config.block_size
        with no_grad():
            for _ in range(max_new_tokens):
                new = idx if cache is None else idx[:, -1:]
                if idx.shape[1] > limit:
                    new, cache = idx[:, -limit:], None
                x, cache = self._read(new, cache)
                scores = self.lm_head(x[:, -1])
                idx = cat([idx, _drawn(scores, temperature, top_k)], 1)
        return idx

    def get_num_params(self, non_embedding: bool = True) -> int:
        """Return the number of parameters, without the embedding of places by default."""
        places = self.config.block_size * self.config.n_embd if non_embedding else 0
        count: int = sum(p.numel() for p in self.parameters())
        return count - places

    def load_state_dict(
        self, state_dict: Mapping[str, Any], strict: bool = True, assign: bool = False
    ) -> Incompatible:
        """Load a state_dict; OpenAI's GPT-2 weights as published for transformers are known.

        They lack "transformer." in their names or the shared "lm_head.weight", hold masks, and
        their matrices are transposed.
        """
        return super().load_state_dict(self._named(state_dict), strict, assign)

    def _named(self, state_dict: Mapping[str, Any]) -> dict[str, Any]:
        found = {
            k if k.startswith(("transformer.", "lm_head.")) else f"transformer.{k}": v
            for k, v in state_dict.items()
            if not k.endswith((".attn.bias", ".attn.masked_bias"))
        }
        if "transformer.wte.weight" in found:
            found.setdefault("lm_head.weight", found["transformer.wte.weight"])
        width = self.config.n_embd
        first = found.get("transformer.h.0.attn.c_attn.weight")
        if first is not None and tuple(first.shape) == (width, 3 * width):
            turned = ("c_attn.weight", "c_proj.weight", "c_fc.weight")
            found = {k: v.T if k.endswith(turned) else v for k, v in found.items()}
        return found


def _drawn(scores: Tensor, temperature: float, top_k: int | None) -> Tensor:
    """Return one token for each row of scores, [N, 1]."""
    if temperature == 0:
        best: Tensor = scores.argmax(-1, keepdim=True)
        return best
    scores = scores / temperature
    if top_k is not None:
        least = scores.topk(min(top_k, scores.shape[-1]))[0][:, -1:]
        scores = scores.masked_fill(scores < least, -math.inf)
    return random.multinomial(F.softmax(scores, -1), 1)


_SIZES = {
    "gpt2": (12, 12, 768),
    "gpt2_medium": (24, 16, 1024),
    "gpt2_large": (36, 20, 1280),
    "gpt2_xl": (48, 25, 1600),
}


def _gpt(name: str, weights: object, options: dict[str, Any]) -> GPT:
    untrained(name, weights)
    known: Sequence[str] = [f.name for f in fields(GPTConfig)]
    if unknown := set(options) - set(known):
        raise InvalidValue(f"{name}: unknown option {sorted(unknown)}; there are {known}")
    layers, heads, width = _SIZES[name]
    return GPT(GPTConfig(**{"n_layer": layers, "n_head": heads, "n_embd": width, **options}))


def gpt2(*, weights: object = None, progress: bool = True, **options: Any) -> GPT:
    """Return GPT-2: 124,439,808 parameters; options are those of `GPTConfig`."""
    return _gpt("gpt2", weights, options)


def gpt2_medium(*, weights: object = None, progress: bool = True, **options: Any) -> GPT:
    """Return the medium GPT-2: 354,823,168 parameters."""
    return _gpt("gpt2_medium", weights, options)


def gpt2_large(*, weights: object = None, progress: bool = True, **options: Any) -> GPT:
    """Return the large GPT-2: 774,030,080 parameters."""
    return _gpt("gpt2_large", weights, options)


def gpt2_xl(*, weights: object = None, progress: bool = True, **options: Any) -> GPT:
    """Return the largest GPT-2: 1,557,611,200 parameters."""
    return _gpt("gpt2_xl", weights, options)
