"""GoogLeNet (Szegedy et al., 2015, "Going deeper with convolutions"), with batch normalisation and
3 x 3 kernels in the third branch, as the published weights have it."""

from __future__ import annotations

from typing import Any, NamedTuple

from talweg import nn
from talweg.engine.tensor import Tensor
from talweg.models.parts import cat, untrained
from talweg.nn import functional as F
from talweg.nn import init

_SCALE, _SHIFT = (0.229, 0.224, 0.225), (0.485, 0.456, 0.406)


class GoogLeNetOutputs(NamedTuple):
    """What the network gives in training: its scores and those of its two side branches."""

    logits: Tensor
    aux_logits2: Tensor | None
    aux_logits1: Tensor | None


class BasicConv2d(nn.Module):
    """A convolution without bias, its normalisation and ReLU."""

    def __init__(self, in_channels: int, out_channels: int, **options: Any) -> None:
        super().__init__()
        self.conv = nn.Conv2d(in_channels, out_channels, bias=False, **options)
        self.bn = nn.BatchNorm2d(out_channels, eps=0.001)

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = F.relu(self.bn(self.conv(x)), inplace=True)
        return out


class Inception(nn.Module):
    """Four branches side by side: 1 x 1, two deeper ones of 3 x 3, and pooling.

    Args:
        inputs: channels before.
        one: channels of the 1 x 1 branch.
        near, wide: channels before and behind the 3 x 3 kernels of the second and third branch.
        pooled: channels of the branch that pools.
    """

    def __init__(
        self, inputs: int, one: int, near: tuple[int, int], wide: tuple[int, int], pooled: int
    ) -> None:
        super().__init__()
        self.branch1 = BasicConv2d(inputs, one, kernel_size=1)
        self.branch2, self.branch3 = (
            nn.Sequential(
                BasicConv2d(inputs, few, kernel_size=1),
                BasicConv2d(few, many, kernel_size=3, padding=1),
            )
            for few, many in (near, wide)
        )
        self.branch4 = nn.Sequential(
            nn.MaxPool2d(3, stride=1, padding=1, ceil_mode=True),
            BasicConv2d(inputs, pooled, kernel_size=1),
        )

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = cat([b(x) for b in self.children()], 1)
        return out


class InceptionAux(nn.Module):
    """A side branch that gives scores from the middle of the network, for training."""

    def __init__(self, in_channels: int, num_classes: int, dropout: float = 0.7) -> None:
        super().__init__()
        self.conv = BasicConv2d(in_channels, 128, kernel_size=1)
        self.fc1 = nn.Linear(2048, 1024)
        self.fc2 = nn.Linear(1024, num_classes)
        self.dropout = nn.Dropout(dropout)

    def forward(self, x: Tensor) -> Tensor:
        x = self.conv(F.adaptive_avg_pool2d(x, (4, 4))).flatten(1)
        out: Tensor = self.fc2(self.dropout(F.relu(self.fc1(x), inplace=True)))
        return out


