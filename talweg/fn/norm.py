"""Normalisation: over the batch, over features, over groups, and of vectors to length one.

Half types are computed in float32 and rounded once, at the end.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from operator import index

from talweg.base import dtypes
from talweg.base.errors import InvalidValue, ShapeError
from talweg.base.shapes import Shape, normalize_axes, size_of
from talweg.fn.math import constant
from talweg.fn.spatial import check_floating
from talweg.ir.build import Builder
from talweg.ir.node import Node


def batch_norm(
    b: Builder,
    x: Node,
    running_mean: Node | None,
    running_var: Node | None,
    weight: Node | None = None,
    bias: Node | None = None,
    training: bool = False,
    momentum: float = 0.1,
    eps: float = 1e-5,
) -> Node:
    """Normalise each channel over the batch and all places (Ioffe and Szegedy, 2015).

    The running statistics are read, never written: `batch_norm_update` returns new ones.

    Args:
        x: [N, C] or [N, C, *spatial], floating.
        running_mean, running_var: [C]; used unless `training`.
        weight, bias: [C] or None: scale and shift of each channel.
        training: normalise by the mean and (biased) variance of this batch.
        momentum: not used here; see `batch_norm_update`.
        eps: added to the variance.

    Raises:
        ShapeError: when shapes do not fit, or a channel has a single value to train on.
        InvalidValue: when neither `training` nor running statistics are given.

    >>> import talweg as tw
    >>> tw.batch_norm(tw.tensor([[1.], [3.]]), None, None, training=True, eps=0.).tolist()
    [[-1.0], [1.0]]
    """
    if training:
        return _batch_norm(b, x, weight, bias, eps)[0]
    if running_mean is None or running_var is None:
        raise InvalidValue("batch_norm: training=False needs running_mean and running_var")
    _check_channels("batch_norm", x, running_mean, running_var, weight, bias)
    wide = _widened(b, x)
    mean, var = _along(b, running_mean, wide, 1), _cast(b, running_var, wide)
    scale = b.rsqrt(b.add(var, b.scalar(eps, wide.dtype)))
    if weight is not None:
        scale = b.mul(scale, _cast(b, weight, wide))
    y = b.mul(b.sub(wide, mean), _along(b, scale, wide, 1))
    if bias is not None:
        y = b.add(y, _along(b, bias, wide, 1))
    return _cast(b, y, x)


def batch_norm_update(
    b: Builder,
    x: Node,
    running_mean: Node,
    running_var: Node,
    weight: Node | None = None,
    bias: Node | None = None,
    momentum: float = 0.1,
    eps: float = 1e-5,
) -> tuple[Node, Node, Node]:
    """Return what `batch_norm(training=True)` returns, and new running statistics.

    running = (1 - momentum) * running + momentum * batch, with the unbiased variance of the batch.

    Returns:
        The result, the new running mean and the new running variance.

    Raises:
        ShapeError: when shapes do not fit, or a channel has a single value to train on.

    >>> import talweg as tw
    >>> x = tw.tensor([[1.], [3.]])
    >>> y, mean, var = tw.batch_norm_update(x, tw.zeros(1), tw.ones(1), momentum=0.5)
    >>> mean.tolist(), var.tolist()
    ([1.0], [1.5])
    """
    _check_channels("batch_norm", x, running_mean, running_var, weight, bias)
    y, mean, var = _batch_norm(b, x, weight, bias, eps)
    count = x.type.size // x.shape[1]
    unbiased = b.mul(var, b.scalar(count / (count - 1), var.dtype))
    return y, _mixed(b, running_mean, mean, momentum), _mixed(b, running_var, unbiased, momentum)


def instance_norm(
    b: Builder,
    x: Node,
    running_mean: Node | None = None,
    running_var: Node | None = None,
    weight: Node | None = None,
    bias: Node | None = None,
    use_input_stats: bool = True,
    momentum: float = 0.1,
    eps: float = 1e-5,
) -> Node:
    """Normalise each channel of each example over its places (Ulyanov et al., 2016).

    Args:
        x: [N, C, *spatial], floating.
        running_mean, running_var: [C]; used when `use_input_stats` is False, never written.
        weight, bias: [C] or None.
        use_input_stats: normalise by the statistics of x itself.
        momentum: not used here.

    Raises:
        ShapeError: when shapes do not fit, or a channel has a single place.
        InvalidValue: when neither kind of statistics is given.
    """
    if not use_input_stats:
        return batch_norm(b, x, running_mean, running_var, weight, bias, False, momentum, eps)
    _check_channels("instance_norm", x, running_mean, running_var, weight, bias)
    if size_of(x.shape[2:]) == 1 or x.rank < 3:
        raise ShapeError(
            f"instance_norm: expected more than 1 spatial element, got input {x.shape}"
        )
    wide = _widened(b, x)
    y, _, _ = _standardised(b, wide, tuple(range(2, x.rank)), eps)
    return _cast(b, _affine(b, y, weight, bias, 1), x)


def layer_norm(
    b: Builder,
    x: Node,
    normalized_shape: int | Sequence[int],
    weight: Node | None = None,
    bias: Node | None = None,
    eps: float = 1e-5,
) -> Node:
    """Normalise over the last dimensions (Ba, Kiros and Hinton, 2016).

    Args:
        x: floating, its shape ends with `normalized_shape`.
        normalized_shape: the sizes over which mean and variance are taken.
        weight, bias: of that shape, or None.
        eps: added to the variance.

    Raises:
        ShapeError: when the shapes do not fit.

    >>> import talweg as tw
    >>> tw.layer_norm(tw.tensor([[1., 3.]]), (2,), eps=0.).tolist()
    [[-1.0, 1.0]]
    """
    axes = _last_axes("layer_norm", x, normalized_shape, weight, bias)
    y, _, _ = _standardised(b, _widened(b, x), axes, eps)
    return _cast(b, _affine(b, y, weight, bias, x.rank - len(axes)), x)


def rms_norm(
    b: Builder,
    x: Node,
    normalized_shape: int | Sequence[int],
    weight: Node | None = None,
    eps: float | None = None,
) -> Node:
    """Divide by the root mean square over the last dimensions (Zhang and Sennrich, 2019).

    Args:
        x: floating, its shape ends with `normalized_shape`.
        weight: of that shape, or None.
        eps: added to the mean square; by default the epsilon of the dtype computed in.

    Raises:
        ShapeError: when the shapes do not fit.

    >>> import talweg as tw
    >>> tw.rms_norm(tw.tensor([3., -3.]), 2, eps=0.).tolist()
    [1.0, -1.0]
    """
    axes = _last_axes("rms_norm", x, normalized_shape, weight, None)
    wide = _widened(b, x)
    added = dtypes.finfo(wide.dtype).eps if eps is None else eps
    mean = _mean(b, b.mul(wide, wide), axes)
    scale = b.rsqrt(b.add(mean, b.scalar(added, wide.dtype)))
    y = b.mul(wide, b.expand(scale, x.shape))
    return _cast(b, _affine(b, y, weight, None, x.rank - len(axes)), x)


def group_norm(
    b: Builder,
    x: Node,
    num_groups: int,
    weight: Node | None = None,
    bias: Node | None = None,
    eps: float = 1e-5,
) -> Node:
    """Normalise each group of channels of each example (Wu and He, 2018).

    Args:
        x: [N, C, *], floating.
        num_groups: divides C.
        weight, bias: [C] or None.

    Raises:
        ShapeError: when the shapes do not fit or C is not divisible.
    """
    _check_channels("group_norm", x, weight, bias)
    if num_groups < 1 or x.shape[1] % num_groups:
        raise ShapeError(
            f"group_norm: {x.shape[1]} channels of input {x.shape} are not divisible into "
            f"{num_groups} groups"
        )
    inner = x.shape[1] // num_groups * size_of(x.shape[2:])
    grouped = b.reshape(_widened(b, x), (x.shape[0], num_groups, inner))
    y, _, _ = _standardised(b, grouped, (2,), eps)
    return _cast(b, _affine(b, b.reshape(y, x.shape), weight, bias, 1), x)


def local_response_norm(
    b: Builder, x: Node, size: int, alpha: float = 1e-4, beta: float = 0.75, k: float = 1.0
) -> Node:
    """Divide by (k + alpha * mean of squares of `size` neighbouring channels) ** beta.

    Channels beyond the ends count as zeros (Krizhevsky et al., 2012; PyTorch's mean, not sum).

    Args:
        x: [N, C, *], floating.
        size: number of channels, the current one in the middle (behind it for even sizes).

    Raises:
        ShapeError: for fewer than 2 dimensions.
    """
    check_floating("local_response_norm", x)
    if x.rank < 2 or size < 1:
        raise ShapeError(f"local_response_norm: expected [N, C, *] and size >= 1, got {x.shape}")
    lead, channels = x.shape[:2]
    wide = b.reshape(_widened(b, x), (lead, channels, size_of(x.shape[2:])))
    around = (size // 2, (size - 1) // 2), (0, 0)
    total = b.window_sum(b.mul(wide, wide), (size, 1), (1, 1), around, (1, 1))
    share = b.mul(total, b.scalar(alpha / size, wide.dtype))
    divisor = b.pow(b.add(share, b.scalar(k, wide.dtype)), b.scalar(beta, wide.dtype))
    return _cast(b, b.reshape(b.div(wide, divisor), x.shape), x)


def normalize(
    b: Builder,
    x: Node,
    p: float = 2.0,
    dim: int | Sequence[int] = 1,
    eps: float = 1e-12,
) -> Node:
    """Divide by the p-norm along dimensions, or by eps where the norm is smaller.

    Args:
        x: floating.
        p: the norm's exponent, above 0; infinity for the largest magnitude.
        dim: the dimension or dimensions of a vector.
        eps: smallest divisor. A zero vector stays zero, with gradient 1 / eps.

    Raises:
        InvalidValue: for p <= 0.

    >>> import talweg as tw
    >>> tw.normalize(tw.tensor([[3., 4.]])).tolist()
    [[0.6000000238418579, 0.800000011920929]]
    """
    check_floating("normalize", x)
    if p <= 0:
        raise InvalidValue(f"normalize: p must be above 0, got {p}")
    axes = normalize_axes(dim, x.rank)
    wide = _widened(b, x)
    size = b.abs(wide) if p != 2 or wide.dtype.is_complex else wide
    one, zero = b.scalar(1, size.dtype), b.scalar(0, size.dtype)
    if p == float("inf"):
        norm = b.reduce_max(size, axes)
    elif p == 1:
        norm = b.reduce_sum(size, axes)
    else:
        power = b.mul(size, size) if p == 2 else b.pow(size, b.scalar(p, size.dtype))
        total = b.reduce_sum(power, axes)
        # The root's slope is infinite at zero, where the limit eps takes its place anyway.
        some = b.gt(total, zero)
        safe = b.where(some, total, one)
        root = b.sqrt(safe) if p == 2 else b.pow(safe, b.scalar(1.0 / p, size.dtype))
        norm = b.where(some, root, zero)
    divisor = b.maximum(norm, b.scalar(eps, size.dtype))
    kept = tuple(1 if i in axes else n for i, n in enumerate(x.shape))
    return _cast(b, b.div(wide, b.expand(b.reshape(_cast(b, divisor, wide), kept), x.shape)), x)


def _batch_norm(
    b: Builder, x: Node, weight: Node | None, bias: Node | None, eps: float
) -> tuple[Node, Node, Node]:
    _check_channels("batch_norm", x, weight, bias)
    if x.type.size <= x.shape[1]:
        raise ShapeError(
            f"batch_norm: expected more than 1 value per channel when training, got input {x.shape}"
        )
    wide = _widened(b, x)
    y, mean, var = _standardised(b, wide, (0, *range(2, x.rank)), eps)
    channels = (x.shape[1],)
    result = _cast(b, _affine(b, y, weight, bias, 1), x)
    return result, b.reshape(mean, channels), b.reshape(var, channels)


def _standardised(
    b: Builder, x: Node, axes: tuple[int, ...], eps: float
) -> tuple[Node, Node, Node]:
    """Return x with mean 0 and variance 1 over axes, the mean and the variance, axes kept as 1.

    For any number c the variance is the mean of (x - c)**2, less (mean - c)**2. With the mean for
    c the last term is 0, but both sums that the gradient needs are independent of each other.
    """
    mean = _mean(b, x, axes)
    middle = constant(b, mean)
    around, shift = b.sub(x, b.expand(middle, x.shape)), b.sub(mean, middle)
    var = b.sub(_mean(b, b.mul(around, around), axes), b.mul(shift, shift))
    scale = b.rsqrt(b.add(var, b.scalar(eps, x.dtype)))
    centred = b.sub(x, b.expand(mean, x.shape))
    return b.mul(centred, b.expand(scale, x.shape)), mean, var


def _mean(b: Builder, x: Node, axes: tuple[int, ...]) -> Node:
    kept = tuple(1 if i in axes else n for i, n in enumerate(x.shape))
    count = size_of([x.shape[i] for i in axes])
    total = b.reshape(b.reduce_sum(x, axes), kept)
    return b.div(total, b.scalar(count, x.dtype))


def _affine(b: Builder, y: Node, weight: Node | None, bias: Node | None, axis: int) -> Node:
    if weight is not None:
        y = b.mul(y, _along(b, weight, y, axis))
    return y if bias is None else b.add(y, _along(b, bias, y, axis))


def _along(b: Builder, value: Node, x: Node, axis: int) -> Node:
    """Return a value whose axes are those of x from `axis` on, expanded over x."""
    shape = (*value.shape, *(1,) * (x.rank - axis - value.rank))
    return b.expand(b.reshape(_cast(b, value, x), shape), x.shape)


def _mixed(b: Builder, running: Node, batch: Node, momentum: float) -> Node:
    new = _cast(b, batch, running)
    kept = b.mul(running, b.scalar(1.0 - momentum, running.dtype))
    return b.add(kept, b.mul(new, b.scalar(momentum, running.dtype)))


def _widened(b: Builder, x: Node) -> Node:
    return b.cast(x, dtypes.float32) if x.dtype.bits == 16 else x


def _cast(b: Builder, value: Node, like: Node) -> Node:
    return value if value.dtype is like.dtype else b.cast(value, like.dtype)


def _check_channels(name: str, x: Node, *values: Node | None) -> None:
    check_floating(name, x)
    if x.rank < 2:
        raise ShapeError(f"{name}: expected at least 2 dimensions [N, C, *], got shape {x.shape}")
    for value in values:
        if value is not None and value.shape != (x.shape[1],):
            raise ShapeError(
                f"{name}: input {x.shape} has {x.shape[1]} channels, but a statistic, weight or "
                f"bias has shape {value.shape}"
            )


def _last_axes(
    name: str,
    x: Node,
    normalized_shape: int | Sequence[int],
    weight: Node | None,
    bias: Node | None,
) -> tuple[int, ...]:
    check_floating(name, x)
    listed = [normalized_shape] if isinstance(normalized_shape, int) else normalized_shape
    wanted: Shape = tuple(map(index, listed))
    if not wanted or x.shape[-len(wanted) :] != wanted:
        raise ShapeError(f"{name}: input {x.shape} does not end with normalized_shape {wanted}")
    for value in (weight, bias):
        if value is not None and value.shape != wanted:
            raise ShapeError(f"{name}: weight and bias must have shape {wanted}, got {value.shape}")
    return tuple(range(x.rank - len(wanted), x.rank))


PUBLIC: tuple[Callable[..., Node | tuple[Node, ...]], ...] = (
    batch_norm,
    batch_norm_update,
    instance_norm,
    layer_norm,
    rms_norm,
    group_norm,
    local_response_norm,
    normalize,
)
METHODS: tuple[str, ...] = ()
