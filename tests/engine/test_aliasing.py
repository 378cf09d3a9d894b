"""Several Tensors over one storage, and what happens to them when one of them changes."""

from __future__ import annotations

import numpy as np
import pytest

import talweg as tw
from talweg.engine.barrier import flush


def vector(*numbers: float) -> tw.Tensor:
    return tw.tensor(numbers, dtype=tw.float64, requires_grad=True)


def test_a_view_made_under_no_grad_is_not_written_to_with_gradients() -> None:
    w = vector(1.0, 2.0)
    y = w * 1
    with tw.no_grad():
        v = y[0:1]
        v.mul_(1)
    with pytest.raises(tw.TalwegError, match=r"made under no_grad .*mul_"):
        v.mul_(2)
    assert y.tolist() == [1.0, 2.0]


def test_a_view_older_than_requires_grad_is_a_view_of_a_leaf() -> None:
    x = tw.zeros(3)
    v = x[0]
    x.requires_grad_()
    with pytest.raises(tw.TalwegError, match="a view of a leaf"):
        v.add_(1)
    with tw.no_grad():
        v.add_(1)
    assert x.tolist() == [1.0, 0.0, 0.0]


def test_a_tensor_given_other_data_leaves_its_views_behind() -> None:
    p = vector(1.0, 2.0)
    v = p.view(2)
    p.data = tw.tensor([5.0, 6.0, 7.0], dtype=tw.float64)
    flush()
    assert p.tolist() == [5.0, 6.0, 7.0]
    assert v.tolist() == [1.0, 2.0]
    assert p.requires_grad
    assert p.is_leaf
    (p * p).sum().backward()
    assert p.grad.tolist() == [10.0, 12.0, 14.0]


def test_data_shares_the_storage_and_is_a_constant() -> None:
    p = vector(1.0, 2.0)
    d = p.data
    d[0] = 7.0
    assert p.tolist() == [7.0, 2.0]
    assert not d.requires_grad
    assert (p * d).grad_fn is not None
    p.data += 1
    assert d.tolist() == p.tolist() == [8.0, 3.0]


def test_detached_views_see_and_make_changes() -> None:
    w = vector(1.0, 2.0, 3.0)
    y = w * 2
    d = y[1:].detach()
    y.mul_(2)
    assert d.tolist() == [8.0, 12.0]
    d[0] = 0.0
    assert y.tolist() == [4.0, 0.0, 12.0]
    assert not d.requires_grad
    assert d[1:].grad_fn is None
    y.sum().backward()
    assert w.grad.tolist() == [4.0, 4.0, 4.0], "writes through a detached view are constants"


def test_in_place_transposition_keeps_the_memory_and_the_views() -> None:
    x = tw.arange(6.0).reshape(2, 3)
    row = x[0]
    assert x.t_() is x
    assert x.shape == (3, 2)
    assert x.stride() == (1, 3)
    row.zero_()
    assert x.tolist() == [[0.0, 3.0], [0.0, 4.0], [0.0, 5.0]]
    x[0, 0] = 9.0
    assert row.tolist() == [9.0, 0.0, 0.0]


def test_in_place_transposition_of_a_base_with_gradients() -> None:
    w = tw.arange(6.0).reshape(2, 3).requires_grad_()
    y = w * 1
    row = y[0]
    y.t_()
    row.mul_(3)
    assert y.tolist() == [[0.0, 3.0], [3.0, 4.0], [6.0, 5.0]]
    (y * tw.arange(6.0).reshape(3, 2)).sum().backward()
    assert w.grad.tolist() == [[0.0, 6.0, 12.0], [1.0, 3.0, 5.0]]


def test_in_place_squeezing_and_unsqueezing_with_gradients() -> None:
    w = vector(1.0, 2.0)
    y = w * 3
    y.unsqueeze_(0)
    assert y.shape == (1, 2)
    y[0, 1] = 0.0
    y.squeeze_()
    (y * y).sum().backward()
    assert w.grad.tolist() == [18.0, 0.0]


@pytest.mark.parametrize("value", [300, -300, 2**40, float("inf"), float("nan")])
def test_numbers_that_an_integer_tensor_cannot_hold(value: float) -> None:
    x = tw.zeros(2, dtype=tw.uint8)
    for write in (
        lambda: x.fill_(value),
        lambda: x.__setitem__(0, value),
        lambda: tw.full((2,), value, dtype=tw.uint8),
    ):
        with pytest.raises(tw.TalwegError, match="cannot be converted to uint8 without overflow"):
            write()
    assert x.tolist() == [0, 0]


def test_numbers_written_into_other_dtypes() -> None:
    x = tw.zeros(3, dtype=tw.uint8)
    x[0] = -1
    x[1] = 2.9
    x[2] = True
    assert x.tolist() == [255, 2, 1]
    b = tw.zeros(2, dtype=tw.bool)
    b[0] = 3.5
    assert b.tolist() == [True, False]
    f = tw.zeros(2, dtype=tw.bfloat16)
    f[0] = 1 / 3
    f[1] = float("inf")
    assert f.tolist() == [0.333984375, float("inf")]


