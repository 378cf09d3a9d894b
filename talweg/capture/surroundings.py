"""The Python state that a captured function can see, besides its arguments.

A function reads its closure, globals, attributes of objects and items of containers. What it can
reach from these, by the names that its code mentions, is listed as places. A capture compares them
before and after the run: what changed must be done by every replay. A replay compares what the
capture left alone: when it is not as it was, the function is captured again.

What is reached: cells, globals and defaults of functions, also of those they mention; attributes of
objects and classes; items of dicts, lists, tuples, sets; Tensors and their gradients. The code of
talweg, NumPy, the standard library and installed packages is not followed, but objects of their
classes are, where they have a `__dict__`.
"""

from __future__ import annotations

import dis
import os
import random
import sys
import sysconfig
from collections import deque
from collections.abc import Iterable, Iterator, Mapping
from enum import Enum
from functools import cache, partial
from types import (
    BuiltinFunctionType,
    CellType,
    CodeType,
    FunctionType,
    MethodType,
    ModuleType,
)
from typing import Any, NamedTuple, final

import numpy as np

from talweg.base.dtypes import DType
from talweg.engine.tensor import Tensor

PACKAGE = os.path.join(os.path.dirname(os.path.dirname(os.path.realpath(__file__))), "")
PLACES = 50_000
COPIED = 1 << 16
PLAIN = frozenset(
    (bool, int, float, complex, str, bytes, type(None), type(...), slice, range, DType)
)
_OPAQUE = (np.generic, Enum, BuiltinFunctionType, CodeType)
_COPIED = (np.ndarray, set, bytearray)
_STATEFUL = (random.Random, np.random.Generator, np.random.RandomState)


class Place(NamedTuple):
    """Where a value is found.

    Args:
        container: a dict, list, cell or object.
        key: of the item, or the name of the attribute.
        item: whether it is an item of a dict or list, not an attribute.
        path: how a program would write it.
        changing: numbers there are expected to change from call to call.
    """

    container: Any
    key: Any
    item: bool
    path: str
    changing: bool = False

    def get(self) -> Any:
        """Return the present value.

        Raises:
            LookupError, AttributeError, ValueError: when there is none any more.
        """
        if self.item:
            return self.container[self.key]
        return getattr(self.container, self.key)

    def now(self) -> Any:
        """Return the present value, MISSING where there is none any more."""
        try:
            return self.get()
        except (LookupError, AttributeError, ValueError):
            return MISSING

    def set(self, value: Any) -> None:
        """Put another value there."""
        if self.item:
            self.container[self.key] = value
        else:
            setattr(self.container, self.key, value)


@final
class Unseen(Exception):
    """The function reaches what a replay cannot compare."""


