"""Small Graphs that come for the first time: run straight from their Nodes, once.

A program whose structure depends on its data makes another Graph in every step. Planning it takes
far longer than running it; so what an Executor would lay out is written for one run, with the
addresses themselves, by the same kernels that a Plan of the Graph has.
"""

from __future__ import annotations

import struct
from array import array
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple, TypeAlias, final

import numpy as np

from talweg.base.errors import IndexOutOfRange
from talweg.engine.counters import count
from talweg.engine.kernels import kernels_of
from talweg.engine.scalars import format_of
from talweg.engine.workers import pool
from talweg.ir.node import Graph, Node
from talweg.passes.apart import Key, Piece, cut, lay_out, plan_of, root_of
from talweg.passes.places import ARENA, INPUT
from talweg.passes.plan import Launch
from talweg.runtime.buffer import ALIGNMENT, Buffer, address_of
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
    """

    operands: list[int] | None
    tail: list[int]
    shared: bool
    stages: list[tuple[int, int]]


@final
class _Room:
    """The most memory that any kernel wanted while it ran, and left to its next stage."""

    scratch = shared = arena = 0


_Rows: TypeAlias = list[_Row]

_LIMIT = 1 << 15
_ROWS: dict[Key, _Rows] = {}


@final
class Once:
    """A small Graph that is run when it comes for the first time, and then forgotten.

    Args:
        graph: its inputs are known.
        scalars: for each input, whether it is given as a number.
    """

    def __init__(self, graph: Graph, scalars: Sequence[bool]) -> None:
        self.graph = graph
        self.scalars = scalars

    def run(self, inputs: Sequence[Node]) -> list[Any]:
        """Return what `Node.value` of each output becomes; `inputs` are those of the Graph.

        Raises:
            IndexOutOfRange: when a check of a kernel fails.
        """
        return run_once(self.graph, self.scalars)


def run_once(graph: Graph, scalars: Sequence[bool]) -> list[Any]:
    """Return what `Node.value` of each output of a small Graph becomes.

    Args:
        graph: its inputs are known.
        scalars: for each input, whether it is given as a number.

    Raises:
        IndexOutOfRange: when a check of a kernel fails; it names no line.
    """
    given = set(graph.inputs)
    pieces = cut(graph)
    rows = _rows_of(pieces, given)
    addresses, kept = _inputs(graph.inputs, scalars)
    made: dict[Node, Buffer] = {}
    roots = [root_of(node, given) for node in graph.outputs]
    for root in roots:
        if root not in addresses and root not in made:
            made[root] = buffer = Buffer(root.type.nbytes)
            addresses[root] = buffer.address
    first = _Room.arena
    arena = Buffer(first + sum(n.type.nbytes + ALIGNMENT for n in graph.order))
    lay_out(pieces, addresses, arena.address + first)
    shared = Buffer(_Room.shared)
    words, records = _written(pieces, rows, addresses, arena.address, shared.address)
    if records and single_run(pool(), words, records, _Room.scratch):
        raise IndexOutOfRange("a check failed")
    del kept
    return [made[root] if root in made else _value(root) for root in roots]


def _inputs(inputs: Sequence[Node], scalars: Sequence[bool]) -> tuple[dict[Node, int], list[Any]]:
    """The addresses of inputs, and what must be kept for them."""
    addresses: dict[Node, int] = {}
    kept: list[Any] = []
    numbers = [node for node, scalar in zip(inputs, scalars, strict=True) if scalar]
    if numbers:
        form = "=" + "".join(format_of(node.type) for node in numbers)
        packed = array("b", struct.pack(form, *[node.value for node in numbers]))
        kept.append(packed)
        start, _ = packed.buffer_info()
        addresses |= {node: start + 8 * n for n, node in enumerate(numbers)}
    for node in inputs:
        value = node.value
        if node in addresses:
            continue
        if value.__class__ is Buffer:
            addresses[node] = value.address
            continue
        found = np.ascontiguousarray(node.array)
        kept.append(found)
        addresses[node] = address_of(found)
    return addresses, kept


def _value(node: Node) -> Any:
    """What an output becomes that is an input."""
    value = node.value
    return value if value.__class__ is Buffer else Buffer.of(np.ascontiguousarray(node.array))


def _rows_of(pieces: Sequence[Piece], given: set[Node]) -> list[_Rows]:
    """What is written for each piece; kernels that are missing are made together."""
    found = [_ROWS.get(key) for key, _, _ in pieces]
    while None in found:
        if len(_ROWS) > _LIMIT:
            _ROWS.clear()
        _make({piece[0]: piece for piece in pieces if piece[0] not in _ROWS}, given)
        found = [_ROWS.get(key) for key, _, _ in pieces]
    return [rows for rows in found if rows is not None]


def _make(missing: Mapping[Key, Piece], given: set[Node]) -> None:
    plans = {key: plan_of(piece, given) for key, piece in missing.items()}
    launches = [launch for plan in plans.values() for launch in plan.launches]
    kernels = iter(kernels_of([(launch.nest, launch.values) for launch in launches]))
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
    return _Row(None if plain else operands, tail, bool(shared), stages)


def _written(
    pieces: Sequence[Piece],
    rows: Sequence[_Rows],
    addresses: Mapping[Node, int],
    arena: int,
    shared: int,
) -> tuple[array[int], array[int]]:
    """The argument blocks, and for each stage its function, the first word of its block, items."""
    words: list[int] = []
    records: list[int] = []
    slot = 0
    for (_, node, bases), launches in zip(pieces, rows, strict=True):
        for operands, tail, shares, stages in launches:
            found = [addresses[base] for base in bases]
            found.append(addresses[node])
            if operands:
                found = [found[n] if n >= 0 else arena - 1 - n for n in operands]
            words += found
            words += tail
            if shares:
                words[slot + len(found)] = shared
            for function, items in stages:
                records += (function, slot, items, items, 1)
            slot += len(found) + len(tail)
    return array("Q", words), array("Q", records)
