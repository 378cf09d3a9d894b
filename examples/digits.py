"""Train a small convolutional network on handwritten digits: the whole loop, written out.

    python examples/digits.py

It needs scikit-learn for the data and safetensors for the file: pip install 'talweg[demo]'.
"""

from __future__ import annotations

import argparse

import talweg as tw
from talweg import nn, optim
from talweg.data import DataLoader, digits


def accuracy(model: nn.Module, images: tw.Tensor, labels: tw.Tensor) -> float:
    """The share of images whose most probable class is the right one."""
    model.eval()
    with tw.no_grad():
        return (model(images).argmax(dim=1) == labels).float().mean().item()


def main() -> None:
    """Train, judge, save."""
    parser = argparse.ArgumentParser(description=main.__doc__)
    parser.add_argument("--epochs", type=int, default=10)
    parser.add_argument("--file", default="digits.safetensors")
    options = parser.parse_args()

    tw.manual_seed(0)
    train, held_out = digits()
    model = nn.Sequential(
        nn.Conv2d(1, 16, kernel_size=3, padding=1),
        nn.ReLU(),
        nn.Conv2d(16, 32, kernel_size=3, padding=1),
        nn.ReLU(),
        nn.MaxPool2d(2),
        nn.Flatten(),
        nn.Linear(32 * 4 * 4, 10),
    )
    optimizer = optim.Adam(model.parameters(), lr=0.003)

    for epoch in range(options.epochs):
        model.train()
        for images, labels in DataLoader(train, batch_size=64, shuffle=True):
            loss = nn.functional.cross_entropy(model(images), labels)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
        print(f"epoch {epoch + 1}: {accuracy(model, *held_out.tensors):.1%} of the held-out digits")

    tw.save(model, options.file)
    print(f"the parameters are in {options.file}")


if __name__ == "__main__":
    main()
