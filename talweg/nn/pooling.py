"""Pooling: one number for each window."""

from __future__ import annotations

from collections.abc import Sequence

from talweg.engine.tensor import Tensor
from talweg.nn import functional as F
from talweg.nn.conv import per_axis
from talweg.nn.module import Module

Sizes = int | Sequence[int]
AdaptiveSizes = int | None | Sequence[int | None]


class _MaxPool(Module):
    axes: int

    def __init__(
        self,
        kernel_size: Sizes,
        stride: Sizes | None = None,
        padding: Sizes = 0,
        dilation: Sizes = 1,
        return_indices: bool = False,
        ceil_mode: bool = False,
    ) -> None:
        super().__init__()
        self.kernel_size = kernel_size
        self.stride = kernel_size if stride is None else stride
        self.padding = padding
        self.dilation = dilation
        self.return_indices = return_indices
        self.ceil_mode = ceil_mode

    def forward(self, input: Tensor) -> Tensor:
        pool = (F.max_pool1d, F.max_pool2d, F.max_pool3d)[self.axes - 1]
        how = (self.kernel_size, self.stride, self.padding, self.dilation)
        return pool(input, *how, self.ceil_mode, self.return_indices)

    def extra_repr(self) -> str:
        return (
            f"kernel_size={self.kernel_size}, stride={self.stride}, padding={self.padding}, "
            f"dilation={self.dilation}, ceil_mode={self.ceil_mode}"
        )


class MaxPool1d(_MaxPool):
    """Maximum of each window of a sequence.

    Args:
        kernel_size, stride, padding, dilation: ints; the stride is the kernel's size unless given.
        return_indices: also return each maximum's place, for `MaxUnpool1d`.
        ceil_mode: windows may begin inside and end outside.

    Shape: [N, C, L] or [C, L] to [N, C, L'] or [C, L'], where L' =
        (L + 2 * padding - dilation * (kernel_size - 1) - 1) // stride + 1.

    Example:
        >>> import talweg as tw
        >>> tw.nn.MaxPool1d(2)(tw.tensor([[1.0, 4.0, 2.0, 3.0]])).tolist()
        [[4.0, 3.0]]
    """

    axes = 1


class MaxPool2d(_MaxPool):
    """Maximum of each window of an image.

    Args:
        kernel_size, stride, padding, dilation: one int or one per axis; the stride is the kernel's
            size unless given.
        return_indices: also return each maximum's place, for `MaxUnpool2d`.
        ceil_mode: windows may begin inside and end outside.

    Shape: [N, C, H, W] or [C, H, W] to [N, C, H', W'] or [C, H', W'], where H' =
        (H + 2 * padding - dilation * (kernel_size - 1) - 1) // stride + 1, and W' likewise.

    Example:
        >>> import talweg as tw
        >>> tw.nn.MaxPool2d(2)(tw.arange(16.0).reshape(1, 4, 4)).tolist()
        [[[5.0, 7.0], [13.0, 15.0]]]
    """

    axes = 2


class MaxPool3d(_MaxPool):
    """Maximum of each window of a volume.

    Args:
        kernel_size, stride, padding, dilation, return_indices, ceil_mode: as for `MaxPool2d`.

    Shape: [N, C, D, H, W] or [C, D, H, W] to the same with sizes as in `MaxPool2d`.

    Example:
        >>> import talweg as tw
        >>> tw.nn.MaxPool3d(2)(tw.ones(1, 3, 4, 4, 4)).shape
        (1, 3, 2, 2, 2)
    """

    axes = 3


class _MaxUnpool(Module):
    axes: int

    def __init__(self, kernel_size: Sizes, stride: Sizes | None = None, padding: Sizes = 0) -> None:
        super().__init__()
        self.kernel_size = per_axis("kernel_size", kernel_size, self.axes)
        given = self.kernel_size if stride is None else stride
        self.stride = per_axis("stride", given, self.axes)
        self.padding = per_axis("padding", padding, self.axes)

    def forward(
        self, input: Tensor, indices: Tensor, output_size: Sequence[int] | None = None
    ) -> Tensor:
        unpool = (F.max_unpool1d, F.max_unpool2d, F.max_unpool3d)[self.axes - 1]
        how = (self.kernel_size, self.stride, self.padding)
        return unpool(input, indices, *how, output_size)

    def extra_repr(self) -> str:
        return f"kernel_size={self.kernel_size}, stride={self.stride}, padding={self.padding}"


