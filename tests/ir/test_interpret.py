"""The interpreter: values, stored forms, what is kept, and errors with the user's line."""

from __future__ import annotations

import weakref

import numpy as np
import pytest

from talweg.base import dtypes
from talweg.base.errors import GraphError, IndexOutOfRange
from talweg.base.source import here
from talweg.ir.interpret import interpret
from talweg.ir.node import Graph, input_node, make_node
from talweg.ir.types import tensor_type
from talweg.ops import OpBuilder

VECTOR = tensor_type(dtypes.float64, (3,))


def test_values_follow_the_graph() -> None:
    b, x, y = OpBuilder(), input_node(VECTOR), input_node(VECTOR)
    z = b.sub(b.mul(x, y), b.scalar(1, dtypes.float64))
    p, q = np.array([1.0, 2.0, 3.0]), np.array([4.0, 5.0, 6.0])
    product, same, total = interpret(Graph([x, y], [z, x, b.reduce_sum(z, (0,))]), [p, q])
    np.testing.assert_array_equal(product, p * q - 1)
    np.testing.assert_array_equal(same, p)
    assert (total.shape, float(total)) == ((), 29.0)


def test_bfloat16_is_rounded_after_every_op() -> None:
    b = OpBuilder()
    x = input_node(tensor_type(dtypes.bfloat16, ()))
    small = b.scalar(2.0**-9, dtypes.bfloat16)
    out = b.add(b.add(x, small), small)  # each addition alone is lost, both together are not
    one = dtypes.encode(np.array(1.0, np.float32), dtypes.bfloat16)
    (result,) = interpret(Graph([x], [out]), [one])
    assert (result.dtype, int(result)) == (np.uint16, int(one))


def test_a_known_value_is_not_computed_again() -> None:
    b, x = OpBuilder(), input_node(VECTOR)
    middle = b.exp(x)
    out = b.neg(middle)
    (result,) = interpret(Graph([x], [out]), [np.zeros(3)])
    np.testing.assert_array_equal(result, np.full(3, -1.0))
    assert (middle.known, out.known) == (False, False)
    middle.array = np.full(3, 7.0)
    (again,) = interpret(Graph([x], [out]), [np.zeros(3)])
    np.testing.assert_array_equal(again, np.full(3, -7.0))


def test_values_are_dropped_after_their_last_use() -> None:
    alive: list[weakref.ref[np.ndarray]] = []
    most = 0

    def watched(array: np.ndarray) -> np.ndarray:
        nonlocal most
        result = array + 1
        alive.append(weakref.ref(result))
        most = max(most, sum(r() is not None for r in alive))
        return result

    b, node = OpBuilder(), input_node(VECTOR)
    first = node
    for _ in range(20):
        node = b.host_callback(node, watched, (VECTOR,))
    interpret(Graph([first], [node]), [np.zeros(3)])
    assert len(alive) == 20
    assert most <= 3


def test_the_number_of_arrays_is_checked() -> None:
    x = input_node(VECTOR)
    with pytest.raises(GraphError, match="1 inputs are needed, 2 were given"):
        interpret(Graph([x], [x]), [np.zeros(3), np.zeros(3)])


def test_an_index_out_of_range_names_the_line_that_recorded_it() -> None:
    b, x = OpBuilder(), input_node(VECTOR)
    index = input_node(tensor_type(dtypes.int64, (1,)))
    b.source = here()
    picked = b.take(x, index, 0)
    with pytest.raises(IndexOutOfRange, match=r"test_interpret\.py:\d+: b.source = here\(\)"):
        interpret(Graph([x, index], [picked]), [np.zeros(3), np.array([3])])


def test_a_reference_that_breaks_its_own_type_is_caught() -> None:
    b, x = OpBuilder(), input_node(VECTOR)
    wrong = make_node(b.neg(x).op, (x,), VECTOR.with_dtype(dtypes.float32))
    with pytest.raises(GraphError, match="neg: reference gave float64"):
        interpret(Graph([x], [wrong]), [np.zeros(3)])


def test_warnings_of_numpy_stay_inside() -> None:
    b, x = OpBuilder(), input_node(VECTOR)
    outputs = [b.log(x), b.div(x, b.scalar(0, dtypes.float64)), b.exp(b.exp(b.exp(x)))]
    log, ratio, huge = interpret(Graph([x], outputs), [np.array([-1.0, 0.0, 9.0])])
    assert np.isnan(log[0])
    assert ratio.tolist()[::2] == [-np.inf, np.inf]
    assert huge[2] == np.inf
