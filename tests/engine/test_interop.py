"""Tensors beside Python numbers and NumPy arrays."""

from __future__ import annotations

import numpy as np
import pytest

import talweg as tw


def test_arrays_of_tensors_and_tensors_of_arrays() -> None:
    x = tw.tensor([[1.0, 2.0], [3.0, 4.0]])
    assert np.asarray(x).dtype == np.float32
    assert np.array_equal(np.asarray(x), [[1, 2], [3, 4]])
    assert np.asarray(x, dtype=np.int64).dtype == np.int64
    assert np.array([tw.tensor(1.0), tw.tensor(2.5)]).tolist() == [1.0, 2.5]
    assert np.array([x[0], x[1]]).tolist() == x.tolist()
    assert np.stack([x, x]).shape == (2, 2, 2)
    assert np.sin(x).tolist() == np.sin(np.asarray(x)).tolist()
    assert tw.tensor([tw.tensor(1.0), tw.tensor(2.0)]).tolist() == [1.0, 2.0]
    assert tw.tensor([np.float32(1.5), np.float32(2)]).dtype is tw.float32
    assert tw.tensor(np.arange(3, dtype=np.int16)).dtype is tw.int16


def test_a_tensor_does_not_share_memory_with_numpy() -> None:
    a = np.ones(3)
    x = tw.from_numpy(a)
    a[0] = 9.0
    b = x.numpy()
    b[1] = 7.0
    assert x.tolist() == [1.0, 1.0, 1.0]


def test_numpy_of_a_tensor_with_gradients() -> None:
    w = tw.ones(2, requires_grad=True)
    with pytest.raises(tw.TalwegError, match=r"detach\(\)"):
        w.numpy()
    assert w.detach().numpy().tolist() == w.numpy(force=True).tolist() == [1.0, 1.0]


def test_operators_with_arrays_and_numpy_numbers() -> None:
    x = tw.tensor([1.0, 2.0], requires_grad=True)
    a = np.array([3.0, 5.0], np.float32)
    for y, wanted in (
        (x + a, [4.0, 7.0]),
        (a + x, [4.0, 7.0]),
        (a - x, [2.0, 3.0]),
        (x * np.float64(2), [2.0, 4.0]),
        (np.float32(2) * x, [2.0, 4.0]),
        (np.int64(2) ** x, [2.0, 4.0]),
        (a / x, [3.0, 2.5]),
    ):
        assert isinstance(y, tw.Tensor)
        assert y.tolist() == wanted
        assert y.requires_grad
    assert (x > a).tolist() == [False, False]
    assert (x == np.array([1.0, 5.0])).tolist() == [True, False]


def test_python_numbers_do_not_promote_beyond_their_kind() -> None:
    assert (tw.ones(2, dtype=tw.float16) * 2.5).dtype is tw.float16
    assert (tw.ones(2, dtype=tw.int8) + 1).dtype is tw.int8
    assert (tw.ones(2, dtype=tw.int8) + 1.0).dtype is tw.float32
    assert (tw.ones(2) * 1j).dtype is tw.complex64
    assert (2 - tw.tensor([1, 2])).tolist() == [1, 0]
    assert (7 // tw.tensor([2, -2])).tolist() == [3, -4]
    assert (7 % tw.tensor([4, -4])).tolist() == [3, -1]
    assert (2 ** tw.tensor([1.0, 3.0])).tolist() == [2.0, 8.0]
    assert (1 / tw.tensor([2, 4])).tolist() == [0.5, 0.25]
    assert abs(-tw.tensor([1, -2])).tolist() == [1, 2]
    assert (~tw.tensor([True, False])).tolist() == [False, True]


def test_numbers_out_of_tensors() -> None:
    assert int(tw.tensor(2.7)) == 2
    assert float(tw.tensor([3])) == 3.0
    assert complex(tw.tensor(1.0)) == 1 + 0j
    assert tw.tensor(2.5).item() == 2.5
    assert isinstance(tw.tensor(2).item(), int)
    assert isinstance(tw.tensor(True).item(), bool)
    assert not bool(tw.tensor([0.0]))
    assert [10, 20, 30][tw.tensor(1)] == 20
    assert list(range(tw.tensor(3))) == [0, 1, 2]
    assert np.arange(5)[tw.tensor(2)] == 2
    assert np.arange(5)[tw.tensor([1, 2])].tolist() == [1, 2]
    for wrong in (lambda: [1, 2][tw.tensor(1.0)], lambda: [1, 2][tw.tensor([0, 1])]):
        with pytest.raises((TypeError, tw.TalwegError)):
            wrong()
    pair, nothing = tw.tensor([1, 2]), tw.ones(0)
    for wrong in (pair.item, lambda: int(pair), lambda: float(nothing)):
        with pytest.raises(ValueError, match=r"2 elements|0 elements"):
            wrong()
    for wrong in (pair, nothing):
        with pytest.raises(ValueError, match="ambiguous"):
            bool(wrong)


def test_tensors_as_sequences() -> None:
    x = tw.tensor([[1, 2], [3, 4]])
    assert len(x) == 2
    assert [row.tolist() for row in x] == [[1, 2], [3, 4]]
    a, b = x
    assert b.tolist() == [3, 4]
    a[0] = 9
    assert x.tolist() == [[9, 2], [3, 4]], "rows are views"
    assert 4 in x
    assert 5 not in x
    for wrong in (lambda: len(tw.tensor(1)), lambda: iter(tw.tensor(1))):
        with pytest.raises(TypeError, match="0-d tensor"):
            wrong()
    d = {x: 1}
    assert d[x] == 1
    assert (tw.tensor([1, 2]) == tw.tensor([1, 3])).tolist() == [True, False]


def test_the_array_protocols() -> None:
    x = tw.arange(6.0).reshape(2, 3)
    assert np.from_dlpack(x).tolist() == x.tolist()
    assert tw.from_dlpack(np.arange(3)).tolist() == [0, 1, 2]
    assert np.asarray(tw.tensor([1.5, 1 / 3], dtype=tw.bfloat16)).dtype == np.float32


def test_sizes() -> None:
    x = tw.ones(2, 3)
    assert (x.shape, x.size(), x.size(-1), x.dim(), x.ndim) == ((2, 3), (2, 3), 3, 2, 2)
    assert (x.numel(), x.nelement(), x.element_size(), x.nbytes) == (6, 6, 4, 24)
    assert (x.stride(), x.stride(0), x.T.stride()) == ((3, 1), 3, (1, 3))
    for wrong in (lambda: x.size(2), lambda: x.stride(-3)):
        with pytest.raises(IndexError, match=r"out of range for a Tensor of shape \(2, 3\)"):
            wrong()
