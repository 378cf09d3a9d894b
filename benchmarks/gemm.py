"""Products of float32 matrices: squares from 128 to 2048 and odd shapes, beside OpenBLAS."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from benchmarks.alone import main
from benchmarks.case import Case, Function

SQUARES = (128, 256, 384, 512, 768, 1024, 1536, 2048)
ODD = (
    (127, 127, 127),
    (513, 513, 513),
    (1000, 1000, 1000),
    (64, 1000, 100),
    (33, 257, 129),
    (4096, 64, 64),
    (64, 4096, 64),
    (64, 64, 4096),
    (1, 2048, 2048),
    (8, 2048, 2048),
    (2048, 2048, 1),
)
"""Rows of the first, columns of the first, columns of the second."""


@dataclass(frozen=True, kw_only=True)
class Product(Function):
    """x y.

    Args:
        m, k, n: x is m x k, y is k x n.
    """

    m: int
    k: int
    n: int

    def inputs(self) -> tuple[np.ndarray, ...]:
        rng = self.rng()
        x = rng.standard_normal((self.m, self.k), np.float32)
        return x, rng.standard_normal((self.k, self.n), np.float32)

    def eager(self, tw: Any, *tensors: Any) -> Any:
        x, y = tensors
        return x @ y

    def graph(self, g: Any, *inputs: str) -> str:
        return str(g.node("MatMul", *inputs))

    def flops(self) -> float:
        return 2.0 * self.m * self.k * self.n

    def floor(self) -> float:
        return 4.0 * (self.m * self.k + self.k * self.n + self.m * self.n)


def cases(sizes: str) -> Sequence[Case]:
    """Return the cases in sizes `full` or `tiny`."""
    shapes = [((n, n, n), "GEMM, squares") for n in SQUARES]
    shapes += [(shape, "GEMM, odd shapes") for shape in ODD]
    if sizes != "full":
        shapes = [((5, 7, 3), "GEMM, odd shapes")]
    return [
        Product(name=f"GEMM {m}×{k}×{n}", group=group, m=m, k=k, n=n, onnx=True, numpy=True)
        for (m, k, n), group in shapes
    ]


if __name__ == "__main__":
    main("gemm")
