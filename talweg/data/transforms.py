"""Pictures changed on their way into a network, with the names of `torchvision.transforms`.

Chance comes from the generator that `manual_seed` sets.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from talweg.base.errors import InvalidValue
from talweg.data import pictures
from talweg.data.chance import numbers, seed_from
from talweg.data.pictures import InterpolationMode
from talweg.engine.creation import as_tensor
from talweg.engine.tensor import Tensor

BILINEAR = InterpolationMode.BILINEAR
NEAREST = InterpolationMode.NEAREST


def _chance() -> np.random.Generator:
    return numbers(seed_from(None))


class _Transform:
    """Base of what is called with one picture."""

    def __init__(self, **settings: Any) -> None:
        vars(self).update(settings)

    def __call__(self, img: Any) -> Any:
        """Return the picture, changed."""
        return self.forward(img)

    def forward(self, img: Any) -> Any:
        """Return the picture, changed."""
        raise NotImplementedError(f"{type(self).__name__} defines neither forward nor __call__")

    def __repr__(self) -> str:
        parts = (f"{k}={v}" for k, v in vars(self).items() if not callable(v))
        return f"{type(self).__name__}({', '.join(parts)})"


class Compose:
    """One transform after the other.

    Args:
        transforms: what to call, in order.

    >>> t = tw.data.transforms
    >>> t.Compose([t.ToTensor(), t.Normalize((0.5,), (0.5,))])(np.full((2, 2), 255, np.uint8))
    tensor([[[1., 1.],
             [1., 1.]]])
    """

    def __init__(self, transforms: Sequence[Callable[[Any], Any]]) -> None:
        self.transforms = transforms

    def __call__(self, img: Any) -> Any:
        for t in self.transforms:
            img = t(img)
        return img

    def __repr__(self) -> str:
        return "\n".join(["Compose(", *(f"    {t}" for t in self.transforms), ")"])


class ToTensor(_Transform):
    """A picture as a float32 Tensor [channels, height, width] from 0 to 1; see `to_tensor`."""

    def __init__(self) -> None:
        super().__init__()

    def forward(self, img: Any) -> Tensor:
        return pictures.to_tensor(img)


class PILToTensor(ToTensor):
    """A picture as a Tensor [channels, height, width] of the pixels as they are."""

    def forward(self, img: Any) -> Tensor:
        return pictures.pil_to_tensor(img)


class ToPILImage(_Transform):
    """A Tensor or an array as a Pillow image; see `to_pil_image`."""

    mode: str | None

    def __init__(self, mode: str | None = None) -> None:
        super().__init__(mode=mode)

    def forward(self, img: Any) -> Any:
        return pictures.to_pil_image(img, self.mode)


class ConvertImageDtype(_Transform):
    """A Tensor of pixels in another dtype; see `convert_image_dtype`."""

    def __init__(self, dtype: Any) -> None:
        super().__init__(dtype=dtype)
        self.dtype = dtype

    def forward(self, img: Any) -> Tensor:
        return pictures.convert_image_dtype(img, self.dtype)


class Normalize(_Transform):
    """(pixel - mean) / std, channel by channel."""

    def __init__(self, mean: Sequence[float], std: Sequence[float], inplace: bool = False) -> None:
        super().__init__()
        self.mean, self.std, self.inplace = mean, std, inplace

    def forward(self, img: Any) -> Tensor:
        return pictures.normalize(img, self.mean, self.std, self.inplace)


class Resize(_Transform):
    """The picture in another size: [height, width], or the length of the shorter edge."""

    def __init__(
        self,
        size: Any,
        interpolation: Any = BILINEAR,
        max_size: int | None = None,
        antialias: bool | None = True,
    ) -> None:
        super().__init__()
        self.size, self.interpolation = size, interpolation
        self.max_size, self.antialias = max_size, antialias

    def forward(self, img: Any) -> Any:
        how = (self.interpolation, self.max_size, self.antialias)
        return pictures.resize(img, self.size, *how)


class CenterCrop(_Transform):
    """The middle of the picture."""

    def __init__(self, size: Any) -> None:
        super().__init__()
        self.size = size

    def forward(self, img: Any) -> Any:
        return pictures.center_crop(img, self.size)


class FiveCrop(CenterCrop):
    """The four corners and the middle."""

    def forward(self, img: Any) -> Any:
        return pictures.five_crop(img, self.size)


class Pad(_Transform):
    """The picture with borders; see `pad`."""

    def __init__(self, padding: Any, fill: Any = 0, padding_mode: str = "constant") -> None:
        super().__init__()
        self.padding, self.fill, self.padding_mode = padding, fill, padding_mode

    def forward(self, img: Any) -> Any:
        return pictures.pad(img, self.padding, self.fill, self.padding_mode)


class Lambda(_Transform):
    """Any function of the picture."""

    def __init__(self, lambd: Callable[[Any], Any]) -> None:
        super().__init__()
        self.lambd = lambd

    def forward(self, img: Any) -> Any:
        return self.lambd(img)


class Grayscale(_Transform):
    """The picture without colour."""

    def __init__(self, num_output_channels: int = 1) -> None:
        super().__init__()
        self.num_output_channels = num_output_channels

    def forward(self, img: Any) -> Any:
        return pictures.rgb_to_grayscale(img, self.num_output_channels)


class RandomCrop(_Transform):
    """A part of the picture at a place drawn by chance.

    Args:
        size: [height, width], or one number for both.
        padding: borders given first, see `pad`.
        pad_if_needed: make small pictures as large as `size`.
        fill, padding_mode: of the borders.
    """

    def __init__(
        self,
        size: Any,
        padding: Any = None,
        pad_if_needed: bool = False,
        fill: Any = 0,
        padding_mode: str = "constant",
    ) -> None:
        super().__init__()
        self.size = (size, size) if isinstance(size, int) else tuple(size)
        self.padding, self.pad_if_needed = padding, pad_if_needed
        self.fill, self.padding_mode = fill, padding_mode

    @staticmethod
    def get_params(img: Any, output_size: Sequence[int]) -> tuple[int, int, int, int]:
        """Return top, left, height and width of a part drawn by chance."""
        width, height = pictures.get_image_size(img)
        rows, columns = output_size
        if height < rows or width < columns:
            raise InvalidValue(
                f"Required crop size {(rows, columns)} is larger than input image size "
                f"{(height, width)}"
            )
        chance = _chance()
        top = int(chance.integers(0, height - rows + 1))
        return top, int(chance.integers(0, width - columns + 1)), rows, columns

    def forward(self, img: Any) -> Any:
        how = (self.fill, self.padding_mode)
        if self.padding is not None:
            img = pictures.pad(img, self.padding, *how)
        if self.pad_if_needed:
            width, height = pictures.get_image_size(img)
            if width < self.size[1]:
                img = pictures.pad(img, [self.size[1] - width, 0], *how)
            if height < self.size[0]:
                img = pictures.pad(img, [0, self.size[0] - height], *how)
        return pictures.crop(img, *self.get_params(img, self.size))


class _Maybe(_Transform):
    def __init__(self, p: float = 0.5) -> None:
        super().__init__()
        self.p = p

    def changed(self, img: Any) -> Any:
        """Return the picture as it is with probability p."""
        raise NotImplementedError

    def forward(self, img: Any) -> Any:
        return self.changed(img) if _chance().random() < self.p else img


class RandomHorizontalFlip(_Maybe):
    """The picture mirrored, left for right, with probability p."""

    def changed(self, img: Any) -> Any:
        return pictures.hflip(img)


class RandomVerticalFlip(_Maybe):
    """The picture mirrored, top for bottom, with probability p."""

    def changed(self, img: Any) -> Any:
        return pictures.vflip(img)


class RandomInvert(_Maybe):
    """The negative, with probability p."""

    def changed(self, img: Any) -> Any:
        return pictures.invert(img)


class RandomGrayscale(_Maybe):
    """The picture without colour, with probability p; the number of channels stays."""

    def __init__(self, p: float = 0.1) -> None:
        super().__init__(p)

    def changed(self, img: Any) -> Any:
        return pictures.rgb_to_grayscale(img, pictures.get_dimensions(img)[0])


class RandomResizedCrop(_Transform):
    """A part of the picture, of an area and a shape drawn by chance, in one size.

    Args:
        size: [height, width], or one number for both.
        scale: the least and the largest share of the area.
        ratio: the least and the largest width over height.
        interpolation, antialias: see `resize`.
    """

    def __init__(
        self,
        size: Any,
        scale: Sequence[float] = (0.08, 1.0),
        ratio: Sequence[float] = (3.0 / 4.0, 4.0 / 3.0),
        interpolation: Any = BILINEAR,
        antialias: bool | None = True,
    ) -> None:
        super().__init__()
        self.size = (size, size) if isinstance(size, int) else tuple(size)
        self.scale, self.ratio = scale, ratio
        self.interpolation, self.antialias = interpolation, antialias

    @staticmethod
    def get_params(
        img: Any, scale: Sequence[float], ratio: Sequence[float]
    ) -> tuple[int, int, int, int]:
        """Return top, left, height and width of a part drawn by chance."""
        width, height = pictures.get_image_size(img)
        chance = _chance()
        low, high = math.log(ratio[0]), math.log(ratio[1])
        for _ in range(10):
            area = height * width * chance.uniform(scale[0], scale[1])
            shape = math.exp(chance.uniform(low, high))
            w, h = round(math.sqrt(area * shape)), round(math.sqrt(area / shape))
            if 0 < w <= width and 0 < h <= height:
                top = int(chance.integers(0, height - h + 1))
                return top, int(chance.integers(0, width - w + 1)), h, w
        w, h = width, height
        if width / height < min(ratio):
            h = round(w / min(ratio))
        elif width / height > max(ratio):
            w = round(h * max(ratio))
        return (height - h) // 2, (width - w) // 2, h, w

    def forward(self, img: Any) -> Any:
        place = self.get_params(img, self.scale, self.ratio)
        how = (self.interpolation, self.antialias)
        return pictures.resized_crop(img, *place, self.size, *how)


class RandomRotation(_Transform):
    """The picture turned by an angle drawn by chance.

    Args:
        degrees: the least and the largest angle, or one number for both sides.
        interpolation, expand, center, fill: see `rotate`.
    """

    def __init__(
        self,
        degrees: Any,
        interpolation: Any = NEAREST,
        expand: bool = False,
        center: Sequence[int] | None = None,
        fill: Any = 0,
    ) -> None:
        super().__init__()
        one = isinstance(degrees, int | float)
        self.degrees = (-float(degrees), float(degrees)) if one else tuple(degrees)
        self.interpolation, self.expand, self.center = interpolation, expand, center
        self.fill = fill

    def forward(self, img: Any) -> Any:
        angle = float(_chance().uniform(*self.degrees))
        how = (self.interpolation, self.expand, self.center, self.fill)
        return pictures.rotate(img, angle, *how)


def _span(value: Any, name: str, middle: float = 1.0, most: float = math.inf) -> Any:
    if isinstance(value, int | float):
        if value < 0:
            raise InvalidValue(f"If {name} is a single number, it must be non negative.")
        low = middle - value if name == "hue" else max(middle - value, 0)
        value = (low, middle + value)
    if not -0.5 <= value[0] <= value[1] <= most:
        raise InvalidValue(f"{name} values should be between two numbers in order, got {value}")
    return None if value[0] == value[1] == middle else tuple(value)


class ColorJitter(_Transform):
    """Brightness, contrast, saturation and hue changed by chance, in an order drawn by chance.

    Args:
        brightness, contrast, saturation: how far the factor may be from 1; or its range.
        hue: how far along the circle of hues, at most 0.5; or its range.
    """

    def __init__(
        self, brightness: Any = 0, contrast: Any = 0, saturation: Any = 0, hue: Any = 0
    ) -> None:
        super().__init__()
        self.brightness = _span(brightness, "brightness")
        self.contrast = _span(contrast, "contrast")
        self.saturation = _span(saturation, "saturation")
        self.hue = _span(hue, "hue", 0.0, 0.5)

    def forward(self, img: Any) -> Any:
        chance = _chance()
        steps = [
            (pictures.adjust_brightness, self.brightness),
            (pictures.adjust_contrast, self.contrast),
            (pictures.adjust_saturation, self.saturation),
            (pictures.adjust_hue, self.hue),
        ]
        for index in chance.permutation(4):
            change, span = steps[index]
            if span is not None:
                img = change(img, float(chance.uniform(*span)))
        return img


class GaussianBlur(_Transform):
    """The picture blurred, by a width drawn by chance.

    Args:
        kernel_size: odd: [width, height] of what is averaged, or one number for both.
        sigma: the range that the width of the bell curve is drawn from, or one number.
    """

    def __init__(self, kernel_size: Any, sigma: Any = (0.1, 2.0)) -> None:
        super().__init__()
        self.kernel_size = kernel_size
        self.sigma = (sigma, sigma) if isinstance(sigma, int | float) else tuple(sigma)
        if not 0 < self.sigma[0] <= self.sigma[-1]:
            raise InvalidValue(f"sigma values should be positive and in order, got {sigma}")

    def forward(self, img: Any) -> Any:
        width = float(_chance().uniform(self.sigma[0], self.sigma[-1]))
        return pictures.gaussian_blur(img, self.kernel_size, [width, width])


class RandomErasing(_Maybe):
    """A rectangle of a Tensor overwritten, with probability p (Zhong et al., 2020).

    Args:
        p: probability.
        scale: the least and the largest share of the area.
        ratio: the least and the largest height over width.
        value: what is written: a number, one for each channel, or "random".
        inplace: write into the Tensor.
    """

    def __init__(
        self,
        p: float = 0.5,
        scale: Sequence[float] = (0.02, 0.33),
        ratio: Sequence[float] = (0.3, 3.3),
        value: Any = 0,
        inplace: bool = False,
    ) -> None:
        super().__init__(p)
        self.scale, self.ratio, self.value, self.inplace = scale, ratio, value, inplace

    def changed(self, img: Any) -> Any:
        chance = _chance()
        channels, height, width = img.shape[-3:]
        for _ in range(10):
            area = height * width * chance.uniform(self.scale[0], self.scale[1])
            shape = math.exp(chance.uniform(math.log(self.ratio[0]), math.log(self.ratio[1])))
            h, w = round(math.sqrt(area * shape)), round(math.sqrt(area / shape))
            if not (h < height and w < width):
                continue
            i, j = (int(chance.integers(0, n + 1)) for n in (height - h, width - w))
            if self.value == "random":
                v: Any = as_tensor(chance.standard_normal((channels, h, w)).astype(np.float32))
            else:
                v = as_tensor(self.value, img.dtype).reshape(-1, 1, 1)
            return pictures.erase(img, i, j, h, w, v, self.inplace)
        return img


class RandomApply(_Transform):
    """All of some transforms with probability p, or none."""

    def __init__(self, transforms: Sequence[Callable[[Any], Any]], p: float = 0.5) -> None:
        super().__init__()
        self.transforms, self.p = transforms, p

    def forward(self, img: Any) -> Any:
        return Compose(self.transforms)(img) if _chance().random() < self.p else img


class RandomChoice(_Transform):
    """One of some transforms, drawn by chance.

    Args:
        transforms: what to choose from.
        p: their weights; equal by default.
    """

    def __init__(
        self, transforms: Sequence[Callable[[Any], Any]], p: Sequence[float] | None = None
    ) -> None:
        super().__init__()
        self.transforms, self.p = transforms, p

    def forward(self, img: Any) -> Any:
        weights = None if self.p is None else np.asarray(self.p) / sum(self.p)
        index = int(_chance().choice(len(self.transforms), p=weights))
        return self.transforms[index](img)


class RandomOrder(RandomApply):
    """All of some transforms, in an order drawn by chance."""

    def __init__(self, transforms: Sequence[Callable[[Any], Any]]) -> None:
        super().__init__(transforms, 1.0)

    def forward(self, img: Any) -> Any:
        for index in _chance().permutation(len(self.transforms)):
            img = self.transforms[int(index)](img)
        return img
