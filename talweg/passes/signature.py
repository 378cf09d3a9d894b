"""Signatures: what a group's loop nest depends on, so that equal groups are lowered once.

A network repeats its blocks, and one training step resembles the next; their groups differ in which
Nodes they hold, but not in Ops, types and wiring.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, TypeAlias

from talweg.ir.node import Node
from talweg.passes.groups import Fusion, Group
from talweg.passes.layout import Order

Signature: TypeAlias = tuple[Any, ...]


def signature_of(
    group: Group,
    fusion: Fusion,
    results: Mapping[Node, tuple[Node, ...]],
    orders: Mapping[Node, Order],
) -> tuple[Signature, list[Node]]:
    """Return a signature, and the Nodes in the order in which it numbers them.

    Groups of one signature have one loop nest; its buffers belong to Nodes of equal numbers.
    """
    numbers: dict[Node, int] = {}
    rows: list[Any] = []

    def visit(node: Node) -> int:
        found = numbers.get(node)
        if found is not None:
            return found
        inside = is_inside(node, group, fusion, results)
        below = tuple(visit(i) for i in node.inputs) if inside else ()
        number = numbers[node] = len(numbers)
        token = node.op.token if inside else None
        order = orders.get(fusion.root(node))
        rows.append((token, node.type, below, fusion.uses.get(node, 0) > 1, order))
        return number

    members = tuple(
        (visit(n), n in fusion.stored, _level(n, group), tuple(map(visit, results.get(n, ()))))
        for n in group.members
    )
    head = group.space, group.order, group.rows, group.open
    return (head, members, tuple(rows)), list(numbers)


def _level(node: Node, group: Group) -> int:
    return 2 if node in group.columns else int(node in group.row_level)


def is_inside(
    node: Node, group: Group, fusion: Fusion, results: Mapping[Node, tuple[Node, ...]]
) -> bool:
    """Whether a Node is computed in the group's kernel, at each place where it is read."""
    if node in group.members:
        return True
    if node in fusion.given or node in fusion.alias or node in fusion.group_of:
        return False
    return not (node.inputs and node.inputs[0] in results)
