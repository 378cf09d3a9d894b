"""VGG-11 at 224 x 224: inference of 1 and of 8 images."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from benchmarks.alone import main
from benchmarks.case import Arrays, Case, Inference

LAYERS = (1, 0, 2, 0, 4, 4, 0, 8, 8, 0, 8, 8, 0)
"""Channels of each convolution, in units of the first's; 0 is a pool of 2 x 2."""


@dataclass(frozen=True, kw_only=True)
class Vgg11(Inference):
    """Simonyan and Zisserman, "Very deep convolutional networks" (2015), configuration A.

    Args:
        rows: images of the batch.
        side: of an image, a multiple of 32.
        width: channels of the first convolution.
        hidden: width of the linear layers.
        classes: that are told apart.
    """

    rows: int
    side: int = 224
    width: int = 64
    hidden: int = 4096
    classes: int = 1000

    def convolutions(self) -> Iterator[tuple[int, int, int, int]]:
        """Yield (place in `features`, channels in, channels out, side) of each convolution."""
        place, inputs, side = 0, 3, self.side
        for factor in LAYERS:
            if factor:
                yield place, inputs, factor * self.width, side
                inputs = factor * self.width
            else:
                side //= 2
            place += 2 if factor else 1

    def linears(self) -> list[tuple[int, int, int]]:
        """Return (place in `classifier`, inputs, outputs) of the linear layers."""
        flat = 8 * self.width * (self.side // 32) ** 2
        return [
            (0, flat, self.hidden),
            (2, self.hidden, self.hidden),
            (4, self.hidden, self.classes),
        ]

    def shapes(self) -> dict[str, tuple[int, ...]]:
        made: dict[str, tuple[int, ...]] = {}
        for place, inputs, outputs, _ in self.convolutions():
            made[f"features.{place}.weight"] = (outputs, inputs, 3, 3)
            made[f"features.{place}.bias"] = (outputs,)
        for place, inputs, outputs in self.linears():
            made[f"classifier.{place}.weight"] = (outputs, inputs)
            made[f"classifier.{place}.bias"] = (outputs,)
        return made

    def batch(self) -> tuple[np.ndarray, ...]:
        shape = (self.rows, 3, self.side, self.side)
        return (self.rng().standard_normal(shape, np.float32),)

    def network(self, tw: Any) -> Any:
        nn = tw.nn
        convolutions = {place: sizes for place, *sizes in self.convolutions()}
        features: list[Any] = []
        for factor in LAYERS:
            if factor:
                inputs, outputs, _ = convolutions[len(features)]
                features += [nn.Conv2d(inputs, outputs, 3, padding=1), nn.ReLU()]
            else:
                features.append(nn.MaxPool2d(2))
        classifier: list[Any] = []
        for _, inputs, outputs in self.linears():
            classifier += [nn.Linear(inputs, outputs), nn.ReLU()]
        model = nn.Sequential()
        model.add_module("features", nn.Sequential(*features))
        model.add_module("flatten", nn.Flatten())
        model.add_module("classifier", nn.Sequential(*classifier[:-1]))
        return model

    def output(self, f: Any, state: Any, *batch: Any) -> Any:
        (x,) = batch
        place = 0
        for factor in LAYERS:
            if factor:
                name = f"features.{place}"
                weight, bias = state[f"{name}.weight"], state[f"{name}.bias"]
                x = f.relu(f.conv2d(x, weight, bias, padding=1))
            else:
                x = f.max_pool2d(x, 2, 2)
            place += 2 if factor else 1
        x = f.flatten(x)
        for place, _, _ in self.linears():
            name = f"classifier.{place}"
            x = f.linear(x, state[f"{name}.weight"], state[f"{name}.bias"])
            x = x if place == 4 else f.relu(x)
        return x

    def graph(self, g: Any, state: Arrays, *inputs: str) -> str:
        (x,) = inputs
        place = 0
        for factor in LAYERS:
            if factor:
                name = f"features.{place}"
                weight, bias = state[f"{name}.weight"], state[f"{name}.bias"]
                x = g.relu(g.conv(x, weight, bias, padding=1))
            else:
                x = g.max_pool(x, 2, 2)
            place += 2 if factor else 1
        x = g.node("Flatten", x)
        for place, _, _ in self.linears():
            name = f"classifier.{place}"
            x = g.linear(x, state[f"{name}.weight"], state[f"{name}.bias"])
            x = x if place == 4 else g.relu(x)
        return str(x)

    def flops(self) -> float:
        total = sum(9 * i * o * side**2 for _, i, o, side in self.convolutions())
        return 2.0 * self.rows * (total + sum(i * o for _, i, o in self.linears()))


def cases(sizes: str) -> Sequence[Case]:
    """Return the cases in sizes `full` or `tiny`."""
    small: dict[str, Any] = (
        {} if sizes == "full" else {"side": 32, "width": 2, "hidden": 6, "classes": 5}
    )
    return [
        Vgg11(name=f"VGG-11, batch {rows}, inference", rows=rows, onnx=True, **small)
        for rows in (1, 8)
    ]


if __name__ == "__main__":
    main("vgg11")
