"""Programs that an earlier process kept: they are the same, or they are not used."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import talweg as tw
from talweg.base import dtypes
from talweg.codegen.cache import ObjectCache
from talweg.engine import stored
from talweg.engine.building import build
from talweg.engine.evaluate import pending_graph
from talweg.engine.scalars import is_scalar
from talweg.ir.node import Graph, input_node
from talweg.ir.types import tensor_type
from talweg.ops import OpBuilder
from talweg.ops.effect import HostCallback

SCRIPT = """
import sys
import numpy as np
import talweg as tw

rng = np.random.default_rng(0)
shapes = (90, 500), (500, 70), (70, 9)
x, w, v = (tw.tensor(rng.normal(size=n).astype(np.float32) / 20) for n in shapes)
w.requires_grad_(), v.requires_grad_()
step = tw.optim.SGD([w, v], lr=0.01, momentum=0.9)
for _ in range(4):
    step.zero_grad()
    loss = ((x @ w).relu() @ v).softmax(-1)[:, 0].log().mean().neg()
    loss.backward()
    step.step()
print(loss.item().hex(), float(w.abs().sum().item()).hex())
made = tw.counters()
print(made.compiled, "talweg.passes.lower" in sys.modules, "talweg.schedule.choose" in sys.modules)
"""


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    cache = ObjectCache(tmp_path, "1")
    monkeypatch.setattr("talweg.engine.stored.disk_cache", lambda: cache)
    monkeypatch.setattr("talweg.engine.kernels.disk_cache", lambda: cache)
    monkeypatch.setattr("talweg.engine.kernels._KERNELS", {})
    monkeypatch.setattr(stored, "_KERNELS", {})
    monkeypatch.setattr(stored, "_written", set())
    return tmp_path


def process(folder: Path) -> list[str]:
    environment = {**os.environ, "TALWEG_CACHE_DIR": str(folder)}
    environment.pop("TALWEG_CHECK", None)
    command = [sys.executable, "-c", SCRIPT]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
    return done.stdout.splitlines()


def test_the_second_process_neither_lowers_nor_schedules(tmp_path: Path) -> None:
    values, made = process(tmp_path)
    assert made.split()[0] != "0"
    again, found = process(tmp_path)
    assert again == values
    assert found == "0 False False"


def graph() -> tuple[Graph, list[bool]]:
    x = tw.tensor(np.linspace(-1, 1, 6000, dtype=np.float32).reshape(60, 100))
    made = pending_graph([((x * 3.5).softmax(-1) @ x.T).node(), x.reshape(-1).node()])
    return made, [is_scalar(n) for n in made.inputs]


def values(program: object, made: Graph) -> list[np.ndarray]:
    run = program.run(made.inputs)  # type: ignore[attr-defined]
    pairs = zip(made.outputs, run, strict=True)
    return [buffer.array(np.float32, node.shape).copy() for node, buffer in pairs]


def test_what_is_found_is_the_program_that_was_kept(folder: Path) -> None:
    made, scalars = graph()
    assert stored.find(made, scalars) is None
    first = build(made, scalars)
    found = stored.find(made, scalars)
    assert found is not None
    for one, other in zip(values(first, made), values(found, made), strict=True):
        np.testing.assert_array_equal(one, other)
    assert found.launches == first.launches == len(found.plan.launches)
    executor, again = first.sole_executor, found.sole_executor
    assert executor is not None
    assert again is not None
    for one_launch, other_launch in zip(executor.launches, again.launches, strict=True):
        assert one_launch.label.nest == other_launch.label.nest
        assert one_launch.label.nbytes == other_launch.label.nbytes
    assert executor.sizes == again.sizes
    assert found.outline.donation == first.outline.donation


@pytest.mark.parametrize("damage", ["cut", "flip", "empty", "object"])
def test_a_damaged_entry_is_not_used(folder: Path, damage: str) -> None:
    made, scalars = graph()
    expected = values(build(made, scalars), made)
    path = stored.disk_cache().path(stored._key_of(made))
    content = path.read_bytes()
    if damage == "object":
        for code in folder.glob("*.o"):
            code.write_bytes(code.read_bytes()[:-1])
        stored.disk_cache()._objects.clear()
        stored._KERNELS.clear()
    else:
        middle = len(content) - 40
        flipped = content[:middle] + bytes([content[middle] ^ 1]) + content[middle + 1 :]
        path.write_bytes({"cut": content[:-1], "flip": flipped, "empty": b""}[damage])
    assert stored.find(made, scalars) is None
    for one, other in zip(values(build(made, scalars), made), expected, strict=True):
        np.testing.assert_array_equal(one, other)


def test_another_compiler_finds_nothing(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    made, scalars = graph()
    build(made, scalars)
    assert stored.find(made, scalars) is not None
    monkeypatch.setattr(stored, "_state", lambda: "another")
    assert stored.find(made, scalars) is None


def test_programs_that_call_the_host_are_made_anew(folder: Path) -> None:
    b, type = OpBuilder(), tensor_type(dtypes.float32, (200, 30))
    x = input_node(type, np.ones((200, 30), np.float32))
    (called,) = b.results(HostCallback(lambda a: (a + 1,), (type,)), x)
    made = Graph([x], [b.exp(called)])
    build(made, [False])
    assert stored.find(made, [False]) is None
