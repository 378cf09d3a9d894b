"""Tracing: what cost time, why, and which line of the user's program led to it."""

from __future__ import annotations

import io
import os
import re
import subprocess
import sys
import threading
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

import talweg as tw
from talweg.base.errors import IndexOutOfRange, ObservationError
from talweg.engine import evaluate
from talweg.engine.tracing import Tracer

ROOT = Path(tw.__file__).parents[1]

PROGRAM = """\
import talweg as tw
x = tw.ones(200, 200)
def step(x):
    return (x.exp() * 2).sum()
print(step(x).item())
print(float(step(x := tw.ones(300, 200))))
if step(x) > 0:
    pass
"""


def lines_of(tmp_path: Path, program: str, **switches: str) -> list[str]:
    """What a fresh process writes to stderr."""
    file = tmp_path / "program.py"
    file.write_text(program)
    environment = {k: v for k, v in os.environ.items() if not k.startswith("TALWEG")}
    environment |= {"TALWEG_CACHE_DIR": str(tmp_path / "cache"), "PYTHONPATH": str(ROOT)}
    run = [sys.executable, str(file)]
    environment |= switches
    done = subprocess.run(
        run, check=False, capture_output=True, text=True, timeout=300, env=environment
    )
    return [*done.stderr.splitlines(), f"exit {done.returncode}"]


def test_a_process_tells_what_costs_time(tmp_path: Path) -> None:
    file = tmp_path / "program.py"
    cold = lines_of(tmp_path, PROGRAM, TALWEG_TRACE="1")
    at = [f"talweg: {file}:{line}: " for line in range(9)]
    assert cold[0].startswith(f"{at[5]}item() computes ")
    assert cold[0].endswith("  # print(step(x).item())")
    first = [line for line in cold if line.startswith(at[5])]
    kernels = [line for line in first if " compiled in " in line]
    assert kernels
    assert all(line.endswith(": new structure") for line in kernels)
    (plan,) = (line for line in first if ": plan of " in line)
    assert f" in {len(kernels)} kernels, arena " in plan
    assert plan.endswith(": new structure")
    second = [line for line in cold if line.startswith(at[6])]
    assert second[0].startswith(f"{at[6]}float() computes ")
    assert second[-1].endswith(": new shapes")
    assert len(second) == 2, "other sizes compile no kernel"
    assert any(line.startswith(f"{at[7]}bool() or if computes ") for line in cold)
    assert cold[-1] == "exit 0"
    warm = lines_of(tmp_path, PROGRAM, TALWEG_TRACE="1")
    loaded = [line for line in warm if " loaded in " in line]
    assert len(loaded) == sum(" compiled in " in line for line in cold)
    assert all("new process" in line for line in loaded)
    assert not any(" compiled in " in line for line in warm)


def test_nothing_is_written_unasked(tmp_path: Path) -> None:
    assert lines_of(tmp_path, PROGRAM) == ["exit 0"]


def causes() -> tuple[io.StringIO, Tracer]:
    stream = io.StringIO()
    return stream, Tracer(stream)


def test_every_cause_has_its_name() -> None:
    stream, tracer = causes()
    wanted: dict[str, int] = {}
    net = tw.nn.Linear(3, 2)
    optimizer = tw.optim.SGD(net.parameters(), lr=0.1)
    x = tw.ones(4, 3)
    here = sys._getframe
    with tracer:
        wanted["item()"] = here().f_lineno + 1
        (x * 2).sum().item()
        wanted["tolist()"] = here().f_lineno + 1
        (x * 3).tolist()
        wanted["print or repr"] = here().f_lineno + 1
        repr(x * 4)
        wanted["conversion to a NumPy array"] = here().f_lineno + 1
        np.asarray(x * 5)
        wanted["bool() or if"] = here().f_lineno + 1
        bool((x * 6).sum() > 0)
        net(x).sum().backward()
        wanted["Optimizer.step()"] = here().f_lineno + 1
        optimizer.step()
        wanted["indexing"] = here().f_lineno + 1
        x[x * 7 > 1]
        wanted["allclose()"] = here().f_lineno + 1
        tw.allclose(x * 8, x)
    lines = stream.getvalue().splitlines()
    for cause, line in wanted.items():
        where = re.escape(f"talweg: {__file__}:{line}: ") + r"(\w+\(\) in )?" + re.escape(cause)
        assert any(re.match(where + " computes", text) for text in lines), (cause, lines)


