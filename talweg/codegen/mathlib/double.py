"""float64 functions. They also serve float32 where speed matters less than one more text.

Errors are at most 1 ULP for exp and log, 8 for the error functions, 4 for all others. Polynomials
are Chebyshev fits made with mpmath on the stated interval; highest coefficient first.
"""

from __future__ import annotations

from talweg.base import special
from talweg.codegen.lanes import (
    Lanes,
    absolute,
    bits_of,
    copysign,
    fma,
    from_bits,
    from_integer,
    horner,
    is_nan,
    larger,
    rint,
    scaled,
    smaller,
    sqrt,
    trunc,
    where,
)
from talweg.codegen.mathlib.angle import quadrant

INFINITY, NAN = float("inf"), float("nan")
PI, PI_LOW = 3.141592653589793, 1.2246467991473532e-16
LOG2_E = 1.4426950408889634
LN2, LN2_HIGH, LN2_LOW = 0.6931471805599453, 0.6931471803691238, 1.9082149292705877e-10
SHIFT = 1.5 * 2.0**52  # adding it rounds to a whole number, which then stands in the low bits

# (exp(r) - 1 - r) / r**2 on |r| <= ln(2) / 2
EXP = (
    2.0908487319195553e-09, 2.5105217004720745e-08, 2.7557294125356095e-07, 2.7557255400206422e-06,
    2.4801587300940927e-05, 0.00019841269874820627, 0.0013888888888896683, 0.008333333333326136,
    0.041666666666666644, 0.1666666666666667, 0.5,
)  # fmt: skip
# (2**r - 1) / r on |r| <= 1/2
EXP2 = (
    2.5729324177362305e-11, 4.4558179083360645e-10, 7.0548973041554995e-09, 1.0178057087733941e-07,
    1.3215486808705563e-06, 1.5252733841556773e-05, 0.00015403530393370734, 0.001333355814640647,
    0.00961812910762848, 0.055504108664821625, 0.24022650695910072, 0.6931471805599453,
)  # fmt: skip
# (atanh(s) / s - 1) 2 / s**2 on |s| <= 0.172, in s**2
LOG = (
    0.13088034850927555, 0.13268638369266825, 0.15386244737621665, 0.18181795547521137,
    0.22222222392581045, 0.28571428570799784, 0.40000000000000885, 0.6666666666666666,
)  # fmt: skip
# (atanh(s) / s - 1 - s**2 / 3) / s**4 on the same
LOG_TAIL = (
    0.058621635304233734, 0.05853063232281699, 0.0666740439940617, 0.0769229744350359,
    0.09090909168049924, 0.11111111110826383, 0.14285714285714685, 0.2,
)  # fmt: skip
# (sin(r) / r - 1) / r**2 and (cos(r) - 1 + r**2 / 2) / r**4 on |r| <= pi / 4, in r**2
SIN = (
    -7.586576588171073e-13, 1.6058529572267877e-10, -2.5052106219521895e-08, 2.755731921930192e-06,
    -0.00019841269841265017, 0.008333333333333331, -0.16666666666666666,
)  # fmt: skip
COS = (
    4.745804889760674e-14, -1.1470459749675607e-11, 2.087675578389404e-09, -2.7557319221382114e-07,
    2.4801587301584618e-05, -0.0013888888888888887, 0.041666666666666664,
)  # fmt: skip
# (atan(x) / x - 1) / x**2 on |x| <= tan(pi / 8), in x**2
ATAN = (
    0.01628357235648259, -0.0345685906686069, 0.045515165635903104, -0.052304374642516874,
    0.05878926715756726, -0.066664246872465, 0.07692296363979952, -0.09090908753118594,
    0.11111111105147764, -0.14285714285659748, 0.19999999999999804, -0.3333333333333333,
)  # fmt: skip
# (asin(x) / x - 1) / x**2 on |x| <= 1/2, in x**2
ASIN = (
    0.02961201126495512, -0.01924167174674304, 0.019554513336123378, 0.0030448799094556773,
    0.009319560794767446, 0.009621842970100282, 0.011566459612121669, 0.01396378001220357,
    0.017352816540325496, 0.02237215744350722, 0.03038194447553234, 0.044642857142551895,
    0.07500000000000118, 0.16666666666666666,
)  # fmt: skip


