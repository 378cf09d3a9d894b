"""Executor: places, stages, tickets, errors, and that nothing is left of a run."""

from __future__ import annotations

import ctypes
import signal
import threading
import time
import tracemalloc
from collections.abc import Iterator
from types import FrameType

import numpy as np
import pytest

from talweg.base.errors import InvalidValue
from talweg.runtime import buffer
from talweg.runtime.executor import CheckFailed, Executor, Launch, Place
from talweg.runtime.pool import Pool
from tests.runtime import kernels
from tests.runtime.kernels import addresses


@pytest.fixture(scope="module", params=[1, 2, 4], ids="threads{}".format)
def pool(request: pytest.FixtureRequest) -> Iterator[Pool]:
    pool = Pool(kernels.executor_code(), request.param)
    yield pool
    pool.close()


def scaled(source: Place, target: Place, items: int, factor: int, grain: int = 1) -> Launch:
    return Launch(kernels.scale(), [source, target], [items, grain, factor])


def test_operands_come_from_everywhere(pool: Pool) -> None:
    n = 10
    launches = [
        scaled(Place("input", 0), Place("arena", 0, 64), n, 3),
        scaled(Place("arena", 0, 64), Place("arena", 0, 64 + 8 * n), n, 5),
        scaled(Place("arena", 0, 64 + 16), Place("output", 1, 8), n, 7),
        scaled(Place("scalar", 1), Place("output", 0), 1, 11),
        scaled(Place("scalar", 0), Place("output", 0, 8), 1, 1),
        scaled(Place("input", 1, 8), Place("output", 0, 16), 1, 2),
    ]
    executor = Executor(pool, launches, 64 + 16 * n, inputs=2, scalars=2, outputs=2)
    for seed in range(3):
        x = np.arange(seed, n + seed)
        few, result, more = np.zeros(3, int), np.zeros(3, int), np.zeros(n + 1, int)
        few[1] = seed
        scalars = np.array([seed, 13 * seed]).tobytes()
        executor.run(addresses(x, few), scalars, addresses(result, more))
        first = 3 * x
        chain = np.concatenate([first, 5 * first])[2 : 2 + n]
        np.testing.assert_array_equal(more[1:], 7 * chain)
        np.testing.assert_array_equal(result, [11 * 13 * seed, seed, 2 * seed])
        assert more[0] == 0


def test_the_arena_may_lie_elsewhere_in_every_run(pool: Pool) -> None:
    launches = [
        scaled(Place("input"), Place("arena"), 4, 2),
        scaled(Place("arena"), Place("output"), 4, 3),
    ]
    executor = Executor(pool, launches, 32, 1, 0, 1)
    taken = []
    for n in range(5):
        x, y = np.arange(n, n + 4), np.zeros(4, int)
        executor.run(addresses(x), b"", addresses(y))
        np.testing.assert_array_equal(y, 6 * x)
        taken.append(buffer.take(executor.memory.arena))
    assert len({block.address for block in taken}) == 5
    for block in taken:
        block.home.append(block)


@pytest.mark.parametrize("items", [1, 2, 7, 8, 9, 1000])
@pytest.mark.parametrize("grain", [1, 3, 999, 1000])
def test_every_item_is_done_once(pool: Pool, items: int, grain: int) -> None:
    launch = Launch(kernels.count(), [Place("output")], [items, grain, 10])
    executor = Executor(pool, [launch] * 20, 0, 0, 0, 1)
    out = np.zeros(items + 1, int)
    for _ in range(5):
        executor.run([], b"", addresses(out))
    np.testing.assert_array_equal(out, [100] * items + [0])


def test_a_launch_without_items_is_passed_over(pool: Pool) -> None:
    empty = Launch(kernels.count(), [Place("output")], [0, 1, 1])
    one = Launch(kernels.count(), [Place("output")], [1, 1, 1])
    out = np.zeros(2, int)
    executor = Executor(pool, [empty, one, empty], 0, 0, 0, 1)
    executor.run([], b"", addresses(out))
    assert out.tolist() == [1, 0]
    assert len(executor.profile([], b"", addresses(out))) == 3
    Executor(pool, [], 0, 0, 0, 0).run([], b"", [])


