"""torchvision's names of trained weights, `ResNet18_Weights.DEFAULT`, and what goes with them."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from enum import Enum
from fnmatch import fnmatch
from types import ModuleType
from typing import Any, NamedTuple

from talweg import models
from talweg.base.dtypes import float32
from talweg.base.errors import InvalidValue
from talweg.data.pictures import (
    InterpolationMode,
    center_crop,
    convert_image_dtype,
    normalize,
    pil_to_tensor,
    resize,
)
from talweg.engine.tensor import Tensor
from talweg.frontends.torchvision.networks import NETWORKS, trained_file
from talweg.nn.state import load

BILINEAR, BICUBIC = InterpolationMode.BILINEAR, InterpolationMode.BICUBIC


class ImageClassification:
    """Turns pictures into what a trained network expects: resized, cropped, normalised.

    Args:
        crop_size, resize_size: edges, in pixels.
        mean, std: of the channels.
        interpolation, antialias: how to resize.

    Calling it takes a Pillow image or a uint8 Tensor, and returns a float32 Tensor.
    """

    def __init__(
        self,
        *,
        crop_size: int,
        resize_size: int = 256,
        mean: tuple[float, ...] = (0.485, 0.456, 0.406),
        std: tuple[float, ...] = (0.229, 0.224, 0.225),
        interpolation: InterpolationMode = BILINEAR,
        antialias: bool | None = True,
    ) -> None:
        self.crop_size = [crop_size]
        self.resize_size = [resize_size]
        self.mean = list(mean)
        self.std = list(std)
        self.interpolation = interpolation
        self.antialias = antialias

    def __call__(self, img: Any) -> Tensor:
        small = resize(img, self.resize_size, self.interpolation, antialias=self.antialias)
        small = center_crop(small, self.crop_size)
        found = small if isinstance(small, Tensor) else pil_to_tensor(small)
        made: Tensor = normalize(convert_image_dtype(found, float32), self.mean, self.std)
        return made

    def __repr__(self) -> str:
        return (
            f"ImageClassification(\n    crop_size={self.crop_size}\n"
            f"    resize_size={self.resize_size}\n    mean={self.mean}\n    std={self.std}\n"
            f"    interpolation={self.interpolation}\n)"
        )


class Weights(NamedTuple):
    """Trained weights: the network's name, how pictures are prepared, and what is known of them."""

    network: str
    transforms: Callable[[], ImageClassification]
    meta: dict[str, Any]


class WeightsEnum(Enum):
    """The trained weights of a network. Nothing is downloaded: files lie in PyTorch's folder."""

    @property
    def transforms(self) -> Callable[[], ImageClassification]:
        """What makes the function that prepares pictures."""
        made: Callable[[], ImageClassification] = self.value.transforms
        return made

    @property
    def meta(self) -> dict[str, Any]:
        """What is known about the weights; names of classes are not."""
        known: dict[str, Any] = self.value.meta
        return known

    def get_state_dict(self, *args: Any, **options: Any) -> Any:
        """Load the weights.

        Raises:
            MissingFile: when there is no file; the message names the place.
        """
        return load(trained_file(self.value.network))

    @classmethod
    def verify(cls, obj: Any) -> Any:
        """Return the weights that an object or a name stands for."""
        if obj is None or isinstance(obj, cls):
            return obj
        if isinstance(obj, str):
            return cls[obj.removeprefix(f"{cls.__name__}.")]
        raise InvalidValue(f"invalid weights: expected {cls.__name__}, got {type(obj).__name__}")

    def __repr__(self) -> str:
        return f"{type(self).__name__}.{self.name}"


