"""Which tiles a contraction gets: the cost of every schedule, in cycles, roughly."""

from __future__ import annotations

import functools
import itertools
import math
import threading
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import TypeAlias

from talweg.base import dtypes
from talweg.base.frozen import frozen
from talweg.loops.nest import LoopNest
from talweg.loops.scalar import Number
from talweg.schedule.contraction import Contraction, Order, recognise
from talweg.schedule.contraction_places import loads, step, step_of, stored
from talweg.schedule.contraction_sizes import BANK, Sizes
from talweg.schedule.contraction_tiles import Left, Right, Tiles, runs, ways
from talweg.schedule.contraction_work import CACHED, HELD, OWN, is_turned
from talweg.schedule.target import Target

# Rows and vectors of tiles, and the time of one multiplication relative to the best. The sums, a
# row of the right operand and two more values must fit into the register file.
_WIDE = ((6, 4, 1.0), (8, 3, 1.01), (5, 4, 1.06), (8, 2, 1.05), (8, 1, 1.25))
_NARROW = ((6, 2, 1.0), (4, 3, 1.05), (8, 1, 1.2))
_FLAT = ((1, 8, 2.0), (2, 8, 1.3), (3, 6, 1.1), (4, 5, 1.05), (5, 4, 1.0))  # of one row, two, …
_FLAT_NARROW = ((1, 6, 2.0), (2, 4, 1.3), (3, 3, 1.2), (4, 2, 1.1), (5, 2, 1.1))

_MATRICES = ((32, 2, 0.25),)  # two by two of them, of pairs
_TIMES = {t[:2]: t[2] for t in (*_FLAT, *_FLAT_NARROW, *_NARROW, *_WIDE, *_MATRICES)}

PIECE = 384  # how much of the depth is taken at once where it is taken in pieces
STRIDED = 256  # the same where rows of the left operand are read across memory
DEEP = 4096  # the depth from which on it is taken in pieces
EXPANDED = 512  # the same where the right operand is larger than the memory it is read from
LONG = 32  # the depth from which on the ordinary loops are considered
NEARBY = 1 << 18  # bytes of the right operand from which on every item may copy its part
SECOND = 1 << 20  # bytes of the right operand that the second cache holds
THIN = 32  # rows up to which the right operand may stream by
STREAM, SPLITS = 32, 8  # piece and parts of the depth where rows are few: memory in its order
FIRST = 20 << 10  # bytes of copied rows that stay in the first cache beside panels
ITEMS = 8  # of a deep contraction, so that threads share the work

NEAR = 1.1  # times the cost of one that takes the depth in other pieces
SAVED = 15 / 16  # of the cycles of a copy that several contractions share
SLACK = 7000.0  # cycles more than the best, some microseconds, that do not pay for a kernel

_MADE: dict[LoopNest, dict[Tiles, None]] = {}
_LIMIT = 4096  # nests
_LOCK = threading.Lock()


def choose_tiles(
    contraction: Contraction, values: Mapping[str, Number], target: Target
) -> Tiles | None:
    """Return how a contraction is tiled; None where the ordinary loops do better.

    What there is a kernel of is taken for other sizes as long as that costs some microseconds at
    most, so that few kernels are compiled while sizes vary.

    Args:
        contraction: what is computed.
        values: of the arguments.
        target: the machine.
    """
    costs = priced(contraction, values, target)
    if not costs:
        return None
    best = min(costs, key=lambda tiles: costs[tiles])
    facts = _arrangements(contraction.source, target)[0]
    if _loops(facts, Sizes(facts.contraction, values, target)) < costs[best]:
        return None
    made = _costs_of_made(contraction, values, target)
    return _taken_again(best, costs, made)


def keep_made(nest: LoopNest, tiles: Tiles) -> None:
    """Keep that there is a kernel of a nest, which may serve other sizes as well."""
    if tiles.ready:
        return
    with _LOCK:
        if len(_MADE) >= _LIMIT:
            _MADE.clear()
        _MADE.setdefault(nest, {})[replace(tiles, light=False)] = None


