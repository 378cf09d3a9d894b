"""torchvision's networks as older programs build them: `resnet18(pretrained=True)`."""

from __future__ import annotations

import functools
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

from talweg import models
from talweg.base.errors import MissingFile
from talweg.data.fetch import checkpoint_folder, fetch_checkpoint
from talweg.nn.state import load

HOME = "https://download.pytorch.org/models/"
PUBLISHED = (
    "alexnet-owt-7be5be79", "densenet121-a639ec97", "densenet161-8d451a50",
    "densenet169-b2777c0a", "densenet201-c1103571", "efficientnet_b0_rwightman-7f5810bc",
    "googlenet-1378be20", "inception_v3_google-0cc3c7bd", "mobilenet_v2-b0353104",
    "mobilenet_v3_large-8738ca79", "mobilenet_v3_small-047dcff4", "resnet18-f37072fd",
    "resnet34-b627a593", "resnet50-0676ba61", "resnet101-63fe2227", "resnet152-394f9c45",
    "resnext50_32x4d-7cdf4587", "resnext101_32x8d-8ba56ff5", "squeezenet1_0-b66bff10",
    "squeezenet1_1-b8a52dc0", "vgg11-8a719046", "vgg11_bn-6002323d", "vgg13-19584684",
    "vgg13_bn-abd245e5", "vgg16-397923af", "vgg16_bn-6c64b313", "vgg19-dcbb9e9d",
    "vgg19_bn-c79401a0", "vit_b_16-c867db91", "vit_b_32-d86f8d99", "vit_l_16-852ce7e3",
    "vit_l_32-c7638314", "wide_resnet50_2-95faca4d", "wide_resnet101_2-32ee1156",
)  # fmt: skip
"""Files of weights trained on ImageNet, the first version of each."""


def trained_file(name: str) -> Path:
    """Return the file of a network's trained weights, from the folder where PyTorch keeps them.

    Raises:
        MissingFile: when there is none and it cannot be fetched; the message names the place.
        MissingExtra: when it must be fetched, and pooch is not installed.
    """
    folder = checkpoint_folder()
    named = re.compile(rf"{name}(-owt|_google|_rwightman|_lukemelas)?-\w+")
    found = sorted(p for p in folder.glob(f"{name}*.pth") if named.fullmatch(p.stem))
    if found:
        return found[-1]
    stems = [stem for stem in PUBLISHED if named.fullmatch(stem)]
    if not stems:
        raise MissingFile(
            f"{folder / name}-*.pth: the address is not known; put the file of weights there"
        )
    return fetch_checkpoint(f"{HOME}{stems[0]}.pth", folder)


def older(function: Callable[..., Any]) -> Callable[..., Any]:
    """Give a network's function `pretrained`, and weights from PyTorch's folder.

    Args:
        function: builds the network untrained.
    """
    name = function.__name__

    @functools.wraps(function)
    def build(
        pretrained: Any = False, progress: bool = True, *, weights: Any = None, **options: Any
    ) -> Any:
        network = function(**options)
        if pretrained or weights:
            network.load_state_dict(load(trained_file(name)))
        return network

    return build


NETWORKS: dict[str, Any] = {
    name: older(getattr(models, name)) if name.islower() else getattr(models, name)
    for name in models.__all__
    if callable(getattr(models, name))
}
