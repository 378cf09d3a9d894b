"""torch.sparse: Tensors given by the places and values that are not zero.

talweg keeps them as it keeps every Tensor, with the zeros: results and gradients are the same, and
a graph of n nodes takes n² numbers.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

from talweg.base import dtypes
from talweg.base.dtypes import DType
from talweg.base.errors import IndexOutOfRange, ShapeError
from talweg.engine import creation
from talweg.engine.conversion import LEGACY_NAMES
from talweg.engine.functions import FUNCTIONS
from talweg.engine.tensor import Tensor

LIMIT = 2**36


def _sizes(places: Tensor, held: Tensor, size: Sequence[int] | None) -> tuple[int, ...]:
    most = places.max(1).values.tolist() if places.shape[1] else [-1] * places.shape[0]
    if size is None:
        return (*(n + 1 for n in most), *held.shape[1:])
    size = tuple(int(n) for n in size)
    if len(size) != places.shape[0] + held.ndim - 1:
        raise ShapeError(
            f"sparse_coo_tensor: {size} has {len(size)} dimensions, indices {places.shape} and "
            f"values {held.shape} make {places.shape[0] + held.ndim - 1}"
        )
    if any(last >= n for last, n in zip(most, size, strict=False)):
        raise IndexOutOfRange(f"sparse_coo_tensor: indices up to {most} do not fit into {size}")
    return size


def sparse_coo_tensor(
    indices: Any,
    values: Any,
    size: Sequence[int] | None = None,
    *,
    dtype: DType | None = None,
    device: Any = None,
    pin_memory: bool = False,
    requires_grad: bool = False,
    check_invariants: bool | None = None,
    is_coalesced: bool | None = None,
) -> Tensor:
    """Return the Tensor of a size that has values at places and zeros elsewhere.

    Args:
        indices: integers of shape (dimensions, count). Values of equal places are added.
        values: of shape (count, ...); gradients reach it.
        size: of the result; by default the least that holds all places.
        dtype: of the result; by default that of the values.
        device: the CPU.
        pin_memory: ignored.
        requires_grad: whether the result asks for its gradient.
        check_invariants: ignored; the places are checked.
        is_coalesced: ignored.

    Raises:
        ShapeError: when shapes do not fit.
        IndexOutOfRange: when a place is negative or outside the size.
        MemoryError: when the result, with its zeros, has more than 64 GiB.

    >>> from talweg.frontends import torch
    >>> torch.sparse_coo_tensor([[0, 1, 1], [2, 0, 0]], [3.0, 4.0, 5.0], (2, 3))
    tensor([[0., 0., 3.],
            [9., 0., 0.]])
    """
    places = creation.as_tensor(indices).to(dtypes.int64)
    held = creation.as_tensor(values, dtype, device)
    if places.ndim != 2 or held.ndim < 1 or held.shape[0] != places.shape[1]:
        raise ShapeError(
            f"sparse_coo_tensor: indices {places.shape} must be (dimensions, count) for values "
            f"(count, ...), which are {held.shape}"
        )
    if places.numel() and int(places.min()) < 0:
        raise IndexOutOfRange(f"sparse_coo_tensor: found the negative place {int(places.min())}")
    shape = _sizes(places, held, size)
    if math.prod(shape) * held.itemsize > LIMIT:
        raise MemoryError(f"sparse_coo_tensor: {shape} is kept with its zeros and has over 64 GiB")
    made: Tensor = creation.zeros(shape, dtype=held.dtype)
    if places.shape[0]:
        made = made.index_put(tuple(places), held, accumulate=True)
    else:
        made = made + held.sum(0)
    return made.requires_grad_() if requires_grad else made


def mm(sparse: Tensor, dense: Tensor, reduce: str = "sum") -> Tensor:
    """Return the product of two matrices.

    Raises:
        NotImplementedError: when `reduce` is not "sum".
    """
    if reduce != "sum":
        raise NotImplementedError(
            "torch.sparse.mm with reduce= is not in talweg: use scatter_reduce"
        )
    made: Tensor = FUNCTIONS["mm"](sparse, dense)
    return made


def addmm(
    mat: Tensor, mat1: Tensor, mat2: Tensor, *, beta: float = 1.0, alpha: float = 1.0
) -> Tensor:
    """Return `beta * mat + alpha * (mat1 @ mat2)`."""
    made: Tensor = FUNCTIONS["addmm"](mat, mat1, mat2, beta=beta, alpha=alpha)
    return made


def total(input: Tensor, dim: Any = None, dtype: DType | None = None) -> Tensor:
    """Return the sum over dimensions, or over all."""
    made: Tensor = FUNCTIONS["sum"](input, dim, dtype=dtype)
    return made


class _SparseTypeMeta(type):
    dtype: DType

    def __call__(cls, *data: Any) -> Tensor:
        if data and not isinstance(data[0], int):
            return sparse_coo_tensor(*data, dtype=cls.dtype)
        return creation.zeros(*data, dtype=cls.dtype)

    def __instancecheck__(cls, instance: Any) -> bool:
        return False


def _constructors() -> dict[str, Callable[..., Any]]:
    return {
        name: _SparseTypeMeta(
            name,
            (),
            {
                "dtype": dtypes.BY_NAME[dtype],
                "__doc__": f"Makes Tensors of {dtype}, of places, values and a size.",
                "__module__": "torch.sparse",
            },
        )
        for dtype, name in LEGACY_NAMES.items()
    }


MODULES: dict[str, dict[str, Any]] = {
    "": {"sparse_coo_tensor": sparse_coo_tensor, "spmm": mm},
    "sparse": {**_constructors(), "mm": mm, "addmm": addmm, "sum": total},
}
