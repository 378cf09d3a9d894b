"""Pruning: masks, their composition, and training beneath them."""

from __future__ import annotations

import numpy as np
import pytest

import talweg as tw
from talweg.nn.utils import prune


def test_the_smallest_elements_stay_zero_in_training() -> None:
    layer = tw.nn.Linear(5, 4)
    weight = layer.weight.detach().numpy().copy()
    prune.l1_unstructured(layer, "weight", 0.5)
    small = np.abs(weight) <= np.sort(np.abs(weight).ravel())[9]
    np.testing.assert_array_equal(layer.weight_mask.numpy(), ~small)
    step = tw.optim.SGD(layer.parameters(), lr=0.1)
    for _ in range(2):
        step.zero_grad()
        layer(tw.ones(3, 5)).square().sum().backward()
        step.step()
    layer(tw.ones(3, 5))
    found = layer.weight.detach().numpy()
    assert (found[small] == 0).all()
    assert (found[~small] != weight[~small]).all()
    prune.remove(layer, "weight")
    np.testing.assert_array_equal(layer.weight.detach().numpy(), found)
    assert sorted(n for n, _ in layer.named_parameters()) == ["bias", "weight"]


def test_methods_follow_each_other() -> None:
    layer = tw.nn.Conv2d(3, 4, 3)
    tw.manual_seed(0)
    prune.random_unstructured(layer, "weight", 10)
    prune.random_structured(layer, "weight", 1, dim=0)
    mask = layer.weight_mask.numpy()
    assert (mask.reshape(4, -1).sum(1) == 0).sum() == 1
    (hook,) = layer._forward_pre_hooks.values()
    assert [type(m).__name__ for m in hook] == ["RandomUnstructured", "RandomStructured"]
    assert layer(tw.ones(1, 3, 4, 4)).shape == (1, 4, 2, 2)


def test_one_share_of_several_parameters() -> None:
    net = tw.nn.Sequential(tw.nn.Linear(4, 4), tw.nn.Linear(4, 4))
    with tw.no_grad():
        net[0].weight.fill_(0.5)
        net[1].weight.fill_(2.0)
    prune.global_unstructured(
        [(net[0], "weight"), (net[1], "weight")], prune.L1Unstructured, amount=0.5
    )
    assert net[0].weight.abs().sum().item() == 0
    assert net[1].weight.sum().item() == 32


def test_a_method_prunes_a_tensor_alone() -> None:
    x = tw.tensor([3.0, -1.0, 2.0, 0.5])
    assert prune.L1Unstructured(2).prune(x).tolist() == [3.0, 0.0, 2.0, 0.0]
    with pytest.raises(ValueError, match="amount"):
        prune.L1Unstructured(-0.5)
