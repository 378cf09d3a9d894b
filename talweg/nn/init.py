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
    """Return the factor of the standard deviation that makes up for a nonlinearity.

    Args:
        nonlinearity: "linear", "conv1d", "sigmoid", "tanh", "relu", "leaky_relu", "selu", ...
        param: the negative slope of "leaky_relu", 0.01 by default.

    Raises:
        InvalidValue: for an unknown name.

    Example:
        >>> import talweg as tw
        >>> tw.nn.init.calculate_gain("relu") == 2**0.5
        True
        >>> tw.nn.init.calculate_gain("leaky_relu", 1.0)
        1.0
    """
    if nonlinearity == "leaky_relu":
        slope = 0.01 if param is None else float(param)
        return math.sqrt(2 / (1 + slope * slope))
    if nonlinearity not in _GAINS:
        raise InvalidValue(f"unsupported nonlinearity {nonlinearity!r}")
    return _GAINS[nonlinearity]


def fans(tensor: Tensor) -> tuple[int, int]:
    """Return fan_in and fan_out of a weight: how many inputs and outputs an element has.

    Raises:
        ShapeError: for fewer than two dimensions.

    >>> fans(tw.empty(8, 3, 5, 5))
    (75, 200)
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
    """Fill with numbers uniform in [a, b); return the Tensor.

    Args:
        tensor: is overwritten, outside of any gradient.
        a, b: the range.
        generator: source of the numbers; the default stream unless given.

    Example:
        >>> import talweg as tw
        >>> w = tw.nn.init.uniform_(tw.empty(3, 5), -1.0, 1.0)
        >>> bool((w.abs() <= 1).all())
        True
    """
    with no_grad():
        tensor.uniform_(a, b, generator=generator)
    return tensor


def normal_(
    tensor: Tensor, mean: float = 0.0, std: float = 1.0, generator: Generator | None = None
) -> Tensor:
    """Fill with normal numbers; return the Tensor.

    Args:
        tensor: is overwritten, outside of any gradient.
        mean, std: of the numbers.
        generator: source of the numbers; the default stream unless given.

    Example:
        >>> import talweg as tw
        >>> w = tw.nn.init.normal_(tw.empty(100, 100), mean=1.0, std=0.01)
        >>> abs(w.mean().item() - 1) < 0.01
        True
    """
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
    """Fill with normal numbers from within [a, b], drawn through the inverse of their cdf.

    Args:
        tensor: is overwritten, outside of any gradient.
        mean, std: of the numbers before the cut.
        a, b: the limits, absolute ones.
        generator: source of the numbers; the default stream unless given.

    Example:
        >>> import talweg as tw
        >>> w = tw.nn.init.trunc_normal_(tw.empty(100, 100), std=0.02, a=-0.04, b=0.04)
        >>> w.abs().max().item() <= 0.041
        True
    """

    def cdf(x: float) -> float:
        return (1 + math.erf((x - mean) / (std * math.sqrt(2)))) / 2

    low, high = 2 * cdf(a) - 1, 2 * cdf(b) - 1
    with no_grad():
        draw = random.rand(tensor.shape, dtype=tensor.dtype, generator=generator)
        spread = (draw * (high - low) + low).erfinv() * (std * math.sqrt(2)) + mean
        tensor.copy_(spread.clamp(a, b))
    return tensor


def constant_(tensor: Tensor, val: float) -> Tensor:
    """Fill with one number; return the Tensor.

    Args:
        tensor: is overwritten, outside of any gradient.
        val: the number.

    Example:
        >>> import talweg as tw
        >>> tw.nn.init.constant_(tw.empty(2), 0.5).tolist()
        [0.5, 0.5]
    """
    with no_grad():
        tensor.fill_(val)
    return tensor


def ones_(tensor: Tensor) -> Tensor:
    """Fill with ones; return the Tensor.

    Example:
        >>> import talweg as tw
        >>> tw.nn.init.ones_(tw.empty(2)).tolist()
        [1.0, 1.0]
    """
    return constant_(tensor, 1.0)


def zeros_(tensor: Tensor) -> Tensor:
    """Fill with zeros; return the Tensor.

    Example:
        >>> import talweg as tw
        >>> layer = tw.nn.Linear(3, 2)
        >>> tw.nn.init.zeros_(layer.bias).tolist()
        [0.0, 0.0]
    """
    return constant_(tensor, 0.0)


def eye_(tensor: Tensor) -> Tensor:
    """Write the identity matrix: a layer of this weight gives its input.

    Args:
        tensor: of two dimensions; what lies beyond a square is zero.

    Raises:
        ShapeError: unless the Tensor has two dimensions.

    Example:
        >>> import talweg as tw
        >>> tw.nn.init.eye_(tw.empty(2, 3)).tolist()
        [[1.0, 0.0, 0.0], [0.0, 1.0, 0.0]]
    """
    if tensor.ndim != 2:
        raise ShapeError(f"eye_ needs a tensor with 2 dimensions, got shape {tensor.shape}")
    with no_grad():
        tensor.copy_(eye(tensor.shape[0], tensor.shape[1]))
    return tensor


def dirac_(tensor: Tensor, groups: int = 1) -> Tensor:
    """Write a convolution kernel [O, I, *kernel] that keeps its input channels as they are.

    Args:
        tensor: of 3 to 5 dimensions.
        groups: of the convolution; each keeps its channels.

    Raises:
        ShapeError: unless there are 3 to 5 dimensions, and groups divide O.

    Example:
        >>> import talweg as tw
        >>> tw.nn.init.dirac_(tw.empty(2, 2, 3)).tolist()
        [[[0.0, 1.0, 0.0], [0.0, 0.0, 0.0]], [[0.0, 0.0, 0.0], [0.0, 1.0, 0.0]]]
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
    """Fill uniformly with variance gain² * 2 / (fan_in + fan_out); for tanh and sigmoid.

    Glorot and Bengio, "Understanding the difficulty of training deep feedforward neural networks"
    (2010): outputs and gradients keep their variance from layer to layer.

    Args:
        tensor: a weight of two dimensions or more, [O, I, *kernel].
        gain: see `calculate_gain`.
        generator: source of the numbers; the default stream unless given.

    Raises:
        ShapeError: for fewer than two dimensions.

    Example:
        >>> import talweg as tw
        >>> w = tw.nn.init.xavier_uniform_(tw.empty(3, 5), tw.nn.init.calculate_gain("tanh"))
        >>> bool((w.abs() <= 5 / 3 * (6 / 8) ** 0.5).all())
        True
    """
    bound = gain * math.sqrt(6 / sum(fans(tensor)))
    return uniform_(tensor, -bound, bound, generator)


