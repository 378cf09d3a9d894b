"""Lazy layers, adaptive softmax and fractional pools beside PyTorch's."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from peer import Inputs, array_of, close, copied, torch

import talweg as tw

pytestmark = pytest.mark.peer
D = Inputs(32)
SHAPES = {1: (2, 4, 6), 2: (2, 4, 5, 5), 3: (2, 4, 3, 3, 3)}

LAZY: list[tuple[Callable[[Any], Any], tuple[int, ...]]] = [
    (lambda nn: nn.LazyLinear(3), (2, 5)),
    (lambda nn: nn.LazyLinear(3, bias=False), (2, 5)),
    *(
        (lambda nn, k=kind, n=n, o=options: getattr(nn, f"Lazy{k}{n}d")(6, 2, **o), SHAPES[n])
        for kind in ("Conv", "ConvTranspose")
        for n in (1, 2, 3)
        for options in ({}, {"groups": 2, "stride": 2, "bias": False})
    ),
    *(
        (lambda nn, k=kind, n=n, o=options: getattr(nn, f"Lazy{k}{n}d")(**o), SHAPES[n])
        for kind in ("BatchNorm", "InstanceNorm")
        for n in (1, 2, 3)
        for options in ({}, {"affine": True, "track_running_stats": True, "bias": False})
    ),
]


@pytest.mark.parametrize(("make", "shape"), LAZY)
def test_a_lazy_layer_becomes_pytorchs(make: Any, shape: tuple[int, ...]) -> None:
    array = D.real(*shape)
    ours, theirs = make(tw.nn), make(torch.nn)
    assert repr(ours) == repr(theirs)
    assert list(ours.state_dict()) == list(theirs.state_dict())
    theirs(torch.tensor(array))
    ours.load_state_dict({k: tw.tensor(array_of(v)) for k, v in theirs.state_dict().items()})
    a, b = ours(tw.tensor(array)), theirs(torch.tensor(array))
    assert repr(ours) == repr(theirs)
    close(a, b, 16, repr(theirs))
    for k, value in theirs.state_dict().items():
        close(ours.state_dict()[k], value, 4, k)


def test_the_adaptive_softmax_is_pytorchs() -> None:
    ours, theirs = copied(
        lambda nn: nn.AdaptiveLogSoftmaxWithLoss(8, 20, [4, 10], div_value=2.0, head_bias=True)
    )
    assert repr(ours) == repr(theirs)
    x, y = D.real(6, 8), np.array([0, 5, 19, 3, 12, 4])
    sides = []
    for library, layer in ((tw, ours), (torch, theirs)):
        leaf = library.tensor(x).requires_grad_()
        out, loss = layer(leaf, library.tensor(y))
        loss.backward()
        found = (out, loss, leaf.grad, layer.log_prob(leaf), layer.predict(leaf))
        sides.append((*found, *(p.grad for p in layer.parameters())))
    for i, (a, b) in enumerate(zip(*sides, strict=True)):
        close(a, b, 16, f"value {i}")


@pytest.mark.parametrize("axes", [2, 3])
def test_fractional_pools_are_pytorchs(axes: int) -> None:
    x, u = D.real(2, 3, *(7, 6, 8)[:axes]), D.probability(2, 3, axes)
    found = [
        getattr(T.nn, f"FractionalMaxPool{axes}d")(
            (2, 3, 2)[:axes], output_ratio=0.5, _random_samples=T.tensor(u)
        )(T.tensor(x))
        for T in (tw, torch)
    ]
    close(found[0], found[1], 1, "maxima")
