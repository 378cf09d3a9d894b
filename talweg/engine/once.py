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
from threading import Lock
from typing import TYPE_CHECKING, Any, NamedTuple, final

import numpy as np

from talweg.base.deferred import deferred
from talweg.base.errors import IndexOutOfRange
from talweg.engine.counters import count
from talweg.engine.program import Sized
from talweg.engine.scalars import format_of, is_scalar
from talweg.engine.workers import pool
from talweg.ir.node import Graph, Node
from talweg.ir.rule import Page
from talweg.ir.trace import Layout, layout_of
from talweg.ir.types import TensorType
from talweg.passes.places import ARENA, INPUT
from talweg.passes.small import ALIGNMENT, PLAIN, REFUSED, ROLES, SHOWN, are_small
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

_LIMIT = 1 << 15
_TYPES = 21  # bits of a number of a type, in a kind
_CLOSE = 1 << 20  # bytes of values up to which none takes the place of another

# Instead of the number of an operand, in a pattern: the address of shared memory, and, further
# down, of a place in the memory that a piece leaves to its next kernel. The numbers of a piece
# follow its operands: what stands for a Node's address is the number itself.
_SHARED, _INSIDE = -1, -2


class _Tables(NamedTuple):
    """The patterns of pieces by number: whole columns, one piece after the other.

    Args:
        words: the argument blocks.
        patches: a word of the piece's blocks, and the operand whose address is put there, from 1
            on; 0 is the result.
        stages: a function, the first word of its block, items.
        counts: for each piece how many rows of these are its own.
        starts: and which of them is the first.
        kinds, numbers: of the pieces that are found by a kind, in the order of kinds. At the end
            is a kind that no piece has.
    """

    words: np.ndarray
    patches: np.ndarray
    stages: np.ndarray
    counts: np.ndarray
    starts: np.ndarray
    kinds: np.ndarray
    numbers: np.ndarray

    @property
    def columns(self) -> tuple[np.ndarray, ...]:
        """The tables by number, in the order in which they are read."""
        return self.counts, self.starts, self.words, self.patches, self.stages


@final
class _Patterns:
    """The pieces that were met, and what is written for each.

    Attributes:
        numbers: of the pieces, by their kind (the Op's token and the tokens of at most two types,
            in one number), or by their key.
        kernels: all kernels; they stay loaded.
        sized: those whose work may depend on a piece's numbers, by the number of the piece.
        block, scratch, shared, inside: the most bytes that any of them wants.
        tables: the patterns. They are never changed, but replaced by longer ones.
    """

    def __init__(self) -> None:
        self.numbers: dict[Any, int] = {}
        self.kernels: list[Kernel] = []
        self.sized: dict[int, list[Sized]] = {}
        self.block = self.scratch = self.shared = self.inside = 0
        self.tables = _Tables(
            np.empty(0, np.uint64), np.empty((0, 2), np.int64), np.empty((0, 3), np.uint64),
            np.empty((0, 3), np.int64), np.empty((0, 3), np.int64), np.array([-1]), np.array([-1]),
        )  # fmt: skip

    @property
    def rooms(self) -> tuple[int, int, int, int]:
        """How much memory running them takes: `block`, `shared`, `inside`, `scratch`."""
        return self.block, self.shared, self.inside, self.scratch

    def add(self, key: Any, launches: Sequence[tuple[Launch, Kernel]], reads: int) -> None:
        """Add a piece that reads so many operands."""
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
                operand = place.at + 1 if place.kind == INPUT else 0
                patches.append((start + n, _INSIDE - place.at if inside else operand))
            if shared:
                patches.append((start + len(launch.places), _SHARED))
            for slot, number in kernel.open_slots(launch.values):
                patches.append((start + slot, 1 + reads + number))
            if kernel.is_sized_by(launch.values):
                sized = Sized(kernel, launch.values, kernel.told(launch.values))
                self.sized.setdefault(len(self.tables.counts), []).append(sized)
            items_of = zip(kernel.stages, work[::2], strict=True)
            stages += [(function, start, items) for function, items in items_of if items > 0]
            self.kernels.append(kernel)
        self.block = max(self.block, 8 * len(words))
        before = self.tables
        counts = np.array([[len(words), len(patches), len(stages)]])
        starts = np.array([[len(rows) for rows in before[:3]]])
        self.tables = _Tables(
            np.append(before.words, np.array(words, np.uint64)),
            np.append(before.patches, np.array(patches, np.int64).reshape(-1, 2), 0),
            np.append(before.stages, np.array(stages, np.uint64).reshape(-1, 3), 0),
            np.append(before.counts, counts, 0),
            np.append(before.starts, starts, 0),
            before.kinds,
            before.numbers,
        )
        self.numbers[key] = number = len(before.counts)
        if key.__class__ is int:
            at = np.searchsorted(before.kinds[:-1], key)
            kinds, numbers = before.kinds, before.numbers
            self.tables = self.tables._replace(
                kinds=np.insert(kinds, at, key), numbers=np.insert(numbers, at, number)
            )


