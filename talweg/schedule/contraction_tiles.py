"""Tiles: the schedule of contractions, and its choice."""

from __future__ import annotations

import functools
import itertools
import math
import threading
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Literal, TypeAlias, final

import numpy as np

from talweg.base.frozen import frozen
from talweg.loops.functions import evaluate
from talweg.loops.nest import LoopNest, Store, statements
from talweg.loops.scalar import Argument, Call, Constant, Load, Number, Scalar
from talweg.schedule.contraction import Axes, Contraction, recognise
from talweg.schedule.contraction_places import is_even, loads, read_of, step
from talweg.schedule.place import names_in, plain
from talweg.schedule.target import Target

Left: TypeAlias = Literal["rows", "taps", "depth", "columns"]
Right: TypeAlias = Literal["direct", "steps", "each", "columns", "depth"]


@final
@frozen
class Tiles:
    """A contraction is computed in tiles of registers.

    Args:
        rows, vectors: of a tile; a vector fills a register with columns.
        left: how the left operand is read. "rows": from memory, at one place for each row and as
            far from there in all rows; "taps": from memory, at places that each row has for every
            step of the outer depth, or a row of zeros; "depth", "columns": from a packed copy that
            was made along the depth or across the rows.
        right: how the right operand is read. "direct": from memory; "steps", "each": from memory
            where its conditions hold, which depend on steps of the outer depth only, or on each
            element of the depth; "columns", "depth": from a packed copy that was made along its
            columns or its depth.
        near: whether that copy is made by every item for itself, not once for all.
        deep: whether the depth is taken in pieces.
        splits: into how many parts the depth is cut that are summed up at the same time; more than
            one only where it is deep.
        swapped: whether columns are the side that is not contiguous in the result.
        inner: which axis of the depth is innermost, of those that may be.
    """

    rows: int
    vectors: int
    left: Left
    right: Right
    near: bool = False
    deep: bool = False
    splits: int = 1
    swapped: bool = False
    inner: int = 0

    @property
    def packed(self) -> bool:
        """Whether the right operand is copied."""
        return self.right in ("columns", "depth")

    @property
    def by_panel(self) -> bool:
        """Whether all tiles of an item meet a panel before the next one."""
        return self.right in ("steps", "each")


# Rows and vectors of tiles, and the time of one multiplication relative to the best. The sums, a
# row of the right operand and two more values must fit into the register file.
_WIDE = ((6, 4, 1.0), (8, 3, 1.01), (5, 4, 1.06), (8, 2, 1.05), (8, 1, 1.25))
_NARROW = ((6, 2, 1.0), (4, 3, 1.05), (8, 1, 1.2))
_FLAT = ((1, 8, 2.0), (2, 8, 1.3), (3, 6, 1.1), (4, 5, 1.05), (5, 4, 1.0))  # of one row, two, …
_FLAT_NARROW = ((1, 6, 2.0), (2, 4, 1.3), (3, 3, 1.2), (4, 2, 1.1), (5, 2, 1.1))

DEEP = 4096  # the depth from which on it is taken in pieces
EXPANDED = 512  # the same where the right operand is larger than the memory it is read from
FEW = 1 << 19  # results below which the depth of a deep contraction is split
SPLITS = 8


SAME = 1.25  # a schedule that was chosen before is taken again if it costs so many times the best
NEAR = 1.1  # times the cost of one that takes the depth in other pieces
MANY = 3  # schedules of a nest from which on one is taken again at twice the cost of the best

_CHOSEN: dict[LoopNest, tuple[Tiles, ...]] = {}
_LOCK = threading.Lock()


def choose_tiles(
    contraction: Contraction, values: Mapping[str, Number], target: Target
) -> Tiles | None:
    """Return how a contraction is tiled; None where the ordinary loops do better.

    What was chosen for a nest is taken again for other sizes as long as that costs little, so that
    few kernels are compiled while sizes vary.

    Args:
        contraction: what is computed.
        values: of the arguments.
        target: the machine.
    """
    costs: dict[Tiles, float] = {}
    for facts in _arrangements(contraction.source, target):
        sizes = _Sizes(facts.contraction, values)
        for left, right in facts.ways:
            for tile in _tiles(sizes, target):
                cost = _cost(facts, sizes, tile, left, right)
                tiles = _tiled(sizes, tile, left, right)
                tiles = replace(tiles, swapped=facts.swapped, inner=facts.inner)
                costs[tiles] = cost
    if not costs:
        return None
    best = min(costs, key=lambda tiles: costs[tiles])
    with _LOCK:
        before = _CHOSEN.get(contraction.source, ())
        limit = costs[best] * (SAME if len(before) < MANY else 2.0)
        known = {tiles: _cost_of(tiles, costs) for tiles in before}
        nearest = min(known, key=lambda tiles: known[tiles], default=best)
        if known.get(nearest, costs[best]) <= limit:
            return nearest
        _CHOSEN[contraction.source] = (*before, best)
    return best


