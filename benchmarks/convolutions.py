"""Every convolution of ResNet-18 and ResNet-50, and depthwise ones: forward, and with gradients."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from benchmarks.alone import main
from benchmarks.case import Case, Function

RESNETS = (
    # channels in, channels out, kernel, stride, side
    (3, 64, 7, 2, 224),
    (64, 64, 3, 1, 56),
    (64, 128, 3, 2, 56),
    (64, 128, 1, 2, 56),
    (128, 128, 3, 1, 28),
    (128, 256, 3, 2, 28),
    (128, 256, 1, 2, 28),
    (256, 256, 3, 1, 14),
    (256, 512, 3, 2, 14),
    (256, 512, 1, 2, 14),
    (512, 512, 3, 1, 7),
    (64, 64, 1, 1, 56),
    (64, 256, 1, 1, 56),
    (256, 64, 1, 1, 56),
    (256, 128, 1, 1, 56),
    (128, 128, 3, 2, 56),
    (256, 512, 1, 2, 56),
    (128, 512, 1, 1, 28),
    (512, 128, 1, 1, 28),
    (512, 256, 1, 1, 28),
    (256, 256, 3, 2, 28),
    (512, 1024, 1, 2, 28),
    (256, 1024, 1, 1, 14),
    (1024, 256, 1, 1, 14),
    (1024, 512, 1, 1, 14),
    (512, 512, 3, 2, 14),
    (1024, 2048, 1, 2, 14),
    (512, 2048, 1, 1, 7),
    (2048, 512, 1, 1, 7),
)
"""All distinct convolutions of ResNet-18 and of ResNet-50 with its strides in the 3 x 3 layers."""

DEPTHWISE = (
    # channels, kernel, stride, side
    (32, 3, 1, 112),
    (96, 3, 2, 112),
    (144, 3, 1, 56),
    (144, 3, 2, 56),
    (192, 3, 1, 28),
    (384, 3, 1, 14),
    (576, 3, 2, 14),
    (960, 3, 1, 7),
    (240, 5, 1, 28),
)
"""Those of MobileNetV2 that differ most, and one of 5 x 5 as MobileNetV3 and EfficientNet have."""


@dataclass(frozen=True, kw_only=True)
class Convolution(Function):
    """A convolution of square images with padding that keeps their size at stride 1.

    Args:
        rows: images.
        channels_in, channels_out, size, stride, side, groups: of the convolution.
    """

    rows: int
    channels_in: int
    channels_out: int
    size: int
    stride: int
    side: int
    groups: int

    def inputs(self) -> tuple[np.ndarray, ...]:
        rng = self.rng()
        inside = self.channels_in // self.groups
        x = rng.standard_normal((self.rows, self.channels_in, self.side, self.side), np.float32)
        weight = rng.standard_normal((self.channels_out, inside, self.size, self.size), np.float32)
        return x, weight / np.float32((inside * self.size**2) ** 0.5)

    def eager(self, tw: Any, *tensors: Any) -> Any:
        x, weight = tensors
        return tw.nn.functional.conv2d(
            x, weight, stride=self.stride, padding=self.size // 2, groups=self.groups
        )

    def pure(self, f: Any, *arrays: Any) -> Any:
        x, weight = arrays
        return f.conv2d(x, weight, stride=self.stride, padding=self.size // 2, groups=self.groups)

    def graph(self, g: Any, *inputs: str) -> str:
        x, _ = inputs
        weight = self.inputs()[1]
        padding = self.size // 2
        return str(g.conv(x, weight, stride=self.stride, padding=padding, groups=self.groups))

    def flops(self) -> float:
        out = (self.side + self.stride - 1) // self.stride
        inside = self.channels_in // self.groups
        forward = 2.0 * self.rows * out**2 * self.channels_out * inside * self.size**2
        return forward * (3 if self.gradient else 1)


def convolution(
    gradient: bool, rows: int, sizes: tuple[int, int, int, int, int], groups: int = 1
) -> Convolution:
    """Return the case of one layer."""
    inputs, outputs, size, stride, side = sizes
    kind = "depthwise" if groups > 1 else "convolution"
    way = "forward + backward" if gradient else "forward"
    at = f"{inputs}→{outputs}" if groups == 1 else f"{inputs}"
    return Convolution(
        name=f"{kind} {at}, {size}×{size}/{stride}, {side}², {way}",
        group=f"{kind}s, {way}",
        gradient=gradient,
        onnx=not gradient,
        kernels=(1,),
        rows=rows,
        channels_in=inputs,
        channels_out=outputs,
        size=size,
        stride=stride,
        side=side,
        groups=groups,
    )


def cases(sizes: str) -> Sequence[Case]:
    """Return the cases in sizes `full` or `tiny`."""
    rows, layers = (8, RESNETS) if sizes == "full" else (2, ((3, 4, 3, 2, 6), (4, 3, 1, 1, 5)))
    depthwise = DEPTHWISE if sizes == "full" else ((4, 3, 1, 5),)
    made: list[Case] = []
    for gradient in (False, True):
        made += [convolution(gradient, rows, layer) for layer in layers]
        made += [convolution(gradient, rows, (c, c, k, s, side), c) for c, k, s, side in depthwise]
    return made


if __name__ == "__main__":
    main("convolutions")
