"""Places: where the operands of a contraction read memory, and how far each index moves them.

Every buffer is taken as one long row, so that a place is a single int64 expression: a sum of
indices times steps, where the steps are made of arguments and have names.
"""

from __future__ import annotations

import functools
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import TypeAlias

from talweg.base import dtypes
from talweg.base.frozen import frozen
from talweg.loops.affine import Polynomial, simplify, to_polynomial, to_scalar
from talweg.loops.nest import Block, Buffer, Guard, Let, LoopNest, Statement, Store, map_scalars
from talweg.loops.scalar import (
    Argument,
    Call,
    Constant,
    Index,
    Load,
    Scalar,
    Select,
    children,
    constant,
    rebuild,
    walk,
)

ONE: Polynomial = {(): 1}


@frozen
class Axis:
    """A loop: its index, and how often it runs, made of arguments."""

    index: str
    extent: Scalar


Axes: TypeAlias = tuple[Axis, ...]


@frozen
class Read:
    """An operand that is an element of memory, or 0 where not all conditions hold."""

    load: Load
    conditions: tuple[Scalar, ...]


def indices_of(*values: Scalar) -> set[str]:
    """Return the names of the loop indices in expressions."""
    return {p.name for value in values for p in walk(value) if isinstance(p, Index)}


class Flat:
    """Turns every access into one of a buffer of one axis."""

    def __init__(self, nest: LoopNest, ranges: Mapping[str, Scalar]) -> None:
        self.nest, self.ranges = nest, ranges
        self.shapes = {b.name: b.shape for b in nest.inputs + nest.outputs}

    def emptied(self) -> LoopNest:
        """The nest with flat buffers and no body."""
        inputs, outputs = (
            tuple(replace(b, shape=(_size(b),)) for b in listed)
            for listed in (self.nest.inputs, self.nest.outputs)
        )
        return replace(self.nest, inputs=inputs, outputs=outputs, body=())

    def value(self, value: Scalar) -> Scalar:
        """An expression with its loads flattened, in normal form."""
        parts = tuple(map(self.value, children(value)))
        value = rebuild(value, parts) if parts else value
        if isinstance(value, Load):
            return Load(value.buffer, self.place(value.buffer, value.indices), value.dtype)
        return simplify(value, self.ranges)

    def place(self, buffer: str, indices: Sequence[Scalar]) -> tuple[Scalar]:
        """The row-major position in a buffer."""
        at: Scalar = constant(0, dtypes.int64)
        for index, size in zip(indices, self.shapes[buffer], strict=True):
            at = at * size + index
        return (simplify(at, self.ranges),)

    def block(self, block: Block) -> Block:
        """Statements with their loads and stores flattened."""
        return tuple(map(self._statement, block))

    def _statement(self, statement: Statement) -> Statement:
        match statement:
            case Store(buffer, indices, value, combine):
                at = self.place(buffer, tuple(map(self.value, indices)))
                return Store(buffer, at, self.value(value), combine)
            case Guard(condition, body, otherwise):
                return Guard(self.value(condition), self.block(body), self.block(otherwise))
        (plain,) = map_scalars((statement,), self.value)
        return plain


def _size(buffer: Buffer) -> Scalar:
    total: Scalar = constant(1, dtypes.int64)
    for size in buffer.shape:
        total = total * size
    return simplify(total)


def step_of(value: Scalar, index: str) -> Polynomial | None:
    """How far the loads of an expression move when an index grows, None where they differ."""
    steps = [s for load in loads(value) if (s := coefficient(load.indices[0], index)) != {}]
    return steps[0] if steps and all(s == steps[0] for s in steps) else None


def loads(*values: Scalar) -> Iterator[Load]:
    """Yield the loads in expressions."""
    for value in values:
        yield from (p for p in walk(value) if isinstance(p, Load))


