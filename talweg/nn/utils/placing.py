"""Where the parameters of a Module are, and in which order of axes."""

from __future__ import annotations

import inspect
from typing import Any, TypeVar

from talweg.base.errors import InvalidValue
from talweg.base.formats import MemoryFormat
from talweg.engine.tensor import Tensor
from talweg.nn.conv import Conv2d, Conv3d, ConvTranspose2d, ConvTranspose3d
from talweg.nn.module import Module

_M = TypeVar("_M", bound=Module)


def skip_init(module_cls: type[_M], *args: Any, **kwargs: Any) -> _M:
    """Return a Module whose parameters have memory and no initial values: for those to be loaded.

    Args:
        module_cls: takes `device`, and computes nothing of its parameters when it is made.
        args, kwargs: its arguments; a `device` among them is where the parameters will be.

    Raises:
        InvalidValue: for a class that is no Module, or takes no `device`.

    >>> import talweg as tw
    >>> layer = tw.nn.utils.skip_init(tw.nn.Linear, 3, 2)
    >>> layer.weight.shape
    (2, 3)
    """
    if not issubclass(module_cls, Module):
        raise InvalidValue(f"Expected a Module; got {module_cls}")
    if "device" not in inspect.signature(module_cls.__init__).parameters:
        raise InvalidValue("Module must support a 'device' arg to skip initialization")
    place = kwargs.pop("device", None) or "cpu"
    kwargs["device"] = "meta"
    return module_cls(*args, **kwargs).to_empty(device=place)


def _converted(module: _M, memory_format: MemoryFormat, kinds: tuple[type[Module], ...]) -> _M:
    def arranged(t: Tensor) -> Tensor:
        made: Tensor = t.to(memory_format=memory_format)
        return made

    for part in module.modules():
        if isinstance(part, kinds):
            part.weight.data = arranged(part.weight.data)
    return module


def convert_conv2d_weight_memory_format(module: _M, memory_format: MemoryFormat) -> _M:
    """Store the weights of all Conv2d and ConvTranspose2d in another order; return the Module."""
    return _converted(module, memory_format, (Conv2d, ConvTranspose2d))


def convert_conv3d_weight_memory_format(module: _M, memory_format: MemoryFormat) -> _M:
    """Store the weights of all Conv3d and ConvTranspose3d in another order; return the Module."""
    return _converted(module, memory_format, (Conv3d, ConvTranspose3d))
