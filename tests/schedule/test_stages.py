"""Stages: what may be shared out among threads."""

from __future__ import annotations

from talweg.base import dtypes as d
from talweg.codegen.cpu import host
from talweg.loops.build import NestBuilder
from talweg.schedule.loops import Loops, staged


def test_numbers_loaded_before_a_loop_do_not_keep_it_from_being_shared_out() -> None:
    nest = NestBuilder("scaled")
    x, factor = nest.input("x", d.float32, (1, 1)), nest.input("factor", d.float32, ())
    out = nest.output("out", d.float32, x.shape)
    scale = nest.let(factor[()])
    with nest.loops(out.shape) as i:
        nest.store(out, i, x[i] * scale + scale)
    kernel = staged(nest.build().nest, Loops(), host())
    assert [len(stage.indices) for stage in kernel.stages] == [1]
    assert kernel.given


def test_a_number_that_a_result_may_overwrite_is_loaded_once() -> None:
    nest = NestBuilder("next")
    x, total = nest.input("x", d.float32, (1,)), nest.input("total", d.float32, ())
    out, end = nest.output("out", d.float32, x.shape), nest.output("end", d.float32, ())
    old = nest.let(total[()])
    nest.store(end, (), old + 1)
    with nest.loops(out.shape) as i:
        nest.store(out, i, x[i] * old)
    kernel = staged(nest.build().nest, Loops(), host())
    assert not kernel.given
    assert len(kernel.stages) == 1
