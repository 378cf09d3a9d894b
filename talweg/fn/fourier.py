"""Discrete Fourier transforms. pocketfft computes them, in the operand's precision.

`n` (`s` for several dimensions) is the number of places that are transformed: the operand is cut or
filled up with zeros to it. `norm` is "backward" (the inverse is divided by it), "forward" or
"ortho" (both by its root).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from talweg.base import dtypes
from talweg.base.errors import DTypeError, InvalidValue, ShapeError
from talweg.base.shapes import normalize_axis
from talweg.fn.elementary import conj
from talweg.fn.promotion import cast, complex_of, expand_to
from talweg.fn.shaping import roll
from talweg.fn.shaping import unfold as windows_of
from talweg.fn.views import permute, reshape_to, slice_axis, transpose
from talweg.fn.vision import pad as padded
from talweg.ir.build import Builder
from talweg.ir.node import Node
from talweg.ops.fourier import OPPOSITE, Fourier, RealFourier, RealFourierInverse

Sizes = Sequence[int] | None
Axes = int | Sequence[int] | None


def _resized(b: Builder, x: Node, axis: int, n: int) -> Node:
    have = x.shape[axis]
    if n <= have:
        return slice_axis(b, x, axis, 0, n)
    none = (0,) * x.rank
    more = tuple(n - have if i == axis else 0 for i in range(x.rank))
    return b.pad(x, b.scalar(0, x.dtype), none, more, none)


def _norm(name: str, norm: str | None) -> str:
    if norm is not None and norm not in OPPOSITE:
        raise InvalidValue(f"fft.{name}: invalid normalization mode {norm!r}")
    return norm or "backward"


def _places(name: str, x: Node, s: Sizes, dim: Axes) -> tuple[tuple[int, ...], list[int]]:
    """Return the axes that are transformed, and the sizes wanted, -1 where the operand's."""
    if not x.rank and (s is not None or dim is not None):
        raise ShapeError(f"fft.{name}: a 0-d operand has no dimensions")
    if dim is None:
        count = x.rank if s is None else len(s)
        if count > x.rank:
            raise ShapeError(f"fft.{name}: {count} sizes for {x.rank} dimensions")
        axes = tuple(range(x.rank - count, x.rank))
    else:
        listed = (dim,) if isinstance(dim, int) else dim
        axes = tuple(normalize_axis(d, x.rank) for d in listed)
    if len({*axes}) < len(axes):
        raise ShapeError(f"fft.{name}: dims must be unique, got {dim}")
    sizes = [-1] * len(axes) if s is None else list(s)
    if len(sizes) != len(axes):
        raise ShapeError(f"fft.{name}: {len(sizes)} sizes for {len(axes)} dimensions")
    return axes, sizes


def _fitted(b: Builder, name: str, x: Node, axes: tuple[int, ...], sizes: list[int]) -> Node:
    for axis, n in zip(axes, sizes, strict=True):
        n = x.shape[axis] if n == -1 else n
        if n < 1:
            raise ShapeError(f"fft.{name}: invalid number of data points ({n}) specified")
        x = _resized(b, x, axis, n)
    return x


def _inexact(b: Builder, name: str, x: Node) -> Node:
    if x.dtype in (dtypes.float16, dtypes.bfloat16):
        raise DTypeError(f"fft.{name}: unsupported dtype {x.dtype.name}")
    return x if x.dtype.is_inexact else b.cast(x, b.default_float)


def _whole(
    b: Builder, name: str, x: Node, s: Sizes, dim: Axes, norm: str | None, inverse: bool
) -> Node:
    x = _inexact(b, name, x)
    axes, sizes = _places(name, x, s, dim)
    mode = _norm(name, norm)
    x = _fitted(b, name, cast(b, x, complex_of(x.dtype)), axes, sizes)
    return b.apply(Fourier(axes, inverse, mode), x) if axes else x


def _real(b: Builder, name: str, x: Node, s: Sizes, dim: Axes, norm: str | None) -> Node:
    if x.dtype.is_complex:
        raise DTypeError(f"fft.{name}: expects a real input tensor, but got {x.dtype.name}")
    x = _inexact(b, name, x)
    axes, sizes = _places(name, x, s, dim)
    mode = _norm(name, norm)
    if not axes:
        raise ShapeError(f"fft.{name}: at least one dimension must be transformed")
    return b.apply(RealFourier(axes, mode), _fitted(b, name, x, axes, sizes))


