"""Windows for signals: `hann_window` and its kin.

`periodic` windows are those of one place more, without the last one: they add up evenly when they
overlap. All are computed in float64 and rounded.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from talweg.base.dtypes import DType
from talweg.base.errors import InvalidValue
from talweg.engine.creation import tensor
from talweg.engine.state import STATE
from talweg.engine.tensor import Tensor


def _cosines(
    name: str, length: int, periodic: bool, weights: tuple[float, ...], how: dict[str, Any]
) -> Tensor:
    at = _places(name, length, periodic)
    values = sum(w * (-1) ** k * np.cos(2 * np.pi * k * at) for k, w in enumerate(weights))
    return _made(np.asarray(values) if length != 1 else np.ones(1), **how)


def _places(name: str, length: int, periodic: bool) -> np.ndarray:
    if length < 0:
        raise InvalidValue(f"{name} requires a window_length that is not negative, got {length}")
    return np.arange(length) / max(length if periodic else length - 1, 1)


def _made(
    values: np.ndarray,
    dtype: DType | None = None,
    layout: Any = None,
    device: Any = None,
    requires_grad: bool = False,
) -> Tensor:
    kind = dtype or STATE.builder.default_float
    return tensor(values, dtype=kind, device=device, requires_grad=requires_grad)


def hann_window(window_length: int, periodic: bool = True, **how: Any) -> Tensor:
    """Return (1 - cos) / 2: Hann's window.

    >>> import talweg as tw
    >>> tw.hann_window(4).tolist()
    [0.0, 0.5, 1.0, 0.5]
    """
    return _cosines("hann_window", window_length, periodic, (0.5, 0.5), how)


def hamming_window(
    window_length: int, periodic: bool = True, alpha: float = 0.54, beta: float = 0.46, **how: Any
) -> Tensor:
    """Return alpha - beta * cos: Hamming's window."""
    return _cosines("hamming_window", window_length, periodic, (alpha, beta), how)


def blackman_window(window_length: int, periodic: bool = True, **how: Any) -> Tensor:
    """Return Blackman's window, of three cosines."""
    return _cosines("blackman_window", window_length, periodic, (0.42, 0.5, 0.08), how)


def bartlett_window(window_length: int, periodic: bool = True, **how: Any) -> Tensor:
    """Return Bartlett's window, a triangle."""
    at = _places("bartlett_window", window_length, periodic)
    return _made(1 - np.abs(2 * at - 1) if window_length != 1 else np.ones(1), **how)


def kaiser_window(
    window_length: int, periodic: bool = True, beta: float = 12.0, **how: Any
) -> Tensor:
    """Return Kaiser's window: Bessel functions, narrower for larger beta."""
    at = _places("kaiser_window", window_length, periodic)
    inside = np.clip(1 - (2 * at - 1) ** 2, 0, None)
    values = np.i0(beta * np.sqrt(inside)) / np.i0(np.float64(beta))
    return _made(values if window_length != 1 else np.ones(1), **how)
