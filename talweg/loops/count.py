"""What running a nest does: operations, and buffers that may be written over as they are read."""

from __future__ import annotations

from collections.abc import Mapping

from talweg.base import dtypes
from talweg.loops.nest import (
    Accumulate,
    Block,
    Loop,
    LoopNest,
    Store,
    blocks,
    expressions,
    statements,
)
from talweg.loops.scalar import Argument, Call, Constant, Load, Number, Scalar, walk


def operations(nest: LoopNest, values: Mapping[str, Number]) -> int:
    """Return how many arithmetic operations and folds of numbers a nest performs.

    Both sides of a guard are counted, and loops whose extent is known only while running as one.
    """
    return _operations(nest.body, values)


def _operations(block: Block, values: Mapping[str, Number]) -> int:
    total = 0
    for statement in block:
        count = sum(_is_arithmetic(p) for v in expressions(statement) for p in walk(v))
        count += isinstance(statement, Accumulate)
        inner = sum(_operations(b, values) for b in blocks(statement))
        if isinstance(statement, Loop):
            inner *= max(extent(statement.extent, values), 0)
        total += count + inner
    return total


def _is_arithmetic(value: Scalar) -> bool:
    return isinstance(value, Call) and value.dtype is not dtypes.int64


def extent(size: Scalar, values: Mapping[str, Number]) -> int:
    """Return the present value of an extent, 1 where it is known only while running."""
    if isinstance(size, Argument):
        value = values[size.name]
        return int(value) if isinstance(value, int) else 1
    return int(size.text) if isinstance(size, Constant) else 1


def replaceable(nest: LoopNest) -> frozenset[tuple[str, str]]:
    """Return the pairs (input, output) that may lie in the same memory.

    Every element of such an input is read only where, and not after, the same element of the output
    is written.
    """
    places: dict[str, set[tuple[Scalar, ...]]] = {}
    last: dict[str, int] = {}
    stores: dict[str, list[tuple[int, tuple[Scalar, ...]]]] = {}
    for number, statement in enumerate(statements(nest.body)):
        for value in expressions(statement):
            for part in walk(value):
                if isinstance(part, Load):
                    places.setdefault(part.buffer, set()).add(part.indices)
                    last[part.buffer] = number
        if isinstance(statement, Store):
            stores.setdefault(statement.buffer, []).append((number, statement.indices))
    pairs: set[tuple[str, str]] = set()
    for output in nest.outputs:
        written = stores.get(output.name, [])
        if len(written) != 1:
            continue
        ((number, indices),) = written
        for buffer in nest.inputs:
            same = buffer.dtype is output.dtype and buffer.shape == output.shape
            read_here = places.get(buffer.name) == {indices} and last[buffer.name] <= number
            if same and read_here:
                pairs.add((buffer.name, output.name))
    return frozenset(pairs)
