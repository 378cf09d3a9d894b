"""Benchmarks: what talweg computes in them is right, and the machinery notices when it is not.

The oracle of every case is its pure form in NumPy and float64; gradients are held against central
differences of it in a random direction.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from benchmarks import __main__ as command
from benchmarks import frameworks, functions_numpy, processes, report, runner, timing, worker
from benchmarks.case import (
    Arrays,
    Case,
    Function,
    Inference,
    Skipped,
    Stepwise,
    Training,
    agree,
    difference,
    is_buffer,
)
from benchmarks.eager import cotangent_of
from benchmarks.report import Result
from benchmarks.tiny_ops import TinyOps

CASES = {
    f"{workload}: {case.name}": case
    for workload in command.WORKLOADS
    for case in worker.cases_of(workload, "tiny")
}
TOLERANCE = 2e-4


def in_talweg(case: Case) -> Arrays:
    """What talweg gives for a case; a step after it must run too."""
    program = frameworks.prepare(case, "talweg", 1)
    results = program.results()
    program.step()
    return results


def wide(arrays: Arrays) -> Arrays:
    """Floating arrays in float64."""
    return {n: a.astype(np.float64) if a.dtype.kind == "f" else a for n, a in arrays.items()}


def check_gradient(
    function: Callable[[Arrays], Any], at: Arrays, gradient: Arrays, scale: float = 1e-8
) -> None:
    """Hold a gradient against differences of the function in a random direction."""
    rng = np.random.default_rng(1)
    direction = {name: rng.standard_normal(at[name].shape) for name in gradient}
    ahead, behind = (
        function(at | {n: at[n] + sign * scale * d for n, d in direction.items()})
        for sign in (1, -1)
    )
    expected = (ahead - behind) / (2 * scale)
    found = sum(float((gradient[n] * d).sum()) for n, d in direction.items())
    size = sum(float((np.abs(gradient[n]) * np.abs(d)).sum()) for n, d in direction.items())
    assert abs(found - expected) <= TOLERANCE * size


def check_training(case: Training) -> None:
    found, state = in_talweg(case), wide(case.state())
    batch = tuple(wide(dict(enumerate(case.batch()))).values())

    def loss(values: Arrays) -> Any:
        return case.loss(functions_numpy, values, *batch)[0]

    gradient = {
        n.partition(".")[2]: a for n, a in found.items() if n.partition(".")[0] == "gradient"
    }
    assert gradient.keys() == {n for n in state if not is_buffer(n)}
    np.testing.assert_allclose(found["loss"][0], loss(state), rtol=TOLERANCE)
    check_gradient(loss, state, gradient)
    moved = {n.partition(".")[2]: a for n, a in found.items() if n.startswith("change.")}
    step = sum(float((moved[n] * g).sum()) for n, g in gradient.items())
    assert step < 0, "the optimizer went uphill"


def check_function(case: Function) -> None:
    found = in_talweg(case)
    arrays = {str(i): a for i, a in enumerate(case.inputs())}
    inputs = wide(arrays)
    expected = case.pure(functions_numpy, *inputs.values())
    np.testing.assert_allclose(found["output"], expected, rtol=TOLERANCE, atol=TOLERANCE)
    gradient = {n.partition(".")[2]: a for n, a in found.items() if n != "output"}
    assert set(gradient) == {n for n, a in arrays.items() if case.gradient and a.dtype.kind == "f"}
    if gradient:
        cotangent = cotangent_of(found["output"].shape)

        def scalar(values: Arrays) -> Any:
            return (case.pure(functions_numpy, *values.values()) * cotangent).sum()

        check_gradient(scalar, inputs, gradient)


def check_stepwise(case: Stepwise) -> None:
    found, state = in_talweg(case)["output"], wide(case.state())
    carried: Any = wide(case.start())
    for t, token in enumerate(case.batch()[0]):
        logits, carried = case.advance(functions_numpy, state, carried, token, t)
        np.testing.assert_allclose(found[t], logits, rtol=TOLERANCE, atol=TOLERANCE)


def check_tiny_ops(case: TinyOps) -> None:
    found, arrays = in_talweg(case), wide(dict(zip("xw", case.inputs(), strict=True)))
    order = orders_of(case)

    def chain(values: Arrays) -> Any:
        return case.chain(order, np, values["x"], values["w"])

    np.testing.assert_allclose(found["output"], chain(arrays), rtol=1e-3)
    check_gradient(chain, arrays, {n: found[f"gradient.{n}"] for n in "xw"})


def orders_of(case: TinyOps) -> Sequence[int]:
    rng = case.orders()
    first = case.order(rng)
    return case.order(rng) if case.dynamic else first


@pytest.mark.parametrize("name", CASES)
def test_talweg_computes_what_the_oracle_does(name: str) -> None:
    case = CASES[name]
    if isinstance(case, Training):
        check_training(case)
    elif isinstance(case, Inference):
        batch = tuple(a.astype(np.float64) for a in case.batch())
        expected = case.output(functions_numpy, wide(case.state()), *batch)
        output = in_talweg(case)["output"]
        np.testing.assert_allclose(output, expected, rtol=TOLERANCE, atol=TOLERANCE)
    elif isinstance(case, Stepwise):
        check_stepwise(case)
    elif isinstance(case, TinyOps):
        check_tiny_ops(case)
    else:
        assert isinstance(case, Function)
        check_function(case)


def test_names_are_told_apart() -> None:
    full = [case.name for w in command.WORKLOADS for case in worker.cases_of(w, "full")]
    assert len(set(full)) == len(full)


def test_work_is_counted() -> None:
    (resnet, one, _) = worker.cases_of("resnet18", "full")
    assert one.flops() == pytest.approx(2 * 1.814e9, rel=2e-3)  # torchvision: 1.81 GMAC
    assert resnet.flops() == pytest.approx(3 * 8 * one.flops(), rel=0.03)
    (vgg, _) = worker.cases_of("vgg11", "full")
    assert vgg.flops() == pytest.approx(2 * 7.609e9, rel=2e-3)  # torchvision: 7.61 GMAC
    (lenet,) = worker.cases_of("lenet", "full")
    # 3 x (288,000 + 1,600,000 + 405,000) multiply-adds an image, less the first one's input
    assert lenet.flops() == 2 * 64 * (3 * 2_293_000 - 288_000)
    sizes = {c.name: c.floor() for c in worker.cases_of("bandwidth", "full")}
    matrix = 4 * 8192 * 2048
    assert sizes["softmax, 8192×2048, forward"] == 2 * matrix
    assert sizes["softmax, 8192×2048, forward + backward"] == 4 * matrix


def test_a_wrong_gradient_is_noticed() -> None:
    case = CASES["two_layer: two-layer net, training step"]
    right = in_talweg(case)
    assert agree(case, difference(right, right))
    for name in right:
        wrong = right | {name: right[name] + np.float32(0.01) * np.abs(right[name]).max()}
        assert not agree(case, difference(wrong, right)) or name.startswith("change")
    wrong = {n: -a if n.startswith("change") else a for n, a in right.items()}
    assert not agree(case, difference(wrong, right))
    lost = {n: a for n, a in right.items() if n != "loss"}
    assert not agree(case, difference(lost, right))
    none = {n: np.full_like(a, np.nan) for n, a in right.items()}
    assert not agree(case, difference(none, right))


# ---------------------------------------------------------------------------------------------
# the runner, with real processes


SETTINGS = runner.Settings(threads=1, sizes="tiny", rounds=2, seconds=0.0, quiet=1.0)


def test_a_workload_runs_in_processes(capsys: pytest.CaptureFixture[str]) -> None:
    (result,) = runner.run_workload("two_layer", ["talweg"], SETTINGS)
    assert result.measured() == ["talweg"]
    assert len(result.rounds) == 2
    assert result.failed == {}
    assert result.apart["talweg"] == dict.fromkeys(("gradient", "loss", "change"), 0.0)
    assert capsys.readouterr().out.startswith("two-layer net, training step: no ratio; talweg")


def test_what_is_not_installed_is_skipped(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(frameworks.PACKAGES, "jax", ("no_such_package",))
    monkeypatch.setattr(worker, "cases_of", lambda *_: [])
    case = CASES["two_layer: two-layer net, training step"]
    result = runner.run_case("two_layer", case, ["jax"], runner.Workers(SETTINGS))
    assert result.skipped == {"jax": "no_such_package is not installed"}
    assert result.measured() == []


@pytest.mark.parametrize(
    ("code", "reason"),
    [
        ("import os; input(); os._exit(3)", "the process ended with status 3"),
        ("import time; time.sleep(60)", "not ready after 0 s"),
    ],
)
def test_a_process_that_ends_or_hangs_has_failed(
    code: str, reason: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    started = runner.subprocess.Popen

    def other(_: Any, **options: Any) -> Any:
        return started([sys.executable, "-c", code], **options)

    monkeypatch.setattr(runner.subprocess, "Popen", other)
    workers = runner.Workers(SETTINGS)
    patience = 0.3 if "sleep" in code else 30.0
    assert workers.ask("talweg", patience, do="time", seconds=0) == {"failed": reason}
    assert workers.running == {}


def test_frameworks_that_differ_are_not_timed() -> None:
    case = CASES["gemm: GEMM 5×7×3"]
    right = {"output": np.ones((5, 3), np.float32)}
    results = {"talweg": {"output": 1.1 * right["output"]}, "torch": right, "numpy": right}
    result = Result("gemm", case.name)
    runner.compare(case, results, result)
    assert list(results) == ["torch", "numpy"]
    assert result.failed["talweg"].startswith("differs from torch: output 1.0e-01")


def test_noisy_rounds_are_tried_again(monkeypatch: pytest.MonkeyPatch) -> None:
    shares = iter([0.5, 0.0, 0.4, 0.3])

    class Ready:
        settings = runner.Settings(threads=1, rounds=2, seconds=0.0, quiet=0.1)

        def ask(self, *_: Any, **__: Any) -> dict[str, Any]:
            return {"median": 1.0, "low": 1.0, "high": 1.0, "foreign": next(shares)}

    monkeypatch.setattr(runner.time, "sleep", lambda _: None)
    result = Result("gemm", "x")
    runner.time_all(["talweg"], Ready(), result)  # type: ignore[arg-type]
    assert [r["talweg"]["foreign"] for r in result.rounds] == [0.0, 0.3]
    assert result.foreign == 0.3


def test_processes_measure_what_they_say(tmp_path: Path) -> None:
    request = processes.Request("first-loss-warm", "talweg", 1, "tiny")
    assert processes.run_process(request, str(tmp_path), 120.0) > 0
    small = processes.Request("size", "talweg", 1, "tiny")
    assert 20 < processes.run_process(small, str(tmp_path), 120.0) < 1000
    wrong = processes.Request("no-such-measure", "talweg", 1, "tiny")
    with pytest.raises(RuntimeError, match="no-such-measure"):
        processes.run_process(wrong, str(tmp_path), 120.0)


def test_requirements_are_followed() -> None:
    found = processes.requirements("hypothesis")
    assert {"hypothesis", "sortedcontainers"} <= found
    assert processes.plain("Foo_bar.baz[extra]>=2; python_version < '4'") == "foo_bar.baz"


# ---------------------------------------------------------------------------------------------
# figures


def result_of(**medians: Sequence[float]) -> Result:
    count = len(next(iter(medians.values())))
    rounds = [
        {n.replace("_", "-"): {"median": values[i]} for n, values in medians.items()}
        for i in range(count)
    ]
    return Result("gemm", "a case", group="g", flops=2e9, rounds=rounds)


def test_ratios_are_taken_round_by_round() -> None:
    result = result_of(talweg=[1.0, 2.0, 4.0], torch=[2.0, 4.0, 2.0], jax=[9.0, 9.0, 9.0])
    assert result.best(ours=True) == "talweg"
    assert result.best(ours=False) == "torch"
    assert result.ratios() == [2.0, 2.0, 0.5]
    assert result.ratio() == 2.0
    assert result.rate("talweg") == "1 GF/s"
    assert result.spread("torch") == (2.0, 4.0)
    assert "2.00x; talweg 2.00 s" in result.line()


def test_tables_hold_medians_ratios_and_reasons() -> None:
    fast = result_of(talweg=[1e-3], torch=[2e-3])
    slow = result_of(talweg=[4e-6], talweg_compile=[2e-6], torch=[1e-6])
    fast.name, slow.failed = "first", {"jax": "ended"}
    text = report.markdown([fast, slow], ["today"])
    assert "| first | 1.00 ms | – | **2.00 ms** | 2.00 | 2.00–2.00 | 2000 GF/s |" in text
    assert "| a case | 4.00 µs | 2.00 µs | **1.00 µs** | 0.50 |" in text
    assert "| g | 2 | 1.00 | 0.50 (a case) |" in text
    assert "- a case, jax.jit: ended" in text
    again = json.loads(json.dumps(report.as_json([fast, Result("w", "none")], ["today"])))
    assert again["results"][0]["ratio"] == 2.0
    assert again["results"][1]["ratio"] is None


def test_the_readme_keeps_what_stands_around_the_results(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    page = tmp_path / "README.md"
    page.write_text(f"before\n{command.BEGIN}\nold\n{command.END}\nafter\n")
    monkeypatch.setattr(command, "README", page)
    command.write("new")
    command.write("newer")
    assert page.read_text() == f"before\n{command.BEGIN}\n\nnewer\n\n{command.END}\nafter\n"
    real = (Path(command.__file__).parent / "README.md").read_text()
    assert real.count(command.BEGIN) == real.count(command.END) == 1


def test_timing_repeats_short_steps() -> None:
    calls = []
    found = timing.sample(lambda: calls.append(1), 0.0)
    assert found.samples >= 3
    assert found.steps > 100
    assert len(calls) == 1 + found.samples * found.steps
    assert found.low <= found.median <= found.high


def test_unknown_workloads_are_refused(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        command.parse(["no_such"])
    assert "there is no workload 'no_such'" in capsys.readouterr().err


def test_peers_that_do_not_take_part_say_so() -> None:
    case = CASES["lstm: LSTM hidden 256, batch 1, one step"]
    with pytest.raises(Skipped, match="no peer"):
        frameworks.prepare(case, "numpy", 1)
