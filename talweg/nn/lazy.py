"""Layers that learn the size of their input from the first one."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from talweg.base import dtypes
from talweg.base.dtypes import DType
from talweg.base.errors import InvalidValue, ShapeError
from talweg.engine.creation import tensor
from talweg.engine.modes import no_grad
from talweg.engine.tensor import Tensor
from talweg.nn.conv import (
    Conv1d,
    Conv2d,
    Conv3d,
    ConvTranspose1d,
    ConvTranspose2d,
    ConvTranspose3d,
    _ConvBase,
)
from talweg.nn.linear import Linear
from talweg.nn.module import Module
from talweg.nn.normalization import (
    BatchNorm1d,
    BatchNorm2d,
    BatchNorm3d,
    InstanceNorm1d,
    InstanceNorm2d,
    InstanceNorm3d,
    _Running,
)
from talweg.nn.parameter import UninitializedBuffer, UninitializedParameter

Sizes = int | Sequence[int]


def _unknown(t: Any) -> bool:
    return isinstance(t, UninitializedParameter | UninitializedBuffer)


class LazyModuleMixin(Module):
    """Base of layers whose Parameters take their shapes from the first input.

    A subclass sets Parameters to `UninitializedParameter` in `__init__`, and gives them shapes in
    `initialize_parameters`, which gets the arguments of the first call. After that call the layer
    becomes one of `cls_to_become`, where that is given.
    """

    cls_to_become: type[Module] | None = None

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        hook = self.register_forward_pre_hook(self._infer_parameters, with_kwargs=True)
        object.__setattr__(self, "_initialize_hook", hook)

    def initialize_parameters(self, *args: Any, **kwargs: Any) -> None:
        """Give the Parameters shapes, from the arguments of the first call. For subclasses."""
        raise NotImplementedError(f"{type(self).__name__} defines no initialize_parameters")

    def has_uninitialized_params(self) -> bool:
        """Return whether a Parameter or buffer of this layer has no shape yet."""
        own = (*self._parameters.values(), *self._buffers.values())
        return any(map(_unknown, own))

    def _infer_parameters(
        self, module: Module, args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> None:
        self.initialize_parameters(*args, **kwargs)
        if self.has_uninitialized_params():
            raise InvalidValue(f"{type(self).__name__} has not been fully initialized")
        self.__dict__.pop("_initialize_hook").remove()
        if self.cls_to_become is not None:
            self.__class__ = self.cls_to_become  # type: ignore[assignment]


class LazyLinear(LazyModuleMixin, Linear):
    """A `Linear` that takes `in_features` from its first input, and becomes a `Linear` then.

    Example:
        >>> import talweg as tw
        >>> layer = tw.nn.LazyLinear(2)
        >>> layer(tw.ones(3, 5)).shape, layer
        ((3, 2), Linear(in_features=5, out_features=2, bias=True))
    """

    cls_to_become = Linear

    def __init__(
        self,
        out_features: int,
        bias: bool = True,
        device: object = None,
        dtype: DType | None = None,
    ) -> None:
        super().__init__(0, 0, False)
        self.out_features = out_features
        self.weight = UninitializedParameter(dtype=dtype, device=device)
        if bias:
            self.bias = UninitializedParameter(dtype=dtype, device=device)

    def reset_parameters(self) -> None:
        """Draw new weights and biases, once the shapes are known."""
        if self.in_features and not self.has_uninitialized_params():
            super().reset_parameters()

    def initialize_parameters(self, input: Tensor) -> None:
        """Take `in_features` from the last dimension of the input."""
        if self.has_uninitialized_params():
            with no_grad():
                self.in_features = input.shape[-1]
                self.weight.materialize((self.out_features, self.in_features))
                if self.bias is not None:
                    self.bias.materialize((self.out_features,))
                self.reset_parameters()
        elif self.in_features == 0:
            self.in_features = input.shape[-1]


class _LazyConv(LazyModuleMixin, _ConvBase):
    def reset_parameters(self) -> None:
        """Draw new weights and biases, once the shapes are known."""
        if self.in_channels and not self.has_uninitialized_params():
            super().reset_parameters()

    def initialize_parameters(self, input: Tensor, *args: Any, **kwargs: Any) -> None:
        """Take `in_channels` from the input, [N, C, *spatial] or [C, *spatial]."""
        if not self.has_uninitialized_params():
            self.in_channels = self.in_channels or self._channels_of(input)
            return
        self.in_channels = self._channels_of(input)
        if self.in_channels % self.groups:
            raise InvalidValue("in_channels must be divisible by groups")
        ends = self.out_channels, self.in_channels
        first, second = ends[::-1] if self.transposed else ends
        shape = (first, second // self.groups, *self.kernel_size)
        self.weight.materialize(shape)
        if self.bias is not None:
            self.bias.materialize((self.out_channels,))
        self.reset_parameters()

    def _channels_of(self, input: Tensor) -> int:
        if input.ndim not in (self.axes + 1, self.axes + 2):
            raise ShapeError(
                f"{type(self).__name__}: expected {self.axes + 1} or {self.axes + 2} dimensions, "
                f"got shape {input.shape}"
            )
        channels: int = input.shape[-self.axes - 1]
        return channels

    def _left_open(self, out_channels: int, bias: bool, device: object, dtype: Any) -> None:
        if out_channels % self.groups:
            raise InvalidValue(f"groups={self.groups} must divide out_channels={out_channels}")
        self.out_channels = out_channels
        self.weight = UninitializedParameter(dtype=dtype, device=device)
        if bias:
            self.bias = UninitializedParameter(dtype=dtype, device=device)


class _LazyForward(_LazyConv):
    def __init__(
        self,
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
        how = (kernel_size, stride, padding, dilation, groups, False, padding_mode)
        super().__init__(0, 0, *how, device, dtype)
        self._left_open(out_channels, bias, device, dtype)


class LazyConv1d(_LazyForward, Conv1d):
    """A `Conv1d` that takes `in_channels` from its first input, and becomes a `Conv1d` then."""

    cls_to_become = Conv1d


class LazyConv2d(_LazyForward, Conv2d):
    """A `Conv2d` that takes `in_channels` from its first input, and becomes a `Conv2d` then.

    Example:
        >>> import talweg as tw
        >>> layer = tw.nn.LazyConv2d(8, kernel_size=3)
        >>> layer(tw.ones(1, 3, 5, 5)).shape, layer.weight.shape
        ((1, 8, 3, 3), (8, 3, 3, 3))
    """

    cls_to_become = Conv2d


class LazyConv3d(_LazyForward, Conv3d):
    """A `Conv3d` that takes `in_channels` from its first input, and becomes a `Conv3d` then."""

    cls_to_become = Conv3d


class _LazyTransposed(_LazyConv):
    def __init__(
        self,
        out_channels: int,
        kernel_size: Sizes,
        stride: Sizes = 1,
        padding: Sizes = 0,
        output_padding: Sizes = 0,
        groups: int = 1,
        bias: bool = True,
        dilation: int = 1,
        padding_mode: str = "zeros",
        device: object = None,
        dtype: DType | None = None,
    ) -> None:
        how = (kernel_size, stride, padding, output_padding, groups, False, dilation, padding_mode)
        super().__init__(0, 0, *how, device, dtype)
        self._left_open(out_channels, bias, device, dtype)


class LazyConvTranspose1d(_LazyTransposed, ConvTranspose1d):
    """A `ConvTranspose1d` that takes `in_channels` from its first input, and becomes one then."""

    cls_to_become = ConvTranspose1d


class LazyConvTranspose2d(_LazyTransposed, ConvTranspose2d):
    """A `ConvTranspose2d` that takes `in_channels` from its first input, and becomes one then."""

    cls_to_become = ConvTranspose2d


class LazyConvTranspose3d(_LazyTransposed, ConvTranspose3d):
    """A `ConvTranspose3d` that takes `in_channels` from its first input, and becomes one then."""

    cls_to_become = ConvTranspose3d


class _LazyNorm(LazyModuleMixin, _Running):
    def _left_open(
        self, affine: bool, tracking: bool, bias: bool, device: object, dtype: Any
    ) -> None:
        self.affine, self.track_running_stats = affine, tracking
        how = {"device": device, "dtype": dtype}
        if affine:
            self.weight = UninitializedParameter(**how)
            if bias:
                self.bias = UninitializedParameter(**how)
        if tracking:
            self.running_mean = UninitializedBuffer(**how)
            self.running_var = UninitializedBuffer(**how)
            self.num_batches_tracked = tensor(0, dtype=dtypes.int64)

    def reset_parameters(self) -> None:
        """Forget all batches; weight 1, bias 0, once the shapes are known."""
        if self.num_features and not self.has_uninitialized_params():
            super().reset_parameters()

    def initialize_parameters(self, input: Tensor) -> None:
        """Take `num_features` from dimension 1 of the input."""
        if not self.has_uninitialized_params():
            self.num_features = self.num_features or input.shape[1]
            return
        self.num_features = input.shape[1]
        for t in (self.weight, self.bias, self.running_mean, self.running_var):
            if t is not None and _unknown(t):
                t.materialize((self.num_features,))
        self.reset_parameters()


class _LazyBatchNorm(_LazyNorm):
    def __init__(
        self,
        eps: float = 1e-5,
        momentum: float | None = 0.1,
        affine: bool = True,
        track_running_stats: bool = True,
        device: object = None,
        dtype: DType | None = None,
        *,
        bias: bool = True,
    ) -> None:
        super().__init__(0, eps, momentum, False, False, device, dtype, bias=False)
        self._left_open(affine, track_running_stats, bias, device, dtype)


class LazyBatchNorm1d(_LazyBatchNorm, BatchNorm1d):
    """A `BatchNorm1d` that takes `num_features` from its first input, and becomes one then."""

    cls_to_become = BatchNorm1d


class LazyBatchNorm2d(_LazyBatchNorm, BatchNorm2d):
    """A `BatchNorm2d` that takes `num_features` from its first input, and becomes one then."""

    cls_to_become = BatchNorm2d


class LazyBatchNorm3d(_LazyBatchNorm, BatchNorm3d):
    """A `BatchNorm3d` that takes `num_features` from its first input, and becomes one then."""

    cls_to_become = BatchNorm3d


class LazyInstanceNorm1d(_LazyBatchNorm, InstanceNorm1d):
    """An `InstanceNorm1d` that takes `num_features` from its first input, and becomes one then."""

    cls_to_become = InstanceNorm1d


class LazyInstanceNorm2d(_LazyBatchNorm, InstanceNorm2d):
    """An `InstanceNorm2d` that takes `num_features` from its first input, and becomes one then."""

    cls_to_become = InstanceNorm2d


class LazyInstanceNorm3d(_LazyBatchNorm, InstanceNorm3d):
    """An `InstanceNorm3d` that takes `num_features` from its first input, and becomes one then."""

    cls_to_become = InstanceNorm3d
