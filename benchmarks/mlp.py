"""A perceptron of three layers, 784-512-512-10: one training step of a batch of 128."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np

from benchmarks.alone import main
from benchmarks.case import Case, Sgd, Training


@dataclass(frozen=True, kw_only=True)
class Perceptron(Training):
    """linear, relu, linear, relu, linear; cross-entropy.

    Args:
        rows: of the batch.
        widths: of the input and of each layer.
    """

    rows: int
    widths: tuple[int, ...]

    def shapes(self) -> dict[str, tuple[int, ...]]:
        made: dict[str, tuple[int, ...]] = {}
        for layer, (inputs, outputs) in enumerate(pairwise(self.widths)):
            made[f"{2 * layer}.weight"] = (outputs, inputs)
            made[f"{2 * layer}.bias"] = (outputs,)
        return made

    def batch(self) -> tuple[np.ndarray, ...]:
        rng = self.rng()
        x = rng.standard_normal((self.rows, self.widths[0]), np.float32)
        return x, rng.integers(0, self.widths[-1], self.rows)

    def network(self, tw: Any) -> Any:
        nn = tw.nn
        layers = []
        for inputs, outputs in pairwise(self.widths):
            layers += [nn.Linear(inputs, outputs), nn.ReLU()]
        return nn.Sequential(*layers[:-1])

    def loss(self, f: Any, state: Any, *batch: Any) -> tuple[Any, dict[str, Any]]:
        x, labels = batch
        last = 2 * (len(self.widths) - 2)
        for layer in range(0, last + 1, 2):
            x = f.linear(x, state[f"{layer}.weight"], state[f"{layer}.bias"])
            x = x if layer == last else f.relu(x)
        return f.cross_entropy(x, labels), {}

    def flops(self) -> float:
        products = [a * b for a, b in pairwise(self.widths)]
        return 2.0 * self.rows * (3 * sum(products) - products[0])


def cases(sizes: str) -> Sequence[Case]:
    """Return the case in sizes `full` or `tiny`."""
    rows, widths = (128, (784, 512, 512, 10)) if sizes == "full" else (4, (7, 6, 5, 3))
    return [
        Perceptron(
            name="MLP 784-512-512-10, batch 128, training step",
            rows=rows,
            widths=widths,
            optimizer=Sgd(lr=0.05),
        )
    ]


if __name__ == "__main__":
    main("mlp")
