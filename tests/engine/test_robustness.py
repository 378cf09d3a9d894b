"""What a process meets besides its own program: odd memory, odd numbers, odd folders, company."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import talweg as tw
from talweg.engine.watch import KernelMade, Watcher
from talweg.runtime.buffer import release
from tests.checked import unchecked

ROOT = Path(tw.__file__).parents[1]
RNG = np.random.default_rng(5)


def softmax(x: np.ndarray) -> np.ndarray:
    e = np.exp(x - x.max(-1, keepdims=True))
    found: np.ndarray = e / e.sum(-1, keepdims=True)
    return found


# -- memory as NumPy has it


def misaligned(a: np.ndarray) -> np.ndarray:
    raw = np.empty(a.nbytes + 1, np.uint8)[1:]
    view = raw.view(a.dtype).reshape(a.shape)
    view[...] = a
    assert not view.flags.aligned
    return view


def fixed(a: np.ndarray) -> np.ndarray:
    a = a.copy()
    a.flags.writeable = False
    return a


ARRAYS = {
    "misaligned": misaligned,
    "Fortran": np.asfortranarray,
    "reversed": lambda a: a[::-1, ::-1].copy()[::-1, ::-1],
    "every second": lambda a: np.repeat(np.repeat(a, 2, 0), 3, 1)[::2, ::3],
    "transposed": lambda a: a.T.copy().T,
    "read-only": fixed,
    "big endian": lambda a: a.astype(a.dtype.newbyteorder(">")),
    "broadcast": lambda a: np.broadcast_to(a[:1], a.shape),
}


@pytest.mark.parametrize("make", [tw.tensor, tw.from_numpy, tw.as_tensor])
@pytest.mark.parametrize("form", ARRAYS)
def test_arrays_of_any_form_are_read_as_numpy_reads_them(form: str, make: Any) -> None:
    array = ARRAYS[form](RNG.normal(size=(37, 19)).astype(np.float32))
    plain = np.ascontiguousarray(array, dtype=np.float32)
    t = make(array)
    found = (t * 2 + t.softmax(1)) @ t.t()
    wanted = (plain * 2 + softmax(plain)) @ plain.T
    np.testing.assert_allclose(found.numpy(), wanted, rtol=2e-4, atol=1e-4)


@pytest.mark.parametrize("offset", [1, 2, 3, 5, 7])
def test_foreign_memory_at_odd_addresses(offset: int) -> None:
    values = RNG.normal(size=1000)
    raw = np.zeros(8 * values.size + 8, np.uint8)
    view = raw[offset : offset + 8 * values.size].view(np.float64)
    view[...] = values
    t = tw.from_numpy(view)
    np.testing.assert_array_equal((t * 3).numpy(), values * 3)
    np.testing.assert_allclose(t.sum().item(), values.sum(), rtol=1e-12)


# -- numbers at the ends of their range

ODD = [np.nan, np.inf, -np.inf, 0.0, -0.0, 1e-45, -1e-40, 1.1754944e-38, 3.4028235e38, -3.4e38, 1.0]


@pytest.mark.parametrize("n", [1, 7, 11, 64, 129])
def test_odd_numbers_come_through_every_lane(n: int) -> None:
    a = np.resize(np.array(ODD, np.float32), n)
    b = np.resize(np.array(ODD[::-1], np.float32), n)
    x, y = tw.tensor(a), tw.tensor(b)
    with np.errstate(all="ignore"):
        for found, wanted in (
            (x + y, a + b),
            (x * y, a * b),
            (x / y, a / b),
            (tw.maximum(x, y), np.maximum(a, b)),
            (tw.minimum(x, y), np.minimum(a, b)),
            (x * 0.5, a * np.float32(0.5)),
            (x.abs().sqrt(), np.sqrt(np.abs(a))),
            (tw.isnan(x), np.isnan(a)),
            (x == y, a == b),
            (tw.signbit(x), np.signbit(a)),
            (x.max(), a.max()),
            (x.min(), a.min()),
            (x.sum(), a.sum()),
        ):
            np.testing.assert_array_equal(found.numpy(), wanted)


def test_denormal_numbers_are_not_flushed() -> None:
    a = np.arange(1, 100, dtype=np.float32) * np.float32(1e-45)
    np.testing.assert_array_equal((tw.tensor(a) * 3).numpy(), a * np.float32(3))
    x, w = np.full((4, 8), 1e-30, np.float32), np.full((8, 4), 1e-10, np.float32)
    product = (tw.tensor(x) @ tw.tensor(w)).numpy()
    np.testing.assert_allclose(product, x @ w, rtol=0, atol=2e-45)
    assert (product > 0).all()


def test_softmax_of_rows_with_infinities() -> None:
    a = np.array([[-np.inf, 0, 1], [-np.inf, -np.inf, 3], [1e38, 0, -1e38]], np.float32)
    np.testing.assert_allclose(tw.tensor(a).softmax(1).numpy(), softmax(a), rtol=1e-6)
    assert np.isnan(tw.full((2, 3), -np.inf).softmax(1).numpy()).all()
    nan = tw.tensor([[1.0, float("nan"), 2.0]])
    assert np.isnan(nan.softmax(1).numpy()).all()


# -- nothing, and one


@pytest.mark.parametrize("shape", [(0,), (1,), (0, 3), (3, 0), (1, 1), (1, 5), (5, 1), (2, 0, 4)])
def test_empty_and_single_sizes(shape: tuple[int, ...]) -> None:
    a = RNG.normal(size=shape).astype(np.float32)
    x = tw.tensor(a, requires_grad=True)
    y = (x * 2).relu() + x.exp()
    np.testing.assert_allclose(y.detach().numpy(), np.maximum(a * 2, 0) + np.exp(a), rtol=1e-6)
    y.sum().backward()
    assert x.grad is not None
    np.testing.assert_allclose(x.grad.numpy(), np.where(a > 0, 2, 0) + np.exp(a), rtol=1e-6)
    for axis in range(len(shape)):
        np.testing.assert_allclose(x.sum(axis).detach().numpy(), a.sum(axis), rtol=1e-5, atol=1e-6)
        np.testing.assert_allclose(
            x.softmax(axis).detach().numpy().sum(),
            a.size and np.prod([n for i, n in enumerate(shape) if i != axis]),
            rtol=1e-5,
        )


@pytest.mark.parametrize("size", [1, 3])
@pytest.mark.parametrize("at", [0, 1])
def test_gradients_of_empty_parts_are_zero(size: int, at: int) -> None:
    for _ in range(3):  # in memory that was used before, too
        tw.full((2, size), 7.0).mul(3).sum().item()
        x = tw.ones(2, size, requires_grad=True)
        (x[:, at:at].square().sum() + 2 * x.sum()).backward()
        assert x.grad is not None
        np.testing.assert_array_equal(x.grad.numpy(), np.full((2, size), 2.0))


@pytest.mark.parametrize(("m", "k", "n"), [(0, 3, 4), (3, 0, 4), (3, 4, 0), (1, 1, 1), (1, 0, 1)])
def test_products_with_empty_sides(m: int, k: int, n: int) -> None:
    x, w = RNG.normal(size=(m, k)), RNG.normal(size=(k, n))
    a, b = tw.tensor(x, requires_grad=True), tw.tensor(w, requires_grad=True)
    y = a @ b
    np.testing.assert_allclose(y.detach().numpy(), x @ w, atol=1e-12)
    y.sum().backward()
    assert a.grad is not None
    assert b.grad is not None
    np.testing.assert_allclose(a.grad.numpy(), np.ones((m, n)) @ w.T, atol=1e-12)
    np.testing.assert_allclose(b.grad.numpy(), x.T @ np.ones((m, n)), atol=1e-12)


def test_convolution_of_an_empty_batch() -> None:
    layer = tw.nn.Conv2d(3, 4, 3)
    y = layer(tw.zeros(0, 3, 8, 8))
    assert y.shape == (0, 4, 6, 6)
    y.sum().backward()
    assert layer.weight.grad is not None
    assert not layer.weight.grad.numpy().any()


# -- more elements than 32 bits count

FAR = (1 << 31) + 24


def test_indices_beyond_32_bits() -> None:
    ones = tw.ones(1, dtype=tw.int64).expand(FAR)  # 16 GiB, if a view had memory
    assert ones.sum().item() == FAR
    square = tw.ones(1, 1).expand(3, FAR)
    assert square.shape == (3, FAR)
    assert tw.arange(FAR - 5, FAR).tolist() == list(range(FAR - 5, FAR))


@unchecked
@pytest.mark.slow
def test_memory_beyond_32_bits() -> None:
    x = tw.zeros(FAR, dtype=tw.uint8)
    x[FAR - 3 :] = 7
    y = x + 1
    assert y[-4:].tolist() == [1, 8, 8, 8]
    assert y[0].item() == 1
    assert (y == 8).sum().item() == 3
    assert y.view(2, -1)[1, -2:].tolist() == [8, 8]
    del x, y
    release()


# -- sizes that change


class Made(Watcher):
    """Counts the kernels that were compiled or loaded, and sees that none was missing."""

    def __init__(self) -> None:
        self.count = 0
        self.without = tw.counters().interpreted

    def kernel(self, made: KernelMade) -> None:
        self.count += made.how != "reused"

    def check(self, most: int) -> None:
        """Assert that there were so many at most; count from here on."""
        assert self.count <= most
        assert tw.counters().interpreted == self.without
        self.count = 0


def conv_net() -> tw.nn.Module:
    return tw.nn.Sequential(
        tw.nn.Conv2d(3, 8, 3, padding=1),
        tw.nn.BatchNorm2d(8),
        tw.nn.ReLU(),
        tw.nn.MaxPool2d(2),
        tw.nn.Flatten(),
        tw.nn.Linear(8 * 16, 10),
    )


def training(net: tw.nn.Module) -> Any:
    optimizer = tw.optim.AdamW(net.parameters())

    def step(x: tw.Tensor, y: tw.Tensor) -> tw.Tensor:
        loss = tw.nn.functional.cross_entropy(net(x), y)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        return loss

    return step


@pytest.mark.parametrize("compiled", [False, True])
def test_other_batches_need_no_other_kernels(compiled: bool) -> None:
    step = training(conv_net())
    step = tw.compile(step) if compiled else step

    def train(size: int) -> None:
        for _ in range(2):
            assert np.isfinite(step(tw.rand(size, 3, 8, 8), tw.arange(size) % 10).item())

    with Made() as seen:  # from the beginning: a Program that is found in the cache makes no kernel
        for size in (32, 24):
            train(size)
        seen.check(150)
        for sizes, most in (((17, 10, 8, 6, 5), 6), ((31, 7, 9, 12, 48), 0)):
            for size in sizes:
                train(size)
            seen.check(most)


class Reader(tw.nn.Module):
    """Letters, attention over all of them, a class."""

    def __init__(self) -> None:
        super().__init__()
        self.letters = tw.nn.Embedding(30, 32)
        self.layer = tw.nn.TransformerEncoderLayer(32, 4, 64, dropout=0.0, batch_first=True)
        self.state = tw.nn.GRU(32, 32, batch_first=True)
        self.last = tw.nn.Linear(32, 10)

    def forward(self, x: tw.Tensor) -> tw.Tensor:
        return self.last(self.state(self.layer(self.letters(x)))[0].mean(1))


def test_other_lengths_need_no_other_kernels() -> None:
    step = training(Reader())

    def train(length: int) -> None:
        for _ in range(2):
            step(tw.randint(0, 30, (4, length)), tw.arange(4)).item()

    with Made() as seen:
        for length in (33, 60):
            train(length)
        seen.check(150)
        for lengths, most in (((5, 6, 10, 17, 34), 10), ((7, 12, 32, 47, 59), 0)):
            for length in lengths:
                train(length)
            seen.check(most)


LONG = """
import resource, sys
import talweg as tw
net = tw.nn.Sequential(tw.nn.Linear(8, 16), tw.nn.Tanh(), tw.nn.Linear(16, 1))
optimizer = tw.optim.Adam(net.parameters())
x = tw.rand(32, 8)
def step():
    loss = (net(x) - 1).square().mean()
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
    return loss