def choose_sharing(
    contraction: Contraction,
    values: Mapping[str, Number],
    alone: Tiles,
    common: Collection[int],
    target: Target,
) -> Tiles:
    """Return how a contraction is tiled that shares a copy of its right operand with others.

    It adds in the order that it has without others, however many there are: the same bits.

    Args:
        contraction: what is computed.
        values: of the arguments.
        alone: the schedule that it has without others.
        common: the numbers of buffers in which others read the same.
        target: the machine.
    """
    if alone.splits > 1:
        return alone
    source, inputs = contraction.source, contraction.nest.inputs
    shared = {inputs[n].name for n in common}
    prices, costs = priced(contraction, values, target), dict[Tiles, float]()
    alone_in_matrices = alone.order.paired and contraction.dtype is dtypes.float32
    for facts in _arrangements(source, target):
        read = {load.buffer for load in loads(facts.contraction.right)}
        sizes = Sizes(facts.contraction, values, target)
        if facts.order.inner != alone.order.inner or not read <= shared or sizes.expanded:
            continue
        if sizes.in_matrices != alone_in_matrices:
            continue
        for tiles, cost in prices.items():
            if tiles.order == facts.order and tiles.packed and not tiles.near and tiles.splits == 1:
                costs[tiles] = cost - SAVED * _Cost(facts, sizes, tiles).copy()
    best = min(costs, key=lambda tiles: costs[tiles], default=alone)
    if costs.get(best, math.inf) >= _cost_of(alone, prices):
        return alone
    made = {t: _cost_of(t, costs) for t in _made(source) if t in costs}
    return _taken_again(best, costs, made)


def _taken_again(best: Tiles, costs: Mapping[Tiles, float], made: Mapping[Tiles, float]) -> Tiles:
    """What there is a kernel of, where it costs little more than the best."""
    there = {tiles: _alone(tiles, cost) for tiles, cost in made.items()}
    cheapest = min(there, key=lambda tiles: there[tiles], default=best)
    if there.get(cheapest, math.inf) <= _alone(best, costs[best]) + SLACK:
        return cheapest
    return best


def _made(nest: LoopNest) -> tuple[Tiles, ...]:
    with _LOCK:
        return tuple(_MADE.get(nest, ()))


def _costs_of_made(
    contraction: Contraction, values: Mapping[str, Number], target: Target
) -> Mapping[Tiles, float]:
    """Return what the schedules cost of which there are kernels, made for other sizes perhaps."""
    costs: dict[Tiles, float] = {}
    made = _made(contraction.source)
    for facts in _arrangements(contraction.source, target) if made else ():
        sizes = Sizes(facts.contraction, values, target)
        for tiles in made:
            time = _TIMES.get((tiles.rows, tiles.vectors))
            if tiles.order == facts.order and time is not None:
                costs[tiles] = _Cost(facts, sizes, tiles).total(time)
    return costs


def _alone(tiles: Tiles, cost: float) -> float:
    """What a schedule costs where one thread does all: a stage before then wakes no others."""
    return cost - _WOKEN if tiles.packed and not tiles.near else cost


def priced(
    contraction: Contraction, values: Mapping[str, Number], target: Target
) -> Mapping[Tiles, float]:
    """Return the schedules of a contraction, and what each of them costs."""
    return _priced(contraction.source, tuple(values.items()), target)


@functools.lru_cache(maxsize=256)
def _priced(
    nest: LoopNest, given: tuple[tuple[str, Number], ...], target: Target
) -> Mapping[Tiles, float]:
    values = dict(given)
    costs: dict[Tiles, float] = {}
    for facts in _arrangements(nest, target):
        sizes = Sizes(facts.contraction, values, target)
        for left, right in facts.ways:
            for rows, vectors, time in _tiles(sizes, target):
                tiles = Tiles(rows, vectors, left, right, order=facts.order)
                for cut in _cuts(sizes, tiles):
                    costs[cut] = _Cost(facts, sizes, cut).total(time)
    return costs


def _cost_of(tiles: Tiles, costs: Mapping[Tiles, float]) -> float:
    """What a schedule costs that may take the depth in other pieces than those that were priced."""
    plain = replace(tiles, near=False, piece=0, splits=1)
    found = (
        cost * (1.0 if other == tiles else NEAR)
        for other, cost in costs.items()
        if replace(other, near=False, piece=0, splits=1) == plain
    )
    return min(found, default=math.inf)


@frozen
class _Facts:
    """What the structure of a contraction says of its schedules."""

    contraction: Contraction
    order: Order
    ways: tuple[tuple[Left, Right], ...]
    left_runs: bool
    right_runs: bool
    stores_run: bool
    along: bool


