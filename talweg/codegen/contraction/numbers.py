"""The numbers of a contraction's kernel, as text for the runtime and as values of its code.

They depend on the arguments alone. The runtime computes them once for each launch and puts them
behind the arguments in its block; code reads those that it needs.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from operator import add, floordiv, mod, mul, sub
from typing import final

from talweg.base import dtypes
from talweg.codegen.lanes import Lanes, constant
from talweg.codegen.llvm import Body
from talweg.codegen.sizes import ALIGNMENT
from talweg.codegen.values import Value
from talweg.loops.nest import Let, LoopNest
from talweg.loops.scalar import Argument, Call, Constant, Local, Scalar
from talweg.schedule.contraction import Axes
from talweg.schedule.contraction_work import PREFIX, Work, over

_KNOWN: dict[str, Callable[[int, int], int]] = {
    "add": add,
    "sub": sub,
    "mul": mul,
    "floordiv": floordiv,
    "mod": mod,
    "maximum": max,
    "minimum": min,
}

_TEXT: dict[str, str] = {
    "add": "({0} + {1})",
    "sub": "({0} - {1})",
    "mul": "({0} * {1})",
    "neg": "(-{0})",
    "floordiv": "({0} // {1} if {1} else 0)",
    "mod": "({0} % {1} if {1} else 0)",
    "maximum": "max({0}, {1})",
    "minimum": "min({0}, {1})",
}


@final
class Table:
    """What is computed of the arguments: numbers of the work, and where parts of memory begin.

    Attributes:
        rows: every number by its name, made of arguments and of numbers before it.
        known: those that are the same for all arguments.
        slots: those that stand in the block, in this order.
    """

    def __init__(self, work: Work) -> None:
        self.rows: dict[str, Scalar] = {let.name: let.value for let in _lets(work.lets)}
        for memory, parts in (("scratch", work.scratch()), ("shared", work.shared())):
            end: Scalar = _ZERO
            for part, size in parts.items():
                self.rows[place_of(memory, part)] = end
                end = end + over(size, ALIGNMENT) * ALIGNMENT
            self.rows[place_of(memory, "end")] = end
        self.known: dict[str, int] = {}
        for name, value in self.rows.items():
            number = self._number(value)
            if number is not None:
                self.known[name] = number
        self.slots = [name for name in self.rows if name not in self.known]

    def _number(self, value: Scalar) -> int | None:
        match value:
            case Constant(text):
                return int(text)
            case Argument(name):
                return self.known.get(name)
            case Call(function, (left, right)):
                one, other = self._number(left), self._number(right)
                return None if one is None or other is None else _KNOWN[function](one, other)
        return None


_ZERO = Constant("0", dtypes.int64)


def _lets(block: Sequence[object]) -> list[Let]:
    return [let for let in block if isinstance(let, Let)]


def place_of(memory: str, part: str) -> str:
    """Return the name of the number that says where a part of memory begins, in bytes."""
    return f"{PREFIX}{memory}_{part}"


@final
class Numbers:
    """The numbers of a kernel in one function, as values.

    Args:
        body: the function; what failed checks report stands behind the numbers.
        table: all of them.
    """

    def __init__(self, body: Body, table: Table) -> None:
        self.writer, self.table, self.first = body.writer, table, body.failure_slot
        body.failure_slot += len(table.slots)
        self._slots = {name: n for n, name in enumerate(table.slots)}
        self._read: dict[str, Lanes] = {}

    def __getitem__(self, name: str) -> Lanes:
        return self._of(PREFIX + name)

    def places(self, memory: str, base: str, parts: Mapping[str, Scalar]) -> dict[str, str]:
        """Return the addresses of parts of memory."""
        return {
            part: self.writer.emit(
                f"getelementptr i8, ptr {base}, i64 {self._of(place_of(memory, part)).name}"
            )
            for part in parts
        }

    def _of(self, name: str) -> Lanes:
        found = self._read.get(name)
        if found is None:
            found = self._read[name] = self._made(name)
        return found

    def _made(self, name: str) -> Lanes:
        number, same = self.table.known.get(name), self.table.rows[name]
        if number is not None:
            return constant(self.writer, number, "i64", 1)
        if isinstance(same, Argument) and same.name in self.table.rows:
            return self._of(same.name)
        slot = self.first + self._slots[name]
        place = self.writer.early(f"getelementptr i64, ptr %block, i64 {slot}")
        return Lanes(self.writer, self.writer.early(f"load i64, ptr {place}"), "i64", 1)


def text_of(work: Work, table: Table, nest: LoopNest) -> str:
    """Return what the runtime is told, as Python's text: an expression of `v`, the arguments.

    It is what `Kernel.sizes` says, and behind that the numbers in the block.
    """
    names = {argument.name: f"v[{n}]" for n, argument in enumerate(nest.arguments)}
    assigned = []
    lets = {let.name: let.value for let in _lets(work.before)}
    for name, value in (lets | table.rows).items():
        assigned.append(f"{name} := {_text(value, names)}")
        names[name] = name
    stages = [_text(value, names) for stage in work.stages() for value in stage]
    ends = [place_of(memory, "end") for memory in ("scratch", "shared")]
    return f"[{', '.join(assigned)}, ({', '.join([*ends, *stages, *table.slots])})][-1]"


def _text(value: Scalar, names: Mapping[str, str]) -> str:
    match value:
        case Constant(text):
            return text
        case Argument(name) | Local(name):
            return names[name]
        case Call(function, operands):
            return _TEXT[function].format(*(_text(o, names) for o in operands))
    raise TypeError(f"{value!r} is not a number of a kernel")


def digits(number: Lanes, sizes: Sequence[Lanes]) -> list[Lanes]:
    """Return the places of a number that counts through so many sizes, the last one fastest."""
    found: list[Lanes] = []
    for size in reversed(sizes[1:]):
        if size.name == "1":
            found.append(size.like(0))
            continue
        found.append(number.binary("urem", size))
        number = number.binary("udiv", size)
    return [number, *reversed(found)] if sizes else []


def bind(body: Body, axes: Axes, number: Lanes) -> None:
    """Give the indices of a group their values at one of its iterations."""
    sizes = [body.scope.value(axis.extent).single for axis in axes]
    for axis, digit in zip(axes, digits(number, sizes), strict=True):
        body.scope.names[axis.index] = Value(dtypes.int64, (digit,))
