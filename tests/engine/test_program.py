"""Programs: what is kept of the graphs they were made from."""

from __future__ import annotations

import gc
import weakref

import numpy as np

from talweg.base import dtypes
from talweg.engine.counters import counters
from talweg.engine.evaluate import run
from talweg.ir.node import Graph, input_node
from talweg.ir.types import tensor_type
from talweg.ops import OpBuilder


def test_a_program_keeps_no_value_of_its_first_run() -> None:
    plans = counters().plans
    given = np.full((300, 300), 2, np.float32)
    x = input_node(tensor_type(dtypes.float32, (300, 300)), given)
    b = OpBuilder()
    y = b.mul(b.exp(x), x)
    (found,) = run(Graph([x], [y]))
    y.value = found
    np.testing.assert_allclose(y.array, 2 * np.exp(given), rtol=1e-6)
    assert counters().plans == plans + 1
    values = weakref.ref(given), weakref.ref(found)
    del given, found, x, y
    gc.collect()
    assert all(ref() is None for ref in values)
