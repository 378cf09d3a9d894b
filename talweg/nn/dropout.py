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

    In training mode only: after `model.eval()` it gives its input.

    Args:
        p: from 0 to 1.
        inplace: overwrite the input.

    Shape: any, kept.

    Example:
        >>> import talweg as tw
        >>> tw.nn.Dropout(0.5).eval()(tw.ones(3)).tolist()
        [1.0, 1.0, 1.0]
    """

    def forward(self, input: Tensor) -> Tensor:
        return F.dropout(input, self.p, self.training, self.inplace)


class Dropout1d(_Dropout):
    """Set whole channels of [N, C, L] or [C, L] to 0."""

    def forward(self, input: Tensor) -> Tensor:
        return F.dropout1d(input, self.p, self.training, self.inplace)


class Dropout2d(_Dropout):
    """Set whole channels of [N, C, H, W] to 0."""

    def forward(self, input: Tensor) -> Tensor:
        return F.dropout2d(input, self.p, self.training, self.inplace)


class Dropout3d(_Dropout):
    """Set whole channels of [N, C, D, H, W] or [C, D, H, W] to 0."""

    def forward(self, input: Tensor) -> Tensor:
        return F.dropout3d(input, self.p, self.training, self.inplace)


class AlphaDropout(_Dropout):
    """Drop elements to the low end of `SELU`, keeping mean 0 and variance 1."""

    def forward(self, input: Tensor) -> Tensor:
        return F.alpha_dropout(input, self.p, self.training, self.inplace)


class FeatureAlphaDropout(_Dropout):
    """Drop whole channels of [N, C, *] as `AlphaDropout` drops elements."""

    def forward(self, input: Tensor) -> Tensor:
        return F.feature_alpha_dropout(input, self.p, self.training, self.inplace)
