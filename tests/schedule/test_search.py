"""Schedules that a search may try: all of them compute the same, and survive being written down."""

from __future__ import annotations

import json

import numpy as np
import pytest

import talweg as tw
from talweg.codegen.cpu import host
from talweg.codegen.object import compile_nests
from talweg.engine.evaluate import pending_graph
from talweg.nn import functional as F
from talweg.passes.pipeline import compile_graph
from talweg.passes.plan import Launch
from talweg.runtime.jit import Kernel
from talweg.schedule.choose import choose
from talweg.schedule.loops import Loops
from talweg.schedule.search import candidates, described, read_schedule


def rows(*shape: int) -> tw.Tensor:
    values = np.random.default_rng(sum(shape)).normal(size=shape)
    return tw.tensor(values.astype(np.float32))


def launch_of(result: tw.Tensor, name: str) -> Launch:
    launches = compile_graph(pending_graph([result.node()])).launches
    return next(launch for launch in launches if name in launch.nest.name)


CASES = {
    "product": lambda: launch_of(rows(37, 90) @ rows(90, 70), "dot"),
    "convolution": lambda: launch_of(F.conv2d(rows(2, 8, 9, 9), rows(16, 8, 3, 3)), "conv"),
    "sum": lambda: launch_of((rows(300, 50) * 2.0).sum(0), "sum"),
}


@pytest.mark.parametrize("case", CASES)
def test_all_candidates_compute_the_same(case: str) -> None:
    launch = CASES[case]()
    nest = launch.nest
    values = nest.named(launch.values)
    tried = candidates(nest, values, host(), 8)
    assert tried[0] == choose(nest, values, host())
    assert len(set(tried)) == len(tried) > 1
    read = [rows(*n.type.shape).numpy() for n in launch.operands[: len(nest.inputs)]]
    results = []
    for made in compile_nests([(nest, s) for s in tried], host(), None, 1):
        written = [np.full(n.type.shape, np.nan, np.float32) for n in launch.operands[len(read) :]]
        addresses = [array.ctypes.data for array in (*read, *written)]
        Kernel(made.code, made.signature).call(addresses, launch.values)
        results.append(written)
    for others in results[1:]:
        for one, other in zip(results[0], others, strict=True):
            np.testing.assert_allclose(one, other, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("case", CASES)
def test_schedules_survive_being_written_down(case: str) -> None:
    launch = CASES[case]()
    values = launch.nest.named(launch.values)
    for schedule in (
        *candidates(launch.nest, values, host(), 12),
        Loops(streams=("out",), large=True, sizes=(("n", 3),)),
    ):
        assert read_schedule(json.loads(json.dumps(described(schedule)))) == schedule
