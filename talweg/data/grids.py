"""Many pictures as one, with the names of `torchvision.utils`."""

from __future__ import annotations

import math
import os
from collections.abc import Sequence
from typing import IO, Any

import numpy as np

from talweg.base.errors import InvalidValue
from talweg.data.pictures import pillow
from talweg.engine.creation import from_numpy
from talweg.engine.tensor import Tensor


def make_grid(
    tensor: Tensor | Sequence[Tensor],
    nrow: int = 8,
    padding: int = 2,
    normalize: bool = False,
    value_range: tuple[float, float] | None = None,
    scale_each: bool = False,
    pad_value: float = 0.0,
) -> Tensor:
    """Return pictures beside each other, as one of shape [channels, height, width].

    Args:
        tensor: [N, channels, height, width], one picture, or a list of pictures of one size;
            pictures of one channel get three.
        nrow: how many stand in a row.
        padding: pixels between them.
        normalize: move the values into the range from 0 to 1.
        value_range: what becomes 0 and 1; by default the least and the largest value.
        scale_each: find that for each picture alone.
        pad_value: of the pixels between.

    >>> tw.data.make_grid(tw.zeros(3, 1, 4, 4), nrow=2).shape
    (3, 14, 14)
    """
    listed = [t.detach() for t in tensor] if not isinstance(tensor, Tensor) else tensor.detach()
    array = (
        np.stack([np.asarray(t) for t in listed])
        if isinstance(listed, list)
        else (np.asarray(listed))
    )
    if array.ndim == 2:
        array = array[None]
    if array.ndim == 3:
        array = array[None]
    if array.ndim != 4:
        raise InvalidValue(f"make_grid needs pictures of 2 to 4 dimensions, got {array.shape}")
    if array.shape[1] == 1:
        array = np.repeat(array, 3, 1)
    if normalize:
        axes = (1, 2, 3) if scale_each else None
        array = _normalized(array, value_range, axes)
    if len(array) == 1:
        return from_numpy(np.ascontiguousarray(array[0]))
    columns = min(nrow, len(array))
    rows = math.ceil(len(array) / columns)
    height, width = array.shape[2] + padding, array.shape[3] + padding
    shape = (array.shape[1], height * rows + padding, width * columns + padding)
    grid = np.full(shape, pad_value, array.dtype)
    for k, picture in enumerate(array):
        top, left = k // columns * height + padding, k % columns * width + padding
        grid[:, top : top + height - padding, left : left + width - padding] = picture
    return from_numpy(grid)


def _normalized(array: np.ndarray, span: Any, axes: Any) -> np.ndarray:
    low, high = span or (array.min(axes, keepdims=True), array.max(axes, keepdims=True))
    scaled: np.ndarray = (np.clip(array, low, high) - low) / np.maximum(high - low, 1e-5)
    return scaled


def save_image(
    tensor: Tensor | Sequence[Tensor],
    fp: str | os.PathLike[str] | IO[bytes],
    format: str | None = None,
    **kwargs: Any,
) -> None:
    """Write pictures with values from 0 to 1 into one image file.

    Args:
        tensor: one picture or many, see `make_grid`.
        fp: the file's name, or an open binary file.
        format: Pillow's name of the format; by default that of the file's name.
        kwargs: those of `make_grid`.

    Raises:
        MissingExtra: when Pillow is not installed.
    """
    grid = np.asarray(make_grid(tensor, **kwargs))
    pixels = np.clip(grid * 255 + 0.5, 0, 255).astype(np.uint8)
    pillow().fromarray(np.moveaxis(pixels, 0, 2)).save(fp, format=format)
