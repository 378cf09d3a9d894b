"""Stages: what of a nest runs one after the other, and what inside that may run at once.

    Staged = staged(nest, before: Let*, shared: Buffer*, stages: Stage*, vectors)
    Stage  = stage(indices, extents, block, body, grain)

The top level of a nest is cut into stages. A parallel loop is a stage whose items are its
iterations; loops that stand alone inside each other are one stage whose items are all combinations
of their indices. What is left of the top level between them is a stage of one item. Buffers
allocated at the top level are shared by all stages and threads; buffers allocated inside belong to
the thread that runs the item.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import field
from typing import final

from talweg.base import dtypes
from talweg.base.frozen import frozen
from talweg.loops.nest import (
    Allocate,
    Block,
    Buffer,
    Let,
    Loop,
    LoopNest,
    Statement,
    Var,
    statements,
)
from talweg.loops.scalar import Load, Scalar, call, constant
from talweg.schedule.cost import grain
from talweg.schedule.moves import used_in
from talweg.schedule.place import names_in, walk
from talweg.schedule.tiles import Squares
from talweg.schedule.vectors import Choice


@final
@frozen
class Stage:
    """Work items that are independent of each other.

    Args:
        indices: of the loops whose combined iterations are the items, the first outermost; none
            for a stage of one item.
        extents: of these loops, made of arguments.
        block: how many iterations of a single loop are one item.
        body: one iteration.
        grain: int64: the smallest number of items worth a ticket of its own.
    """

    indices: tuple[str, ...]
    extents: tuple[Scalar, ...]
    block: int
    body: Block
    grain: Scalar

    def items(self) -> Scalar:
        """Return how many items there are."""
        total: Scalar = constant(1, dtypes.int64)
        for n, extent in enumerate(self.extents):
            size = call("maximum", extent, constant(0, dtypes.int64))
            total = total * size if n else size
        return (total + (self.block - 1)) // self.block if self.block > 1 else total

    def scratch(self) -> Iterator[Buffer]:
        """Yield the buffers that belong to the thread."""
        for statement in statements(self.body):
            if isinstance(statement, Allocate):
                yield statement.buffer


@final
@frozen
class Staged:
    """A nest cut into stages.

    Args:
        nest: after all moves.
        before: Lets made of arguments, for all stages.
        given: Lets made of inputs too, for all stages.
        shared: buffers that stages and threads share.
        stages: in their order.
        vectors: how the loops that become vectors do so, by their indices.
        squares: loops over the rows of squares that are transposed in registers.
        streams: buffers that are written past the caches.
        ahead: elements that vector loops ask for before they are needed, by their indices.
    """

    nest: LoopNest
    before: Block
    given: Block
    shared: tuple[Buffer, ...]
    stages: tuple[Stage, ...]
    vectors: dict[str, Choice]
    squares: Squares = field(default_factory=dict)
    streams: tuple[str, ...] = ()
    ahead: Mapping[str, Sequence[Load]] = field(default_factory=dict)


def split(nest: LoopNest, vectors: dict[str, Choice], squares: Squares | None = None) -> Staged:
    """Cut the top level of a nest into stages."""
    shared: list[Buffer] = []
    before: list[Statement] = []
    given: list[Statement] = []
    rest: list[Statement] = []
    inputs = {b.name for b in nest.inputs} if all(b.shape for b in nest.outputs) else set()
    for statement in nest.body:
        if isinstance(statement, Allocate):
            shared.append(statement.buffer)
        elif isinstance(statement, Let) and _of_arguments(statement.value, before):
            before.append(statement)
        elif isinstance(statement, Let) and _of_inputs(statement.value, inputs, [*before, *given]):
            given.append(statement)
        else:
            rest.append(statement)
    stages = []
    known = frozenset(s.name for s in before if isinstance(s, Let))
    for group in _groups(rest):
        indices: list[str] = []
        extents: list[Scalar] = []
        body = tuple(group)
        while _alone(body) and not (indices and indices[-1] in vectors):
            (loop,) = body
            assert isinstance(loop, Loop)
            if indices and (loop.index in vectors or not _of_arguments(loop.extent, before)):
                break
            indices.append(loop.index)
            extents.append(loop.extent)
            body = loop.body
        block = _block_of(vectors.get(indices[0]), body) if indices else 1
        made = grain(body, block, indices[:1], vectors, known)
        stages.append(Stage(tuple(indices), tuple(extents), block, body, made))
    return Staged(
        nest, tuple(before), tuple(given), tuple(shared), tuple(stages), vectors, squares or {}
    )


ITERATIONS = 1024  # of a vector loop without loops inside that are one item


def _block_of(choice: Choice | None, body: Block) -> int:
    if choice is None:
        return 1
    if any(isinstance(s, Loop) for s in statements(body)):
        return choice.widest
    return max(choice.widest, ITERATIONS // choice.widest * choice.widest)


def _alone(block: Sequence[Statement]) -> bool:
    if len(block) != 1 or not isinstance(block[0], Loop):
        return False
    return block[0].order == "parallel"


def _of_arguments(value: Scalar, lets: Iterable[Statement]) -> bool:
    known = {s.name for s in lets if isinstance(s, Let)}
    if any(isinstance(p, Load) for p in walk(value)):
        return False
    return names_in(value) <= known


def _of_inputs(value: Scalar, inputs: set[str], lets: Iterable[Statement]) -> bool:
    """Whether a value is the same for all stages: it needs inputs only, which nothing overwrites.

    A result of a single element may lie where an input of a single element was.
    """
    known = {s.name for s in lets if isinstance(s, Let)}
    loads = [p for p in walk(value) if isinstance(p, Load)]
    return names_in(value) <= known and all(p.buffer in inputs for p in loads)


def _groups(rest: Sequence[Statement]) -> Iterator[list[Statement]]:
    """Runs of statements that share names, and single parallel loops between them."""
    last = {name: n for n, s in enumerate(rest) for name in used_in((s,))}
    group: list[Statement] = []
    open_until = -1
    for n, statement in enumerate(rest):
        parallel = _alone((statement,)) and n > open_until
        if parallel and not _binds(statement):
            if group:
                yield group
            yield [statement]
            group = []
            continue
        group.append(statement)
        used = used_in((statement,)) | _binds(statement)
        open_until = max([open_until, *(last.get(name, n) for name in used)])
    if group:
        yield group


def _binds(statement: Statement) -> set[str]:
    return {statement.name} if isinstance(statement, Let | Var) else set()
