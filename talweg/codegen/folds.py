"""Folds in vector loops: a state in every lane, folded into one state behind the loops."""

from __future__ import annotations

from collections.abc import Sequence
from typing import final

from talweg.codegen import calls
from talweg.codegen.expressions import Scope, replace_parts
from talweg.codegen.lanes import lower_put, shuffled
from talweg.codegen.values import Value, widened
from talweg.loops.functions import identity
from talweg.loops.nest import Accumulate, Loop, Var, statements
from talweg.loops.scalar import constant


@final
class Folds:
    """The states that loops fold into.

    Args:
        scope: the names.
        loop: the loop, or the outermost of loops that stand alone in each other.
        lanes: how many states there are of each variable.
    """

    def __init__(self, scope: Scope, loop: Loop, lanes: int) -> None:
        self.scope, self.lanes = scope, lanes
        self.folds = _folds(loop)
        self.names = [name for fold in self.folds for name in fold.names]
        self.before = {name: scope.names[name] for name in self.names}
        for fold in self.folds:
            dtype = self.before[fold.names[0]].dtype
            for name, first in zip(fold.names, identity(fold.combine, dtype), strict=True):
                state = scope.value(constant(first, self.before[name].dtype))
                scope.names[name] = widened(state, lanes)

    def narrow(self, lanes: int) -> dict[str, Value]:
        """Go on with the first lanes alone; return all of them, for `widen`."""
        whole = {name: self.scope.names[name] for name in self.names}
        if lanes < self.lanes:
            for name, value in whole.items():
                parts = tuple(shuffled(part, range(lanes)) for part in value.parts)
                self.scope.names[name] = replace_parts(value, parts)
        return whole

    def widen(self, whole: dict[str, Value]) -> None:
        """Put the first lanes back among the others."""
        for name, value in whole.items():
            low = self.scope.names[name].parts
            if low[0].lanes < self.lanes:
                parts = tuple(map(lower_put, value.parts, low))
                self.scope.names[name] = replace_parts(value, parts)

    def finish(self) -> None:
        """Fold all lanes into the states before the loops."""
        for fold in self.folds:
            states = [self.scope.names[name] for name in fold.names]
            lanes = self.lanes
            while lanes > 1:
                lanes //= 2
                lower, upper = (
                    [_lanes_of(state, at, lanes) for state in states] for at in (0, lanes)
                )
                states = self._combined(fold, lower, upper)
            before = [self.before[name] for name in fold.names]
            for name, value in zip(fold.names, self._combined(fold, before, states), strict=True):
                self.scope.names[name] = value

    def _combined(
        self, fold: Accumulate, one: Sequence[Value], other: Sequence[Value]
    ) -> list[Value]:
        new = calls.combine(
            fold.combine, one[0].dtype, [v.parts for v in one], [v.parts for v in other]
        )
        return [replace_parts(old, parts) for old, parts in zip(one, new, strict=True)]


def _lanes_of(value: Value, first: int, lanes: int) -> Value:
    places = range(first, first + lanes)
    return replace_parts(value, tuple(shuffled(part, places) for part in value.parts))


def _folds(loop: Loop) -> list[Accumulate]:
    """One Accumulate for each state outside the loop that it folds into."""
    inside = list(statements(loop.body))
    own = {s.name for s in inside if isinstance(s, Var)}
    found: dict[tuple[str, ...], Accumulate] = {}
    for statement in inside:
        if isinstance(statement, Accumulate) and statement.names[0] not in own:
            found.setdefault(statement.names, statement)
    return list(found.values())
