"""Views: reshape, permute, slice, pad, broadcast, flip, and joining of values."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import cached_property
from typing import TYPE_CHECKING, ClassVar

import numpy as np

from talweg.base import dtypes
from talweg.base.errors import ShapeError
from talweg.base.frozen import frozen
from talweg.base.open import Open
from talweg.base.shapes import Shape, inverse_order, size_of
from talweg.ir.op import Draw, Op, Sample
from talweg.ir.types import TensorType
from talweg.loops import recipes
from talweg.ops.kinds import View, check_axes

if TYPE_CHECKING:
    from talweg.ir.build import Builder
    from talweg.ir.node import Node
    from talweg.loops.build import NestBuilder
    from talweg.loops.operand import Indices, Operand, Point
    from talweg.loops.scalar import Scalar


@frozen
class Reshape(View):
    """The same elements in row-major order under another shape. 1. The sizes' products agree."""

    relabels: ClassVar[bool] = True
    shape: Shape

    def resized(self, shape: Shape) -> View:
        return Reshape(shape)

    def infer(self, *types: TensorType) -> TensorType:
        (x,) = types
        if size_of(self.shape) != x.size:
            raise ShapeError(f"cannot reshape {x} of {x.size} elements into shape {self.shape}")
        return x.with_shape(self.shape)

    def reference(self, *arrays: np.ndarray) -> np.ndarray:
        return arrays[0].reshape(self.shape)

    def lower(self, nest: NestBuilder, *ins: Operand) -> Point:
        return recipes.reshaped(nest, ins[0], nest.outputs[0].shape)

    def vjp(self, b: Builder, node: Node, *cotangents: Node) -> tuple[Node | None, ...]:
        (ct,) = cotangents
        return (b.reshape(ct, node.inputs[0].shape),)

    @classmethod
    def samples(cls) -> Iterator[Sample]:
        yield Sample(cls((2, 6)), (Draw((3, 4)),), dtypes.ALL)
        yield Sample(cls(()), (Draw((1, 1)),), dtypes.FLOATS)


@frozen
class Permute(View):
    """Axes in another order: result axis i is operand axis `axes[i]`."""

    axes: tuple[int, ...]

    def infer(self, *types: TensorType) -> TensorType:
        (x,) = types
        if sorted(self.axes) != list(range(x.rank)):
            raise ShapeError(f"permute: {self.axes} is not an order of the {x.rank} axes of {x}")
        return x.with_shape(tuple(x.shape[a] for a in self.axes))

    def reference(self, *arrays: np.ndarray) -> np.ndarray:
        return arrays[0].transpose(self.axes)

    def lower(self, nest: NestBuilder, *ins: Operand) -> Point:
        (x,) = ins
        source = inverse_order(self.axes)
        return lambda i: x[[i[a] for a in source]]

    def vjp(self, b: Builder, node: Node, *cotangents: Node) -> tuple[Node | None, ...]:
        (ct,) = cotangents
        return (b.permute(ct, inverse_order(self.axes)),)

    @classmethod
    def samples(cls) -> Iterator[Sample]:
        yield Sample(cls((2, 0, 1)), (Draw((2, 3, 4)),), dtypes.ALL)


@frozen
class Expand(View):
    """Repeat axes of size 1 and add leading axes until the shape is `shape`."""

    shape: Shape

    def resized(self, shape: Shape) -> View:
        return Expand(shape)

    def infer(self, *types: TensorType) -> TensorType:
        (x,) = types
        lead = len(self.shape) - x.rank
        if lead < 0 or any(
            n != m and n != 1 for n, m in zip(x.shape, self.shape[lead:], strict=True)
        ):
            raise ShapeError(f"cannot expand {x} to shape {self.shape}: a size must be 1 or equal")
        return x.with_shape(self.shape)

    def reference(self, *arrays: np.ndarray) -> np.ndarray:
        return np.broadcast_to(arrays[0], self.shape)

    def lower(self, nest: NestBuilder, *ins: Operand) -> Point:
        (x,) = ins
        lead = len(self.shape) - x.rank
        repeated = [nest.size(n) == 1 and self.shape[lead + a] != 1 for a, n in enumerate(x.shape)]
        return lambda i: x[[0 if r else at for r, at in zip(repeated, i[lead:], strict=True)]]

    def vjp(self, b: Builder, node: Node, *cotangents: Node) -> tuple[Node | None, ...]:
        (ct,) = cotangents
        x = node.inputs[0]
        lead = len(self.shape) - x.rank
        axes = (
            *range(lead),
            *(i + lead for i, n in enumerate(x.shape) if n == 1 and self.shape[i + lead] != 1),
        )
        return (b.reshape(b.reduce_sum(ct, axes), x.shape),)

    @classmethod
    def samples(cls) -> Iterator[Sample]:
        yield Sample(cls((2, 3, 4)), (Draw((3, 1)),), dtypes.ALL)
        yield Sample(cls((2, 1)), (Draw(()),), dtypes.FLOATS)


