"""LoopNest: a kernel before any machine is chosen.

    LoopNest  = nest(name, arguments: Argument*, inputs: Buffer*, outputs: Buffer*, body: Block)
    Block     = Statement*
    Statement = Loop(index, extent, order, body)   index counts 0, 1, … below extent
              | Let(name, value)                   a name for a value, for the rest of the block
              | Var(name, initial)                 a local that may change, until the block ends
              | Assign(name, value)
              | Accumulate(combine, names, values) Vars folded by a rule of COMBINES
              | Store(buffer, indices, value, combine)   "set", or a one-state rule of COMBINES
              | Guard(condition, body, otherwise)
              | Check(condition, message, values)  the kernel fails unless it holds
              | Allocate(buffer)                   scratch, until the block ends; not initialised

`order` says what a schedule may do with the iterations of a Loop:

    parallel    independent: any order, or at once
    reduction   any order and any grouping, but their Accumulates and folding Stores must all happen
    sequential  in order

Everything is immutable and compares by structure, so a LoopNest is the key of its kernel. Extents
and numbers of the user's program are arguments: no size stands in a nest. Row-major order is meant
where an order of elements matters; strides are a matter of the schedule.
"""

from __future__ import annotations

import keyword
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from typing import TypeAlias, final

from talweg.base import dtypes
from talweg.base.dtypes import DType
from talweg.base.errors import GraphError
from talweg.base.frozen import frozen
from talweg.loops.functions import COMBINES, FUNCTIONS
from talweg.loops.scalar import Argument, Number, Scalar, check, check_scalar, walk

ORDERS = ("parallel", "reduction", "sequential")

WORDS = ("input", "output", "local", "var", "select", "cast", "bitcast", "nan", "inf", *ORDERS)
"""The words of the text form that no table lists."""

RESERVED = frozenset((*WORDS, *FUNCTIONS, *COMBINES, *dtypes.BY_NAME, *keyword.kwlist))


def _typed(value: object, kind: type) -> None:
    if not isinstance(value, kind):
        article = "an" if kind.__name__[0] in "AEIOU" else "a"
        raise GraphError(f"{value!r} is not {article} {kind.__name__}")


def _name(value: object) -> None:
    check(isinstance(value, str) and value.isidentifier(), f"{value!r} is not a name")
    check(value not in RESERVED, f"{value!r} is a word of the language and cannot be a name")


@final
@frozen
class Buffer:
    """A named array: an operand or scratch. Its shape is made of int64 Scalars."""

    name: str
    dtype: DType
    shape: tuple[Scalar, ...]

    def __post_init__(self) -> None:
        _name(self.name)
        _typed(self.dtype, DType)
        _scalars(self.shape, f"a size of {self.name}", dtypes.int64)


def _scalars(values: object, role: str, dtype: DType | None = None) -> None:
    if not isinstance(values, tuple):
        raise GraphError(f"{role}: expected a tuple, got {values!r}")
    for value in values:
        check_scalar(value, dtype, role)


@final
@frozen
class Loop:
    """`body` for each index from 0 to extent - 1; not at all if the extent is below 1."""

    index: str
    extent: Scalar
    order: str
    body: Block

    def __post_init__(self) -> None:
        _name(self.index)
        check_scalar(self.extent, dtypes.int64, f"the extent of {self.index}")
        check(self.order in ORDERS, f"loop order {self.order!r} is none of {', '.join(ORDERS)}")
        _block(self.body)


@final
@frozen
class Let:
    """A name for a value that is computed once."""

    name: str
    value: Scalar

    def __post_init__(self) -> None:
        _name(self.name)
        check_scalar(self.value, None, f"the value of {self.name}")


@final
@frozen
class Var:
    """A local that Assign and Accumulate change."""

    name: str
    initial: Scalar

    def __post_init__(self) -> None:
        _name(self.name)
        check_scalar(self.initial, None, f"the initial value of {self.name}")


@final
@frozen
class Assign:
    """A new value for a Var."""

    name: str
    value: Scalar

    def __post_init__(self) -> None:
        _name(self.name)
        check_scalar(self.value, None, f"the value of {self.name}")


@final
@frozen
class Accumulate:
    """Fold values into Vars; two names and values (value, int64 index) for argmax and argmin."""

    combine: str
    names: tuple[str, ...]
    values: tuple[Scalar, ...]

    def __post_init__(self) -> None:
        check(self.combine in COMBINES, f"{self.combine!r} is not a combining rule")
        rule = COMBINES[self.combine]
        _scalars(self.values, f"a value of {self.combine}")
        fits = len(self.names) == len(self.values) == rule.arity
        check(fits, f"{self.combine} folds {rule.arity} values into as many names")
        for name in self.names:
            _name(name)
        first = self.values[0].dtype
        check(first.category in rule.accepts, f"{self.combine} does not accept {first.name}")
        if rule.arity == 2:
            check_scalar(self.values[1], dtypes.int64, f"the index of {self.combine}")


