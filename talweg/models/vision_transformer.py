"""ViT (Dosovitskiy et al., 2021, "An image is worth 16x16 words: transformers for image recognition
at scale"): an image as a row of patches."""

from __future__ import annotations

import math
from typing import Any

from talweg import nn
from talweg.base.errors import InvalidValue, ShapeError
from talweg.engine.creation import empty, zeros
from talweg.engine.tensor import Tensor
from talweg.models.parts import Layer, cat, norm_6, untrained
from talweg.nn import functional as F
from talweg.nn import init


class SelfAttention(nn.Module):
    """Attention of every place to every place, with one matrix for queries, keys and values.

    Args:
        width: of a place.
        heads: among which it is divided.
        dropout: of the shares of attention, in training.

    Shape: [N, T, width], kept.
    """

    def __init__(self, width: int, heads: int, dropout: float = 0.0) -> None:
        super().__init__()
        if width % heads:
            raise InvalidValue(f"{heads} heads must divide a width of {width}")
        self.heads, self.dropout = heads, dropout
        self.in_proj_weight = nn.Parameter(empty(3 * width, width))
        self.in_proj_bias = nn.Parameter(zeros(3 * width))
        self.out_proj = nn.Linear(width, width)
        init.xavier_uniform_(self.in_proj_weight)
        cleared(self.out_proj.bias)

    def forward(self, x: Tensor) -> Tensor:
        n, length, width = x.shape
        parts = F.linear(x, self.in_proj_weight, self.in_proj_bias)
        parts = parts.view(n, length, 3, self.heads, width // self.heads)
        q, k, v = parts.permute(2, 0, 3, 1, 4).unbind(0)
        y = F.scaled_dot_product_attention(
            q, k, v, dropout_p=self.dropout if self.training else 0.0
        )
        out: Tensor = self.out_proj(y.transpose(1, 2).reshape(n, length, width))
        return out


class EncoderBlock(nn.Module):
    """Attention and two linear layers, each behind its normalisation and beside a shortcut."""

    def __init__(
        self,
        num_heads: int,
        hidden_dim: int,
        mlp_dim: int,
        dropout: float,
        attention_dropout: float,
        norm_layer: Layer,
    ) -> None:
        super().__init__()
        self.ln_1 = norm_layer(hidden_dim)
        self.self_attention = SelfAttention(hidden_dim, num_heads, attention_dropout)
        self.dropout = nn.Dropout(dropout)
        self.ln_2 = norm_layer(hidden_dim)
        first, second = nn.Linear(hidden_dim, mlp_dim), nn.Linear(mlp_dim, hidden_dim)
        self.mlp = nn.Sequential(first, nn.GELU(), nn.Dropout(dropout), second, nn.Dropout(dropout))
        for layer in (first, second):
            init.xavier_uniform_(layer.weight)
            if layer.bias is not None:
                init.normal_(layer.bias, 0.0, 1e-6)

    def forward(self, input: Tensor) -> Tensor:
        x = input + self.dropout(self.self_attention(self.ln_1(input)))
        out: Tensor = x + self.mlp(self.ln_2(x))
        return out


class Encoder(nn.Module):
    """Places are named by a learned vector each, then read by the blocks."""

    def __init__(self, seq_length: int, num_layers: int, hidden_dim: int, *block: Any) -> None:
        super().__init__()
        heads, mlp_dim, dropout, attention_dropout, norm_layer = block
        self.pos_embedding = nn.Parameter(init.normal_(empty(1, seq_length, hidden_dim), std=0.02))
        self.dropout = nn.Dropout(dropout)
        self.layers = nn.Sequential()
        for i in range(num_layers):
            made = EncoderBlock(heads, hidden_dim, mlp_dim, dropout, attention_dropout, norm_layer)
            self.layers.add_module(f"encoder_layer_{i}", made)
        self.ln = norm_layer(hidden_dim)

    def forward(self, input: Tensor) -> Tensor:
        out: Tensor = self.ln(self.layers(self.dropout(input + self.pos_embedding)))
        return out


class VisionTransformer(nn.Module):
    """Patches and a class token, blocks of attention, and one linear layer on the class token.

    Args:
        image_size: height and width; a multiple of patch_size.
        patch_size: height and width of a patch.
        num_layers, num_heads, hidden_dim, mlp_dim: blocks, heads, widths outside and inside.
        dropout, attention_dropout: in the blocks.
        num_classes: of the last layer.
        representation_size: a layer of this width with tanh before the last; None: there is none.
        norm_layer: makes the normalisations.

    Shape: [N, 3, image_size, image_size] to [N, num_classes].

    Raises:
        InvalidValue, ShapeError: for sizes that do not fit.
    """

    def __init__(
        self,
        image_size: int,
        patch_size: int,
        num_layers: int,
        num_heads: int,
        hidden_dim: int,
        mlp_dim: int,
        dropout: float = 0.0,
        attention_dropout: float = 0.0,
        num_classes: int = 1000,
        representation_size: int | None = None,
        norm_layer: Layer = norm_6,
    ) -> None:
        super().__init__()
        if image_size % patch_size:
            raise InvalidValue(f"patches of {patch_size} do not divide an image of {image_size}")
        self.image_size = image_size
        self.class_token = nn.Parameter(zeros(1, 1, hidden_dim))
        self.conv_proj = nn.Conv2d(3, hidden_dim, patch_size, stride=patch_size)
        places = (image_size // patch_size) ** 2 + 1
        how = (num_heads, mlp_dim, dropout, attention_dropout, norm_layer)
        self.encoder = Encoder(places, num_layers, hidden_dim, *how)
        self.heads = nn.Sequential()
        width = hidden_dim
        if representation_size is not None:
            width = representation_size
            layer = nn.Linear(hidden_dim, width)
            init.trunc_normal_(layer.weight, std=math.sqrt(1 / hidden_dim))
            cleared(layer.bias)
            self.heads.add_module("pre_logits", layer)
            self.heads.add_module("act", nn.Tanh())
        head = nn.Linear(width, num_classes)
        self.heads.add_module("head", head)
        fan_in = 3 * patch_size * patch_size
        init.trunc_normal_(self.conv_proj.weight, std=math.sqrt(1 / fan_in))
        for zero in (self.conv_proj.bias, head.weight, head.bias):
            cleared(zero)

    def forward(self, x: Tensor) -> Tensor:
        if tuple(x.shape[2:]) != (self.image_size, self.image_size):
            raise ShapeError(
                f"VisionTransformer: made for images of {self.image_size} x {self.image_size}, "
                f"got shape {x.shape}"
            )
        patches = self.conv_proj(x).flatten(2).transpose(1, 2)
        first = self.class_token.expand(x.shape[0], -1, -1)
        out: Tensor = self.heads(self.encoder(cat([first, patches], 1))[:, 0])
        return out


def cleared(tensor: Tensor | None) -> None:
    """Fill with zeros what is there."""
    if tensor is not None:
        init.zeros_(tensor)


def _vit(name: str, sizes: tuple[int, ...], weights: object, options: Any) -> VisionTransformer:
    untrained(name, weights)
    patch, layers, heads, width, inside = sizes
    how = {"image_size": 224, **options}
    return VisionTransformer(
        patch_size=patch,
        num_layers=layers,
        num_heads=heads,
        hidden_dim=width,
        mlp_dim=inside,
        **how,
    )


def vit_b_16(*, weights: object = None, progress: bool = True, **options: Any) -> VisionTransformer:
    """Return the base ViT with patches of 16 x 16: 86,567,656 parameters."""
    return _vit("vit_b_16", (16, 12, 12, 768, 3072), weights, options)


def vit_b_32(*, weights: object = None, progress: bool = True, **options: Any) -> VisionTransformer:
    """Return the base ViT with patches of 32 x 32: 88,224,232 parameters."""
    return _vit("vit_b_32", (32, 12, 12, 768, 3072), weights, options)


def vit_l_16(*, weights: object = None, progress: bool = True, **options: Any) -> VisionTransformer:
    """Return the large ViT with patches of 16 x 16: 304,326,632 parameters."""
    return _vit("vit_l_16", (16, 24, 16, 1024, 4096), weights, options)


def vit_l_32(*, weights: object = None, progress: bool = True, **options: Any) -> VisionTransformer:
    """Return the large ViT with patches of 32 x 32: 306,535,400 parameters."""
    return _vit("vit_l_32", (32, 24, 16, 1024, 4096), weights, options)
