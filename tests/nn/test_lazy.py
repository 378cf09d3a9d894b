"""Layers that learn the size of their input, and other layers of few programs."""

from __future__ import annotations

import copy

import numpy as np
import pytest

import talweg as tw
from talweg import nn


@pytest.mark.parametrize(
    ("make", "becomes", "shape", "weight"),
    [
        (lambda: nn.LazyLinear(3), nn.Linear, (2, 5), (3, 5)),
        (lambda: nn.LazyConv1d(4, 3), nn.Conv1d, (2, 5, 6), (4, 5, 3)),
        (lambda: nn.LazyConv2d(4, 3, groups=2), nn.Conv2d, (2, 6, 5, 5), (4, 3, 3, 3)),
        (lambda: nn.LazyConv3d(4, 1), nn.Conv3d, (3, 2, 2, 2), (4, 3, 1, 1, 1)),
        (lambda: nn.LazyConvTranspose1d(4, 3), nn.ConvTranspose1d, (2, 5, 6), (5, 4, 3)),
        (lambda: nn.LazyConvTranspose2d(4, 2), nn.ConvTranspose2d, (2, 5, 3, 3), (5, 4, 2, 2)),
        (
            lambda: nn.LazyConvTranspose3d(4, 1),
            nn.ConvTranspose3d,
            (1, 5, 2, 2, 2),
            (5, 4, 1, 1, 1),
        ),
        (nn.LazyBatchNorm1d, nn.BatchNorm1d, (3, 4), (4,)),
        (nn.LazyBatchNorm2d, nn.BatchNorm2d, (2, 4, 3, 3), (4,)),
        (nn.LazyBatchNorm3d, nn.BatchNorm3d, (2, 4, 2, 2, 2), (4,)),
        (lambda: nn.LazyInstanceNorm1d(affine=True), nn.InstanceNorm1d, (2, 4, 5), (4,)),
        (lambda: nn.LazyInstanceNorm2d(affine=True), nn.InstanceNorm2d, (2, 4, 3, 3), (4,)),
        (lambda: nn.LazyInstanceNorm3d(affine=True), nn.InstanceNorm3d, (2, 4, 2, 2, 2), (4,)),
    ],
)
def test_a_layer_takes_its_size_from_the_first_input(make, becomes, shape, weight) -> None:  # type: ignore[no-untyped-def]
    layer = make()
    assert layer.has_uninitialized_params()
    with pytest.raises(tw.TalwegError, match="not known"):
        layer.weight.shape  # noqa: B018
    names, first = list(layer.state_dict()), layer.weight
    tw.manual_seed(1)
    out = layer(tw.ones(shape))
    assert type(layer) is becomes
    assert layer.weight is first
    assert isinstance(first, nn.Parameter)
    assert not isinstance(first, nn.UninitializedParameter)
    assert layer.weight.shape == weight
    assert list(layer.state_dict()) == names
    out.sum().backward()
    assert first.grad is not None
    assert not layer._hooks.get("forward_pre")


def test_parameters_keep_their_dtype_and_optimizer() -> None:
    layer = nn.LazyLinear(2).double()
    step = tw.optim.SGD(layer.parameters(), lr=1.0)
    layer(tw.ones(1, 3, dtype=tw.float64)).sum().backward()
    before = layer.weight.detach().numpy().copy()
    step.step()
    assert layer.weight.dtype is tw.float64
    np.testing.assert_allclose(layer.weight.detach().numpy(), before - 1)


def test_states_pass_between_lazy_and_plain_layers() -> None:
    plain = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4))
    lazy = nn.Sequential(nn.LazyConv2d(4, 3), nn.LazyBatchNorm2d())
    other = copy.deepcopy(lazy)
    lazy.load_state_dict(plain.state_dict())
    x = tw.tensor(np.random.RandomState(0).randn(2, 3, 5, 5).astype("float32"))
    np.testing.assert_array_equal(lazy(x).detach().numpy(), plain(x).detach().numpy())
    assert lazy[0].in_channels == 3
    assert other[0].has_uninitialized_params()
    other.load_state_dict(copy.deepcopy(other).state_dict())
    assert other(x).shape == (2, 4, 3, 3)


