"""Values made from indices alone: counting and counter-based random bits."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, ClassVar

import numpy as np

from talweg.base import dtypes
from talweg.base.dtypes import DType
from talweg.base.errors import DTypeError
from talweg.base.frozen import frozen
from talweg.base.shapes import Shape, size_of
from talweg.ir.op import Op, Sample
from talweg.ir.types import TensorType, tensor_type
from talweg.loops import recipes
from talweg.loops.operand import flat
from talweg.ops.kinds import Generate, check_axes, check_dtype

if TYPE_CHECKING:
    from talweg.loops.build import NestBuilder
    from talweg.loops.operand import Operand, Point
    from talweg.loops.scalar import Scalar

_MULTIPLIERS = np.uint64(0xD2511F53), np.uint64(0xCD9E8D57)
_KEY_STEPS = np.uint32(0x9E3779B9), np.uint32(0xBB67AE85)
_ROUNDS = 10


@frozen
class Iota(Generate):
    """Each element is its own index along `axis`; no operands. Integers wrap, floats round."""

    shape: Shape
    axis: int
    dtype: DType
    differentiable: ClassVar[bool] = False

    def infer(self, *types: TensorType) -> TensorType:
        result = tensor_type(self.dtype, self.shape)
        check_axes(self, (self.axis,), result)
        check_dtype(self, self.dtype, dtypes.REALS)
        return result

    def reference(self, *arrays: np.ndarray) -> np.ndarray:
        counted = np.arange(self.shape[self.axis]).astype(self.dtype.compute)
        behind = len(self.shape) - 1 - self.axis
        return np.broadcast_to(counted.reshape(-1, *(1,) * behind), self.shape)

    def lower(self, nest: NestBuilder, *ins: Operand) -> Point:
        return lambda i: nest.cast(i[self.axis], self.dtype)

    @classmethod
    def samples(cls) -> Iterator[Sample]:
        for d in dtypes.REALS:
            yield Sample(cls((3, 4), 1, d), (), (d,), gradient=False)


@frozen
class RandomBits(Generate):
    """Uniform random uint32 words by Philox4x32-10, from a key and an offset (uint64, 0-d).

    Element j, in row-major order, is word j % 4 of the block with 128-bit counter offset + j // 4
    (modulo 2**64). A draw of n elements uses (n + 3) // 4 counters: the next draw under the same
    key starts behind them.

    Source: Salmon, Moraes, Dror and Shaw, "Parallel random numbers: as easy as 1, 2, 3", SC 2011.
    """

    shape: Shape
    differentiable: ClassVar[bool] = False

    def infer(self, *types: TensorType) -> TensorType:
        key, offset = types
        wanted = tensor_type(dtypes.uint64, ())
        if key is not wanted or offset is not wanted:
            raise DTypeError(f"random_bits needs a key and an offset {wanted}, got {key}, {offset}")
        return tensor_type(dtypes.uint32, self.shape)

    def reference(self, *arrays: np.ndarray) -> np.ndarray:
        key, offset = arrays
        count = size_of(self.shape)
        block = np.arange((count + 3) // 4, dtype=np.uint64) + offset
        zero = np.zeros_like(block, np.uint32)
        words = philox4x32((*_halves(block), zero, zero), _halves(key))
        return np.stack(words, axis=-1).reshape(-1)[:count].reshape(self.shape)

    def lower(self, nest: NestBuilder, *ins: Operand) -> Point:
        key, offset = (x[()] for x in ins)
        (out,) = nest.outputs
        return lambda i: _random_word(nest, key, offset, flat(i, out.shape))

    @classmethod
    def samples(cls) -> Iterator[Sample]:
        operands = np.array(0x0123456789ABCDEF, np.uint64), np.array(2**64 - 2, np.uint64)
        for shape in ((3, 5), (), (0, 2)):
            yield Sample(cls(shape), operands, (dtypes.uint32,), gradient=False)


def philox4x32(
    counter: Sequence[np.ndarray], key: Sequence[np.ndarray]
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Return the four uint32 words of Philox4x32-10 for each counter.

    Args:
        counter: four uint32 arrays of one shape, least significant word first.
        key: two uint32 scalars, least significant word first.
    """
    c0, c1, c2, c3 = counter
    k0, k1 = map(np.atleast_1d, key)
    for _ in range(_ROUNDS):
        low0, high0 = _halves(c0 * _MULTIPLIERS[0])
        low1, high1 = _halves(c2 * _MULTIPLIERS[1])
        c0, c1, c2, c3 = high1 ^ c1 ^ k0, low1, high0 ^ c3 ^ k1, low0
        k0, k1 = k0 + _KEY_STEPS[0], k1 + _KEY_STEPS[1]
    return c0, c1, c2, c3


def _random_word(nest: NestBuilder, key: Scalar, offset: Scalar, place: Scalar) -> Scalar:
    place = nest.let(nest.cast(place, dtypes.uint64))
    block = nest.let(offset + (place >> 2))
    zero = nest.constant(0, dtypes.uint32)
    low0, high0, low1, high1 = (
        nest.let(nest.cast(half, dtypes.uint32)) for v in (block, key) for half in (v, v >> 32)
    )
    words = recipes.philox4x32(nest, (low0, high0, zero, zero), (low1, high1))
    odd, upper = nest.ne(place & 1, 0), nest.ne(place & 2, 0)
    first, second = (nest.select(odd, words[n + 1], words[n]) for n in (0, 2))
    return nest.select(upper, second, first)


def _halves(value: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    return value.astype(np.uint32), (value >> np.uint64(32)).astype(np.uint32)


OPS: tuple[type[Op], ...] = (Iota, RandomBits)