@frozen
class _Started(View):
    """A view that begins at `starts`, one along every axis: kernels take them as arguments."""

    numbered: ClassVar[bool] = True

    if TYPE_CHECKING:
        starts: tuple[int, ...]
        steps: tuple[int, ...]

    @property
    def numbers(self) -> tuple[int, ...]:
        return self.starts

    @cached_property
    def kin(self) -> int:
        return self.opened(0).token


def _opened(first: int, starts: Sequence[int]) -> tuple[int, ...]:
    return tuple(map(Open, range(first, first + len(starts))))


def _spans(starts: Sequence[int], stops: Sequence[int], steps: Sequence[int]) -> tuple[int, ...]:
    """How far slices reach behind their starts: to the last element, and one further."""
    sizes = (len(range(*row)) for row in zip(starts, stops, steps, strict=True))
    return tuple([(n - 1) * s + 1 if n else 0 for n, s in zip(sizes, steps, strict=True)])


@frozen
class Slice(_Started):
    """Elements start, start + step, … below stop, along every axis.

    1. 0 <= start <= stop <= size and step >= 1, for each axis.
    """

    starts: tuple[int, ...]
    stops: tuple[int, ...]
    steps: tuple[int, ...]

    def opened(self, first: int) -> Op:
        spans = _spans(self.starts, self.stops, self.steps)
        return Slice(_opened(first, self.starts), spans, self.steps)

    def slices(self) -> tuple[slice, ...]:
        """Return one Python slice per axis."""
        rows = zip(self.starts, self.stops, self.steps, strict=True)
        return tuple(slice(a, z, s) for a, z, s in rows)

    def infer(self, *types: TensorType) -> TensorType:
        x = types[0]
        if not len(self.starts) == len(self.stops) == len(self.steps) == x.rank:
            raise ShapeError(f"{self.name()} needs one start, stop and step per axis of {x}")
        rows = zip(self.starts, self.stops, self.steps, x.shape, strict=True)
        if any(not 0 <= a <= z <= n or s < 1 for a, z, s, n in rows):
            raise ShapeError(f"{self.name()} {self.slices()} does not lie within {x}")
        return x.with_shape(tuple(len(range(s.start, s.stop, s.step)) for s in self.slices()))

    def reference(self, *arrays: np.ndarray) -> np.ndarray:
        return arrays[0][self.slices()]

    def lower(self, nest: NestBuilder, *ins: Operand) -> Point:
        (x,) = ins
        starts = nest.numbers(self.starts)
        return lambda i: x[[at * s + a for at, s, a in zip(i, self.steps, starts, strict=True)]]

    def vjp(self, b: Builder, node: Node, *cotangents: Node) -> tuple[Node | None, ...]:
        (ct,) = cotangents
        return (b.embed(ct, self.starts, self.steps, node.inputs[0].shape),)

    @classmethod
    def samples(cls) -> Iterator[Sample]:
        yield Sample(cls((1, 0), (3, 5), (1, 2)), (Draw((4, 5)),), dtypes.ALL)