@final
@frozen
class Store:
    """Write one element, or fold a value into it."""

    buffer: str
    indices: tuple[Scalar, ...]
    value: Scalar
    combine: str = "set"

    def __post_init__(self) -> None:
        _name(self.buffer)
        _scalars(self.indices, f"an index of {self.buffer}", dtypes.int64)
        check_scalar(self.value, None, f"the value stored in {self.buffer}")
        if self.combine != "set":
            folds = self.combine in COMBINES and COMBINES[self.combine].arity == 1
            check(folds, f"{self.combine!r} cannot fold a store")
            accepted = self.value.dtype.category in COMBINES[self.combine].accepts
            check(accepted, f"{self.combine} does not accept {self.value.dtype.name}")


@final
@frozen
class Guard:
    """`body` where the condition holds, else `otherwise`."""

    condition: Scalar
    body: Block
    otherwise: Block = ()

    def __post_init__(self) -> None:
        check_scalar(self.condition, dtypes.bool_, "the condition of a guard")
        _block(self.body)
        _block(self.otherwise)


@final
@frozen
class Check:
    """Stop with IndexOutOfRange unless the condition holds.

    `message` names the operand and is formatted with the int64 `values`: `{0}`, `{1}`.
    """

    condition: Scalar
    message: str
    values: tuple[Scalar, ...] = ()

    def __post_init__(self) -> None:
        check_scalar(self.condition, dtypes.bool_, "the condition of a check")
        check(isinstance(self.message, str), "the message of a check must be text")
        _scalars(self.values, "a value of a check", dtypes.int64)


@final
@frozen
class Allocate:
    """Scratch memory of the iteration or kernel that runs the block."""

    buffer: Buffer

    def __post_init__(self) -> None:
        _typed(self.buffer, Buffer)


Statement: TypeAlias = Loop | Let | Var | Assign | Accumulate | Store | Guard | Check | Allocate
Block: TypeAlias = tuple[Statement, ...]


def _block(body: object) -> None:
    if not isinstance(body, tuple):
        raise GraphError(f"a block must be a tuple of statements, got {body!r}")
    for statement in body:
        if not isinstance(statement, Statement):
            raise GraphError(f"{statement!r} is not a statement")


@final
@frozen
class LoopNest:
    """A kernel: scalars and buffers in, buffers out. `verify.verify` checks what fields cannot."""

    name: str
    arguments: tuple[Argument, ...]
    inputs: tuple[Buffer, ...]
    outputs: tuple[Buffer, ...]
    body: Block

    def __post_init__(self) -> None:
        plain = self.name.isidentifier() and not keyword.iskeyword(self.name)
        check(plain, f"{self.name!r} cannot name a loop nest")
        for argument in self.arguments:
            _typed(argument, Argument)
        for buffer in self.inputs + self.outputs:
            _typed(buffer, Buffer)
        _block(self.body)

    def named(self, values: Sequence[Number]) -> dict[str, Number]:
        """Return values of the arguments, one for each, by their names."""
        return {a.name: value for a, value in zip(self.arguments, values, strict=True)}


def expressions(statement: Statement) -> tuple[Scalar, ...]:
    """Return the Scalars that stand directly in a statement, not those in its blocks."""
    match statement:
        case Loop(_, extent, _, _):
            return (extent,)
        case Let(_, value) | Var(_, value) | Assign(_, value):
            return (value,)
        case Accumulate(_, _, values):
            return values
        case Store(_, indices, value, _):
            return (*indices, value)
        case Guard(condition, _, _):
            return (condition,)
        case Check(condition, _, values):
            return (condition, *values)
        case Allocate(buffer):
            return buffer.shape


def blocks(statement: Statement) -> tuple[Block, ...]:
    """Return the blocks of a statement."""
    match statement:
        case Loop(_, _, _, body):
            return (body,)
        case Guard(_, body, otherwise):
            return (body, otherwise)
    return ()


def statements(block: Block) -> Iterator[Statement]:
    """Yield every statement of a block and of the blocks inside it, in the order of the text."""
    for statement in block:
        yield statement
        for inner in blocks(statement):
            yield from statements(inner)


def scalars(block: Block) -> Iterator[Scalar]:
    """Yield every Scalar of a block with all its parts."""
    for statement in statements(block):
        for value in expressions(statement):
            yield from walk(value)


def map_scalars(block: Block, function: Callable[[Scalar], Scalar]) -> Block:
    """Return the block with every Scalar that stands directly in a statement replaced.

    A schedule's moves and the simplifier are built on this.
    """
    return tuple(_mapped(statement, function) for statement in block)


def _mapped(statement: Statement, f: Callable[[Scalar], Scalar]) -> Statement:
    match statement:
        case Loop(index, extent, order, body):
            return Loop(index, f(extent), order, map_scalars(body, f))
        case Let(name, value):
            return Let(name, f(value))
        case Var(name, value):
            return Var(name, f(value))
        case Assign(name, value):
            return Assign(name, f(value))
        case Accumulate(combine, names, values):
            return Accumulate(combine, names, tuple(map(f, values)))
        case Store(buffer, indices, value, combine):
            return Store(buffer, tuple(map(f, indices)), f(value), combine)
        case Guard(condition, body, otherwise):
            return Guard(f(condition), map_scalars(body, f), map_scalars(otherwise, f))
        case Check(condition, message, values):
            return Check(f(condition), message, tuple(map(f, values)))
        case Allocate(buffer):
            return Allocate(replace(buffer, shape=tuple(map(f, buffer.shape))))
