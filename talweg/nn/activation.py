"""Activation functions as layers, element by element."""

from __future__ import annotations

from talweg.engine.tensor import Tensor
from talweg.nn import functional as F
from talweg.nn.module import Module


class _InPlace(Module):
    """An activation with `inplace` as its only option."""

    def __init__(self, inplace: bool = False) -> None:
        super().__init__()
        self.inplace = inplace

    def extra_repr(self) -> str:
        return "inplace=True" if self.inplace else ""


class ReLU(_InPlace):
    """max(x, 0).

    Args:
        inplace: write the result into the input, whose old values are gone; it saves memory.

    Shape: any, kept.

    Example:
        >>> import talweg as tw
        >>> tw.nn.ReLU()(tw.tensor([-1.0, 2.0])).tolist()
        [0.0, 2.0]
    """

    def forward(self, input: Tensor) -> Tensor:
        return F.relu(input, inplace=self.inplace)


class ReLU6(_InPlace):
    """min(max(x, 0), 6).

    Krizhevsky, "Convolutional deep belief networks on CIFAR-10" (2010).

    Args:
        inplace: write the result into the input.

    Shape: any, kept.

    Example:
        >>> import talweg as tw
        >>> tw.nn.ReLU6()(tw.tensor([-1.0, 3.0, 9.0])).tolist()
        [0.0, 3.0, 6.0]
    """

    def forward(self, input: Tensor) -> Tensor:
        return F.relu6(input, inplace=self.inplace)


class SELU(_InPlace):
    """1.0507 times an `ELU` whose alpha is 1.6733, which keeps mean 0 and variance 1.

    Klambauer et al., "Self-normalizing neural networks" (2017). Weights are normal numbers of
    variance 1 / fan_in, and `AlphaDropout` goes with it.

    Args:
        inplace: write the result into the input.

    Shape: any, kept.

    Example:
        >>> import talweg as tw
        >>> tw.nn.SELU()(tw.tensor([-1.0, 0.0, 1.0]))
        tensor([-1.1113,  0.0000,  1.0507])
    """

    def forward(self, input: Tensor) -> Tensor:
        return F.selu(input, inplace=self.inplace)


class SiLU(_InPlace):
    """x * sigmoid(x), also called swish.

    Hendrycks and Gimpel, "Gaussian error linear units" (2016); Ramachandran, Zoph and Le,
    "Searching for activation functions" (2017).

    Args:
        inplace: write the result into the input.

    Shape: any, kept.

    Example:
        >>> import talweg as tw
        >>> tw.nn.SiLU()(tw.tensor([-1.0, 0.0, 1.0]))
        tensor([-0.2689,  0.0000,  0.7311])
    """

    def forward(self, input: Tensor) -> Tensor:
        return F.silu(input, inplace=self.inplace)


class Mish(_InPlace):
    """x * tanh(softplus(x)).

    Misra, "Mish: a self regularized non-monotonic activation function" (2020).

    Args:
        inplace: write the result into the input.

    Shape: any, kept.

    Example:
        >>> import talweg as tw
        >>> tw.nn.Mish()(tw.tensor([-1.0, 0.0, 1.0]))
        tensor([-0.3034,  0.0000,  0.8651])
    """

    def forward(self, input: Tensor) -> Tensor:
        return F.mish(input, inplace=self.inplace)


class Hardswish(_InPlace):
    """x * hardsigmoid(x): `SiLU` in three pieces, without exp.

    Howard et al., "Searching for MobileNetV3" (2019).

    Args:
        inplace: write the result into the input.

    Shape: any, kept.

    Example:
        >>> import talweg as tw
        >>> tw.nn.Hardswish()(tw.tensor([-1.5, 0.0, 3.0])).tolist()
        [-0.375, 0.0, 3.0]
    """

    def forward(self, input: Tensor) -> Tensor:
        return F.hardswish(input, inplace=self.inplace)


class Hardsigmoid(_InPlace):
    """min(max(x + 3, 0), 6) / 6: `Sigmoid` in three pieces.

    Args:
        inplace: write the result into the input.

    Shape: any, kept.

    Example:
        >>> import talweg as tw
        >>> tw.nn.Hardsigmoid()(tw.tensor([-4.0, 0.0, 4.0])).tolist()
        [0.0, 0.5, 1.0]
    """

    def forward(self, input: Tensor) -> Tensor:
        return F.hardsigmoid(input, inplace=self.inplace)


