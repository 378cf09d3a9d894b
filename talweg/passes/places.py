"""Where the operands of a Plan lie: all that running it must know of how it was made."""

from __future__ import annotations

from typing import final

from talweg.base.frozen import frozen
from talweg.ir.node import Node
from talweg.ir.types import TensorType

INPUT, OUTPUT, ARENA = "input", "output", "arena"


@final
@frozen
class Place:
    """Where an operand lies: input or output number `at`, or `at` bytes into the arena.

    Args:
        kind, at: say that.
        offset: bytes from the beginning of the input or output.
    """

    kind: str
    at: int
    offset: int = 0

    def moved(self, nbytes: int) -> Place:
        """Return the place so many bytes behind this one."""
        if self.kind == ARENA:
            return Place(ARENA, self.at + nbytes)
        return Place(self.kind, self.at, self.offset + nbytes)


@final
@frozen
class HostCall:
    """A Python function called with arrays."""

    node: Node
    types: tuple[TensorType, ...]
    places: tuple[Place, ...]
    results: tuple[TensorType, ...]
    targets: tuple[Place, ...]

    __eq__ = object.__eq__
    __hash__ = object.__hash__
