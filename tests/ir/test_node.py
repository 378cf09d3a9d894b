"""Nodes and their values, Graphs and their keys, and the Builder."""

from __future__ import annotations

import itertools
import pickle
import sys
from typing import Any

import numpy as np
import pytest

from talweg.base import dtypes
from talweg.base.errors import DTypeError, GraphError, ShapeError
from talweg.base.source import describe, here
from talweg.ir.node import Graph, Node, input_node, topological
from talweg.ir.types import TensorType, tensor_type
from talweg.ops import OpBuilder

F32 = tensor_type(dtypes.float32, (2, 3))


def given(shape: tuple[int, ...] = (2, 3), dtype: dtypes.DType = dtypes.float32) -> Node:
    return input_node(tensor_type(dtype, shape))


def test_equal_types_are_one_object() -> None:
    assert tensor_type(dtypes.float32, (2, 3)) is F32
    assert F32.with_shape((3,)).with_shape((2, 3)) is F32
    assert F32.with_dtype(dtypes.int8) is tensor_type(dtypes.int8, (2, 3))
    assert pickle.loads(pickle.dumps(F32)) is F32
    assert (F32.rank, F32.size, F32.nbytes, repr(F32)) == (2, 6, 24, "float32[2,3]")


def test_the_key_knows_attributes_and_types() -> None:
    b = OpBuilder()
    x, y = given((2, 2)), given((2, 2), dtypes.float64)

    def key(leaf: Node, out: Node) -> tuple[object, ...]:
        return Graph([leaf], [out]).key

    z = given((2, 2))
    assert key(x, b.reduce_sum(x, (0,))) == key(z, b.reduce_sum(z, (0,)))
    assert key(x, b.reduce_sum(x, (0,))) != key(x, b.reduce_sum(x, (1,)))
    assert key(x, b.neg(x)) != key(y, b.neg(y))
    assert key(x, b.neg(x)) != key(x, b.exp(x))


def test_numbers_and_sources_are_no_part_of_the_key() -> None:
    b, x = OpBuilder(), given()

    def graph(number: float) -> Graph:
        return Graph([x], [b.add(x, b.scalar(number, dtypes.float32))])

    plain = graph(1.0)
    b.source = here()
    traced = graph(2.0)
    assert traced.key == plain.key
    assert plain.outputs[0].source is None
    assert describe(traced.outputs[0].source).endswith("b.source = here()")


def test_graphs_of_one_structure_have_one_key() -> None:
    def graph(shared: bool) -> Graph:
        b, x = OpBuilder(), given()
        y = b.exp(x)
        z = y if shared else b.exp(x)
        return Graph([x], [b.add(y, z)])

    assert graph(True).key == graph(True).key
    assert graph(False).key == graph(False).key
    assert graph(True).key != graph(False).key  # one exp or two: another program
    b, x, y = OpBuilder(), given(), given()
    assert Graph([x, y], [b.sub(x, y)]).key != Graph([y, x], [b.sub(x, y)]).key
    assert Graph([x, y], [x]).key != Graph([x, y], [y]).key


def test_the_order_has_inputs_before_users_and_nothing_twice() -> None:
    b, x = OpBuilder(), given()
    y = b.exp(x)
    left, right = b.neg(y), b.sin(y)
    top = b.add(left, right)
    order = topological([top, left])
    assert len(order) == len(set(order)) == 5
    for node in order:
        assert all(order.index(i) < order.index(node) for i in node.inputs)
    assert topological([top], stop=[left, y]) == [right, top]
    assert topological([y], stop=[y]) == []


def test_a_graph_needs_its_inputs_listed_or_known() -> None:
    b, x, y = OpBuilder(), given(), given()
    with pytest.raises(GraphError, match=r"float32\[2,3\] that is not listed"):
        Graph([x], [b.add(x, y)])
    assert Graph([x], [b.add(x, b.scalar(2, dtypes.float32))]).inputs == (x,)


def test_a_deep_graph_needs_no_recursion() -> None:
    b, node = OpBuilder(), given(())
    for _ in range(3 * sys.getrecursionlimit()):
        node = b.neg(node)
    assert len(topological([node])) == 3 * sys.getrecursionlimit() + 1


def test_the_builder_infers() -> None:
    b, x = OpBuilder(), given()
    y = b.exp(x)
    z = b.reduce_sum(y, axes=(0,))
    assert (y.type, z.type) == (F32, tensor_type(dtypes.float32, (3,)))


