"""The functions behind the layers, under PyTorch's names: `import talweg.nn.functional as F`.

They take and return Tensors. Elementwise activations accept `inplace=True`, and those with a
trailing underscore always write into their input.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Sequence
from functools import cache
from typing import TYPE_CHECKING, Any

from talweg.base.dtypes import int64
from talweg.base.errors import InvalidValue, ShapeError
from talweg.engine.arguments import deferred_signature
from talweg.engine.creation import tensor
from talweg.engine.functions import FUNCTIONS
from talweg.engine.modes import no_grad
from talweg.engine.record import assign, lift
from talweg.engine.tensor import Tensor
from talweg.fn import (
    activation,
    adaptive,
    conv,
    ctc,
    dense,
    gathering,
    loss,
    margin,
    norm,
    pool,
    resize,
    sampling,
    vision,
)
from talweg.nn.attending import multi_head_attention_forward as multi_head_attention_forward
from talweg.nn.attending import scaled_dot_product_attention as scaled_dot_product_attention
from talweg.nn.averages import LOSSES, with_averages
from talweg.nn.fractional import fractional_max_pool2d as fractional_max_pool2d
from talweg.nn.fractional import (
    fractional_max_pool2d_with_indices as fractional_max_pool2d_with_indices,
)
from talweg.nn.fractional import fractional_max_pool3d as fractional_max_pool3d
from talweg.nn.fractional import (
    fractional_max_pool3d_with_indices as fractional_max_pool3d_with_indices,
)
from talweg.nn.lookup import embedding as embedding
from talweg.nn.lookup import embedding_bag as embedding_bag
from talweg.nn.stochastic import alpha_dropout as alpha_dropout
from talweg.nn.stochastic import dropout as dropout
from talweg.nn.stochastic import dropout1d as dropout1d
from talweg.nn.stochastic import dropout2d as dropout2d
from talweg.nn.stochastic import dropout3d as dropout3d
from talweg.nn.stochastic import feature_alpha_dropout as feature_alpha_dropout
from talweg.nn.stochastic import gumbel_softmax as gumbel_softmax
from talweg.nn.stochastic import rrelu as rrelu

if TYPE_CHECKING:

    def __getattr__(name: str) -> Callable[..., Tensor]: ...


_INPLACE = (
    *("relu", "relu6", "hardtanh", "elu", "selu", "celu", "silu", "mish", "hardsigmoid"),
    *("hardswish", "leaky_relu", "threshold"),
)


# The gradients of these need their input, which an in-place call overwrites: it is copied first.
_NEED_INPUT = ("silu", "mish", "hardswish")


def _with_inplace(function: Callable[..., Any]) -> Callable[..., Any]:
    """Give a function PyTorch's last parameter, `inplace`."""
    name = f"{function.__name__}_"
    last = inspect.Parameter("inplace", inspect.Parameter.POSITIONAL_OR_KEYWORD, default=False)

    def signature() -> inspect.Signature:
        own = inspect.signature(function)
        return own.replace(parameters=[*own.parameters.values(), last])

    @cache
    def count() -> int:
        return len(inspect.signature(function).parameters)

    def wrapped(input: Tensor, *args: Any, inplace: bool = False, **kwargs: Any) -> Any:
        if args and len(args) == count():
            *args, inplace = args  # type: ignore[assignment]
        return written(input, *args, **kwargs) if inplace else function(input, *args, **kwargs)

    written = _writing(function, name)
    wrapped.__name__ = function.__name__
    wrapped.__doc__ = function.__doc__
    wrapped.__signature__ = deferred_signature(signature)  # type: ignore[attr-defined]
    return wrapped


def _writing(function: Callable[..., Any], name: str) -> Callable[..., Any]:
    copied = function.__name__ in _NEED_INPUT

    def written(input: Tensor, *args: Any, **kwargs: Any) -> Tensor:
        read = input.clone() if copied else input
        return assign(input, function(read, *args, **kwargs), name)

    written.__name__ = name
    written.__doc__ = f"`{function.__name__}`, written into its input."
    return written


_MAX_POOLS = [f"{kind}max_pool{n}d" for kind in ("", "adaptive_") for n in (1, 2, 3)]


def _with_indices(function: Callable[..., Any]) -> Callable[..., Any]:
    """Return a pooling function that always gives the places beside the values."""

    def wrapped(*args: Any, **kwargs: Any) -> Any:
        given = signature.bind(*args, **kwargs).arguments
        return function(**{**given, "return_indices": True})

    signature = inspect.signature(function)
    wrapped.__name__ = f"{function.__name__}_with_indices"
    wrapped.__doc__ = f"Return the maxima of `{function.__name__}`, and their places."
    wrapped.__signature__ = signature  # type: ignore[attr-defined]
    return wrapped


