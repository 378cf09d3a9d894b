"""Laziness that nobody has to know of: nothing runs twice, nothing is kept, nothing is lost."""

from __future__ import annotations

import gc
import os
import subprocess
import sys
import threading
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import talweg as tw
from talweg.base import config
from talweg.engine import evaluate
from talweg.engine.barrier import flush
from talweg.ir.node import Node
from talweg.ops.transcendental import Tanh

ROOT = Path(tw.__file__).parent.parent


@pytest.fixture(autouse=True)
def references(monkeypatch: pytest.MonkeyPatch) -> None:
    """What runs is seen where it is one Op at a time; when it runs does not depend on how."""
    monkeypatch.setattr(evaluate, "CONFIG", replace(evaluate.CONFIG, compile="never"))


@pytest.fixture
def runs(monkeypatch: pytest.MonkeyPatch) -> list[tuple[int, ...]]:
    """The shapes on which Tanh was computed."""
    found: list[tuple[int, ...]] = []
    reference = Tanh.reference

    def counted(self: Tanh, *arrays: np.ndarray) -> np.ndarray:
        found.append(arrays[0].shape)
        return reference(self, *arrays)

    monkeypatch.setattr(Tanh, "reference", counted)
    return found


def live_nodes() -> int:
    gc.collect()
    return sum(type(o) is Node for o in gc.get_objects())


def test_nothing_runs_before_it_is_read(runs: list[Any]) -> None:
    y = tw.ones(3).tanh()
    assert y.shape == (3,)
    assert y.dtype is tw.float32
    assert runs == []
    y.tolist()
    y.sum().item()
    repr(y)
    assert runs == [(3,)]


def test_what_nobody_reads_never_runs(runs: list[Any]) -> None:
    x = tw.ones(3).tanh()
    del x
    y = tw.ones(2)
    y.tolist()
    flush()
    assert runs == []


def test_a_loss_read_before_backward_is_not_computed_again(runs: list[Any]) -> None:
    w = tw.ones(3, requires_grad=True)
    loss = ((w * 2).tanh() ** 2).sum()
    loss.item()
    assert runs == [(3,)]
    loss.backward()
    w.grad.tolist()
    loss.item()
    assert runs == [(3,)]


def test_a_loss_read_after_backward_is_not_computed_again(runs: list[Any]) -> None:
    w = tw.ones(3, requires_grad=True)
    loss = ((w * 2).tanh() ** 2).sum()
    loss.backward()
    w.grad.tolist()
    loss.item()
    assert runs == [(3,)]


def test_intermediate_values_read_one_by_one_run_once(runs: list[Any]) -> None:
    x = tw.ones(2)
    for _ in range(5):
        x = x.tanh()
        x.tolist()
    assert len(runs) == 5


def test_a_barrier_keeps_what_a_waiting_gradient_needs(runs: list[Any]) -> None:
    w = tw.ones(3, requires_grad=True)
    loss = ((w * 2).tanh() ** 2).sum()
    flush()
    loss.backward()
    flush()
    assert w.grad.tolist() == w.grad.tolist()
    assert runs == [(3,)]


def test_a_training_loop_does_not_grow() -> None:
    w = tw.ones(4, requires_grad=True)
    counts = []
    for i in range(301):
        loss = (w * w).sum()
        loss.backward()
        with tw.no_grad():
            w.sub_(w.grad * 0.001)
        w.grad = None
        loss.item()
        flush()
        if i % 100 == 0:
            counts.append(live_nodes())
    assert max(counts[1:]) <= counts[1]


@pytest.mark.parametrize("attached", [False, True])
def test_a_metric_that_is_never_read_is_constant_in_memory(attached: bool) -> None:
    w = tw.ones(4, requires_grad=True)
    total = tw.zeros(())
    counts = []
    for i in range(401):
        loss = (w * w).sum()
        loss.backward()
        w.grad = None
        total = total + (loss if attached else loss.detach())
        if i % 50 == 0:
            flush()  # as optimizer.step() does
        if i % 100 == 0:
            counts.append(live_nodes())
    assert max(counts[1:]) <= counts[1] + 5
    assert total.item() == 4.0 * 401


def test_deleting_a_tensor_releases_its_graph_at_the_next_barrier() -> None:
    flush()
    before = live_nodes()
    x = tw.ones(3)
    for _ in range(200):
        x = x + 1
    assert live_nodes() > before + 100
    del x
    flush()
    assert live_nodes() <= before + 5


def test_reading_a_long_chain_lets_go_of_it() -> None:
    flush()
    before = live_nodes()
    x = tw.ones(3)
    for _ in range(3000):
        x = x + 1
    assert x.tolist() == [3001.0] * 3
    assert live_nodes() <= before + 5


def test_a_chain_longer_than_the_recursion_limit_has_a_gradient() -> None:
    w = tw.ones(2, requires_grad=True)
    x = w
    for _ in range(3000):
        x = x * 1
    x.sum().backward()
    del x
    assert w.grad.tolist() == [1.0, 1.0]


def test_a_wrong_shape_names_the_line_that_recorded_it() -> None:
    a, b = tw.ones(2, 3), tw.ones(4)
    with pytest.raises(tw.TalwegError, match=r"\(2, 3\).*\(4,\)") as caught:
        a + b  # the wrong line
    assert f"{__file__}:" in str(caught.value)
    assert "a + b  # the wrong line" in str(caught.value)


