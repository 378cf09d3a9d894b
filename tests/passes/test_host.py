"""Calls of Python functions between kernels."""

from __future__ import annotations

import numpy as np

from talweg.base import dtypes
from talweg.engine.building import build
from talweg.engine.scalars import is_scalar
from talweg.ir.interpret import interpret
from talweg.ir.node import Graph, input_node
from talweg.ir.types import tensor_type
from talweg.ops import OpBuilder
from talweg.ops.effect import HostCallback


def both(x: np.ndarray, y: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    return x @ y, x.sum(0)


def test_a_host_call_stands_between_kernels() -> None:
    b = OpBuilder()
    f64 = dtypes.float64
    x = input_node(tensor_type(f64, (3, 4)), np.random.default_rng(0).normal(size=(3, 4)))
    turned = b.permute(b.exp(x), (1, 0))
    call = HostCallback(both, (tensor_type(f64, (4, 4)), tensor_type(f64, (3,))))
    product, total = b.results(call, turned, b.add(x, b.scalar(1.0, f64)))
    outputs = (b.tanh(product), b.reduce_sum(total, axes=(0,)), total)
    seen = Graph([x, *[n for n in Graph([x], outputs).order if not n.inputs]], outputs)
    arrays = [n.array for n in seen.inputs if n.array is not None]
    expected = interpret(seen, arrays)
    for node in seen.order:
        node.array = None
    program = build(seen, [is_scalar(n) for n in seen.inputs])
    assert len(program.parts) == 3
    for node, value, right in zip(seen.outputs, program.run(seen.inputs), expected, strict=True):
        node.value = value
        np.testing.assert_allclose(node.array, right, rtol=1e-12)
