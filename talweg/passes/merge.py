"""Groups that share what they read become one kernel, where no other group stands between them.

A Node joins the latest group that it reads from when it is placed. So the gradient of a softmax
does not join the softmax if something small, the number of examples say, was computed meanwhile.
Here whole groups are joined: every group knows all that it depends on, so a cycle is seen at once.
"""

from __future__ import annotations

from collections.abc import Iterator
from heapq import heapify, heappop, heappush

from talweg.base.shapes import size_of
from talweg.ir.node import Node
from talweg.ops.kinds import Effect, Elementwise, Gather, Reduce, View
from talweg.passes.groups import MEMBERS, READS, Group, Wiring, is_row, only_elementwise
from talweg.passes.reads import indices_of, is_sum, picks_row
from talweg.passes.simplify import has_one_result

NEAR = 256  # groups further apart are not joined, which keeps the pass linear
READERS = 4  # of a value that are looked at
WIDE = 128  # elements of a row to which a sum over rows is added in memory
FEW = 256  # rows of sums that are summed up at the end


def merge_groups(wiring: Wiring) -> None:
    """Join groups, and bring them into an order in which each comes after what it reads."""
    merging = _Merging(wiring)
    for group in wiring.groups:
        merging.visit(group)
    for group in wiring.groups:  # two that were joined may fit a third
        merging.visit_again(group)
    wiring.groups = merging.ordered()
    for number, group in enumerate(wiring.groups):
        group.number = number


