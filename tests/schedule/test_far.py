"""Schedules for operands that come from memory: the same results as without them."""

from __future__ import annotations

import numpy as np
import pytest

from talweg.base import dtypes as d
from talweg.codegen.object import compile_nest
from talweg.loops.build import NestBuilder
from talweg.loops.nest import LoopNest
from talweg.runtime.jit import Kernel
from talweg.schedule.choose import choose
from talweg.schedule.loops import FAR, LARGE, Loops, staged
from tests.codegen.machine import targets

TARGETS = sorted(targets())


def row_sums_and_scaled() -> LoopNest:
    """y = (x - max) / sum(exp(x - max)), by rows: three passes over each."""
    nest = NestBuilder("rows")
    x = nest.input("x", d.float32, (1, 1))
    out = nest.output("out", d.float32, x.shape)
    with nest.loop(x.shape[0]) as i:
        top = nest.fold("maximum", [x.shape[1]], lambda k: x[i, k[0]])
        total = nest.fold("add", [x.shape[1]], lambda k: nest.exp(x[i, k[0]] - top))
        with nest.loop(x.shape[1]) as j:
            nest.store(out, (i, j), (x[i, j] - top) / total)
    return nest.build().nest


@pytest.mark.parametrize("target", TARGETS)
@pytest.mark.parametrize("shape", [(1, 1), (3, 16), (5, 100), (7, 257), (2, 64), (0, 5), (4, 0)])
@pytest.mark.parametrize("shift", [0, 1, 3])
def test_results_written_past_the_caches(target: str, shape: tuple[int, int], shift: int) -> None:
    nest = row_sums_and_scaled()
    schedule = Loops(streams=("out",), large=True)
    made = compile_nest(nest, targets()[target], None, schedule)
    rng = np.random.default_rng(shape[1])
    x = rng.normal(size=shape).astype(np.float32)
    room = np.full(x.size + 64, 7, np.float32)
    start = (-(room.ctypes.data // 4) % 16) + shift  # whole lines, or not
    result = room[start : start + x.size].reshape(shape)
    Kernel(made.code, made.signature).call([x.ctypes.data, result.ctypes.data], list(shape))
    if x.size:
        top = x.max(1, keepdims=True)
        want = (x - top) / np.exp((x - top).astype(np.float64)).sum(1, keepdims=True)
        np.testing.assert_allclose(result, want, rtol=1e-5)
    assert (room[:start] == 7).all()
    assert (room[start + x.size :] == 7).all()


def test_the_next_row_is_asked_for_in_the_longest_pass() -> None:
    nest = row_sums_and_scaled()
    (target,) = (t for name, t in targets().items() if name == "host")
    assert not staged(nest, Loops(), target).ahead
    ahead = staged(nest, Loops(large=True), target).ahead
    assert [len(loads) for loads in ahead.values()] == [1]


def test_only_what_does_not_fit_the_caches_is_written_past_them() -> None:
    nest = row_sums_and_scaled()
    (target,) = (t for name, t in targets().items() if name == "host")

    def schedule(rows: int, columns: int) -> Loops:
        values = dict(zip((a.name for a in nest.arguments), (rows, columns), strict=True))
        chosen = choose(nest, values, target)
        assert isinstance(chosen, Loops)
        return chosen

    assert schedule(64, 64) == Loops()
    assert schedule(FAR // 4096, 1024) == Loops(large=True)
    assert schedule(LARGE // 4096, 1024) == Loops(large=True, streams=("out",))


@pytest.mark.parametrize("target", TARGETS)
@pytest.mark.parametrize("shape", [(40, 35, 3, 3), (20, 17, 1, 1), (33, 5, 1, 4), (6, 70, 4, 2)])
def test_copies_in_another_order_with_short_last_axes(
    target: str, shape: tuple[int, int, int, int]
) -> None:
    nest = NestBuilder("turned")
    x = nest.input("x", d.float32, (1, 1, 1, 1))
    out = nest.output("out", d.float32, [x.shape[a] for a in (3, 2, 0, 1)])
    with nest.loops(out.shape) as i:
        nest.store(out, i, x[i[2], i[3], i[1], i[0]])
    made = nest.build().nest
    given = np.random.default_rng(0).normal(size=[shape[a] for a in (2, 3, 1, 0)])
    given = given.astype(np.float32)
    values = dict(zip((a.name for a in made.arguments), given.shape, strict=True))
    schedule = choose(made, values, targets()[target])
    assert isinstance(schedule, Loops)
    assert schedule.sizes
    code = compile_nest(made, targets()[target], None, schedule)
    result = np.empty(shape, np.float32)
    kernel = Kernel(code.code, code.signature)
    kernel.call([given.ctypes.data, result.ctypes.data], list(given.shape))
    np.testing.assert_array_equal(result, given.transpose(3, 2, 0, 1))
