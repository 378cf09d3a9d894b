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
    """A border of one value.

    Args:
        padding: one int for all sides, or two: (before, after); negative ones take away.
        value: what stands there.

    Shape: [*, L] to [*, L'], where L' = L + before + after.

    Example:
        >>> import talweg as tw
        >>> tw.nn.ConstantPad1d((1, 2), 7.0)(tw.tensor([[1.0, 2.0]])).tolist()
        [[7.0, 1.0, 2.0, 7.0, 7.0]]
    """

    axes = 1


class ConstantPad2d(_ConstantPad):
    """A border of one value.

    Args:
        padding: one int for all sides, or four: (left, right, top, bottom); negative ones take
            away.
        value: what stands there.

    Shape: [*, H, W] to [*, H', W'], where W' = W + before + after, and H' likewise.

    Example:
        >>> import talweg as tw
        >>> tw.nn.ConstantPad2d((1, 0, 0, 1), 7.0)(tw.zeros(1, 1, 1)).tolist()
        [[[7.0, 0.0], [7.0, 7.0]]]
    """

    axes = 2


class ConstantPad3d(_ConstantPad):
    """A border of one value.

    Args:
        padding: one int for all sides, or six: (left, right, top, bottom, front, back);
            negative ones take away.
        value: what stands there.

    Shape: [*, D, H, W] to [*, D', H', W'], where W' = W + before + after, and H', D' likewise.

    Example:
        >>> import talweg as tw
        >>> tw.nn.ConstantPad3d(1, 7.0)(tw.zeros(2, 4, 4, 4)).shape
        (2, 6, 6, 6)
    """

    axes = 3


class _ZeroPad(_ConstantPad):
    def __init__(self, padding: Sizes) -> None:
        super().__init__(padding, 0.0)

    def extra_repr(self) -> str:
        return str(self.padding)


class ZeroPad1d(_ZeroPad):
    """A border of zeros.

    Args:
        padding: one int for all sides, or two: (before, after); negative ones take away.

    Shape: [*, L] to [*, L'], where L' = L + before + after.

    Example:
        >>> import talweg as tw
        >>> tw.nn.ZeroPad1d((1, 2))(tw.tensor([[1.0, 2.0]])).tolist()
        [[0.0, 1.0, 2.0, 0.0, 0.0]]
    """

    axes = 1


class ZeroPad2d(_ZeroPad):
    """A border of zeros.

    Args:
        padding: one int for all sides, or four: (left, right, top, bottom); negative ones take
            away.

    Shape: [*, H, W] to [*, H', W'], where W' = W + before + after, and H' likewise.

    Example:
        >>> import talweg as tw
        >>> tw.nn.ZeroPad2d((1, 0, 0, 1))(tw.ones(1, 1, 1)).tolist()
        [[[0.0, 1.0], [0.0, 0.0]]]
    """

    axes = 2


class ZeroPad3d(_ZeroPad):
    """A border of zeros.

    Args:
        padding: one int for all sides, or six: (left, right, top, bottom, front, back);
            negative ones take away.

    Shape: [*, D, H, W] to [*, D', H', W'], where W' = W + before + after, and H', D' likewise.

    Example:
        >>> import talweg as tw
        >>> tw.nn.ZeroPad3d(1)(tw.ones(2, 4, 4, 4)).shape
        (2, 6, 6, 6)
    """

    axes = 3


class ReflectionPad1d(_Pad):
    """A border that reflects the inside, without its edge.

    Args:
        padding: one int for all sides, or two: (before, after), less than the size of the axis.

    Shape: [N, C, L] or [C, L] to the same with L' = L + before + after.

    Example:
        >>> import talweg as tw
        >>> tw.nn.ReflectionPad1d(2)(tw.tensor([[1.0, 2.0, 3.0]])).tolist()
        [[3.0, 2.0, 1.0, 2.0, 3.0, 2.0, 1.0]]
    """

    axes, mode = 1, "reflect"


class ReflectionPad2d(_Pad):
    """A border that reflects the inside, without its edge.

    Args:
        padding: one int for all sides, or four: (left, right, top, bottom), less than the size
            of the axis.

    Shape: [N, C, H, W] or [C, H, W] to the same with W' = W + before + after, and H' likewise.

    Example:
        >>> import talweg as tw
        >>> tw.nn.ReflectionPad2d((1, 0, 1, 0))(tw.tensor([[[1.0, 2.0], [3.0, 4.0]]])).tolist()
        [[[4.0, 3.0, 4.0], [2.0, 1.0, 2.0], [4.0, 3.0, 4.0]]]
    """

    axes, mode = 2, "reflect"


