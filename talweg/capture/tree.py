"""Nested arguments and results as a flat list, and a hashable description of how they nest."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

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


def paths(structure: Any, path: str) -> list[str]:
    """Return how a program would write every leaf."""
    if structure is LEAF:
        return [path]
    kind, *inner = structure
    keys = map(repr, kind) if kind.__class__ is tuple else map(str, range(len(inner)))
    return [p for key, s in zip(keys, inner, strict=True) for p in paths(s, f"{path}[{key}]")]
