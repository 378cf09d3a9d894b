"""Train a small decoder on a text and let it write: rotary places, and a cache of keys and values.

    python examples/writer.py

Places are told by rotating pairs of a query's and a key's numbers (Su et al., 2021). In writing,
keys and values of earlier tokens are kept; a place is a Tensor, not a number, so one program serves
all of them.
"""

from __future__ import annotations

import argparse
from dataclasses import dataclass

import talweg as tw
import talweg.nn.functional as F
from talweg import nn, optim

TEXT = "the quick brown fox jumps over the lazy dog. " * 40


def rotated(x: tw.Tensor, places: tw.Tensor, base: float = 10000.0) -> tw.Tensor:
    """Return vectors with every pair of numbers (i, i + E / 2) turned by place / base^(2 i / E).

    Args:
        x: [*, L, E], E even.
        places: [L].
        base: how much slower the last pairs turn than the first.
    """
    half = x.shape[-1] // 2
    speeds = base ** (-tw.arange(half) / half)
    angles = places.unsqueeze(-1) * speeds
    a, b = x.chunk(2, -1)
    return tw.cat([a * angles.cos() - b * angles.sin(), a * angles.sin() + b * angles.cos()], -1)


@dataclass
class Cache:
    """Keys and values of one layer, [N, heads, length, E]."""

    keys: tw.Tensor
    values: tw.Tensor


class Block(nn.Module):
    """Attention and a feedforward network."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.norm1, self.norm2 = nn.RMSNorm(width), nn.RMSNorm(width)
        self.qkv, self.out = nn.Linear(width, 3 * width), nn.Linear(width, width)
        self.up, self.down = nn.Linear(width, 4 * width), nn.Linear(4 * width, width)

    def forward(self, x: tw.Tensor, places: tw.Tensor, cache: Cache | None) -> tw.Tensor:
        """Return the block's output for tokens at some places; a cache is read and written."""
        parts = self.qkv(self.norm1(x)).unflatten(-1, (3, self.heads, -1))
        q, k, v = parts.permute(2, 0, 3, 1, 4).unbind(0)
        q, k = rotated(q, places), rotated(k, places)
        if cache is None:
            y = F.scaled_dot_product_attention(q, k, v, is_causal=True)
        else:
            cache.keys.index_copy_(2, places, k)
            cache.values.index_copy_(2, places, v)
            seen = tw.arange(cache.keys.shape[2]) <= places.unsqueeze(-1)
            y = F.scaled_dot_product_attention(q, cache.keys, cache.values, seen)
        x = x + self.out(y.transpose(1, 2).flatten(2))
        return x + self.down(F.silu(self.up(self.norm2(x))))


class Decoder(nn.Module):
    """Tells for every token which one comes next."""

    def __init__(self, tokens: int, width: int = 64, heads: int = 4, layers: int = 2) -> None:
        super().__init__()
        self.width, self.heads = width, heads
        self.table = nn.Embedding(tokens, width)
        self.blocks = nn.ModuleList([Block(width, heads) for _ in range(layers)])
        self.norm, self.head = nn.RMSNorm(width), nn.Linear(width, tokens)

    def caches(self, rows: int, length: int) -> list[Cache]:
        """Return empty caches for so many sequences of such a length."""
        shape = (rows, self.heads, length, self.width // self.heads)
        return [Cache(tw.zeros(shape), tw.zeros(shape)) for _ in self.blocks]

    def forward(
        self,
        tokens: tw.Tensor,
        places: tw.Tensor | None = None,
        caches: list[Cache] | None = None,
    ) -> tw.Tensor:
        """Return logits [N, L, tokens] for tokens [N, L] at places [L]."""
        places = tw.arange(tokens.shape[1]) if places is None else places
        x = self.table(tokens)
        for i, block in enumerate(self.blocks):
            x = block(x, places, None if caches is None else caches[i])
        return self.head(self.norm(x))


def train(model: Decoder, text: tw.Tensor, steps: int, length: int = 48, rows: int = 16) -> float:
    """Train on random pieces of a text; return the last loss."""
    optimizer = optim.AdamW(model.parameters(), lr=3e-3)

    @tw.compile
    def step(pieces: tw.Tensor) -> tw.Tensor:
        optimizer.zero_grad()
        logits = model(pieces[:, :-1])
        loss = F.cross_entropy(logits.flatten(0, 1), pieces[:, 1:].flatten())
        loss.backward()
        optimizer.step()
        return loss

    loss = 0.0
    for _ in range(steps):
        starts = tw.randint(0, len(text) - length, (rows, 1))
        loss = step(text[starts + tw.arange(length + 1)]).item()
    return loss


def write(model: Decoder, start: list[int], count: int) -> list[int]:
    """Return a beginning and the most probable tokens after it, one by one."""
    model.eval()
    caches = model.caches(1, len(start) + count)

    @tw.compile
    def following(token: tw.Tensor, place: tw.Tensor) -> tw.Tensor:
        with tw.no_grad():
            return model(token, place, caches)[0, -1].argmax()

    written = list(start)
    for place in range(len(start) + count - 1):
        token = following(tw.tensor([[written[place]]]), tw.tensor([place])).item()
        if place + 1 == len(written):
            written.append(int(token))
    return written


def main() -> None:
    """Train and write."""
    parser = argparse.ArgumentParser(description=main.__doc__)
    parser.add_argument("--steps", type=int, default=150)
    options = parser.parse_args()
    tw.manual_seed(0)
    letters = sorted(set(TEXT))
    text = tw.tensor([letters.index(c) for c in TEXT])
    model = Decoder(len(letters))
    print(f"loss {train(model, text, options.steps):.3f}")
    print("".join(letters[i] for i in write(model, text[:10].tolist(), 80)))


if __name__ == "__main__":
    main()
