"""Values made of parts in a row are where their parts are: nothing is copied.

Where all parts of a join lie one behind the other in its memory, kernels that compute the parts
write them there. So the gradients of all steps of a recurrence are one matrix when the last of them
is computed.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import field
from typing import final

from talweg.base.frozen import frozen
from talweg.ir.node import Graph, Node
from talweg.ops.kinds import Control, Effect, Joined, View
from talweg.passes.groups import Fusion, Group
from talweg.passes.layout import Order

LINE = 64  # bytes at whose multiples parts begin


@final
@frozen
class Assembly:
    """Which values lie in the memory of others.

    Attributes:
        wholes: Nodes that no kernel makes, and their parts, as they are read.
        homes: for each part the Node in whose memory it lies, and where it begins, in bytes.
    """

    wholes: dict[Node, tuple[Node, ...]] = field(default_factory=dict)
    homes: dict[Node, tuple[Node, int]] = field(default_factory=dict)

    def home(self, node: Node) -> tuple[Node, int]:
        """Return the outermost Node in whose memory a value lies, and where it begins."""
        at = 0
        while node in self.homes:
            node, start = self.homes[node]
            at += start
        return node, at

    def is_made(self, group: Group) -> bool:
        """Whether a group is complete when its parts are."""
        return self.wholes.keys() >= group.members.keys()


def assemble(graph: Graph, fusion: Fusion, orders: Mapping[Node, Order]) -> Assembly:
    """Return which values of a fused Graph are made in the memory of others."""
    made = Assembly()
    fixed = fusion.given | {fusion.root(node) for node in graph.outputs}
    alone = [next(iter(g.members)) for g in fusion.groups if len(g.members) == 1]
    for whole in sorted(alone, key=lambda node: not isinstance(node.op, Joined)):
        axis = whole.op.joins(whole.rank) if isinstance(whole.op, View) else None
        if axis is None or whole in fixed or whole in orders or set(whole.shape[:axis]) - {1}:
            continue
        parts = [_stored(operand, fusion) for operand in whole.inputs]
        if len(set(parts)) < len(parts):
            continue
        if all(_movable(part, fusion, orders) and part not in made.homes for part in parts):
            if fixed.isdisjoint(parts):
                _add(made, whole, parts)
    return made


def _add(made: Assembly, whole: Node, parts: list[Node]) -> None:
    start = 0
    for part in parts:
        made.homes[part] = whole, start
        start += part.type.nbytes
    made.wholes[whole] = tuple(parts)


def _stored(node: Node, fusion: Fusion) -> Node:
    """The Node that has the memory of an operand, which may be read by another shape."""
    while isinstance(node.op, View) and node.op.relabels and node not in fusion.given:
        if node in fusion.stored or node in fusion.group_of:
            break
        (node,) = node.inputs
    return fusion.root(node)


def _movable(node: Node, fusion: Fusion, orders: Mapping[Node, Order]) -> bool:
    """Whether a kernel stores a value in row-major order."""
    if node not in fusion.stored or node not in fusion.group_of or node in orders:
        return False
    if isinstance(node.op, Control | Effect) or not node.type.nbytes:
        return False
    return node.type.nbytes % LINE == 0