def test_too_much_that_is_pending_has_its_name(monkeypatch: pytest.MonkeyPatch) -> None:
    script = "import talweg as tw\nx = tw.ones(3)\nfor i in range(9):\n    x = x * 2 + 1\n"
    found = subprocess.run(
        [sys.executable, "-c", script],
        env={**os.environ, "TALWEG_PENDING": "5", "TALWEG_TRACE": "1", "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        timeout=300,
        check=True,
    ).stderr
    assert "too much is pending computes" in found


def test_small_graphs_are_told_of(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(evaluate, "CONFIG", replace(evaluate.CONFIG, compile="auto"))
    stream, tracer = causes()
    with tracer:
        (tw.ones(7, 3, 5) * 3 - 0.25).cosh().tolist()
    assert "by the references, not compiled" in stream.getvalue()


# no_sync


def test_a_look_at_a_value_is_refused() -> None:
    x = tw.ones(3)
    with tw.no_sync():
        y = x * 2
        with pytest.raises(ObservationError) as failure:
            y.sum() > 1 or y.min()  # the line that looks
    assert "bool() or if looks at a value under no_sync" in str(failure.value)
    assert "# the line that looks" in str(failure.value)
    assert y.tolist() == [2, 2, 2]


def test_known_values_and_barriers_are_allowed() -> None:
    net = tw.nn.Linear(3, 2)
    optimizer = tw.optim.Adam(net.parameters(), lr=0.1)
    before = net.weight.tolist()
    with tw.no_sync():
        for _ in range(3):
            optimizer.zero_grad()
            net(tw.ones(4, 3)).sum().backward()
            optimizer.step()
        assert tw.tensor([1.0, 2.0]).tolist() == [1.0, 2.0]
    assert net.weight.tolist() != before


def test_other_threads_are_not_meant_and_it_ends() -> None:
    found: list[float] = []
    x = tw.ones(3)

    @tw.no_sync()
    def guarded() -> None:
        thread = threading.Thread(target=lambda: found.append((x * 5).sum().item()))
        thread.start()
        thread.join()
        with pytest.raises(ObservationError):
            (x * 6).sum().item()

    guarded()
    assert found == [15.0]
    assert (x * 7).sum().item() == 21.0


# TALWEG_SYNC=1


SYNC = """\
import talweg as tw
table = tw.ones(300, 100)
for at in (5, 299, 300):
    row = table[tw.tensor([at, at])]  # the line at fault
    print(at)
    other = (row * 2).sum()
"""


@pytest.mark.parametrize("compiled", ["auto", "always", "never"])
def test_with_sync_every_operation_runs_and_fails_at_its_line(
    tmp_path: Path, compiled: str
) -> None:
    lines = lines_of(tmp_path, SYNC, TALWEG_SYNC="1", TALWEG_COMPILE=compiled)
    text = "\n".join(lines)
    assert lines[-1] == "exit 1"
    assert IndexOutOfRange.__name__ in text
    assert 'program.py", line 4' in text
    assert "recorded at" in text
    assert "program.py:4: row = table" in text


def test_with_sync_each_operation_is_a_plan_of_its_own(tmp_path: Path) -> None:
    program = "import talweg as tw\nx = tw.ones(200, 200)\ny = x.exp() + 1\nz = y * y\n"
    lines = lines_of(tmp_path, program, TALWEG_SYNC="1", TALWEG_TRACE="1")
    seen = [line for line in lines if ":3:" in line or ":4:" in line]
    asked = [line for line in seen if "TALWEG_SYNC=1 computes 1 op" in line]
    assert len(asked) == 3