# Networks whose class of weights is not its name with capitals at its parts.
_SPELT = {
    "alexnet": "AlexNet",
    "googlenet": "GoogLeNet",
    "inception_v3": "Inception_V3",
    "mobilenet_v2": "MobileNet_V2",
    "mobilenet_v3_large": "MobileNet_V3_Large",
    "mobilenet_v3_small": "MobileNet_V3_Small",
    "squeezenet1_0": "SqueezeNet1_0",
    "squeezenet1_1": "SqueezeNet1_1",
    **{f"densenet{n}": f"DenseNet{n}" for n in (121, 161, 169, 201)},
    **{f"efficientnet_b{n}": f"EfficientNet_B{n}" for n in range(8)},
    **{f"resnet{n}": f"ResNet{n}" for n in (18, 34, 50, 101, 152)},
    "resnext50_32x4d": "ResNeXt50_32X4D",
    "resnext101_32x8d": "ResNeXt101_32X8D",
    "resnext101_64x4d": "ResNeXt101_64X4D",
    **{f"vgg{n}": f"VGG{n}" for n in (11, 13, 16, 19)},
    **{f"vgg{n}_bn": f"VGG{n}_BN" for n in (11, 13, 16, 19)},
    **{f"vit_{size}": f"ViT_{size.title()}" for size in ("b_16", "b_32", "l_16", "l_32")},
    "wide_resnet50_2": "Wide_ResNet50_2",
    "wide_resnet101_2": "Wide_ResNet101_2",
}
# Those that were trained anew, with pictures resized to 232.
_TWICE = {
    *("mobilenet_v2", "mobilenet_v3_large", "resnet50", "resnet101", "resnet152"),
    *("resnext50_32x4d", "resnext101_32x8d", "wide_resnet50_2", "wide_resnet101_2"),
    "efficientnet_b1",
}
# Crop, edge after resizing, interpolation, where they are not 224, 256 and straight lines.
_SIZES: dict[str, tuple[int, int, InterpolationMode]] = {
    "inception_v3": (299, 342, BILINEAR),
    "resnext101_64x4d": (224, 232, BILINEAR),
    "vit_l_16": (224, 242, BILINEAR),
    "efficientnet_b0": (224, 256, BICUBIC),
    "efficientnet_b1": (240, 256, BICUBIC),
    "efficientnet_b2": (288, 288, BICUBIC),
    "efficientnet_b3": (300, 320, BICUBIC),
    "efficientnet_b4": (380, 384, BICUBIC),
    "efficientnet_b5": (456, 456, BICUBIC),
    "efficientnet_b6": (528, 528, BICUBIC),
    "efficientnet_b7": (600, 600, BICUBIC),
}


def _prepared(crop: int, edge: int, how: InterpolationMode) -> Callable[[], ImageClassification]:
    def make() -> ImageClassification:
        return ImageClassification(crop_size=crop, resize_size=edge, interpolation=how)

    return make


def _weights_of(network: str) -> Any:
    crop, edge, how = _SIZES.get(network, (224, 256, BILINEAR))
    first = Weights(network, _prepared(crop, edge, how), {"min_size": (1, 1), "version": 1})
    members = {"IMAGENET1K_V1": first}
    if network in _TWICE:
        sizes = (240, 255, BILINEAR) if network == "efficientnet_b1" else (224, 232, BILINEAR)
        members["IMAGENET1K_V2"] = Weights(
            network, _prepared(*sizes), {"min_size": (1, 1), "version": 2}
        )
    members["DEFAULT"] = members[list(members)[-1]]
    make: Any = WeightsEnum
    return make(f"{_SPELT[network]}_Weights", members)


OF_NETWORK: dict[str, Any] = {network: _weights_of(network) for network in _SPELT}


def list_models(
    module: ModuleType | None = None,
    include: str | Iterable[str] | None = None,
    exclude: str | Iterable[str] | None = None,
) -> list[str]:
    """Return the names of the networks that there are.

    Args:
        module: accepted.
        include, exclude: patterns such as "resnet*".
    """
    wanted = [include] if isinstance(include, str) else list(include or ["*"])
    unwanted = [exclude] if isinstance(exclude, str) else list(exclude or [])
    return sorted(
        name
        for name in OF_NETWORK
        if any(fnmatch(name, p) for p in wanted) and not any(fnmatch(name, p) for p in unwanted)
    )


def get_model_builder(name: str) -> Callable[..., Any]:
    """Return the function that builds a network.

    Raises:
        InvalidValue: for a name that there is not.
    """
    found = NETWORKS.get(name.lower()) if name.lower() in models.__all__ else None
    if found is None:
        raise InvalidValue(f"Unknown model {name}")
    built: Callable[..., Any] = found
    return built


def get_model(name: str, **config: Any) -> Any:
    """Build a network by its name: `get_model("resnet18", weights=None)`."""
    return get_model_builder(name)(**config)


def get_model_weights(name: Callable[..., Any] | str) -> Any:
    """Return the class of a network's trained weights."""
    key = name if isinstance(name, str) else name.__name__
    if key not in OF_NETWORK:
        raise InvalidValue(f"Unknown model {key}")
    return OF_NETWORK[key]


def get_weight(name: str) -> Any:
    """Return trained weights by a name such as "ResNet50_Weights.IMAGENET1K_V2"."""
    kind, _, member = name.partition(".")
    for found in OF_NETWORK.values():
        if found.__name__ == kind:
            return found[member]
    raise InvalidValue(f"The weight enum '{kind}' is not known")


MODELS: dict[str, Any] = {
    "Weights": Weights,
    "WeightsEnum": WeightsEnum,
    "get_model": get_model,
    "get_model_builder": get_model_builder,
    "get_model_weights": get_model_weights,
    "get_weight": get_weight,
    "list_models": list_models,
    **{found.__name__: found for found in OF_NETWORK.values()},
}
