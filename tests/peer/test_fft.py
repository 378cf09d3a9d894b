"""`talweg.fft`, `stft`, `istft` and windows beside PyTorch."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from peer import Case, Inputs, close, compare, parameters, torch

import talweg as tw

pytestmark = [
    pytest.mark.peer,
    pytest.mark.filterwarnings("ignore:.*stft with return_complex=False.*:UserWarning"),
    pytest.mark.filterwarnings("ignore:A window was not provided:UserWarning"),
]
D = Inputs(11)
REAL = D.real(3, 6, dtype="float64")
WHOLE = REAL + 1j * D.real(3, 6, dtype="float64")
SIGNAL = D.real(2, 40, dtype="float64")
NORMS = (None, "ortho", "forward", "backward")


def fitting(name: str) -> Any:
    """Return an operand that a transform takes."""
    return REAL if name.startswith(("rfft", "ihfft")) else WHOLE


SINGLE = ("fft", "ifft", "rfft", "irfft", "hfft", "ihfft")
CASES = [
    *[
        Case(
            f"{name} {norm}",
            lambda T, x, f=name, m=norm: getattr(T.fft, f)(x, norm=m),
            (fitting(name),),
            slack=100,
        )
        for name in SINGLE
        for norm in NORMS
    ],
    *[
        Case(
            f"{name} n={n}",
            lambda T, x, f=name, n=n: getattr(T.fft, f)(x, n, 0),
            (fitting(name),),
            slack=100,
        )
        for name in SINGLE
        for n in (2, 5)
    ],
    *[
        Case(
            f"{name}{kind}",
            lambda T, x, f=name + kind: getattr(T.fft, f)(x, norm="ortho"),
            (fitting(name),),
            slack=100,
        )
        for name in SINGLE
        for kind in ("2", "n")
    ],
    *[
        Case(
            f"{name}n s",
            lambda T, x, f=name + "n": getattr(T.fft, f)(x, (4, 7), (1, 0)),
            (fitting(name),),
            slack=100,
        )
        for name in SINGLE
    ],
    Case("fft f32", lambda T, x: T.fft.fft(x), (REAL.astype("float32"),)),
    Case("rfft f32", lambda T, x: T.fft.rfft(x), (REAL.astype("float32"),)),
    Case("fft of integers", lambda T, x: T.fft.fft(x), (D.whole(5),), False),
    Case("irfft of real", lambda T, x: T.fft.irfft(x), (REAL,), slack=100),
    Case("fftn s alone", lambda T, x: T.fft.fftn(x, s=(4,)), (REAL,), slack=100),
    Case("fftn keeps", lambda T, x: T.fft.fftn(x, s=(-1, 4)), (REAL,), slack=100),
    Case("fftshift", lambda T, x: T.fft.fftshift(x), (REAL,)),
    Case("fftshift dim", lambda T, x: T.fft.fftshift(x, 1), (REAL,)),
    Case("ifftshift", lambda T, x: T.fft.ifftshift(x, dim=(0,)), (REAL,)),
    *[
        Case(
            f"stft {how}",
            lambda T, x, h=how: T.stft(x, 8, window=T.hann_window(8, dtype=x.dtype), **h),
            (SIGNAL,),
            slack=100,
        )
        for how in (
            {"return_complex": True},
            {"return_complex": True, "hop_length": 3, "normalized": True},
            {"return_complex": True, "center": False},
            {"return_complex": True, "onesided": False, "pad_mode": "constant"},
            {"return_complex": False},
        )
    ],
    Case(
        "stft short window",
        lambda T, x: T.stft(x[0], 8, 2, 5, T.hamming_window(5, dtype=x.dtype), return_complex=True),
        (SIGNAL,),
        slack=100,
    ),
    Case("stft no window", lambda T, x: x.stft(8, return_complex=True), (SIGNAL,), slack=100),
    *[
        Case(
            f"istft {how}",
            lambda T, x, h=how: T.istft(
                T.stft(x, 8, window=T.hann_window(8, dtype=x.dtype), return_complex=True) * 2,
                8,
                window=T.hann_window(8, dtype=x.dtype),
                **h,
            ),
            (SIGNAL,),
            slack=1e4,
        )
        for how in ({}, {"length": 37}, {"normalized": True})
    ],
]


@pytest.mark.parametrize("case", parameters(CASES))
def test_values_and_gradients(case: Case) -> None:
    compare(case)


@pytest.mark.parametrize("n", [1, 2, 7, 8])
def test_frequencies_and_windows(n: int) -> None:
    for call in (
        lambda T: T.fft.fftfreq(n, 0.3),
        lambda T: T.fft.rfftfreq(n, dtype=T.float64),
        lambda T: T.hann_window(n),
        lambda T: T.hann_window(n, periodic=False, dtype=T.float64),
        lambda T: T.hamming_window(n, True, 0.6, 0.4),
        lambda T: T.blackman_window(n),
        lambda T: T.bartlett_window(n, False),
        lambda T: T.kaiser_window(n, True, 5.0),
    ):
        close(call(tw), call(torch), 10, "window")


@pytest.mark.parametrize(
    "call",
    [
        lambda T: T.fft.rfft(T.ones(3, dtype=T.complex64)),
        lambda T: T.fft.fft(T.ones(3), n=0),
        lambda T: T.fft.fft(T.ones(3), norm="unit"),
        lambda T: T.fft.fft(T.ones(3), dim=2),
        lambda T: T.fft.fftn(T.ones(3, 3), dim=(0, 0)),
        lambda T: T.fft.fftn(T.ones(3), s=(2, 2)),
        lambda T: T.fft.fft2(T.ones(3)),
        lambda T: T.fft.irfft(T.ones(1, dtype=T.complex64)),
        lambda T: T.stft(T.ones(16), 8),
        lambda T: T.stft(T.ones(16), 8, window=T.ones(3), return_complex=True),
        lambda T: T.stft(T.ones(4), 8, center=False, return_complex=True),
        lambda T: T.istft(T.ones(3, 4), 8),
    ],
)
def test_mistakes_raise_in_both(call: Callable[[Any], Any]) -> None:
    for library in (torch, tw):
        with pytest.raises((RuntimeError, ValueError, IndexError, TypeError)):
            call(library)
