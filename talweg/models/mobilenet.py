"""MobileNets: version 1 (Howard et al., 2017), 2 (Sandler et al., 2018, "Inverted residuals and
linear bottlenecks") and 3 (Howard et al., 2019, "Searching for MobileNetV3"). A convolution is cut
into one within each channel and one across channels at each place."""

from __future__ import annotations

from typing import Any, NamedTuple

from talweg import nn
from talweg.base.errors import InvalidValue
from talweg.engine.tensor import Tensor
from talweg.models.parts import (
    ConvNorm,
    Layer,
    SqueezeExcitation,
    divisible,
    initialise,
    norm_001,
    normal_linear,
    untrained,
)

# Version 1: channels and stride of the thirteen pairs of convolutions.
_V1 = (
    *((64, 1), (128, 2), (128, 1), (256, 2), (256, 1), (512, 2)),
    *(((512, 1),) * 5),
    *((1024, 2), (1024, 1)),
)
# Version 2: expansion, channels, blocks and stride of the seven stages.
_V2 = (
    *((1, 16, 1, 1), (6, 24, 2, 2), (6, 32, 3, 2), (6, 64, 4, 2)),
    *((6, 96, 3, 1), (6, 160, 3, 2), (6, 320, 1, 1)),
)


class MobileNetV1(nn.Module):
    """A convolution, then pairs of one within channels and one across them.

    Args:
        num_classes: of the last layer.
        width_mult: scales all numbers of channels.
        dropout: before the last layer.

    Shape: [N, 3, H, W] to [N, num_classes]; made for 224 x 224.
    """

    def __init__(
        self, num_classes: int = 1000, width_mult: float = 1.0, dropout: float = 0.001
    ) -> None:
        super().__init__()
        channels = int(32 * width_mult)
        layers = [ConvNorm(3, channels, stride=2)]
        for wide, stride in _V1:
            outputs = int(wide * width_mult)
            layers.append(ConvNorm(channels, channels, stride=stride, groups=channels))
            layers.append(ConvNorm(channels, outputs, 1))
            channels = outputs
        self.features = nn.Sequential(*layers)
        self.classifier = nn.Sequential(nn.Dropout(dropout), nn.Linear(channels, num_classes))
        initialise(self, normal_linear)

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.classifier(self.features(x).mean((2, 3)))
        return out


class InvertedResidual(nn.Module):
    """Expand the channels, filter each, and go back to few; with a shortcut where sizes agree.

    Args:
        inp, oup: channels before and behind.
        stride: 1 or 2.
        expand_ratio: times `inp` channels are between.
        norm_layer: makes the normalisations.

    Shape: [N, inp, H, W] to [N, oup, H / stride, W / stride].
    """

    def __init__(
        self,
        inp: int,
        oup: int,
        stride: int,
        expand_ratio: int,
        norm_layer: Layer = nn.BatchNorm2d,
    ) -> None:
        super().__init__()
        if stride not in (1, 2):
            raise InvalidValue(f"stride must be 1 or 2, got {stride}")
        hidden = round(inp * expand_ratio)
        how: Any = {"norm": norm_layer, "activation": nn.ReLU6}
        layers = [ConvNorm(inp, hidden, 1, **how)] if expand_ratio != 1 else []
        self.conv = nn.Sequential(
            *layers,
            ConvNorm(hidden, hidden, stride=stride, groups=hidden, **how),
            nn.Conv2d(hidden, oup, 1, bias=False),
            norm_layer(oup),
        )
        self.use_res_connect = stride == 1 and inp == oup

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.conv(x)
        return x + out if self.use_res_connect else out


class MobileNetV2(nn.Module):
    """Inverted residuals between two convolutions, and one linear layer.

    Args:
        num_classes: of the last layer.
        width_mult: scales all numbers of channels.
        inverted_residual_setting: rows of expansion, channels, blocks, stride; the paper's.
        round_nearest: numbers of channels are multiples of it.
        norm_layer: makes the normalisations.
        dropout: before the last layer.

    Shape: [N, 3, H, W] to [N, num_classes]; made for 224 x 224.
    """

    def __init__(
        self,
        num_classes: int = 1000,
        width_mult: float = 1.0,
        inverted_residual_setting: Any = None,
        round_nearest: int = 8,
        norm_layer: Layer | None = None,
        dropout: float = 0.2,
    ) -> None:
        super().__init__()
        norm = norm_layer or nn.BatchNorm2d
        how: Any = {"norm": norm, "activation": nn.ReLU6}
        channels = divisible(32 * width_mult, round_nearest)
        self.last_channel = divisible(1280 * max(1.0, width_mult), round_nearest)
        layers: list[nn.Module] = [ConvNorm(3, channels, stride=2, **how)]
        for expansion, wide, count, stride in inverted_residual_setting or _V2:
            outputs = divisible(wide * width_mult, round_nearest)
            for i in range(count):
                step = stride if i == 0 else 1
                layers.append(InvertedResidual(channels, outputs, step, expansion, norm))
                channels = outputs
        layers.append(ConvNorm(channels, self.last_channel, 1, **how))
        self.features = nn.Sequential(*layers)
        self.classifier = nn.Sequential(
            nn.Dropout(dropout), nn.Linear(self.last_channel, num_classes)
        )
        initialise(self, normal_linear)

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.classifier(self.features(x).mean((2, 3)))
        return out


