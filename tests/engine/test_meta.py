"""Tensors without values: shapes and dtypes are known, and whoever asks for a value is told."""

from __future__ import annotations

import copy
import pickle

import numpy as np
import pytest

import talweg as tw
from talweg.base.errors import DeviceError
from talweg.engine.meta import made


def test_functions_give_shapes_and_no_values() -> None:
    x = tw.empty(3, 4, device="meta", dtype=tw.float64)
    assert x.device == tw.device("meta")
    assert (x.is_meta, x.is_cpu) == (True, False)
    y = (x @ x.T).sum(0, keepdim=True).to(tw.float32)
    assert (y.shape, y.dtype, y.is_meta) == ((1, 3), tw.float32, True)
    assert x[0].is_meta
    assert x.t().is_meta
    for look in (y.tolist, y.numpy, lambda: bool(y[0, 0]), lambda: pickle.dumps(x)):
        with pytest.raises(DeviceError, match="to_empty"):
            look()
    assert repr(x).startswith("tensor(..., device='meta', size=(3, 4)")


def test_others_are_computed_beside_them() -> None:
    x = tw.ones(3, device="meta")
    held = [x + 1, x * tw.ones(3)]
    assert (tw.ones(3) + 1).tolist() == [2.0, 2.0, 2.0]
    assert all(t.is_meta for t in held)
    assert (tw.arange(4) * 2).sum().item() == 12


@pytest.mark.parametrize(
    "make",
    [
        lambda: tw.zeros(10**5, 10**6, device="meta"),
        lambda: tw.tensor([1.0, 2.0], device="meta"),
        lambda: tw.rand(10**5, 10**6, device="meta"),
        lambda: tw.randint(5, (2,), device="meta"),
        lambda: tw.ones(2).to("meta"),
        lambda: tw.ones_like(tw.ones(2), device="meta"),
        lambda: tw.zeros_like(tw.ones(2, device="meta")),
        lambda: tw.ones(2, device="meta").detach(),
        lambda: copy.deepcopy(tw.nn.Parameter(tw.ones(2, device="meta"))),
    ],
)
def test_what_is_made_there(make: object) -> None:
    assert make().is_meta  # type: ignore[operator]


def test_writing_leaves_no_value() -> None:
    x = tw.empty(10**6, 10**6, device="meta")
    assert x.normal_() is x
    assert x.fill_(1.0).zero_().uniform_().is_meta
    y = tw.ones(2, device="meta")
    y.add_(1).copy_(tw.ones(2))
    assert y.is_meta


def test_modules_are_made_without_memory_and_given_it_later() -> None:
    with tw.device("meta"):
        net = tw.nn.Sequential(tw.nn.Linear(4, 3), tw.nn.BatchNorm1d(3), tw.nn.Linear(3, 2))
        layer = tw.nn.TransformerEncoderLayer(8, 2)
    assert all(t.is_meta for t in (*net.parameters(), *layer.parameters()))
    assert net(tw.empty(5, 4, device="meta")).shape == (5, 2)
    with pytest.raises(NotImplementedError, match="to_empty"):
        net.to("cpu")
    other = tw.nn.Sequential(tw.nn.Linear(4, 3), tw.nn.BatchNorm1d(3), tw.nn.Linear(3, 2))
    assert net.to_empty(device="cpu") is net
    net.load_state_dict(other.state_dict())
    x = tw.randn(5, 4)
    np.testing.assert_array_equal(net.eval()(x).detach(), other.eval()(x).detach())
    assert all(p.is_meta for p in other.to("meta").parameters())


def test_state_is_taken_over_by_a_module_without_memory() -> None:
    source = tw.nn.Linear(3, 2)
    net = tw.nn.Linear(3, 2, device="meta")
    net.load_state_dict(source.state_dict(), assign=True)
    assert tw.equal(net.weight, source.weight)


def test_skip_init() -> None:
    before = tw.get_rng_state().tolist()
    layer = tw.nn.utils.skip_init(tw.nn.Conv2d, 2, 3, kernel_size=3)
    assert tw.get_rng_state().tolist() == before
    assert not layer.weight.is_meta
    assert layer(tw.ones(1, 2, 5, 5)).shape == (1, 3, 3, 3)
    with pytest.raises(ValueError, match="device"):
        tw.nn.utils.skip_init(tw.nn.Dropout, 0.5)


def test_ordinary_tensors_stay_ordinary() -> None:
    assert made(tw.ones(2).node().type).is_meta
    assert not tw.ones(2).is_meta
