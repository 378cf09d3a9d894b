"""What a call of a lifted function is given: PyTorch's keywords, and what to say of wrong ones."""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable, Sequence
from functools import cache
from numbers import Number
from typing import Any

from talweg.base.errors import DTypeError
from talweg.base.source import describe, here
from talweg.ir.node import Node

NodeFunction = Callable[..., Any]
Recorder = Callable[[tuple[Any, ...], dict[str, Any]], Any]

# Keywords that PyTorch accepts, and the names that the same parameters may have in `fn`.
_KEYWORDS = (
    *(("input", "x"), ("axis", "dim"), ("keepdims", "keepdim"), ("size", "shape")),
    ("split_size", "split_size_or_sections"),
)


def _own_names(names: Sequence[str]) -> dict[str, str]:
    return {k: name for k, name in _KEYWORDS if name in names and k not in names}


class _Deferred(inspect.Signature):
    make: Callable[[], inspect.Signature]

    def __getattr__(self, name: str) -> Any:
        if name not in inspect.Signature.__slots__:
            raise AttributeError(name)
        made = self.make()
        super().__init__(list(made.parameters.values()), return_annotation=made.return_annotation)
        return getattr(self, name)


def deferred_signature(make: Callable[[], inspect.Signature]) -> inspect.Signature:
    """Return the Signature that `make` returns, which is called when somebody looks at it."""
    signature = _Deferred.__new__(_Deferred)
    signature.make = make
    return signature


def shown_signature(function: NodeFunction, node: str = "Node") -> inspect.Signature:
    """Return the signature for users: without the Builder, and the first operand named `input`.

    Args:
        function: of the Builder and Nodes.
        node: what annotations call a Node.
    """

    def called(annotation: Any) -> Any:
        return re.sub(r"\bNode\b", node, annotation) if isinstance(annotation, str) else annotation

    def make() -> inspect.Signature:
        signature = inspect.signature(function)
        given = list(signature.parameters.values())[1:]
        shown = {own: k for k, own in _own_names([p.name for p in given]).items() if k == "input"}
        return signature.replace(
            parameters=[
                p.replace(name=shown.get(p.name, p.name), annotation=called(p.annotation))
                for p in given
            ],
            return_annotation=called(signature.return_annotation),
        )

    return deferred_signature(make)


def by_own_names(function: NodeFunction) -> Callable[[tuple[Any, ...], dict[str, Any]], Any]:
    """Return the map of a call's arguments, with PyTorch's keywords, to those of the function."""

    def renamed(args: tuple[Any, ...], named: dict[str, Any]) -> Any:
        own, before = _naming(function)
        kwargs = {own.get(k, k): v for k, v in named.items()}
        if before and before[-1] in kwargs:
            args = (*args, *(kwargs.pop(n) for n in before[len(args) :] if n in kwargs))
        return args, kwargs

    return renamed


@cache
def _naming(function: NodeFunction) -> tuple[dict[str, str], list[str]]:
    """Return the other names of parameters, and the parameters up to a starred one."""
    parameters = list(inspect.signature(function).parameters.values())[1:]
    names = [p.name for p in parameters]
    kinds = [p.kind for p in parameters]
    starred = inspect.Parameter.VAR_POSITIONAL
    return _own_names(names), names[: kinds.index(starred) + 1] if starred in kinds else []


_SCALED = {
    **dict.fromkeys(("add", "sub"), (2, ("alpha",))),
    **dict.fromkeys(("addcmul", "addcdiv"), (3, ("value",))),
    **dict.fromkeys(("addmm", "addmv", "addr", "addbmm", "baddbmm"), (3, ("beta", "alpha"))),
}


def numbers_first(function: NodeFunction, record: Recorder) -> Recorder:
    """Let sums with factors take these before the Tensors, too: `x.add_(2, y)`, as PyTorch does.

    Factors may be Tensors of one element, whose value is looked at.

    Args:
        function: what is recorded.
        record: records its calls, given what it is called with.
    """
    scaled = _SCALED.get(function.__name__)
    if scaled is None:
        return record
    count, names = scaled

    def recorded(args: tuple[Any, ...], named: dict[str, Any]) -> Any:
        if len(args) > count and not isinstance(args[-1], Number):
            factors = [a for a in args if isinstance(a, Number)]
            args = tuple(a for a in args if not isinstance(a, Number))
            named = {**dict(zip(names, factors, strict=False)), **named}
        for name in names:
            if hasattr(named.get(name), "item"):
                named[name] = named[name].item()
        return record(args, named)

    return recorded


def misuse(
    function: NodeFunction, args: tuple[Any, ...], named: dict[str, Any], error: Exception
) -> Exception:
    """Return what to raise for a TypeError or AttributeError that came out of a function.

    Args:
        function: of the Builder and Nodes.
        args, named: what it was called with, Nodes in the place of Tensors.
        error: what it raised; returned when the arguments are not to blame.
    """
    name = function.__name__
    places = list(shown_signature(function).parameters.values())
    where = f"\n  recorded at {describe(here())}"
    try:
        bound = inspect.signature(function).bind(None, *args, **named)
    except TypeError as wrong:
        text = str(wrong).replace("'x'", "'input'")
        listed = ", ".join(p.name for p in places)
        return TypeError(f"{name}: {text}; its parameters are ({listed}){where}")
    given = list(bound.signature.parameters)[1:]
    for own, p in zip(given, places, strict=True):
        if own not in bound.arguments:
            continue
        value = bound.arguments[own]
        several = p.kind is p.VAR_POSITIONAL
        for v in value if several else (value,):
            wanted = _wanted(v, str(p.annotation))
            if wanted:
                return DTypeError(f"{name}: {p.name} must be {wanted}{where}")
    return error


def _wanted(value: Any, annotation: str) -> str:
    """Return what an argument should have been and how to make it; empty when it may be right."""
    words = re.findall(r"\w+", annotation)
    if value is None and "None" in words:
        return ""
    kind = type(value).__name__
    if "Sequence" in words and "Node" in words:
        if isinstance(value, list | tuple):
            odd = [type(v).__name__ for v in value if not isinstance(v, Node)]
            return f"a list of Tensors, one of them is {odd[0]}; use tw.tensor()" if odd else ""
        return "" if isinstance(value, Node) else f"a list of Tensors, got {kind}"
    if isinstance(value, Node) or not words or not {"Node", "Numeric"} >= {*words} - {"None"}:
        return ""
    if "Numeric" in words and isinstance(value, bool | int | float | complex):
        return ""
    if isinstance(value, list | tuple) and value and all(isinstance(v, Node) for v in value):
        return f"a Tensor, got a {kind} of Tensors; tw.stack() or tw.cat() makes one of them"
    if value is None:
        return "a Tensor, got None, which is what a function without `return` gives"
    return f"a Tensor, got {kind}; convert it with tw.tensor()"


def overriding(args: tuple[Any, ...], named: dict[str, Any]) -> Callable[..., Any] | None:
    """Return how an argument that is no Tensor computes functions of itself; None where none does.

    Its class says so by `__torch_function__(func, types, args, kwargs)`. It is asked when a
    function fails that was given it.
    """
    for value in (*args, *named.values()):
        several = value if isinstance(value, list | tuple) else (value,)
        for one in several:
            own: Callable[..., Any] | None = getattr(type(one), "__torch_function__", None)
            if own is not None:
                return own
    return None
