"""VGG (Simonyan and Zisserman, 2015, "Very deep convolutional networks for large-scale image
recognition"): depth out of 3 x 3 convolutions alone, configurations A, B, D and E."""

from __future__ import annotations

from typing import Any

from talweg import nn
from talweg.engine.tensor import Tensor
from talweg.models.parts import initialise, normal_linear, untrained

# Convolutions in each of the five stages, between which the size is halved.
_STAGES = {11: (1, 1, 2, 2, 2), 13: (2, 2, 2, 2, 2), 16: (2, 2, 3, 3, 3), 19: (2, 2, 4, 4, 4)}
_CHANNELS = (64, 128, 256, 512, 512)


class VGG(nn.Module):
    """Convolutions in five stages and three linear layers.

    Args:
        features: the convolutions; they give 512 channels.
        num_classes: of the last layer.
        init_weights: He's normal weights for convolutions, small ones for the linear layers.
        dropout: behind each of the first two linear layers.

    Shape: [N, 3, H, W] to [N, num_classes], for images of 32 x 32 or more; made for 224 x 224.
    """

    def __init__(
        self,
        features: nn.Module,
        num_classes: int = 1000,
        init_weights: bool = True,
        dropout: float = 0.5,
    ) -> None:
        super().__init__()
        self.features = features
        self.avgpool = nn.AdaptiveAvgPool2d((7, 7))
        self.classifier = nn.Sequential(
            nn.Linear(512 * 7 * 7, 4096),
            nn.ReLU(True),
            nn.Dropout(dropout),
            nn.Linear(4096, 4096),
            nn.ReLU(True),
            nn.Dropout(dropout),
            nn.Linear(4096, num_classes),
        )
        if init_weights:
            initialise(self, normal_linear)

    def forward(self, x: Tensor) -> Tensor:
        x = self.avgpool(self.features(x))
        out: Tensor = self.classifier(x.flatten(1))
        return out


def _features(depth: int, norm: bool) -> nn.Sequential:
    layers: list[nn.Module] = []
    inputs = 3
    for count, outputs in zip(_STAGES[depth], _CHANNELS, strict=True):
        for _ in range(count):
            layers.append(nn.Conv2d(inputs, outputs, 3, padding=1))
            layers += [nn.BatchNorm2d(outputs)] if norm else []
            layers.append(nn.ReLU(inplace=True))
            inputs = outputs
        layers.append(nn.MaxPool2d(2, 2))
    return nn.Sequential(*layers)


def _vgg(depth: int, norm: bool, weights: object, options: dict[str, Any]) -> VGG:
    untrained(f"vgg{depth}" + "_bn" * norm, weights)
    return VGG(_features(depth, norm), **options)


def vgg11(*, weights: object = None, progress: bool = True, **options: Any) -> VGG:
    """Return VGG-11: 132,863,336 parameters."""
    return _vgg(11, False, weights, options)


def vgg11_bn(*, weights: object = None, progress: bool = True, **options: Any) -> VGG:
    """Return VGG-11 with batch normalisation: 132,868,840 parameters."""
    return _vgg(11, True, weights, options)


def vgg13(*, weights: object = None, progress: bool = True, **options: Any) -> VGG:
    """Return VGG-13: 133,047,848 parameters."""
    return _vgg(13, False, weights, options)


def vgg13_bn(*, weights: object = None, progress: bool = True, **options: Any) -> VGG:
    """Return VGG-13 with batch normalisation: 133,053,736 parameters."""
    return _vgg(13, True, weights, options)


def vgg16(*, weights: object = None, progress: bool = True, **options: Any) -> VGG:
    """Return VGG-16: 138,357,544 parameters."""
    return _vgg(16, False, weights, options)


def vgg16_bn(*, weights: object = None, progress: bool = True, **options: Any) -> VGG:
    """Return VGG-16 with batch normalisation: 138,365,992 parameters."""
    return _vgg(16, True, weights, options)


def vgg19(*, weights: object = None, progress: bool = True, **options: Any) -> VGG:
    """Return VGG-19: 143,667,240 parameters."""
    return _vgg(19, False, weights, options)


def vgg19_bn(*, weights: object = None, progress: bool = True, **options: Any) -> VGG:
    """Return VGG-19 with batch normalisation: 143,678,248 parameters."""
    return _vgg(19, True, weights, options)
