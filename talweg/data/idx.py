"""The idx format of the MNIST family, plain or gzip-compressed.

The format is described on the MNIST page of Y. LeCun, C. Cortes and C. Burges: two zero bytes, one
byte for the type, one for the number of dimensions, the sizes as big-endian 32-bit numbers, and the
elements in C order, big-endian.
"""

from __future__ import annotations

import gzip
import math
import struct
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

from talweg.base.errors import DataError, MissingFile
from talweg.data.dataset import Dataset
from talweg.data.fetch import Remote, fetch_all
from talweg.data.images import to_array

_TYPES = {0x08: "u1", 0x09: "i1", 0x0B: ">i2", 0x0C: ">i4", 0x0D: ">f4", 0x0E: ">f8"}


def _bytes_of(path: Path) -> bytes:
    try:
        raw = path.read_bytes()
    except OSError as error:
        raise DataError(f"{path}: cannot be read ({error.strerror or error})") from None
    if raw[:2] != b"\x1f\x8b":
        return raw
    try:
        return gzip.decompress(raw)
    except (EOFError, OSError, zlib.error) as error:
        raise DataError(
            f"{path}: the gzip data is truncated or damaged after {len(raw)} bytes on disk "
            f"({error}); fetch the file again"
        ) from None


def read_idx(path: str | Path) -> np.ndarray:
    """Read one idx file.

    Args:
        path: the file, plain or gzip-compressed (told by its first bytes, not by its name).

    Returns:
        A writable array of the file's type in the machine's byte order.

    Raises:
        DataError: when the file is missing, is not idx, or holds too few or too many bytes; the
            message names the file and the counts.
    """
    path = Path(path)
    if not path.is_file():
        raise MissingFile(f"{path}: there is no such file; name an idx file, such as train-images")
    raw = _bytes_of(path)
    if len(raw) < 4 or raw[:2] != b"\0\0" or raw[2] not in _TYPES:
        raise DataError(
            f"{path}: not an idx file: it starts with the bytes {raw[:4].hex(' ')!r}, but idx "
            "starts with 00 00, a type from 08 to 0e, and the number of dimensions"
        )
    dtype, rank = np.dtype(_TYPES[raw[2]]), raw[3]
    start = 4 + 4 * rank
    if len(raw) < start:
        raise DataError(
            f"{path}: truncated: the header of {rank} sizes needs {start} bytes, got {len(raw)}"
        )
    shape = struct.unpack(f">{rank}I", raw[4:start])
    needed = start + math.prod(shape) * dtype.itemsize
    if len(raw) != needed:
        problem = "truncated" if len(raw) < needed else "too long"
        raise DataError(
            f"{path}: {problem}: shape {shape} of {dtype.itemsize}-byte elements needs {needed} "
            f"bytes, got {len(raw)}; fetch the file again"
        )
    return np.frombuffer(raw, dtype, offset=start).reshape(shape).astype(dtype.newbyteorder("="))


def _find(root: Path, folder: str, stem: str) -> Path:
    """The file of this stem, in the root or where torchvision would have put it."""
    places = [root, root / "raw", root / folder / "raw"]
    for place in places:
        for name in (stem, f"{stem}.gz", stem.replace("-idx", ".idx")):
            if (place / name).is_file():
                return place / name
    state = "holds none" if root.is_dir() else "does not exist"
    raise DataError(
        f"{folder}: found neither {stem} nor {stem}.gz: the folder {root} {state}; download the "
        "four files into it (download=True), or name the folder that has them"
    )


_PARTS = (
    "train-images-idx3-ubyte.gz",
    "train-labels-idx1-ubyte.gz",
    "t10k-images-idx3-ubyte.gz",
    "t10k-labels-idx1-ubyte.gz",
)


def published(urls: tuple[str, ...], *sums: str) -> tuple[Remote, ...]:
    """Return the four files of a set of MNIST's kind.

    Args:
        urls: folders that they are published in.
        sums: their SHA-256: images and labels for training, images and labels for testing.
    """
    return tuple(Remote(name, sha, urls) for name, sha in zip(_PARTS, sums, strict=True))


