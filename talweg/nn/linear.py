"""Layers that multiply by a matrix."""

from __future__ import annotations

import math
from typing import Any

from talweg.base.dtypes import DType
from talweg.engine.creation import empty
from talweg.engine.tensor import Tensor
from talweg.nn import functional as F
from talweg.nn import init
from talweg.nn.module import Module
from talweg.nn.parameter import Parameter


class Identity(Module):
    """Return the input; any arguments are accepted and ignored.

    It takes the place of a layer that is not wanted, as `model.fc = tw.nn.Identity()` does.

    Shape: any, kept.

    Example:
        >>> import talweg as tw
        >>> tw.nn.Identity(54, unused=0.1)(tw.ones(2)).tolist()
        [1.0, 1.0]
    """

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__()

    def forward(self, input: Tensor) -> Tensor:
        return input


class Linear(Module):
    """A layer in which every output sees every input: x @ weight.T + bias.

    Args:
        in_features: the last size of the input. Images are made flat first, by `Flatten`.
        out_features: the last size of the result.
        bias: whether a number per output is added.

    Shape: [*, in_features] to [*, out_features], where * is any number of sizes.

    Attributes:
        weight: [out_features, in_features], uniform within ±1 / sqrt(in_features) at first.
        bias: [out_features], likewise, or None.

    Example:
        >>> import talweg as tw
        >>> layer = tw.nn.Linear(20, 30)
        >>> layer(tw.ones(128, 20)).shape
        (128, 30)
    """

    weight: Parameter
    bias: Parameter | None

    def __init__(
        self,
        in_features: int,
        out_features: int,
        bias: bool = True,
        device: object = None,
        dtype: DType | None = None,
    ) -> None:
        super().__init__()
        self.in_features = in_features
        self.out_features = out_features
        self.weight = Parameter(empty(out_features, in_features, dtype=dtype, device=device))
        vector = Parameter(empty(out_features, dtype=dtype, device=device)) if bias else None
        self.register_parameter("bias", vector)
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Draw new weights and biases."""
        init.kaiming_uniform_(self.weight, a=math.sqrt(5))
        if self.bias is not None:
            bound = 1 / math.sqrt(self.in_features) if self.in_features else 0.0
            init.uniform_(self.bias, -bound, bound)

    def forward(self, input: Tensor) -> Tensor:
        return F.linear(input, self.weight, self.bias)

    def extra_repr(self) -> str:
        return (
            f"in_features={self.in_features}, out_features={self.out_features}, "
            f"bias={self.bias is not None}"
        )


class Bilinear(Module):
    """Products of two inputs, weighted: y[k] = x1 @ weight[k] @ x2 + bias[k].

    Args:
        in1_features, in2_features: the last sizes of the inputs.
        out_features: the last size of the result.
        bias: whether a number per output is added.

    Shape: [*, in1_features] and [*, in2_features] to [*, out_features].

    Attributes:
        weight: [out_features, in1_features, in2_features], uniform within ±1 / sqrt(in1_features).
        bias: [out_features], likewise, or None.

    Example:
        >>> import talweg as tw
        >>> tw.nn.Bilinear(20, 30, 40)(tw.ones(128, 20), tw.ones(128, 30)).shape
        (128, 40)
    """

    weight: Parameter
    bias: Parameter | None

    def __init__(
        self,
        in1_features: int,
        in2_features: int,
        out_features: int,
        bias: bool = True,
        device: object = None,
        dtype: DType | None = None,
    ) -> None:
        super().__init__()
        self.in1_features = in1_features
        self.in2_features = in2_features
        self.out_features = out_features
        shape = (out_features, in1_features, in2_features)
        self.weight = Parameter(empty(shape, dtype=dtype, device=device))
        vector = Parameter(empty(out_features, dtype=dtype, device=device)) if bias else None
        self.register_parameter("bias", vector)
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Draw new weights and biases."""
        bound = 1 / math.sqrt(self.in1_features)
        init.uniform_(self.weight, -bound, bound)
        if self.bias is not None:
            init.uniform_(self.bias, -bound, bound)

    def forward(self, input1: Tensor, input2: Tensor) -> Tensor:
        return F.bilinear(input1, input2, self.weight, self.bias)

    def extra_repr(self) -> str:
        return (
            f"in1_features={self.in1_features}, in2_features={self.in2_features}, "
            f"out_features={self.out_features}, bias={self.bias is not None}"
        )
