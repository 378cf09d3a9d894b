"""Worker threads: who works, who waits for whom, forks, limits of the system, the end of a process.

Kernels that wait for each other would run for ever if a thread waited where it must not; the test
runner's limit would end them.
"""

from __future__ import annotations

import multiprocessing
import os
import random
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from talweg.runtime.executor import CheckFailed, Executor, Launch, Place
from talweg.runtime.jit import load
from talweg.runtime.pool import Pool
from tests.runtime import kernels
from tests.runtime.kernels import addresses, run_held, shared

forks = pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
WAITS = {"futex": True, "pipe": False}


@pytest.fixture(params=WAITS)
def pool(request: pytest.FixtureRequest) -> Iterator[Pool]:
    pool = Pool(kernels.executor_code(), 2, futex=WAITS[request.param])
    yield pool
    pool.close()


def test_a_thread_that_is_held_up_holds_up_nothing_but_its_ticket(pool: Pool) -> None:
    for _ in range(100):
        run_held(pool)


def test_workers_that_sleep_are_woken(pool: Pool) -> None:
    run_held(pool)
    for pause in (0.0001, 0.001, 0.05, 0.0001, 0.05):
        time.sleep(pause)
        run_held(pool)


def test_a_caller_sleeps_until_the_last_ticket_is_done(pool: Pool) -> None:
    gate = Launch(kernels.gate(), [Place("output")], [2, 1])
    executor = Executor(pool, [gate], 0, 0, 0, 1)
    for _ in range(3):
        door = np.zeros(2, int)

        def open_the_door(door: np.ndarray = door) -> None:
            while door[1] < 2:  # both threads are inside
                time.sleep(0.001)
            time.sleep(0.02)
            door[0] = 1

        thread = threading.Thread(target=open_the_door)
        thread.start()
        executor.run([], b"", addresses(door))
        thread.join()
        assert door.tolist() == [1, 2]


@pytest.mark.parametrize("wait", WAITS)
def test_threads_that_sleep_at_once_lose_no_wake(wait: str) -> None:
    pool = Pool(
        kernels.executor_code(), 3, spin=1000, linger=1000, patience=1000, futex=WAITS[wait]
    )
    right = shared(pool, 20)
    slow = Launch(kernels.count(), [Place("output")], [3, 1, 100_000])
    executor, out = Executor(pool, [slow] * 20, 0, 0, 0, 1), np.zeros(3, int)
    for n in range(5):
        executor.run([], b"", addresses(out))
        assert out.tolist() == [20 * (n + 1)] * 3
        assert right(n)
    pool.close()


def test_one_ticket_starts_no_thread_and_wakes_nobody() -> None:
    pool = Pool(kernels.executor_code(), 4)
    before = threading.active_count()
    launch = Launch(kernels.count(), [Place("output")], [100, 100, 1])
    out = np.zeros(100, int)
    Executor(pool, [launch], 0, 0, 0, 1).run([], b"", addresses(out))
    assert not pool.started
    assert threading.active_count() == before
    assert out.tolist() == [1] * 100


def test_one_thread_starts_none() -> None:
    pool = Pool(kernels.executor_code(), 1)
    before = threading.active_count()
    assert shared(pool)(5)
    assert threading.active_count() == before
    pool.close()


def test_a_plan_never_waits_for_the_workers_of_another(pool: Pool) -> None:
    """One plan has the workers until another one is done, which must run alone for that."""
    gate = Launch(kernels.gate(), [Place("output")], [8, 1])
    door = np.zeros(2, int)
    executor = Executor(pool, [gate], 0, 0, 0, 1)
    first = threading.Thread(target=executor.run, args=([], b"", addresses(door)))
    first.start()
    while door[1] < 2:
        time.sleep(0.001)
    right = shared(pool)
    assert all(right(seed) for seed in range(20))
    assert first.is_alive()
    door[0] = 1
    first.join()
    run_held(pool)