class Sigmoid(Module):
    """1 / (1 + exp(-x)), between 0 and 1.

    `nn.BCEWithLogitsLoss` contains it, and is exact where this one is 0 or 1 already.

    Shape: any, kept.

    Example:
        >>> import talweg as tw
        >>> tw.nn.Sigmoid()(tw.tensor([-2.0, 0.0, 2.0]))
        tensor([0.1192, 0.5000, 0.8808])
    """

    def forward(self, input: Tensor) -> Tensor:
        return F.sigmoid(input)


class Tanh(Module):
    """The hyperbolic tangent, between -1 and 1.

    Shape: any, kept.

    Example:
        >>> import talweg as tw
        >>> tw.nn.Tanh()(tw.tensor([-1.0, 0.0, 1.0]))
        tensor([-0.7616,  0.0000,  0.7616])
    """

    def forward(self, input: Tensor) -> Tensor:
        return F.tanh(input)


class LogSigmoid(Module):
    """log(sigmoid(x)), without underflow.

    Shape: any, kept.

    Example:
        >>> import talweg as tw
        >>> tw.nn.LogSigmoid()(tw.tensor([-200.0, 0.0]))
        tensor([-200.0000,   -0.6931])
    """

    def forward(self, input: Tensor) -> Tensor:
        return F.logsigmoid(input)


class Softsign(Module):
    """x / (1 + |x|), between -1 and 1.

    Shape: any, kept.

    Example:
        >>> import talweg as tw
        >>> tw.nn.Softsign()(tw.tensor([-1.0, 0.0, 3.0])).tolist()
        [-0.5, 0.0, 0.75]
    """

    def forward(self, input: Tensor) -> Tensor:
        return F.softsign(input)


class Tanhshrink(Module):
    """x - tanh(x).

    Shape: any, kept.

    Example:
        >>> import talweg as tw
        >>> tw.nn.Tanhshrink()(tw.tensor([0.0, 1.0, 2.0]))
        tensor([0.0000, 0.2384, 1.0360])
    """

    def forward(self, input: Tensor) -> Tensor:
        return F.tanhshrink(input)


class ELU(Module):
    """x where positive, alpha * (exp(x) - 1) elsewhere.

    Clevert, Unterthiner and Hochreiter, "Fast and accurate deep network learning by exponential
    linear units" (2016).

    Args:
        alpha: the results are above -alpha.
        inplace: write the result into the input.

    Shape: any, kept.

    Example:
        >>> import talweg as tw
        >>> tw.nn.ELU()(tw.tensor([-1.0, 0.0, 1.0]))
        tensor([-0.6321,  0.0000,  1.0000])
    """

    def __init__(self, alpha: float = 1.0, inplace: bool = False) -> None:
        super().__init__()
        self.alpha = alpha
        self.inplace = inplace

    def forward(self, input: Tensor) -> Tensor:
        return F.elu(input, self.alpha, inplace=self.inplace)

    def extra_repr(self) -> str:
        return f"alpha={self.alpha}" + (", inplace=True" if self.inplace else "")


class CELU(ELU):
    """x where positive, alpha * (exp(x / alpha) - 1) elsewhere: an `ELU` whose slope has no jump.

    Barron, "Continuously differentiable exponential linear units" (2017).

    Args:
        alpha: the results are above -alpha.
        inplace: write the result into the input.

    Shape: any, kept.

    Example:
        >>> import talweg as tw
        >>> tw.nn.CELU(alpha=2.0)(tw.tensor([-2.0, 0.0, 1.0]))
        tensor([-1.2642,  0.0000,  1.0000])
    """

    def forward(self, input: Tensor) -> Tensor:
        return F.celu(input, self.alpha, inplace=self.inplace)


