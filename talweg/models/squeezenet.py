"""SqueezeNet (Iandola et al., 2016, "AlexNet-level accuracy with 50x fewer parameters")."""

from __future__ import annotations

from typing import Any

from talweg import nn
from talweg.base.errors import InvalidValue
from talweg.engine.tensor import Tensor
from talweg.models.parts import cat, untrained
from talweg.nn import init


class Fire(nn.Module):
    """Squeeze the channels by 1 x 1 kernels, then expand them by 1 x 1 and by 3 x 3 ones.

    Shape: [N, inplanes, H, W] to [N, expand1x1_planes + expand3x3_planes, H, W].
    """

    def __init__(
        self, inplanes: int, squeeze_planes: int, expand1x1_planes: int, expand3x3_planes: int
    ) -> None:
        super().__init__()
        self.squeeze = nn.Conv2d(inplanes, squeeze_planes, 1)
        self.squeeze_activation = nn.ReLU(inplace=True)
        self.expand1x1 = nn.Conv2d(squeeze_planes, expand1x1_planes, 1)
        self.expand1x1_activation = nn.ReLU(inplace=True)
        self.expand3x3 = nn.Conv2d(squeeze_planes, expand3x3_planes, 3, padding=1)
        self.expand3x3_activation = nn.ReLU(inplace=True)

    def forward(self, x: Tensor) -> Tensor:
        x = self.squeeze_activation(self.squeeze(x))
        near = self.expand1x1_activation(self.expand1x1(x))
        wide = self.expand3x3_activation(self.expand3x3(x))
        out: Tensor = cat([near, wide], 1)
        return out


# Channels of the eight Fire modules: in, squeezed, out of each half.
_FIRES = (
    *((64, 16, 64), (128, 16, 64), (128, 32, 128), (256, 32, 128)),
    *((256, 48, 192), (384, 48, 192), (384, 64, 256), (512, 64, 256)),
)


class SqueezeNet(nn.Module):
    """Fire modules, and a convolution that gives the classes.

    Args:
        version: "1_0", or "1_1" with 2.4 times less computation.
        num_classes: of the last convolution.
        dropout: before it.

    Shape: [N, 3, H, W] to [N, num_classes], for images of 21 x 21 or more.
    """

    def __init__(self, version: str = "1_0", num_classes: int = 1000, dropout: float = 0.5) -> None:
        super().__init__()
        if version not in ("1_0", "1_1"):
            raise InvalidValue(f"SqueezeNet has versions 1_0 and 1_1, not {version!r}")
        self.num_classes = num_classes
        small = version == "1_1"
        stem = nn.Conv2d(3, 64, 3, stride=2) if small else nn.Conv2d(3, 96, 7, stride=2)
        layers: list[nn.Module] = [stem, nn.ReLU(inplace=True)]
        pooled = (0, 2, 4) if small else (0, 3, 7)
        for i, (inputs, squeezed, half) in enumerate(_FIRES):
            if i in pooled:
                layers.append(nn.MaxPool2d(3, stride=2, ceil_mode=True))
            layers.append(Fire(stem.out_channels if i == 0 else inputs, squeezed, half, half))
        self.features = nn.Sequential(*layers)
        last = nn.Conv2d(512, num_classes, 1)
        self.classifier = nn.Sequential(
            nn.Dropout(dropout), last, nn.ReLU(inplace=True), nn.AdaptiveAvgPool2d((1, 1))
        )
        for m in self.modules():
            if isinstance(m, nn.Conv2d):
                if m is last:
                    init.normal_(m.weight, 0.0, 0.01)
                else:
                    init.kaiming_uniform_(m.weight)
                if m.bias is not None:
                    init.zeros_(m.bias)

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.classifier(self.features(x)).flatten(1)
        return out


def squeezenet1_0(*, weights: object = None, progress: bool = True, **options: Any) -> SqueezeNet:
    """Return SqueezeNet 1.0: 1,248,424 parameters."""
    untrained("squeezenet1_0", weights)
    return SqueezeNet("1_0", **options)


def squeezenet1_1(*, weights: object = None, progress: bool = True, **options: Any) -> SqueezeNet:
    """Return SqueezeNet 1.1: 1,235,496 parameters."""
    untrained("squeezenet1_1", weights)
    return SqueezeNet("1_1", **options)
