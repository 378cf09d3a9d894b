"""Contractions: the batched matrix product, and convolution with its two partners."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from itertools import product
from math import prod
from typing import TYPE_CHECKING, ClassVar, Self

import numpy as np

from talweg.base import dtypes
from talweg.base.errors import DTypeError, ShapeError
from talweg.base.frozen import frozen
from talweg.base.shapes import Shape
from talweg.ir.op import Draw, Op, Sample
from talweg.ir.types import TensorType
from talweg.loops.recipes import spaced
from talweg.loops.scalar import constant
from talweg.ops.kinds import Contract, View, check_dtype
from talweg.ops.strides import Interleaved, KernelPhases

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
        dilation: distance between kernel elements along each spatial axis; 0 where the kernel has
            one element only, which spares the loop over it.
        groups: input and output channels are cut into this many independent parts; 0: every channel
            is a part of its own, in and out.
    """

    strides: Shape
    padding: tuple[tuple[int, int], ...]
    dilation: Shape
    groups: int

    @property
    def slides(self) -> bool:
        return any(self.dilation)

    @property
    def border(self) -> tuple[tuple[int, int], ...]:
        return () if self.spreads else self.padding

    def borderless(self) -> Self:
        return replace(self, padding=((0, 0),) * len(self.padding))

    @property
    def steps(self) -> Shape:
        return self.strides

    def stepless(self, places: Shape) -> Self | None:
        one = not self.slides and not any(map(any, self.padding))
        return replace(self, strides=(1,) * len(places)) if one else None

    def result_size(self, spatial: Shape, kernel: Shape) -> Shape:
        """Return the number of window positions along each spatial axis."""
        rank = len(spatial)
        if not len(kernel) == len(self.strides) == len(self.padding) == len(self.dilation) == rank:
            raise ShapeError(
                f"{self.name()}: sizes {spatial}, kernel {kernel}, strides {self.strides}, padding "
                f"{self.padding} and dilation {self.dilation} must have one entry per axis"
            )
        if not 1 <= rank <= 3 or min(*self.strides, *kernel) < 1 or self.groups < 0:
            raise ShapeError(
                f"{self.name()} needs 1 to 3 spatial axes and kernel {kernel}, strides "
                f"{self.strides} of at least 1, groups {self.groups} of at least 0"
            )
        if any(step < (k > 1) for k, step in zip(kernel, self.dilation, strict=True)):
            raise ShapeError(
                f"{self.name()}: dilation {self.dilation} must be at least 1 along the axes where "
                f"kernel {kernel} has more than one element"
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

    def parts(self, channels: int) -> int:
        """Return how many groups so many channels have."""
        return self.groups or channels

    def check_channels(self, x: Shape, weight: Shape) -> None:
        """Raise ShapeError unless the channels of a value and a kernel fit the groups."""
        if not self.groups and not (weight[1] == 1 and x[1] == weight[0]):
            raise ShapeError(
                f"{self.name()}: a kernel for single channels has shape (channels, 1, …), got "
                f"{weight} for an input of shape {x}"
            )
        groups = self.parts(x[1])
        if x[1] != weight[1] * groups or weight[0] % groups:
            raise ShapeError(
                f"{self.name()}: a kernel of shape {weight} with groups={groups} needs "
                f"{weight[1] * groups} input channels and output channels divisible by "
                f"{groups}, got an input of shape {x}"
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
        groups = self.parts(channels)
        depth = channels // groups * prod(kernel)
        return windows.reshape(blocks, groups, depth, prod(out) * lanes)

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
        lows = self.lows(nest)
        bordered = {2 + axis: 1 for axis, p in enumerate(self.padding) if any(p)}

        def read(n: Scalar, c: Scalar, p: Indices, k: Indices) -> Scalar:
            rows = zip(p, self.strides, k, self.dilation, lows, strict=True)
            return spaced(nest, x, (n, c, *(_place(*row) for row in rows)), bordered)

        return read

    def lows(self, nest: NestBuilder) -> list[Scalar | None]:
        """Return the zeros before each spatial axis, None where there are none on either side."""
        numbers = iter(nest.numbers([low for low, high in self.padding if low or high]))
        return [next(numbers) if any(p) else None for p in self.padding]

    def each(self, nest: NestBuilder, channels: Scalar) -> Scalar:
        """Return how many of these channels a group has."""
        return channels if self.groups == 1 else nest.let(channels // nest.number(self.groups))

    def partner(self, channel: Scalar, here: Scalar, number: Scalar, there: Scalar) -> Scalar:
        """Return channel `number` of the group of `channel` on the other side.

        A group has `here` channels on its side and `there` on the other.
        """
        return number if self.groups == 1 else channel // here * there + number

    def taps(
        self, nest: NestBuilder, channels: Callable[[], Scalar] | None, kernel: Indices
    ) -> tuple[list[Scalar], Callable[[Indices], Indices]]:
        """Return the extents of a sum over the channels of a group and over a kernel's elements.

        And the function from its indices to a channel and an element of the kernel. There is no
        loop over what is known to be one.
        """
        zero = constant(0, dtypes.int64)
        axes = [axis for axis, step in enumerate(self.dilation) if step]
        first = [channels()] if channels is not None and self.groups else []

        def whole(k: Indices) -> Indices:
            found = dict(zip(axes, k[len(first) :], strict=True))
            element = (found.get(axis, zero) for axis in range(len(self.dilation)))
            return (k[0] if first else zero, *element)

        return [*first, *(kernel[axis] for axis in axes)], whole


@frozen
class Conv(_Convolution):
    """Cross-correlation of x[N, C, *spatial] with weight[O, C/groups, *kernel].

    1. result[n, o, p] = sum of x[n, c, p * strides + k * dilation - low] * weight[o, c, k] over k
       and the channels c of o's group; x reads as 0 in its padding.
    2. Both operands have one dtype, which the result keeps; half types accumulate in float32.
    """

    images: ClassVar[tuple[int, ...]] = (0, -1)

    @property
    def single(self) -> bool:
        return not self.groups

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
        groups = self.parts(x.shape[1])
        matrix = weight.reshape(groups, len(weight) // groups, -1)
        for part in _parts(len(x), x.shape[1] * prod(kernel) * prod(out)):
            packed = _pack(x[part], out)
            product_ = np.matmul(matrix, self.columns(packed, kernel, out))
            block = product_.reshape(len(packed), len(weight), *out, packed.shape[-1])
            result[part] = _unpack(block, out)
        return result

    def lower(self, nest: NestBuilder, *ins: Operand) -> Point:
        x, w = ins
        met = self.met(nest, x)
        here = self.each(nest, w.shape[0]) if self.groups else w.shape[0]
        over, whole = self.taps(nest, lambda: w.shape[1], w.shape[2:])

        def terms(i: Indices, k: Indices) -> tuple[Scalar, Scalar]:
            (n, o, *p), (number, *tap) = i, whole(k)
            c = self.partner(o, here, number, w.shape[1]) if self.groups else o
            return met(n, c, tuple(p), tuple(tap)), w[(o, number, *tap)]

        return lambda i: nest.dot(over, lambda k: terms(i, k))

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
    spreads: ClassVar[bool] = True
    shape: Shape

    @property
    def single(self) -> bool:
        return not self.groups

    def stepless(self, places: Shape) -> Self | None:
        found = super().stepless(places)
        return found and replace(found, shape=places)

    def in_phases(self, kernel: Shape, places: Shape) -> tuple[Contract, View, View] | None:
        if self.groups != 1 or max(self.dilation) > 1:
            return None
        lows = tuple(low for low, _ in self.padding)
        taps = [-(-k // step) for k, step in zip(kernel, self.strides, strict=True)]
        found = zip(taps, self.shape, lows, self.strides, places, strict=True)
        border = tuple((t - 1, max(-(-(n + low) // s) - p, 0)) for t, n, low, s, p in found)
        conv = Conv((1,) * len(taps), border, tuple(int(t > 1) for t in taps), 1)
        return conv, KernelPhases(self.strides), Interleaved(self.strides, lows, self.shape)

    def infer(self, *types: TensorType) -> TensorType:
        ct, weight = types
        _check_operands(self, ct, weight)
        out = self.result_size(self.shape, weight.shape[2:])
        groups = self.parts(weight.shape[0])
        if ct.shape[1:] != (weight.shape[0], *out) or weight.shape[0] % groups:
            raise ShapeError(
                f"{self.name()}: kernel {weight} with groups={groups} on sizes {self.shape} "
                f"gives {(weight.shape[0], *out)} per example, but the cotangent is {ct}"
            )
        self.check_channels((ct.shape[0], weight.shape[1] * groups), weight.shape)
        return ct.with_shape((ct.shape[0], weight.shape[1] * groups, *self.shape))

    def reference(self, *arrays: np.ndarray) -> np.ndarray:
        ct, weight = (_wide(a) for a in arrays)
        kernel, out = weight.shape[2:], ct.shape[2:]
        groups = self.parts(len(weight))
        channels = weight.shape[1] * groups
        result = np.empty((len(ct), channels, *self.shape), arrays[0].dtype)
        matrix = weight.reshape(groups, len(weight) // groups, -1).swapaxes(1, 2)
        for part in _parts(len(ct), channels * prod(kernel) * prod(out)):
            packed = _pack(ct[part], out)
            blocks, lanes = len(packed), packed.shape[-1]
            rows = packed.reshape(blocks, groups, -1, prod(out) * lanes)
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
        there = self.each(nest, w.shape[0]) if self.groups else w.shape[0]
        lows = self.lows(nest)
        steps = {
            2 + axis: stride
            for axis, stride in enumerate(self.strides)
            if stride > 1 or self.dilation[axis] or any(self.padding[axis])
        }
        over, whole = self.taps(nest, lambda: there, w.shape[2:])

        def terms(i: Indices, k: Indices) -> tuple[Scalar, Scalar]:
            (n, c, *q), (number, *tap) = i, whole(k)
            o, inner = c, constant(0, dtypes.int64)
            if self.groups:
                o = self.partner(c, w.shape[1], number, there)
                inner = c if self.groups == 1 else c % w.shape[1]
            rows = zip(q, lows, tap, self.dilation, strict=True)
            places = [
                _less(at if low is None else at + low, tap * step if step else None)
                for at, low, tap, step in rows
            ]
            return spaced(nest, ct, (n, o, *places), steps), w[(o, inner, *tap)]

        return lambda i: nest.dot(over, lambda k: terms(i, k))

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
        groups = self.parts(x.shape[1])
        fits = x.shape[1] % groups == 0 and ct.shape[1] % groups == 0
        fits = fits and (self.groups > 0 or x.shape[1] == ct.shape[1])
        if ct.shape[2:] != out or ct.shape[0] != x.shape[0] or not fits:
            raise ShapeError(
                f"{self.name()}: kernel {self.kernel} with groups={groups} on {x} gives sizes "
                f"{out}, but the cotangent is {ct}"
            )
        return x.with_shape((ct.shape[1], x.shape[1] // groups, *self.kernel))

    def reference(self, *arrays: np.ndarray) -> np.ndarray:
        x, ct = (_wide(a) for a in arrays)
        out = ct.shape[2:]
        groups = self.parts(x.shape[1])
        depth = x.shape[1] // groups * prod(self.kernel)
        total = np.zeros((groups, ct.shape[1] // groups, depth), x.dtype)
        for part in _parts(len(x), x.shape[1] * prod(self.kernel) * prod(out)):
            columns = self.columns(_pack(x[part], out), self.kernel, out)
            rows = _pack(ct[part], out).reshape(len(columns), *total.shape[:2], -1)
            total += np.matmul(rows, columns.swapaxes(2, 3)).sum(0, dtype=x.dtype)
        shape = ct.shape[1], x.shape[1] // groups, *self.kernel
        return total.reshape(shape).astype(arrays[0].dtype, copy=False)

    def lower(self, nest: NestBuilder, *ins: Operand) -> Point:
        x, ct = ins
        met = self.met(nest, x)
        here, there = x.shape[1], x.shape[1]
        if self.groups:
            here, there = self.each(nest, ct.shape[1]), self.each(nest, x.shape[1])

        def terms(i: Indices, k: Indices) -> tuple[Scalar, Scalar]:
            (o, c, *tap), (n, *p) = i, k
            x_channel = self.partner(o, here, c, there) if self.groups else o
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
    (((1, 2), ((0, 0), (1, 1)), (0, 0), 1), (2, 3, 4, 5), (4, 3, 1, 1)),
    (((1,), ((0, 0),), (0,), 2), (2, 4, 5), (2, 2, 1)),
    (((1, 2), ((1, 1), (0, 1)), (1, 2), 0), (2, 3, 4, 5), (3, 1, 3, 2)),
    (((2, 1), ((0, 0), (1, 1)), (0, 1), 0), (2, 3, 4, 5), (3, 1, 1, 3)),
)


def _place(at: Scalar, stride: int, tap: Scalar, step: int, low: Scalar | None) -> Scalar:
    """Where a kernel element meets an axis; a bare index where nothing is added to it."""
    place = at * stride if stride > 1 else at
    return _less(place + tap * step if step else place, low)


def _less(place: Scalar, cut: Scalar | None) -> Scalar:
    return place if cut is None else place - cut


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
