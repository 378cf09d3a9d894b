"""Memory shared with PyTorch, and what NumPy and Python make of Tensors in both libraries."""

from __future__ import annotations

import copy
import math
import pickle
import warnings
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import talweg as tw

torch: Any = pytest.importorskip("torch")
pytestmark = pytest.mark.peer

DTYPES = (
    *("bool", "int8", "int16", "int32", "int64", "uint8", "uint16", "uint32", "uint64"),
    *("bfloat16", "float16", "float32", "float64", "complex64", "complex128"),
)


@pytest.mark.parametrize("dtype", DTYPES)
def test_dlpack_shares_memory_with_pytorch(dtype: str) -> None:
    t = tw.tensor([[0, 1, 2], [3, 4, 5]]).to(getattr(tw, dtype))
    first, second = torch.from_dlpack(t), torch.from_dlpack(t)
    assert first.dtype == getattr(torch, dtype)
    assert first.tolist() == t.tolist()
    assert first.data_ptr() == second.data_ptr()
    back = tw.from_dlpack(first)
    assert back.dtype is t.dtype
    assert back.tolist() == t.tolist()
    assert torch.from_dlpack(back).data_ptr() == first.data_ptr()
    turned = first.T
    assert tw.from_dlpack(turned).tolist() == turned.tolist()
    assert tw.from_dlpack(torch.utils.dlpack.to_dlpack(first)).tolist() == t.tolist()


def test_dlpack_of_gradients_and_strangers() -> None:
    for T, other in ((torch, tw), (tw, torch)):
        with pytest.raises(BufferError, match="detach"):
            other.from_dlpack(T.ones(2, requires_grad=True))
        assert other.from_dlpack(T.ones(2), copy=True).tolist() == [1.0, 1.0]
        assert other.from_dlpack(T.tensor(3.0)).tolist() == 3.0
        assert other.from_dlpack(T.zeros(0, 3)).shape == (0, 3)


def call(T: Any, function: Callable[[Any], Any]) -> tuple[str, Any]:
    """The class of a result, its dtype and its values; or the class of what is raised."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            found = function(T)
        except (TypeError, ValueError, RuntimeError) as error:
            kinds = (TypeError, ValueError, RuntimeError)
            return next(k.__name__ for k in kinds if isinstance(error, k)), None
    name = type(found).__name__
    dtype = str(getattr(found, "dtype", "")).rpartition(".")[2]
    return name, (dtype, found.tolist() if hasattr(found, "tolist") else found)


A = np.array([4.0, 9.0])
SHARED: dict[str, Callable[[Any], Any]] = {
    "sqrt": lambda T: np.sqrt(T.tensor([4.0, 9.0])),
    "add": lambda T: np.add(T.ones(2), A),
    "added": lambda T: np.add(A, T.ones(2)),
    "transpose": lambda T: np.transpose(T.ones(2, 3)),
    "reshape": lambda T: np.reshape(T.ones(2, 3), (3, 2)),
    "clip": lambda T: np.clip(T.ones(2), 0, 0.5),
    "argmax": lambda T: np.argmax(T.tensor([1.0, 3.0])),
    "round": lambda T: np.round(T.tensor([1.4])),
    "sqrt of a number": lambda T: np.sqrt(T.tensor(4.0)),
    "concatenate": lambda T: np.concatenate([T.ones(2), T.ones(1)]),
    "stack": lambda T: np.stack([T.ones(2), T.ones(2)]),
    "where": lambda T: np.where(T.ones(2) > 0, 1, 2),
    "dot": lambda T: np.dot(T.ones(2), T.ones(2)),
    "norm": lambda T: np.linalg.norm(T.ones(4)),
    "sort": lambda T: np.sort(T.tensor([3.0, 1.0])),
    "array of gradients": lambda T: np.asarray(T.ones(2, requires_grad=True)),
    "function of gradients": lambda T: np.sin(T.ones(2, requires_grad=True)),
    "array as": lambda T: np.asarray(T.ones(2), dtype=np.int32),
    "list": lambda T: np.array([T.tensor(1.0), T.tensor(2.0)]),
    "subscript": lambda T: A[T.tensor([1, 0])],
    "mask": lambda T: A[T.tensor([True, False])],
    "place": lambda T: A[T.tensor(1)],
    "times a number": lambda T: np.float64(2) * T.ones(2),
    "a number times": lambda T: T.ones(2) * np.float32(2),
    "array behind": lambda T: T.ones(2) + A,
    "list behind": lambda T: T.ones(2) + A.tolist(),
    "reversed": lambda T: reversed(T.tensor([[1, 2], [3, 4]])),
    "range": lambda T: list(range(T.tensor(3))),
    "floor": lambda T: math.floor(T.tensor(2.6)),
    "not equal to text": lambda T: T.ones(2) == "a",
    "not equal to nothing": lambda T: T.ones(2) == None,  # noqa: E711
    "memoryview": lambda T: memoryview(T.ones(2)),
    "round of a number": lambda T: round(T.tensor(2.6)),
    "from bytes": lambda T: T.frombuffer(b"\x00\x01\x00\x02", dtype=T.int16, offset=2),
    "from bytes, too many": lambda T: T.frombuffer(b"\x00", dtype=T.int16),
    "from numbers": lambda T: T.tensor(range(3)),
}


@pytest.mark.parametrize("name", SHARED)
def test_numpy_and_python_treat_both_alike(name: str) -> None:
    assert call(tw, SHARED[name]) == call(torch, SHARED[name])


def copied(T: Any, make: Callable[[Any], Any]) -> list[Any]:
    t = T.ones(3)
    t.label = "a"
    made = make(t)
    t[0] = 5.0
    p = make(T.nn.Parameter(T.ones(2)))
    w = T.ones(2, requires_grad=True)
    kind = type(p).__name__
    return [made.tolist(), made.label, kind, p.requires_grad, p.is_leaf, make(w).requires_grad]


def test_copies_are_what_pytorchs_are() -> None:
    for make in (copy.copy, copy.deepcopy, lambda t: pickle.loads(pickle.dumps(t))):
        assert copied(tw, make) == copied(torch, make)


def test_columns_of_pandas_have_pytorchs_dtypes() -> None:
    pandas = pytest.importorskip("pandas")
    table = pandas.DataFrame({"x": [1.0, 2.0], "n": [3, 4], "b": [True, False]})
    columns = [lambda T, name=name: T.tensor(table[name]) for name in table]
    for function in (*columns, lambda T: T.arange(5)[table["n"]]):
        assert call(tw, function) == call(torch, function)
