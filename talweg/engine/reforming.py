"""A Tensor given other sizes, others of its dtype, and values that Python or NumPy computes."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from talweg.base import dtypes
from talweg.base.dtypes import DType
from talweg.base.errors import DTypeError, GradientError, ShapeError
from talweg.base.shapes import Size, broadcast_shapes, size_of
from talweg.engine import creation, differentiated, subscript
from talweg.engine.conversion import itself, zero_
from talweg.engine.creation import tensor
from talweg.engine.functions import FUNCTIONS as LIFTED_FUNCTIONS
from talweg.engine.functions import METHODS as LIFTED
from talweg.engine.record import in_place, lift
from talweg.engine.state import STATE
from talweg.engine.tensor import Storage, Tensor, values
from talweg.fn.replacing import fill_diagonal
from talweg.fn.views import sizes


def new(self: Tensor, *data: Any, dtype: DType | None = None, device: object = None) -> Tensor:
    """Return a Tensor of this dtype: of the data, or of zeros in the sizes given.

    >>> x = tw.ones(2, dtype=tw.int64)
    >>> x.new([1, 2]), x.new(2)
    (tensor([1, 2]), tensor([0, 0]))
    """
    kind = self.dtype if dtype is None else dtype
    if not data:
        return creation.zeros(0, dtype=kind)
    only = data[0]
    if len(data) == 1 and not isinstance(only, int | Size):
        return tensor(only, kind)
    return creation.zeros(*data, dtype=kind)


def resize_(self: Tensor, *size: Any, memory_format: object = None) -> Tensor:
    """Give this Tensor other sizes: its elements row by row, then zeros. Views keep the old ones.

    Raises:
        GradientError: for a Tensor that requires gradients.
    """
    shape = sizes(size)
    if self.requires_grad:
        raise GradientError("cannot resize variables that require grad")
    flat = LIFTED["reshape"](self.detach(), (-1,))
    wanted, count = size_of(shape), flat.shape[0]
    if wanted > count:
        rest = creation.zeros(wanted - count, dtype=self.dtype)
        node = STATE.builder.concat(flat.node(), rest.node(), axis=0)
    else:
        node = STATE.builder.slice(flat.node(), (0,), (wanted,), (1,))
    storage = Storage()
    storage.node = STATE.builder.reshape(node, shape)
    storage.writes = None
    self._storage, self._view = storage, None
    STATE.now.pending.append(self)
    return self


def resize_as_(self: Tensor, the_template: Tensor, memory_format: object = None) -> Tensor:
    """Give this Tensor the sizes of another, see `resize_`."""
    return resize_(self, the_template.shape)


def map_(self: Tensor, tensor: Tensor, callable: Callable[[Any, Any], Any]) -> Tensor:
    """Replace every element by callable(element, element of `tensor`); slow, computed in Python.

    Raises:
        ShapeError: when the shapes do not broadcast to this Tensor's.
    """
    return _mapped(self, callable, tensor)


def map2_(self: Tensor, x: Tensor, y: Tensor, callable: Callable[[Any, Any, Any], Any]) -> Tensor:
    """Replace every element by callable(element, that of x, that of y)."""
    return _mapped(self, callable, x, y)


def _mapped(self: Tensor, callable: Callable[..., Any], *others: Tensor) -> Tensor:
    arrays = [np.broadcast_to(values(t), self.shape) for t in (self, *others)]
    lists = [a.reshape(-1).tolist() for a in arrays]
    found = np.array([callable(*row) for row in zip(*lists, strict=True)])
    made: Tensor = self.copy_(tensor(found.reshape(self.shape), self.dtype))
    return made


fill_diagonal_ = in_place(lift(fill_diagonal), "fill_diagonal_")


def polygamma(self: Tensor, n: int) -> Tensor:
    """Return the n-th derivative of digamma."""
    made: Tensor = LIFTED_FUNCTIONS["polygamma"](n, self)
    return made


def sum_to_size(self: Tensor, *size: Any) -> Tensor:
    """Return sums over the dimensions along which `size` would be broadcast to this shape.

    Raises:
        ShapeError: when it does not broadcast to it.

    >>> tw.ones(2, 3).sum_to_size(1, 3).tolist()
    [[2.0, 2.0, 2.0]]
    """
    shape = sizes(size)
    extra = self.ndim - len(shape)
    pairs = list(zip(self.shape[max(extra, 0) :], shape, strict=False))
    if extra < 0 or any(m not in (n, 1) for n, m in pairs):
        raise ShapeError(f"sum_to_size: {shape} does not broadcast to {tuple(self.shape)}")
    axes = [*range(extra), *(extra + i for i, (n, m) in enumerate(pairs) if m == 1 != n)]
    summed: Tensor = self.sum(axes, keepdim=True) if axes else self
    made: Tensor = summed.reshape(shape)
    return made


def ndimension(self: Tensor) -> int:
    """Return the number of dimensions."""
    return self.ndim


def is_same_size(input: Tensor, other: Tensor) -> bool:
    """Return whether both have the same shape."""
    return input.shape == other.shape


def is_signed(input: Tensor) -> bool:
    """Return whether the dtype has negative values."""
    return input.dtype.is_signed


def get_device(input: Tensor) -> int:
    """Return -1: the CPU."""
    return -1


def never(input: Tensor) -> bool:
    """Return False."""
    return False


def same(input: Tensor) -> Tensor:
    """Return this Tensor: nothing in it waits to be resolved."""
    return input


def indices(self: Tensor) -> Tensor:
    """Return the places of what is not zero, (ndim, count), as a sparse Tensor has them.

    >>> tw.tensor([[0.0, 2.0], [3.0, 0.0]]).to_sparse().indices()
    tensor([[0, 1],
            [1, 0]])
    """
    places: Tensor = LIFTED["t"](subscript.nonzero(self))
    return places


def to_sparse_coo(self: Tensor) -> Tensor:
    """Return this Tensor, which is kept with its zeros."""
    return self


def nonzeros(self: Tensor) -> Tensor:
    """Return what is not zero, row by row, as the `values()` of a sparse Tensor.

    >>> tw.tensor([[0.0, 2.0], [3.0, 0.0]]).to_sparse().values()
    tensor([2., 3.])
    """
    found: Tensor = self[LIFTED["ne"](self, 0)]
    return found


def shapes_broadcast(*shapes: Any) -> Size:
    """Return the common shape of Tensors of these shapes.

    Raises:
        ShapeError: when they do not broadcast.

    >>> tw.broadcast_shapes((3, 1), (4,))
    (3, 4)
    """
    return Size(broadcast_shapes(*[(s,) if isinstance(s, int) else tuple(s) for s in shapes]))


shapes_broadcast.__name__ = "broadcast_shapes"


def _integers(name: str, *tensors: Tensor) -> None:
    for t in tensors:
        if t.dtype.category not in ("int", "uint"):
            raise DTypeError(f"{name} needs integers, got {t.dtype.name}")


def gcd(input: Tensor, other: Tensor) -> Tensor:
    """Return the greatest common divisors; computed when called.

    >>> tw.gcd(tw.tensor([4, 6]), tw.tensor([6, 9]))
    tensor([2, 3])
    """
    _integers("gcd", input, other)
    return tensor(np.gcd(values(input), values(other)), dtypes.promote(input.dtype, other.dtype))


def lcm(input: Tensor, other: Tensor) -> Tensor:
    """Return the least common multiples; computed when called.

    >>> tw.lcm(tw.tensor([4, 6]), tw.tensor([6, 9]))
    tensor([12, 18])
    """
    _integers("lcm", input, other)
    return tensor(np.lcm(values(input), values(other)), dtypes.promote(input.dtype, other.dtype))


def nextafter(input: Tensor, other: Tensor) -> Tensor:
    """Return the floating number next to each element, towards `other`; computed when called."""
    kind = dtypes.promote(input.dtype, other.dtype)
    if kind not in (dtypes.float32, dtypes.float64):
        raise DTypeError(f"nextafter needs float32 or float64, got {kind.name}")
    return tensor(np.nextafter(values(input), values(other)).astype(kind.compute), kind)


def frexp(input: Tensor) -> tuple[Tensor, Tensor]:
    """Return mantissas of magnitude 0.5 to 1 and int32 exponents of 2; computed when called.

    >>> tw.frexp(tw.tensor([6.0]))
    (tensor([0.7500]), tensor([3], dtype=talweg.int32))
    """
    if not input.dtype.is_floating_point:
        raise DTypeError(f"frexp needs a floating Tensor, got {input.dtype.name}")
    mantissa, exponent = np.frexp(values(input))
    return tensor(mantissa, input.dtype), tensor(exponent.astype(np.int32))


def histogram(
    input: Tensor,
    bins: Any,
    *,
    range: tuple[float, float] | None = None,
    weight: Tensor | None = None,
    density: bool = False,
) -> tuple[Tensor, Tensor]:
    """Return how many elements lie in each bin, and the edges of the bins; computed when called.

    Args:
        input: floating, any shape.
        bins: how many bins of equal width, or their edges in ascending order.
        range: the outer edges; by default the least and the largest element.
        weight: what each element counts for.
        density: divide so that the integral over the bins is 1.

    >>> [t.tolist() for t in tw.histogram(tw.tensor([1.0, 2.0, 1.0]), 2, range=(0.0, 3.0))]
    [[2.0, 1.0], [0.0, 1.5, 3.0]]
    """
    array = values(input).reshape(-1)
    edges = values(bins) if isinstance(bins, Tensor) else bins
    if weight is not None and weight.shape != input.shape:
        raise ShapeError(f"histogram: weight {weight.shape} must have the shape {input.shape}")
    weights = None if weight is None else values(weight).reshape(-1)
    span = None if range is None else (float(range[0]), float(range[1]))
    counts, edges = np.histogram(array, edges, span, density, weights)
    return tensor(counts.astype(np.float64), input.dtype), tensor(edges, input.dtype)


def is_inference(input: Tensor) -> bool:
    """Return False: `inference_mode` makes ordinary Tensors."""
    return False


PUBLIC: tuple[Callable[..., Any], ...] = (
    *(is_same_size, is_signed, get_device, shapes_broadcast, gcd, lcm, nextafter, frexp),
    *(histogram, is_inference),
)
METHODS: dict[str, Callable[..., Any]] = {
    **{
        f.__name__: f
        for f in (
            *(new, resize_, resize_as_, map_, map2_, ndimension, is_same_size, is_signed),
            *(
                fill_diagonal_,
                polygamma,
                sum_to_size,
                get_device,
                gcd,
                lcm,
                nextafter,
                frexp,
                histogram,
                is_inference,
            ),
        )
    },
    **dict.fromkeys(("is_conj", "is_neg", "is_pinned"), never),
    **dict.fromkeys(("resolve_conj", "resolve_neg"), same),
    **dict.fromkeys(("split_with_sizes", "unsafe_split_with_sizes"), LIFTED["split"]),
    "unsafe_split": LIFTED["split"],
    "unsafe_chunk": LIFTED["chunk"],
    **dict.fromkeys(("to_dense", "to_sparse", "coalesce"), itself),
    "to_sparse_coo": to_sparse_coo,
    **dict.fromkeys(("indices", "_indices"), indices),
    **dict.fromkeys(("values", "_values"), nonzeros),
}
FUNCTIONS: dict[str, Callable[..., Any]] = {
    **{f.__name__: f for f in PUBLIC},
    "split_with_sizes": LIFTED["split"],
    "unsafe_split": LIFTED["split"],
    "unsafe_chunk": LIFTED["chunk"],
    "zero_": zero_,
    "detach": differentiated.detach,
    "detach_": differentiated.detach_,
    **dict.fromkeys(("is_conj", "is_neg"), never),
    **dict.fromkeys(("resolve_conj", "resolve_neg"), same),
}