class MNIST(Dataset[tuple[Any, int]]):
    """Handwritten digits: 60,000 images of 28 by 28 for training, 10,000 for testing.

    Y. LeCun, L. Bottou, Y. Bengio, P. Haffner, "Gradient-based learning applied to document
    recognition", Proceedings of the IEEE 86 (1998).

    Args:
        root: the folder with the four idx files, plain or `.gz` (also in `raw` below it).
        train: the training images, or the test images.
        transform: called with the image, a uint8 array of shape (28, 28). By default `to_array`,
            which gives a float32 array of shape (1, 28, 28) with values from 0 to 1.
        target_transform: called with the label, an int.
        download: fetch what is needed and not there into `root/<name of the class>/raw`; see
            `data.fetch`.

    `data` holds all images (uint8), `targets` all labels (int64), `classes` the names.

    Raises:
        DataError: when a file is missing or damaged, or images and labels do not belong together.
        MissingExtra: when a file must be fetched, and pooch is not installed.
    """

    folder = "MNIST"
    files: ClassVar[tuple[Remote, ...]] = published(
        (
            "https://ossci-datasets.s3.amazonaws.com/mnist/",
            "https://storage.googleapis.com/cvdf-datasets/mnist/",
        ),
        "440fcabf73cc546fa21475e81ea370265605f56be210a4024d2ca8f203523609",
        "3552534a0a558bbed6aed32b30c495cca23d567ec52cac8be1a0730e8010255c",
        "8d422c7b0a1c1c79245a5bcf07fe86e33eeafee792b84584aec276f5a2dbc4e6",
        "f7ae60f92e00ec6debd23a6088c31dbd2371eca3ffa0defaefb259924204aec6",
    )
    classes = tuple(str(n) for n in range(10))

    def __init__(
        self,
        root: str | Path,
        train: bool = True,
        transform: Callable[[np.ndarray], Any] | None = None,
        target_transform: Callable[[int], Any] | None = None,
        download: bool = False,
    ) -> None:
        part = "train" if train else "t10k"
        if download:
            self._download(Path(root), part)
        images = _find(Path(root), self.folder, f"{part}-images-idx3-ubyte")
        labels = _find(Path(root), self.folder, f"{part}-labels-idx1-ubyte")
        self.train = train
        self.transform = transform or to_array
        self.target_transform = target_transform
        self.data = _expect(images, read_idx(images), rank=3)
        targets = _expect(labels, read_idx(labels), rank=1)
        if len(self.data) != len(targets):
            raise DataError(
                f"{images} holds {len(self.data)} images but {labels} {len(targets)} labels"
            )
        check_labels(targets, len(self.classes), str(labels))
        self.targets = targets.astype(np.int64)

    def _download(self, root: Path, part: str) -> None:
        for file in self.files:
            if not file.name.startswith(part):
                continue
            try:
                _find(root, self.folder, file.name.removesuffix(".gz"))
            except DataError:
                fetch_all([file], root / self.folder / "raw")

    def __getitem__(self, index: int) -> tuple[Any, Any]:
        label = int(self.targets[index])
        image = self.transform(self.data[index])
        return image, label if self.target_transform is None else self.target_transform(label)

    def __len__(self) -> int:
        return len(self.data)


class FashionMNIST(MNIST):
    """Zalando's pictures of clothes, in the sizes and files of MNIST.

    H. Xiao, K. Rasul, R. Vollgraf, "Fashion-MNIST: a novel image dataset for benchmarking machine
    learning algorithms", arXiv:1708.07747. The arguments are those of `MNIST`.
    """

    folder = "FashionMNIST"
    files = published(
        ("http://fashion-mnist.s3-website.eu-central-1.amazonaws.com/",),
        "3aede38d61863908ad78613f6a32ed271626dd12800ba2636569512369268a84",
        "a04f17134ac03560a47e3764e11b92fc97de4d1bfaf8ba1a3aa29af54cc90845",
        "346e55b948d973a97e58d2351dde16a484bd415d4595297633bb08f03db6a073",
        "67da17c76eaffca5446c3361aaab5c3cd6d1c2608764d35dfb1850b086bf8dd5",
    )
    classes = (
        "T-shirt/top", "Trouser", "Pullover", "Dress", "Coat",
        "Sandal", "Shirt", "Sneaker", "Bag", "Ankle boot",
    )  # fmt: skip


def _expect(path: Path, array: np.ndarray, rank: int) -> np.ndarray:
    if array.ndim != rank or array.dtype != np.uint8:
        raise DataError(
            f"{path}: expected {rank} dimensions of uint8, got {array.dtype} of shape {array.shape}"
        )
    return array


def check_labels(labels: np.ndarray, classes: int, name: str) -> None:
    """Refuse labels that are not class numbers.

    Args:
        labels: any shape; integers, or floats that hold whole numbers.
        classes: labels run from 0 to `classes - 1`.
        name: what the message calls them, such as the file.

    Raises:
        DataError: at the first label that is NaN, not whole, or out of range; it says where.
    """
    wrong = ~((labels >= 0) & (labels < classes) & (labels == np.floor(labels)))
    if wrong.any():
        at = int(np.argmax(wrong))
        raise DataError(
            f"{name}: label {at} is {labels.flat[at]}, but the classes are 0 to {classes - 1}; "
            f"{int(wrong.sum())} of {labels.size} labels are wrong: correct them or leave them out"
        )