@final
class Surroundings:
    """All places that some objects reach.

    Attributes:
        places: in the order in which they were found.
        values: what was there at first.
        sizes: containers whose number of items must stay, with that number.
        copies: sets and arrays with a copy of what is in them, and how to write them.
        tensors: how to write every Tensor that was found, by its id.
        held: every object that was found, by its id.

    Raises:
        Unseen: for what has a state that cannot be looked at, and for too much of anything.
    """

    def __init__(self, roots: Iterable[tuple[Any, str]]) -> None:
        roots = list(roots)
        names: set[str] = set()
        while True:
            self.names = set(names)
            self.found: set[str] = set()
            self.places: list[Place] = []
            self.sizes: list[tuple[Any, int, str]] = []
            self.copies: list[tuple[Any, Any, str]] = []
            self.tensors: dict[int, str] = {}
            self.held: dict[int, Any] = {}
            self._walk([(value, path, False) for value, path in roots])
            if self.found <= names:
                break
            names |= self.found
        self.values = [p.get() for p in self.places]

    def read(self) -> list[Any]:
        """Return what is at all places now; `MISSING` where there is nothing any more."""
        return [p.now() for p in self.places]

    def resized(self) -> str | None:
        """Return the path of a container that has other items than it had, or None."""
        sized = (path for c, size, path in self.sizes if len(c) != size)
        return next(sized, None) or next(
            (p for c, copy, p in self.copies if not equal(c, copy)), None
        )

    def _walk(self, start: list[tuple[Any, str, bool]]) -> None:
        stack = deque(start)
        while stack:
            value, path, changing = stack.popleft()
            kind = type(value)
            if kind in PLAIN or id(value) in self.held or isinstance(value, _OPAQUE):
                continue
            self.held[id(value)] = value
            if len(self.places) > PLACES:
                raise Unseen(f"the function reaches more than {PLACES} values, such as {path}")
            if isinstance(value, _STATEFUL) or hasattr(kind, "__next__"):
                raise Unseen(f"{path} has a state that cannot be looked at: {kind.__name__}")
            if isinstance(value, set) and not value:
                self.sizes.append((value, 0, path))
            elif isinstance(value, _COPIED):
                self._copy(value, path)
            for place in self._inside(value, path, changing):
                self.places.append(place)
                stack.append((place.get(), place.path, place.changing))
            for inner, inner_path in self._parts(value, path):
                stack.append((inner, inner_path, changing))

    def _copy(self, value: Any, path: str) -> None:
        size = value.nbytes if isinstance(value, np.ndarray) else len(value)
        if size > COPIED:
            raise Unseen(
                f"{path} is too large to be compared at each call: {size} bytes or entries"
            )
        copy = np.array(value) if isinstance(value, np.ndarray) else value.copy()
        self.copies.append((value, copy, path))

    def _parts(self, value: Any, path: str) -> Iterator[tuple[Any, str]]:
        """What is reached from a value and cannot be replaced there."""
        if isinstance(value, tuple | frozenset | set):
            for i, v in enumerate(value):
                yield v, f"{path}[{i}]"
        elif isinstance(value, FunctionType):
            self.found |= names_in(value.__code__).attributes
            yield value.__defaults__, f"{path}.__defaults__"
            yield getattr(value, "__wrapped__", None), path
            yield from zip(value.__closure__ or (), value.__code__.co_freevars, strict=True)
        elif isinstance(value, MethodType):
            yield value.__self__, path.rpartition(".")[0] or f"{path}.__self__"
            yield value.__func__, path
        elif isinstance(value, staticmethod | classmethod):
            yield value.__func__, path
        elif isinstance(value, property):
            for function in (value.fget, value.fset):
                yield function, path
        elif isinstance(value, partial):
            yield from ((value.func, path), (value.args, path), (value.keywords, path))
        elif isinstance(value, type):
            yield from ((base, base.__name__) for base in value.__mro__[1:-1])
        elif getattr(type(value), "unseen", False):
            yield getattr(value, "function", None), path
        elif not isinstance(value, ModuleType | CellType | Tensor | np.ndarray | bytearray):
            yield type(value), type(value).__name__

    def _inside(self, value: Any, path: str, changing: bool) -> Iterator[Place]:
        """The places in a value."""
        if isinstance(value, Tensor):
            self.tensors[id(value)] = path
            if value._edge is not None or value._grad is not None:
                yield Place(value, "_grad", False, f"{path}.grad")
        elif isinstance(value, FunctionType):
            if own_code(value.__code__.co_filename):
                used = names_in(value.__code__).globals
                table = value.__globals__
                yield from (Place(table, n, True, n) for n in sorted(used) if n in table)
        elif isinstance(value, CellType):
            if _filled(value):
                yield Place(value, "cell_contents", False, path)
        elif isinstance(value, dict):
            self.sizes.append((value, len(value), path))
            for k in value:
                name = f"{path}{k}" if path.endswith(".") else f"{path}[{_text(k)}]"
                yield Place(value, k, True, name, changing)
        elif isinstance(value, list | deque):
            self.sizes.append((value, len(value), path))
            yield from (Place(value, i, True, f"{path}[{i}]", changing) for i in range(len(value)))
        elif isinstance(value, ModuleType):
            if own_code(getattr(value, "__file__", None) or PACKAGE):
                yield from self._named(vars(value), path)
        elif isinstance(value, type):
            yield from self._members(value)
        else:
            yield from self._attributes(value, path)

    def _members(self, cls: Any) -> Iterator[Place]:
        if cls.__module__ != "builtins":
            for name, mentioned in _names_by_method(cls).items():
                if name in self.names or (name[:2] == "__" and name not in _NOT_CALLED):
                    self.found |= mentioned
        if own_code(_file_of(cls)):
            yield from self._named(vars(cls), cls.__name__)

    def _named(self, table: Mapping[str, Any], path: str) -> Iterator[Place]:
        for name in self.names:
            if name in table and not name.startswith("__"):
                yield Place(table, name, True, f"{path}.{name}")

    def _attributes(self, value: Any, path: str) -> Iterator[Place]:
        if isinstance(value, MethodType | partial | property | staticmethod | classmethod):
            return
        cls: Any = type(value)
        if getattr(cls, "unseen", False) or _file_of(cls) in _LIBRARY:
            return
        own = getattr(value, "__dict__", None)
        numbers = getattr(cls, "run_time_numbers", ())
        if isinstance(own, dict):
            self.sizes.append((own, len(own), path))
            for name in own:
                if name in self.names or name in numbers:
                    yield Place(own, name, True, _attribute(path, name), name in numbers)
        for name in _slots_of(cls):
            if name in self.names and hasattr(value, name):
                yield Place(value, name, False, f"{path}.{name}")


