"""Where the operands of a Plan lie: all that running it must know of how it was made."""

from __future__ import annotations

from dataclasses import dataclass
from typing import final

from talweg.ir.node import Node
from talweg.ir.types import TensorType

INPUT, OUTPUT, ARENA = "input", "output", "arena"


@final
@dataclass(frozen=True)
class Place:
    """Where an operand lies: input or output number `at`, or `at` bytes into the arena."""

    kind: str
    at: int


@final
@dataclass(frozen=True, eq=False)
class HostCall:
    """A Python function called with arrays."""

    node: Node
    types: tuple[TensorType, ...]
    places: tuple[Place, ...]
    results: tuple[TensorType, ...]
    targets: tuple[Place, ...]
