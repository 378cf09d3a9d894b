"""Dropout: random zeros in training, nothing in evaluation."""

from __future__ import annotations

from talweg.base.errors import InvalidValue
from talweg.engine.tensor import Tensor
from talweg.nn import functional as F
from talweg.nn.module import Module


class _Dropout(Module):
    def __init__(self, p: float = 0.5, inplace: bool = False) -> None:
        super().__init__()
        if not 0 <= p <= 1:
            raise InvalidValue(f"dropout probability has to be between 0 and 1, but got {p}")
        self.p = p
        self.inplace = inplace

    def extra_repr(self) -> str:
        return f"p={self.p}, inplace={self.inplace}"


class Dropout(_Dropout):
    """Set elements to 0 with probability p and multiply the others by 1 / (1 - p).

    In training mode only: after `model.eval()` it gives its input (Srivastava et al., 2014).

    Args:
        p: from 0 to 1.
        inplace: overwrite the input.

    Shape: any, kept.

    Example:
        >>> import talweg as tw
        >>> tw.nn.Dropout(0.5).eval()(tw.ones(3)).tolist()
        [1.0, 1.0, 1.0]
        >>> sorted(set(tw.nn.Dropout(0.5)(tw.ones(100)).tolist()))
        [0.0, 2.0]
    """

    def forward(self, input: Tensor) -> Tensor:
        return F.dropout(input, self.p, self.training, self.inplace)


class Dropout1d(_Dropout):
    """Set whole channels to 0 with probability p and multiply the others by 1 / (1 - p).

    In training mode only (Tompson et al., 2015): neighbouring elements of a channel are alike, and
    `Dropout` would leave most of what they say.

    Args:
        p: from 0 to 1.
        inplace: overwrite the input.

    Shape: [N, C, L] or [C, L], kept.

    Example:
        >>> import talweg as tw
        >>> drawn = tw.nn.Dropout1d(0.5)(tw.ones(4, 8, 5))
        >>> bool((drawn == drawn[:, :, :1]).all())
        True
    """

    def forward(self, input: Tensor) -> Tensor:
        return F.dropout1d(input, self.p, self.training, self.inplace)


class Dropout2d(_Dropout):
    """Set whole channels to 0 with probability p and multiply the others by 1 / (1 - p).

    In training mode only; see `Dropout1d`.

    Args:
        p: from 0 to 1.
        inplace: overwrite the input.

    Shape: [N, C, H, W], kept.

    Example:
        >>> import talweg as tw
        >>> drawn = tw.nn.Dropout2d(0.5)(tw.ones(4, 8, 5, 5))
        >>> bool((drawn == drawn[:, :, :1, :1]).all())
        True
    """

    def forward(self, input: Tensor) -> Tensor:
        return F.dropout2d(input, self.p, self.training, self.inplace)


class Dropout3d(_Dropout):
    """Set whole channels to 0 with probability p and multiply the others by 1 / (1 - p).

    In training mode only; see `Dropout1d`.

    Args:
        p: from 0 to 1.
        inplace: overwrite the input.

    Shape: [N, C, D, H, W] or [C, D, H, W], kept.

    Example:
        >>> import talweg as tw
        >>> tw.nn.Dropout3d(0.5).eval()(tw.ones(1, 2, 3, 3, 3)).sum().item()
        54.0
    """

    def forward(self, input: Tensor) -> Tensor:
        return F.dropout3d(input, self.p, self.training, self.inplace)


class AlphaDropout(_Dropout):
    """Drop elements to the low end of `SELU`, keeping mean 0 and variance 1.

    In training mode only (Klambauer et al., 2017).

    Args:
        p: the share of elements that are dropped.
        inplace: overwrite the input.

    Shape: any, kept.

    Example:
        >>> import talweg as tw
        >>> drawn = tw.nn.AlphaDropout(0.3)(tw.randn(100_000))
        >>> abs(drawn.mean().item()) < 0.05, abs(drawn.std().item() - 1) < 0.05
        (True, True)
    """

    def forward(self, input: Tensor) -> Tensor:
        return F.alpha_dropout(input, self.p, self.training, self.inplace)


class FeatureAlphaDropout(_Dropout):
    """Drop whole channels as `AlphaDropout` drops elements.

    Args:
        p: the share of channels that are dropped.
        inplace: overwrite the input.

    Shape: [N, C, *], kept.

    Example:
        >>> import talweg as tw
        >>> drawn = tw.nn.FeatureAlphaDropout(0.5)(tw.ones(4, 8, 5))
        >>> bool((drawn == drawn[:, :, :1]).all())
        True
    """

    def forward(self, input: Tensor) -> Tensor:
        return F.feature_alpha_dropout(input, self.p, self.training, self.inplace)
