"""Contractions: loop nests that sum products of two operands, brought into one form.

    for batch, rows, columns in parallel:            out[batch, row, column] =
        s = initial                                      epilogue(sum over depth of
        for depth in reduction:                              left[batch, row, depth] *
            s += left * right                                right[batch, column, depth])
        epilogue of s: Let, Store, Guard

A parallel index that only one operand moves with is a row or a column. Either side may be the
columns; as a rule it is the one whose index is contiguous in the result. Matrix products,
convolutions and their gradients are all of this form. Buffers are single rows, and neighbouring
axes of a group that every access walks through as if they were one are joined: pixels of a 1x1
convolution become rows of a matrix. What does not have the form is refused: the ordinary loops
then run.
"""

from __future__ import annotations

import functools
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import TypeAlias

from talweg.base import dtypes
from talweg.base.dtypes import DType
from talweg.base.frozen import frozen
from talweg.loops.nest import (
    Accumulate,
    Assign,
    Block,
    Guard,
    Let,
    Loop,
    LoopNest,
    Store,
    Var,
    map_scalars,
    statements,
)
from talweg.loops.scalar import (
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
)
from talweg.schedule.contraction_pairs import is_bfloat16, is_short, pair
from talweg.schedule.contraction_places import (
    conditions_in,
    divided,
    elements,
    read_of,
    step_of,
    walked_as_one,
)
from talweg.schedule.place import Place, map_places, names_in, placed, plain, settled, walk

SUMMED = (dtypes.float32, dtypes.float64, dtypes.int32, dtypes.int64)


@frozen
class Axis:
    """A loop: its index, and how often it runs, made of arguments."""

    index: str
    extent: Scalar


Axes: TypeAlias = tuple[Axis, ...]


@frozen
class Contraction:
    """A nest in the form at the head of this module.

    Args:
        source: the nest that was recognised.
        nest: its name, arguments and buffers, all of one axis; the body is empty.
        batch, rows, columns, depth: the groups of axes; the last one of each runs fastest.
        left, right: the factors.
        state: the name that the epilogue knows the sum by.
        initial: what is added to the sum.
        epilogue: what is done with every sum.
        within: two indices: products where the first is above the second are zeros, or their sum is
            not needed.
        paired: whether factors are int32s that hold two numbers of 16 bits each, which are
            multiplied and added; the depth has half as many elements.
    """

    source: LoopNest
    nest: LoopNest
    batch: Axes
    rows: Axes
    columns: Axes
    depth: Axes
    left: Scalar
    right: Scalar
    state: str
    initial: Scalar
    epilogue: Block
    within: tuple[str, str] | None = None
    paired: bool = False

    @property
    def dtype(self) -> DType:
        """The dtype of the sum."""
        return self.initial.dtype

    @property
    def in_matrices(self) -> bool:
        """Whether pairs are of bfloat16, which machines multiply as matrices."""
        return self.paired and self.dtype is dtypes.float32


@frozen
class Order:
    """How the axes of a contraction are arranged: several ways are possible.

    Args:
        swapped: whether columns are the side that is not contiguous in the result.
        inner: which of several axes of the depth is innermost.
        apart: whether rows are neighbours that meet the same steps of the depth.
        paired: whether neighbours along the depth stand in one element of copies, 16 bits each.
    """

    swapped: bool = False
    inner: int = 0
    apart: bool = False
    paired: bool = False


FIRST = Order()


@functools.lru_cache(maxsize=1024)
def recognise(nest: LoopNest, order: Order = FIRST) -> Contraction | None:
    """Return the contraction that a verified nest is, or None.

    None as well where there are fewer axes that may be innermost, where rows that meet the same
    steps of the depth are neighbours in any case, and where factors have more than 16 bits.
    """
    sides = _sided(nest, order.swapped)
    return None if sides is None else _arranged(*sides, order)


# -- the form


@dataclass
class _Form:
    """The parts of a nest. Extents and all other int64 expressions are places."""

    source: LoopNest
    nest: LoopNest
    parallel: dict[str, Place]
    depth: dict[str, Place]
    state: Var
    left: Scalar
    right: Scalar
    within: Call | None
    epilogue: Block


