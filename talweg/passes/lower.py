"""Lowering: a group of Nodes becomes one loop nest, made of the `lower` rules of its Ops.

An operand that has no memory of its own is read by running its producer's rule at the indices of
the reader. `NestBuilder.once` computes a value once for all its readers, in front of the loops it
does not depend on: that is where the reductions of a row, and the rows kept in scratch, come to
stand before the loop that uses them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from functools import cached_property, partial
from itertools import product
from typing import Any, final

from talweg.base import dtypes
from talweg.base.frozen import frozen
from talweg.base.shapes import Shape, inverse_order, size_of
from talweg.ir.node import Node
from talweg.loops.build import NestBuilder
from talweg.loops.count import replaceable
from talweg.loops.nest import LoopNest
from talweg.loops.operand import Indices, Operand, Point
from talweg.loops.scalar import Number, Scalar, call, constant
from talweg.loops.verify import verify
from talweg.ops.kinds import Control, Effect, Elementwise, Reduce, View, Window
from talweg.passes.extents import settle_extents
from talweg.passes.fuse import is_heavy
from talweg.passes.groups import Fusion, Group
from talweg.passes.layout import Order
from talweg.passes.signature import Signature, is_inside, signature_of
from talweg.passes.simplify import has_one_result

CHUNKS = 64  # of all rows, over which there are sums
LEAST = 8  # rows of a chunk


@final
@frozen
class Kernel:
    """A group as a loop nest.

    Args:
        nest: the loops.
        values: one for each argument of the nest.
        inputs, outputs: the Nodes whose memory the nest's buffers stand for.
        owners: the Node of each check of the nest.
        in_place: pairs of an input and an output that may lie in the same memory.
        group: what was lowered.
    """

    nest: LoopNest
    values: tuple[Number, ...]
    inputs: tuple[Node, ...]
    outputs: tuple[Node, ...]
    owners: tuple[Node, ...]
    in_place: frozenset[tuple[Node, Node]]
    group: Group


def lower_group(
    group: Group,
    fusion: Fusion,
    results: Mapping[Node, tuple[Node, ...]],
    orders: Mapping[Node, Order],
    checking: bool,
) -> Kernel:
    """Return the kernel of a group.

    Args:
        group: the Nodes.
        fusion: the groups of the whole Graph.
        results: the Pick Nodes of Ops with several results.
        orders: the order of axes in memory of every Node that is not row-major.
        checking: verify the nest.
    """
    first = next(iter(group.members))
    if isinstance(first.op, Effect | Control):  # a call of the host, a plan of its own
        outputs = results.get(first, (first,))
        return Kernel(_NO_LOOPS, (), first.inputs, outputs, (), frozenset(), group)
    signature, nodes = signature_of(group, fusion, results, orders)
    known = _KNOWN.get(signature)
    if known is None:
        lowering = _Lowering(group, fusion, results, orders)
        lowering.run()
        known = _settled(lowering, {node: number for number, node in enumerate(nodes)})
        if len(_KNOWN) >= _LIMIT:
            _KNOWN.clear()
        _KNOWN[signature] = known
    if checking:
        verify(known.nest)
    inputs, outputs = (tuple(nodes[n] for n in s) for s in (known.inputs, known.outputs))
    in_place = frozenset((nodes[old], nodes[new]) for old, new in known.in_place)
    owners = tuple(nodes[n] for n in known.owners)
    return Kernel(known.nest, known.values, inputs, outputs, owners, in_place, group)


_NO_LOOPS = LoopNest("host", (), (), (), ())


@frozen
class _Known:
    """A Kernel with the numbers of a signature in the place of Nodes."""

    nest: LoopNest
    values: tuple[Number, ...]
    inputs: tuple[int, ...]
    outputs: tuple[int, ...]
    owners: tuple[int, ...]
    in_place: tuple[tuple[int, int], ...]


_KNOWN: dict[Signature, _Known] = {}
_LIMIT = 8192


def _settled(lowering: _Lowering, numbers: Mapping[Node, int]) -> _Known:
    lowering.nest.name = _name_of(lowering.computed)
    made = lowering.nest.build(verified=False)
    nest, values = settle_extents(made.nest, made.values)
    inputs, outputs = (tuple(numbers[n] for n in s) for s in (lowering.inputs, lowering.outputs))
    names = {b.name: n for b, n in zip(nest.inputs, inputs, strict=True)}
    names |= {b.name: n for b, n in zip(nest.outputs, outputs, strict=True)}
    pairs = tuple((names[old], names[new]) for old, new in replaceable(nest))
    owners = tuple(numbers[n] for n in made.owners)
    return _Known(nest, values, inputs, outputs, owners, pairs)


class _Lowering:
    def __init__(
        self,
        group: Group,
        fusion: Fusion,
        results: Mapping[Node, tuple[Node, ...]],
        orders: Mapping[Node, Order],
    ) -> None:
        self.group, self.fusion, self.results, self.orders = group, fusion, results, orders
        self.nest = NestBuilder("")
        self.computed: dict[Node, None] = {}
        self.inputs: list[Node] = []
        self.outputs: list[Node] = []
        self.operands: dict[Node, Operand] = {}
        self.points: dict[Node, Point] = {}
        self.rows: Indices | None = None
        self.in_scratch = self._scratch_nodes()
        self.on_space = self._space_nodes()

    def run(self) -> None:
        group, nest = self.group, self.nest
        first = next(iter(group.members))
        if not has_one_result(first) or not group.open:
            self._run_alone(first)
            return
        stored = [n for n in group.members if n in self.fusion.stored]
        on_rows = [n for n in stored if n in group.row_level]
        on_space = [n for n in stored if n not in group.row_level | group.columns]
        columns = [n for n in stored if n in group.columns]
        targets = {n: self._output(n) for n in (*on_space, *on_rows, *columns)}
        if group.rows is None:
            self._run_points(first, on_space, targets)
            return
        if columns:
            self._run_columns(on_rows, on_space, columns, targets)
            return
        with nest.loops(self.space[: group.rows]) as at:
            self._run_row(at, on_rows, on_space, targets, {})

    def _run_points(
        self, first: Node, on_space: list[Node], targets: Mapping[Node, Operand]
    ) -> None:
        """Every point of the space; neighbours that share what a window reads come together."""
        nest, order = self.nest, self._order(on_space[0])
        shape = targets[on_space[0]].shape
        blocks = first.op.blocks if isinstance(first.op, Window) else ()
        sizes = dict(enumerate(blocks, len(shape) - len(blocks)))
        counts = {a: nest.number(nest.size(shape[a]) // n) for a, n in sizes.items()}
        with nest.loops([counts.get(a, shape[a]) for a in order]) as physical:
            start = [physical[p] for p in inverse_order(order)]
            for tap in product(*map(range, blocks)):
                steps = dict(zip(sizes, tap, strict=True))
                at = (i * sizes[a] + steps[a] if a in sizes else i for a, i in enumerate(start))
                self._store_all(on_space, targets, tuple(at))

    def _run_row(
        self,
        at: Indices,
        on_rows: list[Node],
        on_space: list[Node],
        targets: Mapping[Node, Operand],
        sums: Mapping[Node, Callable[[Indices, Scalar], None]],
    ) -> None:
        nest, rows = self.nest, self.group.rows or 0
        self.rows = at
        for node in on_rows:
            place = (*at, *[constant(0, dtypes.int64)] * (node.rank - rows))
            nest.store(targets[node], place, self.value(node, place))
        if on_space or sums:
            with nest.loops(self.space[rows:]) as rest:
                here = (*at, *rest)
                self._store_all(on_space, targets, here)
                for node, add in sums.items():
                    add(rest, self.operand(node.inputs[0])[here])

    def _run_columns(
        self,
        on_rows: list[Node],
        on_space: list[Node],
        columns: list[Node],
        targets: Mapping[Node, Operand],
    ) -> None:
        """Rows in chunks, each of which adds up sums of its own; at the end these are added."""
        nest, rows, space = self.nest, self.group.rows or 0, self.space
        shape = self.group.space
        count = max(-(-shape[rows - 1] * size_of(shape[: rows - 1]) // CHUNKS), LEAST)
        each, many = nest.numbers((count, -(-shape[rows - 1] // count)))
        lead, along = (*space[: rows - 1], many), space[rows:]
        parts = {n: nest.local(n.dtype, (*lead, *along)) for n in columns}
        with nest.loops(lead) as at:
            with nest.loops(along) as rest:
                for part in parts.values():
                    nest.store(part, (*at, *rest), 0)
            sums = {n: partial(self._add, part, at) for n, part in parts.items()}
            first = at[-1] * each
            length = call("minimum", each, space[rows - 1] - first)
            with nest.loop(length, "sequential") as row:
                self._run_row((*at[:-1], first + row), on_rows, on_space, targets, sums)
        with nest.loops(along) as rest:
            for node, part in parts.items():
                nest.store(targets[node], rest, self._total(part, lead, rest))

    def _total(self, part: Operand, lead: Indices, rest: Indices) -> Scalar:
        return self.nest.fold("add", lead, lambda k: part[(*k, *rest)])

    def _add(self, part: Operand, at: Indices, rest: Indices, value: Scalar) -> None:
        self.nest.store(part, (*at, *rest), value, "add")

    def _store_all(
        self, nodes: Sequence[Node], targets: Mapping[Node, Operand], at: Indices
    ) -> None:
        values = [self.value(node, at) for node in nodes]
        for node, value in zip(nodes, values, strict=True):
            self.nest.store(targets[node], [at[a] for a in self._order(node)], value)

    def _run_alone(self, node: Node) -> None:
        """An Op that writes its results itself, or has several."""
        several = self.results.get(node, (node,))
        targets = [self._output(n) for n in several]
        self.nest.owner = node
        self.computed[node] = None
        point = node.op.lower(self.nest, *map(self.operand, node.inputs))
        if point is not None:
            self.nest.pointwise(targets, point)

    # -- operands

    def _order(self, node: Node) -> Order:
        return self.orders.get(self.fusion.root(node), tuple(range(node.rank)))

    def _extents(self, shape: Shape) -> Indices:
        return self.nest.numbers(shape)

    def _output(self, node: Node) -> Operand:
        declare = self._declared(node, self.nest.output, f"out{len(self.outputs)}")
        self.outputs.append(node)
        return declare

    def _declared(self, node: Node, declare: Callable[..., Operand], name: str) -> Operand:
        """A buffer whose axes stand in memory in the Node's order, read by logical indices."""
        order = self._order(node)
        buffer = declare(name, node.dtype, [node.shape[a] for a in order])
        if order == tuple(range(node.rank)):
            return buffer
        logical = inverse_order(order)
        shape = tuple(buffer.shape[p] for p in logical)
        return Operand(
            node.dtype,
            shape,
            lambda i: buffer.read(tuple(i[a] for a in order)),
            buffer.buffer,
            order,
        )

    def operand(self, node: Node) -> Operand:
        """Return what a rule reads of a Node: memory, or the Node's own rule."""
        found = self.operands.get(node)
        if found is None:
            found = self.operands[node] = self._make_operand(node)
        return found

    def _make_operand(self, node: Node) -> Operand:
        if self._is_here(node):
            shape = self.space if node in self.on_space else self._extents(node.shape)
            return Operand(node.dtype, shape, lambda i: self.value(node, i))
        made = self._declared(node, self.nest.input, f"x{len(self.inputs)}")
        self.inputs.append(node)
        if self.fusion.uses.get(node, 0) < 2:
            return made
        return replace(made, read=lambda i: self._loaded(node, made, i), buffer="")

    def _loaded(self, node: Node, buffer: Operand, at: Indices) -> Scalar:
        """An element that several Nodes may read: one load where they are in this kernel."""
        if self._readers(node) < 2:
            return buffer.read(at)
        value: Scalar = self.nest.once((node, at), at, lambda: self.nest.let(buffer.read(at)))
        return value

    def _is_here(self, node: Node) -> bool:
        """Whether a Node is computed in this kernel, at each place where it is read."""
        return is_inside(node, self.group, self.fusion, self.results)

    def _readers(self, node: Node) -> int:
        users = self.group.members
        return sum(node in user.inputs for user in users)

    # -- values

    def value(self, node: Node, at: Indices) -> Scalar:
        """Return the value of a Node that is computed here, at some indices."""
        if node in self.in_scratch and self.rows is not None:
            return self._row_of(node)[at]
        result: Scalar = self.nest.once((node, at), at, lambda: self._computed(node, at))
        return result

    def _computed(self, node: Node, at: Indices) -> Scalar:
        nest, op = self.nest, node.op
        owner, nest.owner = nest.owner, node
        self.computed[node] = None
        if isinstance(op, Elementwise):
            operands = [self.operand(i) for i in node.inputs]
            read = [x[at] if x.rank else x[()] for x in operands]
            # Rules of their own may use an operand twice.
            if type(op).lower is not Elementwise.lower and not op.converts:
                read = [nest.let(x) for x in read]
            value: Scalar = op.lower(nest, *read)
        else:
            made: Any = self._point(node)(at)
            value = made
        nest.owner = owner
        # What is stored and read is not computed again: its operands may lie where it is stored.
        again = self.fusion.uses.get(node, 0) > (node not in self.fusion.stored)
        return nest.let(value) if again and not isinstance(op, View) else value

    def _point(self, node: Node) -> Point:
        point = self.points.get(node)
        if point is None:
            result = Operand(node.dtype, self._extents(node.shape), lambda i: self.value(node, i))
            with self.nest.producing([result]):
                point = node.op.lower(self.nest, *map(self.operand, node.inputs))
            self.points[node] = point
        return point

    # -- rows kept in scratch

    @cached_property
    def space(self) -> Indices:
        """The sizes of the group's space, which all Nodes on it have in common."""
        return self._extents(self.group.space)

    def _space_nodes(self) -> set[Node]:
        """What a group with rows computes at every point of its space."""
        group = self.group
        if group.rows is None:
            return set()
        stack = [n for n in group.members if n not in group.row_level | group.columns]
        folds = (n for n in group.row_level | group.columns if isinstance(n.op, Reduce))
        stack += [i for n in folds for i in n.inputs]
        seen: set[Node] = set()
        while stack:
            node = stack.pop()
            if node.rank and node not in seen and self._is_here(node):
                seen.add(node)
                stack.extend(node.inputs if isinstance(node.op, Elementwise) else ())
        return seen - group.row_level

    def _scratch_nodes(self) -> set[Node]:
        """Heavy Nodes of the space that more than one loop over a row reads."""
        group = self.group
        if group.rows is None:
            return set()
        kept: set[Node] = set()
        folds = [n for n in group.row_level if isinstance(n.op, Reduce)]
        loops = {fold: self._reached(fold.inputs) for fold in folds}
        beside = group.row_level | group.columns
        written = [n for n in group.members if n in self.fusion.stored - beside]
        written += [i for n in group.columns for i in n.inputs]
        loops_of = [*loops.values(), self._reached(written)]
        for node in group.members:
            if node in group.row_level or not is_heavy(node):
                continue
            if sum(node in reached for reached in loops_of) > 1:
                kept.add(node)
        return kept

    def _reached(self, start: Sequence[Node]) -> set[Node]:
        """The Nodes of the space that one loop over the row evaluates."""
        seen: set[Node] = set()
        stack = list(start)
        while stack:
            node = stack.pop()
            if node in seen or node in self.group.row_level or not self._is_here(node):
                continue
            seen.add(node)
            stack.extend(node.inputs)
        return seen

    def _row_of(self, node: Node) -> Operand:
        """The values of a Node along the present row, computed by a loop of their own."""
        nest, rows = self.nest, self.group.rows or 0
        here = self.rows
        assert here is not None

        def make() -> Operand:
            shape = self.space
            row = nest.local(node.dtype, shape[rows:])
            with nest.loops(row.shape) as rest:
                nest.store(row, rest, self._computed(node, (*here, *rest)))
            return Operand(node.dtype, shape, lambda i: row[i[rows:]])

        found: Operand = nest.once((node, "row"), here, make)
        return found


def _name_of(nodes: Iterable[Node]) -> str:
    """A name made of the Ops: part of what makes kernels equal, and what profiles show."""
    names = [n.op.name() for n in nodes]
    names = [n.op.name() for n in nodes if not isinstance(n.op, View)] or names
    return "_".join(names[:6]) + (f"_and_{len(names) - 6}_more" if len(names) > 6 else "")
