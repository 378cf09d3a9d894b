"""Copies that are made once for many runs: of a right operand that stays what it is."""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Mapping
from dataclasses import replace
from typing import NamedTuple

from talweg.base.open import Open
from talweg.loops.nest import LoopNest
from talweg.loops.scalar import Load, Number, Scalar, constant, substitute
from talweg.schedule.choose import Schedule
from talweg.schedule.contraction import recognise
from talweg.schedule.contraction_choice import choose_sharing
from talweg.schedule.contraction_tiles import Tiles
from talweg.schedule.contraction_work import tile_of
from talweg.schedule.place import names_in, plain, walk
from talweg.schedule.target import Target

PIECE = 1024  # how much of the depth is taken at once where a copy streams by


class Copy(NamedTuple):
    """A copy of a right operand.

    Args:
        tiles: the schedule whose first stage makes it. It gives the same results, bit by bit, as
            the one in which every run makes the copy: sums that wait between pieces of the depth
            go on where they stopped, so longer pieces add in the same order.
        reads: the numbers of the buffers that it is made of.
        key: equal for copies that hold the same where their buffers do.
    """

    tiles: Tiles
    reads: tuple[int, ...]
    key: str


def sharing(
    nest: LoopNest,
    schedule: Schedule,
    values: Mapping[str, Number],
    common: Collection[int],
    target: Target,
) -> Schedule:
    """Return the schedule of a nest that may share a copy of its right operand with others.

    Args:
        nest: the kernel.
        schedule: how it is computed otherwise; the other one adds in the same order.
        values: of its arguments.
        common: the numbers of its buffers in which others read the same.
        target: the machine.
    """
    contraction = recognise(nest) if isinstance(schedule, Tiles) and common else None
    if contraction is None:
        return schedule
    assert isinstance(schedule, Tiles)
    return choose_sharing(contraction, values, schedule, common, target)


def made_before(
    nest: LoopNest,
    schedule: Schedule,
    values: Mapping[str, Number],
    fixed: Collection[int],
    target: Target,
) -> Copy | None:
    """Return the copy that a nest needs of buffers that stay what they are; None if there is none.

    Args:
        nest: the kernel.
        schedule: how it is computed otherwise.
        values: of its arguments.
        fixed: the numbers of the buffers whose contents are the same in many runs.
        target: the machine.
    """
    if not isinstance(schedule, Tiles) or not schedule.packed or schedule.splits > 1:
        return None
    found = recognise(nest, schedule.order)
    assert found is not None, "only contractions are tiled"
    names = [b.name for b in nest.inputs]
    reads = sorted({names.index(p.buffer) for p in walk(found.right) if isinstance(p, Load)})
    if not reads or not all(n in fixed for n in reads):
        return None
    numbers: dict[str, Scalar] = {
        a.name: constant(int(value) if isinstance(value, Open) else value, a.dtype)
        for a, value in zip(nest.arguments, values.values(), strict=True)
    }
    given = [value.place for value in values.values() if isinstance(value, Open)]
    moved = names_in(found.right)
    batch = found.batch if any(axis.index in moved for axis in found.batch) else ()
    axes = [
        [(axis.index, substitute(axis.extent, numbers)) for axis in group]
        for group in (batch, found.columns, found.depth)
    ]
    width = tile_of(found, schedule, target).columns
    right = substitute(plain(found.right), numbers)
    text = f"{found.dtype.name} {width} {axes} {right} {given}"
    key = hashlib.sha256(text.encode()).hexdigest()[:32]
    piece = max(schedule.piece, PIECE) if schedule.near else schedule.piece
    return Copy(replace(schedule, piece=piece, ready=True), tuple(reads), key)