# -- exponentials


def _nearest(x: Lanes) -> tuple[Lanes, Lanes]:
    """x rounded to a whole number, as double and as i64. Any x below 2**51 in magnitude."""
    shifted = x + SHIFT
    return shifted - SHIFT, bits_of(shifted) - bits_of(x.like(SHIFT))


def _power_of_2(n: Lanes) -> Lanes:
    return from_bits((n + 1023) << 52)


def _times_power(x: Lanes, power: Lanes, whole: Lanes) -> Lanes:
    """x * 2**power, rounded once; the power is given as double and as i64.

    Where the machine has no instruction for it, a subnormal result is reached in two steps.
    """
    if x.writer.target.scales(x.lanes * x.bits):
        return scaled(x, power)
    half = whole >> 1
    return x * _power_of_2(half) * _power_of_2(whole - half)


def _exponential(x: Lanes, low: Lanes | None, shift: int) -> Lanes:
    """exp(x + low) 2**shift, where the sum need not be a float64."""
    x = smaller(larger(x, -1000.0), 720.0)
    n, whole = _nearest((x if low is None else x + low) * LOG2_E)
    r = fma(n, -LN2_LOW, fma(n, -LN2_HIGH, x))
    r = r if low is None else r + low
    n, whole = (n + shift, whole + shift) if shift else (n, whole)
    return _times_power(fma(r * r, horner(EXP, r), r) + 1, n, whole)


def exp(x: Lanes) -> Lanes:
    """Error at most 1 ULP."""
    return _exponential(x, None, 0)


def _half_exp(x: Lanes) -> Lanes:
    """exp(x) / 2, which overflows later."""
    return _exponential(x, None, -1)


def exp2(x: Lanes) -> Lanes:
    """Error at most 1 ULP."""
    x = smaller(larger(x, -1100.0), 1030.0)
    n, whole = _nearest(x)
    r = x - n
    return _times_power(fma(r, horner(EXP2, r), 1), n, whole)


def expm1(x: Lanes) -> Lanes:
    """Error at most 2 ULP."""
    near = smaller(larger(x, -40.0), 710.0)
    n, whole = _nearest(near * LOG2_E)
    r = fma(n, -LN2_LOW, fma(n, -LN2_HIGH, near))
    p = fma(r * r, horner(EXP, r), r)
    half = _power_of_2(whole - 1)
    result = fma(half, p, half - 0.5) * 2
    return where(whole.equals(0), where(absolute(x) < 2.0**-55, x, p), result)


def sinh(x: Lanes) -> Lanes:
    """Error at most 4 ULP."""
    size = absolute(x)
    e = expm1(smaller(size, 30.0))
    near = (e + e / (e + 1)) * 0.5
    return copysign(where(size < 22, near, _half_exp(size)), x)


def cosh(x: Lanes) -> Lanes:
    """Error at most 4 ULP."""
    e = _half_exp(absolute(x))
    return e + 0.25 / e


def tanh(x: Lanes) -> Lanes:
    """Error at most 4 ULP."""
    e = expm1(smaller(absolute(x), 30.0) * 2)
    return copysign(e / (e + 2), x)


# -- logarithms


def _normal(x: Lanes) -> tuple[Lanes, Lanes]:
    """(m, e) with x = m 2**e and sqrt(1/2) <= m < sqrt(2), for positive x; e as double."""
    tiny = x < 2.0**-1022
    bits = bits_of(where(tiny, x * 2.0**54, x))
    e = (bits - 0x3FE6A09E667F3BCD) >> 52
    shift = where(tiny, x.like(-54.0), 0.0)
    return from_bits(bits - (e << 52)), from_integer(e, "double") + shift


def _log_rest(f: Lanes) -> Lanes:
    """t with log(1 + f) = f - t."""
    s = f / (f + 2)
    z = s * s
    half = f * f * 0.5
    return half - s * (half + z * horner(LOG, z))


