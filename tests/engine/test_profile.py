"""Profiles: counts, bytes and operations of what ran, and times that add up."""

from __future__ import annotations

import json
import math
import threading
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

import talweg as tw
from talweg.base.errors import InvalidValue
from talweg.engine import evaluate
from talweg.engine.evaluate import FIRST_SIGHT
from talweg.engine.peak import Peak
from talweg.engine.profile import KernelAverages, profile
from tests.engine.well_formed import read

PEAK = Peak(
    cpu="a processor",
    threads=2,
    float32=(5e10, 1e11),
    float64=(2e10, 4e10),
    read=(1e10, 2e10),
    triad=(1e10, 3e10),
)


def work(x: tw.Tensor) -> float:
    return float((x.exp() + x).sum())


def profiled(count: int = 3, dtype: tw.dtype = tw.float32) -> profile:
    x = tw.tensor(np.ones((150, 200)), dtype=dtype)
    prof = tw.profile()
    prof.peak = PEAK
    with prof:
        for _ in range(count):
            work(x)
    return prof


def test_calls_bytes_and_operations_are_those_of_the_program() -> None:
    kernels = profiled(3).key_averages()
    assert sum(k.count for k in kernels) == 3 * len(kernels)
    assert sum(k.flops for k in kernels) == pytest.approx(3 * 3 * 30_000, rel=1e-2)
    assert sum(k.nbytes for k in kernels) >= 3 * 4 * 30_001
    first = next(k for k in kernels if "exp" in k.key)
    assert first.input_shapes == ((150, 200),)
    assert any("return float((x.exp() + x).sum())" in line for line in first.lines)


def test_rates_and_shares_follow_from_times() -> None:
    for dtype, arithmetic in ((tw.float32, 1e11), (tw.float64, 4e10)):
        for k in profiled(2, dtype).key_averages():
            seconds = k.cpu_time_total * 1e-6
            assert k.gflops == pytest.approx(k.flops / seconds / 1e9)
            assert k.bandwidth == pytest.approx(k.nbytes / seconds / 1e9)
            assert k.cpu_time == k.cpu_time_total / k.count
            least = max(k.flops / arithmetic, k.nbytes / 3e10)
            assert k.share == pytest.approx(least / seconds, rel=1e-2)


def test_times_add_up_and_the_kernels_are_within_the_whole() -> None:
    times = profiled(5).times()
    whole = times.pop("all")
    assert 0 < times["kernels"] < whole
    assert sum(times.values()) == pytest.approx(whole, rel=0.02)


def test_time_outside_is_seen() -> None:
    with tw.profile() as prof:
        time.sleep(0.05)
    times = prof.times()
    assert times["recording and Python"] >= 5e7
    assert times["kernels"] == 0


def test_results_are_as_without() -> None:
    x = tw.linspace(0, 1, 300).reshape(3, 100).requires_grad_()
    plain = (x.exp() @ x.T).log().sum()
    with tw.profile():
        seen = (x.exp() @ x.T).log().sum()
        (g,) = tw.autograd.grad(seen, x)
    (h,) = tw.autograd.grad(plain, x)
    np.testing.assert_allclose(seen.item(), plain.item(), rtol=1e-6)
    np.testing.assert_allclose(g.numpy(), h.numpy(), rtol=1e-5)


def test_what_waits_on_entry_is_not_counted_and_at_the_end_it_is() -> None:
    x = tw.ones(200, 200)
    before = x.cosh()
    with tw.profile() as prof:
        after = x.sinh()
    keys = [k.key for k in prof.key_averages()]
    assert keys == ["sinh"]
    assert before.numpy().shape == after.numpy().shape


def test_as_a_decorator_it_adds_up() -> None:
    prof = tw.profile()
    x = tw.ones(150, 200)

    @prof
    def run() -> float:
        return work(x)

    assert run() == run() == pytest.approx(30_000 * (math.e + 1), rel=1e-4)
    assert {k.count for k in prof.key_averages()} == {2}
    assert work(x) == run()
    assert {k.count for k in prof.key_averages()} == {3}


def test_shapes_can_be_kept_apart() -> None:
    with tw.profile() as prof:
        for n in (150, 150, 160):
            work(tw.tensor(np.ones((n, 200), np.float32)))
    together = [k for k in prof.key_averages() if "exp" in k.key]
    apart = [k for k in prof.key_averages(group_by_input_shape=True) if "exp" in k.key]
    assert [k.count for k in together] == [3]
    assert sorted(k.count for k in apart) == [1, 2]
    assert {k.input_shapes[0] for k in apart} == {(150, 200), (160, 200)}


