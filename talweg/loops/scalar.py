"""Typed scalar expressions: what a loop nest computes for one element.

    Scalar = Constant(text, dtype)            a value that is part of the structure
           | Argument(name, dtype)            a value given at run time: an extent, a Python number
           | Index(name)                      the int64 counter of an enclosing loop
           | Local(name, dtype)               a name bound by Let or declared by Var
           | Load(buffer, indices, dtype)     one element of a buffer; int64 indices
           | Call(function, operands, dtype)  a function of the table FUNCTIONS
           | Select(condition, then, otherwise)
           | Cast(operand, dtype)             conversion of the value
           | Bitcast(operand, dtype)          the same bits under another dtype of equal width

Expressions are immutable and compare by structure. Every constructor checks its fields, so an
expression that exists is well typed. Only the chosen branch of a Select is evaluated: that is how a
load is kept inside its buffer. Everything else has no effect and no order.

Scalars have Python's operators: `x * 2 + y`, `x < y`, `-x`, `a & b`. Python numbers take the dtype
of the other operand. `==` compares structure; the elementwise comparison is `call("eq", x, y)`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import field
from operator import attrgetter
from typing import Any, TypeAlias, final

import numpy as np

from talweg.base import dtypes
from talweg.base.dtypes import DType
from talweg.base.errors import DTypeError, GraphError
from talweg.base.frozen import frozen
from talweg.loops.functions import FUNCTIONS

Number: TypeAlias = bool | int | float | complex


def check(condition: bool, message: str) -> None:
    """Raise GraphError with this message unless the condition holds."""
    if not condition:
        raise GraphError(message)


class Scalar:
    """Any expression. Abstract: its subclasses are the grammar at the head of this module."""

    dtype: DType
    _hash: int

    def __hash__(self) -> int:
        """Return a hash that is kept: expressions are keys, and large ones would cost much."""
        try:
            return self._hash
        except AttributeError:
            found = hash((self.__class__, *self.__dict__.values()))
            object.__setattr__(self, "_hash", found)
            return found

    def _same(self, other: Numeric) -> Scalar:
        return other if isinstance(other, Scalar) else constant(other, self.dtype)

    def __add__(self, other: Numeric) -> Scalar:
        return call("add", self, self._same(other))

    def __radd__(self, other: Number) -> Scalar:
        return call("add", self._same(other), self)

    def __sub__(self, other: Numeric) -> Scalar:
        return call("sub", self, self._same(other))

    def __rsub__(self, other: Number) -> Scalar:
        return call("sub", self._same(other), self)

    def __mul__(self, other: Numeric) -> Scalar:
        return call("mul", self, self._same(other))

    def __rmul__(self, other: Number) -> Scalar:
        return call("mul", self._same(other), self)

    def __truediv__(self, other: Numeric) -> Scalar:
        return call("div", self, self._same(other))

    def __rtruediv__(self, other: Number) -> Scalar:
        return call("div", self._same(other), self)

    def __floordiv__(self, other: Numeric) -> Scalar:
        return call("floordiv", self, self._same(other))

    def __mod__(self, other: Numeric) -> Scalar:
        return call("mod", self, self._same(other))

    def __neg__(self) -> Scalar:
        return call("neg", self)

    def __and__(self, other: Numeric) -> Scalar:
        return call("bit_and", self, self._same(other))

    def __or__(self, other: Numeric) -> Scalar:
        return call("bit_or", self, self._same(other))

    def __xor__(self, other: Numeric) -> Scalar:
        return call("bit_xor", self, self._same(other))

    def __invert__(self) -> Scalar:
        return call("bit_not", self)

    def __lshift__(self, other: Numeric) -> Scalar:
        return call("shl", self, self._same(other))

    def __rshift__(self, other: Numeric) -> Scalar:
        return call("shr", self, self._same(other))

    def __lt__(self, other: Numeric) -> Scalar:
        return call("lt", self, self._same(other))

    def __le__(self, other: Numeric) -> Scalar:
        return call("le", self, self._same(other))

    def __gt__(self, other: Numeric) -> Scalar:
        return call("gt", self, self._same(other))

    def __ge__(self, other: Numeric) -> Scalar:
        return call("ge", self, self._same(other))

    def __bool__(self) -> bool:
        raise GraphError("the value of a Scalar is not known before it runs; use select")


Numeric: TypeAlias = Scalar | Number


def _checked_name(name: object) -> None:
    check(isinstance(name, str) and name.isidentifier(), f"{name!r} is not a name")


def _checked_dtype(dtype: object) -> None:
    check(isinstance(dtype, DType), f"{dtype!r} is not a DType")


def check_scalar(value: object, dtype: DType | None = None, role: str = "an operand") -> None:
    """Raise GraphError unless the value is a Scalar (of this dtype, if one is given)."""
    if not isinstance(value, Scalar):
        raise GraphError(f"{role} must be a Scalar, got {value!r}")
    if dtype is not None and value.dtype is not dtype:
        raise GraphError(f"{role} must be {dtype.name}, got {value.dtype.name}")


@final
@frozen
class Constant(Scalar):
    """A value that is part of the structure, kept as text: exact, and equal to itself if NaN."""

    __hash__ = Scalar.__hash__

    text: str
    dtype: DType

    def __post_init__(self) -> None:
        _checked_dtype(self.dtype)
        expected = _spell(self.value, self.dtype)
        check(expected == self.text, f"{self.text!r} should be written {expected!r}")

    @property
    def value(self) -> Number:
        """The value as a Python number."""
        return complex(self.text) if self.dtype.is_complex else _read(self.text)


def _read(text: str) -> Number:
    if text in ("True", "False"):
        return text == "True"
    try:
        return int(text)
    except ValueError:
        return float(text)


def _spell(value: Number, dtype: DType) -> str:
    """Return the one spelling of a value in a dtype, rounded as the dtype needs."""
    if dtype.category == "bool":
        return repr(bool(value))
    if not dtype.is_complex:
        if isinstance(value, complex):
            raise DTypeError(f"{value!r} does not fit {dtype.name}")
        if dtype.category != "float":
            info = dtypes.iinfo(dtype)
            if not info.min <= value <= info.max or int(value) != value:
                raise DTypeError(f"{value!r} does not fit {dtype.name}")
            return repr(int(value))
    rounded = evaluate_cast(np.asarray(value), dtypes.complex128, dtype).item()
    return "nan" if isinstance(rounded, float) and rounded != rounded else repr(rounded)


@final
@frozen
class Argument(Scalar):
    """A value given at run time: an extent (int64) or a number of the user's program."""

    __hash__ = Scalar.__hash__

    name: str
    dtype: DType

    def __post_init__(self) -> None:
        _checked_name(self.name)
        _checked_dtype(self.dtype)


