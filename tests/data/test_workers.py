"""How worker processes begin, and above all how they end."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import talweg as tw
from talweg import data
from talweg.base.errors import DataError, InvalidValue

ROOT = Path(__file__).parents[2]
needs_signals = pytest.mark.skipif(os.name != "posix", reason="needs POSIX signals")


class Pids(data.Dataset[int]):
    """The process that reads, for every sample; `hang` never comes back, `kill` ends it."""

    def __init__(self, size: int = 40, hang: int = -1, kill: int = -1, leave: int = -1) -> None:
        self.size, self.hang, self.kill, self.leave = size, hang, kill, leave

    def __getitem__(self, index: int) -> int:
        if index == self.hang:
            time.sleep(600)
        if index == self.kill:
            os.kill(os.getpid(), signal.SIGKILL)
        if index == self.leave:
            sys.exit(3)
        return os.getpid()

    def __len__(self) -> int:
        return self.size


def alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    # A process that has ended but whose parent has not looked is a zombie: it runs no more.
    stat = Path(f"/proc/{pid}/stat")
    return not stat.exists() or stat.read_text().rpartition(")")[2].split()[0] != "Z"


def all_end(pids: Iterable[int], seconds: float = 20) -> bool:
    deadline = time.monotonic() + seconds
    while any(map(alive, pids)) and time.monotonic() < deadline:
        time.sleep(0.02)
    return not any(map(alive, pids))


def readers(batches: Iterator[Any], count: int) -> set[int]:
    found = {int(next(batches).item()) for _ in range(count)}
    assert os.getpid() not in found
    return found


def test_workers_read_side_by_side_and_end_with_the_data() -> None:
    batches = iter(data.DataLoader(Pids(6), num_workers=2))
    pids = readers(batches, 6)
    assert len(pids) == 2
    assert next(batches, None) is None
    assert all_end(pids)


def test_workers_end_when_the_iterator_is_dropped() -> None:
    batches = iter(data.DataLoader(Pids(), num_workers=2))
    pids = readers(batches, 2)
    assert all(map(alive, pids))
    del batches
    assert all_end(pids)


def test_dropping_does_not_wait_for_a_slow_sample() -> None:
    batches = iter(data.DataLoader(Pids(hang=2), num_workers=2))
    pids = readers(batches, 2)
    start = time.monotonic()
    del batches
    assert all_end(pids)
    assert time.monotonic() - start < 60


def test_persistent_workers_stay_and_end_with_the_loader() -> None:
    loader = data.DataLoader(Pids(4), num_workers=2, persistent_workers=True)
    first, second = readers(iter(loader), 4), readers(iter(loader), 4)
    assert first == second
    assert all(map(alive, first))
    del loader
    assert all_end(first)


def test_a_new_pass_takes_persistent_workers_from_the_old_one() -> None:
    loader = data.DataLoader(range(20), num_workers=2, persistent_workers=True)
    old = iter(loader)
    assert next(old).item() == 0
    assert [b.item() for b in loader] == list(range(20))
    with pytest.raises(InvalidValue, match="later pass"):
        next(old)


def test_two_loaders_at_once() -> None:
    many, few = data.DataLoader(range(9), num_workers=2), data.DataLoader(range(3), num_workers=1)
    pairs = [(a.item(), b.item()) for a in many for b in few]
    assert pairs == [(a, b) for a in range(9) for b in range(3)]


@needs_signals
def test_a_killed_worker_is_an_error_not_a_hang() -> None:
    batches = iter(data.DataLoader(Pids(kill=3), num_workers=2))
    pids = readers(batches, 1)
    text = r"worker 1 of 2 \(pid \d+\) was killed by SIGKILL .* while it read .*samples \[3\]"
    with pytest.raises(DataError, match=text):
        pids |= readers(batches, 3)
    assert all_end(pids)
    assert next(batches, None) is None


def test_a_worker_that_leaves_is_an_error() -> None:
    batches = iter(data.DataLoader(Pids(leave=0), num_workers=1))
    with pytest.raises(DataError, match=r"ended with exit status 3 while it read samples \[0"):
        next(batches)


def test_a_persistent_loader_starts_anew_after_a_loss() -> None:
    rows = Pids(2, leave=1)
    loader = data.DataLoader(rows, num_workers=2, persistent_workers=True)
    with pytest.raises(DataError, match="exit status 3"):
        list(loader)
    rows.leave = -1
    assert len(list(loader)) == 2


def test_timeout() -> None:
    batches = iter(data.DataLoader(Pids(hang=1), num_workers=2, timeout=1.0))
    pids = readers(batches, 1)
    with pytest.raises(DataError, match=r"no answer for 1 seconds while it read samples \[1\]"):
        next(batches)
    assert all_end(pids)


class Large(data.Dataset[np.ndarray]):
    def __getitem__(self, index: int) -> np.ndarray:
        return np.full((300, 1000), index, np.float64)

    def __len__(self) -> int:
        return 6


def test_batches_and_tasks_larger_than_a_pipe() -> None:
    found = [b[0, -1, -1].item() for b in data.DataLoader(Large(), num_workers=2)]
    assert found == [0, 1, 2, 3, 4, 5]
    rows = data.DataLoader(range(1_000_000), 200_000, num_workers=1, prefetch_factor=5)
    assert [int(b.sum().item()) for b in rows] == [
        sum(range(i, i + 200_000)) for i in range(0, 1_000_000, 200_000)
    ]


def test_what_arrives_may_be_written_to() -> None:
    loader = data.DataLoader(Large(), num_workers=1, collate_fn=lambda rows: rows[0])
    array = next(iter(loader))
    array += 1
    assert array[0, 0] == 1


class Tensors(data.Dataset[Any]):
    def __getitem__(self, index: int) -> Any:
        return {"t": tw.full((2,), index + 0.5, dtype=tw.bfloat16) * 2, "n": str(index)}

    def __len__(self) -> int:
        return 4


@pytest.mark.parametrize("method", ["fork", "spawn"])
def test_tensors_travel(method: str) -> None:
    loader = data.DataLoader(Tensors(), 2, num_workers=1, multiprocessing_context=method)
    (first, second) = list(loader)
    assert first["t"].dtype is tw.bfloat16
    assert first["t"].tolist() == [[1.0, 1.0], [3.0, 3.0]]
    assert second["n"] == ["2", "3"]


def test_a_data_set_that_cannot_be_spawned_is_an_error() -> None:
    loader = data.DataLoader(
        range(3), num_workers=1, collate_fn=lambda rows: rows, multiprocessing_context="spawn"
    )
    with pytest.raises(InvalidValue, match="at the top of a module"):
        iter(loader)


def test_an_answer_that_cannot_be_sent_is_reported() -> None:
    loader = data.DataLoader(range(3), num_workers=1, collate_fn=lambda rows: lambda: rows)
    with pytest.raises(DataError, match="pickle"):
        next(iter(loader))


def test_worker_info_and_init() -> None:
    started: list[int] = []

    class Info(data.Dataset[Any]):
        def __getitem__(self, index: int) -> Any:
            info = data.get_worker_info()
            assert info is not None
            assert isinstance(info.dataset, Info)
            return info.id, info.num_workers, info.seed, started[0]

        def __len__(self) -> int:
            return 4

    assert data.get_worker_info() is None
    loader = data.DataLoader(Info(), num_workers=2, worker_init_fn=started.append)
    rows = [[column.item() for column in batch] for batch in loader]
    assert [(row[0], row[1], row[3]) for row in rows] == [(0, 2, 0), (1, 2, 1)] * 2
    assert rows[0][2] == rows[2][2] != rows[1][2]
    assert started == []


def test_a_failing_init_is_reported() -> None:
    def fail(number: int) -> None:
        raise ValueError(f"no device {number}")

    loader = data.DataLoader(range(3), num_workers=2, worker_init_fn=fail)
    with pytest.raises(DataError, match="could not start: ValueError: no device 0"):
        next(iter(loader))


SCRIPT = """
import os, signal, time
from talweg import data

signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell's background jobs ignore it

class Pids(data.Dataset):
    def __getitem__(self, index):
        if index > 5:
            time.sleep(600)
        return os.getpid()
    def __len__(self):
        return 100

others = iter(data.DataLoader(Pids(), num_workers=1))
print(next(others).item(), flush=True)
for batch in data.DataLoader(Pids(), num_workers=2):
    print(batch.item(), flush=True)
"""


def start() -> tuple[subprocess.Popen[str], set[int]]:
    """A program that waits for its workers for ever, in a process group of its own."""
    process = subprocess.Popen(
        [sys.executable, "-c", SCRIPT],
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    assert process.stdout is not None
    pids = {int(process.stdout.readline()) for _ in range(7)}
    assert len(pids) == 3
    assert all(map(alive, pids))
    return process, pids


@needs_signals
def test_control_c_ends_everything_with_one_traceback() -> None:
    process, pids = start()
    os.killpg(process.pid, signal.SIGINT)
    _, errors = process.communicate(timeout=240)
    assert all_end(pids)
    assert errors.count("Traceback") == 1
    assert errors.rstrip().endswith("KeyboardInterrupt")


@needs_signals
@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGTERM])
def test_workers_end_when_their_parent_dies(how: signal.Signals) -> None:
    process, pids = start()
    process.send_signal(how)
    process.wait(timeout=60)
    assert all_end(pids)
    process.communicate()
