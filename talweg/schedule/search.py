"""Other schedules of a nest, for a search that measures them, and schedules as text."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, replace
from typing import Any

from talweg.loops.nest import LoopNest
from talweg.loops.scalar import Number
from talweg.schedule.choose import Schedule, choose
from talweg.schedule.contraction import Order, recognise
from talweg.schedule.contraction_choice import priced
from talweg.schedule.contraction_tiles import Tiles
from talweg.schedule.loops import Loops, choose_loops
from talweg.schedule.target import Target


def candidates(
    nest: LoopNest, values: Mapping[str, Number], target: Target, count: int
) -> tuple[Schedule, ...]:
    """Return schedules of a verified nest: the default one, then others, the cheapest first.

    Of a contraction they are other tiles, ways to read and orders, and the ordinary loops; of
    other nests the switches of `Loops`. All of them give the nest's results; sums may be added in
    another order.

    Args:
        nest: the kernel.
        values: of its arguments.
        target: the machine.
        count: how many at most.
    """
    first, loops = choose(nest, values, target), choose_loops(nest, values)
    contraction = recognise(nest)
    if contraction is not None:
        prices = priced(contraction, values, target)
        cheapest = dict.fromkeys((first, *sorted(prices, key=lambda tiles: prices[tiles])))
        return (*tuple(cheapest)[: count - 1], *(() if loops in cheapest else (loops,)))
    others = [replace(loops, large=not loops.large), replace(loops, chunks=not loops.chunks)]
    if loops.streams:
        others.append(replace(loops, streams=()))
    return (first, *others)[:count]


def described(schedule: Schedule) -> dict[str, Any]:
    """Return a schedule as what JSON can hold; `read_schedule` makes it again."""
    return {"kind": type(schedule).__name__, **asdict(schedule)}


def read_schedule(fields: Mapping[str, Any]) -> Schedule:
    """Return the schedule that `described` has described.

    Raises:
        TypeError, KeyError: for anything else.
    """
    given = dict(fields)
    if given.pop("kind") == "Tiles":
        return Tiles(**given | {"order": Order(**given["order"])})
    sizes = tuple((str(name), int(size)) for name, size in given["sizes"])
    return Loops(**given | {"streams": tuple(given["streams"]), "sizes": sizes})
