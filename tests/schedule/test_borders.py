"""Sums over windows, cut where the windows reach beyond the ends of an image."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest

import talweg as tw
from talweg.engine.building import build
from talweg.engine.evaluate import pending_graph
from talweg.engine.scalars import is_scalar
from talweg.ir.interpret import interpret
from talweg.ir.node import Graph
from talweg.loops.nest import Accumulate, Loop, LoopNest, statements
from talweg.loops.scalar import Select, walk
from talweg.nn import functional as F
from talweg.passes.pipeline import compile_graph
from talweg.schedule.borders import bordered, bordered_sums
from talweg.schedule.fixed import fixed
from talweg.schedule.loops import choose_loops
from talweg.schedule.place import placed
from talweg.schedule.taps import inside


def graph_of(tensors: Sequence[tw.Tensor]) -> Graph:
    return pending_graph([t.node() for t in tensors])


def single(
    rows: int, channels: int, sides: Sequence[int], kernel: Sequence[int], **how: object
) -> list[tw.Tensor]:
    """A convolution of single channels and its gradients by both operands."""
    rng = np.random.default_rng(7)
    x, w = (
        tw.tensor(rng.standard_normal(shape).astype(np.float32), requires_grad=True)
        for shape in ((rows, channels, *sides), (channels, 1, *kernel))
    )
    f = F.conv2d if len(sides) == 2 else F.conv1d
    y = f(x, w, groups=channels, **how)  # type: ignore[arg-type]
    ct = tw.tensor(rng.standard_normal(tuple(y.shape)).astype(np.float32))
    return [tw.relu(y), *tw.autograd.grad(y, [x, w], ct)]


def check(results: Sequence[tw.Tensor]) -> None:
    graph = graph_of(results)
    arrays = [n.array for n in graph.inputs if n.array is not None]
    program = build(graph, [is_scalar(n) for n in graph.inputs])
    wanted = interpret(graph, arrays)
    for node, value, one in zip(graph.outputs, program.run(graph.inputs), wanted, strict=True):
        node.value = value
        np.testing.assert_allclose(node.array, one, rtol=2e-4, atol=2e-4)


@pytest.mark.parametrize("seed", range(16))
def test_results_are_those_of_the_references(seed: int) -> None:
    rng = np.random.default_rng(seed)
    axes = 1 + int(rng.random() < 0.8)
    kernel = [int(k) for k in rng.integers(1, 6, axes)]
    stride = [int(s) for s in rng.integers(1, 4, axes)]
    dilation = [int(d) for d in rng.integers(1, 3, axes)]
    padding = [int(p) for p in rng.integers(0, 4, axes)]
    least = [d * (k - 1) + 1 - 2 * p for k, d, p in zip(kernel, dilation, padding, strict=True)]
    sides = [max(n, 1) + int(rng.integers(0, 24)) for n in least]
    channels = int(rng.choice([3, 16, 18, 40]))
    check(
        single(
            int(rng.integers(1, 4)),
            channels,
            sides,
            kernel,
            stride=stride,
            padding=padding,
            dilation=dilation,
        )
    )


def test_windows_larger_than_the_image() -> None:
    check(single(2, 16, (2, 3), (5, 5), padding=2))
    check(single(2, 16, (1, 20), (3, 7), padding=3, stride=2))
    check(single(1, 5, (2, 40), (5, 5), padding=(3, 4)))


def nests(**how: object) -> dict[str, LoopNest]:
    """The kernels of one convolution as nests of places, after the moves."""
    found: dict[str, LoopNest] = {}
    for launch in compile_graph(graph_of(single(4, 16, (20, 30), (3, 3), **how))).launches:
        nest = launch.nest
        values = nest.named(launch.values)
        moved = placed(fixed(nest, choose_loops(nest, values).sizes))
        found[nest.name] = bordered_sums(bordered(inside(moved)))
    return found


def free(nest: LoopNest) -> bool:
    """Whether the first sum of a nest reads without conditions."""
    first = next(s for s in statements(nest.body) if isinstance(s, Accumulate))
    return not any(isinstance(part, Select) for part in walk(first.values[0]))


def test_nothing_is_compared_inside_of_an_image() -> None:
    for how in ({"padding": 1}, {"padding": 1, "stride": 2}):
        for name, nest in nests(**how).items():
            if "conv" in name:
                assert free(nest), name


def test_kernels_are_summed_for_all_taps_at_once() -> None:
    nest = nests(padding=1)["conv_weight_grad"]
    loops = [s for s in statements(nest.body) if isinstance(s, Loop) and s.order == "reduction"]
    assert max(len([s for s in x.body if isinstance(s, Accumulate)]) for x in loops) == 9


def test_steps_leave_out_taps_that_meet_nothing() -> None:
    nest = nests(padding=1, stride=2)["conv_input_grad"]
    sums = [s for s in statements(nest.body) if isinstance(s, Accumulate)]
    assert len(sums) == 1
    assert free(nest)
