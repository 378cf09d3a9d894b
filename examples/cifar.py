"""Train a ResNet on small pictures in colour.

    python examples/cifar.py folder               # folder/train/<class>/*.jpg, folder/test/...
    python examples/cifar.py folder --download    # CIFAR-10 as published, fetched into the folder

K. He, X. Zhang, S. Ren, J. Sun, "Deep residual learning for image recognition" (2016), section 4.2:
three stages of n blocks, 16, 32 and 64 channels wide. Pictures are shifted and mirrored at random.
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path

import talweg as tw
import talweg.nn.functional as F
from talweg import nn, optim
from talweg.data import CIFAR10, DataLoader, Dataset, ImageFolder, transforms

MEAN, DEVIATION = (0.491, 0.482, 0.447), (0.247, 0.243, 0.262)


class Block(nn.Module):
    """Two convolutions and a shortcut, which skips pixels and adds empty channels where needed."""

    def __init__(self, channels: int, made: int) -> None:
        super().__init__()
        self.stride, self.added = made // channels, made - channels
        self.conv1 = nn.Conv2d(channels, made, 3, self.stride, padding=1, bias=False)
        self.conv2 = nn.Conv2d(made, made, 3, padding=1, bias=False)
        self.norm1, self.norm2 = nn.BatchNorm2d(made), nn.BatchNorm2d(made)

    def forward(self, x: tw.Tensor) -> tw.Tensor:
        """Return [N, made, H / stride, W / stride]."""
        y = self.norm2(self.conv2(F.relu(self.norm1(self.conv1(x)))))
        if self.added:
            x = F.pad(x[:, :, :: self.stride, :: self.stride], (0, 0, 0, 0, 0, self.added))
        return F.relu(x + y)


def resnet(blocks: int, classes: int) -> nn.Module:
    """Return a network of 6 * blocks + 2 layers."""
    layers: list[nn.Module] = [
        nn.Conv2d(3, 16, 3, padding=1, bias=False),
        nn.BatchNorm2d(16),
        nn.ReLU(),
    ]
    channels = 16
    for made in (16, 32, 64):
        for _ in range(blocks):
            layers.append(Block(channels, made))
            channels = made
    network = nn.Sequential(
        *layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(channels, classes)
    )
    for part in network.modules():
        if isinstance(part, nn.Conv2d):
            nn.init.kaiming_normal_(part.weight, mode="fan_out", nonlinearity="relu")
    return network


def read(folder: str, download: bool = False) -> tuple[Dataset, Dataset]:
    """Return the pictures to train on, changed at random, and those held out."""
    plain = [transforms.ToTensor(), transforms.Normalize(MEAN, DEVIATION)]
    changed = [transforms.RandomCrop(32, padding=4), transforms.RandomHorizontalFlip(), *plain]
    found = []
    for train, steps in ((True, changed), (False, plain)):
        part = Path(folder, "train" if train else "test")
        if part.is_dir():
            found.append(ImageFolder(part, transforms.Compose(steps)))
        else:
            steps = [transforms.ToPILImage(), *steps]
            found.append(CIFAR10(folder, train, transforms.Compose(steps), download=download))
    return found[0], found[1]


def accuracy(model: nn.Module, loader: DataLoader) -> float:
    """Return the share of pictures that are classed right."""
    model.eval()
    with tw.no_grad():
        hits = [(model(x).argmax(1) == y).float().mean().item() * len(y) for x, y in loader]
    return sum(hits) / len(loader.dataset)


def train(
    model: nn.Module,
    pictures: Dataset,
    held_out: Dataset,
    epochs: int,
    batch_size: int = 128,
    rate: float = 0.1,
    workers: int = 0,
    show: bool = True,
) -> list[dict[str, float]]:
    """Train a model; return loss and accuracy of every epoch."""
    optimizer = optim.SGD(model.parameters(), lr=rate, momentum=0.9, weight_decay=5e-4)
    options = {"num_workers": workers, "persistent_workers": workers > 0}
    loader = DataLoader(pictures, batch_size, shuffle=True, drop_last=True, **options)
    judging = DataLoader(held_out, 250)
    rates = optim.lr_scheduler.OneCycleLR(optimizer, rate, total_steps=epochs * len(loader))

    @tw.compile
    def step(images: tw.Tensor, labels: tw.Tensor) -> tw.Tensor:
        loss = F.cross_entropy(model(images), labels)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        return loss

    curve = []
    for epoch in range(epochs):
        began, total = time.perf_counter(), 0.0
        model.train()
        for images, labels in loader:
            total += step(images, labels).item()
            rates.step()
        right = accuracy(model, judging)
        curve.append({"epoch": epoch + 1, "loss": total / len(loader), "accuracy": right})
        if show:
            shown = ", ".join(f"{name} {value:.4g}" for name, value in curve[-1].items())
            print(f"{shown} ({time.perf_counter() - began:.1f} s)", flush=True)
    return curve


def main() -> None:
    """Train, judge, draw."""
    parser = argparse.ArgumentParser(description=main.__doc__)
    parser.add_argument("folder")
    parser.add_argument("--download", action="store_true")
    parser.add_argument("--epochs", type=int, default=20)
    parser.add_argument("--blocks", type=int, default=1, help="n: the network has 6 n + 2 layers")
    parser.add_argument("--workers", type=int, default=0, help="processes that read pictures")
    parser.add_argument("--curve", default="cifar.png", help="the picture's file")
    options = parser.parse_args()
    tw.manual_seed(0)
    pictures, held_out = read(options.folder, options.download)
    model = resnet(options.blocks, len(pictures.classes))
    curve = train(model, pictures, held_out, options.epochs, workers=options.workers)
    tw.training.History(curve).draw(options.curve)


if __name__ == "__main__":
    main()
