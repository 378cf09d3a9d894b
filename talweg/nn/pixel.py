"""Layers that move pixels: between channels and places, to other sizes, to patches and back."""

from __future__ import annotations

from collections.abc import Sequence

from talweg.engine.tensor import Tensor
from talweg.nn import functional as F
from talweg.nn.module import Module

Sizes = int | Sequence[int]
Scales = float | Sequence[float]


class PixelShuffle(Module):
    """Channels to places: images become r times larger, with r² times fewer channels.

    Shi et al., "Real-time single image and video super-resolution using an efficient sub-pixel
    convolutional neural network" (2016).

    Args:
        upscale_factor: r.

    Shape: [*, C * r², H, W] to [*, C, H * r, W * r].

    Example:
        >>> import talweg as tw
        >>> tw.nn.PixelShuffle(2)(tw.arange(4.0).reshape(4, 1, 1)).tolist()
        [[[0.0, 1.0], [2.0, 3.0]]]
    """

    def __init__(self, upscale_factor: int) -> None:
        super().__init__()
        self.upscale_factor = upscale_factor

    def forward(self, input: Tensor) -> Tensor:
        return F.pixel_shuffle(input, self.upscale_factor)

    def extra_repr(self) -> str:
        return f"upscale_factor={self.upscale_factor}"


class PixelUnshuffle(Module):
    """Places to channels: undoes `PixelShuffle`.

    Args:
        downscale_factor: r.

    Shape: [*, C, H * r, W * r] to [*, C * r², H, W].

    Example:
        >>> import talweg as tw
        >>> tw.nn.PixelUnshuffle(2)(tw.ones(3, 8, 8)).shape
        (12, 4, 4)
    """

    def __init__(self, downscale_factor: int) -> None:
        super().__init__()
        self.downscale_factor = downscale_factor

    def forward(self, input: Tensor) -> Tensor:
        return F.pixel_unshuffle(input, self.downscale_factor)

    def extra_repr(self) -> str:
        return f"downscale_factor={self.downscale_factor}"


class ChannelShuffle(Module):
    """Deal the channels of `groups` groups out in turn.

    Zhang et al., "ShuffleNet" (2018): so do grouped convolutions see the other groups.

    Args:
        groups: how many; they divide the channels.

    Shape: [N, C, *], kept.

    Example:
        >>> import talweg as tw
        >>> tw.nn.ChannelShuffle(2)(tw.arange(4.0).reshape(1, 4, 1)).flatten().tolist()
        [0.0, 2.0, 1.0, 3.0]
    """

    def __init__(self, groups: int) -> None:
        super().__init__()
        self.groups = groups

    def forward(self, input: Tensor) -> Tensor:
        return F.channel_shuffle(input, self.groups)

    def extra_repr(self) -> str:
        return f"groups={self.groups}"


class Upsample(Module):
    """The input at another size; see `functional.interpolate`.

    Args:
        size: the sizes wanted, or
        scale_factor: the factors.
        mode: "nearest", "linear", "bilinear", "bicubic" or "trilinear".
        align_corners: the centres of the corner elements stay in place, instead of the corners.
        recompute_scale_factor: coordinates follow from the sizes, not from `scale_factor`.

    Shape: [N, C, *spatial] to [N, C, *size].

    Example:
        >>> import talweg as tw
        >>> tw.nn.Upsample(scale_factor=2)(tw.tensor([[[1.0, 2.0]]])).tolist()
        [[[1.0, 1.0, 2.0, 2.0]]]
    """

    def __init__(
        self,
        size: Sizes | None = None,
        scale_factor: Scales | None = None,
        mode: str = "nearest",
        align_corners: bool | None = None,
        recompute_scale_factor: bool | None = None,
    ) -> None:
        super().__init__()
        self.size = size
        if scale_factor is None or isinstance(scale_factor, Sequence):
            self.scale_factor = scale_factor
        else:
            self.scale_factor = float(scale_factor)
        self.mode = mode
        self.align_corners = align_corners
        self.recompute_scale_factor = recompute_scale_factor

    scale_factor: Scales | None

    def forward(self, input: Tensor) -> Tensor:
        how = (self.size, self.scale_factor, self.mode, self.align_corners)
        return F.interpolate(input, *how, self.recompute_scale_factor)

    def extra_repr(self) -> str:
        if self.scale_factor is not None:
            return f"scale_factor={self.scale_factor}, mode={self.mode!r}"
        return f"size={self.size}, mode={self.mode!r}"


