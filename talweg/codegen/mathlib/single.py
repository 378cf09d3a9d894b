"""float32 functions in float32 arithmetic: those that networks spend their time in.

Each is a range reduction, a near-minimax polynomial and a reconstruction, without a branch and
without a table, so that one text serves every vector width. Polynomials are Chebyshev fits made
with mpmath on the stated interval, rounded to float32; highest coefficient first.
"""

from __future__ import annotations

from collections.abc import Sequence

from talweg.codegen.lanes import (
    Lanes,
    absolute,
    bits_of,
    copysign,
    fma,
    from_bits,
    from_integer,
    horner,
    larger,
    resize,
    scaled,
    smaller,
    to_double,
    to_float,
    where,
)
from talweg.codegen.mathlib import double, gamma
from talweg.codegen.mathlib.angle import quadrant

LOG2_E = 1.4426950408889634
LN2_HIGH, LN2_LOW = 0.693359375, -2.12194440e-4  # the upper part has 9 bits: n * upper is exact
SHIFT = 1.5 * 2.0**23  # adding it rounds to a whole number, which then stands in the low bits

# (exp(r) - 1 - r) / r**2 on |r| <= ln(2) / 2
EXP = (0.0013926184, 0.00836317893, 0.0416665561, 0.166665763, 0.5)
# (2**r - 1) / r on |r| <= 1/2
EXP2 = (0.000154531634, 0.00133908633, 0.00961808302, 0.0555035695, 0.240226507, 0.693147182)
# (log(1 + f) - f + f**2 / 2) / f**3 on |f| <= 1/3
LOG = (
    0.113306172, -0.124222003, 0.109156549, -0.122887217, 0.142918676, -0.166733161, 0.199999481,
    -0.249999449, 0.333333343,
)  # fmt: skip
# (sin(r) / r - 1) / r**2 and (cos(r) - 1 + r**2 / 2) / r**4 on |r| <= pi / 4, in r**2
SIN = (2.72493139e-06, -0.000198400827, 0.00833333191, -0.166666672)
COS = (-2.73004474e-07, 2.48005963e-05, -0.00138888881, 0.0416666679)
# (tanh(x) / x - 1) / x**2 on |x| <= 0.625, in x**2
TANH = (0.00229430478, -0.00834532082, 0.0217693392, -0.0539593101, 0.133333042, -0.333333343)
# (atan(x) / x - 1) / x**2 on |x| <= tan(pi / 8), in x**2
ATAN = (0.0504782051, -0.0862455294, 0.110713482, -0.142841503, 0.199999779, -0.333333343)
# erf(x) / x - 1 on |x| <= 1, in x**2
ERF = (
    -9.66704465e-06, 0.000112659589, -0.000848408032, 0.00522103161, -0.0268654302, 0.112837821,
    -0.376126379, 0.128379166,
)  # fmt: skip
# -log(erfc(x)) on 1 <= x <= 4
ERFC = (
    -1.6371514e-06, 4.60580413e-05, -0.00059680565, 0.0047595962, -0.0264211353, 0.110080086,
    0.631826043, 1.13023341, -0.00032013806,
)  # fmt: skip

# (1 + 2 x) exp(x**2) erfc(x) - 1 on 0 <= x <= 10.06, in (x - 4) / (x + 4)
ERFCX = (
    0.000861942302, 0.00696686376, -0.015926037, 0.0364391543, -0.0666184276, 0.0938179865,
    -0.10099376, 0.0680934489, 0.015377529, -0.139621064, 0.232995138,
)  # fmt: skip


def _nearest(x: Lanes) -> tuple[Lanes, Lanes]:
    """x rounded to a whole number, as float and as i32. Any x below 2**22 in magnitude."""
    shifted = x + SHIFT
    return shifted - SHIFT, bits_of(shifted) - bits_of(x.like(SHIFT))


def times_power(x: Lanes, power: Lanes, whole: Lanes) -> Lanes:
    """x * 2**power, |power| <= 250, rounded once; the power is given as float and as i32.

    Where the machine has no instruction for it, subnormal results are reached in two steps.
    """
    if x.writer.target.scales(x.lanes * x.bits):
        return scaled(x, power)
    half = whole >> 1
    return x * _power(half) * _power(whole - half)


def _power(n: Lanes) -> Lanes:
    return from_bits((n + 127) << 23)


