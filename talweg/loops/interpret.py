"""The meaning of loop nests: one statement after the other, one element at a time.

Slow and plain on purpose: machine code is compared with this. Every load and store is checked.
Memory that was never written reads as a value that spoils results: NaN, or a large integer.
"""

from __future__ import annotations

import operator
from collections.abc import Callable, Mapping, Sequence
from functools import cache, partial
from typing import Any, TypeAlias, final

import numpy as np

from talweg.base import dtypes
from talweg.base.dtypes import DType
from talweg.base.errors import GraphError, IndexOutOfRange, ShapeError
from talweg.loops.functions import COMBINES, FUNCTIONS, combine_values
from talweg.loops.nest import (
    Accumulate,
    Allocate,
    Assign,
    Block,
    Buffer,
    Check,
    Guard,
    Let,
    Loop,
    LoopNest,
    Statement,
    Store,
    Var,
)
from talweg.loops.scalar import (
    Argument,
    Bitcast,
    Call,
    Cast,
    Constant,
    Index,
    Load,
    Local,
    Number,
    Scalar,
    Select,
    evaluate_cast,
)

Action: TypeAlias = Callable[[], None]
Value: TypeAlias = Callable[[], Any]


def interpret(
    nest: LoopNest, arrays: Sequence[np.ndarray], values: Mapping[str, Number]
) -> tuple[np.ndarray, ...]:
    """Run a verified nest.

    Args:
        nest: the kernel.
        arrays: one array per input, in the compute dtypes of the inputs.
        values: the run-time arguments by name.

    Returns:
        One array per output, in compute dtypes.

    Raises:
        IndexOutOfRange: when a Check of the nest fails, with its message.
        ShapeError: when an input does not have the shape that the nest gives it.
        GraphError: when the nest itself leaves a buffer.
    """
    run = _Run(nest, values)
    for buffer, array in zip(nest.inputs, arrays, strict=True):
        shape = run.shape(buffer)
        if array.shape != shape or array.dtype != buffer.dtype.compute:
            raise ShapeError(
                f"{nest.name}: input {buffer.name} must be {buffer.dtype.name}{shape}, got "
                f"{array.dtype}{array.shape}"
            )
        run.memory[buffer.name] = array
    for buffer in nest.outputs:
        run.allocate(buffer)
    with np.errstate(all="ignore"):
        run.block(nest.body)()
    return tuple(run.memory[buffer.name] for buffer in nest.outputs)