def test_a_wrong_index_found_while_running_names_the_line_that_recorded_it() -> None:
    x, i = tw.ones(3), tw.tensor([0, 7])
    picked = x[i] * 2  # the wrong index
    other = tw.ones(2) + 1
    with pytest.raises(IndexError, match="7") as caught:
        picked.sum().item()
    assert f"{__file__}:" in str(caught.value)
    assert "x[i] * 2  # the wrong index" in str(caught.value)
    assert other.tolist() == [2.0, 2.0]


def test_a_failing_backward_names_the_line_of_the_forward_pass() -> None:
    w = tw.ones(2, requires_grad=True)
    y = w * 1
    z = y * y  # saved here
    y.add_(1)
    with pytest.raises(tw.TalwegError, match="z = y \\* y  # saved here"):
        z.sum().backward()


PROGRAM = """
import numpy as np
import talweg as tw
w = tw.tensor([[1.0, 2.0], [3.0, 4.0]], requires_grad=True)
y = (w @ w).tanh()
y = y + w.t()
v = (y * 1)[0]
v.mul_(2)
(v.sum() + (y * y).sum()).backward()
print(w.grad.tolist(), v.tolist())
x = tw.arange(6).reshape(2, 3)
x[x > 2] = 0
print(x.tolist())
try:
    bad = tw.ones(3)[tw.tensor([5])]
    print("recorded")
    bad.tolist()
except IndexError as error:
    print("bad = tw.ones(3)" in str(error))
"""


def outcome(tmp_path: Path, **settings: str) -> list[str]:
    script = tmp_path / "program.py"
    script.write_text(PROGRAM)
    env = {**os.environ, "PYTHONPATH": str(ROOT), **settings}
    done = subprocess.run(
        [sys.executable, str(script)], env=env, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.splitlines()


def test_settings_change_when_things_run_but_not_what_comes_out(tmp_path: Path) -> None:
    plain: list[str] = []
    exec(PROGRAM, {"print": lambda *values: plain.append(" ".join(map(str, values)))})
    assert plain[2] == "recorded"
    often = outcome(tmp_path, TALWEG_CHECK="1", TALWEG_PENDING="1")
    assert often[:3] == plain[:3]
    assert often[-1] == "True"
    assert outcome(tmp_path, TALWEG_SYNC="1") == [*plain[:2], "True"]


def test_a_setting_that_is_no_number(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TALWEG_PENDING", "many")
    with pytest.raises(ValueError, match="TALWEG_PENDING='many' is not a positive whole number"):
        config.read()


def test_threads_record_and_differentiate_side_by_side() -> None:
    shared = tw.arange(4.0).requires_grad_()
    table = shared.detach() * 2
    results: dict[int, list[float]] = {}
    problems: list[BaseException] = []
    start = threading.Barrier(6)

    def work(k: int) -> None:
        try:
            start.wait()
            for _ in range(30):
                x = tw.ones(4, requires_grad=True)
                y = x * k
                y[k % 4] = 0.0
                y.mul_(table)
                (y.sum() + (shared * 0).sum()).backward(inputs=[x])
                flush()
                results[k] = x.grad.tolist()
        except BaseException as error:
            problems.append(error)

    threads = [threading.Thread(target=work, args=(k,)) for k in range(6)]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    assert problems == []
    for k in range(6):
        assert results[k] == [0.0 if i == k % 4 else 2.0 * i * k for i in range(4)]


def test_a_tensor_recorded_in_one_thread_is_read_in_another() -> None:
    made: list[tw.Tensor] = []
    thread = threading.Thread(target=lambda: made.append(tw.arange(3.0) * 2))
    thread.start()
    thread.join()
    assert (made[0] + 1).tolist() == [1.0, 3.0, 5.0]


@pytest.mark.parametrize("dtype", [tw.float32, tw.bfloat16, tw.complex64, tw.bool])
def test_parts_of_known_values_are_read_where_they_are(dtype: Any) -> None:
    x = tw.tensor(np.arange(24).reshape(4, 6) % 7).to(dtype)
    whole = x.numpy()
    tw.reset_counters()
    assert x[2, 3].item() == whole[2, 3].item()
    assert x[-1].tolist() == whole[-1].tolist()
    np.testing.assert_array_equal(x.T[1:4, ::3].numpy(), whole.T[1:4, ::3])
    np.testing.assert_array_equal(x[1].expand(3, 6).numpy(), np.stack([whole[1]] * 3))
    np.testing.assert_array_equal(x[2:2].numpy(), whole[2:2])
    x[1] = x[2]
    np.testing.assert_array_equal(x[1].numpy(), whole[2])
    with pytest.raises(IndexError):
        x[4]
    with pytest.raises(IndexError):
        x[0, 0][0]


def test_a_part_that_was_read_changes_with_its_storage() -> None:
    x = tw.tensor(np.arange(6, dtype=np.float32))
    part = x[1:3]
    assert part.tolist() == [1.0, 2.0]
    seen = part.numpy()
    x.mul_(10)
    assert part.tolist() == [10.0, 20.0]
    assert seen.tolist() == [1.0, 2.0]
    part.add_(1)
    assert x.tolist() == [0.0, 11.0, 21.0, 30.0, 40.0, 50.0]
