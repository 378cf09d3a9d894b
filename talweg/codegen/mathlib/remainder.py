"""Remainders and whole powers: exact, by loops over integers in scalar functions."""

from __future__ import annotations

from talweg.codegen.lanes import (
    Lanes,
    absolute,
    bits_of,
    constant,
    copysign,
    floor,
    from_bits,
    from_integer,
    resize,
    to_double,
    to_float,
    where,
)
from talweg.codegen.repeat import per_lane, repeat

INFINITY = float("inf")
CHUNK = 11  # bits that a remainder of 53 bits may be shifted by within 64


def fmod(x: Lanes, y: Lanes) -> Lanes:
    """Return the remainder with the sign of x; exact."""
    if x.kind == "float":
        return to_float(fmod(to_double(x), to_double(y)))
    (rest,) = per_lane("talweg_fmod", _fmod, x, y)
    return rest


def _fmod(x: Lanes, y: Lanes) -> tuple[Lanes]:
    """|x| = m 2**e and |y| = n 2**f with whole m, n: (m 2**(e - f)) mod n, by some bits at once."""
    writer = x.writer
    usual = (absolute(x) < INFINITY) & (absolute(y) > 0)
    reduces = usual & (absolute(x) >= absolute(y))
    numerator, e = _whole(where(reduces, x, 1.0))
    divisor, f = _whole(where(reduces, y, 1.0))

    def modulo(value: Lanes) -> Lanes:
        name = writer.emit(f"urem i64 {value.name}, {divisor.name}")
        return Lanes(writer, name, "i64", 1)

    def shift(k: Lanes, state: list[Lanes]) -> list[Lanes]:
        left = (e - f) - k
        return [modulo(state[0] << where(left > CHUNK, left.like(CHUNK), left))]

    (rest,) = repeat(e - f, [modulo(numerator)], shift, step=CHUNK)
    power = f - 1075
    half = power >> 1
    value = from_integer(rest, "double")
    for part in (half, power - half):
        value = value * from_bits((part + 1023) << 52)
    ends = where(usual, x, float("nan"))
    return (where(reduces, copysign(value, x), ends),)


def _whole(x: Lanes) -> tuple[Lanes, Lanes]:
    """(m, e) with |x| = m 2**(e - 1075)."""
    bits = bits_of(x)
    e = bits.shift_logical(52) & 0x7FF
    fraction = bits & 0xFFFFFFFFFFFFF
    normal = e.differs(0)
    return where(normal, fraction | (1 << 52), fraction), where(normal, e, 1)


def mod(x: Lanes, y: Lanes) -> Lanes:
    """Return the remainder with the sign of y, as Python and NumPy mean it."""
    rest = fmod(x, y)
    other = (y < 0).compare("ne", rest < 0)
    moved = where(other, rest + y, rest)
    return where(y.equals(0), rest, where(rest.equals(0), copysign(rest, y), moved))


def floordiv(x: Lanes, y: Lanes) -> Lanes:
    """Return the whole quotient below x / y, which agrees with `mod`."""
    rest = fmod(x, y)
    quotient = (x - rest) / y
    other = rest.differs(0) & (y < 0).compare("ne", rest < 0)
    quotient = where(other, quotient - 1, quotient)
    below = floor(quotient)
    below = where(quotient - below > 0.5, below + 1, below)
    zero = copysign(x.like(0.0), x / y)
    return where(y.equals(0), x / y, where(quotient.equals(0), zero, below))


def whole_power(base: Lanes, exponent: Lanes, signed: bool) -> Lanes:
    """Return base**exponent of integers, wrapped; 1 / base**n is truncated to 0, 1 or -1."""
    name = f"talweg_power_{'signed' if signed else 'unsigned'}"
    wide = [resize(v, "i64", signed) for v in (base, exponent)]
    (result,) = per_lane(name, _power if signed else _squares, *wide)
    return resize(result, base.kind)


def _power(base: Lanes, exponent: Lanes) -> tuple[Lanes]:
    unit = (base + 1).compare("le", 2, signed=False) & base.differs(0)
    below = where(unit, where((exponent & 1).equals(0), base * base, base), 0)
    (above,) = _squares(base, where(exponent < 0, exponent.like(0), exponent))
    return (where(exponent < 0, below, above),)


def _squares(base: Lanes, exponent: Lanes) -> tuple[Lanes]:
    """Bit by bit, for as many bits as the exponent has."""
    writer = base.writer
    zeros = writer.intrinsic("llvm.ctlz.i64", "i64", ("i64", exponent.name), ("i1", "false"))
    count = 64 - Lanes(writer, zeros, "i64", 1)
    one = constant(writer, 1, "i64", 1)

    def step(_: Lanes, state: list[Lanes]) -> list[Lanes]:
        result, square, left = state
        taken = where((left & 1).equals(1), result * square, result)
        return [taken, square * square, left.shift_logical(1)]

    return (repeat(count, [one, base, exponent], step)[0],)