@functools.lru_cache(maxsize=1024)
def _arrangements(nest: LoopNest, target: Target) -> tuple[_Facts, ...]:
    """The ways to bring a nest into the form of a contraction.

    None where every element of the right operand is met once and must be copied before.
    """
    found: list[_Facts] = []
    for order, c in _recognised(nest):
        possible = tuple(ways(c, target))
        if c.rows or any(right == "direct" for _, right in possible):
            found.append(_facts(c, order, possible))
        apart = replace(order, apart=True)
        neighbours = recognise(nest, apart)
        taps = tuple(w for w in ways(neighbours, target) if w[0] == "taps") if neighbours else ()
        if neighbours is not None and taps:
            found.append(_facts(neighbours, apart, taps))
    for order, c in _recognised(nest, paired=True) if target.pairs else ():
        fits = target.matrices if c.in_matrices else True
        if c.rows and fits:
            found.append(_facts(c, order, tuple(ways(c, target))))
    return tuple(found)


def _recognised(nest: LoopNest, paired: bool = False) -> Iterator[tuple[Order, Contraction]]:
    """The contractions that a nest is: each side as columns, each axis of the depth innermost."""
    for swapped in (False, True):
        for inner in itertools.count():
            order = Order(swapped, inner, paired=paired)
            c = recognise(nest, order)
            if c is None:
                break
            yield order, c


def _facts(c: Contraction, order: Order, found: tuple[tuple[Left, Right], ...]) -> _Facts:
    last = c.rows[-1].index if len(c.rows) == 1 else ""
    neighbours = bool(last) and runs(c.left, last), runs(c.right, c.columns[-1].index)
    inner = c.depth[-1].index
    along = step_of(c.left, inner) == step_of(c.right, inner) == 1
    run = all(step(store, c.columns[-1].index) == 1 for store in stored(c.epilogue))
    return _Facts(c, order, found, *neighbours, run, along)


_Tile: TypeAlias = tuple[int, int, float]


def _tiles(sizes: Sizes, target: Target) -> Sequence[_Tile]:
    if sizes.in_matrices:
        return _MATRICES
    wide = target.is_aarch64 or (target.is_x86 and target.has("avx512f"))
    flat = _FLAT if wide else _FLAT_NARROW
    if sizes.rows <= len(flat):
        return (flat[max(sizes.rows, 1) - 1],)
    return _WIDE if wide else _NARROW


def _cuts(sizes: Sizes, tiles: Tiles) -> Iterator[Tiles]:
    """Yield the ways in which the depth may be taken in pieces."""
    expanded = sizes.expanded and tiles.packed
    deep = sizes.depth > (EXPANDED if expanded else DEEP)
    whole = replace(tiles, piece=PIECE, splits=_splits(sizes)) if deep else tiles
    if not (deep and expanded):
        yield whole
    least = SECOND if tiles.left == "taps" else NEARBY
    if (deep and expanded) or (tiles.packed and not expanded and sizes.copied > least):
        piece = STRIDED if sizes.is_across(tiles) else PIECE
        turned = tiles.left == "columns" and sizes.batch == 1
        cut = not deep and sizes.depth > 2 * PIECE
        if not turned or not cut:
            yield replace(whole, near=True, piece=piece)
        if cut and (turned or sizes.waits(tiles)):
            yield replace(tiles, piece=piece)
    if tiles.right == "direct" and sizes.rows <= THIN and sizes.depth > STREAM * SPLITS:
        yield replace(tiles, piece=STREAM, splits=SPLITS)


def _splits(sizes: Sizes) -> int:
    """How often to split a depth, so that several threads have work and memory is gone through
    least: every part of the columns reads the left operand again, every part of the rows the right
    one, and sums of splits are written and read.
    """
    results = sizes.batch * sizes.rows * sizes.blocks * sizes.columns

    def traffic(splits: int) -> float:
        others = [
            parts * sizes.held_left + ITEMS / (splits * parts) * sizes.held
            for parts in (1, 2, 4, 8)
            if splits * parts * sizes.batch <= ITEMS or parts == 1
        ]
        return min(others) + (2 * splits * results if splits > 1 else 0)

    return min((1, 2, 4, 8), key=traffic)


# Cycles of one vector, or of one element, of a copy.
_COPY, _TURN, _GATHER = 3.0, 8.0, 1.4
_STEP = 10.0  # of one more turn of a loop around a vector loop
_MEET, _IN_PLACE = 40.0, 110.0  # of a tile with a panel that is packed, or is not
_CACHES = ((1 << 18, 0.0), (3 << 19, 4.0), (math.inf, 10.0))  # more for a vector of so many bytes
_STAGE, _SHARE = 20_000.0, 10.0  # of a stage before, and of a vector that another thread reads
_WOKEN = 12_000.0  # of the cycles of a stage, where it is shared by threads
_LATE = 14.0  # of a vector that an item copies for few rows, which lie across memory as well
_APART, _CROWDED = 0.6, 3.0  # for a vector in place: in rows apart, which meet in few cache sets
_AGAIN = 3.0  # cycles for a vector of copied rows that have left the first cache
_PAGE, _PAGES = 4096, 96  # bytes, and how many pages are found at once
_SETS, _MISSED = 1 << 17, 30.0  # bytes of a way of the second cache; cycles where it is left
_WAYS = 12  # lines of the first cache whose places are some half pages apart


