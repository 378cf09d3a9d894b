"""Window ops equal loops over windows; ties, NaN, infinities and windows in the padding."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest

from talweg.base import dtypes
from talweg.base.errors import DTypeError, ShapeError
from talweg.ir.types import tensor_type
from talweg.ops.window import WindowArgMax, WindowMax, WindowMaxGrad, WindowSpread, WindowSum

# window, strides, padding, dilation; shape
CASES: list[tuple[Any, tuple[int, ...]]] = [
    (((2,), (2,), ((0, 0),), (1,)), (3, 6)),
    (((3,), (1,), ((1, 2),), (1,)), (5,)),
    (((2, 2), (2, 2), ((0, 0), (0, 0)), (1, 1)), (2, 3, 4, 6)),
    (((3, 2), (2, 1), ((1, 1), (0, 1)), (1, 3)), (2, 5, 6)),
    (((2, 3), (3, 2), ((0, 1), (1, 1)), (2, 1)), (1, 2, 6, 5)),
    (((2, 1, 3), (1, 2, 1), ((1, 0), (0, 0), (1, 1)), (1, 1, 1)), (2, 3, 4, 3)),
]


def places(fields: Any, shape: tuple[int, ...]) -> Iterator[tuple[Any, list[Any]]]:
    """For each window its index and the places inside the operand, in row-major order."""
    window, strides, padding, dilation = fields
    spatial = shape[-len(window) :]
    counts = [
        (n + a + z - d * (k - 1) - 1) // s + 1
        for n, k, s, (a, z), d in zip(spatial, window, strides, padding, dilation)
    ]
    for at in np.ndindex(*counts):
        taps = [
            tuple(
                i * s - a + j * d for i, j, s, (a, _), d in zip(at, tap, strides, padding, dilation)
            )
            for tap in np.ndindex(*window)
        ]
        yield at, [t for t in taps if all(0 <= i < n for i, n in zip(t, spatial))]


@pytest.mark.parametrize("case", CASES, ids=str)
@pytest.mark.parametrize("kind", ["distinct", "ties", "int8", "nan", "infinite"])
def test_max_and_arg_max_equal_loops(case: Any, kind: str) -> None:
    fields, shape = case
    rng = np.random.default_rng(3)
    x = rng.standard_normal(shape)
    if kind == "ties":
        x = np.round(x)
    elif kind == "int8":
        x = rng.integers(-128, -126, shape).astype(np.int8)
    elif kind == "nan":
        x[rng.random(shape) < 0.3] = np.nan
    elif kind == "infinite":
        x = np.where(rng.random(shape) < 0.7, -np.inf, x)
    largest, index = WindowMax(*fields).reference(x), WindowArgMax(*fields).reference(x)
    assert largest.dtype == x.dtype
    assert index.dtype == np.int64
    spatial = shape[-len(fields[0]) :]
    for lead in np.ndindex(*shape[: -len(spatial)]):
        for at, inside in places(fields, shape):
            values = [x[lead + p] for p in inside]
            nans = [i for i, v in enumerate(values) if v != v]
            best = nans[-1] if nans else values.index(max(values))
            np.testing.assert_array_equal(largest[lead + at], values[best])
            assert index[lead + at] == np.ravel_multi_index(inside[best], spatial)


@pytest.mark.parametrize("kind", ["distinct", "ties", "nan"])
def test_the_gradient_of_a_maximum_goes_to_one_place_of_each_window(kind: str) -> None:
    fields, shape = (((2, 3), (2, 3), ((0, 0), (0, 0)), (1, 1))), (3, 4, 6)
    rng = np.random.default_rng(6)
    x = rng.standard_normal(shape)
    if kind == "ties":
        x = np.round(x)
    elif kind == "nan":
        x[rng.random(shape) < 0.3] = np.nan
    ct = rng.standard_normal((3, 2, 2))
    wanted = np.zeros(shape)
    for lead in range(3):
        for at, inside in places(fields, shape):
            values = [x[(lead, *p)] for p in inside]
            nans = [i for i, v in enumerate(values) if v != v]
            best = nans[-1] if nans else values.index(max(values))
            wanted[(lead, *inside[best])] = ct[(lead, *at)]
    np.testing.assert_array_equal(WindowMaxGrad(*fields).reference(x, ct), wanted)


@pytest.mark.parametrize("case", CASES, ids=str)
def test_sum_and_spread_equal_loops(case: Any) -> None:
    fields, shape = case
    x = np.random.default_rng(4).standard_normal(shape)
    total = WindowSum(*fields).reference(x)
    y = np.random.default_rng(5).standard_normal(total.shape)
    spatial = shape[-len(fields[0]) :]
    back = WindowSpread(*fields, spatial).reference(y)
    want, spread = np.zeros_like(total), np.zeros_like(x)
    for at, inside in places(fields, shape):
        for p in inside:
            want[(..., *at)] += x[(..., *p)]
            spread[(..., *p)] += y[(..., *at)]
    np.testing.assert_allclose(total, want, atol=1e-12)
    np.testing.assert_allclose(back, spread, atol=1e-12)


def test_half_sums_accumulate_in_float32() -> None:
    x = np.ones((1, 4096), np.float16)
    fields = (4096,), (1,), ((0, 0),), (1,)
    assert WindowSum(*fields).reference(x).item() == 4096
    wide = (4096,), (1,), ((4095, 4095),), (1,)
    assert WindowSpread(*wide, (1,)).reference(np.ones((1, 4096), np.float16)).item() == 4096


def f32(*shape: int) -> Any:
    return tensor_type(dtypes.float32, shape)


@pytest.mark.parametrize(
    ("op", "operand", "words"),
    [
        (WindowMax((3,), (1,), ((0, 0),), (1,)), f32(2, 2), r"\(3,\).*does not fit.*\(2,\)"),
        (WindowMax((2,), (1,), ((2, 0),), (1,)), f32(4), "fully in the padding"),
        (WindowArgMax((2,), (1,), ((2, 0),), (1,)), f32(4), "fully in the padding"),
        (WindowMax((2,), (0,), ((0, 0),), (1,)), f32(4), "at least 1"),
        (WindowMax((2, 2), (1,), ((0, 0),), (1,)), f32(4, 4), "do not fit shape"),
        (WindowSum((2, 2), (1, 1), ((0, 0),) * 2, (1, 1)), f32(4), "do not fit shape"),
        (WindowSpread((2,), (2,), ((0, 0),), (1,), (5,)), f32(3), r"gives \(2,\)"),
    ],
)
def test_shapes_that_do_not_fit(op: Any, operand: Any, words: str) -> None:
    with pytest.raises(ShapeError, match=words):
        op.infer(operand)


def test_complex_values_have_no_maximum() -> None:
    with pytest.raises(DTypeError, match="complex64"):
        WindowMax((1,), (1,), ((0, 0),), (1,)).infer(tensor_type(dtypes.complex64, (2,)))