def _collect() -> dict[str, Callable[..., Any]]:
    table: dict[str, Callable[..., Any]] = {}
    own = [f for module in (activation, dense, loss, margin) for f in module.FUNCTIONAL]
    public = [f for m in (conv, pool, adaptive, norm, vision, resize, sampling) for f in m.PUBLIC]
    for f in (*own, *public):
        table[f.__name__] = FUNCTIONS.get(f.__name__) or lift(f)
    for name in LOSSES:
        table[name] = with_averages(table[name])
    for name in _INPLACE:
        table[f"{name}_"] = _writing(table[name], f"{name}_")
        table[name] = _with_inplace(table[name])
    return table


_table = _collect()
_batch_norm_update = _table.pop("batch_norm_update")
_batch_norm = _table.pop("batch_norm")
_instance_norm = _table.pop("instance_norm")
globals().update(_table)
globals().update({f"{name}_with_indices": _with_indices(_table[name]) for name in _MAX_POOLS})
pdist = FUNCTIONS["pdist"]
rrelu_ = _writing(rrelu, "rrelu_")
_one_hot = lift(gathering.one_hot)
_ctc_loss = lift(ctc.ctc_loss)


def one_hot(tensor: Tensor, num_classes: int = -1) -> Tensor:
    """Return int64 vectors that are 1 at the class and 0 elsewhere, along a new last dimension.

    Args:
        tensor: classes, integer, any shape.
        num_classes: one more than the largest class unless given; that reads the values.

    Raises:
        InvalidValue: when there is no class; IndexOutOfRange: for a class outside the range.

    >>> import talweg as tw
    >>> tw.nn.functional.one_hot(tw.tensor([0, 2])).tolist()
    [[1, 0, 0], [0, 0, 1]]
    """
    count = num_classes if num_classes != -1 or not tensor.numel() else int(tensor.max()) + 1
    made: Tensor = _one_hot(tensor, count)
    return made


def batch_norm(
    input: Tensor,
    running_mean: Tensor | None,
    running_var: Tensor | None,
    weight: Tensor | None = None,
    bias: Tensor | None = None,
    training: bool = False,
    momentum: float = 0.1,
    eps: float = 1e-5,
) -> Tensor:
    """Normalise each channel over the batch and all places (Ioffe and Szegedy, 2015).

    In training the running statistics are updated in place:
    running = (1 - momentum) * running + momentum * batch, with the unbiased variance of the batch.

    Args:
        input: [N, C, *spatial], floating.
        running_mean, running_var: [C]; used instead of the batch's outside training.
        weight, bias: [C] or None.
        training: whether the batch's own statistics are used.
        momentum: weight of the batch in the running statistics.
        eps: added to the variance.

    Raises:
        ShapeError: when shapes do not fit.
    """
    if not training or running_mean is None or running_var is None:
        out: Tensor = _batch_norm(
            input, running_mean, running_var, weight, bias, training, momentum, eps
        )
        return out
    out, new_mean, new_var = _batch_norm_update(
        input, running_mean, running_var, weight, bias, momentum, eps
    )
    with no_grad():
        running_mean.copy_(new_mean)
        running_var.copy_(new_var)
    return out


def instance_norm(
    input: Tensor,
    running_mean: Tensor | None = None,
    running_var: Tensor | None = None,
    weight: Tensor | None = None,
    bias: Tensor | None = None,
    use_input_stats: bool = True,
    momentum: float = 0.1,
    eps: float = 1e-5,
) -> Tensor:
    """Normalise each channel of each example over its places (Ulyanov et al., 2016).

    With `use_input_stats` the running statistics are updated in place, by the mean over the batch
    of each example's mean and unbiased variance.

    Args:
        input: [N, C, *spatial], floating.
        running_mean, running_var: [C]; used when `use_input_stats` is False.
        weight, bias: [C] or None.
        use_input_stats: normalise by the statistics of the input itself.
        momentum: weight of the input in the running statistics.
        eps: added to the variance.

    Raises:
        ShapeError: when shapes do not fit, or a channel has a single place.
    """
    out: Tensor = _instance_norm(
        input, running_mean, running_var, weight, bias, use_input_stats, momentum, eps
    )
    if use_input_stats and running_mean is not None and running_var is not None:
        spatial = tuple(range(2, input.ndim))
        with no_grad():
            wide = input.detach().to(running_mean.dtype)
            mean, var = wide.mean(spatial).mean(0), wide.var(spatial).mean(0)
            running_mean.mul_(1 - momentum).add_(mean * momentum)
            running_var.mul_(1 - momentum).add_(var * momentum)
    return out


