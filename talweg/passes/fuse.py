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

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import final

from talweg.base.shapes import Shape, size_of
from talweg.ir.node import Graph, Node
from talweg.ir.op import Pick
from talweg.ops.kinds import (
    Contract,
    Effect,
    Elementwise,
    Gather,
    Generate,
    Move,
    Reduce,
    Scan,
    Scatter,
    Unary,
    View,
    Window,
)
from talweg.passes.layout import Order
from talweg.passes.reads import composed, indices_of, place_of, same_place
from talweg.passes.simplify import has_one_result

MEMBERS = 48  # a kernel of more Nodes compiles slowly and runs out of registers
READS = 24
FEW_ROWS = 16  # fewer rows than this do not keep all threads busy
SHORT = 1 << 15  # elements that one thread may well do alone


@final
@dataclass(eq=False)
class Group:
    """Nodes that one kernel computes.

    Attributes:
        number: groups run in this order.
        space: the sizes the loops run over.
        order: of its axes in memory; None where it is row-major.
        rows: how many leading axes make a row; None where nothing is reduced inside.
        members: the Nodes on both levels, in order.
        row_level: those of them with one value for each row.
        reads: stored values of other groups and inputs that it reads.
        open: whether elementwise Nodes may still join.
    """

    number: int
    space: Shape
    order: Order | None = None
    rows: int | None = None
    members: dict[Node, None] = field(default_factory=dict)
    row_level: set[Node] = field(default_factory=set)
    reads: dict[Node, None] = field(default_factory=dict)
    open: bool = True

    @property
    def has_room(self) -> bool:
        """Whether another Node may join."""
        return self.open and len(self.members) < MEMBERS and len(self.reads) < READS


@final
@dataclass(frozen=True, eq=False)
class Fusion:
    """A Graph cut into groups.

    Attributes:
        groups: in the order in which they run.
        group_of: the group of every member.
        given: the inputs of the Graph.
        stored: the Nodes whose value other groups or the caller read.
        alias: Nodes that are another name for a stored value or an input.
        uses: how many Nodes read each Node.
    """

    groups: tuple[Group, ...]
    group_of: Mapping[Node, Group]
    given: frozenset[Node]
    stored: frozenset[Node]
    alias: Mapping[Node, Node]
    uses: Mapping[Node, int]

    def root(self, node: Node) -> Node:
        """Return the Node whose memory holds the value."""
        while node in self.alias:
            node = self.alias[node]
        return node


def fuse(graph: Graph, orders: Mapping[Node, Order]) -> Fusion:
    """Return the groups of a Graph without Control ops.

    Args:
        graph: what is fused.
        orders: of the axes of Nodes that are not stored row-major.
    """
    return _Fuser(graph, orders).run()


