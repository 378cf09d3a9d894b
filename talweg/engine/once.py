"""Small Graphs that come for the first time: run straight from their Nodes, once.

A program whose structure depends on its data makes another Graph in every step. Planning it takes
far longer than running it; so what an Executor would lay out is written for one run, with the
addresses themselves, by the same kernels that a Plan of the Graph has.
"""

from __future__ import annotations

import struct
from array import array
from collections.abc import Mapping, Sequence
from operator import attrgetter
from typing import Any, NamedTuple, TypeAlias, final

import numpy as np

from talweg.base.errors import IndexOutOfRange
from talweg.engine.counters import count
from talweg.engine.kernels import kernels_of
from talweg.engine.scalars import format_of, is_scalar
from talweg.engine.workers import pool
from talweg.ir.node import Graph, Node
from talweg.ir.types import TensorType
from talweg.passes.apart import Key, Piece, key_of, plan_of, root_of, views_of
from talweg.passes.places import ARENA, INPUT
from talweg.passes.plan import Launch
from talweg.passes.small import ALIGNMENT, REFUSED, ROLES, are_small, bytes_of
from talweg.runtime.buffer import Buffer, address_of
from talweg.runtime.executor import single_run
from talweg.runtime.jit import Kernel


@final
class _Row(NamedTuple):
    """What is written for a launch.

    Args:
        operands: for each buffer the number of a Node that is read, or that of the result, which
            comes after them; from -1 down it is a place in the arena. None where the buffers are
            just the Nodes in order and the result.
        tail: the words behind them in the argument block.
        shared: whether the first of these is the address of shared memory.
        stages: functions and items.
        kernel: whose they are.
    """

    operands: list[int] | None
    tail: list[int]
    shared: bool
    stages: list[tuple[int, int]]
    kernel: Kernel


@final
class _Room:
    """The most memory that any kernel wanted while it ran, and left to its next stage."""

    scratch = shared = arena = 0


_Rows: TypeAlias = list[_Row]

_type = attrgetter("type")
_LIMIT = 1 << 15
_ROWS: dict[Key, _Rows] = {}


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
        found = run_once(self.graph.order, inputs, self.graph.outputs)
        assert found is not None, "the Graph is small"
        return found


def run_once(
    order: Sequence[Node], inputs: Sequence[Node], outputs: Sequence[Node]
) -> list[Any] | None:
    """Return what `Node.value` of each output becomes; None where the values are not small.

    Args:
        order: Nodes without values, each after those that it reads; others may be among them.
        inputs: those whose values are known.
        outputs: what is computed.

    Raises:
        IndexOutOfRange: when a check of a kernel fails; it names no line.
    """
    shown = views_of(order)
    addresses, kept = _inputs(inputs)
    made: dict[Node, Buffer] = {}
    roots = [root_of(node, shown) for node in outputs]
    for root in roots:
        if root not in addresses:
            made[root] = buffer = Buffer(root.type.nbytes)
            addresses[root] = buffer.address
    under = shown.intersection(outputs)
    while True:
        shared = Buffer(_Room.shared)
        first = _Room.arena
        arena = Buffer(first + bytes_of(order) + ALIGNMENT * len(order))
        page = _Page(shown, arena.address, arena.address + first, shared.address)
        missing = page.write(order, dict(addresses), list(made), set(under))
        if missing is None:
            return None
        if not missing:
            break
        _make(missing, shown)
    if page.records and single_run(pool(), page.words, page.records, _Room.scratch):
        raise IndexOutOfRange("a check failed")
    del kept
    return [made[root] if root in made else _value(root) for root in roots]


