"""One or more rules of every kind, written as an op would write them, against NumPy."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
import pytest

from talweg.base import dtypes as d
from talweg.base.errors import IndexOutOfRange
from talweg.loops.build import NestBuilder
from talweg.loops.operand import Indices, Operand, Point
from talweg.loops.recipes import (
    arg_sort,
    concatenated,
    cumulative,
    padded,
    philox4x32,
    reshaped,
    scan,
    scatter,
    search_sorted,
)
from talweg.loops.scalar import Scalar, constant

Run = Callable[..., Any]


def rng() -> np.random.Generator:
    return np.random.default_rng(3)


def normal(*shape: int) -> np.ndarray:
    return rng().normal(size=shape).astype(np.float32)


# -- Elementwise, Generate


def test_elementwise_with_a_scalar_operand(run_rule: Run) -> None:
    def gelu(nest: NestBuilder, x: Scalar, scale: Scalar) -> Scalar:
        return x * (nest.erf(x / 1.4142135623730951) + 1) * 0.5 * scale

    x = normal(3, 4)
    got = run_rule(gelu, [x, np.float32(3).reshape(())], [(d.float32, (3, 4))], True)
    wide = x.astype(np.float64)
    erf = np.vectorize(math.erf)
    np.testing.assert_allclose(got, wide * (erf(wide / np.sqrt(2)) + 1) * 1.5, rtol=2e-6, atol=1e-7)


def test_iota_and_full(run_rule: Run) -> None:
    def iota(nest: NestBuilder) -> Point:
        return lambda i: nest.cast(i[1], d.int32)

    def full(nest: NestBuilder) -> Point:
        value = nest.number(2.5, d.float64)
        return lambda i: value

    assert run_rule(iota, [], [(d.int32, (2, 3))]).tolist() == [[0, 1, 2], [0, 1, 2]]
    assert run_rule(full, [], [(d.float64, (2,))]).tolist() == [2.5, 2.5]


@pytest.mark.parametrize(
    ("counter", "key", "expected"),
    [
        ([0] * 4, [0] * 2, "6627e8d5 e169c58d bc57ac4c 9b00dbd8"),
        ([0xFFFFFFFF] * 4, [0xFFFFFFFF] * 2, "408f276d 41c83b0e a20bc7c6 6d5451fd"),
        (
            [0x243F6A88, 0x85A308D3, 0x13198A2E, 0x03707344],
            [0xA4093822, 0x299F31D0],
            "d16cfe09 94fdcceb 5001e420 24126ea1",
        ),
    ],
)
def test_philox_gives_the_published_words(
    run_rule: Run, counter: list[int], key: list[int], expected: str
) -> None:
    def rule(nest: NestBuilder, c: Operand, k: Operand) -> None:
        words = philox4x32(nest, [c[[n]] for n in range(4)], [k[[n]] for n in range(2)])
        for n, word in enumerate(words):
            nest.store(nest.outputs[0], [n], word)

    arrays = [np.array(counter, np.uint32), np.array(key, np.uint32)]
    got = run_rule(rule, arrays, [(d.uint32, (4,))])
    assert " ".join(f"{int(word):08x}" for word in got) == expected


# -- Reduce


@pytest.mark.parametrize("axes", [(1,), (0, 2), (0, 1, 2), ()])
def test_sum_and_max(run_rule: Run, axes: tuple[int, ...]) -> None:
    x = normal(2, 3, 4)
    shape = tuple(n for a, n in enumerate(x.shape) if a not in axes)
    for name, reference in (("add", np.sum), ("maximum", np.max), ("mul", np.prod)):
        rule = partial(NestBuilder.reduction, combine=name, axes=axes)
        got = run_rule(rule, [x], [(d.float32, shape)])
        np.testing.assert_allclose(got, reference(x, axis=axes), rtol=1e-5)


def test_maximum_and_argmax_meet_nan_as_numpy_does(run_rule: Run) -> None:
    x = np.array([[1, 5, 5, 0], [3, np.nan, 9, np.nan], [-np.inf] * 4], np.float32)
    for name in ("argmax", "argmin"):
        rule = partial(NestBuilder.arg_reduction, combine=name, axes=(1,))
        got = run_rule(rule, [x], [(d.int64, (3,))])
        np.testing.assert_array_equal(got, getattr(np, name)(x, axis=1))
    got = run_rule(lambda nest, x: nest.reduction(x, "minimum", (1,)), [x], [(d.float32, (3,))])
    np.testing.assert_array_equal(got, np.min(x, axis=1))


def test_half_sums_are_taken_in_float32(run_rule: Run) -> None:
    x = np.full((3000,), 1.0, np.float16)
    got = run_rule(lambda nest, x: nest.reduction(x, "add", (0,)), [x], [(d.float16, ())])
    assert got == 3000  # in float16 the sum stops growing at 2048


def test_softmax_rows_in_one_kernel(run_rule: Run) -> None:
    def softmax(nest: NestBuilder, x: Operand) -> None:
        with nest.loop(x.shape[0]) as i:
            top = nest.fold("maximum", [x.shape[1]], lambda k: x[i, k[0]])
            total = nest.fold("add", [x.shape[1]], lambda k: nest.exp(x[i, k[0]] - top))
            with nest.loop(x.shape[1]) as j:
                nest.store(nest.outputs[0], (i, j), nest.exp(x[i, j] - top) / total)

    x = normal(3, 5)
    e = np.exp(x - x.max(1, keepdims=True))
    got = run_rule(softmax, [x], [(d.float32, (3, 5))])
    np.testing.assert_allclose(got, e / e.sum(1, keepdims=True), rtol=1e-6)


# -- View


SHAPES = [
    ((2, 6), (3, 4)), ((6,), (2, 3)), ((2, 3, 4), (6, 4)), ((4, 1), (2, 1, 2)), ((1, 1), ()),
    ((), (1, 1)), ((2, 3, 4), (4, 3, 2)), ((5, 1, 2), (5, 2)), ((0, 3), (2, 0)), ((1,), (1, 1)),
    ((3, 4, 5), (3, 2, 2, 5)),
]  # fmt: skip


@pytest.mark.parametrize(("old", "new"), SHAPES)
def test_reshape(run_rule: Run, old: tuple[int, ...], new: tuple[int, ...]) -> None:
    x = np.arange(int(np.prod(old)), dtype=np.int32).reshape(old)
    got = run_rule(lambda nest, x: reshaped(nest, x, nest.outputs[0].shape), [x], [(d.int32, new)])
    np.testing.assert_array_equal(got, x.reshape(new))


def test_permute_flip_and_expand(run_rule: Run) -> None:
    x = normal(2, 3, 1)

    def permute(nest: NestBuilder, x: Operand) -> Point:
        order = (2, 0, 1)  # result axis a is operand axis order[a]
        return lambda i: x[[i[order.index(a)] for a in range(3)]]

    def flip(nest: NestBuilder, x: Operand) -> Point:
        return lambda i: x[i[0], x.shape[1] - 1 - i[1], i[2]]

    def expand(nest: NestBuilder, x: Operand) -> Point:
        return lambda i: x[i[1], i[2], 0]

    np.testing.assert_array_equal(
        run_rule(permute, [x], [(d.float32, (1, 2, 3))]), x.transpose(2, 0, 1)
    )
    np.testing.assert_array_equal(run_rule(flip, [x], [(d.float32, x.shape)]), x[:, ::-1])
    np.testing.assert_array_equal(
        run_rule(expand, [x], [(d.float32, (4, 2, 3, 5))]), np.broadcast_to(x, (4, 2, 3, 1))
        + np.zeros((4, 2, 3, 5), np.float32),
    )  # fmt: skip


def test_slice_and_set_slice(run_rule: Run) -> None:
    x, update = normal(5, 8), normal(2, 3) + 10
    starts, steps = (1, 2), (3, 2)

    def slice_(nest: NestBuilder, x: Operand) -> Point:
        first = nest.numbers(starts)
        return lambda i: x[[at * s + a for at, s, a in zip(i, steps, first, strict=True)]]

    def set_slice(nest: NestBuilder, x: Operand, update: Operand) -> Point:
        return lambda i: padded(nest, update, starts, [s - 1 for s in steps], lambda: x[i])(i)

    got = run_rule(slice_, [x], [(d.float32, (2, 3))])
    np.testing.assert_array_equal(got, x[1:5:3, 2:8:2])
    expected = x.copy()
    expected[1:5:3, 2:8:2] = update
    np.testing.assert_array_equal(run_rule(set_slice, [x, update], [(d.float32, (5, 8))]), expected)


@pytest.mark.parametrize(("low", "high", "gap"), [(2, 1, 0), (0, 0, 2), (1, 3, 1), (-2, -1, 1)])
def test_pad_with_interior(run_rule: Run, low: int, high: int, gap: int) -> None:
    x = normal(4, 3)
    spread = np.full((4 + 3 * gap, 3), 7, np.float32)
    spread[:: gap + 1] = x
    expected = np.full((len(spread) + low + high, 3), 7, np.float32)
    expected[max(low, 0) : len(expected) - max(high, 0)] = spread[
        max(-low, 0) : len(spread) - max(-high, 0)
    ]
    got = run_rule(
        lambda nest, x: padded(nest, x, (low, 0), (gap, 0), 7), [x], [(d.float32, expected.shape)]
    )
    np.testing.assert_array_equal(got, expected)


def test_concatenate(run_rule: Run) -> None:
    parts = [normal(2, n, 2) for n in (1, 0, 3)]
    got = run_rule(lambda nest, *xs: concatenated(nest, xs, 1), parts, [(d.float32, (2, 4, 2))])
    np.testing.assert_array_equal(got, np.concatenate(parts, 1))


# -- Contract


def test_batched_dot_of_halves_accumulates_in_float32(run_rule: Run) -> None:
    def dot(nest: NestBuilder, x: Operand, y: Operand) -> Point:
        return lambda i: nest.dot(
            [x.shape[2]], lambda k: (x[i[0], i[1], k[0]], y[i[0], k[0], i[2]])
        )

    x, y = normal(2, 3, 40).astype(np.float16), normal(2, 40, 4).astype(np.float16)
    got = run_rule(dot, [x, y], [(d.float16, (2, 3, 4))])
    exact = x.astype(np.float32) @ y.astype(np.float32)
    np.testing.assert_allclose(got.astype(np.float32), exact, rtol=1e-3, atol=1e-3)


STRIDE, PADDING, DILATION, GROUPS = (2, 1), (1, 2), (1, 2), 2


def conv(nest: NestBuilder, x: Operand, w: Operand) -> Point:
    """y[n, o, p] = sum over c, k of x[n, group(o) C + c, p stride + k dilation - pad] w[o, c, k]"""
    size, pad = w.shape[0] // GROUPS, nest.numbers(PADDING)

    def point(i: Indices) -> Scalar:
        n, o, *p = i

        def pair(at: Indices) -> tuple[Scalar, Scalar]:
            c, *k = at
            rows = zip(p, STRIDE, k, DILATION, pad, strict=True)
            place = [a * s + b * t - q for a, s, b, t, q in rows]
            channel = o // size * w.shape[1] + c
            return nest.within(x, [n, channel, *place], axes=(2, 3)), w[[o, c, *k]]

        return nest.dot(w.shape[1:], pair)

    return point


def conv_by_input(nest: NestBuilder, dy: Operand, w: Operand) -> Point:
    """dx[n, c, q]: the sum over the o of c's group and over k of dy[n, o, p] w[o, c', k], where
    p stride = q + pad - k dilation."""
    size, pad = w.shape[0] // GROUPS, nest.numbers(PADDING)

    def point(i: Indices) -> Scalar:
        n, c, *q = i

        def pair(at: Indices) -> tuple[Scalar, Scalar]:
            o, *k = at
            filter_ = c // w.shape[1] * size + o
            rows = zip(q, pad, k, DILATION, strict=True)
            place = [a + b - e * t for a, b, e, t in rows]
            exact = nest.all([nest.eq(a % s, 0) for a, s in zip(place, STRIDE, strict=True)])
            source = [n, filter_, *(a // s for a, s in zip(place, STRIDE, strict=True))]
            value = nest.select(exact, lambda: nest.within(dy, source, axes=(2, 3)), 0.0)
            return value, w[[filter_, c % w.shape[1], *k]]

        return nest.dot([size, *w.shape[2:]], pair)

    return point


def conv_by_weight(nest: NestBuilder, dy: Operand, x: Operand) -> Point:
    """dw[o, c, k]: the sum over n and p of dy[n, o, p] x[n, ..., p stride + k dilation - pad]."""
    filters, channels = nest.outputs[0].shape[:2]
    pad = nest.numbers(PADDING)

    def point(i: Indices) -> Scalar:
        o, c, *k = i

        def pair(at: Indices) -> tuple[Scalar, Scalar]:
            n, *p = at
            rows = zip(p, STRIDE, k, DILATION, pad, strict=True)
            place = [a * s + b * t - q for a, s, b, t, q in rows]
            channel = o // (filters // GROUPS) * channels + c
            return dy[[n, o, *p]], nest.within(x, [n, channel, *place], axes=(2, 3))

        return nest.dot([dy.shape[0], *dy.shape[2:]], pair)

    return point


def _conv_terms() -> Any:
    """Every (output place, input place, weight place) of the convolution, by counting."""
    (n, o, c, h, w, kh, kw), (oh, ow) = (2, 4, 2, 4, 3, 3, 2), (2, 5)
    for b, f, e, p0, p1, k0, k1 in itertools.product(*map(range, (n, o, c, oh, ow, kh, kw))):
        y0 = p0 * STRIDE[0] + k0 * DILATION[0] - PADDING[0]
        y1 = p1 * STRIDE[1] + k1 * DILATION[1] - PADDING[1]
        if 0 <= y0 < h and 0 <= y1 < w:
            yield (b, f, p0, p1), (b, f // (o // GROUPS) * c + e, y0, y1), (f, e, k0, k1)


def test_grouped_strided_dilated_convolution_and_both_gradients(run_rule: Run) -> None:
    x, w, dy = normal(2, 4, 4, 3), normal(4, 2, 3, 2), normal(2, 4, 2, 5)
    y, dx, dw = (np.zeros(a.shape) for a in (dy, x, w))
    for at_y, at_x, at_w in _conv_terms():
        y[at_y] += x[at_x] * w[at_w]
        dx[at_x] += dy[at_y] * w[at_w]
        dw[at_w] += dy[at_y] * x[at_x]
    f = d.float32
    got = run_rule(conv, [x, w], [(f, y.shape)])
    np.testing.assert_allclose(got, y, rtol=1e-4, atol=1e-4)
    got = run_rule(conv_by_input, [dy, w], [(f, x.shape)])
    np.testing.assert_allclose(got, dx, rtol=1e-4, atol=1e-4)
    got = run_rule(conv_by_weight, [dy, x], [(f, w.shape)])
    np.testing.assert_allclose(got, dw, rtol=1e-4, atol=1e-4)


# -- Window


def test_max_pooling_with_positions_that_padding_never_wins(run_rule: Run) -> None:
    def pool(nest: NestBuilder, x: Operand) -> Point:
        low, none = nest.constant(-np.inf, x.dtype), nest.constant(2**63 - 1, d.int64)

        def point(i: Indices) -> tuple[Scalar, Scalar]:
            def place(k: Indices) -> Scalar:
                return i[1] * 2 + k[0] - 1

            return nest.arg_fold(
                "argmax",
                [3],
                lambda k: nest.within(x, [i[0], place(k)], low, axes=[1]),
                lambda k: nest.select(nest.inside([place(k)], [x.shape[1]]), place(k), none),
            )

        return point

    x = normal(2, 7)
    x[1] = -np.inf
    filled = np.pad(x, ((0, 0), (1, 1)), constant_values=-np.inf)
    windows = np.lib.stride_tricks.sliding_window_view(filled, 3, 1)[:, ::2]
    best, at = run_rule(pool, [x], [(d.float32, (2, 4)), (d.int64, (2, 4))])
    np.testing.assert_array_equal(best, windows.max(-1))
    np.testing.assert_array_equal(at[0], windows[0].argmax(-1) + np.arange(4) * 2 - 1)
    assert at[1].tolist() == [0, 1, 3, 5]


# -- Gather, Scatter


def take(nest: NestBuilder, x: Operand, index: Operand) -> Point:
    return lambda i: x[nest.bounded(index[[i[0]]], x.shape[0], 0, wrap=True), i[1]]


def test_gather_wraps_and_checks(run_rule: Run) -> None:
    x, index = normal(4, 3), np.array([3, 0, -1, 3, -4], np.int32)
    np.testing.assert_array_equal(run_rule(take, [x, index], [(d.float32, (5, 3))]), x[index])
    with pytest.raises(IndexOutOfRange, match="index 4 is out of range for axis 0 of size 4"):
        run_rule(take, [x, np.array([4], np.int64)], [(d.float32, (1, 3))])


@pytest.mark.parametrize("combine", ["add", "set", "maximum"])
def test_scatter_in_index_order(run_rule: Run, combine: str) -> None:
    def rule(nest: NestBuilder, x: Operand, index: Operand, updates: Operand) -> None:
        def place(i: Indices) -> tuple[Scalar, ...]:
            return i[0], nest.bounded(index[i[1], i[2]], x.shape[1], 1), i[3]

        scatter(nest, x, updates, place, combine, ordered=(1, 2))

    x, index, updates = normal(2, 4, 3), np.array([[1, 3, 1], [1, 0, 3]]), normal(2, 2, 3, 3) * 3
    expected = x.copy()
    for a, b, c, e in np.ndindex(updates.shape):
        old, new = expected[a, index[b, c], e], updates[a, b, c, e]
        folded = {"add": old + new, "set": new, "maximum": max(old, new)}[combine]
        expected[a, index[b, c], e] = folded
    got = run_rule(rule, [x, index, updates], [(d.float32, x.shape)])
    np.testing.assert_allclose(got, expected, rtol=1e-6)
    with pytest.raises(IndexOutOfRange, match="index -1 is out of range for axis 1"):
        run_rule(rule, [x, index * 0 - 1, updates], [(d.float32, x.shape)])


def test_half_updates_add_up_in_float32(run_rule: Run) -> None:
    def rule(nest: NestBuilder, x: Operand, updates: Operand) -> None:
        zero = nest.constant(0, d.int64)
        scatter(nest, x, updates, lambda i: [zero], "add", ordered=(0,))

    arrays = [np.zeros(1, np.float16), np.ones(2100, np.float16)]
    assert run_rule(rule, arrays, [(d.float16, (1,))]) == 2100


@pytest.mark.parametrize("right", [False, True])
def test_search_in_sorted_rows(run_rule: Run, right: bool) -> None:
    def rule(nest: NestBuilder, rows: Operand, values: Operand) -> Point:
        def point(i: Indices) -> Scalar:
            value = nest.let(values[i])
            return search_sorted(
                nest,
                lambda k: rows[i[0], k],
                rows.shape[1],
                (lambda e: e <= value) if right else (lambda e: e < value),
            )

        return point

    for count in (0, 1, 5, 8):
        rows = np.sort(rng().integers(0, 6, (2, count)), 1)
        values = np.array([np.arange(-1, 7)] * 2)
        got = run_rule(rule, [rows, values], [(d.int64, values.shape)])
        side = "right" if right else "left"
        expected = [np.searchsorted(r, v, side) for r, v in zip(rows, values, strict=True)]
        np.testing.assert_array_equal(got, expected)


# -- Scan


def test_cumulative_sum_and_maximum(run_rule: Run) -> None:
    x = normal(2, 5, 3)
    for name, reference in (("add", np.cumsum), ("maximum", np.maximum.accumulate)):
        rule = partial(cumulative, combine=name, axis=1)
        got = run_rule(rule, [x], [(d.float32, x.shape)])
        np.testing.assert_allclose(got, reference(x, axis=1), rtol=1e-5)
    ones = np.ones((2100,), np.float16)
    got = run_rule(partial(cumulative, combine="add", axis=0), [ones], [(d.float16, ones.shape)])
    np.testing.assert_array_equal(got, np.cumsum(ones, dtype=np.float32).astype(np.float16))


def test_scan_with_two_states(run_rule: Run) -> None:
    def rule(nest: NestBuilder, x: Operand) -> None:
        def step(at: Indices, place: Scalar, best: Scalar) -> list[Scalar]:
            value = nest.let(x[at])
            wins = nest.logical_or(value >= best, nest.isnan(value))
            return [nest.select(wins, at[1], place), nest.select(wins, value, best)]

        scan(nest, x, 1, [nest.constant(0, d.int64), nest.constant(-np.inf, x.dtype)], step)

    x = np.array([[1, 3, 3, 2, np.nan, 9], [-np.inf, 0, -1, 0, 5, 4]], np.float32)
    places = run_rule(rule, [x], [(d.int64, x.shape)])
    assert places.tolist() == [[0, 1, 2, 2, 4, 4], [0, 1, 1, 3, 4, 4]]


@pytest.mark.parametrize("count", [0, 1, 2, 7, 8, 13])
@pytest.mark.parametrize("descending", [False, True])
def test_sort_is_stable_and_puts_nan_on_top(run_rule: Run, count: int, descending: bool) -> None:
    x = rng().integers(0, 5, (2, count)).astype(np.float32)
    x[:, 3:6:2] = np.nan
    rule = partial(arg_sort, axis=1, descending=descending)
    got = run_rule(rule, [x], [(d.int64, x.shape)])
    key = np.where(np.isnan(x), 9, x) * (-1 if descending else 1)
    np.testing.assert_array_equal(got, np.argsort(key, axis=1, kind="stable"))


def test_sort_of_integers_along_the_first_axis(run_rule: Run) -> None:
    x = rng().integers(-9, 9, (11, 2))
    got = run_rule(partial(arg_sort, axis=0), [x], [(d.int32, x.shape)])
    np.testing.assert_array_equal(got, np.argsort(x, 0, kind="stable"))


# -- Fusion


def test_a_reduction_reads_a_padded_product_without_storing_it(run_rule: Run) -> None:
    def rule(nest: NestBuilder, x: Operand, y: Operand) -> Point:
        product = Operand(x.dtype, x.shape, lambda i: nest.let(x[i] * y[i]))
        pad = padded(nest, product, (1, 1), (0, 0), constant(5, x.dtype))
        wide = Operand(x.dtype, tuple(n + 1 for n in x.shape), pad)
        return nest.reduction(wide, "add", (0,))

    x, y = normal(3, 2), normal(3, 2)
    expected = np.pad(x * y, ((1, 0), (1, 0)), constant_values=5).sum(0)
    np.testing.assert_allclose(run_rule(rule, [x, y], [(d.float32, (3,))]), expected, rtol=1e-6)
