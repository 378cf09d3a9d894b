"""ResNet (He et al., 2016, "Deep residual learning for image recognition"), with the stride in the
3 x 3 convolution of a bottleneck; ResNeXt (Xie et al., 2017) and Wide ResNet (Zagoruyko and
Komodakis, 2016) are the same network with other widths."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from talweg import nn
from talweg.base.errors import InvalidValue
from talweg.engine.tensor import Tensor
from talweg.models.parts import Layer, untrained
from talweg.nn import init


class BasicBlock(nn.Module):
    """Two 3 x 3 convolutions beside a shortcut.

    Args:
        inplanes, planes: channels before and behind.
        stride: of the first convolution.
        downsample: what the shortcut does where sizes differ.
        groups, base_width, dilation: only 1, 64 and 1.
        norm_layer: makes the normalisations.

    Shape: [N, inplanes, H, W] to [N, planes, H / stride, W / stride].
    """

    expansion = 1

    def __init__(
        self,
        inplanes: int,
        planes: int,
        stride: int = 1,
        downsample: nn.Module | None = None,
        groups: int = 1,
        base_width: int = 64,
        dilation: int = 1,
        norm_layer: Layer = nn.BatchNorm2d,
    ) -> None:
        super().__init__()
        if groups != 1 or base_width != 64 or dilation != 1:
            raise InvalidValue("BasicBlock: only groups=1, base_width=64 and dilation=1")
        self.conv1 = nn.Conv2d(inplanes, planes, 3, stride, padding=1, bias=False)
        self.bn1 = norm_layer(planes)
        self.relu = nn.ReLU(inplace=True)
        self.conv2 = nn.Conv2d(planes, planes, 3, padding=1, bias=False)
        self.bn2 = norm_layer(planes)
        self.downsample = downsample
        self.stride = stride

    def forward(self, x: Tensor) -> Tensor:
        shortcut = x if self.downsample is None else self.downsample(x)
        out = self.relu(self.bn1(self.conv1(x)))
        result: Tensor = self.relu(self.bn2(self.conv2(out)) + shortcut)
        return result


class Bottleneck(nn.Module):
    """A 1 x 1, a 3 x 3 and a 1 x 1 convolution beside a shortcut; see `BasicBlock`.

    Args:
        groups: of the 3 x 3 convolution.
        base_width: its channels are planes * base_width / 64 * groups.
        dilation: of the 3 x 3 convolution.

    Shape: [N, inplanes, H, W] to [N, 4 * planes, H / stride, W / stride].
    """

    expansion = 4

    def __init__(
        self,
        inplanes: int,
        planes: int,
        stride: int = 1,
        downsample: nn.Module | None = None,
        groups: int = 1,
        base_width: int = 64,
        dilation: int = 1,
        norm_layer: Layer = nn.BatchNorm2d,
    ) -> None:
        super().__init__()
        width = int(planes * (base_width / 64.0)) * groups
        self.conv1 = nn.Conv2d(inplanes, width, 1, bias=False)
        self.bn1 = norm_layer(width)
        self.conv2 = nn.Conv2d(
            width, width, 3, stride, padding=dilation, dilation=dilation, groups=groups, bias=False
        )
        self.bn2 = norm_layer(width)
        self.conv3 = nn.Conv2d(width, planes * self.expansion, 1, bias=False)
        self.bn3 = norm_layer(planes * self.expansion)
        self.relu = nn.ReLU(inplace=True)
        self.downsample = downsample
        self.stride = stride

    def forward(self, x: Tensor) -> Tensor:
        shortcut = x if self.downsample is None else self.downsample(x)
        out = self.relu(self.bn1(self.conv1(x)))
        out = self.relu(self.bn2(self.conv2(out)))
        result: Tensor = self.relu(self.bn3(self.conv3(out)) + shortcut)
        return result


class ResNet(nn.Module):
    """A stem, four stages of residual blocks, and one linear layer on the mean over all places.

    Args:
        block: `BasicBlock` or `Bottleneck`.
        layers: blocks in each of the four stages.
        num_classes: of the last layer.
        zero_init_residual: let each block begin as its shortcut alone.
        groups, width_per_group: of the 3 x 3 convolutions of bottlenecks.
        replace_stride_with_dilation: for the last three stages, whether they keep the size and
            widen their kernels instead.
        norm_layer: makes the normalisations.

    Shape: [N, 3, H, W] to [N, num_classes]; made for 224 x 224.
    """

    def __init__(
        self,
        block: type[BasicBlock | Bottleneck],
        layers: Sequence[int],
        num_classes: int = 1000,
        zero_init_residual: bool = False,
        groups: int = 1,
        width_per_group: int = 64,
        replace_stride_with_dilation: Sequence[bool] | None = None,
        norm_layer: Layer | None = None,
    ) -> None:
        super().__init__()
        dilate = replace_stride_with_dilation or (False, False, False)
        if len(dilate) != 3:
            raise InvalidValue(f"replace_stride_with_dilation needs 3 bools, got {dilate}")
        self._norm_layer = norm_layer or nn.BatchNorm2d
        self.inplanes, self.dilation = 64, 1
        self.groups, self.base_width = groups, width_per_group
        self.conv1 = nn.Conv2d(3, 64, 7, stride=2, padding=3, bias=False)
        self.bn1 = self._norm_layer(64)
        self.relu = nn.ReLU(inplace=True)
        self.maxpool = nn.MaxPool2d(3, stride=2, padding=1)
        self.layer1 = self._stage(block, 64, layers[0], 1, False)
        self.layer2 = self._stage(block, 128, layers[1], 2, dilate[0])
        self.layer3 = self._stage(block, 256, layers[2], 2, dilate[1])
        self.layer4 = self._stage(block, 512, layers[3], 2, dilate[2])
        self.avgpool = nn.AdaptiveAvgPool2d((1, 1))
        self.fc = nn.Linear(512 * block.expansion, num_classes)
        for m in self.modules():
            if isinstance(m, nn.Conv2d):
                init.kaiming_normal_(m.weight, mode="fan_out", nonlinearity="relu")
            elif zero_init_residual and isinstance(m, BasicBlock | Bottleneck):
                last = m.bn3 if isinstance(m, Bottleneck) else m.bn2
                init.zeros_(last.weight)

    def _stage(
        self, block: type[BasicBlock | Bottleneck], planes: int, count: int, stride: int, wide: bool
    ) -> nn.Sequential:
        """Return the blocks of one stage; the first one changes size and channels."""
        before = self.dilation
        if wide:
            self.dilation, stride = self.dilation * stride, 1
        outputs = planes * block.expansion
        shortcut = None
        if stride != 1 or self.inplanes != outputs:
            shortcut = nn.Sequential(
                nn.Conv2d(self.inplanes, outputs, 1, stride, bias=False), self._norm_layer(outputs)
            )
        same: Any = {"groups": self.groups, "base_width": self.base_width}
        norm = self._norm_layer
        first = block(
            self.inplanes, planes, stride, shortcut, **same, dilation=before, norm_layer=norm
        )
        self.inplanes = outputs
        rest = [
            block(outputs, planes, **same, dilation=self.dilation, norm_layer=norm)
            for _ in range(count - 1)
        ]
        return nn.Sequential(first, *rest)

    def forward(self, x: Tensor) -> Tensor:
        x = self.maxpool(self.relu(self.bn1(self.conv1(x))))
        x = self.layer4(self.layer3(self.layer2(self.layer1(x))))
        out: Tensor = self.fc(self.avgpool(x).flatten(1))
        return out


_LAYERS: dict[int, tuple[type[BasicBlock | Bottleneck], tuple[int, ...]]] = {
    18: (BasicBlock, (2, 2, 2, 2)),
    34: (BasicBlock, (3, 4, 6, 3)),
    50: (Bottleneck, (3, 4, 6, 3)),
    101: (Bottleneck, (3, 4, 23, 3)),
    152: (Bottleneck, (3, 8, 36, 3)),
}


def _resnet(name: str, depth: int, weights: object, options: dict[str, Any]) -> ResNet:
    untrained(name, weights)
    block, layers = _LAYERS[depth]
    return ResNet(block, layers, **options)


def resnet18(*, weights: object = None, progress: bool = True, **options: Any) -> ResNet:
    """Return ResNet-18: 11,689,512 parameters."""
    return _resnet("resnet18", 18, weights, options)


def resnet34(*, weights: object = None, progress: bool = True, **options: Any) -> ResNet:
    """Return ResNet-34: 21,797,672 parameters."""
    return _resnet("resnet34", 34, weights, options)


def resnet50(*, weights: object = None, progress: bool = True, **options: Any) -> ResNet:
    """Return ResNet-50: 25,557,032 parameters."""
    return _resnet("resnet50", 50, weights, options)


def resnet101(*, weights: object = None, progress: bool = True, **options: Any) -> ResNet:
    """Return ResNet-101: 44,549,160 parameters."""
    return _resnet("resnet101", 101, weights, options)


def resnet152(*, weights: object = None, progress: bool = True, **options: Any) -> ResNet:
    """Return ResNet-152: 60,192,808 parameters."""
    return _resnet("resnet152", 152, weights, options)


def resnext50_32x4d(*, weights: object = None, progress: bool = True, **options: Any) -> ResNet:
    """Return ResNeXt-50, 32 groups of 4 channels: 25,028,904 parameters."""
    return _resnet("resnext50_32x4d", 50, weights, {"groups": 32, "width_per_group": 4, **options})


def resnext101_32x8d(*, weights: object = None, progress: bool = True, **options: Any) -> ResNet:
    """Return ResNeXt-101, 32 groups of 8 channels: 88,791,336 parameters."""
    return _resnet(
        "resnext101_32x8d", 101, weights, {"groups": 32, "width_per_group": 8, **options}
    )


def resnext101_64x4d(*, weights: object = None, progress: bool = True, **options: Any) -> ResNet:
    """Return ResNeXt-101, 64 groups of 4 channels: 83,455,272 parameters."""
    return _resnet(
        "resnext101_64x4d", 101, weights, {"groups": 64, "width_per_group": 4, **options}
    )


def wide_resnet50_2(*, weights: object = None, progress: bool = True, **options: Any) -> ResNet:
    """Return ResNet-50 with bottlenecks twice as wide: 68,883,240 parameters."""
    return _resnet("wide_resnet50_2", 50, weights, {"width_per_group": 128, **options})


def wide_resnet101_2(*, weights: object = None, progress: bool = True, **options: Any) -> ResNet:
    """Return ResNet-101 with bottlenecks twice as wide: 126,886,696 parameters."""
    return _resnet("wide_resnet101_2", 101, weights, {"width_per_group": 128, **options})
