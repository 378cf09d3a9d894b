"""A Builder, and the values of Nodes by the reference interpreter."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pytest

from talweg.autodiff.reverse import vjp
from talweg.base import dtypes
from talweg.ir.interpret import interpret
from talweg.ir.node import Graph, Node
from talweg.ops import OpBuilder


def value_of(node: Any) -> Any:
    """Return the array of a Node; of a tuple of Nodes, the list of arrays."""
    if isinstance(node, Node):
        (array,) = interpret(Graph((), (node,)), ())
        return dtypes.decode(array, node.dtype)
    return [value_of(n) for n in node]


class Fn(OpBuilder):
    """A Builder that also makes inputs, runs functions and differentiates them."""

    __slots__ = ()

    def run(self, function: Callable[..., Any], *arguments: Any, **named: Any) -> Any:
        """Call a composite, NumPy arrays as Nodes; return arrays."""
        return value_of(function(self, *map(self.node, arguments), **named))

    def node(self, value: Any) -> Any:
        """Return a Node for an array (or arrays in a list), any other value as it is."""
        if isinstance(value, np.ndarray | np.generic):
            return self.constant(np.asarray(value))
        if isinstance(value, list) and value and isinstance(value[0], np.ndarray):
            return [self.constant(v) for v in value]
        return value

    def gradients(self, result: Node, inputs: Sequence[Node]) -> list[np.ndarray]:
        """Return the gradients of the sum of a result."""
        ones = self.constant(np.ones(result.shape, result.dtype.compute))
        grads = vjp(self, [result], list(inputs), [ones])
        return [value_of(g) for g in grads if g is not None]

    def check_gradient(
        self,
        function: Callable[..., Node],
        *arrays: np.ndarray,
        step: float = 1e-6,
        tolerance: float = 1e-6,
    ) -> None:
        """Compare the gradient of a random weighting of the result with central differences."""
        rng = np.random.default_rng(7)
        inputs = [self.constant(a) for a in arrays]
        result = function(self, *inputs)
        weight = rng.standard_normal(result.shape)
        grads = vjp(self, [result], inputs, [self.constant(weight)])
        directions = [rng.standard_normal(a.shape) for a in arrays]

        def along(t: float) -> float:
            moved = [a + t * d for a, d in zip(arrays, directions)]
            out = value_of(function(self, *map(self.constant, moved)))
            return float(np.sum(out * weight))

        expected = (along(step) - along(-step)) / (2 * step)
        found = sum(
            float(np.sum(value_of(g) * d)) for g, d in zip(grads, directions) if g is not None
        )
        np.testing.assert_allclose(found, expected, rtol=tolerance, atol=tolerance)


@pytest.fixture
def b() -> Fn:
    return Fn()


def spread(shape: Sequence[int], seed: int = 0) -> np.ndarray:
    """Return distinct values at least 0.1 apart, in random order, of both signs."""
    rng = np.random.default_rng(seed)
    count = int(np.prod(shape))
    return ((rng.permutation(count) - count / 2 + 0.5) * 0.1).reshape(tuple(shape))
