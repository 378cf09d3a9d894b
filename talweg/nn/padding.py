"""Layers that add a border."""

from __future__ import annotations

from collections.abc import Sequence

from talweg.engine.tensor import Tensor
from talweg.nn import functional as F
from talweg.nn.conv import per_axis
from talweg.nn.module import Module

Sizes = int | Sequence[int]


class _Pad(Module):
    """Padding of the last `axes` dimensions.

    Args:
        padding: one int, or (before, after) of the last dimension, then of the one before it, ...
    """

    axes: int
    mode: str

    def __init__(self, padding: Sizes) -> None:
        super().__init__()
        self.padding = per_axis("padding", padding, 2 * self.axes)

    def forward(self, input: Tensor) -> Tensor:
        return F.pad(input, self.padding, self.mode)

    def extra_repr(self) -> str:
        return str(self.padding)


class _ConstantPad(_Pad):
    mode = "constant"

    def __init__(self, padding: Sizes, value: float) -> None:
        super().__init__(padding)
        self.value = value

    def forward(self, input: Tensor) -> Tensor:
        return F.pad(input, self.padding, "constant", self.value)

    def extra_repr(self) -> str:
        return f"padding={self.padding}, value={self.value}"


class ConstantPad1d(_ConstantPad):
    """A border of one value: [*, L] to [*, L']."""

    axes = 1


class ConstantPad2d(_ConstantPad):
    """A border of one value: [*, H, W] to [*, H', W'].

    Example:
        >>> import talweg as tw
        >>> tw.nn.ConstantPad2d((1, 0, 0, 1), 7.0)(tw.zeros(1, 1, 1)).tolist()
        [[[7.0, 0.0], [7.0, 7.0]]]
    """

    axes = 2


class ConstantPad3d(_ConstantPad):
    """A border of one value: [*, D, H, W] to [*, D', H', W']."""

    axes = 3


class _ZeroPad(_ConstantPad):
    def __init__(self, padding: Sizes) -> None:
        super().__init__(padding, 0.0)

    def extra_repr(self) -> str:
        return str(self.padding)


class ZeroPad1d(_ZeroPad):
    """A border of zeros: [*, L] to [*, L']."""

    axes = 1


class ZeroPad2d(_ZeroPad):
    """A border of zeros: [*, H, W] to [*, H', W']."""

    axes = 2


class ZeroPad3d(_ZeroPad):
    """A border of zeros: [*, D, H, W] to [*, D', H', W']."""

    axes = 3


class ReflectionPad1d(_Pad):
    """A border that reflects the inside, without its edge: [N, C, L] or [C, L]."""

    axes, mode = 1, "reflect"


class ReflectionPad2d(_Pad):
    """A border that reflects the inside, without its edge: [N, C, H, W] or [C, H, W]."""

    axes, mode = 2, "reflect"


class ReflectionPad3d(_Pad):
    """A border that reflects the inside, without its edge: [N, C, D, H, W] or [C, D, H, W]."""

    axes, mode = 3, "reflect"


class ReplicationPad1d(_Pad):
    """A border that repeats the edge: [N, C, L] or [C, L]."""

    axes, mode = 1, "replicate"


class ReplicationPad2d(_Pad):
    """A border that repeats the edge: [N, C, H, W] or [C, H, W]."""

    axes, mode = 2, "replicate"


class ReplicationPad3d(_Pad):
    """A border that repeats the edge: [N, C, D, H, W] or [C, D, H, W]."""

    axes, mode = 3, "replicate"


class CircularPad1d(_Pad):
    """A border that goes on at the other end: [N, C, L] or [C, L]."""

    axes, mode = 1, "circular"


class CircularPad2d(_Pad):
    """A border that goes on at the other end: [N, C, H, W] or [C, H, W]."""

    axes, mode = 2, "circular"


class CircularPad3d(_Pad):
    """A border that goes on at the other end: [N, C, D, H, W] or [C, D, H, W]."""

    axes, mode = 3, "circular"
