"""Train with batches that are larger than what is computed at once: gradients are added up.

    python examples/accumulation.py

Four small batches make one step, the same as that of one batch of their size; long gradients are
made shorter before it.
"""

from __future__ import annotations

import talweg as tw
from talweg import nn, optim


def train(small: int, together: int, epochs: int = 5) -> tuple[nn.Module, list[float]]:
    """Fit a curve with batches of `small * together`; return the model, and the losses."""
    tw.manual_seed(0)
    x = tw.linspace(-1, 1, 128).reshape(-1, 1)
    y = (4 * x).sin()
    model = nn.Sequential(nn.Linear(1, 32), nn.Tanh(), nn.Linear(32, 1))
    optimizer = optim.SGD(model.parameters(), lr=0.1, momentum=0.9)

    losses = []
    for _ in range(epochs):
        total = 0.0
        for start in range(0, len(x), small * together):
            optimizer.zero_grad()
            for part in range(start, start + small * together, small):
                rows = slice(part, part + small)
                loss = nn.functional.mse_loss(model(x[rows]), y[rows]) / together
                loss.backward()
                total += loss.item() * small * together / len(x)
            nn.utils.clip_grad_norm_(model.parameters(), max_norm=1.0)
            optimizer.step()
        losses.append(total)
    return model, losses


def main() -> None:
    """Train both ways and compare."""
    _, large = train(small=64, together=1)
    _, small = train(small=16, together=4)
    for epoch, (one, other) in enumerate(zip(large, small, strict=True)):
        print(f"epoch {epoch + 1}: loss {one:.6f} at once, {other:.6f} in four parts")


if __name__ == "__main__":
    main()