@final
@frozen
class Index(Scalar):
    """The counter of an enclosing loop."""

    __hash__ = Scalar.__hash__

    name: str
    dtype: DType = field(default=dtypes.int64, init=False, repr=False)

    def __post_init__(self) -> None:
        _checked_name(self.name)


@final
@frozen
class Local(Scalar):
    """A name bound by a Let, or the present value of a Var."""

    __hash__ = Scalar.__hash__

    name: str
    dtype: DType

    def __post_init__(self) -> None:
        _checked_name(self.name)
        _checked_dtype(self.dtype)


@final
@frozen
class Load(Scalar):
    """One element of a buffer."""

    __hash__ = Scalar.__hash__

    buffer: str
    indices: tuple[Scalar, ...]
    dtype: DType

    def __post_init__(self) -> None:
        _checked_name(self.buffer)
        _checked_dtype(self.dtype)
        check(isinstance(self.indices, tuple), f"indices of {self.buffer} must be a tuple")
        for index in self.indices:
            check_scalar(index, dtypes.int64, f"an index of {self.buffer}")


@final
@frozen
class Call(Scalar):
    """A function of FUNCTIONS; all operands have one dtype. Made by `call`, which finds `dtype`."""

    __hash__ = Scalar.__hash__

    function: str
    operands: tuple[Scalar, ...]
    dtype: DType = field(repr=False)

    def __post_init__(self) -> None:
        found = _call_dtype(self.function, self.operands)
        check(found is self.dtype, f"{self.function} gives {found.name}, not {self.dtype}")


def _call_dtype(name: str, operands: tuple[Scalar, ...]) -> DType:
    function = FUNCTIONS.get(name)
    if function is None:
        raise GraphError(f"{name!r} is not a scalar function")
    if len(operands) != function.arity:
        raise GraphError(f"{name} takes {function.arity} operands, got {len(operands)}")
    for operand in operands:
        check_scalar(operand, None, f"an operand of {name}")
    names = [operand.dtype.name for operand in operands]
    if len(set(names)) > 1:
        raise DTypeError(f"{name} needs operands of one dtype, got {', '.join(names)}; cast them")
    try:
        return function.result_dtype(operands[0].dtype)
    except DTypeError as error:
        raise DTypeError(f"{name}: {error}") from None


@final
@frozen
class Select(Scalar):
    """`then` where the condition holds, else `otherwise`; the other one is not evaluated."""

    __hash__ = Scalar.__hash__

    condition: Scalar
    then: Scalar
    otherwise: Scalar
    dtype: DType = field(init=False, repr=False)

    def __post_init__(self) -> None:
        check_scalar(self.condition, dtypes.bool_, "the condition of a select")
        check_scalar(self.then, None, "a branch of a select")
        check_scalar(self.otherwise, self.then.dtype, "the other branch of a select")
        object.__setattr__(self, "dtype", self.then.dtype)


@final
@frozen
class Cast(Scalar):
    """The value in another dtype.

    Floats become integers by truncation (undefined outside their range), anything becomes bool by
    comparison with 0, integers wrap, floats round to the nearest, complex numbers lose their
    imaginary part.
    """

    __hash__ = Scalar.__hash__

    operand: Scalar
    dtype: DType

    def __post_init__(self) -> None:
        check_scalar(self.operand)
        _checked_dtype(self.dtype)