def _from_half(b: Builder, name: str, x: Node, s: Sizes, dim: Axes, norm: str | None) -> Node:
    x = _inexact(b, name, x)
    axes, sizes = _places(name, x, s, dim)
    mode = _norm(name, norm)
    if not axes:
        raise ShapeError(f"fft.{name}: at least one dimension must be transformed")
    last = sizes[-1] if sizes[-1] != -1 else 2 * (x.shape[axes[-1]] - 1)
    if last < 1:
        raise ShapeError(f"fft.{name}: invalid number of data points ({last}) specified")
    sizes[-1] = last // 2 + 1
    x = _fitted(b, name, cast(b, x, complex_of(x.dtype)), axes, sizes)
    return b.apply(RealFourierInverse(axes, mode, last), x)


def _sole(n: int | None) -> Sizes:
    return None if n is None else (n,)


def _opposite(name: str, norm: str | None) -> str:
    return OPPOSITE[_norm(name, norm)]


def fft(
    b: Builder, input: Node, n: int | None = None, dim: int = -1, norm: str | None = None
) -> Node:
    """Return the transform along one dimension, complex.

    >>> import talweg as tw
    >>> tw.fft.fft(tw.tensor([1.0, 0.0, 0.0])).real.tolist()
    [1.0, 1.0, 1.0]
    """
    return _whole(b, "fft", input, _sole(n), dim, norm, False)


def ifft(
    b: Builder, input: Node, n: int | None = None, dim: int = -1, norm: str | None = None
) -> Node:
    """Return the inverse transform along one dimension, complex."""
    return _whole(b, "ifft", input, _sole(n), dim, norm, True)


def rfft(
    b: Builder, input: Node, n: int | None = None, dim: int = -1, norm: str | None = None
) -> Node:
    """Return the first n // 2 + 1 places of the transform of a real operand.

    >>> import talweg as tw
    >>> tw.fft.rfft(tw.ones(4)).abs().tolist()
    [4.0, 0.0, 0.0]
    """
    return _real(b, "rfft", input, _sole(n), dim, norm)


def irfft(
    b: Builder, input: Node, n: int | None = None, dim: int = -1, norm: str | None = None
) -> Node:
    """Return the real values whose `rfft` is given; `n` of them, 2 * (size - 1) unless given."""
    return _from_half(b, "irfft", input, _sole(n), dim, norm)


def hfft(
    b: Builder, input: Node, n: int | None = None, dim: int = -1, norm: str | None = None
) -> Node:
    """Return the real transform of values of which one half is given, the other its conjugate."""
    return _from_half(b, "hfft", conj(b, input), _sole(n), dim, _opposite("hfft", norm))


def ihfft(
    b: Builder, input: Node, n: int | None = None, dim: int = -1, norm: str | None = None
) -> Node:
    """Return the inverse of `hfft`: the first n // 2 + 1 places of a real operand's inverse."""
    return conj(b, _real(b, "ihfft", input, _sole(n), dim, _opposite("ihfft", norm)))


def fftn(
    b: Builder, input: Node, s: Sizes = None, dim: Axes = None, norm: str | None = None
) -> Node:
    """Return the transform along several dimensions: all, or the last ones that `s` is for."""
    return _whole(b, "fftn", input, s, dim, norm, False)


def ifftn(
    b: Builder, input: Node, s: Sizes = None, dim: Axes = None, norm: str | None = None
) -> Node:
    """Return the inverse transform along several dimensions."""
    return _whole(b, "ifftn", input, s, dim, norm, True)


def rfftn(
    b: Builder, input: Node, s: Sizes = None, dim: Axes = None, norm: str | None = None
) -> Node:
    """Return one half of the transform of a real operand along several dimensions."""
    return _real(b, "rfftn", input, s, dim, norm)


def irfftn(
    b: Builder, input: Node, s: Sizes = None, dim: Axes = None, norm: str | None = None
) -> Node:
    """Return the real values whose `rfftn` is given."""
    return _from_half(b, "irfftn", input, s, dim, norm)


def hfftn(
    b: Builder, input: Node, s: Sizes = None, dim: Axes = None, norm: str | None = None
) -> Node:
    """Return `hfft` along several dimensions; the last one is given by half."""
    return _from_half(b, "hfftn", conj(b, input), s, dim, _opposite("hfftn", norm))


def ihfftn(
    b: Builder, input: Node, s: Sizes = None, dim: Axes = None, norm: str | None = None
) -> Node:
    """Return the inverse of `hfftn`."""
    return conj(b, _real(b, "ihfftn", input, s, dim, _opposite("ihfftn", norm)))


def fft2(
    b: Builder, input: Node, s: Sizes = None, dim: Axes = (-2, -1), norm: str | None = None
) -> Node:
    """Return the transform along two dimensions."""
    return fftn(b, input, s, dim, norm)


