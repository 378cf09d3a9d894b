"""Transformers: stacks of attention and feedforward layers (Vaswani et al., 2017)."""

from __future__ import annotations

from collections.abc import Callable
from copy import deepcopy
from typing import Any

from talweg.base.dtypes import DType
from talweg.base.errors import InvalidValue, ShapeError
from talweg.engine.creation import full
from talweg.engine.tensor import Tensor
from talweg.nn import functional as F
from talweg.nn import init
from talweg.nn.attention import MultiheadAttention
from talweg.nn.container import ModuleList
from talweg.nn.dropout import Dropout
from talweg.nn.linear import Linear
from talweg.nn.module import Module
from talweg.nn.normalization import LayerNorm

Activation = str | Callable[[Tensor], Tensor]


def _activation(given: Activation) -> Callable[[Tensor], Tensor]:
    if not isinstance(given, str):
        return given
    if given not in ("relu", "gelu"):
        raise InvalidValue(f"activation should be relu/gelu, not {given}")
    found: Callable[[Tensor], Tensor] = getattr(F, given)
    return found


class _Layer(Module):
    """What layers of the encoder and the decoder share: `count` blocks with a norm each."""

    def __init__(
        self,
        blocks: tuple[str, ...],
        d_model: int,
        nhead: int,
        dim_feedforward: int,
        dropout: float,
        activation: Activation,
        layer_norm_eps: float,
        batch_first: bool,
        norm_first: bool,
        bias: bool,
        device: object,
        dtype: DType | None,
    ) -> None:
        super().__init__()
        for name in blocks:
            made = MultiheadAttention(
                d_model,
                nhead,
                dropout,
                bias,
                batch_first=batch_first,
                device=device,
                dtype=dtype,
            )
            setattr(self, name, made)
        count = range(1, len(blocks) + 2)
        self.linear1 = Linear(d_model, dim_feedforward, bias, device, dtype)
        self.dropout = Dropout(dropout)
        self.linear2 = Linear(dim_feedforward, d_model, bias, device, dtype)
        self.norm_first = norm_first
        for i in count:
            norm = LayerNorm(d_model, layer_norm_eps, bias=bias, device=device, dtype=dtype)
            setattr(self, f"norm{i}", norm)
        for i in count:
            setattr(self, f"dropout{i}", Dropout(dropout))
        self.activation = _activation(activation)

    def _residual(self, number: int, x: Tensor, block: Callable[[Tensor], Tensor]) -> Tensor:
        """Return x plus what a block makes of it; the norm comes before it, or behind the sum."""
        norm, dropout = getattr(self, f"norm{number}"), getattr(self, f"dropout{number}")
        if self.norm_first:
            first: Tensor = x + dropout(block(norm(x)))
            return first
        last: Tensor = norm(x + dropout(block(x)))
        return last

    def _forward(self, x: Tensor) -> Tensor:
        made: Tensor = self.linear2(self.dropout(self.activation(self.linear1(x))))
        return made


def _attended(
    layer: MultiheadAttention,
    memory: Tensor | None,
    mask: Tensor | None,
    key_padding_mask: Tensor | None,
    is_causal: bool,
) -> Callable[[Tensor], Tensor]:
    """Return the block in which x reads from memory, or from itself for None."""

    def block(x: Tensor) -> Tensor:
        source = x if memory is None else memory
        made: Tensor = layer(x, source, source, key_padding_mask, False, mask, is_causal=is_causal)[
            0
        ]
        return made

    return block


