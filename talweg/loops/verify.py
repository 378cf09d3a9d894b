"""What the fields of a LoopNest cannot say: scopes, dtypes of names, and the promises of loops.

1. Every name is bound once, above its use and inside the block of its use.
2. A use agrees with its binding: dtype, rank, and what it is (index, argument, Let, Var, buffer).
3. Inputs are only read; every output is written.
4. A reduction loop writes what lies outside it by Accumulate and folding Store only, and does not
   read what it is folding.
5. Iterations of a parallel loop do not meet: all accesses to an outer buffer that the loop writes
   agree in one index that differs between iterations, but for offsets below its step. Outer Vars
   are not written.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from talweg.base.errors import GraphError
from talweg.loops.affine import moves_with, step_of, without_offset
from talweg.loops.nest import (
    Accumulate,
    Allocate,
    Assign,
    Block,
    Buffer,
    Guard,
    Let,
    Loop,
    LoopNest,
    Statement,
    Store,
    Var,
    expressions,
    scalars,
    statements,
)
from talweg.loops.scalar import Argument, Index, Load, Local, Scalar, check, substitute, walk


def verify(nest: LoopNest) -> None:
    """Raise GraphError, naming the place, unless the nest keeps the five rules above."""
    try:
        _Scope(nest).run()
    except GraphError as error:
        raise GraphError(f"loop nest {nest.name}: {error}") from None


class _Scope:
    """The names that are visible while one nest is walked."""

    def __init__(self, nest: LoopNest) -> None:
        self.nest = nest
        self.scalars: dict[str, Scalar] = {}
        self.buffers: dict[str, Buffer] = {}
        self.variables: set[str] = set()
        self.bound: set[str] = set()

    def run(self) -> None:
        for argument in self.nest.arguments:
            self.bind(argument.name)
            self.scalars[argument.name] = argument
        for buffer in self.nest.inputs + self.nest.outputs:
            self.bind_buffer(buffer)
        self.block(self.nest.body)
        lets = {s.name: s.value for s in statements(self.nest.body) if isinstance(s, Let)}
        for statement in statements(self.nest.body):
            if isinstance(statement, Loop):
                _check_order(statement, lets)
        written = {s.buffer for s in statements(self.nest.body) if isinstance(s, Store)}
        for buffer in self.nest.outputs:
            check(buffer.name in written, f"output {buffer.name} is never written")
        for buffer in self.nest.inputs:
            check(buffer.name not in written, f"input {buffer.name} is written")

    def bind(self, name: str) -> None:
        check(name not in self.bound, f"{name} is bound twice")
        self.bound.add(name)

    def bind_buffer(self, buffer: Buffer) -> None:
        self.uses(buffer.shape)
        self.bind(buffer.name)
        self.buffers[buffer.name] = buffer

    def block(self, block: Block) -> None:
        outer = dict(self.scalars), dict(self.buffers), set(self.variables)
        for statement in block:
            self.statement(statement)
        self.scalars, self.buffers, self.variables = outer

    def statement(self, statement: Statement) -> None:
        self.uses(expressions(statement))
        match statement:
            case Loop(index, _, _, body):
                self.bind(index)
                outer = dict(self.scalars)
                self.scalars[index] = Index(index)
                self.block(body)
                self.scalars = outer
            case Guard(_, body, otherwise):
                self.block(body)
                self.block(otherwise)
            case Let(name, value) | Var(name, value):
                self.bind(name)
                self.scalars[name] = Local(name, value.dtype)
                if isinstance(statement, Var):
                    self.variables.add(name)
            case Assign(name, value):
                self.writes_variable(name, value)
            case Accumulate(_, names, values):
                check(len(set(names)) == len(names), f"{names[0]} is folded twice at once")
                for name, value in zip(names, values, strict=True):
                    self.writes_variable(name, value)
            case Store(buffer, indices, value, _):
                self.element(Load(buffer, indices, value.dtype))
            case Allocate(buffer):
                self.bind_buffer(buffer)

    def writes_variable(self, name: str, value: Scalar) -> None:
        check(name in self.variables, f"{name} is not a variable here")
        bound = self.scalars[name].dtype
        check(bound is value.dtype, f"{name} is {bound.name}, its new value {value.dtype.name}")

    def uses(self, values: Iterable[Scalar]) -> None:
        for value in values:
            for part in walk(value):
                if isinstance(part, Load):
                    self.element(part)
                elif isinstance(part, Argument | Index | Local):
                    known = self.scalars.get(part.name)
                    if known is None:
                        raise GraphError(f"{part.name} is not bound here")
                    if known != part:
                        raise GraphError(f"{part.name} is {known}, used as {part}")

    def element(self, load: Load) -> None:
        buffer = self.buffers.get(load.buffer)
        if buffer is None:
            raise GraphError(f"{load.buffer} is not a buffer here")
        rank = len(buffer.shape)
        check(rank == len(load.indices), f"{buffer.name} has {rank} axes, got {len(load.indices)}")
        names = buffer.dtype.name, load.dtype.name
        check(names[0] == names[1], f"{buffer.name} holds {names[0]}, not {names[1]}")


def _check_order(loop: Loop, lets: dict[str, Scalar]) -> None:
    if loop.order == "sequential":
        return
    inside = list(statements(loop.body))
    owned = {s.name for s in inside if isinstance(s, Var)}
    owned |= {s.buffer.name for s in inside if isinstance(s, Allocate)}
    if loop.order == "reduction":
        _check_reduction(loop, inside, owned)
        return
    for statement in inside:
        if isinstance(statement, Assign | Accumulate):
            names = statement.names if isinstance(statement, Accumulate) else (statement.name,)
            outer = sorted(set(names) - owned)
            check(not outer, f"parallel loop {loop.index} writes the outer variable {outer}")
    for buffer in sorted({s.buffer for s in inside if isinstance(s, Store)} - owned):
        _check_disjoint(loop, buffer, lets)


def _check_reduction(loop: Loop, inside: Sequence[Statement], owned: set[str]) -> None:
    folded: set[str] = set()
    rules: dict[str, set[str]] = {}
    for statement in inside:
        match statement:
            case Assign(name, _):
                check(name in owned, f"reduction loop {loop.index} assigns the outer {name}")
            case Store(buffer, _, _, combine) if buffer not in owned:
                check(combine != "set", f"reduction loop {loop.index} overwrites {buffer}")
                folded.add(buffer)
                rules.setdefault(buffer, set()).add(combine)
            case Accumulate(combine, names, _):
                folded |= set(names) - owned
                rules.setdefault(names[0], set()).add(combine)
    for name, used in rules.items():
        mixed = f"{name} is folded by {' and '.join(sorted(used))} in {loop.index}"
        check(len(used) == 1 or name in owned, mixed)
    for part in scalars(loop.body):
        name = part.buffer if isinstance(part, Load) else getattr(part, "name", "")
        check(name not in folded, f"reduction loop {loop.index} reads {name}, which it folds")


def _check_disjoint(loop: Loop, buffer: str, lets: dict[str, Scalar]) -> None:
    accesses = [
        s.indices for s in statements(loop.body) if isinstance(s, Store) and s.buffer == buffer
    ]
    accesses += [
        s.indices for s in scalars(loop.body) if isinstance(s, Load) and s.buffer == buffer
    ]
    shared: dict[tuple[int, Scalar], set[int]] | None = None
    for indices in accesses:
        plain = ((i, _inline(value, lets)) for i, value in enumerate(indices))
        places: dict[tuple[int, Scalar], set[int]] = {}
        for axis, value in plain:
            if moves_with(value, loop.index):
                moving, offset = without_offset(value)
                places[axis, moving] = {offset}
        if shared is not None:
            places = {at: shared[at] | places[at] for at in shared.keys() & places.keys()}
        shared = places
    apart = (
        max(offsets) - min(offsets) < step_of(moving, loop.index)
        for (_, moving), offsets in (shared or {}).items()
    )
    met = f"iterations of the parallel loop {loop.index} may meet in {buffer}"
    check(any(apart), f"{met}: no index of it surely differs between them")


def _inline(value: Scalar, lets: dict[str, Scalar]) -> Scalar:
    """The value with names bound by Let replaced by what they stand for."""
    while any(isinstance(part, Local) and part.name in lets for part in walk(value)):
        value = substitute(value, lets)
    return value
