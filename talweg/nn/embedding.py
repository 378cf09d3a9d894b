"""Layers that look up rows of a learned table."""

from __future__ import annotations

from talweg.base.dtypes import DType
from talweg.base.errors import InvalidValue, ShapeError
from talweg.engine.creation import empty
from talweg.engine.modes import no_grad
from talweg.engine.tensor import Tensor
from talweg.nn import functional as F
from talweg.nn import init
from talweg.nn.module import Module
from talweg.nn.parameter import Parameter


class _Table(Module):
    """What both layers share: the table and its options."""

    weight: Parameter

    def __init__(
        self,
        num_embeddings: int,
        embedding_dim: int,
        padding_idx: int | None,
        max_norm: float | None,
        norm_type: float,
        scale_grad_by_freq: bool,
        sparse: bool,
        weight: Tensor | None,
        freeze: bool,
        device: object,
        dtype: DType | None,
    ) -> None:
        super().__init__()
        if padding_idx is not None:
            if not -num_embeddings <= padding_idx < num_embeddings:
                raise InvalidValue(
                    f"padding_idx {padding_idx} must be within num_embeddings={num_embeddings}"
                )
            padding_idx %= num_embeddings
        self.num_embeddings = num_embeddings
        self.embedding_dim = embedding_dim
        self.padding_idx = padding_idx
        self.max_norm = max_norm
        self.norm_type = norm_type
        self.scale_grad_by_freq = scale_grad_by_freq
        self.sparse = sparse
        shape = (num_embeddings, embedding_dim)
        if weight is not None and weight.shape != shape:
            raise ShapeError(f"the given weight has shape {weight.shape}, expected {shape}")
        table = empty(shape, dtype=dtype, device=device) if weight is None else weight
        self.weight = Parameter(table, requires_grad=not freeze)
        if weight is None:
            self.reset_parameters()

    def reset_parameters(self) -> None:
        """Draw a new table from the standard normal distribution; the padding row is 0."""
        init.normal_(self.weight)
        if self.padding_idx is not None:
            with no_grad():
                self.weight[self.padding_idx] = 0.0

    def extra_repr(self) -> str:
        text = f"{self.num_embeddings}, {self.embedding_dim}"
        if self.padding_idx is not None:
            text += f", padding_idx={self.padding_idx}"
        if self.max_norm is not None:
            text += f", max_norm={self.max_norm}"
        if self.norm_type != 2:
            text += f", norm_type={self.norm_type}"
        if self.scale_grad_by_freq:
            text += ", scale_grad_by_freq=True"
        return text + (", sparse=True" if self.sparse else "")


class Embedding(_Table):
    """Rows of a learned table.

    Args:
        num_embeddings: rows of the table.
        embedding_dim: their length.
        padding_idx: a row that is 0 at first and receives no gradient.
        max_norm: rows that are read are first shortened to this norm, in place.
        norm_type: p of that norm.
        scale_grad_by_freq: divide a row's gradient by how often the row stands in the input.
        sparse: accepted; gradients are dense.

    Shape: [*] integers to [*, embedding_dim].

    Attributes:
        weight: [num_embeddings, embedding_dim], normal at first.

    Example:
        >>> import talweg as tw
        >>> words = tw.nn.Embedding(10, 3, padding_idx=0)
        >>> words(tw.tensor([[1, 2, 0]])).shape
        (1, 3, 3)
    """

    def __init__(
        self,
        num_embeddings: int,
        embedding_dim: int,
        padding_idx: int | None = None,
        max_norm: float | None = None,
        norm_type: float = 2.0,
        scale_grad_by_freq: bool = False,
        sparse: bool = False,
        _weight: Tensor | None = None,
        _freeze: bool = False,
        device: object = None,
        dtype: DType | None = None,
    ) -> None:
        how = (padding_idx, max_norm, norm_type, scale_grad_by_freq, sparse, _weight, _freeze)
        super().__init__(num_embeddings, embedding_dim, *how, device, dtype)

    def forward(self, input: Tensor) -> Tensor:
        how = (self.padding_idx, self.max_norm, self.norm_type, self.scale_grad_by_freq)
        return F.embedding(input, self.weight, *how, self.sparse)

    @classmethod
    def from_pretrained(
        cls,
        embeddings: Tensor,
        freeze: bool = True,
        padding_idx: int | None = None,
        max_norm: float | None = None,
        norm_type: float = 2.0,
        scale_grad_by_freq: bool = False,
        sparse: bool = False,
    ) -> Embedding:
        """Make the layer of a given table [num_embeddings, embedding_dim].

        Args:
            embeddings: the table, whose memory is shared.
            freeze: the table is not trained.
            padding_idx, max_norm, norm_type, scale_grad_by_freq, sparse: as the layer's.

        Raises:
            ShapeError: unless the table has two dimensions.
        """
        if embeddings.ndim != 2:
            raise ShapeError(f"the table must have 2 dimensions, got shape {embeddings.shape}")
        how = (padding_idx, max_norm, norm_type, scale_grad_by_freq, sparse, embeddings, freeze)
        return cls(embeddings.shape[0], embeddings.shape[1], *how)


class EmbeddingBag(_Table):
    """Sums, means or maxima of bags of rows of a learned table; see `functional.embedding_bag`.

    Args:
        num_embeddings: rows of the table.
        embedding_dim: their size.
        max_norm, norm_type, scale_grad_by_freq, sparse: as for `Embedding`.
        mode: "mean", "sum" or "max".
        include_last_offset: the last offset is the end of the last bag, no beginning.
        padding_idx: a row that counts for nothing.

    Shape: [B, N], or [n] and offsets [B], to [B, embedding_dim].

    Attributes:
        weight: [num_embeddings, embedding_dim], normal at first.

    Example:
        >>> import talweg as tw
        >>> layer = tw.nn.EmbeddingBag(10, 3)
        >>> words, begins = tw.tensor([1, 2, 4, 5, 4]), tw.tensor([0, 2])  # bags of 2 and 3
        >>> layer(words, begins).shape
        (2, 3)
    """

    def __init__(
        self,
        num_embeddings: int,
        embedding_dim: int,
        max_norm: float | None = None,
        norm_type: float = 2.0,
        scale_grad_by_freq: bool = False,
        mode: str = "mean",
        sparse: bool = False,
        _weight: Tensor | None = None,
        include_last_offset: bool = False,
        padding_idx: int | None = None,
        device: object = None,
        dtype: DType | None = None,
    ) -> None:
        how = (padding_idx, max_norm, norm_type, scale_grad_by_freq, sparse, _weight, False)
        super().__init__(num_embeddings, embedding_dim, *how, device, dtype)
        self.mode = mode
        self.include_last_offset = include_last_offset

    def forward(
        self,
        input: Tensor,
        offsets: Tensor | None = None,
        per_sample_weights: Tensor | None = None,
    ) -> Tensor:
        return F.embedding_bag(
            input,
            self.weight,
            offsets,
            self.max_norm,
            self.norm_type,
            self.scale_grad_by_freq,
            self.mode,
            self.sparse,
            per_sample_weights,
            self.include_last_offset,
            self.padding_idx,
        )

    def extra_repr(self) -> str:
        return f"{super().extra_repr()}, mode={self.mode!r}"