def _reduced(x: Lanes) -> tuple[Lanes, Lanes, Lanes]:
    """(r, n, n as i32) with x = r + n ln(2) and |r| <= ln(2) / 2."""
    shifted = fma(x, LOG2_E, SHIFT)
    n, whole = shifted - SHIFT, bits_of(shifted) - bits_of(x.like(SHIFT))
    return fma(n, -LN2_LOW, fma(n, -LN2_HIGH, x)), n, whole


def exp(x: Lanes) -> Lanes:
    """Error at most 1 ULP."""
    if x.lanes >= 8 and x.writer.target.scales(x.lanes * x.bits):
        r, n, _ = _reduced(smaller(x, 89.0))
        return scaled(horner((*EXP, 1.0, 1.0), r), n, x.binary("fcmp uge", -104.0, "i1"))
    x = smaller(larger(x, -104.0), 89.0)
    r, n, whole = _reduced(x)
    if x.writer.target.fma:
        return times_power(horner((*EXP, 1.0, 1.0), r), n, whole)
    total = r + 1
    return times_power(total + fma(r * r, horner(EXP, r), r - (total - 1)), n, whole)


def exp2(x: Lanes) -> Lanes:
    """Error at most 1 ULP."""
    x = smaller(larger(x, -151.0), 129.0)
    n, whole = _nearest(x)
    r = x - n
    return times_power(fma(r, horner(EXP2, r), 1), n, whole)


def expm1(x: Lanes) -> Lanes:
    """Error at most 2 ULP."""
    high = smaller(larger(x, -18.0), 89.0)
    r, _, whole = _reduced(high)
    p = fma(r * r, horner(EXP, r), r)
    half = _power(whole - 1)
    result = fma(half, p, half - 0.5) * 2
    return where(whole.equals(0), where(absolute(x) < 2.0**-26, x, p), result)


def _split(x: Lanes) -> tuple[Lanes, Lanes]:
    """(m, e) with x = m * 2**e and 2/3 <= m < 4/3, for positive normal x."""
    bits = bits_of(x)
    e = (bits - 0x3F2AAAAB) >> 23
    return from_bits(bits - (e << 23)), e


def _normal(x: Lanes) -> tuple[Lanes, Lanes]:
    """(y, e) with x = y * 2**e and y normal, for positive x."""
    tiny = x < 2.0**-126
    return where(tiny, x * 2.0**23, x), where(tiny, x.like(-23.0), 0.0)


def _log_parts(x: Lanes, e: Lanes, extra: Lanes | None = None) -> tuple[Lanes, Lanes, Lanes]:
    """(f, t, e) with log = f - t + e ln(2), f exact; `extra` is added to x before."""
    m, more = _split(x)
    f = m - 1
    if extra is not None:
        f = f + extra * _power(-where(more > 60, more.like(60), more))
    square = f * f
    t = fma(square, 0.5, -(square * f * horner(LOG, f)))
    return f, t, e + from_integer(more, "float")


def _log_ends(x: Lanes, result: Lanes) -> Lanes:
    """The result of a logarithm with what happens outside the finite positive numbers."""
    ends = where(x.equals(0), x.like(float("-inf")), where(x < 0, x.like(float("nan")), x))
    proper = (x > 0) & (x < float("inf"))
    return where(proper, result, ends)


def _log_sum(f: Lanes, t: Lanes, e: Lanes) -> Lanes:
    """f - t + e ln(2), with the rounding error of the large terms added again."""
    high = e * LN2_HIGH
    total = high + f
    return total + ((f - (total - high)) + fma(e, LN2_LOW, -t))


def log(x: Lanes) -> Lanes:
    """Error at most 1 ULP."""
    return _log_ends(x, _log_sum(*_log_parts(*_normal(x))))


def log1p(x: Lanes) -> Lanes:
    """Error at most 2 ULP."""
    total = x + 1
    lost = where(absolute(x) < 1, x - (total - 1), 1 - (total - x))
    result = _log_sum(*_log_parts(total, x.like(0.0), lost))
    ends = _log_ends(total, result)
    return where(absolute(x) < 2.0**-26, x, ends)


def _other_base(x: Lanes, high: float, low: float, step: float, step_low: float) -> Lanes:
    f, t, e = _log_parts(*_normal(x))
    upper = from_bits(bits_of(f) & -0x1000)  # 12 bits: its product with `high` is exact
    rest = (f - upper) - t
    small = fma(rest, high, fma(f - t, low, e * step_low))
    large = e * step
    product = upper * high
    total = large + product
    return _log_ends(x, total + ((product - (total - large)) + small))


def log2(x: Lanes) -> Lanes:
    """Error at most 2 ULP; exact for powers of 2."""
    return _other_base(x, 1.4423828125, 0.00031222838896340733, 1.0, 0.0)


