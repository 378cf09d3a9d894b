"""EfficientNet (Tan and Le, 2019, "Rethinking model scaling for convolutional neural networks"):
one searched network, B0, made wider and deeper together."""

from __future__ import annotations

import math
from functools import partial
from typing import Any

from talweg import nn
from talweg.engine.tensor import Tensor
from talweg.models.parts import (
    ConvNorm,
    Layer,
    SqueezeExcitation,
    StochasticDepth,
    divisible,
    initialise,
    norm_001,
    untrained,
)
from talweg.nn import init

# Expansion, kernel, stride, inputs, outputs and blocks of the seven stages of B0.
_STAGES = (
    *((1, 3, 1, 32, 16, 1), (6, 3, 2, 16, 24, 2), (6, 5, 2, 24, 40, 2), (6, 3, 2, 40, 80, 3)),
    *((6, 5, 1, 80, 112, 3), (6, 5, 2, 112, 192, 4), (6, 3, 1, 192, 320, 1)),
)
# Width, depth and dropout of B0 to B7.
_SCALES = (
    *((1.0, 1.0, 0.2), (1.0, 1.1, 0.2), (1.1, 1.2, 0.3), (1.2, 1.4, 0.3)),
    *((1.4, 1.8, 0.4), (1.6, 2.2, 0.4), (1.8, 2.6, 0.5), (2.0, 3.1, 0.5)),
)


class MBConv(nn.Module):
    """Expand the channels, filter each, weigh them, and go back to few; with a shortcut.

    Args:
        inputs, outputs: channels before and behind.
        expansion: times `inputs` channels are between.
        kernel, stride: of the convolution within channels.
        drop: the share of examples that pass by the shortcut alone, in training.
        norm_layer: makes the normalisations.

    Shape: [N, inputs, H, W] to [N, outputs, H / stride, W / stride].
    """

    def __init__(
        self,
        inputs: int,
        outputs: int,
        expansion: int,
        kernel: int,
        stride: int,
        drop: float,
        norm_layer: Layer = nn.BatchNorm2d,
    ) -> None:
        super().__init__()
        wide = divisible(inputs * expansion)
        how: Any = {"norm": norm_layer, "activation": nn.SiLU}
        layers: list[nn.Module] = [ConvNorm(inputs, wide, 1, **how)] if wide != inputs else []
        self.block = nn.Sequential(
            *layers,
            ConvNorm(wide, wide, kernel, stride, wide, **how),
            SqueezeExcitation(wide, max(1, inputs // 4), partial(nn.SiLU, inplace=True)),
            ConvNorm(wide, outputs, 1, norm=norm_layer, activation=None),
        )
        self.stochastic_depth = StochasticDepth(drop, "row")
        self.use_res_connect = stride == 1 and inputs == outputs

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.block(x)
        return self.stochastic_depth(out) + x if self.use_res_connect else out


class EfficientNet(nn.Module):
    """A convolution, seven stages of `MBConv`, a convolution, and one linear layer.

    Args:
        width, depth: scale channels and blocks of B0.
        dropout: before the last layer.
        stochastic_depth_prob: of the last block; it grows from 0 with the depth.
        num_classes: of the last layer.
        norm_layer: makes the normalisations.

    Shape: [N, 3, H, W] to [N, num_classes]; made for 224 x 224 (B0) to 600 x 600 (B7).
    """

    def __init__(
        self,
        width: float = 1.0,
        depth: float = 1.0,
        dropout: float = 0.2,
        stochastic_depth_prob: float = 0.2,
        num_classes: int = 1000,
        norm_layer: Layer = nn.BatchNorm2d,
    ) -> None:
        super().__init__()
        how: Any = {"norm": norm_layer, "activation": nn.SiLU}
        counts = [math.ceil(row[-1] * depth) for row in _STAGES]
        channels = divisible(_STAGES[0][3] * width)
        stages: list[nn.Module] = [ConvNorm(3, channels, stride=2, **how)]
        done = 0
        for (expansion, kernel, stride, _, wide, _), count in zip(_STAGES, counts, strict=True):
            outputs, blocks = divisible(wide * width), []
            for i in range(count):
                drop = stochastic_depth_prob * done / sum(counts)
                step = stride if i == 0 else 1
                blocks.append(MBConv(channels, outputs, expansion, kernel, step, drop, norm_layer))
                channels = outputs
                done += 1
            stages.append(nn.Sequential(*blocks))
        stages.append(ConvNorm(channels, 4 * channels, 1, **how))
        self.features = nn.Sequential(*stages)
        self.avgpool = nn.AdaptiveAvgPool2d(1)
        last = nn.Linear(4 * channels, num_classes)
        self.classifier = nn.Sequential(nn.Dropout(dropout, inplace=True), last)
        initialise(self, _uniform)

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.classifier(self.avgpool(self.features(x)).flatten(1))
        return out


def _uniform(layer: nn.Linear) -> None:
    bound = 1 / math.sqrt(layer.out_features)
    init.uniform_(layer.weight, -bound, bound)


def _efficientnet(number: int, weights: object, options: dict[str, Any]) -> EfficientNet:
    untrained(f"efficientnet_b{number}", weights)
    width, depth, dropout = _SCALES[number]
    norm = norm_001 if number >= 5 else nn.BatchNorm2d
    return EfficientNet(width, depth, **{"dropout": dropout, "norm_layer": norm, **options})


def efficientnet_b0(
    *, weights: object = None, progress: bool = True, **options: Any
) -> EfficientNet:
    """Return EfficientNet-B0: 5,288,548 parameters."""
    return _efficientnet(0, weights, options)


def efficientnet_b1(
    *, weights: object = None, progress: bool = True, **options: Any
) -> EfficientNet:
    """Return EfficientNet-B1: 7,794,184 parameters."""
    return _efficientnet(1, weights, options)


def efficientnet_b2(
    *, weights: object = None, progress: bool = True, **options: Any
) -> EfficientNet:
    """Return EfficientNet-B2: 9,109,994 parameters."""
    return _efficientnet(2, weights, options)


def efficientnet_b3(
    *, weights: object = None, progress: bool = True, **options: Any
) -> EfficientNet:
    """Return EfficientNet-B3: 12,233,232 parameters."""
    return _efficientnet(3, weights, options)


def efficientnet_b4(
    *, weights: object = None, progress: bool = True, **options: Any
) -> EfficientNet:
    """Return EfficientNet-B4: 19,341,616 parameters."""
    return _efficientnet(4, weights, options)


def efficientnet_b5(
    *, weights: object = None, progress: bool = True, **options: Any
) -> EfficientNet:
    """Return EfficientNet-B5: 30,389,784 parameters."""
    return _efficientnet(5, weights, options)


def efficientnet_b6(
    *, weights: object = None, progress: bool = True, **options: Any
) -> EfficientNet:
    """Return EfficientNet-B6: 43,040,704 parameters."""
    return _efficientnet(6, weights, options)


def efficientnet_b7(
    *, weights: object = None, progress: bool = True, **options: Any
) -> EfficientNet:
    """Return EfficientNet-B7: 66,347,960 parameters."""
    return _efficientnet(7, weights, options)