@final
class _Page:
    """What is written for one run.

    Args:
        shown: the Nodes that are read through.
        start: the address of the arena: what pieces leave to themselves.
        top: where in it values begin.
        shared: the address of memory that the stages of a kernel share.

    Attributes:
        words: the argument blocks.
        records: for each stage its function, the first word of its block, items.
        rows: what they were written from: it keeps the kernels.
    """

    def __init__(self, shown: set[Node], start: int, top: int, shared: int) -> None:
        self.shown, self.start, self.top, self.shared = shown, start, top, shared
        self.words = array("Q")
        self.records = array("Q")
        self.rows: Sequence[tuple[_Rows, list[int]]] = ()

    def write(
        self,
        order: Sequence[Node],
        places: dict[Node, int],
        outputs: Sequence[Node],
        under: set[Node],
    ) -> dict[Key, Piece] | None:
        """Write the pieces, last ones first: a value needs a place from its last use on.

        Args:
            order: as for `run_once`.
            places: where inputs and outputs lie; gets the others.
            outputs: what is computed.
            under: views that are outputs; gets those that are read.

        Returns:
            pieces whose kernels are not made yet; None where the values are not small.
        """
        homes: dict[Node, list[int]] = {node: [] for node in outputs}
        free: dict[int, list[int]] = {}
        missing: dict[Key, Piece] = {}
        rows: list[tuple[_Rows, list[int]]] = []
        shown, roles, known, top = self.shown, ROLES, _ROWS, self.top
        nbytes = count = 0
        for node in reversed(order):
            home = homes.get(node)
            if home is None and node not in under:
                continue
            op, type = node.op, node.type
            bases: Sequence[Node] = node.inputs
            if roles[op.__class__] == REFUSED or type.__class__ is not TensorType:
                return None
            nbytes += type.nbytes
            count += 1
            plain = shown.isdisjoint(bases)
            if not plain:
                under.update(shown.intersection(bases))
            if home is None:
                continue
            if plain:
                key: Key = (op.token, *map(_type, bases))
            else:
                key, bases = key_of(node, shown)
            found: list[int] = []
            for base in bases:
                at = places.get(base)
                if at is None:
                    size = base.type.nbytes
                    unused = free.get(size)
                    if unused is None:
                        unused = free[size] = []
                    if unused:
                        at = unused.pop()
                    else:
                        at, top = top, top + (size + ALIGNMENT - 1 & -ALIGNMENT)
                    places[base], homes[base] = at, unused
                found.append(at)
            at = places[node]
            found.append(at)
            home.append(at)
            launches = known.get(key)
            if launches is None:
                missing[key] = key, node, bases
            else:
                rows.append((launches, found))
        if not are_small(nbytes, count):
            return None
        if not missing:
            self.rows = rows
            self._put(rows)
        return missing

    def _put(self, rows: Sequence[tuple[_Rows, list[int]]]) -> None:
        words: list[int] = []
        records: list[int] = []
        slot = 0
        for launches, addresses in reversed(rows):
            for operands, tail, shares, stages, _ in launches:
                found = addresses
                if operands:
                    found = [addresses[n] if n >= 0 else self.start - 1 - n for n in operands]
                words += found
                words += tail
                if shares:
                    words[slot + len(found)] = self.shared
                for function, items in stages:
                    records += (function, slot, items, items, 1)
                slot += len(found) + len(tail)
        self.words, self.records = array("Q", words), array("Q", records)


def _inputs(inputs: Sequence[Node]) -> tuple[dict[Node, int], list[Any]]:
    """The addresses of inputs, and what must be kept for them."""
    addresses: dict[Node, int] = {}
    kept: list[Any] = []
    numbers: list[Node] = []
    for node in inputs:
        value = node.value
        if value.__class__ is Buffer:
            addresses[node] = value.address
        elif is_scalar(node):
            numbers.append(node)
        else:
            found = np.ascontiguousarray(node.array)
            kept.append(found)
            addresses[node] = address_of(found)
    if numbers:
        form = "=" + "".join([format_of(node.type) for node in numbers])
        packed = array("b", struct.pack(form, *[node.value for node in numbers]))
        kept.append(packed)
        start, _ = packed.buffer_info()
        addresses |= {node: start + 8 * n for n, node in enumerate(numbers)}
    return addresses, kept


def _value(node: Node) -> Any:
    """What an output becomes that is an input."""
    value = node.value
    return value if value.__class__ is Buffer else Buffer.of(np.ascontiguousarray(node.array))


def _make(missing: Mapping[Key, Piece], shown: set[Node]) -> None:
    """Make the kernels of pieces together, and what is written for each."""
    plans = {key: plan_of(piece, shown) for key, piece in missing.items()}
    launches = [launch for plan in plans.values() for launch in plan.launches]
    kernels = iter(kernels_of([(launch.nest, launch.values) for launch in launches]))
    if len(_ROWS) > _LIMIT:
        _ROWS.clear()
    for key, plan in plans.items():
        _Room.arena = max(_Room.arena, plan.arena + ALIGNMENT - 1 & -ALIGNMENT)
        _ROWS[key] = [_row(step, next(kernels), len(plan.inputs)) for step in plan.launches]
    count(plans=len(plans))


def _row(launch: Launch, kernel: Kernel, result: int) -> _Row:
    scratch, shared, *work = kernel.sizes(launch.values)
    _Room.scratch, _Room.shared = max(_Room.scratch, scratch), max(_Room.shared, shared)
    block = bytearray(-(-kernel.block_bytes // 8) * 8)
    kernel.pack(block, 0, [0] * len(launch.places), 0, launch.values)
    tail = list(memoryview(block).cast("Q"))[len(launch.places) :]
    stages = [(f, n) for f, n in zip(kernel.stages, work[::2], strict=True) if n > 0]
    operands = [
        place.at if place.kind == INPUT else -1 - place.at if place.kind == ARENA else result
        for place in launch.places
    ]
    plain = operands == list(range(result + 1))
    return _Row(None if plain else operands, tail, bool(shared), stages, kernel)