_patterns = _Patterns()
_known_sizes = np.array([-1])  # in bytes, of values by the tokens of their types
_known_roles = np.array([PLAIN], np.int8)  # by the negated tokens of Ops
_LOCK = Lock()


@final
class Once:
    """A small Graph that is run when it comes for the first time, and then forgotten.

    Args:
        graph: its inputs are known.
    """

    numbers = 0

    def __init__(self, graph: Graph) -> None:
        self.graph = graph

    def run(self, inputs: Sequence[Node], numbers: Sequence[int] = ()) -> list[Any]:
        """Return what `Node.value` of each output becomes; `inputs` are those of the Graph.

        Raises:
            IndexOutOfRange: when a check of a kernel fails.
        """
        nodes = [*inputs, *self.graph.order]
        found = run_once(Page(nodes, [], []), layout_of(nodes), self.graph.outputs)
        assert found is not None, "the Graph is small"
        return found


def run_once(page: Page, layout: Layout, outputs: Sequence[Node]) -> list[Any] | None:
    """Return what `Node.value` of each output becomes; None where the values are not small.

    Args:
        page: the Nodes by place: each comes after those that it reads. Others may be among them.
        layout: what reads what.
        outputs: what is computed.

    Raises:
        IndexOutOfRange: when a check of a kernel fails; it names no line.
        Unfit: where views begin so that kernels have other work.
    """
    given = _Given.of(page, layout)
    if given is None or not given.are_small(outputs):
        return None
    shown = {page.node(place) for place in np.flatnonzero(given.shown).tolist()}
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
    addresses = np.append(addresses, np.array(pieces.numbers, np.uint64))
    if len(numbers):
        columns = (numbers, pieces.first, pieces.cells, addresses, *patterns.tables.columns)
        if single_run(pool(), columns, *patterns.rooms):
            raise IndexOutOfRange("a check failed")
    del kept, values
    return [made[root] if root in made else _value(root) for root in roots]


