"""A keyword that a layer does not have is answered with the nearest one that it has."""

from __future__ import annotations

from typing import Any

import pytest

import talweg as tw


class _Open(tw.nn.Module):
    def __init__(self, size: int, **rest: Any) -> None:
        super().__init__()
        self.size, self.rest = size, rest

    def forward(self, x: tw.Tensor, *, scale: float = 1.0) -> tw.Tensor:
        return len(x) * scale  # type: ignore[return-value]


def test_layers_name_the_nearest_parameter() -> None:
    with pytest.raises(TypeError, match="'in_feature': in_features is the nearest"):
        tw.nn.Linear(in_feature=4, out_features=2)
    with pytest.raises(TypeError, match=r"'kernal_size': kernel_size.*\(in_channels, out"):
        tw.nn.Conv2d(1, 2, kernal_size=3)
    with pytest.raises(TypeError, match=r"'xyz'\. Its parameters are"):
        tw.nn.ReLU(xyz=1)


def test_so_do_calls() -> None:
    layer = tw.nn.MultiheadAttention(4, 2)
    x = tw.ones(1, 1, 4)
    with pytest.raises(TypeError, match="'need_weight': need_weights is the nearest"):
        layer(x, x, x, need_weight=False)
    with pytest.raises(TypeError, match="'scal': scale"):
        _Open(1)(x, scal=2)


def test_other_errors_and_keywords_stay() -> None:
    assert _Open(size=1, other=2).rest == {"other": 2}
    with pytest.raises(TypeError, match="object of type 'int' has no len"):
        _Open(1)(3, scale=2.0)
    with pytest.raises(TypeError, match="missing 1 required positional argument"):
        tw.nn.Linear(3)
