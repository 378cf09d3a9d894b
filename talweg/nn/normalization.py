"""Layers that normalise: mean 0 and variance 1 over some of the dimensions."""

from __future__ import annotations

from collections.abc import Sequence

from talweg.base import dtypes
from talweg.base.dtypes import DType
from talweg.base.errors import InvalidValue, ShapeError
from talweg.engine.creation import empty, ones, tensor, zeros
from talweg.engine.modes import no_grad
from talweg.engine.tensor import Tensor
from talweg.nn import functional as F
from talweg.nn import init
from talweg.nn.module import Module
from talweg.nn.parameter import Parameter


class _Running(Module):
    """What batch and instance normalisation share: a scale, a shift and running statistics.

    Attributes:
        weight, bias: [num_features] with `affine`, else None.
        running_mean, running_var: [num_features] with `track_running_stats`, else None.
        num_batches_tracked: how many batches they have seen.
    """

    ranks: tuple[int, ...]
    weight: Parameter | None
    bias: Parameter | None
    running_mean: Tensor | None
    running_var: Tensor | None
    num_batches_tracked: Tensor | None

    def __init__(
        self,
        num_features: int,
        eps: float,
        momentum: float | None,
        affine: bool,
        track_running_stats: bool,
        device: object,
        dtype: DType | None,
        bias: bool,
    ) -> None:
        super().__init__()
        self.num_features = num_features
        self.eps = eps
        self.momentum = momentum
        self.affine = affine
        self.track_running_stats = track_running_stats
        size = (num_features,)
        for name, wanted in (("weight", affine), ("bias", affine and bias)):
            made = Parameter(empty(size, dtype=dtype, device=device)) if wanted else None
            self.register_parameter(name, made)
        kept = track_running_stats
        self.register_buffer("running_mean", zeros(size, dtype=dtype) if kept else None)
        self.register_buffer("running_var", ones(size, dtype=dtype) if kept else None)
        count = tensor(0, dtype=dtypes.int64) if kept else None
        self.register_buffer("num_batches_tracked", count)
        self.reset_parameters()

    def reset_running_stats(self) -> None:
        """Forget all batches: mean 0, variance 1."""
        if self.running_mean is not None and self.running_var is not None:
            with no_grad():
                self.running_mean.zero_()
                self.running_var.fill_(1)
                if self.num_batches_tracked is not None:
                    self.num_batches_tracked.zero_()

    def reset_parameters(self) -> None:
        """Forget all batches; weight 1, bias 0."""
        self.reset_running_stats()
        if self.weight is not None:
            init.ones_(self.weight)
        if self.bias is not None:
            init.zeros_(self.bias)

    def _check(self, input: Tensor) -> None:
        if input.ndim not in self.ranks:
            raise ShapeError(
                f"{type(self).__name__}: expected {' or '.join(map(str, self.ranks))} dimensions, "
                f"got shape {input.shape}"
            )

    def extra_repr(self) -> str:
        return (
            f"{self.num_features}, eps={self.eps}, momentum={self.momentum}, "
            f"affine={self.affine}, bias={self.bias is not None}, "
            f"track_running_stats={self.track_running_stats}"
        )


class _BatchNorm(_Running):
    def __init__(
        self,
        num_features: int,
        eps: float = 1e-5,
        momentum: float | None = 0.1,
        affine: bool = True,
        track_running_stats: bool = True,
        device: object = None,
        dtype: DType | None = None,
        *,
        bias: bool = True,
    ) -> None:
        how = (eps, momentum, affine, track_running_stats, device, dtype, bias)
        super().__init__(num_features, *how)

    def forward(self, input: Tensor) -> Tensor:
        self._check(input)
        share = 0.0 if self.momentum is None else self.momentum
        mean, var, seen = self.running_mean, self.running_var, self.num_batches_tracked
        if self.training and self.track_running_stats and seen is not None:
            with no_grad():
                seen.add_(1)
            if self.momentum is None:
                share = 1.0 / float(seen.item())
        batch = self.training or (mean is None and var is None)
        if self.training and not self.track_running_stats:
            mean = var = None
        return F.batch_norm(input, mean, var, self.weight, self.bias, batch, share, self.eps)