@frozen
class Embed(_Started):
    """Zeros of shape `shape`, with the operand at start, start + step, … along every axis."""

    embeds: ClassVar[bool] = True
    starts: tuple[int, ...]
    steps: tuple[int, ...]
    shape: Shape

    def opened(self, first: int) -> Op:
        return Embed(_opened(first, self.starts), self.steps, self.shape)

    def slice(self, x: TensorType) -> Slice:
        """Return what takes the operand out of the result."""
        ends = (
            a + s * (n - 1) + 1 if n else a
            for a, s, n in zip(self.starts, self.steps, x.shape, strict=True)
        )
        return Slice(self.starts, tuple(ends), self.steps)

    def infer(self, *types: TensorType) -> TensorType:
        (x,) = types
        result = x.with_shape(self.shape)
        if x.rank != result.rank or self.slice(x).infer(result) is not x:
            raise ShapeError(f"{self.name()}: {x} does not fit into shape {self.shape}")
        return result

    def reference(self, *arrays: np.ndarray) -> np.ndarray:
        (x,) = arrays
        out = np.zeros(self.shape, x.dtype)
        rows = zip(self.starts, self.steps, x.shape, strict=True)
        out[tuple(slice(a, a + s * n, s) for a, s, n in rows)] = x
        return out

    def lower(self, nest: NestBuilder, *ins: Operand) -> Point:
        (x,) = ins
        starts = nest.numbers(self.starts)
        rows = zip(self.shape, x.shape, self.steps, strict=True)
        steps = {a: s for a, (n, m, s) in enumerate(rows) if n > 1 or s > 1 or nest.size(m) != 1}

        def point(i: Indices) -> Scalar:
            places = [at - a for at, a in zip(i, starts, strict=True)]
            return recipes.spaced(nest, x, places, steps)

        return point

    def vjp(self, b: Builder, node: Node, *cotangents: Node) -> tuple[Node | None, ...]:
        (ct,) = cotangents
        where = self.slice(node.inputs[0].type)
        return (b.slice(ct, where.starts, where.stops, where.steps),)

    def span(self, operand: TensorType) -> tuple[int, int, int] | None:
        rows = zip(operand.shape, self.shape, strict=True)
        axes = [a for a, (n, full) in enumerate(rows) if n != full]
        if len(axes) != 1 or any(s > 1 for s in self.steps):
            return None
        (axis,) = axes
        start = self.starts[axis]
        if isinstance(start, Open):
            return None
        return axis, start, start + operand.shape[axis]

    @classmethod
    def samples(cls) -> Iterator[Sample]:
        yield Sample(cls((1, 0), (1, 2), (4, 5)), (Draw((2, 3)),), dtypes.ALL)
        yield Sample(cls((0, 1), (1, 1), (4, 5)), (Draw((4, 3)),), dtypes.FLOATS)
        yield Sample(cls((0, 0), (1, 1), (4, 1)), (Draw((4, 0)),), dtypes.FLOATS)


@frozen
class SetSlice(_Started):
    """The first operand with the elements of a Slice replaced by the second operand."""

    starts: tuple[int, ...]
    stops: tuple[int, ...]
    steps: tuple[int, ...]

    def opened(self, first: int) -> Op:
        spans = _spans(self.starts, self.stops, self.steps)
        return SetSlice(_opened(first, self.starts), spans, self.steps)

    def infer(self, *types: TensorType) -> TensorType:
        x, update = types
        part = Slice(self.starts, self.stops, self.steps).infer(x)
        if part is not update:
            raise ShapeError(f"set_slice: the slice is {part}, the update {update}")
        return x

    def reference(self, *arrays: np.ndarray) -> np.ndarray:
        x, update = arrays
        out = np.array(x)
        out[Slice(self.starts, self.stops, self.steps).slices()] = update
        return out

    def lower(self, nest: NestBuilder, *ins: Operand) -> Point:
        x, update = ins
        starts, steps = nest.numbers(self.starts), dict(enumerate(self.steps))

        def point(i: Indices) -> Scalar:
            places = [at - a for at, a in zip(i, starts, strict=True)]
            return recipes.spaced(nest, update, places, steps, lambda: x[i])

        return point

    def vjp(self, b: Builder, node: Node, *cotangents: Node) -> tuple[Node | None, ...]:
        (ct,) = cotangents
        update = node.inputs[1]
        zeros = b.expand(b.scalar(0, update.dtype), update.shape)
        where = self.starts, self.stops, self.steps
        return b.set_slice(ct, zeros, *where), b.slice(ct, *where)

    @classmethod
    def samples(cls) -> Iterator[Sample]:
        yield Sample(cls((1, 0), (3, 5), (1, 2)), (Draw((4, 5)), Draw((2, 3))), dtypes.ALL)


