"""LeNet as Caffe has it, 28 x 28 images: one training step of a batch of 64."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from benchmarks.alone import main
from benchmarks.case import Case, Sgd, Training


@dataclass(frozen=True, kw_only=True)
class LeNet(Training):
    """conv 5x5, pool, conv 5x5, pool, linear, relu, linear; cross-entropy.

    Args:
        rows: images of the batch.
        channels: of the two convolutions.
        hidden: width of the first linear layer.
        side: of an image.
    """

    rows: int
    channels: tuple[int, int] = (20, 50)
    hidden: int = 500
    side: int = 28

    @property
    def features(self) -> int:
        """Numbers per image that reach the first linear layer."""
        return self.channels[1] * (((self.side - 4) // 2 - 4) // 2) ** 2

    def shapes(self) -> dict[str, tuple[int, ...]]:
        first, second = self.channels
        return {
            "0.weight": (first, 1, 5, 5),
            "0.bias": (first,),
            "2.weight": (second, first, 5, 5),
            "2.bias": (second,),
            "5.weight": (self.hidden, self.features),
            "5.bias": (self.hidden,),
            "7.weight": (10, self.hidden),
            "7.bias": (10,),
        }

    def batch(self) -> tuple[np.ndarray, ...]:
        rng = self.rng()
        x = rng.standard_normal((self.rows, 1, self.side, self.side), np.float32)
        return x, rng.integers(0, 10, self.rows)

    def network(self, tw: Any) -> Any:
        nn = tw.nn
        return nn.Sequential(
            nn.Conv2d(1, self.channels[0], 5),
            nn.MaxPool2d(2),
            nn.Conv2d(*self.channels, 5),
            nn.MaxPool2d(2),
            nn.Flatten(),
            nn.Linear(self.features, self.hidden),
            nn.ReLU(),
            nn.Linear(self.hidden, 10),
        )

    def loss(self, f: Any, state: Any, *batch: Any) -> tuple[Any, dict[str, Any]]:
        x, labels = batch
        x = f.max_pool2d(f.conv2d(x, state["0.weight"], state["0.bias"]), 2, 2)
        x = f.max_pool2d(f.conv2d(x, state["2.weight"], state["2.bias"]), 2, 2)
        x = f.relu(f.linear(f.flatten(x), state["5.weight"], state["5.bias"]))
        return f.cross_entropy(f.linear(x, state["7.weight"], state["7.bias"]), labels), {}

    def flops(self) -> float:
        first, second = self.channels
        one = self.side - 4
        two = one // 2 - 4
        convolutions = 2 * one**2 * 25 * first + 3 * two**2 * 25 * first * second
        return 2.0 * self.rows * (convolutions + 3 * self.hidden * (self.features + 10))


def lenet(sizes: str) -> LeNet:
    """Return the case in sizes `full` or `tiny`."""
    name, optimizer = "LeNet, batch 64, training step", Sgd(lr=0.01, momentum=0.9)
    if sizes == "full":
        return LeNet(name=name, rows=64, optimizer=optimizer)
    return LeNet(name=name, rows=3, channels=(2, 3), hidden=6, side=16, optimizer=optimizer)


def cases(sizes: str) -> Sequence[Case]:
    """Return the cases in sizes `full` or `tiny`."""
    return [lenet(sizes)]


if __name__ == "__main__":
    main("lenet")
