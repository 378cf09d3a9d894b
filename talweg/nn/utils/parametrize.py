"""Parameters that are computed from others, each time they are read."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from talweg.base.errors import InvalidValue, ShapeError
from talweg.engine.modes import no_grad
from talweg.engine.tensor import Tensor
from talweg.nn.container import ModuleDict, ModuleList
from talweg.nn.module import Module
from talweg.nn.parameter import Parameter

_cache: dict[tuple[int, str], Tensor] | None = None


@contextmanager
def cached() -> Iterator[None]:
    """Within the block, compute each parametrized Tensor once and keep it."""
    global _cache
    before, _cache = _cache, {} if _cache is None else _cache
    try:
        yield
    finally:
        _cache = before


class ParametrizationList(ModuleList):
    """What one Tensor is computed from: `original` (or `original0`, `original1`, ...) and Modules.

    Args:
        modules: applied one after the other.
        original: the Tensor as it was; `right_inverse` of the Modules, in reverse order, says from
            what it is computed.
        unsafe: do not check that shape and dtype are kept.
    """

    def __init__(self, modules: list[Module], original: Tensor, unsafe: bool = False) -> None:
        super().__init__(modules)
        self.unsafe = unsafe
        grad = isinstance(original, Parameter) and original.requires_grad
        with no_grad():
            new = self._inverted(original)
        self.is_tensor = isinstance(new, Tensor)
        self.ntensors = 1 if self.is_tensor else len(new)
        parts = (
            {"original": new} if self.is_tensor else {f"original{i}": t for i, t in enumerate(new)}
        )
        for name, value in parts.items():
            if isinstance(original, Parameter):
                kept = original if value is original else Parameter(value, grad)
                self.register_parameter(name, kept)
            else:
                self.register_buffer(name, value)

    def _inverted(self, value: Any) -> Any:
        for module in reversed(list(self)):
            inverse = getattr(module, "right_inverse", None)
            value = value if inverse is None else inverse(value)
        return value

    def right_inverse(self, value: Tensor) -> None:
        """Set the originals so that `value` is computed from them."""
        with no_grad():
            new = self._inverted(value)
            for i, part in enumerate([new] if self.is_tensor else new):
                getattr(self, "original" if self.is_tensor else f"original{i}").copy_(part)

    def forward(self) -> Any:
        names = ["original"] if self.is_tensor else [f"original{i}" for i in range(self.ntensors)]
        listed = list(self)
        value = listed[0](*(getattr(self, n) for n in names))
        for module in listed[1:]:
            value = module(value)
        return value


def _parametrized_class(module: Module) -> None:
    kind = type(module)
    name = f"Parametrized{kind.__name__}"
    module.__class__ = type(
        name, (kind,), {"__module__": kind.__module__, "parametrized_from": kind}
    )


def _property(name: str) -> property:
    def read(self: Module) -> Any:
        own = self._modules["parametrizations"]
        if _cache is None:
            return own[name]()  # type: ignore[index]
        key = (id(self), name)
        if key not in _cache:
            _cache[key] = own[name]()  # type: ignore[index]
        return _cache[key]

    def write(self: Module, value: Tensor) -> None:
        self._modules["parametrizations"][name].right_inverse(value)  # type: ignore[index]

    return property(read, write)


def register_parametrization(
    module: Module, tensor_name: str, parametrization: Module, *, unsafe: bool = False
) -> Module:
    """Let a Parameter or buffer of a Module be computed by another Module.

    Args:
        module: changed in place; its class becomes a subclass of its class.
        tensor_name: the attribute.
        parametrization: called with the original Tensor, or with several where its
            `right_inverse` returns several.
        unsafe: allow another shape or dtype.

    Returns:
        The module.

    Raises:
        InvalidValue: when there is no such Tensor; ShapeError: when the shape changes.

    Example:
        >>> import talweg as tw
        >>> from talweg.nn.utils import parametrize
        >>> class Symmetric(tw.nn.Module):
        ...     def forward(self, x):
        ...         return x.triu() + x.triu(1).T
        >>> layer = parametrize.register_parametrization(tw.nn.Linear(3, 3), "weight", Symmetric())
        >>> tw.equal(layer.weight, layer.weight.T)
        True
    """
    parametrization.train(module.training)
    if is_parametrized(module, tensor_name):
        own = module._modules["parametrizations"][tensor_name]  # type: ignore[index]
        value = getattr(module, tensor_name)
        _check(tensor_name, value, parametrization(value), unsafe)
        own.append(parametrization)
        return module
    table = next((t for t in (module._parameters, module._buffers) if tensor_name in t), None)
    original = None if table is None else table[tensor_name]
    if table is None or original is None:
        raise InvalidValue(f"{type(module).__name__} has no parameter or buffer {tensor_name!r}")
    own = ParametrizationList([parametrization], original, unsafe)
    with no_grad():
        _check(tensor_name, original, own(), unsafe)
    del table[tensor_name]
    if not is_parametrized(module):
        _parametrized_class(module)
        module.parametrizations = ModuleDict()
    module.parametrizations[tensor_name] = own
    setattr(type(module), tensor_name, _property(tensor_name))
    return module


def _check(name: str, before: Tensor, after: Any, unsafe: bool) -> None:
    if unsafe:
        return
    if not isinstance(after, Tensor) or (after.shape, after.dtype) != (before.shape, before.dtype):
        raise ShapeError(
            f"the parametrization of {name!r} must keep its shape and dtype, {before.shape} and "
            f"{before.dtype.name}; or pass unsafe=True"
        )


def is_parametrized(module: Module, tensor_name: str | None = None) -> bool:
    """Return whether a Module has parametrizations, of this Tensor where one is named."""
    own = module._modules.get("parametrizations")
    if not isinstance(own, ModuleDict) or not hasattr(type(module), "parametrized_from"):
        return False
    return tensor_name is None or tensor_name in own


def remove_parametrizations(
    module: Module, tensor_name: str, leave_parametrized: bool = True
) -> Module:
    """Make a computed Tensor an ordinary one again.

    Args:
        module: changed in place.
        tensor_name: the attribute.
        leave_parametrized: keep the computed value; otherwise the original.

    Raises:
        InvalidValue: when it is not parametrized, or there is more than one original to leave.
    """
    if not is_parametrized(module, tensor_name):
        raise InvalidValue(f"{type(module).__name__}.{tensor_name} is not parametrized")
    own = module.parametrizations[tensor_name]
    if not leave_parametrized and not own.is_tensor:
        raise InvalidValue("there are several originals: leave_parametrized must be True")
    with no_grad():
        value = getattr(module, tensor_name) if leave_parametrized else own.original
    first = next(iter((*own._parameters.values(), *own._buffers.values())))
    kind: Any = type(module)
    delattr(kind, tensor_name)
    del module.parametrizations[tensor_name]
    if not len(module.parametrizations):
        del module.parametrizations
        module.__class__ = kind.parametrized_from
    if isinstance(first, Parameter):
        module.register_parameter(tensor_name, Parameter(value.detach(), first.requires_grad))
    else:
        module.register_buffer(tensor_name, value.detach())
    return module
