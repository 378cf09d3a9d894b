"""The sizes that the price of a schedule of a contraction is made of."""

from __future__ import annotations

import functools
import math
from collections.abc import Callable, Mapping
from typing import final

import numpy as np

from talweg.base import dtypes
from talweg.loops.functions import evaluate
from talweg.loops.scalar import Argument, Call, Constant, Index, Load, Local, Number, Scalar
from talweg.schedule.contraction import Axes, Contraction
from talweg.schedule.contraction_places import loads, read_of, stored
from talweg.schedule.contraction_tiles import Tiles
from talweg.schedule.contraction_work import is_turned, part_met
from talweg.schedule.place import plain, walk
from talweg.schedule.target import Target

SAMPLE = 128  # tiles that are looked at, and twice the steps of the outer depth
GOLDEN = 0.6180339887498949  # its multiples keep no step with the sides of an image
FEW = 1024  # rows across memory up to which one copy serves all items, though taken in pieces
BANK = 1024  # bytes apart from which on elements share few lines of a cache, and no page
_SLOW = {dtypes.int32: 2.0, dtypes.int64: 4.0}  # times the cycles of a multiplication of floats


@final
class Sizes:
    """The extents of a contraction, as numbers.

    Args:
        contraction: what is computed.
        values: of the arguments.
        target: the machine.
    """

    def __init__(
        self, contraction: Contraction, values: Mapping[str, Number], target: Target
    ) -> None:
        self._contraction, self._values = contraction, values
        self._met: dict[int, float] = {}

        def size(axes: Axes) -> int:
            return math.prod(max(_number(axis.extent, values), 0) for axis in axes)

        self.batch, self.rows = size(contraction.batch), size(contraction.rows)
        self.blocks, self.columns = size(contraction.columns[:-1]), size(contraction.columns[-1:])
        self.steps, self.inner = size(contraction.depth[:-1]), size(contraction.depth[-1:])
        self.depth = self.steps * self.inner
        self.itemsize = contraction.dtype.itemsize
        self.lanes = target.vector_bytes // self.itemsize
        self.in_matrices = contraction.in_matrices
        self.time = 1.0 if contraction.paired else _SLOW.get(contraction.dtype, 1.0)
        self.right = self.blocks * self.columns * self.depth
        self.copied = self.batch * self.right * self.itemsize
        shapes = {b.name: b.shape for b in contraction.nest.inputs}

        def held(value: Scalar) -> int:
            read = {load.buffer for load in loads(value)}
            return sum(_number(plain(shapes[b][0]), values) for b in read if b in shapes)

        def stride(value: Scalar, index: str) -> int:
            read = read_of(value)
            factor = None if read is None else read.place.factor(index)
            if factor is None or factor.names():
                return 0
            return abs(_number(plain(factor), values))

        self.held_left, self.held = held(contraction.left), held(contraction.right)
        self.expanded = self.right > 1.5 * self.held
        inner, column = contraction.depth[-1].index, contraction.columns[-1].index
        self.left_stride = stride(contraction.left, inner)
        self.stride = stride(contraction.right, inner)
        self.apart = max(
            (stride(store, column) for store in stored(contraction.epilogue)), default=1
        )

    def is_across(self, tiles: Tiles) -> bool:
        """Return whether rows of the left operand are read in place, across memory."""
        return tiles.left == "rows" and self.left_stride * self.itemsize >= BANK

    def waits(self, tiles: Tiles) -> bool:
        """Return whether there are too few rows for items that copy panels for themselves."""
        few = self.rows <= FEW and self.batch == 1
        return few and self.is_across(tiles) and not is_turned(self._contraction, tiles)

    def met(self, tiles: Tiles) -> float:
        """Return the part of all steps of the depth that such tiles meet."""
        c, height, width = self._contraction, tiles.rows, tiles.vectors * self.lanes
        if tiles.left != "taps":
            return part_met(c, (self.rows, self.columns, self.depth), height, width)
        if height not in self._met:
            self._met[height] = _met(c, self._values, self.rows, self.steps, height)
        return self._met[height]


def _met(c: Contraction, values: Mapping[str, Number], rows: int, steps: int, height: int) -> float:
    """What part of the steps some tiles meet, all over the rows."""
    read = read_of(c.left)
    if read is None or not rows or not steps:
        return 1.0
    count = -(-rows // height)
    spread = np.arange(SAMPLE) * GOLDEN % 1.0 if count > SAMPLE else np.arange(count) / count
    tiles = np.unique((spread * count + 1e-6).astype(np.int64))
    row = np.minimum(tiles[:, None] * height + np.arange(height), rows - 1)[..., None]
    step = np.unique(np.linspace(0, steps - 1, SAMPLE // 2).astype(np.int64))
    known = {n: np.asarray(value) for n, value in values.items() if isinstance(value, int)}
    known |= {axis.index: np.asarray(0) for axis in (*c.batch, *c.columns, *c.depth)}
    for axes, places in ((c.rows, row), (c.depth[:-1], step)):
        for axis in reversed(axes):
            size = max(_number(axis.extent, values), 1)
            known[axis.index] = places % size
            places = places // size
    counted = [c for c in read.conditions if not any(isinstance(p, Load) for p in walk(c))]
    holds = [_array(plain(condition), known) for condition in counted]
    whole = functools.reduce(np.logical_and, holds, np.ones((len(tiles), height, len(step)), bool))
    return float(whole.any(1).mean())


_QUICK: Mapping[str, Callable[..., np.ndarray]] = {
    "add": np.add,
    "sub": np.subtract,
    "mul": np.multiply,
    "lt": np.less,
    "ge": np.greater_equal,
    "eq": np.equal,
}


def _array(value: Scalar, known: Mapping[str, np.ndarray]) -> np.ndarray:
    """The values of an expression of indices and arguments."""
    match value:
        case Constant(text):
            return np.asarray(np.int64(text))
        case Argument(name) | Index(name) | Local(name):
            return known[name]
        case Call(function, operands):
            found = [_array(o, known) for o in operands]
            quick = _QUICK.get(function)
            return np.asarray(quick(*found) if quick else evaluate(function, *found))
    raise TypeError(f"{value!r} is not made of indices")


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
