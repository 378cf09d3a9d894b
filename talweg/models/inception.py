"""Inception v3 (Szegedy et al., 2016, "Rethinking the Inception architecture for computer vision"):
large kernels cut into rows and columns."""

from __future__ import annotations

from typing import Any, NamedTuple

from talweg import nn
from talweg.engine.tensor import Tensor
from talweg.models.googlenet import BasicConv2d, draw_weights, rescaled
from talweg.models.parts import cat, untrained
from talweg.nn import functional as F


class InceptionOutputs(NamedTuple):
    """What the network gives in training: its scores and those of its side branch."""

    logits: Tensor
    aux_logits: Tensor | None


def _row(inputs: int, outputs: int, size: int) -> BasicConv2d:
    return BasicConv2d(inputs, outputs, kernel_size=(1, size), padding=(0, size // 2))


def _column(inputs: int, outputs: int, size: int) -> BasicConv2d:
    return BasicConv2d(inputs, outputs, kernel_size=(size, 1), padding=(size // 2, 0))


def _pooled(x: Tensor) -> Any:
    return F.avg_pool2d(x, 3, stride=1, padding=1)


class InceptionA(nn.Module):
    """1 x 1, 5 x 5, two 3 x 3 and pooling side by side; at 35 x 35."""

    def __init__(self, in_channels: int, pool_features: int) -> None:
        super().__init__()
        self.branch1x1 = BasicConv2d(in_channels, 64, kernel_size=1)
        self.branch5x5_1 = BasicConv2d(in_channels, 48, kernel_size=1)
        self.branch5x5_2 = BasicConv2d(48, 64, kernel_size=5, padding=2)
        self.branch3x3dbl_1 = BasicConv2d(in_channels, 64, kernel_size=1)
        self.branch3x3dbl_2 = BasicConv2d(64, 96, kernel_size=3, padding=1)
        self.branch3x3dbl_3 = BasicConv2d(96, 96, kernel_size=3, padding=1)
        self.branch_pool = BasicConv2d(in_channels, pool_features, kernel_size=1)

    def forward(self, x: Tensor) -> Tensor:
        one = self.branch1x1(x)
        five = self.branch5x5_2(self.branch5x5_1(x))
        three = self.branch3x3dbl_3(self.branch3x3dbl_2(self.branch3x3dbl_1(x)))
        out: Tensor = cat([one, five, three, self.branch_pool(_pooled(x))], 1)
        return out


class InceptionB(nn.Module):
    """From 35 x 35 to 17 x 17."""

    def __init__(self, in_channels: int) -> None:
        super().__init__()
        self.branch3x3 = BasicConv2d(in_channels, 384, kernel_size=3, stride=2)
        self.branch3x3dbl_1 = BasicConv2d(in_channels, 64, kernel_size=1)
        self.branch3x3dbl_2 = BasicConv2d(64, 96, kernel_size=3, padding=1)
        self.branch3x3dbl_3 = BasicConv2d(96, 96, kernel_size=3, stride=2)

    def forward(self, x: Tensor) -> Tensor:
        double = self.branch3x3dbl_3(self.branch3x3dbl_2(self.branch3x3dbl_1(x)))
        out: Tensor = cat([self.branch3x3(x), double, F.max_pool2d(x, 3, stride=2)], 1)
        return out


class InceptionC(nn.Module):
    """1 x 1, 7 x 7 and two 7 x 7, cut into rows and columns, and pooling; at 17 x 17."""

    def __init__(self, in_channels: int, channels_7x7: int) -> None:
        super().__init__()
        mid = channels_7x7
        self.branch1x1 = BasicConv2d(in_channels, 192, kernel_size=1)
        self.branch7x7_1 = BasicConv2d(in_channels, mid, kernel_size=1)
        self.branch7x7_2 = _row(mid, mid, 7)
        self.branch7x7_3 = _column(mid, 192, 7)
        self.branch7x7dbl_1 = BasicConv2d(in_channels, mid, kernel_size=1)
        self.branch7x7dbl_2 = _column(mid, mid, 7)
        self.branch7x7dbl_3 = _row(mid, mid, 7)
        self.branch7x7dbl_4 = _column(mid, mid, 7)
        self.branch7x7dbl_5 = _row(mid, 192, 7)
        self.branch_pool = BasicConv2d(in_channels, 192, kernel_size=1)

    def forward(self, x: Tensor) -> Tensor:
        seven = self.branch7x7_3(self.branch7x7_2(self.branch7x7_1(x)))
        double = self.branch7x7dbl_3(self.branch7x7dbl_2(self.branch7x7dbl_1(x)))
        double = self.branch7x7dbl_5(self.branch7x7dbl_4(double))
        pooled = self.branch_pool(_pooled(x))
        out: Tensor = cat([self.branch1x1(x), seven, double, pooled], 1)
        return out


class InceptionD(nn.Module):
    """From 17 x 17 to 8 x 8."""

    def __init__(self, in_channels: int) -> None:
        super().__init__()
        self.branch3x3_1 = BasicConv2d(in_channels, 192, kernel_size=1)
        self.branch3x3_2 = BasicConv2d(192, 320, kernel_size=3, stride=2)
        self.branch7x7x3_1 = BasicConv2d(in_channels, 192, kernel_size=1)
        self.branch7x7x3_2 = _row(192, 192, 7)
        self.branch7x7x3_3 = _column(192, 192, 7)
        self.branch7x7x3_4 = BasicConv2d(192, 192, kernel_size=3, stride=2)

    def forward(self, x: Tensor) -> Tensor:
        three = self.branch3x3_2(self.branch3x3_1(x))
        seven = self.branch7x7x3_3(self.branch7x7x3_2(self.branch7x7x3_1(x)))
        out: Tensor = cat([three, self.branch7x7x3_4(seven), F.max_pool2d(x, 3, stride=2)], 1)
        return out


class InceptionE(nn.Module):
    """Branches that end in a row and a column side by side; at 8 x 8."""

    def __init__(self, in_channels: int) -> None:
        super().__init__()
        self.branch1x1 = BasicConv2d(in_channels, 320, kernel_size=1)
        self.branch3x3_1 = BasicConv2d(in_channels, 384, kernel_size=1)
        self.branch3x3_2a = _row(384, 384, 3)
        self.branch3x3_2b = _column(384, 384, 3)
        self.branch3x3dbl_1 = BasicConv2d(in_channels, 448, kernel_size=1)
        self.branch3x3dbl_2 = BasicConv2d(448, 384, kernel_size=3, padding=1)
        self.branch3x3dbl_3a = _row(384, 384, 3)
        self.branch3x3dbl_3b = _column(384, 384, 3)
        self.branch_pool = BasicConv2d(in_channels, 192, kernel_size=1)

    def forward(self, x: Tensor) -> Tensor:
        three = self.branch3x3_1(x)
        double = self.branch3x3dbl_2(self.branch3x3dbl_1(x))
        ends = [
            *(self.branch1x1(x), self.branch3x3_2a(three), self.branch3x3_2b(three)),
            *(self.branch3x3dbl_3a(double), self.branch3x3dbl_3b(double)),
        ]
        out: Tensor = cat([*ends, self.branch_pool(_pooled(x))], 1)
        return out


class InceptionAux(nn.Module):
    """A side branch that gives scores from the middle of the network, for training."""

    def __init__(self, in_channels: int, num_classes: int) -> None:
        super().__init__()
        self.conv0 = BasicConv2d(in_channels, 128, kernel_size=1)
        self.conv1 = BasicConv2d(128, 768, kernel_size=5)
        self.conv1.stddev = 0.01
        self.fc = nn.Linear(768, num_classes)
        self.fc.stddev = 0.001

    def forward(self, x: Tensor) -> Tensor:
        x = self.conv1(self.conv0(F.avg_pool2d(x, 5, stride=3)))
        out: Tensor = self.fc(F.adaptive_avg_pool2d(x, (1, 1)).flatten(1))
        return out


class Inception3(nn.Module):
    """A stem, eleven Inception modules, a side branch for training, and one linear layer.

    Args:
        num_classes: of the last layer.
        aux_logits: whether there is a side branch.
        transform_input: take images normalised by ImageNet's mean and deviation, as the published
            weights want it.
        init_weights: truncated normal numbers of deviation 0.1 for the weights.
        dropout: before the last layer.

    Returns:
        [N, num_classes]; in training with a side branch, an `InceptionOutputs`.

    Shape: [N, 3, H, W] of 75 x 75 or more; made for 299 x 299.
    """

    def __init__(
        self,
        num_classes: int = 1000,
        aux_logits: bool = True,
        transform_input: bool = False,
        init_weights: bool | None = None,
        dropout: float = 0.5,
    ) -> None:
        super().__init__()
        self.aux_logits = aux_logits
        self.transform_input = transform_input
        self.Conv2d_1a_3x3 = BasicConv2d(3, 32, kernel_size=3, stride=2)
        self.Conv2d_2a_3x3 = BasicConv2d(32, 32, kernel_size=3)
        self.Conv2d_2b_3x3 = BasicConv2d(32, 64, kernel_size=3, padding=1)
        self.maxpool1 = nn.MaxPool2d(3, stride=2)
        self.Conv2d_3b_1x1 = BasicConv2d(64, 80, kernel_size=1)
        self.Conv2d_4a_3x3 = BasicConv2d(80, 192, kernel_size=3)
        self.maxpool2 = nn.MaxPool2d(3, stride=2)
        self.Mixed_5b = InceptionA(192, 32)
        self.Mixed_5c = InceptionA(256, 64)
        self.Mixed_5d = InceptionA(288, 64)
        self.Mixed_6a = InceptionB(288)
        self.Mixed_6b = InceptionC(768, 128)
        self.Mixed_6c = InceptionC(768, 160)
        self.Mixed_6d = InceptionC(768, 160)
        self.Mixed_6e = InceptionC(768, 192)
        self.AuxLogits = InceptionAux(768, num_classes) if aux_logits else None
        self.Mixed_7a = InceptionD(768)
        self.Mixed_7b = InceptionE(1280)
        self.Mixed_7c = InceptionE(2048)
        self.avgpool = nn.AdaptiveAvgPool2d((1, 1))
        self.dropout = nn.Dropout(dropout)
        self.fc = nn.Linear(2048, num_classes)
        if init_weights is None or init_weights:
            draw_weights(self, 0.1)

    def forward(self, x: Tensor) -> Tensor | InceptionOutputs:
        x = rescaled(x) if self.transform_input else x
        x = self.maxpool1(self.Conv2d_2b_3x3(self.Conv2d_2a_3x3(self.Conv2d_1a_3x3(x))))
        x = self.maxpool2(self.Conv2d_4a_3x3(self.Conv2d_3b_1x1(x)))
        x = self.Mixed_6a(self.Mixed_5d(self.Mixed_5c(self.Mixed_5b(x))))
        x = self.Mixed_6e(self.Mixed_6d(self.Mixed_6c(self.Mixed_6b(x))))
        aux = self.AuxLogits(x) if self.AuxLogits is not None and self.training else None
        x = self.Mixed_7c(self.Mixed_7b(self.Mixed_7a(x)))
        out: Tensor = self.fc(self.dropout(self.avgpool(x)).flatten(1))
        if self.training and self.aux_logits:
            return InceptionOutputs(out, aux)
        return out


def inception_v3(*, weights: object = None, progress: bool = True, **options: Any) -> Inception3:
    """Return Inception v3: 27,161,264 parameters, of which 3,326,696 in its side branch.

    For the published weights: `inception_v3(transform_input=True)`.
    """
    untrained("inception_v3", weights)
    return Inception3(**options)
