"""Convolutions with strides, written without them."""

from __future__ import annotations

import numpy as np
import pytest

import talweg as tw
from talweg.engine.building import build
from talweg.engine.scalars import is_scalar
from talweg.ir.interpret import interpret
from talweg.ir.node import Graph
from talweg.ir.op import Op
from talweg.ir.types import tensor_type
from talweg.loops.build import lower
from talweg.loops.interpret import interpret as run_nest
from talweg.nn import functional as F
from talweg.ops.strides import Every, Interleaved, KernelPhases, Spread
from talweg.passes.strides import without_steps

from .programs import graph_of, known

VIEWS: list[tuple[Op, tuple[int, ...]]] = [
    (Every((2, 3)), (2, 3, 5, 7)),
    (Spread((2, 3), (5, 7)), (2, 3, 3, 3)),
    (KernelPhases((2, 3)), (4, 2, 5, 3)),
    (KernelPhases((2,)), (3, 2, 1)),
    (Interleaved((2, 3), (1, 0), (5, 7)), (2, 12, 3, 3)),
    (Interleaved((3,), (2,), (4,)), (2, 3, 2)),
]


@pytest.mark.parametrize(("op", "shape"), VIEWS, ids=repr)
def test_loops_of_the_views_do_what_they_mean(op: Op, shape: tuple[int, ...]) -> None:
    x = np.random.default_rng(0).standard_normal(shape).astype(np.float32)
    wanted = op.reference(x)
    types = [tensor_type(tw.float32, size) for size in (shape, wanted.shape)]
    made = lower("view", op.lower, types[:1], types[1:])
    (found,) = run_nest(made.nest, [x], made.values)
    np.testing.assert_array_equal(found, wanted)


def with_gradients(
    x: tuple[int, ...], w: tuple[int, ...], stride: int, padding: int
) -> list[tw.Tensor]:
    """A convolution of known images and its gradients by both operands."""
    rng = np.random.default_rng(1)
    image = tw.tensor(rng.standard_normal(x).astype(np.float32), requires_grad=True)
    kernel = tw.tensor(rng.standard_normal(w).astype(np.float32), requires_grad=True)
    y = F.conv2d(image, kernel, stride=stride, padding=padding)
    ct = tw.tensor(rng.standard_normal(tuple(y.shape)).astype(np.float32))
    return [y, *tw.autograd.grad(y, [image, kernel], ct)]


def arrays_of(graph: Graph) -> list[np.ndarray]:
    return [n.array for n in graph.inputs if n.array is not None]


CASES = {
    "one element": ((3, 20, 9, 8), (17, 20, 1, 1), 2, 0),
    "one element, bordered": ((2, 5, 6, 7), (4, 5, 1, 1), 2, 1),
    "few channels": ((2, 3, 17, 14), (16, 3, 7, 7), 2, 3),
    "one channel": ((2, 1, 10, 11), (18, 1, 5, 5), 3, 0),
    "kernel as large as the step": ((2, 2, 8, 9), (20, 2, 2, 2), 2, 0),
    "kernel smaller than the step": ((2, 2, 10, 11), (20, 2, 2, 2), 3, 1),
    "many channels": ((2, 16, 9, 9), (16, 16, 3, 3), 2, 1),
}
WITHOUT = {
    "one element": {"every", "spread"},
    "few channels": {"kernel_phases", "interleaved"},
    "one channel": {"kernel_phases", "interleaved"},
    "kernel as large as the step": {"kernel_phases", "interleaved"},
    "kernel smaller than the step": {"kernel_phases", "interleaved"},
}


@pytest.mark.parametrize("name", CASES)
def test_results_stay_those_of_the_graph(name: str) -> None:
    graph = graph_of(*with_gradients(*CASES[name]))
    values = arrays_of(graph)
    made = without_steps(graph)
    ours = {"every", "spread", "kernel_phases", "interleaved"}
    assert {n.op.name() for n in made.order} & ours == WITHOUT.get(name, set())
    for one, other in zip(interpret(graph, values), interpret(made, values), strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("name", CASES)
def test_kernels_compute_what_the_graph_means(name: str) -> None:
    graph = graph_of(*with_gradients(*CASES[name]))
    program = build(graph, [is_scalar(n) for n in graph.inputs])
    wanted = interpret(graph, arrays_of(graph))
    for node, value, one in zip(graph.outputs, program.run(graph.inputs), wanted, strict=True):
        node.value = value
        np.testing.assert_allclose(node.array, one, rtol=1e-4, atol=1e-4)


def test_pixels_are_copied_once_for_all_that_meet_them() -> None:
    x, w = known(2, 16, 8, 8), known(16, 16, 1, 1)
    made = without_steps(graph_of(F.conv2d(x, w, stride=2), F.conv2d(x, w + 1, stride=2)))
    assert len([n for n in made.order if isinstance(n.op, Every)]) == 1


def test_images_inside_of_a_graph_are_read_where_they_are() -> None:
    x, w = known(2, 16, 8, 8), known(16, 16, 1, 1)
    graph = graph_of(F.conv2d(tw.relu(x), w, stride=2))
    assert without_steps(graph).outputs == graph.outputs