class Block(NamedTuple):
    """A row of the paper's tables: what one block of version 3 looks like."""

    inputs: int
    kernel: int
    expanded: int
    outputs: int
    squeezes: bool
    activation: str
    stride: int


def _table(text: str) -> list[Block]:
    """Read rows of kernel, expanded, outputs, squeezes (+ or -), activation and stride."""
    rows, inputs = [], 16
    for line in text.strip().splitlines():
        kernel, expanded, outputs, squeezes, activation, stride = line.split()
        wide = int(outputs)
        how = (int(kernel), int(expanded), wide, squeezes == "+", activation, int(stride))
        rows.append(Block(inputs, *how))
        inputs = wide
    return rows


_LARGE = _table("""
    3  16  16 - RE 1
    3  64  24 - RE 2
    3  72  24 - RE 1
    5  72  40 + RE 2
    5 120  40 + RE 1
    5 120  40 + RE 1
    3 240  80 - HS 2
    3 200  80 - HS 1
    3 184  80 - HS 1
    3 184  80 - HS 1
    3 480 112 + HS 1
    3 672 112 + HS 1
    5 672 160 + HS 2
    5 960 160 + HS 1
    5 960 160 + HS 1
""")
_SMALL = _table("""
    3  16  16 + RE 2
    3  72  24 - RE 2
    3  88  24 - RE 1
    5  96  40 + HS 2
    5 240  40 + HS 1
    5 240  40 + HS 1
    5 120  48 + HS 1
    5 144  48 + HS 1
    5 288  96 + HS 2
    5 576  96 + HS 1
    5 576  96 + HS 1
""")


class InvertedResidualV3(nn.Module):
    """The block of version 3: with squeeze-and-excitation, and hard swish in deep blocks.

    Shape: [N, inputs, H, W] to [N, outputs, H / stride, W / stride].
    """

    def __init__(self, row: Block) -> None:
        super().__init__()
        wide = row.expanded
        how: Any = {"norm": norm_001}
        how["activation"] = nn.Hardswish if row.activation == "HS" else nn.ReLU
        layers: list[nn.Module] = [ConvNorm(row.inputs, wide, 1, **how)]
        if wide == row.inputs:
            layers.clear()
        layers.append(ConvNorm(wide, wide, row.kernel, row.stride, wide, **how))
        if row.squeezes:
            layers.append(SqueezeExcitation(wide, divisible(wide // 4), scale=nn.Hardsigmoid))
        layers.append(ConvNorm(wide, row.outputs, 1, norm=norm_001, activation=None))
        self.block = nn.Sequential(*layers)
        self.use_res_connect = row.stride == 1 and row.inputs == row.outputs

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.block(x)
        return x + out if self.use_res_connect else out


class MobileNetV3(nn.Module):
    """Inverted residuals from a searched table, and two linear layers.

    Args:
        inverted_residual_setting: a `Block` for each.
        last_channel: of the first linear layer.
        num_classes: of the last layer.
        dropout: between the linear layers.

    Shape: [N, 3, H, W] to [N, num_classes]; made for 224 x 224.
    """

    def __init__(
        self,
        inverted_residual_setting: list[Block],
        last_channel: int,
        num_classes: int = 1000,
        dropout: float = 0.2,
    ) -> None:
        super().__init__()
        how: Any = {"norm": norm_001, "activation": nn.Hardswish}
        outputs = inverted_residual_setting[-1].outputs
        self.features = nn.Sequential(
            ConvNorm(3, inverted_residual_setting[0].inputs, stride=2, **how),
            *(InvertedResidualV3(row) for row in inverted_residual_setting),
            ConvNorm(outputs, 6 * outputs, 1, **how),
        )
        self.avgpool = nn.AdaptiveAvgPool2d(1)
        self.classifier = nn.Sequential(
            nn.Linear(6 * outputs, last_channel),
            nn.Hardswish(inplace=True),
            nn.Dropout(dropout),
            nn.Linear(last_channel, num_classes),
        )
        initialise(self, normal_linear)

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.classifier(self.avgpool(self.features(x)).flatten(1))
        return out


def mobilenet_v1(*, weights: object = None, progress: bool = True, **options: Any) -> MobileNetV1:
    """Return MobileNet v1: 4,231,976 parameters."""
    untrained("mobilenet_v1", weights)
    return MobileNetV1(**options)


def mobilenet_v2(*, weights: object = None, progress: bool = True, **options: Any) -> MobileNetV2:
    """Return MobileNet v2: 3,504,872 parameters."""
    untrained("mobilenet_v2", weights)
    return MobileNetV2(**options)


def mobilenet_v3_large(
    *, weights: object = None, progress: bool = True, **options: Any
) -> MobileNetV3:
    """Return the large MobileNet v3: 5,483,032 parameters."""
    untrained("mobilenet_v3_large", weights)
    return MobileNetV3(_LARGE, 1280, **options)


def mobilenet_v3_small(
    *, weights: object = None, progress: bool = True, **options: Any
) -> MobileNetV3:
    """Return the small MobileNet v3: 2,542,856 parameters."""
    untrained("mobilenet_v3_small", weights)
    return MobileNetV3(_SMALL, 1024, **options)
