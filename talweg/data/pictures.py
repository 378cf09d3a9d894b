"""Pictures changed: functions on Pillow images, and on Tensors [..., channels, height, width].

The names are those of `torchvision.transforms.functional`.
"""

from __future__ import annotations

from collections.abc import Sequence
from enum import Enum
from types import ModuleType
from typing import Any

import numpy as np

from talweg.base.errors import InvalidValue
from talweg.base.extras import require
from talweg.engine.creation import from_numpy, tensor
from talweg.engine.record import lift
from talweg.engine.tensor import Tensor, values
from talweg.fn.resize import interpolate as interpolate_nodes

_interpolate = lift(interpolate_nodes)
_MODES = {"1": np.uint8, "I": np.int32, "I;16": np.uint16, "F": np.float32}


class InterpolationMode(Enum):
    """How values between pixels are found."""

    NEAREST = "nearest"
    NEAREST_EXACT = "nearest-exact"
    BILINEAR = "bilinear"
    BICUBIC = "bicubic"
    BOX = "box"
    HAMMING = "hamming"
    LANCZOS = "lanczos"


_NUMBERS = {
    "nearest": 0,
    "nearest-exact": 0,
    "lanczos": 1,
    "bilinear": 2,
    "bicubic": 3,
    "box": 4,
    "hamming": 5,
}


def pillow(part: str = "Image") -> ModuleType:
    """Return a module of Pillow."""
    return require(f"PIL.{part}", extra="image")


def _is_image(x: Any) -> bool:
    return hasattr(x, "mode") and hasattr(x, "convert")


def _number(mode: Any) -> int:
    return _NUMBERS[mode.value] if isinstance(mode, InterpolationMode) else int(mode)


def _name(mode: Any) -> str:
    names = {0: "nearest", 2: "bilinear", 3: "bicubic"}
    return str(mode.value) if isinstance(mode, InterpolationMode) else names[int(mode)]


def get_image_size(img: Any) -> list[int]:
    """Return [width, height]."""
    return list(img.size) if _is_image(img) else [img.shape[-1], img.shape[-2]]


def get_dimensions(img: Any) -> list[int]:
    """Return [channels, height, width]."""
    if _is_image(img):
        return [len(img.getbands()), img.height, img.width]
    return [img.shape[-3] if img.ndim > 2 else 1, *img.shape[-2:]]


def pil_to_tensor(pic: Any) -> Tensor:
    """Return the pixels of a Pillow image, of shape [channels, height, width] and their dtype."""
    array = np.array(pic, _MODES.get(pic.mode), copy=True)
    planes = array[None] if array.ndim == 2 else np.moveaxis(array, 2, 0)
    return from_numpy(np.ascontiguousarray(planes))


def to_tensor(pic: Any) -> Tensor:
    """Return an image as a Tensor of shape [channels, height, width].

    Pixels of 8 bits become float32 from 0 to 1; other values keep their dtype.

    Args:
        pic: a Pillow image, or an array of shape [height, width] or [height, width, channels].

    Raises:
        InvalidValue: for arrays of other ranks and for other types.
    """
    if isinstance(pic, np.ndarray):
        if pic.ndim not in (2, 3):
            raise InvalidValue(f"pic should be 2/3 dimensional. Got {pic.ndim} dimensions.")
        array = pic
    elif _is_image(pic):
        array = np.asarray(pic, _MODES.get(pic.mode))
        if pic.mode == "1":
            array = array * np.uint8(255)
    else:
        raise InvalidValue(f"pic should be PIL Image or ndarray. Got {type(pic)}")
    planes = array[None] if array.ndim == 2 else np.moveaxis(array, 2, 0)
    if planes.dtype == np.uint8:
        return from_numpy(planes.astype(np.float32, order="C") / np.float32(255))
    return from_numpy(np.ascontiguousarray(planes))


