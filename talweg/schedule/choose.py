"""Which schedule a nest gets."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TypeAlias

from talweg.loops.nest import LoopNest
from talweg.loops.scalar import Number
from talweg.schedule.contraction import recognise
from talweg.schedule.contraction_choice import choose_tiles
from talweg.schedule.contraction_tiles import Tiles
from talweg.schedule.loops import Loops, choose_loops
from talweg.schedule.target import Target

Schedule: TypeAlias = Loops | Tiles


def choose(nest: LoopNest, values: Mapping[str, Number], target: Target) -> Schedule:
    """Return the schedule of a verified nest.

    Args:
        nest: the kernel.
        values: of its arguments where it is used first; only their rough size is looked at.
        target: the machine.
    """
    contraction = recognise(nest)
    tiles = None if contraction is None else choose_tiles(contraction, values, target)
    return tiles or choose_loops(nest, values)
