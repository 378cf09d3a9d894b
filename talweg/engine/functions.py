"""Every function of `fn`, lifted to Tensors: what becomes `tw.<name>` and `Tensor.<name>`."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator
from types import ModuleType
from typing import Any

from talweg.engine.record import in_place, lift, lift_view, view_in_place
from talweg.fn import (
    activation,
    adaptive,
    conv,
    dense,
    einsum,
    elementary,
    fourier,
    gathering,
    indexing,
    linalg,
    logic,
    loss,
    margin,
    math,
    matrix_factors,
    matrix_systems,
    norm,
    pool,
    reduction,
    replacing,
    resize,
    scans,
    shaping,
    sorting,
    statistics,
    views,
    vision,
)

MODULES: tuple[ModuleType, ...] = (
    math,
    elementary,
    logic,
    reduction,
    scans,
    statistics,
    views,
    shaping,
    indexing,
    gathering,
    replacing,
    linalg,
    matrix_systems,
    matrix_factors,
    fourier,
    einsum,
    sorting,
    conv,
    pool,
    adaptive,
    norm,
    vision,
    resize,
    activation,
    dense,
    loss,
    margin,
)

_STRICT_VIEWS = ("view", "view_as", "expand", "expand_as", "broadcast_to")


def _own(module: ModuleType, name: str) -> Callable[..., Any]:
    found: Callable[..., Any] = getattr(module, name)
    return found


def _lifted() -> Iterator[tuple[ModuleType, dict[str, Callable[..., Any]]]]:
    for module in MODULES:
        table = {f.__name__: lift(f) for f in getattr(module, "PUBLIC", ())}
        for f in getattr(module, "VIEWS", ()):
            table[f.__name__] = lift_view(f, f.__name__ in _STRICT_VIEWS)
        for name in getattr(module, "METHODS", ()):
            if name not in table:
                table[name] = lift(_own(module, name))
        yield module, table


def _of_each(function: Callable[..., Any]) -> Callable[..., Any]:
    """Return the function for one Tensor, or for several or a sequence of them: then a tuple."""

    @functools.wraps(function)
    def applied(*tensors: Any) -> Any:
        listed = tensors[0] if len(tensors) == 1 else tensors
        several = isinstance(listed, list | tuple)
        return tuple(map(function, listed)) if several else function(listed)

    return applied


# In-place forms that are functions, too: `tw.relu_(x)`.
WRITING = (
    *("abs", "acos", "acosh", "addmv", "arccos", "arccosh", "arcsin", "arcsinh", "arctan"),
    *("arctanh", "asin", "asinh", "atan", "atanh", "ceil", "clamp", "clamp_max", "clamp_min"),
    *("clip", "cos", "cosh", "deg2rad", "erf", "erfc", "exp2", "exp", "expm1", "fix", "floor"),
    *("frac", "index_put", "ldexp", "log10", "log1p", "log2", "log", "logit", "nan_to_num"),
    *("neg", "negative", "rad2deg", "reciprocal", "relu", "round", "rsqrt", "sigmoid", "sin"),
    *("sinc", "sinh", "sqrt", "square", "tan", "tanh", "trunc", "xlogy"),
)

FUNCTIONS: dict[str, Callable[..., Any]] = {}
METHODS: dict[str, Callable[..., Any]] = {}
PROPERTIES: dict[str, Callable[..., Any]] = {}

for _module, _table in _lifted():
    for _f in getattr(_module, "PUBLIC", ()):
        FUNCTIONS[_f.__name__] = _table[_f.__name__]
    for _name in getattr(_module, "METHODS", ()):
        METHODS[_name] = _table[_name]
    for _name in getattr(_module, "PROPERTIES", ()):
        PROPERTIES[_name] = _table[_name]
    for _name in getattr(_module, "INPLACE", ()):
        _make = view_in_place if hasattr(_module, "VIEWS") else in_place
        METHODS[f"{_name}_"] = _make(_table[_name], f"{_name}_")
    for _alias, _name in getattr(_module, "ALIASES", {}).items():
        if _name in FUNCTIONS:
            FUNCTIONS[_alias] = FUNCTIONS[_name]
        if _name in METHODS:
            METHODS[_alias] = METHODS[_name]
        if f"{_name}_" in METHODS:
            METHODS[f"{_alias}_"] = METHODS[f"{_name}_"]

FUNCTIONS.update({f"{_name}_": METHODS[f"{_name}_"] for _name in WRITING})
for _name in ("atleast_1d", "atleast_2d", "atleast_3d"):
    FUNCTIONS[_name] = _of_each(FUNCTIONS[_name])
