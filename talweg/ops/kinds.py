"""The closed set of op kinds. Passes, schedules and code generation match on these, never on an Op.

An op of a known kind is one class in one family file; a new kind is a design note.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any, ClassVar, final

import numpy as np

from talweg.base import dtypes
from talweg.base.dtypes import DType
from talweg.base.errors import DTypeError, ShapeError
from talweg.base.frozen import frozen
from talweg.base.shapes import Shape
from talweg.ir.op import Draw, Op, Sample
from talweg.ir.types import TensorType, tensor_type
from talweg.loops import recipes
from talweg.loops.scalar import Scalar, call

if TYPE_CHECKING:
    from talweg.ir.build import Builder
    from talweg.ir.node import Node
    from talweg.loops.build import NestBuilder
    from talweg.loops.operand import Indices, Operand, Point

INEXACT = (*dtypes.FLOATS, *dtypes.COMPLEX)
REAL_PART: Mapping[DType, DType] = {
    dtypes.complex64: dtypes.float32,
    dtypes.complex128: dtypes.float64,
}


@frozen
class Elementwise(Op):
    """Each result element depends on the elements at the same place.

    1. Operands have one shape; a 0-d operand counts for every place. Nothing else broadcasts.
    2. Operands have one dtype, one of `accepts`; nothing promotes.
    3. The result has the operands' dtype, or `result` where the class names one.
    4. A `vjp` rule may return a full-shaped cotangent for a 0-d operand: the reverse pass sums it.

    A class states `function`, NumPy's meaning of the operation, and a `vjp`; what its samples need
    to know stands in `domain`, `kinks` and `tolerance`. Where the loop language has no function
    of the op's name, the class names one by `symbol` or has a `lower` rule of its own.

    Attributes:
        accepts: dtypes of the operands.
        result: dtype of the result, or a table from the operands' dtype where they differ.
        arity: number of operands.
        function: the operation on NumPy arrays.
        symbol: the function of `loops.functions.FUNCTIONS`, if its name is not that of the op.
        domain: samples are drawn between these.
        kinks: samples keep away from these: the function jumps or bends there.
        tolerance: see `Sample`.
        adds: whether the result is the sum of the operands.
        converts: whether the result is the operand in another dtype.
    """

    adds: ClassVar[bool] = False
    converts: ClassVar[bool] = False
    accepts: ClassVar[tuple[DType, ...]] = dtypes.NUMBERS
    result: ClassVar[DType | Mapping[DType, DType] | None] = None
    arity: ClassVar[int] = 1
    function: ClassVar[Callable[..., Any]]
    symbol: ClassVar[str] = ""
    domain: ClassVar[tuple[float, float]] = (-2.0, 2.0)
    kinks: ClassVar[tuple[float, ...]] = ()
    tolerance: ClassVar[float] = 4.0

    def infer(self, *types: TensorType) -> TensorType:
        dtype = types[0].dtype
        for t in types:
            if t.dtype is not dtype:
                raise DTypeError(
                    f"{self.name()} needs operands of one dtype, got {', '.join(map(repr, types))}"
                )
        check_dtype(self, dtype, self.accepts)
        result = self.result
        if not isinstance(result, DType):
            result = (result or {}).get(dtype, dtype)
        return tensor_type(result, elementwise_shape(self, types))

    def reference(self, *arrays: np.ndarray) -> np.ndarray:
        result: np.ndarray = type(self).function(*arrays)
        return result

    def lower(self, nest: NestBuilder, *ins: Scalar) -> Scalar:
        return call(self.symbol or self.name(), *ins)

    @classmethod
    def samples(cls) -> Iterator[Sample]:
        full = Draw((3, 4), *cls.domain, avoid=cls.kinks)
        scalar = replace(full, shape=())
        draws = [(full,) * cls.arity, (scalar,) * cls.arity]
        if cls.arity == 2:
            draws += [(full, scalar), (scalar, full)]
        for inputs in draws:
            yield Sample(cls(), inputs, cls.accepts, cls.tolerance)


@frozen
class Unary(Elementwise):
    """A smooth function of one operand: `slope` gives its gradient of every order."""

    accepts: ClassVar[tuple[DType, ...]] = INEXACT

    def slope(self, b: Builder, x: Node, y: Node) -> Node:
        """Return the derivative at x, where the value is y."""
        raise NotImplementedError

    def vjp(self, b: Builder, node: Node, *cotangents: Node) -> tuple[Node | None, ...]:
        (ct,) = cotangents
        return (b.mul(ct, b.adjoint(self.slope(b, node.inputs[0], node))),)


@frozen
class Reduce(Op):
    """Axes are combined away: sum, product, maximum, arg-maximum.

    1. `axes` are sorted, distinct and counted from the front.
    2. The reduced axes disappear from the shape.

    Attributes:
        adds: whether it is their sum.
    """

    adds: ClassVar[bool] = False
    axes: tuple[int, ...]

    def reduced(self, type: TensorType) -> Shape:
        """Return the shape without the reduced axes."""
        check_axes(self, self.axes, type)
        return tuple(n for i, n in enumerate(type.shape) if i not in self.axes)


@frozen
class View(Op):
    """Every result element is one element of an operand or a fixed fill value: no arithmetic.

    Attributes:
        relabels: the result is the operand's elements in the same row-major order.
    """

    relabels: ClassVar[bool] = False

    def span(self, operand: TensorType) -> tuple[int, int, int] | None:
        """Return axis, start and stop of the only part of the result that is not zero, or None.

        The part is the operand; it has the result's size along the other axes.
        """
        return None

    def resized(self, shape: Shape) -> View | None:
        """Return the same view of other operands whose result has this shape, where it names it."""
        return None

    def joins(self, rank: int) -> int | None:
        """Return the axis along which the result is its operands one after the other, or None."""
        return None


@final
@frozen
class Relabelled(View):
    """The same elements in row-major order under another shape: passes put it around joins."""

    relabels: ClassVar[bool] = True
    shape: Shape

    def infer(self, *types: TensorType) -> TensorType:
        return types[0].with_shape(self.shape)

    def reference(self, *arrays: np.ndarray) -> np.ndarray:
        return arrays[0].reshape(self.shape)

    def lower(self, nest: NestBuilder, *ins: Operand) -> Point:
        return recipes.reshaped(nest, ins[0], nest.outputs[0].shape)

    def resized(self, shape: Shape) -> View:
        return Relabelled(shape)


@final
@frozen
class Move(View):
    """The operand, stored anew: passes put it where a value changes its order of axes in memory.

    Args:
        border: how many zeros stand before and behind each of the last axes.
    """

    border: tuple[tuple[int, int], ...] = ()

    def infer(self, *types: TensorType) -> TensorType:
        (x,) = types
        kept = x.rank - len(self.border)
        grown = (n + sum(b) for n, b in zip(x.shape[kept:], self.border, strict=True))
        return x.with_shape((*x.shape[:kept], *grown))

    def reference(self, *arrays: np.ndarray) -> np.ndarray:
        (x,) = arrays
        widths = [(0, 0)] * (x.ndim - len(self.border)) + list(self.border)
        return np.pad(x, widths) if self.border else x

    def lower(self, nest: NestBuilder, *ins: Operand) -> Point:
        (x,) = ins
        if not self.border:
            return lambda i: x[i]
        kept = x.rank - len(self.border)
        starts = nest.numbers([before for before, _ in self.border])
        steps = dict.fromkeys(range(kept, x.rank), 1)

        def point(i: Indices) -> Scalar:
            inside = (at - start for at, start in zip(i[kept:], starts, strict=True))
            return recipes.spaced(nest, x, (*i[:kept], *inside), steps)

        return point


@final
@frozen
class Joined(View):
    """Operands one after the other along `axis`, stored: passes put it before a product.

    Args:
        axis: counted from the end, so negative.
    """

    axis: int

    def infer(self, *types: TensorType) -> TensorType:
        shape = list(types[0].shape)
        shape[self.axis] = sum(t.shape[self.axis] for t in types)
        return types[0].with_shape(tuple(shape))

    def reference(self, *arrays: np.ndarray) -> np.ndarray:
        return np.concatenate(arrays, self.axis)

    def lower(self, nest: NestBuilder, *ins: Operand) -> Point:
        return recipes.concatenated(nest, ins, self.axis % len(ins[0].shape))

    def joins(self, rank: int) -> int:
        return self.axis % rank


@final
@frozen
class Part(View):
    """Elements `start` up to `stop` along `axis`: passes put it where values are cut into blocks.

    Args:
        axis: counted from the end, so negative.
        start, stop: within the operand.
    """

    axis: int
    start: int
    stop: int

    def infer(self, *types: TensorType) -> TensorType:
        shape = list(types[0].shape)
        shape[self.axis] = self.stop - self.start
        return types[0].with_shape(tuple(shape))

    def reference(self, *arrays: np.ndarray) -> np.ndarray:
        (x,) = arrays
        return x.swapaxes(self.axis, 0)[self.start : self.stop].swapaxes(self.axis, 0)

    def lower(self, nest: NestBuilder, *ins: Operand) -> Point:
        (x,) = ins
        start, axis = nest.number(self.start), self.axis % x.rank
        return lambda i: x[[at + start if a == axis else at for a, at in enumerate(i)]]


@frozen
class Contract(Op):
    """Sums of products over contracted axes: batched dot, convolution.

    Attributes:
        images: which operands have the axes N, C, *spatial; -1 is the result.
        depth: the axis of each operand that is contracted, counted from the end: where operands
            are joined along it, their products are added. None where there is no such axis.
        spreads: whether steps of the kernel are taken in the result, not in the first operand.
    """

    images: ClassVar[tuple[int, ...]] = ()
    spreads: ClassVar[bool] = False
    depth: ClassVar[tuple[int, ...] | None] = None

    @property
    def slides(self) -> bool:
        """Whether images are met by a kernel of more than one element."""
        return False

    @property
    def single(self) -> bool:
        """Whether the second operand is a kernel for every single channel."""
        return False

    @property
    def border(self) -> tuple[tuple[int, int], ...]:
        """The zeros around the spatial axes of the first operand; none where it has none."""
        return ()

    def borderless(self) -> Contract:
        """Return the op on a first operand that has its border."""
        return self

    @property
    def steps(self) -> Shape:
        """How far a kernel moves along every spatial axis; empty where there is no kernel."""
        return ()

    def stepless(self, places: Shape) -> Contract | None:
        """Return an op of one element without steps, on images of every n-th pixel alone.

        Args:
            places: the spatial sizes of these images.
        """
        return None

    def in_phases(self, kernel: Shape, places: Shape) -> tuple[Contract, View, View] | None:
        """Return the op in phases, where it writes several pixels for every place of its operand.

        A convolution without steps, what is made of the kernel for it, and of its result.
        """
        return None


@frozen
class Window(Op):
    """A reduction over sliding windows: pooling.

    Attributes:
        scattered: the operand whose elements make the result, each once, among zeros; the
            leading axes are the same. None where there is no such operand.
    """

    scattered: ClassVar[int | None] = None

    @property
    def blocks(self) -> Shape:
        """How many neighbours along the last axes of the result share what they read."""
        return ()


@frozen
class Gather(Op):
    """Elements read at computed indices."""


@frozen
class Scatter(Op):
    """Elements written or accumulated at computed indices, in row-major order of the updates."""


@frozen
class Scan(Op):
    """A sequential pass along one axis: cumulative sums, sorting."""

    axis: int


@frozen
class Generate(Op):
    """Values made from indices alone: iota, full, counter-based random bits."""


@frozen
class Control(Op):
    """Runs a sub-graph: call, cond, while, scan. Its Nodes are lowered, not the Op.

    Attributes:
        repeats: whether the sub-graph is run for one element of operands after the other; then it
            is planned once, and otherwise written out.
    """

    lowered: ClassVar[bool] = False
    repeats: ClassVar[bool] = False


@frozen
class Effect(Op):
    """Leaves the graph: host callbacks, collectives. Never removed, merged or reordered."""

    lowered: ClassVar[bool] = False


@frozen
class Routine(Effect):
    """A function of its operands that a library computes: LAPACK's factors, Fourier transforms.

    NumPy calls it between the kernels, as an Effect is called. Unlike an Effect it does nothing
    else, so equal ones are one, and what nobody reads is not computed.
    """


KINDS: tuple[type[Op], ...] = (
    Elementwise,
    Reduce,
    View,
    Contract,
    Window,
    Gather,
    Scatter,
    Scan,
    Generate,
    Control,
    Effect,
)


def check_dtype(op: Op, dtype: DType, accepted: tuple[DType, ...]) -> None:
    """Raise DTypeError unless the dtype is accepted; the message lists what is."""
    if dtype not in accepted:
        names = ", ".join(d.name for d in accepted)
        raise DTypeError(f"{op.name()} does not accept {dtype.name}; it accepts {names}")


def check_axes(op: Op, axes: tuple[int, ...], type: TensorType) -> None:
    """Raise ShapeError unless the axes are sorted, distinct and exist in the type."""
    if list(axes) != sorted(set(axes).intersection(range(type.rank))):
        raise ShapeError(f"{op.name()}: axes {axes} are not distinct axes of {type}")


def elementwise_shape(op: Op, types: tuple[TensorType, ...]) -> Shape:
    """Return the one shape of elementwise operands, 0-d operands aside."""
    shape: Shape = ()
    for t in types:
        if t.shape == shape or not t.shape:
            continue
        if shape:
            raise ShapeError(
                f"{op.name()} needs operands of one shape, got {', '.join(map(repr, types))}"
            )
        shape = t.shape
    return shape


def zeros_like(b: Builder, node: Node) -> Node:
    """Return zeros of the node's type: a filled view, no memory."""
    return b.expand(b.scalar(0, node.dtype), node.shape)
