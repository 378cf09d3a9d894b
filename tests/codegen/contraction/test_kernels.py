"""Contraction kernels beside float64: every way to read operands, every op, any order."""

from __future__ import annotations

import ctypes
import itertools
from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from talweg.base import dtypes
from talweg.codegen import contraction
from talweg.codegen.cpu import compile_text, host
from talweg.codegen.object import compile_nest
from talweg.loops.build import NestBuilder
from talweg.loops.count import replaceable
from talweg.loops.interpret import interpret
from talweg.ops.contract import Conv, ConvInputGrad, ConvWeightGrad, Dot
from talweg.runtime.jit import Kernel
from talweg.schedule.choose import choose
from talweg.schedule.contraction import FIRST, Contraction, Order, recognise
from talweg.schedule.contraction_tiles import Left, Right, Tiles, lefts, rights, ways
from talweg.schedule.target import Target
from tests.codegen.contraction.nests import Laid, inverse, placed
from tests.codegen.machine import targets

NHWC, OHWI, HWIO = (0, 2, 3, 1), (0, 2, 3, 1), (2, 3, 1, 0)
WAYS = [
    Tiles(8, 3, "rows", "columns"),
    Tiles(6, 4, "rows", "columns", piece=384),
    Tiles(5, 2, "rows", "columns", near=True, piece=384),
    Tiles(3, 1, "rows", "columns", piece=384, splits=4),
    Tiles(1, 2, "rows", "columns", near=True, piece=384, splits=3),
    Tiles(4, 3, "rows", "columns", light=True),
]


def contraction_of(laid: Laid, order: Order = FIRST) -> Contraction:
    found = recognise(laid.nest, order)
    assert found is not None
    return found


def possible(found: Contraction, target: Target) -> list[tuple[Left, Right]]:
    found_ways = [*ways(found, target), *((left, "columns") for left in lefts(found))]
    return list(dict.fromkeys([*found_ways, ("columns", "columns")]))


def kernel_of(laid: Laid, tiles: Tiles, target: Target) -> Kernel:
    text, signature = contraction.emit(contraction_of(laid, tiles.order), tiles, target)
    return Kernel(compile_text(text, target), signature)


def run(kernel: Kernel, laid: Laid, arrays: Sequence[np.ndarray]) -> np.ndarray:
    orders = [*laid.orders[:-1], *[laid.orders[-1]] * (len(arrays) - len(laid.orders) + 1)]
    inputs = [placed(a, o if a.ndim > 1 else (0,)) for a, o in zip(arrays, orders)]
    out = np.full([laid.shape[a] for a in laid.orders[-1]], np.nan, laid.dtype.compute)
    kernel.call([a.ctypes.data for a in (*inputs, out)], laid.values)
    return out.transpose(inverse(laid.orders[-1]))


def check(got: np.ndarray, want: np.ndarray, arrays: Sequence[np.ndarray], depth: int) -> None:
    """Within the rounding of so many products of such operands."""
    eps = np.finfo(got.dtype).eps
    largest = float(np.prod([np.abs(a).max(initial=1.0) for a in arrays[:2]]))
    bound = 4 * eps * max(depth, 1) * largest
    assert got.shape == want.shape
    assert not np.isnan(got).any()
    assert np.abs(got - want).max(initial=0.0) <= bound


def drawn(rng: np.random.Generator, shapes: Sequence[tuple[int, ...]]) -> list[np.ndarray]:
    return [rng.uniform(-1, 1, s).astype(np.float32) for s in shapes]


def reference(laid: Laid, arrays: Sequence[np.ndarray]) -> np.ndarray:
    return np.asarray(laid.op.reference(*(a.astype(np.float64) for a in arrays)))


# -- matrix products

SIZES = [
    (37, 50, 70),
    (8, 16, 48),
    (1, 100, 1),
    (1, 1, 1),
    (64, 9, 33),
    (0, 4, 4),
    (4, 0, 4),
    (4, 4, 0),
    (5, 17, 3),
    (19, 900, 65),
]
ORDERS = [((0, 1), (0, 1)), ((1, 0), (0, 1)), ((0, 1), (1, 0)), ((1, 0), (1, 0))]


