"""What elementwise ops do where samples do not go: kinks, poles, NaN, integer edges.

The numbers are those of PyTorch 2.13, but for integer division by zero, where PyTorch raises.
"""

from __future__ import annotations

import numpy as np
import pytest

from talweg.autodiff.reverse import vjp
from talweg.base import dtypes
from talweg.base.dtypes import DType
from talweg.ir.interpret import interpret
from talweg.ir.node import Graph, input_node
from talweg.ir.types import tensor_type
from talweg.ops import OpBuilder

NAN, INF = np.nan, np.inf
F64 = dtypes.float64


def results(name: str, operands: tuple[list[complex], ...], dtype: DType) -> np.ndarray:
    arrays = [np.array(o, dtype.compute) for o in operands]
    inputs = [input_node(tensor_type(dtype, a.shape)) for a in arrays]
    return interpret(Graph(inputs, [getattr(OpBuilder(), name)(*inputs)]), arrays)[0]


def gradients(name: str, operands: tuple[list[complex], ...], dtype: DType) -> list[np.ndarray]:
    arrays = [np.array(o, dtype.compute) for o in operands]
    inputs = [input_node(tensor_type(dtype, a.shape)) for a in arrays]
    b = OpBuilder()
    out = getattr(b, name)(*inputs)
    ct = b.expand(b.scalar(1, out.dtype), out.shape)
    made = vjp(b, [out], inputs, [ct])
    return interpret(Graph(inputs, [g for g in made if g is not None]), arrays)


@pytest.mark.parametrize(
    ("name", "operands", "expected"),
    [
        ("abs", ([0.0, NAN, -0.0],), [[0.0, 0.0, 0.0]]),
        ("sign", ([0.0, NAN],), [[0.0, 0.0]]),
        ("floor", ([3.0, 0.5],), [[0.0, 0.0]]),
        ("round", ([0.5, 1.5],), [[0.0, 0.0]]),
        ("sqrt", ([0.0],), [[INF]]),
        ("lgamma", ([0.0],), [[-INF]]),
        ("erfinv", ([1.0, -1.0],), [[INF, INF]]),
        ("maximum", ([1, NAN, 1, 2], [1, 1, NAN, 1]), [[0.5, 1, 1, 1], [0.5, 1, 1, 0]]),
        ("minimum", ([1, NAN, 1, 2], [1, 1, NAN, 1]), [[0.5, 1, 1, 0], [0.5, 1, 1, 1]]),
        ("atan2", ([0.0, 1.0], [0.0, NAN]), [[0.0, NAN], [0.0, NAN]]),
        ("mod", ([5.0, -5.0], [3.0, 3.0]), [[1.0, 1.0], [-1.0, 2.0]]),
        ("fmod", ([5.0, -5.0], [3.0, 3.0]), [[1.0, 1.0], [-1.0, 1.0]]),
        ("floor_div", ([6.0, 7.0], [3.0, 2.0]), [[0.0, 0.0], [0.0, 0.0]]),
        (
            "pow",
            ([0, 0, 0, NAN, 2, -2, -2], [0, 1, 2, 0, 0, 2, 0]),
            [[0, 1, 0, 0, 0, -4, 0], [0, 0, 0, NAN, np.log(2), NAN, NAN]],
        ),
    ],
)
def test_gradients_at_kinks_poles_and_nan(
    name: str, operands: tuple[list[complex], ...], expected: list[list[float]]
) -> None:
    for got, want in zip(gradients(name, operands, F64), expected, strict=True):
        np.testing.assert_allclose(got, want, rtol=1e-15)


def test_the_gradient_of_complex_abs_is_the_direction_and_zero_at_zero() -> None:
    (got,) = gradients("abs", ([0, 3 + 4j, -2j],), dtypes.complex128)
    np.testing.assert_allclose(got, [0, 0.6 + 0.8j, -1j], rtol=1e-15)


