"""Fourier transforms against NumPy's, their gradients against finite differences."""

from __future__ import annotations

import numpy as np
import pytest

import talweg as tw

RANDOM = np.random.default_rng(3)
REAL = RANDOM.normal(size=(3, 6))
WHOLE = REAL + 1j * RANDOM.normal(size=REAL.shape)


@pytest.mark.parametrize("name", ["fft", "ifft", "rfft", "irfft", "hfft", "ihfft"])
@pytest.mark.parametrize("norm", ["backward", "ortho", "forward"])
def test_values_and_gradients(name: str, norm: str) -> None:
    a = REAL if name in ("rfft", "ihfft") else WHOLE
    x = tw.tensor(a).requires_grad_()
    call = getattr(tw.fft, name)
    for n in (None, 4, 7):
        expected = getattr(np.fft, name)(a, n, norm=norm)
        np.testing.assert_allclose(call(x, n, norm=norm).detach().numpy(), expected, atol=1e-12)
    assert tw.autograd.gradcheck(lambda x: call(x, 5, 0, norm), x)


def test_several_dimensions() -> None:
    x = tw.tensor(WHOLE)
    np.testing.assert_allclose(tw.fft.fft2(x).numpy(), np.fft.fft2(WHOLE), atol=1e-12)
    np.testing.assert_allclose(
        tw.fft.irfftn(x, (4, 5), (1, 0)).numpy(), np.fft.irfftn(WHOLE, (4, 5), (1, 0)), atol=1e-12
    )
    np.testing.assert_allclose(
        tw.fft.rfftn(tw.tensor(REAL)).numpy(), np.fft.rfftn(REAL), atol=1e-12
    )
    np.testing.assert_array_equal(tw.fft.fftshift(x).numpy(), np.fft.fftshift(WHOLE))
    np.testing.assert_array_equal(tw.fft.ifftshift(x, 1).numpy(), np.fft.ifftshift(WHOLE, 1))


def test_single_precision_is_kept() -> None:
    x = tw.ones(6)
    assert tw.fft.fft(x).dtype is tw.complex64
    assert tw.fft.irfft(tw.fft.rfft(x)).dtype is tw.float32
    assert tw.fft.fft(tw.arange(3)).dtype is tw.complex64


def test_a_signal_comes_back_from_its_windows() -> None:
    signal = RANDOM.normal(size=(2, 64))
    window = tw.hann_window(16, dtype=tw.float64)
    found = tw.stft(tw.tensor(signal), 16, 4, window=window, return_complex=True)
    assert found.shape == (2, 9, 17)
    frame = np.fft.rfft(signal[0, 8:24] * window.numpy())
    np.testing.assert_allclose(found.numpy()[0, :, 4], frame, atol=1e-12)
    back = tw.istft(found, 16, 4, window=window, length=64)
    np.testing.assert_allclose(back.numpy(), signal, atol=1e-12)


def test_windows() -> None:
    for name in ("hamming", "blackman", "bartlett"):
        made = getattr(tw, f"{name}_window")(9, periodic=False, dtype=tw.float64).numpy()
        np.testing.assert_allclose(made, getattr(np, name)(9), atol=1e-15)
    kaiser = tw.kaiser_window(9, periodic=False, beta=3.0, dtype=tw.float64).numpy()
    np.testing.assert_allclose(kaiser, np.kaiser(9, 3.0), atol=1e-12)
    np.testing.assert_allclose(tw.hann_window(8).numpy(), np.hanning(9)[:-1], atol=1e-7)
    assert tw.hann_window(0).shape == (0,)
    with pytest.raises(ValueError, match="window_length"):
        tw.hann_window(-1)
