"""The front end of torchvision: pictures changed, data sets from local files, grids."""

from __future__ import annotations

import pickle
import struct
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from talweg.frontends.torchvision.transforms import functional as TF

import talweg as tw
from talweg.frontends import torchvision
from talweg.frontends.torchvision import datasets, models, networks, transforms, utils

RANDOM = np.random.RandomState(0)


def picture(height: int = 12, width: int = 10) -> Image.Image:
    return Image.fromarray(RANDOM.randint(0, 256, (height, width, 3)).astype(np.uint8))


def test_to_tensor_and_back() -> None:
    img = picture()
    t = TF.to_tensor(img)
    assert (t.dtype, t.shape) == (tw.float32, (3, 12, 10))
    np.testing.assert_allclose(t.numpy(), np.moveaxis(np.asarray(img), 2, 0) / 255, rtol=1e-6)
    np.testing.assert_array_equal(np.asarray(TF.to_pil_image(t)), np.asarray(img))
    assert TF.to_tensor(img.convert("L")).shape == (1, 12, 10)
    assert TF.to_tensor(img.convert("1")).max().item() == 1
    assert TF.to_tensor(np.ones((2, 2), np.int32)).dtype is tw.int32
    assert TF.pil_to_tensor(img).dtype is tw.uint8
    with pytest.raises(ValueError, match="dimensional"):
        TF.to_tensor(np.ones(3))


def test_normalize() -> None:
    t = tw.rand(3, 4, 5)
    mean, std = (0.1, 0.2, 0.3), (0.5, 0.6, 0.7)
    wanted = (t.numpy() - np.reshape(mean, (3, 1, 1))) / np.reshape(std, (3, 1, 1))
    np.testing.assert_allclose(TF.normalize(t, mean, std).numpy(), wanted, rtol=1e-5, atol=1e-6)
    with pytest.raises(ValueError, match="zero"):
        TF.normalize(t, mean, (0, 1, 1))
    with pytest.raises(ValueError, match="ToTensor"):
        TF.normalize(tw.ones(3, 2, 2, dtype=tw.uint8), mean, std)


@pytest.mark.parametrize("kind", ["image", "tensor"])
def test_parts_and_mirrors(kind: str) -> None:
    img: Any = picture()
    array = np.asarray(img)
    if kind == "tensor":
        img = TF.pil_to_tensor(img)

    def back(x: Any) -> np.ndarray:
        return np.asarray(x) if kind == "image" else np.moveaxis(x.numpy(), 0, 2)

    np.testing.assert_array_equal(back(TF.hflip(img)), array[:, ::-1])
    np.testing.assert_array_equal(back(TF.vflip(img)), array[::-1])
    np.testing.assert_array_equal(back(TF.crop(img, 2, 3, 4, 5)), array[2:6, 3:8])
    np.testing.assert_array_equal(back(TF.center_crop(img, (4, 6))), array[4:8, 2:8])
    wide = np.pad(array, ((2, 2), (1, 1), (0, 0)))
    np.testing.assert_array_equal(back(TF.pad(img, (1, 2))), wide)
    np.testing.assert_array_equal(back(TF.crop(img, -2, -1, 16, 12)), wide)
    edge = np.pad(array, ((2, 2), (1, 1), (0, 0)), "reflect")
    np.testing.assert_array_equal(back(TF.pad(img, (1, 2), padding_mode="reflect")), edge)
    assert back(TF.resize(img, (6, 7))).shape == (6, 7, 3)
    assert back(TF.resize(img, 5)).shape == (6, 5, 3)
    assert back(TF.rotate(img, 90, expand=True)).shape == (10, 12, 3)
    grey = array.astype(float) @ [0.299, 0.587, 0.114]
    found = back(TF.rgb_to_grayscale(img, 3)).astype(float)
    np.testing.assert_allclose(found, np.stack([grey] * 3, 2), atol=1.1)
    for change in (TF.adjust_brightness, TF.adjust_contrast, TF.adjust_saturation):
        np.testing.assert_allclose(back(change(img, 1.0)).astype(float), array, atol=1)
    np.testing.assert_array_equal(back(TF.adjust_brightness(img, 0.0)), 0 * array)


def test_resize_of_a_tensor_is_that_of_the_image() -> None:
    smooth = Image.fromarray(np.add.outer(np.arange(24) * 4, np.arange(20) * 5).astype(np.uint8))
    by_image = np.asarray(TF.resize(smooth, (9, 8)), float)
    by_tensor = TF.resize(TF.pil_to_tensor(smooth), (9, 8)).numpy()[0].astype(float)
    np.testing.assert_allclose(by_tensor, by_image, atol=1.1)


