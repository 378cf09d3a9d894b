"""Random graphs through the whole compiler, beside the references of their Ops.

`python -m tests.fuzz.test_graphs 20000` runs as many as wanted and prints the seeds that fail.
"""

from __future__ import annotations

import contextlib
import functools
import sys
import traceback
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pytest

from talweg.base import dtypes
from talweg.base.open import Unfit
from talweg.engine.building import assemble
from talweg.engine.once import Once
from talweg.engine.scalars import is_scalar
from talweg.engine.stored import opened, without_values
from talweg.ir.interpret import interpret, run
from talweg.ir.node import Graph, Node
from talweg.passes.apart import is_small, plan_graph
from talweg.passes.pipeline import compile_graph

from .graphs import random_graph, repeated_graph, turned_graph

TOLERANCE = {dtypes.float32: 1e-3, dtypes.float64: 1e-9}
ROUNDINGS = 16  # of each value, by which a result may move instead: the sine of a large number


def check(seed: int, made: Callable[[int], Graph] = random_graph) -> None:
    """The graph gives what the references give: fused, cut into its Nodes, and run once."""
    graph = made(seed)
    scalars = [is_scalar(n) for n in graph.inputs]
    arrays = [n.array for n in graph.inputs if n.array is not None]
    expected = interpret(graph, arrays)
    for node in graph.order:
        node.array = None
    bare = without_values(graph)
    fused, planned = compile_graph(bare, checking=True), plan_graph(bare, checking=True)
    near = functools.cache(lambda: moved(graph, arrays, expected))
    compare(graph, assemble(fused, scalars).run(graph.inputs), expected, near)
    found = assemble(planned, scalars).run(graph.inputs)
    compare(graph, found, expected, near)
    check_open(graph, scalars, expected, near, found)
    if is_small(graph):
        once = Once(graph).run(graph.inputs)
        for node, one, other in zip(graph.outputs, found, once, strict=True):
            arrays = [b.array(np.uint8, (node.type.nbytes,)) for b in (one, other)]
            np.testing.assert_array_equal(*arrays)


def check_open(
    graph: Graph,
    scalars: Sequence[bool],
    expected: Sequence[np.ndarray],
    near: Callable[[], Sequence[np.ndarray]],
    found: Sequence[Any],
) -> None:
    """Plans that know nothing of where views begin give the same, where they are told."""
    numbers = graph.numbers
    if not numbers:
        return
    fused = compile_graph(opened(graph), checking=True)
    with contextlib.suppress(Unfit):  # kernels have other work for these numbers
        program = assemble(fused, scalars, numbers=len(numbers))
        compare(graph, program.run(graph.inputs, numbers), expected, near)
    planned = plan_graph(opened(graph), checking=True)
    if is_small(graph):
        again = assemble(planned, scalars, numbers=len(numbers)).run(graph.inputs, numbers)
        for node, one, other in zip(graph.outputs, found, again, strict=True):
            arrays = [b.array(np.uint8, (node.type.nbytes,)) for b in (one, other)]
            np.testing.assert_array_equal(*arrays)


def compare(
    graph: Graph,
    values: Sequence[Any],
    expected: Sequence[np.ndarray],
    near: Callable[[], Sequence[np.ndarray]],
) -> None:
    """Values are those of the references, but for rounding."""
    for n, (node, value, right) in enumerate(zip(graph.outputs, values, expected, strict=True)):
        type = node.type
        array = value.array(type.dtype.storage, type.shape)
        found, wanted = (dtypes.decode(a, type.dtype) for a in (array, right))
        within = TOLERANCE.get(type.dtype)
        if within is None:
            np.testing.assert_array_equal(found, wanted)
        elif not np.allclose(found, wanted, within, within, equal_nan=True):
            far = ~np.isclose(found, wanted, within, within, equal_nan=True)
            allowed = near()[n]
            wrong = far & ~(np.abs(found - wanted) <= allowed)
            assert not wrong.any(), (found[wrong], wanted[wrong], allowed[wrong])


def moved(
    graph: Graph, arrays: Sequence[np.ndarray], expected: Sequence[np.ndarray]
) -> list[np.ndarray]:
    """How far the references' results move when every value is off by some roundings."""
    most = [np.zeros(right.shape) for right in expected]
    for seed in range(8):
        chance = np.random.default_rng(seed)
        values: dict[Node, Any] = {
            node: rounded(dtypes.decode(array, node.dtype), chance)
            for node, array in zip(graph.inputs, arrays, strict=True)
        }
        for node in graph.order:
            found = run(node, [values[i] for i in node.inputs])
            several = tuple(rounded(f, chance) for f in found) if type(found) is tuple else ()
            values[node] = several or rounded(found, chance)
        for far, right, node in zip(most, expected, graph.outputs, strict=True):
            if right.dtype.kind == "f":
                np.maximum(far, 2 * np.abs(right - values[node]), out=far)
    return most


def rounded(array: np.ndarray, chance: np.random.Generator) -> np.ndarray:
    """The values, each off by some roundings."""
    if array.dtype.kind != "f":
        return array
    step = ROUNDINGS * np.finfo(array.dtype).eps * chance.choice((-1, 1), array.shape)
    return np.asarray(array * (1 + step)).astype(array.dtype)


@pytest.mark.parametrize("seed", range(40))
def test_compiled_graphs_agree_with_the_references(seed: int) -> None:
    check(seed)


@pytest.mark.parametrize("seed", range(40))
def test_graphs_whose_borders_have_the_channels_last_agree_with_the_references(seed: int) -> None:
    check(seed, turned_graph)


@pytest.mark.parametrize("seed", range(30))
def test_graphs_that_repeat_another_one_agree_with_the_references(seed: int) -> None:
    check(seed, repeated_graph)


@pytest.mark.slow
@pytest.mark.parametrize("start", range(1000, 1400, 50))
def test_many_compiled_graphs_agree_with_the_references(start: int) -> None:
    for seed in range(start, start + 50):
        check(seed)


@pytest.mark.parametrize("start", range(0, 400, 100))
def test_every_pass_leaves_valid_graphs_and_nests(start: int) -> None:
    for seed in range(start, start + 100):
        compile_graph(random_graph(seed), checking=True)


def main() -> None:
    """Run seeds from 0 to a number, and print those that fail."""
    wrong = 0
    for seed in range(int(sys.argv[1])):
        try:
            check(seed)
            check(seed, turned_graph)
        except Exception:
            wrong += 1
            print(f"seed {seed}:", traceback.format_exc(limit=1), flush=True)
    print(f"{sys.argv[1]} graphs, {wrong} wrong")


if __name__ == "__main__":
    main()
