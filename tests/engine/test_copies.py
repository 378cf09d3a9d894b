"""Copies of operands that several kernels of a Program share: the same results, bit by bit."""

from __future__ import annotations

from collections import OrderedDict
from pathlib import Path

import numpy as np
import pytest

import talweg as tw
from talweg.codegen.cache import ObjectCache
from talweg.engine import copies, stored
from talweg.engine.building import build
from talweg.engine.copies import laid_out
from talweg.engine.evaluate import pending_graph
from talweg.engine.program import Program, Shared
from talweg.engine.scalars import is_scalar
from talweg.ir.node import Graph

ROWS, WIDTH, STEPS = 32, 512, 12


def recurrence(steps: int = STEPS) -> tuple[Graph, list[bool]]:
    """Steps of x = tanh(x w + v) and their gradients; the matrix is computed as well."""
    rng = np.random.default_rng(0)
    w, x, v = (
        tw.tensor(rng.standard_normal(shape).astype(np.float32), requires_grad=True)
        for shape in ((WIDTH, WIDTH), (ROWS, WIDTH), (ROWS, WIDTH))
    )
    weights, h = w.exp() / 64, x
    for _ in range(steps):
        h = tw.tanh(h @ weights.T + v)
    results = [h, *tw.autograd.grad(h.sum(), [x, w])]
    graph = pending_graph([r.node() for r in results])
    return graph, [is_scalar(n) for n in graph.inputs]


def values(program: Program, graph: Graph) -> list[np.ndarray]:
    pairs = zip(graph.outputs, program.run(graph.inputs), strict=True)
    return [buffer.array(np.float32, node.type.shape).copy() for node, buffer in pairs]


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    cache = ObjectCache(tmp_path, "1")
    monkeypatch.setattr("talweg.engine.stored.disk_cache", lambda: cache)
    monkeypatch.setattr("talweg.engine.kernels.disk_cache", lambda: cache)
    monkeypatch.setattr("talweg.engine.kernels._KERNELS", {})
    monkeypatch.setattr(stored, "_KERNELS", {})
    monkeypatch.setattr(stored, "_written", set())


def test_products_with_one_operand_share_a_copy_of_it(monkeypatch: pytest.MonkeyPatch) -> None:
    graph, scalars = recurrence()
    program = build(graph, scalars)
    found = [step.shared for step in program.shared]
    assert len(found) >= 2 * (STEPS - 2)
    assert sum(not s.made for s in found if s) == 2
    assert program.outline.arena > 4 * WIDTH * WIDTH
    monkeypatch.setattr(copies, "LEAST", 1 << 40)
    other = build(graph, scalars)
    assert not other.shared
    for one, expected in zip(values(program, graph), values(other, graph), strict=True):
        np.testing.assert_array_equal(one, expected)


def test_recurrences_of_any_length_have_the_same_kernels() -> None:
    def kernels(steps: int) -> set[int]:
        return {id(step.kernel) for step in build(*recurrence(steps)).shared}

    few, many = kernels(7), kernels(STEPS)
    assert few
    assert few == many


def test_what_a_single_product_reads_is_not_shared() -> None:
    graph, scalars = recurrence(1)
    assert not build(graph, scalars).shared


def test_shared_copies_are_found_by_the_next_process() -> None:
    graph, scalars = recurrence()
    first = build(graph, scalars)
    found = stored.find(graph, scalars)
    assert found is not None
    assert [s.shared for s in found.shared] == [s.shared for s in first.shared]
    assert found.outline.arena == first.outline.arena
    for one, expected in zip(values(found, graph), values(first, graph), strict=True):
        np.testing.assert_array_equal(one, expected)


def test_a_compiled_function_shares_copies_of_its_arguments(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("talweg.engine.evaluate._PROGRAMS", OrderedDict())
    rng = np.random.default_rng(0)
    w, x = (
        tw.tensor(rng.standard_normal(s).astype(np.float32))
        for s in ((WIDTH, WIDTH), (ROWS, WIDTH))
    )

    def repeated(x: tw.Tensor, w: tw.Tensor) -> tw.Tensor:
        for _ in range(STEPS):
            x = tw.tanh(x @ w.T)
        return x

    compiled = tw.compile(repeated)
    expected = repeated(x, w).numpy()
    for _ in range(2):
        np.testing.assert_array_equal(compiled(x, w).numpy(), expected)
        w = w * 0.5
        expected = repeated(x, w).numpy()


def test_copies_take_the_place_of_those_that_nobody_needs_any_more() -> None:
    a, b, c = (("a", ()), ("b", ()), ("c", ()))
    names = [a, b, a, None, c, b, c]
    sizes = [100, 64, 100, 0, 100, 64, 100]
    found, end = laid_out(names, sizes, 10)
    assert found[3] is None
    assert [s.made for s in found if s] == [False, False, True, False, True, True]
    assert found[0] == Shared(64, False)
    assert found[4] == Shared(64, False)
    assert found[1] == Shared(64 + 128, False)
    assert end == 64 + 128 + 64
    assert laid_out([None], [0], 64) == ([None], 64)