class BatchNorm1d(_BatchNorm):
    """Normalise each channel over the batch and all places; see `BatchNorm2d`.

    Args:
        num_features: C.
        eps, momentum, affine, track_running_stats, bias: as for `BatchNorm2d`.

    Shape: [N, C] or [N, C, L], kept.

    Example:
        >>> import talweg as tw
        >>> rows = tw.tensor([[1.0, 10.0], [3.0, 30.0]])
        >>> tw.nn.BatchNorm1d(2)(rows).round().tolist()
        [[-1.0, -1.0], [1.0, 1.0]]
    """

    ranks = (2, 3)


class BatchNorm2d(_BatchNorm):
    """Normalise each channel over the batch and all places (Ioffe and Szegedy, 2015).

    In training by the batch's own statistics, which move the running ones; in evaluation by the
    running ones.

    Args:
        num_features: C.
        eps: added to the variance.
        momentum: weight of a batch in the running statistics; None: the mean of all batches.
        affine: whether a scale and a shift per channel are learned.
        bias: whether there is a shift.
        track_running_stats: otherwise batches are normalised by their own statistics always.

    Shape: [N, C, H, W], kept.

    Example:
        >>> import talweg as tw
        >>> layer = tw.nn.BatchNorm2d(3)
        >>> layer(tw.ones(2, 3, 4, 4)).shape, layer.num_batches_tracked.item()
        ((2, 3, 4, 4), 1)
    """

    ranks = (4,)


class BatchNorm3d(_BatchNorm):
    """Normalise each channel over the batch and all places; see `BatchNorm2d`.

    Args:
        num_features: C.
        eps, momentum, affine, track_running_stats, bias: as for `BatchNorm2d`.

    Shape: [N, C, D, H, W], kept.

    Example:
        >>> import talweg as tw
        >>> tw.nn.BatchNorm3d(3)(tw.rand(2, 3, 4, 4, 4)).shape
        (2, 3, 4, 4, 4)
    """

    ranks = (5,)


class _InstanceNorm(_Running):
    def __init__(
        self,
        num_features: int,
        eps: float = 1e-5,
        momentum: float | None = 0.1,
        affine: bool = False,
        track_running_stats: bool = False,
        device: object = None,
        dtype: DType | None = None,
        *,
        bias: bool = True,
    ) -> None:
        how = (eps, momentum, affine, track_running_stats, device, dtype, bias)
        super().__init__(num_features, *how)

    def forward(self, input: Tensor) -> Tensor:
        self._check(input)
        batch = input if input.ndim == self.ranks[1] else input.unsqueeze(0)
        if batch.shape[1] != self.num_features:
            raise ShapeError(
                f"{type(self).__name__}: expected {self.num_features} channels, got shape "
                f"{input.shape}"
            )
        own = self.training or not self.track_running_stats
        share = 0.0 if self.momentum is None else self.momentum
        stats = (self.running_mean, self.running_var, self.weight, self.bias)
        out = F.instance_norm(batch, *stats, own, share, self.eps)
        return out if batch is input else out.squeeze(0)


class InstanceNorm1d(_InstanceNorm):
    """Normalise each channel of each example over its places (Ulyanov et al., 2016).

    Args:
        num_features: C.
        eps: added to the variance.
        momentum, affine, track_running_stats, bias: as for `BatchNorm2d`; nothing is learned or
            tracked unless asked for.

    Shape: [N, C, L] or [C, L], kept.

    Example:
        >>> import talweg as tw
        >>> x = tw.tensor([[[1.0, 3.0], [10.0, 30.0]]])
        >>> tw.nn.InstanceNorm1d(2)(x).round().tolist()
        [[[-1.0, 1.0], [-1.0, 1.0]]]
    """

    ranks = (2, 3)


class InstanceNorm2d(_InstanceNorm):
    """Normalise each channel of each example over its places (Ulyanov et al., 2016).

    Args:
        num_features: C.
        eps, momentum, affine, track_running_stats, bias: as for `InstanceNorm1d`.

    Shape: [N, C, H, W] or [C, H, W], kept.

    Example:
        >>> import talweg as tw
        >>> layer = tw.nn.InstanceNorm2d(3, affine=True)
        >>> layer(tw.rand(2, 3, 8, 8)).shape, layer.weight.shape
        ((2, 3, 8, 8), (3,))
    """

    ranks = (3, 4)


