"""`nn.utils` beside PyTorch's: names in state dicts, values and gradients from the same state."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from peer import Inputs, array_of, close, torch

import talweg as tw

pytestmark = [pytest.mark.peer, pytest.mark.filterwarnings("ignore:.*weight_norm:FutureWarning")]
D = Inputs(17)

CASES: dict[str, tuple[Callable[[Any], Any], Any]] = {
    "weight_norm": (
        lambda nn: nn.utils.parametrizations.weight_norm(nn.Linear(4, 3)),
        D.real(2, 4),
    ),
    "weight_norm_all": (
        lambda nn: nn.utils.parametrizations.weight_norm(nn.Conv1d(2, 3, 2), dim=None),
        D.real(2, 2, 5),
    ),
    "weight_norm_old": (
        lambda nn: nn.utils.weight_norm(nn.Conv2d(2, 3, 2), dim=1),
        D.real(1, 2, 4, 4),
    ),
    "spectral_norm": (
        lambda nn: nn.utils.parametrizations.spectral_norm(nn.Conv2d(2, 3, 2)),
        D.real(1, 2, 4, 4),
    ),
    "spectral_norm_old": (lambda nn: nn.utils.spectral_norm(nn.Linear(4, 3)), D.real(2, 4)),
    "spectral_norm_transposed": (
        lambda nn: nn.utils.spectral_norm(nn.ConvTranspose1d(2, 3, 2), n_power_iterations=2),
        D.real(1, 2, 5),
    ),
}


@pytest.mark.parametrize("training", [True, False])
@pytest.mark.parametrize("name", CASES)
def test_normalised_weights(name: str, training: bool) -> None:
    make, array = CASES[name]
    torch.manual_seed(0)
    ours, theirs = make(tw.nn).train(training), make(torch.nn).train(training)
    assert list(ours.state_dict()) == list(theirs.state_dict())
    ours.load_state_dict({k: tw.tensor(array_of(v)) for k, v in theirs.state_dict().items()})
    a, b = ours(tw.tensor(array)), theirs(torch.tensor(array))
    close(a, b, 10, "result")
    a.square().sum().backward()
    b.square().sum().backward()
    for (key, p), (other, q) in zip(
        ours.named_parameters(), theirs.named_parameters(), strict=True
    ):
        assert key == other
        close(p.grad, q.grad, 50, f"gradient of {key}")
    for key, value in theirs.state_dict().items():
        close(ours.state_dict()[key], value, 10, key)