def _log_ends(x: Lanes, result: Lanes) -> Lanes:
    """The result of a logarithm with what happens outside the finite positive numbers."""
    ends = where(x.equals(0), x.like(-INFINITY), where(x < 0, x.like(NAN), x))
    return where((x > 0) & (x < INFINITY), result, ends)


def _log_sum(f: Lanes, e: Lanes) -> Lanes:
    """log(1 + f) + e ln(2), with the rounding error of the large terms added again."""
    high = e * LN2_HIGH
    total = high + f
    return total + ((f - (total - high)) + fma(e, LN2_LOW, -_log_rest(f)))


def log(x: Lanes) -> Lanes:
    """Error at most 1 ULP."""
    m, e = _normal(x)
    return _log_ends(x, _log_sum(m - 1, e))


def log1p(x: Lanes) -> Lanes:
    """Error at most 2 ULP."""
    total = x + 1
    lost = where(absolute(x) < 1, x - (total - 1), 1 - (total - x))
    m, e = _normal(total)
    scale = m / where(total > 0, total, 1.0)
    f = (m - 1) + where(absolute(e) < 60, lost * scale, 0.0)
    ends = _log_ends(total, _log_sum(f, e))
    return where(absolute(x) < 2.0**-55, x, ends)


def _other_base(x: Lanes, high: float, low: float, step: float, step_low: float) -> Lanes:
    m, e = _normal(x)
    f = m - 1
    t = _log_rest(f)
    upper = from_bits(bits_of(f) & -0x8000000)  # 26 bits: its product with `high` is exact
    rest = (f - upper) - t
    small = fma(rest, high, fma(f - t, low, e * step_low))
    large = e * step
    product = upper * high
    total = large + product
    return _log_ends(x, total + ((product - (total - large)) + small))


def log2(x: Lanes) -> Lanes:
    """Error at most 2 ULP; exact for powers of 2."""
    return _other_base(x, 1.4426950216293335, 1.9259629911266175e-08, 1.0, 0.0)


def log10(x: Lanes) -> Lanes:
    """Error at most 2 ULP."""
    return _other_base(
        x, 0.4342944771051407, 4.798111141615973e-09, 0.3010299955494702, 1.1451100898021838e-10
    )


def asinh(x: Lanes) -> Lanes:
    """Error at most 4 ULP."""
    size = absolute(x)
    square = size * size
    near = log1p(size + square / (sqrt(square + 1) + 1))
    return copysign(where(size < 2.0**28, near, log(size) + LN2), x)


def acosh(x: Lanes) -> Lanes:
    """Error at most 4 ULP."""
    above = x - 1
    near = log1p(above + sqrt(above * (above + 2)))
    return where(x < 1, x.like(NAN), where(x < 2.0**28, near, log(x) + LN2))


def atanh(x: Lanes) -> Lanes:
    """Error at most 4 ULP."""
    size = absolute(x)
    return copysign(log1p(size * 2 / (1 - size)) * 0.5, x)


# -- circular functions


def _circle(x: Lanes) -> tuple[Lanes, Lanes, Lanes]:
    """sin(r), cos(r) and n of x = r + n pi/2, where r is a sum of two numbers."""
    r, low, n = quadrant(x)
    z = r * r
    sine = r + (r * z * horner(SIN, z) + low)
    half = z * 0.5
    one = 1 - half
    cosine = one + ((1 - one) - half + (z * z * horner(COS, z) - r * low))
    return where(x.equals(0), x, sine), cosine, n


def sin(x: Lanes) -> Lanes:
    """Error at most 1 ULP, for arguments of every size."""
    sine, cosine, n = _circle(x)
    value = where((n & 1).equals(0), sine, cosine)
    return where((n & 2).equals(0), value, -value)


def cos(x: Lanes) -> Lanes:
    """Error at most 1 ULP, for arguments of every size."""
    sine, cosine, n = _circle(x)
    value = where((n & 1).equals(0), cosine, sine)
    return where(((n + 1) & 2).equals(0), value, -value)


def tan(x: Lanes) -> Lanes:
    """Error at most 3 ULP, for arguments of every size."""
    sine, cosine, n = _circle(x)
    even = (n & 1).equals(0)
    return where(even, sine, -cosine) / where(even, cosine, sine)


