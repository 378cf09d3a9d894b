"""Immutable value classes whose methods are made when they are first used."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import MISSING, Field, FrozenInstanceError, field, fields
from inspect import get_annotations
from threading import RLock
from typing import Any, TypeVar, dataclass_transform

T = TypeVar("T")

_MAKING = RLock()


@dataclass_transform(frozen_default=True, field_specifiers=(field,))
def frozen(cls: type[T]) -> type[T]:
    """Make a class a dataclass whose instances cannot be changed.

    It means what `dataclasses.dataclass(frozen=True)` means, and the functions of `dataclasses`
    accept the class. But that decorator has Python compile six functions for each class, which for
    the classes of talweg together takes longer than all the rest of its import. Here a class gets
    each function when it is first called. A class that derives from it is decorated with `frozen`.

    >>> import dataclasses
    >>> @frozen
    ... class Point:
    ...     x: int
    ...     y: int = 0
    >>> Point(1) == Point(1, 0), dataclasses.replace(Point(1), y=2)
    (True, Point(x=1, y=2))
    """
    inherits = any("__dataclass_fields__" in base.__dict__ for base in cls.__mro__[1:])
    if inherits and not get_annotations(cls):
        return cls
    for name in (*_MAKERS, *_SHARED):
        if name not in cls.__dict__:
            setattr(cls, name, _SHARED.get(name) or _Later(name))
    return cls


class _Later:
    """Stands in a class for an attribute that is made when somebody asks for it."""

    __slots__ = ("name",)

    def __init__(self, name: str) -> None:
        self.name = name

    def __get__(self, instance: object, owner: type) -> Any:
        name = self.name
        for cls in owner.__mro__:
            if cls.__dict__.get(name) is self:
                break
        with _MAKING:
            if cls.__dict__.get(name) is self:
                setattr(cls, name, _MAKERS[name](cls))
        return getattr(owner if instance is None else instance, name)


def _table(cls: Any) -> dict[str, Field[Any]]:
    dataclasses.dataclass(init=False, repr=False, eq=False)(cls)
    table: dict[str, Field[Any]] = cls.__dict__["__dataclass_fields__"]
    return table


def _init(cls: Any) -> Any:
    known: dict[str, Any] = {"_set": object.__setattr__, "_MISSING": MISSING}
    parameters, body = ["self"], []
    for f in fields(cls):
        name = value = f.name
        default = ""
        if f.default_factory is not MISSING:
            known[f"_new_{name}"] = f.default_factory
            value = f"_new_{name}()" + (f" if {name} is _MISSING else {name}" if f.init else "")
            default = "=_MISSING"
        elif f.default is not MISSING:
            known[f"_default_{name}"] = f.default
            value = name if f.init else f"_default_{name}"
            default = f"=_default_{name}"
        if f.init:
            parameters.append(name + default)
        if f.init or default:
            body.append(f"_set(self, {name!r}, {value})")
    if hasattr(cls, "__post_init__"):
        body.append("self.__post_init__()")
    made = _function(cls, f"__init__({', '.join(parameters)})", body or ["pass"], known)
    made.__annotations__ = {f.name: f.type for f in fields(cls) if f.init} | {"return": None}
    return made


def _eq(cls: Any) -> Any:
    compared = [f.name for f in fields(cls) if f.compare]
    own, others = ("".join(f"{x}.{name}, " for name in compared) for x in ("self", "other"))
    body = [
        "if other.__class__ is self.__class__:",
        f"    return ({own}) == ({others})",
        "return NotImplemented",
    ]
    return _function(cls, "__eq__(self, other)", body, {})


def _hash(cls: Any) -> Any:
    own = "".join(f"self.{f.name}, " for f in fields(cls) if f.compare)
    return _function(cls, "__hash__(self)", [f"return hash(({own}))"], {})


def _function(cls: type, head: str, body: Sequence[str], known: dict[str, Any]) -> Any:
    made: dict[str, Any] = {}
    exec("\n    ".join([f"def {head}:", *body]), known, made)
    ((name, function),) = made.items()
    function.__qualname__ = f"{cls.__qualname__}.{name}"
    function.__module__ = cls.__module__
    return function


def _names(cls: Any) -> tuple[str, ...]:
    return tuple(f.name for f in fields(cls) if f.init)


def _repr(self: Any) -> str:
    shown = (f"{f.name}={getattr(self, f.name)!r}" for f in fields(self) if f.repr)
    return f"{type(self).__qualname__}({', '.join(shown)})"


def _refuse(self: Any, name: str, value: Any = None) -> None:
    raise FrozenInstanceError(f"cannot change {name!r}: {type(self).__name__} is immutable")


_MAKERS = {
    "__dataclass_fields__": _table,
    "__init__": _init,
    "__eq__": _eq,
    "__hash__": _hash,
    "__match_args__": _names,
}
_SHARED = {"__repr__": _repr, "__setattr__": _refuse, "__delattr__": _refuse}
