"""Which values are stored channels last."""

from __future__ import annotations

import numpy as np

import talweg as tw
from talweg.engine.building import build
from talweg.engine.scalars import is_scalar
from talweg.ir.interpret import interpret
from talweg.nn import functional as F
from talweg.ops.kinds import Move
from talweg.passes.layout import channels_last, choose_orders

from .programs import graph_of, known


def region(channels: int) -> tuple[tw.Tensor, tw.Tensor, tw.Tensor]:
    x, w = tw.rand(2, channels, 6, 6), tw.rand(channels, channels, 3, 3)
    x, w = tw.tensor(x.numpy()), tw.tensor(w.numpy())
    first = tw.relu(F.conv2d(x, w, padding=1))
    pooled = F.max_pool2d(first, 2)
    last = F.conv2d(pooled, w, padding=1)
    return first, pooled, last


def test_a_region_of_convolutions_is_channels_last() -> None:
    first, pooled, last = region(16)
    _, orders = choose_orders(graph_of(last))
    stored = [first.node(), pooled.node()]
    assert [orders.get(node) for node in stored] == [(0, 2, 3, 1)] * 2
    assert last.node() not in orders, "what the caller gets is row-major"


def test_channels_that_fill_no_vector_stay_where_they_are() -> None:
    _, _, last = region(6)
    _, orders = choose_orders(graph_of(last))
    assert not orders


def test_what_is_flattened_is_row_major() -> None:
    _, pooled, _ = region(16)
    _, orders = choose_orders(graph_of(pooled.flatten(1) @ known(144, 3)))
    assert pooled.node() not in orders


def test_the_order_changes_no_value() -> None:
    graph = graph_of(*region(16))
    arrays = [n.array for n in graph.inputs if n.array is not None]
    program = build(graph, [is_scalar(n) for n in graph.inputs])
    for node, value, right in zip(
        graph.outputs, program.run(graph.inputs), interpret(graph, arrays), strict=True
    ):
        node.value = value
        np.testing.assert_allclose(node.array, right, rtol=1e-4, atol=1e-4)


def test_axes_between_batch_and_channels_keep_their_order() -> None:
    assert [channels_last(rank) for rank in (3, 4, 5)] == [(0, 2, 1), (0, 2, 3, 1), (0, 2, 3, 4, 1)]


def test_the_gradient_of_a_kernel_is_moved_once() -> None:
    w = tw.tensor(tw.rand(16, 3, 3, 3).numpy(), requires_grad=True)
    (F.conv2d(known(2, 3, 6, 6), w) ** 2).sum().backward()
    assert w.grad is not None
    graph, orders = choose_orders(graph_of(w.grad * 2, w.grad))
    moves = [n for n in graph.order if isinstance(n.op, Move)]
    assert [n.shape for n in moves] == [(16, 3, 3, 3)]
    assert orders[moves[0].inputs[0]] == (2, 3, 1, 0)
