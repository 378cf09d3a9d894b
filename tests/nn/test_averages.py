"""Losses with what older programs say in place of `reduction`."""

from __future__ import annotations

import inspect

import pytest

import talweg as tw
from talweg import nn
from talweg.nn import functional as F
from talweg.nn.averages import LOSSES, meant

X, Y = tw.tensor([[0.2, 0.7], [0.9, 0.4]]), tw.tensor([[0.0, 1.0], [1.0, 0.0]])
EACH = F.mse_loss(X, Y, reduction="none")


@pytest.mark.parametrize(
    ("size_average", "reduce", "reduction"),
    [
        (None, None, "x"),
        (True, None, "mean"),
        (False, None, "sum"),
        (None, True, "mean"),
        (None, False, "none"),
        (True, False, "none"),
        (False, False, "none"),
        (False, True, "sum"),
    ],
)
def test_what_is_meant(size_average: bool, reduce: bool, reduction: str) -> None:
    assert meant(size_average, reduce, "x") == reduction


def test_functions_take_them_by_name_and_by_place() -> None:
    total = EACH.sum().item()
    assert F.mse_loss(X, Y, size_average=False).item() == pytest.approx(total)
    assert F.mse_loss(X, Y, False).item() == pytest.approx(total)
    assert F.mse_loss(X, Y, None, None, "sum").item() == pytest.approx(total)
    assert tw.allclose(F.mse_loss(X, Y, reduce=False), EACH)
    rows, classes = X.log_softmax(1), tw.tensor([1, 0])
    for loss, scores in ((F.nll_loss, rows), (F.cross_entropy, X)):
        wanted = loss(scores, classes, ignore_index=0, reduction="sum").item()
        assert loss(scores, classes, None, False, 0).item() == pytest.approx(wanted)
        assert loss(scores, classes, size_average=False, ignore_index=0).item() == pytest.approx(
            wanted
        )
    with pytest.raises(TypeError):
        F.mse_loss(X, Y, nothing=1)


def test_layers_take_them() -> None:
    assert nn.MSELoss(size_average=False)(X, Y).item() == pytest.approx(EACH.sum().item())
    assert nn.MSELoss(reduce=False)(X, Y).shape == (2, 2)
    assert nn.NLLLoss(None, False).reduction == "sum"
    assert nn.CrossEntropyLoss(None, None, 3).ignore_index == 3
    assert nn.BCELoss(size_average=False)(X, Y).item() == pytest.approx(
        F.binary_cross_entropy(X, Y, reduction="sum").item()
    )


@pytest.mark.parametrize("name", LOSSES)
def test_signatures_show_them(name: str) -> None:
    names = list(inspect.signature(getattr(F, name)).parameters)
    assert names.index("size_average") < names.index("reduce") == names.index("reduction") - 1
