"""Nested arguments and results as a flat list, and a hashable description of how they nest."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any

from talweg.capture.text import Text, tuple_of

LEAF = "*"

_LEAVES: set[type] = set()  # classes that are known to be no nests
_MANY = 1024


def flatten(value: Any, leaves: list[Any]) -> Any:
    """Append the leaves of nested tuples, lists and dicts to a list; return how they nest.

    >>> leaves = []
    >>> flatten((1, [2, {"a": 3}]), leaves), leaves
    ((<class 'tuple'>, '*', (<class 'list'>, '*', (('a',), '*'))), [1, 2, 3])
    """
    kind = type(value)
    if kind in _LEAVES:
        leaves.append(value)
        return LEAF
    if kind is tuple or kind is list or hasattr(kind, "_fields"):
        return (kind, *[flatten(v, leaves) for v in value])
    if kind is dict:
        return (tuple(value), *[flatten(v, leaves) for v in value.values()])
    if len(_LEAVES) < _MANY:
        _LEAVES.add(kind)
    leaves.append(value)
    return LEAF


def rebuild(structure: Any, leaves: Sequence[Any]) -> Any:
    """Return the value that was flattened, with other leaves."""
    return _rebuilt(structure, iter(leaves))


def _rebuilt(structure: Any, leaves: Iterator[Any]) -> Any:
    if structure is LEAF:
        return next(leaves)
    kind, *inner = structure
    values = [_rebuilt(s, leaves) for s in inner]
    if kind.__class__ is tuple:
        return dict(zip(kind, values, strict=True))
    return kind(*values) if hasattr(kind, "_fields") else kind(values)


def display(structure: Any, leaves: Iterator[str], text: Text) -> str:
    """Return how a text writes a value that nests so, of names for its leaves."""
    if structure is LEAF:
        return next(leaves)
    kind, *inner = structure
    values = [display(s, leaves, text) for s in inner]
    if kind.__class__ is tuple:
        return f"{{{', '.join(f'{text.name(k)}: {v}' for k, v in zip(kind, values, strict=True))}}}"
    if hasattr(kind, "_fields"):
        return f"{text.name(kind)}({', '.join(values)})"
    return tuple_of(values) if kind is tuple else f"[{', '.join(values)}]"


def opener(structure: Any, tests: Sequence[tuple[str, Any]]) -> Callable[[Any], list[Any] | None]:
    """Return what flattens values that nest so; it returns None for all others.

    Args:
        structure: as `flatten` returns it.
        tests: for each leaf `is` and what it must be, `kind` and its class, or `any`.

    >>> leaves = opener((tuple, LEAF, (("a",), LEAF)), [("any", None), ("kind", int)])
    >>> leaves((1.5, {"a": 3})), leaves((1.5, {"a": 3.0})), leaves((1.5, {"b": 3})), leaves(1)
    ([1.5, 3], None, None, None)
    """
    text, names = Text({}), iter(range(1 << 30))
    leaves: list[str] = []
    stack = [("value", structure)]
    while stack:
        name, inner = stack.pop()
        if inner is LEAF:
            test, wanted = tests[len(leaves)]
            if test == "kind" or type(wanted) in (int, str):
                kind = type(wanted) if test == "is" else wanted
                text.add(f"if {name}.__class__ is not {text.name(kind)}: return None")
            if test == "is":
                differs = "!=" if type(wanted) in (int, str) else "is not"
                text.add(f"if {name} {differs} {text.name(wanted)}: return None")
            leaves.append(name)
            continue
        kind, *parts = inner
        by_name = kind.__class__ is tuple
        expected = text.name(dict if by_name else kind)
        found = f"tuple({name}) != {text.name(kind)}" if by_name else f"len({name}) != {len(parts)}"
        text.add(f"if {name}.__class__ is not {expected} or {found}: return None")
        made = [f"c{next(names)}" for _ in parts]
        if parts:
            text.add(f"{tuple_of(made)} = {name}{'.values()' * by_name}")
        stack += reversed([*zip(made, parts, strict=True)])
    text.add(f"return [{', '.join(leaves)}]")
    return text.function("arguments", "value")


def paths(structure: Any, path: str) -> list[str]:
    """Return how a program would write every leaf."""
    if structure is LEAF:
        return [path]
    kind, *inner = structure
    keys = map(repr, kind) if kind.__class__ is tuple else map(str, range(len(inner)))
    return [p for key, s in zip(keys, inner, strict=True) for p in paths(s, f"{path}[{key}]")]
