"""Views: reshape, permute, slice, pad, broadcast, flip, and joining of values."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from talweg.base import dtypes
from talweg.base.errors import ShapeError
from talweg.base.shapes import Shape, size_of
from talweg.ir.op import Draw, Op, Sample
from talweg.ir.types import TensorType
from talweg.ops.kinds import View

if TYPE_CHECKING:
    from talweg.ir.build import Builder
    from talweg.ir.node import Node


@dataclass(frozen=True)
class Reshape(View):
    """The same elements in row-major order under another shape. 1. The sizes' products agree."""

    shape: Shape

    def infer(self, *types: TensorType) -> TensorType:
        (x,) = types
        if size_of(self.shape) != x.size:
            raise ShapeError(f"cannot reshape {x} of {x.size} elements into shape {self.shape}")
        return x.with_shape(self.shape)

    def reference(self, *arrays: np.ndarray) -> np.ndarray:
        return arrays[0].reshape(self.shape)

    def vjp(self, b: Builder, node: Node, *cotangents: Node) -> tuple[Node | None, ...]:
        (ct,) = cotangents
        return (b.reshape(ct, node.inputs[0].shape),)

    @classmethod
    def samples(cls) -> Iterator[Sample]:
        yield Sample(cls((2, 6)), (Draw((3, 4)),), dtypes.ALL)
        yield Sample(cls(()), (Draw((1, 1)),), dtypes.FLOATS)


@dataclass(frozen=True)
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

    def vjp(self, b: Builder, node: Node, *cotangents: Node) -> tuple[Node | None, ...]:
        (ct,) = cotangents
        inverse = tuple(sorted(range(len(self.axes)), key=self.axes.__getitem__))
        return (b.permute(ct, inverse),)

    @classmethod
    def samples(cls) -> Iterator[Sample]:
        yield Sample(cls((2, 0, 1)), (Draw((2, 3, 4)),), dtypes.ALL)


@dataclass(frozen=True)
class Expand(View):
    """Repeat axes of size 1 and add leading axes until the shape is `shape`."""

    shape: Shape

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


@dataclass(frozen=True)
class Slice(View):
    """Elements start, start + step, … below stop, along every axis.

    1. 0 <= start <= stop <= size and step >= 1, for each axis.
    """

    starts: tuple[int, ...]
    stops: tuple[int, ...]
    steps: tuple[int, ...]

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

    def vjp(self, b: Builder, node: Node, *cotangents: Node) -> tuple[Node | None, ...]:
        (ct,) = cotangents
        x = node.inputs[0]
        zeros = b.expand(b.scalar(0, x.dtype), x.shape)
        return (b.set_slice(zeros, ct, self.starts, self.stops, self.steps),)

    @classmethod
    def samples(cls) -> Iterator[Sample]:
        yield Sample(cls((1, 0), (3, 5), (1, 2)), (Draw((4, 5)),), dtypes.ALL)


@dataclass(frozen=True)
class SetSlice(View):
    """The first operand with the elements of a Slice replaced by the second operand."""

    starts: tuple[int, ...]
    stops: tuple[int, ...]
    steps: tuple[int, ...]

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

    def vjp(self, b: Builder, node: Node, *cotangents: Node) -> tuple[Node | None, ...]:
        (ct,) = cotangents
        update = node.inputs[1]
        zeros = b.expand(b.scalar(0, update.dtype), update.shape)
        where = self.starts, self.stops, self.steps
        return b.set_slice(ct, zeros, *where), b.slice(ct, *where)

    @classmethod
    def samples(cls) -> Iterator[Sample]:
        yield Sample(cls((1, 0), (3, 5), (1, 2)), (Draw((4, 5)), Draw((2, 3))), dtypes.ALL)


OPS: tuple[type[Op], ...] = (Reshape, Permute, Expand, Slice, SetSlice)
