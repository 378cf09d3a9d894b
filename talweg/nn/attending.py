"""Attention as functions: of one head, and of several with their projections."""

from __future__ import annotations

from typing import Any

from talweg.base import dtypes
from talweg.base.dtypes import DType
from talweg.base.errors import DTypeError, InvalidValue, ShapeError
from talweg.base.shapes import broadcast_shapes
from talweg.base.source import warn
from talweg.engine import random
from talweg.engine.creation import zeros
from talweg.engine.record import lift
from talweg.engine.tensor import Tensor
from talweg.fn import attention

_attention = lift(attention.scaled_dot_product_attention)
_heads = lift(attention.multi_head_attention)


def _kept(p: float, shape: tuple[int, ...], dtype: DType) -> Tensor | None:
    """Return what dropout multiplies by; None for nothing to drop."""
    if not 0.0 <= p <= 1.0:
        raise InvalidValue(f"dropout probability has to be between 0 and 1, but got {p}")
    if p == 0.0:
        return None
    if p == 1.0:
        return zeros(shape, dtype=dtype)
    found: Tensor = (random.rand(shape) >= p).to(dtype) * (1 / (1 - p))
    return found


def scaled_dot_product_attention(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attn_mask: Tensor | None = None,
    dropout_p: float = 0.0,
    is_causal: bool = False,
    *,
    scale: float | None = None,
    enable_gqa: bool = False,
) -> Tensor:
    """Return softmax(query @ key.T * scale + mask) @ value (Vaswani et al., 2017).

    Long sequences are computed block by block: scores of more than 256 MiB are never stored, nor
    are they for gradients, unless there is dropout.

    Args:
        query: [*, L, E], floating.
        key: [*, S, E]; other dimensions are broadcast.
        value: [*, S, Ev].
        attn_mask: broadcast to [*, L, S]. Of bools: True where a query sees a key; numbers are
            added to the scores.
        dropout_p: probability of a share to be 0; the others are divided by 1 - p.
        is_causal: query i sees the keys up to i.
        scale: 1 / sqrt(E) unless given.
        enable_gqa: key and value have fewer heads, along dimension -3; each serves several of the
            query's, which lie side by side (Ainslie et al., 2023).

    Returns:
        [*, L, Ev]; zeros for a query that sees no key.

    Raises:
        ShapeError, DTypeError: when the operands do not fit.
        InvalidValue: when dropout_p is not in [0, 1].

    >>> import talweg as tw
    >>> q, k, v = tw.zeros(2, 4), tw.zeros(2, 4), tw.tensor([[1.0], [3.0]])
    >>> F = tw.nn.functional
    >>> F.scaled_dot_product_attention(q, k, v).tolist()
    [[2.0], [2.0]]
    >>> F.scaled_dot_product_attention(q, k, v, is_causal=True).tolist()
    [[1.0], [2.0]]
    """
    kept = None
    if dropout_p:
        batch = query.shape[:-2]
        if not enable_gqa:
            batch = broadcast_shapes(batch, key.shape[:-2])
        kept = _kept(dropout_p, (*batch, query.shape[-2], key.shape[-2]), query.dtype)
    made: Tensor = _attention(
        query, key, value, attn_mask, kept, is_causal, scale, bool(enable_gqa)
    )
    return made


def _check_ranks(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    key_padding_mask: Tensor | None,
    attn_mask: Tensor | None,
    num_heads: int,
) -> bool:
    """Return whether there is a batch.

    Raises:
        ShapeError: when ranks do not fit each other.
    """
    rank = query.ndim
    if rank not in (2, 3):
        raise ShapeError(
            f"query should be unbatched 2D or batched 3D tensor but received {rank}-D query tensor"
        )
    if key.ndim != rank or value.ndim != rank:
        raise ShapeError(
            f"for a {rank}-D query, key and value must be {rank}-D too, got {key.ndim}-D and "
            f"{value.ndim}-D tensors"
        )
    if key_padding_mask is not None and key_padding_mask.ndim != rank - 1:
        raise ShapeError(
            f"for a {rank}-D query, key_padding_mask must be {rank - 1}-D, got "
            f"{key_padding_mask.ndim}-D tensor"
        )
    if attn_mask is not None and attn_mask.ndim not in (2, 3):
        raise ShapeError(f"attn_mask must be 2-D or 3-D, got {attn_mask.ndim}-D tensor")
    return rank == 3


