"""Layers out of the attributes that a PyTorch Module was pickled with."""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from typing import Any

from talweg import nn
from talweg.base.errors import DataError
from talweg.engine.tensor import Tensor
from talweg.nn.parameter import Parameter

KNOWN: dict[str, type[nn.Module]] = {
    name: kind
    for name, kind in ((name, getattr(nn, name)) for name in nn.__all__)
    if isinstance(kind, type) and issubclass(kind, nn.Module) and kind is not nn.Module
}
_ANY = (inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD)
_CONTAINERS = ("Sequential", "ModuleList", "ModuleDict", "ParameterList", "ParameterDict")
# PyTorch's names for what is a Linear layer.
KNOWN["NonDynamicallyQuantizableLinear"] = nn.Linear


def restored(name: str, state: Mapping[str, Any]) -> nn.Module:
    """Return the layer of a class of `torch.nn`, made by our constructor from its attributes.

    Args:
        name: of the class, one of `KNOWN`.
        state: the Module's attributes, with its tables of parameters, buffers and modules.

    Raises:
        DataError: when the attributes do not say how it was made, or its tables differ from ours.
    """
    kind = KNOWN[name]
    tables = {t: dict(state.get(t) or {}) for t in ("_parameters", "_buffers", "_modules")}
    module = kind() if name in _CONTAINERS else kind(**_arguments(kind, state, tables))
    if name in _CONTAINERS:
        for table, add in (("_parameters", "register_parameter"), ("_modules", "add_module")):
            for key, value in tables[table].items():
                getattr(module, add)(key, value)
    for table, values in tables.items():
        own = getattr(module, table)
        if table == "_buffers":
            values = {k: v for k, v in values.items() if v is not None or k in own}
        if list(own) != list(values) and set(own) != set(values):
            raise DataError(f"holds a {name} with {sorted(values)}, ours has {sorted(own)}")
        for key, value in values.items():
            _check(f"{name}.{key}", own[key], value)
            own[key] = value
    return module.train(bool(state.get("training", True)))


def _arguments(
    kind: type[nn.Module], state: Mapping[str, Any], tables: Mapping[str, Mapping[str, Any]]
) -> dict[str, Any]:
    """Return the constructor's arguments: the attributes of the same names."""
    found = {}
    tensors = {**tables["_buffers"], **tables["_parameters"]}
    for name, parameter in inspect.signature(kind).parameters.items():
        if name in ("device", "dtype") or parameter.kind in _ANY:
            continue
        if name in tensors:
            is_flag = name in tables["_parameters"]
            found[name] = tensors[name] is not None if is_flag else tensors[name]
        elif name in state:
            found[name] = state[name]
        elif parameter.default is parameter.empty:
            raise DataError(f"holds a {kind.__name__} that does not say its {name}")
    return found


def _check(place: str, own: Any, value: Any) -> None:
    if value is None or own is None:
        fits = own is value
    elif isinstance(own, nn.Module):
        fits = isinstance(value, nn.Module)
    else:
        wanted = Parameter if isinstance(own, Parameter) else Tensor
        fits = isinstance(value, wanted) and value.shape == own.shape
    if not fits:
        raise DataError(f"{place} does not fit the other attributes of its layer")