@frozen
class _Cost:
    """The cycles that a schedule takes, roughly."""

    facts: _Facts
    sizes: Sizes
    tiles: Tiles

    @property
    def panels(self) -> int:
        """How many panels there are."""
        width = self.sizes.lanes * self.tiles.vectors
        return self.sizes.blocks * -(-self.sizes.columns // width)

    @property
    def _panel(self) -> int:
        """The bytes of a panel, or a piece of it."""
        sizes, tiles = self.sizes, self.tiles
        deep = min(sizes.depth, tiles.piece or sizes.depth)
        return tiles.vectors * sizes.lanes * deep * sizes.itemsize

    @property
    def _cached(self) -> int:
        """The bytes of panels that an item goes through again for every tile, about."""
        sizes, tiles = self.sizes, self.tiles
        if not tiles.near:
            return CACHED
        piece = min(sizes.depth, tiles.piece) * sizes.itemsize
        return min(max(sizes.rows * piece // 2, OWN), CACHED)

    @property
    def _copied(self) -> float:
        """How often a panel is copied: by every item whose sums can wait."""
        sizes, tiles = self.sizes, self.tiles
        if not tiles.near:
            return 1.0
        taken = min(max(self._cached // self._panel, 1), self.panels)
        width = tiles.vectors * sizes.lanes * sizes.itemsize
        items = max(sizes.batch * tiles.splits * -(-self.panels // taken), 1)
        shared = min(ITEMS // items, -(-sizes.rows // tiles.rows))  # rows, so that all have work
        return max(1.0, shared, sizes.rows * width * taken / HELD)

    def total(self, time: float) -> float:
        """Return the cycles, where a multiplication takes so long."""
        sizes, tiles = self.sizes, self.tiles
        high = -(-sizes.rows // tiles.rows)
        meetings = sizes.batch * self.panels * high
        steps = 1 if tiles.right == "each" or sizes.in_matrices else sizes.steps
        multiplied = meetings * sizes.depth * sizes.met(tiles) * tiles.rows * tiles.vectors
        total = multiplied * time * sizes.time / 2.0
        total += meetings * (_STEP * steps + tiles.rows * tiles.vectors)
        total += meetings * (_MEET if tiles.packed else _IN_PLACE)
        deep = min(sizes.depth, tiles.piece or sizes.depth)
        if tiles.left in ("columns", "depth") and tiles.rows * deep * sizes.itemsize > FIRST:
            total += meetings * sizes.depth * tiles.rows / sizes.lanes * _AGAIN
        if tiles.piece:  # sums wait in memory, and are read once more
            total += meetings * (sizes.depth / tiles.piece + 1) * 4.0 * tiles.rows * tiles.vectors
        results = sizes.batch * sizes.rows * sizes.blocks * sizes.columns
        store = _COPY / sizes.lanes
        if is_turned(self.facts.contraction, tiles):
            store += _TURN / sizes.lanes
        elif not self.facts.stores_run:
            store = 9.0 if sizes.apart * sizes.itemsize % BANK == 0 else 4.0
        return total + self._right(meetings) + self._left(meetings, high) + results * store

    @property
    def _once(self) -> float:
        """The vectors of the right operand, as often as they are copied."""
        sizes, tiles = self.sizes, self.tiles
        return sizes.batch * self.panels * tiles.vectors * sizes.depth * self._copied

    def copy(self) -> float:
        """Return the cycles of the copy of the right operand."""
        sizes, tiles, once = self.sizes, self.tiles, self._once
        memory = (
            0.0 if sizes.expanded and tiles.near else _reach(once * sizes.lanes * sizes.itemsize)
        )
        if tiles.near:
            met = sizes.stride and sizes.stride * sizes.itemsize % _PAGE == 0
            memory *= 1.6 if met and sizes.depth > _PAGES else 1.0
        along = _COPY if self.facts.right_runs else _GATHER * sizes.lanes
        each = (_TURN if tiles.right == "depth" else along) + memory
        if sizes.in_matrices:  # every step looks at the conditions of its own
            each += _STEP / (tiles.vectors * sizes.inner)
        if tiles.near:
            return once * (each + (_LATE if sizes.waits(tiles) else 0.0))
        return once * (each + _SHARE) + _STAGE

    def _right(self, meetings: int) -> float:
        sizes, tiles, panels, once = self.sizes, self.tiles, self.panels, self._once
        if tiles.packed:
            return self.copy()
        torn = sizes.stride * sizes.itemsize >= max(BANK, 128 * tiles.vectors)
        held = sizes.held * sizes.itemsize
        total = meetings * sizes.depth * tiles.vectors * (0.1 if held > 1 << 15 else 0.0)
        if sizes.stride > tiles.vectors * sizes.lanes and held > 1 << 18:
            slow = _APART if sizes.stride * sizes.itemsize % BANK else _CROWDED
            total += (meetings - sizes.batch * panels) * sizes.depth * tiles.vectors * slow
        if tiles.right == "direct":
            stays = held <= SECOND + (SECOND >> 2) or tiles.piece == STREAM
            torn = torn and held > SECOND and tiles.piece != STREAM
            again = 1.0 if stays else -(-sizes.rows // tiles.rows)  # every tile goes through it
            return total + once * again * _reach(held) * (2.0 if torn else 0.5)
        total += once * _reach(held) * (2.0 if torn else 0.5)
        total += (
            sizes.batch
            * panels
            * _STEP
            / 2
            * (sizes.depth if tiles.right == "each" else sizes.steps)
        )
        return total + meetings * sizes.depth * (1.0 if tiles.right == "each" else 0.0)

    def _left(self, meetings: int, high: int) -> float:
        """What it takes to make the left operand ready, again for every part of the panels."""
        sizes, tiles = self.sizes, self.tiles
        parts = self.panels * self._panel / self._cached
        if tiles.piece:
            parts = max(parts, ITEMS / (sizes.batch * tiles.splits))
        times = sizes.batch * max(1.0, min(parts, self.panels))
        if tiles.left == "taps":
            return times * high * sizes.steps * _STEP
        memory = _reach(sizes.held_left * sizes.itemsize)
        read = times * sizes.rows * sizes.depth / sizes.lanes * memory / 4
        if tiles.left == "depth":
            vectors = -(-sizes.inner // sizes.lanes)
            return read + times * sizes.rows * sizes.steps * (_STEP + _COPY * vectors)
        if tiles.left == "columns":
            copy = _COPY if self.facts.left_runs else _GATHER * tiles.rows
            deep = min(sizes.depth, tiles.piece or sizes.depth)
            met = deep * math.gcd(sizes.left_stride * sizes.itemsize, _SETS) >= 2 * SECOND
            copy += _STEP / sizes.inner if sizes.in_matrices else 0.0
            return times * high * sizes.depth * (copy + memory + (_MISSED if met else 0.0))
        far = sizes.held_left * sizes.itemsize > SECOND
        once = sizes.batch * sizes.rows * sizes.depth <= 1.5 * sizes.held_left
        deep = sizes.depth if far and once else sizes.inner  # windows meet the same lines again
        deep = min(deep, tiles.piece or deep)
        apart = sizes.left_stride * sizes.itemsize
        few = _PAGES if apart >= _PAGE else 256
        if 2 * math.gcd(apart, _PAGE) >= _PAGE:
            few = _WAYS
        if apart >= BANK and sizes.lanes % tiles.rows:  # rows of a tile lie in two lines
            near = 2.0 if tiles.piece * apart > _PAGE * _PAGES else 0.25
            torn = near if tiles.near else 0.5
            read += meetings * sizes.depth * torn * (tiles.rows - 1) / sizes.lanes
        if apart < BANK or deep <= few:
            return read
        again = meetings * sizes.depth * (12.0 if deep > PIECE else 2.0)
        return again + times * high * sizes.depth * 2.0 * memory


def _reach(size: float) -> float:
    """Cycles that a vector takes longer where so many bytes are gone through."""
    return next(more for limit, more in _CACHES if size <= limit)


def _loops(facts: _Facts, sizes: Sizes) -> float:
    """The cycles of the ordinary loops where rows of both operands are multiplied."""
    if not facts.along or sizes.steps > 1 or sizes.expanded or sizes.depth < LONG:
        return math.inf
    pairs = sizes.batch * sizes.rows * sizes.blocks * sizes.columns
    vectors = -(-sizes.depth // sizes.lanes)
    held = max(sizes.held, sizes.held_left) * sizes.itemsize
    return pairs * (vectors * (1.2 + 0.4 * _reach(held)) + _STEP / 2)
