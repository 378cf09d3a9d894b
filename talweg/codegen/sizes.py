"""How much memory and work a kernel has, as a Python expression of its arguments.

Compiling such a function would cost as much as a small kernel, and it is asked once for each plan.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence

from talweg.base import dtypes
from talweg.base.errors import GraphError
from talweg.loops.nest import Buffer, Let
from talweg.loops.scalar import Argument, Call, Cast, Constant, Local, Scalar
from talweg.schedule.place import Place
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
    lets = {s.name: s.value for s in kernel.before if isinstance(s, Let)}
    places = {a.name: n for n, a in enumerate(kernel.nest.arguments)}

    def text(value: Scalar) -> str:
        return _text(value, places, lets)

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


def _text(value: Scalar, places: dict[str, int], lets: Mapping[str, Scalar]) -> str:
    match value:
        case Place():
            return _place(value, places, lets)
        case Constant():
            return str(value.value)
        case Argument(name):
            return f"v[{places[name]}]"
        case Cast(operand, dtype):
            kind = "int" if dtype is dtypes.int64 else "float"
            return f"{kind}({_text(operand, places, lets)})"
        case Call(function, operands, _):
            return _FORMS[function](*(_text(o, places, lets) for o in operands))
        case Local(name):
            return _text(lets[name], places, lets)
    raise KeyError(type(value).__name__)


def _place(place: Place, places: dict[str, int], lets: Mapping[str, Scalar]) -> str:
    terms = []
    for monomial, factor in place.terms.items():
        parts = [_text(place.table.atoms[atom], places, lets) for atom in monomial]
        terms.append(" * ".join([str(factor), *parts] if factor != 1 or not parts else parts))
    return f"({' + '.join(terms)})" if terms else "0"
