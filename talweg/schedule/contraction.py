"""Contractions: loop nests that sum products of two operands, brought into one form.

    for batch, rows, columns in parallel:            out[batch, row, column] =
        s = initial                                      epilogue(sum over depth of
        for depth in reduction:                              left[batch, row, depth] *
            s += left * right                                right[batch, column, depth])
        epilogue of s: Let, Store, Guard

A parallel index that only one operand moves with is a row or a column. Either side may be the
columns; as a rule it is the one whose index is contiguous in the result. Matrix products,
convolutions and their gradients are all of this form. `recognise` flattens every buffer to one
axis and joins neighbouring axes of a group that every access walks through as if they were one:
pixels of a 1x1 convolution become rows of a matrix. What does not have the form is refused: the
ordinary loops then run.
"""

from __future__ import annotations

import functools
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import TypeAlias

from talweg.base import dtypes
from talweg.base.dtypes import DType
from talweg.base.frozen import frozen
from talweg.loops.affine import simplify, to_polynomial
from talweg.loops.nest import (
    Accumulate,
    Assign,
    Block,
    Guard,
    Let,
    Loop,
    LoopNest,
    Statement,
    Store,
    Var,
    map_scalars,
    scalars,
    statements,
)
from talweg.loops.scalar import (
    Argument,
    Call,
    Cast,
    Constant,
    Index,
    Load,
    Local,
    Scalar,
    Select,
    call,
    constant,
    substitute,
    walk,
)
from talweg.schedule.contraction_places import (
    ONE,
    Axes,
    Axis,
    Flat,
    Strides,
    indices_of,
    read_of,
    step_of,
    walked_as_one,
)

Names: TypeAlias = dict[str, Scalar]

SUMMED = (dtypes.float32, dtypes.float64, dtypes.int32, dtypes.int64)


@frozen
class Contraction:
    """A nest in the form at the head of this module.

    Args:
        source: the nest that was recognised.
        nest: its name, arguments and buffers, all of one axis; the body is empty.
        before: Lets of arguments that everything may use.
        batch, rows, columns, depth: the groups of axes; the last one of each runs fastest. Columns
            and depth end with an axis along which all the others of the group are constant.
        left, right: the factors.
        state: the name that the epilogue knows the sum by.
        initial: what is added to the sum.
        epilogue: what is done with every sum.
    """

    source: LoopNest
    nest: LoopNest
    before: Block
    batch: Axes
    rows: Axes
    columns: Axes
    depth: Axes
    left: Scalar
    right: Scalar
    state: str
    initial: Scalar
    epilogue: Block

    @property
    def dtype(self) -> DType:
        """The dtype of the sum."""
        return self.initial.dtype


@functools.lru_cache(maxsize=1024)
def recognise(nest: LoopNest, swapped: bool = False) -> Contraction | None:
    """Return the contraction that a verified nest is, or None.

    Args:
        nest: a verified nest.
        swapped: whether the side that is contiguous in the result shall be the rows.
    """
    parts = _parts(nest) if _sums_products(nest) else None
    if parts is None:
        return None
    sides = _sides(_split_strides(_split_groups(parts)), swapped)
    return None if sides is None else _flattened(*sides)


# -- the form


def _sums_products(nest: LoopNest) -> bool:
    """Whether there is a sum of products at all: all else is refused at once."""
    return any(
        isinstance(s, Accumulate) and s.combine == "add" and _is_product(s.values[0])
        for s in statements(nest.body)
    )


def _is_product(value: Scalar) -> bool:
    while isinstance(value, Cast):
        value = value.operand
    return (isinstance(value, Call) and value.function == "mul") or isinstance(value, Local)


@dataclass
class _Parts:
    nest: LoopNest
    before: list[Statement]
    parallel: dict[str, Scalar]
    depth: dict[str, Scalar]
    state: Var
    left: Scalar
    right: Scalar
    epilogue: Block


