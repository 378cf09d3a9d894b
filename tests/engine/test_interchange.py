"""Values to and from other libraries: DLPack, NumPy's protocols, copies, tables, plots."""

from __future__ import annotations

import copy
import gc
import pickle
from typing import Any

import numpy as np
import pytest

import talweg as tw

DTYPES = (
    *(tw.bool, tw.int8, tw.int16, tw.int32, tw.int64, tw.uint8, tw.uint16, tw.uint32, tw.uint64),
    *(tw.float16, tw.float32, tw.float64, tw.complex64, tw.complex128),
)


def shared(t: Any) -> np.ndarray:
    return np.asarray(t, copy=False)


# -- DLPack


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
def test_dlpack_shares_memory_both_ways(dtype: Any) -> None:
    t = tw.tensor([[0, 1, 2], [3, 4, 5]]).to(dtype)
    a = np.from_dlpack(t)
    assert a.dtype == dtype.storage
    assert a.tolist() == t.tolist()
    assert np.shares_memory(a, shared(t))
    assert not a.flags.writeable
    b = np.arange(6).reshape(2, 3).astype(dtype.storage)
    u = tw.from_dlpack(b)
    assert u.dtype is dtype
    assert u.tolist() == b.tolist()
    assert np.shares_memory(shared(u), b)


def test_bfloat16_goes_from_tensor_to_tensor() -> None:
    class Foreign:
        """Another library's array: it has nothing but the protocol."""

        def __init__(self, t: Any) -> None:
            self.t = t

        def __dlpack__(self, **options: Any) -> Any:
            return self.t.__dlpack__(**options)

        def __dlpack_device__(self) -> Any:
            return self.t.__dlpack_device__()

    t = tw.tensor([1.0, -2.5, 3.140625], dtype=tw.bfloat16)
    u = tw.from_dlpack(Foreign(t))
    assert u.dtype is tw.bfloat16
    assert u.tolist() == t.tolist()
    assert tw.from_dlpack(t.__dlpack__(max_version=(1, 0))).tolist() == t.tolist()
    assert tw.from_dlpack(t.__dlpack__()).tolist() == t.tolist()


def test_what_is_shared_is_not_written() -> None:
    t = tw.ones(4)
    a = np.from_dlpack(t)
    t += 1
    t[0] = 7
    assert a.tolist() == [1, 1, 1, 1]
    b = np.arange(4.0)
    u = tw.from_dlpack(b)
    u *= 2
    assert b.tolist() == [0, 1, 2, 3]
    assert u.tolist() == [0, 2, 4, 6]


def test_shared_memory_lives_as_long_as_it_is_seen() -> None:
    a = np.from_dlpack(tw.full((1000,), 3.0) + 1)
    b = tw.from_dlpack(np.full(1000, 5.0))
    gc.collect()
    for i in range(20):
        (tw.full((1000,), float(i)) * 2).tolist()
        np.full(1000, float(i))
    assert (a == 4).all()
    assert (b == 5).all()


def test_parameters_are_not_trained_in_memory_that_others_see() -> None:
    w = tw.nn.Parameter(tw.ones(64))
    optimizer = tw.optim.SGD([w], lr=0.5)

    @tw.compile
    def step() -> tw.Tensor:
        optimizer.zero_grad()
        loss = (w * w).sum()
        loss.backward()
        optimizer.step()
        return loss

    seen = []
    for _ in range(4):
        step()
        seen.append((np.from_dlpack(w.detach()), w.tolist()))
    assert all(a.tolist() == values for a, values in seen)


def test_what_cannot_be_shared_is_copied_or_raises() -> None:
    a = np.arange(6.0).reshape(2, 3).T
    u = tw.from_dlpack(a)
    assert u.tolist() == a.tolist()
    assert not np.shares_memory(shared(u), a)
    v = tw.from_dlpack(a, copy=False)
    assert np.shares_memory(shared(v), a)
    assert (v + v).tolist() == (a + a).tolist()
    assert (v @ v.T).tolist() == (a @ a.T).tolist()
    assert not np.shares_memory(shared(tw.from_dlpack(a, copy=True)), a)
    t = tw.arange(6.0).reshape(2, 3).T
    assert np.from_dlpack(t).tolist() == t.tolist()
    assert np.from_dlpack(t[1:, 1]).tolist() == [4.0, 5.0]
    assert np.from_dlpack(t, copy=True).flags.writeable
    w = tw.ones(2, requires_grad=True)
    with pytest.raises(BufferError, match="detach"):
        np.from_dlpack(w)
    with pytest.raises(BufferError, match="CPU"):
        t.__dlpack__(dl_device=(2, 0))
    with pytest.raises(tw.TalwegError, match="CPU"):
        tw.from_dlpack(type("There", (), {"__dlpack_device__": lambda self: (2, 0)})())
    with pytest.raises(tw.TalwegError, match="cuda"):
        tw.from_dlpack(a, device="cuda")
    capsule = tw.utils.dlpack.to_dlpack(tw.ones(2))
    tw.from_dlpack(capsule)
    with pytest.raises(tw.TalwegError, match="used already"):
        tw.from_dlpack(capsule)


