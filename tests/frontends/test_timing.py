"""PyTorch's profiler and benchmark timers."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from talweg.frontends.torch.profiler import ProfilerAction, ProfilerActivity, profile, schedule
from talweg.frontends.torch.utils import benchmark

import talweg as tw
import talweg.frontends.torch as torch


def work() -> float:
    x = tw.ones(16, 16)
    return float((x @ x).relu().sum())


def test_a_profile_lists_kernels(tmp_path: Path) -> None:
    prof = profile(activities=[ProfilerActivity.CPU], record_shapes=True)
    with prof, torch.profiler.record_function("part"):
        work()
    averages = prof.key_averages(group_by_input_shape=True)
    assert averages
    assert averages[0].count >= 1
    for order in ("cpu_time_total", "self_cuda_time_total", None):
        assert averages[0].key in averages.table(sort_by=order, row_limit=10)
    prof.export_chrome_trace(str(tmp_path / "trace.json"))
    assert json.loads((tmp_path / "trace.json").read_text())["traceEvents"]
    with torch.autograd.profiler.profile(use_cuda=False) as older:
        work()
    assert older.key_averages().table() in str(older)
    with torch.autograd.profiler.profile(enabled=False) as nothing:
        work()
    assert not nothing.key_averages()


def test_a_schedule_hands_profiles_on(tmp_path: Path) -> None:
    plan = schedule(wait=1, warmup=1, active=2, repeat=1, skip_first=1)
    names = [plan(i).name for i in range(7)]
    assert names == ["NONE", "NONE", "WARMUP", "RECORD", "RECORD_AND_SAVE", "NONE", "NONE"]
    seen: list[Any] = []
    with profile(schedule=schedule(wait=0, warmup=0, active=2), on_trace_ready=seen.append) as prof:
        for _ in range(4):
            work()
            prof.step()
    assert seen == [prof, prof]
    handler = torch.profiler.tensorboard_trace_handler(str(tmp_path / "log"), "me")
    with profile(on_trace_ready=handler):
        work()
    assert [p.name for p in (tmp_path / "log").iterdir()] == ["me.0.pt.trace.json"]
    assert ProfilerAction.NONE.value == 0


@pytest.mark.parametrize("stmt", ["f(x)", "y = f(x)\nz = f(y)", "\n    y = f(x)\n    f(y)\n"])
def test_a_timer_computes_what_is_recorded(stmt: str) -> None:
    tw.reset_counters()
    timer = benchmark.Timer(stmt, "f = g", globals={"g": tw.exp, "x": tw.ones(8)}, label="exp")
    found = timer.timeit(5)
    assert tw.counters().hits >= 3
    assert found.mean == found.median == found.times[0] > 0
    assert found.iqr == 0
    assert "exp" in repr(found)
    assert benchmark.Timer("torch.ones(3)").timeit(1).number_per_run == 1
    several = timer.blocked_autorange(min_run_time=0.01)
    table = benchmark.Compare([found, several])
    table.trim_significant_figures()
    assert str(table).count("exp") >= 2
