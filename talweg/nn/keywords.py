"""What is said of a keyword that a layer does not have: which of its own comes nearest."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from difflib import get_close_matches
from inspect import CO_VARKEYWORDS
from types import CodeType
from typing import Any


def check_keywords(function: Callable[..., Any], name: str, given: Iterable[str]) -> None:
    """Raise if a Python function lacks one of the keywords.

    Args:
        function: anything; only a Python function says what it takes.
        name: as which it was called.
        given: keywords.

    Raises:
        TypeError: naming the nearest parameter, and all of them.

    >>> import talweg as tw
    >>> tw.nn.Linear(in_feature=4, out_features=2)
    Traceback (most recent call last):
    TypeError: Linear() has no parameter 'in_feature': in_features is the nearest. Its parameters \
are (in_features, out_features, bias, device, dtype)
    """
    code: Any = getattr(function, "__code__", None)
    if not isinstance(code, CodeType) or code.co_flags & CO_VARKEYWORDS:
        return
    first = code.co_posonlyargcount
    takes = code.co_varnames[first : code.co_argcount + code.co_kwonlyargcount]
    wrong = next((k for k in given if k not in takes), None)
    if wrong is None:
        return
    shown = [p for p in takes if p != "self"]
    near = get_close_matches(wrong, shown, 1, 0.5)
    hint = f": {near[0]} is the nearest" if near else ""
    raise TypeError(
        f"{name}() has no parameter {wrong!r}{hint}. Its parameters are ({', '.join(shown)})"
    ) from None
