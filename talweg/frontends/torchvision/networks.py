"""torchvision's networks as older programs build them: `resnet18(pretrained=True)`."""

from __future__ import annotations

import functools
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

from talweg import models
from talweg.base.errors import MissingFile
from talweg.nn.state import load


def trained_file(name: str) -> Path:
    """Return the file of a network's trained weights, in the folder where PyTorch keeps them.

    Raises:
        MissingFile: when there is none; nothing is downloaded, the message names the place.
    """
    home = os.environ.get("TORCH_HOME") or os.path.join("~", ".cache", "torch")
    folder = Path(home, "hub", "checkpoints").expanduser()
    found = sorted(folder.glob(f"{name}-*.pth"))
    if not found:
        raise MissingFile(
            f"{folder / name}-*.pth: nothing is downloaded; put the file of trained weights there"
        )
    return found[-1]


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