@functools.lru_cache(maxsize=1024)
def _form(nest: LoopNest) -> _Form | None:
    if not _sums_products(nest):
        return None
    form = _taken_apart(nest, placed(nest))
    return None if form is None else _split_strides(_split_groups(form))


def _sums_products(nest: LoopNest) -> bool:
    """Whether there is a sum of products at all: all else is refused at once."""
    return any(
        isinstance(s, Accumulate) and s.combine == "add" and _is_product(s.values[0])
        for s in statements(nest.body)
    )


def _is_product(value: Scalar) -> bool:
    while isinstance(value, Cast):
        value = value.operand
    value = _cut(value)[0]
    return (isinstance(value, Call) and value.function == "mul") or isinstance(value, Local)


def _taken_apart(source: LoopNest, nest: LoopNest) -> _Form | None:
    """Take a nest apart; Lets outside the epilogue are put in place of their names."""
    body = _inlined(nest.body)
    parallel: dict[str, Place] = {}
    while len(body) == 1 and isinstance(body[0], Loop) and body[0].order == "parallel":
        parallel[body[0].index] = _place(body[0].extent)
        body = _inlined(body[0].body)
    if len(body) < 3 or not isinstance(body[0], Var) or not isinstance(body[1], Loop):
        return None
    state, summing, *epilogue = body
    assert isinstance(state, Var)
    assert isinstance(summing, Loop)
    depth: dict[str, Place] = {}
    inner: Block = (summing,)
    while len(inner) == 1 and isinstance(inner[0], Loop) and inner[0].order == "reduction":
        depth[inner[0].index] = _place(inner[0].extent)
        inner = _inlined(inner[0].body)
    factors = _factors(inner, state)
    if factors is None or not parallel or not _is_epilogue(tuple(epilogue)):
        return None
    if not all(_of_arguments(e) for e in (*parallel.values(), *depth.values(), state.initial)):
        return None
    return _Form(source, nest, parallel, depth, state, *factors, tuple(epilogue))


def _place(value: Scalar) -> Place:
    assert isinstance(value, Place)
    return value


def _inlined(block: Block) -> Block:
    """The block without the Lets that stand before its first loop.

    What is loaded there for use after the loop is loaded after it, but before anything is stored: a
    store may be to the same memory.
    """
    while True:
        place = next((n for n, s in enumerate(block) if not isinstance(s, Var)), None)
        if place is None or not isinstance(block[place], Let):
            return block
        let = block[place]
        assert isinstance(let, Let)
        rest = block[:place] + block[place + 1 :]
        end = next((n for n, s in enumerate(rest) if isinstance(s, Loop)), len(rest)) + 1
        inlined = map_scalars(rest, functools.partial(_with, let=let))
        loads = any(isinstance(part, Load) for part in walk(let.value))
        keep = loads and inlined[end:] != rest[end:]
        block = (*inlined[:end], let, *rest[end:]) if keep else inlined


def _with(value: Scalar, let: Let) -> Scalar:
    """An expression with what a Let stands for in place of its name."""
    if let.value.dtype is dtypes.int64:
        return map_places(value, lambda p: p.at(let.name, settled(let.value, p.table)))
    return substitute(value, {let.name: let.value})


def _cut(product: Scalar) -> tuple[Scalar, Call | None]:
    """A product, and where it is looked at."""
    if isinstance(product, Select) and isinstance(product.condition, Call):
        other, within = product.otherwise, product.condition
        zero = isinstance(other, Constant) and float(other.text) == 0.0
        if zero and within.function == "upto":
            return product.then, within
    return product, None


def _factors(block: Block, state: Var) -> tuple[Scalar, Scalar, Call | None] | None:
    if len(block) != 1 or not isinstance(block[0], Accumulate):
        return None
    (fold,) = block
    assert isinstance(fold, Accumulate)
    product, within = _cut(fold.values[0])
    if fold.combine != "add" or fold.names != (state.name,) or product.dtype not in SUMMED:
        return None
    if not isinstance(product, Call) or product.function != "mul":
        return None
    left, right = product.operands
    return left, right, within


def _is_epilogue(block: Block) -> bool:
    inside = list(statements(block))
    if not all(isinstance(s, Let | Store | Guard | Var | Assign) for s in inside):
        return False
    return all(s.combine == "set" for s in inside if isinstance(s, Store))


