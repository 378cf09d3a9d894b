"""The numbers of a contraction's kernel: written as code, and as text for the runtime."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import final

from talweg.base import dtypes
from talweg.codegen.lanes import Lanes, constant, larger, smaller
from talweg.codegen.llvm import Body
from talweg.codegen.sizes import ALIGNMENT
from talweg.codegen.values import Value
from talweg.codegen.writer import Writer
from talweg.loops.nest import Let, LoopNest
from talweg.loops.scalar import Argument, Call, Constant, Local, Scalar
from talweg.schedule.contraction import Axes
from talweg.schedule.contraction_work import PREFIX, Work, bytes_of

_CODE: dict[str, Callable[[Lanes, Lanes], Lanes]] = {
    "add": lambda a, b: a + b,
    "sub": lambda a, b: a - b,
    "mul": lambda a, b: a * b,
    "floordiv": lambda a, b: a.binary("udiv", b),
    "mod": lambda a, b: a.binary("urem", b),
    "maximum": larger,
    "minimum": smaller,
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
class Numbers:
    """The numbers of a kernel in one function, as values."""

    def __init__(self, body: Body, work: Work) -> None:
        self.body, self.work = body, work
        for let in work.lets:
            assert isinstance(let, Let)
            body.scope.names[let.name] = Value(dtypes.int64, (self.of(let.value),))

    def __getitem__(self, name: str) -> Lanes:
        return self.body.scope.names[PREFIX + name].single

    def of(self, value: Scalar) -> Lanes:
        """Write an expression of natural numbers."""
        match value:
            case Constant(text):
                return constant(self.body.writer, int(text), "i64", 1)
            case Argument(name):
                return self.body.scope.names[name].single
            case Call(function, (left, right)):
                return _CODE[function](self.of(left), self.of(right))
        raise TypeError(f"{value!r} is not a number of a kernel")


def text_of(work: Work, nest: LoopNest) -> str:
    """Return what `Kernel.sizes` says as Python's text: an expression of `v`, the arguments."""
    names = {argument.name: f"v[{n}]" for n, argument in enumerate(nest.arguments)}
    assigned = []
    for let in (*work.before, *work.lets):
        assert isinstance(let, Let)
        assigned.append(f"{let.name} := {_text(let.value, names)}")
        names[let.name] = let.name
    results = [bytes_of(work.scratch(), ALIGNMENT), bytes_of(work.shared(), ALIGNMENT)]
    results += [value for stage in work.stages() for value in stage]
    listed = ", ".join(_text(value, names) for value in results)
    return f"[{', '.join(assigned)}, ({listed})][-1]"


def _text(value: Scalar, names: Mapping[str, str]) -> str:
    match value:
        case Constant(text):
            return text
        case Argument(name) | Local(name):
            return names[name]
        case Call(function, operands):
            return _TEXT[function].format(*(_text(o, names) for o in operands))
    raise TypeError(f"{value!r} is not a number of a kernel")


def laid_out(
    writer: Writer, base: str, numbers: Numbers, parts: Mapping[str, Scalar]
) -> dict[str, str]:
    """Place parts of memory one after the other; return their addresses."""
    end = constant(writer, 0, "i64", 1)
    places: dict[str, str] = {}
    for name, size in parts.items():
        places[name] = writer.emit(f"getelementptr i8, ptr {base}, i64 {end.name}")
        end = end + ((numbers.of(size) + (ALIGNMENT - 1)) & -ALIGNMENT)
    return places


def digits(number: Lanes, sizes: Sequence[Lanes]) -> list[Lanes]:
    """Return the places of a number that counts through so many sizes, the last one fastest."""
    found: list[Lanes] = []
    for size in reversed(sizes[1:]):
        found.append(number.binary("urem", size))
        number = number.binary("udiv", size)
    return [number, *reversed(found)] if sizes else []


def bind(body: Body, axes: Axes, number: Lanes) -> None:
    """Give the indices of a group their values at one of its iterations."""
    sizes = [body.scope.value(axis.extent).single for axis in axes]
    for axis, digit in zip(axes, digits(number, sizes), strict=True):
        body.scope.names[axis.index] = Value(dtypes.int64, (digit,))
