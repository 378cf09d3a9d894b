"""Optimizers and schedules beside PyTorch: ten steps from the same weights."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from peer import Inputs, array_of, copied, torch

import talweg as tw

pytestmark = pytest.mark.peer
D = Inputs(3)

OPTIMIZERS: dict[str, tuple[str, dict[str, Any]]] = {
    "SGD": ("SGD", {"lr": 0.1}),
    "SGD momentum": ("SGD", {"lr": 0.1, "momentum": 0.9, "weight_decay": 0.01}),
    "SGD nesterov": ("SGD", {"lr": 0.1, "momentum": 0.9, "nesterov": True}),
    "SGD dampening": ("SGD", {"lr": 0.1, "momentum": 0.8, "dampening": 0.3, "maximize": True}),
    "Adagrad": ("Adagrad", {"lr": 0.1, "lr_decay": 0.01}),
    "Adadelta": ("Adadelta", {"lr": 1.0, "rho": 0.8}),
    "RMSprop": ("RMSprop", {"lr": 0.01}),
    "RMSprop centered": ("RMSprop", {"lr": 0.01, "centered": True, "momentum": 0.5}),
    "Adam": ("Adam", {"lr": 0.01}),
    "Adam amsgrad": ("Adam", {"lr": 0.01, "amsgrad": True, "weight_decay": 0.1}),
    "AdamW": ("AdamW", {"lr": 0.01, "weight_decay": 0.1}),
    "Adamax": ("Adamax", {"lr": 0.01}),
    "NAdam": ("NAdam", {"lr": 0.01}),
    "RAdam": ("RAdam", {"lr": 0.01}),
    "Rprop": ("Rprop", {"lr": 0.01}),
    "ASGD": ("ASGD", {"lr": 0.01}),
    "Adafactor": ("Adafactor", {"lr": 0.05}),
    "Adafactor clipped": ("Adafactor", {"lr": 0.1, "d": 1.5, "eps": (1e-4, 0.1)}),
    "Adafactor decay": ("Adafactor", {"weight_decay": 0.1, "beta2_decay": -0.5, "maximize": True}),
    "LBFGS": ("LBFGS", {"lr": 0.5, "max_iter": 4}),
    "LBFGS wolfe": ("LBFGS", {"max_iter": 5, "line_search_fn": "strong_wolfe"}),
}


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_ten_steps_equal_pytorchs(name: str) -> None:
    kind, options = OPTIMIZERS[name]
    ours, theirs = copied(
        lambda nn: nn.Sequential(nn.Linear(6, 8), nn.Tanh(), nn.Linear(8, 3)),
    )
    array, label = D.real(20, 6), D.whole(20, high=3)
    if kind == "LBFGS":  # its line search magnifies rounding
        ours, theirs, array = ours.double(), theirs.double(), array.astype("float64")
    losses = []
    for library, net in ((tw, ours), (torch, theirs)):
        optimizer = getattr(library.optim, kind)(net.parameters(), **options)
        x, y = library.tensor(array), library.tensor(label)

        def closure(library: Any = library, net: Any = net, o: Any = optimizer) -> Any:
            o.zero_grad()
            loss = library.nn.functional.cross_entropy(net(x), y)  # noqa: B023
            loss.backward()
            return loss

        losses.append([optimizer.step(closure).item() for _ in range(10)])
    np.testing.assert_allclose(losses[0], losses[1], rtol=2e-4, atol=2e-5)
    for (k, p), (_, q) in zip(ours.named_parameters(), theirs.named_parameters(), strict=True):
        np.testing.assert_allclose(
            array_of(p), array_of(q), rtol=2e-3, atol=2e-4, err_msg=f"{name}: {k}"
        )


MUONS: dict[str, dict[str, Any]] = {
    "plain": {"lr": 0.02},
    "heavy ball": {"lr": 0.02, "nesterov": False, "momentum": 0.8, "weight_decay": 0.0},
    "as AdamW": {"lr": 0.02, "adjust_lr_fn": "match_rms_adamw", "ns_steps": 3},
}


@pytest.mark.parametrize("shape", [(6, 8), (12, 5), (4, 4)])
@pytest.mark.parametrize("name", MUONS)
def test_muon_moves_like_pytorchs(name: str, shape: tuple[int, int]) -> None:
    start, gradient = D.real(*shape), D.real(5, *shape)
    found = []
    for library in (tw, torch):
        weight = library.tensor(start, requires_grad=True)
        optimizer = library.optim.Muon([weight], **MUONS[name])
        for g in gradient:
            weight.grad = library.tensor(g)
            optimizer.step()
        found.append(array_of(weight))
    moved = np.abs(found[1] - start).max()  # its products are bfloat16
    np.testing.assert_allclose(found[0], found[1], atol=0.02 * moved)


def test_matrix_optimizers_refuse_what_pytorchs_refuse() -> None:
    for library in (tw, torch):
        weight = library.ones(3, 3, requires_grad=True)
        optim = library.optim
        for wrong in ({"d": 0.5}, {"beta2_decay": 0.1}, {"eps": (None, -1.0)}, {"lr": -1.0}):
            with pytest.raises(ValueError):
                optim.Adafactor([weight], **wrong)
        for wrong in ({"adjust_lr_fn": "other"}, {"momentum": -0.1}, {"weight_decay": -1.0}):
            with pytest.raises(ValueError):
                optim.Muon([weight], **wrong)
        with pytest.raises(ValueError, match="2D parameters"):
            optim.Muon([library.ones(3, requires_grad=True)])
        weight.grad = library.ones(3, 3)
        with pytest.raises(ValueError, match="less than 100"):
            optim.Muon([weight], ns_steps=100).step()


SCHEDULERS: dict[str, Callable[[Any, Any], Any]] = {
    "StepLR": lambda s, o: s.StepLR(o, 3, 0.5),
    "MultiStepLR": lambda s, o: s.MultiStepLR(o, [2, 5], 0.1),
    "ExponentialLR": lambda s, o: s.ExponentialLR(o, 0.9),
    "CosineAnnealingLR": lambda s, o: s.CosineAnnealingLR(o, 8, 0.01),
    "CosineAnnealingWarmRestarts": lambda s, o: s.CosineAnnealingWarmRestarts(o, 3, 2),
    "LinearLR": lambda s, o: s.LinearLR(o, 0.2, 1.0, 5),
    "ConstantLR": lambda s, o: s.ConstantLR(o, 0.3, 4),
    "PolynomialLR": lambda s, o: s.PolynomialLR(o, 7, 2.0),
    "LambdaLR": lambda s, o: s.LambdaLR(o, lambda epoch: 0.95**epoch),
    "OneCycleLR": lambda s, o: s.OneCycleLR(o, 0.5, total_steps=12),
    "CyclicLR": lambda s, o: s.CyclicLR(o, 0.01, 0.1, step_size_up=3),
}


@pytest.mark.parametrize("name", SCHEDULERS)
def test_a_schedule_equals_pytorchs(name: str) -> None:
    rates = []
    for library in (tw, torch):
        weight = library.ones(2, requires_grad=True)
        optimizer = library.optim.SGD([weight], lr=0.2, momentum=0.9)
        scheduler = SCHEDULERS[name](library.optim.lr_scheduler, optimizer)
        listed = []
        for _ in range(11):
            listed.append(optimizer.param_groups[0]["lr"])
            weight.sum().backward()
            optimizer.step()
            scheduler.step()
        rates.append(listed)
    np.testing.assert_allclose(rates[0], rates[1], rtol=1e-9)