def _cost_of(tiles: Tiles, costs: Mapping[Tiles, float]) -> float:
    """What a schedule costs that may take the depth in other pieces than those that were priced."""
    plain = replace(tiles, near=False, deep=False, splits=1)
    found = (
        cost * (1.0 if other == tiles else NEAR)
        for other, cost in costs.items()
        if replace(other, near=False, deep=False, splits=1) == plain
    )
    return min(found, default=math.inf)


@frozen
class _Facts:
    """What the structure of a contraction says of its schedules."""

    contraction: Contraction
    swapped: bool
    inner: int
    ways: tuple[tuple[Left, Right], ...]
    left_runs: bool
    right_runs: bool
    stores_run: bool


@functools.lru_cache(maxsize=1024)
def _arrangements(nest: LoopNest, target: Target) -> tuple[_Facts, ...]:
    """The ways to bring a nest into the form of a contraction."""
    found: list[_Facts] = []
    for swapped in (False, True):
        for inner in itertools.count():
            c = recognise(nest, swapped, inner)
            if c is None:
                break
            last = c.rows[-1].index if len(c.rows) == 1 else ""
            runs = bool(last) and _runs(c.left, last), _runs(c.right, c.columns[-1].index)
            found.append(_Facts(c, swapped, inner, tuple(ways(c, target)), *runs, _stores_run(c)))
    return tuple(found)


def ways(contraction: Contraction, target: Target) -> Iterator[tuple[Left, Right]]:
    """Yield the ways in which both operands can be read."""
    for left in lefts(contraction):
        for right in rights(contraction, target):
            if left != "taps" or right not in ("steps", "each"):
                yield left, right


_Tile: TypeAlias = tuple[int, int, float]


def _tiles(sizes: _Sizes, target: Target) -> Sequence[_Tile]:
    wide = target.is_aarch64 or (target.is_x86 and target.has("avx512f"))
    flat = _FLAT if wide else _FLAT_NARROW
    sizes.lanes = target.vector_bytes // sizes.itemsize
    if sizes.rows <= len(flat):
        return (flat[max(sizes.rows, 1) - 1],)
    return _WIDE if wide else _NARROW