def test_chance_follows_the_seed_and_stays_within_bounds() -> None:
    steps = transforms.Compose(
        [
            transforms.RandomCrop(10, padding=2),
            transforms.RandomHorizontalFlip(),
            transforms.RandomVerticalFlip(0.3),
            transforms.ColorJitter(0.2, 0.2, 0.2, 0.1),
            transforms.RandomRotation(15),
            transforms.RandomResizedCrop(8),
            transforms.RandomGrayscale(0.3),
            transforms.RandomApply([transforms.RandomInvert()], 0.5),
            transforms.RandomChoice([transforms.Pad(1), transforms.CenterCrop(10)]),
            transforms.ToTensor(),
            transforms.RandomErasing(0.9),
        ]
    )
    img = picture()
    runs = []
    for seed in (3, 3, 4):
        tw.manual_seed(seed)
        runs.append(np.stack([steps(img).numpy() for _ in range(6)]))
    np.testing.assert_array_equal(runs[0], runs[1])
    assert (runs[0] != runs[2]).any()
    assert runs[0].shape == (6, 3, 10, 10)
    assert 0 <= runs[0].min() <= runs[0].max() <= 1
    with pytest.raises(ValueError, match="larger than input"):
        transforms.RandomCrop(40)(img)


def test_random_crop_reaches_every_place() -> None:
    img = TF.to_tensor(np.arange(4, dtype=np.float32).reshape(2, 2))
    seen = {transforms.RandomCrop(1)(img).item() for _ in range(60)}
    assert seen == {0, 1, 2, 3}


def write_idx(path: Path, array: np.ndarray) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    head = struct.pack(f">HBB{array.ndim}I", 0, 8, array.ndim, *array.shape)
    path.write_bytes(head + array.astype(np.uint8).tobytes())


def test_mnist_from_local_files(tmp_path: Path) -> None:
    images = RANDOM.randint(0, 256, (5, 28, 28)).astype(np.uint8)
    write_idx(tmp_path / "MNIST/raw/train-images-idx3-ubyte", images)
    write_idx(tmp_path / "MNIST/raw/train-labels-idx1-ubyte", np.arange(5))
    plain = datasets.MNIST(root=str(tmp_path), train=True, download=True)
    image, label = plain[3]
    assert (image.mode, label, len(plain)) == ("L", 3, 5)
    np.testing.assert_array_equal(np.asarray(image), images[3])
    assert isinstance(plain.data, tw.Tensor)
    assert plain.train_data.shape == (5, 28, 28)
    assert plain.train_labels.tolist() == [0, 1, 2, 3, 4]
    changed = datasets.MNIST(tmp_path, transform=transforms.ToTensor(), target_transform=str)
    batch, labels = next(iter(tw.data.DataLoader(changed, batch_size=5)))
    np.testing.assert_allclose(batch.numpy()[:, 0], images / 255, rtol=1e-6)
    assert labels == tuple("01234")
    with pytest.raises(tw.TalwegError, match="download the four files"):
        datasets.MNIST(tmp_path, train=False)


def test_cifar_from_local_files(tmp_path: Path) -> None:
    folder = tmp_path / "cifar-10-batches-py"
    folder.mkdir()
    rows = RANDOM.randint(0, 256, (4, 3072)).astype(np.uint8)
    for name in ("test_batch", *(f"data_batch_{i}" for i in range(1, 6))):
        (folder / name).write_bytes(pickle.dumps({b"data": rows, b"labels": [1, 2, 3, 4]}))
    meta = {b"label_names": [b"a", b"b", b"c", b"d", b"e"]}
    (folder / "batches.meta").write_bytes(pickle.dumps(meta))
    with pytest.raises(tw.TalwegError, match="unpack"):
        datasets.CIFAR10(tmp_path / "nowhere")
    found = datasets.CIFAR10(tmp_path, train=True)
    assert (len(found), found.classes[1]) == (20, "b")
    image, label = found[2]
    assert label == 3
    wanted = rows[2].reshape(3, 32, 32).transpose(1, 2, 0)
    np.testing.assert_array_equal(np.asarray(image), wanted)
    (folder / "test_batch").write_bytes(pickle.dumps({"data": Path}))
    with pytest.raises(tw.TalwegError, match="not a file of the CIFAR sets"):
        datasets.CIFAR10(tmp_path, train=False)


def test_folders_of_images(tmp_path: Path) -> None:
    for name in ("ants", "bees"):
        (tmp_path / name).mkdir()
        picture().save(tmp_path / name / "1.png")
    found = datasets.ImageFolder(tmp_path, transforms.ToTensor())
    assert (found.classes, found.class_to_idx["bees"], len(found.imgs)) == (["ants", "bees"], 1, 2)
    image, label = found[1]
    assert (image.shape, label) == ((3, 12, 10), 1)
    assert datasets.ImageFolder(tmp_path)[0][0].mode == "RGB"
    read = datasets.DatasetFolder(tmp_path, lambda path: Path(path).name, (".png",))
    assert read[0] == ("1.png", 0)


