"""Discrete Fourier transforms: the extension `fft` of the array API standard."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from talweg.array_api.calls import Call
from talweg.array_api.creation import Device
from talweg.array_api.kinds import default_float
from talweg.base.dtypes import DType
from talweg.engine import creation
from talweg.engine.record import lift
from talweg.engine.tensor import Tensor
from talweg.fn import fourier

__all__ = [
    "fft",
    "fftfreq",
    "fftn",
    "fftshift",
    "hfft",
    "ifft",
    "ifftn",
    "ifftshift",
    "ihfft",
    "irfft",
    "irfftn",
    "rfft",
    "rfftfreq",
    "rfftn",
]

_OF: dict[str, Call] = {f.__name__: lift(f) for f in fourier.FFT}


def _along_one(name: str) -> Callable[..., Tensor]:
    function = _OF[name]

    def transform(
        x: Tensor, /, *, n: int | None = None, axis: int = -1, norm: str = "backward"
    ) -> Tensor:
        found: Tensor = function(x, n, axis, norm)
        return found

    transform.__name__ = transform.__qualname__ = name
    transform.__doc__ = f"`tw.fft.{name}` along one axis, cut or filled with zeros to size n."
    return transform


def _along_several(name: str) -> Callable[..., Tensor]:
    function = _OF[name]

    def transform(
        x: Tensor,
        /,
        *,
        s: Sequence[int] | None = None,
        axes: Sequence[int] | None = None,
        norm: str = "backward",
    ) -> Tensor:
        found: Tensor = function(x, s, axes, norm)
        return found

    transform.__name__ = transform.__qualname__ = name
    transform.__doc__ = f"`tw.fft.{name}` along some axes, cut or filled with zeros to sizes s."
    return transform


fft, ifft, rfft = _along_one("fft"), _along_one("ifft"), _along_one("rfft")
irfft, hfft, ihfft = _along_one("irfft"), _along_one("hfft"), _along_one("ihfft")
fftn, ifftn = _along_several("fftn"), _along_several("ifftn")
rfftn, irfftn = _along_several("rfftn"), _along_several("irfftn")


def fftfreq(
    n: int, /, *, d: float = 1.0, dtype: DType | None = None, device: Device = None
) -> Tensor:
    """Return the frequencies of the places of `fft`, for samples that are d apart."""
    return creation.tensor(np.fft.fftfreq(n, d), dtype or default_float(), device)


def rfftfreq(
    n: int, /, *, d: float = 1.0, dtype: DType | None = None, device: Device = None
) -> Tensor:
    """Return the frequencies of the places of `rfft`, for samples that are d apart."""
    return creation.tensor(np.fft.rfftfreq(n, d), dtype or default_float(), device)


def fftshift(x: Tensor, /, *, axes: int | Sequence[int] | None = None) -> Tensor:
    """Return the array with frequency 0 in the middle."""
    found: Tensor = _OF["fftshift"](x, axes)
    return found


def ifftshift(x: Tensor, /, *, axes: int | Sequence[int] | None = None) -> Tensor:
    """Return the array with frequency 0 at the beginning: what `fftshift` did is undone."""
    found: Tensor = _OF["ifftshift"](x, axes)
    return found
