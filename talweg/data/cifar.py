"""CIFAR-10 and CIFAR-100 from their files of the Python version, as they are published.

A. Krizhevsky, "Learning multiple layers of features from tiny images" (2009). The files hold
pickles of bytes, numbers and arrays; nothing else is read from them.
"""

from __future__ import annotations

import io
import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

from talweg.base.errors import DataError, MissingFile
from talweg.data.dataset import Dataset
from talweg.data.fetch import fetch, unpack
from talweg.data.images import to_array


class _Plain(pickle.Unpickler):
    def find_class(self, module: str, name: str) -> Any:
        allowed = {"_reconstruct", "ndarray", "dtype", "_frombuffer", "encode"}
        if module.split(".")[0] in ("numpy", "_codecs") and name in allowed:
            return super().find_class(module, name)
        raise pickle.UnpicklingError(f"it holds {module}.{name}")


def read_batch(path: Path) -> dict[str, Any]:
    """Read one file of a CIFAR set.

    Raises:
        MissingFile, DataError: when it is not there, or not such a file.
    """
    try:
        found = _Plain(io.BytesIO(path.read_bytes()), encoding="latin1").load()
    except FileNotFoundError:
        raise MissingFile(f"{path}: there is no such file") from None
    except (pickle.UnpicklingError, EOFError, ValueError, IndexError, KeyError) as error:
        raise DataError(f"{path}: not a file of the CIFAR sets ({error})") from None
    if not isinstance(found, dict):
        raise DataError(f"{path}: not a file of the CIFAR sets: it holds {type(found).__name__}")
    return {_text(k): v for k, v in found.items()}


def _text(name: Any) -> str:
    return name.decode() if isinstance(name, bytes) else str(name)


class CIFAR10(Dataset[tuple[Any, int]]):
    """Colour images of 32 by 32 in 10 classes: 50,000 for training, 10,000 for testing.

    Args:
        root: the folder that holds `cifar-10-batches-py`.
        train: the training images, or the test images.
        transform: called with the image, a uint8 array of shape (32, 32, 3). By default `to_array`,
            which gives a float32 array of shape (3, 32, 32) with values from 0 to 1.
        target_transform: called with the label, an int.
        download: when the folder is not there, fetch the archive into `root` and unpack it; see
            `data.fetch`.

    `data` holds all images (uint8, [N, 32, 32, 3]), `targets` the labels, `classes` the names.

    Raises:
        DataError: when a file is missing or damaged.
        MissingExtra: when it must be fetched, and pooch is not installed.
    """

    folder = "cifar-10-batches-py"
    sha256 = "6d958be074577803d12ecdefd02955f39262c83c16fe9348329d7fe0b5c001ce"
    archive = "cifar-10-python.tar.gz"
    home = "https://www.cs.toronto.edu/~kriz/"
    training: ClassVar[tuple[str, ...]] = tuple(f"data_batch_{i}" for i in range(1, 6))
    testing: ClassVar[tuple[str, ...]] = ("test_batch",)
    names: ClassVar[tuple[str, str]] = ("batches.meta", "label_names")

    def __init__(
        self,
        root: str | Path,
        train: bool = True,
        transform: Callable[[np.ndarray], Any] | None = None,
        target_transform: Callable[[int], Any] | None = None,
        download: bool = False,
    ) -> None:
        self.train = train
        self.transform = transform or to_array
        self.target_transform = target_transform
        folder = Path(root) / self.folder
        if download and not folder.is_dir():
            unpack(fetch(self.home + self.archive, self.sha256, root), root)
        if not folder.is_dir():
            raise MissingFile(
                f"{folder}: there is no such folder; unpack {self.archive} into {root}, or say "
                "download=True"
            )
        parts = [read_batch(folder / name) for name in (self.training if train else self.testing)]
        rows = [np.asarray(part["data"], np.uint8).reshape(-1, 3, 32, 32) for part in parts]
        self.data = np.ascontiguousarray(np.concatenate(rows).transpose(0, 2, 3, 1))
        self.targets: list[int] = []
        for part in parts:
            self.targets += [int(n) for n in part.get("labels", part.get("fine_labels", []))]
        if len(self.targets) != len(self.data):
            raise DataError(f"{folder}: {len(self.data)} images and {len(self.targets)} labels")
        self.classes = [_text(n) for n in read_batch(folder / self.names[0])[self.names[1]]]
        self.class_to_idx = {name: i for i, name in enumerate(self.classes)}

    def __getitem__(self, index: int) -> tuple[Any, Any]:
        label = self.targets[index]
        image = self.transform(self.data[index])
        return image, label if self.target_transform is None else self.target_transform(label)

    def __len__(self) -> int:
        return len(self.data)


class CIFAR100(CIFAR10):
    """Colour images of 32 by 32 in 100 classes; the arguments are those of `CIFAR10`.

    `root` is the folder that holds `cifar-100-python`.
    """

    folder = "cifar-100-python"
    archive = "cifar-100-python.tar.gz"
    sha256 = "85cd44d02ba6437773c5bbd22e183051d648de2e7d6b014e1ef29b855ba677a7"
    training = ("train",)
    testing = ("test",)
    names = ("meta", "fine_label_names")