class TransformerEncoderLayer(_Layer):
    """Self-attention and a feedforward network, each with a residual connection and a norm.

    Takes src [S, N, d_model], [N, S, d_model] with `batch_first`, or [S, d_model]; returns the
    same shape.

    Args:
        d_model: of the elements.
        nhead: heads of the attention.
        dim_feedforward: width between the two linear layers.
        dropout: probability, in training.
        activation: between the two: "relu", "gelu" or a function.
        layer_norm_eps: see `LayerNorm`.
        batch_first: which of the first two dimensions is the batch.
        norm_first: norms come before the blocks, instead of behind the sums.
        bias: whether linear layers and norms have biases.
        device, dtype: of the parameters.

    Example:
        >>> import talweg as tw
        >>> layer = tw.nn.TransformerEncoderLayer(8, 2, 16)
        >>> layer(tw.rand(5, 3, 8)).shape
        (5, 3, 8)
    """

    def __init__(
        self,
        d_model: int,
        nhead: int,
        dim_feedforward: int = 2048,
        dropout: float = 0.1,
        activation: Activation = F.relu,
        layer_norm_eps: float = 1e-5,
        batch_first: bool = False,
        norm_first: bool = False,
        bias: bool = True,
        device: object = None,
        dtype: DType | None = None,
    ) -> None:
        sizes = (d_model, nhead, dim_feedforward)
        options = (batch_first, norm_first, bias)
        super().__init__(
            ("self_attn",), *sizes, dropout, activation, layer_norm_eps, *options, device, dtype
        )

    def forward(
        self,
        src: Tensor,
        src_mask: Tensor | None = None,
        src_key_padding_mask: Tensor | None = None,
        is_causal: bool = False,
    ) -> Tensor:
        """Return the layer's output; masks are those of `MultiheadAttention`."""
        attention = _attended(self.self_attn, None, src_mask, src_key_padding_mask, is_causal)
        return self._residual(2, self._residual(1, src, attention), self._forward)


class TransformerDecoderLayer(_Layer):
    """Self-attention, attention to the encoder's output, and a feedforward network.

    Takes tgt [T, N, d_model] and memory [S, N, d_model], with `batch_first` N comes first, or both
    without N; returns the shape of tgt.

    Args:
        d_model, nhead, dim_feedforward, dropout, activation, layer_norm_eps, batch_first,
            norm_first, bias, device, dtype: see `TransformerEncoderLayer`.

    Example:
        >>> import talweg as tw
        >>> layer = tw.nn.TransformerDecoderLayer(8, 2, 16)
        >>> layer(tw.rand(4, 3, 8), tw.rand(5, 3, 8)).shape
        (4, 3, 8)
    """

    def __init__(
        self,
        d_model: int,
        nhead: int,
        dim_feedforward: int = 2048,
        dropout: float = 0.1,
        activation: Activation = F.relu,
        layer_norm_eps: float = 1e-5,
        batch_first: bool = False,
        norm_first: bool = False,
        bias: bool = True,
        device: object = None,
        dtype: DType | None = None,
    ) -> None:
        blocks = ("self_attn", "multihead_attn")
        sizes = (d_model, nhead, dim_feedforward)
        options = (batch_first, norm_first, bias)
        super().__init__(
            blocks, *sizes, dropout, activation, layer_norm_eps, *options, device, dtype
        )

    def forward(
        self,
        tgt: Tensor,
        memory: Tensor,
        tgt_mask: Tensor | None = None,
        memory_mask: Tensor | None = None,
        tgt_key_padding_mask: Tensor | None = None,
        memory_key_padding_mask: Tensor | None = None,
        tgt_is_causal: bool = False,
        memory_is_causal: bool = False,
    ) -> Tensor:
        """Return the layer's output; masks are those of `MultiheadAttention`."""
        own = _attended(self.self_attn, None, tgt_mask, tgt_key_padding_mask, tgt_is_causal)
        other = _attended(
            self.multihead_attn, memory, memory_mask, memory_key_padding_mask, memory_is_causal
        )
        x = self._residual(2, self._residual(1, tgt, own), other)
        return self._residual(3, x, self._forward)