@frozen
class Diagonal(View):
    """The main diagonal of the last two axes: [..., n, n] to [..., n].

    1. The operand has at least two axes, the last two of one size.
    """

    def infer(self, *types: TensorType) -> TensorType:
        (x,) = types
        if x.rank < 2 or x.shape[-1] != x.shape[-2]:
            raise ShapeError(f"{self.name()} needs the last two axes of one size, got {x}")
        return x.with_shape(x.shape[:-1])

    def reference(self, *arrays: np.ndarray) -> np.ndarray:
        return np.diagonal(arrays[0], axis1=-2, axis2=-1)

    def lower(self, nest: NestBuilder, *ins: Operand) -> Point:
        (x,) = ins
        return lambda i: x[[*i, i[-1]]]

    def vjp(self, b: Builder, node: Node, *cotangents: Node) -> tuple[Node | None, ...]:
        (ct,) = cotangents
        x = node.inputs[0]
        return (b.set_diagonal(b.expand(b.scalar(0, x.dtype), x.shape), ct),)

    @classmethod
    def samples(cls) -> Iterator[Sample]:
        yield Sample(cls(), (Draw((2, 3, 3)),), dtypes.ALL)
        yield Sample(cls(), (Draw((0, 0)),), dtypes.FLOATS)


@frozen
class SetDiagonal(View):
    """The first operand with its Diagonal replaced by the second operand."""

    def infer(self, *types: TensorType) -> TensorType:
        x, update = types
        if Diagonal().infer(x) is not update:
            raise ShapeError(f"{self.name()}: the diagonal of {x} cannot be {update}")
        return x

    def reference(self, *arrays: np.ndarray) -> np.ndarray:
        x, update = arrays
        out = np.array(x)
        place = np.arange(x.shape[-1])
        out[..., place, place] = update
        return out

    def lower(self, nest: NestBuilder, *ins: Operand) -> Point:
        x, update = ins
        return lambda i: nest.select(
            nest.eq(i[-2], i[-1]), lambda: update[list(i[:-1])], lambda: x[i]
        )

    def vjp(self, b: Builder, node: Node, *cotangents: Node) -> tuple[Node | None, ...]:
        (ct,) = cotangents
        update = node.inputs[1]
        zeros = b.expand(b.scalar(0, update.dtype), update.shape)
        return b.set_diagonal(ct, zeros), b.diagonal(ct)

    @classmethod
    def samples(cls) -> Iterator[Sample]:
        yield Sample(cls(), (Draw((2, 3, 3)), Draw((2, 3))), dtypes.ALL)


@frozen
class Flip(View):
    """Reverse the order of elements along axes. 1. `axes` are sorted, distinct, from the front."""

    axes: tuple[int, ...]

    def infer(self, *types: TensorType) -> TensorType:
        (x,) = types
        check_axes(self, self.axes, x)
        return x

    def reference(self, *arrays: np.ndarray) -> np.ndarray:
        return np.flip(arrays[0], self.axes)

    def lower(self, nest: NestBuilder, *ins: Operand) -> Point:
        (x,) = ins

        def point(i: Indices) -> Scalar:
            rows = zip(range(x.rank), x.shape, i, strict=True)
            return x[[n - 1 - at if a in self.axes else at for a, n, at in rows]]

        return point

    def vjp(self, b: Builder, node: Node, *cotangents: Node) -> tuple[Node | None, ...]:
        (ct,) = cotangents
        return (b.flip(ct, self.axes),)

    @classmethod
    def samples(cls) -> Iterator[Sample]:
        yield Sample(cls((0, 2)), (Draw((2, 3, 4)),), dtypes.ALL)
        yield Sample(cls(()), (Draw(()),), dtypes.FLOATS)


