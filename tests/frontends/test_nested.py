"""Nested Tensors beside the Tensors that they hold."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import talweg as tw
from talweg.base.errors import InvalidValue, ShapeError
from talweg.nn import functional as F


def _pair(requires_grad: bool = False) -> tuple[list[tw.Tensor], Any]:
    parts = [tw.randn(2, 4), tw.randn(3, 4)]
    parts = [p.requires_grad_(requires_grad) for p in parts]
    return parts, tw.nested.as_nested_tensor(parts)


def test_what_it_is() -> None:
    parts, x = _pair()
    assert (x.is_nested, x.dim(), len(x), x.numel()) == (True, 3, 2, 20)
    assert (x.size(0), x.size(-1), x.dtype) == (2, 4, tw.float32)
    with pytest.raises(ShapeError, match="irregular"):
        x.size(1)
    with pytest.raises(ShapeError, match="no shape"):
        x.shape  # noqa: B018
    assert all(a is b for a, b in zip(x.unbind(), parts, strict=True))
    assert tw.equal(x[1, 0], parts[1][0])
    assert repr(tw.nested.nested_tensor([[1.0], [2.0, 3.0]])) == (
        "nested_tensor([\n  tensor([1.]),\n  tensor([2., 3.])\n])"
    )
    with pytest.raises(InvalidValue, match="one dtype and number"):
        tw.nested.nested_tensor([[1.0], [[1.0]]])


def test_padding_and_gradients() -> None:
    parts, x = _pair(True)
    wide = (x * 2 + x).to_padded_tensor(-1.0)
    assert wide.shape == (2, 3, 4)
    assert (wide[0, 2] == -1).all()
    wide.sum().backward()
    assert all((p.grad == 3).all() for p in parts)
    assert tw.nested.to_padded_tensor(x, 0.0, (2, 5, 6)).shape == (2, 5, 6)
    with pytest.raises(ShapeError, match="smaller"):
        x.to_padded_tensor(0.0, (2, 2, 4))
    leaf = tw.nested.nested_tensor(parts, requires_grad=True)
    leaf.exp().sum().backward()
    np.testing.assert_allclose(leaf.grad[0], leaf[0].detach().exp(), rtol=1e-6)


def test_functions_are_those_of_the_parts() -> None:
    parts, x = _pair()
    layer, norm = tw.nn.Linear(4, 6), tw.nn.LayerNorm(4)
    for made, wanted in (
        (layer(x), [layer(p) for p in parts]),
        (norm(x), [norm(p) for p in parts]),
        (F.relu(x), [p.relu() for p in parts]),
        (F.softmax(x, -1), [p.softmax(-1) for p in parts]),
        (x.softmax(dim=2), [p.softmax(1) for p in parts]),
        (x.transpose(1, 2), [p.t() for p in parts]),
        (x @ x.transpose(-1, -2), [p @ p.t() for p in parts]),
        (x.reshape(2, -1, 2, 2), [p.reshape(-1, 2, 2) for p in parts]),
        (x.chunk(2, -1)[1], [p.chunk(2, -1)[1] for p in parts]),
        (1 - x, [1 - p for p in parts]),
    ):
        for mine, theirs in zip(made.unbind(), wanted, strict=True):
            np.testing.assert_allclose(mine.detach(), theirs.detach(), rtol=1e-6, atol=1e-6)
    with pytest.raises(InvalidValue, match="dimension 0"):
        F.softmax(x, 0)
    with pytest.raises(TypeError, match="linear"):
        F.linear("x", layer.weight)


def test_attention() -> None:
    parts, x = _pair()
    heads = x.reshape(2, -1, 2, 2).transpose(1, 2)
    found = F.scaled_dot_product_attention(heads, heads, heads, is_causal=True)
    for mine, p in zip(found, parts, strict=True):
        one = p.reshape(-1, 2, 2).transpose(0, 1)
        wanted = F.scaled_dot_product_attention(one, one, one, is_causal=True)
        np.testing.assert_allclose(mine, wanted, rtol=1e-5, atol=1e-6)


def test_rows_of_all_and_where_they_begin() -> None:
    parts, x = _pair()
    assert x.offsets().tolist() == [0, 2, 5]
    back = tw.nested.nested_tensor_from_jagged(x.values(), x.offsets())
    assert all(tw.equal(a, b) for a, b in zip(back, parts, strict=True))
