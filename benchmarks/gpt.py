"""A GPT of 6 layers, width 384: a training step of 4 x 256 tokens; decoding token by token."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from benchmarks.alone import main
from benchmarks.case import AdamW, Arrays, Case, Network, Stepwise, Training


@dataclass(frozen=True, kw_only=True)
class Gpt(Network):
    """A decoder with layer norm first and learned positions, as in GPT-2.

    Args:
        rows: sequences side by side.
        length: tokens of a sequence.
        layers, heads, width, classes: of the network; `classes` is the number of tokens.
    """

    rows: int
    length: int
    layers: int
    heads: int
    width: int
    classes: int

    def shapes(self) -> dict[str, tuple[int, ...]]:
        d = self.width
        made: dict[str, tuple[int, ...]] = {
            "tokens.weight": (self.classes, d),
            "places.weight": (self.length, d),
        }
        for layer in range(self.layers):
            sizes = {"qkv": (3 * d, d), "out": (d, d), "up": (4 * d, d), "down": (d, 4 * d)}
            for name in ("norm1", "norm2"):
                made[f"blocks.{layer}.{name}.weight"] = (d,)
                made[f"blocks.{layer}.{name}.bias"] = (d,)
            for name, shape in sizes.items():
                made[f"blocks.{layer}.{name}.weight"] = shape
                made[f"blocks.{layer}.{name}.bias"] = shape[:1]
        made |= {"norm.weight": (d,), "norm.bias": (d,)}
        return made | {"head.weight": (self.classes, d), "head.bias": (self.classes,)}

    def network(self, tw: Any) -> Any:
        return network(tw, self)

    def pure_block(self, f: Any, state: Any, layer: int, x: Any, attention: Any) -> Any:
        """Return the result of one block; `attention(q, k, v)` is between heads of (…, T, d)."""

        def named(name: str) -> tuple[Any, Any]:
            at = f"blocks.{layer}.{name}"
            return state[f"{at}.weight"], state[f"{at}.bias"]

        *batch, width = x.shape
        y = f.linear(f.layer_norm(x, *named("norm1")), *named("qkv"))
        parts = y.reshape(*batch, 3, self.heads, width // self.heads)
        q, k, v = (parts[..., i, :, :].swapaxes(-2, -3) for i in range(3))
        y = attention(q, k, v).swapaxes(-2, -3).reshape(*batch, width)
        x = x + f.linear(y, *named("out"))
        y = f.gelu(f.linear(f.layer_norm(x, *named("norm2")), *named("up")))
        return x + f.linear(y, *named("down"))

    def pure_head(self, f: Any, state: Any, x: Any) -> Any:
        """Return the logits."""
        x = f.layer_norm(x, state["norm.weight"], state["norm.bias"])
        return f.linear(x, state["head.weight"], state["head.bias"])

    def weights_per_token(self) -> int:
        """Return how many numbers of weight matrices one token is multiplied by."""
        return 12 * self.layers * self.width**2 + self.classes * self.width


def network(tw: Any, case: Gpt) -> Any:
    """Return the network as a Module; with `carried`, it reads one token at place `t`."""
    nn = tw.nn
    F = nn.functional

    def attention(q: Any, k: Any, v: Any, causal: bool) -> Any:
        if hasattr(F, "scaled_dot_product_attention"):
            return F.scaled_dot_product_attention(q, k, v, is_causal=causal)
        scores = q @ k.transpose(-2, -1) * q.shape[-1] ** -0.5
        if causal:
            length = q.shape[-2]
            hidden = tw.ones(length, length, dtype=tw.bool).triu(1)
            scores = scores.masked_fill(hidden, float("-inf"))
        return F.softmax(scores, dim=-1) @ v

    class Block(nn.Module):  # type: ignore[misc,name-defined]
        def __init__(self) -> None:
            super().__init__()
            d = case.width
            self.norm1, self.norm2 = nn.LayerNorm(d), nn.LayerNorm(d)
            self.qkv, self.out = nn.Linear(d, 3 * d), nn.Linear(d, d)
            self.up, self.down = nn.Linear(d, 4 * d), nn.Linear(4 * d, d)

        def forward(self, x: Any, cache: Any = None, t: int = 0) -> Any:
            rows, length, width = x.shape
            parts = self.qkv(self.norm1(x)).reshape(rows, length, 3, case.heads, -1)
            q, k, v = parts.permute(2, 0, 3, 1, 4).unbind(0)
            if cache is not None:
                keys, values = cache
                keys[:, :, t : t + 1] = k
                values[:, :, t : t + 1] = v
                k, v = keys[:, :, : t + 1], values[:, :, : t + 1]
            y = attention(q, k, v, causal=cache is None)
            x = x + self.out(y.transpose(1, 2).reshape(rows, length, width))
            return x + self.down(F.gelu(self.up(self.norm2(x))))

    class Decoder(nn.Module):  # type: ignore[misc,name-defined]
        def __init__(self) -> None:
            super().__init__()
            self.tokens = nn.Embedding(case.classes, case.width)
            self.places = nn.Embedding(case.length, case.width)
            self.blocks = nn.ModuleList([Block() for _ in range(case.layers)])
            self.norm = nn.LayerNorm(case.width)
            self.head = nn.Linear(case.width, case.classes)

        def forward(self, tokens: Any, t: int = 0, carried: Any = None) -> Any:
            if carried is None:
                x = self.tokens(tokens) + self.places.weight[: tokens.shape[1]]
                for block in self.blocks:
                    x = block(x)
                return self.head(self.norm(x))
            x = (self.tokens(tokens) + self.places.weight[t])[:, None]
            for layer, block in enumerate(self.blocks):
                x = block(x, (carried[f"keys.{layer}"], carried[f"values.{layer}"]), t)
            return self.head(self.norm(x))[:, 0], {}

    return Decoder()


@dataclass(frozen=True, kw_only=True)
class GptTraining(Gpt, Training):
    """A training step: every token is to be told from those before it."""

    def batch(self) -> tuple[np.ndarray, ...]:
        text = self.rng().integers(0, self.classes, (self.rows, self.length + 1))
        return np.ascontiguousarray(text[:, :-1]), np.ascontiguousarray(text[:, 1:])

    def objective(self, tw: Any, model: Any, *batch: Any) -> Any:
        tokens, following = batch
        logits = model(tokens)
        return tw.nn.functional.cross_entropy(
            logits.reshape(-1, self.classes), following.reshape(-1)
        )

    def loss(self, f: Any, state: Any, *batch: Any) -> tuple[Any, dict[str, Any]]:
        tokens, following = batch

        def attention(q: Any, k: Any, v: Any) -> Any:
            scores = q @ k.swapaxes(-1, -2) * (self.width // self.heads) ** -0.5
            return f.softmax(f.where(f.causal(self.length), scores, -np.inf)) @ v

        x = f.embedding(state["tokens.weight"], tokens) + state["places.weight"]
        for layer in range(self.layers):
            x = self.pure_block(f, state, layer, x, attention)
        return f.cross_entropy(self.pure_head(f, state, x), following), {}

    def flops(self) -> float:
        attention = 4 * self.layers * self.length * self.width
        return 3.0 * self.rows * self.length * (2 * self.weights_per_token() + attention)


@dataclass(frozen=True, kw_only=True)
class GptDecoding(Gpt, Stepwise):
    """One token after another with a cache of keys and values; positions of the second half.

    Where shapes must be known beforehand the whole cache is read and masked.
    """

    def batch(self) -> tuple[np.ndarray, ...]:
        return (self.rng().integers(0, self.classes, (self.length, self.rows)),)

    def start(self) -> Arrays:
        shape = (self.rows, self.heads, self.length, self.width // self.heads)
        names = [f"{kind}.{i}" for i in range(self.layers) for kind in ("keys", "values")]
        return {name: np.zeros(shape, np.float32) for name in names}

    def advance(self, f: Any, state: Any, carried: dict[str, Any], token: Any, t: Any) -> Any:
        carried = dict(carried)
        x = f.embedding(state["tokens.weight"], token) + state["places.weight"][t]
        for layer in range(self.layers):

            def attention(q: Any, k: Any, v: Any, layer: int = layer) -> Any:
                keys = f.write(carried[f"keys.{layer}"], t, k[:, :, 0])
                values = f.write(carried[f"values.{layer}"], t, v[:, :, 0])
                carried[f"keys.{layer}"], carried[f"values.{layer}"] = keys, values
                scores = q @ keys.swapaxes(-1, -2) * (self.width // self.heads) ** -0.5
                seen = f.positions(self.length) <= t
                return f.softmax(f.where(seen, scores, -np.inf)) @ values

            x = self.pure_block(f, state, layer, x[:, None], attention)[:, 0]
        return self.pure_head(f, state, x), carried

    def graph(self, g: Any, state: Arrays) -> dict[str, str]:
        """The cache stays outside: past keys and values come in, those of this token go out."""
        size, heads = self.width // self.heads, self.heads
        token, place = g.input("token", np.int64), g.input("t", np.int64)
        hidden = g.input("hidden")
        x = g.node("Gather", g.constant(state["tokens.weight"]), token)
        x = g.add(x, g.node("Gather", g.constant(state["places.weight"]), place))
        made: dict[str, str] = {}
        for layer in range(self.layers):

            def linear(x: str, name: str, layer: int = layer) -> str:
                at = f"blocks.{layer}.{name}"
                return str(g.linear(x, state[f"{at}.weight"], state[f"{at}.bias"]))

            def norm(x: str, name: str) -> str:
                return str(g.layer_norm(x, state[f"{name}.weight"], state[f"{name}.bias"]))

            keys, values = g.input(f"keys.{layer}"), g.input(f"values.{layer}")
            y = linear(norm(x, f"blocks.{layer}.norm1"), "qkv")
            q, k, v = (
                g.reshape(part, (self.rows, heads, 1, size))
                for part in g.nodes("Split", y, results=3, axis=1, num_outputs=3)
            )
            made[f"keys.{layer}"], made[f"values.{layer}"] = k, v
            q = g.node("Mul", q, g.constant(np.float32(size**-0.5)))
            past = g.add(g.node("MatMul", q, g.transposed(keys)), hidden)
            own = g.node("MatMul", q, g.transposed(k))
            shares = g.node("Softmax", g.node("Concat", past, own, axis=3), axis=3)
            cut = g.constant(np.array([self.length, 1]))
            before, now = g.nodes("Split", shares, cut, results=2, axis=3)
            y = g.add(g.node("MatMul", before, values), g.node("MatMul", now, v))
            x = g.add(x, linear(g.reshape(y, (self.rows, self.width)), "out"))
            y = g.gelu(linear(norm(x, f"blocks.{layer}.norm2"), "up"))
            x = g.add(x, linear(y, "down"))
        x = g.layer_norm(x, state["norm.weight"], state["norm.bias"])
        return {"logits": g.linear(x, state["head.weight"], state["head.bias"])} | made

    def floor(self) -> float:
        cache = 2 * self.layers * self.rows * self.width * (3 * self.length // 4)
        return 4.0 * (self.weights_per_token() + cache)


def cases(sizes: str) -> Sequence[Case]:
    """Return the cases in sizes `full` or `tiny`."""
    full = sizes == "full"
    length, layers, heads, width, classes = (256, 6, 6, 384, 65) if full else (6, 2, 2, 8, 5)
    return [
        GptTraining(
            name="GPT 6 layers, d 384, seq 256, batch 4, AdamW step",
            rows=4 if full else 2,
            length=length,
            layers=layers,
            heads=heads,
            width=width,
            classes=classes,
            optimizer=AdamW(lr=1e-3),
        ),
        GptDecoding(
            name="GPT 6 layers, d 384, decoding of one token",
            rows=1,
            length=length,
            layers=layers,
            heads=heads,
            width=width,
            classes=classes,
            onnx=True,
        ),
    ]


if __name__ == "__main__":
    main("gpt")