class MaxUnpool1d(_MaxUnpool):
    """Undo `MaxPool1d` up to zeros: each maximum goes back to its place.

    Args:
        kernel_size, stride, padding: those of the pooling.

    The call takes the values, the indices and, where several lengths lead to one, `output_size`.

    Shape: [N, C, L'] or [C, L'] to [N, C, L] or [C, L].

    Example:
        >>> import talweg as tw
        >>> pool = tw.nn.MaxPool1d(2, return_indices=True)
        >>> values, indices = pool(tw.tensor([[1.0, 4.0, 2.0, 3.0]]))
        >>> tw.nn.MaxUnpool1d(2)(values, indices).tolist()
        [[0.0, 4.0, 0.0, 3.0]]
    """

    axes = 1


class MaxUnpool2d(_MaxUnpool):
    """Undo `MaxPool2d` up to zeros: each maximum goes back to its place.

    Args:
        kernel_size, stride, padding: those of the pooling.

    The call takes the values, the indices and, where several sizes lead to one, `output_size`.

    Shape: [N, C, H', W'] or [C, H', W'] to [N, C, H, W] or [C, H, W].

    Example:
        >>> import talweg as tw
        >>> pool = tw.nn.MaxPool2d(2, return_indices=True)
        >>> values, indices = pool(tw.arange(4.0).reshape(1, 2, 2))
        >>> tw.nn.MaxUnpool2d(2)(values, indices).tolist()
        [[[0.0, 0.0], [0.0, 3.0]]]
    """

    axes = 2


class MaxUnpool3d(_MaxUnpool):
    """Undo `MaxPool3d` up to zeros: each maximum goes back to its place; see `MaxUnpool2d`.

    Shape: [N, C, D', H', W'] or [C, D', H', W'] to [N, C, D, H, W] or [C, D, H, W].

    Example:
        >>> import talweg as tw
        >>> pool = tw.nn.MaxPool3d(2, return_indices=True)
        >>> tw.nn.MaxUnpool3d(2)(*pool(tw.ones(1, 4, 4, 4))).sum().item()
        8.0
    """

    axes = 3


class _AvgPool(Module):
    kernel_size: Sizes
    stride: Sizes

    def __init__(
        self,
        kernel_size: Sizes,
        stride: Sizes | None = None,
        padding: Sizes = 0,
        ceil_mode: bool = False,
        count_include_pad: bool = True,
    ) -> None:
        super().__init__()
        self.kernel_size = kernel_size
        self.stride = kernel_size if stride is None else stride
        self.padding = padding
        self.ceil_mode = ceil_mode
        self.count_include_pad = count_include_pad

    def extra_repr(self) -> str:
        return f"kernel_size={self.kernel_size}, stride={self.stride}, padding={self.padding}"


class AvgPool1d(_AvgPool):
    """Mean of each window of a sequence.

    Args:
        kernel_size, stride, padding: ints; the stride is the kernel's size unless given.
        ceil_mode: windows may begin inside and end outside.
        count_include_pad: padding counts as zeros.

    Shape: [N, C, L] or [C, L] to [N, C, L'] or [C, L'], where L' =
        (L + 2 * padding - kernel_size) // stride + 1.

    Example:
        >>> import talweg as tw
        >>> tw.nn.AvgPool1d(2)(tw.tensor([[1.0, 4.0, 2.0, 3.0]])).tolist()
        [[2.5, 2.5]]
    """

    def forward(self, input: Tensor) -> Tensor:
        how = (self.kernel_size, self.stride, self.padding, self.ceil_mode)
        return F.avg_pool1d(input, *how, self.count_include_pad)

    def extra_repr(self) -> str:
        sizes = (per_axis("size", n, 1) for n in (self.kernel_size, self.stride, self.padding))
        return "kernel_size={}, stride={}, padding={}".format(*sizes)