class InstanceNorm3d(_InstanceNorm):
    """Normalise each channel of each example over its places (Ulyanov et al., 2016).

    Args:
        num_features: C.
        eps, momentum, affine, track_running_stats, bias: as for `InstanceNorm1d`.

    Shape: [N, C, D, H, W] or [C, D, H, W], kept.

    Example:
        >>> import talweg as tw
        >>> tw.nn.InstanceNorm3d(3)(tw.rand(2, 3, 4, 4, 4)).shape
        (2, 3, 4, 4, 4)
    """

    ranks = (4, 5)


def _sizes(shape: int | Sequence[int]) -> tuple[int, ...]:
    return (shape,) if isinstance(shape, int) else tuple(shape)


class LayerNorm(Module):
    """Normalise over the last dimensions (Ba, Kiros and Hinton, 2016).

    Args:
        normalized_shape: their sizes.
        eps: added to the variance.
        elementwise_affine: whether a scale and a shift per element are learned.
        bias: whether there is a shift.

    Shape: [*, *normalized_shape], kept.

    Attributes:
        weight, bias: of `normalized_shape`, or None.

    Example:
        >>> import talweg as tw
        >>> tw.nn.LayerNorm(4)(tw.tensor([[0.0, 0.0, 2.0, 2.0]])).round(decimals=3).tolist()
        [[-1.0, -1.0, 1.0, 1.0]]
    """

    weight: Parameter | None
    bias: Parameter | None

    def __init__(
        self,
        normalized_shape: int | Sequence[int],
        eps: float = 1e-5,
        elementwise_affine: bool = True,
        bias: bool = True,
        device: object = None,
        dtype: DType | None = None,
    ) -> None:
        super().__init__()
        self.normalized_shape = _sizes(normalized_shape)
        self.eps = eps
        self.elementwise_affine = elementwise_affine
        for name, wanted in (("weight", True), ("bias", bias)):
            values = empty(self.normalized_shape, dtype=dtype, device=device)
            made = Parameter(values) if elementwise_affine and wanted else None
            self.register_parameter(name, made)
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Set weight 1 and bias 0."""
        if self.weight is not None:
            init.ones_(self.weight)
        if self.bias is not None:
            init.zeros_(self.bias)

    def forward(self, input: Tensor) -> Tensor:
        return F.layer_norm(input, self.normalized_shape, self.weight, self.bias, self.eps)

    def extra_repr(self) -> str:
        return (
            f"{self.normalized_shape}, eps={self.eps}, "
            f"elementwise_affine={self.elementwise_affine}, bias={self.bias is not None}"
        )


class RMSNorm(Module):
    """Divide by the root mean square over the last dimensions (Zhang and Sennrich, 2019).

    Args:
        normalized_shape: their sizes.
        eps: added to the mean square; None: the epsilon of the dtype.
        elementwise_affine: whether a scale per element is learned.

    Shape: [*, *normalized_shape], kept.

    Attributes:
        weight: of `normalized_shape`, or None.

    Example:
        >>> import talweg as tw
        >>> tw.nn.RMSNorm(2)(tw.tensor([[3.0, 3.0], [-5.0, 5.0]])).round(decimals=3).tolist()
        [[1.0, 1.0], [-1.0, 1.0]]
    """

    weight: Parameter | None

    def __init__(
        self,
        normalized_shape: int | Sequence[int],
        eps: float | None = None,
        elementwise_affine: bool = True,
        device: object = None,
        dtype: DType | None = None,
    ) -> None:
        super().__init__()
        self.normalized_shape = _sizes(normalized_shape)
        self.eps = eps
        self.elementwise_affine = elementwise_affine
        values = ones(self.normalized_shape, dtype=dtype, device=device)
        self.register_parameter("weight", Parameter(values) if elementwise_affine else None)

    def reset_parameters(self) -> None:
        """Set weight 1."""
        if self.weight is not None:
            init.ones_(self.weight)

    def forward(self, input: Tensor) -> Tensor:
        return F.rms_norm(input, self.normalized_shape, self.weight, self.eps)

    def extra_repr(self) -> str:
        return (
            f"{self.normalized_shape}, eps={self.eps}, elementwise_affine={self.elementwise_affine}"
        )


class GroupNorm(Module):
    """Normalise each group of channels of each example (Wu and He, 2018).

    Args:
        num_groups: divides num_channels; 1 is a `LayerNorm` of all channels and places.
        num_channels: C.
        eps: added to the variance.
        affine: whether a scale and a shift per channel are learned.
        bias: whether there is a shift.

    Shape: [N, C, *], kept.

    Attributes:
        weight, bias: [num_channels], or None.

    Raises:
        InvalidValue: when the groups do not divide the channels.

    Example:
        >>> import talweg as tw
        >>> x = tw.tensor([[[1.0], [3.0], [10.0], [30.0]]])
        >>> tw.nn.GroupNorm(2, 4)(x).round().flatten().tolist()
        [-1.0, 1.0, -1.0, 1.0]
    """

    weight: Parameter | None
    bias: Parameter | None

    def __init__(
        self,
        num_groups: int,
        num_channels: int,
        eps: float = 1e-5,
        affine: bool = True,
        device: object = None,
        dtype: DType | None = None,
        *,
        bias: bool = True,
    ) -> None:
        super().__init__()
        if num_channels % num_groups:
            raise InvalidValue(f"num_groups={num_groups} must divide num_channels={num_channels}")
        self.num_groups = num_groups
        self.num_channels = num_channels
        self.eps = eps
        self.affine = affine
        for name, make, wanted in (("weight", ones, True), ("bias", zeros, bias)):
            values = make(num_channels, dtype=dtype, device=device)
            self.register_parameter(name, Parameter(values) if affine and wanted else None)

    def reset_parameters(self) -> None:
        """Set weight 1 and bias 0."""
        if self.weight is not None:
            init.ones_(self.weight)
        if self.bias is not None:
            init.zeros_(self.bias)

    def forward(self, input: Tensor) -> Tensor:
        return F.group_norm(input, self.num_groups, self.weight, self.bias, self.eps)

    def extra_repr(self) -> str:
        return (
            f"{self.num_groups}, {self.num_channels}, eps={self.eps}, affine={self.affine}, "
            f"bias={self.bias is not None}"
        )


class LocalResponseNorm(Module):
    """Divide by (k + alpha * mean of squares of `size` neighbouring channels) ** beta.

    Krizhevsky, Sutskever and Hinton, "ImageNet classification with deep convolutional neural
    networks" (2012).

    Args:
        size: how many channels count.
        alpha, beta, k: see above.

    Shape: [N, C, *], kept.

    Example:
        >>> import talweg as tw
        >>> tw.nn.LocalResponseNorm(1, alpha=3.0, beta=0.5)(tw.ones(1, 2, 1)).tolist()
        [[[0.5], [0.5]]]
    """

    def __init__(self, size: int, alpha: float = 1e-4, beta: float = 0.75, k: float = 1.0) -> None:
        super().__init__()
        self.size = size
        self.alpha = alpha
        self.beta = beta
        self.k = k

    def forward(self, input: Tensor) -> Tensor:
        return F.local_response_norm(input, self.size, self.alpha, self.beta, self.k)

    def extra_repr(self) -> str:
        return f"{self.size}, alpha={self.alpha}, beta={self.beta}, k={self.k}"


class CrossMapLRN2d(LocalResponseNorm):
    """`LocalResponseNorm` of images whose window reaches as far in front as behind.

    Args:
        size, alpha, beta, k: as for `LocalResponseNorm`.

    Shape: [N, C, H, W], kept.

    Raises:
        ShapeError: for other numbers of dimensions, by the call.

    Example:
        >>> import talweg as tw
        >>> tw.nn.CrossMapLRN2d(5)(tw.ones(1, 8, 4, 4)).shape
        (1, 8, 4, 4)
    """

    def __init__(self, size: int, alpha: float = 1e-4, beta: float = 0.75, k: float = 1) -> None:
        super().__init__(size, alpha, beta, k)

    def forward(self, input: Tensor) -> Tensor:
        if input.ndim != 4:
            raise ShapeError(f"CrossMapLRN2d: Expected input to be 4D, got {input.ndim}D instead.")
        size = 2 * int((self.size - 1) / 2 + 1) - 1
        return F.local_response_norm(input, size, self.alpha * size / self.size, self.beta, self.k)