def test_a_tensor_from_a_tensor() -> None:
    t = tw.ones(2)
    u = tw.from_dlpack(t)
    t[0] = 5
    assert u.tolist() == [5, 1]
    assert tw.from_dlpack(t, copy=True).tolist() == [5, 1]
    assert t.__dlpack_device__() == (1, 0)


def test_buffers() -> None:
    assert tw.frombuffer(b"\x00\x01\x02", dtype=tw.uint8, offset=1).tolist() == [1, 2]
    a = np.array([1.5, -2.0], np.float32)
    t = tw.frombuffer(a, dtype=tw.float32, count=1, requires_grad=True)
    assert t.tolist() == [1.5]
    assert t.requires_grad
    assert np.shares_memory(shared(t.detach()), a)
    assert tw.frombuffer(b"\x80\x3f", dtype=tw.bfloat16).tolist() == [1.0]
    with pytest.raises(ValueError, match="frombuffer"):
        tw.frombuffer(b"abc", dtype=tw.int16)


# -- NumPy's protocols


def test_arrays_of_tensors() -> None:
    t = tw.tensor([1.0, 2.0])
    assert np.asarray(t).flags.writeable
    assert not np.shares_memory(np.asarray(t), shared(t))
    assert np.shares_memory(shared(t), shared(t))
    assert np.array(t, dtype=np.int8, copy=True).dtype == np.int8
    for wrong in (lambda: np.asarray(t, np.int8, copy=False), lambda: shared(t.bfloat16())):
        with pytest.raises(ValueError, match="copy"):
            wrong()
    w = tw.ones(2, requires_grad=True)
    for wrong in (lambda: np.asarray(w), lambda: np.sin(w)):
        with pytest.raises(tw.TalwegError, match="detach"):
            wrong()


def test_numpy_functions_of_tensors_give_tensors() -> None:
    t = tw.tensor([[4.0, 9.0]])
    a = np.array([1.0, 2.0])
    for found, wanted in (
        (np.sqrt(t), [[2.0, 3.0]]),
        (np.add(t, a), [[5.0, 11.0]]),
        (np.add(a, t), [[5.0, 11.0]]),
        (np.transpose(t), [[4.0], [9.0]]),
        (np.isfinite(t), [[True, True]]),
        (np.sqrt(tw.tensor(4.0)), 2.0),
        (np.clip(t, 0, 5), [[4.0, 5.0]]),
    ):
        assert isinstance(found, tw.Tensor)
        assert found.tolist() == wanted
    assert np.add(t, a).dtype is tw.float64
    assert type(np.concatenate([t, t])) is np.ndarray
    assert type(np.where(t > 5, 1, 2)) is np.ndarray


def test_reversed() -> None:
    assert reversed(tw.tensor([[1, 2], [3, 4]])).tolist() == [[3, 4], [1, 2]]
    assert reversed(tw.tensor(1)).item() == 1


def test_negative_steps() -> None:
    a = np.arange(24).reshape(2, 3, 4)
    t = tw.tensor(a)
    every = slice(None, None, -1)
    keys: tuple[Any, ...] = (
        every,
        (every, slice(None), slice(None, 0, -2)),
        (Ellipsis, every),
        (Ellipsis, None, every, 1),
        (1, slice(2, None, -1)),
        (slice(0, 5, -1),),
        (slice(-1, -9, -2), [0, 2]),
        (np.array([[True, False, True], [False, True, False]]), slice(2, 0, -1)),
    )
    for key in keys:
        assert np.array_equal(np.asarray(t[key]), a[key]), key
        b, u = a.copy(), t.clone()
        b[key] = 7
        u[key] = 7
        assert np.array_equal(np.asarray(u), b), key
    b, u = a.copy(), t.clone()
    b[::-1, :, ::-2] = np.arange(12).reshape(2, 3, 2)
    u[::-1, :, ::-2] = tw.arange(12).reshape(2, 3, 2)
    assert np.array_equal(np.asarray(u), b)
    w = tw.tensor([1.0, 2.0, 3.0], requires_grad=True)
    (w[::-2] * tw.tensor([10.0, 20.0])).sum().backward()
    assert w.grad.tolist() == [20.0, 0.0, 10.0]
    with pytest.raises(IndexError):
        t[0, 0, 0, ::-1]


def test_masks_without_elements_select_nothing() -> None:
    t = tw.ones(2, 3)
    for shape, wanted in (((0,), (0, 3)), ((0, 3), (0,)), ((2, 0), (0,)), ((0, 0), (0,))):
        mask = tw.zeros(*shape, dtype=tw.bool)
        assert t[mask].shape == wanted
        t[mask] = 5
        t[mask] = tw.zeros(*wanted)
    assert t.tolist() == [[1.0] * 3] * 2
    with pytest.raises(IndexError, match="mask"):
        t[tw.zeros(0, 2, dtype=tw.bool)]


# -- copies