def test_writing_tensors_and_arrays_of_other_dtypes() -> None:
    x = tw.zeros(2, dtype=tw.int64)
    x[:] = tw.tensor([1.9, -1.9])
    assert x.tolist() == [1, -1]
    x[:] = np.array([2.9, 3.9])
    assert x.tolist() == [2, 3]
    with pytest.raises(TypeError, match=r"add_: result type float32 can't be cast.*int64"):
        x.add_(2.5)


def test_overlapping_writes_read_before_they_write() -> None:
    x = tw.arange(4.0)
    x[1:] = x[:-1]
    assert x.tolist() == [0.0, 0.0, 1.0, 2.0]
    x[:-1] = x[1:]
    assert x.tolist() == [0.0, 1.0, 2.0, 2.0]
    x.copy_(x.view(2, 2).t().reshape(4))
    assert x.tolist() == [0.0, 2.0, 1.0, 2.0]


def test_expanded_tensors_are_not_written_to() -> None:
    x = tw.ones(1).expand(3)
    for write in (lambda: x.add_(1), lambda: x.copy_(tw.zeros(3)), lambda: x.mul_(tw.ones(3))):
        with pytest.raises(tw.TalwegError, match=r"single memory location.*clone\(\)"):
            write()
    assert x.tolist() == [1.0, 1.0, 1.0]
    x[:0] = 5.0  # no element, no conflict
    assert x.tolist() == [1.0, 1.0, 1.0]


def test_view_refuses_what_reshape_copies() -> None:
    x = tw.arange(6).reshape(2, 3)
    t = x.t()
    with pytest.raises(tw.TalwegError, match=r"not compatible with the strides \(1, 3\)"):
        t.view(6)
    copy = t.reshape(6)
    copy[0] = 99
    assert x.tolist() == [[0, 1, 2], [3, 4, 5]]
    assert copy.stride() == (1,)
    assert copy.storage_offset() == 0
    assert t.contiguous().data_ptr() != x.data_ptr()
    assert x.contiguous() is x
    assert x.view(3, 2).data_ptr() == x.data_ptr()


def test_a_held_gradient_accumulates_in_place() -> None:
    p = vector(1.0, 2.0)
    p.sum().backward()
    held = p.grad
    p.sum().backward()
    assert held.tolist() == [2.0, 2.0]
    assert p.grad is held
    p.grad = None
    p.sum().backward()
    assert held.tolist() == [2.0, 2.0]


@pytest.mark.parametrize("shape", [(1,), (3,), (4, 3), (1, 2, 2)])
def test_rows_of_known_tensors_are_views_every_time(shape: tuple[int, ...]) -> None:
    x = tw.tensor(np.random.default_rng(0).normal(size=shape).astype(np.float32))
    expected = x.numpy()
    for i in (0, -1, 0, -1, 0):
        row = x[i]
        np.testing.assert_array_equal(row.numpy(), expected[i])
        np.testing.assert_allclose((row * 2 + x[0]).numpy(), expected[i] * 2 + expected[0])
        row.mul_(2)
        expected[i] *= 2
        np.testing.assert_array_equal(x.numpy(), expected)
        x.add_(1)
        expected += 1
        np.testing.assert_array_equal(row.numpy(), expected[i])
    x.requires_grad_()
    (gradient,) = tw.autograd.grad((x[-1] * 3).sum(), (x,))
    np.testing.assert_array_equal(gradient.numpy()[-1], np.full(shape[1:], 3))
    with pytest.raises(IndexError, match="out of"):
        x[shape[0]]


_DTYPES = (
    tw.float32,
    tw.float64,
    tw.bfloat16,
    tw.float16,
    tw.int8,
    tw.int16,
    tw.int64,
    tw.complex64,
)


@pytest.mark.parametrize("dtype", _DTYPES)
def test_single_elements_of_known_tensors_are_numbers(dtype: tw.DType) -> None:
    values = np.random.default_rng(0).integers(-9, 9, (2, 3, 4))
    x = tw.tensor(values).to(dtype)
    x.sum().item()
    for _ in range(2):  # how the rows lie is known from the first time
        assert x[1][2][3].item() == values[1, 2, 3]
        assert x.permute(2, 0, 1)[3][1][2].item() == values[1, 2, 3]
        assert x[1, 2, 3].item() == values[1, 2, 3]
        element = x[0][1][2]
        x.add_(1)
        values += 1
        assert element.item() == values[0, 1, 2]
    flat = x.reshape(-1)
    assert flat.sum().item() == values.sum()
    x[0][0][0].item()
    assert (x != 0)[0][0][0].item() is bool(values[0, 0, 0] != 0)
    assert [flat[i].item() for i in range(24)] == values.ravel().tolist()
