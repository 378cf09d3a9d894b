"""A net of two layers, 64 x 1000 x 100 x 10, mean squared error: one training step."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from benchmarks.alone import main
from benchmarks.case import Case, Sgd, Training


@dataclass(frozen=True, kw_only=True)
class TwoLayer(Training):
    """linear, relu, linear; the mean squared error.

    Args:
        rows, inputs, hidden, outputs: sizes.
    """

    rows: int
    inputs: int
    hidden: int
    outputs: int

    def shapes(self) -> dict[str, tuple[int, ...]]:
        return {
            "0.weight": (self.hidden, self.inputs),
            "0.bias": (self.hidden,),
            "2.weight": (self.outputs, self.hidden),
            "2.bias": (self.outputs,),
        }

    def batch(self) -> tuple[np.ndarray, ...]:
        rng = self.rng()
        x = rng.standard_normal((self.rows, self.inputs), np.float32)
        return x, rng.standard_normal((self.rows, self.outputs), np.float32)

    def network(self, tw: Any) -> Any:
        nn = tw.nn
        return nn.Sequential(
            nn.Linear(self.inputs, self.hidden),
            nn.ReLU(),
            nn.Linear(self.hidden, self.outputs),
        )

    def objective(self, tw: Any, model: Any, *batch: Any) -> Any:
        x, y = batch
        return tw.nn.functional.mse_loss(model(x), y)

    def loss(self, f: Any, state: Any, *batch: Any) -> tuple[Any, dict[str, Any]]:
        x, y = batch
        hidden = f.relu(f.linear(x, state["0.weight"], state["0.bias"]))
        error = f.linear(hidden, state["2.weight"], state["2.bias"]) - y
        return (error * error).mean(), {}

    def flops(self) -> float:
        return 2.0 * self.rows * self.hidden * (2 * self.inputs + 3 * self.outputs)


def cases(sizes: str) -> Sequence[Case]:
    """Return the case in sizes `full` or `tiny`."""
    rows, inputs, hidden, outputs = (64, 1000, 100, 10) if sizes == "full" else (4, 7, 5, 3)
    return [
        TwoLayer(
            name="two-layer net, training step",
            rows=rows,
            inputs=inputs,
            hidden=hidden,
            outputs=outputs,
            optimizer=Sgd(lr=1e-2),
        )
    ]


if __name__ == "__main__":
    main("two_layer")
