"""Philox against the known answers of Random123; counting."""

from __future__ import annotations

import numpy as np
import pytest

from talweg.base import dtypes
from talweg.base.errors import DTypeError, ShapeError
from talweg.ops.generate import philox4x32

# counter, key, result: the lines `philox4x32 10` of Random123's kat_vectors.
KNOWN = [
    ("00000000 00000000 00000000 00000000", "00000000 00000000",
     "6627e8d5 e169c58d bc57ac4c 9b00dbd8"),
    ("ffffffff ffffffff ffffffff ffffffff", "ffffffff ffffffff",
     "408f276d 41c83b0e a20bc7c6 6d5451fd"),
    ("243f6a88 85a308d3 13198a2e 03707344", "a4093822 299f31d0",
     "d16cfe09 94fdcceb 5001e420 24126ea1"),
]  # fmt: skip


def words(text):
    return [np.array([int(w, 16)], np.uint32) for w in text.split()]


def random_bits(b, shape, key, offset):
    operands = (b.constant(np.array(n, np.uint64)) for n in (key, offset))
    return b.value(b.random_bits(*operands, shape=shape))


@pytest.mark.parametrize(("counter", "key", "result"), KNOWN)
def test_known_answers(counter, key, result):
    assert philox4x32(words(counter), words(key)) == tuple(words(result))


def test_bits_count_blocks_from_the_offset(b):
    zeros = [int(w, 16) for w in KNOWN[0][2].split()]
    assert random_bits(b, (2, 2), 0, 0).tolist() == [zeros[:2], zeros[2:]]
    long = random_bits(b, (11,), 7, 2**32 - 1)
    np.testing.assert_array_equal(random_bits(b, (3,), 7, 2**32 + 1), long[8:])
    np.testing.assert_array_equal(random_bits(b, (), 7, 2**32 - 1), long[0])
    assert random_bits(b, (3, 0), 7, 0).shape == (3, 0)


def test_offset_wraps_and_both_key_halves_count(b):
    np.testing.assert_array_equal(
        random_bits(b, (8,), 5, 2**64 - 1)[4:], random_bits(b, (4,), 5, 0)
    )
    draws = {tuple(random_bits(b, (4,), key, 0)) for key in (0, 1, 2**32, 2**63)}
    assert len(draws) == 4


def test_bits_are_balanced(b):
    bits = np.unpackbits(random_bits(b, (20_000,), 1, 0).view(np.uint8))
    # 640,000 fair coins: five standard deviations are 0.0031
    assert abs(bits.mean() - 0.5) < 0.0032


def test_iota(b):
    assert b.value(b.iota((2, 3), 1, dtypes.int64)).tolist() == [[0, 1, 2]] * 2
    assert b.value(b.iota((2, 3), 0, dtypes.float16)).tolist() == [[0] * 3, [1] * 3]
    assert b.value(b.iota((0,), 0, dtypes.int32)).tolist() == []
    with pytest.raises(ShapeError):
        b.iota((), 0, dtypes.int64)
    with pytest.raises(DTypeError, match="bool"):
        b.iota((2,), 0, dtypes.bool_)


def test_key_is_uint64(b):
    with pytest.raises(DTypeError, match=r"uint64\[\], got int64\[\]"):
        b.random_bits(b.constant(np.array(1)), b.constant(np.array(1, np.uint64)), shape=(2,))