def atan(x: Lanes) -> Lanes:
    """Error at most 3 ULP."""
    size = absolute(x)
    return copysign(_atan(size, where(size > 1, size.like(1.0), size), larger(size, 1.0)), x)


def _atan(size: Lanes, top: Lanes, bottom: Lanes) -> Lanes:
    """atan(size) for size >= 0, where top / bottom is size, or 1 / size beyond 1."""
    beyond = size > 1
    ratio_is_far = top > bottom * 0.41421356237309503
    t = where(ratio_is_far, top - bottom, top) / where(ratio_is_far, top + bottom, bottom)
    z = t * t
    angle = fma(t * z, horner(ATAN, z), t)
    base, low = where(ratio_is_far, t.like(PI / 4), 0.0), where(ratio_is_far, t.like(PI_LOW / 4), 0)
    inner = base + (angle + low)
    outer = (PI / 2 - base) - (angle + (low - PI_LOW / 2))
    return where(beyond, outer, inner)


def atan2(y: Lanes, x: Lanes) -> Lanes:
    """Error at most 3 ULP."""
    up, across = absolute(y), absolute(x)
    steep = up > across
    top, bottom = where(steep, across, up), where(steep, up, across)
    both = bottom.equals(INFINITY) & top.equals(INFINITY)
    top, bottom = where(both, top.like(1.0), top), where(both | bottom.equals(0), 1.0, bottom)
    big = bottom > 2.0**1000  # so that top + bottom stays finite
    scale = where(big, bottom.like(2.0**-10), 1.0)
    top, bottom = top * scale, bottom * scale
    angle = _atan(where(steep, top.like(2.0), 0.5), top, bottom)
    behind = bits_of(x) < 0
    angle = where(behind, PI - (angle - PI_LOW), angle)
    return where(is_nan(x) | is_nan(y), x + y, copysign(angle, y))


def _asin_small(x: Lanes) -> Lanes:
    """asin for |x| <= 1/2."""
    z = x * x
    return fma(x * z, horner(ASIN, z), x)


def asin(x: Lanes) -> Lanes:
    """Error at most 3 ULP."""
    size = absolute(x)
    small = size <= 0.5
    half = sqrt((1 - size) * 0.5)
    value = _asin_small(where(small, size, half))
    return copysign(where(small, value, PI / 2 - (value * 2 - PI_LOW / 2)), x)


def acos(x: Lanes) -> Lanes:
    """Error at most 3 ULP."""
    size = absolute(x)
    small = size <= 0.5
    half = sqrt((1 - size) * 0.5)
    value = _asin_small(where(small, x, half))
    far = where(x < 0, PI - (value * 2 - PI_LOW), value * 2)
    return where(small, PI / 2 - (value - PI_LOW / 2), far)


# -- error functions


def _ratio(pair: tuple[tuple[float, ...], tuple[float, ...]], x: Lanes) -> Lanes:
    return horner(pair[0], x) / horner(pair[1], x)


def _erf_small(x: Lanes) -> Lanes:
    return x * _ratio(special.ERF_SMALL, x * x)


def _erfc_far(y: Lanes) -> Lanes:
    """erfc for y > 0.46875."""
    y = smaller(y, 28.0)
    inverse = 1 / (y * y)
    tail = inverse * _ratio(special.ERFC_LARGE, inverse)
    value = where(y <= 4.0, _ratio(special.ERFC_MIDDLE, y), (special.INV_SQRT_PI - tail) / y)
    head = trunc(y * 16) * 0.0625  # head * head is exact, so exp(-y * y) keeps its low bits
    return _exponential(-head * head, -(y - head) * (y + head), 0) * value


def erf(x: Lanes) -> Lanes:
    """Error at most 8 ULP. W. J. Cody's rational functions, as in `base.special`."""
    size = absolute(x)
    far = copysign(1 - _erfc_far(larger(size, 0.46875)), x)
    return where(size <= 0.46875, _erf_small(x), far)


