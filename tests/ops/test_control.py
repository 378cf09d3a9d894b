"""Calls of sub-graphs, their text, and calls of Python functions."""

from __future__ import annotations

import numpy as np
import pytest

from talweg.base import dtypes
from talweg.base.errors import GradientError, GraphError, InvalidValue, ShapeError
from talweg.ir.node import Graph, input_node
from talweg.ir.text import parse_graph, print_graph
from talweg.ir.types import tensor_type
from talweg.ir.verify import verify
from talweg.ops import BY_NAME
from talweg.ops.control import Call, close
from talweg.ops.effect import HostCallback

VECTOR = tensor_type(dtypes.float64, (3,))
X, Y = np.array([1.0, 2.0, 3.0]), np.array([4.0, 5.0, 6.0])


def cubes(b, dtype=dtypes.float64):
    """A function of two results: x y x and the sum of x y."""
    x, y = (input_node(tensor_type(dtype, (3,))) for _ in range(2))
    product = b.mul(x, y)
    return Graph((x, y), (b.mul(product, x), b.reduce_sum(product, (0,))))


def test_call_computes_and_differentiates_like_its_body(b):
    call = Call(cubes(b))
    x, y = b.constant(X), b.constant(Y)
    product, total = b.results(call, x, y)
    np.testing.assert_array_equal(b.value(product), X * Y * X)
    assert b.value(total) == X @ Y
    assert b.gradient(product, x, y) == [(2 * X * Y).tolist(), (X * X).tolist()]
    assert b.gradient(total, x, y) == [Y.tolist(), X.tolist()]
    both = b.add(product, b.expand(total, (3,)))
    assert b.gradient(both, x, y) == [(2 * X * Y + 3 * Y).tolist(), (X * X + 3 * X).tolist()]


def test_call_has_second_gradients(b):
    x, y = b.constant(X), b.constant(Y)
    product, _ = b.results(Call(cubes(b)), x, y)
    (first,) = b.gradients(product, x)
    assert b.gradient(first, x, y) == [(2 * Y).tolist(), (2 * X).tolist()]


def test_calls_nest_and_keep_bfloat16(b):
    inner = Call(cubes(b, dtypes.bfloat16))
    p, q = (input_node(tensor_type(dtypes.bfloat16, (3,))) for _ in range(2))
    outer = Call(Graph((p, q), (b.results(inner, p, q)[0],)))
    x = b.constant(np.array([1.5, 257 / 256, 3.0]), dtypes.bfloat16)
    found = b.value(b.call(x, x, graph=outer.graph))
    expected = b.value(b.mul(b.mul(x, x), x))
    np.testing.assert_array_equal(found, expected)


def test_equal_structures_are_one_call(b):
    assert Call(cubes(b)) == Call(cubes(b))
    assert Call(cubes(b)).token == Call(cubes(b)).token
    assert Call(cubes(b)) != Call(cubes(b, dtypes.float32))


def test_call_prints_and_parses_back(b):
    x, y = (input_node(VECTOR) for _ in range(2))
    inner = Call(cubes(b))
    nested = Call(Graph((x, y), b.results(inner, y, x)))
    graph = Graph((x, y), b.results(nested, x, y))
    text = print_graph(graph)
    again = parse_graph(text, BY_NAME)
    verify(again)
    assert print_graph(again) == text
    assert again.key == graph.key


def test_data_must_be_passed_in(b):
    x = input_node(VECTOR)
    graph = Graph((x,), (b.mul(x, b.scalar(3, dtypes.float64)),))
    with pytest.raises(GraphError, match="no data but its inputs"):
        Call(graph)
    closed, data = close(graph)
    value = b.value(b.apply(Call(closed), b.constant(X), *data))
    np.testing.assert_array_equal(value, 3 * X)
    with pytest.raises(ShapeError, match=r"takes float64\[3\], float64\[\], got float64\[3\]"):
        b.apply(Call(closed), b.constant(X))


def test_callback_with_a_gradient(b):
    op = HostCallback(
        lambda x, y: (x * y, x.sum()),
        (VECTOR, tensor_type(dtypes.float64, ())),
        lambda x, y, ct, total: (ct * y + total, ct * x),
    )
    x, y = b.constant(X), b.constant(Y)
    product, total = b.results(op, x, y)
    np.testing.assert_array_equal(b.value(product), X * Y)
    assert b.gradient(product, x, y) == [Y.tolist(), X.tolist()]
    assert b.gradient(total, x) == [[1, 1, 1]]


def test_callback_gradient_skips_integers(b):
    op = HostCallback(lambda x, n: x * n, (VECTOR,), lambda _x, n, ct: ct * n)
    x = b.constant(X)
    (out,) = b.results(op, x, b.constant(np.array([2, 3, 4])))
    assert b.gradient(out, x) == [[2, 3, 4]]


def test_callback_errors(b):
    x = b.constant(X)
    plain = b.apply(HostCallback(np.exp, (VECTOR,)), x)
    with pytest.raises(GradientError, match=r"ufunc 'exp'.*backward function"):
        b.gradients(plain, x)
    with pytest.raises(InvalidValue, match="tuple of 2 arrays"):
        b.value(b.results(HostCallback(np.exp, (VECTOR, VECTOR)), x)[0])
    with pytest.raises(GraphError, match=r"float64\(2,\).*float64\[3\]"):
        b.value(b.apply(HostCallback(lambda v: v[:2], (VECTOR,)), x))
    with pytest.raises(GraphError, match="no text form"):
        print_graph(Graph((x,), (plain,)))