@final
class _Run:
    """One run of a nest: the values of names, and the arrays.

    Every statement and expression becomes a Python function first, so that a loop does not ask
    again for each element what stands in its body.
    """

    def __init__(self, nest: LoopNest, values: Mapping[str, Number]) -> None:
        self.nest = nest
        self.names: dict[str, Any] = {
            a.name: _typed(a.dtype)(values[a.name]) for a in nest.arguments
        }
        self.memory: dict[str, np.ndarray] = {}

    def shape(self, buffer: Buffer) -> tuple[int, ...]:
        return tuple(int(self.value(size)()) for size in buffer.shape)

    def allocate(self, buffer: Buffer) -> None:
        shape = self.shape(buffer)
        if min(shape, default=0) < 0:
            raise GraphError(f"{self.nest.name}: {buffer.name} has the shape {shape}")
        unset = {"float": np.nan, "complex": np.nan, "bool": True}.get(buffer.dtype.category, 113)
        self.memory[buffer.name] = np.full(shape, unset, buffer.dtype.compute)

    def block(self, block: Block) -> Action:
        steps = [self.statement(statement) for statement in block]

        def run() -> None:
            for step in steps:
                step()

        return run

    def statement(self, statement: Statement) -> Action:
        match statement:
            case Loop(index, extent, _, body):
                return self.loop(index, self.value(extent), self.block(body))
            case Let(name, value) | Var(name, value) | Assign(name, value):
                return self.assign(name, self.value(value))
            case Accumulate(combine, names, values):
                return self.accumulate(combine, names, values)
            case Store(buffer, indices, value, combine):
                return self.store(buffer, indices, value, combine)
            case Guard(condition, body, otherwise):
                return _either(self.value(condition), self.block(body), self.block(otherwise))
            case Check(condition, message, values):
                return _check(self.value(condition), message, [self.value(v) for v in values])
            case Allocate(buffer):
                return partial(self.allocate, buffer)

    def loop(self, index: str, extent: Value, body: Action) -> Action:
        names = self.names

        def run() -> None:
            for count in np.arange(int(extent()), dtype=np.int64):
                names[index] = count
                body()

        return run

    def assign(self, name: str, value: Value) -> Action:
        names = self.names

        def run() -> None:
            names[name] = value()

        return run

    def accumulate(
        self, combine: str, targets: tuple[str, ...], values: tuple[Scalar, ...]
    ) -> Action:
        names = self.names
        parts = [self.value(v) for v in values]
        finished = [_typed(v.dtype) for v in values]
        fold = _fold(combine)

        def run() -> None:
            new = fold(tuple([names[name] for name in targets]), tuple([part() for part in parts]))
            for name, finish, value in zip(targets, finished, new, strict=True):
                names[name] = finish(value)

        return run

    def store(self, name: str, indices: tuple[Scalar, ...], value: Scalar, combine: str) -> Action:
        memory, place, new = self.memory, self.place(name, indices), self.value(value)
        finish = _typed(value.dtype)
        fold = None if combine == "set" else _fold(combine)

        def run() -> None:
            at = place()
            if fold is None:
                memory[name][at] = finish(new())
            else:
                memory[name][at] = finish(fold((memory[name][at],), (new(),))[0])

        return run

    def place(self, name: str, indices: tuple[Scalar, ...]) -> Callable[[], tuple[int, ...]]:
        memory, parts = self.memory, [self.value(index) for index in indices]

        def run() -> tuple[int, ...]:
            place = tuple([int(part()) for part in parts])
            shape = memory[name].shape
            for i, n in zip(place, shape, strict=True):
                if not 0 <= i < n:
                    raise GraphError(f"{self.nest.name}: {name}{list(place)} lies outside {shape}")
            return place

        return run

    def value(self, value: Scalar) -> Value:
        names, memory = self.names, self.memory
        match value:
            case Constant():
                constant = _typed(value.dtype)(value.value)
                return lambda: constant
            case Argument(name) | Index(name) | Local(name):
                return lambda: names[name]
            case Load(buffer, indices, _):
                place = self.place(buffer, indices)
                return lambda: memory[buffer][place()]
            case Call(function, operands, dtype):
                return _call(function, [self.value(o) for o in operands], dtype)
            case Select(condition, then, otherwise):
                return _either(self.value(condition), self.value(then), self.value(otherwise))
            case Cast(operand, dtype):
                source, given = operand.dtype, self.value(operand)
                return lambda: evaluate_cast(given(), source, dtype)[()]
            case Bitcast(operand, dtype):
                source, given = operand.dtype, self.value(operand)
                return lambda: _bits(given(), source, dtype)
        raise GraphError(f"{value!r} is not a Scalar")


def _call(function: str, operands: list[Value], dtype: DType) -> Value:
    meaning, finish = _OF_SCALARS.get(function) or FUNCTIONS[function].meaning, _typed(dtype)
    if len(operands) == 2:
        one, other = operands
        return lambda: finish(meaning(one(), other()))
    return lambda: finish(meaning(*[operand() for operand in operands]))


def _either(condition: Value, then: Value, otherwise: Value) -> Value:
    return lambda: then() if condition() else otherwise()


def _check(condition: Value, message: str, values: list[Value]) -> Action:
    def run() -> None:
        if not condition():
            raise IndexOutOfRange(message.format(*(int(value()) for value in values)))

    return run


def _fold(combine: str) -> Callable[[tuple[Any, ...], tuple[Any, ...]], tuple[Any, ...]]:
    rule = COMBINES[combine]
    if rule.arity != 1:
        return partial(combine_values, combine)
    meaning = _OF_SCALARS.get(rule.function) or FUNCTIONS[rule.function].meaning
    return lambda state, values: (meaning(state[0], values[0]),)


def _bits(value: Any, source: DType, target: DType) -> Any:
    bits = dtypes.encode(np.asarray(value), source)
    return dtypes.decode(bits.view(target.storage), target)[()]


@cache
def _typed(dtype: DType) -> Callable[[Any], Any]:
    """Return what makes a NumPy scalar of the dtype, rounded where the dtype needs it."""
    if dtype is dtypes.bfloat16:
        return lambda value: dtypes.round_to_bfloat16(np.asarray(value, np.float32))[()]
    kind = dtype.compute.type
    return lambda value: value if type(value) is kind else kind(value)


_OF_SCALARS: dict[str, Callable[..., Any]] = {
    "add": operator.add,
    "sub": operator.sub,
    "mul": operator.mul,
    "lt": operator.lt,
    "le": operator.le,
    "gt": operator.gt,
    "ge": operator.ge,
    "eq": operator.eq,
    "ne": operator.ne,
    "logical_and": operator.and_,
}
"""Functions whose meaning NumPy's scalars have as an operator, which is much faster."""
