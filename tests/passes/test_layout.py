"""Which values are stored channels last."""

from __future__ import annotations

import numpy as np
import pytest

import talweg as tw
from talweg.engine.building import build
from talweg.engine.scalars import is_scalar
from talweg.ir.interpret import interpret
from talweg.nn import functional as F
from talweg.ops.kinds import Contract, Elementwise, Move, Window
from talweg.passes.layout import Images, choose_orders, images_of

from .programs import graph_of, known


def region(channels: int) -> tuple[tw.Tensor, tw.Tensor, tw.Tensor]:
    x, w = tw.rand(2, channels, 6, 6), tw.rand(channels, channels, 3, 3)
    x, w = tw.tensor(x.numpy()), tw.tensor(w.numpy())
    first = tw.relu(F.conv2d(x, w, padding=1))
    pooled = F.max_pool2d(first, 2)
    last = F.conv2d(pooled, w, padding=1)
    return first, pooled, last


def test_a_region_of_convolutions_is_channels_last() -> None:
    _, _, last = region(16)
    graph, orders = choose_orders(graph_of(last))
    stored = [node for node in graph.order if isinstance(node.op, Contract | Elementwise | Window)]
    assert {orders.get(node) for node in stored} == {(0, 2, 3, 1)}
    assert [type(node.op) for node in graph.outputs] == [Move]
    assert graph.outputs[0] not in orders, "what the caller gets is row-major"


def test_an_input_is_copied_once_where_kernels_slide_over_it() -> None:
    x, w = known(2, 16, 6, 6), known(16, 16, 3, 3)
    graph, orders = choose_orders(graph_of(F.conv2d(x, w), F.conv2d(x, w, padding=1).sum()))
    assert [orders[n] for n in graph.order if isinstance(n.op, Move) and n in orders] == [
        (0, 2, 3, 1)
    ]
    graph, orders = choose_orders(graph_of(F.conv2d(x, known(16, 16, 1, 1))))
    assert not orders
    assert not any(isinstance(n.op, Move) for n in graph.order)


@pytest.mark.parametrize("computed", [False, True])
def test_few_channels_are_copied_with_their_border(computed: bool) -> None:
    x, w = known(2, 3, 8, 7), tw.tensor(tw.rand(16, 3, 3, 3).numpy(), requires_grad=True)
    y = F.conv2d(x / 255 if computed else x, w, padding=(1, 2), stride=2)
    y.sum().backward()
    assert w.grad is not None
    graph, orders = choose_orders(graph_of(y, w.grad))
    borders = [n for n in graph.order if isinstance(n.op, Move) and n.op.border]
    assert [(n.shape, orders[n]) for n in borders] == [((2, 3, 10, 11), (0, 2, 3, 1))]
    readers = [n for n in graph.order if borders[0] in n.inputs]
    assert len(readers) == 2
    assert not any(any(map(any, n.op.border)) for n in readers if isinstance(n.op, Contract))


def test_kernels_of_single_channels_are_copied_but_not_beside_wide_rows() -> None:
    for side, copies in ((8, 2), (40, 0)):
        graph, orders = choose_orders(
            graph_of(F.conv2d(known(2, 16, side, side), known(16, 1, 3, 3), groups=16))
        )
        assert len([n for n in graph.order if n in orders and isinstance(n.op, Move)]) == copies


def test_channels_that_fill_no_vector_stay_where_they_are() -> None:
    _, _, last = region(9)
    _, orders = choose_orders(graph_of(last))
    assert not orders


def test_what_is_flattened_is_row_major() -> None:
    _, pooled, _ = region(16)
    _, orders = choose_orders(graph_of(pooled.flatten(1) @ known(144, 3)))
    assert pooled.node() not in orders


