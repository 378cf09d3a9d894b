"""torchvision's data sets, from files that are there: pictures come as Pillow images."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from talweg import data
from talweg.data.cifar import CIFAR10 as _CIFAR10
from talweg.data.cifar import CIFAR100 as _CIFAR100
from talweg.data.idx import published
from talweg.data.images import IMG_EXTENSIONS, read_image
from talweg.data.pictures import pillow, to_pil_image
from talweg.engine.creation import from_numpy
from talweg.engine.tensor import Tensor

Change = Callable[[Any], Any] | None


class VisionDataset(data.Dataset[Any]):
    """Base of data sets of pictures.

    Args:
        root: a folder.
        transforms: called with picture and target together.
        transform: called with the picture.
        target_transform: called with the target.
    """

    def __init__(
        self,
        root: Any = None,
        transforms: Callable[[Any, Any], Any] | None = None,
        transform: Change = None,
        target_transform: Change = None,
    ) -> None:
        self.root = root
        self.transforms = transforms
        self.transform = transform
        self.target_transform = target_transform


def _same(image: Any) -> Any:
    return image


class MNIST(data.MNIST):
    """Handwritten digits as Pillow images; the files lie in `root/MNIST/raw`.

    Args:
        root: the folder above `MNIST`.
        train: the training images, or the test images.
        transform, target_transform: called with the image, and with the label.
        download: fetch what is not there, see `talweg.data.fetch`.

    `data` is a uint8 Tensor of all images, `targets` an int64 Tensor of all labels.

    Raises:
        DataError: when a file is missing or damaged; the message says where it was looked for.
    """

    data: Any
    targets: Any

    def __init__(
        self,
        root: str | Path,
        train: bool = True,
        transform: Change = None,
        target_transform: Change = None,
        download: bool = False,
    ) -> None:
        super().__init__(root, train, _same, target_transform, download)
        self.root = root
        self.transform: Any = transform
        self.arrays = self.data, self.targets.tolist()
        self.data, self.targets = from_numpy(self.data), from_numpy(self.targets)
        self.classes = tuple(self.classes)
        self.class_to_idx = {name: i for i, name in enumerate(self.classes)}

    def __getitem__(self, index: int) -> tuple[Any, Any]:
        image = pillow().fromarray(self.arrays[0][index])
        label = self.arrays[1][index]
        image = image if self.transform is None else self.transform(image)
        return image, label if self.target_transform is None else self.target_transform(label)

    @property
    def raw_folder(self) -> str:
        """Where the files are."""
        return str(Path(self.root) / type(self).__name__ / "raw")

    @property
    def train_data(self) -> Tensor:
        """The same as `data`, under its older name."""
        return self.data  # type: ignore[no-any-return]

    @property
    def test_data(self) -> Tensor:
        """The same as `data`, under its older name."""
        return self.data  # type: ignore[no-any-return]

    @property
    def train_labels(self) -> Tensor:
        """The same as `targets`, under its older name."""
        return self.targets  # type: ignore[no-any-return]

    @property
    def test_labels(self) -> Tensor:
        """The same as `targets`, under its older name."""
        return self.targets  # type: ignore[no-any-return]


class FashionMNIST(MNIST):
    """Pictures of clothes as Pillow images; the files lie in `root/FashionMNIST/raw`."""

    folder = data.FashionMNIST.folder
    files = data.FashionMNIST.files
    classes = data.FashionMNIST.classes


class KMNIST(MNIST):
    """Cursive Japanese characters as Pillow images; the files lie in `root/KMNIST/raw`."""

    folder = "KMNIST"
    files = published(
        ("http://codh.rois.ac.jp/kmnist/dataset/kmnist/",),
        "51467d22d8cc72929e2a028a0428f2086b092bb31cfb79c69cc0a90ce135fde4",
        "e38f9ebcd0f3ebcdec7fc8eabdcdaef93bb0df8ea12bee65224341c8183d8e17",
        "edd7a857845ad6bb1d0ba43fe7e794d164fe2dce499a1694695a792adfac43c5",
        "20bb9a0ef54c7db3efc55a92eef5582c109615df22683c380526788f98e42a1c",
    )
    classes = ("o", "ki", "su", "tsu", "na", "ha", "ma", "ya", "re", "wo")


class CIFAR10(_CIFAR10):
    """Colour images as Pillow images; `root` holds the folder `cifar-10-batches-py`.

    Args:
        root: the folder.
        train: the training images, or the test images.
        transform, target_transform: called with the image, and with the label.
        download: fetch what is not there, see `talweg.data.fetch`.

    Raises:
        DataError: when a file is missing or damaged.
    """

    train_list: Any = None
    test_list: Any = None
    meta: Any = None

    def __init__(
        self,
        root: str | Path,
        train: bool = True,
        transform: Change = None,
        target_transform: Change = None,
        download: bool = False,
    ) -> None:
        super().__init__(root, train, _same, target_transform, download)
        self.root = root
        self.transform: Any = transform

    def __getitem__(self, index: int) -> tuple[Any, Any]:
        image, label = pillow().fromarray(self.data[index]), self.targets[index]
        image = image if self.transform is None else self.transform(image)
        return image, label if self.target_transform is None else self.target_transform(label)


class CIFAR100(CIFAR10):
    """Colour images of 100 classes as Pillow images; `root` holds `cifar-100-python`."""

    folder = _CIFAR100.folder
    archive = _CIFAR100.archive
    sha256 = _CIFAR100.sha256
    training = _CIFAR100.training
    testing = _CIFAR100.testing
    names = _CIFAR100.names


class DatasetFolder(data.ImageFolder):
    """Files in folders, one for each class.

    Args:
        root: the folder.
        loader: reads one file.
        extensions: which files count.
        transform, target_transform: called with what was read, and with the class.
        is_valid_file: says of a path whether it counts, in place of `extensions`.

    Raises:
        DataError: when the folder is missing, or a class holds no such file.
    """

    def __init__(
        self,
        root: str | Path,
        loader: Callable[[str], Any],
        extensions: tuple[str, ...] | None = None,
        transform: Change = None,
        target_transform: Change = None,
        is_valid_file: Callable[[str], bool] | None = None,
        allow_empty: bool = False,
    ) -> None:
        endings = ("",) if extensions is None else extensions
        super().__init__(root, _same, target_transform, loader, endings)
        if is_valid_file is not None:
            self.samples = [s for s in self.samples if is_valid_file(s[0])]
            self.targets = [number for _, number in self.samples]
        self.transform: Any = transform

    @property
    def imgs(self) -> list[tuple[str, int]]:
        """The same as `samples`."""
        return self.samples

    def __getitem__(self, index: int) -> tuple[Any, Any]:
        path, label = self.samples[index]
        item = self.loader(path)
        item = item if self.transform is None else self.transform(item)
        return item, label if self.target_transform is None else self.target_transform(label)


class ImageFolder(DatasetFolder):
    """Images in folders, one for each class, as Pillow images.

    Args:
        root: the folder.
        transform, target_transform: called with the image, and with the class.
        loader: reads one file.
        is_valid_file: says of a path whether it counts.

    Raises:
        DataError: when the folder is missing, or a class holds no image.
    """

    def __init__(
        self,
        root: str | Path,
        transform: Change = None,
        target_transform: Change = None,
        loader: Callable[[str], Any] = read_image,
        is_valid_file: Callable[[str], bool] | None = None,
        allow_empty: bool = False,
    ) -> None:
        endings = IMG_EXTENSIONS if is_valid_file is None else None
        super().__init__(root, loader, endings, transform, target_transform, is_valid_file)


class FakeData(VisionDataset):
    """Pictures of noise with classes drawn by chance.

    Args:
        size: how many.
        image_size: [channels, height, width].
        num_classes: how many classes.
        transform, target_transform: called with the image, and with the class.
        random_offset: added to the index, from which everything follows.
    """

    def __init__(
        self,
        size: int = 1000,
        image_size: tuple[int, int, int] = (3, 224, 224),
        num_classes: int = 10,
        transform: Change = None,
        target_transform: Change = None,
        random_offset: int = 0,
    ) -> None:
        super().__init__(None, None, transform, target_transform)
        self.size, self.image_size, self.num_classes = size, image_size, num_classes
        self.random_offset = random_offset

    def __getitem__(self, index: int) -> tuple[Any, Any]:
        if not 0 <= index < self.size:
            raise IndexError(f"FakeData index {index} out of range")
        chance = np.random.Generator(np.random.PCG64(index + self.random_offset))
        pixels = chance.standard_normal(self.image_size).astype(np.float32)
        image = to_pil_image(from_numpy(pixels))
        label = int(chance.integers(0, self.num_classes))
        image = image if self.transform is None else self.transform(image)
        return image, label if self.target_transform is None else self.target_transform(label)

    def __len__(self) -> int:
        return self.size
