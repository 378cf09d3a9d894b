"""Extents: arguments of a nest that must be equal become one, and those nobody reads go.

Every buffer and every loop is lowered with extents of its own. A buffer axis that is read by a bare
loop index has that loop's extent. The innermost loops that run once are left out, and that an axis
which is met at 0 only has one element is known.
What is left is the structure of the kernel: equal for all sizes.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from talweg.base import dtypes
from talweg.loops.affine import simplify_nest
from talweg.loops.nest import (
    Allocate,
    Block,
    Buffer,
    Loop,
    LoopNest,
    Statement,
    Store,
    map_scalars,
    scalars,
    statements,
)
from talweg.loops.scalar import (
    Argument,
    Index,
    Load,
    Number,
    Scalar,
    constant,
    substitute,
    walk,
)

_ZERO = constant(0, dtypes.int64)


def settle_extents(
    nest: LoopNest, values: Mapping[str, Number]
) -> tuple[LoopNest, tuple[Number, ...]]:
    """Return the nest with as few arguments as it needs, simplified, and their values."""
    body = tuple(_without_ones(statement, values) for statement in nest.body)
    nest = replace(nest, body=body)
    names: dict[str, Scalar] = {**_equal_extents(nest, values), **_single(nest, values)}
    body = map_scalars(nest.body, lambda value: substitute(value, names)) if names else nest.body
    inputs, outputs = (
        tuple(replace(b, shape=tuple(substitute(n, names) for n in b.shape)) for b in listed)
        for listed in (nest.inputs, nest.outputs)
    )
    simple = simplify_nest(replace(nest, inputs=inputs, outputs=outputs, body=body))
    used = {
        part.name
        for value in (*scalars(simple.body), *_sizes(simple))
        for part in walk(value)
        if isinstance(part, Argument)
    }
    kept = tuple(a for a in nest.arguments if a.name in used)
    renamed: dict[str, Scalar] = {
        a.name: Argument(f"n{place}", a.dtype) for place, a in enumerate(kept)
    }
    final = replace(
        simple,
        arguments=tuple(a for a in renamed.values() if isinstance(a, Argument)),
        inputs=_renamed(simple.inputs, renamed),
        outputs=_renamed(simple.outputs, renamed),
        body=map_scalars(simple.body, lambda value: substitute(value, renamed)),
    )
    return final, tuple(values[a.name] for a in kept)


def _renamed(buffers: tuple[Buffer, ...], names: dict[str, Scalar]) -> tuple[Buffer, ...]:
    return tuple(replace(b, shape=tuple(substitute(n, names) for n in b.shape)) for b in buffers)


def _sizes(nest: LoopNest) -> tuple[Scalar, ...]:
    return tuple(size for b in nest.inputs + nest.outputs for size in b.shape)


def _without_ones(statement: Statement, values: Mapping[str, Number]) -> Statement:
    """A nest of parallel loops without the innermost ones that run once.

    Results would be written element by element where the last axis has one.
    """
    loops: list[Loop] = []
    body: Block = (statement,)
    while len(body) == 1 and isinstance(body[0], Loop) and body[0].order == "parallel":
        loops.append(body[0])
        body = body[0].body
    sizes = [values[n.extent.name] if isinstance(n.extent, Argument) else 0 for n in loops]
    kept = max((n + 1 for n, size in enumerate(sizes) if size != 1), default=len(loops))
    if kept == len(loops):
        return statement
    once: dict[str, Scalar] = {loop.index: _ZERO for loop in loops[kept:]}
    body = map_scalars(body, lambda value: substitute(value, once))
    for loop in reversed(loops[:kept]):
        body = (replace(loop, body=body),)
    return body[0]


def _single(nest: LoopNest, values: Mapping[str, Number]) -> dict[str, Scalar]:
    """The extents that are 1 of axes that are met at 0 only."""
    met: dict[tuple[str, int], bool] = {}
    places = [(v.buffer, v.indices) for v in scalars(nest.body) if isinstance(v, Load)]
    places += [(s.buffer, s.indices) for s in statements(nest.body) if isinstance(s, Store)]
    for buffer, indices in places:
        for axis, index in enumerate(indices):
            met[buffer, axis] = met.get((buffer, axis), True) and index == _ZERO
    one = constant(1, dtypes.int64)
    return {
        size.name: one
        for b in nest.inputs + nest.outputs
        for axis, size in enumerate(b.shape)
        if isinstance(size, Argument) and values[size.name] == 1 and met.get((b.name, axis))
    }


def _equal_extents(nest: LoopNest, values: Mapping[str, Number]) -> dict[str, Argument]:
    """For every argument that equals an earlier one by construction: the earliest."""
    shapes = {b.name: b.shape for b in nest.inputs + nest.outputs}
    loops: dict[str, Scalar] = {}
    for statement in statements(nest.body):
        if isinstance(statement, Loop):
            loops[statement.index] = statement.extent
        elif isinstance(statement, Allocate):
            shapes[statement.buffer.name] = statement.buffer.shape
    place = {a.name: n for n, a in enumerate(nest.arguments)}
    parent = {a.name: a for a in nest.arguments}

    def find(argument: Argument) -> Argument:
        while parent[argument.name] is not argument:
            argument = parent[argument.name]
        return argument

    def join(size: Scalar, index: Scalar) -> None:
        extent = loops.get(index.name) if isinstance(index, Index) else None
        if not isinstance(size, Argument) or not isinstance(extent, Argument):
            return
        if values[size.name] != values[extent.name]:
            return
        one, other = sorted((find(size), find(extent)), key=lambda a: place[a.name])
        parent[other.name] = one

    for statement in statements(nest.body):
        if isinstance(statement, Store):
            for size, index in zip(shapes[statement.buffer], statement.indices, strict=True):
                join(size, index)
    for value in scalars(nest.body):
        if isinstance(value, Load):
            for size, index in zip(shapes[value.buffer], value.indices, strict=True):
                join(size, index)
    return {a.name: find(a) for a in nest.arguments if find(a) is not a}
