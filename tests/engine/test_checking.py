"""Checking: wrong kernels and wrong plans are found, right ones are not accused."""

from __future__ import annotations

import dataclasses
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

import talweg as tw
from talweg.base import dtypes
from talweg.base.dtypes import DType
from talweg.base.errors import GraphError, IndexOutOfRange, WrongResult
from talweg.base.frozen import frozen
from talweg.engine.building import build
from talweg.engine.checking import Checker
from talweg.engine.record import lift
from talweg.ir.build import Builder
from talweg.ir.node import Graph, Node, input_node
from talweg.ir.types import tensor_type
from talweg.loops.build import NestBuilder
from talweg.loops.scalar import Scalar
from talweg.ops import OpBuilder
from talweg.ops.kinds import Elementwise
from talweg.passes.pipeline import compile_graph
from talweg.passes.places import ARENA, Place
from talweg.passes.verify import verify_plan
from tests.checked import unchecked

ROOT = Path(tw.__file__).parents[1]
SIZE = 40_000  # more than a graph has that is run by the references at first sight


@frozen
class Twice(Elementwise):
    """Twice the operand, says the reference; its kernel errs for numbers above a bound."""

    bound: float
    accepts = dtypes.FLOATS
    function = staticmethod(lambda x: x + x)

    def lower(self, nest: NestBuilder, *ins: Scalar) -> Scalar:
        (x,) = ins
        wrong = nest.mul(x, x)
        right = nest.add(x, x)
        return nest.select(nest.gt(x, nest.constant(self.bound, x.dtype)), wrong, right)


def twice(b: Builder, x: Node, bound: float) -> Node:
    return b.apply(Twice(bound), x)


def checked(make: Callable[..., Node], *arrays: np.ndarray) -> None:
    """Compile and run a function of Nodes on arrays, with checking on."""
    b = OpBuilder()
    inputs = [input_node(tensor_type(dtypes.as_dtype(a.dtype), a.shape), a) for a in arrays]
    graph = Graph(inputs, [make(b, *inputs)])
    program = build(graph, [False] * len(inputs))
    with Checker():
        program.run(graph.inputs)


def test_a_wrong_kernel_is_caught_at_its_worst_element() -> None:
    x = tw.tensor(np.linspace(-1, 1, SIZE, dtype=np.float32).reshape(200, 200))
    with Checker(), pytest.raises(WrongResult) as failure:
        (lift(twice)(x.exp(), 2.5) + 1.0).tolist()  # this line is named
    text = str(failure.value)
    assert "kernel add_twice_exp is wrong: its output 0, add: float32[200,200]" in text
    assert "at (199, 199)" in text
    assert f"has {np.e**2 + 1:.4}" in text
    assert f"the reference has {2 * np.e + 1:.6f}"[:-3] in text
    assert f"{Path(__file__).name}" in text
    assert "# this line is named" in text
    count = int((np.exp(np.linspace(-1, 1, SIZE)) > 2.5).sum())
    assert f"{count} of {SIZE}" in text or f"{count + 1} of {SIZE}" in text


def test_a_kernel_that_errs_nowhere_it_is_used_passes() -> None:
    checked(lambda b, x: twice(b, b.exp(x), 9.0), np.linspace(-1, 1, SIZE, dtype=np.float32))


def test_the_wrong_one_of_several_kernels_is_named() -> None:
    def make(b: OpBuilder, x: Node) -> Node:
        first = b.dot(b.exp(x), x)
        return b.dot(twice(b, first, -1e9), x)

    x = np.random.default_rng(0).normal(size=(64, 64)).astype(np.float32)
    with pytest.raises(WrongResult, match=r"kernel twice_dot is wrong: its output 0, twice"):
        checked(make, x)


@unchecked
def test_checking_ends_with_its_context() -> None:
    b = OpBuilder()
    x = input_node(tensor_type(dtypes.float32, (3,)), np.ones(3, np.float32))
    graph = Graph([x], [twice(b, x, 0.0)])
    program = build(graph, [False])
    (found,) = program.run(graph.inputs)
    assert found.array(np.float32, (3,)).tolist() == [1, 1, 1]
    with Checker(), pytest.raises(WrongResult):
        program.run(graph.inputs)


# Rounding may decide: none of these is wrong.

RIGHT: dict[str, Callable[..., Node]] = {
    "a difference of nearly equal numbers": lambda b, x: b.sub(b.exp(x), b.exp(b.mul(x, x))),
    "a jump": lambda b, x: b.floor(b.mul(b.exp(x), b.exp(b.neg(x)))),
    "a comparison": lambda b, x: b.eq(b.mul(b.exp(x), b.exp(b.neg(x))), b.exp(b.sub(x, x))),
    "a root of about zero": lambda b, x: b.sqrt(b.sub(b.exp(x), b.exp(b.add(x, x)))),
    "a long sum": lambda b, x: b.reduce_sum(b.exp(x), axes=(0, 1)),
    "a sum of about zero": lambda b, x: b.reduce_sum(b.sin(x), axes=(0, 1)),
    "a product of matrices": lambda b, x: b.dot(x, b.exp(x)),
    "the greatest of nearly equal numbers": lambda b, x: b.arg_max(
        b.mul(b.exp(x), b.exp(b.neg(x))), axes=(1,)
    ),
    "a running sum": lambda b, x: b.cum_sum(b.sin(x), axis=1),
    "sines of large numbers": lambda b, x: b.sin(b.mul(b.exp(b.mul(x, x)), b.exp(b.exp(x)))),
}


