"""Distances between vectors, as layers."""

from __future__ import annotations

from talweg.engine.tensor import Tensor
from talweg.nn import functional as F
from talweg.nn.module import Module


class CosineSimilarity(Module):
    """x1 · x2 / (|x1| |x2|) along a dimension, which disappears.

    Args:
        dim: where the vectors lie.
        eps: the least that a length counts as.

    Shape: two inputs that broadcast, to the same without `dim`.

    Example:
        >>> import talweg as tw
        >>> x1, x2 = tw.tensor([[1.0, 0.0], [0.0, 2.0]]), tw.tensor([[3.0, 0.0], [1.0, 0.0]])
        >>> tw.nn.CosineSimilarity()(x1, x2).tolist()
        [1.0, 0.0]
    """

    def __init__(self, dim: int = 1, eps: float = 1e-8) -> None:
        super().__init__()
        self.dim = dim
        self.eps = eps

    def forward(self, x1: Tensor, x2: Tensor) -> Tensor:
        return F.cosine_similarity(x1, x2, self.dim, self.eps)


class PairwiseDistance(Module):
    """The p-norm of x1 - x2 + eps along the last dimension.

    Args:
        p: the norm's exponent.
        eps: keeps the gradient of equal vectors finite.
        keepdim: whether the last dimension stays, with size 1.

    Shape: [N, D] and [N, D], or [D] and [D], to [N] or [], the last 1 kept with `keepdim`.

    Example:
        >>> import talweg as tw
        >>> tw.nn.PairwiseDistance()(tw.tensor([[3.0, 4.0]]), tw.zeros(1, 2))
        tensor([5.0000])
    """

    def __init__(self, p: float = 2.0, eps: float = 1e-6, keepdim: bool = False) -> None:
        super().__init__()
        self.norm = p
        self.eps = eps
        self.keepdim = keepdim

    def forward(self, x1: Tensor, x2: Tensor) -> Tensor:
        return F.pairwise_distance(x1, x2, self.norm, self.eps, self.keepdim)
