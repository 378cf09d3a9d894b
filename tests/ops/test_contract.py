"""Dot and the convolutions equal their definitions, element by element; shapes that do not fit."""

from __future__ import annotations

from itertools import product
from typing import Any

import numpy as np
import pytest

from talweg.base import dtypes
from talweg.base.errors import DTypeError, ShapeError
from talweg.ir.types import tensor_type
from talweg.ops import contract
from talweg.ops.contract import Conv, ConvInputGrad, ConvWeightGrad, Dot

# strides, padding, dilation, groups; shape of x, shape of weight
CASES: list[tuple[Any, tuple[int, ...], tuple[int, ...]]] = [
    (((1,), ((0, 0),), (1,), 1), (2, 3, 6), (4, 3, 3)),
    (((3,), ((2, 0),), (2,), 2), (3, 4, 9), (2, 2, 3)),
    (((1,), ((4, 4),), (1,), 1), (2, 1, 2), (1, 1, 3)),
    (((1, 1), ((0, 0), (0, 0)), (1, 1), 1), (3, 2, 5, 20), (3, 2, 3, 3)),
    (((2, 1), ((1, 0), (0, 2)), (1, 2), 1), (2, 3, 5, 6), (2, 3, 2, 3)),
    (((1, 2), ((1, 1), (1, 1)), (1, 1), 4), (2, 4, 4, 5), (8, 1, 3, 3)),
    (((2, 2), ((0, 0), (0, 0)), (1, 1), 1), (2, 3, 5, 40), (4, 3, 1, 1)),
    (((1, 2, 1), ((1, 0), (0, 0), (0, 1)), (1, 1, 2), 2), (2, 2, 3, 4, 4), (4, 1, 2, 2, 2)),
    (((2, 1), ((0, 0), (1, 1)), (0, 0), 1), (2, 3, 5, 6), (4, 3, 1, 1)),
    (((1, 2), ((1, 1), (0, 1)), (1, 0), 0), (2, 3, 4, 5), (3, 1, 3, 1)),
]


def draw(shape: tuple[int, ...], seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).standard_normal(shape)


def table(how: Any, x: tuple[int, ...], weight: tuple[int, ...]) -> list[tuple[Any, Any, Any]]:
    """Every product of the definition: the places in the input, the kernel and the output."""
    strides, padding, dilation, groups = how
    groups = groups or x[1]
    sizes = [
        (n + a + z - d * (k - 1) - 1) // s + 1
        for n, k, s, (a, z), d in zip(x[2:], weight[2:], strides, padding, dilation)
    ]
    rows = []
    for n, o, p in product(range(x[0]), range(weight[0]), np.ndindex(*sizes)):
        first = o // (weight[0] // groups) * weight[1]
        for c, k in product(range(weight[1]), np.ndindex(*weight[2:])):
            at = tuple(
                i * s + j * d - a for i, j, s, (a, _), d in zip(p, k, strides, padding, dilation)
            )
            if all(0 <= i < m for i, m in zip(at, x[2:])):
                rows.append(((n, first + c, *at), (o, c, *k), (n, o, *p)))
    return rows