def _check_masks(**masks: Tensor | None) -> None:
    given = {name: m.dtype for name, m in masks.items() if m is not None}
    for name, dtype in given.items():
        if dtype is not dtypes.bool_ and not dtype.is_floating_point:
            raise DTypeError(f"only bool and floating types of {name} are supported")
    if len(set(given.values())) > 1:
        warn(
            f"Support for mismatched {' and '.join(given)} is deprecated. Use same type for both "
            "instead."
        )


def _check_sizes(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    embed_dim: int,
    num_heads: int,
    attn_mask: Tensor | None,
    key_padding_mask: Tensor | None,
    separate: bool,
    axes: tuple[int, int],
) -> None:
    """Raise ShapeError unless sizes fit; `axes` are those of the batch and the sequence."""
    batch, row = axes
    if query.shape[-1] != embed_dim:
        raise ShapeError(
            f"was expecting embedding dimension of {embed_dim}, but got {query.shape[-1]}"
        )
    if embed_dim % num_heads:
        raise ShapeError(f"embed_dim {embed_dim} not divisible by num_heads {num_heads}")
    if key.shape[: 2 if separate else 3] != value.shape[: 2 if separate else 3]:
        raise ShapeError(f"key shape {key.shape} does not match value shape {value.shape}")
    count, pairs = query.shape[batch], (query.shape[row], key.shape[row])
    if attn_mask is not None:
        wanted = pairs if attn_mask.ndim == 2 else (count * num_heads, *pairs)
        if attn_mask.shape != wanted:
            raise ShapeError(
                f"The shape of the {attn_mask.ndim}D attn_mask is {attn_mask.shape}, but should be "
                f"{wanted}."
            )
    if key_padding_mask is not None and key_padding_mask.shape != (count, pairs[1]):
        raise ShapeError(
            f"Expected key_padding_mask of shape {(count, pairs[1])}, got {key_padding_mask.shape}"
        )


def multi_head_attention_forward(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    embed_dim_to_check: int,
    num_heads: int,
    in_proj_weight: Tensor | None,
    in_proj_bias: Tensor | None,
    bias_k: Tensor | None,
    bias_v: Tensor | None,
    add_zero_attn: bool,
    dropout_p: float,
    out_proj_weight: Tensor,
    out_proj_bias: Tensor | None,
    training: bool = True,
    key_padding_mask: Tensor | None = None,
    need_weights: bool = True,
    attn_mask: Tensor | None = None,
    use_separate_proj_weight: bool = False,
    q_proj_weight: Tensor | None = None,
    k_proj_weight: Tensor | None = None,
    v_proj_weight: Tensor | None = None,
    static_k: Tensor | None = None,
    static_v: Tensor | None = None,
    average_attn_weights: bool = True,
    is_causal: bool = False,
) -> tuple[Tensor, Tensor | None]:
    """Return the attention of several heads, and maybe its shares: see `nn.MultiheadAttention`.

    Args:
        query, key, value: [L, N, E], [S, N, *], [S, N, *], or without N.
        embed_dim_to_check: E.
        num_heads: divides E.
        in_proj_weight, in_proj_bias: [3 * E, E] and [3 * E] of query, key and value.
        bias_k, bias_v: one more key and value, [1, 1, E].
        add_zero_attn: one more key and value are zeros.
        dropout_p: probability of a share to be 0, in training.
        out_proj_weight, out_proj_bias: [E, E] and [E].
        training: whether there is dropout.
        key_padding_mask: [N, S]: True hides a key, numbers are added.
        need_weights: whether shares are returned.
        attn_mask: [L, S] or [N * heads, L, S]: True hides, numbers are added.
        use_separate_proj_weight: the next three are used in place of `in_proj_weight`.
        q_proj_weight, k_proj_weight, v_proj_weight: [E, *] each.
        static_k, static_v: [N * heads, S, E / heads], in place of projected keys and values.
        average_attn_weights: whether shares are the mean over the heads.
        is_causal: `attn_mask` is that of `generate_square_subsequent_mask`.

    Raises:
        ShapeError, DTypeError, InvalidValue: when arguments do not fit.
    """
    proj = (q_proj_weight, k_proj_weight, v_proj_weight)
    weights = proj if use_separate_proj_weight else (in_proj_weight,)
    return attend(
        (query, key, value),
        (embed_dim_to_check, num_heads),
        weights,
        in_proj_bias,
        (bias_k, bias_v),
        add_zero_attn,
        dropout_p if training else 0.0,
        (out_proj_weight, out_proj_bias),
        key_padding_mask,
        need_weights,
        attn_mask,
        (static_k, static_v),
        average_attn_weights,
        is_causal,
        False,
    )


