"""Explanations: what the compiler says it did is what it did."""

from __future__ import annotations

import itertools
import re
import sys
import threading
import xml.etree.ElementTree as ElementTree
from pathlib import Path

import numpy as np
import pytest

import talweg as tw
from talweg.base import dtypes
from talweg.engine.building import build
from talweg.engine.explain import Explainer, Explanation, tensors_in
from talweg.ir.node import Graph, input_node
from talweg.ir.text import parse_graph
from talweg.ir.types import tensor_type
from talweg.ops import BY_NAME, OpBuilder
from tests.engine.well_formed import read

F32 = 4


def stored(*shape: int) -> tw.Tensor:
    """Ones in memory; those of `tw.ones` need none."""
    return tw.tensor(np.ones(shape, np.float32))


def test_bytes_and_operations_of_a_known_function() -> None:
    x = stored(50, 40)
    found = tw.explain(lambda x: (x.exp() + x).sum(), x)
    assert [(k.nbytes, k.operations) for k in found.kernels] == [(2001 * F32, 3 * 2000)]
    assert (found.nbytes, found.operations) == (2001 * F32, 6000)
    assert found.evaluations[0].arena == 0


def test_bytes_and_operations_of_a_product_and_what_follows() -> None:
    x, w, b = stored(300, 20), stored(20, 100), stored(100)
    (kernel,) = tw.explain(lambda x: (x @ w + b).relu(), x).kernels
    assert kernel.nbytes == F32 * (300 * 20 + 20 * 100 + 100 + 300 * 100)
    assert 0 <= kernel.operations - 2 * 300 * 20 * 100 <= 2 * 300 * 100
    assert [n.op.name() for n in kernel.nodes if n.op.name() in ("dot", "add", "relu")] == [
        *("dot", "add", "relu")
    ]


def test_kernels_name_the_lines_they_came_from() -> None:
    def f(x: tw.Tensor) -> tw.Tensor:
        y = x.tanh()  # the first line
        return y @ y  # the second line

    first, second = tw.explain(f, stored(70, 70)).kernels
    start = f.__code__.co_firstlineno
    assert first.lines == (f"{__file__}:{start + 1}: y = x.tanh()  # the first line",)
    assert second.lines == (f"{__file__}:{start + 2}: return y @ y  # the second line",)
    assert "tanh" in first.name
    assert "tanh" in first.nest
    assert "dot" in second.name


def test_the_cause_is_named() -> None:
    line = sys._getframe().f_lineno + 1
    found = tw.explain(lambda: (tw.ones(9, 9) * 3).sum().item())
    assert found.evaluations[0].title.startswith(f"item() at {__file__}:{line}: ")


def chain(x: tw.Tensor) -> tw.Tensor:
    y = x @ x
    z = y @ x
    return (y @ z).softmax(-1) @ z


def test_the_arena_holds_what_lives_and_no_two_values_at_once() -> None:
    (evaluation,) = tw.explain(chain, tw.ones(33, 33) / 33).evaluations
    values = evaluation.values
    assert {v.nbytes for v in values} == {33 * 33 * F32}
    assert max(v.offset + v.nbytes for v in values) <= evaluation.arena
    assert evaluation.arena - max(v.offset + v.nbytes for v in values) < 64
    for a, b in itertools.combinations(values, 2):
        apart = a.offset + a.nbytes <= b.offset or b.offset + b.nbytes <= a.offset
        assert apart or a.last <= b.first or b.last <= a.first
    written = {k.number for k in evaluation.kernels}
    assert {v.first for v in values} == written - {max(written)}
    assert evaluation.memory >= evaluation.arena + 2 * 33 * 33 * F32


def test_what_flows_between_kernels() -> None:
    (evaluation,) = tw.explain(chain, tw.ones(33, 33) / 33).evaluations
    edges = {(a, b) for a, b, _ in evaluation.flow}
    numbers = [k.number for k in evaluation.kernels]
    assert (numbers[0], numbers[1]) in edges
    assert all(a < b for a, b in edges)
    assert {size for _, _, size in evaluation.flow} == {33 * 33 * F32}


def test_every_pass_leaves_a_graph_that_computes_the_same() -> None:
    (evaluation,) = tw.explain(chain, tw.ones(40, 40) / 40).evaluations
    names = [name for name, _ in evaluation.passes]
    assert names[0] == "write_out_calls"
    assert names[-1] == "lower"
    graphs = [parse_graph(text, BY_NAME) for name, text in evaluation.passes[:-1]]
    assert all(len(g.outputs) == 1 and g.outputs[0].shape == (40, 40) for g in graphs)
    nests = evaluation.passes[-1][1]
    assert all(k.name in nests for k in evaluation.kernels)


def test_kernels_are_made_once() -> None:
    def f(x: tw.Tensor) -> tw.Tensor:
        return (x.cosh() - x.sinh() * 0.7).atan()

    kernels = [tw.explain(f, tw.ones(n, n)).kernels for n in (5, 6)]
    assert kernels[0][0].how in ("compiled", "loaded")
    assert kernels[1][0].how == "reused"
    assert kernels[0][0].launch.nest == kernels[1][0].launch.nest


