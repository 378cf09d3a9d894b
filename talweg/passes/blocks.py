"""Large values between products are computed block by block, and never stored as a whole.

The scores of attention are matrices of all pairs: products make them, rows of them are normalised,
and products consume them. Nothing but products crosses rows, so a block of matrices, or of rows of
one, is made, used up and forgotten before the next one. What a product makes of a block is a part
of its result, or where it sums over rows a term of it. What gradients need of a block is made
again.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import reduce
from typing import Final, TypeAlias, final

from talweg.base.shapes import Shape
from talweg.ir.node import Graph, Node, make_node, topological
from talweg.ir.op import Op
from talweg.ops.kinds import Contract, Elementwise, Generate, Joined, Part, Reduce, View
from talweg.passes.reads import indices_of, place_of
from talweg.passes.simplify import has_one_result

LEAST: Final = 1 << 28  # bytes of a value that is not stored as a whole
BLOCK: Final = 1 << 25  # bytes of a block
ROWS: Final = 32  # of a block at least
SHALLOW: Final = 128  # terms of a product that is cheap enough to be made twice
MOST: Final = 16  # parts that one kernel puts side by side
_DEPTH: Final = (-1, -2)

Span: TypeAlias = tuple[int, int]
Cuts: TypeAlias = dict[int, Span]  # by axis, for those that are cut


def compute_in_blocks(graph: Graph) -> Graph:
    """Return the Graph in which large values between products are made in blocks of rows."""
    if any(isinstance(n.op, Contract) and n.op.images for n in graph.order):
        return graph  # values change their order in memory, and Nodes theirs
    finder = _Finder(graph)
    regions: list[_Region] = []
    for node in graph.order:
        if node not in finder.seen and _is_shallow(node) and node.type.nbytes >= LEAST:
            region = finder.region(node)
            if region is not None:
                regions.append(region)
    return _Blocks(graph, regions).run() if regions else graph


def _is_product(node: Node) -> bool:
    return isinstance(node.op, Contract) and node.op.depth == _DEPTH


def _is_shallow(node: Node) -> bool:
    return _is_product(node) and node.inputs[0].shape[-1] <= SHALLOW


@dataclass
class _Region:
    """Values of one shape, rows of them, and the products that consume them.

    Args:
        shape, itemsize: of the values.
        members: products that make values, and all that is made of rows.
        turned: members with the last two axes exchanged.
        exits: the products that consume values.
    """

    shape: Shape
    itemsize: int
    members: set[Node] = field(default_factory=set)
    turned: set[Node] = field(default_factory=set)
    exits: set[Node] = field(default_factory=set)

    @property
    def all(self) -> set[Node]:
        """Every Node."""
        return self.members | self.turned | self.exits

    @property
    def inner(self) -> set[Node]:
        """Every Node that nothing else reads."""
        return self.members | self.turned

    def is_row(self, shape: Shape) -> bool:
        """Whether a shape has one element for each row."""
        return shape in (self.shape[:-1], (*self.shape[:-1], 1))

    def sums(self, exit: Node) -> bool:
        """Whether a product sums over the rows of the values."""
        x, _ = exit.inputs
        return (x in self.turned) if x in self.members | self.turned else self._right(exit)

    def _right(self, exit: Node) -> bool:
        return exit.inputs[1] not in self.turned

    def ranges(self) -> list[list[Span]]:
        """Return how the axes but the last one are cut: first the batch, then the rows."""
        room = BLOCK // (self.shape[-1] * self.itemsize)  # rows
        *batch, rows = self.shape[:-1]
        each = rows
        if rows > 2 * room:  # about as many rows in every block
            count = -(-rows // max(room, ROWS))
            each = -(-rows // (count * ROWS)) * ROWS
        found = [_spans(rows, each)]
        room = room // rows if each == rows else 1
        for size in reversed(batch):
            each = min(max(room, 1), size)
            found.append(_spans(size, each))
            room = room // size if each == size else 1
        return found[::-1]


def _spans(size: int, each: int) -> list[Span]:
    return [(start, min(start + each, size)) for start in range(0, size, each)]


class _Finder:
    """Finds what is computed between products."""

    def __init__(self, graph: Graph) -> None:
        self.wanted = set(graph.outputs)
        self.seen: set[Node] = set()
        self.adds = any(_adds(n) for n in graph.order)
        self.users: dict[Node, list[Node]] = {n: [] for n in (*graph.inputs, *graph.order)}
        for node in graph.order:
            for i in dict.fromkeys(node.inputs):
                self.users[i].append(node)

    def region(self, seed: Node) -> _Region | None:
        """Return all that is made of a product up to other products; None if more needs it."""
        region = _Region(seed.shape, seed.dtype.itemsize, {seed})
        whole = self._grow(region, seed) and not self.seen & region.all
        self.seen |= region.all
        return region if whole and self._fits(region) else None

    def _grow(self, region: _Region, seed: Node) -> bool:
        queue = [seed]
        while queue:
            node = queue.pop()
            if node in self.wanted:
                return False
            for user in self.users[node]:
                if user in region.members or user in region.turned or user in region.exits:
                    continue
                if node.shape == region.shape and self._leaves(user, node, region):
                    continue
                if not self._stays(user, node, region):
                    return False
                products = [i for i in user.inputs if i.shape == region.shape and _is_product(i)]
                if not all(map(_is_shallow, products)):
                    return False
                new = [n for n in (user, *products) if n not in region.members]
                region.members.update(new)
                queue += new
        return not region.exits & region.members

    def _fits(self, region: _Region) -> bool:
        ranges = region.ranges()
        if not region.exits or all(len(spans) == 1 for spans in ranges):
            return False
        if len(ranges[-1]) > 1 and not self.adds:
            return False
        inner = region.inner
        return all(sum(i in inner for i in e.inputs) == 1 for e in region.exits)

    def _leaves(self, user: Node, node: Node, region: _Region) -> bool:
        """Whether a value is consumed by a product, turned or not; the product is noted."""
        if _is_product(user):
            region.exits.add(user)
            return True
        users = self.users[user]
        if user in self.wanted or not _turns(user) or not all(map(_is_product, users)):
            return False
        region.turned.add(user)
        region.exits.update(users)
        return True

    def _stays(self, user: Node, node: Node, region: _Region) -> bool:
        """Whether a Node makes values or rows of values, row by row."""
        if not has_one_result(user):
            return False
        op, shape = user.op, region.shape
        if isinstance(op, Elementwise):
            fits = user.shape == shape or region.is_row(user.shape)
            return fits and all(i.shape in ((), user.shape) for i in user.inputs)
        if isinstance(op, Reduce):
            return node.shape == shape and op.axes == (len(shape) - 1,)
        if not isinstance(op, View) or len(user.inputs) > 1 or op.resized(user.shape) is None:
            return False
        if not region.is_row(node.shape) or not (user.shape == shape or region.is_row(user.shape)):
            return False
        at, rows = place_of(op, node.type, user.type), len(shape) - 1
        return at is not None and at[:rows] == indices_of(user.rank)[:rows]


def _adds(node: Node) -> bool:
    return isinstance(node.op, Elementwise) and node.op.adds and node.type.inexact


def _turns(node: Node) -> bool:
    """Whether a view exchanges the last two axes and does nothing else."""
    if not isinstance(node.op, View) or len(node.inputs) > 1 or node.rank < 2:
        return False
    (base,) = node.inputs
    if base.rank != node.rank or node.shape != (*base.shape[:-2], base.shape[-1], base.shape[-2]):
        return False
    *lead, row, column = indices_of(node.rank)
    return place_of(node.op, base.type, node.type) == (*lead, column, row)


@final
class _Blocks:
    """Writes a Graph anew, whose order is that of its Nodes in memory as well."""

    def __init__(self, graph: Graph, regions: Sequence[_Region]) -> None:
        self.graph = graph
        self.add = next((n.op for n in graph.order if _adds(n)), graph.order[0].op)
        self.place = {node: n for n, node in enumerate(graph.order)}
        self.new: dict[Node, Node] = {n: n for n in graph.inputs}
        self.order: list[Node] = []
        self.inner = {n for region in regions for n in region.inner}
        self.sweeps = self._sweeps(regions)
        self.counting: dict[Node, bool] = {}

    def _sweeps(self, regions: Sequence[_Region]) -> Mapping[Node, tuple[_Region, list[Node]]]:
        """For each exit, its region and the exits that the same blocks are made for.

        These are the exits that depend on as many others, one behind the other.
        """
        exits = {n for region in regions for n in region.exits}
        behind: dict[Node, int] = dict.fromkeys(self.graph.inputs, 0)
        for node in self.graph.order:
            before = max((behind[i] for i in node.inputs), default=0)
            behind[node] = before + (node in exits)
        found: dict[Node, tuple[_Region, list[Node]]] = {}
        for region in regions:
            alike: dict[int, list[Node]] = {}
            for node in sorted(region.exits, key=self.place.__getitem__):
                alike.setdefault(behind[node], []).append(node)
            found |= {n: (region, nodes) for nodes in alike.values() for n in nodes}
        return found

    def run(self) -> Graph:
        """Return the new Graph."""
        for node in self.graph.order:
            if node not in self.inner:
                self._need(node)
        outputs = [self.new[o] for o in self.graph.outputs]
        used = set(topological(outputs, stop=self.graph.inputs))
        return Graph(self.graph.inputs, outputs, [n for n in self.order if n in used])

    def _need(self, root: Node) -> None:
        """Write a Node, after all that it depends on."""
        stack = [root]
        while stack:
            node = stack[-1]
            if node in self.new:
                stack.pop()
                continue
            missing = [i for i in self._depends(node) if i not in self.new]
            if missing:
                stack.extend(missing)
            elif node in self.sweeps:
                self._sweep(*self.sweeps[node])
            else:
                inputs = tuple(self.new[i] for i in node.inputs)
                same = all(a is b for a, b in zip(inputs, node.inputs, strict=True))
                made = node if same else make_node(node.op, inputs, node.type, node.source)
                self.new[node] = made
                self.order.append(made)

    def _depends(self, node: Node) -> Iterator[Node]:
        if node not in self.sweeps:
            yield from node.inputs
            return
        _, exits = self.sweeps[node]
        for reader in (*self._members(exits), *exits):
            yield from (i for i in reader.inputs if i not in self.inner)

    def _members(self, exits: Sequence[Node]) -> list[Node]:
        """What some exits need of their region, in order."""
        found: set[Node] = set()
        stack = [i for e in exits for i in e.inputs]
        while stack:
            node = stack.pop()
            if node in self.inner and node not in found:
                found.add(node)
                stack.extend(node.inputs)
        return sorted(found, key=self.place.__getitem__)

    def _sweep(self, region: _Region, exits: Sequence[Node]) -> None:
        """Write all blocks, and of each of them what the exits make of it."""
        members = self._members(exits)
        ranges = region.ranges()

        def over(axis: int, cuts: Cuts) -> list[Node]:
            rows = axis == len(ranges) - 1
            parts = []
            for span in ranges[axis]:
                here = cuts | {axis: span} if len(ranges[axis]) > 1 else cuts
                parts.append(
                    self._block(region, members, exits, here) if rows else over(axis + 1, here)
                )
            return [
                self._whole(list(made), region, e, axis if not rows else None)
                for e, made in zip(exits, zip(*parts, strict=True), strict=True)
            ]

        self.new.update(zip(exits, over(0, {}), strict=True))

    def _block(
        self, region: _Region, members: Sequence[Node], exits: Sequence[Node], cuts: Cuts
    ) -> list[Node]:
        block = _Block(self, region, cuts)
        for node in members:
            block.write(node)
        return [block.consumed(node) for node in exits]

    def _whole(self, parts: list[Node], region: _Region, of: Node, axis: int | None) -> Node:
        """Write the result of an exit, given that of blocks along a batch axis, or of rows."""
        if len(parts) == 1:
            return parts[0]
        if axis is not None:
            return self._side_by_side(parts, Joined(axis - of.rank), of)
        if not region.sums(of):
            return self._side_by_side(parts, Joined(-2 if of.inputs[0] in self.inner else -1), of)
        return reduce(lambda a, b: self.made(self.add, (a, b), of), parts)

    def _side_by_side(self, parts: list[Node], op: Op, of: Node) -> Node:
        while len(parts) > 1:
            groups = [tuple(parts[i : i + MOST]) for i in range(0, len(parts), MOST)]
            parts = [g[0] if len(g) == 1 else self.made(op, g, of) for g in groups]
        return parts[0]

    def made(self, op: Op, inputs: tuple[Node, ...], of: Node) -> Node:
        """Write a Node that stands for a part of another one."""
        node = make_node(op, inputs, op.infer(*(i.type for i in inputs)), of.source)
        self.order.append(node)
        return node

    def counts(self, node: Node) -> bool:
        """Whether a value is made of indices and single numbers alone."""
        if node not in self.counting:
            op = node.op
            plain = isinstance(op, Elementwise) or (
                isinstance(op, View) and op.resized(node.shape) is not None
            )
            made = isinstance(op, Generate) and not node.inputs
            self.counting[node] = made or (
                plain and all(i.shape == () or self.counts(i) for i in node.inputs)
            )
        return self.counting[node]


@final
class _Block:
    """The Nodes of one block: of a region, cut along some axes."""

    def __init__(self, blocks: _Blocks, region: _Region, cuts: Cuts) -> None:
        self.blocks, self.region, self.cuts = blocks, region, cuts
        self.rows = len(region.shape) - 2
        self.batch = {axis: span for axis, span in cuts.items() if axis != self.rows}
        self.here: dict[Node, Node] = {}
        self.parts: dict[tuple[Node, tuple[tuple[int, Span], ...]], Node] = {}

    def write(self, node: Node) -> None:
        """Write a member."""
        op, make = node.op, self.blocks.made
        if _is_product(node):
            x, y = node.inputs
            self.here[node] = make(op, (self._part(x, self.cuts), self._part(y, self.batch)), node)
            return
        inputs = tuple(self.here.get(i) or self._part(i, self.cuts) for i in node.inputs)
        if isinstance(op, View) and node not in self.region.turned:
            op = _resized(op, node, self.cuts)
        self.here[node] = make(op, inputs, node)

    def consumed(self, node: Node) -> Node:
        """Write what an exit makes of the block."""
        x, y = node.inputs
        summed = self.region.sums(node) and self.rows in self.cuts
        inputs: tuple[Node, Node]
        if x in self.here:
            inputs = self.here[x], self._part(y, self.cuts if summed else self.batch)
        else:
            along = {self.rows + 1: self.cuts[self.rows]} if summed else {}
            inputs = self._part(x, self.batch | along), self.here[y]
        return self.blocks.made(node.op, inputs, node)

    def _part(self, node: Node, cuts: Cuts) -> Node:
        """Write a part of a value from elsewhere."""
        if not node.rank or not cuts:
            return self.blocks.new[node]
        key = node, tuple(cuts.items())
        known = self.parts.get(key)
        if known is None:
            known = self.parts[key] = self._made_part(node, cuts)
        return known

    def _made_part(self, node: Node, cuts: Cuts) -> Node:
        blocks, op = self.blocks, node.op
        if blocks.counts(node) and not isinstance(op, Generate):
            if isinstance(op, Elementwise):
                return blocks.made(op, tuple(self._part(i, cuts) for i in node.inputs), node)
            (base,) = node.inputs
            lead = node.rank - base.rank
            if isinstance(op, View) and lead >= 0 and base.shape == node.shape[lead:]:
                inner = {axis - lead: span for axis, span in cuts.items() if axis >= lead}
                return blocks.made(_resized(op, node, cuts), (self._part(base, inner),), node)
        made = blocks.new[node]
        for axis, (start, stop) in cuts.items():
            made = blocks.made(Part(axis - node.rank, start, stop), (made,), node)
        return made


def _resized(op: View, node: Node, cuts: Cuts) -> View:
    shape = list(node.shape)
    for axis, (start, stop) in cuts.items():
        shape[axis] = stop - start
    made = op.resized(tuple(shape))
    assert made is not None
    return made