def to_pil_image(pic: Any, mode: str | None = None) -> Any:
    """Return a Tensor [channels, height, width] or an array [height, width, channels] as an image.

    Floating values from 0 to 1 become 8 bits.

    Args:
        pic: of 1, 3 or 4 channels; without that dimension, of one.
        mode: Pillow's name of the kind of image; by default that of the channels.
    """
    if isinstance(pic, Tensor):
        array = np.asarray(pic.detach())
        array = array[None] if array.ndim == 2 else array
        if array.dtype.kind == "f" and mode != "F":
            array = (array * 255).astype(np.uint8)
        array = np.moveaxis(array, 0, 2)
    else:
        array = pic[..., None] if pic.ndim == 2 else pic
    if array.ndim != 3 or array.shape[2] > 4:
        raise InvalidValue(f"pic should be 2/3 dimensional of at most 4 channels, got {pic.shape}")
    made = pillow().fromarray(array[..., 0] if array.shape[2] == 1 else array)
    return made if mode in (None, made.mode) else made.convert(mode)


def normalize(
    tensor: Tensor, mean: Sequence[float], std: Sequence[float], inplace: bool = False
) -> Tensor:
    """Return (tensor - mean) / std, channel by channel.

    Args:
        tensor: floating, [..., channels, height, width].
        mean, std: one number for each channel, or one for all.
        inplace: write into `tensor`.

    Raises:
        InvalidValue: for other dtypes, and where std is 0.
    """
    if not getattr(tensor, "is_floating_point", bool)():
        raise InvalidValue("normalize needs a floating Tensor; give ToTensor before it")
    kind = tensor.dtype.compute
    m, s = (np.asarray(v, kind).reshape(-1, 1, 1) for v in (mean, std))
    if (s == 0).any():
        raise InvalidValue(f"std evaluated to zero after conversion to {tensor.dtype}")
    if not tensor.requires_grad and not inplace:
        return _of(tensor, (values(tensor) - m) / s)
    out: Tensor = (tensor - from_numpy(m)) / from_numpy(s)
    return tensor.copy_(out) if inplace else out


def _of(like: Tensor, array: np.ndarray) -> Tensor:
    return tensor(array, like.dtype)


def _target(img: Any, size: Any, max_size: int | None) -> tuple[int, int]:
    """Return height and width."""
    if not isinstance(size, int) and len(size) == 2:
        return int(size[0]), int(size[1])
    edge = size if isinstance(size, int) else size[0]
    width, height = get_image_size(img)
    short, long = sorted((width, height))
    new_short, new_long = edge, int(edge * long / short)
    if max_size is not None and new_long > max_size:
        new_short, new_long = int(max_size * new_short / new_long), max_size
    return (new_long, new_short) if width <= height else (new_short, new_long)


def resize(
    img: Any,
    size: Any,
    interpolation: Any = InterpolationMode.BILINEAR,
    max_size: int | None = None,
    antialias: bool | None = True,
) -> Any:
    """Return the picture in another size.

    Args:
        img: Pillow image or Tensor.
        size: [height, width], or the length of the shorter edge.
        interpolation: an InterpolationMode, or Pillow's number.
        max_size: of the longer edge, where `size` is that of the shorter one.
        antialias: of Tensors, whether smaller pictures average what they leave out.
    """
    height, width = _target(img, size, max_size)
    if _is_image(img):
        return img.resize((width, height), _number(interpolation))
    if img.shape[-2:] == (height, width):
        return img
    how = _name(interpolation)
    smooth = how in ("bilinear", "bicubic")
    batch = img.reshape(-1, *img.shape[-3:]) if img.ndim > 3 else img.unsqueeze(0)
    wide = batch if img.is_floating_point() else batch.float()
    options = {"align_corners": False, "antialias": bool(antialias)} if smooth else {}
    made = _interpolate(wide, (height, width), mode=how, **options)
    made = made.reshape(*img.shape[:-2], height, width)
    if img.is_floating_point():
        return made
    return made.round().clamp(0, 255).to(img.dtype)