def erfc(x: Lanes) -> Lanes:
    """Error at most 8 ULP."""
    size = absolute(x)
    far = _erfc_far(larger(size, 0.46875))
    return where(size <= 0.46875, 1 - _erf_small(x), where(x < 0, 2 - far, far))


# -- power


def _two_product(a: Lanes, b: Lanes) -> tuple[Lanes, Lanes]:
    """a b as a sum of two numbers."""
    product = a * b
    if a.writer.target.fma:
        return product, fma(a, b, -product)
    mask = -0x8000000
    a_upper, b_upper = from_bits(bits_of(a) & mask), from_bits(bits_of(b) & mask)
    a_lower, b_lower = a - a_upper, b - b_upper
    rest = (a_upper * b_upper - product) + a_upper * b_lower + a_lower * b_upper
    return product, rest + a_lower * b_lower


def _two_sum(a: Lanes, b: Lanes) -> tuple[Lanes, Lanes]:
    """a + b as a sum of two numbers, |a| >= |b|."""
    total = a + b
    return total, b - (total - a)


def _log_exact(x: Lanes) -> tuple[Lanes, Lanes]:
    """log(x) for positive x as a sum of two numbers with some 66 right bits."""
    m, e = _normal(x)
    f = m - 1
    below, below_low = _two_sum(where(m > 1, m, 1.0), where(m > 1, m.like(1.0), m))
    s = f / below
    back, back_low = _two_product(s, below)
    s_low = ((f - back) - back_low - s * below_low) / below
    z, z_low = _two_product(s, s)
    third, third_low = _two_sum(z.like(1 / 3), 1.850371707708594e-17 + z * horner(LOG_TAIL, z))
    z_low = z_low + 2 * s * s_low
    w, w_low = _two_product(z, third)
    w_low = w_low + (z * third_low + z_low * third)
    v, v_low = _two_product(s, w)
    v_low = v_low + (s * w_low + s_low * w)
    near, near_low = _two_sum(s * 2, v * 2)
    near_low = near_low + (s_low + v_low) * 2
    far = e * LN2_HIGH
    total = far + near
    rest = (near - (total - far)) + (near_low + e * LN2_LOW)
    only = e.equals(0)
    high, low = _two_sum(where(only, near, total), where(only, near_low, rest))
    return high, low


def power(x: Lanes, y: Lanes, exact: bool = True) -> Lanes:
    """x**y with C's rules for zeros, infinities and NaN. Error at most 4 ULP.

    Without `exact` the relative error is some 2**-42: enough for float32.
    """
    size = absolute(x)
    if exact:
        high, low = _log_exact(where(size.equals(0), 1.0, size))
        product, rest = _two_product(y, high)
        rest = fma(y, low, rest)
        finite = absolute(product) < 1000
        value = _exponential(product, where(finite, rest, 0.0), 0)
    else:
        value = _exponential(y * log(where(size.equals(0), 1.0, size)), None, 0)
    return _power_ends(x, y, size, value)


def _power_ends(x: Lanes, y: Lanes, size: Lanes, value: Lanes) -> Lanes:
    whole = rint(y).equals(y)
    half = y * 0.5
    odd = whole & rint(half).differs(half) & (absolute(y) < 2.0**53)
    grows = (size > 1).compare("eq", y > 0)
    far = where(grows, x.like(INFINITY), 0.0)
    value = where(absolute(y).equals(INFINITY), where(size.equals(1), 1.0, far), value)
    end = size.equals(0) | size.equals(INFINITY)
    value = where(end, far, value)
    value = where(odd & (bits_of(x) < 0), -value, value)
    value = where((x < 0) & ~whole & (size < INFINITY), x.like(NAN), value)
    value = where(is_nan(x) | is_nan(y), x + y, value)
    return where(y.equals(0) | x.equals(1), 1.0, value)


TABLE = {
    f.__name__: f
    for f in (
        *(exp, exp2, expm1, log, log2, log10, log1p, sin, cos, tan, asin, acos, atan, atan2),
        *(sinh, cosh, tanh, asinh, acosh, atanh, erf, erfc),
    )
}
"""Functions of float64 by their names in the table of the loop language."""
