"""Where a view begins is a number: other numbers make no plan, and no kernel."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest

import talweg as tw
from talweg.base.errors import GradientError
from talweg.base.open import Open
from talweg.engine.state import CONFIG
from talweg.runtime.buffer import Buffer

DTYPES = [tw.float32, tw.float64, tw.int32, tw.int64, tw.uint8, tw.bool, tw.bfloat16, tw.float16]
pytestmark = pytest.mark.skipif(CONFIG.check, reason="a checked Graph is planned anew each time")


def drawn(rng: np.random.Generator, dtype: tw.dtype, *shape: int) -> tw.Tensor:
    return tw.tensor(rng.integers(0, 7, shape).astype(np.float32)).to(dtype)


def made_by(step: Callable[[int], Any], seen: Iterator[int], new: Iterator[int]) -> tuple[int, int]:
    """Return how many plans and kernels are made for new numbers, when some were seen."""
    for i in seen:
        step(i)
    tw.reset_counters()
    for i in new:
        step(i)
    made = tw.counters()
    return made.plans, made.compiled + made.loaded


def test_rows_of_what_is_known_plan_once() -> None:
    x = tw.tensor(np.arange(600, dtype=np.float32).reshape(60, 10))
    found: list[float] = []

    def step(i: int) -> None:
        found.append(x[i].sum().item())

    assert made_by(step, iter(range(4)), iter(range(4, 54))) == (0, 0)
    assert found == x.numpy()[:54].sum(1).tolist()


def test_columns_and_windows_plan_once() -> None:
    x = tw.tensor(np.random.default_rng(0).normal(size=(5, 60, 3)).astype(np.float32))
    array = x.numpy().copy()

    def step(t: int) -> None:
        part = x[:, t] * 2.0 + x[:, t + 1 : t + 3].sum(1) - x[1:4, t : t + 5 : 2, 1:].sum()
        other = array[:, t] * 2 + array[:, t + 1 : t + 3].sum(1)
        other -= array[1:4, t : t + 5 : 2, 1:].sum()
        np.testing.assert_allclose(part.numpy(), other, rtol=1e-5, atol=1e-5)

    assert made_by(step, iter(range(4)), iter(range(4, 54))) == (0, 0)


@pytest.mark.parametrize("every", [1, 10])
def test_a_chain_of_writes_plans_once(every: int) -> None:
    w = tw.tensor(np.random.default_rng(0).normal(size=(4, 4)).astype(np.float32) / 2)
    z, array = tw.zeros(100, 4), np.zeros((100, 4), np.float32)
    z[0], array[0] = 1.0, 1.0

    def step(i: int) -> None:
        z[i] = (z[i - 1] @ w).tanh()
        array[i] = np.tanh(array[i - 1] @ w.numpy())
        if i % every == 0:
            np.testing.assert_allclose(z[i].numpy(), array[i], rtol=1e-4, atol=1e-5)

    assert made_by(step, iter(range(1, 41)), iter(range(41, 91))) == (0, 0)
    np.testing.assert_allclose(z.numpy(), array, rtol=1e-4, atol=1e-5)


def test_gradients_of_parts_plan_once() -> None:
    rng = np.random.default_rng(0)
    x = tw.tensor(rng.normal(size=(3, 60, 4)).astype(np.float32), requires_grad=True)
    w = tw.tensor(rng.normal(size=(4, 4)).astype(np.float32), requires_grad=True)

    def step(t: int) -> None:
        h = tw.zeros(3, 4)
        for n in range(3):
            h = (x[:, t + n] @ w + h).tanh()
        gradient, _ = tw.autograd.grad(h.sum(), (x, w))
        moved = gradient.numpy()
        assert (moved[:, t : t + 3] != 0).all()
        assert not moved[:, :t].any()
        assert not moved[:, t + 3 :].any()

    assert made_by(step, iter(range(4)), iter(range(4, 54))) == (0, 0)


def test_a_buffer_of_losses_plans_once() -> None:
    w, buffer = tw.tensor([1.0, 2.0, 3.0]), tw.zeros(256)
    array = np.zeros(256, np.float32)

    def step(i: int) -> None:
        at, read = i * 37 % 256, i * 11 % 256
        buffer[at] = (w * float(i)).sum()
        array[at] = 6 * i
        assert buffer[read].item() == array[read]

    assert made_by(step, iter(range(6)), iter(range(6, 206))) == (0, 0)


def test_batches_of_large_data_plan_once() -> None:
    x = tw.tensor(np.random.default_rng(0).normal(size=(4000, 40)).astype(np.float32))
    w = tw.ones(40, 30, requires_grad=True)

    def step(i: int) -> None:
        (gradient,) = tw.autograd.grad((x[i * 64 : i * 64 + 64] @ w).relu().sum(), w)
        gradient.numpy()

    assert made_by(step, iter(range(3)), iter(range(3, 53))) == (0, 0)


@pytest.mark.parametrize("tracked", [False, True])
def test_large_values_are_read_where_views_begin(tracked: bool) -> None:
    rng = np.random.default_rng(0)
    a, b = rng.normal(size=(60, 400)), rng.normal(size=(90, 70))
    x = tw.tensor(a, requires_grad=tracked)
    w = tw.tensor(b)
    for start in (0, 7, 310, 7, 7, 7, 100):
        y = x[:, start : start + 90] @ w + x[:, 5 : 5 + 1]
        part = a[:, start : start + 90] @ b + a[:, 5:6]
        np.testing.assert_allclose(y.detach().numpy(), part, rtol=1e-9, atol=1e-9)
        z = w * 2.0
        z[:, start // 10 : start // 10 + 3] = y[:1, :3]
        other = b * 2
        other[:, start // 10 : start // 10 + 3] = part[:1, :3]
        np.testing.assert_allclose(z.detach().numpy(), other, rtol=1e-9, atol=1e-9)
    before = tw.counters().plans
    for _ in range(3):
        (x[:, 7:97] @ w + x[:, 5:6]).detach().numpy()
    assert tw.counters().plans <= before + 2


def test_starts_that_meet_within_one_step_are_told_apart() -> None:
    """The numbers of a structure are given in one order, equal or not."""
    rng = np.random.default_rng(0)
    a = rng.integers(0, 9, 24).astype(np.float32)
    for _ in range(60):
        i, j, k, n = rng.integers(0, 20, 4).tolist()
        x = tw.tensor(a) * 1.0
        y = a.copy()
        x[i : i + 4] = x[j : j + 4] + x[k : k + 4]
        y[i : i + 4] = y[j : j + 4] + y[k : k + 4]
        x[n : n + 3] = x[i : i + 3]
        y[n : n + 3] = y[i : i + 3].copy()
        assert x.tolist() == y.tolist()


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
def test_any_dtype(dtype: tw.dtype) -> None:
    rng = np.random.default_rng(1)
    z = drawn(rng, dtype, 6, 8)
    want = z.tolist()
    for _ in range(40):
        i, j = rng.integers(0, 6, 2).tolist()
        a, n = int(rng.integers(0, 5)), int(rng.integers(0, 4))
        z[i, a : a + n] = z[j, a + 1 : a + 1 + n]
        want[i][a : a + n] = want[j][a + 1 : a + 1 + n]
        assert z[i].tolist() == want[i]
    assert z.tolist() == want


def random_key(rng: np.random.Generator, shape: tuple[int, ...]) -> tuple[Any, ...]:
    key: list[Any] = []
    for n in shape[: rng.integers(1, len(shape) + 1)]:
        if n and rng.integers(0, 3) == 0:
            key.append(int(rng.integers(-n, n)))
        else:
            start, stop = rng.integers(-n - 1, n + 2, 2).tolist()
            key.append(slice(start, stop, int(rng.choice([-2, -1, 1, 1, 2, 3]))))
    return tuple(key)


@pytest.mark.parametrize("seed", range(4))
def test_random_parts_are_read_and_written_as_numpy_does(seed: int) -> None:
    rng = np.random.default_rng(seed)
    a = rng.integers(0, 50, (5, 6, 4)).astype(np.float32)
    x = tw.tensor(a.copy())
    held: list[tuple[tw.Tensor, np.ndarray]] = []
    for _ in range(60):
        key = random_key(rng, a.shape)
        part = x[key] * 2.0
        if rng.integers(0, 2):
            held.append((part, a[key] * 2))
        target = random_key(rng, a.shape)
        size = a[target].shape
        if rng.integers(0, 2) and a[key].shape == size:
            x[target], a[target] = x[key], a[key].copy()
        else:
            value = rng.integers(0, 50, size).astype(np.float32)
            x[target], a[target] = tw.tensor(value), value
        if rng.integers(0, 3) == 0:
            other = random_key(rng, a.shape)
            np.testing.assert_array_equal(x[other].numpy(), a[other])
    for part, want in held:
        np.testing.assert_array_equal(part.numpy(), want)
    np.testing.assert_array_equal(x.numpy(), a)


@pytest.mark.parametrize("seed", range(4))
def test_gradients_of_random_parts(seed: int) -> None:
    rng = np.random.default_rng(seed)
    w = rng.normal(size=(5, 6)).astype(np.float32)
    for _ in range(25):
        x = tw.tensor(w, requires_grad=True)
        total, want = tw.tensor(0.0), np.zeros_like(w)
        for _ in range(int(rng.integers(1, 4))):
            key, factor = random_key(rng, w.shape), float(rng.integers(1, 5))
            total = total + (x[key] * factor).sum()
            want[key] += factor
        total.backward()
        assert x.grad is not None
        np.testing.assert_allclose(x.grad.numpy(), want)


def test_the_gradient_of_nothing_is_zero() -> None:
    for start in (0, 1):
        x = tw.ones(1, requires_grad=True)
        (x[start:start] * 2).sum().backward()
        assert x.grad is not None
        assert x.grad.tolist() == [0.0]


def test_a_row_that_was_read_stays_what_it_was() -> None:
    x = tw.tensor(np.arange(12, dtype=np.float32).reshape(4, 3))
    row = x[1]
    twice = row * 2.0
    x[1] = 7.0
    assert row.tolist() == [7.0] * 3
    assert twice.tolist() == [6.0, 8.0, 10.0]
    row[0] = 1.0
    assert x[1].tolist() == [1.0, 7.0, 7.0]
    assert x[-1].tolist() == [9.0, 10.0, 11.0]


def test_a_row_is_seen_by_a_compiled_function_as_it_is_now() -> None:
    x = tw.tensor(np.arange(12, dtype=np.float32).reshape(4, 3))
    row = x[1]
    row.sum().item()

    @tw.compile
    def double() -> tw.Tensor:
        return row * 2.0

    for value in (1.0, 2.0, 3.0):
        with tw.no_grad():
            x[1] = value
        assert double().tolist() == [2 * value] * 3


def test_a_saved_row_that_is_overwritten_is_refused() -> None:
    x = tw.tensor(np.ones((4, 3), np.float32))
    w = tw.ones(3, requires_grad=True)
    y = (x[1] * w).sum()
    x[1] = 5.0
    with pytest.raises(GradientError, match="modified by an inplace operation"):
        y.backward()


def test_errors_name_the_users_line() -> None:
    x = tw.zeros(3, 4).clone()
    x.numpy()
    for key in (3, (0, 4), (slice(None), -5)):
        with pytest.raises(IndexError, match=r"test_starts\.py"):
            x[key]
    with pytest.raises(IndexError):
        x[0, 0, 0]


def test_a_part_of_a_buffer_keeps_it() -> None:
    buffer = Buffer(64)
    buffer.array(np.int32, (16,))[:] = range(16)
    part = buffer.part(8, 12)
    del buffer
    Buffer(64).array(np.int32, (16,))[:] = -1
    assert part.array(np.int32, (3,)).tolist() == [2, 3, 4]
    fixed = np.arange(4)
    fixed.flags.writeable = False
    assert not Buffer.of(fixed).part(8, 8).array(np.int64, (1,)).flags.writeable


def test_open_numbers_equal_no_other() -> None:
    assert Open(1) == Open(1) != Open(2)
    assert Open(0) != 0
    assert Open(2) + 1 == 1
    assert len({Open(0), Open(0), 0}) == 2
    assert f"{(Open(3),)}" == "(?3,)"