def crop(img: Any, top: int, left: int, height: int, width: int) -> Any:
    """Return a part of the picture; what lies outside it is black."""
    if _is_image(img):
        return img.crop((left, top, left + width, top + height))
    rows, columns = img.shape[-2:]
    if top < 0 or left < 0 or top + height > rows or left + width > columns:
        edges = (-left, -top, left + width - columns, top + height - rows)
        img = pad(img, [max(e, 0) for e in edges])
        top, left = max(top, 0), max(left, 0)
    return img[..., top : top + height, left : left + width]


def center_crop(img: Any, output_size: Any) -> Any:
    """Return the middle of the picture, of [height, width]; smaller pictures are padded."""
    height, width = _two(output_size)
    columns, rows = get_image_size(img)
    if width > columns or height > rows:
        left, top = max(width - columns, 0) // 2, max(height - rows, 0) // 2
        right, bottom = max(width - columns + 1, 0) // 2, max(height - rows + 1, 0) // 2
        img = pad(img, [left, top, right, bottom])
        columns, rows = get_image_size(img)
    return crop(img, round((rows - height) / 2), round((columns - width) / 2), height, width)


def resized_crop(
    img: Any,
    top: int,
    left: int,
    height: int,
    width: int,
    size: Any,
    interpolation: Any = InterpolationMode.BILINEAR,
    antialias: bool | None = True,
) -> Any:
    """Return a part of the picture in another size."""
    part = crop(img, top, left, height, width)
    return resize(part, size, interpolation, antialias=antialias)


def _two(size: Any) -> tuple[int, int]:
    if isinstance(size, int):
        return size, size
    return (int(size[0]), int(size[-1]))


def hflip(img: Any) -> Any:
    """Return the picture mirrored, left for right."""
    return img.transpose(0) if _is_image(img) else img.flip(-1)


def vflip(img: Any) -> Any:
    """Return the picture mirrored, top for bottom."""
    return img.transpose(1) if _is_image(img) else img.flip(-2)


def _borders(padding: Any) -> tuple[int, int, int, int]:
    """Return left, top, right and bottom."""
    if isinstance(padding, int):
        return (padding,) * 4
    p = [int(v) for v in padding]
    if len(p) == 1:
        return (p[0],) * 4
    if len(p) == 2:
        return p[0], p[1], p[0], p[1]
    if len(p) == 4:
        return p[0], p[1], p[2], p[3]
    raise InvalidValue(f"Padding must be an int or a 1, 2, or 4 element tuple, not {len(p)}")


def pad(img: Any, padding: Any, fill: Any = 0, padding_mode: str = "constant") -> Any:
    """Return the picture with borders.

    Args:
        img: Pillow image or Tensor.
        padding: width of all borders; [sides, top and bottom]; or left, top, right, bottom.
        fill: value of constant borders.
        padding_mode: "constant", "edge", "reflect" or "symmetric".
    """
    left, top, right, bottom = _borders(padding)
    if _is_image(img) and padding_mode == "constant":
        return pillow("ImageOps").expand(img, (left, top, right, bottom), fill or 0)
    is_image = _is_image(img)
    array = np.asarray(img) if is_image else values(img)
    borders: Any = [(top, bottom), (left, right)]
    front = array.ndim - 2
    borders = [*borders, *[(0, 0)] * front] if is_image else [*[(0, 0)] * front, *borders]
    constant = {"constant_values": fill} if padding_mode == "constant" else {}
    made = np.pad(array, borders, mode=padding_mode, **constant)  # type: ignore[call-overload]
    return pillow().fromarray(made) if is_image else _of(img, made)