def test_where_gives_the_operand_not_chosen_zero_even_for_a_nan_cotangent() -> None:
    b = OpBuilder()
    condition = input_node(tensor_type(dtypes.bool_, (2,)))
    x, y, ct = (input_node(tensor_type(F64, (2,))) for _ in range(3))
    made = vjp(b, [b.where(condition, x, y)], [x, y], [ct])
    graph = Graph([condition, x, y, ct], [g for g in made if g is not None])
    arrays = [np.array([True, False]), np.ones(2), np.ones(2), np.array([NAN, 2.0])]
    by_x, by_y = interpret(graph, arrays)
    np.testing.assert_array_equal(by_x, [NAN, 0.0])
    np.testing.assert_array_equal(by_y, [0.0, 2.0])


@pytest.mark.parametrize(
    ("name", "operands", "expected"),
    [
        ("sign", ([NAN, -0.0, 0.0, -3.0],), [0.0, 0.0, 0.0, -1.0]),
        ("round", ([0.5, 1.5, 2.5, -0.5],), [0.0, 2.0, 2.0, -0.0]),
        ("trunc", ([-1.5, 1.5],), [-1.0, 1.0]),
        ("maximum", ([NAN, 1.0], [1.0, NAN]), [NAN, NAN]),
        ("minimum", ([NAN, 1.0], [1.0, NAN]), [NAN, NAN]),
        ("mod", ([5, -5, 5, -5, 1, INF, 5, -5], [INF, INF, -INF, -INF, 0, 2, -3, 3]),
         [5, INF, -INF, -5, NAN, NAN, -1, 1]),
        ("fmod", ([5, -5, 5, -5, 1, INF, 5, -5], [INF, INF, -INF, -INF, 0, 2, -3, 3]),
         [5, -5, 5, -5, NAN, NAN, 2, -2]),
        ("floor_div", ([5, -5, 1, -1, 0], [INF, INF, 0, 0, 0]), [0, -1, INF, -INF, NAN]),
        ("div", ([1.0, -1.0, 0.0], [0.0, 0.0, 0.0]), [INF, -INF, NAN]),
        ("pow", ([NAN, -2.0, -2.0, 0.0], [0.0, 3.0, 0.5, -1.0]), [1.0, -8.0, NAN, INF]),
        ("rsqrt", ([0.0, -0.0, -1.0],), [INF, -INF, NAN]),
        ("log", ([0.0, -1.0],), [-INF, NAN]),
        ("sigmoid", ([-1000.0, 1000.0, 0.0, NAN],), [0.0, 1.0, 0.5, NAN]),
        ("erfinv", ([1.0, -1.0, 1.5],), [INF, -INF, NAN]),
        ("lgamma", ([0.0, -1.0, INF],), [INF, INF, INF]),
        ("digamma", ([0.0, -0.0, -1.0],), [-INF, INF, NAN]),
        ("atan2", ([0.0, -0.0, 0.0], [-0.0, -0.0, 0.0]), [np.pi, -np.pi, 0.0]),
    ],
)  # fmt: skip
def test_floating_values_at_the_edges(
    name: str, operands: tuple[list[complex], ...], expected: list[float]
) -> None:
    got = results(name, operands, F64)
    np.testing.assert_array_equal(got, expected)
    assert np.signbit(got).tolist() == np.signbit(expected).tolist() or np.isnan(expected).any()


