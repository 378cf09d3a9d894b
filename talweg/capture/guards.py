"""What a captured function saw must be as it was: that is compared before each replay."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import chain, repeat
from operator import attrgetter, call, is_, itemgetter
from types import MethodType
from typing import Any, final

from talweg.capture.surroundings import MISSING, PLAIN, Place, equal
from talweg.capture.symbols import same


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


@final
class Reader:
    """Reads many places at the speed of C, container by container.

    Args:
        places: where.

    Attributes:
        order: for each of these places, which of the values is that of it.
        width: how many values there are; some come twice.
    """

    __slots__ = ("_containers", "_getters", "order", "width")

    def __init__(self, places: Sequence[Place]) -> None:
        rows: dict[int, list[int]] = {}
        for i, place in enumerate(places):
            rows.setdefault(id(place.container), []).append(i)
        self._containers: list[Any] = []
        self._getters: list[Callable[[Any], tuple[Any, ...]]] = []
        self.order = [0] * len(places)
        self.width = 0
        for listed in rows.values():
            for i in listed:
                self.order[i] = self.width
                self.width += 1
            self.width += len(listed) == 1  # a getter of one key gives no tuple
            self._containers.append(places[listed[0]].container)
            self._getters.append(_getter([places[i] for i in listed * (1 + (len(listed) == 1))]))

    def values(self) -> list[Any]:
        """Return the present values.

        Raises:
            LookupError, AttributeError, ValueError: when there is nothing any more at a place.
        """
        return [*chain.from_iterable(map(call, self._getters, self._containers))]

    def spread(self, values: Sequence[Any]) -> list[Any]:
        """Return what `values` returns while these are the values at the places."""
        found: list[Any] = [MISSING] * self.width
        for at, value in zip(self.order, values, strict=True):
            found[at] = value
        for at, value in enumerate(found):
            if value is MISSING:
                found[at] = found[at - 1]
        return found


def _getter(places: list[Place]) -> Callable[[Any], tuple[Any, ...]]:
    """Return what reads some places of one container, as a tuple."""
    keys = [p.key for p in places]
    return itemgetter(*keys) if places[0].item else attrgetter(*keys)


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

    __slots__ = (
        *("_empty", "_reader", "_sized", "_sizes", "_there", "copies", "places"),
        *("present", "sizes", "values"),
    )

    def __init__(
        self,
        places: Sequence[Place],
        values: Sequence[Any],
        sizes: Sequence[tuple[Any, int, str]],
        present: Sequence[tuple[Place, bool]],
        copies: Sequence[tuple[Any, Any, str]],
    ) -> None:
        self.places = places
        self.sizes = sizes
        self.present = present
        self.copies = copies
        self._reader = Reader(places)
        self.values = self._reader.spread(values)
        self._sized = [c for c, _, _ in sizes]
        self._sizes = [n for _, n, _ in sizes]
        self._there = Reader([p for p, there in present if there])
        self._empty = Reader([p for p, there in present if not there])

    def __bool__(self) -> bool:
        return bool(self.places or self.sizes or self.present or self.copies)

    def holds(self) -> bool:
        """Return whether all is as it was."""
        if self._sizes and [*map(len, self._sized)] != self._sizes:
            return False
        if self.copies and not all(equal(c, copy) for c, copy, _ in self.copies):
            return False
        try:
            if self.present:
                if not all(map(is_, self._empty.values(), repeat(None))):
                    return False
                if any(map(is_, self._there.values(), repeat(None))):
                    return False
            now = self._reader.values()
        except (LookupError, AttributeError, ValueError):
            return False
        if all(map(is_, now, self.values)):
            return True
        if not all(map(settled, now, self.values)):
            return False
        self.values = now
        return True

    def broken(self) -> tuple[Place, Any, Any] | None:
        """Return a place that does not hold what it did, with the values then and now."""
        for place, at in zip(self.places, self._reader.order, strict=True):
            now, value = place.now(), self.values[at]
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
