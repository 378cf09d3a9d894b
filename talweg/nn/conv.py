"""Convolution and transposed convolution along one, two and three axes."""

from __future__ import annotations

import math
from collections.abc import Sequence

from talweg.base.dtypes import DType
from talweg.base.errors import InvalidValue, ShapeError
from talweg.engine.creation import empty
from talweg.engine.tensor import Tensor
from talweg.nn import functional as F
from talweg.nn import init
from talweg.nn.module import Module
from talweg.nn.parameter import Parameter

Sizes = int | Sequence[int]

_PADDING_MODES = ("zeros", "reflect", "replicate", "circular")


def per_axis(name: str, value: Sizes, axes: int) -> tuple[int, ...]:
    """Return one int per spatial axis; a single one counts for every axis."""
    if isinstance(value, int):
        return (value,) * axes
    if len(value) == 1:
        return tuple(value) * axes
    if len(value) != axes:
        raise ShapeError(f"{name} needs one int or {axes}, got {value}")
    return tuple(value)


class _ConvBase(Module):
    """What convolutions share: sizes, channels, initial values and text.

    The weight is uniform within ±1 / sqrt(fan_in), and so is the bias.
    """

    axes: int
    transposed = False
    weight: Parameter
    bias: Parameter | None

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: Sizes,
        stride: Sizes,
        padding: Sizes | str,
        output_padding: Sizes,
        dilation: Sizes,
        groups: int,
        bias: bool,
        padding_mode: str,
        device: object,
        dtype: DType | None,
    ) -> None:
        super().__init__()
        if groups <= 0 or in_channels % groups or out_channels % groups:
            raise InvalidValue(
                f"groups={groups} must divide in_channels={in_channels} and "
                f"out_channels={out_channels}"
            )
        modes = ("zeros",) if self.transposed else _PADDING_MODES
        if padding_mode not in modes:
            raise InvalidValue(f"padding_mode must be one of {modes}, got {padding_mode!r}")
        self.in_channels = in_channels
        self.out_channels = out_channels
        self.kernel_size = per_axis("kernel_size", kernel_size, self.axes)
        self.stride = per_axis("stride", stride, self.axes)
        self.padding = self._checked_padding(padding)
        self.output_padding = per_axis("output_padding", output_padding, self.axes)
        self.dilation = per_axis("dilation", dilation, self.axes)
        self.groups = groups
        self.padding_mode = padding_mode
        ends = (in_channels, out_channels) if self.transposed else (out_channels, in_channels)
        shape = (ends[0], ends[1] // groups, *self.kernel_size)
        self.weight = Parameter(empty(shape, dtype=dtype, device=device))
        vector = Parameter(empty(out_channels, dtype=dtype, device=device)) if bias else None
        self.register_parameter("bias", vector)
        self.reset_parameters()

    def _checked_padding(self, padding: Sizes | str) -> tuple[int, ...] | str:
        if not isinstance(padding, str):
            return per_axis("padding", padding, self.axes)
        if padding not in ("same", "valid"):
            raise InvalidValue(f"padding must be 'same', 'valid' or ints, got {padding!r}")
        if padding == "same" and any(s != 1 for s in self.stride):
            raise InvalidValue("padding='same' is not supported for strided convolutions")
        return padding

    def reset_parameters(self) -> None:
        """Draw new weights and biases."""
        init.kaiming_uniform_(self.weight, a=math.sqrt(5))
        fan_in, _ = init.fans(self.weight)
        if self.bias is not None and fan_in:
            bound = 1 / math.sqrt(fan_in)
            init.uniform_(self.bias, -bound, bound)

    def _bordered(self, input: Tensor) -> Tensor:
        """Return the input with the border that a padding mode other than zeros asks for."""
        pairs: list[int] = []
        for axis in reversed(range(self.axes)):
            if isinstance(self.padding, str):
                whole = self.dilation[axis] * (self.kernel_size[axis] - 1)
                whole *= self.padding == "same"
                pairs += [whole // 2, whole - whole // 2]
            else:
                pairs += [self.padding[axis]] * 2
        return F.pad(input, pairs, mode=self.padding_mode)

    def extra_repr(self) -> str:
        none = (0,) * self.axes
        text = f"{self.in_channels}, {self.out_channels}, kernel_size={self.kernel_size}"
        text += f", stride={self.stride}"
        if self.padding != none:
            text += f", padding={self.padding}"
        if self.dilation != (1,) * self.axes:
            text += f", dilation={self.dilation}"
        if self.output_padding != none:
            text += f", output_padding={self.output_padding}"
        if self.groups != 1:
            text += f", groups={self.groups}"
        if self.bias is None:
            text += ", bias=False"
        if self.padding_mode != "zeros":
            text += f", padding_mode={self.padding_mode}"
        return text


class _Conv(_ConvBase):
    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: Sizes,
        stride: Sizes = 1,
        padding: Sizes | str = 0,
        dilation: Sizes = 1,
        groups: int = 1,
        bias: bool = True,
        padding_mode: str = "zeros",
        device: object = None,
        dtype: DType | None = None,
    ) -> None:
        how = (kernel_size, stride, padding, 0, dilation, groups, bias, padding_mode)
        super().__init__(in_channels, out_channels, *how, device, dtype)

    def forward(self, input: Tensor) -> Tensor:
        padding: Sizes | str = self.padding
        if self.padding_mode != "zeros":
            input, padding = self._bordered(input), 0
        convolve = (F.conv1d, F.conv2d, F.conv3d)[self.axes - 1]
        how = (self.stride, padding, self.dilation, self.groups)
        return convolve(input, self.weight, self.bias, *how)


class Conv1d(_Conv):
    """Cross-correlation of sequences with learned kernels, as `functional.conv1d`.

    Args:
        in_channels, out_channels: numbers of channels.
        kernel_size, stride, padding, dilation, groups, bias, padding_mode: as for `Conv2d`.

    Shape: [N, in_channels, L] or [in_channels, L] to [N, out_channels, L'], where L' =
        (L + 2 * padding - dilation * (kernel_size - 1) - 1) // stride + 1.

    Attributes:
        weight: [out_channels, in_channels / groups, kernel_size].
        bias: [out_channels] or None.

    Example:
        >>> import talweg as tw
        >>> tw.nn.Conv1d(16, 32, kernel_size=5, padding="same")(tw.ones(4, 16, 100)).shape
        (4, 32, 100)
    """

    axes = 1


class Conv2d(_Conv):
    """Cross-correlation of images with learned kernels, as `functional.conv2d`.

    Every place of a result is the sum of a window of the image times a kernel, one kernel for each
    output channel. Images have their channels second.

    Args:
        in_channels: channels of the images: 1 for grey, 3 for colour.
        out_channels: how many kernels are learned.
        kernel_size: the window; this and the next three are one int, or one per axis.
        stride: from one window to the next.
        padding: zeros on every side; or "same", which keeps H and W, or "valid" for none.
        dilation: from one element of a window to the next.
        groups: channels are cut into this many parts that do not see each other; in_channels makes
            a depthwise convolution.
        bias: whether a number per channel is added.
        padding_mode: what the border is: "zeros", "reflect", "replicate" or "circular".

    Shape: [N, in_channels, H, W] or [in_channels, H, W] to [N, out_channels, H', W'], where H' =
        (H + 2 * padding - dilation * (kernel_size - 1) - 1) // stride + 1, and W' likewise.

    Attributes:
        weight: [out_channels, in_channels / groups, *kernel_size].
        bias: [out_channels] or None.

    Example:
        >>> import talweg as tw
        >>> layer = tw.nn.Conv2d(1, 8, kernel_size=3, padding=1)
        >>> layer(tw.ones(2, 1, 8, 8)).shape
        (2, 8, 8, 8)
        >>> tw.nn.Conv2d(8, 16, kernel_size=3, stride=2)(tw.ones(2, 8, 9, 9)).shape
        (2, 16, 4, 4)
        >>> layer.weight.shape
        (8, 1, 3, 3)
    """

    axes = 2


class Conv3d(_Conv):
    """Cross-correlation of volumes with learned kernels, as `functional.conv3d`.

    Args:
        in_channels, out_channels: numbers of channels.
        kernel_size, stride, padding, dilation, groups, bias, padding_mode: as for `Conv2d`, three
            numbers where it takes two.

    Shape: [N, in_channels, D, H, W] or without N to [N, out_channels, D', H', W'], each size as in
        `Conv2d`.

    Attributes:
        weight: [out_channels, in_channels / groups, *kernel_size].
        bias: [out_channels] or None.

    Example:
        >>> import talweg as tw
        >>> tw.nn.Conv3d(1, 4, kernel_size=3)(tw.ones(2, 1, 8, 8, 8)).shape
        (2, 4, 6, 6, 6)
        >>> tw.nn.Conv3d(1, 4, (1, 3, 3), stride=(1, 2, 2))(tw.ones(2, 1, 8, 9, 9)).shape
        (2, 4, 8, 4, 4)
    """

    axes = 3


class _ConvTranspose(_ConvBase):
    transposed = True

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: Sizes,
        stride: Sizes = 1,
        padding: Sizes = 0,
        output_padding: Sizes = 0,
        groups: int = 1,
        bias: bool = True,
        dilation: Sizes = 1,
        padding_mode: str = "zeros",
        device: object = None,
        dtype: DType | None = None,
    ) -> None:
        how = (kernel_size, stride, padding, output_padding, dilation, groups, bias, padding_mode)
        super().__init__(in_channels, out_channels, *how, device, dtype)

    def forward(self, input: Tensor, output_size: Sequence[int] | None = None) -> Tensor:
        """Spread the input over the kernel.

        Args:
            input: [N, in_channels, *spatial] or [in_channels, *spatial].
            output_size: the spatial sizes wanted, instead of `output_padding`.

        Raises:
            InvalidValue: when no output padding gives these sizes.
        """
        extra = self.output_padding
        if output_size is not None:
            extra = self._padding_for(input.shape[-self.axes :], tuple(output_size))
        spread = (F.conv_transpose1d, F.conv_transpose2d, F.conv_transpose3d)[self.axes - 1]
        how = (self.stride, self.padding, extra, self.groups, self.dilation)
        return spread(input, self.weight, self.bias, *how)

    def _padding_for(self, sizes: tuple[int, ...], wanted: tuple[int, ...]) -> tuple[int, ...]:
        wanted = wanted[-self.axes :]
        assert not isinstance(self.padding, str)
        rows = zip(sizes, self.kernel_size, self.stride, self.padding, self.dilation, strict=True)
        least = [(n - 1) * s - 2 * p + d * (k - 1) + 1 for n, k, s, p, d in rows]
        extra = tuple(w - m for w, m in zip(wanted, least, strict=True))
        if any(not 0 <= e < s for e, s in zip(extra, self.stride, strict=True)):
            most = [m + s - 1 for m, s in zip(least, self.stride, strict=True)]
            raise InvalidValue(
                f"requested an output size of {wanted}, but valid sizes range from {least} to "
                f"{most} (for an input of {sizes})"
            )
        return extra


