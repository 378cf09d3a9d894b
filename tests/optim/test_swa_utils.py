"""Means of weights, running statistics over data, and the rate they are trained with."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import talweg as tw
from talweg.optim import swa_utils as swa

VALUES = (1.0, 2.0, 5.0, -3.0)


def run(**options: Any) -> float:
    layer = tw.nn.Linear(1, 1, bias=False)
    mean = swa.AveragedModel(layer, **options)
    for value in VALUES:
        tw.nn.init.constant_(layer.weight, value)
        mean.update_parameters(layer)
    assert mean.n_averaged.item() == len(VALUES)
    assert layer.weight.item() == VALUES[-1]
    return float(mean(tw.ones(1, 1)).item())


@pytest.mark.parametrize(
    "options", [{}, {"avg_fn": swa.get_swa_avg_fn()}, {"multi_avg_fn": swa.get_swa_multi_avg_fn()}]
)
def test_equal_means(options: dict[str, Any]) -> None:
    assert run(**options) == pytest.approx(np.mean(VALUES))


@pytest.mark.parametrize(
    "options",
    [{"avg_fn": swa.get_ema_avg_fn(0.9)}, {"multi_avg_fn": swa.get_ema_multi_avg_fn(0.9)}],
)
def test_exponential_means(options: dict[str, Any]) -> None:
    wanted = VALUES[0]
    for value in VALUES[1:]:
        wanted = 0.9 * wanted + 0.1 * value
    assert run(**options) == pytest.approx(wanted)


@pytest.mark.parametrize("use_buffers", [False, True])
def test_buffers_are_copied_or_averaged(use_buffers: bool) -> None:
    norm = tw.nn.BatchNorm1d(1)
    mean = swa.AveragedModel(norm, use_buffers=use_buffers)
    for value in (1.0, 3.0):
        norm.running_mean.fill_(value)
        mean.update_parameters(norm)
    assert mean.module.running_mean.item() == (2 if use_buffers else 3)


def test_state_goes_on() -> None:
    layer = tw.nn.Linear(2, 2)
    mean, other = swa.AveragedModel(layer), swa.AveragedModel(tw.nn.Linear(2, 2))
    mean.update_parameters(layer)
    other.load_state_dict(mean.state_dict())
    assert other.n_averaged.item() == 1
    assert tw.equal(other.module.weight, layer.weight)


def test_wrong_arguments() -> None:
    layer = tw.nn.Linear(1, 1)
    with pytest.raises(ValueError, match="Only one"):
        swa.AveragedModel(layer, avg_fn=swa.get_swa_avg_fn(), multi_avg_fn=lambda *_: None)
    for make in (swa.get_ema_avg_fn, swa.get_ema_multi_avg_fn):
        with pytest.raises(ValueError, match="decay"):
            make(1.5)
    sgd = tw.optim.SGD(layer.parameters(), lr=0.1)
    with pytest.raises(ValueError, match="anneal_strategy"):
        swa.SWALR(sgd, 0.1, anneal_strategy="other")
    with pytest.raises(ValueError, match="anneal_epochs"):
        swa.SWALR(sgd, 0.1, anneal_epochs=-1)


def test_running_statistics_are_those_of_the_data() -> None:
    batches = [tw.randn(8, 3) * 2 + 1 for _ in range(5)]
    net = tw.nn.Sequential(tw.nn.BatchNorm1d(3, momentum=0.3), tw.nn.Linear(3, 1)).eval()
    swa.update_bn([(b, None) for b in batches], net)
    arrays = [b.numpy() for b in batches]
    np.testing.assert_allclose(
        net[0].running_mean.numpy(), np.mean([a.mean(0) for a in arrays], 0), rtol=1e-5, atol=1e-6
    )
    np.testing.assert_allclose(
        net[0].running_var.numpy(), np.mean([a.var(0, ddof=1) for a in arrays], 0), rtol=1e-5
    )
    assert net[0].momentum == 0.3
    assert not net.training


@pytest.mark.parametrize("strategy", ["linear", "cos"])
def test_the_rate_moves_to_the_last_one(strategy: str) -> None:
    sgd = tw.optim.SGD([tw.zeros(1, requires_grad=True)], lr=1.0)
    schedule = swa.SWALR(sgd, 0.2, anneal_epochs=4, anneal_strategy=strategy)
    found = [sgd.param_groups[0]["lr"]]
    for _ in range(6):
        sgd.step()
        schedule.step()
        found.append(sgd.param_groups[0]["lr"])
    share = np.minimum(np.arange(7) / 4, 1)
    share = share if strategy == "linear" else (1 - np.cos(np.pi * share)) / 2
    np.testing.assert_allclose(found, 1 + share * (0.2 - 1))