def test_a_function_that_ran_before_is_explained_all_the_same() -> None:
    x = tw.ones(200, 200)

    def f() -> float:
        return float((x * 3 + 1).mean())

    values = [f(), f()]
    found = tw.explain(f)
    assert len(found.evaluations) == 1
    assert found.evaluations[0].graph is not None
    assert values == [4.0, 4.0]
    assert f() == 4.0


def test_repeated_evaluations_are_counted() -> None:
    def f() -> None:
        for n in range(5):
            (tw.ones(200, 200) * n).sum().item()

    (first, *rest) = tw.explain(f).evaluations
    assert first.runs == 5
    assert rest == []
    assert "run 5 times" in first.summary


def test_a_training_step_is_explained_whole() -> None:
    net = tw.nn.Sequential(tw.nn.Linear(8, 6), tw.nn.ReLU(), tw.nn.Linear(6, 1))
    optimizer = tw.optim.SGD(net.parameters(), lr=0.1, momentum=0.9)

    def step(x: tw.Tensor) -> tw.Tensor:
        loss = (net(x) ** 2).mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        return loss

    found = tw.explain(step, tw.ones(4, 8))
    assert len(found.evaluations) == 1
    text = str(found)
    assert "Optimizer.step()" in text
    assert f"{len(found.kernels)} kernels" in text
    operations = sum(k.operations for k in found.kernels)
    products = 2 * 4 * (8 * 6 + 6) * 2 + 2 * 4 * 6
    assert operations >= products


def test_nothing_is_something_too() -> None:
    found = tw.explain(lambda: None)
    assert found.evaluations == ()
    assert str(found).strip() == found.summary == "nothing was computed"
    assert found.html().startswith("<!DOCTYPE html>")


def test_errors_of_the_function_come_through_and_watching_ends() -> None:
    def f() -> None:
        raise KeyError("mine")

    with pytest.raises(KeyError, match="mine"):
        tw.explain(f)
    x = tw.ones(3)
    with Explainer() as explainer:
        pass
    (x * 2).tolist()
    assert explainer.explanation.evaluations == ()


def test_other_threads_are_left_out() -> None:
    def f() -> None:
        thread = threading.Thread(target=lambda: (tw.ones(200, 200) * 2).sum().item())
        thread.start()
        thread.join()

    assert tw.explain(f).evaluations == ()


def test_programs_run_on_their_own_are_seen() -> None:
    kind = tensor_type(dtypes.float32, (40, 40))
    b = OpBuilder()
    x = input_node(kind, np.ones((40, 40), np.float32))
    graph = Graph([x], [b.dot(b.exp(x), x)])
    with Explainer() as explainer:
        program = build(graph, [False])
        for _ in range(3):
            program.run(graph.inputs)
    (evaluation,) = explainer.explanation.evaluations
    assert evaluation.runs == 3
    assert evaluation.title == "captured before"


def test_tensors_are_found_in_results() -> None:
    a, b, c = tw.ones(1), tw.ones(2), tw.ones(3)
    assert list(tensors_in({"a": a, "rest": [b, (c, 5)], "n": None})) == [a, b, c]


# Pages.


@pytest.fixture(scope="module")
def explanation() -> Explanation:
    return tw.explain(chain, tw.ones(33, 33) / 33)


def test_the_page_is_whole_and_loads_nothing(explanation: Explanation, tmp_path: Path) -> None:
    explanation.save(tmp_path / "page.html")
    text = (tmp_path / "page.html").read_text(encoding="utf-8")
    page = read(text)
    assert page.loads == []
    assert set(re.findall(r"https?://[^\"' ]+", text)) <= {"http://www.w3.org/2000/svg"}
    shown = "".join(page.text)
    for kernel in explanation.kernels:
        assert kernel.name in shown
        assert kernel.nest in shown
        assert kernel.lines[0] in shown


def test_the_pictures_show_every_kernel_and_value(explanation: Explanation) -> None:
    pictures = [
        ElementTree.fromstring(svg) for svg in re.findall(r"(?s)<svg.*?</svg>", explanation.html())
    ]
    space = "{http://www.w3.org/2000/svg}"
    (evaluation,) = explanation.evaluations
    flow, arena = pictures
    assert len(flow.findall(f"{space}g")) == len(explanation.kernels)
    assert len(flow.findall(f"{space}path")) == len(evaluation.flow)
    values = [r for r in arena.findall(f"{space}rect") if r.get("class") == "value"]
    assert len(values) == len(evaluation.values)
    boxes = [tuple(float(r.get(k, "")) for k in ("x", "y", "width", "height")) for r in values]
    for (x, y, w, h), (u, v, s, t) in itertools.combinations(boxes, 2):
        apart = 0.06  # coordinates are rounded
        assert x + w <= u + apart or u + s <= x + apart or y + h <= v + apart or v + t <= y + apart


def test_text_of_users_is_escaped() -> None:
    def f(x: tw.Tensor) -> tw.Tensor:
        return x * 2  # <b>&"

    page = tw.explain(f, tw.ones(3)).html()
    assert "<b>" not in page
    assert "&lt;b&gt;&amp;&quot;" in page
    read(page)