class UpsamplingNearest2d(Upsample):
    """Images at another size, by their nearest pixels.

    Args:
        size: the sizes wanted, or
        scale_factor: the factors.

    Shape: [N, C, H, W] to [N, C, *size].

    Example:
        >>> import talweg as tw
        >>> tw.nn.UpsamplingNearest2d(scale_factor=2)(tw.tensor([[[[1.0, 2.0]]]])).tolist()
        [[[[1.0, 1.0, 2.0, 2.0], [1.0, 1.0, 2.0, 2.0]]]]
    """

    def __init__(self, size: Sizes | None = None, scale_factor: Scales | None = None) -> None:
        super().__init__(size, scale_factor, mode="nearest")


class UpsamplingBilinear2d(Upsample):
    """Images at another size, bilinear, the corners' centres in place.

    Args:
        size: the sizes wanted, or
        scale_factor: the factors.

    Shape: [N, C, H, W] to [N, C, *size].

    Example:
        >>> import talweg as tw
        >>> tw.nn.UpsamplingBilinear2d(size=(1, 3))(tw.tensor([[[[1.0, 2.0]]]])).tolist()
        [[[[1.0, 1.5, 2.0]]]]
    """

    def __init__(self, size: Sizes | None = None, scale_factor: Scales | None = None) -> None:
        super().__init__(size, scale_factor, mode="bilinear", align_corners=True)


class Unfold(Module):
    """Every patch of an image as a column.

    Args:
        kernel_size: of a patch; all four are one int or one per axis.
        dilation: from one element of a patch to the next.
        padding: zeros on every side.
        stride: from one patch to the next.

    Shape: [N, C, H, W] or [C, H, W] to [N, C * KH * KW, L], L patches.

    Example:
        >>> import talweg as tw
        >>> tw.nn.Unfold(2)(tw.arange(6.0).reshape(1, 2, 3)).T.tolist()
        [[0.0, 1.0, 3.0, 4.0], [1.0, 2.0, 4.0, 5.0]]
    """

    def __init__(
        self, kernel_size: Sizes, dilation: Sizes = 1, padding: Sizes = 0, stride: Sizes = 1
    ) -> None:
        super().__init__()
        self.kernel_size = kernel_size
        self.dilation = dilation
        self.padding = padding
        self.stride = stride

    def forward(self, input: Tensor) -> Tensor:
        how = (self.kernel_size, self.dilation, self.padding, self.stride)
        return F.unfold(input, *how)

    def extra_repr(self) -> str:
        return (
            f"kernel_size={self.kernel_size}, dilation={self.dilation}, padding={self.padding}, "
            f"stride={self.stride}"
        )


class Fold(Module):
    """Patches as columns back to an image, summed where they overlap.

    Args:
        output_size: of the image.
        kernel_size, dilation, padding, stride: those of `Unfold`.

    Shape: [N, C * KH * KW, L] or [C * KH * KW, L] to [N, C, *output_size] or [C, *output_size].

    Example:
        >>> import talweg as tw
        >>> patches = tw.nn.Unfold(2)(tw.ones(1, 2, 3))
        >>> tw.nn.Fold((2, 3), 2)(patches).tolist()
        [[[1.0, 2.0, 1.0], [1.0, 2.0, 1.0]]]
    """

    def __init__(
        self,
        output_size: Sizes,
        kernel_size: Sizes,
        dilation: Sizes = 1,
        padding: Sizes = 0,
        stride: Sizes = 1,
    ) -> None:
        super().__init__()
        self.output_size = output_size
        self.kernel_size = kernel_size
        self.dilation = dilation
        self.padding = padding
        self.stride = stride

    def forward(self, input: Tensor) -> Tensor:
        how = (self.kernel_size, self.dilation, self.padding, self.stride)
        return F.fold(input, self.output_size, *how)

    def extra_repr(self) -> str:
        return (
            f"output_size={self.output_size}, kernel_size={self.kernel_size}, "
            f"dilation={self.dilation}, padding={self.padding}, stride={self.stride}"
        )