def convolved(channels: int, kernel: int, groups: int, stride: int, side: int) -> list[tw.Tensor]:
    x = tw.tensor(tw.rand(3, channels, side, side).numpy(), requires_grad=True)
    w = tw.rand(2 * channels if groups == 1 else channels, channels // groups, kernel, kernel)
    w = tw.tensor(w.numpy(), requires_grad=True)
    y = F.conv2d(x, w, padding=kernel // 2, stride=stride, groups=groups)
    (y * y).sum().backward()
    assert x.grad is not None
    assert w.grad is not None
    return [y, x.grad, w.grad]


def pooled_twice() -> list[tw.Tensor]:
    x, w = known(2, 3, 12, 12), tw.tensor(tw.rand(16, 3, 3, 3).numpy(), requires_grad=True)
    v = tw.tensor(tw.rand(16, 16, 2, 2).numpy(), requires_grad=True)
    first = F.max_pool2d(F.conv2d(x, w, padding=1), 2)  # covered by windows
    last = F.max_pool2d(tw.relu(F.conv2d(first, v)), 2)  # of 5 x 5 places, not covered
    (last * last).sum().backward()
    assert w.grad is not None
    assert v.grad is not None
    return [last, w.grad, v.grad]


def idle(batch: int, channels: int) -> list[tw.Tensor]:
    """Two convolutions with pooling, whose channels leave lanes idle, and their gradients."""
    x, w = known(batch, 1, 11, 11), tw.tensor(tw.rand(channels, 1, 4, 4).numpy())
    v, bias, dense = known(3, channels, 3, 3), known(channels), known(12, 5)
    w.requires_grad, v.requires_grad, bias.requires_grad = True, True, True
    first = F.max_pool2d(F.conv2d(x, w, bias), 2)
    last = F.max_pool2d(tw.relu(F.conv2d(first, v, padding=1)), 2).flatten(1)
    (last @ dense).square().mean().backward()
    assert w.grad is not None
    assert v.grad is not None
    assert bias.grad is not None
    return [last, w.grad, v.grad, bias.grad]


@pytest.mark.parametrize(
    ("batch", "channels", "last"), [(32, 20, True), (32, 32, False), (48, 20, False), (8, 5, False)]
)
def test_the_batch_is_last_where_channels_leave_lanes_idle(
    batch: int, channels: int, last: bool
) -> None:
    weight = known(channels, channels, 3, 3)
    graph = graph_of(F.conv2d(known(batch, channels, 8, 8), weight).sum())
    assert images_of(graph) == Images(batch=last)
    x, weight = known(32, 20, 8, 8), known(20, 20, 3, 3)
    y = F.batch_norm(F.conv2d(x, weight), None, None, training=True)
    assert images_of(graph_of(y.sum())) == Images()
    grouped = F.conv2d(known(32, 20, 8, 8), known(20, 10, 3, 3), groups=2)
    assert images_of(graph_of(grouped.sum())) == Images()


def test_images_with_the_batch_last_are_copied_at_the_border_of_the_graph() -> None:
    x, weight, dense = known(32, 1, 10, 10), known(20, 1, 3, 3), known(320, 5)
    pooled = F.max_pool2d(F.conv2d(x, weight), 2)
    graph, orders = choose_orders(graph_of(pooled.flatten(1) @ dense))
    (node,) = (n for n in graph.order if isinstance(n.op, Window))
    assert orders[node] == (2, 3, 1, 0)
    copies = [n for n in graph.order if isinstance(n.op, Move)]
    assert [orders.get(n) for n in copies] == [(2, 3, 1, 0), None]
    graph, orders = choose_orders(graph_of(*idle(32, 20)))
    stored = [n for n in graph.order if isinstance(n.op, Window)]
    assert [orders.get(n) for n in stored] == [(2, 3, 1, 0)] * 4
    pooled = [n for n in stored if len(n.inputs) == 2]
    assert [isinstance(n.inputs[1].op, Move) for n in pooled] == [True, False]


CASES = {
    "idle": lambda: idle(32, 20),
    "pooled": pooled_twice,
    "region": lambda: [*region(16)],
    "few": lambda: convolved(3, 5, 1, 2, 9),
    "single": lambda: convolved(16, 3, 16, 2, 9),
    "wide": lambda: convolved(16, 3, 16, 1, 33)[:1],
    "points": lambda: convolved(16, 1, 1, 1, 7),
    "far points": lambda: convolved(16, 1, 1, 2, 7),
}


@pytest.mark.parametrize("case", CASES)
def test_the_order_changes_no_value(case: str) -> None:
    graph = graph_of(*CASES[case]())
    arrays = [n.array for n in graph.inputs if n.array is not None]
    program = build(graph, [is_scalar(n) for n in graph.inputs])
    for node, value, right in zip(
        graph.outputs, program.run(graph.inputs), interpret(graph, arrays), strict=True
    ):
        node.value = value
        np.testing.assert_allclose(node.array, right, rtol=1e-4, atol=1e-4)


def test_axes_between_batch_and_channels_keep_their_order() -> None:
    channels, batch = Images(), Images(batch=True)
    assert [channels.order(rank) for rank in (3, 4, 5)] == [
        (0, 2, 1),
        (0, 2, 3, 1),
        (0, 2, 3, 4, 1),
    ]
    assert [batch.order(rank) for rank in (3, 4)] == [(2, 1, 0), (2, 3, 1, 0)]


def test_the_gradient_of_a_kernel_is_moved_once() -> None:
    w = tw.tensor(tw.rand(16, 3, 3, 3).numpy(), requires_grad=True)
    (F.conv2d(known(2, 3, 6, 6), w) ** 2).sum().backward()
    assert w.grad is not None
    graph, orders = choose_orders(graph_of(w.grad * 2, w.grad))
    moves = [n for n in graph.order if isinstance(n.op, Move)]
    assert [n.shape for n in moves] == [(16, 3, 3, 3)]
    assert orders[moves[0].inputs[0]] == (2, 3, 1, 0)


@pytest.mark.parametrize(
    ("dtype", "order"), [(tw.bfloat16, (0, 2, 3, 1)), (tw.float32, (2, 3, 1, 0))]
)
def test_the_gradient_of_a_bfloat16_kernel_is_made_in_its_order(
    dtype: tw.dtype, order: tuple[int, ...]
) -> None:
    stored = tw.tensor(tw.rand(16, 3, 3, 32).numpy()).to(dtype).detach().requires_grad_()
    x = known(2, 32, 6, 6).to(dtype)
    (F.conv2d(x, stored.permute(0, 3, 1, 2)) ** 2).sum().backward()
    assert stored.grad is not None
    graph, orders = choose_orders(graph_of(stored.grad))
    (made,) = (n for n in graph.order if n.shape == (16, 32, 3, 3) and isinstance(n.op, Contract))
    assert orders[made] == order
    moved = [n for n in graph.order if made in n.inputs and isinstance(n.op, Move)]
    assert len(moved) == (dtype is tw.float32)