def test_the_builder_gives_each_result_of_an_op_a_node() -> None:
    b, x = OpBuilder(), given()
    assert b.results(b.neg(x).op, x)[0].op == b.neg(x).op


def test_scalars_and_constants_hold_stored_data() -> None:
    b = OpBuilder()
    one = b.scalar(1, dtypes.bfloat16)
    assert one.array is not None
    assert (one.shape, one.array.dtype, int(one.array)) == ((), np.uint16, 0x3F80)
    table = b.constant(np.array([1.0, -2.0]), dtypes.float32)
    assert table.array is not None
    assert (table.dtype, table.array.dtype) == (dtypes.float32, np.float32)


class Bytes:
    """Elements somewhere in memory."""

    def __init__(self, array: np.ndarray) -> None:
        self.held = array
        self.read = 0

    @property
    def address(self) -> int:
        return self.held.ctypes.data

    def array(self, dtype: np.dtype, shape: tuple[int, ...]) -> np.ndarray:
        self.read += 1
        return self.held.view(dtype).reshape(shape)


def test_a_value_left_in_memory_becomes_an_array_when_it_is_read() -> None:
    node = given()
    assert (node.known, node.array, node.buffer) == (False, None, None)
    memory = Bytes(np.arange(6, dtype=np.float32))
    node.buffer = memory
    assert node.known
    assert memory.read == 0
    np.testing.assert_array_equal(node.array, [[0, 1, 2], [3, 4, 5]])
    assert node.array is node.array
    assert (memory.read, node.buffer, node.number) == (1, memory, None)
    node.buffer = Bytes(np.ones(6, np.float32))
    np.testing.assert_array_equal(node.array, np.ones((2, 3)))
    node.array = np.zeros((2, 3), np.float32)
    assert node.buffer is None
    np.testing.assert_array_equal(node.array, np.zeros((2, 3)))


@pytest.mark.parametrize(
    ("value", "dtype"),
    [
        (2.5, dtypes.float32),
        (True, dtypes.bool_),
        (300, dtypes.int8),
        (7, dtypes.complex64),
        (0.1, dtypes.bfloat16),
        (1 + 2j, dtypes.complex128),
        (2**63, dtypes.uint64),
        (np.float32(0.5), dtypes.float16),
    ],
)
def test_a_scalar_keeps_its_number_and_makes_the_array_numpy_makes(
    value: Any, dtype: dtypes.DType
) -> None:
    node = OpBuilder().scalar(value, dtype)
    assert node.known
    assert node.buffer is None
    if isinstance(value, float):
        assert node.number is value
    expected = dtypes.encode(np.array(value).astype(dtype.compute), dtype)
    assert node.array is not None
    assert (node.array.dtype, node.array.shape) == (expected.dtype, ())
    assert node.array == expected


def test_an_integer_beyond_every_dtype_fails_where_it_is_recorded() -> None:
    with pytest.raises(OverflowError):
        OpBuilder().scalar(2**70, dtypes.int64)


@pytest.mark.parametrize(
    ("left", "right", "error", "message"),
    [
        (
            F32,
            tensor_type(dtypes.float64, (2, 3)),
            DTypeError,
            r"add.*one dtype.*float32\[2,3\], float64\[2,3\]",
        ),
        (F32, tensor_type(dtypes.float32, (3,)), ShapeError, r"add.*float32\[2,3\], float32\[3\]"),
        (F32, tensor_type(dtypes.float32, (1, 3)), ShapeError, "one shape"),
    ],
)
def test_a_wrong_operand_fails_where_it_is_recorded(
    left: TensorType, right: TensorType, error: type[Exception], message: str
) -> None:
    with pytest.raises(error, match=message):
        OpBuilder().add(input_node(left), input_node(right))


def test_an_unaccepted_dtype_is_named_with_those_accepted() -> None:
    with pytest.raises(DTypeError, match=r"floor does not accept int32; .*float16, float32"):
        OpBuilder().floor(given(dtype=dtypes.int32))


def test_tokens_are_equal_exactly_for_equal_ops() -> None:
    b, x = OpBuilder(), given((2, 2))
    ops = [
        b.neg(x).op,
        b.neg(x).op,
        b.reduce_sum(x, (0,)).op,
        b.reduce_sum(x, (1,)).op,
        b.reduce_sum(x, axes=(1,)).op,
        b.reduce_max(x, (1,)).op,
        b.polygamma(x, 1).op,
        b.polygamma(x, 2).op,
    ]
    for p, q in itertools.product(ops, ops):
        assert (p == q) is (p.token == q.token)
    assert len({op.token for op in ops}) == 6