class _Fuser:
    def __init__(self, graph: Graph, orders: Mapping[Node, Order]) -> None:
        self.graph, self.orders = graph, orders
        self.groups: list[Group] = []
        self.group_of: dict[Node, Group] = {}
        self.alias: dict[Node, Node] = {}
        self.stored: set[Node] = set()
        self.users: dict[Node, list[Node]] = {n: [] for n in (*graph.inputs, *graph.order)}
        for node in graph.order:
            for i in node.inputs:
                self.users[i].append(node)
        self.wanted = set(graph.outputs)
        self.given = frozenset(graph.inputs)
        self.latest_reader: dict[Node, Group] = {}
        self.turned: set[Node] = set()
        self.renamed = {self._renamed(n) for n in graph.order if self._is_name(n)}
        self.renamed |= {i for n in graph.order if isinstance(n.op, Effect) for i in n.inputs}
        self.inlined = self._prologues()

    def run(self) -> Fusion:
        for node in self.graph.order:
            self._place(node)
        for node in self.graph.outputs:
            self._place_output(node)
        for group in self.groups:
            for node in group.members:
                for base in self._bases(node):
                    if self.group_of.get(self._root(base)) is not group:
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

    def _virtual(self, node: Node) -> bool:
        """Whether a Node is evaluated wherever it is read."""
        if node in self.group_of or node in self.alias:
            return False
        if node in self.wanted or node in self.given:
            return False
        if node in self.turned or node in self.renamed:
            return False
        return node in self.inlined or _is_plain_view(node) or _is_counting(node)

    def _prologues(self) -> dict[Node, Node]:
        """Elementwise Nodes that only one reduction or scatter reads: they are computed in it."""
        inlined: dict[Node, Node] = {}
        for node in reversed(self.graph.order):
            if isinstance(node.op, Contract) and self._turned(node):
                inlined[node] = self.users[node][0]
                self.turned.add(self.users[node][0])
            if node in self.wanted or not isinstance(node.op, Elementwise | View):
                continue
            if not isinstance(node.op, Elementwise) and not _is_plain_view(node):
                continue
            roots = {inlined.get(user) or self._absorbing(user, node) for user in self.users[node]}
            if len(roots) == 1:
                (root,) = roots
                if root is not None:
                    inlined[node] = root
        return inlined

    def _turned(self, node: Node) -> bool:
        """Whether a contraction is needed in another order of axes only: it is stored so."""
        if node in self.wanted or len(self.users[node]) != 1:
            return False
        (view,) = self.users[node]
        if not _is_plain_view(view) or view.type.size != node.type.size:
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
        if isinstance(user.op, Scatter) and node is not user.inputs[0]:
            return user
        if isinstance(user.op, Gather) and node is not user.inputs[0]:
            return user
        return None

    def _bases(self, node: Node) -> Iterator[Node]:
        """The Nodes with values of their own that a Node reads, through views and prologues."""
        for operand in node.inputs:
            if self._virtual(operand):
                yield from self._bases(operand)
            else:
                yield operand

    def _root(self, node: Node) -> Node:
        while node in self.alias:
            node = self.alias[node]
        picked = isinstance(node.op, Pick) and node not in self.given
        return node.inputs[0] if picked else node

    def _store(self, node: Node) -> None:
        while node in self.alias:
            node = self.alias[node]
        if node not in self.given:
            self.stored.add(node)

    # -- placing

    def _place(self, node: Node) -> None:
        op = node.op
        if isinstance(op, Pick) or self._virtual(node):
            return
        if self._is_name(node):
            self._rename(node)
        elif isinstance(op, Elementwise):
            self._join(node) or self._found(node, node.shape)
        elif isinstance(op, Reduce) and self._rows_of(node) is not None:
            self._reduce_rows(node)
        else:
            self._found(node, _space_of(node), opens=_has_point(node))

    def _place_output(self, node: Node) -> None:
        """A view that the caller wants is stored by a kernel of its own, or is another name."""
        if node in self.given or isinstance(node.op, Pick):
            self._store(node)
            return
        if node not in self.group_of and node not in self.alias:
            self._found(node, node.shape)
        self._store(node)

    def _is_name(self, node: Node) -> bool:
        """Whether a Node is another name for stored memory."""
        if not isinstance(node.op, View) or not node.op.relabels:
            return False
        return node in self.wanted or not _is_plain_view(node)

    def _renamed(self, node: Node) -> Node:
        """The Node whose memory has another name."""
        (base,) = node.inputs
        while isinstance(base.op, View) and base.op.relabels and base not in self.given:
            if self._is_name(base):
                break
            (base,) = base.inputs
        return base

    def _rename(self, node: Node) -> None:
        base = self.alias[node] = self._renamed(node)
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
        for base in self._bases(node):
            root = self._root(base)
            if self.group_of.get(root) is not group:
                self._store(base)
                group.reads[root] = None
                if base.shape == group.space and isinstance(node.op, Elementwise | Reduce):
                    self.latest_reader[root] = group

    def _number(self, base: Node) -> int:
        """The number of the group that computes a base; -1 for inputs."""
        group = self.group_of.get(self._root(base))
        return -1 if group is None else group.number

    def _latest(self, node: Node) -> Group | None:
        """The latest group that a Node reads from, or another reader of the same values."""
        bases = list(self._bases(node))
        number = max((self._number(base) for base in bases), default=-1)
        readers = (self.latest_reader.get(self._root(b)) for b in bases if b.shape == node.shape)
        later = [r for r in readers if r is not None and r.number > number]
        if number >= 0:
            group = self.groups[number]
            if group.has_room and self._fits(node, group):
                return group
        for reader in later:
            if reader.has_room and reader.space == node.shape and self._in_order(node, reader):
                return reader
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

    def _in_order(self, node: Node, group: Group) -> bool:
        return self.orders.get(node) == group.order

    def _fits(self, node: Node, group: Group) -> bool:
        """Whether the group has, at each of its points, all that the Node reads of it."""
        if node.shape == group.space:
            return self._in_order(node, group) and self._reads_fit(
                node, group, indices_of(len(group.space))
            )
        if group.rows is None or not _is_row(node.shape, group):
            return False
        return self._reads_fit(node, group, indices_of(group.rows))

    def _reads_fit(self, node: Node, group: Group, here: tuple[object, ...]) -> bool:
        """Whether everything that a Node reads of the group is at the present point or row."""
        for chain, base in self._paths(node):
            if self._root(base) is not base or self.group_of.get(base) is not group:
                if self.group_of.get(self._root(base)) is group:
                    return False
                continue
            at = composed(chain) if chain else indices_of(base.rank)
            full = indices_of(len(group.space))
            wanted = full[: group.rows] if base in group.row_level else full
            if len(here) < len(full) and base not in group.row_level:
                return False
            if base.shape == () and not chain:
                continue
            if not same_place(at, wanted, base.shape):
                return False
        return True

    def _paths(self, node: Node) -> Iterator[tuple[tuple[Node, ...], Node]]:
        """For each operand: the chain of views that is read through, and the base.

        A base that is reached through more than a chain of single views has a chain that `composed`
        knows nothing of.
        """
        for operand in node.inputs:
            chain: list[Node] = []
            while self._virtual(operand) and isinstance(operand.op, View):
                chain.append(operand)
                (operand,) = operand.inputs
            if self._virtual(operand):
                for base in self._bases(operand):
                    yield tuple(chain), base
            else:
                yield tuple(chain), operand

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
        if group is None or (group.rows is not None and group.rows != rows):
            group = self._found(node, operand.shape)
        else:
            self._enter(node, group)
        group.rows = rows
        group.row_level.add(node)

    def _latest_space(self, node: Node, operand: Node) -> Group | None:
        """An open group over the operand's shape that has the operand, or reads what it reads."""
        if self._virtual(operand):
            bases = list(self._bases(node))
            number = max((self._number(base) for base in bases), default=-1)
            group = self.groups[number] if number >= 0 else None
            fits = group is not None and group.has_room and group.space == operand.shape
            if group is not None and fits and _only_elementwise(group):
                here = indices_of(operand.rank)
                return group if self._reads_fit(node, group, here) else None
            return None
        group = self.group_of.get(operand)
        if group is not None:
            fits = group.has_room and group.space == operand.shape
            if fits and operand not in group.row_level and _only_elementwise(group):
                return group
        reader = self.latest_reader.get(self._root(operand))
        if reader is None or reader.number < self._number(operand):
            return None
        fits = reader.has_room and reader.space == operand.shape and _only_elementwise(reader)
        return reader if fits else None


