"""The meaning of loop nests: one statement after the other, one element at a time.

Slow and plain on purpose: machine code is compared with this. Every load and store is checked.
Memory that was never written reads as a value that spoils results: NaN, or a large integer.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np

from talweg.base import dtypes
from talweg.base.dtypes import DType
from talweg.base.errors import GraphError, IndexOutOfRange, ShapeError
from talweg.loops.functions import FUNCTIONS, combine_values
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
        run.block(nest.body)
    return tuple(run.memory[buffer.name] for buffer in nest.outputs)


@dataclass(init=False)
class _Run:
    """What one run knows: the values of names, and the arrays."""

    nest: LoopNest
    names: dict[str, Any]
    memory: dict[str, np.ndarray]

    def __init__(self, nest: LoopNest, values: Mapping[str, Number]) -> None:
        self.nest = nest
        self.names = {a.name: _typed(values[a.name], a.dtype) for a in nest.arguments}
        self.memory = {}

    def shape(self, buffer: Buffer) -> tuple[int, ...]:
        return tuple(int(self.value(size)) for size in buffer.shape)

    def allocate(self, buffer: Buffer) -> None:
        shape = self.shape(buffer)
        if min(shape, default=0) < 0:
            raise GraphError(f"{self.nest.name}: {buffer.name} has the shape {shape}")
        unset = {"float": np.nan, "complex": np.nan, "bool": True}.get(buffer.dtype.category, 113)
        self.memory[buffer.name] = np.full(shape, unset, buffer.dtype.compute)

    def block(self, block: Block) -> None:
        for statement in block:
            self.statement(statement)

    def statement(self, statement: Statement) -> None:
        match statement:
            case Loop(index, extent, _, body):
                for count in range(int(self.value(extent))):
                    self.names[index] = np.int64(count)
                    self.block(body)
            case Let(name, value) | Var(name, value) | Assign(name, value):
                self.names[name] = self.value(value)
            case Accumulate(combine, names, values):
                state = tuple(self.names[name] for name in names)
                new = combine_values(combine, state, tuple(self.value(v) for v in values))
                for name, old, folded in zip(names, values, new, strict=True):
                    self.names[name] = _typed(folded, old.dtype)
            case Store(buffer, indices, value, combine):
                self.store(buffer, indices, value, combine)
            case Guard(condition, body, otherwise):
                self.block(body if self.value(condition) else otherwise)
            case Check(condition, message, values):
                if not self.value(condition):
                    raise IndexOutOfRange(message.format(*(int(self.value(v)) for v in values)))
            case Allocate(buffer):
                self.allocate(buffer)

    def store(self, name: str, indices: tuple[Scalar, ...], value: Scalar, combine: str) -> None:
        place = self.place(name, indices)
        new = self.value(value)
        if combine != "set":
            (new,) = combine_values(combine, (self.memory[name][place],), (new,))
        self.memory[name][place] = _typed(new, value.dtype)

    def place(self, name: str, indices: tuple[Scalar, ...]) -> tuple[int, ...]:
        place = tuple(int(self.value(index)) for index in indices)
        shape = self.memory[name].shape
        if any(not 0 <= i < n for i, n in zip(place, shape, strict=True)):
            raise GraphError(f"{self.nest.name}: {name}{list(place)} lies outside {shape}")
        return place

    def value(self, value: Scalar) -> Any:
        match value:
            case Constant():
                return _constant(value)
            case Argument(name) | Index(name) | Local(name):
                return self.names[name]
            case Load(buffer, indices, _):
                return self.memory[buffer][self.place(buffer, indices)]
            case Call(function, operands, dtype):
                return _typed(FUNCTIONS[function].meaning(*map(self.value, operands)), dtype)
            case Select(condition, then, otherwise):
                return self.value(then if self.value(condition) else otherwise)
            case Cast(operand, dtype):
                return evaluate_cast(self.value(operand), operand.dtype, dtype)[()]
            case Bitcast(operand, dtype):
                bits = dtypes.encode(np.asarray(self.value(operand)), operand.dtype)
                return dtypes.decode(bits.view(dtype.storage), dtype)[()]
        raise GraphError(f"{value!r} is not a Scalar")


def _typed(value: Any, dtype: DType) -> Any:
    """The value as a NumPy scalar of the dtype, rounded where the dtype needs it."""
    if dtype is dtypes.bfloat16:
        return dtypes.round_to_bfloat16(np.asarray(value, np.float32))[()]
    kind = dtype.compute.type
    return value if type(value) is kind else kind(value)


@lru_cache(maxsize=1024)
def _constant(constant: Constant) -> Any:
    return _typed(constant.value, constant.dtype)
