"""Views that passes put around convolutions with strides: pixels taken out, and put in order."""

from __future__ import annotations

from collections.abc import Iterable
from math import prod
from typing import TYPE_CHECKING, Any, final

import numpy as np

from talweg.base import dtypes
from talweg.base.frozen import frozen
from talweg.base.shapes import Shape
from talweg.ir.types import TensorType
from talweg.loops import recipes
from talweg.loops.scalar import Scalar, constant
from talweg.ops.kinds import Scatter, View

if TYPE_CHECKING:
    from talweg.loops.build import NestBuilder
    from talweg.loops.operand import Indices, Operand, Point


@final
@frozen
class Every(View):
    """Every n-th element along the last axes.

    Args:
        steps: n, for each of these axes.
    """

    steps: Shape

    def infer(self, *types: TensorType) -> TensorType:
        (x,) = types
        kept = x.rank - len(self.steps)
        rest = (-(-n // step) for n, step in zip(x.shape[kept:], self.steps, strict=True))
        return x.with_shape((*x.shape[:kept], *rest))

    def reference(self, *arrays: np.ndarray) -> np.ndarray:
        taken: np.ndarray = arrays[0][_whole(slice(None, None, step) for step in self.steps)]
        return taken

    def lower(self, nest: NestBuilder, *ins: Operand) -> Point:
        (x,) = ins
        kept = x.rank - len(self.steps)
        return lambda i: x[
            (*i[:kept], *(at * s for at, s in zip(i[kept:], self.steps, strict=True)))
        ]


@final
@frozen
class Spread(Scatter):
    """Zeros, with the operand at every n-th place of the last axes: the adjoint of Every.

    Args:
        steps: n, for each of these axes.
        shape: the sizes of these axes in the result.
    """

    steps: Shape
    shape: Shape

    def infer(self, *types: TensorType) -> TensorType:
        (x,) = types
        return x.with_shape((*x.shape[: x.rank - len(self.steps)], *self.shape))

    def reference(self, *arrays: np.ndarray) -> np.ndarray:
        (x,) = arrays
        result = np.zeros((*x.shape[: x.ndim - len(self.steps)], *self.shape), x.dtype)
        result[_whole(slice(None, None, step) for step in self.steps)] = x
        return result

    def lower(self, nest: NestBuilder, *ins: Operand) -> None:
        (x,), out = ins, nest.outputs[0]
        kept = x.rank - len(self.steps)
        with nest.loops(out.shape[:kept]) as at:
            with nest.loops(out.shape[kept:]) as pixel:
                nest.store(out, (*at, *pixel), 0)
            with nest.loops(x.shape[kept:]) as place:
                pixel = tuple(p * step for p, step in zip(place, self.steps, strict=True))
                nest.store(out, (*at, *pixel), x[(*at, *place)])


@final
@frozen
class KernelPhases(View):
    """A kernel O, I, *spatial, cut up into one for each place between two steps, and reversed.

    result[(r, i), o, t] is element steps * (T - 1 - t) + r of kernel (o, i), or 0 beyond its end,
    where T is the last size of t and r counts the elements between two steps.
    """

    steps: Shape

    def infer(self, *types: TensorType) -> TensorType:
        (w,) = types
        rest = (-(-n // step) for n, step in zip(w.shape[2:], self.steps, strict=True))
        return w.with_shape((prod(self.steps) * w.shape[1], w.shape[0], *rest))

    def reference(self, *arrays: np.ndarray) -> np.ndarray:
        (w,) = arrays
        rows = zip(w.shape[2:], self.steps, strict=True)
        w = np.pad(w, [(0, 0), (0, 0), *((0, -n % step) for n, step in rows)])
        parts = [
            w[_whole(slice(r, None, step) for r, step in zip(place, self.steps, strict=True))]
            for place in np.ndindex(*self.steps)
        ]
        return np.flip(np.concatenate(parts, 1).swapaxes(0, 1), tuple(range(2, w.ndim)))

    def lower(self, nest: NestBuilder, *ins: Operand) -> Point:
        (w,) = ins
        sizes = nest.outputs[0].shape[2:]
        inside = dict.fromkeys(range(2, w.rank), 1)

        def point(i: Indices) -> Scalar:
            phase, channel = i[0] // w.shape[1], i[0] % w.shape[1]
            within = _digits(phase, self.steps)
            rows = zip(sizes, i[2:], self.steps, within, strict=True)
            taps = ((size - 1 - at) * step + r for size, at, step, r in rows)
            return recipes.spaced(nest, w, (i[1], channel, *taps), inside)

        return point


@final
@frozen
class Interleaved(View):
    """Images of N, (r, C), *places, as images of N, C, *spatial: r counts pixels between two steps.

    Args:
        steps: how many pixels of the result, along every axis, stand at one place.
        lows: how many pixels before the first one of the result are left out.
        shape: the spatial sizes of the result.
    """

    steps: Shape
    lows: Shape
    shape: Shape

    def infer(self, *types: TensorType) -> TensorType:
        (x,) = types
        return x.with_shape((x.shape[0], x.shape[1] // prod(self.steps), *self.shape))

    def reference(self, *arrays: np.ndarray) -> np.ndarray:
        (x,) = arrays
        count = len(self.steps)
        x = x.reshape(len(x), *self.steps, -1, *x.shape[2:])
        axes = (n for a in range(count) for n in (2 + count + a, 1 + a))
        x = x.transpose(0, 1 + count, *axes)
        sizes = (x.shape[2 + 2 * a] * step for a, step in enumerate(self.steps))
        cuts = (slice(low, low + n) for low, n in zip(self.lows, self.shape, strict=True))
        pixels: np.ndarray = x.reshape(*x.shape[:2], *sizes)[_whole(cuts)]
        return pixels

    def lower(self, nest: NestBuilder, *ins: Operand) -> Point:
        (x,) = ins
        channels, lows = nest.outputs[0].shape[1], nest.numbers(self.lows)

        def point(i: Indices) -> Scalar:
            pixels = [at + low for at, low in zip(i[2:], lows, strict=True)]
            phase = constant(0, dtypes.int64)
            for pixel, step in zip(pixels, self.steps, strict=True):
                phase = phase * step + pixel % step
            places = (pixel // step for pixel, step in zip(pixels, self.steps, strict=True))
            return x[(i[0], phase * channels + i[1], *places)]

        return point


def _whole(cuts: Iterable[slice]) -> tuple[Any, ...]:
    """Slices of the last axes, of all that stands there along the others."""
    return (..., *cuts)


def _digits(number: Scalar, sizes: Shape) -> list[Scalar]:
    """The digits of a number in a system where the places have these sizes, the last one first."""
    found: list[Scalar] = []
    for size in sizes[::-1]:
        found.insert(0, number % size)
        number = number // size
    return found