class TransformerEncoder(Module):
    """A stack of copies of an encoder layer.

    Args:
        encoder_layer: what is copied.
        num_layers: how often.
        norm: applied to the output, if any.
        enable_nested_tensor, mask_check: accepted; padding is computed like all else.

    Example:
        >>> import talweg as tw
        >>> layer = tw.nn.TransformerEncoderLayer(8, 2, 16, batch_first=True)
        >>> tw.nn.TransformerEncoder(layer, 2)(tw.rand(3, 5, 8)).shape
        (3, 5, 8)
    """

    def __init__(
        self,
        encoder_layer: Module,
        num_layers: int,
        norm: Module | None = None,
        enable_nested_tensor: bool = True,
        mask_check: bool = True,
    ) -> None:
        super().__init__()
        self.layers = ModuleList([deepcopy(encoder_layer) for _ in range(num_layers)])
        self.num_layers = num_layers
        self.norm = norm
        self.enable_nested_tensor = enable_nested_tensor
        self.mask_check = mask_check

    def forward(
        self,
        src: Tensor,
        mask: Tensor | None = None,
        src_key_padding_mask: Tensor | None = None,
        is_causal: bool | None = None,
    ) -> Tensor:
        """Return the last layer's output; masks are those of `MultiheadAttention`."""
        for layer in self.layers:
            src = layer(
                src,
                src_mask=mask,
                is_causal=bool(is_causal),
                src_key_padding_mask=src_key_padding_mask,
            )
        return src if self.norm is None else self.norm(src)


class TransformerDecoder(Module):
    """A stack of copies of a decoder layer.

    Args:
        decoder_layer: what is copied.
        num_layers: how often.
        norm: applied to the output, if any.

    Example:
        >>> import talweg as tw
        >>> layer = tw.nn.TransformerDecoderLayer(8, 2, 16)
        >>> tw.nn.TransformerDecoder(layer, 2)(tw.rand(4, 3, 8), tw.rand(5, 3, 8)).shape
        (4, 3, 8)
    """

    def __init__(self, decoder_layer: Module, num_layers: int, norm: Module | None = None) -> None:
        super().__init__()
        self.layers = ModuleList([deepcopy(decoder_layer) for _ in range(num_layers)])
        self.num_layers = num_layers
        self.norm = norm

    def forward(
        self,
        tgt: Tensor,
        memory: Tensor,
        tgt_mask: Tensor | None = None,
        memory_mask: Tensor | None = None,
        tgt_key_padding_mask: Tensor | None = None,
        memory_key_padding_mask: Tensor | None = None,
        tgt_is_causal: bool | None = None,
        memory_is_causal: bool = False,
    ) -> Tensor:
        """Return the last layer's output; masks are those of `MultiheadAttention`."""
        for layer in self.layers:
            tgt = layer(
                tgt,
                memory,
                tgt_mask=tgt_mask,
                memory_mask=memory_mask,
                tgt_key_padding_mask=tgt_key_padding_mask,
                memory_key_padding_mask=memory_key_padding_mask,
                tgt_is_causal=bool(tgt_is_causal),
                memory_is_causal=memory_is_causal,
            )
        return tgt if self.norm is None else self.norm(tgt)


