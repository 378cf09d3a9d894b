"""Which loops become vectors: a count of instructions, over every choice that is allowed.

A loop can be a vector if its iterations may run at once: a parallel loop without scratch of its
own whose inner loops run equally often in every iteration, or an innermost reduction loop that
folds variables. Of nested loops the one is taken that leaves the least work: reading along it is
one instruction for all lanes, reading across it is one for each.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from talweg.base import dtypes
from talweg.base.dtypes import DType
from talweg.base.frozen import frozen
from talweg.loops.nest import (
    Allocate,
    Let,
    Loop,
    LoopNest,
    Statement,
    Store,
    Var,
    blocks,
    expressions,
    statements,
)
from talweg.loops.scalar import Call, Load, Scalar
from talweg.schedule.moves import assigned_in
from talweg.schedule.place import Place, names_in, walk
from talweg.schedule.target import Target

LONG = 16.0  # how often a loop of unknown extent is taken to run
COSTS = {"div": 4.0, "sqrt": 5.0, "pow": 60.0, "floordiv": 24.0, "mod": 24.0, "fmod": 24.0}
CHEAP = 4.0  # a body whose functions cost less is unrolled, to hide the latency of its folds
UNROLL = 4
SUMS = 9  # of two vectors each that fit into registers, with what they are made of
CARRIED = 2  # variables of an inner loop with which the loop around it is unrolled
_TRANSCENDENTAL = 14.0
_ONE_INSTRUCTION = (
    "add sub mul neg abs sign copysign maximum minimum conj real imag complex floor ceil round "
    "trunc eq ne lt le upto gt ge logical_and logical_or logical_xor logical_not bit_and bit_or "
    "bit_xor bit_not shl shr isnan isinf isfinite"
)
COSTS |= dict.fromkeys(_ONE_INSTRUCTION.split(), 1.0)


@frozen
class Choice:
    """How one loop becomes vectors.

    Args:
        whole: widths in lanes of the loops over whole vectors, one after the other.
        rest: the width of the vectors, with some lanes switched off, of the loop over what is
            left; 1 for a loop of single elements.
        once: whether the loop surely does not run more often than one vector has lanes.
    """

    whole: tuple[int, ...]
    rest: int
    once: bool = False

    @property
    def widest(self) -> int:
        """The most lanes that run at once."""
        return max((*self.whole, self.rest))

    @property
    def narrowest(self) -> int:
        """The lanes of one register, as far as vectors go."""
        return min(width for width in (*self.whole, self.rest) if width > 1)


def choose(nest: LoopNest, target: Target, large: bool = False) -> dict[str, Choice]:
    """Return the loops of a nest of places to be made vectors, by their indices.

    Args:
        nest: the loops.
        target: the machine.
        large: whether long bodies are worth being written twice, once without masks.
    """
    counter = _Counter(target, _varying(nest), large)
    chosen: dict[str, Choice] = {}
    for statement in nest.body:
        chosen |= _best(statement, counter)[1]
    return chosen


def _varying(nest: LoopNest) -> dict[str, frozenset[str]]:
    """The indices and variables on which the value of each Let depends."""
    found: dict[str, frozenset[str]] = {}
    for statement in statements(nest.body):
        if isinstance(statement, Let):
            names = names_in(statement.value)
            found[statement.name] = frozenset(
                name for n in names for name in found.get(n, frozenset((n,)))
            )
    return found


@frozen
class _Counter:
    """Counts instructions of one iteration of everything outside a statement."""

    target: Target
    lets: Mapping[str, frozenset[str]]
    large: bool

    def block(self, block: Iterable[Statement], index: str, lanes: int) -> float:
        """The cost of statements where `index` runs over so many lanes at once."""
        return sum(self.statement(statement, index, lanes) for statement in block)

    def statement(self, statement: Statement, index: str, lanes: int) -> float:
        cost = sum(self.value(v, index, lanes) for v in expressions(statement))
        if isinstance(statement, Store):
            cost += self.access(statement.indices, index, lanes) * 1.5
        inner = sum(self.block(block, index, lanes) for block in blocks(statement))
        return cost + inner * (_repeats(statement) if isinstance(statement, Loop) else 1.0)

    def value(self, value: Scalar, index: str, lanes: int) -> float:
        cost = 0.0
        for part in walk(value):
            if isinstance(part, Load):
                cost += self.access(part.indices, index, lanes)
            elif isinstance(part, Call):
                scalar = part.dtype is dtypes.int64 and part.function in ("floordiv", "mod")
                cost += cost_of(part) * (lanes if scalar and index else 1)
        return cost

    def access(self, indices: Sequence[Scalar], index: str, lanes: int) -> float:
        """1 for an element of all lanes or of neighbours, else the number of lanes."""
        if lanes == 1 or not indices:
            return 1.0
        place = indices[0]
        assert isinstance(place, Place)
        if any(index in self.lets.get(name, ()) for name in place.names()):
            return float(lanes)
        factor = place.factor(index)
        step = factor.number if factor is not None else None
        if step is None:
            return float(lanes)
        return 1.0 if abs(step) < 2 else min(1.0 + abs(step), float(lanes))


def _repeats(loop: Loop) -> float:
    number = loop.extent.number if isinstance(loop.extent, Place) else None
    return LONG if number is None else float(number)


def _best(statement: Statement, count: _Counter) -> tuple[float, dict[str, Choice]]:
    """The least cost of a statement, and the loops in it that are made vectors for that."""
    own = sum(count.value(v, "", 1) for v in expressions(statement))
    if isinstance(statement, Store):
        own += 1.5
    inner = [_best(s, count) for block in blocks(statement) for s in block]
    cost = own
    chosen: dict[str, Choice] = {}
    for part, loops in inner:
        cost += part
        chosen |= loops
    if not isinstance(statement, Loop):
        return cost, chosen
    cost = own + (cost - own + 1.0) * _repeats(statement)
    choice = _choice(statement, count.target, count.large)
    if choice is None or not _allowed(statement):
        return cost, chosen
    width = min((*choice.whole, *([choice.rest] if choice.rest > 1 else [])))
    vector = count.block(statement.body, statement.index, width)
    vector = own + (vector + 1.0) * max(_repeats(statement) / width, 1.0)
    return (vector, {statement.index: choice}) if vector < cost else (cost, chosen)


def _choice(loop: Loop, target: Target, large: bool) -> Choice | None:
    """Vectors that fill a register, or several of them where folds would wait for each other.

    Where the machine has masks, what is left is a vector too; and a long body is written once,
    for all of the loop.
    """
    types = _element_types(loop)
    width = target.vector_bytes // max(map(_bytes, types), default=4)
    count = loop.extent.number if isinstance(loop.extent, Place) else None
    if width < 2 or (count is not None and count < width):
        return None
    masked = all(target.masks(t.bits) for t in types)
    calls = [
        p
        for s in statements((loop,))
        for v in expressions(s)
        for p in walk(v)
        if isinstance(p, Call)
    ]
    cheap = all(cost_of(call) < CHEAP for call in calls)
    folds = loop.order == "reduction" or any(map(_is_light, statements(loop.body)))
    if masked and not cheap and not large:
        return Choice((), width)
    if not folds or not cheap:
        return Choice((width,), width if masked else 1)
    sums = len(assigned_in(loop.body))
    if sums > UNROLL:
        two = loop.order == "parallel" and sums <= SUMS
        return Choice((2 * width if two else width,), width if masked else 1)
    whole = (UNROLL * width,) if masked else (UNROLL * width, width)
    return Choice(whole, width if masked else 1)


def _is_light(statement: Statement) -> bool:
    """Whether this is a loop that carries so little that several vectors fit into registers."""
    if not isinstance(statement, Loop):
        return False
    return statement.order == "reduction" or len(assigned_in(statement.body)) <= CARRIED


def cost_of(call: Call) -> float:
    """The instructions of a function, roughly."""
    return COSTS.get(call.function, _TRANSCENDENTAL)


def _element_types(loop: Loop) -> set[DType]:
    """The types of what is loaded, stored and computed in all lanes, without index arithmetic."""
    found: set[DType] = set()
    varying = _varying_in(loop)
    for statement in statements((loop,)):
        if isinstance(statement, Store | Var):
            found.add(expressions(statement)[-1].dtype)
        for value in expressions(statement):
            for part in walk(value):
                moves = isinstance(part, Load) and any(names_in(i) & varying for i in part.indices)
                if moves or part.dtype.is_inexact:
                    found.add(part.dtype)
    return found


def _varying_in(loop: Loop) -> set[str]:
    """The names in a loop whose values differ between its iterations, or may do."""
    varying = {loop.index} | {s.name for s in statements(loop.body) if isinstance(s, Var)}
    for statement in statements(loop.body):
        if isinstance(statement, Let) and names_in(statement.value) & varying:
            varying.add(statement.name)
    return varying


def _bytes(dtype: DType) -> int:
    return max(4, dtype.bits // 8 // (2 if dtype.is_complex else 1))


def _allowed(loop: Loop) -> bool:
    inside = list(statements(loop.body))
    if any(isinstance(s, Allocate) for s in inside):
        return False
    if loop.order == "reduction":
        if any(isinstance(s, Loop) for s in inside):
            return False
        return all(_is_row(s, loop.index) for s in inside if isinstance(s, Store))
    if loop.order != "parallel":
        return False
    varying = {loop.index} | {s.name for s in inside if isinstance(s, Var)}
    for statement in inside:
        if isinstance(statement, Let) and _depends(statement.value, varying):
            varying.add(statement.name)
        if isinstance(statement, Loop) and _depends(statement.extent, varying):
            return False
    return True


def _is_row(store: Store, index: str) -> bool:
    """Whether neighbouring iterations write neighbouring elements."""
    place = store.indices[0] if store.indices else None
    factor = place.factor(index) if isinstance(place, Place) else None
    return store.combine == "set" and factor is not None and factor.number == 1


def _depends(value: Scalar, names: set[str]) -> bool:
    return bool(names_in(value) & names) or any(isinstance(p, Load) for p in walk(value))