class AvgPool2d(_AvgPool):
    """Mean of each window of an image.

    Args:
        kernel_size, stride, padding: one int or one per axis; the stride is the kernel's size
            unless given.
        ceil_mode: windows may begin inside and end outside.
        count_include_pad: padding counts as zeros.
        divisor_override: divide by this instead of the number of elements.

    Shape: [N, C, H, W] or [C, H, W] to [N, C, H', W'] or [C, H', W'], where H' =
        (H + 2 * padding - kernel_size) // stride + 1, and W' likewise.

    Example:
        >>> import talweg as tw
        >>> tw.nn.AvgPool2d(2)(tw.arange(16.0).reshape(1, 4, 4)).tolist()
        [[[2.5, 4.5], [10.5, 12.5]]]
    """

    def __init__(
        self,
        kernel_size: Sizes,
        stride: Sizes | None = None,
        padding: Sizes = 0,
        ceil_mode: bool = False,
        count_include_pad: bool = True,
        divisor_override: int | None = None,
    ) -> None:
        super().__init__(kernel_size, stride, padding, ceil_mode, count_include_pad)
        self.divisor_override = divisor_override

    def forward(self, input: Tensor) -> Tensor:
        how = (self.kernel_size, self.stride, self.padding, self.ceil_mode)
        return F.avg_pool2d(input, *how, self.count_include_pad, self.divisor_override)


class AvgPool3d(AvgPool2d):
    """Mean of each window of a volume.

    Args:
        kernel_size, stride, padding, ceil_mode, count_include_pad, divisor_override: as for
            `AvgPool2d`.

    Shape: [N, C, D, H, W] or [C, D, H, W] to the same with sizes as in `AvgPool2d`.

    Example:
        >>> import talweg as tw
        >>> tw.nn.AvgPool3d(2)(tw.ones(1, 3, 4, 4, 4)).shape
        (1, 3, 2, 2, 2)
    """

    def forward(self, input: Tensor) -> Tensor:
        how = (self.kernel_size, self.stride, self.padding, self.ceil_mode)
        return F.avg_pool3d(input, *how, self.count_include_pad, self.divisor_override)


class _LPPool(Module):
    axes: int

    def __init__(
        self,
        norm_type: float,
        kernel_size: Sizes,
        stride: Sizes | None = None,
        ceil_mode: bool = False,
    ) -> None:
        super().__init__()
        self.norm_type = norm_type
        self.kernel_size = kernel_size
        self.stride = stride
        self.ceil_mode = ceil_mode

    def forward(self, input: Tensor) -> Tensor:
        pool = (F.lp_pool1d, F.lp_pool2d, F.lp_pool3d)[self.axes - 1]
        how = (float(self.norm_type), self.kernel_size, self.stride)
        return pool(input, *how, self.ceil_mode)

    def extra_repr(self) -> str:
        return (
            f"norm_type={self.norm_type}, kernel_size={self.kernel_size}, stride={self.stride}, "
            f"ceil_mode={self.ceil_mode}"
        )


class LPPool1d(_LPPool):
    """(sum of x ** p) ** (1 / p) of each window: the sum for p = 1, the maximum as p grows.

    Args:
        norm_type: p.
        kernel_size, stride, ceil_mode: as for `AvgPool1d`.

    Shape: [N, C, L] or [C, L] to the same with L' = (L - kernel_size) // stride + 1.

    Example:
        >>> import talweg as tw
        >>> tw.nn.LPPool1d(2, kernel_size=2)(tw.tensor([[3.0, 4.0, 0.0, 0.0]])).tolist()
        [[5.0, 0.0]]
    """

    axes = 1


class LPPool2d(_LPPool):
    """(sum of x ** p) ** (1 / p) of each window: the sum for p = 1, the maximum as p grows.

    Args:
        norm_type: p.
        kernel_size, stride, ceil_mode: as for `AvgPool2d`.

    Shape: [N, C, H, W] or [C, H, W] to the same with sizes as in `AvgPool2d`.

    Example:
        >>> import talweg as tw
        >>> tw.nn.LPPool2d(2, kernel_size=2)(tw.tensor([[[3.0, 0.0], [0.0, 4.0]]])).tolist()
        [[[5.0]]]
    """

    axes = 2


class LPPool3d(_LPPool):
    """(sum of x ** p) ** (1 / p) of each window; see `LPPool2d`.

    Shape: [N, C, D, H, W] or [C, D, H, W] to the same with sizes as in `AvgPool3d`.

    Example:
        >>> import talweg as tw
        >>> tw.nn.LPPool3d(2, kernel_size=2)(tw.ones(1, 3, 4, 4, 4)).shape
        (1, 3, 2, 2, 2)
    """

    axes = 3


