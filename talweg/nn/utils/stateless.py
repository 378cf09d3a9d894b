"""A Module called with other parameters and buffers than its own."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from talweg.base.errors import InvalidValue
from talweg.engine.tensor import Tensor
from talweg.nn.module import Module


def functional_call(
    module: Module,
    parameter_and_buffer_dicts: Mapping[str, Tensor] | Sequence[Mapping[str, Tensor]],
    args: Any = None,
    kwargs: Mapping[str, Any] | None = None,
    *,
    tie_weights: bool = True,
    strict: bool = False,
) -> Any:
    """Call a Module with Tensors in the place of its parameters and buffers.

    Args:
        module: is as before afterwards.
        parameter_and_buffer_dicts: Tensors by dotted name, or several such dicts.
        args: the argument, or a tuple of arguments.
        kwargs: further arguments.
        tie_weights: a Tensor that has several names is replaced under all of them.
        strict: every name of the module must be given, and no other.

    Raises:
        InvalidValue: for names that the module lacks, or lacking ones with `strict`.

    Example:
        >>> import talweg as tw
        >>> layer = tw.nn.Linear(2, 1, bias=False)
        >>> weight = tw.tensor([[1.0, 10.0]])
        >>> tw.nn.utils.stateless.functional_call(layer, {"weight": weight}, tw.ones(2)).item()
        11.0
    """
    given: dict[str, Tensor] = {}
    listed = parameter_and_buffer_dicts
    for part in (listed,) if isinstance(listed, Mapping) else listed:
        given.update(part)
    places = {
        f"{path}.{name}".lstrip("."): (table, name)
        for path, owner in module.named_modules(remove_duplicate=False)
        for table in (owner._parameters, owner._buffers)
        for name, value in table.items()
        if value is not None
    }
    unknown, missing = set(given) - set(places), set(places) - set(given)
    if unknown or (strict and missing):
        raise InvalidValue(
            f"functional_call: {type(module).__name__} has no {sorted(unknown)}, and these are "
            f"not given: {sorted(missing) if strict else []}"
        )
    tied = {id(places[k][0][places[k][1]]): v for k, v in given.items()} if tie_weights else {}
    before: list[tuple[Any, str, Any]] = []
    try:
        for key, (table, name) in places.items():
            own: Any = table[name]
            new = given.get(key, tied.get(id(own)))
            if new is not None:
                before.append((table, name, own))
                table[name] = new  # type: ignore[assignment]
        given_args = () if args is None else args if isinstance(args, tuple) else (args,)
        return module(*given_args, **(kwargs or {}))
    finally:
        for table, name, own in before:
            table[name] = own
