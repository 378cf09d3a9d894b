"""Small Graphs that come for the first time: run straight from their Nodes, once.

A program whose structure depends on its data makes another Graph in every step. Planning it takes
far longer than running it; so what an Executor would lay out is written for one run, with the
addresses themselves, by the same kernels that a Plan of the Graph has.

A step of such a program is some thousand pieces, and Python takes longer for one than its kernel.
So a kernel leaves a pattern of what is written for it, and the patterns of all pieces are copied,
and addresses put into them, by a few operations on whole arrays.
"""

from __future__ import annotations

import struct
from array import array
from collections.abc import Mapping, Sequence
from operator import attrgetter
from threading import Lock
from typing import TYPE_CHECKING, Any, NamedTuple, final

import numpy as np

from talweg.base.deferred import deferred
from talweg.base.errors import IndexOutOfRange
from talweg.engine.counters import count
from talweg.engine.scalars import format_of, is_scalar
from talweg.engine.workers import pool
from talweg.ir.node import Graph, Node
from talweg.ir.trace import Layout, layout_of
from talweg.passes.places import ARENA, INPUT
from talweg.passes.small import ALIGNMENT, REFUSED, ROLES, SHOWN, are_small
from talweg.runtime.buffer import Buffer, address_of
from talweg.runtime.executor import single_run

# A Graph that is not small needs none of this, and may be found in the cache folder.
if TYPE_CHECKING:
    from talweg.engine import kernels
    from talweg.passes import apart
    from talweg.passes.apart import Piece
    from talweg.passes.plan import Launch
    from talweg.runtime.jit import Kernel
else:
    apart = deferred("talweg.passes.apart")
    kernels = deferred("talweg.engine.kernels")

_nbytes, _type_token = attrgetter("type.nbytes"), attrgetter("type.token")
_LIMIT = 1 << 15
_CLOSE = 1 << 20  # bytes of values up to which none takes the place of another

# Instead of the number of an operand, in a pattern: the address of shared memory, and, further
# down, of a place in the memory that a piece leaves to its next kernel.
_SHARED, _INSIDE = -1, -2


class _Tables(NamedTuple):
    """The patterns of pieces by number: whole columns, one piece after the other.

    Args:
        words: the argument blocks.
        patches: a word of the piece's blocks, and the operand whose address is put there; the
            result comes after the operands.
        stages: a function, the first word of its block, items.
        counts: for each piece how many rows of these are its own.
        starts: and which of them is the first.
    """

    words: np.ndarray
    patches: np.ndarray
    stages: np.ndarray
    counts: np.ndarray
    starts: np.ndarray


