"""Loops: the schedule of every nest that is no contraction."""

from __future__ import annotations

from dataclasses import dataclass
from typing import final

from talweg.loops.nest import LoopNest
from talweg.schedule.moves import collapsed, unrolled
from talweg.schedule.place import placed
from talweg.schedule.stages import Staged, split
from talweg.schedule.target import Target
from talweg.schedule.vectors import choose


@final
@dataclass(frozen=True)
class Loops:
    """Loops are cut into stages, and some of them become vectors.

    Args:
        vectors: whether any do.
    """

    vectors: bool = True


def staged(nest: LoopNest, schedule: Loops, target: Target) -> Staged:
    """Apply a schedule to a verified nest."""
    moved = collapsed(unrolled(placed(nest)))
    return split(moved, choose(moved, target) if schedule.vectors else {})
