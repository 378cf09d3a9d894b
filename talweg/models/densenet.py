"""DenseNet (Huang et al., 2017, "Densely connected convolutional networks"): every layer of a block
reads what all layers before it gave."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

from talweg import nn
from talweg.engine.tensor import Tensor
from talweg.models.parts import cat, untrained
from talweg.nn import functional as F
from talweg.nn import init
from talweg.nn.state_dict import Incompatible


class _DenseLayer(nn.Module):
    """A 1 x 1 and a 3 x 3 convolution, each behind its normalisation."""

    def __init__(self, inputs: int, growth: int, bottleneck: int, dropout: float) -> None:
        super().__init__()
        self.norm1 = nn.BatchNorm2d(inputs)
        self.relu1 = nn.ReLU(inplace=True)
        self.conv1 = nn.Conv2d(inputs, bottleneck * growth, 1, bias=False)
        self.norm2 = nn.BatchNorm2d(bottleneck * growth)
        self.relu2 = nn.ReLU(inplace=True)
        self.conv2 = nn.Conv2d(bottleneck * growth, growth, 3, padding=1, bias=False)
        self.drop_rate = dropout

    def forward(self, features: Sequence[Tensor]) -> Tensor:
        x = self.conv1(self.relu1(self.norm1(cat(list(features), 1))))
        out: Tensor = self.conv2(self.relu2(self.norm2(x)))
        return F.dropout(out, self.drop_rate, self.training) if self.drop_rate else out


class _DenseBlock(nn.ModuleDict):
    """Layers that add `growth` channels each."""

    def __init__(
        self, count: int, inputs: int, bottleneck: int, growth: int, dropout: float
    ) -> None:
        super().__init__()
        for i in range(count):
            layer = _DenseLayer(inputs + i * growth, growth, bottleneck, dropout)
            self.add_module(f"denselayer{i + 1}", layer)

    def forward(self, first: Tensor) -> Tensor:
        features = [first]
        for layer in self.values():
            features.append(layer(features))
        out: Tensor = cat(features, 1)
        return out


def _transition(inputs: int, outputs: int) -> nn.Sequential:
    """Fewer channels and half the size, between two blocks."""
    layers = nn.Sequential()
    layers.add_module("norm", nn.BatchNorm2d(inputs))
    layers.add_module("relu", nn.ReLU(inplace=True))
    layers.add_module("conv", nn.Conv2d(inputs, outputs, 1, bias=False))
    layers.add_module("pool", nn.AvgPool2d(2, stride=2))
    return layers


class DenseNet(nn.Module):
    """A stem, four dense blocks with transitions between them, and one linear layer.

    Args:
        growth_rate: channels that each layer adds.
        block_config: layers in each block.
        num_init_features: channels behind the stem.
        bn_size: the 1 x 1 convolution of a layer gives bn_size * growth_rate channels.
        drop_rate: dropout behind each layer.
        num_classes: of the last layer.
        memory_efficient: accepted; what is computed again in the backward pass is not chosen here.

    Shape: [N, 3, H, W] to [N, num_classes], for images of 29 x 29 or more; made for 224 x 224.
    """

    def __init__(
        self,
        growth_rate: int = 32,
        block_config: Sequence[int] = (6, 12, 24, 16),
        num_init_features: int = 64,
        bn_size: int = 4,
        drop_rate: float = 0,
        num_classes: int = 1000,
        memory_efficient: bool = False,
    ) -> None:
        super().__init__()
        channels = num_init_features
        features = nn.Sequential()
        features.add_module("conv0", nn.Conv2d(3, channels, 7, stride=2, padding=3, bias=False))
        features.add_module("norm0", nn.BatchNorm2d(channels))
        features.add_module("relu0", nn.ReLU(inplace=True))
        features.add_module("pool0", nn.MaxPool2d(3, stride=2, padding=1))
        for i, count in enumerate(block_config, 1):
            block = _DenseBlock(count, channels, bn_size, growth_rate, drop_rate)
            features.add_module(f"denseblock{i}", block)
            channels += count * growth_rate
            if i < len(block_config):
                features.add_module(f"transition{i}", _transition(channels, channels // 2))
                channels //= 2
        features.add_module("norm5", nn.BatchNorm2d(channels))
        self.features = features
        self.classifier = nn.Linear(channels, num_classes)
        for m in self.modules():
            if isinstance(m, nn.Conv2d):
                init.kaiming_normal_(m.weight)
        if self.classifier.bias is not None:
            init.zeros_(self.classifier.bias)

    def forward(self, x: Tensor) -> Tensor:
        x = F.relu(self.features(x))
        out: Tensor = self.classifier(F.adaptive_avg_pool2d(x, (1, 1)).flatten(1))
        return out

    def load_state_dict(
        self, state_dict: Mapping[str, Any], strict: bool = True, assign: bool = False
    ) -> Incompatible:
        """Load a state_dict; the published files' old names ("norm.1" for "norm1") are known."""
        old = re.compile(r"(denselayer\d+\.(?:norm|relu|conv))\.([12]\.)")
        named = {old.sub(r"\1\2", k): v for k, v in state_dict.items()}
        return super().load_state_dict(named, strict, assign)


def _densenet(
    depth: int, growth: int, blocks: Sequence[int], first: int, weights: object, options: Any
) -> DenseNet:
    untrained(f"densenet{depth}", weights)
    return DenseNet(growth, blocks, first, **options)


def densenet121(*, weights: object = None, progress: bool = True, **options: Any) -> DenseNet:
    """Return DenseNet-121: 7,978,856 parameters."""
    return _densenet(121, 32, (6, 12, 24, 16), 64, weights, options)


def densenet161(*, weights: object = None, progress: bool = True, **options: Any) -> DenseNet:
    """Return DenseNet-161: 28,681,000 parameters."""
    return _densenet(161, 48, (6, 12, 36, 24), 96, weights, options)


def densenet169(*, weights: object = None, progress: bool = True, **options: Any) -> DenseNet:
    """Return DenseNet-169: 14,149,480 parameters."""
    return _densenet(169, 32, (6, 12, 32, 32), 64, weights, options)


def densenet201(*, weights: object = None, progress: bool = True, **options: Any) -> DenseNet:
    """Return DenseNet-201: 20,013,928 parameters."""
    return _densenet(201, 32, (6, 12, 48, 32), 64, weights, options)
