"""Contractions: the batched matrix product, and convolution with its two partners."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from itertools import product
from math import prod
from typing import TYPE_CHECKING, ClassVar

import numpy as np

from talweg.base import dtypes
from talweg.base.errors import DTypeError, ShapeError
from talweg.base.frozen import frozen
from talweg.base.shapes import Shape
from talweg.ir.op import Draw, Op, Sample
from talweg.ir.types import TensorType
from talweg.loops.recipes import spaced
from talweg.ops.kinds import Contract, check_dtype

if TYPE_CHECKING:
    from talweg.ir.build import Builder
    from talweg.ir.node import Node
    from talweg.loops.build import NestBuilder
    from talweg.loops.operand import Indices, Operand, Point
    from talweg.loops.scalar import Scalar

_COLUMNS = 1 << 20  # elements of one unfolded block: about what the last-level cache holds
_NARROW = 16  # rows shorter than this are copied and added with the batch as innermost axis


@frozen
class Dot(Contract):
    """Matrix products: result[..., m, n] = sum over k of x[..., m, k] * y[..., k, n].

    1. Both operands have the same batch axes (all but the last two) and the same dtype.
    2. The result has the operands' dtype: integers wrap around, half types accumulate in float32.
    """

    depth = (-1, -2)

    def infer(self, *types: TensorType) -> TensorType:
        x, y = types
        _check_operands(self, x, y)
        if x.rank < 2 or x.rank != y.rank or x.shape[:-2] != y.shape[:-2]:
            raise ShapeError(f"dot needs matrices with equal batch axes, got {x} and {y}")
        if x.shape[-1] != y.shape[-2]:
            raise ShapeError(
                f"dot: {x} has {x.shape[-1]} columns, but {y} has {y.shape[-2]} rows; "
                "these sizes must be equal"
            )
        return x.with_shape((*x.shape[:-1], y.shape[-1]))

    def reference(self, *arrays: np.ndarray) -> np.ndarray:
        x, y = arrays
        return np.asarray(np.matmul(_wide(x), _wide(y))).astype(x.dtype, copy=False)

    def lower(self, nest: NestBuilder, *ins: Operand) -> Point:
        x, y = ins
        depth = x.shape[-1:]
        return lambda i: nest.dot(depth, lambda k: (x[(*i[:-1], *k)], y[(*i[:-2], *k, i[-1])]))

    def vjp(self, b: Builder, node: Node, *cotangents: Node) -> tuple[Node | None, ...]:
        (ct,) = cotangents
        x, y = node.inputs
        swapped = (*range(x.rank - 2), x.rank - 1, x.rank - 2)
        for_x = b.dot(ct, b.permute(b.adjoint(y), swapped))
        return for_x, b.dot(b.permute(b.adjoint(x), swapped), ct)

    @classmethod
    def samples(cls) -> Iterator[Sample]:
        yield Sample(cls(), (Draw((3, 4)), Draw((4, 2))), dtypes.NUMBERS, tolerance=32)
        yield Sample(cls(), (Draw((2, 3, 4)), Draw((2, 4, 5))), dtypes.FLOATS, tolerance=32)
        yield Sample(cls(), (Draw((2, 3, 0)), Draw((2, 0, 5))), dtypes.FLOATS, gradient=False)


@frozen
class _Convolution(Contract):
    """The geometry shared by the three convolution ops.

    Layouts: values N C *spatial, kernels O I/groups *spatial, with one to three spatial axes.

    Args:
        strides: step of the window along each spatial axis.
        padding: zeros before and after each spatial axis.
        dilation: distance between kernel elements along each spatial axis.
        groups: input and output channels are cut into this many independent parts.
    """

    strides: Shape
    padding: tuple[tuple[int, int], ...]
    dilation: Shape
    groups: int

    def result_size(self, spatial: Shape, kernel: Shape) -> Shape:
        """Return the number of window positions along each spatial axis."""
        rank = len(spatial)
        if not len(kernel) == len(self.strides) == len(self.padding) == len(self.dilation) == rank:
            raise ShapeError(
                f"{self.name()}: sizes {spatial}, kernel {kernel}, strides {self.strides}, padding "
                f"{self.padding} and dilation {self.dilation} must have one entry per axis"
            )
        if not 1 <= rank <= 3 or min(*self.strides, *self.dilation, self.groups, *kernel) < 1:
            raise ShapeError(
                f"{self.name()} needs 1 to 3 spatial axes and kernel {kernel}, strides "
                f"{self.strides}, dilation {self.dilation}, groups {self.groups} of at least 1"
            )
        out = []
        rows = zip(spatial, kernel, self.strides, self.padding, self.dilation, strict=True)
        for n, k, stride, (low, high), step in rows:
            room = n + low + high - (step * (k - 1) + 1)
            if low < 0 or high < 0 or room < 0:
                raise ShapeError(
                    f"{self.name()}: kernel {kernel} with dilation {self.dilation} does not fit "
                    f"into sizes {spatial} with padding {self.padding}"
                )
            out.append(room // stride + 1)
        return tuple(out)

    def check_channels(self, x: Shape, weight: Shape) -> None:
        """Raise ShapeError unless the channels of a value and a kernel fit the groups."""
        if x[1] != weight[1] * self.groups or weight[0] % self.groups:
            raise ShapeError(
                f"{self.name()}: a kernel of shape {weight} with groups={self.groups} needs "
                f"{weight[1] * self.groups} input channels and output channels divisible by "
                f"{self.groups}, got an input of shape {x}"
            )

    def columns(self, x: np.ndarray, kernel: Shape, out: Shape) -> np.ndarray:
        """Unfold a packed value into [blocks, groups, channels x kernel, positions x lanes]."""
        blocks, channels, *spatial, lanes = x.shape
        if any(map(any, self.padding)):
            bordered = np.zeros(self.bordered(x.shape), x.dtype)
            bordered[self.inside(tuple(spatial))] = x
            x = bordered
        else:
            x = np.ascontiguousarray(x)
        s = x.strides[2:-1]
        kernel_steps = [n * d for n, d in zip(s, self.dilation, strict=True)]
        out_steps = [n * d for n, d in zip(s, self.strides, strict=True)]
        windows = np.lib.stride_tricks.as_strided(
            x,
            (blocks, channels, *kernel, *out, lanes),
            (*x.strides[:2], *kernel_steps, *out_steps, x.strides[-1]),
            writeable=False,
        )
        depth = channels // self.groups * prod(kernel)
        return windows.reshape(blocks, self.groups, depth, prod(out) * lanes)

    def bordered(self, shape: Shape) -> Shape:
        """Return a packed shape with the padding added."""
        sizes = [n + sum(p) for n, p in zip(shape[2:-1], self.padding, strict=True)]
        return (*shape[:2], *sizes, shape[-1])

    def inside(self, spatial: Shape) -> tuple[slice, ...]:
        """Return the slices of the unpadded part of a bordered value."""
        cut = [slice(p[0], p[0] + n) for n, p in zip(spatial, self.padding, strict=True)]
        return (slice(None), slice(None), *cut)

    def met(
        self, nest: NestBuilder, x: Operand
    ) -> Callable[[Scalar, Scalar, Indices, Indices], Scalar]:
        """Return the function of (n, c, p, k): x where kernel element k of position p meets it."""
        lows = nest.numbers([low for low, _ in self.padding])
        bordered = {2 + axis: 1 for axis, p in enumerate(self.padding) if any(p)}

        def read(n: Scalar, c: Scalar, p: Indices, k: Indices) -> Scalar:
            rows = zip(p, self.strides, k, self.dilation, lows, strict=True)
            places = [at * stride + tap * step - low for at, stride, tap, step, low in rows]
            return spaced(nest, x, (n, c, *places), bordered)

        return read

    def each(self, nest: NestBuilder, channels: Scalar) -> Scalar:
        """Return how many of these channels a group has."""
        return channels if self.groups == 1 else nest.let(channels // nest.number(self.groups))

    def partner(self, channel: Scalar, here: Scalar, number: Scalar, there: Scalar) -> Scalar:
        """Return channel `number` of the group of `channel` on the other side.

        A group has `here` channels on its side and `there` on the other.
        """
        return number if self.groups == 1 else channel // here * there + number


@frozen
class Conv(_Convolution):
    """Cross-correlation of x[N, C, *spatial] with weight[O, C/groups, *kernel].

    1. result[n, o, p] = sum of x[n, c, p * strides + k * dilation - low] * weight[o, c, k] over k
       and the channels c of o's group; x reads as 0 in its padding.
    2. Both operands have one dtype, which the result keeps; half types accumulate in float32.
    """

    images: ClassVar[tuple[int, ...]] = (0, -1)

    def infer(self, *types: TensorType) -> TensorType:
        x, weight = types
        _check_operands(self, x, weight)
        out = self.result_size(x.shape[2:], weight.shape[2:])
        self.check_channels(x.shape, weight.shape)
        return x.with_shape((x.shape[0], weight.shape[0], *out))

    def reference(self, *arrays: np.ndarray) -> np.ndarray:
        x, weight = (_wide(a) for a in arrays)
        kernel = weight.shape[2:]
        out = self.result_size(x.shape[2:], kernel)
        result = np.empty((len(x), len(weight), *out), arrays[0].dtype)
        matrix = weight.reshape(self.groups, len(weight) // self.groups, -1)
        for part in _parts(len(x), x.shape[1] * prod(kernel) * prod(out)):
            packed = _pack(x[part], out)
            product_ = np.matmul(matrix, self.columns(packed, kernel, out))
            block = product_.reshape(len(packed), len(weight), *out, packed.shape[-1])
            result[part] = _unpack(block, out)
        return result

    def lower(self, nest: NestBuilder, *ins: Operand) -> Point:
        x, w = ins
        met, here = self.met(nest, x), self.each(nest, w.shape[0])

        def terms(i: Indices, k: Indices) -> tuple[Scalar, Scalar]:
            n, o, *p = i
            c = self.partner(o, here, k[0], w.shape[1])
            return met(n, c, tuple(p), k[1:]), w[(o, *k)]

        return lambda i: nest.dot(w.shape[1:], lambda k: terms(i, k))

    def vjp(self, b: Builder, node: Node, *cotangents: Node) -> tuple[Node | None, ...]:
        (ct,) = cotangents
        x, weight = node.inputs
        how = self.strides, self.padding, self.dilation, self.groups
        for_x = b.conv_input_grad(ct, b.adjoint(weight), *how, x.shape[2:])
        return for_x, b.conv_weight_grad(b.adjoint(x), ct, *how, weight.shape[2:])

    @classmethod
    def samples(cls) -> Iterator[Sample]:
        for how, x, weight in _CASES:
            yield Sample(cls(*how), (Draw(x), Draw(weight)), dtypes.FLOATS, tolerance=128)
        how, x, weight = _CASES[0]
        yield Sample(cls(*how), (Draw(x), Draw(weight)), dtypes.NUMBERS, tolerance=128)


@frozen
class ConvInputGrad(_Convolution):
    """The adjoint of Conv in its input: from ct[N, O, *out] and weight to [N, C, *shape].

    1. Every ct[n, o, p] * weight[o, c, k] is added at position p * strides + k * dilation - low;
       what falls into the padding is dropped. This is transposed convolution.
    2. `shape` are the input's spatial sizes: those from which Conv makes the sizes of ct.
    """

    images: ClassVar[tuple[int, ...]] = (0, -1)
    shape: Shape

    def infer(self, *types: TensorType) -> TensorType:
        ct, weight = types
        _check_operands(self, ct, weight)
        out = self.result_size(self.shape, weight.shape[2:])
        if ct.shape[1:] != (weight.shape[0], *out) or weight.shape[0] % self.groups:
            raise ShapeError(
                f"{self.name()}: kernel {weight} with groups={self.groups} on sizes {self.shape} "
                f"gives {(weight.shape[0], *out)} per example, but the cotangent is {ct}"
            )
        return ct.with_shape((ct.shape[0], weight.shape[1] * self.groups, *self.shape))

    def reference(self, *arrays: np.ndarray) -> np.ndarray:
        ct, weight = (_wide(a) for a in arrays)
        kernel, out = weight.shape[2:], ct.shape[2:]
        channels = weight.shape[1] * self.groups
        result = np.empty((len(ct), channels, *self.shape), arrays[0].dtype)
        matrix = weight.reshape(self.groups, len(weight) // self.groups, -1).swapaxes(1, 2)
        for part in _parts(len(ct), channels * prod(kernel) * prod(out)):
            packed = _pack(ct[part], out)
            blocks, lanes = len(packed), packed.shape[-1]
            rows = packed.reshape(blocks, self.groups, -1, prod(out) * lanes)
            spread = matrix * rows if rows.shape[2] == 1 else np.matmul(matrix, rows)
            spread = spread.reshape(blocks, channels, *kernel, *out, lanes)
            target = np.zeros(self.bordered((blocks, channels, *self.shape, lanes)), ct.dtype)
            for offset in product(*map(range, kernel)):
                at = tuple(
                    slice(k * d, k * d + (n - 1) * s + 1, s)
                    for k, d, n, s in zip(offset, self.dilation, out, self.strides, strict=True)
                )
                target[(slice(None), slice(None), *at)] += spread[(slice(None),) * 2 + offset]
            result[part] = _unpack(target[self.inside(self.shape)], out)
        return result

    def lower(self, nest: NestBuilder, *ins: Operand) -> Point:
        ct, w = ins
        there = self.each(nest, w.shape[0])
        lows = nest.numbers([low for low, _ in self.padding])
        steps = {2 + axis: stride for axis, stride in enumerate(self.strides)}

        def terms(i: Indices, k: Indices) -> tuple[Scalar, Scalar]:
            n, c, *q = i
            o = self.partner(c, w.shape[1], k[0], there)
            rows = zip(q, lows, k[1:], self.dilation, strict=True)
            places = [at + low - tap * step for at, low, tap, step in rows]
            inner = c if self.groups == 1 else c % w.shape[1]
            return spaced(nest, ct, (n, o, *places), steps), w[(o, inner, *k[1:])]

        return lambda i: nest.dot((there, *w.shape[2:]), lambda k: terms(i, k))

    def vjp(self, b: Builder, node: Node, *cotangents: Node) -> tuple[Node | None, ...]:
        (ct,) = cotangents
        y, weight = node.inputs
        how = self.strides, self.padding, self.dilation, self.groups
        for_y = b.conv(ct, b.adjoint(weight), *how)
        return for_y, b.conv_weight_grad(ct, b.adjoint(y), *how, weight.shape[2:])

    @classmethod
    def samples(cls) -> Iterator[Sample]:
        for how, x, weight in _CASES:
            out = Conv(*how).result_size(x[2:], weight[2:])
            ct = Draw((x[0], weight[0], *out))
            yield Sample(cls(*how, x[2:]), (ct, Draw(weight)), dtypes.FLOATS, tolerance=128)


@frozen
class ConvWeightGrad(_Convolution):
    """The adjoint of Conv in its weight: from x[N, C, *spatial] and ct[N, O, *out] to a kernel.

    1. result[o, c, k] = sum over n, p of ct[n, o, p] * x[n, c, p * strides + k * dilation - low].
    2. `kernel` are the kernel's spatial sizes.
    """

    images: ClassVar[tuple[int, ...]] = (0, 1)

    kernel: Shape

    def infer(self, *types: TensorType) -> TensorType:
        x, ct = types
        _check_operands(self, x, ct)
        out = self.result_size(x.shape[2:], self.kernel)
        fits = x.shape[1] % self.groups == 0 and ct.shape[1] % self.groups == 0
        if ct.shape[2:] != out or ct.shape[0] != x.shape[0] or not fits:
            raise ShapeError(
                f"{self.name()}: kernel {self.kernel} with groups={self.groups} on {x} gives sizes "
                f"{out}, but the cotangent is {ct}"
            )
        return x.with_shape((ct.shape[1], x.shape[1] // self.groups, *self.kernel))

    def reference(self, *arrays: np.ndarray) -> np.ndarray:
        x, ct = (_wide(a) for a in arrays)
        out = ct.shape[2:]
        depth = x.shape[1] // self.groups * prod(self.kernel)
        total = np.zeros((self.groups, ct.shape[1] // self.groups, depth), x.dtype)
        for part in _parts(len(x), x.shape[1] * prod(self.kernel) * prod(out)):
            columns = self.columns(_pack(x[part], out), self.kernel, out)
            rows = _pack(ct[part], out).reshape(len(columns), *total.shape[:2], -1)
            total += np.matmul(rows, columns.swapaxes(2, 3)).sum(0, dtype=x.dtype)
        shape = ct.shape[1], x.shape[1] // self.groups, *self.kernel
        return total.reshape(shape).astype(arrays[0].dtype, copy=False)

    def lower(self, nest: NestBuilder, *ins: Operand) -> Point:
        x, ct = ins
        met = self.met(nest, x)
        here, there = self.each(nest, ct.shape[1]), self.each(nest, x.shape[1])

        def terms(i: Indices, k: Indices) -> tuple[Scalar, Scalar]:
            (o, c, *tap), (n, *p) = i, k
            x_channel = self.partner(o, here, c, there)
            return ct[(n, o, *p)], met(n, x_channel, tuple(p), tuple(tap))

        return lambda i: nest.dot((ct.shape[0], *ct.shape[2:]), lambda k: terms(i, k))

    def vjp(self, b: Builder, node: Node, *cotangents: Node) -> tuple[Node | None, ...]:
        (ct,) = cotangents
        x, y = node.inputs
        how = self.strides, self.padding, self.dilation, self.groups
        for_x = b.conv_input_grad(b.adjoint(y), ct, *how, x.shape[2:])
        return for_x, b.conv(b.adjoint(x), ct, *how)

    @classmethod
    def samples(cls) -> Iterator[Sample]:
        for how, x, weight in _CASES:
            out = Conv(*how).result_size(x[2:], weight[2:])
            ct = Draw((x[0], weight[0], *out))
            yield Sample(cls(*how, weight[2:]), (Draw(x), ct), dtypes.FLOATS, tolerance=128)


_Case = tuple[tuple[Shape, tuple[tuple[int, int], ...], Shape, int], Shape, Shape]
_CASES: tuple[_Case, ...] = (
    (((1,), ((0, 0),), (1,), 1), (2, 2, 5), (3, 2, 2)),
    (((2,), ((2, 1),), (2,), 2), (2, 4, 6), (2, 2, 3)),
    (((1, 2), ((1, 0), (1, 2)), (1, 1), 1), (2, 2, 4, 5), (3, 2, 3, 2)),
    (((2, 1), ((0, 0), (1, 1)), (1, 2), 3), (1, 3, 5, 4), (6, 1, 2, 2)),
    (((1, 1, 2), ((0, 0), (1, 0), (0, 1)), (1, 1, 1), 1), (1, 2, 2, 3, 3), (2, 2, 2, 2, 2)),
)


def _check_operands(op: Op, x: TensorType, y: TensorType) -> None:
    if x.dtype is not y.dtype:
        raise DTypeError(f"{op.name()} needs operands of one dtype, got {x} and {y}")
    check_dtype(op, x.dtype, dtypes.NUMBERS)
    if isinstance(op, _Convolution) and not x.rank == y.rank == len(op.strides) + 2:
        raise ShapeError(
            f"{op.name()} along {len(op.strides)} axes needs operands of "
            f"{len(op.strides) + 2} dimensions, got {x} and {y}"
        )


def _wide(array: np.ndarray) -> np.ndarray:
    return array.astype(np.float32) if array.dtype == np.float16 else array


def _parts(count: int, each: int) -> Iterator[slice]:
    """Cut a batch so that unfolding one part makes about `_COLUMNS` elements."""
    step = max(1, _COLUMNS // max(each, 1))
    for start in range(0, count, step):
        yield slice(start, min(start + step, count))


def _pack(array: np.ndarray, out: Shape) -> np.ndarray:
    """View [N, C, *spatial] as [blocks, C, *spatial, lanes]: lanes = N when rows are narrow."""
    return np.moveaxis(array, 0, -1)[None] if out[-1] < _NARROW else array[..., None]


def _unpack(packed: np.ndarray, out: Shape) -> np.ndarray:
    """Undo `_pack`."""
    return np.moveaxis(packed[0], -1, 0) if out[-1] < _NARROW else packed[..., 0]


OPS: tuple[type[Op], ...] = (Dot, Conv, ConvInputGrad, ConvWeightGrad)
