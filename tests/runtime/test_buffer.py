"""Buffers: alignment, recycling, views that keep memory, limits, threads and forks."""

from __future__ import annotations

import gc
import os
import subprocess
import sys
import threading
import weakref
from collections.abc import Iterator

import numpy as np
import pytest

from talweg.base.errors import InvalidValue
from talweg.runtime import buffer
from talweg.runtime.buffer import Buffer, release, size_class


@pytest.fixture(autouse=True)
def _nothing_idle() -> Iterator[None]:
    release()
    yield
    release()


@pytest.mark.parametrize("nbytes", [0, 1, 64, 65, 4096, 100_000, 1 << 20, (1 << 22) + 1])
def test_memory_is_aligned_and_can_be_written_to_its_end(nbytes: int) -> None:
    made = Buffer(nbytes)
    assert made.nbytes == nbytes
    assert made.address % 64 == 0
    x = made.array(np.uint8, (nbytes,))
    assert x.nbytes == nbytes
    x[:] = 7
    assert nbytes == 0 or x.ctypes.data == made.address
    assert x.sum() == 7 * nbytes


def test_sizes_waste_an_eighth_at_most() -> None:
    sizes = sorted({size_class(n) for n in range(1, 5000)})
    assert all(size % 64 == 0 for size in sizes)
    for n in [*range(5000), 10**6, 10**9 + 1, 1 << 40, (1 << 40) + 1]:
        size = size_class(n)
        assert size >= max(n, 1)
        assert size_class(size) == size
        assert size - n <= max(64, n // 8)


def test_a_freed_buffer_is_used_again() -> None:
    for nbytes in (100, 10_000, 3 << 20):
        first = Buffer(nbytes)
        address = first.address
        second = Buffer(nbytes)
        assert second.address != address
        del first
        assert Buffer(nbytes - 1).address == address  # the same size of block
        del second


def test_an_array_keeps_its_memory_and_gives_it_back() -> None:
    made = Buffer(800)
    address, alive = made.address, weakref.ref(made)
    x = made.array(np.float64, (10, 10))
    row = x[3].T
    del made, x
    assert alive() is not None
    row[:] = 1
    assert Buffer(800).address != address
    assert row.sum() == 10
    del row
    assert alive() is None
    assert Buffer(800).address == address


def test_arrays_share_the_memory() -> None:
    made = Buffer(16)
    x, y = made.array("f4", (2, 2)), made.array(np.uint32, (4,))
    x[:] = 1
    assert y.tolist() == [0x3F800000] * 4
    assert made.array(np.float32, ()).item() == 1
    assert x.flags.writeable
    assert x.flags.aligned


def test_an_array_must_fit() -> None:
    with pytest.raises(InvalidValue, match=r"float64 of shape \(3,\) does not fit into 16 bytes"):
        Buffer(16).array(np.float64, (3,))


def test_foreign_memory_is_wrapped_and_kept() -> None:
    x = np.arange(6.0).reshape(2, 3)
    made = Buffer.of(x)
    assert (made.address, made.nbytes) == (x.ctypes.data, 48)
    alive = weakref.ref(x)
    y = made.array(np.float64, (6,))
    y[0] = 5
    assert x[0, 0] == 5
    del x, made
    assert alive() is not None
    assert y.tolist() == [5, 1, 2, 3, 4, 5]
    del y
    assert alive() is None
    assert buffer.idle() == 0


@pytest.mark.parametrize("shape", [(), (0,), (3, 0), (2, 3)])
def test_foreign_memory_that_cannot_be_written_stays_so(shape: tuple[int, ...]) -> None:
    x = np.ones(shape, np.float32)
    assert Buffer.of(x).address == x.ctypes.data
    x.flags.writeable = False
    made = Buffer.of(x)
    assert made.address == x.ctypes.data
    assert not made.array(np.float32, shape).flags.writeable


def test_foreign_memory_with_gaps_is_refused() -> None:
    with pytest.raises(InvalidValue, match=r"strides .* not row-major"):
        Buffer.of(np.ones((4, 4))[:, ::2])


def test_little_is_kept_unused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(buffer, "_limit", 8 << 20)
    for _ in range(3):
        many = [Buffer(1 << 20) for _ in range(20)] + [Buffer(1000) for _ in range(20)]
        del many
    assert buffer.idle() >= 20 << 20
    Buffer(3 << 20)  # mapping more is when that is looked at
    assert 1 << 20 <= buffer.idle() <= 8 << 20
    # Twice what is largest is kept, or it would be mapped again and again.
    address = Buffer(40 << 20).address
    for n in range(20):
        assert Buffer(40 << 20).address == address
        Buffer((1 << 20) + (n << 17))
    release()
    assert buffer.idle() == 0


def test_single_blocks_of_many_sizes_are_dropped_too(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(buffer, "_limit", 8 << 20)
    for n in range(40):
        Buffer((1 << 20) + (n << 17))
        assert buffer.idle() <= (8 << 20) + (1 << 20) + (n << 17)


def test_many_different_sizes_are_not_remembered_for_ever(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(buffer, "_KNOWN_SIZES", 100)
    for n in range(1000):
        Buffer(n)
    assert len(buffer._homes) <= 102
    kept = Buffer(64)
    address = kept.address
    del kept
    assert Buffer(64).address == address


def test_no_memory_is_an_error_that_leaves_nothing() -> None:
    gc.collect()
    Buffer(1 << 20)
    with pytest.raises(MemoryError, match=r"has no .* bytes for a buffer"):
        Buffer(1 << 55)
    gc.collect()
    assert buffer.idle() == 0  # all was tried
    assert Buffer(1 << 20).address


def test_threads_never_get_the_same_memory() -> None:
    wrong = []

    def work(seed: int) -> None:
        rng = np.random.default_rng(seed)
        held: list[np.ndarray] = []
        for n in rng.integers(1, 200, 3000):
            x = Buffer(int(n) * 8).array(np.int64, (int(n),))
            x[:] = seed
            held.append(x)
            if len(held) > 20:
                old = held.pop(int(rng.integers(20)))
                if (old != seed).any():
                    wrong.append(seed)

    threads = [threading.Thread(target=work, args=(seed,)) for seed in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert wrong == []


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
@pytest.mark.parametrize("nbytes", [1000, 5 << 20])
def test_a_child_process_has_memory_of_its_own(nbytes: int) -> None:
    x = Buffer(nbytes).array(np.uint8, (nbytes,))
    x[:] = 1
    child = os.fork()
    if child == 0:
        x[:] = 2
        y = Buffer(nbytes).array(np.uint8, (nbytes,))
        y[:] = 3
        os._exit(0 if x.sum() == 2 * nbytes and y.sum() == 3 * nbytes else 1)
    assert os.waitpid(child, 0)[1] == 0
    assert x.sum() == nbytes


def test_buffers_may_outlive_the_interpreter() -> None:
    script = """
import numpy as np
from talweg.runtime.buffer import Buffer
kept = [Buffer(n) for n in (10, 1 << 22)]
class Late:
    pass
late = Late()
late.self, late.array = late, Buffer(100).array(np.float32, (5,))
print("ran")
"""
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", script], capture_output=True, text=True, check=True
    )
    assert (done.stdout, done.stderr) == ("ran\n", "")


def test_plans_of_several_sizes_share_the_largest_memory() -> None:
    buffer.release()
    small, large = 40 << 20, 70 << 20
    first = Buffer(small)
    del first
    second = Buffer(large)
    assert buffer.idle() == 0, "the smaller one was dropped"
    address = second.address
    del second
    third = Buffer(small)
    assert third.address == address
    del third
    assert Buffer(large).address == address
    buffer.release()
