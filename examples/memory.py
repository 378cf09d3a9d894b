"""Train a deep network without keeping what is inside of its blocks.

    python examples/memory.py

Every block is computed again in the backward pass: gradients are the same, and memory is needed for
what the blocks are given and for the inside of one of them.
"""

from __future__ import annotations

import talweg as tw
from talweg import nn
from talweg.utils.checkpoint import checkpoint


class Deep(nn.Module):
    """Residual blocks, kept or computed again."""

    def __init__(self, again: bool, depth: int = 8, width: int = 64) -> None:
        super().__init__()
        self.again = again
        self.blocks = nn.ModuleList(
            nn.Sequential(
                nn.LayerNorm(width), nn.Linear(width, 4 * width), nn.GELU(),
                nn.Linear(4 * width, width), nn.Dropout(0.1),
            )
            for _ in range(depth)
        )  # fmt: skip

    def forward(self, x: tw.Tensor) -> tw.Tensor:
        """Return what the last block gives."""
        for block in self.blocks:
            x = x + (checkpoint(block, x, use_reentrant=False) if self.again else block(x))
        return x


def gradients(again: bool) -> list[tw.Tensor]:
    """Return the gradients of one step."""
    tw.manual_seed(0)
    model = Deep(again)
    x = tw.randn(256, 64)
    model(x).square().mean().backward()
    return [p.grad for p in model.parameters() if p.grad is not None]


def main() -> None:
    """Compare the gradients of both."""
    pairs = zip(gradients(again=False), gradients(again=True), strict=True)
    apart = max((one - other).abs().max().item() for one, other in pairs)
    print(f"gradients of values kept and computed again are {apart:.1e} apart")


if __name__ == "__main__":
    main()
