"""Donation: outputs of a Plan that may lie in the memory of inputs, where the caller gives it away.

So new parameters and the state of an optimizer take the place of the old ones.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import NamedTuple

from talweg.passes.places import INPUT, OUTPUT, Place


class Touched(NamedTuple):
    """What a step does with memory.

    Args:
        reads, writes: the places of its operands.
        in_place: pairs of a place that it reads only where, and not after, it writes the other.
        checked: whether it may fail.
    """

    reads: Sequence[Place]
    writes: Sequence[Place]
    in_place: Sequence[tuple[Place, Place]] = ()
    checked: bool = False


class Donation(NamedTuple):
    """What is known of the inputs and allocated outputs of a Plan, by their numbers.

    Args:
        lives: the last step that reads each input; -1 where none does.
        written: the first step that writes each output.
        in_place: pairs that the last step that reads the input may write over.
        checked: the last step that may fail; -1 where none may.
    """

    lives: tuple[int, ...]
    written: tuple[int, ...]
    in_place: tuple[tuple[int, int], ...]
    checked: int

    def may_replace(self, input: int, output: int) -> bool:
        """Return whether an output may lie in the memory of an input of the same type.

        Nothing reads the input any more when the output is written, and nothing can fail then.
        """
        step, last = self.written[output], self.lives[input]
        if step <= self.checked:
            return False
        return last < step or (last == step and (input, output) in self.in_place)


def donation_of(steps: Iterable[Touched], inputs: int, outputs: int) -> Donation:
    """Return what the steps of a Plan, in order, leave to its caller.

    Args:
        steps: what they do.
        inputs, outputs: how many there are.
    """
    lives, checked = [-1] * inputs, -1
    first: dict[int, int] = {}
    pairs: dict[tuple[int, int], int] = {}
    for number, step in enumerate(steps):
        if step.checked:
            checked = number
        for place in step.reads:
            if place.kind == INPUT:
                lives[place.at] = number
        for place in step.writes:
            if place.kind == OUTPUT:
                first.setdefault(place.at, number)
        for old, new in step.in_place:
            if (old.kind, new.kind) == (INPUT, OUTPUT):
                pairs[old.at, new.at] = number
    found = tuple(pair for pair, number in pairs.items() if lives[pair[0]] == number)
    written = tuple(first.get(at, -1) for at in range(outputs))
    return Donation(tuple(lives), written, found, checked)
