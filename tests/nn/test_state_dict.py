"""state_dict and load_state_dict: names, copies, and errors that list everything."""

from __future__ import annotations

from collections import OrderedDict
from typing import Any

import numpy as np
import pytest

import talweg as tw
from talweg import nn
from talweg.base.errors import InvalidValue


def net() -> nn.Sequential:
    return nn.Sequential(nn.Linear(3, 2), nn.BatchNorm1d(2), nn.Linear(2, 1, bias=False))


def test_names_and_order() -> None:
    assert list(net().state_dict()) == [
        "0.weight",
        "0.bias",
        "1.weight",
        "1.bias",
        "1.running_mean",
        "1.running_var",
        "1.num_batches_tracked",
        "2.weight",
    ]
    assert next(iter(net().state_dict(prefix="a."))) == "a.0.weight"


def test_values_are_detached_and_shared() -> None:
    model = net()
    state = model.state_dict()
    assert not state["0.weight"].requires_grad
    with tw.no_grad():
        model[0].weight.fill_(5)
    assert (state["0.weight"] == 5).all()
    assert model.state_dict(keep_vars=True)["0.weight"] is model[0].weight


def test_round_trip() -> None:
    one, other = net(), net()
    one(tw.randn(8, 3))
    weight = other[0].weight
    result = other.load_state_dict(one.state_dict())
    assert result.missing_keys == result.unexpected_keys == []
    assert other[0].weight is weight
    x = tw.randn(4, 3)
    assert tw.equal(one.eval()(x), other.eval()(x))
    with tw.no_grad():
        one[0].weight.fill_(0)
    assert other[0].weight.any()


def test_old_files_count_no_batches() -> None:
    model = net()
    model(tw.randn(8, 3))
    state = OrderedDict(model.state_dict())
    del state["1.num_batches_tracked"]
    assert model.load_state_dict(state).missing_keys == []
    assert model[1].num_batches_tracked.item() == 1
    state._metadata = {"1": {"version": 2}}  # type: ignore[attr-defined]
    with pytest.raises(InvalidValue, match=r"Missing.*1\.num_batches_tracked"):
        model.load_state_dict(state)


def test_arrays_and_other_dtypes_are_accepted() -> None:
    model = nn.Linear(2, 1)
    values = np.array([[1.0, 2.0]]), np.array([3.0])
    model.load_state_dict({"weight": values[0], "bias": values[1]})
    assert model.weight.dtype is tw.float32
    assert model(tw.ones(1, 2)).item() == 6


def test_every_problem_is_listed_and_nothing_is_loaded() -> None:
    model = net()
    before = model[0].bias.tolist()
    state = dict(model.state_dict())
    del state["1.weight"], state["2.weight"]
    state.update({"0.weight": tw.zeros(2, 2), "more": tw.zeros(1), "0.bias": tw.ones(2)})
    with pytest.raises(InvalidValue) as caught:
        model.load_state_dict(state)
    assert str(caught.value).splitlines() == [
        "Error(s) in loading state_dict for Sequential:",
        '\tUnexpected key(s) in state_dict: "more". ',
        '\tMissing key(s) in state_dict: "1.weight", "2.weight". ',
        "\tsize mismatch for 0.weight: copying a param with shape (2, 2) from checkpoint, the "
        "shape in current model is (2, 3).",
    ]
    assert isinstance(caught.value, RuntimeError)
    assert model[0].bias.tolist() == before


def test_names_that_data_parallel_saved_are_told_from_others() -> None:
    model = nn.Linear(2, 1)
    state = {f"module.{name}": value for name, value in model.state_dict().items()}
    with pytest.raises(InvalidValue, match=r"begin with 'module.', as DataParallel .* takes that"):
        model.load_state_dict(state)
    model.load_state_dict({k.removeprefix("module."): v for k, v in state.items()})


def test_not_strict_reports_names_but_refuses_shapes() -> None:
    model = nn.Linear(2, 1)
    result = model.load_state_dict({"bias": tw.ones(1), "more": tw.ones(1)}, strict=False)
    assert result == (["weight"], ["more"])
    assert model.bias.tolist() == [1]
    with pytest.raises(InvalidValue, match="size mismatch for bias"):
        model.load_state_dict({"bias": tw.ones(2)}, strict=False)


def test_assign_takes_the_tensors_over() -> None:
    model = nn.Linear(2, 1)
    model.bias.requires_grad_(False)
    state = {k: v.double() for k, v in model.state_dict().items()}
    model.load_state_dict(state, assign=True)
    assert model.weight.dtype is tw.float64
    assert isinstance(model.weight, nn.Parameter)
    assert model.weight.requires_grad
    assert not model.bias.requires_grad


def test_extra_state_travels_along() -> None:
    class Counting(nn.Module):
        count = 0

        def get_extra_state(self) -> Any:
            return {"count": self.count}

        def set_extra_state(self, state: Any) -> None:
            self.count = state["count"]

    one, other = nn.Sequential(Counting()), nn.Sequential(Counting())
    one[0].count = 3
    assert list(one.state_dict()) == ["0._extra_state"]
    other.load_state_dict(one.state_dict())
    assert other[0].count == 3
