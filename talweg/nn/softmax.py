"""Activations along a dimension: softmax and its kin, and the gated linear unit."""

from __future__ import annotations

from talweg.base.errors import ShapeError
from talweg.engine.tensor import Tensor
from talweg.nn import functional as F
from talweg.nn.module import Module


class GLU(Module):
    """First half * sigmoid(second half) along a dimension, whose size is halved.

    Dauphin et al., "Language modeling with gated convolutional networks" (2017).

    Args:
        dim: which is cut in two; its size is even.

    Shape: [*, 2 n, *] to [*, n, *].

    Example:
        >>> import talweg as tw
        >>> tw.nn.GLU()(tw.tensor([[2.0, 4.0, 0.0, 0.0]])).tolist()
        [[1.0, 2.0]]
    """

    def __init__(self, dim: int = -1) -> None:
        super().__init__()
        self.dim = dim

    def forward(self, input: Tensor) -> Tensor:
        return F.glu(input, self.dim)

    def extra_repr(self) -> str:
        return f"dim={self.dim}"


class Softmax(Module):
    """exp(x) / sum(exp(x)) along a dimension, without overflow.

    `nn.CrossEntropyLoss` contains it: give that one the scores themselves.

    Args:
        dim: where the results sum to 1; None means 0 for 0, 1 and 3 dimensions, else 1.

    Shape: any, kept.

    Example:
        >>> import talweg as tw
        >>> tw.nn.Softmax(dim=1)(tw.zeros(1, 4)).tolist()
        [[0.25, 0.25, 0.25, 0.25]]
    """

    def __init__(self, dim: int | None = None) -> None:
        super().__init__()
        self.dim = dim

    def forward(self, input: Tensor) -> Tensor:
        return F.softmax(input, self.dim)

    def extra_repr(self) -> str:
        return f"dim={self.dim}"


class Softmin(Softmax):
    """softmax(-x) along a dimension: the smallest number has the largest share.

    Args:
        dim: as for `Softmax`.

    Shape: any, kept.

    Example:
        >>> import talweg as tw
        >>> tw.nn.Softmin(dim=0)(tw.tensor([1.0, 2.0]))
        tensor([0.7311, 0.2689])
    """

    def forward(self, input: Tensor) -> Tensor:
        return F.softmin(input, self.dim)


class LogSoftmax(Softmax):
    """log(softmax(x)) along a dimension, without underflow; `nn.NLLLoss` goes with it.

    Args:
        dim: as for `Softmax`.

    Shape: any, kept.

    Example:
        >>> import talweg as tw
        >>> tw.nn.LogSoftmax(dim=1)(tw.tensor([[0.0, -200.0]])).tolist()
        [[0.0, -200.0]]
    """

    def forward(self, input: Tensor) -> Tensor:
        return F.log_softmax(input, self.dim)


class Softmax2d(Module):
    """Softmax over the channels, at each place of an image.

    Shape: [N, C, H, W] or [C, H, W], kept.

    Raises:
        ShapeError: for other numbers of dimensions, by the call.

    Example:
        >>> import talweg as tw
        >>> tw.nn.Softmax2d()(tw.zeros(1, 4, 2, 2))[0, :, 0, 0].tolist()
        [0.25, 0.25, 0.25, 0.25]
    """

    def forward(self, input: Tensor) -> Tensor:
        if input.ndim not in (3, 4):
            raise ShapeError(f"Softmax2d: expected 3 or 4 dimensions, got shape {input.shape}")
        return F.softmax(input, -3)
