"""Layers that change the shape only."""

from __future__ import annotations

from collections.abc import Sequence

from talweg.engine.tensor import Tensor
from talweg.nn.module import Module


class Flatten(Module):
    """Join neighbouring dimensions into one.

    Args:
        start_dim, end_dim: the first and the last dimension that are joined.

    Shape: [N, *] to [N, product of *] by default.

    Example:
        >>> import talweg as tw
        >>> tw.nn.Flatten()(tw.ones(2, 3, 4, 5)).shape
        (2, 60)
    """

    def __init__(self, start_dim: int = 1, end_dim: int = -1) -> None:
        super().__init__()
        self.start_dim = start_dim
        self.end_dim = end_dim

    def forward(self, input: Tensor) -> Tensor:
        out: Tensor = input.flatten(self.start_dim, self.end_dim)
        return out

    def extra_repr(self) -> str:
        return f"start_dim={self.start_dim}, end_dim={self.end_dim}"


class Unflatten(Module):
    """Cut one dimension into several; undoes `Flatten`.

    Args:
        dim: which one.
        unflattened_size: the sizes; one of them may be -1, and follows from the others.

    Shape: [*, n, *] to [*, *unflattened_size, *].

    Example:
        >>> import talweg as tw
        >>> tw.nn.Unflatten(1, (3, -1))(tw.ones(2, 12)).shape
        (2, 3, 4)
    """

    def __init__(self, dim: int, unflattened_size: Sequence[int]) -> None:
        super().__init__()
        self.dim = dim
        self.unflattened_size = tuple(unflattened_size)

    def forward(self, input: Tensor) -> Tensor:
        out: Tensor = input.unflatten(self.dim, self.unflattened_size)
        return out

    def extra_repr(self) -> str:
        return f"dim={self.dim}, unflattened_size={self.unflattened_size}"
