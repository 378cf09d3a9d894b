"""Sums of many terms: fewer terms, the same sum."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from functools import reduce

import numpy as np
import pytest

from talweg.base import dtypes
from talweg.ir.interpret import interpret
from talweg.ir.node import Graph, Node, input_node
from talweg.ir.types import tensor_type
from talweg.ir.verify import verify
from talweg.ops import OpBuilder
from talweg.passes.sums import join_terms, sum_sources

RNG = np.random.default_rng(2)


def check(shapes: list[tuple[int, ...]], build: Callable[..., Node | list[Node]]) -> dict[str, int]:
    """Compare both graphs by the references; return how often each Op is left."""
    b = OpBuilder()
    inputs = [input_node(tensor_type(dtypes.float64, s)) for s in shapes]
    made = build(b, *inputs)
    graph = Graph(inputs, made if isinstance(made, list) else [made])
    joined = join_terms(sum_sources(graph))
    verify(joined)
    arrays = [RNG.normal(size=s) for s in shapes]
    for found, wanted in zip(interpret(joined, arrays), interpret(graph, arrays), strict=True):
        np.testing.assert_allclose(found, wanted, rtol=1e-12, atol=1e-12)
    return Counter(n.op.name() for n in joined.order)


def total(b: OpBuilder, terms: list[Node]) -> Node:
    return reduce(b.add, terms)


@pytest.mark.parametrize(("count", "left"), [(2, 1), (4, 1), (7, 3), (16, 1), (21, 3), (40, 3)])
def test_shallow_products_are_joined(count: int, left: int) -> None:
    def build(b: OpBuilder, *x: Node) -> Node:
        return total(b, [b.dot(p, q) for p, q in zip(x[:count], x[count:], strict=True)])

    found = check([(8, 2)] * count + [(2, 9)] * count, build)
    assert found["dot"] == left
    assert found["add"] == left - 1


def test_deep_products_are_not() -> None:
    found = check(
        [(3, 20)] * 3 + [(20, 4)] * 3,
        lambda b, *x: total(b, [b.dot(p, q) for p, q in zip(x[:3], x[3:], strict=True)]),
    )
    assert found["dot"] == 3


def test_products_read_through_views_and_between_other_terms() -> None:
    def build(b: OpBuilder, z: Node, *x: Node) -> Node:
        turned = [b.permute(b.dot(p, q), (1, 0)) for p, q in zip(x[:4], x[4:], strict=True)]
        return total(b, [turned[0], z, *turned[1:], b.exp(z)])

    found = check([(9, 8)] + [(8, 2)] * 4 + [(2, 9)] * 4, build)
    assert (found["dot"], found["permute"], found["add"]) == (1, 1, 2)


def test_what_is_used_elsewhere_stays() -> None:
    def build(b: OpBuilder, *x: Node) -> list[Node]:
        products = [b.dot(p, q) for p, q in zip(x[:3], x[3:], strict=True)]
        middle = b.add(products[0], products[1])
        return [b.add(middle, products[2]), b.exp(products[1]), b.neg(middle)]

    assert check([(8, 2)] * 3 + [(2, 9)] * 3, build)["dot"] == 3


def test_batched_products() -> None:
    found = check(
        [(5, 8, 2)] * 4 + [(5, 2, 9)] * 4,
        lambda b, *x: total(b, [b.dot(p, q) for p, q in zip(x[:4], x[4:], strict=True)]),
    )
    assert found["dot"] == 1


def embedded(b: OpBuilder, x: Node, axis: int, start: int, size: int) -> Node:
    shape = (*x.shape[:axis], size, *x.shape[axis + 1 :])
    starts = tuple(start if a == axis else 0 for a in range(x.rank))
    return b.embed(x, starts, (1,) * x.rank, shape)


@pytest.mark.parametrize("axis", [0, 1, 2])
@pytest.mark.parametrize("count", [2, 5, 40])
def test_parts_that_fill_an_axis_are_put_side_by_side(axis: int, count: int) -> None:
    shape = tuple(2 if a == axis else 3 for a in range(3))
    order = RNG.permutation(count)
    found = check(
        [shape] * count,
        lambda b, *x: total(b, [embedded(b, x[i], axis, 2 * int(i), 2 * count) for i in order]),
    )
    assert found["add"] == found["embed"] == 0


def test_parts_with_gaps_and_overlaps() -> None:
    places = [(0, 2), (2, 3), (6, 2), (7, 3), (8, 1)]

    def build(b: OpBuilder, *x: Node) -> Node:
        return total(b, [embedded(b, p, 0, at, 12) for p, (at, _) in zip(x, places, strict=True)])

    found = check([(n, 4) for _, n in places], build)
    assert (found["embed"], found["add"]) == (4, 3)


@pytest.mark.parametrize(("axes", "left"), [((0, 2, 3), 0), ((2, 3), 0), ((1, 3), 1)])
def test_sums_over_windows_leave_out_the_zeros(axes: tuple[int, ...], left: int) -> None:
    how = (2, 2), (2, 2), ((0, 0), (0, 0)), (1, 1)
    found = check(
        [(2, 3, 4, 6), (2, 3, 2, 3)],
        lambda b, x, ct: b.reduce_sum(b.window_max_grad(x, ct, *how), axes=axes),
    )
    assert found["window_max_grad"] == left
