"""Folders of images, one sub-folder for each class."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from talweg.base.errors import DataError, InvalidValue, MissingFile
from talweg.base.extras import require
from talweg.data.dataset import Dataset

IMG_EXTENSIONS = (".jpg", ".jpeg", ".png", ".ppm", ".bmp", ".pgm", ".tif", ".tiff", ".webp")


def to_array(image: Any) -> np.ndarray:
    """Turn an image into a float32 array, channels first, with values from 0 to 1.

    Args:
        image: a uint8 array of shape (height, width) or (height, width, channels), or a Pillow
            image of 8 bits a channel.

    Returns:
        An array of shape (channels, height, width).

    >>> tw.data.to_array(np.full((2, 3), 51, np.uint8)).tolist()
    [[[0.20000000298023224, 0.20000000298023224, 0.20000000298023224],
      [0.20000000298023224, 0.20000000298023224, 0.20000000298023224]]]

    Raises:
        InvalidValue: for other dtypes and ranks.
    """
    pixels = np.asarray(image)
    if pixels.dtype != np.uint8 or pixels.ndim not in (2, 3):
        raise InvalidValue(
            "to_array needs uint8 of shape (height, width) or (height, width, channels), got "
            f"{pixels.dtype} of shape {pixels.shape}"
        )
    planes = pixels[None] if pixels.ndim == 2 else np.moveaxis(pixels, 2, 0)
    return np.ascontiguousarray(planes, dtype=np.float32) / np.float32(255)


def read_image(path: str | Path) -> Any:
    """Read an image file as a Pillow image in RGB.

    Raises:
        DataError: when the file is missing or is no image that Pillow can read.
        MissingExtra: when Pillow is not installed.
    """
    pillow = require("PIL.Image", extra="image")
    try:
        with pillow.open(path) as image:
            return image.convert("RGB")
    except FileNotFoundError:
        raise MissingFile(f"{path}: there is no such file") from None
    except (OSError, SyntaxError, ValueError, pillow.DecompressionBombError) as error:
        raise DataError(
            f"{path}: cannot be read as an image ({error}); repair the file or remove it"
        ) from error


def _classes(root: Path) -> list[str]:
    if not root.is_dir():
        raise MissingFile(f"{root}: there is no such folder; name one with a sub-folder per class")
    found = sorted(entry.name for entry in os.scandir(root) if entry.is_dir())
    if not found:
        raise DataError(f"{root}: holds no sub-folder; put the images of each class into one")
    return found


class ImageFolder(Dataset[tuple[Any, int]]):
    """Images in folders: `root/<class>/**/<name>.png` and the like.

    Args:
        root: the folder. Its sub-folders, sorted by name, are the classes 0, 1, 2 and so on.
        transform: called with the Pillow image (RGB). By default `to_array`, which gives float32
            of shape (3, height, width) with values from 0 to 1. Give one that resizes if the
            images differ in size: a batch needs one size.
        target_transform: called with the class, an int.
        loader: reads one file; `read_image` by default.
        extensions: which files are images, by the end of their names.

    `classes` holds the names, `class_to_idx` their numbers, `samples` all pairs (path, class).

    Raises:
        DataError: when the folder is missing, or a class holds no image. An image that cannot be
            read is found when it is asked for.
    """

    def __init__(
        self,
        root: str | Path,
        transform: Callable[[Any], Any] | None = None,
        target_transform: Callable[[int], Any] | None = None,
        loader: Callable[[str], Any] = read_image,
        extensions: Sequence[str] = IMG_EXTENSIONS,
    ) -> None:
        self.root = Path(root)
        self.transform = transform or to_array
        self.target_transform = target_transform
        self.loader = loader
        self.classes = _classes(self.root)
        self.class_to_idx = {name: i for i, name in enumerate(self.classes)}
        endings = tuple(e.lower() for e in extensions)
        self.samples: list[tuple[str, int]] = []
        for number, name in enumerate(self.classes):
            before = len(self.samples)
            for folder, _, files in sorted(os.walk(self.root / name, followlinks=True)):
                wanted = sorted(f for f in files if f.lower().endswith(endings))
                self.samples += [(str(Path(folder, f)), number) for f in wanted]
            if len(self.samples) == before:
                raise DataError(
                    f"{self.root / name}: holds no image ({', '.join(endings)}); "
                    "remove the folder or fill it"
                )
        self.targets = [number for _, number in self.samples]

    def __getitem__(self, index: int) -> tuple[Any, Any]:
        path, label = self.samples[index]
        image = self.transform(self.loader(path))
        return image, label if self.target_transform is None else self.target_transform(label)

    def __len__(self) -> int:
        return len(self.samples)