class ConvTranspose1d(_ConvTranspose):
    """The adjoint of `Conv1d`: makes sequences longer; as `functional.conv_transpose1d`.

    Args:
        in_channels, out_channels: numbers of channels.
        kernel_size, stride, padding, output_padding, groups, bias, dilation: as for
            `ConvTranspose2d`.
        padding_mode: only "zeros".

    Shape: [N, in_channels, L] or [in_channels, L] to [N, out_channels, L'], where L' =
        (L - 1) * stride - 2 * padding + dilation * (kernel_size - 1) + output_padding + 1.

    Attributes:
        weight: [in_channels, out_channels / groups, kernel_size].
        bias: [out_channels] or None.

    Example:
        >>> import talweg as tw
        >>> up = tw.nn.ConvTranspose1d(4, 2, kernel_size=4, stride=2, padding=1)
        >>> up(tw.ones(1, 4, 50)).shape
        (1, 2, 100)
    """

    axes = 1


class ConvTranspose2d(_ConvTranspose):
    """The adjoint of `Conv2d`: makes images larger; as `functional.conv_transpose2d`.

    Args:
        in_channels, out_channels, kernel_size, dilation, groups, bias: as for `Conv2d`.
        stride: from one place of the result to where the next element of the input is spread.
        padding: taken away on every side.
        output_padding: added to the ends of the result, less than the stride.
        padding_mode: only "zeros".

    Shape: [N, in_channels, H, W] or [in_channels, H, W] to [N, out_channels, H', W'], where H' =
        (H - 1) * stride - 2 * padding + dilation * (kernel_size - 1) + output_padding + 1.

    Attributes:
        weight: [in_channels, out_channels / groups, *kernel_size].
        bias: [out_channels] or None.

    Example:
        >>> import talweg as tw
        >>> tw.nn.ConvTranspose2d(4, 2, kernel_size=2, stride=2)(tw.ones(1, 4, 5, 5)).shape
        (1, 2, 10, 10)
    """

    axes = 2


class ConvTranspose3d(_ConvTranspose):
    """The adjoint of `Conv3d`: makes volumes larger; as `functional.conv_transpose3d`.

    Args:
        in_channels, out_channels: numbers of channels.
        kernel_size, stride, padding, output_padding, groups, bias, dilation: as for
            `ConvTranspose2d`.
        padding_mode: only "zeros".

    Shape: [N, in_channels, D, H, W] or without N to [N, out_channels, D', H', W'], each size as in
        `ConvTranspose2d`.

    Attributes:
        weight: [in_channels, out_channels / groups, *kernel_size].
        bias: [out_channels] or None.

    Example:
        >>> import talweg as tw
        >>> tw.nn.ConvTranspose3d(4, 2, kernel_size=2, stride=2)(tw.ones(1, 4, 3, 3, 3)).shape
        (1, 2, 6, 6, 6)
    """

    axes = 3