_TABLES = ("_modules", "_parameters", "_buffers")


def _attribute(path: str, name: str) -> str:
    return f"{path}." if name in _TABLES else f"{path}.{name}"


def _text(key: Any) -> str:
    return repr(key) if type(key) in PLAIN else f"<{type(key).__name__}>"


@final
class _Missing:
    """Stands for the value of a place that is gone."""

    def __repr__(self) -> str:
        return "nothing"


MISSING = _Missing()


def _filled(cell: CellType) -> bool:
    try:
        cell.cell_contents  # noqa: B018
    except ValueError:
        return False
    return True


class Names(NamedTuple):
    """The names of globals that code mentions, and those of attributes: all others, and texts."""

    globals: frozenset[str]
    attributes: frozenset[str]


@cache
def names_in(code: CodeType) -> Names:
    """Return what names code mentions, with the functions inside it."""
    found = {i.argval for i in dis.get_instructions(code) if i.opname in _GLOBALS}
    texts = {c for c in code.co_consts if isinstance(c, str) and c.isidentifier()}
    inner = [names_in(c) for c in code.co_consts if isinstance(c, CodeType)]
    attributes = {i.argval for i in dis.get_instructions(code) if i.opname in _ATTRIBUTES} | texts
    return Names(
        frozenset(found).union(*(n.globals for n in inner)),
        frozenset(attributes).union(*(n.attributes for n in inner)),
    )


_GLOBALS = frozenset(("LOAD_GLOBAL", "LOAD_NAME", "IMPORT_NAME"))
_ATTRIBUTES = frozenset(("LOAD_ATTR", "LOAD_METHOD", "LOAD_SUPER_ATTR", "STORE_ATTR"))


@cache
def _names_by_method(cls: Any) -> dict[str, frozenset[str]]:
    """The names that the methods and properties of a class mention."""
    found: dict[str, frozenset[str]] = {}
    for name, value in vars(cls).items():
        inner = getattr(value, "__func__", None) or getattr(value, "fget", None) or value
        if isinstance(inner, FunctionType):
            found[name] = names_in(inner.__code__).attributes
    return found


_NOT_CALLED = frozenset(("__init__", "__new__", "__repr__", "__reduce__", "__del__"))


@cache
def _slots_of(cls: Any) -> tuple[str, ...]:
    listed: list[str] = []
    for base in cls.__mro__:
        slots = base.__dict__.get("__slots__", ())
        listed += (slots,) if isinstance(slots, str) else slots
    return tuple(n for n in dict.fromkeys(listed) if not n.startswith("__"))


_LIBRARY = frozenset(("<stdlib>", "<builtin>"))
_FOLDERS = tuple(
    {sysconfig.get_path(name) for name in ("stdlib", "platstdlib", "purelib", "platlib")}
)


@cache
def own_code(path: str) -> bool:
    """Whether a file is part of the user's program, not of talweg or a library."""
    return not path.startswith((PACKAGE, *_FOLDERS, "<frozen", "<stdlib>", "<builtin>"))


@cache
def _file_of(cls: Any) -> str:
    """The file that defines a class, or a name for where else it comes from."""
    top = cls.__module__.partition(".")[0]
    if top == "talweg":
        return PACKAGE
    if top in sys.stdlib_module_names and top != "__main__":
        return "<stdlib>"
    module = sys.modules.get(cls.__module__)
    file: str | None = getattr(module, "__file__", None)
    return file or ("__main__" if top == "__main__" else "<builtin>")


def equal(value: Any, copy: Any) -> bool:
    """Return whether an array or a container holds what a copy of it holds."""
    if isinstance(value, np.ndarray):
        return bool(np.array_equal(value, copy, equal_nan=value.dtype.kind in "fc"))
    return bool(value == copy)


def is_plain(value: Any) -> bool:
    """Return whether a value is a number, text or another constant without parts that change."""
    return type(value) in PLAIN or isinstance(value, Enum)