@final
class _Patterns:
    """The pieces that were met, and what is written for each.

    Attributes:
        numbers: of the pieces, by the Op's token and the tokens of at most two types (-1 for
            none), or by their key.
        kernels: all kernels; they stay loaded.
        scratch, shared, inside: the most memory that any of them wants.
        tables: the patterns. They are never changed, but replaced by longer ones.
    """

    def __init__(self) -> None:
        self.numbers: dict[Any, int] = {}
        self.kernels: list[Kernel] = []
        self.scratch = self.shared = self.inside = 0
        self.tables = _Tables(
            np.empty(0, np.uint64), np.empty((0, 2), np.int64), np.empty((0, 3), np.uint64),
            np.empty((0, 3), np.int64), np.empty((0, 3), np.int64),
        )  # fmt: skip

    def add(self, key: Any, launches: Sequence[tuple[Launch, Kernel]], inputs: int) -> None:
        """Add a piece that has so many operands."""
        if key in self.numbers:
            return
        words: list[int] = []
        patches: list[tuple[int, int]] = []
        stages: list[tuple[int, int, int]] = []
        for launch, kernel in launches:
            start = len(words)
            scratch, shared, *work = kernel.sizes(launch.values)
            self.scratch, self.shared = max(self.scratch, scratch), max(self.shared, shared)
            block = bytearray(-(-kernel.block_bytes // 8) * 8)
            kernel.pack(block, 0, [0] * len(launch.places), 0, launch.values)
            words += memoryview(block).cast("Q")
            for n, place in enumerate(launch.places):
                inside = place.kind == ARENA
                operand = place.at if place.kind == INPUT else inputs
                patches.append((start + n, _INSIDE - place.at if inside else operand))
            if shared:
                patches.append((start + len(launch.places), _SHARED))
            sized = zip(kernel.stages, work[::2], strict=True)
            stages += [(function, start, items) for function, items in sized if items > 0]
            self.kernels.append(kernel)
        before = self.tables
        counts = np.array([[len(words), len(patches), len(stages)]])
        starts = np.array([[len(rows) for rows in before[:3]]])
        self.tables = _Tables(
            np.append(before.words, np.array(words, np.uint64)),
            np.append(before.patches, np.array(patches, np.int64).reshape(-1, 2), 0),
            np.append(before.stages, np.array(stages, np.uint64).reshape(-1, 3), 0),
            np.append(before.counts, counts, 0),
            np.append(before.starts, starts, 0),
        )
        self.numbers[key] = len(before.counts)


_patterns = _Patterns()
_LOCK = Lock()


@final
class Once:
    """A small Graph that is run when it comes for the first time, and then forgotten.

    Args:
        graph: its inputs are known.
    """

    def __init__(self, graph: Graph) -> None:
        self.graph = graph

    def run(self, inputs: Sequence[Node]) -> list[Any]:
        """Return what `Node.value` of each output becomes; `inputs` are those of the Graph.

        Raises:
            IndexOutOfRange: when a check of a kernel fails.
        """
        nodes = *inputs, *self.graph.order
        found = run_once(nodes, layout_of(nodes), self.graph.outputs)
        assert found is not None, "the Graph is small"
        return found


def run_once(nodes: Sequence[Node], layout: Layout, outputs: Sequence[Node]) -> list[Any] | None:
    """Return what `Node.value` of each output becomes; None where the values are not small.

    Args:
        nodes: by place: each comes after those that it reads. Others may be among them.
        layout: what reads what.
        outputs: what is computed.

    Raises:
        IndexOutOfRange: when a check of a kernel fails; it names no line.
    """
    given = _Given.of(nodes, layout)
    if given is None or not given.are_small(outputs):
        return None
    shown = {nodes[place] for place in np.flatnonzero(given.shown).tolist()}
    roots = [apart.root_of(node, shown) for node in outputs]
    pieces = _pieces(given, shown, roots)
    patterns, numbers = _numbered(given, pieces, shown)
    addresses, kept = _inputs(given)
    made: dict[Node, Buffer] = {}
    for root in roots:
        if root.value is None and root not in made:
            made[root] = Buffer(root.type.nbytes)
            addresses[given.place(root)] = made[root].address
    values = _placed(given, pieces, addresses)
    room = Buffer(patterns.inside), Buffer(patterns.shared)
    words, records = _written(
        patterns.tables, np.array(numbers, np.int64), pieces, addresses, *[b.address for b in room]
    )
    if len(records) and single_run(pool(), words, records, patterns.scratch):
        raise IndexOutOfRange("a check failed")
    del kept, values, room
    return [made[root] if root in made else _value(root) for root in roots]


@final
class _Given:
    """What may be computed, as columns by place.

    Attributes:
        nodes, layout: as for `run_once`.
        types: the tokens of the Nodes' types.
        nbytes: of their values.
        pending: whether the value is not known.
        shown: whether the Node is read through.
        needed: whether it is needed for the outputs, once that is known.
    """

    def __init__(self, nodes: Sequence[Node], layout: Layout, roles: np.ndarray) -> None:
        size = len(nodes)
        self.nodes, self.layout = nodes, layout
        self.types = np.fromiter(map(_type_token, nodes), np.int64, size)
        self.nbytes = np.fromiter(map(_nbytes, nodes), np.int64, size)
        self.pending = np.fromiter([node.value is None for node in nodes], bool, size)
        self.shown = self.pending & (roles == SHOWN)
        self.needed = self.pending
        self._places: dict[Node, int] = {}

    @classmethod
    def of(cls, nodes: Sequence[Node], layout: Layout) -> _Given | None:
        """Return it; None where a Node has several results or needs more than a kernel."""
        roles = np.fromiter([ROLES[node.op.__class__] for node in nodes], np.int8, len(nodes))
        if (roles == REFUSED).any():
            return None
        try:
            return cls(nodes, layout, roles)
        except AttributeError:  # several types
            return None

    def are_small(self, outputs: Sequence[Node]) -> bool:
        """Find out what is needed; whether the Graph of that is cut, see `small.is_small`."""
        used = np.bincount(self.layout.operands, minlength=len(self.nodes))
        ends = [self.place(node) for node in outputs]
        used[ends] += 1
        if not used[self.pending].all():
            self.needed = self._reached(ends) & self.pending
        nbytes = int(self.nbytes[self.needed].sum())
        return are_small(nbytes, int(np.count_nonzero(self.needed)))

    def _reached(self, ends: Sequence[int]) -> np.ndarray:
        _, arity, first, operands = (column.tolist() for column in self.layout)
        reached = bytearray(len(self.nodes))
        for end in ends:
            reached[end] = 1
        for place in range(len(self.nodes) - 1, -1, -1):
            if reached[place]:
                start = first[place]
                for operand in operands[start : start + arity[place]]:
                    reached[operand] = 1
        return np.frombuffer(reached, bool)

    def place(self, node: Node) -> int:
        """Return the place of a Node."""
        if 0 <= node.at < len(self.nodes) and self.nodes[node.at] is node:
            return node.at
        if not self._places:  # another thread has recorded it too
            self._places = {n: place for place, n in enumerate(self.nodes)}
        return self._places[node]


class _Pieces(NamedTuple):
    """What is computed, in order.

    Args:
        places: of the Nodes.
        first: where the places of what a piece reads begin in `read`.
        arity: how many these are.
        read: places.
        special: by place, the pieces whose key is not of an Op and at most two types: they read
            through views, or more.
    """

    places: np.ndarray
    first: np.ndarray
    arity: np.ndarray
    read: np.ndarray
    special: dict[int, Piece]


def _pieces(given: _Given, shown: set[Node], roots: Sequence[Node]) -> _Pieces:
    """Cut what is needed, as `apart.cut` does."""
    nodes, (_, arity, first, operands) = given.nodes, given.layout
    computed = given.needed & ~given.shown
    odd = computed & (arity > 2)
    special: dict[int, Piece] = {}
    if shown:
        readers = np.repeat(np.arange(len(nodes)), arity)
        odd[readers[given.shown[operands]]] = True
        odd &= computed
    stack = [nodes[place] for place in np.flatnonzero(odd).tolist()]
    stack += shown.intersection(roots)
    read = [operands]
    starts, counts = first.copy(), arity.copy()
    end = len(operands)
    while stack:
        node = stack.pop()
        place = given.place(node)
        if place in special:
            continue
        key, bases = apart.key_of(node, shown)
        special[place] = key, node, bases
        stack += shown.intersection(bases)
        starts[place], counts[place] = end, len(bases)
        read.append(np.array([given.place(base) for base in bases], np.int64))
        end += len(bases)
        computed[place] = True
    places = np.flatnonzero(computed)
    return _Pieces(places, starts[places], counts[places], np.concatenate(read), special)


def _numbered(given: _Given, pieces: _Pieces, shown: set[Node]) -> tuple[_Patterns, list[Any]]:
    """Return the patterns, and the number of each piece; kernels that are missing are made."""
    places, first, arity, read, special = pieces
    types = np.append(given.types, -1)
    one, two = (
        np.where(arity > n, read[np.minimum(first + n, len(read) - 1)] if len(read) else -1, -1)
        for n in (0, 1)
    )
    columns = given.layout.tokens[places], types[one], types[two]
    tokens, left, right = (column.tolist() for column in columns)
    patterns = _patterns
    known = patterns.numbers.get
    numbers = list(map(known, zip(tokens, left, right, strict=True)))
    rows = {int(np.searchsorted(places, place)): piece for place, piece in special.items()}
    for n, piece in rows.items():
        numbers[n] = known(piece[0])
    if None not in numbers:
        return patterns, numbers
    missing: dict[Any, Piece] = {}
    for n in [n for n, number in enumerate(numbers) if number is None]:
        if n in rows:
            missing[rows[n][0]] = rows[n]
        else:
            node = given.nodes[places[n]]
            missing[tokens[n], left[n], right[n]] = apart.key_of(node, shown)[0], node, node.inputs
    _make(missing, shown)
    return _numbered(given, pieces, shown)


def _make(missing: Mapping[Any, Piece], shown: set[Node]) -> None:
    """Make the kernels of pieces together, and the patterns of their launches."""
    global _patterns
    plans = {key: apart.plan_of(piece, shown) for key, piece in missing.items()}
    launches = [launch for plan in plans.values() for launch in plan.launches]
    made = iter(kernels.kernels_of([(launch.nest, launch.values) for launch in launches]))
    with _LOCK:
        if len(_patterns.numbers) > _LIMIT:
            _patterns = _Patterns()
        for key, plan in plans.items():
            _patterns.inside = max(_patterns.inside, plan.arena)
            rows = [(launch, next(made)) for launch in plan.launches]
            _patterns.add(key, rows, len(plan.inputs))
    count(plans=len(plans))


def _inputs(given: _Given) -> tuple[np.ndarray, list[Any]]:
    """Return addresses by place, so far those of known values, and what must be kept for them."""
    nodes = given.nodes
    addresses = np.zeros(len(nodes), np.uint64)
    kept: list[Any] = []
    numbers: list[int] = []
    for place in np.flatnonzero(~given.pending).tolist():
        node = nodes[place]
        value = node.value
        if value.__class__ is Buffer:
            addresses[place] = value.address
        elif is_scalar(node):
            numbers.append(place)
        else:
            found = np.ascontiguousarray(node.array)
            kept.append(found)
            addresses[place] = address_of(found)
    if numbers:
        form = "=" + "".join([format_of(nodes[place].type) for place in numbers])
        packed = array("b", struct.pack(form, *[nodes[place].value for place in numbers]))
        kept.append(packed)
        start, _ = packed.buffer_info()
        addresses[numbers] = np.uint64(start) + np.arange(len(numbers), dtype=np.uint64) * 8
    return addresses, kept


def _value(node: Node) -> Any:
    """What an output becomes that is an input."""
    value = node.value
    return value if value.__class__ is Buffer else Buffer.of(np.ascontiguousarray(node.array))


def _placed(given: _Given, pieces: _Pieces, addresses: np.ndarray) -> Buffer:
    """Give the values that lie nowhere yet addresses; return the memory."""
    inside = pieces.places[addresses[pieces.places] == 0]
    sizes = given.nbytes[inside] + (ALIGNMENT - 1) & -ALIGNMENT
    top = int(sizes.sum())
    if top > _CLOSE:
        return _packed(given, pieces, addresses, inside)
    memory = Buffer(top)
    addresses[inside] = (_before(sizes) + memory.address).astype(np.uint64)
    return memory


def _packed(given: _Given, pieces: _Pieces, addresses: np.ndarray, inside: np.ndarray) -> Buffer:
    """The same where values are larger: some take the place of others that are not needed."""
    nodes, places = given.nodes, pieces.places.tolist()
    listed: list[Piece] = [
        ((), nodes[place], [nodes[n] for n in pieces.read[start : start + size]])
        for place, start, size in zip(
            places, pieces.first.tolist(), pieces.arity.tolist(), strict=True
        )
    ]
    offsets = {nodes[n]: 0 for n in np.flatnonzero(addresses).tolist()}
    memory = Buffer(apart.lay_out(listed, offsets, 0))
    found = [offsets[nodes[place]] for place in inside.tolist()]
    addresses[inside] = np.array(found, np.uint64) + np.uint64(memory.address)
    return memory


def _written(
    tables: _Tables,
    numbers: np.ndarray,
    pieces: _Pieces,
    addresses: np.ndarray,
    inside: int,
    shared: int,
) -> tuple[np.ndarray, np.ndarray]:
    """Return the argument blocks of pieces, and a record for each of their stages.

    Args:
        tables: the patterns.
        numbers: of the pieces.
        pieces: what they read and write.
        addresses: by place.
        inside, shared: addresses of memory for their kernels.
    """
    counts, starts = tables.counts[numbers].T, tables.starts[numbers].T
    slots = _before(counts[0])
    words = tables.words[_rows(starts[0], counts[0])]
    word, operand = tables.patches[_rows(starts[1], counts[1])].T
    last = len(pieces.read)
    read = np.append(pieces.read, 0)[np.clip(operand + np.repeat(pieces.first, counts[1]), 0, last)]
    result = np.repeat(pieces.places, counts[1])
    place = np.where(operand == np.repeat(pieces.arity, counts[1]), result, read)
    inner = np.where(operand == _SHARED, shared, inside + _INSIDE - operand).astype(np.uint64)
    words[word + np.repeat(slots, counts[1])] = np.where(operand >= 0, addresses[place], inner)
    stages = tables.stages[_rows(starts[2], counts[2])]
    records = np.ones((len(stages), 5), np.uint64)
    records[:, 0] = stages[:, 0]
    blocks = stages[:, 1] + np.repeat(slots, counts[2]).astype(np.uint64)
    records[:, 1] = blocks * np.uint64(8) + np.uint64(words.ctypes.data)
    records[:, 2] = records[:, 3] = stages[:, 2]
    return words, records


def _before(counts: np.ndarray) -> np.ndarray:
    """Return how much comes before each of them."""
    total: np.ndarray = np.cumsum(counts) - counts
    return total


def _rows(starts: np.ndarray, counts: np.ndarray) -> np.ndarray:
    """Return the numbers of rows: so many from each start on."""
    found: np.ndarray = np.repeat(starts - _before(counts), counts)
    return found + np.arange(len(found))