def test_many_threads_run_many_plans(pool: Pool) -> None:
    wrong = []

    def work(seed: int) -> None:
        right = shared(pool, 50 + seed)
        wrong.extend(turn for turn in range(150) if not right(seed * turn))

    threads = [threading.Thread(target=work, args=(seed,)) for seed in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert wrong == []


def test_no_item_is_lost_or_done_twice_under_disturbance(pool: Pool) -> None:
    """More workers than processors, parked and spinning, with stages of every length."""
    crowd = Pool(kernels.executor_code(), 5, spin=2000, linger=4000, patience=3000)
    random.seed(1)
    plans = []
    for _ in range(20):
        items = [random.randrange(1, 60) for _ in range(10)]
        launches = [
            Launch(kernels.count(), [Place("output", n)], [size, 1, random.choice([1, 30, 3000])])
            for n, size in enumerate(items)
        ]
        outs = [np.zeros(size, int) for size in items]
        plans.append((Executor(crowd, launches, 0, 0, 0, 10), outs))
    for turn in range(1, 21):
        for executor, outs in plans:
            executor.run([], b"", addresses(*outs))
            for out in outs:
                assert out.tolist() == [turn] * len(out)
        time.sleep(random.choice([0, 0, 0.0002]))
    crowd.close()


def test_a_closed_pool_leaves_no_thread_and_plans_run_alone(pool: Pool) -> None:
    before = set(threading.enumerate())
    other = Pool(kernels.executor_code(), 4)
    right = shared(other)
    assert right(1)
    workers = set(threading.enumerate()) - before
    assert len(workers) == 3
    assert all(thread.daemon for thread in workers)
    time.sleep(0.01)
    other.close()
    assert set(threading.enumerate()) == before
    assert right(2)
    other.close()


@forks
def test_a_child_process_starts_workers_of_its_own(pool: Pool) -> None:
    right = shared(pool)
    run_held(pool)
    assert right(1)
    child = os.fork()
    if child == 0:
        try:
            run_held(pool)
            ok = right(2) and shared(pool)(3)
        finally:
            os._exit(0 if ok else 1)
    assert os.waitpid(child, 0)[1] == 0
    run_held(pool)
    assert right(4)


@forks
def test_forks_while_plans_run(pool: Pool) -> None:
    stop, wrong = threading.Event(), []
    right = shared(pool)

    def work(seed: int) -> None:
        while not stop.is_set():
            if not right(seed):
                wrong.append(seed)

    threads = [threading.Thread(target=work, args=(seed,)) for seed in range(3)]
    for thread in threads:
        thread.start()
    try:
        for turn in range(20):
            child = os.fork()
            if child == 0:
                try:
                    ok = right(turn)
                    run_held(pool)
                finally:
                    os._exit(0 if ok else 1)
            assert os.waitpid(child, 0)[1] == 0
    finally:
        stop.set()
        for thread in threads:
            thread.join()
    assert wrong == []
    run_held(pool)


@forks
def test_multiprocessing_forks(pool: Pool) -> None:
    right = shared(pool)
    assert right(0)
    with multiprocessing.get_context("fork").Pool(3) as processes:
        waiting = [processes.apply_async(_child, (seed,)) for seed in range(9)]
        assert [one.get(60) for one in waiting] == [True] * 9
    assert right(1)


INHERITED: list[Pool] = []


def _child(seed: int) -> bool:
    if not INHERITED:
        INHERITED.append(Pool(kernels.executor_code(), 2))
    run_held(INHERITED[0])
    return shared(INHERITED[0])(seed)


def test_where_no_thread_can_be_started_plans_run_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    pool = Pool(kernels.executor_code(), 3)
    right = shared(pool)

    def refuse(thread: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    monkeypatch.setattr(threading.Thread, "start", refuse)
    with pytest.warns(RuntimeWarning, match="only 0 of 2 worker threads .* TALWEG_NUM_THREADS"):
        assert right(1)
    assert right(2)  # and is warned of once


def script(body: str) -> subprocess.CompletedProcess[str]:
    """Run a program in a process of its own."""
    head = """
import os, sys, threading, time
from talweg.runtime.pool import Pool
from tests.runtime.kernels import addresses, executor_code, held, run_held, shared
pool = Pool(executor_code(), 2)
"""
    root = str(Path(__file__).parents[2])
    path = os.pathsep.join([os.environ.get("PYTHONPATH", ""), root]).lstrip(os.pathsep)
    options = ["-X", "faulthandler", "-W", "ignore::DeprecationWarning"]
    return subprocess.run(
        [sys.executable, *options, "-c", head + body],
        capture_output=True,
        text=True,
        timeout=120,
        env={**os.environ, "PYTHONPATH": path},
        check=False,
    )


ENDS = {
    "while workers spin": "run_held(pool)",
    "while workers sleep": "run_held(pool); time.sleep(0.1)",
    "from another thread": """
thread = threading.Thread(target=lambda: (run_held(pool), sys.exit()))
thread.start()
thread.join()
""",
    "while another thread runs plans": """
right = shared(pool)
def work():
    while True:
        right(1)
threading.Thread(target=work, daemon=True).start()
time.sleep(0.05)
""",
    "while another thread is inside a plan": """
executor, done = held(pool)
done[0] = -1000
threading.Thread(target=executor.run, args=([], b"", addresses(done)), daemon=True).start()
time.sleep(0.05)
""",
    "in a child process": """
run_held(pool)
child = os.fork()
run_held(pool)
if child:
    assert os.waitpid(child, 0)[1] == 0
""",
    "with a closed pool": "run_held(pool); pool.close()",
    "after an error": """
run_held(pool)
raise SystemExit(0)
""",
}


@pytest.mark.parametrize("end", ENDS)
def test_a_process_ends_cleanly(end: str) -> None:
    done = script(ENDS[end])
    assert (done.returncode, done.stderr) == (0, "")


def test_a_program_that_closes_all_files_closes_the_pipes_too() -> None:
    done = script("""
pipes = Pool(executor_code(), 2, futex=False)
run_held(pipes)
time.sleep(0.01)
os.closerange(3, 1000)
right = shared(pipes)
assert all(right(seed) for seed in range(20))
""")
    assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.skipif(sys.platform != "linux", reason="limits as Linux has them")
def test_where_the_system_has_no_room_for_threads_plans_run_alone() -> None:
    done = script("""
import resource, warnings
right = shared(pool)
size = int(open("/proc/self/statm").read().split()[0]) * resource.getpagesize()
resource.setrlimit(resource.RLIMIT_AS, (size + (4 << 20), size + (4 << 20)))
with warnings.catch_warnings(record=True) as caught:
    warnings.simplefilter("always")
    assert right(1) and right(2)
assert len(caught) == 1 and "worker threads could be started" in str(caught[0].message)
""")
    assert (done.returncode, done.stderr) == (0, "")


def test_a_failed_check_stops_what_others_would_do(pool: Pool) -> None:
    n = 64
    launch = Launch(kernels.check(), [Place("input"), Place("output")], [n, 1, n])
    executor = Executor(pool, [launch] * 2, 0, 1, 0, 1)
    x, y = np.arange(n), np.zeros(n, int)
    for turn in range(300):
        x[turn % n] = -1
        with pytest.raises(CheckFailed, match=f"item {turn % n} is -1, negative"):
            executor.run(addresses(x), b"", addresses(y))
        x[turn % n] = turn % n
        executor.run(addresses(x), b"", addresses(y))
        np.testing.assert_array_equal(y, x)


def test_each_pool_has_code_of_its_own() -> None:
    libraries = [load(kernels.executor_code(), anew=True) for _ in range(2)]
    first, second = (library.addresses(["talweg_call"]) for library in libraries)
    assert first != second, "the code keeps the address of its pool"
    calls = [Pool(kernels.executor_code(), 1).run for _ in range(2)]
    assert calls[0] is not calls[1]
