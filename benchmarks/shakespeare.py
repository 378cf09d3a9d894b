"""A whole training run: nanoGPT's small recipe for a CPU on a text's letters, in two frameworks.

    python -m benchmarks.shakespeare input.txt --framework talweg-compile --framework torch

All frameworks start from the same numbers, read the same pieces of the text, and take turns, some
steps each, so that the machine treats them alike. The loss is that of the whole held-out tenth,
without the pieces left over at its end.
"""

from __future__ import annotations

import argparse
import importlib
import math
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.alone import processors
from benchmarks.frameworks import missing, restrict

BLOCK, BATCH, LAYERS, HEADS, WIDTH = 64, 12, 4, 4, 128
RATE, LEAST, WARMUP, DECAY, CLIP = 1e-3, 1e-4, 100, 0.1, 1.0
CHOICES = ("talweg", "talweg-compile", "torch", "torch-compile")


def network(tw: Any, classes: int) -> Any:
    """Return the network, untrained, as a Module of talweg or PyTorch."""
    nn, F = tw.nn, tw.nn.functional

    class Block(nn.Module):  # type: ignore[misc,name-defined]
        def __init__(self) -> None:
            super().__init__()
            self.norm1, self.norm2 = (nn.LayerNorm(WIDTH, bias=False) for _ in range(2))
            self.qkv = nn.Linear(WIDTH, 3 * WIDTH, bias=False)
            self.out = nn.Linear(WIDTH, WIDTH, bias=False)
            self.up = nn.Linear(WIDTH, 4 * WIDTH, bias=False)
            self.down = nn.Linear(4 * WIDTH, WIDTH, bias=False)

        def forward(self, x: Any) -> Any:
            rows, length, _ = x.shape
            q, k, v = self.qkv(self.norm1(x)).split(WIDTH, dim=2)
            q, k, v = (
                t.view(rows, length, HEADS, WIDTH // HEADS).transpose(1, 2) for t in (q, k, v)
            )
            y = F.scaled_dot_product_attention(q, k, v, is_causal=True)
            x = x + self.out(y.transpose(1, 2).contiguous().view(rows, length, WIDTH))
            return x + self.down(F.gelu(self.up(self.norm2(x))))

    class Decoder(nn.Module):  # type: ignore[misc,name-defined]
        def __init__(self) -> None:
            super().__init__()
            self.tokens, self.places = nn.Embedding(classes, WIDTH), nn.Embedding(BLOCK, WIDTH)
            self.blocks = nn.ModuleList([Block() for _ in range(LAYERS)])
            self.norm = nn.LayerNorm(WIDTH, bias=False)
            self.head = nn.Linear(WIDTH, classes, bias=False)
            self.tokens.weight = self.head.weight

        def forward(self, letters: Any, following: Any) -> Any:
            x = self.tokens(letters) + self.places(tw.arange(letters.shape[1]))
            for block in self.blocks:
                x = block(x)
            logits = self.head(self.norm(x))
            return F.cross_entropy(logits.view(-1, classes), following.view(-1))

    return Decoder()


def draw(model: Any, seed: int) -> dict[str, np.ndarray]:
    """Return the first values of a model's parameters, as nanoGPT draws them."""
    rng = np.random.default_rng(seed)
    made: dict[str, np.ndarray] = {}
    for name, p in model.named_parameters():
        wide = (
            0.02 / math.sqrt(2 * LAYERS) if name.endswith(("out.weight", "down.weight")) else 0.02
        )
        values = rng.normal(0, wide, tuple(p.shape)) if p.ndim > 1 else np.ones(tuple(p.shape))
        made[name] = values.astype(np.float32)
    return made


def stepping(tw: Any, model: Any, optimizer: Any) -> Callable[..., Any]:
    """Return what takes one step and returns its loss."""

    def step(letters: Any, following: Any) -> Any:
        loss = model(letters, following)
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        tw.nn.utils.clip_grad_norm_(model.parameters(), CLIP)
        optimizer.step()
        return loss

    return step


class Run:
    """One framework's training: `advance` takes steps, `held_out` judges.

    Args:
        framework: one of CHOICES.
        numbers: the text.
        classes: how many letters there are.
        steps: of the whole run.
        seed: of weights and pieces.
    """

    def __init__(
        self, framework: str, numbers: np.ndarray, classes: int, steps: int, seed: int
    ) -> None:
        name, _, compiled = framework.partition("-")
        self.tw: Any = importlib.import_module(name)
        self.framework, self.steps, self.seconds, self.done = framework, steps, 0.0, 0
        cut = int(0.9 * len(numbers))
        self.text, self.rest = numbers[:cut], numbers[cut:]
        self.rng = np.random.default_rng(seed)
        self.model = network(self.tw, classes)
        drawn = {k: self.tw.from_numpy(v) for k, v in draw(self.model, seed).items()}
        drawn["head.weight"] = drawn.get("head.weight", drawn["tokens.weight"])
        drawn["tokens.weight"] = drawn["head.weight"]
        self.model.load_state_dict(drawn)
        parameters = list(self.model.parameters())
        groups = [
            {"params": [p for p in parameters if p.ndim > 1], "weight_decay": DECAY},
            {"params": [p for p in parameters if p.ndim < 2], "weight_decay": 0.0},
        ]
        self.optimizer = self.tw.optim.AdamW(groups, lr=RATE, betas=(0.9, 0.99))
        step = stepping(self.tw, self.model, self.optimizer)
        self.step: Callable[..., Any] = self.tw.compile(step) if compiled else step

    def rate(self) -> float:
        """Return the learning rate of the next step."""
        if self.done < WARMUP:
            return RATE * (self.done + 1) / (WARMUP + 1)
        done = min((self.done - WARMUP) / max(self.steps - WARMUP, 1), 1.0)
        return LEAST + 0.5 * (1 + math.cos(math.pi * done)) * (RATE - LEAST)

    def advance(self, count: int) -> float:
        """Take steps; return the last one's loss."""
        loss = math.nan
        begin = time.perf_counter()
        for _ in range(count):
            starts = self.rng.integers(0, len(self.text) - BLOCK, (BATCH, 1))
            letters = self.text[starts + np.arange(BLOCK + 1)]
            for group in self.optimizer.param_groups:
                group["lr"] = self.rate()
            x, y = (np.ascontiguousarray(part) for part in (letters[:, :-1], letters[:, 1:]))
            loss = self.step(self.tw.from_numpy(x), self.tw.from_numpy(y)).item()
            self.done += 1
        self.seconds += time.perf_counter() - begin
        return loss

    def held_out(self, most: int = 200) -> float:
        """Return the loss on what was held out, on at most so many batches."""
        count = min((len(self.rest) - 1) // (BLOCK * BATCH), most)
        size = count * BLOCK * BATCH
        x, y = (self.rest[i : i + size].reshape(count, BATCH, BLOCK) for i in (0, 1))
        with self.tw.no_grad():
            losses = [
                self.model(self.tw.from_numpy(a), self.tw.from_numpy(b)).item()
                for a, b in zip(x, y, strict=True)
            ]
        return float(sum(losses)) / count


def main() -> None:
    """Train in turns, and print losses and times."""
    parser = argparse.ArgumentParser(description=main.__doc__)
    parser.add_argument("text", type=Path)
    parser.add_argument("--framework", action="append", choices=CHOICES)
    parser.add_argument("--steps", type=int, default=2000)
    parser.add_argument("--turn", type=int, default=50, help="steps before the next one's turn")
    parser.add_argument("--seed", type=int, default=1337)
    parser.add_argument("--threads", type=int, default=processors())
    options = parser.parse_args()
    restrict(options.threads)
    text = options.text.read_text()
    letters = sorted(set(text))
    number = {letter: i for i, letter in enumerate(letters)}
    numbers = np.array([number[letter] for letter in text])
    chosen = options.framework or ["talweg-compile", "torch"]
    for name in chosen:
        if reason := missing(name):
            raise SystemExit(reason)
    made = [Run(name, numbers, len(letters), options.steps, options.seed) for name in chosen]
    for run in made:
        run.advance(2)  # what is prepared or compiled once
        print(f"{run.framework}: the first two steps took {run.seconds:.2f} s", flush=True)
        run.seconds = 0.0
    while made[0].done < options.steps:
        for run in made:
            loss = run.advance(min(options.turn, options.steps - run.done))
            if run.done % (5 * options.turn) < options.turn or run.done == options.steps:
                per = run.seconds / (run.done - 2)
                print(f"{run.framework:16} {run.done:5} loss {loss:.4f}, {per * 1e3:.2f} ms a step")
    for run in made:
        print(
            f"{run.framework}: held-out loss {run.held_out():.4f} after {run.done} steps, "
            f"{run.seconds:.1f} s",
            flush=True,
        )


if __name__ == "__main__":
    main()
