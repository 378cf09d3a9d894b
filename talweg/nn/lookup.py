"""Tables looked up by index: rows kept short in place, then read."""

from __future__ import annotations

from talweg.engine.creation import ones, zeros
from talweg.engine.functions import FUNCTIONS
from talweg.engine.modes import no_grad
from talweg.engine.record import lift
from talweg.engine.tensor import Tensor
from talweg.fn import embedding as tables

_embedding = lift(tables.embedding)
_embedding_bag = lift(tables.embedding_bag)


def renormalise(weight: Tensor, input: Tensor, max_norm: float, norm_type: float) -> None:
    """Shorten in place those rows of a table that the input names to a norm of `max_norm`."""
    with no_grad():
        seen = zeros(weight.shape[0]).index_add(0, input.reshape(-1), ones(input.numel())) > 0
        norms = FUNCTIONS["norm"](weight.detach(), norm_type, 1)
        scale = (max_norm / (norms + 1e-7)).masked_fill(~(seen & (norms > max_norm)), 1.0)
        weight.mul_(scale.unsqueeze(1).to(weight.dtype))


def embedding(
    input: Tensor,
    weight: Tensor,
    padding_idx: int | None = None,
    max_norm: float | None = None,
    norm_type: float = 2.0,
    scale_grad_by_freq: bool = False,
    sparse: bool = False,
) -> Tensor:
    """Return the rows of a table at the given indices.

    Args:
        input: integers of any shape, 0 <= index < num_embeddings.
        weight: [num_embeddings, embedding_dim].
        padding_idx: the row that receives no gradient; negative ones count from the end.
        max_norm: rows that are read are first shortened to this norm, in place.
        norm_type: p of that norm.
        scale_grad_by_freq: divide a row's gradient by how often the row stands in the input.
        sparse: accepted; gradients are dense.

    Returns:
        [*, embedding_dim].

    Raises:
        IndexOutOfRange: for an index outside the table, while running.
    """
    if max_norm is not None:
        renormalise(weight, input, max_norm, norm_type)
    rows: Tensor = _embedding(input, weight, padding_idx, scale_grad_by_freq)
    return rows


def embedding_bag(
    input: Tensor,
    weight: Tensor,
    offsets: Tensor | None = None,
    max_norm: float | None = None,
    norm_type: float = 2.0,
    scale_grad_by_freq: bool = False,
    mode: str = "mean",
    sparse: bool = False,
    per_sample_weights: Tensor | None = None,
    include_last_offset: bool = False,
    padding_idx: int | None = None,
) -> Tensor:
    """Return the sum, mean or maximum of the table's rows of each bag; 0 for an empty bag.

    Args:
        input: indices, [B, N] for B bags of N, or [n] for the bags that `offsets` cuts.
        weight: [num_embeddings, embedding_dim].
        offsets: [B], ascending from 0: where each bag begins; only with an input of one dimension.
        max_norm, norm_type, scale_grad_by_freq, sparse: see `embedding`.
        mode: "sum", "mean" or "max".
        per_sample_weights: of the input's shape, multiplies the rows; only with "sum".
        include_last_offset: `offsets` has one more entry, the end of the last bag.
        padding_idx: rows that do not count.

    Returns:
        [B, embedding_dim].

    Raises:
        ShapeError, InvalidValue: when the arguments do not go together.
        IndexOutOfRange: for an index outside the table, while running.
    """
    if max_norm is not None:
        renormalise(weight, input, max_norm, norm_type)
    how = (scale_grad_by_freq, mode, per_sample_weights, include_last_offset, padding_idx)
    bags: Tensor = _embedding_bag(input, weight, offsets, *how)
    return bags