def ifft2(
    b: Builder, input: Node, s: Sizes = None, dim: Axes = (-2, -1), norm: str | None = None
) -> Node:
    """Return the inverse transform along two dimensions."""
    return ifftn(b, input, s, dim, norm)


def rfft2(
    b: Builder, input: Node, s: Sizes = None, dim: Axes = (-2, -1), norm: str | None = None
) -> Node:
    """Return one half of the transform of a real operand along two dimensions."""
    return rfftn(b, input, s, dim, norm)


def irfft2(
    b: Builder, input: Node, s: Sizes = None, dim: Axes = (-2, -1), norm: str | None = None
) -> Node:
    """Return the real values whose `rfft2` is given."""
    return irfftn(b, input, s, dim, norm)


def hfft2(
    b: Builder, input: Node, s: Sizes = None, dim: Axes = (-2, -1), norm: str | None = None
) -> Node:
    """Return `hfft` along two dimensions."""
    return hfftn(b, input, s, dim, norm)


def ihfft2(
    b: Builder, input: Node, s: Sizes = None, dim: Axes = (-2, -1), norm: str | None = None
) -> Node:
    """Return the inverse of `hfft2`."""
    return ihfftn(b, input, s, dim, norm)


def fftshift(b: Builder, input: Node, dim: Axes = None) -> Node:
    """Return the places in the order of their frequencies, 0 in the middle.

    >>> import talweg as tw
    >>> tw.fft.fftshift(tw.tensor([0, 1, 2, -2, -1])).tolist()
    [-2, -1, 0, 1, 2]
    """
    axes, _ = _places("fftshift", input, None, dim)
    return roll(b, input, [input.shape[a] // 2 for a in axes], axes)


def ifftshift(b: Builder, input: Node, dim: Axes = None) -> Node:
    """Return the places in the order that transforms have: undoes `fftshift`."""
    axes, _ = _places("ifftshift", input, None, dim)
    return roll(b, input, [(input.shape[a] + 1) // 2 for a in axes], axes)


def _window(b: Builder, window: Node | None, n: int, n_fft: int, like: Any) -> Node:
    if window is None:
        window = b.expand(b.scalar(1, like), (n,))
    if window.shape != (n,):
        raise ShapeError(f"expected a window of shape ({n},), got {window.shape}")
    left = (n_fft - n) // 2
    return b.pad(window, b.scalar(0, window.dtype), (left,), (n_fft - n - left,), (0,))


def _check_frames(name: str, n_fft: int, hop: int, width: int) -> None:
    if n_fft <= 0 or hop <= 0 or not 0 < width <= n_fft:
        raise InvalidValue(
            f"{name}: expected n_fft > 0, hop_length > 0 and 0 < win_length <= n_fft, got {n_fft}, "
            f"{hop} and {width}"
        )


def stft(
    b: Builder,
    x: Node,
    n_fft: int,
    hop_length: int | None = None,
    win_length: int | None = None,
    window: Node | None = None,
    center: bool = True,
    pad_mode: str = "reflect",
    normalized: bool = False,
    onesided: bool | None = None,
    return_complex: bool | None = None,
) -> Node:
    """Return the transforms of windows that slide over signals.

    Args:
        x: [samples], or [batch, samples].
        n_fft: places of a transform.
        hop_length: from one window to the next, n_fft // 4 unless given.
        win_length, window: of the window in the middle of the n_fft places; ones unless given.
        center: fill the signal up on both sides, so that window t has place t * hop_length in its
            middle; `pad_mode` says how.
        normalized: divide by the root of n_fft.
        onesided: return n_fft // 2 + 1 frequencies only; the default for real signals.
        return_complex: False gives real and imaginary parts in a last dimension of size 2.

    Returns:
        [(batch,) frequencies, windows].

    Raises:
        InvalidValue: when `return_complex` is not given for a real signal; ShapeError: for others.
    """
    hop, width = hop_length or n_fft // 4, win_length or n_fft
    _check_frames("stft", n_fft, hop, width)
    if x.rank not in (1, 2):
        raise ShapeError(f"stft: expected a 1-D or 2-D signal, got shape {x.shape}")
    whole = x.dtype.is_complex or (window is not None and window.dtype.is_complex)
    if return_complex is None:
        if not whole:
            raise InvalidValue("stft requires the return_complex parameter for real inputs")
        return_complex = True
    rows = x if x.rank == 2 else b.reshape(x, (1, *x.shape))
    if center:
        side = n_fft // 2
        wide = b.reshape(rows, (rows.shape[0], 1, rows.shape[1]))
        wide = padded(b, wide, (side, side), pad_mode)
        rows = b.reshape(wide, (rows.shape[0], wide.shape[-1]))
    if rows.shape[1] < n_fft:
        raise ShapeError(f"stft: n_fft {n_fft} exceeds the signal's {rows.shape[1]} samples")
    frames = windows_of(b, rows, 1, n_fft, hop)
    factor = _window(b, window, width, n_fft, x.dtype)
    if factor.dtype.is_complex:
        frames = cast(b, frames, factor.dtype)
    frames = b.mul(frames, expand_to(b, cast(b, factor, frames.dtype), frames.shape))
    half = not whole if onesided is None else onesided
    if half and whole:
        raise InvalidValue("stft: cannot have onesided output if window or input is complex")
    out = (rfft if half else fft)(b, frames, norm="ortho" if normalized else None)
    out = transpose(b, out, -1, -2)
    out = out if x.rank == 2 else b.reshape(out, out.shape[1:])
    if return_complex:
        return out
    parts = [b.reshape(part, (*out.shape, 1)) for part in (b.real(out), b.imag(out))]
    return b.concat(*parts, axis=out.rank)


def _overlapped(b: Builder, frames: Node, hop: int) -> Node:
    """The sums of windows [batch, count, n] that lie `hop` places apart: [batch, samples]."""
    batch, count, n = frames.shape
    at = b.mul(b.iota((count, n), 0, dtypes.int64), b.scalar(hop, dtypes.int64))
    at = b.reshape(b.add(at, b.iota((count, n), 1, dtypes.int64)), (count * n,))
    none = b.expand(b.scalar(0, frames.dtype), (batch, (count - 1) * hop + n))
    return b.add_at(none, at, b.reshape(frames, (batch, count * n)), axis=1)


def istft(
    b: Builder,
    x: Node,
    n_fft: int,
    hop_length: int | None = None,
    win_length: int | None = None,
    window: Node | None = None,
    center: bool = True,
    normalized: bool = False,
    onesided: bool | None = None,
    length: int | None = None,
    return_complex: bool = False,
) -> Node:
    """Return the signals whose `stft` is given, as near as windows let it be.

    Args:
        x: [(batch,) frequencies, windows], complex.
        length: of the signals; as many samples as windows cover unless given.
        return_complex: for `stft` of complex signals.

    Source: Griffin and Lim, "Signal estimation from modified short-time Fourier transform", 1984.
    Where all windows are 0, so is the signal; PyTorch raises there.
    """
    hop, width = hop_length or n_fft // 4, win_length or n_fft
    _check_frames("istft", n_fft, hop, width)
    if not x.dtype.is_complex or x.rank not in (2, 3):
        raise ShapeError(f"istft: expected a complex 2-D or 3-D operand, got {x.type}")
    rows = x if x.rank == 3 else b.reshape(x, (1, *x.shape))
    half = rows.shape[1] != n_fft if onesided is None else onesided
    if rows.shape[1] != (n_fft // 2 + 1 if half else n_fft):
        raise ShapeError(f"istft: {rows.shape[1]} frequencies do not fit n_fft {n_fft}")
    mode = "ortho" if normalized else None
    turned = permute(b, rows, (0, 2, 1))
    frames = irfft(b, turned, n_fft, norm=mode) if half else ifft(b, turned, norm=mode)
    if not return_complex and frames.dtype.is_complex:
        frames = b.real(frames)
    factor = cast(b, _window(b, window, width, n_fft, frames.dtype), frames.dtype)
    wide = expand_to(b, factor, frames.shape)
    total = _overlapped(b, b.mul(frames, wide), hop)
    square = b.mul(factor, b.adjoint(factor))
    weight = _overlapped(b, b.expand(square, (1, *frames.shape[1:])), hop)
    start = n_fft // 2 if center else 0
    full = total.shape[1]
    stop = start + length if length is not None else full - start
    if stop > full:
        total, weight = (_resized(b, v, 1, stop) for v in (total, weight))
    total, weight = (slice_axis(b, v, 1, start, stop) for v in (total, weight))
    size = b.abs(weight)
    nothing = b.lt(size, b.scalar(1e-11, size.dtype))
    weight = b.where(nothing, b.scalar(1, weight.dtype), weight)
    out = b.div(total, expand_to(b, weight, total.shape))
    return out if x.rank == 3 else reshape_to(b, out, out.shape[1:])


FFT: tuple[Callable[..., Node], ...] = (
    *(fft, ifft, rfft, irfft, hfft, ihfft, fftn, ifftn, rfftn, irfftn, hfftn, ihfftn),
    *(fft2, ifft2, rfft2, irfft2, hfft2, ihfft2, fftshift, ifftshift),
)
PUBLIC: tuple[Callable[..., Node], ...] = (stft, istft)
METHODS: tuple[str, ...] = ("stft", "istft")