def log10(x: Lanes) -> Lanes:
    """Error at most 2 ULP."""
    return _other_base(
        x, 0.4342041015625, 9.038034075182765e-05, 0.301025390625, 4.605038981195214e-06
    )


def sin(x: Lanes) -> Lanes:
    """Error at most 2 ULP, for arguments of every size."""
    sine, cosine, n = _circle(x)
    value = where((n & 1).equals(0), sine, cosine)
    return where((n & 2).equals(0), value, -value)


def cos(x: Lanes) -> Lanes:
    """Error at most 2 ULP, for arguments of every size."""
    sine, cosine, n = _circle(x)
    value = where((n & 1).equals(0), cosine, sine)
    return where(((n + 1) & 2).equals(0), value, -value)


def tan(x: Lanes) -> Lanes:
    """Error at most 4 ULP, for arguments of every size."""
    sine, cosine, n = _circle(x)
    even = (n & 1).equals(0)
    return where(even, sine, -cosine) / where(even, cosine, sine)


def _circle(x: Lanes) -> tuple[Lanes, Lanes, Lanes]:
    """sin(r), cos(r) and n of x = r + n pi/2."""
    high, _, n = quadrant(to_double(x))
    r = to_float(high)
    z = r * r
    sine = where(x.equals(0), x, fma(r * z, horner(SIN, z), r))
    return sine, fma(z * z, horner(COS, z), fma(z, -0.5, 1)), resize(n, "i32")


def tanh(x: Lanes) -> Lanes:
    """Error at most 2 ULP."""
    size = absolute(x)
    z = x * x
    small = fma(x * z, horner(TANH, z), x)
    far = 1 - 2 / (exp(smaller(size, 20.0) * 2) + 1)
    return where(size < 0.625, small, copysign(far, x))


def atan(x: Lanes) -> Lanes:
    """Error at most 3 ULP."""
    size = absolute(x)
    far, middle = size > 2.4142135, size > 0.41421357
    top = where(far, x.like(-1.0), where(middle, size - 1, size))
    t = top / where(far, size, where(middle, size + 1, 1.0))
    low = where(far, x.like(-4.3711388e-08), where(middle, x.like(-2.1855694e-08), 0.0))
    base = where(far, x.like(1.5707963267948966), where(middle, x.like(0.7853981633974483), 0.0))
    z = t * t
    return copysign(base + (fma(t * z, horner(ATAN, z), t) + low), x)


def erf(x: Lanes) -> Lanes:
    """Error at most 2 ULP."""
    size = absolute(x)
    z = x * x
    small = fma(x, horner(ERF, z), x)
    far = 1 - exp(-horner(ERFC, smaller(size, 4.0)))
    return where(size < 1, small, copysign(far, x))


def erfc(x: Lanes) -> Lanes:
    """Error at most 4 ULP. Both quotients share a division; their residues are added again.

    M. M. Shepherd and J. G. Laframboise, "Chebyshev approximation of (1 + 2x) exp(x**2) erfc(x)",
    1981.
    """
    if not x.writer.target.fma:
        return widened("erfc", (x,))
    size = smaller(absolute(x), 10.1)
    upper, lower = size + 4, fma(size, 2, 1)
    inverse = 1 / (upper * lower)
    per_upper, per_lower = inverse * lower, inverse * upper
    q = (size - 4) * per_upper
    q = fma(per_upper, fma(q, -size, fma(q + 1, -4, size)), q)
    p = horner(ERFCX, q)
    ratio = fma(p, per_lower, per_lower)
    ratio = fma(fma(ratio + ratio, -size, 1) + (p - ratio), per_lower, ratio)
    square = size * size
    value = ratio * exp(-square)
    value = fma(value, -fma(size, size, -square), value)
    return where(x < 0, 2 - value, value)


def widened(name: str, operands: Sequence[Lanes]) -> Lanes:
    """Return a function of the double table, rounded to float32: error at most 1 ULP."""
    return to_float((double.TABLE | gamma.TABLE)[name](*map(to_double, operands)))


def power(x: Lanes, y: Lanes) -> Lanes:
    """x**y by way of float64. Error at most 1 ULP."""
    return to_float(double.power(to_double(x), to_double(y), exact=False))


TABLE = {
    f.__name__: f
    for f in (exp, exp2, expm1, log, log2, log10, log1p, sin, cos, tan, tanh, atan, erf, erfc)
}
"""Functions of float32 by their names in the table of the loop language."""
