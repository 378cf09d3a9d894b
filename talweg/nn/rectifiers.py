"""Rectifiers that let a part of negative numbers through: fixed, learned or random."""

from __future__ import annotations

from talweg.base.dtypes import DType
from talweg.engine.creation import full
from talweg.engine.tensor import Tensor
from talweg.nn import functional as F
from talweg.nn.module import Module
from talweg.nn.parameter import Parameter


class LeakyReLU(Module):
    """x where positive, negative_slope * x elsewhere.

    Maas, Hannun and Ng, "Rectifier nonlinearities improve neural network acoustic models" (2013).

    Args:
        negative_slope: of negative numbers.
        inplace: write the result into the input.

    Shape: any, kept.

    Example:
        >>> import talweg as tw
        >>> tw.nn.LeakyReLU(0.25)(tw.tensor([-4.0, 2.0])).tolist()
        [-1.0, 2.0]
    """

    def __init__(self, negative_slope: float = 1e-2, inplace: bool = False) -> None:
        super().__init__()
        self.negative_slope = negative_slope
        self.inplace = inplace

    def forward(self, input: Tensor) -> Tensor:
        return F.leaky_relu(input, self.negative_slope, inplace=self.inplace)

    def extra_repr(self) -> str:
        return f"negative_slope={self.negative_slope}" + (", inplace=True" if self.inplace else "")


class PReLU(Module):
    """x where positive, weight * x elsewhere, with a learned weight.

    He et al., "Delving deep into rectifiers" (2015). The weight is best trained without decay.

    Args:
        num_parameters: 1, or the number of channels of [N, C, *].
        init: the weight at first.

    Shape: any, kept.

    Attributes:
        weight: [num_parameters].

    Example:
        >>> import talweg as tw
        >>> tw.nn.PReLU()(tw.tensor([-4.0, 2.0])).tolist()
        [-1.0, 2.0]
        >>> tw.nn.PReLU(3).weight.shape
        (3,)
    """

    weight: Parameter

    def __init__(
        self,
        num_parameters: int = 1,
        init: float = 0.25,
        device: object = None,
        dtype: DType | None = None,
    ) -> None:
        super().__init__()
        self.num_parameters = num_parameters
        self.init = init
        start = full((num_parameters,), float(init), dtype=dtype, device=device)
        self.weight = Parameter(start)

    def forward(self, input: Tensor) -> Tensor:
        return F.prelu(input, self.weight)

    def extra_repr(self) -> str:
        return f"num_parameters={self.num_parameters}"


class RReLU(Module):
    """x where positive, slope * x elsewhere; in training each element has a random slope.

    Xu et al., "Empirical evaluation of rectified activations in convolutional network" (2015).

    Args:
        lower, upper: slopes are uniform between them; after `eval()` they are the mean of both.
        inplace: write the result into the input.

    Shape: any, kept.

    Example:
        >>> import talweg as tw
        >>> tw.nn.RReLU(0.25, 0.75).eval()(tw.tensor([-4.0, 2.0])).tolist()
        [-2.0, 2.0]
    """

    def __init__(self, lower: float = 1 / 8, upper: float = 1 / 3, inplace: bool = False) -> None:
        super().__init__()
        self.lower = lower
        self.upper = upper
        self.inplace = inplace

    def forward(self, input: Tensor) -> Tensor:
        return F.rrelu(input, self.lower, self.upper, self.training, self.inplace)

    def extra_repr(self) -> str:
        text = f"lower={self.lower}, upper={self.upper}"
        return text + (", inplace=True" if self.inplace else "")