def xavier_normal_(tensor: Tensor, gain: float = 1.0, generator: Generator | None = None) -> Tensor:
    """Fill normally with variance gain² * 2 / (fan_in + fan_out); see `xavier_uniform_`.

    Args:
        tensor: a weight of two dimensions or more, [O, I, *kernel].
        gain: see `calculate_gain`.
        generator: source of the numbers; the default stream unless given.

    Raises:
        ShapeError: for fewer than two dimensions.

    Example:
        >>> import talweg as tw
        >>> w = tw.nn.init.xavier_normal_(tw.empty(500, 300))
        >>> round(w.std().item(), 2)  # (2 / 800) ** 0.5
        0.05
    """
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
    """Fill uniformly with variance gain² / fan; for ReLU and its kin.

    He et al., "Delving deep into rectifiers: surpassing human-level performance on ImageNet
    classification" (2015).

    Args:
        tensor: a weight of two dimensions or more, [O, I, *kernel].
        a: negative slope of the leaky_relu behind it.
        mode: "fan_in" keeps the variance of the outputs, "fan_out" that of the gradients.
        nonlinearity: see `calculate_gain`.
        generator: source of the numbers; the default stream unless given.

    Raises:
        ShapeError: for fewer than two dimensions.
        InvalidValue: for another mode, or an unknown nonlinearity.

    Example:
        >>> import talweg as tw
        >>> w = tw.nn.init.kaiming_uniform_(tw.empty(3, 6), nonlinearity="relu")
        >>> bool((w.abs() <= 1).all())  # (6 / fan_in) ** 0.5
        True
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
    """Fill normally with variance gain² / fan; see `kaiming_uniform_`.

    Args:
        tensor, a, mode, nonlinearity, generator: as for `kaiming_uniform_`.

    Raises:
        ShapeError: for fewer than two dimensions.
        InvalidValue: for another mode, or an unknown nonlinearity.

    Example:
        >>> import talweg as tw
        >>> conv = tw.nn.Conv2d(3, 64, 3)
        >>> tw.nn.init.kaiming_normal_(conv.weight, mode="fan_out", nonlinearity="relu").shape
        (64, 3, 3, 3)
    """
    return normal_(tensor, 0.0, _kaiming(tensor, a, mode, nonlinearity), generator)


def orthogonal_(tensor: Tensor, gain: float = 1.0, generator: Generator | None = None) -> Tensor:
    """Fill with a random matrix of orthonormal rows or columns.

    Saxe, McClelland and Ganguli, "Exact solutions to the nonlinear dynamics of learning in deep
    linear neural networks" (2014).

    Args:
        tensor: of two dimensions or more; those beyond the first are taken as one.
        gain: factor of all.
        generator: source of the numbers; the default stream unless given.

    Raises:
        ShapeError: for fewer than two dimensions.

    Example:
        >>> import talweg as tw
        >>> w = tw.nn.init.orthogonal_(tw.empty(3, 5))
        >>> tw.allclose(w @ w.T, tw.eye(3), atol=1e-5)
        True
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
    """Fill a matrix normally, but for a share of zeros in every column.

    Martens, "Deep learning via Hessian-free optimization" (2010).

    Args:
        tensor: of two dimensions.
        sparsity: the share of zeros.
        std: of the other numbers, whose mean is 0.
        generator: source of the numbers; the default stream unless given.

    Raises:
        ShapeError: unless the Tensor has two dimensions.

    Example:
        >>> import talweg as tw
        >>> (tw.nn.init.sparse_(tw.empty(10, 3), 0.2) == 0).sum(0).tolist()
        [2, 2, 2]
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