def attend(
    inputs: tuple[Tensor, Tensor, Tensor],
    sizes: tuple[int, int],
    weights: tuple[Tensor | None, ...],
    bias: Tensor | None,
    extra: tuple[Tensor | None, Tensor | None],
    add_zero_attn: bool,
    dropout_p: float,
    out: tuple[Tensor, Tensor | None],
    key_padding_mask: Tensor | None,
    need_weights: bool,
    attn_mask: Tensor | None,
    static: tuple[Tensor | None, Tensor | None],
    average: bool,
    is_causal: bool,
    batch_first: bool,
) -> tuple[Tensor, Tensor | None]:
    """Return what `multi_head_attention_forward` does of arguments that are sorted by kind.

    Args:
        inputs: query, key and value; the batch comes first with `batch_first`.
        sizes: E and the number of heads.
        weights: of three projections, or all in one.
        bias, extra, add_zero_attn, out, static: see `fn.attention.multi_head_attention`.
        dropout_p: probability of a share to be 0.
        key_padding_mask, need_weights, attn_mask, average, is_causal: see there.
        batch_first: which of the first two dimensions is the batch.
    """
    _check_masks(key_padding_mask=key_padding_mask, attn_mask=attn_mask)
    batched = _check_ranks(*inputs, key_padding_mask, attn_mask, sizes[1])
    batch = 0 if batch_first and batched else 1
    if not batched:
        inputs = _single(inputs)
        if key_padding_mask is not None:
            key_padding_mask = key_padding_mask.unsqueeze(0)
    if any(w is None for w in weights):
        raise InvalidValue("multi_head_attention_forward: a weight of the projections is None")
    if is_causal and attn_mask is None:
        raise InvalidValue(
            "Need attn_mask if specifying the is_causal hint. You may use the Transformer module "
            "method `generate_square_subsequent_mask` to create this mask."
        )
    axes = (batch, 1 - batch)
    _check_sizes(*inputs, *sizes, attn_mask, key_padding_mask, len(weights) == 3, axes)
    if (extra[0] is None) != (extra[1] is None):
        raise InvalidValue("bias_k and bias_v must be given together")
    if extra[0] is not None and static != (None, None):
        raise InvalidValue("bias cannot be added to static key or value.")
    is_causal = is_causal and key_padding_mask is None and not need_weights
    query, key, _ = inputs
    count, row = query.shape[batch], 1 - batch
    keys = key.shape[row] if static[0] is None else static[0].shape[1]
    keys += (extra[0] is not None) + add_zero_attn
    kept = _kept(dropout_p, (count, sizes[1], query.shape[row], keys), query.dtype)
    found = _heads(
        inputs,
        sizes[1],
        weights,
        bias,
        out,
        None if extra[0] is None else extra,
        add_zero_attn,
        static,
        (None if is_causal else attn_mask, key_padding_mask),
        is_causal,
        kept,
        bool(need_weights),
        average,
        batch == 0,
    )
    made = found if batched else [t.squeeze(i) for t, i in zip(found, (1, 0), strict=False)]
    return made[0], made[1] if need_weights else None


def _single(inputs: tuple[Tensor, ...]) -> Any:
    """Return inputs with a batch of one; what was one Tensor stays one."""
    wide = {id(t): t.unsqueeze(1) for t in inputs}
    return tuple(wide[id(t)] for t in inputs)
