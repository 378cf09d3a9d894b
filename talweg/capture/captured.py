"""A captured function: what it must see again, what it computes, and what it leaves behind."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Literal, NamedTuple, final

from talweg.base.errors import IndexOutOfRange, located
from talweg.base.source import describe
from talweg.capture.gradients import Tape
from talweg.capture.guards import Guard
from talweg.capture.outcome import Made, Ref, Write
from talweg.capture.ready import Ready
from talweg.capture.surroundings import Place
from talweg.capture.symbols import Replay
from talweg.engine.program import Program
from talweg.engine.state import Recording
from talweg.engine.tape import Edge, GradFn
from talweg.engine.tensor import AccumulateGrad
from talweg.ir.op import Op
from talweg.ir.types import TensorType

MISS: Any = object()
"""What a replay returns when it does not fit."""

Modes = tuple[bool, bool, Any, Any]


def modes_of(now: Recording) -> Modes:
    """Return the modes that recording depends on."""
    return now.grad, now.inference, now.builder.default_float, now.cast


class Finding(NamedTuple):
    """How a source is found.

    Args:
        kind: an argument, the gradient of one, what is at a place, or a Tensor that never changes.
        where: the number of the argument, the Place, or the Tensor.
        type: of its storage's value.
        tracked: whether it requires gradients.
        chain: the View op that it sees its storage through, where its channels stand last.
    """

    kind: Literal["argument", "gradient", "place", "tensor"]
    where: Any
    type: TensorType
    tracked: bool
    chain: tuple[Op, ...]


class Argument(NamedTuple):
    """What a Tensor among the arguments must be like.

    Args:
        number: among the leaves.
        kind: its class.
        type: of its value; of its storage's where that is arranged.
        edge: what `edge_kind` says of its place on the tape.
        grad: whether it has a gradient; None when that does not matter.
        chain: the View ops that it sees its storage through; None when they do not matter.
        arranged: whether it is all of a storage with the channels last.
        last: whether its channels stand last.
    """

    number: int
    kind: Any
    type: TensorType
    edge: Any
    grad: bool | None
    chain: tuple[Op, ...] | None
    arranged: bool
    last: bool


class Given(NamedTuple):
    """An input of the function.

    Args:
        kind: the value of a Tensor, the value of its storage, a number, a constant, or a value
            that is kept.
        value: the number of the Tensor among the sources; of the number among those wanted; the
            Node of the constant; or the number among the values that are kept.
        type: of the value.
    """

    kind: Literal["value", "storage", "number", "constant", "ready"]
    value: Any
    type: TensorType


class Numbers(NamedTuple):
    """The numbers of a captured function that change from call to call.

    Args:
        replay: computes them.
        places: of the surroundings, to which the `place` keys of the replay belong.
        values: what was at these places during the capture.
        before: what the replay was given then.
        generators: with how far a run moves the counter of each.
        tuples: tuples that hold such numbers, by the numbers of their places.
        equal: places of numbers that must be equal to that at another place.
    """

    replay: Replay
    places: Sequence[Place]
    values: Sequence[Any]
    before: Sequence[Any]
    generators: Sequence[tuple[Any, int]]
    tuples: Mapping[int, tuple[Any, ...]]
    equal: Mapping[int, int]

    def given(self, leaves: Sequence[Any]) -> list[Any]:
        """Return what the replay would be given now, MISSING where there is nothing any more."""
        found: list[Any] = []
        positions = {id(g): g.position for g, _ in self.generators}
        for kind, which, *item in self.replay.given:
            if kind == "place":
                value = self.places[which].now()
                inside = item != [None] and type(value) is tuple and item[0] < len(value)
                found.append(value[item[0]] if inside else value)
            elif kind == "argument":
                found.append(leaves[which])
            else:
                found.append(positions[which][kind == "offset"])
        return found


class Effects(NamedTuple):
    """What a replay leaves behind; see `Outcome`. Sources are counted among those it finds."""

    made: Sequence[Made]
    fresh: Sequence[int]
    structure: Any
    result: Sequence[Ref]
    places: Sequence[tuple[Place, Ref]]
    writes: Sequence[Write]
    swaps: Sequence[tuple[int, int]]
    gradients: Sequence[tuple[int, Ref]]
    edges: Sequence[tuple[int, int]]


class Keeping(NamedTuple):
    """Values that are kept.

    Args:
        keeper: of them.
        sources: the Tensors that they are computed from.
    """

    keeper: Ready
    sources: Sequence[int]


class Recipe(NamedTuple):
    """All that a replay needs to know.

    Args:
        name: of the function.
        modes: in which it was captured.
        arguments: what the Tensors among the arguments must be like.
        guard: what must be as it was.
        sources: the Tensors that are used.
        same, distinct: which of these lie over one storage, and which must not.
        numbers: those that change.
        given: the inputs of the function.
        program: computes the outputs.
        inputs: for each input of the program, its number among `given`.
        types: of the outputs.
        effects: what to do with them.
        tape: how gradients go through; None where none do.
        ready: what is kept between calls; None where nothing is.
    """

    name: str
    modes: Modes
    arguments: Sequence[Argument]
    guard: Guard
    sources: Sequence[Finding]
    same: Sequence[tuple[int, int]]
    distinct: Sequence[int]
    numbers: Numbers
    given: Sequence[Given]
    program: Program
    inputs: Sequence[int]
    types: Sequence[TensorType]
    effects: Effects
    tape: Tape | None
    ready: Keeping | None


@final
class Captured:
    """A function for one kind of arguments.

    Args:
        recipe: what it does.

    Attributes:
        replay: does it again: called with the leaves of other arguments, it returns the result, or
            MISS when something is not as it was.
        replays: how often that was done.
    """

    __slots__ = ("recipe", "replay", "replays")

    replay: Callable[[Sequence[Any]], Any]

    def __init__(self, recipe: Recipe) -> None:
        self.recipe = recipe
        self.replays = 0

    def broken(self, leaves: Sequence[Any]) -> tuple[Any, Any, Any]:
        """Return what is not as it was, with values then and now.

        That is a Place, the number of an argument that is a number, or a description.
        """
        found = self.recipe.guard.broken()
        if found is not None:
            return found
        numbers = self.recipe.numbers
        given = numbers.given(leaves)
        key = numbers.replay.unlike(numbers.before, given)
        if key is not None:
            at = numbers.replay.given.index(key)
            if key[0] == "argument":
                return key[1], numbers.before[at], given[at]
            name = numbers.places[key[1]].path if key[0] == "place" else key[0]
            return f"{name}, by which Python decides,", numbers.before[at], given[at]
        return "the way Tensors share memory", "another", "new"


def edge_kind(edge: Edge) -> Any:
    """Return None, or AccumulateGrad for leaves, or GradFn for results."""
    if edge is None:
        return None
    return AccumulateGrad if edge.__class__ is AccumulateGrad else GradFn


def at_its_line(error: IndexOutOfRange) -> Exception:
    """Return the error of a failed check with the line that recorded the operation."""
    owners = getattr(getattr(error, "label", None), "owners", ())
    check = getattr(error, "check", -1)
    if not 0 <= check < len(owners):
        return error
    return located(error, describe(owners[check].source))
