"""Reverse mode on whole Graphs: None, accumulation, several results, orders, linear cost."""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from talweg.autodiff.reverse import vjp
from talweg.base import dtypes
from talweg.base.errors import GradientError
from talweg.ir.interpret import interpret
from talweg.ir.node import Graph, Node, input_node, topological
from talweg.ir.text import parse_graph, print_graph
from talweg.ir.types import tensor_type
from talweg.ir.verify import verify
from talweg.ops import BY_NAME, OpBuilder

F64 = dtypes.float64
SCALAR = tensor_type(F64, ())
VECTOR = tensor_type(F64, (3,))


def one(b: OpBuilder) -> Node:
    return b.scalar(1, F64)


def value(node: Node | None, inputs: list[Node], arrays: list[Any]) -> np.ndarray:
    assert node is not None
    graph = Graph(inputs, [node])
    verify(graph)
    return interpret(graph, [np.asarray(a) for a in arrays])[0]


def test_a_value_used_several_times_sums_its_gradients() -> None:
    b, x = OpBuilder(), input_node(SCALAR)
    y = b.add(b.mul(x, x), b.mul(x, b.exp(x)))
    (gradient,) = vjp(b, [y], [x], [one(b)])
    t = 0.7
    np.testing.assert_allclose(value(gradient, [x], [t]), 2 * t + (1 + t) * np.exp(t), rtol=1e-14)


def test_an_input_that_is_not_reached_has_no_gradient() -> None:
    b, x, y = OpBuilder(), input_node(SCALAR), input_node(SCALAR)
    gradients = vjp(b, [b.exp(x)], [x, y], [one(b)])
    assert gradients[0] is not None
    assert gradients[1] is None


def test_no_gradient_passes_integers_and_comparisons() -> None:
    b, x = OpBuilder(), input_node(VECTOR)
    whole = b.cast(b.cast(x, dtypes.int64), F64)
    chosen = b.where(b.gt(x, b.scalar(0, F64)), whole, whole)
    ct = input_node(VECTOR)
    assert vjp(b, [b.mul(chosen, whole)], [x], [ct]) == [None]


def test_the_walk_stops_at_the_inputs() -> None:
    b, x = OpBuilder(), input_node(SCALAR)
    middle = b.exp(x)
    out = b.sin(middle)
    by_middle, by_x = vjp(b, [out], [middle, x], [one(b)])
    assert by_x is None
    np.testing.assert_allclose(value(by_middle, [x], [0.3]), np.cos(np.exp(0.3)))


def test_an_output_that_is_an_input_passes_its_cotangent_on() -> None:
    b, x = OpBuilder(), input_node(SCALAR)
    ct = one(b)
    assert vjp(b, [x], [x], [ct]) == [ct]


def test_outputs_add_up_and_a_missing_cotangent_counts_as_zero() -> None:
    b, x = OpBuilder(), input_node(SCALAR)
    y, z = b.exp(x), b.sin(x)
    both = vjp(b, [y, z, y], [x], [one(b), one(b), one(b)])[0]
    np.testing.assert_allclose(value(both, [x], [0.4]), 2 * np.exp(0.4) + np.cos(0.4))
    second = vjp(b, [y, z], [x], [None, one(b)])[0]
    np.testing.assert_allclose(value(second, [x], [0.4]), np.cos(0.4))
    assert vjp(b, [y], [x], [None]) == [None]


def test_a_scalar_operand_sums_the_cotangents_of_every_place() -> None:
    b, x, s = OpBuilder(), input_node(VECTOR), input_node(SCALAR)
    ct = input_node(VECTOR)
    _, by_s = vjp(b, [b.mul(x, s)], [x, s], [ct])
    assert by_s is not None
    assert by_s.type is SCALAR
    p, q = np.array([1.0, 2.0, 3.0]), np.array([0.5, -1.0, 2.0])
    np.testing.assert_allclose(value(by_s, [x, s, ct], [p, 2.0, q]), p @ q)


