"""Cheap values are computed again where they are read, instead of being stored.

A value that only other kernels need costs a write and a read for each of them. Where it is a few
operations on what these kernels read anyway, or could read in its place, it need not exist.
"""

from __future__ import annotations

from talweg.ir.node import Node
from talweg.ops.kinds import Contract, Elementwise, Reduce, Unary, View
from talweg.passes.groups import MEMBERS, READS, Group, Wiring, only_elementwise
from talweg.passes.reads import composed, indices_of, same_place

LONG = 1 << 12  # elements of a value worth the trouble
STEPS = 6  # operations that are done again


def recompute(wiring: Wiring) -> None:
    """Move cheap values into the kernels that read them."""
    work = _Recomputing(wiring)
    for group in reversed(wiring.groups):
        for node in reversed(list(group.members)):
            work.visit(node, group)
    wiring.groups = [g for g in wiring.groups if work.is_needed(g)]
    for number, group in enumerate(wiring.groups):
        group.number = number


class _Recomputing:
    def __init__(self, wiring: Wiring) -> None:
        self.wiring = wiring
        self.readers: dict[Node, dict[Group, list[Node]]] = {}
        for group in wiring.groups:
            for node in group.members:
                self._reads(node, group)

    def _reads(self, node: Node, group: Group) -> None:
        wiring = self.wiring
        for base in wiring.bases(node):
            root = wiring.root(base)
            if wiring.group_of.get(root) is not group:
                self.readers.setdefault(root, {}).setdefault(group, []).append(node)

    def is_needed(self, group: Group) -> bool:
        """Whether a group still makes something that is wanted."""
        wiring = self.wiring
        if not group.open:
            return True
        made = (n for n in group.members if wiring.group_of[n] is group)
        return any(n in wiring.wanted or n in wiring.renamed or n in self.readers for n in made)

    def visit(self, node: Node, group: Group) -> None:
        """Let every reader of a Node compute it, where that pays."""
        wiring = self.wiring
        readers = self.readers.get(node)
        if not readers or not isinstance(node.op, Elementwise) or node in group.row_level:
            return
        if node.type.size < LONG or node in wiring.wanted or node in wiring.renamed:
            return
        found = self._steps(node, group)
        if found is None:
            return
        steps, leaves = found
        extra = 0
        for reader, users in readers.items():
            if not self._may(reader, users, steps, leaves):
                return
            new = [leaf for leaf in leaves if leaf not in reader.reads]
            extra += sum(leaf.type.nbytes for leaf in new)
        if extra > node.type.nbytes * (1 + len(readers)):
            return
        del self.readers[node]
        for reader in readers:
            reader.reads.pop(node, None)
            for step in steps:
                reader.members[step] = None
            for leaf in leaves:
                reader.reads[leaf] = None
                self.readers.setdefault(leaf, {}).setdefault(reader, []).append(node)

    def _steps(self, node: Node, group: Group) -> tuple[list[Node], list[Node]] | None:
        """What computes a Node from values that are stored anyway or small, and these values."""
        wiring = self.wiring
        steps: dict[Node, None] = {}
        leaves: dict[Node, None] = {}
        stack = [node]
        while stack:
            step = stack.pop()
            if step in steps:
                continue
            if not isinstance(step.op, Elementwise) or isinstance(step.op, Unary):
                return None
            if step.shape != node.shape or len(steps) == STEPS:
                return None
            steps[step] = None
            for chain, base in wiring.paths(step):
                root = wiring.root(base)
                inside = wiring.group_of.get(root) is group and root not in group.row_level
                if inside and root is base and not chain and root not in self.readers:
                    if root not in wiring.wanted and root not in wiring.renamed:
                        stack.append(root)
                        continue
                if not self._is_near(chain, base, node):
                    return None
                leaves[root] = None
        return list(steps), list(leaves)

    def _is_near(self, chain: tuple[Node, ...], base: Node, node: Node) -> bool:
        """Whether a value is small, or read at the place of the result, and of one result."""
        wiring = self.wiring
        root = wiring.root(base)
        if root is not base or root in wiring.copied:
            return False
        if root not in wiring.given and root not in wiring.group_of:
            return False
        if root.type.size * 8 <= node.type.size:
            return True
        at = composed(chain) if chain else indices_of(base.rank)
        same = wiring.orders.get(root) == wiring.orders.get(node)
        return same and same_place(at, indices_of(node.rank), base.shape)

    def _may(self, reader: Group, users: list[Node], steps: list[Node], leaves: list[Node]) -> bool:
        if not reader.open or not _ends_elementwise(reader):
            return False
        if reader.rows is not None and steps[0].shape != reader.space:
            return False
        if len(reader.members) + len(steps) > MEMBERS:
            return False
        if len(reader.reads.keys() | set(leaves)) > READS:
            return False
        if any(self.wiring.group_of.get(leaf) is reader for leaf in leaves):
            return False
        return all(isinstance(user.op, Elementwise | Reduce) for user in users)


def _ends_elementwise(group: Group) -> bool:
    """Whether a group is elementwise, but for a contraction that comes first."""
    first = next(iter(group.members))
    return only_elementwise(group) or (
        isinstance(first.op, Contract)
        and all(isinstance(n.op, Elementwise | View) for n in group.members if n is not first)
    )