def rotate(
    img: Any,
    angle: float,
    interpolation: Any = InterpolationMode.NEAREST,
    expand: bool = False,
    center: Sequence[int] | None = None,
    fill: Any = None,
) -> Any:
    """Return the picture turned, by degrees against the clock.

    Args:
        img: Pillow image or Tensor of 1, 3 or 4 channels of 8 bits.
        angle: in degrees.
        interpolation: an InterpolationMode, or Pillow's number.
        expand: make room for the corners.
        center: [x, y]; the middle by default.
        fill: value of what has no pixel.
    """
    if _is_image(img):
        many = len(img.getbands())
        value = fill
        if isinstance(fill, list | tuple):
            value = tuple(fill) if many > 1 else fill[0]
        elif isinstance(fill, int | float) and many > 1:
            value = (int(fill),) * many
        return img.rotate(angle, _number(interpolation), expand, center, fillcolor=value)
    planes = values(img)
    turned = [
        np.asarray(
            pillow()
            .fromarray(plane.astype(np.float32))
            .rotate(angle, _number(interpolation), expand, center, fillcolor=fill)
        )
        for plane in planes.reshape(-1, *planes.shape[-2:])
    ]
    whole = np.stack(turned).reshape(*planes.shape[:-2], *turned[0].shape)
    return _of(img, whole)


def _enhanced(kind: str, img: Any, factor: float) -> Any:
    if factor < 0:
        raise InvalidValue(f"the factor must not be negative, got {factor}")
    if _is_image(img):
        return getattr(pillow("ImageEnhance"), kind)(img).enhance(factor)
    top = 1.0 if img.is_floating_point() else 255.0
    if kind == "Brightness":
        other: Any = 0.0
    elif kind == "Contrast":
        other = rgb_to_grayscale(img).float().mean((-3, -2, -1), keepdim=True)
    else:
        other = rgb_to_grayscale(img).float()
    made = (img.float() * factor + other * (1 - factor)).clamp(0, top)
    return made.to(img.dtype)


def adjust_brightness(img: Any, brightness_factor: float) -> Any:
    """Return the picture darker (below 1) or brighter (above)."""
    return _enhanced("Brightness", img, brightness_factor)


def adjust_contrast(img: Any, contrast_factor: float) -> Any:
    """Return the picture with less contrast (below 1) or more (above)."""
    return _enhanced("Contrast", img, contrast_factor)


def adjust_saturation(img: Any, saturation_factor: float) -> Any:
    """Return the picture with less colour (below 1; 0 is grey) or more (above)."""
    return _enhanced("Color", img, saturation_factor)


def adjust_hue(img: Any, hue_factor: float) -> Any:
    """Return the picture with its colours moved along the circle of hues, by -0.5 to 0.5 of it."""
    if not -0.5 <= hue_factor <= 0.5:
        raise InvalidValue(f"hue_factor ({hue_factor}) is not in [-0.5, 0.5].")
    if not _is_image(img):
        return to_tensor(adjust_hue(to_pil_image(img), hue_factor)).to(img.dtype)
    if img.mode in ("1", "L", "I", "F"):
        return img
    h, s, v = img.convert("HSV").split()
    moved = (np.asarray(h).astype(np.int32) + int(hue_factor * 255)) % 256
    hue = pillow().fromarray(moved.astype(np.uint8))
    return pillow().merge("HSV", (hue, s, v)).convert(img.mode)


def adjust_gamma(img: Any, gamma: float, gain: float = 1) -> Any:
    """Return gain * value ** gamma, for values from 0 to 1."""
    array = np.asarray(img).astype(np.float64) / 255 if _is_image(img) else values(img)
    made = np.clip(gain * array**gamma, 0, 1)
    if _is_image(img):
        return pillow().fromarray((made * 255 + 0.5).astype(np.uint8))
    return _of(img, made)


def rgb_to_grayscale(img: Any, num_output_channels: int = 1) -> Any:
    """Return the picture without colour: 0.2989 red + 0.587 green + 0.114 blue."""
    if _is_image(img):
        grey = img.convert("L")
        return grey if num_output_channels == 1 else pillow().merge("RGB", (grey,) * 3)
    if img.shape[-3] == 1:
        made = img
    else:
        r, g, b = (img[..., i : i + 1, :, :] for i in range(3))
        made = (r * 0.2989 + g * 0.587 + b * 0.114).to(img.dtype)
    return made if num_output_channels == 1 else made.expand(*made.shape[:-3], 3, *made.shape[-2:])