@final
class _Given:
    """What may be computed, as columns by place.

    Attributes:
        page, layout: as for `run_once`.
        size: how many there are.
        types: the tokens of the Nodes' types.
        nbytes: of their values.
        pending: whether the value is not known.
        shown: whether the Node is read through.
        needed: whether it is needed for the outputs, once that is known.
    """

    def __init__(self, page: Page, layout: Layout, roles: np.ndarray) -> None:
        self.page, self.layout, self.size = page, layout, len(page.nodes)
        tokens = [type.token for type in layout.types]
        self.types = np.fromiter(tokens, np.int64, self.size)
        self.nbytes = _sizes(layout.types, self.types)
        self.pending = layout.pending
        self.shown = self.pending & (roles == SHOWN)
        self.needed = self.pending
        self._places: dict[Node, int] = {}

    @classmethod
    def of(cls, page: Page, layout: Layout) -> _Given | None:
        """Return it; None where a Node has several results or needs more than a kernel."""
        roles = _roles(page, -layout.tokens)
        if (roles == REFUSED).any():
            return None
        try:
            made = cls(page, layout, roles)
        except AttributeError:  # several types
            return None
        fits = made.types.max(initial=0) + 1 < 1 << _TYPES
        return made if fits and -layout.tokens.min(initial=0) < 1 << 63 - 2 * _TYPES else None

    def are_small(self, outputs: Sequence[Node]) -> bool:
        """Find out what is needed; whether the Graph of that is cut, see `small.is_small`."""
        used = self.layout.uses()
        ends = [self.place(node) for node in outputs]
        used[ends] += 1
        if not used[self.pending].all():
            self.needed = self._reached(ends) & self.pending
        nbytes = int(self.nbytes[self.needed].sum())
        return are_small(nbytes, int(np.count_nonzero(self.needed)))

    def _reached(self, ends: Sequence[int]) -> np.ndarray:
        _, arity, cells, first = (column.tolist() for column in self.layout[:4])
        reached = bytearray(self.size)
        for end in ends:
            reached[end] = 1
        for place in range(self.size - 1, -1, -1):
            if reached[place]:
                start = first[place] + 1
                for operand in cells[start : start + arity[place]]:
                    reached[operand] = 1
        return np.frombuffer(reached, bool)

    def place(self, node: Node) -> int:
        """Return the place of a Node."""
        nodes = self.page.nodes
        if 0 <= node.at < self.size and nodes[node.at] is node:
            return int(node.at)
        if not self._places:  # another thread has recorded it too
            self._places = {n: place for place, n in enumerate(nodes) if n is not None}
        return self._places[node]


class _Pieces(NamedTuple):
    """What is computed, in order.

    Args:
        places: of the Nodes.
        cells: one piece after the other: its place, and those of what it reads; and others.
        first: where a piece begins there.
        arity: how many it reads.
        special: by place, the pieces whose key is not of an Op and at most two types: they read
            through views, or more.
        numbers: of all pieces. Their places come after those of Nodes, and stand in `cells` after
            what a piece reads.
    """

    places: np.ndarray
    cells: np.ndarray
    first: np.ndarray
    arity: np.ndarray
    special: dict[int, Piece]
    numbers: Sequence[int]


def _pieces(given: _Given, shown: set[Node], roots: Sequence[Node]) -> _Pieces:
    """Cut what is needed, as `apart.cut` does."""
    _, arity, cells, first, _, _ = given.layout
    computed = given.needed & ~given.shown
    odd = computed & (arity > 2)
    special: dict[int, Piece] = {}
    if shown:
        reads = np.flatnonzero(given.shown[cells])
        odd[np.searchsorted(first, reads, "right") - 1] = True
        odd &= computed
    stack = [given.page.node(place) for place in np.flatnonzero(odd).tolist()]
    stack += shown.intersection(roots)
    parts = [cells]
    starts, counts = first.copy(), arity.copy()
    end = len(cells)
    numbers: list[int] = []
    while stack:
        node = stack.pop()
        place = given.place(node)
        if place in special:
            continue
        key, bases, own = apart.key_of(node, shown)
        special[place] = key, node, bases, own
        stack += shown.intersection(bases)
        starts[place], counts[place] = end, len(bases)
        after = given.size + len(numbers)
        numbers += own
        read = [*map(given.place, bases), *range(after, after + len(own))]
        parts.append(np.array([place, *read], np.int64))
        end += 1 + len(read)
        computed[place] = True
    places = np.flatnonzero(computed)
    cells = np.concatenate(parts)
    return _Pieces(places, cells, starts[places], counts[places], special, numbers)