@pytest.mark.parametrize("dtype", dtypes.INTS, ids=lambda d: d.name)
def test_integers_never_fail(dtype: DType) -> None:
    """Zero divisors give 0; the lowest value by -1 wraps; shifts beyond the width empty it."""
    info = dtypes.iinfo(dtype)
    x = [info.max, info.min, 7, 0]
    for name in ("floor_div", "mod", "fmod"):
        assert results(name, (x, [0, 0, 0, 0]), dtype).tolist() == [0, 0, 0, 0]
    full = [dtype.bits] * 4
    assert results("shift_left", (x, full), dtype).tolist() == [0, 0, 0, 0]
    below = -1 if info.min < 0 else 0
    assert results("shift_right", (x, full), dtype).tolist() == [0, below, 0, 0]
    assert results("neg", ([info.min],), dtype).tolist() == [info.min]
    assert results("abs", ([info.min],), dtype).tolist() == [info.min]
    assert results("add", ([info.max], [1]), dtype).tolist() == [info.min]
    if dtype.is_signed:
        assert results("floor_div", ([info.min, -7], [-1, 2]), dtype).tolist() == [info.min, -4]
        assert results("mod", ([info.min, -7], [-1, 2]), dtype).tolist() == [0, 1]
        assert results("fmod", ([info.min, -7], [-1, 2]), dtype).tolist() == [0, -1]
        powers = results("pow", ([2, -1, -1, 1, 0, -3], [-1, -1, -2, -3, -1, 3]), dtype)
        assert powers.tolist() == [0, -1, 1, 1, 0, -27]
        assert results("shift_left", ([1], [-1]), dtype).tolist() == [0]
        assert results("shift_right", ([-8, 8], [-1, -1]), dtype).tolist() == [-1, 0]


def cast(values: list[complex], source: DType, target: DType) -> list[complex]:
    stored = dtypes.encode(np.array(values).astype(source.compute), source)
    x = input_node(tensor_type(source, stored.shape))
    (out,) = interpret(Graph([x], [OpBuilder().cast(x, target)]), [stored])
    found: list[complex] = dtypes.decode(out, target).tolist()
    return found


def test_casts_truncate_wrap_and_test_for_zero() -> None:
    assert cast([2.7, -2.7, -0.5], F64, dtypes.int8) == [2, -2, 0]
    assert cast([300, -1], dtypes.int32, dtypes.uint8) == [44, 255]
    assert cast([0.0, -0.0, 0.1, NAN], F64, dtypes.bool_) == [False, False, True, True]
    assert cast([2 - 3j, 1j], dtypes.complex64, dtypes.float32) == [2.0, 0.0]
    assert cast([1j, 0j], dtypes.complex64, dtypes.bool_) == [True, False]
    assert cast([1.5 + 2j], dtypes.complex128, dtypes.int16) == [1]
    assert cast([True, False], dtypes.bool_, dtypes.bfloat16) == [1.0, 0.0]
    assert cast([1 + 2**-9, 257.0], F64, dtypes.bfloat16) == [1.0, 256.0]
    assert cast([1e30], dtypes.bfloat16, dtypes.float16) == [INF]


def bitcast(values: np.ndarray, source: DType, target: DType) -> np.ndarray:
    x = input_node(tensor_type(source, values.shape))
    return interpret(Graph([x], [OpBuilder().bitcast(x, target)]), [values])[0]


def test_bitcast_keeps_the_stored_bits() -> None:
    words = np.array([0x3F80, 0x0001, 0xC049, 0x7F80, 0x8000], np.uint16)
    for target in (dtypes.int16, dtypes.uint16, dtypes.float16, dtypes.bfloat16):
        out = bitcast(words, dtypes.bfloat16, target)
        assert out.dtype == target.storage
        np.testing.assert_array_equal(out.view(np.uint16), words)
        np.testing.assert_array_equal(bitcast(words.view(target.storage), target,
                                              dtypes.bfloat16), words)  # fmt: skip
    floats = np.array([1.0, -2.5], np.float32)
    np.testing.assert_array_equal(
        bitcast(floats, dtypes.float32, dtypes.int32), floats.view(np.int32)
    )
    assert bitcast(np.array([0, 1, 2], np.uint8), dtypes.uint8, dtypes.bool_).tolist() == [
        False,
        True,
        True,
    ]


def test_a_copy_has_memory_of_its_own() -> None:
    x = input_node(tensor_type(F64, (2,)))
    given = np.array([1.0, 2.0])
    (out,) = interpret(Graph([x], [OpBuilder().copy(x)]), [given])
    assert not np.shares_memory(out, given)
