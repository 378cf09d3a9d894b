"""Transposition of a square of registers."""

from __future__ import annotations

from collections.abc import Sequence

from talweg.codegen.lanes import Lanes


def transposed(rows: Sequence[Lanes]) -> list[Lanes]:
    """Return the columns of as many vectors as each has lanes, a power of two.

    Squares of 1, 2, 4 … lanes change places with their partners across the diagonal.
    """
    lanes = len(rows)
    now = list(rows)
    size = 1
    while size < lanes:
        following = list(now)
        for n in range(lanes):
            if n & size:
                continue
            first, second = now[n], now[n | size]
            low = [at if not at & size else lanes + at - size for at in range(lanes)]
            high = [at + size if not at & size else lanes + at for at in range(lanes)]
            following[n], following[n | size] = (
                _mixed(first, second, order) for order in (low, high)
            )
        now, size = following, size * 2
    return now


def _mixed(first: Lanes, second: Lanes, order: Sequence[int]) -> Lanes:
    listed = ", ".join(f"i32 {n}" for n in order)
    name = first.writer.emit(
        f"shufflevector {first.type} {first.name}, {second.type} {second.name}, "
        f"<{len(order)} x i32> <{listed}>"
    )
    return Lanes(first.writer, name, first.kind, first.lanes)