class GELU(Module):
    """x times the probability that a standard normal number is below x.

    Hendrycks and Gimpel, "Gaussian error linear units" (2016).

    Args:
        approximate: "none", or "tanh" for the formula of GPT-2:
            x / 2 * (1 + tanh(sqrt(2 / pi) * (x + 0.044715 * x ** 3))).

    Shape: any, kept.

    Example:
        >>> import talweg as tw
        >>> tw.nn.GELU()(tw.tensor([-1.0, 0.0, 1.0]))
        tensor([-0.1587,  0.0000,  0.8413])
    """

    def __init__(self, approximate: str = "none") -> None:
        super().__init__()
        self.approximate = approximate

    def forward(self, input: Tensor) -> Tensor:
        return F.gelu(input, approximate=self.approximate)

    def extra_repr(self) -> str:
        return f"approximate={self.approximate!r}"


class Hardtanh(Module):
    """x limited to [min_val, max_val].

    Args:
        min_val, max_val: the limits.
        inplace: write the result into the input.

    Shape: any, kept.

    Example:
        >>> import talweg as tw
        >>> tw.nn.Hardtanh()(tw.tensor([-3.0, 0.5, 3.0])).tolist()
        [-1.0, 0.5, 1.0]
    """

    def __init__(self, min_val: float = -1.0, max_val: float = 1.0, inplace: bool = False) -> None:
        super().__init__()
        self.min_val = min_val
        self.max_val = max_val
        self.inplace = inplace

    def forward(self, input: Tensor) -> Tensor:
        return F.hardtanh(input, self.min_val, self.max_val, inplace=self.inplace)

    def extra_repr(self) -> str:
        text = f"min_val={self.min_val}, max_val={self.max_val}"
        return text + (", inplace=True" if self.inplace else "")


class Threshold(Module):
    """x where above the threshold, `value` elsewhere.

    Args:
        threshold: what x is compared with.
        value: what stands for all that is not above.
        inplace: write the result into the input.

    Shape: any, kept.

    Example:
        >>> import talweg as tw
        >>> tw.nn.Threshold(0.5, 20.0)(tw.tensor([0.5, 1.0])).tolist()
        [20.0, 1.0]
    """

    def __init__(self, threshold: float, value: float, inplace: bool = False) -> None:
        super().__init__()
        self.threshold = threshold
        self.value = value
        self.inplace = inplace

    def forward(self, input: Tensor) -> Tensor:
        return F.threshold(input, self.threshold, self.value, inplace=self.inplace)

    def extra_repr(self) -> str:
        text = f"threshold={self.threshold}, value={self.value}"
        return text + (", inplace=True" if self.inplace else "")


class Softplus(Module):
    """log(1 + exp(beta * x)) / beta: a smooth `ReLU`, always positive.

    Args:
        beta: the larger, the nearer to `ReLU`.
        threshold: where beta * x exceeds it, the result is x itself.

    Shape: any, kept.

    Example:
        >>> import talweg as tw
        >>> tw.nn.Softplus()(tw.tensor([-1.0, 0.0, 30.0]))
        tensor([ 0.3133,  0.6931, 30.0000])
    """

    def __init__(self, beta: float = 1.0, threshold: float = 20.0) -> None:
        super().__init__()
        self.beta = beta
        self.threshold = threshold

    def forward(self, input: Tensor) -> Tensor:
        return F.softplus(input, self.beta, self.threshold)

    def extra_repr(self) -> str:
        return f"beta={self.beta}, threshold={self.threshold}"


class Softshrink(Module):
    """x moved towards 0 by lambd, and 0 within [-lambd, lambd].

    Args:
        lambd: not negative.

    Shape: any, kept.

    Example:
        >>> import talweg as tw
        >>> tw.nn.Softshrink(0.5)(tw.tensor([-1.0, 0.25, 2.0])).tolist()
        [-0.5, 0.0, 1.5]
    """

    def __init__(self, lambd: float = 0.5) -> None:
        super().__init__()
        self.lambd = lambd

    def forward(self, input: Tensor) -> Tensor:
        return F.softshrink(input, self.lambd)

    def extra_repr(self) -> str:
        return str(self.lambd)


class Hardshrink(Softshrink):
    """x, and 0 within [-lambd, lambd].

    Args:
        lambd: not negative.

    Shape: any, kept.

    Example:
        >>> import talweg as tw
        >>> tw.nn.Hardshrink(0.5)(tw.tensor([-1.0, 0.25, 2.0])).tolist()
        [-1.0, 0.0, 2.0]
    """

    def forward(self, input: Tensor) -> Tensor:
        return F.hardshrink(input, self.lambd)