def conv_tbc(input: Tensor, weight: Tensor, bias: Tensor, pad: int = 0) -> Tensor:
    """Return the cross-correlation along time of a sequence, with time in front.

    Args:
        input: [T, N, C].
        weight: [K, C, C'].
        bias: [C'].
        pad: zeros on both ends of time.

    Returns:
        [T', N, C'].
    """
    rows, kernel = input.permute(1, 2, 0), weight.permute(2, 1, 0)
    made: Tensor = _table["conv1d"](rows, kernel, bias, 1, pad).permute(2, 0, 1)
    return made


def ctc_loss(
    log_probs: Tensor,
    targets: Tensor,
    input_lengths: Tensor | Sequence[int],
    target_lengths: Tensor | Sequence[int],
    blank: int = 0,
    reduction: str = "mean",
    zero_infinity: bool = False,
) -> Tensor:
    """Return the negative log likelihood of label sequences, over all alignments.

    Connectionist temporal classification (Graves et al., 2006).

    Args:
        log_probs: [T, N, C], or [T, C] for one example: logarithms of probabilities.
        targets: [N, S], or [S]; or all targets in one row, of the sum of their lengths.
        input_lengths, target_lengths: one per example; they are read.
        blank: the class of no label.
        reduction: "mean" divides each loss by its target's length, then takes the mean.
        zero_infinity: a target that is too long for its input costs 0 instead of infinity.

    Returns:
        A scalar; with "none" [N], or [] for one example.

    Raises:
        ShapeError: when the shapes do not fit.
        InvalidValue: when a length exceeds T or the targets.
    """
    single = log_probs.ndim == 2
    batch = log_probs.unsqueeze(1) if single else log_probs
    sizes = [[int(n) for n in _listed(s)] for s in (input_lengths, target_lengths)]
    table = targets
    if targets.ndim == 1:
        rows = targets.split(sizes[1]) if sum(sizes[1]) == targets.shape[0] else ()
        if not rows:
            raise ShapeError(f"ctc_loss: lengths {sizes[1]} do not fit targets {targets.shape}")
        longest = max(sizes[1])
        padded = [_table["pad"](r, (0, longest - r.shape[0]), value=blank) for r in rows]
        table = FUNCTIONS["stack"](padded)
    for name, listed, most in zip(
        ("input", "target"), sizes, (batch.shape[0], table.shape[1]), strict=True
    ):
        if any(not 0 <= n <= most for n in listed):
            raise InvalidValue(f"ctc_loss: {name}_lengths {listed} must be from 0 to {most}")
    lengths = [tensor(s, dtype=int64) for s in sizes]
    out: Tensor = _ctc_loss(batch, table, *lengths, blank, reduction, zero_infinity)
    return out.squeeze(0) if single and out.ndim else out


def _listed(lengths: Tensor | Sequence[int]) -> list[int]:
    found = lengths.tolist() if isinstance(lengths, Tensor) else list(lengths)
    return found if isinstance(found, list) else [found]


def triplet_margin_with_distance_loss(
    anchor: Tensor,
    positive: Tensor,
    negative: Tensor,
    *,
    distance_function: Callable[[Tensor, Tensor], Tensor] | None = None,
    margin: float = 1.0,
    swap: bool = False,
    reduction: str = "mean",
) -> Tensor:
    """Return max(0, d(anchor, positive) - d(anchor, negative) + margin) for any distance d.

    Args:
        anchor, positive, negative: [N, *].
        distance_function: `pairwise_distance` unless given.
        margin: how much farther the negative should be.
        swap: take d(positive, negative) where it is smaller.
        reduction: "mean", "sum" or "none".
    """
    distance: Callable[..., Any] = distance_function or _table["pairwise_distance"]
    near, far = distance(anchor, positive), distance(anchor, negative)
    if swap:
        far = far.minimum(distance(positive, negative))
    out: Tensor = (near - far + margin).clamp_min(0)
    if reduction not in ("none", "mean", "sum"):
        raise InvalidValue(f"reduction must be none, mean or sum; got {reduction!r}")
    reduced: Tensor = out if reduction == "none" else getattr(out, reduction)()
    return reduced
