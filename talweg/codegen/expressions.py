"""Scope: the names of a kernel while it is written, and the expressions that use them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any, final
from typing import cast as cast_type

from talweg.base import dtypes
from talweg.base.dtypes import DType
from talweg.base.errors import GraphError
from talweg.codegen import calls, memory
from talweg.codegen.elements import Parts, bitcast, cast, from_memory, number, stored_kind
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
)
from talweg.schedule.place import Place, Terms, walk


@final
class Scope:
    """What is known at one place of a kernel.

    Attributes:
        names: the values of arguments, indices and locals; and of what `places` keeps.
        inputs: the names of buffers that are not written.
        arrays: the buffers.
        lanes: 1 outside vector loops, else how many iterations run at once.
        mask: which lanes are alive, None for all.
        alive: a mask of which at least one lane is surely set, if there is one.
    """

    def __init__(self, writer: Writer) -> None:
        self.writer = writer
        self.names: dict[str, Value] = {}
        self.inputs: set[str] = set()
        self.arrays: dict[str, Array] = {}
        self.lanes = 1
        self.mask: Lanes | None = None
        self.alive: Lanes | None = None

    @property
    def kept(self) -> dict[Any, Any]:
        """What is kept beside the names, by keys that are no text."""
        return cast_type("dict[Any, Any]", self.names)

    def value(self, value: Scalar) -> Value:
        """Write an expression, unless `hoist` did."""
        found: tuple[Scalar, Value] | None = self.kept.get(("value", id(value)))
        if found is not None:
            return found[1]
        match value:
            case Constant(_, dtype):
                return Value(dtype, number(self.writer, value.value, dtype))
            case Argument(name) | Index(name) | Local(name):
                return self.names[name]
            case Place():
                return self.place(value)
            case Load(buffer, indices, _):
                turned: tuple[Load, str, str] | None = self.kept.get(("row", id(value)))
                if turned is not None:
                    return self.row_of_square(value, *turned[1:])
                return self.load(*self.element(self.arrays[buffer], indices))
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

    def row_of_square(self, load: Load, square: str, index: str) -> Value:
        """The elements of a load in all lanes, from a square that was turned."""
        kind = stored_kind(load.dtype, self.writer)
        row = f"<{self.lanes} x {kind}>"
        at = self.names[index].single
        place = self.writer.emit(f"getelementptr {row}, ptr {square}, i64 {at.name}")
        stored = Lanes(self.writer, self.writer.emit(f"load {row}, ptr {place}"), kind, self.lanes)
        return Value(load.dtype, (from_memory(stored, load.dtype),))

    def element(self, array: Array, indices: Sequence[Scalar]) -> tuple[Array, Value]:
        """The array, or a row of it, and where in it an element stands."""
        if len(indices) != 1 or not isinstance(indices[0], Place):
            return array, self.offset(array, indices)
        row: tuple[str, Place] | None = self.kept.get(("row", array.pointer, indices[0]))
        pointer, rest = row or (array.pointer, indices[0])
        return Array(pointer, array.dtype, array.shape, array.streams), self.place(rest)

    def place(self, place: Place) -> Value:
        """Write a place: what is known of it already, and the rest."""
        known: tuple[Value, Place] | None = self.kept.get(("known", place))
        if known is None:
            return self.sum_of(place.terms, place)
        base, rest = known
        return self.call("add", dtypes.int64, (base, self.sum_of(rest.terms, rest)))

    def sum_of(self, terms: Terms, place: Place) -> Value:
        """Write a sum of products of the atoms of a place; its number comes last."""
        total: Value | None = None
        for monomial, factor in terms.items():
            if not monomial:
                continue
            term: Value | None = None
            for atom in monomial:
                value = self.value(place.table.atoms[atom])
                term = value if term is None else self.call("mul", dtypes.int64, (term, value))
            assert term is not None
            if factor not in (1, -1):
                term = self.call("mul", dtypes.int64, (term, self.whole(factor)))
            if total is None:
                total = term if factor != -1 else self.call("neg", dtypes.int64, (term,))
            else:
                sign = "sub" if factor == -1 else "add"
                total = self.call(sign, dtypes.int64, (total, term))
        number = terms.get((), 0)
        if total is None:
            return self.whole(number)
        return self.call("add", dtypes.int64, (total, self.whole(number))) if number else total

    def whole(self, number: int) -> Value:
        """An int64 constant."""
        return Value(dtypes.int64, (constant(self.writer, number, "i64", 1),))

    def offset(self, array: Array, indices: Sequence[Scalar]) -> Value:
        """The row-major place of an element."""
        if len(indices) == 1:
            return self.value(indices[0])
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
