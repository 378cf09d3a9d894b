"""Folders of images."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import numpy as np
import pytest

import talweg as tw
from talweg import data
from talweg.base.errors import DataError, InvalidValue, MissingExtra
from talweg.data import pictures

image = pytest.importorskip("PIL.Image")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Two classes; the value of every pixel tells the image."""
    for number, name in enumerate(["b/2.png", "b/1.PNG", "a/deep/3.png"]):
        path = tmp_path / "set" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        image.fromarray(np.full((4, 5, 3), 50 * number, np.uint8)).save(path)
    (tmp_path / "set" / "b" / "notes.txt").write_text("no image")
    (tmp_path / "set" / "readme.md").write_text("no class")
    return tmp_path / "set"


def test_classes_and_files_are_sorted(folder: Path) -> None:
    found = data.ImageFolder(folder)
    assert found.classes == ["a", "b"]
    assert found.class_to_idx == {"a": 0, "b": 1}
    names = [os.path.relpath(path, folder) for path, _ in found.samples]
    assert names == [
        os.path.join("a", "deep", "3.png"),
        *(f"b{os.sep}{n}" for n in ("1.PNG", "2.png")),
    ]
    assert found.targets == [0, 1, 1]


def test_samples_are_arrays_of_channels_first(folder: Path) -> None:
    pixels, label = data.ImageFolder(folder)[1]
    assert label == 1
    assert pixels.dtype == np.float32
    np.testing.assert_array_equal(pixels, np.full((3, 4, 5), 50 / 255, np.float32))


def test_transforms(folder: Path) -> None:
    found = data.ImageFolder(folder, transform=lambda i: i.size, target_transform=lambda t: -t)
    assert found[1] == ((5, 4), -1)


def test_an_unreadable_image_is_named(folder: Path) -> None:
    whole = (folder / "b" / "2.png").read_bytes()
    for wrong in (b"", b"not an image", whole[:-30]):
        (folder / "b" / "2.png").write_bytes(wrong)
        with pytest.raises(DataError, match=r"2\.png: cannot be read as an image"):
            data.ImageFolder(folder)[2]


def test_the_loader_names_the_unreadable_sample_and_goes_on(folder: Path) -> None:
    (folder / "b" / "1.PNG").write_bytes(b"broken")
    batches = iter(data.DataLoader(data.ImageFolder(folder), num_workers=1))
    assert next(batches)[1].tolist() == [0]
    with pytest.raises(DataError, match=r"sample 1 could not be read: DataError: .*1\.PNG"):
        next(batches)
    assert next(batches)[1].tolist() == [1]


def test_missing_and_empty_folders(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="absent: there is no such folder"):
        data.ImageFolder(tmp_path / "absent")
    with pytest.raises(DataError, match="holds no sub-folder"):
        data.ImageFolder(tmp_path)
    (tmp_path / "cats").mkdir()
    with pytest.raises(DataError, match="cats: holds no image"):
        data.ImageFolder(tmp_path)
    with pytest.raises(DataError, match=r"none\.png: there is no such file"):
        data.read_image(tmp_path / "none.png")


def test_only_bytes_become_pixels() -> None:
    with pytest.raises(InvalidValue, match=r"float64 of shape \(2, 2\)"):
        data.to_array(np.zeros((2, 2)))
    with pytest.raises(InvalidValue, match=r"\(2,\)"):
        data.to_array(np.zeros(2, np.uint8))


def test_without_pillow_it_says_how_to_install(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "PIL.Image", None)
    with pytest.raises(MissingExtra, match=r"talweg\[image\]"):
        data.ImageFolder(folder)[0]


def test_gaussian_blur_is_a_weighted_sum_mirrored_at_the_border() -> None:
    ndimage = pytest.importorskip("scipy.ndimage")
    array = np.random.default_rng(0).random((3, 9, 12))
    curves = [np.exp(-0.5 * (np.arange(-r, r + 1) / s) ** 2) for r, s in ((2, 1.5), (1, 0.7))]
    want = array
    for axis, curve in zip((2, 1), curves, strict=True):
        want = ndimage.correlate1d(want, curve / curve.sum(), axis, mode="mirror")
    made = pictures.gaussian_blur(tw.tensor(array), [5, 3], [1.5, 0.7])
    np.testing.assert_allclose(made.numpy(), want, rtol=1e-12)
    whole = np.round(array * 255).astype(np.uint8).transpose(1, 2, 0)
    picture = image.fromarray(whole)
    blurred = data.transforms.GaussianBlur(3, 1.0)(picture)
    want = data.transforms.GaussianBlur(3, 1.0)(tw.tensor(whole.transpose(2, 0, 1)))
    assert (np.asarray(blurred) == want.permute(1, 2, 0).numpy()).all()
    for sizes, sigma in ((4, 1.0), (3, -1.0), (25, 1.0)):
        with pytest.raises(InvalidValue):
            pictures.gaussian_blur(tw.tensor(array), sizes, sigma)
