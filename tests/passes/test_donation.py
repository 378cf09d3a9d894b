"""Donation: an output in the memory of an input has the value that it has anywhere else."""

from __future__ import annotations

import itertools
from collections.abc import Callable

import numpy as np
import pytest

import talweg as tw
from talweg.engine.building import build
from talweg.engine.program import Program
from talweg.ir.node import Graph, Node
from talweg.runtime.buffer import Buffer
from tests.passes.programs import graph_of


def data(*shape: int, seed: int = 0) -> tw.Tensor:
    return tw.tensor(np.random.default_rng(seed).uniform(0.5, 1, shape).astype(np.float32))


def momentum(w: tw.Tensor, v: tw.Tensor, g: tw.Tensor) -> list[tw.Tensor]:
    moved = v * 0.9 + g
    return [moved, w - moved * 0.1]


def adam(w: tw.Tensor, m: tw.Tensor, v: tw.Tensor, x: tw.Tensor, y: tw.Tensor) -> list[tw.Tensor]:
    g = x.T @ y
    mean, square = m * 0.9 + g * 0.1, v * 0.99 + g * g * 0.01
    return [g, mean, square, w - mean / (square.sqrt() + 1e-3)]


def read_later(x: tw.Tensor, y: tw.Tensor) -> list[tw.Tensor]:
    return [x.exp(), (y @ x.T).sum(0), x.flip(0) + y]


def checked(x: tw.Tensor, y: tw.Tensor) -> list[tw.Tensor]:
    return [x * 2, y[(x[0] * 0).long()]]


PROGRAMS: list[tuple[Callable[..., list[tw.Tensor]], list[tuple[int, ...]]]] = [
    (momentum, [(70, 37)] * 3),
    (adam, [(65, 130)] * 3 + [(700, 65), (700, 130)]),
    (read_later, [(40, 40)] * 2),
    (checked, [(40, 40)] * 2),
]


def allowed(graph: Graph) -> tuple[Program, list[tuple[int, int]]]:
    program = build(graph, [False] * len(graph.inputs))
    outline = program.outline
    found = [
        (i, o)
        for (i, old), (o, new) in itertools.product(
            enumerate(outline.inputs), enumerate(outline.buffers)
        )
        if old is new and outline.donation.may_replace(i, o)
    ]
    return program, found


def run(
    program: Program, inputs: tuple[Node, ...], pair: tuple[int, int] | None
) -> list[np.ndarray]:
    """The outputs, one of them in the memory of a copy of an input."""
    copies = [Buffer(n.type.nbytes) for n in inputs]
    for buffer, n in zip(copies, inputs, strict=True):
        buffer.array(np.float32, n.shape)[...] = n.array
    outputs = [Buffer(t.nbytes) for t in program.outline.buffers]
    if pair is not None:
        outputs[pair[1]] = copies[pair[0]]
    executor = program.sole_executor
    assert executor is not None
    executor.run([b.address for b in copies], b"", [b.address for b in outputs])
    types = program.outline.buffers
    return [b.array(t.dtype.storage, t.shape).copy() for b, t in zip(outputs, types, strict=True)]


@pytest.mark.parametrize("number", range(len(PROGRAMS)))
def test_donated_memory_changes_nothing(number: int) -> None:
    function, shapes = PROGRAMS[number]
    graph = graph_of(*function(*(data(*s, seed=i) for i, s in enumerate(shapes))))
    program, pairs = allowed(graph)
    assert bool(pairs) is (function in (momentum, adam))
    expected = run(program, graph.inputs, None)
    for pair in pairs:
        for found, value in zip(run(program, graph.inputs, pair), expected, strict=True):
            np.testing.assert_array_equal(found, value)


def test_parameters_and_state_of_one_kernel_change_place() -> None:
    tensors = [data(70, 37, seed=i) for i in range(3)]
    graph = graph_of(*momentum(*tensors))
    _, pairs = allowed(graph)
    w, v, _ = (graph.inputs.index(t.node()) for t in tensors)
    assert {(v, 0), (w, 1)} <= set(pairs)


def test_what_is_read_elsewhere_or_later_stays() -> None:
    x, y = data(40, 40), data(40, 40, seed=1)
    graph = graph_of(*read_later(x, y))
    _, pairs = allowed(graph)
    assert graph.inputs.index(x.node()) not in {i for i, _ in pairs}
