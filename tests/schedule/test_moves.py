"""Moves keep what a nest means: the interpreter runs it before and after."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from talweg.base import dtypes as d
from talweg.base.errors import IndexOutOfRange
from talweg.ir.types import tensor_type
from talweg.loops.build import Lowered, NestBuilder, lower
from talweg.loops.interpret import interpret
from talweg.loops.nest import Loop, LoopNest, Store, statements
from talweg.loops.scalar import constant
from talweg.loops.text import format_nest
from talweg.ops import OPS
from talweg.ops.view import SetSlice
from talweg.passes.extents import settle_extents
from talweg.schedule.abreast import ROWS, abreast
from talweg.schedule.fixed import fixed
from talweg.schedule.jam import jammed
from talweg.schedule.moves import collapsed, unrolled
from talweg.schedule.parts import parted
from talweg.schedule.place import placed, spelled
from talweg.schedule.reductions import chunked
from talweg.schedule.target import Target
from talweg.schedule.tiles import Square, tiled
from talweg.schedule.windows import WINDOWS, neighbours
from tests.codegen.test_random import INPUTS, ROOTS, nests, values_of
from tests.loops.conftest import Type
from tests.suite.cases import Case, cases_of, lowered

Move = Callable[[LoopNest], LoopNest]

WIDE = Target("x86_64-unknown-linux-gnu", "", "+avx512bw,+avx512f,+avx512vl", width=16)
MOVES: dict[str, Move] = {
    "placed": lambda nest: nest,
    "unrolled": unrolled,
    "collapsed": collapsed,
    "chunked": chunked,
    "tiled": lambda nest: tiled(nest, WIDE)[0],
    "abreast": abreast,
    "neighbours": lambda nest: neighbours(unrolled(nest)),
    "parted": parted,
    "jammed": lambda nest: jammed(nest, rows=True),
    "all": lambda nest: jammed(chunked(jammed(collapsed(unrolled(nest)), rows=False)), rows=True),
}


def outcome(nest: LoopNest, arrays: Sequence[np.ndarray], values: Mapping[str, Any]) -> Any:
    """The results of a nest, or the message of the check that failed."""
    try:
        return interpret(nest, arrays, values)
    except IndexOutOfRange as error:
        return str(error)


def check_kept(
    nest: LoopNest, arrays: Sequence[np.ndarray], values: Mapping[str, Any], move: Move
) -> LoopNest:
    """The nest gives the same after a move, but for how sums are rounded."""
    moved = spelled(move(placed(nest)))
    rows = [a.reshape(-1) if a.ndim else a for a in arrays]
    with np.errstate(all="ignore"):
        expected, got = outcome(nest, arrays, values), outcome(moved, rows, values)
    if isinstance(expected, str):
        assert got == expected
        return moved
    for one, other in zip(got, expected, strict=True):
        np.testing.assert_allclose(one, other.reshape(one.shape), rtol=1e-5, atol=1e-6)
    return moved


@pytest.mark.parametrize("move", MOVES)
@settings(max_examples=25)
@given(nest=nests(), shape=st.sampled_from([(3, 7), (1, 1), (3, 0)]))
def test_random_nests(move: str, nest: LoopNest, shape: tuple[int, int]) -> None:
    arrays = [values_of(b.dtype, shape) for b in INPUTS] + [values_of(b.dtype, ()) for b in ROOTS]
    check_kept(nest, arrays, {"n": shape[0], "m": shape[1], "s": 0.75}, MOVES[move])


QUICK = [case for op in OPS if op.lowered for case in list(cases_of(op))[:2]]


@pytest.mark.parametrize("case", QUICK, ids=str)
def test_the_nests_of_ops(case: Case) -> None:
    values = case.values()
    made = lowered(case.op, [tensor_type(t, v.shape) for v, t in values])
    check_kept(made.nest, [v for v, _ in values], made.values, MOVES["all"])


def loops_of(nest: LoopNest) -> list[str]:
    return [s.index for s in statements(nest.body) if isinstance(s, Loop)]


def elementwise(shape: tuple[int, ...]) -> Lowered:
    types = [Type(d.float32, shape)]
    return lower("twice", lambda nest, x: x * 2, types, types, elementwise=True)


def test_loops_that_walk_memory_as_one_become_one() -> None:
    made = elementwise((2, 3, 4))
    x = np.arange(24, dtype=np.float32).reshape(2, 3, 4)
    moved = check_kept(made.nest, [x], made.values, collapsed)
    assert loops_of(moved) == ["i2"]
    assert "for i2 in parallel(n_0 * n_1 * n_2):\n        out0[i2] = x0[i2] * float32(2.0)" in (
        format_nest(moved)
    )


def test_a_broadcast_axis_keeps_its_loop() -> None:
    nest = NestBuilder("bias")
    x = nest.input("x", d.float32, (2, 3, 4, 5))
    bias = nest.input("bias", d.float32, (x.shape[1],))
    out = nest.output("out", d.float32, x.shape)
    nest.pointwise([out], lambda i: x[i] + bias[[i[1]]])
    made = nest.build()
    arrays = [np.random.default_rng(0).random(s, np.float32) for s in ((2, 3, 4, 5), (3,))]
    assert loops_of(check_kept(made.nest, arrays, made.values, collapsed)) == ["i0", "i1", "i3"]


def test_an_index_that_is_a_value_keeps_its_loop() -> None:
    nest = NestBuilder("index")
    out = nest.output("out", d.float32, (3, 4))
    nest.pointwise([out], lambda i: nest.cast(i[1], d.float32))
    made = nest.build()
    assert loops_of(check_kept(made.nest, [], made.values, collapsed)) == ["i0", "i1"]


def test_reduced_axes_that_are_neighbours_become_one() -> None:
    nest = NestBuilder("sum")
    x = nest.input("x", d.float32, (2, 3, 4, 5))
    out = nest.output("out", d.float32, (x.shape[1],))
    nest.pointwise([out], nest.reduction(x, "add", (0, 2, 3)))
    made = nest.build()
    x_values = np.random.default_rng(1).random((2, 3, 4, 5), np.float32)
    assert loops_of(check_kept(made.nest, [x_values], made.values, collapsed)) == ["i0", "k0", "k2"]


def test_windows_are_written_out() -> None:
    nest = NestBuilder("pool")
    x = nest.input("x", d.float32, (7, 6))
    out = nest.output("out", d.float32, (3, 2))

    def point(i: Any) -> Any:
        return nest.fold("maximum", [3, 2], lambda k: x[i[0] * 2 + k[0], i[1] * 3 + k[1]])

    nest.pointwise([out], point)
    made = nest.build()
    x_values = np.random.default_rng(2).random((7, 6), np.float32)
    moved = check_kept(made.nest, [x_values], made.values, unrolled)
    assert loops_of(moved) == ["i0", "i1"]
    assert format_nest(moved).count(".maximum(") == 6


def test_a_reshape_leaves_no_division() -> None:
    nest = NestBuilder("reshape")
    x = nest.input("x", d.float32, (3, 4, 5))
    out = nest.output("out", d.float32, (3, 20))
    nest.pointwise([out], lambda i: x[i[0], i[1] // x.shape[2] % x.shape[1], i[1] % x.shape[2]])
    made = nest.build()
    x_values = np.random.default_rng(3).random((3, 4, 5), np.float32)
    check_kept(made.nest, [x_values], made.values, MOVES["all"])


def softmax() -> Lowered:
    nest = NestBuilder("softmax")
    x = nest.input("x", d.float32, (3, 5))
    out = nest.output("out", d.float32, x.shape)
    with nest.loop(x.shape[0]) as i:
        row = nest.local(d.float32, (x.shape[1],))
        top = nest.fold("maximum", [x.shape[1]], lambda k: x[i, k[0]])
        with nest.loop(x.shape[1]) as j:
            nest.store(row, (j,), nest.exp(x[i, j] - top))
        total = nest.fold("add", [x.shape[1]], lambda k: row[k[0]])
        with nest.loop(x.shape[1]) as j:
            nest.store(out, (i, j), row[j] / total)
    return nest.build()


def test_a_row_is_summed_up_as_it_is_computed() -> None:
    made = softmax()
    x = np.random.default_rng(4).random((3, 5), np.float32)
    moved = check_kept(made.nest, [x], made.values, lambda nest: jammed(nest, rows=True))
    assert loops_of(moved) == ["i0", "k0", "i1", "i2"]


def test_reductions_that_do_not_need_each_other_share_a_loop() -> None:
    nest = NestBuilder("sums")
    x = nest.input("x", d.float32, (3, 4, 5))
    outs = [nest.output(f"out{n}", d.float32, (x.shape[2],)) for n in range(3)]
    over = [x.shape[0], x.shape[1]]
    with nest.loop(x.shape[2]) as j:
        one = nest.fold("add", over, lambda k: x[k[0], k[1], j])
        two = nest.fold("maximum", over, lambda k: x[k[0], k[1], j] * 2)
        three = nest.fold("add", over, lambda k: x[k[0], k[1], j] - one)
        for out, value in zip(outs, (one, two, three)):
            nest.store(out, (j,), value)
    made = nest.build()
    x_values = np.random.default_rng(5).random((3, 4, 5), np.float32)
    moved = check_kept(made.nest, [x_values], made.values, lambda nest: jammed(nest, rows=False))
    assert loops_of(moved) == ["i0", "k0", "k1", "k4", "k5"]
    moved = check_kept(made.nest, [x_values], made.values, MOVES["all"])
    assert len(loops_of(moved)) == 10


def test_a_row_that_is_read_elsewhere_is_not_forwarded() -> None:
    nest = NestBuilder("reverse")
    x = nest.input("x", d.float32, (5,))
    out = nest.output("out", d.float32, (2,))
    with nest.loop(2) as i:
        row = nest.local(d.float32, (x.shape[0],))
        with nest.loop(x.shape[0]) as j:
            nest.store(row, (j,), x[[j]] * 2)
        last = x.shape[0] - 1
        total = nest.fold("add", [x.shape[0]], lambda k: row[last - k[0]] * x[k])
        nest.store(out, (i,), total)
    made = nest.build()
    x_values = np.random.default_rng(6).random(5, np.float32)
    moved = check_kept(made.nest, [x_values], made.values, lambda n: jammed(n, rows=True))
    assert loops_of(moved) == ["i0", "i1", "k0"]


@pytest.mark.parametrize("shape", [(5, 4, 130), (1, 1, 1), (2, 0, 3)])
def test_a_transposed_copy_goes_through_squares(shape: tuple[int, ...]) -> None:
    nest = NestBuilder("turn")
    x = nest.input("x", d.float32, shape)
    bias = nest.input("bias", d.float32, (shape[2],))
    out = nest.output("out", d.float32, (shape[0], shape[2], shape[1]))
    nest.pointwise([out], lambda i: x[i[0], i[2], i[1]] + bias[[i[1]]])
    made = nest.build()
    rng = np.random.default_rng(7)
    arrays = [rng.random(shape, np.float32), rng.random(shape[2], np.float32)]
    moved = check_kept(made.nest, arrays, made.values, MOVES["tiled"])
    assert loops_of(moved) == ["i0", "p0", "p1", "q0", "q1", "r0", "r1"]
    squares = tiled(placed(made.nest), WIDE)[1]
    assert squares == {"r0": Square("r1", 4, "q0", "q1")}


@pytest.mark.parametrize("shape", [(7, 5), (37, 9), (3, 0)])
def test_results_in_short_pieces_are_written_in_runs(shape: tuple[int, ...]) -> None:
    rows, runs = shape
    nest = NestBuilder("kernels")
    x = nest.input("x", d.float32, (3, runs, rows))
    out = nest.output("out", d.float32, (rows, runs, 3))
    nest.pointwise([out], lambda i: x[i[2], i[1], i[0]])
    made = nest.build()
    short = fixed(made.nest, (("x_0", 3), ("out_2", 3)))
    arrays = [np.random.default_rng(7).random((3, runs, rows), np.float32)]
    moved = check_kept(short, arrays, made.values, MOVES["tiled"])
    assert loops_of(moved) == ["p2", "p0", "p1", "q0", "r2", "q1", "r0", "r1"]
    assert tiled(placed(short), WIDE)[1] == {"r0": Square("r1", 4, "q0", "r2", 8)}


def test_reads_that_are_close_together_need_no_squares() -> None:
    made = elementwise((2, 3, 4))
    assert tiled(placed(made.nest), WIDE)[1] == {}


def test_reads_that_may_not_happen_go_through_no_squares() -> None:
    nest = NestBuilder("border")
    x = nest.input("x", d.float32, (2, 3, 40))
    out = nest.output("out", d.float32, (2, 44, 3))
    (start,) = nest.numbers([2])
    nest.pointwise([out], lambda i: nest.within(x, [i[0], i[2], i[1] - start]))
    made = nest.build()
    assert tiled(placed(made.nest), WIDE)[1] == {}


@pytest.mark.parametrize("rows", [1, ROWS - 1, ROWS, 3 * ROWS + 5])
@pytest.mark.parametrize("many", [1, 3])
def test_rows_that_meet_one_row_are_taken_together(many: int, rows: int) -> None:
    nest = NestBuilder("dot")
    x, w = nest.input("x", d.float32, (many, 21)), nest.input("w", d.float32, (rows, 21))
    bias = nest.input("bias", d.float32, (rows,))
    out = nest.output("out", d.float32, (many, rows))

    def point(i: Sequence[Any]) -> Any:
        summed = nest.fold("add", (x.shape[1],), lambda k: x[i[0], k[0]] * w[i[1], k[0]])
        return summed + bias[(i[1],)]

    nest.pointwise([out], point)
    made = nest.build()
    rng = np.random.default_rng(0)
    arrays = [rng.standard_normal(s, np.float32) for s in ((many, 21), (rows, 21), (rows,))]
    moved = check_kept(made.nest, arrays, made.values, abreast)
    assert len(moved.body) == 2
    assert sum(isinstance(s, Loop) and s.order == "reduction" for s in statements(moved.body)) == 2


@pytest.mark.parametrize(("start", "stop"), [(0, 5), (1, 3), (4, 5), (2, 2)])
def test_a_part_that_is_replaced_has_a_loop_of_its_own(start: int, stop: int) -> None:
    op = SetSlice((start, 1), (stop, 4), (1, 1))
    types = [tensor_type(d.float32, s) for s in ((5, 6), (stop - start, 3))]
    made = lowered(op, types)
    arrays = [
        np.random.default_rng(n).standard_normal(t.shape, np.float32) for n, t in enumerate(types)
    ]
    nest, values = settle_extents(made.nest, made.values)
    names = [a.name for a in nest.arguments]
    moved = check_kept(nest, arrays, dict(zip(names, values, strict=True)), parted)
    assert len(moved.body) == 2
    assert "select" not in format_nest(moved)


def test_parts_with_gaps_stay_conditions() -> None:
    types = [tensor_type(d.float32, s) for s in ((5, 6), (3, 3))]
    made = lowered(SetSlice((0, 1), (5, 4), (2, 1)), types)
    nest, _ = settle_extents(made.nest, made.values)
    assert len(parted(placed(nest)).body) == 1


@pytest.mark.parametrize("count", [1, WINDOWS - 1, WINDOWS, 2 * WINDOWS + 3])
@pytest.mark.parametrize(("taps", "step", "joined"), [(4, 1, True), (3, 1, False), (4, 4, False)])
def test_neighbouring_windows_are_summed_together(
    count: int, taps: int, step: int, joined: bool
) -> None:
    long = (count - 1) * step + taps
    nest = NestBuilder("windows")
    x, w = nest.input("x", d.float32, (long, 5)), nest.input("w", d.float32, (7, 5))
    out = nest.output("out", d.float32, (count, 5))

    def point(i: Sequence[Any]) -> Any:
        size = constant(taps, d.int64)
        return nest.fold("add", (size,), lambda k: x[i[0] * step + k[0], i[1]] * w[k[0], i[1]])

    nest.pointwise([out], point)
    made = nest.build()
    rng = np.random.default_rng(0)
    arrays = [rng.standard_normal(s, np.float32) for s in ((long, 5), (7, 5))]
    moved = check_kept(made.nest, arrays, made.values, lambda nest: neighbours(unrolled(nest)))
    stores = [s for s in statements(moved.body) if isinstance(s, Store)]
    assert len(stores) == (WINDOWS + 1 if joined else 1)