def test_an_adaptive_softmax_gives_probabilities() -> None:
    tw.manual_seed(0)
    layer = nn.AdaptiveLogSoftmaxWithLoss(6, 20, [4, 10], div_value=2.0, head_bias=True)
    x = tw.randn(5, 6)
    whole = layer.log_prob(x)
    np.testing.assert_allclose(whole.detach().exp().sum(1).numpy(), np.ones(5), rtol=1e-5)
    target = tw.tensor([0, 5, 19, 3, 12])
    output, loss = layer(x, target)
    wanted = whole.detach().numpy()[np.arange(5), target.numpy()]
    np.testing.assert_allclose(output.detach().numpy(), wanted, rtol=1e-5)
    assert loss.item() == pytest.approx(-wanted.mean(), rel=1e-5)
    assert layer.predict(x).tolist() == whole.detach().numpy().argmax(1).tolist()
    loss.backward()
    assert all(p.grad is not None for p in layer.parameters())
    assert layer(x[0], target[0]).output.shape == ()
    with pytest.raises(IndexError, match=r"\[0, 19\]"):
        layer(x, target + 1)


def test_batch_norms_are_converted_with_their_state() -> None:
    net = nn.Sequential(nn.Conv2d(1, 2, 3), nn.Sequential(nn.BatchNorm2d(2), nn.ReLU()))
    x = tw.tensor(np.random.RandomState(0).randn(2, 1, 5, 5).astype("float32"))
    other = copy.deepcopy(net)
    weight = other[1][0].weight
    found = nn.SyncBatchNorm.convert_sync_batchnorm(other)
    assert found is other
    assert type(other[1][0]) is nn.SyncBatchNorm
    assert other[1][0].weight is weight
    np.testing.assert_array_equal(net(x).detach().numpy(), other(x).detach().numpy())
    assert other[1][0].num_batches_tracked.item() == 1
    with pytest.raises(ValueError, match="2D"):
        nn.SyncBatchNorm(2)(tw.ones(2))


def test_responses_across_maps() -> None:
    x = np.random.RandomState(0).randn(2, 7, 3, 3)
    found = nn.CrossMapLRN2d(4, alpha=0.3, beta=0.6, k=1.5)(tw.tensor(x)).numpy()
    wide = np.pad(x**2, ((0, 0), (2, 2), (0, 0), (0, 0)))
    reach = int((4 - 1) / 2 + 1) - 1
    total = sum(wide[:, 2 + k : 9 + k] for k in range(-reach, reach + 1))
    np.testing.assert_allclose(found, x / (1.5 + 0.3 / 4 * total) ** 0.6, rtol=1e-10)


def test_a_buffer_takes_its_shape_later() -> None:
    layer = nn.LazyBatchNorm1d()
    mean = layer.running_mean
    assert isinstance(mean, nn.UninitializedBuffer)
    assert isinstance(mean, nn.Buffer)
    with pytest.raises(RuntimeError, match="uninitialized"):
        _ = mean.shape
    assert isinstance(copy.deepcopy(layer).running_mean, nn.UninitializedBuffer)
    x = np.random.default_rng(0).standard_normal((8, 3)).astype(np.float32)
    layer(tw.tensor(x))
    assert layer.running_mean is mean
    assert type(mean) is nn.Buffer
    np.testing.assert_allclose(mean.numpy(), 0.1 * x.mean(0), rtol=1e-5)
    np.testing.assert_allclose(layer.running_var.numpy(), 0.9 + 0.1 * x.var(0, ddof=1), rtol=1e-5)


def test_a_buffer_is_given_a_shape_and_dtype() -> None:
    made = nn.UninitializedBuffer(dtype=tw.float64)
    made.materialize((2, 3))
    assert type(made) is nn.Buffer
    assert (made.shape, made.dtype) == ((2, 3), tw.float64)