def test_stages_share_memory_and_threads_do_not(pool: Pool) -> None:
    n = 500
    launch = Launch(kernels.share(), [Place("input"), Place("output")], [n, 1])
    executor = Executor(pool, [launch] * 3, 100, 1, 0, 1)
    assert executor.memory.arena >= 100 + 8 * n + 64 * pool.threads
    for seed in range(20):
        x, y = np.arange(seed, seed + n), np.zeros(n, int)
        executor.run(addresses(x), b"", addresses(y))
        np.testing.assert_array_equal(y, x[::-1] + 1)


def test_the_first_failed_check_is_reported_always(pool: Pool) -> None:
    n = 200
    places = [Place("input"), Place("output")]
    launches = [
        Launch(kernels.scale(), places, [n, 1, 1]),
        Launch(kernels.check(), places, [n, 1, 50], label="the check"),
        Launch(kernels.scale(), places, [n, 1, -1]),
    ]
    executor = Executor(pool, launches, 0, 1, 0, 1)
    for seed in range(50):
        x, y = np.random.default_rng(seed).integers(-1, 51, n), np.zeros(n, int)
        bad = int(np.flatnonzero((x < 0) | (x >= 50))[0])
        kind = "negative" if x[bad] < 0 else "too large"
        with pytest.raises(CheckFailed, match=f"^item {bad} is {x[bad]}, {kind}$") as failure:
            executor.run(addresses(x), b"", addresses(y))
        error = failure.value
        assert (error.launch, error.label) == (1, "the check")
        assert error.check == (1 if x[bad] < 0 else 0)
        np.testing.assert_array_equal(y, x)  # what comes after the failure did not run
        with pytest.raises(CheckFailed, match=f"^item {bad} is"):
            executor.profile(addresses(x), b"", addresses(y))
    x = np.arange(n) % 50
    executor.run(addresses(x), b"", addresses(y))
    np.testing.assert_array_equal(y, -x)


def test_wrong_arguments_are_refused(pool: Pool) -> None:
    launch = scaled(Place("input"), Place("output"), 1, 1)
    executor = Executor(pool, [launch], 0, 1, 1, 1)
    x = addresses(np.zeros(1, int))
    for wrong in (x, b"123", x), ([*x, *x], bytes(8), x), (x, bytes(8), []):
        with pytest.raises(InvalidValue, match="takes 1 inputs, 1 scalars of 8 bytes and 1 outp"):
            executor.run(*wrong)
    for mistaken in (x, [0], x), (["x"], bytes(8), x), (None, bytes(8), x), (x, bytes(8), [1.5]):
        with pytest.raises(TypeError):
            executor.run(*mistaken)
    with pytest.raises(InvalidValue, match=r"output.*names one of 1 only"):
        Executor(pool, [scaled(Place("input"), Place("output", 1), 1, 1)], 0, 1, 0, 1)
    executor.run(x, bytes(8), x)


def test_nothing_grows(pool: Pool) -> None:
    n = 16
    launches = [
        scaled(Place("input"), Place("arena"), n, 2),
        scaled(Place("arena"), Place("output"), n, 3),
    ] * 5
    executor = Executor(pool, launches, 8 * n, 1, 1, 1)
    x, y = np.arange(n), np.zeros(n, int)
    ins, outs = addresses(x), addresses(y)
    executor.run(ins, bytes(8), outs)
    idle = buffer.idle()
    tracemalloc.start()
    try:
        for _ in range(20_000):
            executor.run(ins, bytes(8), outs)
        assert tracemalloc.get_traced_memory()[0] < 20_000
    finally:
        tracemalloc.stop()
    assert buffer.idle() == idle
    np.testing.assert_array_equal(y, 6 * x)


