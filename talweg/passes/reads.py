"""Where a view reads: found by running its lowering rule once on an operand that takes notes."""

from __future__ import annotations

from functools import cache

from talweg.base import dtypes
from talweg.base.shapes import Shape
from talweg.ir.node import Node
from talweg.ir.op import Op
from talweg.ir.types import TensorType
from talweg.loops.affine import simplify
from talweg.loops.build import NestBuilder
from talweg.loops.nest import Accumulate, statements
from talweg.loops.operand import Indices, Operand
from talweg.loops.scalar import Index, Load, Local, Scalar, constant, substitute


@cache
def place_of(op: Op, operand: TensorType, result: TensorType) -> Indices | None:
    """Return the indices at which a View of one operand reads, in terms of `i0`, `i1`, …

    None where it reads at several places, or under a condition.
    """
    nest = NestBuilder("probe")
    found: list[Indices] = []

    def read(indices: Indices) -> Scalar:
        found.append(indices)
        return constant(0, operand.dtype)

    x = Operand(operand.dtype, tuple(nest.number(n) for n in operand.shape), read)
    shape = tuple(nest.number(n) for n in result.shape)
    target = Operand(result.dtype, shape, read)
    with nest.producing([target]), nest.block() as written:
        point = op.lower(nest, x)
        if point is None:
            return None
        point(indices_of(result.rank))
        if written or len(found) != 1:
            return None
    ranges = {f"i{a}": extent for a, extent in enumerate(shape)}
    return tuple(simplify(at, ranges) for at in found[0])


@cache
def indices_of(rank: int) -> tuple[Index, ...]:
    """Return the indices `i0`, `i1`, … of as many axes."""
    return tuple(Index(f"i{a}") for a in range(rank))


def same_place(at: Indices | None, wanted: Indices, shape: Shape) -> bool:
    """Whether indices into a value of this shape are the wanted ones; an axis of 1 has but one."""
    if at is None or len(wanted) > len(shape):
        return False
    zero = constant(0, dtypes.int64)
    full = (*wanted, *[zero] * (len(shape) - len(wanted)))
    return all(n == 1 or a == w for a, w, n in zip(at, full, shape, strict=True))


def composed(chain: tuple[Node, ...]) -> Indices | None:
    """Return where a chain of views, the last applied first, reads its base; None as `place_of`."""
    at: Indices = indices_of(chain[0].rank)
    for view in chain:
        inner = place_of(view.op, view.inputs[0].type, view.type)
        if inner is None:
            return None
        names: dict[str, Scalar] = {f"i{a}": index for a, index in enumerate(at)}
        at = tuple(substitute(index, names) for index in inner)
    return at


@cache
def picks_row(op: Op, operands: tuple[TensorType, ...], result: TensorType, rows: int) -> bool:
    """Whether a Gather reads its first operand only in the row of the element that it makes."""
    nest = NestBuilder("probe")
    found: list[Indices] = []

    def read(indices: Indices) -> Scalar:
        found.append(indices)
        return constant(0, operands[0].dtype)

    def shape_of(type: TensorType) -> Indices:
        return tuple(nest.number(n) for n in type.shape)

    x = Operand(operands[0].dtype, shape_of(operands[0]), read)
    others = [nest.input(f"x{n}", t.dtype, t.shape) for n, t in enumerate(operands[1:])]
    target = Operand(result.dtype, shape_of(result), read)
    with nest.producing([target]), nest.block():
        point = op.lower(nest, x, *others)
        if point is None:
            return False
        point(indices_of(result.rank))
    return bool(found) and all(at[:rows] == indices_of(rows) for at in found)


@cache
def is_sum(op: Op, operand: TensorType, result: TensorType) -> bool:
    """Whether a Reduce adds up elements as they are, in their own dtype."""
    nest = NestBuilder("probe")
    x = nest.input("x", operand.dtype, operand.shape)
    with nest.block() as written:
        point = op.lower(nest, x)
        value = None if point is None else point(indices_of(result.rank))
    folds = [s for s in statements(tuple(written)) if isinstance(s, Accumulate)]
    if len(folds) != 1 or folds[0].combine != "add":
        return False
    (folded,) = folds[0].values
    (name,) = folds[0].names
    return isinstance(folded, Load) and value == Local(name, result.dtype)