def _parts(nest: LoopNest) -> _Parts | None:
    """Take the nest apart; Lets outside the epilogue are put in place of their names."""
    before, body = _leading_lets(nest.body)
    lets: Names = {}
    parallel: dict[str, Scalar] = {}
    while len(body) == 1 and isinstance(body[0], Loop) and body[0].order == "parallel":
        parallel[body[0].index] = body[0].extent
        body = _inlined(body[0].body, lets)
    if len(body) < 3 or not isinstance(body[0], Var) or not isinstance(body[1], Loop):
        return None
    state, summing, *epilogue = body
    assert isinstance(state, Var)
    assert isinstance(summing, Loop)
    depth: dict[str, Scalar] = {}
    inner: Block = (summing,)
    while len(inner) == 1 and isinstance(inner[0], Loop) and inner[0].order == "reduction":
        depth[inner[0].index] = inner[0].extent
        inner = _inlined(inner[0].body, lets)
    factors = _factors(inner, state)
    if factors is None or not parallel or not _is_epilogue(tuple(epilogue)):
        return None
    extents = (*parallel.values(), *depth.values())
    if not all(_of_arguments(e) for e in (*extents, state.initial)):
        return None
    return _Parts(nest, list(before), parallel, depth, state, *factors, tuple(epilogue))


def _leading_lets(body: Block) -> tuple[list[Let], Block]:
    """The Lets of arguments that a body begins with, and the rest without any."""
    lets: list[Let] = []
    while body and isinstance(body[0], Let):
        let, body = body[0], body[1:]
        known: Scalar = let.value
        if _of_arguments(known):
            lets.append(let)
            known = Argument(let.name, known.dtype)
        body = map_scalars(body, functools.partial(substitute, names={let.name: known}))
    return lets, body


def _inlined(block: Block, lets: Names) -> Block:
    """The block without its leading Lets, and without any that stand before a loop in it."""
    while True:
        place = next((n for n, s in enumerate(block) if isinstance(s, Let | Loop)), None)
        if place is None or isinstance(block[place], Loop):
            return block
        let = block[place]
        assert isinstance(let, Let)
        if any(not isinstance(s, Var) for s in block[:place]):
            return block
        known: Names = {let.name: let.value}
        rest = block[:place] + block[place + 1 :]
        block = map_scalars(rest, functools.partial(substitute, names=known))


def _factors(block: Block, state: Var) -> tuple[Scalar, Scalar] | None:
    if len(block) != 1 or not isinstance(block[0], Accumulate):
        return None
    (fold,) = block
    assert isinstance(fold, Accumulate)
    product = fold.values[0]
    if fold.combine != "add" or fold.names != (state.name,) or product.dtype not in SUMMED:
        return None
    if not isinstance(product, Call) or product.function != "mul":
        return None
    left, right = product.operands
    return left, right


def _is_epilogue(block: Block) -> bool:
    inside = list(statements(block))
    if not all(isinstance(s, Let | Store | Guard | Var | Assign) for s in inside):
        return False
    return all(s.combine == "set" for s in inside if isinstance(s, Store))


def _of_arguments(value: Scalar) -> bool:
    return not any(isinstance(p, Index | Local | Load) for p in walk(value))


# -- groups of channels


def _split_groups(parts: _Parts) -> _Parts:
    """Cut a parallel index i that is used as i // d or i % d into a group and what is inside it."""
    for index in parts.parallel:
        divisors = [d for i, d in _divisions(parts) if i == Index(index)]
        if divisors and all(d == divisors[0] and _of_arguments(d) for d in divisors):
            return _split(parts, index, divisors[0], "member")
    return parts


def _split_strides(parts: _Parts) -> _Parts:
    """Cut parallel indices of which an operand only meets every n-th into n residues.

    Where such an index stands in a sum that is divided by n, rows of one residue meet the same
    steps of the depth: they are made neighbours, and the other steps are left out.
    """
    for index in list(parts.parallel):
        for dividend, divisor in _divisions(parts):
            form = to_polynomial(dividend, {})
            if isinstance(divisor, Constant) and form.get((Index(index),)) == 1 and len(form) > 1:
                parts = _split(parts, index, divisor, "residue")
                order = sorted(parts.parallel, key=lambda i: not i.endswith("_residue"))
                parts = replace(parts, parallel={i: parts.parallel[i] for i in order})
                break
    return parts


def _divisions(parts: _Parts) -> Iterator[tuple[Scalar, Scalar]]:
    """Dividend and divisor of every quotient and remainder in the operands."""
    for value in (parts.left, parts.right):
        for part in walk(value):
            if isinstance(part, Call) and part.function in ("floordiv", "mod"):
                yield part.operands[0], part.operands[1]


