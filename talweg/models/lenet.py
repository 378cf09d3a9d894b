"""LeNet-5 (LeCun, Bottou, Bengio and Haffner, 1998, "Gradient-based learning applied to document
recognition"): the first convolutional network in wide use, here with ReLU and max pooling."""

from __future__ import annotations

from typing import Any

from talweg import nn
from talweg.engine.tensor import Tensor
from talweg.models.parts import untrained
from talweg.nn import functional as F


class LeNet(nn.Module):
    """Two convolutions and three linear layers for small images.

    Args:
        num_classes: of the last layer.
        in_channels: 1 for grey images, 3 for colours.

    Shape: [N, in_channels, 32, 32] to [N, num_classes]; images of 28 x 28 are padded by 2.
    """

    def __init__(self, num_classes: int = 10, in_channels: int = 1) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(in_channels, 6, 5)
        self.conv2 = nn.Conv2d(6, 16, 5)
        self.fc1 = nn.Linear(16 * 5 * 5, 120)
        self.fc2 = nn.Linear(120, 84)
        self.fc3 = nn.Linear(84, num_classes)

    def forward(self, x: Tensor) -> Tensor:
        if x.shape[-1] == 28:
            x = F.pad(x, (2, 2, 2, 2))
        x = F.max_pool2d(F.relu(self.conv1(x)), 2)
        x = F.max_pool2d(F.relu(self.conv2(x)), 2)
        x = F.relu(self.fc1(x.flatten(1)))
        out: Tensor = self.fc3(F.relu(self.fc2(x)))
        return out


def lenet(*, weights: object = None, progress: bool = True, **options: Any) -> LeNet:
    """Return LeNet-5: 61,706 parameters.

    Example:
        >>> from talweg import models
        >>> models.lenet()(tw.zeros(2, 1, 28, 28)).shape
        (2, 10)
    """
    untrained("lenet", weights)
    return LeNet(**options)