class Transformer(Module):
    """An encoder, and a decoder that reads its output (Vaswani et al., 2017).

    Takes src [S, N, d_model] and tgt [T, N, d_model], with `batch_first` N comes first, or both
    without N; returns the shape of tgt.

    Args:
        d_model, nhead, dim_feedforward, dropout, activation, layer_norm_eps, batch_first,
            norm_first, bias, device, dtype: see `TransformerEncoderLayer`.
        num_encoder_layers, num_decoder_layers: how many of each.
        custom_encoder, custom_decoder: take the place of the stacks.

    Example:
        >>> import talweg as tw
        >>> model = tw.nn.Transformer(8, 2, 1, 1, 16)
        >>> mask = model.generate_square_subsequent_mask(4)
        >>> model(tw.rand(5, 3, 8), tw.rand(4, 3, 8), tgt_mask=mask).shape
        (4, 3, 8)
    """

    def __init__(
        self,
        d_model: int = 512,
        nhead: int = 8,
        num_encoder_layers: int = 6,
        num_decoder_layers: int = 6,
        dim_feedforward: int = 2048,
        dropout: float = 0.1,
        activation: Activation = F.relu,
        custom_encoder: Any = None,
        custom_decoder: Any = None,
        layer_norm_eps: float = 1e-5,
        batch_first: bool = False,
        norm_first: bool = False,
        bias: bool = True,
        device: object = None,
        dtype: DType | None = None,
    ) -> None:
        super().__init__()

        def layer(kind: type[Any]) -> Any:
            sizes = (d_model, nhead, dim_feedforward)
            options = (layer_norm_eps, batch_first, norm_first, bias)
            return kind(*sizes, dropout, activation, *options, device, dtype)

        def norm() -> LayerNorm:
            return LayerNorm(d_model, layer_norm_eps, bias=bias, device=device, dtype=dtype)

        self.encoder = custom_encoder
        if custom_encoder is None:
            self.encoder = TransformerEncoder(
                layer(TransformerEncoderLayer), num_encoder_layers, norm()
            )
        self.decoder = custom_decoder
        if custom_decoder is None:
            self.decoder = TransformerDecoder(
                layer(TransformerDecoderLayer), num_decoder_layers, norm()
            )
        for p in self.parameters():
            if p.ndim > 1:
                init.xavier_uniform_(p)
        self.d_model = d_model
        self.nhead = nhead
        self.batch_first = batch_first

    def forward(
        self,
        src: Tensor,
        tgt: Tensor,
        src_mask: Tensor | None = None,
        tgt_mask: Tensor | None = None,
        memory_mask: Tensor | None = None,
        src_key_padding_mask: Tensor | None = None,
        tgt_key_padding_mask: Tensor | None = None,
        memory_key_padding_mask: Tensor | None = None,
        src_is_causal: bool | None = None,
        tgt_is_causal: bool | None = None,
        memory_is_causal: bool = False,
    ) -> Tensor:
        """Return the decoder's output; masks are those of `MultiheadAttention`.

        Raises:
            ShapeError: when batches or widths do not fit.
        """
        batch = 0 if self.batch_first else 1
        if src.ndim == 3 and src.shape[batch] != tgt.shape[batch]:
            raise ShapeError(
                f"the batch number of src and tgt must be equal, got {src.shape} and {tgt.shape}"
            )
        if src.shape[-1] != self.d_model or tgt.shape[-1] != self.d_model:
            raise ShapeError(
                "the feature number of src and tgt must be equal to d_model, got "
                f"{src.shape[-1]} and {tgt.shape[-1]} for {self.d_model}"
            )
        memory = self.encoder(
            src, mask=src_mask, src_key_padding_mask=src_key_padding_mask, is_causal=src_is_causal
        )
        made: Tensor = self.decoder(
            tgt,
            memory,
            tgt_mask=tgt_mask,
            memory_mask=memory_mask,
            tgt_key_padding_mask=tgt_key_padding_mask,
            memory_key_padding_mask=memory_key_padding_mask,
            tgt_is_causal=tgt_is_causal,
            memory_is_causal=memory_is_causal,
        )
        return made

    @staticmethod
    def generate_square_subsequent_mask(
        sz: int, device: object = None, dtype: DType | None = None
    ) -> Tensor:
        """Return the mask [sz, sz] under which a place sees those up to itself: -inf behind it.

        >>> import talweg as tw
        >>> tw.nn.Transformer.generate_square_subsequent_mask(2)
        tensor([[0., -inf],
                [0., 0.]])
        """
        hidden = full((sz, sz), float("-inf"), dtype=dtype, device=device)
        made: Tensor = hidden.triu(1)
        return made