def test_fake_data_is_the_same_each_time() -> None:
    found = datasets.FakeData(3, (3, 8, 8), 5)
    assert found[1][1] == found[1][1]
    np.testing.assert_array_equal(np.asarray(found[1][0]), np.asarray(found[1][0]))
    assert len(list(found)) == 3


def test_grids_and_files(tmp_path: Path) -> None:
    batch = tw.arange(5 * 2 * 3, dtype=tw.float32).reshape(5, 1, 2, 3) / 30
    grid = utils.make_grid(batch, nrow=2, padding=1, pad_value=0.5)
    assert grid.shape == (3, 10, 9)
    array = grid.numpy()
    np.testing.assert_array_equal(array[0, 4:6, 5:8], batch[3, 0].numpy())
    assert (array[:, 0] == 0.5).all()
    scaled = utils.make_grid([t * 7 - 3 for t in batch], normalize=True)
    assert (scaled.min().item(), scaled.max().item()) == (0, 1)
    utils.save_image(batch, tmp_path / "grid.png", nrow=2, padding=1, pad_value=0.5)
    read = np.asarray(Image.open(tmp_path / "grid.png")).astype(float) / 255
    np.testing.assert_allclose(np.moveaxis(read, 2, 0), array, atol=0.5 / 255 + 1e-9)


def test_models_are_ours() -> None:
    names = "alexnet densenet121 efficientnet_b0 googlenet inception_v3 mobilenet_v2 resnet18 vgg16"
    for name in names.split():
        shown = getattr(torchvision.models, name)
        assert shown.__wrapped__ is getattr(tw.models, name)
    assert torchvision.models.resnet.Bottleneck is tw.models.resnet.Bottleneck
    assert torchvision.models.mobilenetv3.MobileNetV3 is tw.models.MobileNetV3


def test_networks_as_older_programs_build_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    plain = models.squeezenet1_1(num_classes=3)
    assert models.__dict__["squeezenet1_1"](False, num_classes=3).num_classes == 3
    assert models.squeezenet.squeezenet1_1 is models.squeezenet1_1
    monkeypatch.setattr(networks, "HOME", "http://127.0.0.1:1/")
    with pytest.raises((FileNotFoundError, ImportError), match="put it there"):
        models.squeezenet1_1(pretrained=True)
    with pytest.raises(FileNotFoundError, match="the address is not known"):
        models.efficientnet_b7(pretrained=True)
    folder = tmp_path / "hub" / "checkpoints"
    folder.mkdir(parents=True, exist_ok=True)
    tw.save(plain.state_dict(), folder / "squeezenet1_1-b8a52dc0.pth")
    again = models.squeezenet1_1(pretrained=True, num_classes=3)
    for a, b in zip(again.parameters(), plain.parameters(), strict=True):
        assert tw.equal(a, b)


def test_names_of_trained_weights() -> None:
    weights = models.ResNet50_Weights
    assert weights.DEFAULT is weights.IMAGENET1K_V2
    assert repr(weights.IMAGENET1K_V1) == "ResNet50_Weights.IMAGENET1K_V1"
    assert models.resnet.ResNet50_Weights is weights
    assert models.get_weight("ResNet50_Weights.IMAGENET1K_V1") is weights.IMAGENET1K_V1
    assert models.get_model_weights("resnet50") is weights
    assert weights.verify("IMAGENET1K_V1") is weights.IMAGENET1K_V1
    prepared = weights.IMAGENET1K_V1.transforms()(tw.full((3, 300, 400), 128, dtype=tw.uint8))
    assert prepared.shape == (3, 224, 224)
    wanted = [(128 / 255 - m) / s for m, s in zip((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))]
    np.testing.assert_allclose(prepared.numpy()[:, 0, 0], wanted, rtol=1e-4)


def test_networks_by_name(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    net = models.get_model("squeezenet1_1", num_classes=3)
    assert type(net).__name__ == "SqueezeNet"
    assert models.list_models(include="resnet*", exclude=["*50", "*101", "*152"]) == [
        "resnet18",
        "resnet34",
    ]
    folder = tmp_path / "hub" / "checkpoints"
    folder.mkdir(parents=True)
    tw.save(net.state_dict(), folder / "squeezenet1_1-12345678.pth")
    twin = models.get_model(
        "squeezenet1_1", weights=models.SqueezeNet1_1_Weights.DEFAULT, num_classes=3
    )
    for k, value in net.state_dict().items():
        np.testing.assert_array_equal(twin.state_dict()[k].numpy(), value.numpy())
    for name in ("nothing", "data"):
        with pytest.raises(ValueError, match="Unknown"):
            models.get_model(name)