class ReflectionPad3d(_Pad):
    """A border that reflects the inside, without its edge.

    Args:
        padding: one int for all sides, or six: (left, right, top, bottom, front, back), less
            than the size of the axis.

    Shape: [N, C, D, H, W] or [C, D, H, W] to the same, each axis longer by what is added.

    Example:
        >>> import talweg as tw
        >>> tw.nn.ReflectionPad3d(1)(tw.ones(2, 4, 4, 4)).shape
        (2, 6, 6, 6)
    """

    axes, mode = 3, "reflect"


class ReplicationPad1d(_Pad):
    """A border that repeats the edge.

    Args:
        padding: one int for all sides, or two: (before, after).

    Shape: [N, C, L] or [C, L] to the same with L' = L + before + after.

    Example:
        >>> import talweg as tw
        >>> tw.nn.ReplicationPad1d(2)(tw.tensor([[1.0, 2.0, 3.0]])).tolist()
        [[1.0, 1.0, 1.0, 2.0, 3.0, 3.0, 3.0]]
    """

    axes, mode = 1, "replicate"


class ReplicationPad2d(_Pad):
    """A border that repeats the edge.

    Args:
        padding: one int for all sides, or four: (left, right, top, bottom).

    Shape: [N, C, H, W] or [C, H, W] to the same with W' = W + before + after, and H' likewise.

    Example:
        >>> import talweg as tw
        >>> tw.nn.ReplicationPad2d((1, 0, 1, 0))(tw.tensor([[[1.0, 2.0], [3.0, 4.0]]])).tolist()
        [[[1.0, 1.0, 2.0], [1.0, 1.0, 2.0], [3.0, 3.0, 4.0]]]
    """

    axes, mode = 2, "replicate"


class ReplicationPad3d(_Pad):
    """A border that repeats the edge.

    Args:
        padding: one int for all sides, or six: (left, right, top, bottom, front, back).

    Shape: [N, C, D, H, W] or [C, D, H, W] to the same, each axis longer by what is added.

    Example:
        >>> import talweg as tw
        >>> tw.nn.ReplicationPad3d(1)(tw.ones(2, 4, 4, 4)).shape
        (2, 6, 6, 6)
    """

    axes, mode = 3, "replicate"


class CircularPad1d(_Pad):
    """A border that goes on at the other end.

    Args:
        padding: one int for all sides, or two: (before, after), at most the size of the axis.

    Shape: [N, C, L] or [C, L] to the same with L' = L + before + after.

    Example:
        >>> import talweg as tw
        >>> tw.nn.CircularPad1d(2)(tw.tensor([[1.0, 2.0, 3.0]])).tolist()
        [[2.0, 3.0, 1.0, 2.0, 3.0, 1.0, 2.0]]
    """

    axes, mode = 1, "circular"


class CircularPad2d(_Pad):
    """A border that goes on at the other end.

    Args:
        padding: one int for all sides, or four: (left, right, top, bottom), at most the size of
            the axis.

    Shape: [N, C, H, W] or [C, H, W] to the same with W' = W + before + after, and H' likewise.

    Example:
        >>> import talweg as tw
        >>> tw.nn.CircularPad2d((1, 0, 1, 0))(tw.tensor([[[1.0, 2.0], [3.0, 4.0]]])).tolist()
        [[[4.0, 3.0, 4.0], [2.0, 1.0, 2.0], [4.0, 3.0, 4.0]]]
    """

    axes, mode = 2, "circular"


class CircularPad3d(_Pad):
    """A border that goes on at the other end.

    Args:
        padding: one int for all sides, or six: (left, right, top, bottom, front, back), at most
            the size of the axis.

    Shape: [N, C, D, H, W] or [C, D, H, W] to the same, each axis longer by what is added.

    Example:
        >>> import talweg as tw
        >>> tw.nn.CircularPad3d(1)(tw.ones(2, 4, 4, 4)).shape
        (2, 6, 6, 6)
    """

    axes, mode = 3, "circular"