def _of_arguments(value: Scalar) -> bool:
    return not names_in(value) and not any(isinstance(p, Load) for p in walk(value))


# -- groups of channels, and strides


def _split_groups(form: _Form) -> _Form:
    """Cut a parallel index i that is used as i // d or i % d into a group and what is inside it."""
    for index in form.parallel:
        divisors = [d for i, d in _divisions(form) if i.terms == {(index,): 1}]
        if divisors and all(d == divisors[0] and _of_arguments(d) for d in divisors):
            return _split(form, index, divisors[0], "member")
    return form


def _split_strides(form: _Form) -> _Form:
    """Cut parallel indices of which an operand only meets every n-th into n residues.

    Where such an index stands in a sum that is divided by n, rows of one residue meet the same
    steps of the depth: they are made neighbours, and the other steps are left out.
    """
    for index in list(form.parallel):
        for dividend, divisor in _divisions(form):
            alone = len(dividend.terms) == 1
            if divisor.number is not None and not alone and dividend.terms.get((index,)) == 1:
                form = _split(form, index, divisor, "residue")
                order = sorted(form.parallel, key=lambda i: not i.endswith("_residue"))
                form = replace(form, parallel={i: form.parallel[i] for i in order})
                break
    return form


def _divisions(form: _Form) -> Iterator[tuple[Place, Place]]:
    """Dividend and divisor of every quotient and remainder in the operands."""
    for value in (form.left, form.right):
        for part in walk(value):
            if isinstance(part, Call) and part.function in ("floordiv", "mod"):
                dividend, divisor = part.operands
                if isinstance(dividend, Place) and isinstance(divisor, Place):
                    yield dividend, divisor


def _split(form: _Form, index: str, inside: Place, role: str) -> _Form:
    """Write a parallel index as group * inside + member."""
    group, member, extent = f"{index}_group", f"{index}_{role}", form.parallel[index]
    table = extent.table
    one = table.place({(): 1})
    near, far = (table.place({(table.name(Index(name)),): 1}) for name in (member, group))
    whole = far.times(inside).plus(near)
    reached = extent.plus(inside).plus(one, -1)
    groups = divided(settled(call("floordiv", reached, inside), table), {})
    parallel: dict[str, Place] = {}
    for name, size in form.parallel.items():
        if name == index:
            parallel |= {group: groups, member: inside}
        else:
            parallel[name] = size

    def renamed(value: Scalar) -> Scalar:
        return map_places(value, lambda p: divided(p.at(index, whole), {member: inside}))

    exists, zero = call("lt", whole, extent), constant(0, form.left.dtype)

    def kept(value: Scalar) -> Scalar:
        inner = renamed(value)
        if member not in names_in(inner):
            return inner
        read = read_of(inner)
        if read is None:
            return Select(exists, inner, zero)
        both = functools.reduce(functools.partial(call, "logical_and"), read.conditions, exists)
        return Select(both, read.load, zero)

    epilogue = (Guard(exists, map_scalars(form.epilogue, renamed)),)
    left, right = kept(form.left), kept(form.right)
    return replace(form, parallel=parallel, left=left, right=right, epilogue=epilogue)


# -- sides


@functools.lru_cache(maxsize=256)
def _sided(nest: LoopNest, swapped: bool) -> tuple[_Form, str, list[str]] | None:
    """The form with its sides, the innermost column, and what may be innermost of the depth."""
    form = _form(nest)
    sides = None if form is None else _sides(form, swapped)
    if sides is None:
        return None
    return *sides, _candidates(sides[0], sides[0].left, sides[0].right)


def _sides(form: _Form, swapped: bool) -> tuple[_Form, str] | None:
    """The form with the columns on the right, and the innermost column."""
    contiguous = _contiguous(form)
    if contiguous is None:
        return None
    left, right = names_in(form.left), names_in(form.right)
    if (contiguous in left) == (contiguous in right):
        return None
    if (contiguous in left) != swapped:
        form = replace(form, left=form.right, right=form.left)
        left, right = right, left
    columns = [i for i in form.parallel if i in right and i not in left]
    if not columns:
        return None
    runs = [i for i in columns if step_of(form.right, i) == 1]
    return form, contiguous if contiguous in columns and not runs else [*columns, *runs][-1]


