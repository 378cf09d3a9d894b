"""Modules that are imported when something of them is first used."""

from __future__ import annotations

from importlib import import_module
from types import ModuleType
from typing import Any


class _Deferred(ModuleType):
    def __getattr__(self, name: str) -> Any:
        return getattr(import_module(self.__name__), name)

    def __dir__(self) -> list[str]:
        return dir(import_module(self.__name__))


def deferred(name: str) -> ModuleType:
    """Return a stand-in for a module, which is imported when an attribute is first asked for.

    For large parts that many programs never use. It stands where imports stand, and they know it:

        if TYPE_CHECKING:
            from talweg.passes import pipeline
        else:
            pipeline = deferred("talweg.passes.pipeline")

    Args:
        name: the module's full name.

    >>> deferred("fractions").Fraction(2, 4)
    Fraction(1, 2)
    """
    return _Deferred(name)
