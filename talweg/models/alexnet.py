"""AlexNet in its one-column form (Krizhevsky, 2014, "One weird trick for parallelizing
convolutional neural networks")."""

from __future__ import annotations

from typing import Any

from talweg import nn
from talweg.engine.tensor import Tensor
from talweg.models.parts import untrained


class AlexNet(nn.Module):
    """Five convolutions and three linear layers.

    Args:
        num_classes: of the last layer.
        dropout: before each of the first two linear layers.

    Shape: [N, 3, H, W] to [N, num_classes], for images of 63 x 63 or more; made for 224 x 224.
    """

    def __init__(self, num_classes: int = 1000, dropout: float = 0.5) -> None:
        super().__init__()
        self.features = nn.Sequential(
            nn.Conv2d(3, 64, 11, stride=4, padding=2),
            nn.ReLU(inplace=True),
            nn.MaxPool2d(3, stride=2),
            nn.Conv2d(64, 192, 5, padding=2),
            nn.ReLU(inplace=True),
            nn.MaxPool2d(3, stride=2),
            nn.Conv2d(192, 384, 3, padding=1),
            nn.ReLU(inplace=True),
            nn.Conv2d(384, 256, 3, padding=1),
            nn.ReLU(inplace=True),
            nn.Conv2d(256, 256, 3, padding=1),
            nn.ReLU(inplace=True),
            nn.MaxPool2d(3, stride=2),
        )
        self.avgpool = nn.AdaptiveAvgPool2d((6, 6))
        self.classifier = nn.Sequential(
            nn.Dropout(dropout),
            nn.Linear(256 * 6 * 6, 4096),
            nn.ReLU(inplace=True),
            nn.Dropout(dropout),
            nn.Linear(4096, 4096),
            nn.ReLU(inplace=True),
            nn.Linear(4096, num_classes),
        )

    def forward(self, x: Tensor) -> Tensor:
        x = self.avgpool(self.features(x))
        out: Tensor = self.classifier(x.flatten(1))
        return out


def alexnet(*, weights: object = None, progress: bool = True, **options: Any) -> AlexNet:
    """Return AlexNet: 61,100,840 parameters."""
    untrained("alexnet", weights)
    return AlexNet(**options)