def erase(img: Tensor, i: int, j: int, h: int, w: int, v: Any, inplace: bool = False) -> Tensor:
    """Return the picture with the rectangle at row i and column j overwritten."""
    made = img if inplace else img.clone()
    made[..., i : i + h, j : j + w] = v
    return made


def invert(img: Any) -> Any:
    """Return the negative."""
    if _is_image(img):
        return pillow("ImageOps").invert(img)
    return (1.0 if img.is_floating_point() else 255) - img


def gaussian_blur(img: Any, kernel_size: Any, sigma: Any = None) -> Any:
    """Return the picture blurred: weighted sums over [width, height] pixels, mirrored at borders.

    Args:
        img: a Pillow image or a Tensor.
        kernel_size: odd: [width, height], or one number for both.
        sigma: how wide the bell curve is, alike; by default as fits the sizes.

    Raises:
        InvalidValue: for an even size or a sigma that is not positive, and for a picture too small
            to be mirrored.
    """
    sizes = _two(kernel_size)
    if sigma is None:
        sigma = [0.15 * n + 0.35 for n in sizes]
    widths = (sigma, sigma) if isinstance(sigma, int | float) else tuple(sigma) * (2 // len(sigma))
    if any(n < 1 or n % 2 == 0 for n in sizes) or min(widths) <= 0:
        raise InvalidValue(f"sizes are odd and sigmas positive, got {sizes} and {widths}")
    if _is_image(img):
        blurred = gaussian_blur(_channels_first(img), sizes, widths)
        array = values(blurred if blurred.ndim == 2 else blurred.permute(1, 2, 0))
        return pillow().fromarray(np.ascontiguousarray(array)).convert(img.mode)
    x = img if img.is_floating_point() else img.float()
    for axis, n, width in ((-1, sizes[0], widths[0]), (-2, sizes[1], widths[1])):
        x = _weighted(x, axis, n, width)
    return x if img.is_floating_point() else x.round().to(img.dtype)


def _channels_first(img: Any) -> Tensor:
    pixels = from_numpy(np.array(img))
    return pixels if pixels.ndim == 2 else pixels.permute(2, 0, 1)


def _weighted(x: Tensor, axis: int, size: int, sigma: float) -> Tensor:
    count, reach = x.shape[axis], size // 2
    if reach >= count:
        raise InvalidValue(f"{size} weights do not fit {count} pixels mirrored at the border")
    steps = np.arange(-reach, reach + 1)
    weights = np.exp(-0.5 * (steps / sigma) ** 2)
    places = np.abs(np.arange(-reach, count + reach))
    places = np.minimum(places, 2 * (count - 1) - places)
    wider = x.index_select(axis, from_numpy(places))
    made: Tensor = wider.narrow(axis, 0, count) * float(weights[0] / weights.sum())
    for i in range(1, size):
        made = made + wider.narrow(axis, i, count) * float(weights[i] / weights.sum())
    return made


def five_crop(img: Any, size: Any) -> tuple[Any, ...]:
    """Return the four corners and the middle, each of [height, width]."""
    height, width = _two(size)
    columns, rows = get_image_size(img)
    corners = [(0, 0), (0, columns - width), (rows - height, 0), (rows - height, columns - width)]
    parts = [crop(img, top, left, height, width) for top, left in corners]
    return (*parts, center_crop(img, size))


def convert_image_dtype(image: Tensor, dtype: Any) -> Tensor:
    """Return a Tensor of pixels in another dtype: integers fill their range, floats 0 to 1."""
    floating = image.is_floating_point()
    made: Tensor = image
    if floating and not dtype.is_floating_point:
        made = (image * (2**dtype.bits - 1e-3)).floor()
    made = made.to(dtype)
    if dtype.is_floating_point and not floating:
        made = made / (2**image.dtype.bits - 1)
    return made
