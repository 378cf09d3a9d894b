"""A search keeps what it found, for this process and for others, and changes no results."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import talweg as tw
from talweg.base.errors import InvalidValue
from talweg.codegen.cache import ObjectCache
from talweg.codegen.cpu import host
from talweg.engine import schedules
from talweg.engine.explain import explain
from talweg.engine.schedules import found_schedules, keep_schedules
from talweg.schedule.loops import Loops
from talweg.schedule.search import candidates


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    cache = ObjectCache(tmp_path, "1")
    monkeypatch.setattr(schedules, "disk_cache", lambda: cache)
    monkeypatch.setattr(schedules, "_FOUND", schedules._Found())
    return tmp_path


def operands() -> tuple[tw.Tensor, tw.Tensor]:
    rng = np.random.default_rng(0)
    a, b = (tw.tensor(rng.normal(size=n).astype(np.float32)) for n in ((60, 200), (200, 90)))
    return a, b


def test_a_search_measures_every_kernel_and_never_keeps_a_slower_one(folder: Path) -> None:
    a, b = operands()
    found = tw.tune(lambda: (a @ b).softmax(-1), schedules=3)
    assert {k.name for k in found.kernels} >= {"dot"}
    assert found.skipped == 0
    for kernel in found.kernels:
        assert 2 <= kernel.tried <= 3
        assert kernel.ratio == 1 or kernel.ratio >= 1.03
    assert "times faster" in str(found)
    kept = any(k.ratio > 1 for k in found.kernels)
    assert bool(found_schedules()) == kept


def test_what_was_found_is_taken_for_these_sizes_alone(folder: Path) -> None:
    a, b = operands()
    (kernel,) = explain(lambda: a @ b).kernels
    nest, values = kernel.launch.nest, tuple(kernel.launch.values)
    assert kernel.schedule != Loops()
    before = found_schedules()
    keep_schedules({(nest, values): Loops()})
    assert found_schedules() != before
    again = explain(lambda: a @ b)
    assert [k.schedule for k in again.kernels] == [Loops()]
    np.testing.assert_allclose((a @ b).numpy(), a.numpy() @ b.numpy(), rtol=1e-4, atol=1e-4)
    other = explain(lambda: a[:50] @ b)
    assert [k.schedule for k in other.kernels] != [Loops()]
    schedules._FOUND = schedules._Found()  # as another process begins
    assert schedules.schedule_of(nest, values) == Loops()


def test_two_processes_keep_what_both_found(folder: Path) -> None:
    a, b = operands()
    (kernel,) = explain(lambda: a @ b).kernels
    nest, values = kernel.launch.nest, tuple(kernel.launch.values)
    tried = candidates(nest, nest.named(values), host(), 3)
    one, other = schedules._Found(), schedules._Found()
    assert one.rows() == other.rows() == {}
    for writer, schedule, sizes in ((one, tried[1], values), (other, tried[2], (7, *values[1:]))):
        schedules._FOUND = writer
        keep_schedules({(nest, sizes): schedule})
    schedules._FOUND = schedules._Found()
    assert schedules.schedule_of(nest, values) == tried[1]
    assert schedules.schedule_of(nest, (7, *values[1:])) == tried[2]


def test_later_processes_take_what_was_found(tmp_path: Path) -> None:
    first = """
import talweg as tw
from talweg.engine.explain import explain
from talweg.engine.schedules import keep_schedules
from talweg.schedule.loops import Loops
a, b = tw.rand(60, 200), tw.rand(200, 90)
f = lambda: a @ b
(kernel,) = explain(f).kernels
print(type(kernel.schedule).__name__)
"""
    keep = "keep_schedules({(kernel.launch.nest, tuple(kernel.launch.values)): Loops()})\n"
    environment = {**os.environ, "TALWEG_CACHE_DIR": str(tmp_path)}

    def run(script: str) -> str:
        command = [sys.executable, "-c", script]
        return subprocess.run(
            command, env=environment, capture_output=True, text=True, check=True
        ).stdout.strip()

    assert run(first) == "Tiles"
    assert run(first + keep) == "Tiles"
    assert run(first) == "Loops"


def test_one_schedule_is_nothing_to_compare() -> None:
    with pytest.raises(InvalidValue, match="schedules=1"):
        tw.tune(lambda: None, schedules=1)
