"""torchvision's module paths: transforms, data sets from local files, and pictures in grids."""

from __future__ import annotations

from typing import Any

from talweg.base.facade import build
from talweg.data.images import read_image
from talweg.frontends.torchvision import networks, sets, weights

__version__ = "0.28.0+talweg"

_SETS: dict[str, Any] = {
    name: getattr(sets, name)
    for name in (
        *("VisionDataset", "MNIST", "FashionMNIST", "KMNIST", "CIFAR10", "CIFAR100"),
        *("DatasetFolder", "ImageFolder", "FakeData"),
    )
}
_MODELS = {
    **{n: n for n in ("densenet", "efficientnet", "inception", "resnet")},
    "squeezenet": "squeezenet",
    "vgg": "vgg",
    "mobilenet": "mobilenet",
    "mobilenetv2": "mobilenet",
    "mobilenetv3": "mobilenet",
}


def _nothing(*args: Any, **options: Any) -> None:
    """Accept anything and do nothing."""


build(
    __name__,
    {
        "": (),
        "datasets": (),
        "io": (),
        "models": ("talweg.models",),
        **{f"models.{here}": (f"talweg.models.{there}",) for here, there in _MODELS.items()},
        "transforms": ("talweg.data.transforms", "talweg.data.pictures"),
        "transforms.functional": ("talweg.data.pictures",),
        "transforms.transforms": ("talweg.data.transforms",),
        "transforms.v2": ("talweg.data.transforms",),
        "transforms.v2.functional": ("talweg.data.pictures",),
        "utils": ("talweg.data.grids",),
    },
    {
        "": {"disable_beta_transforms_warning": _nothing, "set_image_backend": _nothing},
        "models": {**networks.NETWORKS, **weights.MODELS},
        **{
            f"models.{name}": {
                n: f
                for n, f in {**networks.NETWORKS, **weights.MODELS}.items()
                if n.lower().startswith(name[:6])
            }
            for name in _MODELS
        },
        "transforms._presets": {"ImageClassification": weights.ImageClassification},
        "datasets": _SETS,
        "datasets.cifar": _SETS,
        "datasets.folder": {**_SETS, "default_loader": read_image},
        "datasets.mnist": _SETS,
        "datasets.vision": _SETS,
    },
)
