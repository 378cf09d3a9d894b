"""Modules that show what other modules have, under the names that programs import."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping, Sequence
from difflib import get_close_matches
from importlib import import_module
from importlib.machinery import ModuleSpec
from types import ModuleType
from typing import Any

from talweg.base.errors import MissingExtra
from talweg.base.extras import require

_ROOT = "talweg.frontends."
_MISSING = object()


class Facade(ModuleType):
    """A module whose names are those of other modules; the first one that has a name gives it.

    Args:
        name: its full name.
        sources: full names of modules, imported when a name is first looked for; "extra:module"
            for a module that an extra of talweg installs.
        own: names that the sources lack.
    """

    def __init__(self, name: str, sources: Sequence[str], own: Mapping[str, Any]) -> None:
        first = f"`{sources[0]}`, among others." if sources else "Names that programs ask for."
        super().__init__(name, first)
        self.__path__: list[str] = []
        self.__spec__ = ModuleSpec(name, None, is_package=True)
        vars(self).update(own)
        vars(self)["_sources"] = tuple(sources)

    def __getattr__(self, name: str) -> Any:
        if name == "__all__":
            return [n for n in dir(self) if not isinstance(getattr(self, n), ModuleType)]
        if name.startswith("__"):
            raise AttributeError(f"module {shown(self.__name__)!r} has no attribute {name!r}")
        child = sys.modules.get(f"{self.__name__}.{name}")
        found: Any = child or _MISSING
        if found is _MISSING:
            for source in vars(self)["_sources"]:
                found = getattr(_opened(source), name, _MISSING)
                if found is not _MISSING:
                    break
        if found is _MISSING:
            raise AttributeError(missing(self, name), name=name, obj=None)
        setattr(self, name, found)
        return found

    def __dir__(self) -> list[str]:
        return sorted(set(self._names()))

    def _names(self) -> Iterator[str]:
        yield from (name for name in vars(self) if not name.startswith("_"))
        for source in vars(self)["_sources"]:
            try:
                module = _opened(source)
            except MissingExtra:
                continue
            listed = {*dir(module), *getattr(module, "__all__", ())}
            yield from (name for name in listed if not name.startswith("_"))


def _opened(source: str) -> ModuleType:
    extra, _, module = source.rpartition(":")
    return require(module, extra) if extra else import_module(module)


def shown(name: str) -> str:
    """Return a module's name as programs write it."""
    return name.removeprefix(_ROOT)


def missing(module: ModuleType, name: str) -> str:
    """Say that a module lacks a name, and which of its names comes nearest."""
    near = get_close_matches(name, dir(module), 1, 0.7)
    hint = f"; the nearest name is {shown(module.__name__)}.{near[0]}" if near else ""
    return f"{shown(module.__name__)}.{name} is not in talweg{hint}"


class _Refusing:
    """Says which module of a front end is missing, instead of Python's plain message."""

    def __init__(self, root: str) -> None:
        self.root = root

    def find_spec(self, name: str, path: object = None, target: object = None) -> None:
        if not name.startswith(f"{self.root}."):
            return
        parent, _, last = name.rpartition(".")
        module = sys.modules.get(parent)
        if isinstance(module, Facade) and not last.startswith("_"):
            raise ModuleNotFoundError(missing(module, last), name=None)


def build(
    root: str, table: Mapping[str, Sequence[str]], *parts: Mapping[str, Mapping[str, Any]]
) -> None:
    """Make the modules of a front end, so that `import` finds them, with all that they hold.

    Args:
        root: the front end's package, which exists and becomes a Facade too.
        table: for each module below it ("nn.functional"; "" is the package), where its names
            come from.
        parts: for each module, further names; they come first.
    """
    own: dict[str, dict[str, Any]] = {}
    for part in parts:
        for name, names in part.items():
            own.setdefault(name, {}).update(names)
    package = sys.modules[root]
    package.__class__ = Facade
    vars(package).update(own.get("", {}), _sources=tuple(table[""]))
    for name in sorted({*table, *own} - {""}):
        full = f"{root}.{name}"
        module = Facade(full, table.get(name, ()), own.get(name, {}))
        sys.modules[full] = module
        above, _, last = name.rpartition(".")
        if last not in own.get(above, {}):  # a function may have the name of its module
            setattr(sys.modules[full.rpartition(".")[0]], last, module)
    sys.meta_path.append(_Refusing(root))