@pytest.mark.parametrize("name", ["host", "avx2", "sse2"])
@pytest.mark.parametrize("orders", ORDERS, ids=str)
def test_products_of_matrices_in_every_way(
    name: str, orders: tuple[tuple[int, int], tuple[int, int]]
) -> None:
    if name not in targets():
        pytest.skip("not this machine")
    target = targets()[name]
    laid = Laid(Dot(), dtypes.float32, [(5, 6), (6, 7)], [*orders, (0, 1)])
    ways = possible(contraction_of(laid), target)
    for n, (left, right) in enumerate(ways):
        for way in WAYS if name == "host" else WAYS[n % len(WAYS) :][:1]:
            kernel = kernel_of(laid, replace(way, left=left, right=right), target)
            for m, k, columns in SIZES:
                arrays = drawn(np.random.default_rng(m + k), [(m, k), (k, columns)])
                here = Laid(Dot(), dtypes.float32, [(m, k), (k, columns)], [*orders, (0, 1)])
                got = run(kernel, here, arrays)
                check(got, reference(here, arrays), arrays, k)


@pytest.mark.parametrize("name", ["host", "avx2", "sse2"])
@pytest.mark.parametrize("way", WAYS, ids=str)
def test_results_may_be_neighbours_along_the_rows(name: str, way: Tiles) -> None:
    if name not in targets():
        pytest.skip("not this machine")
    target = targets()[name]
    orders = [(0, 1), (1, 0), (0, 1)]  # rows of both operands are multiplied
    laid = Laid(Dot(), dtypes.float32, [(5, 6), (6, 7)], orders)
    swapped = Order(swapped=True)
    for left, right in possible(contraction_of(laid, swapped), target)[
        :: 1 if name == "host" else 3
    ]:
        tiles = replace(way, left=left, right=right, order=swapped)
        kernel = kernel_of(laid, tiles, target)
        for m, k, columns in SIZES:
            arrays = drawn(np.random.default_rng(m + k), [(m, k), (k, columns)])
            here = Laid(Dot(), dtypes.float32, [(m, k), (k, columns)], orders)
            check(run(kernel, here, arrays), reference(here, arrays), arrays, k)


@pytest.mark.parametrize("near", [False, True])
@pytest.mark.parametrize("right", ["columns", "depth"])
@pytest.mark.parametrize("left", ["rows", "columns"])
def test_copies_that_are_ready_give_the_same_bits(near: bool, right: Right, left: Left) -> None:
    target = targets()["host"]
    orders = [(0, 1), (1, 0) if right == "depth" else (0, 1), (0, 1)]
    tiles = Tiles(5, 2, left, right, near=near, piece=384 if near else 0)
    laid = Laid(Dot(), dtypes.float32, [(5, 6), (6, 7)], orders)
    once = replace(tiles, ready=True, piece=1024 if near else 0)
    kernels = [kernel_of(laid, t, target) for t in (tiles, once)]
    assert [k.signature.stages for k in kernels] == [1 if near else 2, 2]
    for m, k, columns in (*SIZES, (33, 2500, 70)):
        arrays = drawn(np.random.default_rng(m + k), [(m, k), (k, columns)])
        here = Laid(Dot(), dtypes.float32, [(m, k), (k, columns)], orders)
        np.testing.assert_array_equal(*(run(kernel, here, arrays) for kernel in kernels))


@given(st.integers(0, 40), st.integers(0, 90), st.integers(0, 140), st.integers(1, 3), st.data())
@settings(max_examples=15)
def test_the_schedule_chosen_for_any_size(
    m: int, k: int, n: int, batch: int, data: st.DataObject
) -> None:
    left, right = (data.draw(st.permutations(range(3))) for _ in range(2))
    shapes = [(batch, m, k), (batch, k, n)]
    laid = Laid(Dot(), dtypes.float64, shapes, [tuple(left), tuple(right), (0, 1, 2)])
    target = targets()["host"]
    named = {a.name: v for a, v in zip(laid.nest.arguments, laid.values)}
    schedule = choose(laid.nest, named, target)
    made = compile_nest(laid.nest, target, schedule=schedule)
    arrays = [a.astype(np.float64) for a in drawn(np.random.default_rng(0), shapes)]
    got = run(Kernel(made.code, made.signature), laid, arrays)
    check(got, reference(laid, arrays), arrays, k)


