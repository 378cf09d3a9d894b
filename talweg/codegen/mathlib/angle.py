"""x = r + n pi/2 with |r| <= pi/4, for float64 of every size: what sin, cos and tan begin with.

Below 2**20 pi/2 is subtracted in four parts (Cody and Waite), beyond it x is multiplied by as many
bits of 2/pi as it takes (Payne and Hanek). r comes as an unevaluated sum of two float64.
"""

from __future__ import annotations

from talweg.codegen.lanes import (
    Lanes,
    absolute,
    any_lane,
    bits_of,
    from_bits,
    from_integer,
    rint,
    to_integer,
    where,
)
from talweg.codegen.repeat import per_lane, perhaps
from talweg.codegen.writer import Writer

# pi/2 in parts of 33 bits and a rest: n * part is exact for |n| < 2**20.
PARTS = (
    float.fromhex("0x1.921fb54400000p+0"),
    float.fromhex("0x1.0b4611a600000p-34"),
    float.fromhex("0x1.3198a2e000000p-69"),
    float.fromhex("0x1.b839a252049c1p-104"),
)
LARGE = 2.0**20

# The binary digits of 2/pi behind the point, 32 to a word.
TWO_OVER_PI = (
    0xA2F9836E, 0x4E441529, 0xFC2757D1, 0xF534DDC0, 0xDB629599, 0x3C439041, 0xFE5163AB, 0xDEBBC561,
    0xB7246E3A, 0x424DD2E0, 0x06492EEA, 0x09D1921C, 0xFE1DEB1C, 0xB129A73E, 0xE88235F5, 0x2EBB4484,
    0xE99C7026, 0xB45F7E41, 0x3991D639, 0x835339F4, 0x9C845F8B, 0xBDF9283B, 0x1FF897FF, 0xDE05980F,
    0xEF2F118B, 0x5A0A6D1F, 0x6D367ECF, 0x27CB09B7, 0x4F463F66, 0x9E5FEA2D, 0x7527BAC7, 0xEBE5F17B,
    0x3D0739F7, 0x8A5292EA, 0x6BFB5FB1, 0x1F8D5D08, 0x56033046, 0xFC7B6BAB, 0xF0CFBC20, 0x9AF4361D,
)  # fmt: skip
WORDS = 7  # what is cut off is below 2**-138; no float64 comes closer to n pi/2 than 2**-62


def quadrant(x: Lanes) -> tuple[Lanes, Lanes, Lanes]:
    """Return (high, low, n): float64, float64 and i64, of which the last two bits are right."""
    writer = x.writer
    small = absolute(x) < LARGE
    n = rint(where(small, x, 0.0) * (2 / 3.141592653589793))
    high, low = _subtracted(where(small, x, 0.0), n)
    whole = to_integer(n, "i64")

    def exactly(near: list[Lanes]) -> list[Lanes]:
        declare_digits(writer)
        far = per_lane("talweg_quadrant", _large, x)
        return [where(small, one, other) for one, other in zip(near, far, strict=True)]

    high, low, whole = perhaps(any_lane(~small), [high, low, whole], exactly)
    return high, low, whole


def _subtracted(x: Lanes, n: Lanes) -> tuple[Lanes, Lanes]:
    """x - n pi/2 as (high, low): each subtraction keeps the error of the one before."""
    rest = x - n * PARTS[0]
    low = x.like(0.0)
    for part in PARTS[1:]:
        product = n * part
        total = rest - product
        back = total - rest
        low = low + ((rest - (total - back)) - (product + back))
        rest = total
    high = rest + low
    return high, (rest - high) + low


def declare_digits(writer: Writer) -> None:
    """Write the digits of 2/pi into the module."""
    listed = ", ".join(f"i64 {word}" for word in TWO_OVER_PI)
    row = f"[{len(TWO_OVER_PI)} x i64]"
    writer.declare("two_over_pi", f"@two_over_pi = internal constant {row} [{listed}]")


def _word(writer: Writer, at: Lanes) -> Lanes:
    place = writer.emit(
        f"getelementptr [{len(TWO_OVER_PI)} x i64], ptr @two_over_pi, i64 0, i64 {at.name}"
    )
    return Lanes(writer, writer.emit(f"load i64, ptr {place}"), "i64", 1)


