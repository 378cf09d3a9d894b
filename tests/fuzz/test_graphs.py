"""Random graphs through the whole compiler, beside the references of their Ops.

`python -m tests.fuzz.test_graphs 20000` runs as many as wanted and prints the seeds that fail.
"""

from __future__ import annotations

import sys
import traceback

import numpy as np
import pytest

from talweg.base import dtypes
from talweg.engine.program import build
from talweg.engine.scalars import is_scalar
from talweg.ir.interpret import interpret
from talweg.passes.pipeline import compile_graph

from .graphs import random_graph

TOLERANCE = {dtypes.float32: 1e-3, dtypes.float64: 1e-9}


def check(seed: int) -> None:
    """The compiled graph gives what the references give."""
    graph = random_graph(seed)
    arrays = [n.array for n in graph.inputs if n.array is not None]
    expected = interpret(graph, arrays)
    for node in graph.order:
        node.array = None
    program = build(graph, [is_scalar(n) for n in graph.inputs])
    for node, value, right in zip(graph.outputs, program.run(graph.inputs), expected, strict=True):
        node.value = value
        found, wanted = (dtypes.decode(np.asarray(a), node.dtype) for a in (node.array, right))
        near = TOLERANCE.get(node.dtype)
        if near is None:
            np.testing.assert_array_equal(found, wanted)
        else:
            np.testing.assert_allclose(found, wanted, rtol=near, atol=near)


@pytest.mark.parametrize("seed", range(40))
def test_compiled_graphs_agree_with_the_references(seed: int) -> None:
    check(seed)


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
        except Exception:
            wrong += 1
            print(f"seed {seed}:", traceback.format_exc(limit=1), flush=True)
    print(f"{sys.argv[1]} graphs, {wrong} wrong")


if __name__ == "__main__":
    main()