def _numbered(given: _Given, pieces: _Pieces, shown: set[Node]) -> tuple[_Patterns, np.ndarray]:
    """Return the patterns, and the number of each piece; kernels that are missing are made."""
    places, cells, first, arity, special, _ = pieces
    types, last = np.append(given.types, -1) + 1, len(cells)
    cells = np.append(cells, -1)
    one, two = (types[cells[np.where(arity > n, first + n + 1, last)]] for n in (0, 1))
    kinds = (-given.layout.tokens[places] << 2 * _TYPES) + (one << _TYPES) + two
    patterns = _patterns
    tables, known = patterns.tables, patterns.numbers.get
    at = np.searchsorted(tables.kinds[:-1], kinds)
    numbers = np.where(tables.kinds[at] == kinds, tables.numbers[at], -1)
    rows = {int(np.searchsorted(places, place)): piece for place, piece in special.items()}
    for n, piece in rows.items():
        numbers[n] = number = known(piece[0], -1)
        for one in patterns.sized.get(number, ()):
            one.check(piece[3])
    unknown = np.flatnonzero(numbers < 0)
    if not len(unknown):
        return patterns, numbers
    missing: dict[Any, Piece] = {rows[n][0]: rows[n] for n in unknown.tolist() if n in rows}
    for n, kind in zip(unknown.tolist(), kinds[unknown].tolist(), strict=True):
        if n not in rows and kind not in missing:
            node = given.page.node(int(places[n]))
            missing[kind] = apart.key_of(node, shown)[0], node, node.inputs, ()
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
            _patterns.add(key, rows, len(missing[key][2]))
    count(plans=len(plans))


def _inputs(given: _Given) -> tuple[np.ndarray, list[Any]]:
    """Return addresses by place, so far those of known values, and what must be kept for them."""
    nodes = given.page.nodes
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
    node, places = given.page.node, pieces.places.tolist()
    listed: list[Piece] = [
        (
            (),
            node(place),
            [node(n) for n in pieces.cells[start + 1 : start + 1 + size].tolist()],
            (),
        )
        for place, start, size in zip(
            places, pieces.first.tolist(), pieces.arity.tolist(), strict=True
        )
    ]
    offsets = {node(n): 0 for n in np.flatnonzero(addresses).tolist()}
    memory = Buffer(apart.lay_out(listed, offsets, 0))
    found = [offsets[node(place)] for place in inside.tolist()]
    addresses[inside] = np.array(found, np.uint64) + np.uint64(memory.address)
    return memory


def _roles(page: Page, tokens: np.ndarray) -> np.ndarray:
    """Return the roles of the Ops of places, by their negated tokens."""
    global _known_roles
    roles = _known_roles
    top = int(tokens.max(initial=0)) + 1
    if top > len(roles):
        roles = np.append(roles, np.full(max(top, 2 * len(roles)) - len(roles), -1, np.int8))
    found: np.ndarray = roles[tokens]
    unknown = np.flatnonzero(found < 0).tolist()
    if unknown:
        ops = {int(tokens[place]): page.node(place).op.__class__ for place in unknown}
        roles = roles.copy()
        for token, op in ops.items():
            roles[token] = ROLES[op]
        _known_roles = roles
        found = roles[tokens]
    return found


def _sizes(types: Sequence[TensorType], tokens: np.ndarray) -> np.ndarray:
    """Return how many bytes values of some types have, by the types' tokens."""
    global _known_sizes
    sizes = _known_sizes
    top = int(tokens.max(initial=0)) + 1
    if top > len(sizes):
        sizes = np.append(sizes, np.full(max(top, 2 * len(sizes)) - len(sizes), -1))
    found: np.ndarray = sizes[tokens]
    unknown = np.flatnonzero(found < 0).tolist()
    if unknown:
        sizes = sizes.copy()
        for place in unknown:
            sizes[tokens[place]] = types[place].nbytes
        _known_sizes = sizes
        found = sizes[tokens]
    return found


def _before(counts: np.ndarray) -> np.ndarray:
    """Return how much comes before each of them."""
    total: np.ndarray = np.cumsum(counts) - counts
    return total
