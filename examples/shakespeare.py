"""Train a GPT on the letters of a text, here Shakespeare's, with nanoGPT's small recipe for a CPU.

    python examples/shakespeare.py input.txt

The text is the tiny Shakespeare of github.com/karpathy/char-rnn, 1.1 MB. 4 layers, 4 heads, width
128; 2000 steps of 12 pieces of 64 letters; AdamW; the learning rate rises, then falls as a cosine.
The loss on the last tenth of the text comes to about 1.9, as PyTorch's does from the same numbers
(`python -m benchmarks.shakespeare`), in a minute or two.
"""

from __future__ import annotations

import argparse
import math
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import talweg as tw
from talweg import models, nn, optim


@dataclass(frozen=True)
class Recipe:
    """What is trained, and how.

    Args:
        block, batch: letters of a piece, pieces of a step.
        layers, heads, width: of the network.
        steps, warmup: of training, and how many of them the learning rate rises.
        rate, least: the learning rate's largest and last value.
        decay: of the weights of matrices.
        clip: the largest length of the gradient.
        every, pieces: how often the loss is estimated, and on how many batches.
    """

    block: int = 64
    batch: int = 12
    layers: int = 4
    heads: int = 4
    width: int = 128
    steps: int = 2000
    warmup: int = 100
    rate: float = 1e-3
    least: float = 1e-4
    decay: float = 0.1
    clip: float = 1.0
    every: int = 250
    pieces: int = 20

    def rate_at(self, step: int) -> float:
        """Return the learning rate of a step."""
        if step < self.warmup:
            return self.rate * (step + 1) / (self.warmup + 1)
        done = min((step - self.warmup) / max(self.steps - self.warmup, 1), 1.0)
        return self.least + 0.5 * (1 + math.cos(math.pi * done)) * (self.rate - self.least)


@dataclass(frozen=True)
class Text:
    """Numbers of letters: those to train on and those held out."""

    letters: str
    train: tw.Tensor
    held_out: tw.Tensor


def read(text: str) -> Text:
    """Return the letters of a text as numbers; the last tenth is held out."""
    letters = "".join(sorted(set(text)))
    number = {letter: i for i, letter in enumerate(letters)}
    numbers = tw.tensor([number[letter] for letter in text])
    cut = int(0.9 * len(text))
    return Text(letters, numbers[:cut], numbers[cut:])


def pieces(numbers: tw.Tensor, recipe: Recipe) -> tuple[tw.Tensor, tw.Tensor]:
    """Return random pieces of a text, [batch, block], and the letters that follow in each."""
    starts = tw.randint(0, len(numbers) - recipe.block, (recipe.batch, 1))
    places = starts + tw.arange(recipe.block)
    return numbers[places], numbers[places + 1]


def groups(model: nn.Module, decay: float) -> list[dict[str, object]]:
    """Return groups of parameters: matrices decay, biases and scales do not."""
    parameters = list(model.parameters())
    return [
        {"params": [p for p in parameters if p.ndim >= 2], "weight_decay": decay},
        {"params": [p for p in parameters if p.ndim < 2], "weight_decay": 0.0},
    ]


def estimate(model: models.GPT, text: Text, recipe: Recipe) -> dict[str, float]:
    """Return the mean loss on random pieces of both parts of the text."""
    model.eval()
    with tw.no_grad():
        found = {
            name: sum(model(*pieces(numbers, recipe))[1].item() for _ in range(recipe.pieces))
            for name, numbers in (("train", text.train), ("held out", text.held_out))
        }
    model.train()
    return {name: total / recipe.pieces for name, total in found.items()}


def train(
    model: models.GPT, text: Text, recipe: Recipe, show: bool = True
) -> list[tuple[int, dict[str, float]]]:
    """Train a model; return the losses on the way, by step."""
    optimizer = optim.AdamW(groups(model, recipe.decay), lr=recipe.rate, betas=(0.9, 0.99))

    @tw.compile
    def step(letters: tw.Tensor, following: tw.Tensor) -> tw.Tensor:
        loss = model(letters, following)[1]
        optimizer.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(model.parameters(), recipe.clip)
        optimizer.step()
        return loss

    curve, began = [], time.perf_counter()
    for number in range(recipe.steps + 1):
        if number % recipe.every == 0 or number == recipe.steps:
            curve.append((number, estimate(model, text, recipe)))
            if show:
                shown = ", ".join(f"{name} {loss:.4f}" for name, loss in curve[-1][1].items())
                print(f"step {number}: {shown} ({time.perf_counter() - began:.1f} s)", flush=True)
        if number < recipe.steps:
            for group in optimizer.param_groups:
                group["lr"] = recipe.rate_at(number)
            step(*pieces(text.train, recipe))
    return curve


def draw(curve: Sequence[tuple[int, dict[str, float]]], path: str) -> None:
    """Draw the losses into a picture."""
    from matplotlib import pyplot as plt  # noqa: PLC0415

    figure, axes = plt.subplots()
    for name in curve[0][1]:
        axes.plot([at for at, _ in curve], [losses[name] for _, losses in curve], label=name)
    axes.set(xlabel="step", ylabel="loss")
    axes.legend()
    figure.savefig(path)
    plt.close(figure)


def write(model: models.GPT, text: Text, count: int) -> str:
    """Return letters that the model writes."""
    model.eval()
    drawn = model.generate(tw.tensor([[text.letters.index("\n")]]), count, temperature=0.8)
    return "".join(text.letters[i] for i in drawn[0].tolist())


def make(text: Text, recipe: Recipe) -> models.GPT:
    """Return the untrained model."""
    return models.GPT(
        models.GPTConfig(
            recipe.block, len(text.letters), recipe.layers, recipe.heads, recipe.width,
            bias=False, approximate="none",
        )
    )  # fmt: skip


def main() -> None:
    """Train, draw, write."""
    parser = argparse.ArgumentParser(description=main.__doc__)
    parser.add_argument("text", type=Path)
    parser.add_argument("--steps", type=int, default=2000)
    parser.add_argument("--seed", type=int, default=1337)
    parser.add_argument("--curve", default="shakespeare.png", help="the picture's file")
    options = parser.parse_args()
    tw.manual_seed(options.seed)
    text, recipe = read(options.text.read_text()), Recipe(steps=options.steps)
    model = make(text, recipe)
    draw(train(model, text, recipe), options.curve)
    print(write(model, text, 300))


if __name__ == "__main__":
    main()
