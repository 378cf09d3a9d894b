"""Reductions over sliding windows of the trailing axes: maximum, its place, and sum."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from itertools import product
from math import prod
from types import EllipsisType
from typing import TYPE_CHECKING, ClassVar, TypeAlias

import numpy as np

from talweg.base import dtypes
from talweg.base.errors import ShapeError
from talweg.base.frozen import frozen
from talweg.base.shapes import Shape, contiguous_strides
from talweg.ir.op import Draw, Op, Sample
from talweg.ir.types import TensorType
from talweg.loops.functions import identity
from talweg.loops.operand import Operand, flat
from talweg.loops.recipes import share_of_maximum, spaced
from talweg.ops.kinds import Window, check_dtype

if TYPE_CHECKING:
    from talweg.ir.build import Builder
    from talweg.ir.node import Node
    from talweg.loops.build import NestBuilder
    from talweg.loops.operand import Indices, Point
    from talweg.loops.scalar import Scalar

_Index: TypeAlias = tuple[EllipsisType | slice, ...]


@frozen
class _Windowed(Window):
    """The geometry shared by the window ops: one entry per trailing ("spatial") axis.

    Args:
        window: elements of a window along each spatial axis.
        strides: step of the window.
        padding: places before and after each spatial axis.
        dilation: distance between the elements of a window.
    """

    window: Shape
    strides: Shape
    padding: tuple[tuple[int, int], ...]
    dilation: Shape

    def result_shape(self, shape: Shape) -> Shape:
        """Return leading axes and the number of window positions along each spatial axis."""
        rank = len(self.window)
        same = len(self.strides) == len(self.padding) == len(self.dilation) == rank
        if not same or not 1 <= rank <= len(shape):
            raise ShapeError(
                f"{self.name()}: window {self.window}, strides {self.strides}, padding "
                f"{self.padding} and dilation {self.dilation} do not fit shape {shape}"
            )
        if min(*self.window, *self.strides, *self.dilation) < 1:
            raise ShapeError(
                f"{self.name()}: window {self.window}, strides {self.strides} and dilation "
                f"{self.dilation} must be at least 1"
            )
        out = []
        for axis, n in enumerate(shape[-rank:]):
            low, high = self.padding[axis]
            room = n + low + high - (self.dilation[axis] * (self.window[axis] - 1) + 1)
            if low < 0 or high < 0 or room < 0:
                raise ShapeError(
                    f"{self.name()}: window {self.window} with dilation {self.dilation} does not "
                    f"fit into sizes {shape[-rank:]} with padding {self.padding}"
                )
            out.append(room // self.strides[axis] + 1)
        return (*shape[:-rank], *out)

    def places(self, axis: int, count: int) -> np.ndarray:
        """Return the index along one spatial axis of each [position, window element]."""
        start = np.arange(count) * self.strides[axis] - self.padding[axis][0]
        return start[:, None] + np.arange(self.window[axis]) * self.dilation[axis]

    def taps(self, axis: int, count: int) -> list[slice]:
        """Return for each window element the slice of its places along a bordered axis."""
        stride, step = self.strides[axis], self.dilation[axis]
        reach = (count - 1) * stride + 1
        return [slice(k * step, k * step + reach, stride) for k in range(self.window[axis])]

    def bordered(self, x: np.ndarray, fill: object) -> np.ndarray:
        """Return x with its padding, filled with one value."""
        if not any(map(any, self.padding)):
            return x
        lead = x.ndim - len(self.window)
        sizes = (n + sum(p) for n, p in zip(x.shape[lead:], self.padding, strict=True))
        out = np.full((*x.shape[:lead], *sizes), fill, x.dtype)
        out[self.inside(x.shape[lead:])] = x
        return out

    def inside(self, spatial: Shape) -> _Index:
        """Return the index of the unpadded part of a bordered value."""
        rows = zip(spatial, self.padding, strict=True)
        return (..., *(slice(p[0], p[0] + n) for n, p in rows))

    def reduced(self, combine: np.ufunc, x: np.ndarray, out: Shape) -> np.ndarray:
        """Combine the windows of a bordered value, one spatial axis after the other."""
        for axis in reversed(range(len(self.window))):
            place = x.ndim - len(self.window) + axis
            before = (slice(None),) * place
            first, *others = self.taps(axis, out[place])
            total = np.array(x[(*before, first)])
            for tap in others:
                combine(total, x[(*before, tap)], out=total)
            x = total
        return x

    def visited(
        self, nest: NestBuilder, x: Operand
    ) -> tuple[Callable[[Indices, Indices], Indices], dict[int, int]]:
        """Return the function of (i, k): the indices in x of element k of window i; and with steps
        of 1, as `spaced` takes them, the axes along which these may leave x.
        """
        lows = nest.numbers([low for low, _ in self.padding])
        lead = x.rank - len(self.window)

        def indices(i: Indices, k: Indices) -> Indices:
            rows = zip(i[lead:], self.strides, k, self.dilation, lows, strict=True)
            return *i[:lead], *(at * s + tap * step - low for at, s, tap, step, low in rows)

        return indices, {lead + axis: 1 for axis, p in enumerate(self.padding) if any(p)}

    def folded(self, nest: NestBuilder, x: Operand, combine: str) -> Point:
        """Return the Point of every window's elements, combined; padding changes nothing."""
        at, bordered = self.visited(nest, x)
        (fill,) = identity(combine, x.dtype)
        return lambda i: nest.fold(
            combine, self.window, lambda k: spaced(nest, x, at(i, k), bordered, fill)
        )

    def tiles(self, shape: Shape) -> bool:
        """Whether every element of a value lies in exactly one window."""
        plain = self.strides == self.window and not any(map(any, self.padding))
        cut = zip(shape[len(shape) - len(self.window) :], self.window, strict=True)
        return plain and set(self.dilation) == {1} and not any(n % k for n, k in cut)

    def check_covered(self, x: TensorType, out: Shape) -> None:
        """Raise ShapeError when a window lies in the padding with all its elements."""
        rank = len(self.window)
        for axis, (n, count) in enumerate(zip(x.shape[-rank:], out[-rank:], strict=True)):
            at = self.places(axis, count)
            if not ((at >= 0) & (at < n)).any(axis=1).all():
                raise ShapeError(
                    f"{self.name()}: a window {self.window} with strides {self.strides} and "
                    f"dilation {self.dilation} lies fully in the padding {self.padding} of {x}"
                )

    def _around(self, nest: NestBuilder, x: Operand, i: Indices, lows: Indices) -> Scalar:
        """The sum of x over the windows that hold a place, the first window first."""
        lead = x.rank - len(self.window)
        spatial = range(lead, x.rank)
        near = [at + low for at, low in zip(i[lead:], lows, strict=True)]

        def tap(k: Indices) -> Scalar:
            rows = zip(near, k, self.dilation, strict=True)
            places = [at - n * step for at, n, step in rows]
            return spaced(
                nest, x, (*i[:lead], *places), dict(zip(spatial, self.strides, strict=True))
            )

        if set(self.dilation) != {1}:
            return nest.fold("add", self.window, tap)
        counts = [-(-n // stride) for n, stride in zip(self.window, self.strides, strict=True)]

        def window(k: Indices) -> Scalar:
            rows = zip(near, k, counts, self.strides, strict=True)
            places = [at // stride + n - (count - 1) for at, n, count, stride in rows]
            ends = zip(near, places, self.window, self.strides, strict=True)
            tests = [at - o * stride < n for at, o, n, stride in ends if n % stride]
            found = partial(spaced, nest, x, (*i[:lead], *places), dict.fromkeys(spatial, 1))
            return (
                nest.select(nest.all(tests), found, nest.constant(0, x.dtype)) if tests else found()
            )

        if set(counts) == {1}:
            return window(tuple(nest.constant(0, dtypes.int64) for _ in counts))
        return nest.fold("add", counts, window)


@frozen
class WindowMax(_Windowed):
    """The largest element of each window; padding never wins.

    1. Every window holds at least one element. 2. A NaN in a window is its maximum.
    3. Kink: of equal elements the first in row-major order receives the gradient.
    """

    def infer(self, *types: TensorType) -> TensorType:
        (x,) = types
        check_dtype(self, x.dtype, dtypes.REALS)
        out = self.result_shape(x.shape)
        self.check_covered(x, out)
        return x.with_shape(out)

    def reference(self, *arrays: np.ndarray) -> np.ndarray:
        (x,) = arrays
        out = self.result_shape(x.shape)
        return self.reduced(np.maximum, self.bordered(x, _lowest(x.dtype)), out)

    def lower(self, nest: NestBuilder, *ins: Operand) -> Point:
        return self.folded(nest, ins[0], "maximum")

    def vjp(self, b: Builder, node: Node, *cotangents: Node) -> tuple[Node | None, ...]:
        (ct,) = cotangents
        (x,) = node.inputs
        fields = self.window, self.strides, self.padding, self.dilation
        if self.tiles(x.shape) and prod(self.window) <= _MET:
            return (b.window_max_grad(x, ct, *fields),)
        index = b.window_arg_max(x, *fields)
        return (b.window_unpool(ct, index, *fields, x.shape[x.rank - len(self.window) :]),)

    @classmethod
    def samples(cls) -> Iterator[Sample]:
        for fields, shape in _CASES:
            yield Sample(cls(*fields), (Draw(shape, distinct=True),), dtypes.REALS, tolerance=0)


@frozen
class WindowArgMax(_Windowed):
    """The place of the largest element of each window, as an index into the flattened spatial axes.

    1. Every window holds at least one element. 2. Of equal elements the first in row-major order
       is taken; of several NaNs the last, as PyTorch does.
    """

    differentiable: ClassVar[bool] = False

    def infer(self, *types: TensorType) -> TensorType:
        (x,) = types
        check_dtype(self, x.dtype, dtypes.REALS)
        out = self.result_shape(x.shape)
        self.check_covered(x, out)
        return x.with_shape(out).with_dtype(dtypes.int64)

    def reference(self, *arrays: np.ndarray) -> np.ndarray:
        (x,) = arrays
        rank = len(self.window)
        out = self.result_shape(x.shape)
        taps = [self.taps(axis, n) for axis, n in enumerate(out[-rank:])]
        places = [self.places(axis, n) for axis, n in enumerate(out[-rank:])]
        elements = contiguous_strides(self.window)
        sizes = contiguous_strides(x.shape[-rank:])
        lowest = _lowest(x.dtype)
        padded = self.bordered(x, lowest)
        best = self.reduced(np.maximum, padded, out)
        elements_at: list[_Index] = [(..., *tap) for tap in product(*taps)]
        code = np.min_scalar_type(len(elements_at))
        none = np.iinfo(code).max
        winner = np.full(out, none, code)
        for number, at in enumerate(elements_at):
            candidate = np.multiply(padded[at] != best, none, dtype=code)
            np.minimum(winner, candidate | number, out=winner)
        # Padding equals the maximum only where every element does: then the first element wins.
        first = [(p >= 0).argmax(axis=1) * n for p, n in zip(places, elements, strict=True)]
        np.copyto(winner, sum(np.ix_(*first)), where=best == lowest, casting="unsafe")
        if np.isnan(best).any():
            for number, at in enumerate(elements_at):
                winner[np.isnan(padded[at])] = number
        start = sum(np.ix_(*(p[:, 0] * n for p, n in zip(places, sizes, strict=True))))
        steps = ((p[0] - p[0, 0]) * n for p, n in zip(places, sizes, strict=True))
        return np.asarray(sum(np.ix_(*steps))).reshape(-1).take(winner) + start

    def lower(self, nest: NestBuilder, *ins: Operand) -> Point:
        return _place_of_maximum(nest, self, ins[0])

    @classmethod
    def samples(cls) -> Iterator[Sample]:
        for fields, shape in _CASES:
            yield Sample(cls(*fields), (Draw(shape, distinct=True),), dtypes.REALS, gradient=False)
        ties = np.array([[1.0, 1.0, 0.0, 2.0], [1.0, 0.0, 2.0, 2.0]])
        yield Sample(cls((2, 2), (1, 1), ((1, 1), (0, 0)), (1, 1)), (ties,), gradient=False)


@frozen
class WindowMaxGrad(_Windowed):
    """The elements of x that WindowArgMax finds receive those of ct, all others 0.

    1. Windows lie side by side and cover x: every element belongs to one of them.
    2. `ct` has the shape of WindowMax's result. 3. Ties and NaN: as WindowArgMax has them.
    """

    scattered: ClassVar[int | None] = 1

    @property
    def blocks(self) -> Shape:
        return self.window

    def infer(self, *types: TensorType) -> TensorType:
        x, ct = types
        check_dtype(self, x.dtype, dtypes.REALS)
        if not self.tiles(x.shape) or ct != x.with_shape(self.result_shape(x.shape)):
            raise ShapeError(f"{self.name()}: windows {self.window} of {x} do not give {ct}")
        return x

    def reference(self, *arrays: np.ndarray) -> np.ndarray:
        x, ct = arrays
        fields = self.window, self.strides, self.padding, self.dilation
        spatial = x.shape[x.ndim - len(self.window) :]
        index = WindowArgMax(*fields).reference(x)
        return WindowUnpool(*fields, spatial).reference(ct, index)

    def lower(self, nest: NestBuilder, *ins: Operand) -> Point:
        return share_of_maximum(nest, self.window, *ins)

    def vjp(self, b: Builder, node: Node, *cotangents: Node) -> tuple[Node | None, ...]:
        (ct,) = cotangents
        x, pooled = node.inputs
        axis = x.rank - len(self.window)
        index = b.window_arg_max(x, self.window, self.strides, self.padding, self.dilation)
        rows = b.reshape(ct, (*x.shape[:axis], prod(x.shape[axis:])))
        places = b.reshape(index, (*x.shape[:axis], prod(pooled.shape[axis:])))
        return None, b.reshape(b.take_along(rows, places, axis), pooled.shape)

    @classmethod
    def samples(cls) -> Iterator[Sample]:
        for window, shape in (((2,), (3, 4)), ((2, 2), (2, 2, 6)), ((1, 3), (2, 2, 3))):
            fields = window, window, ((0, 0),) * len(window), (1,) * len(window)
            ct = Draw(WindowMax(*fields).result_shape(shape))
            x = Draw(shape, distinct=True)
            yield Sample(cls(*fields), (x, ct), dtypes.REALS, tolerance=0)


@frozen
class WindowSum(_Windowed):
    """The sum of each window, whose padding counts as zero. 1. Half types accumulate in float32."""

    def infer(self, *types: TensorType) -> TensorType:
        (x,) = types
        check_dtype(self, x.dtype, dtypes.NUMBERS)
        return x.with_shape(self.result_shape(x.shape))

    def reference(self, *arrays: np.ndarray) -> np.ndarray:
        x = _wide(arrays[0])
        total = self.reduced(np.add, self.bordered(x, 0), self.result_shape(x.shape))
        return total.astype(arrays[0].dtype, copy=False)

    def lower(self, nest: NestBuilder, *ins: Operand) -> Point:
        return self.folded(nest, ins[0], "add")

    def vjp(self, b: Builder, node: Node, *cotangents: Node) -> tuple[Node | None, ...]:
        (ct,) = cotangents
        spatial = node.inputs[0].shape[-len(self.window) :]
        fields = self.window, self.strides, self.padding, self.dilation
        return (b.window_spread(ct, *fields, spatial),)

    @classmethod
    def samples(cls) -> Iterator[Sample]:
        for fields, shape in _CASES:
            yield Sample(cls(*fields), (Draw(shape),), dtypes.NUMBERS, tolerance=32)


@frozen
class WindowSpread(_Windowed):
    """The adjoint of WindowSum: every element is added to all places of its window.

    1. `shape` are the result's spatial sizes: those from which WindowSum makes the operand's.
    2. What falls into the padding is dropped. 3. Half types accumulate in float32.
    """

    shape: Shape

    def infer(self, *types: TensorType) -> TensorType:
        (ct,) = types
        check_dtype(self, ct.dtype, dtypes.NUMBERS)
        lead = ct.shape[: ct.rank - len(self.window)]
        if self.result_shape((*lead, *self.shape)) != ct.shape:
            raise ShapeError(
                f"{self.name()}: window {self.window} on sizes {self.shape} gives "
                f"{self.result_shape((*lead, *self.shape))}, but the operand is {ct}"
            )
        return ct.with_shape((*lead, *self.shape))

    def reference(self, *arrays: np.ndarray) -> np.ndarray:
        total = _wide(arrays[0])
        for axis in range(len(self.window)):
            place = total.ndim - len(self.window) + axis
            before = (slice(None),) * place
            size = self.shape[axis] + sum(self.padding[axis])
            target = np.zeros((*total.shape[:place], size, *total.shape[place + 1 :]), total.dtype)
            for tap in self.taps(axis, total.shape[place]):
                target[(*before, tap)] += total
            total = target
        return total[self.inside(self.shape)].astype(arrays[0].dtype, copy=False)

    def lower(self, nest: NestBuilder, *ins: Operand) -> Point:
        (ct,) = ins
        lows = nest.numbers([low for low, _ in self.padding])
        return lambda i: self._around(nest, ct, i, lows)

    def vjp(self, b: Builder, node: Node, *cotangents: Node) -> tuple[Node | None, ...]:
        (ct,) = cotangents
        return (b.window_sum(ct, self.window, self.strides, self.padding, self.dilation),)

    @classmethod
    def samples(cls) -> Iterator[Sample]:
        for fields, shape in _CASES:
            spatial = shape[-len(fields[0]) :]
            ct = Draw(WindowSum(*fields).result_shape(shape))
            yield Sample(cls(*fields, spatial), (ct,), dtypes.NUMBERS, tolerance=32)


@frozen
class WindowUnpool(_Windowed):
    """Every element is added at the place that WindowArgMax found in its window; the rest is 0.

    1. The second operand are such places, of the first one's shape; `shape` are the spatial sizes
       they count in. 2. A place outside its own window counts for nothing.
    3. Half types accumulate in float32.
    """

    shape: Shape

    def infer(self, *types: TensorType) -> TensorType:
        ct, index = types
        check_dtype(self, ct.dtype, dtypes.NUMBERS)
        lead = ct.shape[: ct.rank - len(self.window)]
        fits = self.result_shape((*lead, *self.shape)) == ct.shape == index.shape
        if not fits or index.dtype is not dtypes.int64:
            raise ShapeError(
                f"{self.name()}: window {self.window} on sizes {self.shape} gives "
                f"{self.result_shape((*lead, *self.shape))}, but the operands are {ct} and {index}"
            )
        return ct.with_shape((*lead, *self.shape))

    def reference(self, *arrays: np.ndarray) -> np.ndarray:
        ct, index = _wide(arrays[0]), arrays[1]
        lead = ct.shape[: ct.ndim - len(self.window)]
        rows = prod(lead)
        target = np.zeros((rows, prod(self.shape)), ct.dtype)
        row = np.repeat(np.arange(rows), prod(ct.shape[len(lead) :]))
        places, values = index.reshape(-1), ct.reshape(-1)
        inside = self._inside(index).reshape(-1)
        np.add.at(target, (row[inside], places[inside]), values[inside])
        return target.reshape(*lead, *self.shape).astype(arrays[0].dtype, copy=False)

    def _inside(self, index: np.ndarray) -> np.ndarray:
        """Whether each place is one of its window's."""
        inside = (index >= 0) & (index < prod(self.shape))
        spatial = np.unravel_index(np.where(inside, index, 0), self.shape)
        for axis, at in enumerate(spatial):
            count = index.shape[index.ndim - len(self.window) + axis]
            behind = (1,) * (len(self.window) - 1 - axis)
            found = self.places(axis, count).reshape(count, *behind, -1)
            inside &= (at[..., None] == found).any(axis=-1)
        return np.asarray(inside)

    def lower(self, nest: NestBuilder, *ins: Operand) -> Point:
        ct, index = ins
        lead = ct.rank - len(self.window)
        lows = nest.numbers([low for low, _ in self.padding])
        sizes = nest.numbers(self.shape)
        zero = nest.constant(0, ct.dtype)

        def mine(i: Indices) -> Operand:
            here = flat(i[lead:], sizes)
            return Operand(
                ct.dtype, ct.shape, lambda at: nest.select(nest.eq(index[at], here), ct[at], zero)
            )

        return lambda i: self._around(nest, mine(i), i, lows)

    def vjp(self, b: Builder, node: Node, *cotangents: Node) -> tuple[Node | None, ...]:
        (ct,) = cotangents
        index = node.inputs[1]
        axis = index.rank - len(self.window)
        lead = index.shape[:axis]
        rows = b.reshape(ct, (*lead, prod(self.shape)))
        places = b.reshape(index, (*lead, prod(index.shape[axis:])))
        return b.reshape(b.take_along(rows, places, axis), index.shape), None

    @classmethod
    def samples(cls) -> Iterator[Sample]:
        rng = np.random.default_rng(0)
        for fields, shape in _CASES:
            spatial = shape[-len(fields[0]) :]
            index = WindowArgMax(*fields).reference(rng.normal(size=shape))
            inputs = Draw(index.shape), index
            yield Sample(cls(*fields, spatial), inputs, dtypes.NUMBERS, tolerance=32)


_MET = 8  # elements of a window that are compared with each other
_Case = tuple[tuple[Shape, Shape, tuple[tuple[int, int], ...], Shape], Shape]
_CASES: tuple[_Case, ...] = (
    (((2,), (1,), ((0, 0),), (1,)), (2, 5)),
    (((2, 2), (2, 2), ((0, 0), (0, 0)), (1, 1)), (2, 4, 4)),
    (((3, 2), (2, 1), ((1, 1), (0, 1)), (1, 2)), (2, 1, 4, 4)),
    (((2, 1, 2), (1, 1, 2), ((1, 0), (0, 0), (0, 1)), (1, 1, 1)), (2, 2, 3)),
)


def _place_of_maximum(nest: NestBuilder, op: _Windowed, x: Operand) -> Point:
    at, bordered = op.visited(nest, x)
    low = nest.constant(identity("maximum", x.dtype)[0], x.dtype)
    none = dtypes.iinfo(dtypes.int64).max

    def number(i: Indices, k: Indices) -> Scalar:
        lead, found = x.rank - len(k), at(i, k)
        place = flat(found[lead:], x.shape[lead:])
        if x.dtype.is_inexact:  # arg_fold takes the lowest number: that of the last NaN
            nan = nest.isnan(spaced(nest, x, found, bordered, low))
            place = nest.select(nan, ~place, place)
        inside = nest.inside([found[a] for a in bordered], [x.shape[a] for a in bordered])
        return nest.select(inside, place, none) if bordered else place

    def point(i: Indices) -> Scalar:
        first = nest.arg_fold(
            "argmax",
            op.window,
            lambda k: spaced(nest, x, at(i, k), bordered, low),
            lambda k: number(i, k),
        )[1]
        return nest.select(first < 0, ~first, first) if x.dtype.is_inexact else first

    return point


def _wide(array: np.ndarray) -> np.ndarray:
    return array.astype(np.float32) if array.dtype == np.float16 else array


def _lowest(dtype: np.dtype) -> float | int:
    return -np.inf if dtype.kind == "f" else int(np.iinfo(dtype).min)


OPS: tuple[type[Op], ...] = (
    WindowMax,
    WindowArgMax,
    WindowMaxGrad,
    WindowSum,
    WindowSpread,
    WindowUnpool,
)
