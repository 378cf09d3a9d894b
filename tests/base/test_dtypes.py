"""Dtypes: PyTorch's promotion table, bfloat16 against arithmetic on its definition, limits."""

from __future__ import annotations

import copy
import math
import pickle
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from talweg.base import dtypes
from talweg.base.dtypes import DType
from talweg.base.errors import DTypeError

# torch.promote_types of PyTorch 2.13: the upper triangle, each row from its own dtype on.
TABLE = """
bool       bool u8 i8  i16 i32 i64 f16 bf16 f32 f64 c64 c128
uint8           u8 i16 i16 i32 i64 f16 bf16 f32 f64 c64 c128
int8               i8  i16 i32 i64 f16 bf16 f32 f64 c64 c128
int16                  i16 i32 i64 f16 bf16 f32 f64 c64 c128
int32                      i32 i64 f16 bf16 f32 f64 c64 c128
int64                          i64 f16 bf16 f32 f64 c64 c128
float16                            f16 f32  f32 f64 c64 c128
bfloat16                               bf16 f32 f64 c64 c128
float32                                     f32 f64 c64 c128
float64                                         f64 c128 c128
complex64                                           c64 c128
complex128                                              c128
"""
SHORT = {"bf16": "bfloat16", "u": "uint", "i": "int", "f": "float", "c": "complex"}


def promotions() -> list[tuple[str, str, str]]:
    rows = [line.split() for line in TABLE.strip().splitlines()]
    names = [row[0] for row in rows]
    out = []
    for i, (name, *results) in enumerate(rows):
        for other, short in zip(names[i:], results, strict=True):
            full = SHORT.get(short) or (SHORT.get(short[0], short[0]) + short[1:])
            out.append((name, other, full))
    return out


@pytest.mark.parametrize(("a", "b", "common"), promotions())
def test_promotion_is_pytorchs(a: str, b: str, common: str) -> None:
    first, second = dtypes.BY_NAME[a], dtypes.BY_NAME[b]
    assert dtypes.promote(first, second).name == common
    assert dtypes.promote(second, first).name == common


def holds(a: DType, b: DType) -> bool:
    outer, inner = dtypes.iinfo(a), dtypes.iinfo(b)
    return outer.min <= inner.min and inner.max <= outer.max


@pytest.mark.parametrize("a", dtypes.INTS, ids=lambda d: d.name)
@pytest.mark.parametrize("b", dtypes.INTS, ids=lambda d: d.name)
def test_integers_promote_to_the_smallest_that_holds_both(a: DType, b: DType) -> None:
    fitting = [d for d in dtypes.INTS if holds(d, a) and holds(d, b)]
    if not fitting:
        with pytest.raises(DTypeError, match=rf"(?=.*{a.name})(?=.*{b.name}).*\.to\(\)"):
            dtypes.promote(a, b)
        return
    common = dtypes.promote(a, b)
    assert common in fitting
    assert common.bits == min(d.bits for d in fitting)


@pytest.mark.parametrize("wide", [dtypes.uint16, dtypes.uint32, dtypes.uint64])
@pytest.mark.parametrize("inexact", [*dtypes.FLOATS, *dtypes.COMPLEX])
def test_wide_unsigned_types_give_way_to_floats(wide: DType, inexact: DType) -> None:
    assert dtypes.promote(wide, inexact) is inexact
    assert dtypes.promote(dtypes.bool_, wide) is wide


def bfloat16_values() -> list[Fraction]:
    """Every finite bfloat16 that is not negative, by the definition of its bits, ascending."""
    out = []
    for bits in range(0x7F80):
        exponent, fraction = bits >> 7, bits & 0x7F
        if exponent:
            out.append(Fraction(128 + fraction) * Fraction(2) ** (exponent - 127 - 7))
        else:
            out.append(Fraction(fraction) * Fraction(2) ** (-126 - 7))
    return out


GRID = bfloat16_values()


def nearest(value: Fraction) -> int:
    """The bits of the nearest bfloat16, ties to the even one, found by search in the grid."""
    low, high = 0, len(GRID)
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (middle, high) if GRID[middle] <= value else (low, middle)
    above = GRID[high] if high < len(GRID) else Fraction(2) ** 128
    down, up = value - GRID[low], above - value
    return low if down < up or (down == up and low % 2 == 0) else high


@given(st.floats(width=32, allow_nan=False, allow_infinity=False))
def test_bfloat16_rounds_to_the_nearest_even(value: float) -> None:
    bits = int(dtypes.encode(np.array(value, np.float32), dtypes.bfloat16))
    sign = 0x8000 if math.copysign(1.0, value) < 0 else 0
    assert bits == sign | nearest(abs(Fraction(value)))


