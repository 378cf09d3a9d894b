"""Layers and optimizers beside PyTorch: the same weights, ten steps, the same numbers."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from peer import Inputs, array_of, close, torch

import talweg as tw

pytestmark = pytest.mark.peer
D = Inputs(3)

LAYERS: dict[str, tuple[Callable[[Any], Any], np.ndarray]] = {
    "Linear": (lambda nn: nn.Linear(6, 4), D.real(5, 6)),
    "Linear without bias": (lambda nn: nn.Linear(6, 4, bias=False), D.real(5, 6)),
    "Conv1d": (lambda nn: nn.Conv1d(3, 4, 3, padding=1), D.real(2, 3, 8)),
    "Conv2d": (lambda nn: nn.Conv2d(3, 4, 3, stride=2, padding=1), D.real(2, 3, 8, 8)),
    "Conv2d reflect": (
        lambda nn: nn.Conv2d(3, 4, 3, padding=1, padding_mode="reflect"),
        D.real(2, 3, 8, 8),
    ),
    "Conv3d": (lambda nn: nn.Conv3d(2, 3, 2), D.real(1, 2, 4, 4, 4)),
    "ConvTranspose2d": (lambda nn: nn.ConvTranspose2d(3, 4, 3, stride=2), D.real(2, 3, 5, 5)),
    "BatchNorm1d": (lambda nn: nn.BatchNorm1d(6), D.real(5, 6)),
    "BatchNorm2d": (lambda nn: nn.BatchNorm2d(3), D.real(2, 3, 4, 4)),
    "BatchNorm2d cumulative": (lambda nn: nn.BatchNorm2d(3, momentum=None), D.real(2, 3, 4, 4)),
    "LayerNorm": (lambda nn: nn.LayerNorm(6), D.real(5, 6)),
    "GroupNorm": (lambda nn: nn.GroupNorm(2, 4), D.real(2, 4, 5)),
    "InstanceNorm2d": (lambda nn: nn.InstanceNorm2d(3, affine=True), D.real(2, 3, 4, 4)),
    "PReLU": (lambda nn: nn.PReLU(6), D.real(5, 6)),
    "Sequential": (
        lambda nn: nn.Sequential(nn.Linear(6, 8), nn.Tanh(), nn.Linear(8, 3), nn.LogSoftmax(1)),
        D.real(5, 6),
    ),
    "LeNet": (
        lambda nn: nn.Sequential(
            nn.Conv2d(1, 4, 3),
            nn.ReLU(inplace=True),
            nn.MaxPool2d(2),
            nn.Flatten(),
            nn.Linear(36, 10),
        ),
        D.real(3, 1, 8, 8),
    ),
    "Upsample": (
        lambda nn: nn.Sequential(nn.Conv2d(1, 2, 1), nn.Upsample(scale_factor=2, mode="bilinear")),
        D.real(1, 1, 4, 4),
    ),
    "AdaptiveAvgPool2d": (
        lambda nn: nn.Sequential(nn.Conv2d(1, 2, 1), nn.AdaptiveAvgPool2d((2, 3))),
        D.real(1, 1, 5, 5),
    ),
}


def copied(make: Callable[[Any], Any]) -> tuple[Any, Any]:
    """Return the layer in both libraries, with PyTorch's weights."""
    torch.manual_seed(0)
    theirs = make(torch.nn)
    ours = make(tw.nn)
    assert list(ours.state_dict()) == list(theirs.state_dict())
    ours.load_state_dict({k: tw.tensor(array_of(v)) for k, v in theirs.state_dict().items()})
    return ours, theirs


@pytest.mark.parametrize("name", LAYERS)
def test_a_layer_equals_pytorchs(name: str) -> None:
    make, array = LAYERS[name]
    ours, theirs = copied(make)
    assert repr(ours) == repr(theirs)
    for _ in range(2):
        x, y = tw.tensor(array, requires_grad=True), torch.tensor(array, requires_grad=True)
        a, b = ours(x), theirs(y)
        close(a, b, 16, f"{name}: result")
        seed = np.random.RandomState(1).standard_normal(tuple(b.shape)).astype("float32")
        a.backward(tw.tensor(seed))
        b.backward(torch.tensor(seed))
        close(x.grad, y.grad, 64, f"{name}: input gradient")
    for (k, p), (_, q) in zip(ours.named_parameters(), theirs.named_parameters(), strict=True):
        close(p.grad, q.grad, 64, f"{name}: gradient of {k}")
    for k, value in theirs.state_dict().items():
        close(ours.state_dict()[k], value, 4, f"{name}: state {k}")
    a, b = ours.eval()(x), theirs.eval()(y)
    close(a, b, 16, f"{name}: result in eval mode")


@pytest.mark.parametrize("name", LAYERS)
def test_a_layers_first_weights_have_pytorchs_spread(name: str) -> None:
    make, _ = LAYERS[name]
    ours, theirs = make(tw.nn), make(torch.nn)
    for (k, p), (_, q) in zip(ours.named_parameters(), theirs.named_parameters(), strict=True):
        a, b = array_of(p), array_of(q)
        assert a.shape == b.shape, k
        if a.size >= 32:
            assert 0.6 < a.std() / b.std() < 1.6, k


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
