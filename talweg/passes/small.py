"""Which Graphs are small, see `apart.py`: said of a Graph alone, before anything is compiled."""

from __future__ import annotations

from typing import Final, final

from talweg.ir.node import Graph
from talweg.ir.op import Op, Pick
from talweg.ir.types import TensorType
from talweg.ops.kinds import Control, Effect, Move, View

SMALL: Final = 1 << 11  # bytes of a result, on average: some hundred elements
LONG: Final = 64  # Nodes from which a Graph takes so long to plan that values may be larger
LARGER: Final = 1 << 14
ALIGNMENT: Final = 64

PLAIN, SHOWN, REFUSED = 0, 1, 2


@final
class _Roles(dict[type[Op], int]):
    """Whether Nodes of an Op are computed, read through, or need more than a kernel."""

    def __missing__(self, op: type[Op]) -> int:
        role = PLAIN
        if issubclass(op, Pick | Control | Effect):
            role = REFUSED
        elif issubclass(op, View) and op is not Move:
            role = SHOWN
        self[op] = role
        return role


ROLES = _Roles()


def is_small(graph: Graph) -> bool:
    """Whether a Graph is to be cut into Nodes: its values are small, and each has one result."""
    total = 0
    roles = ROLES
    for node in graph.order:
        type = node.type
        if roles[node.op.__class__] == REFUSED or type.__class__ is not TensorType:
            return False
        total += type.nbytes
    return are_small(total, len(graph.order))


def are_small(nbytes: int, count: int) -> bool:
    """Whether the values of so many Nodes, of so many bytes together, are small."""
    return nbytes <= (SMALL if count < LONG else LARGER) * count
