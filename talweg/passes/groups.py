"""Groups of Nodes, each of which becomes one kernel, and what fusion asks about the Graph."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import final

from talweg.base.shapes import Shape
from talweg.ir.node import Graph, Node
from talweg.ir.op import Pick
from talweg.ops.kinds import Control, Effect, Elementwise, Generate, Move, Reduce, View
from talweg.passes.layout import Order
from talweg.passes.reads import composed, indices_of, place_of, same_place

MEMBERS = 48  # a kernel of more Nodes compiles slowly and runs out of registers
READS = 24


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
        columns: sums over all rows, which grow while the rows are computed.
        reads: stored values of other groups and inputs that it reads.
        open: whether elementwise Nodes may still join.
    """

    number: int
    space: Shape
    order: Order | None = None
    rows: int | None = None
    members: dict[Node, None] = field(default_factory=dict)
    row_level: set[Node] = field(default_factory=set)
    columns: set[Node] = field(default_factory=set)
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


class Wiring:
    """A Graph that is being cut into groups: who reads what, and through which views."""

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
        self.turned: set[Node] = set()
        self.copied: set[Node] = set()
        self.renamed = {self.renamed_by(n) for n in graph.order if self.is_name(n)}
        apart = (n for n in graph.order if isinstance(n.op, Control | Effect))
        self.renamed |= {i for n in apart for i in n.inputs}
        self.inlined: dict[Node, Node] = {}

    def virtual(self, node: Node) -> bool:
        """Whether a Node is evaluated wherever it is read."""
        if node in self.group_of or node in self.alias:
            return False
        if node in self.wanted or node in self.given:
            return False
        if node in self.turned or node in self.copied or node in self.renamed:
            return False
        return node in self.inlined or is_plain_view(node) or is_counting(node)

    def bases(self, node: Node) -> Iterator[Node]:
        """The Nodes with values of their own that a Node reads, through views and prologues."""
        for operand in node.inputs:
            if self.virtual(operand):
                yield from self.bases(operand)
            else:
                yield operand

    def root(self, node: Node) -> Node:
        """The Node that has the memory, or the Op of several results that makes it."""
        while node in self.alias:
            node = self.alias[node]
        picked = isinstance(node.op, Pick) and node not in self.given
        return node.inputs[0] if picked else node

    def is_name(self, node: Node) -> bool:
        """Whether a Node is another name for stored memory."""
        if not isinstance(node.op, View) or not node.op.relabels:
            return False
        return node in self.wanted or not is_plain_view(node)

    def renamed_by(self, node: Node) -> Node:
        """The Node whose memory has another name."""
        (base,) = node.inputs
        while isinstance(base.op, View) and base.op.relabels and base not in self.given:
            if self.is_name(base):
                break
            (base,) = base.inputs
        return base

    def in_order(self, node: Node, group: Group) -> bool:
        """Whether the axes of a Node stand in memory as those of the group do."""
        return self.orders.get(node) == group.order

    def reads_fit(self, node: Node, group: Group, here: tuple[object, ...]) -> bool:
        """Whether everything that a Node reads of the group is at the present point or row."""
        for chain, base in self.paths(node):
            if self.root(base) is not base or self.group_of.get(base) is not group:
                if self.group_of.get(self.root(base)) is group:
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

    def adds_again(self, node: Node, *groups: Group) -> bool:
        """Whether a reduction of rows, joined to groups, would compute their sums once more.

        Loops over rows compute anew what stands at every point. A sum may then be added up in
        another order, and `s - max(s)` be nowhere zero.
        """
        stack = [node]
        while stack:
            for base in self.bases(stack.pop()):
                group = self.group_of.get(base)
                if group is None or group not in groups or base in group.row_level:
                    continue
                if isinstance(base.op, Reduce) and base.dtype.is_inexact:
                    return True
                stack.append(base)
        return False

    def paths(self, node: Node) -> Iterator[tuple[tuple[Node, ...], Node]]:
        """For each operand: the chain of views that is read through, and the base.

        A base that is reached through more than a chain of single views has a chain that `composed`
        knows nothing of.
        """
        for operand in node.inputs:
            chain: list[Node] = []
            while self.virtual(operand) and isinstance(operand.op, View):
                chain.append(operand)
                (operand,) = operand.inputs
            if self.virtual(operand):
                for base in self.bases(operand):
                    yield tuple(chain), base
            else:
                yield tuple(chain), operand


def only_elementwise(group: Group) -> bool:
    """Whether a group holds nothing that has loops of its own, but reductions."""
    return all(
        isinstance(n.op, Elementwise | View | Reduce) or n in group.row_level for n in group.members
    )


def is_row(shape: Shape, group: Group) -> bool:
    """Whether a shape has one element for each row of a group."""
    rows = group.rows or 0
    return len(shape) >= rows and shape[:rows] == group.space[:rows] and set(shape[rows:]) <= {1}


def is_counting(node: Node) -> bool:
    """Whether a Node is made of indices alone."""
    return isinstance(node.op, Generate) and not node.inputs


def is_plain_view(node: Node) -> bool:
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
