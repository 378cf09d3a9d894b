"""What a captured function saw must be as it was: that is compared before each replay."""

from __future__ import annotations

from collections.abc import Sequence
from types import MethodType
from typing import Any, final

from talweg.capture.surroundings import PLAIN, Place, equal
from talweg.capture.symbols import same
from talweg.capture.text import Text


def settled(value: Any, before: Any) -> bool:
    """Return whether a place holds what it held, as far as a program can tell."""
    if value is before:
        return True
    if type(value) is not type(before):
        return False
    if type(value) is tuple:
        return len(value) == len(before) and all(map(settled, value, before))
    if type(value) is MethodType:
        return value.__func__ is before.__func__ and value.__self__ is before.__self__
    return type(value) in PLAIN and same(value, before)


def alike(now: Any, before: tuple[Any, ...]) -> bool:
    """Return whether a tuple is as it was, but for its numbers."""
    if type(now) is not tuple or len(now) != len(before):
        return False
    rows = zip(now, before, strict=True)
    return all(type(a) is type(b) if type(b) in (int, float) else settled(a, b) for a, b in rows)


@final
class Guard:
    """Places whose values must be as they were.

    Args:
        places: where.
        values: what must be there.
        sizes: containers, and how many items they must have.
        present: places that must hold a Tensor, any one, or nothing.
        copies: sets and arrays, and what must be in them.
    """

    __slots__ = ("copies", "places", "present", "sizes", "values")

    def __init__(
        self,
        places: Sequence[Place],
        values: Sequence[Any],
        sizes: Sequence[tuple[Any, int, str]],
        present: Sequence[tuple[Place, bool]],
        copies: Sequence[tuple[Any, Any, str]],
    ) -> None:
        self.places = places
        self.values = list(values)
        self.sizes = sizes
        self.present = present
        self.copies = copies

    def write(self, text: Text) -> None:
        """Add to a replay that it is a miss where something is not as it was.

        Objects are compared by identity. Where that fails, it is looked whether others that are
        there now are equal; they are what is compared from then on.
        """
        tests = [
            f"len({text.name(c)}) == {size}" if size else f"not {text.name(c)}"
            for c, size, _ in self.sizes
        ]
        for i, (place, value) in enumerate(zip(self.places, self.values, strict=True)):
            if value is None or value is True or value is False:
                name = repr(value)
            else:
                name = f"g{i}"
                text.names[name] = value
            tests.append(f"{text.at(place)} is {name}")
        tests += [f"{text.at(p)} is {'not ' * there}None" for p, there in self.present]
        text.names |= {"unlike": self.unlike, "equal": equal}
        if tests:
            text.add(f"if not ({' and '.join(tests)}) and unlike(globals()): return MISS")
        for container, copy, _ in self.copies:
            text.add(f"if not equal({text.name(container)}, {text.name(copy)}): return MISS")

    def unlike(self, names: dict[str, Any]) -> bool:
        """Return whether something is not as it was; take over what is equal, under its name."""
        if self.broken() is not None:
            return True
        self.values = [p.now() for p in self.places]
        names.update((f"g{i}", v) for i, v in enumerate(self.values))
        return False

    def broken(self) -> tuple[Place, Any, Any] | None:
        """Return a place that does not hold what it did, with the values then and now."""
        for place, value in zip(self.places, self.values, strict=True):
            now = place.now()
            if not settled(now, value):
                return place, value, now
        for container, copy, path in self.copies:
            if not equal(container, copy):
                return Place(container, "", True, path), copy, container
        for place, there in self.present:
            now = place.now()
            if (now is not None) is not there:
                return place, "a Tensor" if there else None, now
        for container, size, path in self.sizes:
            if len(container) != size:
                place = Place(container, "", True, f"len({path})")
                return place, size, len(container)
        return None