def product(x: np.ndarray, y: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    return x * y, x + y, np.sign(x).astype(np.int64)


def product_backward(
    x: np.ndarray, y: np.ndarray, by_product: np.ndarray, by_sum: np.ndarray, _: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    return by_product * y + by_sum, by_product * x + by_sum


def test_results_without_a_cotangent_count_as_zero() -> None:
    b, x, y, ct = OpBuilder(), input_node(VECTOR), input_node(VECTOR), input_node(VECTOR)
    types = VECTOR, VECTOR, VECTOR.with_dtype(dtypes.int64)
    made = b.host_callback(x, y, product, types, product_backward)
    first, total, _ = b.results(made.op, x, y)
    p, q, w = np.array([1.0, -2.0, 3.0]), np.array([4.0, 5.0, 6.0]), np.array([0.5, 1.0, -1.0])
    inputs, arrays = [x, y, ct], [p, q, w]
    by_x, by_y = vjp(b, [first], [x, y], [ct])
    np.testing.assert_allclose(value(by_x, inputs, arrays), w * q)
    np.testing.assert_allclose(value(by_y, inputs, arrays), w * p)
    by_x, _ = vjp(b, [first, total], [x, y], [ct, ct])
    np.testing.assert_allclose(value(by_x, inputs, arrays), w * q + w)


def test_an_op_without_gradient_says_so() -> None:
    b, x = OpBuilder(), input_node(VECTOR)
    y = b.host_callback(x, np.negative, (VECTOR,))
    with pytest.raises(GradientError, match="host_callback of <ufunc 'negative'> has no gradient"):
        vjp(b, [y], [x], [input_node(VECTOR)])


@pytest.mark.parametrize("order", [1, 2, 3, 4])
def test_gradients_of_every_order(order: int) -> None:
    b, x = OpBuilder(), input_node(SCALAR)
    node: Node | None = b.mul(b.exp(b.mul(x, b.scalar(2, F64))), b.sin(x))
    for _ in range(order):
        assert node is not None
        (node,) = vjp(b, [node], [x], [one(b)])
    t = 0.3
    expected = ((2 + 1j) ** order * np.exp((2 + 1j) * t)).imag
    np.testing.assert_allclose(value(node, [x], [t]), expected, rtol=1e-13)


STEPS: tuple[Callable[[OpBuilder, Node, Node], Node], ...] = (
    lambda b, x, y: b.add(x, b.neg(y)),
    lambda b, x, y: b.mul(b.tanh(x), y),
    lambda b, x, y: b.sin(x),
    lambda b, x, y: b.div(x, b.add(b.mul(y, y), b.scalar(1, F64))),
    lambda b, x, y: b.expand(b.reduce_sum(b.mul(x, y), (0,)), (3,)),
    lambda b, x, y: b.reshape(b.permute(b.reshape(x, (1, 3)), (1, 0)), (3,)),
)


@given(
    st.lists(
        st.tuples(st.sampled_from(range(len(STEPS))), st.integers(0, 9), st.integers(0, 9)),
        min_size=1,
        max_size=8,
    ),
    st.integers(0, 2**32 - 1),
)
def test_random_graphs_against_finite_differences(
    recipe: list[tuple[int, int, int]], seed: int
) -> None:
    rng = np.random.default_rng(seed)
    b, x, y = OpBuilder(), input_node(VECTOR), input_node(VECTOR)
    pool = [x, y]
    for step, left, right in recipe:
        pool.append(STEPS[step](b, pool[left % len(pool)], pool[right % len(pool)]))
    out = b.reduce_sum(b.tanh(pool[-1]), (0,))
    arrays = [rng.uniform(-1, 1, 3), rng.uniform(-1, 1, 3)]
    moves = [rng.standard_normal(3), rng.standard_normal(3)]
    gradients = vjp(b, [out], [x, y], [one(b)])
    analytic = sum(
        float(value(g, [x, y], arrays) @ m) for g, m in zip(gradients, moves) if g is not None
    )
    step = 1e-5
    ahead, behind = (
        float(value(out, [x, y], [a + sign * step * m for a, m in zip(arrays, moves)]))
        for sign in (1, -1)
    )
    numeric = (ahead - behind) / (2 * step)
    assert analytic == pytest.approx(numeric, rel=1e-5, abs=1e-7)


def calls(work: Callable[[], object]) -> int:
    """How many Python and C functions a piece of work calls."""
    count = 0

    def watch(frame: object, event: str, argument: object) -> None:
        nonlocal count
        count += event in ("call", "c_call")

    sys.setprofile(watch)
    try:
        work()
    finally:
        sys.setprofile(None)
    return count


def chain(length: int) -> tuple[OpBuilder, Node, Node]:
    """Every step uses the value before it twice: 2 ** length paths, 3 * length Nodes."""
    b, x = OpBuilder(), input_node(SCALAR)
    node = x
    for _ in range(length):
        node = b.add(b.sin(node), b.mul(node, node))
    return b, x, node


@pytest.mark.parametrize("what", ["topological", "vjp", "graph", "verify", "text", "interpret"])
def test_cost_is_linear_in_the_number_of_nodes(what: str) -> None:
    def cost(length: int) -> int:
        b, x, out = chain(length)
        graph = Graph([x], [out])
        text = print_graph(graph)
        work = {
            "topological": lambda: topological([out]),
            "vjp": lambda: vjp(b, [out], [x], [one(b)]),
            "graph": lambda: Graph([x], [out]).key,
            "verify": lambda: verify(graph),
            "text": lambda: print_graph(parse_graph(text, BY_NAME)),
            "interpret": lambda: interpret(graph, [np.zeros(())]),
        }
        return calls(work[what])

    cost(4)  # fills memos of types and names
    small, large = cost(100), cost(200)
    assert 100 < small < large <= 2.2 * small


def test_a_gradient_has_a_bounded_number_of_nodes_per_node() -> None:
    b, x, out = chain(200)
    forward = topological([out])
    found = vjp(b, [out], [x], [one(b)])
    backward = topological([ct for ct in found if ct is not None], stop=forward)
    assert len(backward) <= 4 * len(forward)


def test_deep_graphs_need_no_recursion() -> None:
    length = 3 * sys.getrecursionlimit()
    b, x = OpBuilder(), input_node(SCALAR)
    node = x
    for _ in range(length):
        node = b.neg(node)
    (gradient,) = vjp(b, [node], [x], [one(b)])
    assert float(value(gradient, [x], [0.0])) == (-1.0) ** length