def test_tables_are_sorted_and_cut() -> None:
    x = tw.ones(100, 300)
    prof = tw.profile()
    prof.peak = PEAK
    with prof:
        for n in range(3):
            (x.exp() + n).sum().item()
            (x @ x.T).sum().item()
    kernels = prof.key_averages()
    assert [k.cpu_time_total for k in kernels] == sorted(
        (k.cpu_time_total for k in kernels), reverse=True
    )
    for key in ("flops", "nbytes", "count", "cpu_time", "self_cpu_time_total", "share"):
        lines = kernels.table(sort_by=key, row_limit=-1).splitlines()[2:]
        most = max(getattr(k, key) for k in kernels)
        top = {k.key for k in kernels if getattr(k, key) == most}
        assert lines[0].split()[0] in top
        assert len(lines) == len(kernels)
    assert len(kernels.table(row_limit=1).splitlines()) == 3
    names = [line.split()[0] for line in kernels.table(max_name_column_width=4).splitlines()[2:]]
    assert names == [k.key if len(k.key) <= 4 else f"{k.key[0]}..." for k in kernels]
    with pytest.raises(InvalidValue, match="'speed' is none of cpu_time_total"):
        kernels.table(sort_by="speed")


def test_the_table_tells_of_every_kernel_and_every_part() -> None:
    prof = profiled(2)
    text = str(prof)
    for kernel in prof.key_averages():
        assert kernel.key in text
    for part in prof.times():
        assert part in text
    assert "of peak" in text


def test_without_a_peak_there_is_no_share() -> None:
    prof = profiled(1)
    prof.peak = None
    assert {k.share for k in prof.key_averages()} == {None}
    assert "%" in prof.table()


def test_small_graphs_count_as_references(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(evaluate, "CONFIG", replace(evaluate.CONFIG, compile="auto"))
    size = 5
    assert size**3 < FIRST_SIGHT
    with tw.profile() as prof:
        ((tw.ones(size, size, size) * 0.37).asinh() - 0.11).sum().item()
    assert prof.times()["references"] > 0
    assert prof.key_averages() == KernelAverages()


def test_planning_and_kernels_made_are_seen_once() -> None:
    x = tw.ones(200, 200)

    def f() -> float:
        return float((x.sinh() * x.asinh() - x.cosh() * 0.123).sum())

    with tw.profile() as first:
        f()
    with tw.profile() as second:
        f()
    kinds = [{e.kind for e in p.events()} for p in (first, second)]
    assert "plan" in kinds[0]
    assert {"compiled", "loaded"} & kinds[0]
    assert kinds[1] == {"evaluation", "kernel"}
    made = first.times()
    assert made["compiling kernels"] + made["loading kernels"] > 0
    assert second.times()["planning"] == 0


def test_threads_are_all_seen() -> None:
    together = threading.Barrier(3)

    def f() -> None:
        work(tw.ones(150, 200))
        together.wait()

    with tw.profile() as prof:
        threads = [threading.Thread(target=f) for _ in range(3)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    kernels = [e for e in prof.events() if e.kind == "kernel" and "exp" in e.name]
    assert len(kernels) == 3
    assert len({e.thread for e in prof.events()}) == 3


# Files.


def test_the_trace_is_nested_and_complete(tmp_path: Path) -> None:
    prof = tw.profile()
    prof.peak = PEAK
    x = tw.ones(150, 200)
    with prof:
        for _ in range(3):
            work(x)
            prof.step()
    for export in (prof.export_chrome_trace, prof.chrome_trace):
        export(tmp_path / "trace.json")
        trace = json.loads((tmp_path / "trace.json").read_text())
    events = [e for e in trace["traceEvents"] if e["ph"] == "X"]
    assert len(events) == len(prof.events())
    assert {"name", "cat", "ph", "ts", "dur", "pid", "tid", "args"} <= set(events[0])
    spans = [e for e in events if e["cat"] == "evaluation"]
    kernels = [e for e in events if e["cat"] == "kernel"]
    assert len(spans) == 3
    assert all("return float" in e["args"]["line"] for e in spans)
    for kernel in kernels:
        begin, end = kernel["ts"], kernel["ts"] + kernel["dur"]
        around = [s for s in spans if s["ts"] <= begin and end <= s["ts"] + s["dur"]]
        assert len(around) == 1
    assert sum(e["args"]["operations"] for e in kernels) == sum(
        k.flops for k in prof.key_averages()
    )
    steps = [e["name"] for e in events if e["cat"] == "step"]
    assert steps == ["ProfilerStep#0", "ProfilerStep#1", "ProfilerStep#2"]


def test_the_page_is_whole_and_loads_nothing(tmp_path: Path) -> None:
    prof = profiled(4)
    prof.save(tmp_path / "page.html")
    page = read((tmp_path / "page.html").read_text(encoding="utf-8"))
    assert page.loads == []
    shown = "".join(page.text)
    for kernel in prof.key_averages():
        assert kernel.key in shown
    assert page.seen.count("rect") == len(prof.events())
    read(tw.profile().html())
