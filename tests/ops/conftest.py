"""A Builder, and short ways to the values and gradients of Nodes."""

from __future__ import annotations

import numpy as np
import pytest

from talweg.autodiff.reverse import vjp
from talweg.base import dtypes
from talweg.ir.interpret import interpret
from talweg.ir.node import Graph, Node
from talweg.ops import OpBuilder


class Bench(OpBuilder):
    """A Builder that runs what it made."""

    __slots__ = ()

    def value(self, node: Node) -> np.ndarray:
        """Return what the reference interpreter computes for a Node."""
        (array,) = interpret(Graph((), (node,)), ())
        return dtypes.decode(array, node.dtype)

    def gradients(self, output: Node, *inputs: Node) -> list[Node]:
        """Return the gradient of the sum of `output` for each input."""
        found = vjp(self, [output], inputs, [self.constant(np.ones(output.shape))])
        assert None not in found
        return [n for n in found if n is not None]

    def gradient(self, output: Node, *inputs: Node) -> list[list[object]]:
        """Return the gradient of the sum of `output` for each input, as lists."""
        return [self.value(n).tolist() for n in self.gradients(output, *inputs)]


@pytest.fixture
def b() -> Bench:
    return Bench()