def _contiguous(form: _Form) -> str | None:
    """The parallel index along which the elements of the first result are neighbours."""
    for statement in statements(form.epilogue):
        if isinstance(statement, Store) and statement.indices:
            place = _place(statement.indices[0])
            found = [i for i in form.parallel if _is_one(place.factor(i))]
            return found[-1] if found else None
    return None


def _is_one(factor: Place | None) -> bool:
    return factor is not None and factor.number == 1


def _candidates(form: _Form, left: Scalar, right: Scalar) -> list[str]:
    """Indices of the depth that may be innermost.

    First come those that no condition depends on, and of these those that run along memory.
    """
    used = {n for v in (left, right) for c in conditions_in(v) for n in names_in(c)}
    runs = [i for value in (left, right) for i in form.depth if step_of(value, i) == 1]
    free = [i for i in reversed(form.depth) if i not in used]
    axes = list(form.depth)
    found = dict.fromkeys([*runs, *(free if used else []), axes[0], axes[-1]])
    return sorted(found, key=lambda i: i in used)


# -- axes that are walked as one


def _arranged(
    form: _Form, innermost: str, candidates: list[str], order: Order
) -> Contraction | None:
    left, right, epilogue = form.left, form.right, form.epilogue
    if order.inner >= len(candidates):
        return None
    if order.paired and not any(fit(left) and fit(right) for fit in (is_short, is_bfloat16)):
        return None
    groups = _groups(form, innermost, candidates[order.inner])
    if order.apart:
        used = {n for c in conditions_in(left) for n in names_in(c)}
        alike = sorted(groups[1], key=lambda index: index not in used)
        if alike == groups[1]:
            return None
        groups = groups[0], alike, *groups[2:]
    extents = {**form.parallel, **form.depth}
    zero = next(iter(extents.values())).table.place({})
    whole: list[Axes] = []
    compared: tuple[Scalar, ...] = () if form.within is None else (form.within,)
    for group in groups:
        axes = list(group)
        place = len(axes) - 1
        while place > 0:
            far, near = axes[place - 1], axes[place]
            read = (left, right, *elements(epilogue), *compared)
            if walked_as_one(far, near, extents[near], read):
                still = functools.partial(_at, index=far, place=zero)
                left, right, epilogue = still(left), still(right), map_scalars(epilogue, still)
                extents[near] = extents[far].times(extents[near])
                del axes[place - 1]
            place -= 1
        whole.append(tuple(Axis(i, plain(extents[i])) for i in axes))
    if order.paired:
        (last,), rest = whole[-1][-1:], whole[-1][:-1]
        left, right = (pair(f, last.index, extents[last.index]) for f in (left, right))
        whole[-1] = *rest, Axis(last.index, (last.extent + 1) // 2)
    batch, rows, columns, depth = whole
    nest, state = replace(form.nest, body=()), form.state
    return Contraction(
        form.source,
        nest,
        batch,
        rows,
        columns,
        depth,
        left,
        right,
        state.name,
        state.initial,
        epilogue,
        None if order.paired else _compared(form),
        order.paired,
    )


def _compared(form: _Form) -> tuple[str, str] | None:
    """The indices that say which products are zeros, where nothing is added to them."""
    if form.within is None:
        return None
    names: list[str] = []
    for place in form.within.operands:
        one = place.names() if isinstance(place, Place) else frozenset()
        if not isinstance(place, Place) or len(one) != 1 or place.terms != {tuple(one): 1}:
            return None
        names += one
    return names[0], names[1]


def _at(value: Scalar, index: str, place: Place) -> Scalar:
    return map_places(value, lambda p: p.at(index, place))


def _groups(form: _Form, innermost: str, inner: str) -> tuple[list[str], ...]:
    """The indices of batch, rows, columns and depth, in the order in which they are walked."""
    moved_left, moved_right = names_in(form.left), names_in(form.right)
    sides: tuple[list[str], ...] = ([], [], [])
    for index in form.parallel:
        one = (index in moved_left) != (index in moved_right)
        sides[0 if not one else 1 if index in moved_left else 2].append(index)
    sides[2].sort(key=lambda index: index == innermost)
    return *sides, sorted(form.depth, key=lambda index: index == inner)
