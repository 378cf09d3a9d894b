"""Activations that are computed again beside PyTorch's: gradients, and what is refused."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from peer import Inputs, array_of, copied, torch
from torch.utils import checkpoint as theirs  # type: ignore[import-not-found,unused-ignore]

import talweg as tw
from talweg.utils import checkpoint as ours

pytestmark = pytest.mark.peer
D = Inputs(5)
BOTH = ((tw, ours), (torch, theirs))

USES: dict[str, Callable[[Any, Any, Any], Any]] = {
    "plain": lambda c, net, x: c.checkpoint(net, x, use_reentrant=False),
    "reentrant": lambda c, net, x: c.checkpoint(net, x, use_reentrant=True),
    "inside": lambda c, net, x: c.checkpoint(
        lambda y: c.checkpoint(net, y * 2, use_reentrant=False).sin(), x, use_reentrant=False
    ),
    "sequence": lambda c, net, x: c.checkpoint_sequential(net, 3, x, use_reentrant=False),
    "sequence reentrant": lambda c, net, x: c.checkpoint_sequential(net, 2, x, use_reentrant=True),
    "keywords": lambda c, net, x: c.checkpoint(
        lambda a, *, b: net(a) + b, x, use_reentrant=False, b=x * 3
    ),
    "twice": lambda c, net, x: c.checkpoint(
        net, c.checkpoint(net, x, use_reentrant=False), use_reentrant=False
    ),
}


@pytest.mark.parametrize("name", USES)
def test_gradients(name: str) -> None:
    nets = copied(
        lambda nn: nn.Sequential(nn.Linear(4, 6), nn.Tanh(), nn.LayerNorm(6), nn.Linear(6, 4))
    )
    array, found = D.real(5, 4), []
    for (T, c), net in zip(BOTH, nets, strict=True):
        x = T.tensor(array, requires_grad=True)
        loss = USES[name](c, net, x).square().sum()
        loss.backward()
        found.append([array_of(v) for v in (loss, x.grad, *(p.grad for p in net.parameters()))])
    for a, b in zip(*found, strict=True):
        np.testing.assert_allclose(a, b, rtol=2e-4, atol=1e-5)


def test_batch_statistics_are_taken_twice() -> None:
    array, found = D.real(8, 3), []
    for (T, c), norm in zip(BOTH, copied(lambda nn: nn.BatchNorm1d(3)), strict=True):
        x = T.tensor(array, requires_grad=True)
        c.checkpoint(norm, x, use_reentrant=False).sum().backward()
        found.append((int(norm.num_batches_tracked), array_of(norm.running_mean)))
    assert found[0][0] == found[1][0] == 2
    np.testing.assert_allclose(found[0][1], found[1][1], rtol=1e-5, atol=1e-6)


WRONG: dict[str, Callable[[Any, Any, Any], Any]] = {
    "keywords": lambda T, c, x: c.checkpoint(T.sin, x, use_reentrant=True, other=1),
    "contexts": lambda T, c, x: c.checkpoint(
        T.sin, x, use_reentrant=True, context_fn=lambda: (None, None)
    ),
    "debug": lambda T, c, x: c.checkpoint(T.sin, x, use_reentrant=True, debug=True),
    "check": lambda T, c, x: c.checkpoint(
        T.sin, x, use_reentrant=False, determinism_check="x"
    ).backward(),
    "sequence": lambda T, c, x: c.checkpoint_sequential([T.sin], 1, x, True, other=1),
}


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("name", WRONG)
def test_wrong_options(name: str) -> None:
    for T, c in BOTH:
        with pytest.raises(ValueError):
            WRONG[name](T, c, T.ones((), requires_grad=True))