class _AdaptiveAvgPool(Module):
    axes: int

    def __init__(self, output_size: AdaptiveSizes) -> None:
        super().__init__()
        self.output_size = output_size

    def forward(self, input: Tensor) -> Tensor:
        pools = (F.adaptive_avg_pool1d, F.adaptive_avg_pool2d, F.adaptive_avg_pool3d)
        return pools[self.axes - 1](input, self.output_size)

    def extra_repr(self) -> str:
        return f"output_size={self.output_size}"


class AdaptiveAvgPool1d(_AdaptiveAvgPool):
    """Means of windows that cut a sequence into `output_size` nearly equal parts.

    Args:
        output_size: how many; None keeps the length.

    Shape: [N, C, L] or [C, L] to [N, C, output_size] or [C, output_size].

    Example:
        >>> import talweg as tw
        >>> tw.nn.AdaptiveAvgPool1d(2)(tw.tensor([[1.0, 3.0, 5.0, 7.0]])).tolist()
        [[2.0, 6.0]]
    """

    axes = 1


class AdaptiveAvgPool2d(_AdaptiveAvgPool):
    """Means of windows that cut each axis into `output_size` nearly equal parts.

    Args:
        output_size: one int, or one per axis; None keeps an axis as it is.

    Shape: [N, C, H, W] or [C, H, W] to [N, C, *output_size] or [C, *output_size].

    Example:
        >>> import talweg as tw
        >>> tw.nn.AdaptiveAvgPool2d(1)(tw.ones(2, 8, 7, 7)).shape
        (2, 8, 1, 1)
    """

    axes = 2


class AdaptiveAvgPool3d(_AdaptiveAvgPool):
    """Means of windows that cut each axis into `output_size` nearly equal parts.

    Args:
        output_size: one int, or one per axis; None keeps an axis as it is.

    Shape: [N, C, D, H, W] or [C, D, H, W] to [N, C, *output_size] or [C, *output_size].

    Example:
        >>> import talweg as tw
        >>> tw.nn.AdaptiveAvgPool3d((1, 2, None))(tw.ones(2, 8, 7, 7, 7)).shape
        (2, 8, 1, 2, 7)
    """

    axes = 3


class _AdaptiveMaxPool(Module):
    axes: int

    def __init__(self, output_size: AdaptiveSizes, return_indices: bool = False) -> None:
        super().__init__()
        self.output_size = output_size
        self.return_indices = return_indices

    def forward(self, input: Tensor) -> Tensor:
        pools = (F.adaptive_max_pool1d, F.adaptive_max_pool2d, F.adaptive_max_pool3d)
        return pools[self.axes - 1](input, self.output_size, self.return_indices)

    def extra_repr(self) -> str:
        return f"output_size={self.output_size}"


class AdaptiveMaxPool1d(_AdaptiveMaxPool):
    """Maxima of windows that cut a sequence into `output_size` nearly equal parts.

    Args:
        output_size: how many; None keeps the length.
        return_indices: also return each maximum's place.

    Shape: [N, C, L] or [C, L] to [N, C, output_size] or [C, output_size].

    Example:
        >>> import talweg as tw
        >>> tw.nn.AdaptiveMaxPool1d(2)(tw.tensor([[1.0, 3.0, 7.0, 5.0]])).tolist()
        [[3.0, 7.0]]
    """

    axes = 1


class AdaptiveMaxPool2d(_AdaptiveMaxPool):
    """Maxima of windows that cut each axis into `output_size` nearly equal parts.

    Args:
        output_size: one int, or one per axis; None keeps an axis as it is.
        return_indices: also return each maximum's place.

    Shape: [N, C, H, W] or [C, H, W] to [N, C, *output_size] or [C, *output_size].

    Example:
        >>> import talweg as tw
        >>> tw.nn.AdaptiveMaxPool2d((1, None))(tw.ones(2, 8, 7, 5)).shape
        (2, 8, 1, 5)
    """

    axes = 2


class AdaptiveMaxPool3d(_AdaptiveMaxPool):
    """Maxima of windows that cut each axis into `output_size` nearly equal parts.

    Args:
        output_size: one int, or one per axis; None keeps an axis as it is.
        return_indices: also return each maximum's place.

    Shape: [N, C, D, H, W] or [C, D, H, W] to [N, C, *output_size] or [C, *output_size].

    Example:
        >>> import talweg as tw
        >>> tw.nn.AdaptiveMaxPool3d(2)(tw.ones(2, 8, 7, 7, 7)).shape
        (2, 8, 2, 2, 2)
    """

    axes = 3
