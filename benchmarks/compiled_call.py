"""What it costs to call a compiled function: the sum of two 4 x 4 arrays."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from benchmarks.alone import main
from benchmarks.case import Case, Function


@dataclass(frozen=True, kw_only=True)
class Addition(Function):
    """x + y."""

    def inputs(self) -> tuple[np.ndarray, ...]:
        rng = self.rng()
        x, y = rng.standard_normal((2, 4, 4), np.float32)
        return x, y

    def eager(self, tw: Any, *tensors: Any) -> Any:
        x, y = tensors
        return x + y

    def graph(self, g: Any, *inputs: str) -> str:
        return str(g.add(*inputs))


def cases(sizes: str) -> Sequence[Case]:
    """Return the case; it has one size."""
    return [Addition(name="call of a compiled function, 4×4", onnx=True)]


if __name__ == "__main__":
    main("compiled_call")