def test_profile_runs_the_plan_and_sees_where_the_time_goes(pool: Pool) -> None:
    heavy = Launch(kernels.count(), [Place("output")], [8, 1, 20_000])
    light = Launch(kernels.count(), [Place("output")], [8, 1, 1])
    executor = Executor(pool, [light, heavy, light], 0, 0, 0, 1)
    out = np.zeros(8, int)
    spent = executor.profile([], b"", addresses(out))
    assert out.tolist() == [3] * 8
    assert len(spent) == 3
    assert spent[1] > 0
    executor.run([], b"", addresses(out))
    assert out.tolist() == [6] * 8


def test_a_plan_can_be_run_step_by_step(pool: Pool) -> None:
    n = 4
    launches = [
        scaled(Place("input"), Place("arena", 0, 64), n, 2),
        Launch(kernels.share(), [Place("arena", 0, 64), Place("arena", 0, 128)], [n, 1]),
        scaled(Place("scalar", 1), Place("output", 0, 8 * n), 1, 3),
        scaled(Place("arena", 0, 128), Place("output"), n, 5),
    ]
    executor = Executor(pool, launches, 192, 1, 2, 1)
    x, y = np.arange(n), np.zeros(n + 1, int)
    expected = [2 * x, 2 * x[::-1] + 1, [21], 5 * (2 * x[::-1] + 1)]
    for _ in range(2):
        y[:] = 0
        found = []
        steps = executor.steps(addresses(x), np.array([0, 7]).tobytes(), addresses(y))
        for step, launch in zip(steps, launches, strict=True):
            assert step.launch is launch
            assert step.run() >= 0
            size = launch.values[0]
            found.append((ctypes.c_int64 * size).from_address(step.addresses[1])[:])
        assert found == [list(one) for one in expected]
        executor.run(addresses(x), np.array([0, 1]).tobytes(), addresses(y))
        assert y.tolist() == [*expected[3], 3]


def test_an_interrupt_waits_for_the_plan_and_breaks_nothing(pool: Pool) -> None:
    long = Launch(kernels.count(), [Place("output")], [100, 1, 1])
    gate = Launch(kernels.gate(), [Place("input")], [1, 1])
    executor = Executor(pool, [gate, long], 0, 1, 0, 1)
    door, out = np.zeros(2, int), np.zeros(100, int)

    def interrupt(number: int, frame: FrameType | None) -> None:
        raise KeyboardInterrupt

    def open_the_door() -> None:
        while door[1] == 0:
            time.sleep(0.001)
        signal.pthread_kill(threading.main_thread().ident or 0, signal.SIGUSR1)
        time.sleep(0.01)
        door[0] = 1

    before = signal.signal(signal.SIGUSR1, interrupt)
    thread = threading.Thread(target=open_the_door)
    try:
        thread.start()
        with pytest.raises(KeyboardInterrupt):
            executor.run(addresses(door), b"", addresses(out))
    finally:
        signal.signal(signal.SIGUSR1, before)
    thread.join()
    assert out.tolist() == [1] * 100
    for n in range(2, 5):
        executor.run(addresses(door), b"", addresses(out))
        assert out.tolist() == [n] * 100


def test_one_executor_runs_in_many_threads_at_once(pool: Pool) -> None:
    n = 64
    launches = [
        scaled(Place("input"), Place("arena"), n, 2),
        Launch(kernels.share(), [Place("arena"), Place("arena", 0, 8 * n)], [n, 1]),
        scaled(Place("arena", 0, 8 * n), Place("output"), n, 3),
    ]
    executors = [Executor(pool, launches, 16 * n, 1, 0, 1) for _ in range(3)]
    wrong = []

    def work(seed: int) -> None:
        x, y = np.arange(seed, seed + n), np.zeros(n, int)
        for turn in range(200):
            y[:] = -1
            executors[(seed * turn) % 3].run(addresses(x), b"", addresses(y))
            if not np.array_equal(y, 3 * (2 * x[::-1] + 1)):
                wrong.append((seed, turn))

    threads = [threading.Thread(target=work, args=(seed,)) for seed in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert wrong == []
