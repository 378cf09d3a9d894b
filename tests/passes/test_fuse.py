"""Which kernels eager programs become."""

from __future__ import annotations

import sys

import numpy as np
import pytest

import talweg as tw
from talweg.nn import functional as F
from talweg.ops import OpBuilder
from talweg.passes.fuse import fuse
from talweg.passes.groups import MEMBERS

from .programs import graph_of, known, plan_of


def kernels(*tensors: tw.Tensor) -> int:
    return len(plan_of(*tensors).launches)


def test_an_elementwise_chain_is_one_kernel() -> None:
    x, y = known(8, 5), known(5)
    assert kernels(((x * 2 + y).tanh() - x).sigmoid()) == 1


def test_a_row_wise_norm_is_one_kernel() -> None:
    x = known(32, 20)
    assert kernels(F.softmax(x, -1)) == 1
    assert kernels(F.log_softmax(x, -1)) == 1
    assert kernels(F.layer_norm(x, (20,), known(20), known(20))) == 1


def test_a_norm_over_few_long_rows_leaves_work_for_all_threads() -> None:
    launches = plan_of(F.softmax(known(2, 1 << 16), -1)).launches
    assert len(launches) > 1, "two rows cannot keep many threads busy"


@pytest.mark.parametrize("layer", [tw.nn.Linear(6, 4), tw.nn.Conv2d(6, 4, 3)])
def test_bias_and_activation_are_computed_where_the_sum_ends(layer: tw.nn.Module) -> None:
    for p in layer.parameters():
        p.tolist()
    x = known(3, 6) if isinstance(layer, tw.nn.Linear) else known(3, 6, 5, 5)
    assert kernels(tw.relu(layer(x))) == 1


def test_what_is_added_to_a_product_may_be_computed_after_it() -> None:
    x, w, one, other = known(7, 6), known(6, 4), known(4), known(4)
    product = x @ w
    plan = plan_of(tw.relu(product + (one + other)))
    assert [launch.nest.name for launch in plan.launches] == ["add", "relu_add_dot"]
    product = x @ w
    plan = plan_of(product + (one + product[0]), product)
    assert len(plan.launches) == 3, "what depends on the product comes after it"


def test_reductions_of_the_same_rows_share_a_kernel() -> None:
    x = known(32, 9)
    assert kernels(x.sum(-1), x.amax(-1), (x * x).sum(-1)) == 1


def test_what_a_column_sum_adds_is_computed_in_it() -> None:
    x, y = known(33, 9), known(33, 9)
    assert kernels((x * y).sum(0)) == 1


def test_a_value_for_several_kernels_is_stored_once() -> None:
    x = known(8, 8)
    y = x.exp()
    plan = plan_of(y @ y.T, y.sum(0))
    computing = [launch for launch in plan.launches if "exp" in launch.nest.name]
    assert len(computing) == 1


def test_reshapes_move_nothing() -> None:
    x = known(4, 3, 8)
    assert kernels(x.exp().reshape(12, 8) @ known(8, 2)) == 1
    assert kernels((x @ known(8, 2)).flatten()) == 1


def test_a_transposed_product_is_stored_transposed() -> None:
    x, w = known(5, 3), known(5, 4)
    assert kernels((x.T @ w).T) == 1


def test_an_optimizer_step_is_one_kernel_for_each_parameter() -> None:
    b = OpBuilder()
    p, g, m = (known(7).node() for _ in range(3))
    new = b.add(b.mul(m, b.scalar(0.9, m.dtype)), g)
    graph = graph_of(known(7))
    graph = type(graph)([p, g, m, *new.inputs[0].inputs[1:]], [new, b.sub(p, new)])
    groups = fuse(graph, {}).groups
    assert [len(group.members) for group in groups] == [3]


def test_kernels_have_a_largest_size() -> None:
    x = known(16)
    y = x
    for _ in range(3 * MEMBERS):
        y = y * 1.5 + x
    plan = plan_of(y)
    assert all(len(launch.nodes) <= MEMBERS for launch in plan.launches)
    assert len(plan.launches) >= 6


def calls_of_fusing(length: int) -> int:
    x = known(16)
    y = x
    for n in range(length):
        y = (y * x).tanh() + x if n % 3 else y.reshape(4, 4).sum(0).repeat(4)
    graph = graph_of(y)
    count = 0

    def counter(frame: object, event: str, argument: object) -> None:
        nonlocal count
        count += event == "call"

    fuse(graph, {})  # what it remembers of Ops is not counted
    sys.setprofile(counter)
    try:
        fuse(graph, {})
    finally:
        sys.setprofile(None)
    return count


def test_fusing_is_linear_in_the_number_of_nodes() -> None:
    assert calls_of_fusing(240) < 2.2 * calls_of_fusing(120)


@pytest.mark.parametrize("seed", range(10))
def test_a_sum_whose_largest_is_taken_off_is_added_up_once(seed: int) -> None:
    x = np.random.default_rng(seed).standard_normal((5, 600))
    columns, rows = tw.tensor(x).sum(0), tw.tensor(np.ascontiguousarray(x.T)).sum(1)
    for s in (columns, rows):
        assert (s - s.max()).numpy().max() == 0


def test_what_follows_a_turned_product_is_computed_with_it() -> None:
    x, ct, w, m = known(8, 40), known(8, 24), known(24, 40), known(24, 40)
    gradient = (x.T @ ct).T
    moment = m * 0.9 + gradient
    plan = plan_of(gradient, moment, w - moment * 0.1)
    assert len(plan.launches) == 1
