"""Small Graphs: a kernel for each Node, the same in every Graph, whether planned or run once."""

from __future__ import annotations

import threading

import numpy as np
import pytest

import talweg as tw
from talweg.engine.building import assemble
from talweg.engine.once import Once
from talweg.engine.scalars import is_scalar
from talweg.passes.apart import cut, is_small, plan_graph

from .programs import graph_of, known


def chain(order: np.ndarray, x: tw.Tensor, w: tw.Tensor) -> tw.Tensor:
    for kind in order:
        x = (x * w, x + w.mT, tw.tanh(x), w - x, x @ w, x.softmax(-1))[kind]
    return x.sum()


def test_small_is_said_of_values_and_of_the_number_of_nodes() -> None:
    def of(side: int, length: int) -> bool:
        x = known(side, side)
        for _ in range(length):
            x = x.tanh()
        return is_small(graph_of(x))

    assert of(16, 3)
    assert not of(50, 3)
    assert of(50, 100)
    assert not of(100, 100)


def test_views_are_read_through_and_other_names_are_no_pieces() -> None:
    x, y = known(4, 6), known(6, 4)
    total = (x.mT + y).reshape(3, 8) * 2
    pieces = cut(graph_of(total))
    assert [node.op.name() for _, node, *_ in pieces] == ["add", "mul"]
    assert [b.shape for b in pieces[0][2]] == [(4, 6), (6, 4)]
    plan = plan_graph(graph_of(total), checking=True)
    assert [len(step.nodes) for step in plan.launches] == [1, 1]


def test_another_structure_compiles_nothing() -> None:
    rng = np.random.default_rng(0)
    x = tw.tensor(rng.normal(size=(5, 5)).astype(np.float32) / 4, requires_grad=True)
    w = tw.tensor(rng.normal(size=(5, 5)).astype(np.float32) / 4, requires_grad=True)
    for length in range(6):  # each pair of operations that can meet
        tw.autograd.grad(chain(np.arange(length), x, w) + chain(np.arange(6), w, x), (x, w))
        chain(rng.integers(0, 6, 200), x, w).item()
    tw.reset_counters()
    for _ in range(5):
        y = chain(rng.integers(0, 6, 60), x, w)
        assert np.isfinite(y.item())
    assert tw.counters().compiled == tw.counters().loaded == 0


@pytest.mark.parametrize("seed", range(6))
def test_a_graph_gives_the_same_bits_when_it_comes_again(seed: int) -> None:
    rng = np.random.default_rng(seed)
    order = rng.integers(0, 6, 40)
    x, w = (tw.tensor(rng.normal(size=(7, 7)).astype(np.float32) / 3) for _ in range(2))
    first, second, third = (chain(order, x, w).numpy() for _ in range(3))
    np.testing.assert_array_equal(first, second)
    np.testing.assert_array_equal(first, third)


def test_inputs_that_are_outputs_numbers_and_empty_values() -> None:
    x, none = known(3, 4), known(0, 4)
    graph = graph_of(x.reshape(12), x * 2.5, none + 1, none.sum() + 3.0)
    assert is_small(graph)
    scalars = [is_scalar(n) for n in graph.inputs]
    once = Once(graph).run(graph.inputs)
    planned = assemble(plan_graph(graph, checking=True), scalars).run(graph.inputs)
    for node, one, other in zip(graph.outputs, once, planned, strict=True):
        arrays = [b.array(np.float32, node.shape) for b in (one, other)]
        np.testing.assert_array_equal(*arrays)
    assert float(once[3].array(np.float32, ())) == 3.0


def test_images_that_are_turned_there_and_back_are_results_all_the_same() -> None:
    x = known(2, 3, 2, 16)
    graph = graph_of((x * 2.5).permute(0, 3, 1, 2).permute(0, 2, 3, 1))
    planned = assemble(plan_graph(graph, checking=True), [is_scalar(n) for n in graph.inputs])
    for (result,) in (Once(graph).run(graph.inputs), planned.run(graph.inputs)):
        np.testing.assert_array_equal(result.array(np.float32, x.shape), x.numpy() * 2.5)


def test_an_index_out_of_range_names_the_line() -> None:
    x, index = known(4, 3), tw.tensor(np.array([1, 9]))
    y = x[index]  # here
    with pytest.raises(IndexError, match="# here"):
        y.numpy()


def test_several_threads_run_small_graphs() -> None:
    rng = np.random.default_rng(1)
    orders = rng.integers(0, 6, (8, 30))
    x, w = (rng.normal(size=(6, 6)).astype(np.float32) / 3 for _ in range(2))
    expected = [chain(order, tw.tensor(x), tw.tensor(w)).item() for order in orders]
    found: dict[int, list[float]] = {}

    def run(number: int) -> None:
        mine = orders[number:].tolist() + orders[:number].tolist()
        values = [chain(np.array(o), tw.tensor(x), tw.tensor(w)).item() for o in mine]
        found[number] = values[8 - number :] + values[: 8 - number]

    threads = [threading.Thread(target=run, args=(n,)) for n in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert all(found[n] == expected for n in range(8))


def test_a_graph_that_is_run_once_leaves_its_traces_alone() -> None:
    x = tw.rand(3, 4)
    x.numpy()
    graph = graph_of((x * 2.0 + 1.0).exp())
    before = [node.at for node in (*graph.inputs, *graph.order)]
    Once(graph).run(graph.inputs)
    assert [node.at for node in (*graph.inputs, *graph.order)] == before
