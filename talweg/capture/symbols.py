"""Python numbers that remember how they were computed, while a function is captured.

A learning rate or a count of steps differs from call to call, and so do the numbers that Python
computes from it. During a capture such numbers are Symbols. They behave like the int or float they
stand for, but arithmetic with them is noted, and done again with other values when the captured
function is replayed. What Python decides by a Symbol (`if`, a comparison) must come out as it did:
that is noted as a check. Where a plain number is needed (`math.sqrt`, an index, text) the Symbol
gives one away and is pinned: it must have the same value again.

Symbols are no subclass of float, because C code reads the value of such an object without a word.
`isinstance` believes what they say of their class.
"""

from __future__ import annotations

import math
import operator
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple, final

import numpy as np

from talweg.capture.text import Text

_PLAIN = frozenset((bool, int, float))
_PINNING = (complex, int, float, np.generic, np.ndarray)


class Step(NamedTuple):
    """One computation: a function and the places of its operands among all values."""

    function: Callable[..., Any]
    places: tuple[int, ...]


def same(a: Any, b: Any) -> bool:
    """Return whether two plain values cannot be told apart: NaN equals itself, 1 is not 1.0."""
    if a is b:
        return True
    if a.__class__ is not b.__class__:
        return False
    if a == b:
        return a.__class__ is not float or math.copysign(1, a) == math.copysign(1, b)
    return bool(a != a and b != b)


@final
class Formulas:
    """Everything computed from Symbols during one capture.

    Values are numbered: those given, constants, and the results of steps, in order of appearance.

    Attributes:
        values: what they were during the capture.
        given: the places of the values that a replay is given, by the key under which it gives
            them.
        steps: how the others follow; for each place, None where the value is given or constant.
        checks: what must come out as it did, by place.
        open: whether the capture still goes on; after it, Symbols are numbers like any other.
    """

    __slots__ = ("_constants", "_known", "checks", "given", "open", "steps", "values")

    def __init__(self) -> None:
        self.values: list[Any] = []
        self.given: dict[Any, int] = {}
        self.steps: list[Step | None] = []
        self.checks: dict[int, Any] = {}
        self.open = True
        self._known: dict[Step, int] = {}
        self._constants: dict[tuple[type, Any], int] = {}

    def symbol(self, key: Any, value: int | float) -> Symbol:
        """Return the Symbol of a value that every replay is given under a key."""
        place = self.given.get(key)
        if place is None:
            place = self.given[key] = self._add(value, None)
        return Symbol(self, place)

    def _add(self, value: Any, step: Step | None) -> int:
        self.values.append(value)
        self.steps.append(step)
        return len(self.values) - 1

    def place_of(self, value: Any) -> int:
        """Return the place of a Symbol or of a plain number, which becomes a constant."""
        if type(value) is Symbol:
            if value.formulas is self:
                return value.place
            value = value.value
        if value != value or value == 0:  # NaN is no key, and 0.0 is the same key as -0.0
            return self._add(value, None)
        key = value.__class__, value
        place = self._constants.get(key)
        if place is None:
            place = self._constants[key] = self._add(value, None)
        return place

    def compute(self, function: Callable[..., Any], *operands: Any) -> Any:
        """Return the result of a function of Symbols and plain numbers, as a Symbol if it can be.

        Raises:
            Whatever the function raises.
        """
        places = tuple(self.place_of(o) for o in operands)
        value = function(*(self.values[p] for p in places))
        if not self.open:
            return value
        step = Step(function, places)
        place = self._known.get(step)
        if place is None:
            place = self._known[step] = self._add(value, step)
        if value.__class__ is int or value.__class__ is float:
            return Symbol(self, place)
        self.check(place)
        return value

    def check(self, place: int) -> Any:
        """Return a value, which every replay must have again."""
        value = self.values[place]
        if self.open:
            self.checks[place] = value
        return value

    def kept(self, wanted: Sequence[int]) -> Replay:
        """Return how to compute the values of some places again, and all that is checked."""
        needed = {*wanted, *self.checks, *self.given.values()}
        for place in reversed(range(len(self.values))):
            step = self.steps[place]
            if place in needed and step is not None:
                needed.update(step.places)
        given = self.given
        rest = sorted(needed - set(given.values()))
        new = {p: i for i, p in enumerate(given.values())}
        constants = [p for p in rest if self.steps[p] is None]
        for place in (*constants, *(p for p in rest if self.steps[p] is not None)):
            new[place] = len(new)
        steps = [self.steps[p] for p in rest]
        return Replay(
            tuple(given),
            tuple(self.values[p] for p in constants),
            tuple(
                Step(s.function, tuple(new[p] for p in s.places)) for s in steps if s is not None
            ),
            tuple(new[p] for p in wanted),
            tuple((new[p], value) for p, value in self.checks.items()),
        )


