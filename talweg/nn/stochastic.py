"""Functions that draw random numbers: dropout, random slopes, samples of categories.

Numbers come from the default generator of `talweg.engine.random`.
"""

from __future__ import annotations

import math

from talweg.base.errors import InvalidValue, ShapeError
from talweg.base.source import warn
from talweg.engine import random
from talweg.engine.record import assign, lift
from talweg.engine.tensor import Tensor
from talweg.fn import activation

_ALPHA = 1.7580993408473766

_rrelu = lift(activation.rrelu)
_gumbel_softmax = lift(activation.gumbel_softmax)


def _check_probability(name: str, p: float) -> None:
    if not 0.0 <= p <= 1.0:
        raise InvalidValue(f"{name}: probability has to be between 0 and 1, but got {p}")


def _finish(input: Tensor, output: Tensor, inplace: bool, name: str) -> Tensor:
    return assign(input, output, name) if inplace else output


def _kept(input: Tensor, p: float, shape: tuple[int, ...]) -> Tensor:
    """Return 1 with probability 1 - p, else 0, in the dtype of the input."""
    kept: Tensor = (random.rand(shape) >= p).to(input.dtype)
    return kept


def _dropped(input: Tensor, p: float, shape: tuple[int, ...]) -> Tensor:
    if p == 1.0:
        result: Tensor = input * 0
        return result
    scaled: Tensor = input * (_kept(input, p, shape) * (1 / (1 - p)))
    return scaled


def dropout(input: Tensor, p: float = 0.5, training: bool = True, inplace: bool = False) -> Tensor:
    """Set elements to 0 with probability p and multiply the others by 1 / (1 - p).

    Srivastava et al., 2014.

    Args:
        input: any shape, floating.
        p: probability of a 0.
        training: otherwise the input is returned.
        inplace: write the result into the input.

    Raises:
        InvalidValue: when p is not in [0, 1].
    """
    _check_probability("dropout", p)
    if not training or p == 0.0:
        return input
    return _finish(input, _dropped(input, p, input.shape), inplace, "dropout_")


def _channels(name: str, input: Tensor, axes: int) -> tuple[int, ...]:
    """Return the shape of one number per channel, for [N, C, *spatial] or [C, *spatial]."""
    if input.ndim == axes + 2:
        return (*input.shape[:2], *(1,) * axes)
    if input.ndim == axes + 1:
        return (input.shape[0], *(1,) * axes)
    raise ShapeError(
        f"{name}: expected {axes + 1} or {axes + 2} dimensions, got shape {input.shape}"
    )


def _drop_channels(
    name: str, input: Tensor, p: float, training: bool, inplace: bool, axes: int
) -> Tensor:
    _check_probability(name, p)
    shape = _channels(name, input, axes)
    if not training or p == 0.0:
        return input
    return _finish(input, _dropped(input, p, shape), inplace, f"{name}_")


def _drop_features(
    name: str, input: Tensor, p: float, training: bool, inplace: bool, axes: int
) -> Tensor:
    """Drop channels, of [N, C, *] with a warning where the number of axes is another one."""
    if input.ndim in (axes + 1, axes + 2):
        return _drop_channels(name, input, p, training, inplace, axes)
    if input.ndim < 2:
        raise ShapeError(f"{name}: expected at least 2 dimensions, got shape {input.shape}")
    warn(f"{name} reads an input of {input.ndim} dimensions as [N, C, *]; use dropout to say so")
    return _drop_channels(name, input, p, training, inplace, input.ndim - 2)


def dropout1d(
    input: Tensor, p: float = 0.5, training: bool = True, inplace: bool = False
) -> Tensor:
    """Set whole channels of [N, C, L] or [C, L] to 0; see `dropout`."""
    return _drop_channels("dropout1d", input, p, training, inplace, 1)


def dropout2d(
    input: Tensor, p: float = 0.5, training: bool = True, inplace: bool = False
) -> Tensor:
    """Set whole channels of [N, C, H, W] to 0; three dimensions are read as [N, C, L].

    Tompson et al., 2015.
    """
    if input.ndim == 3:
        warn("dropout2d reads an input of 3 dimensions as [N, C, L]; use dropout1d to say so")
        return _drop_channels("dropout2d", input, p, training, inplace, 1)
    return _drop_features("dropout2d", input, p, training, inplace, 2)


def dropout3d(
    input: Tensor, p: float = 0.5, training: bool = True, inplace: bool = False
) -> Tensor:
    """Set whole channels of [N, C, D, H, W] or [C, D, H, W] to 0; see `dropout`."""
    return _drop_features("dropout3d", input, p, training, inplace, 3)


def _alpha_dropped(
    name: str, input: Tensor, p: float, training: bool, inplace: bool, shape: tuple[int, ...]
) -> Tensor:
    _check_probability(name, p)
    if not training or p == 0.0:
        return input
    if p == 1.0:
        output: Tensor = input * 0
        return _finish(input, output, inplace, f"{name}_")
    kept = _kept(input, p, shape)
    scale = 1 / math.sqrt((_ALPHA * _ALPHA * p + 1) * (1 - p))
    shift = (kept - 1) * (_ALPHA * scale) + _ALPHA * scale * p
    return _finish(input, input * (kept * scale) + shift, inplace, f"{name}_")


def alpha_dropout(
    input: Tensor, p: float = 0.5, training: bool = False, inplace: bool = False
) -> Tensor:
    """Drop elements to the low end of `selu`, keeping mean 0 and variance 1.

    Klambauer et al., 2017.
    """
    return _alpha_dropped("alpha_dropout", input, p, training, inplace, input.shape)


def feature_alpha_dropout(
    input: Tensor, p: float = 0.5, training: bool = False, inplace: bool = False
) -> Tensor:
    """Drop whole channels of [N, C, *] as `alpha_dropout` drops elements."""
    if input.ndim < 2:
        raise ShapeError(f"feature_alpha_dropout needs [N, C, *], got shape {input.shape}")
    shape = (*input.shape[:2], *(1,) * (input.ndim - 2))
    return _alpha_dropped("feature_alpha_dropout", input, p, training, inplace, shape)


def rrelu(
    input: Tensor,
    lower: float = 1 / 8,
    upper: float = 1 / 3,
    training: bool = False,
    inplace: bool = False,
) -> Tensor:
    """Return x where positive, slope * x elsewhere, with random slopes in training.

    Args:
        input: any shape, floating.
        lower, upper: range of the slopes; outside training the slope is their middle.
        training: whether to draw slopes.
        inplace: write the result into the input.

    Raises:
        InvalidValue: when lower exceeds upper.
    """
    noise = random.rand(input.shape) if training else None
    return _finish(input, _rrelu(input, lower, upper, training, noise), inplace, "rrelu_")


def gumbel_softmax(
    logits: Tensor, tau: float = 1.0, hard: bool = False, eps: float = 1e-10, dim: int = -1
) -> Tensor:
    """Return a sample of a relaxed categorical distribution (Jang et al., 2017).

    Args:
        logits: unnormalised log probabilities.
        tau: temperature.
        hard: return one-hot vectors, with the gradient of the soft ones.
        eps: ignored.
        dim: along which the result sums to 1.
    """
    uniform = random.rand(logits.shape).clamp(1e-7, 1 - 1e-7)
    noise = -((-uniform.log()).log())
    result: Tensor = _gumbel_softmax(logits, noise, tau, hard, dim)
    return result
