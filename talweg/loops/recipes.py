"""Lowerings of more than a few lines: reshape, pad, join, scan, scatter, pool, sort, random."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import accumulate, product

from talweg.base import dtypes
from talweg.loops.affine import simplify
from talweg.loops.build import NestBuilder
from talweg.loops.functions import COMBINES, identity
from talweg.loops.operand import Indices, Operand, Point, flat, merged, unflat
from talweg.loops.scalar import Constant, Numeric, Scalar, call, cast, constant


def reshaped(nest: NestBuilder, x: Operand, shape: Indices) -> Point:
    """Return the Point of x's elements in row-major order under another shape.

    Sizes decide which axes split and join; a quotient or remainder appears only where axes do both.
    """
    groups = list(_groups([nest.size(n) for n in x.shape], [nest.size(n) for n in shape]))

    def point(i: Indices) -> Scalar:
        source: list[Scalar] = []
        for old, new in groups:
            position = flat([i[a] for a in new], [shape[a] for a in new])
            source += unflat(position, [x.shape[a] for a in old])
        return x[source]

    return point


def _groups(old: list[int], new: list[int]) -> Iterator[tuple[range, range]]:
    """Neighbouring axes of both shapes that hold equally many elements, as few as possible."""
    if 0 in old:
        yield range(len(old)), range(len(new))
        return
    a = b = 0
    while a < len(old) or b < len(new):
        first, second, p, q = a, b, 1, 1
        if a < len(old):
            p, a = old[a], a + 1
        if b < len(new):
            q, b = new[b], b + 1
        if p != q and p == 1:
            b = second
        elif p != q and q == 1:
            a = first
        else:
            while p != q:
                if p < q:
                    p, a = p * old[a], a + 1
                else:
                    q, b = q * new[b], b + 1
        yield range(first, a), range(second, b)


def padded(
    nest: NestBuilder,
    x: Operand,
    low: Sequence[int],
    interior: Sequence[int],
    fill: Numeric | Callable[[], Scalar],
) -> Point:
    """Return the Point of x with `fill` before it, between its elements and behind it.

    `low` elements stand in front of each axis (a negative number cuts off), `interior` between each
    two; how many stand behind follows from the result's shape.
    """
    starts = nest.numbers(low)
    steps = dict(enumerate(gap + 1 for gap in interior))

    def point(i: Indices) -> Scalar:
        return spaced(nest, x, [at - a for at, a in zip(i, starts, strict=True)], steps, fill)

    return point


def spaced(
    nest: NestBuilder,
    x: Operand,
    places: Sequence[Scalar],
    steps: Mapping[int, int],
    fill: Numeric | Callable[[], Scalar] = 0,
) -> Scalar:
    """Return x at the places, or `fill` where they leave x or fall between its elements.

    `steps` gives, for each axis where they may, how far apart the elements of x stand.
    """
    tests: list[Scalar] = []
    source = list(places)
    for axis, step in steps.items():
        if step > 1:
            tests.append(call("eq", source[axis] % step, constant(0, dtypes.int64)))
            source[axis] = source[axis] // step
        tests += [source[axis] >= 0, source[axis] < x.shape[axis]]
    return nest.select(nest.all(tests), lambda: x[source], fill) if tests else x[source]


def concatenated(nest: NestBuilder, parts: Sequence[Operand], axis: int) -> Point:
    """Return the Point of operands joined along an axis; the right one is found by bisection."""
    sizes = [nest.size(x.shape[axis]) for x in parts]
    ends = nest.numbers(list(accumulate(sizes[:-1])))

    def piece(i: Indices, first: int, end: int) -> Scalar:
        if end - first == 1:
            at = i[axis] - ends[first - 1] if first else i[axis]
            return parts[first][(*i[:axis], at, *i[axis + 1 :])]
        half = (first + end) // 2
        inside = i[axis] < ends[half - 1]
        return nest.select(inside, lambda: piece(i, first, half), lambda: piece(i, half, end))

    return lambda i: piece(i, 0, len(parts))


def scan(
    nest: NestBuilder,
    x: Operand,
    axis: int,
    initial: Sequence[Scalar],
    step: Callable[..., Sequence[Scalar]],
) -> None:
    """Carry states along an axis of x and write them, at every place, to the outputs.

    `step(at, *states)` gives the states at the indices `at` from those before; the outputs receive
    the first states, cast to their dtypes.
    """
    others = [n for a, n in enumerate(x.shape) if a != axis]
    with nest.loops(others) as rest:
        states = [nest.var(value) for value in initial]
        with nest.loop(x.shape[axis], "sequential") as k:
            at = merged(rest, (k,), (axis,))
            new = [nest.let(value) for value in step(at, *states)]
            for state, value in zip(states, new, strict=True):
                nest.assign(state, value)
            for out, value in zip(nest.outputs, new, strict=False):
                nest.store(out, at, cast(value, out.dtype))


def cumulative(nest: NestBuilder, x: Operand, combine: str, axis: int) -> None:
    """Write to the output x folded up to each place along an axis; half types are kept in float32.

    `combine` is a one-state rule of COMBINES.
    """
    half = x.dtype in (dtypes.float16, dtypes.bfloat16)
    carried = dtypes.float32 if half else x.dtype
    start = constant(identity(combine, carried)[0], carried)
    function = COMBINES[combine].function
    scan(nest, x, axis, [start], lambda at, s: [call(function, s, cast(x[at], carried))])


def scatter(
    nest: NestBuilder,
    x: Operand,
    updates: Operand,
    place: Callable[[Indices], Sequence[Scalar]],
    combine: str,
    ordered: Sequence[int],
) -> None:
    """Write to the output x with every update stored at, or folded into, its place.

    `place` gives the indices in x of the update at some indices; it may load and check. Updates
    that differ only along the axes `ordered` may meet and come in row-major order; the others must
    be taken apart by an index that stands in the place as it is. Sums of half types are taken in
    float32.
    """
    (out,) = nest.outputs
    half = combine == "add" and x.dtype in (dtypes.float16, dtypes.bfloat16)
    total = nest.local(dtypes.float32, x.shape) if half else out
    nest.pointwise((total,), lambda i: cast(x[i], total.dtype))
    free = [a for a in range(updates.rank) if a not in ordered]
    outer, inner = ([updates.shape[a] for a in axes] for axes in (free, ordered))
    with nest.loops(outer) as i, nest.loops(inner, "sequential") as k:
        at = merged(i, k, ordered)
        value = nest.let(cast(updates[at], total.dtype))
        nest.store(total, place(at), value, combine)
    if half:
        nest.pointwise((out,), lambda i: cast(total[i], out.dtype))


def share_of_maximum(nest: NestBuilder, window: Sequence[int], x: Operand, ct: Operand) -> Point:
    """Return the Point of ct at the first maximum of each window and 0 elsewhere.

    The windows lie side by side along the last axes and cover x; the last one of several NaNs is
    taken. Where an element stands in its window is known when the loops run over windows.
    """
    lead = x.rank - len(window)
    zero = nest.constant(0, x.dtype)

    def element(read: Operand, at: Indices) -> Scalar:
        found: Scalar = nest.once((read, at), at, lambda: nest.let(read[at]))
        return found

    def point(i: Indices) -> Scalar:
        i = tuple(map(simplify, i))
        at = [simplify(p // n) for p, n in zip(i[lead:], window, strict=True)]
        here = simplify(flat([p % n for p, n in zip(i[lead:], window, strict=True)], window))
        known = int(here.text) if isinstance(here, Constant) else None
        mine = element(x, i)
        wins, last = [], []
        for n, tap in enumerate(product(*map(range, window))):
            if n == known:
                continue
            starts = zip(at, window, tap, strict=True)
            other = element(x, (*i[:lead], *(simplify(p * size + k) for p, size, k in starts)))
            if known is None:
                wins.append((mine > other) | (nest.eq(mine, other) & (here <= n)))
                last.append((here >= n) | nest.eq(other, other))
            else:
                wins.append(mine > other if n < known else mine >= other)
                last += [nest.eq(other, other)] if n > known else []
        best = nest.all(wins)
        if x.dtype.is_inexact:  # the last NaN wins
            best = best | nest.all([nest.isnan(mine), *last])
        return nest.select(best, element(ct, (*i[:lead], *at)), zero)

    return point


def before(x: Scalar, y: Scalar) -> Scalar:
    """Return x < y, where NaN counts as the largest value."""
    if not x.dtype.is_inexact:
        return x < y
    return (x < y) | (call("isnan", y) & ~call("isnan", x))


def search_sorted(
    nest: NestBuilder,
    row: Callable[[Scalar], Scalar],
    count: Scalar,
    goes_before: Callable[[Scalar], Scalar],
) -> Scalar:
    """Return how many leading elements of a row satisfy a test, by bisection.

    Args:
        nest: the builder.
        row: reads the row at an index.
        count: elements of the row.
        goes_before: the test; it holds for the first elements and for none after them.
    """
    low, high = nest.var(constant(0, dtypes.int64)), nest.var(count)
    passes = nest.number(nest.size(count).bit_length())
    with nest.loop(passes, "sequential"), nest.guard(low < high):
        middle = nest.let((low + high) // 2)
        with nest.guard(goes_before(row(middle))):
            nest.assign(low, middle + 1)
        with nest.otherwise():
            nest.assign(high, middle)
    return low


def arg_sort(nest: NestBuilder, x: Operand, axis: int, descending: bool = False) -> None:
    """Write to the output the positions that sort x along an axis.

    Stable in both directions; NaN counts as the largest value. Merging bottom up: runs of 1, 2, 4 …
    positions are merged from one row of scratch into the other.
    """
    (positions,) = nest.outputs
    count = x.shape[axis]
    passes = nest.number(max(nest.size(count) - 1, 0).bit_length())
    others = [n for a, n in enumerate(x.shape) if a != axis]
    with nest.loops(others) as rest:
        order = nest.local(dtypes.int64, (2, count))
        with nest.loop(count) as k:
            nest.store(order, (0, k), k)
        with nest.loop(passes, "sequential") as p:
            _merge_runs(nest, order, p, count, _comes_first(nest, x, rest, axis, descending))
        with nest.loop(count) as k:
            at = merged(rest, (k,), (axis,))
            nest.store(positions, at, cast(order[passes % 2, k], positions.dtype))


def _comes_first(
    nest: NestBuilder, x: Operand, rest: Indices, axis: int, descending: bool
) -> Callable[[Scalar, Scalar], Scalar]:
    """A test whether the element at one position of the row must stand before another one."""

    def test(one: Scalar, other: Scalar) -> Scalar:
        small, large = (nest.let(x[merged(rest, (at,), (axis,))]) for at in (one, other))
        return before(large, small) if descending else before(small, large)

    return test


def _merge_runs(
    nest: NestBuilder,
    order: Operand,
    p: Scalar,
    count: Scalar,
    comes_first: Callable[[Scalar, Scalar], Scalar],
) -> None:
    """Merge neighbouring runs of 2**p positions from row p % 2 of `order` into the other row."""
    width = nest.let(constant(1, dtypes.int64) << p)
    source = nest.let(p % 2)
    left, right = nest.var(constant(0, dtypes.int64)), nest.var(constant(0, dtypes.int64))
    with nest.loop(count, "sequential") as k:
        start = nest.let(k // (width * 2) * (width * 2))
        middle = nest.let(call("minimum", start + width, count))
        end = nest.let(call("minimum", start + width * 2, count))
        with nest.guard(call("eq", k, start)):
            nest.assign(left, start)
            nest.assign(right, middle)
        take_right = nest.select(
            right >= end,
            constant(False, dtypes.bool_),
            lambda: nest.select(
                left >= middle,
                constant(True, dtypes.bool_),
                lambda: comes_first(order[source, right], order[source, left]),
            ),
        )
        with nest.guard(take_right):
            nest.store(order, (1 - source, k), order[source, right])
            nest.assign(right, right + 1)
        with nest.otherwise():
            nest.store(order, (1 - source, k), order[source, left])
            nest.assign(left, left + 1)


def philox4x32(
    nest: NestBuilder, counter: Sequence[Scalar], key: Sequence[Scalar], rounds: int = 10
) -> tuple[Scalar, ...]:
    """Return four uint32 random words for a counter of four and a key of two uint32 words.

    J. K. Salmon et al., "Parallel random numbers: as easy as 1, 2, 3", SC 2011.
    """
    states = [nest.var(word) for word in counter]
    with nest.loop(rounds, "sequential") as n:
        turn = nest.let(cast(n, dtypes.uint32))
        k0, k1 = (k + turn * step for k, step in zip(key, (0x9E3779B9, 0xBB67AE85), strict=True))
        c0, c1, c2, c3 = states
        high0, low0 = _multiply(nest, c0, 0xD2511F53)
        high1, low1 = _multiply(nest, c2, 0xCD9E8D57)
        first, third = nest.let(high1 ^ c1 ^ k0), nest.let(high0 ^ c3 ^ k1)
        for state, word in zip(states, (first, low1, third, low0), strict=True):
            nest.assign(state, word)
    return tuple(states)


def _multiply(nest: NestBuilder, value: Scalar, factor: int) -> tuple[Scalar, Scalar]:
    """The upper and lower word of a product of two 32-bit words."""
    product = nest.let(cast(value, dtypes.uint64) * factor)
    return nest.let(cast(product >> 32, dtypes.uint32)), nest.let(cast(product, dtypes.uint32))
