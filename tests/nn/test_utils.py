"""`nn.utils`: computed weights, layers fused, Modules called with other parameters."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import talweg as tw
from talweg import nn
from talweg.base.errors import InvalidValue, ShapeError
from talweg.nn import utils
from talweg.nn.utils import parametrizations, parametrize, stateless


def lengths(w: np.ndarray, dim: int) -> np.ndarray:
    others = tuple(i for i in range(w.ndim) if i != dim)
    return np.sqrt((w.astype(np.float64) ** 2).sum(others, keepdims=True))


@pytest.mark.parametrize("dim", [0, 1, None])
def test_weight_norm_keeps_the_weight_and_learns_its_length(dim: int | None) -> None:
    layer = nn.Conv2d(3, 4, 2)
    before = layer.weight.numpy(force=True)
    parametrizations.weight_norm(layer, dim=dim)
    np.testing.assert_allclose(layer.weight.numpy(force=True), before, rtol=1e-5, atol=1e-6)
    g = layer.parametrizations.weight.original0
    wanted = np.sqrt((before**2).sum()) if dim is None else lengths(before, dim)
    np.testing.assert_allclose(g.numpy(force=True), wanted, rtol=1e-5)
    with tw.no_grad():
        g.mul_(2)
    np.testing.assert_allclose(layer.weight.numpy(force=True), 2 * before, rtol=1e-5, atol=1e-6)
    layer(tw.ones(1, 3, 3, 3)).sum().backward()
    assert all(p.grad is not None for p in layer.parameters())
    parametrize.remove_parametrizations(layer, "weight")
    assert type(layer) is nn.Conv2d
    assert [k for k, _ in layer.named_parameters()] == ["bias", "weight"]
    np.testing.assert_allclose(layer.weight.numpy(force=True), 2 * before, rtol=1e-5, atol=1e-6)


def test_the_older_weight_norm() -> None:
    layer = nn.Linear(3, 2)
    before = layer.weight.numpy(force=True)
    utils.weight_norm(layer)
    assert list(layer.state_dict()) == ["bias", "weight_g", "weight_v"]
    with tw.no_grad():
        layer.weight_g.mul_(3)
    x = tw.ones(3)
    wanted = 3 * before.sum(1) + layer.bias.numpy(force=True)
    np.testing.assert_allclose(layer(x).numpy(force=True), wanted, rtol=1e-5)
    with pytest.raises(InvalidValue, match="no parameter 'weight'"):
        utils.weight_norm(layer)
    utils.remove_weight_norm(layer)
    np.testing.assert_allclose(layer(x).numpy(force=True), wanted, rtol=1e-5)
    assert list(layer.state_dict()) == ["bias", "weight"]
    with pytest.raises(InvalidValue, match="weight_norm of 'weight' not found"):
        utils.remove_weight_norm(layer)


@pytest.mark.parametrize("norm", [parametrizations.spectral_norm, utils.spectral_norm])
def test_spectral_norm_divides_by_the_largest_singular_value(norm: Any) -> None:
    tw.manual_seed(0)
    for layer, dim in ((nn.Linear(5, 4), 0), (nn.ConvTranspose2d(3, 4, 2), 1)):
        w = layer.weight.numpy(force=True)
        norm(layer, n_power_iterations=30)
        x = tw.ones(2, 5) if dim == 0 else tw.ones(1, 3, 2, 2)
        for _ in range(3):
            layer(x)
        matrix = np.moveaxis(w, dim, 0).reshape(w.shape[dim], -1)
        wanted = w / np.linalg.svd(matrix)[1][0]
        np.testing.assert_allclose(layer.weight.numpy(force=True), wanted, rtol=1e-2, atol=1e-3)
        layer(x).sum().backward()
        kept = layer.eval()
        found = kept(x).numpy(force=True)
        np.testing.assert_allclose(found, kept(x).numpy(force=True), rtol=1e-6)
    if norm is utils.spectral_norm:
        assert set(layer.state_dict()) == {"bias", "weight_orig", "weight_u", "weight_v"}
        utils.remove_spectral_norm(layer)
        assert list(layer.state_dict()) == ["bias", "weight"]


class Doubled(nn.Module):
    def forward(self, x: tw.Tensor) -> tw.Tensor:
        return x * 2

    def right_inverse(self, x: tw.Tensor) -> tw.Tensor:
        return x / 2


class Longer(nn.Module):
    def forward(self, x: tw.Tensor) -> tw.Tensor:
        return tw.cat([x, x])


def test_parametrizations_stack_and_can_be_set() -> None:
    layer = nn.Linear(2, 2)
    before = layer.weight.detach().clone()
    parametrize.register_parametrization(layer, "weight", Doubled())
    assert tw.equal(layer.weight, before)
    parametrize.register_parametrization(layer, "weight", Doubled())
    assert tw.equal(layer.weight, 2 * before)
    layer.weight = tw.ones(2, 2)
    assert layer.weight.tolist() == [[1, 1], [1, 1]]
    assert layer.parametrizations.weight.original.tolist() == [[0.25, 0.25], [0.25, 0.25]]
    assert parametrize.is_parametrized(layer, "weight")
    assert not parametrize.is_parametrized(layer, "bias")
    with parametrize.cached():
        assert layer.weight is layer.weight
    assert layer.weight is not layer.weight
    assert type(layer).__name__ == "ParametrizedLinear"
    parametrize.remove_parametrizations(layer, "weight", leave_parametrized=False)
    assert layer.weight.tolist() == [[0.25, 0.25], [0.25, 0.25]]
    with pytest.raises(InvalidValue, match="is not parametrized"):
        parametrize.remove_parametrizations(layer, "weight")
    with pytest.raises(ShapeError, match="must keep its shape"):
        parametrize.register_parametrization(layer, "weight", Longer())
    assert not parametrize.is_parametrized(layer)
    with pytest.raises(InvalidValue, match="no parameter or buffer 'none'"):
        parametrize.register_parametrization(layer, "none", Doubled())


@pytest.mark.parametrize("transpose", [False, True])
def test_a_fused_convolution_does_what_two_layers_do(transpose: bool) -> None:
    kind = nn.ConvTranspose2d if transpose else nn.Conv2d
    conv, bn = kind(3, 4, 2, bias=transpose), nn.BatchNorm2d(4)
    x = tw.randn(2, 3, 5, 5)
    with pytest.raises(InvalidValue, match="only for eval"):
        utils.fuse_conv_bn_eval(conv, bn, transpose)
    bn(conv(x))
    with tw.no_grad():
        bn.weight.uniform_(0.5, 2)
        bn.bias.normal_()
    wanted = bn.eval()(conv.eval()(x)).numpy(force=True)
    fused = utils.fuse_conv_bn_eval(conv, bn, transpose)
    assert type(fused) is kind
    np.testing.assert_allclose(fused(x).numpy(force=True), wanted, rtol=1e-4, atol=1e-4)


def test_a_fused_linear_layer() -> None:
    linear, bn = nn.Linear(3, 4), nn.BatchNorm1d(4)
    x = tw.randn(6, 3)
    bn(linear(x))
    wanted = bn.eval()(linear.eval()(x)).numpy(force=True)
    found = utils.fuse_linear_bn_eval(linear, bn)(x).numpy(force=True)
    np.testing.assert_allclose(found, wanted, rtol=1e-4, atol=1e-5)
    with pytest.raises(InvalidValue, match="does not fit 4 outputs"):
        utils.fuse_linear_bn_eval(linear, nn.BatchNorm1d(3).eval())


def test_a_module_is_called_with_other_parameters() -> None:
    model = nn.Sequential(nn.Linear(2, 2), nn.Linear(2, 2))
    model[1].weight = model[0].weight
    own = model[0].weight
    weight = tw.eye(2, requires_grad=True)
    zeros = {"0.bias": tw.zeros(2), "1.bias": tw.zeros(2)}
    out = stateless.functional_call(model, ({"0.weight": weight * 2}, zeros), tw.ones(1, 2))
    assert out.tolist() == [[4.0, 4.0]]
    out.sum().backward()
    assert weight.grad is not None
    assert model[0].weight is own
    assert model[1].weight is own
    with pytest.raises(InvalidValue, match=r"has no \['2.weight'\]"):
        stateless.functional_call(model, {"2.weight": weight}, tw.ones(1, 2))
    with pytest.raises(InvalidValue, match="not given"):
        stateless.functional_call(model, zeros, tw.ones(1, 2), strict=True)