def _tiled(sizes: _Sizes, tile: _Tile, left: Left, right: Right) -> Tiles:
    rows, vectors, _ = tile
    expanded = sizes.right > 1.5 * sizes.held
    packed = right in ("columns", "depth")
    deep = sizes.depth > (EXPANDED if expanded and packed else DEEP)
    items = sizes.batch * sizes.blocks * -(-sizes.columns // (sizes.lanes * vectors))
    few = sizes.batch * sizes.rows * sizes.blocks * sizes.columns < FEW and items < 64
    splits = SPLITS if deep and few else 1
    return Tiles(rows, vectors, left, right, deep and expanded and packed, deep, splits)


# Cycles of one vector, or of one element, of a copy.
_COPY, _TURN, _GATHER = 2.5, 7.0, 1.4
_STEP = 10.0  # of one more turn of a loop around a vector loop


def _cost(facts: _Facts, sizes: _Sizes, tile: _Tile, left: Left, right: Right) -> float:
    """The cycles that a schedule takes, roughly."""
    high, vectors, time = tile
    lanes, depth, batch = sizes.lanes, sizes.depth, sizes.batch
    panels = sizes.blocks * -(-sizes.columns // (lanes * vectors))
    tiles = -(-sizes.rows // high)
    meetings = batch * panels * tiles
    total = meetings * depth * high * vectors * time / 2.0
    total += meetings * (_STEP * (1.0 if right == "each" else sizes.steps) + high * vectors)
    # The right operand.
    size = batch * panels * vectors * depth * 1.0  # in vectors
    if right == "columns":
        total += size * (_COPY if facts.right_runs else _GATHER * lanes)
    elif right == "depth":
        total += size * _TURN
    elif right == "direct":
        far = panels > 1 and depth * sizes.columns * sizes.itemsize > 1 << 16
        total += meetings * depth * vectors * (0.6 if far else 0.1)
    else:
        total += batch * panels * (depth if right == "each" else sizes.steps) * _STEP / 2
        total += meetings * depth * (1.0 if right == "each" else 0.0)
    # The left operand, which is made ready again for every part of the panels.
    times = batch * max(1.0, panels * vectors * lanes * min(depth, EXPANDED) * 4 / (1 << 20))
    if left == "taps":
        total += times * tiles * sizes.steps * _STEP
    elif left == "depth":
        total += times * sizes.rows * sizes.steps * (_STEP + _COPY * -(-sizes.inner // lanes))
    elif left == "columns":
        total += times * tiles * depth * (_COPY if facts.left_runs else _GATHER * high)
    # The epilogue.
    results = batch * sizes.rows * sizes.blocks * sizes.columns
    return total + results * (_COPY / lanes if facts.stores_run else _GATHER)


def _stores_run(contraction: Contraction) -> bool:
    stores = [s for s in statements(contraction.epilogue) if isinstance(s, Store)]
    along = contraction.columns[-1].index
    return all(step(Load(s.buffer, s.indices, s.value.dtype), along) == 1 for s in stores)


class _Sizes:
    """The extents of a contraction, as numbers."""

    def __init__(self, contraction: Contraction, values: Mapping[str, Number]) -> None:
        def size(axes: Axes) -> int:
            return math.prod(max(_number(axis.extent, values), 0) for axis in axes)

        self.batch, self.rows = size(contraction.batch), size(contraction.rows)
        self.blocks, self.columns = size(contraction.columns[:-1]), size(contraction.columns[-1:])
        self.steps, self.inner = size(contraction.depth[:-1]), size(contraction.depth[-1:])
        self.depth = self.steps * self.inner
        self.itemsize, self.lanes = contraction.dtype.itemsize, 1
        self.right = self.blocks * self.columns * self.depth
        read = {load.buffer for load in loads(contraction.right)}
        shapes = {b.name: b.shape for b in contraction.nest.inputs}
        self.held = sum(_number(plain(shapes[b][0]), values) for b in read if b in shapes)


def _number(value: Scalar, values: Mapping[str, Number]) -> int:
    match value:
        case Constant(text):
            return int(text)
        case Argument(name):
            return int(values[name].real)
        case Call("mul", (left, right)):
            return _number(left, values) * _number(right, values)
        case Call(function, operands):
            return int(evaluate(function, *(np.int64(_number(o, values)) for o in operands)))
    raise TypeError(f"{value!r} is not made of arguments")


def lefts(contraction: Contraction) -> tuple[Left, ...]:
    """Return the ways in which the left operand can be read, the one with the least work first."""
    inner = contraction.depth[-1].index
    packed: Left = "depth" if _runs(contraction.left, inner) else "columns"
    read = read_of(contraction.left)
    if read is None or read.load.dtype is not contraction.dtype:
        return (packed,)
    if is_even(read.place) and not read.conditions:
        return "rows", packed
    if inner not in used_in(read.conditions) and step(read.load, inner) == 1:
        return "taps", packed
    return (packed,)


def rights(contraction: Contraction, target: Target) -> tuple[Right, ...]:
    """Return the ways in which the right operand can be read, the one with the least work first."""
    column, inner = contraction.columns[-1].index, contraction.depth[-1].index
    masks = target.masks(contraction.dtype.bits)
    turned = _runs(contraction.right, inner) and not _runs(contraction.right, column)
    packed: Right = "depth" if turned and masks else "columns"
    read = read_of(contraction.right)
    if read is None or read.load.dtype is not contraction.dtype or not masks:
        return (packed,)
    if not is_even(read.place):
        return (packed,)
    used = used_in(read.conditions)
    if column in used or step(read.load, column) != 1:
        return (packed,)
    if not read.conditions:
        return "direct", packed
    return "steps" if inner not in used else "each", packed


def used_in(conditions: Sequence[Scalar]) -> set[str]:
    """Return the indices that conditions depend on."""
    return {name for condition in conditions for name in names_in(condition)}


def _runs(value: Scalar, index: str) -> bool:
    """Whether most loads of an expression that move with an index read neighbours."""
    moving = [load for load in loads(value) if index in names_in(load)]
    return 2 * sum(step(load, index) == 1 for load in moving) > len(moving)
