"""Pruning beside PyTorch."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from peer import Inputs, close, copied, torch

import talweg as tw
from talweg.nn.utils import prune

pytestmark = pytest.mark.peer
THEIRS: Any = pytest.importorskip("torch.nn.utils.prune")
D = Inputs(35)
X = D.real(5, 6)
SCORES = D.real(4, 6)
MASK = D.truth(4, 6).astype("float32")

WAYS: dict[str, Callable[[Any, Any, Any], Any]] = {
    "l1": lambda T, p, m: p.l1_unstructured(m, "weight", 0.3),
    "l1 count": lambda T, p, m: p.l1_unstructured(m, "bias", 2),
    "l1 scores": lambda T, p, m: p.l1_unstructured(m, "weight", 5, T.tensor(SCORES)),
    "ln": lambda T, p, m: p.ln_structured(m, "weight", 0.5, 2, 0),
    "ln 1": lambda T, p, m: p.ln_structured(m, "weight", 2, 1, -1),
    "mask": lambda T, p, m: p.custom_from_mask(m, "weight", T.tensor(MASK)),
    "identity": lambda T, p, m: p.identity(m, "weight"),
    "twice": lambda T, p, m: p.l1_unstructured(p.l1_unstructured(m, "weight", 0.3), "weight", 0.5),
    "structured after unstructured": lambda T, p, m: p.ln_structured(
        p.l1_unstructured(m, "weight", 0.3), "weight", 0.5, 2, 0
    ),
    "structured twice": lambda T, p, m: p.ln_structured(
        p.ln_structured(m, "weight", 1, 2, 0), "weight", 0.5, 2, 0
    ),
    "global": lambda T, p, m: p.global_unstructured(
        [(m, "weight"), (m, "bias")], p.L1Unstructured, amount=0.4
    ),
}


@pytest.mark.parametrize("name", WAYS)
def test_pruning_equals_pytorchs(name: str) -> None:
    layers = copied(lambda nn: nn.Linear(6, 4))
    methods = (prune, THEIRS)
    for T, p, layer in zip((tw, torch), methods, layers, strict=True):
        WAYS[name](T, p, layer)
        layer(T.tensor(X)).square().sum().backward()
    ours, theirs = layers
    assert prune.is_pruned(ours)
    assert list(ours.state_dict()) == list(theirs.state_dict())
    for k, value in theirs.state_dict().items():
        close(ours.state_dict()[k], value, 1, k)
    for (k, a), (_, b) in zip(ours.named_parameters(), theirs.named_parameters(), strict=True):
        close(a.grad, b.grad, 16, k)
    a, b = ours(tw.tensor(X)), theirs(torch.tensor(X))
    close(a, b, 8, "output")
    for p, layer in zip(methods, layers, strict=True):
        for part in ("weight", "bias"):
            if hasattr(layer, f"{part}_mask"):
                p.remove(layer, part)
    assert not prune.is_pruned(ours)
    assert list(ours.state_dict()) == list(theirs.state_dict())
    close(ours(tw.tensor(X)), b, 8, "output afterwards")


@pytest.mark.parametrize(
    "call",
    [
        lambda T, p, m: p.l1_unstructured(m, "weight", 1.5),
        lambda T, p, m: p.l1_unstructured(m, "weight", 1000),
        lambda T, p, m: p.l1_unstructured(m, "weight", "many"),
        lambda T, p, m: p.remove(m, "weight"),
        lambda T, p, m: p.ln_structured(m, "bias", 1, 2, 0),
        lambda T, p, m: p.global_unstructured([(m, "weight")], p.LnStructured, amount=1, n=2),
    ],
)
def test_errors(call: Callable[..., Any]) -> None:
    for T, p in ((tw, prune), (torch, THEIRS)):
        with pytest.raises((ValueError, TypeError)):
            call(T, p, T.nn.Linear(6, 4))
