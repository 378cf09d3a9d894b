"""Tiles: the schedule of contractions, and its choice."""

from __future__ import annotations

from collections.abc import Mapping
from math import prod
from typing import Literal, TypeAlias, final

from talweg.base.frozen import frozen
from talweg.loops.affine import affine
from talweg.loops.functions import evaluate
from talweg.loops.nest import Let
from talweg.loops.scalar import Argument, Call, Constant, Load, Local, Number, Scalar
from talweg.schedule.contraction import Contraction
from talweg.schedule.contraction_places import Axes, Read, indices_of, loads, read_of
from talweg.schedule.target import Target

Left: TypeAlias = Literal["rows", "taps", "depth", "columns"]
Right: TypeAlias = Literal["direct", "columns", "depth"]


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
        right: how the right operand is read: "direct" from memory, or from a packed copy that was
            made along its "columns" or its "depth".
        near: whether that copy is made by every item for itself, not once for all.
        deep: whether the depth is taken in pieces.
        splits: into how many parts the depth is cut that are summed up at the same time; more than
            one only where it is deep.
    """

    rows: int
    vectors: int
    left: Left
    right: Right
    near: bool = False
    deep: bool = False
    splits: int = 1


# Sizes of tiles, best first, and the time of one relative to the first for as much work. Sums, a
# row of the right operand and two more registers must fit into the register file.
_WIDE = ((6, 4, 1.0), (8, 3, 1.0), (8, 2, 1.1), (8, 1, 1.4))
_NARROW = ((6, 2, 1.0), (4, 3, 1.05), (8, 1, 1.2))
_FLAT = ((1, 8), (2, 8), (3, 6), (4, 5), (5, 4))  # of one row, two, …
_FLAT_NARROW = ((1, 6), (2, 4), (3, 3), (4, 2), (5, 2))

DEEP = 4096  # the depth from which on it is taken in pieces
FEW = 1 << 19  # results below which the depth of a deep contraction is split
SPLITS = 8
REUSED = 12  # tiles of rows from which on the right operand is worth a copy
SHORT = 8  # elements of the inner depth below which its loop costs more than a copy


def choose_tiles(
    contraction: Contraction, values: Mapping[str, Number], target: Target
) -> Tiles | None:
    """Return how a contraction is tiled; None where the ordinary loops do better.

    Args:
        contraction: what is computed.
        values: of the arguments where it is used first; only their rough size is looked at.
        target: the machine.
    """
    sizes = _Sizes(contraction, values)
    rows, vectors = _tile(sizes.rows, sizes.columns, contraction.dtype.itemsize, target)
    left, right = _left(contraction, sizes), _right(contraction, sizes, rows, target)
    if sizes.depth <= DEEP:
        return Tiles(rows, vectors, left, right)
    near = right != "direct" and sizes.right > sizes.held
    splits = SPLITS if sizes.rows * sizes.columns * sizes.blocks * sizes.batch < FEW else 1
    return Tiles(rows, vectors, left, right, near, True, splits)


class _Sizes:
    """The extents of a contraction, as numbers."""

    def __init__(self, contraction: Contraction, values: Mapping[str, Number]) -> None:
        names = dict(values)
        for statement in contraction.before:
            assert isinstance(statement, Let)
            names[statement.name] = _number(statement.value, names)

        def size(axes: Axes) -> int:
            return prod(int(_number(axis.extent, names).real) for axis in axes)

        self.batch, self.rows = size(contraction.batch), size(contraction.rows)
        self.blocks, self.columns = size(contraction.columns[:-1]), size(contraction.columns[-1:])
        self.steps, self.inner = size(contraction.depth[:-1]), size(contraction.depth[-1:])
        self.depth = self.steps * self.inner
        self.right = self.blocks * self.columns * self.depth
        read = {load.buffer for load in loads(contraction.right)}
        shapes = {b.name: b.shape for b in contraction.nest.inputs}
        self.held = sum(int(_number(shapes[b][0], names).real) for b in read if b in shapes)


def _number(value: Scalar, names: Mapping[str, Number]) -> Number:
    match value:
        case Constant():
            return value.value
        case Argument(name) | Local(name):
            return names[name]
        case Call(function, operands, dtype):
            given = [dtype.compute.type(_number(o, names)) for o in operands]
            found: Number = evaluate(function, *given).item()
            return found
    raise TypeError(f"{value!r} is not made of arguments")


def _tile(rows: int, columns: int, itemsize: int, target: Target) -> tuple[int, int]:
    lanes = target.vector_bytes // itemsize
    wide = target.is_aarch64 or (target.is_x86 and target.has("avx512f"))
    flat = _FLAT if wide else _FLAT_NARROW
    if rows <= len(flat):
        return flat[max(rows, 1) - 1]
    needed = -(-max(columns, 1) // lanes)

    def cost(tile: tuple[int, int, float]) -> float:
        high, vectors, time = tile
        return -(-needed // vectors) * vectors * -(-rows // high) * high * time

    high, vectors, _ = min(_WIDE if wide else _NARROW, key=cost)
    return high, vectors


def _left(contraction: Contraction, sizes: _Sizes) -> Left:
    possible = lefts(contraction)
    if sizes.steps == 1 or sizes.inner >= SHORT:
        return possible[0]
    return possible[-1]


def lefts(contraction: Contraction) -> tuple[Left, ...]:
    """Return the ways in which the left operand can be read, the one with the least work first."""
    inner = contraction.depth[-1].index
    packed: Left = "depth" if _runs(contraction.left, inner) else "columns"
    read = _even(contraction.left)
    if read is None or read.load.dtype is not contraction.dtype:
        return (packed,)
    if not read.conditions:
        return "rows", packed
    if inner not in indices_of(*read.conditions) and _step(read.load, inner) == 1:
        return "taps", packed
    return (packed,)


def _right(contraction: Contraction, sizes: _Sizes, rows: int, target: Target) -> Right:
    possible = rights(contraction, target)
    return possible[0] if sizes.rows <= REUSED * rows else possible[-1]


def rights(contraction: Contraction, target: Target) -> tuple[Right, ...]:
    """Return the ways in which the right operand can be read, the one with the least work first."""
    column, inner = contraction.columns[-1].index, contraction.depth[-1].index
    masks = target.masks(contraction.dtype.bits)
    turned = _runs(contraction.right, inner) and not _runs(contraction.right, column)
    packed: Right = "depth" if turned and masks else "columns"
    read = _even(contraction.right)
    if read is None or read.conditions or read.load.dtype is not contraction.dtype:
        return (packed,)
    return ("direct", packed) if masks and _step(read.load, column) == 1 else (packed,)


def _even(value: Scalar) -> Read | None:
    """The operand as memory at a place that every index moves evenly."""
    read = read_of(value)
    return None if read is None or affine(read.load.indices[0]) is None else read


def _step(load: Load, index: str) -> int | None:
    """How far a load moves with an index, where that is known."""
    form = affine(load.indices[0])
    step = None if form is None else form.coefficient(index)
    return int(step.text) if isinstance(step, Constant) else None


def _runs(value: Scalar, index: str) -> bool:
    """Whether most loads of an expression that move with an index read neighbours."""
    moving = [load for load in loads(value) if index in indices_of(load)]
    return 2 * sum(_step(load, index) == 1 for load in moving) > len(moving)