# -- convolutions

CONVOLUTIONS = [
    # strides, padding, dilation, groups; input and kernel
    (((1, 1), ((1, 1), (1, 1)), (1, 1), 1), (2, 5, 6, 7), (9, 5, 3, 3)),
    (((2, 2), ((3, 3), (3, 3)), (1, 1), 1), (1, 3, 12, 11), (8, 3, 7, 7)),
    (((2, 1), ((0, 2), (1, 0)), (1, 2), 2), (2, 6, 7, 6), (4, 3, 2, 3)),
    (((1, 1), ((0, 0), (0, 0)), (1, 1), 1), (3, 16, 5, 4), (20, 16, 1, 1)),
    (((1, 1), ((0, 0), (0, 0)), (1, 1), 1), (2, 20, 9, 9), (17, 20, 5, 5)),
]


def operands(kind: str, how: tuple, x: tuple, w: tuple) -> tuple:  # type: ignore[type-arg]
    """The op, the shapes of its operands and their orders."""
    forward = Conv(*how)
    out = (x[0], w[0], *forward.result_size(x[2:], w[2:]))
    if kind == "forward":
        return forward, (x, w), (NHWC, HWIO, NHWC)
    if kind == "input":
        return ConvInputGrad(*how, x[2:]), (out, w), (NHWC, OHWI, NHWC)
    return ConvWeightGrad(*how, w[2:]), (x, out), (NHWC, NHWC, OHWI)


@pytest.mark.parametrize("kind", ["forward", "input", "weight"])
@pytest.mark.parametrize("case", CONVOLUTIONS, ids=str)
@pytest.mark.parametrize("last", [True, False], ids=["channels last", "channels first"])
def test_convolutions_in_every_way(kind: str, case: tuple, last: bool) -> None:  # type: ignore[type-arg]
    op, shapes, orders = operands(kind, *case)
    laid = Laid(op, dtypes.float32, shapes, orders if last else None)
    arrays = drawn(np.random.default_rng(1), shapes)
    want = reference(laid, arrays)
    target = targets()["host"]
    depth = int(np.prod(shapes[0])) * int(np.prod(shapes[1])) // max(want.size, 1)
    for swapped, inner, apart in itertools.product((False, True), range(3), (False, True)):
        order = Order(swapped, inner, apart)
        if recognise(laid.nest, order) is None:
            continue
        found = contraction_of(laid, order)
        for n, (left, right) in enumerate(possible(found, target)):
            way = WAYS[(n + inner) % len(WAYS)]
            way = replace(way, left=left, right=right, order=order)
            got = run(kernel_of(laid, way, target), laid, arrays)
            check(got, want, arrays, depth)


# -- what is fused


def test_bias_and_relu_and_a_residual_are_the_epilogue() -> None:
    shapes = [(2, 5, 6, 7), (9, 5, 3, 3)]
    how = ((1, 1), ((1, 1), (1, 1)), (1, 1), 1)
    laid = Laid(
        Conv(*how),
        dtypes.float32,
        shapes,
        (NHWC, HWIO, NHWC),
        lambda nest, s, i, more: nest.maximum(s + more[0][i[1]], 0) + more[1][i],
        [(9,), (2, 9, 6, 7)],
    )
    arrays = drawn(np.random.default_rng(2), [*shapes, (9,), (2, 9, 6, 7)])
    product = reference(laid, arrays[:2])
    want = np.maximum(product + arrays[2][:, None, None], 0) + arrays[3]
    target = targets()["host"]
    for way in WAYS:
        tiles = replace(way, left="taps")
        check(run(kernel_of(laid, tiles, target), laid, arrays), want, arrays, 99)