def _large(x: Lanes) -> tuple[Lanes, Lanes, Lanes]:
    """The reduction of one large x, in words of 32 bits kept in 64.

    |x| = m 2**e with a whole m of 53 bits. Of the words of 2/pi those are left out whose product
    with m 2**e is a multiple of 4.
    """
    writer = x.writer
    bits = bits_of(x)
    e = (bits.shift_logical(52) & 0x7FF) - 1075
    m = (bits & 0xFFFFFFFFFFFFF) | (1 << 52)
    first = e - 2
    first = where(first < 0, first.like(0), first)
    start = first.shift_logical(5)
    shift = e - (start << 5)  # m 2**shift times the words from `start` on; -32 <= shift < 34
    words = [_word(writer, start + k) for k in range(WORDS)]
    product = _product(words, [m & 0xFFFFFFFF, m.shift_logical(32)])
    return _folded(product, shift, x)


def _product(words: list[Lanes], factor: list[Lanes]) -> list[Lanes]:
    """The product of a fraction (highest word first) and a number of two words (lowest first).

    Highest word first; the binary point stands behind the second word.
    """
    total = [words[0].like(0)] * (len(words) + 2)
    for row, digit in enumerate(factor):
        carry = digit.like(0)
        for at in reversed(range(len(words))):
            place = at + 2 - row
            value = words[at] * digit + total[place] + carry
            total[place] = value & 0xFFFFFFFF
            carry = value.shift_logical(32)
        total[1 - row] = carry
    return total


def _folded(product: list[Lanes], shift: Lanes, x: Lanes) -> tuple[Lanes, Lanes, Lanes]:
    """The product times 2**shift, modulo 4, as n and a fraction of at most 1/2 times pi/2."""
    whole = shift + 64  # words 0 and 1 stand before the point: 32 <= whole < 98
    skip = whole.shift_logical(5)
    offset = whole & 31
    moved = [_chosen(product, skip, k) for k in range(-1, 5)]
    words = [
        ((moved[k] << offset) | moved[k + 1].shift_logical(32 - offset)) & 0xFFFFFFFF
        for k in range(5)
    ]
    n = words[0] & 3
    top, rest = (words[1] << 32) | words[2], (words[3] << 32) | words[4]
    up = top < 0  # a fraction of 1/2 or more: take the next n and a negative rest
    flip = where(up, top.like(-1), 0)
    n = n + where(up, n.like(1), 0)
    high, low = _as_double(top ^ flip, 2.0**-64), _as_double(rest ^ flip, 2.0**-128)
    r_high, r_low = _times_half_pi(*high, *low)
    sign = where(up, x.like(-1.0), 1.0)
    negative = x < 0
    sign = where(negative, -sign, sign)
    n = where(negative, 0 - n, n)
    finite = absolute(x) < float("inf")
    nan = x.like(float("nan"))
    return where(finite, r_high * sign, nan), where(finite, r_low * sign, nan), n


def _chosen(product: list[Lanes], skip: Lanes, k: int) -> Lanes:
    """Word `skip + k` of the product, skip being 1, 2 or 3; zero behind its end."""
    found = product[0].like(0)
    for s in (1, 2, 3):
        if 0 <= s + k < len(product):
            found = where(skip.equals(s), product[s + k], found)
    return found


def _as_double(bits: Lanes, unit: float) -> tuple[Lanes, Lanes]:
    """An unsigned 64-bit number times a power of 2, as two float64 without rounding."""
    upper, lower = bits.shift_logical(32), bits & 0xFFFFFFFF
    return (
        from_integer(upper, "double") * (unit * 2.0**32),
        from_integer(lower, "double") * unit,
    )


def _times_half_pi(a: Lanes, b: Lanes, c: Lanes, d: Lanes) -> tuple[Lanes, Lanes]:
    """(a + b + c + d) pi/2 as high and low, where each term is far below the one before."""
    first = a + b
    second = (b - (first - a)) + (c + d)
    high, low = first + second, second - ((first + second) - first)
    upper = from_bits(bits_of(high) & -0x8000000)  # 26 bits, so that products are exact
    pi_upper, pi_lower = 1.5707963109016418, 1.5893254773528196e-08
    product = upper * pi_upper
    rest = upper * pi_lower + ((high - upper) + low) * 1.5707963267948966
    total = product + rest
    return total, rest - (total - product)
