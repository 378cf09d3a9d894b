"""Fractional max pooling: functions, and layers that call them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from talweg.base.errors import InvalidValue, ShapeError
from talweg.engine import random
from talweg.engine.record import lift
from talweg.engine.tensor import Tensor
from talweg.fn import fractional
from talweg.nn.module import Module

Sizes = int | Sequence[int]
Shares = float | Sequence[float]

_pooled = lift(fractional.fractional_max_pool)


def _each(what: str, value: Any, axes: int) -> tuple[Any, ...]:
    listed = (value,) * axes if isinstance(value, int | float) else tuple(value)
    if len(listed) != axes:
        raise ShapeError(f"fractional_max_pool{axes}d: {what} needs {axes} numbers, got {value}")
    return listed


def _fractional(
    axes: int,
    input: Tensor,
    kernel_size: Sizes,
    output_size: Sizes | None,
    output_ratio: Shares | None,
    samples: Tensor | None,
) -> tuple[Tensor, Tensor]:
    name = f"fractional_max_pool{axes}d"
    if output_size is None and output_ratio is None:
        raise InvalidValue(f"{name} requires specifying either an output_size or an output_ratio")
    if input.ndim not in (axes + 1, axes + 2):
        raise ShapeError(f"{name}: expected {axes + 1} or {axes + 2} dimensions, got {input.shape}")
    batch = input if input.ndim == axes + 2 else input.unsqueeze(0)
    if output_size is None:
        shares = _each("output_ratio", output_ratio, axes)
        output_size = [int(n * s) for n, s in zip(batch.shape[2:], shares, strict=True)]
    if samples is None:
        samples = random.rand(*batch.shape[:2], axes, dtype=input.dtype)
    # Samples of images begin with the width, those of volumes with the depth.
    samples = samples.flip(-1) if axes == 2 else samples
    sizes = _each("kernel_size", kernel_size, axes), _each("output_size", output_size, axes)
    values, places = _pooled(batch, samples, *sizes)
    return (values, places) if batch is input else (values.squeeze(0), places.squeeze(0))


def fractional_max_pool2d_with_indices(
    input: Tensor,
    kernel_size: Sizes,
    output_size: Sizes | None = None,
    output_ratio: Shares | None = None,
    return_indices: bool = False,
    _random_samples: Tensor | None = None,
) -> tuple[Tensor, Tensor]:
    """Return the maxima of `fractional_max_pool2d`, and their places."""
    return _fractional(2, input, kernel_size, output_size, output_ratio, _random_samples)


def fractional_max_pool3d_with_indices(
    input: Tensor,
    kernel_size: Sizes,
    output_size: Sizes | None = None,
    output_ratio: Shares | None = None,
    return_indices: bool = False,
    _random_samples: Tensor | None = None,
) -> tuple[Tensor, Tensor]:
    """Return the maxima of `fractional_max_pool3d`, and their places."""
    return _fractional(3, input, kernel_size, output_size, output_ratio, _random_samples)


def fractional_max_pool2d(
    input: Tensor,
    kernel_size: Sizes,
    output_size: Sizes | None = None,
    output_ratio: Shares | None = None,
    return_indices: bool = False,
    _random_samples: Tensor | None = None,
) -> Any:
    """Return the maxima of windows that begin at drawn places (Graham, 2014).

    Args:
        input: [N, C, H, W] or [C, H, W].
        kernel_size: of the windows, one int or one per axis.
        output_size: how many windows along each axis.
        output_ratio: instead: sizes of the output as shares of the input's.
        return_indices: also return each maximum's place in its flattened [H, W], int64.
        _random_samples: [N, C, 2], from 0 to 1, for width and height; drawn unless given.

    Raises:
        InvalidValue: without sizes; ShapeError: when the windows do not fit.
    """
    found = _fractional(2, input, kernel_size, output_size, output_ratio, _random_samples)
    return found if return_indices else found[0]


def fractional_max_pool3d(
    input: Tensor,
    kernel_size: Sizes,
    output_size: Sizes | None = None,
    output_ratio: Shares | None = None,
    return_indices: bool = False,
    _random_samples: Tensor | None = None,
) -> Any:
    """Return the maxima of windows of volumes; see `fractional_max_pool2d`.

    Args:
        input: [N, C, D, H, W] or [C, D, H, W].
        _random_samples: [N, C, 3], from 0 to 1, for depth, height and width.
    """
    found = _fractional(3, input, kernel_size, output_size, output_ratio, _random_samples)
    return found if return_indices else found[0]


class _FractionalMaxPool(Module):
    axes: int
    pool: Callable[..., Any]
    _random_samples: Tensor | None

    def __init__(
        self,
        kernel_size: Sizes,
        output_size: Sizes | None = None,
        output_ratio: Shares | None = None,
        return_indices: bool = False,
        _random_samples: Tensor | None = None,
    ) -> None:
        super().__init__()
        if output_size is None and output_ratio is None:
            raise InvalidValue(
                f"{type(self).__name__} requires specifying either an output size, or a pooling "
                "ratio"
            )
        if output_size is not None and output_ratio is not None:
            raise InvalidValue("only one of output_size and output_ratio may be specified")
        one = isinstance(output_ratio, int | float)
        shares: Any = (output_ratio,) * self.axes if one else output_ratio
        if shares is not None and not all(0 < s < 1 for s in shares):
            raise InvalidValue(f"output_ratio must be between 0 and 1 (got {output_ratio})")
        self.kernel_size = _each("kernel_size", kernel_size, self.axes)
        self.output_size = output_size and _each("output_size", output_size, self.axes)
        self.output_ratio = shares
        self.return_indices = return_indices
        self.register_buffer("_random_samples", _random_samples)

    def forward(self, input: Tensor) -> Any:
        pool = fractional_max_pool2d if self.axes == 2 else fractional_max_pool3d
        how = (self.kernel_size, self.output_size, self.output_ratio, self.return_indices)
        return pool(input, *how, self._random_samples)


class FractionalMaxPool2d(_FractionalMaxPool):
    """Maxima of windows that begin at drawn places; see `functional.fractional_max_pool2d`.

    Shape: [N, C, H, W] or [C, H, W] to the same with smaller H and W.

    Example:
        >>> import talweg as tw
        >>> tw.nn.FractionalMaxPool2d(2, output_ratio=0.6)(tw.ones(1, 3, 10, 10)).shape
        (1, 3, 6, 6)
    """

    axes = 2


class FractionalMaxPool3d(_FractionalMaxPool):
    """Maxima of windows of volumes that begin at drawn places; see `FractionalMaxPool2d`.

    Shape: [N, C, D, H, W] or [C, D, H, W] to the same with smaller D, H and W.

    Example:
        >>> import talweg as tw
        >>> tw.nn.FractionalMaxPool3d(2, output_size=3)(tw.ones(1, 3, 6, 6, 6)).shape
        (1, 3, 3, 3, 3)
    """

    axes = 3