def _split(parts: _Parts, index: str, inside: Scalar, role: str) -> _Parts:
    """Write a parallel index as group * inside + member."""
    group, member, extent = f"{index}_group", f"{index}_{role}", parts.parallel[index]
    whole = Index(group) * inside + Index(member)
    names: Names = {index: whole}
    parallel: dict[str, Scalar] = {}
    for name, size in parts.parallel.items():
        if name == index:
            parallel[group] = (extent + inside - 1) // inside
            parallel[member] = inside
        else:
            parallel[name] = size
    ranges = {**parallel, **parts.depth}

    def renamed(value: Scalar) -> Scalar:
        return simplify(substitute(value, names), ranges)

    def kept(value: Scalar) -> Scalar:
        inner = renamed(value)
        if member not in indices_of(inner):
            return inner
        read = read_of(inner)
        if read is None:
            return Select(exists, inner, zero)
        both = functools.reduce(functools.partial(call, "logical_and"), read.conditions, exists)
        return Select(both, read.load, zero)

    exists = whole < extent
    zero = constant(0, parts.left.dtype)
    guarded = (Guard(exists, map_scalars(parts.epilogue, renamed)),)
    return replace(
        parts,
        parallel=parallel,
        left=kept(parts.left),
        right=kept(parts.right),
        epilogue=guarded,
    )


# -- sides


def _sides(parts: _Parts, swapped: bool) -> tuple[_Parts, str] | None:
    """The parts with the columns on the right, and the innermost column."""
    contiguous = _contiguous(parts)
    if contiguous is None:
        return None
    left, right = indices_of(parts.left), indices_of(parts.right)
    if (contiguous in left) == (contiguous in right):
        return None
    if (contiguous in left) != swapped:
        parts = replace(parts, left=parts.right, right=parts.left)
        left, right = right, left
    columns = [i for i in parts.parallel if i in right and i not in left]
    if not columns:
        return None
    flat = Flat(parts.nest, {}).value(parts.right)
    runs = [i for i in columns if step_of(flat, i) == ONE]
    return parts, contiguous if contiguous in columns and not runs else [*columns, *runs][-1]


def _contiguous(parts: _Parts) -> str | None:
    """The parallel index along which the elements of the first result are neighbours."""
    for statement in statements(parts.epilogue):
        if isinstance(statement, Store) and statement.indices:
            last = to_polynomial(statement.indices[-1], {})
            found = [i for i in parts.parallel if last.get((Index(i),)) == 1]
            return found[-1] if found else None
    return None


# -- one axis for every buffer


def _flattened(parts: _Parts, innermost: str) -> Contraction:
    flat = Flat(parts.nest, {**parts.parallel, **parts.depth})
    left, right = flat.value(parts.left), flat.value(parts.right)
    epilogue = flat.block(parts.epilogue)
    groups = _groups(parts, left, right, innermost)
    extents = {**parts.parallel, **parts.depth}
    whole: list[Axes] = []
    for group in groups:
        axes = [Axis(i, extents[i]) for i in group]
        place = len(axes) - 1
        while place > 0:
            outer, inner = axes[place - 1], axes[place]
            if walked_as_one(outer, inner, (left, right, *scalars(epilogue))):
                names: Names = {outer.index: constant(0, dtypes.int64)}
                left, right = _without(left, names), _without(right, names)
                epilogue = map_scalars(epilogue, functools.partial(_without, names=names))
                axes[place - 1 : place + 1] = [
                    Axis(inner.index, simplify(outer.extent * inner.extent))
                ]
            place -= 1
        whole.append(tuple(axes))
    strides = Strides()
    left, right = strides.value(left), strides.value(right)
    epilogue = map_scalars(epilogue, strides.value)
    return Contraction(
        parts.nest,
        flat.emptied(),
        (*parts.before, *strides.lets),
        whole[0],
        whole[1],
        whole[2],
        whole[3],
        left,
        right,
        parts.state.name,
        parts.state.initial,
        epilogue,
    )


def _without(value: Scalar, names: Names) -> Scalar:
    return simplify(substitute(value, names))


def _groups(
    parts: _Parts, left: Scalar, right: Scalar, innermost: str
) -> tuple[list[str], list[str], list[str], list[str]]:
    """The indices of batch, rows, columns and depth, in the order in which they are walked."""
    moved_left, moved_right = indices_of(left), indices_of(right)
    sides: tuple[list[str], ...] = ([], [], [])
    for index in parts.parallel:
        one = (index in moved_left) != (index in moved_right)
        sides[0 if not one else 1 if index in moved_left else 2].append(index)
    batch, rows, columns = sides
    columns.sort(key=lambda index: index == innermost)
    depth = list(parts.depth)
    runs = [i for value in (left, right) for i in depth if step_of(value, i) == ONE]
    if runs:
        depth.sort(key=lambda index: index == runs[0])
    return batch, rows, columns, depth