def size():
    return int(open("/proc/self/statm").read().split()[1]) * resource.getpagesize()
for run, steps in ((step, 4_000), (tw.compile(step), 20_000)):
    for _ in range(steps // 10):
        run()
    before = size()
    for _ in range(steps):
        run()
    print(size() - before)
"""


@unchecked
@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc/self/statm").exists(), reason="reads /proc")
def test_a_long_training_takes_no_more_memory_than_a_short_one() -> None:
    done = run(LONG)
    assert done.returncode == 0, done.stderr
    assert all(int(more) < 2e6 for more in done.stdout.split()), done.stdout


# -- company


def run(program: str, **environment: str) -> subprocess.CompletedProcess[str]:
    kept = {k: v for k, v in os.environ.items() if not k.startswith("TALWEG")}
    return subprocess.run(
        [sys.executable, "-c", program],
        check=False,
        capture_output=True,
        text=True,
        timeout=300,
        env={**kept, "PYTHONPATH": str(ROOT), **environment},
    )


PROGRAM = """
import talweg as tw
for n in (3, 5):
    print((tw.ones(n, 4) @ tw.ones(4, n)).softmax(1).sum().item())
    print((tw.ones(n) * n).cumsum(0).tolist())
"""


FULL = "import resource\nresource.setrlimit(resource.RLIMIT_FSIZE, (0, 0))\n"
COUNTED = "print(tw.counters().compiled)\n"


def test_a_cache_folder_that_cannot_be_made(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    done = run(PROGRAM, TALWEG_CACHE_DIR=str(tmp_path / "file" / "cache"))
    assert done.returncode == 0, done.stderr
    assert done.stdout.split("\n")[0] == "3.0"
    assert done.stderr.count("compiled kernels cannot be kept") == 1
    assert "TALWEG_CACHE_DIR" in done.stderr


def test_a_disk_that_is_full(tmp_path: Path) -> None:
    done = run(FULL + PROGRAM, TALWEG_CACHE_DIR=str(tmp_path))
    assert done.returncode == 0, done.stderr
    assert done.stdout.split("\n")[0] == "3.0"
    assert done.stderr.count("compiled kernels cannot be kept") == 1
    assert not [f for f in tmp_path.rglob("*") if f.is_file() and f.stat().st_size]


def test_a_full_disk_is_still_read(tmp_path: Path) -> None:
    assert run(PROGRAM, TALWEG_CACHE_DIR=str(tmp_path)).returncode == 0
    done = run(FULL + PROGRAM + COUNTED, TALWEG_CACHE_DIR=str(tmp_path))
    assert done.returncode == 0, done.stderr
    assert done.stdout.split()[-1] == "0"
    assert done.stderr == ""


KILLED = """
import os, signal
writes = {number}
plain = os.fdopen

class Half:
    def __init__(self, file):
        self.file = file
    def __enter__(self):
        return self
    def __exit__(self, *_):
        self.file.close()
    def write(self, content):
        self.file.write(content[: len(content) // 2])
        self.file.flush()
        os.kill(os.getpid(), signal.SIGKILL)

def opened(handle, mode="r", *rest, **named):
    global writes
    writes -= 1
    file = plain(handle, mode, *rest, **named)
    return file if writes else Half(file)

os.fdopen = opened
"""


@pytest.mark.skipif(os.name == "nt", reason="no such signal on this system")
@pytest.mark.parametrize("number", [1, 2, 3])
def test_a_process_that_is_killed_while_it_writes_leaves_whole_entries(
    tmp_path: Path, number: int
) -> None:
    folder = str(tmp_path)
    done = run(KILLED.format(number=number) + PROGRAM, TALWEG_CACHE_DIR=folder)
    assert done.returncode == -signal.SIGKILL, done.stderr
    assert len(list(tmp_path.glob("*.tmp"))) == 1  # the half that nobody reads
    plain = run(PROGRAM, TALWEG_CACHE_DIR=str(tmp_path / "other"))
    for compiled in (True, False):
        done = run(PROGRAM + COUNTED, TALWEG_CACHE_DIR=folder)
        assert done.returncode == 0, done.stderr
        assert done.stdout.startswith(plain.stdout)
        assert (done.stdout.split()[-1] != "0") is compiled
        assert done.stderr == ""


def test_eight_threads_train_nets_of_their_own() -> None:
    def train(width: int) -> list[float]:
        rng = np.random.default_rng(width)
        net = tw.nn.Sequential(tw.nn.Linear(6, width), tw.nn.Tanh(), tw.nn.Linear(width, 1))
        for p in net.parameters():
            p.data = tw.tensor(rng.normal(size=p.shape).astype(np.float32))
        optimizer = tw.optim.Adam(net.parameters(), lr=0.01)
        x = tw.tensor(rng.normal(size=(32, 6)).astype(np.float32))
        losses = []
        for _ in range(12):
            optimizer.zero_grad()
            loss = (net(x) - 1).square().mean()
            loss.backward()
            optimizer.step()
            losses.append(loss.item())
        return losses

    widths = [3, 4, 5, 8, 16, 17, 33, 64]
    wanted = [train(w) for w in widths]
    found: dict[int, list[float]] = {}

    def work(width: int) -> None:
        found[width] = train(width)

    threads = [threading.Thread(target=work, args=(w,)) for w in widths]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [found[w] for w in widths] == wanted


FORK = """
import os, sys, threading
import talweg as tw
w = tw.ones(64, 64, requires_grad=True)
def step():
    loss = (w @ w).softmax(1).square().sum()
    loss.backward()
    return loss.item()
first = step()
stop = threading.Event()
def busy():
    x = tw.ones(200, 200)
    while not stop.is_set():
        (x @ x).sum().item()
thread = threading.Thread(target=busy)
thread.start()
for _ in range(5):
    child = os.fork()
    if child == 0:
        os._exit(0 if step() == first and (tw.ones(5) * 2).tolist() == [2.0] * 5 else 1)
    assert os.waitpid(child, 0)[1] == 0
    assert step() == first
stop.set()
thread.join()
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork on this system")
def test_forks_while_another_thread_computes() -> None:
    done = run(FORK)
    assert done.returncode == 0, done.stderr
