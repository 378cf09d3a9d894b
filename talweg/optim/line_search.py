"""The line search of LBFGS: a step length that satisfies the strong Wolfe conditions."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import NamedTuple

from talweg.engine.tensor import Tensor


class Point(NamedTuple):
    """The function at one step length along the direction.

    Attributes:
        t: step length.
        value: of the function there.
        slope: its derivative along the direction.
        grad: its gradient, flat.
    """

    t: float
    value: float
    slope: float
    grad: Tensor


def cubic_minimum(a: Point, b: Point, bounds: tuple[float, float]) -> float:
    """Return where the cubic through two points with these slopes is smallest within the bounds.

    Nocedal and Wright, "Numerical optimization" (2006), equation 3.59; the middle of the bounds
    where the cubic has no minimum.
    """
    if a.t > b.t:
        a, b = b, a
    low, high = bounds
    try:
        d1 = a.slope + b.slope - 3 * (a.value - b.value) / (a.t - b.t)
        square = d1 * d1 - a.slope * b.slope
        if not square >= 0:
            return (low + high) / 2
        d2 = math.sqrt(square)
        t: float = b.t - (b.t - a.t) * ((b.slope + d2 - d1) / (b.slope - a.slope + 2 * d2))
    except ZeroDivisionError:
        return (low + high) / 2
    return min(max(t, low), high)


def strong_wolfe(
    evaluate: Callable[[float], Point],
    start: Point,
    t: float,
    length: float,
    c1: float = 1e-4,
    c2: float = 0.9,
    tolerance: float = 1e-9,
    limit: int = 25,
) -> tuple[Point, int]:
    """Return a point that satisfies the strong Wolfe conditions, and the number of evaluations.

    Nocedal and Wright, "Numerical optimization" (2006), algorithms 3.5 and 3.6: steps grow until
    an interval holds a good point, which then shrinks around it. When the limit is reached, the
    best end of the interval is returned.

    Args:
        evaluate: from a step length to the point there.
        start: the point of step length 0; its slope is negative.
        t: first step length to try.
        length: largest element of the direction, by which step lengths become distances.
        c1: share of the decrease promised by the slope that is enough.
        c2: share of the slope that may remain.
        tolerance: distance below which the interval is not divided further.
        limit: largest number of steps.
    """
    before, now = start, evaluate(t)
    for count in range(limit):
        if now.value > start.value + c1 * now.t * start.slope or (
            count > 1 and now.value >= before.value
        ):
            break
        if abs(now.slope) <= -c2 * start.slope:
            return now, count + 1
        if now.slope >= 0:
            break
        bounds = (now.t + 0.01 * (now.t - before.t), 10 * now.t)
        before, now = now, evaluate(cubic_minimum(before, now, bounds))
    else:
        return (start if start.value <= now.value else now), limit + 1

    best, worst = (before, now) if before.value <= now.value else (now, before)
    stalled = False
    while count < limit:
        low, high = sorted((best.t, worst.t))
        if (high - low) * length < tolerance:
            break
        t, stalled = _inside(cubic_minimum(best, worst, (low, high)), low, high, stalled)
        now = evaluate(t)
        count += 1
        if now.value > start.value + c1 * now.t * start.slope or now.value >= best.value:
            best, worst = (best, now) if best.value <= now.value else (now, best)
            continue
        if abs(now.slope) <= -c2 * start.slope:
            return now, count + 1
        if now.slope * (worst.t - best.t) >= 0:
            worst = best
        best = now
    return best, count + 1


def _inside(t: float, low: float, high: float, stalled: bool) -> tuple[float, bool]:
    """Keep a trial step away from the ends of its interval, the second time it comes near one."""
    margin = 0.1 * (high - low)
    if min(high - t, t - low) >= margin:
        return t, False
    if not stalled and low < t < high:
        return t, True
    return (high - margin if high - t < t - low else low + margin), False
