"""The static type of a value: dtype and shape, interned so that equal types are one object."""

from __future__ import annotations

from functools import cache
from itertools import count

from talweg.base.dtypes import DType
from talweg.base.shapes import Shape, Size, size_of

_tokens = count()


class TensorType:
    """dtype and shape of one value. Make it with `tensor_type`; equal types are identical.

    `token` is a number from 0 on that no other type of the process has; `sizes` is the shape as
    users see it.
    """

    __slots__ = ("dtype", "inexact", "nbytes", "rank", "shape", "size", "sizes", "token")

    dtype: DType
    shape: Shape
    sizes: Size
    rank: int
    size: int
    nbytes: int
    inexact: bool
    token: int

    def __init__(self, dtype: DType, shape: Shape) -> None:
        self.dtype = dtype
        self.shape = tuple(shape)
        self.sizes = Size(shape)
        self.rank = len(shape)
        self.size = size_of(shape)
        self.nbytes = self.size * dtype.itemsize
        self.inexact = dtype.is_inexact
        self.token = next(_tokens)

    def __repr__(self) -> str:
        return f"{self.dtype.name}[{','.join(map(str, self.shape))}]"

    def __reduce__(self) -> tuple[object, tuple[DType, Shape]]:
        return tensor_type, (self.dtype, self.shape)

    def with_shape(self, shape: Shape) -> TensorType:
        """Return the same dtype with another shape."""
        return tensor_type(self.dtype, shape)

    def with_dtype(self, dtype: DType) -> TensorType:
        """Return the same shape with another dtype."""
        return tensor_type(dtype, self.shape)


@cache
def tensor_type(dtype: DType, shape: Shape) -> TensorType:
    """Return the one TensorType of this dtype and shape.

    >>> from talweg.base import dtypes
    >>> tensor_type(dtypes.float32, (2, 3))
    float32[2,3]
    """
    return TensorType(dtype, shape)