def test_copies() -> None:
    t = tw.ones(3)
    t.label = "a"
    near, far = copy.copy(t), copy.deepcopy(t)
    t[0] = 5
    assert near.tolist() == [5, 1, 1]
    assert far.tolist() == [1, 1, 1]
    again = pickle.loads(pickle.dumps(t))
    assert again.tolist() == [5, 1, 1]
    assert near.label == far.label == again.label == "a"


@pytest.mark.parametrize(
    "make", [copy.copy, copy.deepcopy, lambda t: pickle.loads(pickle.dumps(t))]
)
def test_copies_of_parameters_are_parameters(make: Any) -> None:
    p = tw.nn.Parameter(tw.tensor([1.0, 2.0]))
    (p * p).sum().backward()
    q = make(p)
    assert type(q) is tw.nn.Parameter
    assert q.requires_grad
    assert q.is_leaf
    (q * 3).sum().backward()
    assert p.grad.tolist() == [2.0, 4.0]
    frozen = make(tw.nn.Parameter(tw.ones(1), requires_grad=False))
    assert not frozen.requires_grad


def test_a_shallow_copy_of_a_result_is_still_differentiated() -> None:
    w = tw.ones(2, requires_grad=True)
    (copy.copy(w * 2) * 3).sum().backward()
    assert w.grad.tolist() == [6.0, 6.0]


@pytest.mark.parametrize("dtype", [*DTYPES, tw.bfloat16], ids=str)
def test_pickles_keep_values_and_dtypes(dtype: Any) -> None:
    t = tw.tensor([[0, 1], [2, 3]]).to(dtype).T
    again = pickle.loads(pickle.dumps(t))
    assert again.dtype is dtype
    assert again.tolist() == t.tolist()


# -- tables


class Column:
    """What the columns of tables have in common: values through `__array__`, and items."""

    def __init__(self, values: Any, python: bool) -> None:
        self.values = np.asarray(values)
        self.python = python

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> np.ndarray:
        return self.values.astype(dtype or self.values.dtype)

    def __len__(self) -> int:
        return len(self.values)

    def __getitem__(self, at: int) -> Any:
        return self.values[at].item() if self.python else self.values[at]


def test_columns() -> None:
    assert tw.tensor(Column([1.0, 2.0], python=False)).dtype is tw.float64
    assert tw.tensor(Column([1.0, 2.0], python=True)).dtype is tw.float32
    assert tw.tensor(Column([1, 2], python=True)).dtype is tw.int64
    assert tw.as_tensor(Column([True], python=True)).dtype is tw.bool
    assert tw.tensor(Column([1.0], python=True), dtype=tw.float64).dtype is tw.float64
    assert tw.arange(5)[Column([3, 1], python=False)].tolist() == [3, 1]
    with pytest.raises(tw.TalwegError, match="object"):
        tw.tensor(Column(np.array(["a", None], object), python=True))


def test_columns_of_pandas() -> None:
    pandas = pytest.importorskip("pandas")
    table = pandas.DataFrame({"x": [1.0, 2.0], "n": [3, 4], "b": [True, False]}, index=["i", "j"])
    assert tw.tensor(table["x"]).dtype is tw.float64
    assert tw.tensor(table["n"]).tolist() == [3, 4]
    assert tw.tensor(table["b"]).dtype is tw.bool
    assert tw.as_tensor(table[["x", "n"]]).tolist() == [[1.0, 3.0], [2.0, 4.0]]
    assert tw.arange(5)[table["n"]].tolist() == [3, 4]
    assert pandas.Series(tw.ones(2)).tolist() == [1.0, 1.0]


def test_columns_of_polars() -> None:
    polars = pytest.importorskip("polars")
    table = polars.DataFrame({"x": [1.0, 2.0], "n": [3, 4], "b": [True, False]})
    assert tw.tensor(table["x"]).dtype is tw.float32
    assert tw.tensor(table["n"]).tolist() == [3, 4]
    assert tw.tensor(table["b"]).dtype is tw.bool
    assert tw.as_tensor(table[["x", "n"]]).tolist() == [[1.0, 3.0], [2.0, 4.0]]
    assert tw.arange(5)[table["n"]].tolist() == [3, 4]


# -- plots


def test_plots_of_tensors() -> None:
    figure = pytest.importorskip("matplotlib.figure").Figure()
    axes = figure.add_subplot()
    x, y = tw.linspace(0, 1, 5), tw.arange(5.0) ** 2
    (line,) = axes.plot(x, y, label="a line")
    assert np.asarray(line.get_ydata()).tolist() == [0, 1, 4, 9, 16]
    axes.scatter(x, y, c=y)
    axes.bar(tw.arange(3), tw.ones(3))
    axes.hist(tw.tensor([0.0, 0.5, 0.5]), bins=2)
    axes.fill_between(x, y - 1, y + 1)
    image = axes.imshow(tw.arange(12.0).reshape(3, 4))
    assert np.asarray(image.get_array()).shape == (3, 4)
    axes.set_xlim(x.min(), x.max())
    figure.canvas.draw()