def _only_elementwise(group: Group) -> bool:
    return all(isinstance(n.op, Elementwise | View | Reduce) for n in group.members)


def _is_row(shape: Shape, group: Group) -> bool:
    rows = group.rows or 0
    return len(shape) >= rows and shape[:rows] == group.space[:rows] and set(shape[rows:]) <= {1}


def _is_counting(node: Node) -> bool:
    return isinstance(node.op, Generate) and not node.inputs


def _is_plain_view(node: Node) -> bool:
    """Whether a Node is a view of one operand that reads one place, by a simple expression."""
    op = node.op
    if not isinstance(op, View) or isinstance(op, Move) or len(node.inputs) != 1:
        return False
    at = place_of(op, node.inputs[0].type, node.type)
    return at is not None and not (op.relabels and _splits(node))


def _splits(node: Node) -> bool:
    """Whether a relabelling splits or joins axes of more than one element."""
    before, after = ([n for n in t.shape if n != 1] for t in (node.inputs[0], node))
    return before != after


def _has_point(node: Node) -> bool:
    """Whether elementwise Nodes may follow in the kernel: the rule gives a single Point."""
    return has_one_result(node) and not isinstance(node.op, Scatter | Scan | Effect)


def _space_of(node: Node) -> Shape:
    return node.shape if has_one_result(node) else ()


def is_heavy(node: Node) -> bool:
    """Whether a Node costs so much that reading its value back is cheaper than computing it."""
    return isinstance(node.op, Unary | Contract | Window | Gather)
