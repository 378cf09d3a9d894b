"""Scope: the names of a kernel while it is written, and the expressions that use them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import final

from talweg.base import dtypes
from talweg.base.dtypes import DType
from talweg.base.errors import GraphError
from talweg.codegen import calls, memory
from talweg.codegen.elements import Parts, bitcast, cast, number
from talweg.codegen.lanes import Lanes, constant, where
from talweg.codegen.memory import Array
from talweg.codegen.values import Value, linear, widened
from talweg.codegen.writer import Writer
from talweg.loops.scalar import (
    Argument,
    Bitcast,
    Call,
    Cast,
    Constant,
    Index,
    Load,
    Local,
    Scalar,
    Select,
    walk,
)


@final
class Scope:
    """What is known at one place of a kernel.

    Attributes:
        names: the values of arguments, indices and locals.
        arrays: the buffers.
        lanes: 1 outside vector loops, else how many iterations run at once.
        mask: which lanes are alive, None for all.
        alive: a mask of which at least one lane is surely set, if there is one.
    """

    def __init__(self, writer: Writer) -> None:
        self.writer = writer
        self.names: dict[str, Value] = {}
        self.arrays: dict[str, Array] = {}
        self.lanes = 1
        self.mask: Lanes | None = None
        self.alive: Lanes | None = None

    def value(self, value: Scalar) -> Value:
        """Write an expression."""
        match value:
            case Constant(_, dtype):
                return Value(dtype, number(self.writer, value.value, dtype))
            case Argument(name) | Index(name) | Local(name):
                return self.names[name]
            case Load(buffer, indices, _):
                array = self.arrays[buffer]
                return self.load(array, self.offset(array, indices))
            case Call(function, operands, dtype):
                return self.call(function, dtype, [self.value(o) for o in operands])
            case Select(condition, then, otherwise):
                return self.select(condition, then, otherwise)
            case Cast(operand, dtype):
                given = self.settled(self.value(operand))
                return Value(dtype, cast(given.parts, given.dtype, dtype))
            case Bitcast(operand, dtype):
                given = self.settled(self.value(operand))
                return Value(dtype, (bitcast(given.single, given.dtype, dtype),))
        raise GraphError(f"{value!r} is not a Scalar")

    def settled(self, value: Value) -> Value:
        """The value, kept in all lanes unless they all hold the same."""
        return value if value.is_uniform else widened(value, self.lanes)

    def wide(self, value: Value) -> Value:
        """The value, kept in all lanes."""
        return widened(value, self.lanes)

    def alike(self, values: Sequence[Value]) -> list[Value]:
        """Values of one width: scalars where all are uniform, else vectors."""
        uniform = all(v.is_uniform for v in values)
        return list(values) if uniform else [self.wide(v) for v in values]

    def call(self, function: str, dtype: DType, operands: Sequence[Value]) -> Value:
        """Write a call of the table."""
        moving = linear(function, operands)
        if moving is not None:
            return moving
        given = self.alike(operands)
        parts = calls.apply(function, given[0].dtype, [v.parts for v in given])
        return Value(dtype, parts)

    def load(self, array: Array, offset: Value) -> Value:
        """Read elements. What all lanes share exists if any of them is surely alive."""
        sure = offset.is_uniform and self.mask is self.alive
        return memory.load(array, offset, self.lanes, None if sure else self.mask)

    def offset(self, array: Array, indices: Sequence[Scalar]) -> Value:
        """The row-major place of an element."""
        total: Value | None = None
        for index, size in zip(indices, array.shape, strict=True):
            at = self.value(index)
            if total is not None:
                total = self.call("mul", dtypes.int64, (total, size))
                at = self.call("add", dtypes.int64, (total, at))
            total = at
        if total is None:
            return Value(dtypes.int64, (constant(self.writer, 0, "i64", 1),))
        return total

    def select(self, condition: Scalar, then: Scalar, otherwise: Scalar) -> Value:
        """Write a choice: a branch where one side reads memory, else both sides are computed."""
        chosen = self.settled(self.value(condition)).single
        reads = any(isinstance(p, Load) for side in (then, otherwise) for p in walk(side))
        if chosen.lanes == 1 and reads:
            return self._branched(chosen, then, otherwise)
        if chosen.lanes == 1:
            values = self.alike([self.value(then), self.value(otherwise)])
        else:
            with self.masked(chosen if reads else None):
                first = self.wide(self.value(then))
            with self.masked(~chosen if reads else None):
                values = [first, self.wide(self.value(otherwise))]
        return Value(values[0].dtype, chosen_parts(chosen, values[0].parts, values[1].parts))

    def _branched(self, condition: Lanes, then: Scalar, otherwise: Scalar) -> Value:
        writer = self.writer
        labels = writer.label("then"), writer.label("else"), writer.label("join")
        writer.branch(condition.name, labels[0], labels[1])
        sides: list[tuple[Value, str]] = []
        for label, side in zip(labels, (then, otherwise), strict=False):
            writer.start(label)
            value = self.value(side)
            value = self.wide(value) if self.lanes > 1 else value
            sides.append((value, writer.block))
            writer.jump(labels[2])
        writer.start(labels[2])
        return merged(writer, *sides)

    @contextmanager
    def masked(self, condition: Lanes | None) -> Iterator[None]:
        """Write something that only happens in the lanes where a condition holds."""
        outer = self.mask
        if condition is not None:
            self.mask = condition if outer is None else outer & condition
        yield
        self.mask = outer


def replace_parts(value: Value, parts: Parts) -> Value:
    """Return a value of the same dtype with other parts."""
    return Value(value.dtype, parts)


def chosen_parts(condition: Lanes, then: Parts, otherwise: Parts) -> Parts:
    """Return parts of one value where a condition holds, else those of another."""
    return tuple(where(condition, a, b) for a, b in zip(then, otherwise, strict=True))


def merged(writer: Writer, *sides: tuple[Value, str]) -> Value:
    """Return the value that came from one of several blocks."""
    (first, _), *_ = sides
    phis = [
        writer.phi(part.type, *((value.parts[n].name, end) for value, end in sides))
        for n, part in enumerate(first.parts)
    ]
    parts = tuple(
        Lanes(writer, writer.seal(phi), part.kind, part.lanes)
        for phi, part in zip(phis, first.parts, strict=True)
    )
    return Value(first.dtype, parts)
