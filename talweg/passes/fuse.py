"""Fusion: Nodes are gathered into groups, and every group becomes one kernel.

A group has a *space*: the shape its loops run over. Its Nodes stand on one of two levels:

    space   one value for every point of the space
    rows    one value for every row: the space without its last axes, over which the group reduces

So an elementwise chain is a group without rows; a softmax is one with rows. A contraction, window
or gather opens a group whose space is its result, and elementwise Nodes may follow it there.

Views are in no group. They are index expressions in the kernels that read through them; only one
that merely relabels elements (reshape) is another name for stored memory.

A Node joins the latest group that it reads from, so that groups in their order of creation depend
on earlier ones only: no cycle can arise, and the pass is linear.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import final

from talweg.base.shapes import Shape, size_of
from talweg.ir.node import Graph, Node
from talweg.ir.op import Pick
from talweg.ops.kinds import (
    Contract,
    Control,
    Effect,
    Elementwise,
    Gather,
    Joined,
    Move,
    Reduce,
    Scan,
    Scatter,
    Unary,
    View,
    Window,
)
from talweg.passes.groups import Fusion, Group, Wiring, is_plain_view, is_row, only_elementwise
from talweg.passes.layout import Order
from talweg.passes.merge import merge_groups
from talweg.passes.reads import indices_of, place_of
from talweg.passes.recompute import recompute
from talweg.passes.simplify import has_one_result

FEW_ROWS = 16  # fewer rows than this do not keep all threads busy
LONG = 1 << 12  # elements whose order in memory matters
SHORT_AXIS = 8
SHORT = 1 << 15  # elements that one thread may well do alone
NEAR = 8  # groups that a contraction may be put behind


def fuse(graph: Graph, orders: Mapping[Node, Order]) -> Fusion:
    """Return the groups of a Graph: the only Control ops in it repeat theirs.

    Args:
        graph: what is fused.
        orders: of the axes of Nodes that are not stored row-major.
    """
    return _Fuser(graph, orders).run()


@final
class _Fuser(Wiring):
    def __init__(self, graph: Graph, orders: Mapping[Node, Order]) -> None:
        super().__init__(graph, orders)
        self.latest_reader: dict[Node, Group] = {}
        self.copied |= {n for n in graph.order if self._scatters(n) or self._fills(n)}
        self.inlined = self._prologues()

    def run(self) -> Fusion:
        for node in self.graph.order:
            self._place(node)
        for node in self.graph.outputs:
            self._place_output(node)
        merge_groups(self)
        recompute(self)
        for group in self.groups:
            for node in group.members:
                for base in self.bases(node):
                    if self.root(base) not in group.members:
                        self._store(base)
        uses = {n: len(users) for n, users in self.users.items()}
        return Fusion(
            tuple(self.groups),
            self.group_of,
            self.given,
            frozenset(self.stored),
            self.alias,
            uses,
        )

    # -- which Nodes are never stored

    def _prologues(self) -> dict[Node, Node]:
        """Elementwise Nodes that only one reduction or scatter reads: they are computed in it.

        Contractions meet every element several times: casts to wider integers are computed in them.
        """
        inlined: dict[Node, Node] = {}
        for node in reversed(self.graph.order):
            if isinstance(node.op, Contract) and self._turned(node):
                inlined[node] = self.users[node][0]
                self.turned.add(self.users[node][0])
            if node in self.wanted or not isinstance(node.op, Elementwise | View):
                continue
            if node in self.copied:
                continue
            if not isinstance(node.op, Elementwise) and not is_plain_view(node):
                continue
            roots = {inlined.get(user) or self._absorbing(user, node) for user in self.users[node]}
            if len(roots) == 1:
                (root,) = roots
                if root is not None and (not isinstance(root.op, Contract) or self._widens(node)):
                    inlined[node] = root
        return inlined

    def _widens(self, node: Node) -> bool:
        """Whether a Node is an integer that has fewer bytes in memory, and is widened in a product.

        Floats are read in place, which casts would forbid.
        """
        while is_plain_view(node) and node not in self.given:
            (node,) = node.inputs
        converts = isinstance(node.op, Elementwise) and node.op.converts
        if not converts or node in self.given or node.dtype.is_inexact:
            return False
        (base,) = node.inputs
        narrow = base.dtype.itemsize < node.dtype.itemsize
        return narrow and self.orders.get(base) == self.orders.get(node)

    def _scatters(self, node: Node) -> bool:
        """Whether a view is worth a kernel: its last axis is short, and read from elsewhere.

        What reads it with other operands would find none of them in vectors.
        """
        if not isinstance(node.op, Move) and not is_plain_view(node):
            return False
        if node.type.size < LONG or not 1 < node.shape[-1] <= SHORT_AXIS:
            return False
        if isinstance(node.op, Move):
            return not node.op.border and node not in self.orders
        if not all(isinstance(user.op, Elementwise) for user in self.users[node]):
            return False
        (base,) = node.inputs
        at = place_of(node.op, base.type, node.type)
        here = indices_of(node.rank)
        return at is not None and set(at) == set(here) and at[-1] != here[-1]

    def _fills(self, node: Node) -> bool:
        """Whether a view is one value everywhere and products read it, or a join of parts.

        So the first state of a recurrence is read like all later ones.
        """
        if not is_plain_view(node) or not node.type.size > node.inputs[0].type.size == 1:
            return False
        return any(isinstance(user.op, Contract | Joined) for user in self.users[node])

    def _turned(self, node: Node) -> bool:
        """Whether a contraction is needed in another order of axes only: it is stored so."""
        if node in self.wanted or len(self.users[node]) != 1:
            return False
        (view,) = self.users[node]
        if not is_plain_view(view) or view.type.size != node.type.size:
            return False
        plain = [user for user in self.users[view] if isinstance(user.op, Elementwise)]
        if view not in self.wanted and not plain:
            return False
        at = place_of(view.op, node.type, view.type)
        return at is not None and set(at) == set(indices_of(view.rank))

    def _absorbing(self, user: Node, node: Node) -> Node | None:
        """The user itself if it reads each element of the Node once."""
        if isinstance(user.op, Reduce):
            return None if self._rows_of(user) is not None else user
        if isinstance(user.op, Contract):
            return user if self._widens(node) else None
        if isinstance(user.op, Scatter) and node is not user.inputs[0]:
            return user
        if isinstance(user.op, Gather) and node is not user.inputs[0]:
            return user
        return None

    def _store(self, node: Node) -> None:
        while node in self.alias:
            node = self.alias[node]
        if node not in self.given:
            self.stored.add(node)

    # -- placing

    def _place(self, node: Node) -> None:
        op = node.op
        if isinstance(op, Pick) or self.virtual(node):
            return
        if self.is_name(node):
            self._rename(node)
        elif isinstance(op, Elementwise):
            self._join(node) or self._found(node, node.shape)
        elif isinstance(op, Reduce) and self._rows_of(node) is not None:
            self._reduce_rows(node)
        else:
            opens = _has_point(node) and node not in self.copied
            self._found(node, _space_of(node), opens=opens)

    def _place_output(self, node: Node) -> None:
        """A view that the caller wants is stored by a kernel of its own, or is another name."""
        if node in self.given or isinstance(node.op, Pick):
            self._store(node)
            return
        if node not in self.group_of and node not in self.alias:
            self._found(node, node.shape)
        self._store(node)

    def _rename(self, node: Node) -> None:
        base = self.alias[node] = self.renamed_by(node)
        self._store(base)

    def _found(self, node: Node, space: Shape, opens: bool = True) -> Group:
        """Open a group with a Node."""
        group = Group(len(self.groups), space, self.orders.get(node), open=opens)
        self.groups.append(group)
        self._enter(node, group)
        return group

    def _enter(self, node: Node, group: Group) -> None:
        group.members[node] = None
        self.group_of[node] = group
        for base in self.bases(node):
            root = self.root(base)
            if self.group_of.get(root) is not group:
                group.reads[root] = None
                if base.shape == group.space and isinstance(node.op, Elementwise | Reduce):
                    self.latest_reader[root] = group

    def _number(self, base: Node) -> int:
        """The number of the group that computes a base; -1 for inputs."""
        group = self.group_of.get(self.root(base))
        return -1 if group is None else group.number

    def _latest(self, node: Node) -> Group | None:
        """The latest group that a Node reads from, or another reader of the same values."""
        bases = list(self.bases(node))
        number = max((self._number(base) for base in bases), default=-1)
        readers = (self.latest_reader.get(self.root(b)) for b in bases if b.shape == node.shape)
        later = [r for r in readers if r is not None and r.number > number]
        if number >= 0:
            group = self.groups[number]
            if group.has_room and self._fits(node, group):
                return group
            product = self._product(node, bases, number)
            if product is not None:
                return product
        for reader in later:
            if reader.has_room and reader.space == node.shape and self.in_order(node, reader):
                return reader
        return None

    def _product(self, node: Node, bases: Sequence[Node], last: int) -> Group | None:
        """The contraction that a Node reads, if its group can run after all else that is read.

        So a bias that is computed after the product, before it is added, is added in its kernel.
        """
        for base in bases:
            number = self._number(base)
            group = self.groups[number]
            if not (isinstance(base.op, Contract) and max(last - NEAR, 0) <= number < last):
                continue
            between = self.groups[number + 1 : last + 1]
            if any(self.group_of.get(root) is group for g in between for root in g.reads):
                continue
            if group.has_room and self._fits(node, group):
                self.groups[number : last + 1] = *between, group
                for n in range(number, last + 1):
                    self.groups[n].number = n
                return group
        return None

    def _join(self, node: Node) -> bool:
        group = self._latest(node)
        if group is None:
            return False
        on_rows = node.shape != group.space
        self._enter(node, group)
        if on_rows:
            group.row_level.add(node)
        return True

    def _fits(self, node: Node, group: Group) -> bool:
        """Whether the group has, at each of its points, all that the Node reads of it."""
        if node.shape == group.space:
            return self.in_order(node, group) and self.reads_fit(
                node, group, indices_of(len(group.space))
            )
        if group.rows is None or not is_row(node.shape, group):
            return False
        return self.reads_fit(node, group, indices_of(group.rows))

    # -- reductions of rows

    def _rows_of(self, node: Node) -> int | None:
        """How many axes make a row, for a reduction of the last axes that threads can share."""
        if not isinstance(node.op, Reduce):
            return None
        (operand,) = node.inputs
        rows = operand.rank - len(node.op.axes)
        if not node.op.axes or node.op.axes != tuple(range(rows, operand.rank)):
            return None
        if operand in self.orders:
            return None
        if size_of(operand.shape[:rows]) < FEW_ROWS and operand.type.size > SHORT:
            return None
        return rows

    def _reduce_rows(self, node: Node) -> None:
        rows = self._rows_of(node)
        (operand,) = node.inputs
        group = self._latest_space(node, operand)
        if group is not None and group.rows not in (None, rows):
            group = None
        if group is None or self.adds_again(node, group):
            group = self._found(node, operand.shape)
        else:
            self._enter(node, group)
        group.rows = rows
        group.row_level.add(node)

    def _latest_space(self, node: Node, operand: Node) -> Group | None:
        """An open group over the operand's shape that has the operand, or reads what it reads."""
        if self.virtual(operand):
            bases = list(self.bases(node))
            number = max((self._number(base) for base in bases), default=-1)
            group = self.groups[number] if number >= 0 else None
            fits = group is not None and group.has_room and group.space == operand.shape
            if group is not None and fits and only_elementwise(group):
                here = indices_of(operand.rank)
                return group if self.reads_fit(node, group, here) else None
            return None
        group = self.group_of.get(operand)
        if group is not None:
            fits = group.has_room and group.space == operand.shape
            if fits and operand not in group.row_level and only_elementwise(group):
                return group
        reader = self.latest_reader.get(self.root(operand))
        if reader is None or reader.number < self._number(operand):
            return None
        fits = reader.has_room and reader.space == operand.shape and only_elementwise(reader)
        return reader if fits else None


def _has_point(node: Node) -> bool:
    """Whether elementwise Nodes may follow in the kernel: the rule gives a single Point."""
    return has_one_result(node) and not isinstance(node.op, Scatter | Scan | Control | Effect)


def _space_of(node: Node) -> Shape:
    return node.shape if has_one_result(node) else ()


def is_heavy(node: Node) -> bool:
    """Whether a Node costs so much that reading its value back is cheaper than computing it."""
    return isinstance(node.op, Unary | Contract | Window | Gather)