def test_what_an_epilogue_overwrites_is_loaded_before_it_stores() -> None:
    nest = NestBuilder("update")
    x, y, w = (nest.input(name, dtypes.float32, (1, 1)) for name in "xyw")
    new, twice = (nest.output(name, dtypes.float32, w.shape) for name in ("new", "twice"))
    with nest.loops(w.shape) as i:
        old = nest.let(w[i])
        total = nest.dot([x.shape[1]], lambda k: (x[i[0], k[0]], y[k[0], i[1]]))
        nest.store(new, i, total + old)
        nest.store(twice, i, old * 2)
    made = nest.build().nest
    assert ("w", "new") in replaceable(made)
    assert recognise(made) is not None
    a, b, c = drawn(np.random.default_rng(0), [(37, 20), (20, 50), (37, 50)])
    before, out = c.copy(), np.empty_like(c)
    given = {"x": a, "y": b, "w": c, "new": c, "twice": out}
    values = {p.name: given[p.name[0]].shape[int(p.name[-1])] for p in made.arguments}
    schedule = choose(made, values, host())
    assert isinstance(schedule, Tiles)
    compiled = compile_nest(made, host(), None, schedule)
    Kernel(compiled.code, compiled.signature).call(
        [array.ctypes.data for array in given.values()], list(values.values())
    )
    np.testing.assert_array_equal(out, before * 2)
    np.testing.assert_allclose(c, a @ b + before, rtol=1e-4, atol=1e-4)


def test_operands_may_be_any_expression() -> None:
    shapes = [(23, 34), (34, 45)]
    laid = Laid(
        Dot(),
        dtypes.float32,
        shapes,
        epilogue=lambda nest, s, i, more: nest.tanh(s),
        prologue=lambda nest, x: nest.exp(x) - 1,
    )
    arrays = drawn(np.random.default_rng(3), shapes)
    want = np.tanh(reference(laid, [np.expm1(a.astype(np.float64)) for a in arrays]))
    target = targets()["host"]
    found = contraction_of(laid)
    assert (lefts(found), rights(found, target)) == (("depth",), ("columns",))
    for way in WAYS:
        got = run(kernel_of(laid, replace(way, left="depth"), target), laid, arrays)
        check(got, want, [np.exp(1) * a for a in arrays], 34)


# -- work items


@pytest.mark.parametrize("way", WAYS, ids=str)
def test_items_may_run_in_any_order_and_in_ranges_of_any_size(way: Tiles) -> None:
    shapes = [(70, 800), (800, 130)]
    laid = Laid(Dot(), dtypes.float32, shapes)
    kernel = kernel_of(laid, way, targets()["host"])
    arrays = drawn(np.random.default_rng(4), shapes)
    alone = run(kernel, laid, arrays)
    out = np.full(laid.shape, np.nan, np.float32)
    scratch, shared, *work = kernel.sizes(laid.values)
    memory = [np.full(n + 64, 0xFF, np.uint8) for n in (scratch, scratch, shared)]
    places = [m.ctypes.data + -m.ctypes.data % 64 for m in memory]
    block = ctypes.create_string_buffer(kernel.block_bytes)
    addresses = [a.ctypes.data for a in (*arrays, out)]
    kernel.pack(block, 0, addresses, places[2], laid.values)
    function = ctypes.CFUNCTYPE(ctypes.c_int32, *[ctypes.c_void_p] * 2, *[ctypes.c_int64] * 2)
    rng = np.random.default_rng(5)
    for address, items in zip(kernel.stages, work[::2], strict=True):
        cuts = np.unique([0, items, *rng.integers(0, items + 1, 5)])
        ranges = list(itertools.pairwise(cuts))
        for n in rng.permutation(len(ranges)):
            begin, end = ranges[n]
            stage = function(address)
            assert stage(ctypes.addressof(block), places[n % 2], int(begin), int(end)) == 0
    np.testing.assert_array_equal(out, alone)


def test_the_interpreter_agrees() -> None:
    shapes = [(3, 4, 5), (3, 5, 6)]
    laid = Laid(
        Dot(), dtypes.float32, shapes, epilogue=lambda nest, s, i, more: s * 2 + i_of(nest, i)
    )
    arrays = drawn(np.random.default_rng(6), shapes)
    named = {a.name: v for a, v in zip(laid.nest.arguments, laid.values)}
    (want,) = interpret(laid.nest, arrays, named)
    got = run(kernel_of(laid, WAYS[0], targets()["host"]), laid, arrays)
    check(got, want, arrays, 40)


def i_of(nest, i):  # type: ignore[no-untyped-def]
    """A value made of the indices of the result."""
    return nest.cast(i[0] * 100 + i[1] * 10 + i[2], dtypes.float32)
