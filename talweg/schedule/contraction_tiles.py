"""Tiles: the schedule of contractions, and the ways in which their operands can be read."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Literal, TypeAlias, final

from talweg.base.frozen import frozen
from talweg.loops.scalar import Scalar
from talweg.schedule.contraction import Contraction, Order
from talweg.schedule.contraction_places import is_even, loads, read_of, step
from talweg.schedule.place import names_in
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
        piece: how much of the depth is taken at once, 0 for all of it.
        splits: into how many parts the depth is cut that are summed up at the same time; more than
            one only where it is taken in pieces.
        order: of the axes.
        ready: whether the copy of the right operand is made once for many runs: the first stage,
            which makes it, is run alone, and the others find it in the memory that stages share.
        light: whether LLVM spends little effort on the code, but for the innermost loops.
    """

    rows: int
    vectors: int
    left: Left
    right: Right
    near: bool = False
    piece: int = 0
    splits: int = 1
    order: Order = Order()
    ready: bool = False
    light: bool = False

    @property
    def deep(self) -> bool:
        """Whether the depth is taken in pieces."""
        return self.piece > 0

    @property
    def packed(self) -> bool:
        """Whether the right operand is copied."""
        return self.right in ("columns", "depth")

    @property
    def own(self) -> bool:
        """Whether every item has a copy of the right operand in memory of its own."""
        return self.packed and self.near and not self.ready

    @property
    def by_panel(self) -> bool:
        """Whether all tiles of an item meet a panel before the next one."""
        return self.right in ("steps", "each")


def ways(contraction: Contraction, target: Target) -> Iterator[tuple[Left, Right]]:
    """Yield the ways in which both operands can be read."""
    for left in lefts(contraction):
        for right in rights(contraction, target):
            if left != "taps" or right not in ("steps", "each"):
                yield left, right


def lefts(contraction: Contraction) -> tuple[Left, ...]:
    """Return the ways in which the left operand can be read, the one with the least work first."""
    inner = contraction.depth[-1].index
    apart = 2 if contraction.paired else 1
    packed: Left = "depth" if runs(contraction.left, inner, apart) else "columns"
    read = read_of(contraction.left)
    if read is None or read.load.dtype is not contraction.dtype:
        return (packed,)
    if is_even(read.place) and not read.conditions:
        return "rows", packed
    alike = read.conditions and inner not in used_in(read.conditions)
    if alike and step(read.load, inner) == 1:
        return "taps", packed
    return (packed,)


def rights(contraction: Contraction, target: Target) -> tuple[Right, ...]:
    """Return the ways in which the right operand can be read, the one with the least work first."""
    column, inner = contraction.columns[-1].index, contraction.depth[-1].index
    masks = target.masks(contraction.dtype.bits)
    apart = 2 if contraction.paired else 1
    turned = runs(contraction.right, inner, apart) and not runs(contraction.right, column)
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


def runs(value: Scalar, index: str, apart: int = 1) -> bool:
    """Return whether most loads of an expression that move with an index read neighbours.

    Or what stands so far apart.
    """
    moving = [load for load in loads(value) if index in names_in(load)]
    return 2 * sum(step(load, index) == apart for load in moving) > len(moving)