@pytest.mark.parametrize("what", RIGHT)
@pytest.mark.parametrize("dtype", [np.float32, np.float64, np.float16])
def test_rounding_is_no_fault(what: str, dtype: type) -> None:
    x = np.random.default_rng(1).normal(size=(120, 120)).astype(dtype)
    checked(RIGHT[what], x)


@pytest.mark.parametrize("dtype", [dtypes.bfloat16, dtypes.float16])
def test_rounding_of_half_types_is_no_fault(dtype: DType) -> None:
    x = np.random.default_rng(1).normal(size=(50, 50)).astype(np.float32)
    checked(lambda b, x: b.dot(b.cast(x, dtype=dtype), b.cast(b.exp(x), dtype=dtype)), x)


def test_integers_must_be_exact() -> None:
    def make(b: OpBuilder, x: Node) -> Node:
        return b.cast(twice(b, b.cast(x, dtype=dtypes.float32), 900.0), dtype=dtypes.int64)

    checked(make, np.arange(900))
    with pytest.raises(WrongResult, match=r"has 998001 at \(999,\).* has 1998; 99 of"):
        checked(make, np.arange(1000))


def test_an_index_out_of_range_raises_as_always() -> None:
    x = tw.ones(300, 300)
    with Checker(), pytest.raises(IndexOutOfRange, match="the line of the fault"):
        x[tw.tensor([0, 300])].tolist()  # the line of the fault


PROGRAM = """
import talweg as tw
from talweg.engine.record import lift
from tests.engine.test_checking import twice

x = tw.ones(200, 200) * 3
print((lift(twice)(x, 2.5)).sum().item())
"""


def test_the_switch_checks_a_process() -> None:
    def run(check: str) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-c", PROGRAM]
        environment = {**os.environ, "TALWEG_CHECK": check, "PYTHONPATH": str(ROOT)}
        return subprocess.run(
            command, env=environment, check=False, capture_output=True, text=True, timeout=300
        )

    plain, checked = run(""), run("1")
    assert (plain.returncode, plain.stdout.strip()) == (0, "360000.0")
    assert checked.returncode == 1
    assert "WrongResult: the kernel" in checked.stderr


# Plans.


def three_dots() -> Graph:
    b = OpBuilder()
    x = input_node(tensor_type(dtypes.float32, (8, 8)))
    first = b.dot(x, x)
    second = b.dot(first, x)
    return Graph([x], [b.dot(first, second)])


def test_a_plan_that_reads_what_was_written_over_is_refused() -> None:
    plan = compile_graph(three_dots(), checking=True)
    one, two, three = plan.launches
    assert {p.at for p in (one.places[-1], two.places[-1])} == {0, 256}
    squeezed = dataclasses.replace(two, places=(*two.places[:-1], one.places[-1]))
    with pytest.raises(GraphError, match=r"step 1 \(dot\) writes .* over its operand"):
        verify_plan(dataclasses.replace(plan, steps=(one, squeezed, three)))
    moved = dataclasses.replace(two, places=(*two.places[:-1], Place(ARENA, 128)))
    with pytest.raises(GraphError, match="over its operand"):
        verify_plan(dataclasses.replace(plan, steps=(one, moved, three)))


def test_a_plan_in_the_wrong_order_or_without_room_is_refused() -> None:
    plan = compile_graph(three_dots())
    one, two, three = plan.launches
    with pytest.raises(GraphError, match="where there is nothing"):
        verify_plan(dataclasses.replace(plan, steps=(two, one, three)))
    with pytest.raises(GraphError, match="no room"):
        verify_plan(dataclasses.replace(plan, arena=300))
    with pytest.raises(GraphError, match="output 0 of the plan is never written"):
        verify_plan(dataclasses.replace(plan, steps=(one, two)))


def test_images_that_are_stored_channels_last_are_compared_too() -> None:
    weight = np.random.default_rng(2).normal(size=(32, 32, 3, 3)).astype(np.float32)

    def make(b: OpBuilder, x: Node, w: Node) -> Node:
        same = {"strides": (1, 1), "padding": ((1, 1), (1, 1)), "dilation": (1, 1), "groups": 1}
        hidden = b.relu(b.conv(x, w, **same))
        return b.reduce_sum(b.relu(b.conv(hidden, w, **same)), axes=(1,))

    x = np.random.default_rng(3).normal(size=(2, 32, 6, 7)).astype(np.float32)
    b = OpBuilder()
    types = (tensor_type(dtypes.float32, a.shape) for a in (x, weight))
    inputs = [input_node(t) for t in types]
    plan = compile_graph(Graph(inputs, [make(b, *inputs)]), checking=True)
    assert (0, 2, 3, 1) in [order for launch in plan.launches for order in launch.orders]
    checked(make, x, weight)


def test_pieces_of_several_kernels_are_checked_one_by_one() -> None:
    rng = np.random.default_rng(0)
    shapes = (1, 16, 5, 5), (16, 16, 3, 3)
    x, w = (rng.integers(-3, 4, n).astype(np.float32) for n in shapes)

    def image() -> tw.Tensor:
        return tw.nn.functional.conv2d(tw.tensor(x), tw.tensor(w)) + 1.0

    with Checker():
        found = tw.explain(image)
        assert any(k.launch.own for k in found.kernels), "no piece has several kernels"
        windows = np.lib.stride_tricks.sliding_window_view(x, (3, 3), (2, 3))
        expected = np.einsum("ncyxij,ocij->noyx", windows, w) + 1
        np.testing.assert_array_equal(image().numpy(), expected)
    assert all(k.lines for k in found.kernels)
