"""Train in half the width: products of float16, scaled losses, parameters of float32.

    python examples/precision.py

The losses are those of float32 up to the width of float16, and memory for activations is half. With
`--dtype bfloat16` no scaling is needed: its range is that of float32.
"""

from __future__ import annotations

import argparse
from typing import Any

import talweg as tw
from talweg import nn, optim


def train(dtype: Any, epochs: int = 4) -> list[float]:
    """Train in a dtype, or in float32 for None; return the losses."""
    tw.manual_seed(0)
    x = tw.randn(512, 16)
    y = (x[:, :8] * x[:, 8:]).sum(1).gt(0).long()
    model = nn.Sequential(nn.Linear(16, 64), nn.ReLU(), nn.LayerNorm(64), nn.Linear(64, 2))
    optimizer = optim.AdamW(model.parameters(), lr=0.01)
    scaler = tw.amp.GradScaler("cpu", enabled=dtype is tw.float16)

    losses = []
    for _ in range(epochs):
        for start in range(0, len(x), 64):
            optimizer.zero_grad()
            with tw.autocast("cpu", dtype=dtype, enabled=dtype is not None):
                output = model(x[start : start + 64])
                loss = nn.functional.cross_entropy(output, y[start : start + 64])
            scaler.scale(loss).backward()
            scaler.step(optimizer)
            scaler.update()
        losses.append(loss.item())
    return losses


def main() -> None:
    """Train in both widths and compare."""
    parser = argparse.ArgumentParser(description=main.__doc__)
    parser.add_argument("--dtype", choices=["float16", "bfloat16"], default="float16")
    dtype = getattr(tw, parser.parse_args().dtype)
    for epoch, pair in enumerate(zip(train(None), train(dtype), strict=True)):
        print(f"epoch {epoch + 1}: loss {pair[0]:.4f} in float32, {pair[1]:.4f} in {dtype}")


if __name__ == "__main__":
    main()
