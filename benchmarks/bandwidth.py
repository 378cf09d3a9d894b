"""What should run at the speed of memory: element-wise chains, normalisations, cross-entropy.

Each forward, and forward with the gradients by all floating inputs. The floor counts what is
given once and what is asked for once, however many passes a framework takes.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from benchmarks.alone import main
from benchmarks.case import Case, Function


@dataclass(frozen=True, kw_only=True)
class Rows(Function):
    """A function of a matrix.

    Args:
        rows, columns: of the matrix.
    """

    rows: int
    columns: int

    def matrix(self, rng: np.random.Generator) -> np.ndarray:
        """Return a random matrix."""
        return rng.standard_normal((self.rows, self.columns), np.float32)

    @abstractmethod
    def numbers(self) -> tuple[int, int, int]:
        """Return how many floating inputs, class numbers and results there are."""

    def floor(self) -> float:
        floating, classes, results = self.numbers()
        forward = 4 * floating + 8 * classes + 4 * results
        return float(forward + (4 * floating + 4 * results if self.gradient else 0))


@dataclass(frozen=True, kw_only=True)
class Chain(Rows):
    """relu(x y + x) (y - x / 2): five operations that memory bounds."""

    def inputs(self) -> tuple[np.ndarray, ...]:
        rng = self.rng()
        return self.matrix(rng), self.matrix(rng)

    def eager(self, tw: Any, *tensors: Any) -> Any:
        x, y = tensors
        return tw.relu(x * y + x) * (y - x * 0.5)

    def graph(self, g: Any, *inputs: str) -> str:
        x, y = inputs
        half = g.node("Mul", x, g.constant(np.float32(0.5)))
        raised = g.relu(g.add(g.node("Mul", x, y), x))
        return str(g.node("Mul", raised, g.node("Sub", y, half)))

    def numbers(self) -> tuple[int, int, int]:
        return 2 * self.rows * self.columns, 0, self.rows * self.columns


@dataclass(frozen=True, kw_only=True)
class Swiglu(Rows):
    """silu(x) y: an exponential for every element."""

    def inputs(self) -> tuple[np.ndarray, ...]:
        rng = self.rng()
        return self.matrix(rng), self.matrix(rng)

    def eager(self, tw: Any, *tensors: Any) -> Any:
        x, y = tensors
        return tw.nn.functional.silu(x) * y

    def pure(self, f: Any, *arrays: Any) -> Any:
        x, y = arrays
        return f.silu(x) * y

    def graph(self, g: Any, *inputs: str) -> str:
        x, y = inputs
        return str(g.node("Mul", g.node("Mul", x, g.node("Sigmoid", x)), y))

    def numbers(self) -> tuple[int, int, int]:
        return 2 * self.rows * self.columns, 0, self.rows * self.columns


@dataclass(frozen=True, kw_only=True)
class LayerNorm(Rows):
    """Layer norm along the rows, with scale and shift."""

    def inputs(self) -> tuple[np.ndarray, ...]:
        rng = self.rng()
        weight = 1 + 0.1 * rng.standard_normal(self.columns, np.float32)
        return self.matrix(rng), weight, rng.standard_normal(self.columns, np.float32)

    def eager(self, tw: Any, *tensors: Any) -> Any:
        x, weight, bias = tensors
        return tw.nn.functional.layer_norm(x, (self.columns,), weight, bias)

    def pure(self, f: Any, *arrays: Any) -> Any:
        return f.layer_norm(*arrays)

    def graph(self, g: Any, *inputs: str) -> str:
        _, weight, bias = self.inputs()
        return str(g.layer_norm(inputs[0], weight, bias))

    def numbers(self) -> tuple[int, int, int]:
        return (self.rows + 2) * self.columns, 0, self.rows * self.columns


@dataclass(frozen=True, kw_only=True)
class Softmax(Rows):
    """Softmax along the rows."""

    def inputs(self) -> tuple[np.ndarray, ...]:
        return (self.matrix(self.rng()),)

    def eager(self, tw: Any, *tensors: Any) -> Any:
        return tw.softmax(tensors[0], dim=-1)

    def pure(self, f: Any, *arrays: Any) -> Any:
        return f.softmax(arrays[0])

    def graph(self, g: Any, *inputs: str) -> str:
        return str(g.node("Softmax", inputs[0], axis=-1))

    def numbers(self) -> tuple[int, int, int]:
        return self.rows * self.columns, 0, self.rows * self.columns


@dataclass(frozen=True, kw_only=True)
class CrossEntropy(Rows):
    """Mean cross-entropy of the rows against class numbers."""

    def inputs(self) -> tuple[np.ndarray, ...]:
        rng = self.rng()
        return self.matrix(rng), rng.integers(0, self.columns, self.rows)

    def eager(self, tw: Any, *tensors: Any) -> Any:
        return tw.nn.functional.cross_entropy(*tensors)

    def pure(self, f: Any, *arrays: Any) -> Any:
        return f.cross_entropy(*arrays)

    def numbers(self) -> tuple[int, int, int]:
        return self.rows * self.columns, self.rows, 1


def cases(sizes: str) -> Sequence[Case]:
    """Return the cases in sizes `full` or `tiny`."""
    wide, vocabulary = ((8192, 2048), (4096, 32000)) if sizes == "full" else ((4, 6), (3, 7))
    made: list[Case] = []
    for gradient in (False, True):
        way = "forward + backward" if gradient else "forward"
        group = f"memory-bound, {way}"
        for kind, name, (rows, columns) in (
            (Chain, "relu(x·y + x)·(y − x/2)", wide),
            (Swiglu, "silu(x)·y", wide),
            (LayerNorm, "layer norm", wide),
            (Softmax, "softmax", wide),
            (CrossEntropy, "cross-entropy", vocabulary),
        ):
            made.append(
                kind(
                    name=f"{name}, {rows}×{columns}, {way}",
                    group=group,
                    gradient=gradient,
                    rows=rows,
                    columns=columns,
                    onnx=not gradient and kind is not CrossEntropy,
                )
            )
    return made


if __name__ == "__main__":
    main("bandwidth")