@pytest.mark.parametrize("case", CASES, ids=str)
@pytest.mark.parametrize("columns", [1, 1 << 20])
def test_conv_and_its_partners_equal_their_definitions(
    case: Any, columns: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(contract, "_COLUMNS", columns)
    how, x_shape, w_shape = case
    x, w = draw(x_shape), draw(w_shape, 1)
    spatial = Conv(*how).result_size(x_shape[2:], w_shape[2:])
    ct = draw((x_shape[0], w_shape[0], *spatial), 2)
    y, for_x, for_w = np.zeros_like(ct), np.zeros_like(x), np.zeros_like(w)
    for i, k, o in table(how, x_shape, w_shape):
        y[o] += x[i] * w[k]
        for_x[i] += ct[o] * w[k]
        for_w[k] += ct[o] * x[i]
    np.testing.assert_allclose(Conv(*how).reference(x, w), y, atol=1e-12)
    got = ConvInputGrad(*how, x_shape[2:]).reference(ct, w)
    np.testing.assert_allclose(got, for_x, atol=1e-12)
    got = ConvWeightGrad(*how, w_shape[2:]).reference(x, ct)
    np.testing.assert_allclose(got, for_w, atol=1e-12)


def test_dot_keeps_integers_and_wraps() -> None:
    x = np.full((2, 3), 100, np.int8)
    got = Dot().reference(x, x.T)
    assert got.dtype == np.int8
    np.testing.assert_array_equal(got, np.full((2, 2), 30000 - 117 * 256))


def test_half_types_accumulate_in_float32() -> None:
    # In float16, 2048 + 1 is 2048.
    ones = np.ones((1, 4096), np.float16)
    assert Dot().reference(ones, ones.T).item() == 4096
    how = (1,), ((0, 0),), (1,), 1
    x, w = ones.reshape(1, 4096, 1), ones.reshape(1, 4096, 1)
    assert Conv(*how).reference(x, w).item() == 4096
    many = np.ones((4096, 1, 1), np.float16)
    assert ConvWeightGrad(*how, (1,)).reference(many, many).item() == 4096
    wide = np.ones((4096, 1, 1), np.float16)
    assert ConvInputGrad(*how, (1,)).reference(ones.reshape(1, 4096, 1), wide).item() == 4096


def f32(*shape: int) -> Any:
    return tensor_type(dtypes.float32, shape)


HOW = (1, 1), ((0, 0), (0, 0)), (1, 1), 1


@pytest.mark.parametrize(
    ("op", "types", "words"),
    [
        (Dot(), (f32(2, 3), f32(4, 2)), "3 columns.*4 rows"),
        (Dot(), (f32(3), f32(3, 2)), "equal batch axes"),
        (Dot(), (f32(1, 2, 3), f32(2, 3, 2)), "equal batch axes"),
        (Conv(*HOW), (f32(1, 3, 5, 5), f32(4, 2, 3, 3)), r"needs 2 input channels.*\(1, 3, 5, 5\)"),
        (Conv(*HOW), (f32(1, 3, 5), f32(4, 3, 3)), "4 dimensions"),
        (Conv(*HOW), (f32(1, 3, 2, 5), f32(4, 3, 3, 3)), r"\(3, 3\).*does not fit.*\(2, 5\)"),
        (Conv(*HOW[:3], 2), (f32(1, 4, 5, 5), f32(3, 2, 3, 3)), "divisible by 2"),
        (Conv((1, 1), HOW[1], (1, 0), 1), (f32(1, 3, 5, 5), f32(4, 3, 3, 3)), "dilation"),
        (Conv(*HOW[:3], 0), (f32(1, 3, 5, 5), f32(6, 1, 3, 3)), "single channels"),
        (Conv((0, 1), *HOW[1:]), (f32(1, 3, 5, 5), f32(4, 3, 3, 3)), "at least 1"),
        (ConvInputGrad(*HOW, (6, 5)), (f32(1, 4, 3, 3), f32(4, 3, 3, 3)), r"\(4, 4, 3\)"),
        (ConvWeightGrad(*HOW, (3, 3)), (f32(1, 3, 5, 5), f32(2, 4, 3, 3)), "but the cotangent"),
    ],
)
def test_shapes_that_do_not_fit(op: Any, types: Any, words: str) -> None:
    with pytest.raises(ShapeError, match=words):
        op.infer(*types)


def test_dtypes_that_do_not_fit() -> None:
    with pytest.raises(DTypeError, match=r"float32.*float64"):
        Dot().infer(f32(2, 2), tensor_type(dtypes.float64, (2, 2)))
    with pytest.raises(DTypeError, match="bool"):
        Dot().infer(*(tensor_type(dtypes.bool_, (2, 2)),) * 2)