def test_bfloat16_ties_go_to_the_even_neighbour() -> None:
    for low in (0x3F80, 0x3F81, 0x0000, 0x0001, 0x7F7E):
        tie = np.float32((GRID[low] + GRID[low + 1]) / 2)
        bits = int(dtypes.encode(np.array(tie), dtypes.bfloat16))
        assert bits == low + low % 2 == nearest(Fraction(float(tie)))


def test_every_bfloat16_survives_the_round_trip() -> None:
    stored = np.arange(2**16, dtype=np.uint16)
    values = dtypes.decode(stored, dtypes.bfloat16)
    assert values.dtype == np.float32
    nan = np.isnan(values)
    np.testing.assert_array_equal(nan, (stored & 0x7FFF) > 0x7F80)
    np.testing.assert_array_equal(dtypes.encode(values, dtypes.bfloat16)[~nan], stored[~nan])
    assert np.isnan(dtypes.round_to_bfloat16(values[nan])).all()
    finite = values[: len(GRID)].tolist()
    assert [Fraction(v) for v in finite] == GRID


def test_bfloat16_overflows_to_infinity_and_keeps_shapes() -> None:
    largest = np.finfo(np.float32).max
    assert dtypes.round_to_bfloat16(np.array([largest, -largest])).tolist() == [np.inf, -np.inf]
    for shape in ((), (0,), (2, 0, 3), (2, 3)):
        array = np.ones(shape, np.float32)
        assert dtypes.encode(array, dtypes.bfloat16).shape == shape
        assert dtypes.round_to_bfloat16(array.T).shape == shape[::-1]
    turned = np.arange(6, dtype=np.float32).reshape(2, 3).T
    np.testing.assert_array_equal(dtypes.round_to_bfloat16(turned), turned)


@pytest.mark.parametrize("dtype", dtypes.FLOATS, ids=lambda d: d.name)
def test_finfo_describes_the_spacing_of_values(dtype: DType) -> None:
    def stored(value: float) -> float:
        with np.errstate(over="ignore"):
            array = np.asarray(value).astype(dtype.compute)
        return float(dtypes.decode(dtypes.encode(array, dtype), dtype))

    info = dtypes.finfo(dtype)
    assert info.bits == dtype.bits
    assert stored(1.0 + info.eps) == 1.0 + info.eps
    assert stored(1.0 + info.eps / 2) == 1.0
    assert stored(info.max) == info.max == -info.min
    assert stored(info.max * (1 + 0.75 * info.eps) if dtype.bits < 64 else np.inf) == np.inf
    assert stored(info.tiny) == info.tiny == info.smallest_normal
    assert stored(info.tiny * (1 + info.eps)) == info.tiny * (1 + info.eps)
    assert stored(info.tiny * (1 + info.eps) / 2) == info.tiny / 2


def test_limits_of_the_wrong_category_are_refused() -> None:
    with pytest.raises(DTypeError, match="int8; use iinfo"):
        dtypes.finfo(dtypes.int8)
    with pytest.raises(DTypeError, match="float16; use finfo"):
        dtypes.iinfo(dtypes.float16)
    assert dtypes.iinfo(dtypes.uint64).max == 2**64 - 1
    assert dtypes.finfo(dtypes.complex64).eps == dtypes.finfo(dtypes.float32).eps


@pytest.mark.parametrize(
    ("given_value", "expected"),
    [
        (float, dtypes.float32),
        (int, dtypes.int64),
        (bool, dtypes.bool_),
        (complex, dtypes.complex64),
        ("bfloat16", dtypes.bfloat16),
        ("torch.float64", dtypes.float64),
        (np.float16, dtypes.float16),
        (np.dtype(">i4"), dtypes.int32),
        (dtypes.uint8, dtypes.uint8),
    ],
)
def test_as_dtype_accepts_what_users_write(given_value: object, expected: DType) -> None:
    assert dtypes.as_dtype(given_value) is expected


@pytest.mark.parametrize("wrong", ["float31", object(), "datetime64[s]", np.dtype("U3")])
def test_as_dtype_names_what_it_refuses(wrong: object) -> None:
    with pytest.raises(DTypeError):
        dtypes.as_dtype(wrong)


@pytest.mark.parametrize("dtype", dtypes.ALL, ids=lambda d: d.name)
def test_dtypes_are_singletons_and_describe_themselves(dtype: DType) -> None:
    assert pickle.loads(pickle.dumps(dtype)) is dtype
    assert copy.deepcopy(dtype) is dtype
    assert repr(dtype) == f"talweg.{dtype.name}"
    assert dtype.storage.itemsize == dtype.itemsize
    if dtype is not dtypes.bfloat16:
        assert dtypes.from_numpy(np.dtype(dtype.name)) is dtype
        assert np.issubdtype(dtype.compute, np.inexact) is dtype.is_inexact
        assert np.issubdtype(dtype.compute, np.signedinteger) is (dtype.category == "int")
    assert dtype.is_inexact is (dtype.is_floating_point or dtype.is_complex)
