"""New Tensors have the values, shapes and dtypes that NumPy or their arguments say."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import talweg as tw
from talweg.base.errors import DeviceError, DTypeError, InvalidValue, ShapeError

F32 = np.float32


@pytest.mark.parametrize(
    ("make", "wanted"),
    [
        (lambda: tw.zeros(2, 3), np.zeros((2, 3), F32)),
        (lambda: tw.zeros((2, 3)), np.zeros((2, 3), F32)),
        (lambda: tw.zeros(size=(2, 3)), np.zeros((2, 3), F32)),
        (tw.zeros, np.zeros((), F32)),
        (lambda: tw.ones(0, 2, dtype=tw.int8), np.ones((0, 2), np.int8)),
        (lambda: tw.full((2,), 7), np.full(2, 7)),
        (lambda: tw.full((2,), 7.5), np.full(2, 7.5, F32)),
        (lambda: tw.full((2,), True), np.full(2, True)),
        (lambda: tw.full((), 1j), np.full((), 1j, np.complex64)),
        (lambda: tw.full((2,), -1, dtype=tw.uint8), np.full(2, 255, np.uint8)),
        (lambda: tw.zeros_like(tw.ones(2, dtype=tw.int16)), np.zeros(2, np.int16)),
        (lambda: tw.ones_like(tw.zeros(2), dtype=tw.int64), np.ones(2, np.int64)),
        (lambda: tw.full_like(tw.zeros(2), 3), np.full(2, 3, F32)),
        (lambda: tw.arange(5), np.arange(5)),
        (lambda: tw.arange(5.0), np.arange(5, dtype=F32)),
        (lambda: tw.arange(5, 0, -2), np.arange(5, 0, -2)),
        (lambda: tw.arange(1, 2, 0.25), np.arange(1, 2, 0.25, F32)),
        (lambda: tw.arange(3, dtype=tw.float64), np.arange(3.0)),
        (lambda: tw.arange(tw.tensor(3)), np.arange(3)),
        (lambda: tw.arange(0), np.arange(0)),
        (lambda: tw.linspace(-1, 1, 5), np.linspace(-1, 1, 5, dtype=F32)),
        (lambda: tw.linspace(0, 1, 1), np.zeros(1, F32)),
        (lambda: tw.logspace(0, 3, 4), np.array([1, 10, 100, 1000], F32)),
        (lambda: tw.logspace(0, 3, 4, base=2), np.array([1, 2, 4, 8], F32)),
        (lambda: tw.eye(3), np.eye(3, dtype=F32)),
        (lambda: tw.eye(2, 3, dtype=tw.int64), np.eye(2, 3, dtype=np.int64)),
        (lambda: tw.tril_indices(3, 4, 1), np.stack(np.tril_indices(3, 1, 4))),
        (lambda: tw.triu_indices(3, 4, -1), np.stack(np.triu_indices(3, -1, 4))),
        (lambda: tw.ones(1, dtype=tw.int8).new_zeros(2, 3), np.zeros((2, 3), np.int8)),
        (lambda: tw.ones(1, dtype=tw.int8).new_ones((2,)), np.ones(2, np.int8)),
        (lambda: tw.ones(1, dtype=tw.int8).new_full((2,), 3), np.full(2, 3, np.int8)),
        (lambda: tw.ones(1, dtype=tw.int8).new_tensor([1, 2]), np.array([1, 2], np.int8)),
        (lambda: tw.tensor([[1, 2], [3, 4]]), np.array([[1, 2], [3, 4]])),
        (lambda: tw.tensor([1, 2.5]), np.array([1, 2.5], F32)),
        (lambda: tw.tensor([True]), np.array([True])),
        (lambda: tw.tensor([1j]), np.array([1j], np.complex64)),
        (lambda: tw.tensor([]), np.zeros(0, F32)),
        (lambda: tw.tensor(np.float64(2.5)), np.array(2.5)),
        (lambda: tw.tensor([tw.tensor(1), tw.tensor(2)]), np.array([1, 2])),
        (lambda: tw.tensor([1.9, -1.9], dtype=tw.int32), np.array([1, -1], np.int32)),
        (lambda: tw.tensor(tw.ones(2), dtype=tw.bool), np.ones(2, bool)),
        (lambda: tw.as_tensor([1, 2], dtype=tw.float64), np.array([1.0, 2.0])),
        (lambda: tw.from_numpy(np.arange(3, dtype=np.uint16)), np.arange(3, dtype=np.uint16)),
        (lambda: tw.asarray([1, 2]), np.array([1, 2])),
    ],
)
def test_made(make: Callable[[], tw.Tensor], wanted: np.ndarray) -> None:
    got = make().numpy()
    assert got.dtype == wanted.dtype
    assert got.shape == wanted.shape
    np.testing.assert_allclose(got, wanted, rtol=1e-6)


def test_shapes_of_unspecified_values() -> None:
    assert tw.empty(2, 3).shape == tw.empty_like(tw.zeros(2, 3)).shape == (2, 3)
    assert tw.zeros(2).new_empty((3, 1)).shape == (3, 1)


MAKERS: list[Callable[..., tw.Tensor]] = [
    *(tw.zeros, tw.ones, tw.empty, tw.eye, tw.rand, tw.randn),
    lambda n, **o: tw.zeros_like(tw.zeros(n), **o),
    lambda n, **o: tw.full_like(tw.zeros(n), 3.0, **o),
    lambda n, **o: tw.rand_like(tw.zeros(n), **o),
    lambda n, **o: tw.full((n,), 1.0, **o),
    lambda n, **o: tw.arange(float(n), **o),
    lambda n, **o: tw.linspace(0, 1, n, **o),
    lambda n, **o: tw.logspace(0, 1, n, **o),
    lambda n, **o: tw.normal(0.0, 1.0, (n,), **o),
    lambda n, **o: tw.tensor([1.0] * n, **o),
    lambda n, **o: tw.zeros(1).new_ones(n, **o),
]


@pytest.mark.parametrize("make", MAKERS)
def test_options(make: Any) -> None:
    x = make(2, dtype=tw.float64, requires_grad=True, device="cpu", pin_memory=False)
    assert x.dtype is tw.float64
    assert x.requires_grad
    assert x.is_leaf
    assert not make(2).requires_grad
    with pytest.raises(TypeError, match="unexpected keyword argument 'dtyp'"):
        make(2, dtyp=tw.float64)
    with pytest.raises(DeviceError, match=r"'cuda'.*offers: cpu"):
        make(2, device="cuda")


def test_as_tensor_returns_what_already_fits() -> None:
    x = tw.ones(2)
    assert tw.as_tensor(x) is x
    assert tw.asarray(x) is x
    assert tw.as_tensor(x, dtype=tw.int32) is not x
    copy = tw.asarray(x, copy=True)
    copy += 1
    assert x.tolist() == [1, 1]


def test_the_default_dtype_is_that_of_floats_without_one() -> None:
    assert tw.get_default_dtype() is tw.float32
    try:
        tw.set_default_dtype(tw.float64)
        made = (tw.tensor(1.5), tw.ones(2), tw.rand(1), tw.arange(2) / 2, tw.linspace(0, 1, 2))
        assert {t.dtype for t in made} == {tw.float64}
        assert tw.tensor(1j).dtype is tw.complex128
        assert tw.nn.Linear(1, 1).weight.dtype is tw.float64
    finally:
        tw.set_default_dtype(tw.float32)
    with pytest.raises(InvalidValue, match="int64"):
        tw.set_default_dtype(tw.int64)


@pytest.mark.parametrize(
    ("make", "error", "message"),
    [
        (lambda: tw.tensor([[1, 2], [3]]), ShapeError, "ragged"),
        (lambda: tw.tensor("abc"), DTypeError, "U3"),
        (lambda: tw.zeros(2, -1), ShapeError, r"\(2, -1\)"),
        (lambda: tw.arange(3, 0), InvalidValue, "from 3 to 0 .* got 1"),
        (lambda: tw.arange(3, step=0), InvalidValue, "got 0"),
        (lambda: tw.full((1,), 300, dtype=tw.uint8), InvalidValue, "300 .*uint8"),
        (lambda: tw.from_numpy([1]), InvalidValue, "list"),
        (lambda: tw.ones(2, dtype=tw.int64, requires_grad=True), RuntimeError, "int64"),
    ],
)
def test_errors(make: Callable[[], object], error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        make()
