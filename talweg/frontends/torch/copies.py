"""Memory of a Tensor's own: layouts that are asked for, and copies of what views show."""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from typing import Any

from talweg.base.errors import InvalidValue, ShapeError
from talweg.base.shapes import normalize_axis
from talweg.engine import creation
from talweg.engine.functions import FUNCTIONS, METHODS
from talweg.engine.tensor import Tensor


def empty_strided(size: Sequence[int], stride: Sequence[int], **options: Any) -> Tensor:
    """Return a Tensor of unspecified values, its elements row by row whatever the strides."""
    if len(size) != len(stride):
        raise ShapeError(f"empty_strided: {len(size)} sizes and {len(stride)} strides")
    return creation.empty(tuple(size), **options)


def empty_permuted(size: Sequence[int], physical_layout: Sequence[int], **options: Any) -> Tensor:
    """Return a Tensor of unspecified values whose dimensions stand in memory in another order.

    >>> from talweg.frontends import torch
    >>> torch.empty_permuted((2, 3, 4), (2, 0, 1)).stride()
    (3, 1, 6)
    """
    order = list(physical_layout)
    if sorted(order) != list(range(len(size))):
        raise InvalidValue(f"empty_permuted: {order} is no order of {len(size)} dimensions")
    made: Tensor = creation.empty([size[d] for d in order], **options)
    turned: Tensor = METHODS["permute"](made, [order.index(d) for d in range(len(order))])
    return turned


def _copied(name: str) -> Callable[..., Any]:
    function: Any = FUNCTIONS.get(name) or METHODS.get(name) or getattr(Tensor, name)

    @functools.wraps(function)
    def copied(*args: Any, **options: Any) -> Any:
        found = function(*args, **options)
        if isinstance(found, Tensor):
            return METHODS["clone"](found)
        return tuple(METHODS["clone"](part) for part in found)

    copied.__name__ = f"{name}_copy"
    copied.__doc__ = f"Return what `{name}` does, in memory of its own."
    return copied


_VIEWS = (
    *("as_strided", "detach", "diagonal", "expand", "narrow", "permute", "select", "split"),
    *("split_with_sizes", "squeeze", "t", "transpose", "unbind", "unfold", "unsqueeze", "view"),
    *("view_as_real", "view_as_complex", "values", "indices"),
)


def slice_copy(
    input: Tensor, dim: int = 0, start: int | None = None, end: int | None = None, step: int = 1
) -> Tensor:
    """Return a copy of every `step`-th row from `start` to `end` of a dimension."""
    key = (slice(None),) * normalize_axis(dim, input.ndim)
    made: Tensor = METHODS["clone"](input[(*key, slice(start, end, step))])
    return made


def as_strided_scatter(
    input: Tensor, src: Tensor, size: Any, stride: Any, storage_offset: int | None = 0
) -> Tensor:
    """Return the input with `src` at the places that `as_strided` would read.

    >>> from talweg.frontends import torch
    >>> torch.as_strided_scatter(torch.zeros(2, 2), torch.ones(2), (2,), (3,))
    tensor([[1., 0.],
            [0., 1.]])
    """
    places = creation.arange(input.numel()).as_strided(size, stride, storage_offset or 0)
    if tuple(src.shape) != tuple(places.shape):
        raise ShapeError(f"as_strided_scatter: src {src.shape} must have the size {tuple(size)}")
    flat = input.reshape(-1).index_put((places.reshape(-1),), src.reshape(-1).to(input.dtype))
    made: Tensor = flat.reshape(input.shape)
    return made


COPIES: dict[str, Any] = {f"{name}_copy": _copied(name) for name in _VIEWS}
PUBLIC = (empty_strided, empty_permuted, slice_copy, as_strided_scatter)
MODULES: dict[str, dict[str, Any]] = {
    "": {**{f.__name__: f for f in PUBLIC}, **COPIES, "alias_copy": METHODS["clone"]}
}
