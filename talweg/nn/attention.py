"""The attention layer of several heads."""

from __future__ import annotations

from typing import Any

from talweg.base.dtypes import DType
from talweg.base.errors import InvalidValue
from talweg.engine.creation import empty
from talweg.engine.tensor import Tensor
from talweg.nn import init
from talweg.nn.attending import attend
from talweg.nn.linear import Linear
from talweg.nn.module import Module
from talweg.nn.parameter import Parameter


class NonDynamicallyQuantizableLinear(Linear):
    """The last projection of `MultiheadAttention`: a `Linear` of that name in texts."""


class MultiheadAttention(Module):
    """Attention of several heads, each with projections of its own (Vaswani et al., 2017).

    Takes query [L, N, embed_dim], key [S, N, kdim] and value [S, N, vdim], with `batch_first`
    [N, L, embed_dim] and so on, or all without N. Returns [L, N, embed_dim], shaped as the query,
    and the shares [N, L, S], or None with `need_weights=False`, which is quicker.

    Args:
        embed_dim: of the query and the result.
        num_heads: divides it.
        dropout: probability of a share to be 0, in training.
        bias: whether projections have biases.
        add_bias_kv: learn one more key and value.
        add_zero_attn: add a key and a value of zeros.
        kdim, vdim: embed_dim unless given.
        batch_first: which of the first two dimensions is the batch.
        device, dtype: of the parameters.

    Attributes:
        in_proj_weight: [3 * embed_dim, embed_dim]; or q_proj_weight, k_proj_weight and
            v_proj_weight, where kdim or vdim differ.
        in_proj_bias: [3 * embed_dim] or None.
        out_proj: a `Linear`.
        bias_k, bias_v: [1, 1, embed_dim] or None.

    Raises:
        InvalidValue: when sizes are not positive, or num_heads does not divide embed_dim.

    Example:
        >>> import talweg as tw
        >>> layer = tw.nn.MultiheadAttention(8, 2, batch_first=True)
        >>> x = tw.rand(3, 5, 8)
        >>> output, shares = layer(x, x, x)
        >>> output.shape, shares.shape
        ((3, 5, 8), (3, 5, 5))
    """

    in_proj_weight: Parameter | None
    in_proj_bias: Parameter | None
    q_proj_weight: Parameter | None
    k_proj_weight: Parameter | None
    v_proj_weight: Parameter | None
    bias_k: Parameter | None
    bias_v: Parameter | None

    def __init__(
        self,
        embed_dim: int,
        num_heads: int,
        dropout: float = 0.0,
        bias: bool = True,
        add_bias_kv: bool = False,
        add_zero_attn: bool = False,
        kdim: int | None = None,
        vdim: int | None = None,
        batch_first: bool = False,
        device: object = None,
        dtype: DType | None = None,
    ) -> None:
        super().__init__()
        if embed_dim <= 0 or num_heads <= 0:
            raise InvalidValue(
                "embed_dim and num_heads must be greater than 0, "
                f"got embed_dim={embed_dim} and num_heads={num_heads} instead"
            )
        if embed_dim % num_heads:
            raise InvalidValue(
                f"embed_dim must be divisible by num_heads, got {embed_dim} and {num_heads}"
            )
        self.embed_dim = embed_dim
        self.kdim = embed_dim if kdim is None else kdim
        self.vdim = embed_dim if vdim is None else vdim
        self.num_heads = num_heads
        self.dropout = dropout
        self.batch_first = batch_first
        self.head_dim = embed_dim // num_heads
        self.add_zero_attn = add_zero_attn
        one = self.kdim == self.vdim == embed_dim
        shapes: dict[str, tuple[int, ...] | None] = {
            "q_proj_weight": None if one else (embed_dim, embed_dim),
            "k_proj_weight": None if one else (embed_dim, self.kdim),
            "v_proj_weight": None if one else (embed_dim, self.vdim),
            "in_proj_weight": (3 * embed_dim, embed_dim) if one else None,
            "in_proj_bias": (3 * embed_dim,) if bias else None,
        }
        self._register(shapes, device, dtype)
        self.out_proj = NonDynamicallyQuantizableLinear(
            embed_dim, embed_dim, bias=bias, device=device, dtype=dtype
        )
        row = (1, 1, embed_dim) if add_bias_kv else None
        self._register({"bias_k": row, "bias_v": row}, device, dtype)
        self._reset_parameters()

    def _register(
        self, shapes: dict[str, tuple[int, ...] | None], device: object, dtype: DType | None
    ) -> None:
        for name, shape in shapes.items():
            made = None if shape is None else Parameter(empty(shape, dtype=dtype, device=device))
            self.register_parameter(name, made)

    def _reset_parameters(self) -> None:
        for weight in self._weights():
            init.xavier_uniform_(weight)
        if self.in_proj_bias is not None:
            init.constant_(self.in_proj_bias, 0.0)
        if self.out_proj.bias is not None:
            init.constant_(self.out_proj.bias, 0.0)
        for row in (self.bias_k, self.bias_v):
            if row is not None:
                init.xavier_normal_(row)

    def _weights(self) -> tuple[Any, ...]:
        if self.in_proj_weight is not None:
            return (self.in_proj_weight,)
        return self.q_proj_weight, self.k_proj_weight, self.v_proj_weight

    def forward(
        self,
        query: Tensor,
        key: Tensor,
        value: Tensor,
        key_padding_mask: Tensor | None = None,
        need_weights: bool = True,
        attn_mask: Tensor | None = None,
        average_attn_weights: bool = True,
        is_causal: bool = False,
    ) -> tuple[Tensor, Tensor | None]:
        """Return the result, and the shares or None.

        Args:
            query, key, value: see above.
            key_padding_mask: [N, S]: True hides a key, numbers are added.
            need_weights: whether shares are returned.
            attn_mask: [L, S] or [N * num_heads, L, S]: True hides, numbers are added.
            average_attn_weights: whether shares are the mean over the heads; otherwise they are
                [N, num_heads, L, S].
            is_causal: `attn_mask` is that of `generate_square_subsequent_mask`.
        """
        return attend(
            (query, key, value),
            (self.embed_dim, self.num_heads),
            self._weights(),
            self.in_proj_bias,
            (self.bias_k, self.bias_v),
            self.add_zero_attn,
            self.dropout if self.training else 0.0,
            (self.out_proj.weight, self.out_proj.bias),
            key_padding_mask,
            need_weights,
            attn_mask,
            (None, None),
            average_attn_weights,
            is_causal,
            self.batch_first,
        )
