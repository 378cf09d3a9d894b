"""Discrete Fourier transforms, with the names of `torch.fft`.

>>> import talweg as tw
>>> x = tw.tensor([1.0, 2.0, 3.0, 4.0])
>>> tw.fft.irfft(tw.fft.rfft(x)).tolist()
[1.0, 2.0, 3.0, 4.0]
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from talweg.base.dtypes import DType
from talweg.engine.creation import tensor
from talweg.engine.record import lift
from talweg.engine.state import STATE
from talweg.engine.tensor import Tensor
from talweg.fn import fourier

_FUNCTIONS = {f.__name__: lift(f) for f in fourier.FFT}
globals().update(_FUNCTIONS)


def fftfreq(
    n: int,
    d: float = 1.0,
    *,
    dtype: DType | None = None,
    device: Any = None,
    requires_grad: bool = False,
) -> Tensor:
    """Return the frequencies of the places of `fft`, for samples that are d apart.

    >>> import talweg as tw
    >>> tw.fft.fftfreq(4).tolist()
    [0.0, 0.25, -0.5, -0.25]
    """
    kind = dtype or STATE.builder.default_float
    return tensor(np.fft.fftfreq(n, d), dtype=kind, device=device, requires_grad=requires_grad)


def rfftfreq(
    n: int,
    d: float = 1.0,
    *,
    dtype: DType | None = None,
    device: Any = None,
    requires_grad: bool = False,
) -> Tensor:
    """Return the frequencies of the places of `rfft`, for samples that are d apart."""
    kind = dtype or STATE.builder.default_float
    return tensor(np.fft.rfftfreq(n, d), dtype=kind, device=device, requires_grad=requires_grad)


if TYPE_CHECKING:

    def __getattr__(name: str) -> Any: ...


__all__ = ["fftfreq", "rfftfreq", *_FUNCTIONS]  # noqa: PLE0604
