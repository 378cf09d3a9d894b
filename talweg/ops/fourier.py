"""Fourier transforms, computed by pocketfft through NumPy.

`norm` says what is divided by the number of places: the `backward` transform, `forward`, or both by
its root (`ortho`).
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import numpy as np

from talweg.base import dtypes
from talweg.base.errors import ShapeError
from talweg.base.frozen import frozen
from talweg.ir.op import Draw, Op, Sample
from talweg.ir.types import TensorType
from talweg.ops.kinds import REAL_PART, Routine, check_dtype

if TYPE_CHECKING:
    from talweg.ir.build import Builder
    from talweg.ir.node import Node

COMPLEX = (dtypes.complex64, dtypes.complex128)
FLOATS = (dtypes.float32, dtypes.float64)
OPPOSITE = {"backward": "forward", "forward": "backward", "ortho": "ortho"}
_COMPLEX_OF = {real: whole for whole, real in REAL_PART.items()}


def _check(op: Op, x: TensorType, axes: tuple[int, ...], norm: str) -> None:
    if not axes or len({*axes}) < len(axes) or not {*axes} <= {*range(x.rank)}:
        raise ShapeError(f"{op.name()}: axes {axes} are not distinct axes of {x}")
    if norm not in OPPOSITE:
        raise ShapeError(f"{op.name()}: norm must be backward, forward or ortho, not {norm!r}")


@frozen
class Fourier(Routine):
    """The discrete Fourier transform along axes of a complex operand, or its inverse.

    1. Axes are distinct and counted from the front.
    """

    axes: tuple[int, ...]
    inverse: bool
    norm: str

    def infer(self, *types: TensorType) -> TensorType:
        (x,) = types
        check_dtype(self, x.dtype, COMPLEX)
        _check(self, x, self.axes, self.norm)
        return x

    def reference(self, *arrays: np.ndarray) -> np.ndarray:
        transform = np.fft.ifftn if self.inverse else np.fft.fftn
        return np.asarray(transform(arrays[0], axes=self.axes, norm=self.norm))  # type: ignore[arg-type]

    def vjp(self, b: Builder, node: Node, *cotangents: Node) -> tuple[Node | None, ...]:
        back = Fourier(self.axes, not self.inverse, OPPOSITE[self.norm])
        return (b.apply(back, cotangents[0]),)

    @classmethod
    def samples(cls) -> Iterator[Sample]:
        for inverse in (False, True):
            for norm in OPPOSITE:
                yield Sample(cls((1,), inverse, norm), (Draw((2, 5)),), COMPLEX, 64)
        yield Sample(cls((2, 0), False, "backward"), (Draw((4, 2, 3)),), COMPLEX, 64)


@frozen
class RealFourier(Routine):
    """The transform of a real operand: n // 2 + 1 places along the last of the axes.

    The others are their complex conjugates.
    """

    axes: tuple[int, ...]
    norm: str

    def infer(self, *types: TensorType) -> TensorType:
        (x,) = types
        check_dtype(self, x.dtype, FLOATS)
        _check(self, x, self.axes, self.norm)
        shape = list(x.shape)
        shape[self.axes[-1]] = x.shape[self.axes[-1]] // 2 + 1
        return x.with_shape(tuple(shape)).with_dtype(_COMPLEX_OF[x.dtype])

    def reference(self, *arrays: np.ndarray) -> np.ndarray:
        return np.asarray(np.fft.rfftn(arrays[0], axes=self.axes, norm=self.norm))  # type: ignore[arg-type]

    def vjp(self, b: Builder, node: Node, *cotangents: Node) -> tuple[Node | None, ...]:
        (x,), (ct,) = node.inputs, cotangents
        axis, none = self.axes[-1], (0,) * x.rank
        more = tuple(x.shape[i] - ct.shape[i] if i == axis else 0 for i in range(x.rank))
        whole = b.pad(ct, b.scalar(0, ct.dtype), none, more, none)
        return (b.real(b.apply(Fourier(self.axes, True, OPPOSITE[self.norm]), whole)),)

    @classmethod
    def samples(cls) -> Iterator[Sample]:
        for n in (5, 6, 1):
            yield Sample(cls((1,), "backward"), (Draw((2, n)),), FLOATS, 64)
        yield Sample(cls((2, 0), "ortho"), (Draw((4, 2, 3)),), FLOATS, 64)


@frozen
class RealFourierInverse(Routine):
    """The real result, of n places along the last of the axes, whose transform is given by half.

    1. The last of the axes has n // 2 + 1 places. Imaginary parts that no real result has are not
       read.
    """

    axes: tuple[int, ...]
    norm: str
    n: int

    def infer(self, *types: TensorType) -> TensorType:
        (x,) = types
        check_dtype(self, x.dtype, COMPLEX)
        _check(self, x, self.axes, self.norm)
        shape, axis = list(x.shape), self.axes[-1]
        if shape[axis] != self.n // 2 + 1:
            raise ShapeError(f"{self.name()}: {x} does not have {self.n // 2 + 1} places")
        shape[axis] = self.n
        return x.with_shape(tuple(shape)).with_dtype(REAL_PART[x.dtype])

    def reference(self, *arrays: np.ndarray) -> np.ndarray:
        (x,) = arrays
        sizes = [x.shape[a] for a in self.axes[:-1]] + [self.n]
        return np.asarray(np.fft.irfftn(x, sizes, self.axes, self.norm))  # type: ignore[arg-type]

    def vjp(self, b: Builder, node: Node, *cotangents: Node) -> tuple[Node | None, ...]:
        (ct,) = cotangents
        out = b.apply(RealFourier(self.axes, OPPOSITE[self.norm]), ct)
        at = b.iota(out.shape, self.axes[-1], dtypes.int64)
        once = b.eq(at, b.scalar(0, dtypes.int64))
        if self.n % 2 == 0:
            once = b.bit_or(once, b.eq(at, b.scalar(self.n // 2, dtypes.int64)))
        return (b.where(once, out, b.mul(out, b.scalar(2, out.dtype))),)

    @classmethod
    def samples(cls) -> Iterator[Sample]:
        for n in (5, 6, 1):
            op = cls((1,), "backward", n)
            yield Sample(op, (Draw((2, n // 2 + 1)),), COMPLEX, 64)
        yield Sample(cls((2, 0), "ortho", 6), (Draw((4, 2, 3)),), COMPLEX, 64)


OPS: tuple[type[Op], ...] = (Fourier, RealFourier, RealFourierInverse)