class GoogLeNet(nn.Module):
    """Nine Inception modules, two side branches for training, and one linear layer.

    Args:
        num_classes: of the last layer.
        aux_logits: whether there are side branches.
        transform_input: take images normalised by ImageNet's mean and deviation, as the published
            weights want it.
        init_weights: normal numbers of deviation 0.01 for the weights.
        dropout, dropout_aux: before the last layer, and in the side branches.

    Returns:
        [N, num_classes]; in training with side branches, a `GoogLeNetOutputs`.

    Shape: [N, 3, H, W]; made for 224 x 224.
    """

    def __init__(
        self,
        num_classes: int = 1000,
        aux_logits: bool = True,
        transform_input: bool = False,
        init_weights: bool | None = None,
        dropout: float = 0.2,
        dropout_aux: float = 0.7,
    ) -> None:
        super().__init__()
        self.aux_logits = aux_logits
        self.transform_input = transform_input
        self.conv1 = BasicConv2d(3, 64, kernel_size=7, stride=2, padding=3)
        self.maxpool1 = nn.MaxPool2d(3, stride=2, ceil_mode=True)
        self.conv2 = BasicConv2d(64, 64, kernel_size=1)
        self.conv3 = BasicConv2d(64, 192, kernel_size=3, padding=1)
        self.maxpool2 = nn.MaxPool2d(3, stride=2, ceil_mode=True)
        self.inception3a = Inception(192, 64, (96, 128), (16, 32), 32)
        self.inception3b = Inception(256, 128, (128, 192), (32, 96), 64)
        self.maxpool3 = nn.MaxPool2d(3, stride=2, ceil_mode=True)
        self.inception4a = Inception(480, 192, (96, 208), (16, 48), 64)
        self.inception4b = Inception(512, 160, (112, 224), (24, 64), 64)
        self.inception4c = Inception(512, 128, (128, 256), (24, 64), 64)
        self.inception4d = Inception(512, 112, (144, 288), (32, 64), 64)
        self.inception4e = Inception(528, 256, (160, 320), (32, 128), 128)
        self.maxpool4 = nn.MaxPool2d(2, stride=2, ceil_mode=True)
        self.inception5a = Inception(832, 256, (160, 320), (32, 128), 128)
        self.inception5b = Inception(832, 384, (192, 384), (48, 128), 128)
        self.aux1 = InceptionAux(512, num_classes, dropout_aux) if aux_logits else None
        self.aux2 = InceptionAux(528, num_classes, dropout_aux) if aux_logits else None
        self.avgpool = nn.AdaptiveAvgPool2d((1, 1))
        self.dropout = nn.Dropout(dropout)
        self.fc = nn.Linear(1024, num_classes)
        if init_weights is None or init_weights:
            draw_weights(self, 0.01)

    def forward(self, x: Tensor) -> Tensor | GoogLeNetOutputs:
        x = rescaled(x) if self.transform_input else x
        x = self.conv3(self.conv2(self.maxpool1(self.conv1(x))))
        x = self.inception3b(self.inception3a(self.maxpool2(x)))
        x = self.inception4a(self.maxpool3(x))
        aux1 = self.aux1(x) if self.aux1 is not None and self.training else None
        x = self.inception4d(self.inception4c(self.inception4b(x)))
        aux2 = self.aux2(x) if self.aux2 is not None and self.training else None
        x = self.maxpool4(self.inception4e(x))
        x = self.inception5b(self.inception5a(x))
        out: Tensor = self.fc(self.dropout(self.avgpool(x).flatten(1)))
        if self.training and self.aux_logits:
            return GoogLeNetOutputs(out, aux2, aux1)
        return out


def rescaled(x: Tensor) -> Tensor:
    """Turn images normalised by ImageNet's mean and deviation into ones within -1 and 1."""
    channels = [
        x[:, i : i + 1] * (scale / 0.5) + (shift - 0.5) / 0.5
        for i, (scale, shift) in enumerate(zip(_SCALE, _SHIFT, strict=True))
    ]
    out: Tensor = cat(channels, 1)
    return out


def draw_weights(model: nn.Module, deviation: float) -> None:
    """Give convolutions and linear layers truncated normal weights, norms 1 and 0.

    A layer's attribute `stddev` goes before `deviation`.
    """
    for m in model.modules():
        if isinstance(m, nn.Conv2d | nn.Linear):
            init.trunc_normal_(m.weight, 0.0, getattr(m, "stddev", deviation), -2, 2)
        elif isinstance(m, nn.BatchNorm2d) and m.weight is not None and m.bias is not None:
            init.ones_(m.weight)
            init.zeros_(m.bias)


def googlenet(*, weights: object = None, progress: bool = True, **options: Any) -> GoogLeNet:
    """Return GoogLeNet: 6,624,904 parameters, and 6,379,984 in its side branches.

    For the published weights: `googlenet(transform_input=True)`.
    """
    untrained("googlenet", weights)
    return GoogLeNet(**options)
