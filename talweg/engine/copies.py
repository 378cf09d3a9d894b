"""Which launches of a Plan share a copy of their right operand: a recurrence's weights, say.

A copy in panels is made for one product, and where the operand is large and the other one is not
it takes a good part of its time. Launches of one kernel that read the same there, in the same
order, copy it once: the first one makes the copy, in memory of the arena, and the others leave out
the stage that makes it.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Any, NamedTuple, TypeAlias

from talweg.codegen.cpu import host
from talweg.engine.program import Shared
from talweg.engine.schedules import schedule_of
from talweg.ir.node import Node
from talweg.loops.nest import LoopNest
from talweg.passes.memory import Gaps
from talweg.passes.plan import Launch
from talweg.runtime.buffer import ALIGNMENT
from talweg.schedule.choose import Schedule
from talweg.schedule.ready import Copy, made_before, sharing

LEAST = 1 << 16  # bytes of an operand: of less a copy is made in no time
TIMES = 3  # launches from which on they share a copy

Name: TypeAlias = tuple[str, tuple[Node, ...]]


class Sharing(NamedTuple):
    """How a launch is computed whose right operand others copy as well.

    Args:
        schedule: where every run makes the copy.
        copy: what is made once for all of them.
    """

    schedule: Schedule
    copy: Copy


def sharing_schedules(launches: Sequence[Launch]) -> list[Sharing | None]:
    """Return the schedules of launches that read what others with their kernel read.

    Those that nobody shares a copy with are as they would be alone.
    """
    chosen: dict[Any, Schedule] = {}
    known: dict[Any, Sharing | None] = {}
    found: list[Sharing | None] = []
    for step, common in zip(launches, _common(launches), strict=True):
        same = id(step.nest), id(step.values), common
        if common and same not in known:
            nest, values = step.nest, step.nest.named(step.values)
            alone = schedule_of(nest, step.values)
            key = nest, alone, common
            if key not in chosen:
                chosen[key] = sharing(nest, alone, values, common, host())
            schedule = chosen[key]
            own = None if schedule is alone else made_before(nest, schedule, values, common, host())
            known[same] = own and Sharing(schedule, own)
        found.append(known[same] if common else None)
    names = Counter(name_of(s, c.copy) for s, c in zip(launches, found, strict=True) if c)
    return [
        c if c and names[name_of(s, c.copy)] > 1 else None
        for s, c in zip(launches, found, strict=True)
    ]


def name_of(step: Launch, copy: Copy) -> Name:
    """Return what is equal for launches whose copies hold the same."""
    return copy.key, tuple(step.operands[n] for n in copy.reads)


def _common(launches: Sequence[Launch]) -> list[tuple[int, ...]]:
    """For each launch: which of its buffers enough others with its kernel read too."""
    first: dict[LoopNest, int] = {}
    nests = {id(step.nest): step.nest for step in launches}
    numbers = {at: first.setdefault(nest, at) for at, nest in nests.items()}
    read = [
        [
            (numbers[id(step.nest)], n, node)
            for n, node in enumerate(step.operands[: len(step.nest.inputs)])
            if node.type.nbytes >= LEAST
        ]
        for step in launches
    ]
    counts = Counter(key for keys in read for key in keys)
    return [tuple(key[1] for key in keys if counts[key] >= TIMES) for keys in read]


def laid_out(
    names: Sequence[Name | None], sizes: Sequence[int], start: int
) -> tuple[list[Shared | None], int]:
    """Return where each launch finds its copy, and where all memory of the arena ends.

    Args:
        names: of the copies of launches, in the order in which they run.
        sizes: their bytes.
        start: where the arena ends without them.
    """
    start = -(-start // ALIGNMENT) * ALIGNMENT
    last = {name: n for n, name in enumerate(names) if name is not None}
    gaps, places = Gaps(), dict[Name, int]()
    found: list[Shared | None] = []
    for n, (name, size) in enumerate(zip(names, sizes, strict=True)):
        if name is None:
            found.append(None)
            continue
        room = -(-size // ALIGNMENT) * ALIGNMENT
        made = name in places
        if not made:
            places[name] = gaps.take(room)
        found.append(Shared(start + places[name], made))
        if last[name] == n:
            gaps.give(places[name], room)
    return found, start + gaps.end if places else start
