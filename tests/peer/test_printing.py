"""The printed form beside PyTorch's, under every option."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
from peer import Inputs, torch

import talweg as tw

pytestmark = pytest.mark.peer
D = Inputs(6)

OPTIONS: list[dict[str, Any]] = [
    {},
    {"precision": 2},
    {"precision": 7},
    {"sci_mode": True},
    {"sci_mode": False},
    {"profile": "short"},
    {"profile": "full", "linewidth": 40},
    {"threshold": 5, "edgeitems": 1},
    {"threshold": 5, "edgeitems": 2, "linewidth": 30},
]
ARRAYS: list[np.ndarray] = [
    D.real(3, 4),
    D.real(30),
    D.real(3, 9, 10) * 1000,
    D.real(1100),
    np.asarray(D.real(4) + 1j * D.real(4), "complex64"),
    np.arange(12, dtype="float32") * 10,
    np.array([1e-9, 1], "float32"),
    np.array([1, np.nan, -np.inf], "float32"),
    np.arange(3, dtype="float32") * 1e9,
    np.array(2.5, "float32"),
    np.zeros(0, "float32"),
    np.zeros((0, 3), "float32"),
    D.truth(3),
    D.whole(40, low=-99, high=9999),
]


@pytest.fixture(params=OPTIONS, ids=str)
def _options(request: pytest.FixtureRequest) -> Iterator[None]:
    for library in (tw, torch):
        library.set_printoptions(**request.param)
    yield
    for library in (tw, torch):
        library.set_printoptions(profile="default")


@pytest.mark.usefixtures("_options")
@pytest.mark.parametrize("array", ARRAYS, ids=lambda a: f"{a.dtype}-{a.shape}")
def test_prints_as_pytorch(array: np.ndarray) -> None:
    ours, theirs = tw.tensor(array), torch.tensor(array)
    assert repr(ours) == repr(theirs)
    if array.dtype.kind == "f":
        ours, theirs = ours.requires_grad_(), theirs.requires_grad_()
        assert repr(ours) == repr(theirs)
        assert repr(ours * 2) == repr(theirs * 2)


@pytest.mark.parametrize("value", [1.5, 3, True, 1e-9, float("nan"), [1.5], []])
def test_formats_as_pytorch(value: object) -> None:
    assert f"{tw.tensor(value)}" == f"{torch.tensor(value)}"
