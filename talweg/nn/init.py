"""Initial values of parameters, written in place, without gradients.

fan_in and fan_out of a weight [O, I, *kernel] are I and O times the kernel's elements.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np

from talweg.base.errors import InvalidValue, ShapeError
from talweg.engine import random
from talweg.engine.creation import eye, from_numpy
from talweg.engine.modes import no_grad
from talweg.engine.tensor import Tensor

if TYPE_CHECKING:
    from talweg.engine.random import Generator

_GAINS = {
    **dict.fromkeys(("linear", "sigmoid"), 1.0),
    **{f"conv{t}{n}d": 1.0 for t in ("", "_transpose") for n in (1, 2, 3)},
    "tanh": 5 / 3,
    "relu": math.sqrt(2),
    "selu": 3 / 4,
}


def calculate_gain(nonlinearity: str, param: float | None = None) -> float:
    """Return the recommended gain for a nonlinearity.

    Args:
        nonlinearity: "linear", "conv1d", "sigmoid", "tanh", "relu", "leaky_relu", "selu", ...
        param: the negative slope of "leaky_relu", 0.01 by default.

    Raises:
        InvalidValue: for an unknown name.

    Example:
        >>> import talweg as tw
        >>> round(tw.nn.init.calculate_gain("leaky_relu", 1.0), 4)
        1.0
    """
    if nonlinearity == "leaky_relu":
        slope = 0.01 if param is None else float(param)
        return math.sqrt(2 / (1 + slope * slope))
    if nonlinearity not in _GAINS:
        raise InvalidValue(f"unsupported nonlinearity {nonlinearity!r}")
    return _GAINS[nonlinearity]


def fans(tensor: Tensor) -> tuple[int, int]:
    """Return fan_in and fan_out of a weight.

    Raises:
        ShapeError: for fewer than two dimensions.
    """
    if tensor.ndim < 2:
        raise ShapeError(
            "fan in and fan out can not be computed for a tensor with fewer than 2 dimensions, got "
            f"shape {tensor.shape}"
        )
    kernel = math.prod(tensor.shape[2:])
    return tensor.shape[1] * kernel, tensor.shape[0] * kernel


def uniform_(
    tensor: Tensor, a: float = 0.0, b: float = 1.0, generator: Generator | None = None
) -> Tensor:
    """Fill with numbers uniform in [a, b)."""
    with no_grad():
        tensor.uniform_(a, b, generator=generator)
    return tensor


def normal_(
    tensor: Tensor, mean: float = 0.0, std: float = 1.0, generator: Generator | None = None
) -> Tensor:
    """Fill with normal numbers."""
    with no_grad():
        tensor.normal_(mean, std, generator=generator)
    return tensor


def trunc_normal_(
    tensor: Tensor,
    mean: float = 0.0,
    std: float = 1.0,
    a: float = -2.0,
    b: float = 2.0,
    generator: Generator | None = None,
) -> Tensor:
    """Fill with normal numbers from within [a, b], drawn through the inverse of their cdf."""

    def cdf(x: float) -> float:
        return (1 + math.erf((x - mean) / (std * math.sqrt(2)))) / 2

    low, high = 2 * cdf(a) - 1, 2 * cdf(b) - 1
    with no_grad():
        draw = random.rand(tensor.shape, dtype=tensor.dtype, generator=generator)
        spread = (draw * (high - low) + low).erfinv() * (std * math.sqrt(2)) + mean
        tensor.copy_(spread.clamp(a, b))
    return tensor


def constant_(tensor: Tensor, val: float) -> Tensor:
    """Fill with one number."""
    with no_grad():
        tensor.fill_(val)
    return tensor


def ones_(tensor: Tensor) -> Tensor:
    """Fill with ones."""
    return constant_(tensor, 1.0)


def zeros_(tensor: Tensor) -> Tensor:
    """Fill with zeros."""
    return constant_(tensor, 0.0)


def eye_(tensor: Tensor) -> Tensor:
    """Write the identity matrix.

    Raises:
        ShapeError: unless the Tensor has two dimensions.
    """
    if tensor.ndim != 2:
        raise ShapeError(f"eye_ needs a tensor with 2 dimensions, got shape {tensor.shape}")
    with no_grad():
        tensor.copy_(eye(tensor.shape[0], tensor.shape[1]))
    return tensor


def dirac_(tensor: Tensor, groups: int = 1) -> Tensor:
    """Write a convolution kernel [O, I, *kernel] that keeps its input channels as they are.

    Raises:
        ShapeError: unless there are 3 to 5 dimensions, and groups divide O.
    """
    if tensor.ndim not in (3, 4, 5) or tensor.shape[0] % groups:
        raise ShapeError(
            "dirac_ needs a tensor of 3 to 5 dimensions whose first size groups divide, got shape "
            f"{tensor.shape} and groups={groups}"
        )
    out = tensor.shape[0] // groups
    middle = tuple(n // 2 for n in tensor.shape[2:])
    with no_grad():
        tensor.fill_(0)
        for g in range(groups):
            for c in range(min(out, tensor.shape[1])):
                tensor[(g * out + c, c, *middle)] = 1
    return tensor


def xavier_uniform_(
    tensor: Tensor, gain: float = 1.0, generator: Generator | None = None
) -> Tensor:
    """Fill uniformly with variance gain² * 2 / (fan_in + fan_out) (Glorot and Bengio, 2010)."""
    bound = gain * math.sqrt(6 / sum(fans(tensor)))
    return uniform_(tensor, -bound, bound, generator)


def xavier_normal_(tensor: Tensor, gain: float = 1.0, generator: Generator | None = None) -> Tensor:
    """Fill normally with variance gain² * 2 / (fan_in + fan_out) (Glorot and Bengio, 2010)."""
    return normal_(tensor, 0.0, gain * math.sqrt(2 / sum(fans(tensor))), generator)


def _kaiming(tensor: Tensor, a: float, mode: str, nonlinearity: str) -> float:
    fan_in, fan_out = fans(tensor)
    if mode not in ("fan_in", "fan_out"):
        raise InvalidValue(f"mode must be 'fan_in' or 'fan_out', got {mode!r}")
    fan = fan_in if mode == "fan_in" else fan_out
    return calculate_gain(nonlinearity, a) / math.sqrt(max(fan, 1))


def kaiming_uniform_(
    tensor: Tensor,
    a: float = 0,
    mode: str = "fan_in",
    nonlinearity: str = "leaky_relu",
    generator: Generator | None = None,
) -> Tensor:
    """Fill uniformly with variance gain² / fan (He et al., 2015).

    Args:
        tensor: the weight.
        a: negative slope of the leaky_relu behind it.
        mode: "fan_in" keeps the variance of the outputs, "fan_out" that of the gradients.
        nonlinearity: see `calculate_gain`.
        generator: source of the numbers.
    """
    bound = math.sqrt(3) * _kaiming(tensor, a, mode, nonlinearity)
    return uniform_(tensor, -bound, bound, generator)


def kaiming_normal_(
    tensor: Tensor,
    a: float = 0,
    mode: str = "fan_in",
    nonlinearity: str = "leaky_relu",
    generator: Generator | None = None,
) -> Tensor:
    """Fill normally with variance gain² / fan; see `kaiming_uniform_`."""
    return normal_(tensor, 0.0, _kaiming(tensor, a, mode, nonlinearity), generator)


def orthogonal_(tensor: Tensor, gain: float = 1.0, generator: Generator | None = None) -> Tensor:
    """Fill with a random matrix of orthonormal rows or columns (Saxe et al., 2014).

    Dimensions beyond the first are taken as one.

    Raises:
        ShapeError: for fewer than two dimensions.
    """
    if tensor.ndim < 2:
        raise ShapeError(f"orthogonal_ needs 2 or more dimensions, got shape {tensor.shape}")
    if tensor.numel() == 0:
        return tensor
    rows = tensor.shape[0]
    columns = tensor.numel() // rows
    with no_grad():
        size = max(rows, columns), min(rows, columns)
        drawn = random.randn(size, dtype=tensor.dtype, generator=generator)
        q, r = np.linalg.qr(drawn.double().numpy())
        q = q * np.sign(np.diagonal(r))
        q = q.T if rows < columns else q
        tensor.copy_(from_numpy(q.reshape(tensor.shape) * gain))
    return tensor


def sparse_(
    tensor: Tensor, sparsity: float, std: float = 0.01, generator: Generator | None = None
) -> Tensor:
    """Fill a matrix normally, but for a share of zeros in every column (Martens, 2010).

    Raises:
        ShapeError: unless the Tensor has two dimensions.
    """
    if tensor.ndim != 2:
        raise ShapeError(f"sparse_ needs a tensor with 2 dimensions, got shape {tensor.shape}")
    rows, columns = tensor.shape
    held = math.ceil(sparsity * rows)
    with no_grad():
        tensor.normal_(0.0, std, generator=generator)
        order = random.rand((rows, columns), generator=generator).argsort(dim=0)
        tensor.copy_(tensor.masked_fill(order < held, 0.0))
    return tensor
