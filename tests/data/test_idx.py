"""idx files: written here byte by byte, read back; and everything that can be wrong with them."""

from __future__ import annotations

import gzip
import struct
from pathlib import Path

import numpy as np
import pytest

import talweg as tw
from talweg import data
from talweg.base.errors import DataError

CODES = {"u1": 0x08, "i1": 0x09, "i2": 0x0B, "i4": 0x0C, "f4": 0x0D, "f8": 0x0E}


def idx(array: np.ndarray) -> bytes:
    head = bytes([0, 0, CODES[array.dtype.str[1:]], array.ndim])
    sizes = struct.pack(f">{array.ndim}I", *array.shape)
    return head + sizes + array.astype(array.dtype.newbyteorder(">")).tobytes()


def write_set(root: Path, part: str, labels: list[int], compress: bool = True) -> None:
    images = np.arange(len(labels) * 784, dtype=np.uint32).reshape(-1, 28, 28).astype(np.uint8)
    root.mkdir(parents=True, exist_ok=True)
    for stem, array in (
        (f"{part}-images-idx3-ubyte", images),
        (f"{part}-labels-idx1-ubyte", np.array(labels, np.uint8)),
    ):
        raw = idx(array)
        name = stem + (".gz" if compress else "")
        (root / name).write_bytes(gzip.compress(raw) if compress else raw)


@pytest.mark.parametrize("dtype", CODES)
@pytest.mark.parametrize("compress", [False, True])
def test_what_was_written_is_read(tmp_path: Path, dtype: str, compress: bool) -> None:
    array = np.random.RandomState(0).randint(0, 100, (3, 4, 2)).astype(dtype)
    path = tmp_path / "file"
    path.write_bytes(gzip.compress(idx(array)) if compress else idx(array))
    found = data.read_idx(path)
    assert found.dtype == np.dtype(dtype)
    assert found.dtype.isnative
    np.testing.assert_array_equal(found, array)
    found[0] = 1


@pytest.mark.parametrize(
    ("raw", "text"),
    [
        (b"", "not an idx file"),
        (b"\x89PNG", r"89 50 4e 47"),
        (b"\0\0\x07\x01\0\0\0\x01a", "not an idx file"),
        (b"\0\0\x08\x02\0\0\0\x03", "header of 2 sizes needs 12 bytes, got 8"),
        (idx(np.zeros((2, 5), np.int16))[:-3], "truncated: .* needs 32 bytes, got 29"),
        (idx(np.zeros(5, np.uint8)) + b"!", "too long: .* needs 13 bytes, got 14"),
        (gzip.compress(idx(np.zeros(500, np.uint8)), mtime=0)[:-12], "gzip data is truncated"),
    ],
)
def test_a_damaged_file_is_named_with_its_byte_counts(
    tmp_path: Path, raw: bytes, text: str
) -> None:
    path = tmp_path / "train-images"
    path.write_bytes(raw)
    with pytest.raises(DataError, match=text) as failure:
        data.read_idx(path)
    assert str(path) in str(failure.value)


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="nowhere: there is no such file"):
        data.read_idx(tmp_path / "nowhere")


@pytest.mark.parametrize(
    ("kind", "folder"),
    [(data.MNIST, "."), (data.MNIST, "MNIST/raw"), (data.FashionMNIST, "FashionMNIST/raw")],
)
def test_mnist_finds_its_four_files(tmp_path: Path, kind: type[data.MNIST], folder: str) -> None:
    write_set(tmp_path / folder, "train", [5, 0, 9])
    write_set(tmp_path / folder, "t10k", [1], compress=False)
    train, test = kind(tmp_path), kind(tmp_path, train=False)
    assert (len(train), len(test)) == (3, 1)
    image, label = train[1]
    assert label == 0
    assert image.dtype == np.float32
    np.testing.assert_array_equal(image, train.data[1][None] / np.float32(255))
    batch, labels = next(iter(data.DataLoader(train, batch_size=3)))
    assert batch.shape == (3, 1, 28, 28)
    assert labels.tolist() == [5, 0, 9]
    assert labels.dtype is tw.int64


def test_transforms_receive_the_raw_image_and_the_label(tmp_path: Path) -> None:
    write_set(tmp_path, "train", [5])
    digits = data.MNIST(tmp_path, transform=lambda a: (a.dtype, a.shape), target_transform=str)
    assert digits[0] == ((np.dtype(np.uint8), (28, 28)), "5")


def test_a_missing_folder_says_what_to_do(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="does not exist; download the four files") as failure:
        data.FashionMNIST(tmp_path / "absent")
    assert str(tmp_path / "absent") in str(failure.value)
    with pytest.raises(DataError, match=r"neither t10k-images-idx3-ubyte nor .*\.gz.*holds none"):
        data.MNIST(tmp_path, train=False)


def test_images_and_labels_must_belong_together(tmp_path: Path) -> None:
    write_set(tmp_path, "train", [1, 2])
    (tmp_path / "train-labels-idx1-ubyte").write_bytes(idx(np.array([1], np.uint8)))
    with pytest.raises(DataError, match=r"2 images but .* 1 labels"):
        data.MNIST(tmp_path)
    (tmp_path / "train-labels-idx1-ubyte").write_bytes(idx(np.zeros((2, 28, 28), np.uint8)))
    with pytest.raises(DataError, match=r"expected 1 dimensions of uint8.*\(2, 28, 28\)"):
        data.MNIST(tmp_path)
    write_set(tmp_path / "wrong", "train", [1, 10])
    with pytest.raises(DataError, match="label 1 is 10, but the classes are 0 to 9"):
        data.MNIST(tmp_path / "wrong")


@pytest.mark.parametrize(
    ("labels", "text"),
    [
        ([0.0, float("nan"), 2.0], "label 1 is nan"),
        ([0.0, 1.0, 1.5], "label 2 is 1.5"),
        ([0, 1, -1], "label 2 is -1"),
        ([3, 0, 3], "label 0 is 3, but the classes are 0 to 2; 2 of 3 labels are wrong"),
    ],
)
def test_labels_that_are_no_class_numbers(labels: list[float], text: str) -> None:
    with pytest.raises(DataError, match=f"targets: {text}"):
        data.check_labels(np.array(labels), 3, "targets")
    data.check_labels(np.array([0.0, 2.0]), 3, "targets")