@frozen
class Pad(View):
    """Surround and interleave the first operand with the second, a 0-d fill value.

    Per axis: `interior` fill values between neighbours, then `low` in front and `high` behind. A
    negative `low` or `high` removes that many places instead (StableHLO's `pad`).

    1. One `low`, `high` and `interior` per axis; interior >= 0; no size becomes negative.
    """

    low: tuple[int, ...]
    high: tuple[int, ...]
    interior: tuple[int, ...]

    def infer(self, *types: TensorType) -> TensorType:
        x, fill = types
        if not len(self.low) == len(self.high) == len(self.interior) == x.rank:
            raise ShapeError(f"pad needs one low, high and interior per axis of {x}")
        if fill.rank or fill.dtype is not x.dtype:
            raise ShapeError(f"pad: the fill value of {x} must be 0-d of its dtype, got {fill}")
        rows = zip(x.shape, self.low, self.high, self.interior, strict=True)
        shape = tuple(a + z + n + max(n - 1, 0) * i for n, a, z, i in rows)
        if any(n < 0 for n in shape) or any(i < 0 for i in self.interior):
            raise ShapeError(
                f"pad: low {self.low}, high {self.high}, interior {self.interior} leave no valid "
                f"shape of {x}: {shape}"
            )
        return x.with_shape(shape)

    def reference(self, *arrays: np.ndarray) -> np.ndarray:
        x, fill = arrays
        source, target, shape = [], [], []
        for n, a, z, i in zip(x.shape, self.low, self.high, self.interior, strict=True):
            size = a + z + n + max(n - 1, 0) * i
            step = i + 1
            first = max(0, -(a // step))
            last = max(first, min(n, (size - 1 - a) // step + 1))
            source.append(slice(first, last))
            target.append(slice(a + first * step, max(0, a + (last - 1) * step + 1), step))
            shape.append(size)
        out = np.full(shape, fill, x.dtype)
        out[tuple(target)] = x[tuple(source)]
        return out

    def lower(self, nest: NestBuilder, *ins: Operand) -> Point:
        x, fill = ins
        return recipes.padded(nest, x, self.low, self.interior, lambda: fill[()])

    def vjp(self, b: Builder, node: Node, *cotangents: Node) -> tuple[Node | None, ...]:
        (ct,) = cotangents
        shape = node.inputs[0].shape
        zero = b.scalar(0, ct.dtype)
        none = (0,) * len(shape)
        steps = tuple(i + 1 for i in self.interior)
        stops = tuple(n + max(n - 1, 0) * i for n, i in zip(shape, self.interior, strict=True))
        if min((*self.low, *self.high), default=0) >= 0:
            stops = tuple(a + z for a, z in zip(self.low, stops, strict=True))
            inner = b.slice(ct, self.low, stops, steps)
        else:
            low, high = tuple(-a for a in self.low), tuple(-z for z in self.high)
            inner = b.slice(b.pad(ct, zero, low, high, none), none, stops, steps)
        return inner, b.sub(ct, b.pad(inner, zero, self.low, self.high, self.interior))

    @classmethod
    def samples(cls) -> Iterator[Sample]:
        inputs = Draw((3, 4)), Draw(())
        yield Sample(cls((1, 0), (2, 1), (0, 2)), inputs, dtypes.ALL)
        yield Sample(cls((-1, 2), (0, -3), (1, 1)), inputs, dtypes.FLOATS)


@frozen
class Concat(View):
    """Any number of operands one after the other along `axis`.

    1. At least one operand; all of one dtype, rank and, other than along `axis`, sizes.
    """

    axis: int

    def infer(self, *types: TensorType) -> TensorType:
        if not types:
            raise ShapeError("concat needs at least one operand")
        first = types[0]
        check_axes(self, (self.axis,), first)
        for t in types:
            same = t.rank == first.rank and all(
                n == m or i == self.axis
                for i, (n, m) in enumerate(zip(t.shape, first.shape, strict=True))
            )
            if not same or t.dtype is not first.dtype:
                raise ShapeError(f"concat along axis {self.axis}: {t} does not fit {first}")
        size = sum(t.shape[self.axis] for t in types)
        return first.with_shape((*first.shape[: self.axis], size, *first.shape[self.axis + 1 :]))

    def reference(self, *arrays: np.ndarray) -> np.ndarray:
        return np.concatenate(arrays, self.axis)

    def lower(self, nest: NestBuilder, *ins: Operand) -> Point:
        return recipes.concatenated(nest, ins, self.axis)

    def joins(self, rank: int) -> int:
        return self.axis

    def vjp(self, b: Builder, node: Node, *cotangents: Node) -> tuple[Node | None, ...]:
        (ct,) = cotangents
        axis, end = self.axis, 0
        begins, ends, steps = [0] * ct.rank, list(ct.shape), (1,) * ct.rank
        if isinstance(ct.op, Slice) and ct.op.steps == steps:  # of what is joined with others
            begins, ends, end = list(ct.op.starts), list(ct.op.stops), ct.op.starts[axis]
            (ct,) = ct.inputs
        parts = []
        for i in node.inputs:
            begins[axis], end = end, end + i.shape[axis]
            ends[axis] = end
            parts.append(b.slice(ct, tuple(begins), tuple(ends), steps))
        return tuple(parts)

    @classmethod
    def samples(cls) -> Iterator[Sample]:
        yield Sample(cls(1), (Draw((2, 3)), Draw((2, 0)), Draw((2, 2))), dtypes.ALL)
        yield Sample(cls(0), (Draw((2, 3)),), dtypes.FLOATS)


OPS: tuple[type[Op], ...] = (
    *(Reshape, Permute, Expand, Slice, Embed, SetSlice, Diagonal, SetDiagonal, Flip, Pad, Concat),
)
