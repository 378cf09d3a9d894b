"""How much memory and work a kernel has, as a Python expression of its arguments.

Compiling such a function would cost as much as a small kernel, and it is asked once for each plan.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence

from talweg.base import dtypes
from talweg.base.errors import GraphError
from talweg.loops.nest import Buffer, Let
from talweg.loops.scalar import Argument, Call, Cast, Constant, Local, Scalar, substitute
from talweg.schedule.stages import Staged

ALIGNMENT = 64

_FORMS: dict[str, Callable[..., str]] = {
    "add": "({} + {})".format,
    "sub": "({} - {})".format,
    "mul": "({} * {})".format,
    "div": "({} / {})".format,
    "floordiv": "({} // {})".format,
    "mod": "({} % {})".format,
    "neg": "(-{})".format,
    "maximum": "max({}, {})".format,
    "minimum": "min({}, {})".format,
}


def expression_of(kernel: Staged) -> str:
    """Return an expression of `v`, the arguments' values, that gives what `Kernel.sizes` says.

    Raises:
        GraphError: when the size of scratch memory depends on more than arguments.
    """
    lets: dict[str, Scalar] = {}
    for statement in kernel.before:
        if isinstance(statement, Let):
            lets[statement.name] = substitute(statement.value, lets)
    places = {a.name: n for n, a in enumerate(kernel.nest.arguments)}

    def text(value: Scalar) -> str:
        return _text(substitute(value, lets) if lets else value, places)

    def room(buffers: Iterable[Buffer]) -> str:
        parts = [_bytes([text(n) for n in b.shape], b.dtype.itemsize) for b in buffers]
        return " + ".join(parts) or "0"

    try:
        scratch = [room(stage.scratch()) for stage in kernel.stages]
        shared = room(kernel.shared)
    except KeyError as error:
        raise GraphError(
            f"{kernel.nest.name}: the size of scratch memory must be made of arguments, so that it "
            f"can be set aside before the kernel runs, but depends on {error}"
        ) from None
    work = [text(v) for stage in kernel.stages for v in (stage.items(), stage.grain)]
    largest = f"max({', '.join(scratch)})" if len(scratch) > 1 else "".join(scratch) or "0"
    return f"({', '.join([largest, shared, *work])})"


def _bytes(extents: Sequence[str], size: int) -> str:
    count = " * ".join([str(size), *(f"max({n}, 0)" for n in extents)])
    return f"-(-({count}) // {ALIGNMENT}) * {ALIGNMENT}"


def _text(value: Scalar, places: dict[str, int]) -> str:
    match value:
        case Constant():
            return str(value.value)
        case Argument(name):
            return f"v[{places[name]}]"
        case Cast(operand, dtype):
            kind = "int" if dtype is dtypes.int64 else "float"
            return f"{kind}({_text(operand, places)})"
        case Call(function, operands, _):
            return _FORMS[function](*(_text(o, places) for o in operands))
        case Local(name):
            raise KeyError(name)
    raise KeyError(type(value).__name__)