class _Merging:
    def __init__(self, wiring: Wiring) -> None:
        self.wiring = wiring
        self.known: list[Group] = []  # by number
        self.above: dict[Group, int] = {}  # the numbers of all groups it depends on, as bits
        self.gone: set[Group] = set()
        self.readers: dict[Node, list[Group]] = {}
        calls = [g for g in wiring.groups if any(isinstance(n.op, Effect) for n in g.members)]
        self.call_before = dict(zip(calls[1:], calls, strict=False))  # calls keep their order

    def visit(self, group: Group) -> None:
        """Join a group to one of those before it, if it may be."""
        self.known.append(group)
        self._note(group)
        if not group.open or self._joined(group):
            return
        for root in group.reads:
            self.readers.setdefault(root, []).append(group)

    def visit_again(self, group: Group) -> None:
        """Join a group to one of all."""
        if group.open and group not in self.gone and only_elementwise(group):
            self._joined(group)

    def _joined(self, group: Group) -> bool:
        for other in self._near(group):
            if self._independent(group, other) and self._fits(group, other):
                self._join(group, other)
                return True
        return False

    def _note(self, group: Group) -> None:
        bits = 0
        for made in self._producers(group):
            bits |= self.above[made] | 1 << made.number
        self.above[group] = bits

    def _producers(self, group: Group) -> Iterator[Group]:
        if group in self.call_before:
            yield self.call_before[group]
        for root in group.reads:
            made = self.wiring.group_of.get(root)
            if made is not None and made is not group:
                yield made

    def _near(self, group: Group) -> list[Group]:
        """Groups that make what this one reads, or read the same, the latest first."""
        found: dict[Group, None] = {}
        size = max(n.type.nbytes for n in group.members)
        for root in group.reads:
            made = self.wiring.group_of.get(root)
            if made is not None:
                found[made] = None
            if has_one_result(root) and root.type.nbytes >= size:
                found |= dict.fromkeys(self.readers.get(root, [])[-READERS:])
        near = [g for g in found if g not in self.gone and abs(group.number - g.number) <= NEAR]
        return sorted((g for g in near if g is not group), key=lambda g: -g.number)

    def _independent(self, group: Group, other: Group) -> bool:
        """Whether no third group stands between the two, and the other reads nothing of this."""
        if group in self._producers(other):
            return False
        for first, last in ((group, other), (other, group)):
            made = (p for p in self._producers(last) if p is not first)
            if any(self.above[p] >> first.number & 1 for p in made):
                return False
        return True

    def _fits(self, group: Group, other: Group) -> bool:
        if not other.open or len(group.members) + len(other.members) > MEMBERS:
            return False
        if len(group.reads.keys() | other.reads.keys()) > READS or not only_elementwise(other):
            return False
        if not self._leaves_products(group, other):
            return False
        if group.space == other.space:
            return self._same_space(group, other)
        return self._on_rows(group, other) or self._sums_rows(group, other)

    def _leaves_products(self, group: Group, other: Group) -> bool:
        """Whether a product in a group gets no company but that of elements at its places."""
        if not self.wiring.turned.isdisjoint(group.members):
            return False
        alike = group.space == other.space and group.rows is None
        return alike or self.wiring.turned.isdisjoint(other.members)

    def _same_space(self, group: Group, other: Group) -> bool:
        rows = {g.rows for g in (group, other) if g.rows is not None}
        if group.order != other.order or len(rows) > 1 or not only_elementwise(group):
            return False
        if _columns(group) != _columns(other):
            return False
        full = indices_of(len(group.space))
        for node in group.members:
            if isinstance(node.op, View) and self._reads(node, other):
                return False
            if node in group.columns and group.rows != other.rows:
                return False
            if node in group.row_level and self.wiring.adds_again(node, group, other):
                return False
            whole = node not in group.row_level or isinstance(node.op, Reduce)  # what it reads
            if not self.wiring.reads_fit(node, other, full if whole else full[: group.rows]):
                return False
        return True

    def _on_rows(self, group: Group, other: Group) -> bool:
        """Whether all of a group is one value for each row of the other, made of that row."""
        if other.rows is None or group.rows is not None:
            return False
        here = indices_of(other.rows)
        for node in group.members:
            if not is_row(node.shape, other):
                return False
            if isinstance(node.op, Gather):
                if not self._picks(node, other):
                    return False
            elif not isinstance(node.op, Elementwise):
                return False
            elif not self.wiring.reads_fit(node, other, here):
                return False
        return True

    def _sums_rows(self, group: Group, other: Group) -> bool:
        """Whether all of a group are sums over the rows of the other."""
        rows = other.rows
        if rows is None or group.rows is not None or group.order or other.order:
            return False
        if size_of(other.space[rows:]) < WIDE or size_of(other.space[: rows - 1]) > FEW:
            return False
        full = indices_of(len(other.space))
        for node in group.members:
            if not isinstance(node.op, Reduce) or node.op.axes != tuple(range(rows)):
                return False
            (operand,) = node.inputs
            if operand.shape != other.space or not is_sum(node.op, operand.type, node.type):
                return False
            if self.wiring.orders.get(operand) or not self.wiring.reads_fit(node, other, full):
                return False
        return True

    def _picks(self, node: Node, other: Group) -> bool:
        """Whether a Gather reads elements of the present row, at an index from elsewhere."""
        source, *indices = node.inputs
        if self.wiring.group_of.get(source) is not other or source in other.row_level:
            return False
        if any(base in other.members for i in indices for base in (i, *self.wiring.bases(i))):
            return False
        types = tuple(i.type for i in node.inputs)
        return picks_row(node.op, types, node.type, other.rows or 0)

    def _reads(self, node: Node, other: Group) -> bool:
        return any(self.wiring.group_of.get(b) is other for b in self.wiring.bases(node))

    def _join(self, group: Group, other: Group) -> None:
        wiring = self.wiring
        other.members |= group.members
        if group.space == other.space:
            other.row_level |= group.row_level
            other.columns |= group.columns
            other.rows = group.rows if other.rows is None else other.rows
        elif self._sums_rows(group, other):
            other.columns |= group.members.keys()
        else:
            other.row_level |= group.members.keys()
        for node in group.members:
            wiring.group_of[node] = other
        for root in group.reads:
            if wiring.group_of.get(root) is not other:
                other.reads[root] = None
                self.readers.setdefault(root, []).append(other)
        self.gone.add(group)
        both = 1 << group.number | 1 << other.number
        bits = (self.above[group] | self.above[other]) & ~both
        self.above[other] = bits
        for later in self.known[min(other.number, group.number) :]:
            if self.above[later] & both:
                self.above[later] |= bits | 1 << other.number

    def ordered(self) -> list[Group]:
        """Return what is left, in an order that is valid, as near to the given one as may be."""
        left = [g for g in self.known if g not in self.gone]
        after: dict[Group, list[Group]] = {g: [] for g in left}
        waits: dict[Group, int] = {}
        for group in left:
            made = set(self._producers(group))
            waits[group] = len(made)
            for other in made:
                after[other].append(group)
        ready = [(g.number, g) for g in left if not waits[g]]
        heapify(ready)
        order: list[Group] = []
        while ready:
            _, group = heappop(ready)
            order.append(group)
            for later in after[group]:
                waits[later] -= 1
                if not waits[later]:
                    heappush(ready, (later.number, later))
        assert len(order) == len(left)
        return order


def _columns(group: Group) -> object:
    """What the reductions of a group without rows run over: they must be the same loops."""
    return {
        (n.op.axes, n.inputs[0].shape)
        for n in group.members
        if isinstance(n.op, Reduce) and n not in group.row_level | group.columns
    }