@final
class Replay:
    """Numbers computed again from other given values.

    Args:
        given: the keys of the values that `run` takes.
        constants: values that follow them.
        steps: compute the others.
        wanted: the places of the numbers that are asked for.
        checks: places, and the values that must come out there.
    """

    __slots__ = ("checks", "constants", "given", "steps", "wanted")

    def __init__(
        self,
        given: tuple[Any, ...],
        constants: tuple[Any, ...],
        steps: tuple[Step, ...],
        wanted: tuple[int, ...],
        checks: tuple[tuple[int, Any], ...],
    ) -> None:
        self.given = given
        self.constants = constants
        self.steps = steps
        self.wanted = wanted
        self.checks = checks

    def write(self, text: Text, given: Sequence[str]) -> list[str]:
        """Add the computation to a replay; it is a miss where a check fails.

        Args:
            text: of the replay.
            given: how the given values are written there.

        Returns:
            how the wanted numbers are written.
        """
        names = [*given, *map(text.name, self.constants)]
        for i, (function, places) in enumerate(self.steps):
            operands = [names[p] for p in places]
            sign = _SIGNS.get(function)
            if sign is None:
                value = f"{text.name(function)}({', '.join(operands)})"
            else:
                value = sign.join(operands) if len(operands) > 1 else sign + operands[0]
            text.add(f"t{i} = {value}")
            names.append(f"t{i}")
        for place, value in self.checks:
            if value is True or value is False:
                text.add(f"if {names[place]} is not {value}: return MISS")
            else:
                text.add(f"if not same({names[place]}, {text.name(value)}): return MISS")
        return [names[p] for p in self.wanted]

    def unlike(self, before: Sequence[Any], given: Sequence[Any]) -> Any:
        """Return the key of a given value that differs from before and decides a check, or None."""
        pending = [place for place, _ in self.checks]
        seen: set[int] = set()
        start = len(self.given) + len(self.constants)
        while pending:
            place = pending.pop()
            if place in seen:
                continue
            seen.add(place)
            if place < len(self.given) and not same(before[place], given[place]):
                return self.given[place]
            if place >= start:
                pending += self.steps[place - start].places
        return None


_SIGNS: dict[Callable[..., Any], str] = {
    operator.add: " + ",
    operator.sub: " - ",
    operator.mul: " * ",
    operator.truediv: " / ",
    operator.pow: " ** ",
    operator.floordiv: " // ",
    operator.mod: " % ",
    operator.neg: "-",
    operator.lt: " < ",
    operator.le: " <= ",
    operator.gt: " > ",
    operator.ge: " >= ",
    operator.eq: " == ",
    operator.ne: " != ",
}


def plain(value: Any) -> Any:
    """Return the number that a Symbol stands for; anything else as it is."""
    return value.value if type(value) is Symbol else value


@final
class Symbol:
    """An int or float of a captured function, known by its place among the formulas."""

    __slots__ = ("formulas", "place")

    def __init__(self, formulas: Formulas, place: int) -> None:
        self.formulas = formulas
        self.place = place

    @property
    def value(self) -> Any:
        """The number during the capture; looking at it is not noted."""
        return self.formulas.values[self.place]

    @property  # type: ignore[misc]
    def __class__(self) -> Any:
        return self.value.__class__

    def _pinned(self) -> Any:
        return self.formulas.check(self.place)

    def __float__(self) -> float:
        return float(self._pinned())

    def __int__(self) -> int:
        return int(self._pinned())

    def __index__(self) -> int:
        return operator.index(self._pinned())

    def __complex__(self) -> complex:
        return complex(self._pinned())

    def __hash__(self) -> int:
        return hash(self._pinned())

    def __bool__(self) -> bool:
        return bool(self.formulas.compute(operator.truth, self))

    def __repr__(self) -> str:
        return repr(self._pinned())

    def __str__(self) -> str:
        return str(self._pinned())

    def __format__(self, specification: str) -> str:
        return format(self._pinned(), specification)

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> np.ndarray:
        return np.asarray(self._pinned(), dtype)

    def __array_ufunc__(self, ufunc: Any, method: str, *inputs: Any, **options: Any) -> Any:
        given = [i._pinned() if type(i) is Symbol else i for i in inputs]
        return getattr(ufunc, method)(*given, **options)

    def __copy__(self) -> Symbol:
        return self

    def __deepcopy__(self, memo: Any) -> Symbol:
        return self

    def __reduce__(self) -> Any:
        value = self._pinned()
        return type(value), (value,)

    def __round__(self, ndigits: int | None = None) -> Any:
        return self.formulas.compute(round, self, *(() if ndigits is None else (ndigits,)))

    def __getattr__(self, name: str) -> Any:
        return getattr(self._pinned(), name)


def _binary(function: Callable[[Any, Any], Any]) -> tuple[Any, Any]:
    def method(self: Symbol, other: Any) -> Any:
        if type(other) is Symbol or other.__class__ in _PLAIN:
            return self.formulas.compute(function, self, other)
        if isinstance(other, _PINNING):
            return function(self._pinned(), other)
        return NotImplemented

    def reflected(self: Symbol, other: Any) -> Any:
        if type(other) is Symbol or other.__class__ in _PLAIN:
            return self.formulas.compute(function, other, self)
        if isinstance(other, _PINNING):
            return function(other, self._pinned())
        return NotImplemented

    return method, reflected


def _unary(function: Callable[[Any], Any]) -> Any:
    def method(self: Symbol) -> Any:
        return self.formulas.compute(function, self)

    return method


_ARITHMETIC = ("add", "sub", "mul", "truediv", "floordiv", "mod", "pow")
_BITS = {"and": operator.and_, "or": operator.or_}
for _name in (*_ARITHMETIC, "lshift", "rshift", "xor", "and", "or"):
    _method, _reflected = _binary(_BITS.get(_name) or getattr(operator, _name))
    setattr(Symbol, f"__{_name}__", _method)
    setattr(Symbol, f"__r{_name}__", _reflected)
for _name in ("lt", "le", "gt", "ge", "eq", "ne"):
    setattr(Symbol, f"__{_name}__", _binary(getattr(operator, _name))[0])
for _name in ("neg", "pos", "abs", "invert"):
    setattr(Symbol, f"__{_name}__", _unary(getattr(operator, _name)))
for _name in ("floor", "ceil", "trunc"):
    setattr(Symbol, f"__{_name}__", _unary(getattr(math, _name)))
for _name, _method in zip(("__divmod__", "__rdivmod__"), _binary(divmod), strict=True):
    setattr(Symbol, _name, _method)
