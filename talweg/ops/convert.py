"""Elementwise conversion: of dtype, of bits, between complex numbers and their parts."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, ClassVar

import numpy as np

from talweg.base import dtypes
from talweg.base.dtypes import DType
from talweg.base.errors import DTypeError
from talweg.base.frozen import frozen
from talweg.ir.op import Draw, Op, Sample
from talweg.ir.types import TensorType
from talweg.ops.kinds import REAL_PART, Elementwise

if TYPE_CHECKING:
    from talweg.ir.build import Builder
    from talweg.ir.node import Node
    from talweg.loops.build import NestBuilder
    from talweg.loops.scalar import Scalar

COMPLEX_OF: Mapping[DType, DType] = {real: whole for whole, real in REAL_PART.items()}


@frozen
class Copy(Elementwise):
    """x, in memory of its own."""

    accepts = dtypes.ALL
    function = np.copy
    tolerance = 0

    def lower(self, nest: NestBuilder, *ins: Scalar) -> Scalar:
        return ins[0]

    def vjp(self, b: Builder, node: Node, *cotangents: Node) -> tuple[Node | None, ...]:
        return cotangents


@frozen
class Cast(Elementwise):
    """x in another dtype.

    1. Float to integer drops the fraction; outside the integer's range the result is unspecified.
    2. Complex to real takes the real part. Anything to bool is x != 0, so NaN gives True.
    3. Integers wrap. Floats round to nearest even; float64 to bfloat16 rounds by way of float32.
    4. The gradient is cast back; it stops at integers and bool.
    """

    converts: ClassVar[bool] = True
    dtype: DType

    def infer(self, *types: TensorType) -> TensorType:
        (x,) = types
        return x.with_dtype(self.dtype)

    def reference(self, *arrays: np.ndarray) -> np.ndarray:
        (x,) = arrays
        if self.dtype is dtypes.bool_:
            return np.asarray(x != 0)
        if not self.dtype.is_complex:
            x = x.real
        return x.astype(self.dtype.compute)

    def lower(self, nest: NestBuilder, *ins: Scalar) -> Scalar:
        return nest.cast(ins[0], self.dtype)

    def vjp(self, b: Builder, node: Node, *cotangents: Node) -> tuple[Node | None, ...]:
        (ct,) = cotangents
        dtype = node.inputs[0].dtype
        return (b.cast(ct, dtype) if dtype.is_inexact and self.dtype.is_inexact else None,)

    @classmethod
    def samples(cls) -> Iterator[Sample]:
        exact = dtypes.float64, dtypes.complex128
        for dtype in dtypes.ALL:
            signed = dtype.is_signed or dtype is dtypes.bool_
            draw = Draw((3, 4), -3.0 if signed else 0.0, 3.0)
            yield Sample(cls(dtype), (draw,), dtypes.ALL, gradient=dtype in exact)


@frozen
class Bitcast(Elementwise):
    """The bits of x read as another dtype.

    1. Both dtypes have one width. A byte read as bool is True unless it is 0.
    2. NaNs of bfloat16 come back quiet.
    """

    dtype: DType
    differentiable = False

    def infer(self, *types: TensorType) -> TensorType:
        (x,) = types
        if x.dtype.bits != self.dtype.bits:
            raise DTypeError(
                f"bitcast needs a dtype of {x.dtype.bits} bits for {x.dtype.name}, "
                f"got {self.dtype.name} of {self.dtype.bits}"
            )
        return x.with_dtype(self.dtype)

    def reference(self, *arrays: np.ndarray) -> np.ndarray:
        (x,) = arrays
        if x.dtype.itemsize != self.dtype.itemsize:  # bfloat16, whose values stand in float32
            x = dtypes.encode(x, dtypes.bfloat16)
        if self.dtype is dtypes.bool_:
            return np.asarray(x.view(np.uint8) != 0)
        return dtypes.decode(x.view(self.dtype.storage), self.dtype)

    def lower(self, nest: NestBuilder, *ins: Scalar) -> Scalar:
        (x,) = ins
        return x if x.dtype is self.dtype else _of_bits(nest, _to_bits(nest, x), self.dtype)

    @classmethod
    def samples(cls) -> Iterator[Sample]:
        for dtype in dtypes.ALL:
            same_width = tuple(d for d in dtypes.ALL if d.bits == dtype.bits)
            yield Sample(cls(dtype), (Draw((3, 4)),), same_width, tolerance=0)


@frozen
class Real(Elementwise):
    """The real part of a complex number."""

    accepts = dtypes.COMPLEX
    result = REAL_PART
    function = np.real

    def vjp(self, b: Builder, node: Node, *cotangents: Node) -> tuple[Node | None, ...]:
        (ct,) = cotangents
        return (b.cast(ct, node.inputs[0].dtype),)


@frozen
class Imag(Elementwise):
    """The imaginary part of a complex number, as a real one."""

    accepts = dtypes.COMPLEX
    result = REAL_PART
    function = np.imag

    def vjp(self, b: Builder, node: Node, *cotangents: Node) -> tuple[Node | None, ...]:
        (ct,) = cotangents
        return (b.make_complex(b.scalar(0, ct.dtype), ct),)


@frozen
class Conj(Elementwise):
    """The complex conjugate."""

    accepts = dtypes.COMPLEX
    function = np.conjugate

    def vjp(self, b: Builder, node: Node, *cotangents: Node) -> tuple[Node | None, ...]:
        (ct,) = cotangents
        return (b.conj(ct),)


@frozen
class MakeComplex(Elementwise):
    """The complex number of a real part x and an imaginary part y, both float32 or float64."""

    accepts = (dtypes.float32, dtypes.float64)
    result = COMPLEX_OF
    arity = 2
    symbol = "complex"

    def reference(self, *arrays: np.ndarray) -> np.ndarray:
        x, y = np.broadcast_arrays(*arrays)
        out = np.empty(x.shape, np.result_type(x, np.complex64))
        out.real, out.imag = x, y
        return out

    def vjp(self, b: Builder, node: Node, *cotangents: Node) -> tuple[Node | None, ...]:
        (ct,) = cotangents
        return b.real(ct), b.imag(ct)


def _to_bits(nest: NestBuilder, x: Scalar) -> Scalar:
    """x, or an unsigned integer of its bits where a nest has no bitcast from its dtype."""
    if x.dtype is dtypes.bool_:
        return nest.cast(x, dtypes.uint8)
    if x.dtype is not dtypes.complex64:
        return x
    low, high = (nest.bitcast(part, dtypes.uint32) for part in (nest.real(x), nest.imag(x)))
    return nest.cast(low, dtypes.uint64) | nest.cast(high, dtypes.uint64) << 32


def _of_bits(nest: NestBuilder, x: Scalar, dtype: DType) -> Scalar:
    """The bits of x, neither bool nor complex, as a value of any dtype of that width."""
    if dtype is dtypes.bool_:
        return nest.cast(nest.bitcast(x, dtypes.uint8), dtype)
    if dtype is not dtypes.complex64:
        return nest.bitcast(x, dtype)
    x = nest.bitcast(x, dtypes.uint64)
    words = (nest.cast(half, dtypes.uint32) for half in (x, x >> 32))
    return nest.complex(*(nest.bitcast(word, dtypes.float32) for word in words))


OPS: tuple[type[Op], ...] = (Copy, Cast, Bitcast, Real, Imag, Conj, MakeComplex)