@final
@frozen
class Bitcast(Scalar):
    """The bits of a value, read as another dtype of the same width; not for bool or complex."""

    __hash__ = Scalar.__hash__

    operand: Scalar
    dtype: DType

    def __post_init__(self) -> None:
        check_scalar(self.operand)
        _checked_dtype(self.dtype)
        source = self.operand.dtype
        plain = {source.category, self.dtype.category} <= {"uint", "int", "float"}
        if not plain or source.bits != self.dtype.bits:
            raise DTypeError(f"{source.name} cannot be bitcast to {self.dtype.name}")


def constant(value: Numeric, dtype: DType) -> Scalar:
    """Return a Constant of this dtype; a Scalar of this dtype is returned as it is.

    >>> constant(1, dtypes.float32)
    Constant(text='1.0', dtype=talweg.float32)

    Raises:
        DTypeError: when an integer does not fit, or a Scalar has another dtype.
    """
    if isinstance(value, Scalar):
        if value.dtype is not dtype:
            raise DTypeError(f"expected {dtype.name}, got a Scalar of {value.dtype.name}; cast it")
        return value
    if value.__class__ is not int:
        return Constant(_spell(value, dtype), dtype)
    found = _WHOLE.get((value, dtype))
    if found is None:
        found = Constant(_spell(value, dtype), dtype)
        if len(_WHOLE) < _KEPT:
            _WHOLE[value, dtype] = found
    return found


_WHOLE: dict[tuple[Any, DType], Constant] = {}
_KEPT = 4096
_RESULTS: dict[tuple[str, DType, int], DType] = {}


def _called(function: str, operands: tuple[Scalar, ...], dtype: DType) -> Call:
    """A Call whose fields are known to be right."""
    made = object.__new__(Call)
    made.__dict__.update(function=function, operands=operands, dtype=dtype)
    return made


def call(function: str, *operands: Scalar) -> Call:
    """Return a Call of a function of the table.

    Raises:
        GraphError: for an unknown function or a wrong number of operands.
        DTypeError: for operands that differ in dtype or that the function does not accept.
    """
    if operands and all(isinstance(operand, Scalar) for operand in operands):
        first = operands[0].dtype
        found = _RESULTS.get((function, first, len(operands)))
        if found is not None and all(operand.dtype is first for operand in operands):
            return _called(function, operands, found)
    dtype = _call_dtype(function, operands)
    _RESULTS[function, operands[0].dtype, len(operands)] = dtype
    return _called(function, operands, dtype)


def cast(operand: Scalar, dtype: DType) -> Scalar:
    """Return the value in another dtype; the operand itself if it has that dtype."""
    return operand if operand.dtype is dtype else Cast(operand, dtype)


def children(value: Scalar) -> tuple[Scalar, ...]:
    """Return the direct parts of an expression."""
    parts = _PARTS.get(value.__class__)
    return () if parts is None else parts(value)


_PARTS: dict[type[Scalar], Callable[[Any], tuple[Scalar, ...]]] = {
    Load: attrgetter("indices"),
    Call: attrgetter("operands"),
    Select: attrgetter("condition", "then", "otherwise"),
    Cast: lambda value: (value.operand,),
    Bitcast: lambda value: (value.operand,),
}


def rebuild(value: Scalar, parts: tuple[Scalar, ...]) -> Scalar:
    """Return the expression with its direct parts replaced: the inverse of `children`."""
    before = children(value)
    if all(new is old for new, old in zip(parts, before, strict=True)):
        return value
    match value:
        case Load(buffer, _, dtype):
            return Load(buffer, parts, dtype)
        case Call(function, _, dtype):
            if all(new.dtype is old.dtype for new, old in zip(parts, before, strict=True)):
                return _called(function, parts, dtype)
            return call(function, *parts)
        case Select():
            return Select(*parts)
        case Cast(_, dtype):
            return Cast(parts[0], dtype)
        case Bitcast(_, dtype):
            return Bitcast(parts[0], dtype)
    return value


def walk(value: Scalar) -> Iterator[Scalar]:
    """Yield the expression and all its parts, outermost first."""
    stack = [value]
    while stack:
        value = stack.pop()
        yield value
        parts = _PARTS.get(value.__class__)
        if parts is not None:
            stack.extend(parts(value)[::-1])


def substitute(value: Scalar, names: dict[str, Scalar]) -> Scalar:
    """Replace Arguments, Indices and Locals by name.

    >>> print(substitute(Index("i"), {"i": constant(3, dtypes.int64)}).text)
    3
    """
    if value.__class__ in _NAMED:
        named: Any = value
        return names.get(named.name, value)
    parts = children(value)
    return rebuild(value, tuple([substitute(p, names) for p in parts])) if parts else value


_NAMED = frozenset((Argument, Index, Local))


def evaluate_cast(value: Any, source: DType, target: DType) -> Any:
    """Convert NumPy values in the way `Cast` means it."""
    with np.errstate(all="ignore"):
        array = np.asarray(value)
        if target.category == "bool":
            return array != 0
        if source.is_complex and not target.is_complex:
            array = array.real
        if target is dtypes.bfloat16:
            return dtypes.round_to_bfloat16(array.astype(np.float32))
        return array.astype(target.compute)