def coefficient(place: Scalar, index: str) -> Polynomial | None:
    """The factor of an index in a polynomial; None where it stands in anything but products."""
    moving = Index(index)
    total: Polynomial = {}
    for monomial, factor in to_polynomial(place, {}).items():
        inside = [a for a in monomial if moving in walk(a)]
        if not inside:
            continue
        rest = tuple(a for a in monomial if a != moving)
        if inside != [moving] or any(isinstance(p, Index) for a in rest for p in walk(a)):
            return None
        total[rest] = total.get(rest, 0) + factor
    return total


def walked_as_one(outer: Axis, inner: Axis, values: Iterable[Scalar]) -> bool:
    """Whether two axes are only used in places, and always so that they are one longer axis."""
    pair = {Index(outer.index), Index(inner.index)}
    return all(_as_one(outer, inner, pair, value) for value in values)


def _as_one(outer: Axis, inner: Axis, pair: set[Index], value: Scalar) -> bool:
    if isinstance(value, Index):
        return value not in pair
    if not isinstance(value, Load):
        return all(_as_one(outer, inner, pair, part) for part in children(value))
    return joined(outer, inner, value.indices[0])


def joined(outer: Axis, inner: Axis, place: Scalar) -> bool:
    """Whether a place moves along two axes as along one."""
    far, near = coefficient(place, outer.index), coefficient(place, inner.index)
    if far is None or near is None:
        return False
    return far == to_polynomial(to_scalar(near) * inner.extent, {})


class Strides:
    """Gives names to what indices are multiplied with, so that it is computed once."""

    def __init__(self) -> None:
        self.names: dict[Scalar, str] = {}

    @property
    def lets(self) -> Block:
        """The Lets of the names."""
        return tuple(Let(name, value) for value, name in self.names.items())

    def value(self, value: Scalar) -> Scalar:
        """An expression whose places use the names."""
        parts = tuple(map(self.value, children(value)))
        value = rebuild(value, parts) if parts else value
        if isinstance(value, Load):
            return Load(value.buffer, (self.place(value.indices[0]),), value.dtype)
        return value

    def place(self, value: Scalar) -> Scalar:
        """A place as a sum of indices times steps."""
        moving: dict[str, Polynomial] = {}
        rest: Polynomial = {}
        fixed: Polynomial = {}
        for monomial, factor in to_polynomial(value, {}).items():
            indices = [a for a in monomial if isinstance(a, Index)]
            others = tuple(a for a in monomial if not isinstance(a, Index))
            if not all(isinstance(a, Argument) for a in others) or len(indices) > 1:
                rest[monomial] = factor
            elif indices:
                moving.setdefault(indices[0].name, {})[others] = factor
            else:
                fixed[others] = factor
        terms = [Index(i) * self.name(to_scalar(step)) for i, step in moving.items()]
        if rest:
            terms.append(to_scalar(rest))
        if fixed or not terms:
            terms.append(self.name(to_scalar(fixed)))
        return functools.reduce(lambda a, b: a + b, terms)

    def name(self, value: Scalar) -> Scalar:
        """A name for a product or sum of arguments."""
        if isinstance(value, Argument | Constant):
            return value
        name = self.names.setdefault(value, f"stride_{len(self.names)}")
        return Argument(name, dtypes.int64)


# -- operands


def read_of(value: Scalar) -> Read | None:
    """Return the operand as an element of memory, None if it is anything else."""
    if isinstance(value, Load):
        return Read(value, ())
    if isinstance(value, Select) and isinstance(value.then, Load):
        other = value.otherwise
        if isinstance(other, Constant) and float(other.text) == 0.0:
            return Read(value.then, tuple(_conjuncts(value.condition)))
    return None


def _conjuncts(condition: Scalar) -> Iterator[Scalar]:
    if isinstance(condition, Call) and condition.function == "logical_and":
        for part in condition.operands:
            yield from _conjuncts(part)
    else:
        yield condition
