"""LeNet on MNIST, fifty steps: losses, first gradients and weights as an independent program's.

The data and the reference lie in `../shared/data`, beside the repository, where they are at hand.
"""

from __future__ import annotations

import zlib
from pathlib import Path

import numpy as np
import pytest

import talweg as tw
from talweg import data, nn

SHARED = Path(__file__).resolve().parents[2].parent / "shared" / "data"
REFERENCE = SHARED / "reference" / "train-lenet-sgd-50-steps"

needs_data = pytest.mark.skipif(not REFERENCE.is_dir(), reason=f"no reference data in {SHARED}")
SHAPES = {
    "conv1": (20, 1, 5, 5),
    "conv2": (50, 20, 5, 5),
    "ip1": (500, 800),
    "ip2": (10, 500),
}


def lenet() -> tuple[nn.Sequential, dict[str, tw.Tensor]]:
    """Return LeNet in float64 with the weights of the reference, and its parameters by name."""
    layers = {
        "conv1": nn.Conv2d(1, 20, 5),
        "conv2": nn.Conv2d(20, 50, 5),
        "ip1": nn.Linear(800, 500),
        "ip2": nn.Linear(500, 10),
    }
    for name, layer in layers.items():
        shape = SHAPES[name]
        bound = np.sqrt(3 / np.prod(shape[1:]))
        stream = np.random.RandomState(zlib.crc32(f"{name}/0".encode()))
        weight = stream.uniform(-bound, bound, shape).astype(np.float32)
        layer.load_state_dict({"weight": tw.tensor(weight), "bias": tw.zeros(shape[0])})
    net = nn.Sequential(
        layers["conv1"],
        nn.MaxPool2d(2),
        layers["conv2"],
        nn.MaxPool2d(2),
        nn.Flatten(),
        layers["ip1"],
        nn.ReLU(),
        layers["ip2"],
    ).double()
    named = {f"{n}_{k}": p for n, la in layers.items() for k, p in enumerate(la.parameters())}
    return net, named


def expect(values: np.ndarray, name: str) -> None:
    """Compare with a reference array; large ones are kept as 4096 samples."""
    (path,) = REFERENCE.glob(f"out_{name}*.npy")
    wanted = np.load(path)
    if wanted.size != values.size:
        values = values.reshape(-1)[np.linspace(0, values.size - 1, 4096).astype(np.int64)]
    scale = float(np.abs(wanted).max())
    np.testing.assert_allclose(values.reshape(wanted.shape), wanted, rtol=1e-5, atol=1e-7 * scale)


@needs_data
@pytest.mark.slow
def test_fifty_steps_of_lenet_equal_the_reference() -> None:
    images = data.read_idx(SHARED / "mnist" / "train-images-idx3-ubyte.gz")[: 50 * 64]
    labels = data.read_idx(SHARED / "mnist" / "train-labels-idx1-ubyte.gz")[: 50 * 64]
    x = tw.tensor(np.asarray(images, np.float64)[:, None] * 0.00390625)
    y = tw.tensor(np.asarray(labels, np.int64))
    net, parameters = lenet()
    speed = {name: tw.zeros_like(p) for name, p in parameters.items()}
    losses = []
    for i in range(50):
        batch = slice(64 * i, 64 * (i + 1))
        loss = nn.functional.cross_entropy(net(x[batch]), y[batch])
        net.zero_grad()
        loss.backward()
        losses.append(loss.item())
        rate = 0.01 * (1 + 0.0001 * i) ** -0.75
        with tw.no_grad():
            for name, p in parameters.items():
                if i == 0:
                    expect(p.grad.numpy(), f"first_gradient_{name}")
                step = rate * (2 if name.endswith("1") else 1)
                speed[name] = 0.9 * speed[name] + step * (p.grad + 0.0005 * p)
                p -= speed[name]
    np.testing.assert_allclose(losses, np.load(REFERENCE / "out_losses.npy"), rtol=1e-9)
    for name, p in parameters.items():
        expect(p.detach().numpy(), f"after50_{name}")


@needs_data
def test_the_original_files_are_read_whole() -> None:
    train = data.MNIST(SHARED / "mnist", train=True)
    counts = [5923, 6742, 5958, 6131, 5842, 5421, 5918, 6265, 5851, 5949]
    images = np.asarray(data.read_idx(SHARED / "mnist" / "train-images-idx3-ubyte.gz"))
    labels = data.read_idx(SHARED / "mnist" / "train-labels-idx1-ubyte.gz")
    assert (len(train), np.bincount(labels).tolist()) == (60_000, counts)
    pixels = images / 255
    assert (round(pixels.mean(), 4), round(pixels.std(), 4)) == (0.1307, 0.3081)
