"""Python text that is put together, and becomes a function."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, final

from talweg.capture.surroundings import PACKAGE, Place

_LITERAL = frozenset((bool, int, str, type(None)))


@final
class Text:
    """The body of a function, with the objects that it names.

    Args:
        names: objects that it names as these.

    >>> text = Text({"add": lambda a, b: a + b})
    >>> text.add("return add(x, 1)")
    >>> text.function("f", "x")(2)
    3
    """

    def __init__(self, names: dict[str, Any]) -> None:
        self.names = dict(names)
        self._lines: list[str] = []
        self._known: dict[int, str] = {}
        self._indent = "    "

    def add(self, *lines: str) -> None:
        """Append lines."""
        self._lines += [self._indent + line for line in lines]

    @contextmanager
    def block(self, head: str) -> Iterator[None]:
        """Append a line, and what follows inside of it."""
        self.add(head)
        before, self._indent = self._indent, self._indent + "    "
        yield
        self._indent = before

    def name(self, value: Any) -> str:
        """Return how the text writes an object."""
        if type(value) in _LITERAL:
            return f"({value})" if type(value) is int else repr(value)
        found = self._known.get(id(value))
        if found is None:
            found = self._known[id(value)] = f"k{len(self._known)}"
            self.names[found] = value
        return found

    def at(self, place: Place) -> str:
        """Return how the text writes what is at a place."""
        container = self.name(place.container)
        return f"{container}[{self.name(place.key)}]" if place.item else f"{container}.{place.key}"

    def function(self, name: str, parameters: str) -> Callable[..., Any]:
        """Return the function. It counts as talweg's own code, not as the user's."""
        made: dict[str, Any] = {}
        source = "\n".join([f"def replay({parameters}):", *self._lines])
        exec(compile(source, f"{PACKAGE}<replay of {name}>", "exec"), self.names, made)
        function: Callable[..., Any] = made["replay"]
        return function


def tuple_of(items: Sequence[str]) -> str:
    """Return how a tuple is written.

    >>> tuple_of(["a"])
    '(a,)'
    """
    return f"({', '.join(items)}{',' * (len(items) == 1)})"
