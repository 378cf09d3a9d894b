"""Views: functions whose result shares the memory of their operand.

Each function here makes nothing but a chain of single-input View Nodes that alias over `x`
(or returns `x` itself), which is what lets a Tensor made by it alias its base.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import pairwise
from operator import index

from talweg.base.errors import IndexOutOfRange, InvalidValue, ShapeError
from talweg.base.shapes import Shape, infer_size, normalize_axes, normalize_axis
from talweg.ir.build import Builder
from talweg.ir.node import Node


def sizes(shape: tuple[int | Sequence[int], ...]) -> Shape:
    """Return the ints of `f(2, 3)` and `f((2, 3))` alike."""
    if len(shape) == 1 and isinstance(shape[0], Sequence):
        return tuple(map(index, shape[0]))
    return tuple(map(index, shape))  # type: ignore[arg-type]


def reshape_to(b: Builder, x: Node, shape: Shape) -> Node:
    """Return x in a shape of known sizes; x itself when it has it."""
    return x if x.type.shape == shape else b.reshape(x, shape)


def slice_axis(b: Builder, x: Node, axis: int, start: int, stop: int, step: int = 1) -> Node:
    """Return the elements start, start + step, … below stop along one axis; x itself when all."""
    shape = x.type.shape
    if start == 0 and stop == shape[axis] and step == 1:
        return x
    rank = len(shape)
    starts, stops, steps = [0] * rank, list(shape), [1] * rank
    starts[axis], stops[axis], steps[axis] = start, stop, step
    return b.slice(x, tuple(starts), tuple(stops), tuple(steps))


def reshape(b: Builder, x: Node, *shape: int | Sequence[int]) -> Node:
    """Return the same elements, in row-major order, under another shape.

    Args:
        x: any shape, any dtype.
        shape: the sizes; one may be -1 and is then inferred.

    Raises:
        ShapeError: when the sizes do not hold as many elements.

    >>> import talweg as tw
    >>> tw.arange(6).reshape(2, -1).tolist()
    [[0, 1, 2], [3, 4, 5]]
    """
    return reshape_to(b, x, infer_size(sizes(shape), x.type.size))


def reshape_as(b: Builder, x: Node, other: Node) -> Node:
    """Return x under the shape of another Tensor of as many elements."""
    return reshape(b, x, other.type.shape)


def view(b: Builder, x: Node, *shape: int | Sequence[int]) -> Node:
    """Return the same memory under another shape; see `reshape`, which may also copy."""
    return reshape(b, x, *shape)


def view_as(b: Builder, x: Node, other: Node) -> Node:
    """Return the same memory under the shape of another Tensor of as many elements."""
    return reshape(b, x, other.type.shape)


def ravel(b: Builder, x: Node) -> Node:
    """Return x as one dimension, in row-major order."""
    return reshape_to(b, x, (x.type.size,))


def flatten(b: Builder, x: Node, start_dim: int = 0, end_dim: int = -1) -> Node:
    """Merge the dimensions from `start_dim` to `end_dim`, both included, into one.

    A 0-d value becomes 1-d.

    Raises:
        IndexOutOfRange: when a dimension does not exist.
        ShapeError: when `start_dim` comes after `end_dim`.

    >>> import talweg as tw
    >>> tw.zeros(2, 3, 4).flatten(1).shape
    (2, 12)
    """
    shape = x.type.shape
    first, last = normalize_axis(start_dim, len(shape)), normalize_axis(end_dim, len(shape))
    if not shape:
        return b.reshape(x, (1,))
    if first > last:
        raise ShapeError(f"flatten: start_dim {start_dim} comes after end_dim {end_dim}")
    merged = 1
    for n in shape[first : last + 1]:
        merged *= n
    return reshape_to(b, x, (*shape[:first], merged, *shape[last + 1 :]))


def unflatten(b: Builder, x: Node, dim: int, sizes: int | Sequence[int]) -> Node:
    """Split one dimension into several; one of the sizes may be -1.

    Raises:
        ShapeError: when the sizes do not multiply to the size of the dimension.
    """
    axis = normalize_axis(dim, x.type.rank)
    shape = x.type.shape
    new = infer_size((sizes,) if isinstance(sizes, int) else tuple(sizes), shape[axis])
    return reshape_to(b, x, (*shape[:axis], *new, *shape[axis + 1 :]))


def permute(b: Builder, x: Node, *dims: int | Sequence[int]) -> Node:
    """Return the dimensions in another order: result dimension i is dimension `dims[i]` of x.

    Raises:
        ShapeError: when `dims` is not an order of all dimensions.
    """
    order = sizes(dims)
    rank = x.type.rank
    axes = tuple(normalize_axis(d, rank) for d in order)
    if sorted(axes) != list(range(rank)):
        raise ShapeError(f"permute: {order} is not an order of the {rank} dimensions of {x.type}")
    return x if axes == tuple(range(rank)) else b.permute(x, axes)


def transpose(b: Builder, x: Node, dim0: int, dim1: int) -> Node:
    """Swap two dimensions.

    >>> import talweg as tw
    >>> tw.zeros(2, 3, 4).transpose(0, -1).shape
    (4, 3, 2)
    """
    rank = x.type.rank
    one, two = normalize_axis(dim0, rank), normalize_axis(dim1, rank)
    axes = list(range(rank))
    if one == two:
        return x
    axes[one], axes[two] = two, one
    return b.permute(x, tuple(axes))


def swapaxes(b: Builder, x: Node, axis0: int, axis1: int) -> Node:
    """Swap two dimensions; the same as `transpose`."""
    return transpose(b, x, axis0, axis1)


def swapdims(b: Builder, x: Node, dim0: int, dim1: int) -> Node:
    """Swap two dimensions; the same as `transpose`."""
    return transpose(b, x, dim0, dim1)


def t(b: Builder, x: Node) -> Node:
    """Transpose a matrix; a vector or scalar is returned as it is.

    Raises:
        ShapeError: for more than two dimensions.
    """
    if x.type.rank > 2:
        raise ShapeError(f"t: expected at most 2 dimensions, got {x.type}; use transpose or mT")
    return transpose(b, x, 0, 1) if x.type.rank == 2 else x


def T(b: Builder, x: Node) -> Node:
    """The dimensions in reverse order."""
    return permute(b, x, tuple(reversed(range(x.type.rank))))


def mT(b: Builder, x: Node) -> Node:
    """The last two dimensions swapped.

    Raises:
        ShapeError: for fewer than two dimensions.
    """
    if x.type.rank < 2:
        raise ShapeError(f"mT: expected a matrix or batch of matrices, got {x.type}")
    return transpose(b, x, -2, -1)


def mH(b: Builder, x: Node) -> Node:
    """The last two dimensions swapped, and complex conjugates: a copy where x is complex."""
    return mT(b, b.adjoint(x))


def H(b: Builder, x: Node) -> Node:
    """The transpose of a matrix, and complex conjugates: a copy where x is complex.

    Raises:
        ShapeError: for one dimension, or more than two.
    """
    if x.type.rank not in (0, 2):
        raise ShapeError(f"H: expected a matrix, got {x.type}; use mH")
    return mH(b, x) if x.type.rank else b.adjoint(x)


def movedim(
    b: Builder, x: Node, source: int | Sequence[int], destination: int | Sequence[int]
) -> Node:
    """Move dimensions to new places; the others keep their order.

    Raises:
        ShapeError: when the two lists differ in length or name a dimension twice.
    """
    rank = x.type.rank
    old = [normalize_axis(d, rank) for d in _listed(source)]
    new = [normalize_axis(d, rank) for d in _listed(destination)]
    if len(old) != len(new) or len(set(old)) != len(old) or len(set(new)) != len(new):
        raise ShapeError(f"movedim: cannot move dimensions {source} to {destination}")
    rest = iter([d for d in range(rank) if d not in old])
    place = dict(zip(new, old, strict=True))
    return permute(b, x, tuple(place[i] if i in place else next(rest) for i in range(rank)))


def moveaxis(
    b: Builder, x: Node, source: int | Sequence[int], destination: int | Sequence[int]
) -> Node:
    """Move dimensions to new places; the same as `movedim`."""
    return movedim(b, x, source, destination)


def _listed(dims: int | Sequence[int]) -> list[int]:
    return [dims] if isinstance(dims, int) else list(dims)


def squeeze(b: Builder, x: Node, dim: int | Sequence[int] | None = None) -> Node:
    """Drop dimensions of size 1: all of them, or those named; others are left alone.

    >>> import talweg as tw
    >>> tw.zeros(1, 3, 1).squeeze().shape, tw.zeros(1, 3, 1).squeeze(0).shape
    ((3,), (3, 1))
    """
    axes = normalize_axes(dim, x.type.rank)
    kept = tuple(n for i, n in enumerate(x.type.shape) if n != 1 or i not in axes)
    return reshape_to(b, x, kept)


def unsqueeze(b: Builder, x: Node, dim: int) -> Node:
    """Insert a dimension of size 1 at place `dim`, from -rank - 1 to rank."""
    shape = x.type.shape
    axis = normalize_axis(dim, len(shape) + 1)
    return b.reshape(x, (*shape[:axis], 1, *shape[axis:]))


def expand(b: Builder, x: Node, *shape: int | Sequence[int]) -> Node:
    """Repeat dimensions of size 1 without copying; -1 keeps a size; leading ones may be added.

    Raises:
        ShapeError: when a size is neither 1 nor the wanted one.

    >>> import talweg as tw
    >>> tw.tensor([[1], [2]]).expand(-1, 3).tolist()
    [[1, 1, 1], [2, 2, 2]]
    """
    wanted, have = sizes(shape), x.type.shape
    lead = len(wanted) - len(have)
    if lead < 0 or any(n < 0 for n in wanted[:lead]) or any(n < -1 for n in wanted):
        raise ShapeError(f"expand: {x.type} cannot be expanded to {wanted}")
    full = tuple(have[i - lead] if n == -1 else n for i, n in enumerate(wanted))
    return x if full == have else b.expand(x, full)


def expand_as(b: Builder, x: Node, other: Node) -> Node:
    """Expand x to the shape of another Tensor."""
    return expand(b, x, other.type.shape)


def broadcast_to(b: Builder, x: Node, *shape: int | Sequence[int]) -> Node:
    """Expand x to a shape; the same as `expand`."""
    return expand(b, x, *shape)


def select(b: Builder, x: Node, dim: int, index: int) -> Node:
    """Return the slice at one index of a dimension, which disappears.

    Raises:
        IndexOutOfRange: when the index does not exist; ShapeError: for a 0-d value.
    """
    shape = x.type.shape
    if not shape:
        raise ShapeError("select: a 0-d value has no dimension to select from")
    axis = normalize_axis(dim, len(shape))
    n = shape[axis]
    if not -n <= index < n:
        raise IndexOutOfRange(
            f"index {index} is out of range for dimension {dim} with size {n} of shape {shape}"
        )
    part = slice_axis(b, x, axis, index % n, index % n + 1)
    return b.reshape(part, (*shape[:axis], *shape[axis + 1 :]))


def narrow(b: Builder, x: Node, dim: int, start: int, length: int) -> Node:
    """Return `length` elements from `start` on, along one dimension.

    Raises:
        IndexOutOfRange: when the part does not lie within the dimension.
    """
    axis = normalize_axis(dim, x.type.rank)
    if not x.type.rank:
        raise ShapeError("narrow: a 0-d value has no dimension to narrow")
    n = x.type.shape[axis]
    first = start + n if start < 0 else start
    if not 0 <= first <= n or length < 0 or first + length > n:
        raise IndexOutOfRange(
            f"narrow: start {start} and length {length} do not lie within dimension {dim} "
            f"of size {n}"
        )
    return slice_axis(b, x, axis, first, first + length)


def unbind(b: Builder, x: Node, dim: int = 0) -> tuple[Node, ...]:
    """Return the slices along a dimension, each without it."""
    axis = normalize_axis(dim, x.type.rank)
    if not x.type.rank:
        raise ShapeError("unbind: a 0-d value has no dimension to remove")
    return tuple(select(b, x, axis, i) for i in range(x.type.shape[axis]))


def _parts(b: Builder, x: Node, axis: int, bounds: Sequence[int]) -> tuple[Node, ...]:
    return tuple(
        slice_axis(b, x, axis, start, max(start, stop)) for start, stop in pairwise(bounds)
    )


def split(
    b: Builder, x: Node, split_size_or_sections: int | Sequence[int], dim: int = 0
) -> tuple[Node, ...]:
    """Return parts of a dimension: of one size (the last may be smaller), or of the sizes given.

    Raises:
        ShapeError: when the sizes do not add up to the size of the dimension.

    >>> import talweg as tw
    >>> [p.tolist() for p in tw.arange(5).split(2)]
    [[0, 1], [2, 3], [4]]
    """
    axis = normalize_axis(dim, x.type.rank)
    if not x.type.rank:
        raise ShapeError("split: a 0-d value has no dimension to split")
    n = x.type.shape[axis]
    if isinstance(split_size_or_sections, int):
        step = split_size_or_sections
        if step < 0 or (step == 0 and n):
            raise InvalidValue(f"split: the size of a part must be positive, got {step}")
        lengths = [min(step, n - i) for i in range(0, n, step)] if n else [0]
    else:
        lengths = list(split_size_or_sections)
        if sum(lengths) != n or any(k < 0 for k in lengths):
            raise ShapeError(f"split: sizes {lengths} do not add up to {n}, of dimension {dim}")
    bounds = [0]
    for k in lengths:
        bounds.append(bounds[-1] + k)
    return _parts(b, x, axis, bounds)


def chunk(b: Builder, x: Node, chunks: int, dim: int = 0) -> tuple[Node, ...]:
    """Return at most `chunks` parts of equal size; the last may be smaller."""
    axis = normalize_axis(dim, x.type.rank)
    if not x.type.rank:
        raise ShapeError("chunk: a 0-d value has no dimension to split")
    if chunks < 1:
        raise InvalidValue(f"chunk: the number of chunks must be positive, got {chunks}")
    n = x.type.shape[axis]
    if n == 0:
        return (x,) * chunks
    return split(b, x, -(-n // chunks), axis)


def tensor_split(
    b: Builder, x: Node, indices_or_sections: int | Sequence[int], dim: int = 0
) -> tuple[Node, ...]:
    """Return parts of nearly equal size, or the parts between the indices given.

    >>> import talweg as tw
    >>> [p.tolist() for p in tw.tensor_split(tw.arange(5), 3)]
    [[0, 1], [2, 3], [4]]
    """
    axis = normalize_axis(dim, x.type.rank)
    if not x.type.rank:
        raise ShapeError("tensor_split: a 0-d value has no dimension to split")
    n = x.type.shape[axis]
    if isinstance(indices_or_sections, int):
        count = indices_or_sections
        if count < 1:
            raise InvalidValue(f"tensor_split: sections must be positive, got {count}")
        small, extra = divmod(n, count)
        bounds = [i * small + min(i, extra) for i in range(count + 1)]
    else:
        ends = [slice(None, i).indices(n)[1] for i in indices_or_sections]
        bounds = [0, *ends, n]
    return _parts(b, x, axis, bounds)


def hsplit(b: Builder, x: Node, indices_or_sections: int | Sequence[int]) -> tuple[Node, ...]:
    """Split along the second dimension, a 1-d Tensor along the first; see `tensor_split`."""
    if not x.rank:
        raise ShapeError("hsplit: expected at least 1 dimension, got a 0-d value")
    return _even_split(b, "hsplit", x, indices_or_sections, 0 if x.rank == 1 else 1)


def vsplit(b: Builder, x: Node, indices_or_sections: int | Sequence[int]) -> tuple[Node, ...]:
    """Split along the first of at least two dimensions; see `tensor_split`."""
    if x.rank < 2:
        raise ShapeError(f"vsplit: expected at least 2 dimensions, got shape {x.shape}")
    return _even_split(b, "vsplit", x, indices_or_sections, 0)


def dsplit(b: Builder, x: Node, indices_or_sections: int | Sequence[int]) -> tuple[Node, ...]:
    """Split along the third dimension; see `tensor_split`."""
    if x.rank < 3:
        raise ShapeError(f"dsplit: expected at least 3 dimensions, got shape {x.shape}")
    return _even_split(b, "dsplit", x, indices_or_sections, 2)


def _even_split(
    b: Builder, name: str, x: Node, parts: int | Sequence[int], axis: int
) -> tuple[Node, ...]:
    if isinstance(parts, int) and (parts < 1 or x.shape[axis] % parts):
        raise ShapeError(
            f"{name}: dimension {axis} of size {x.shape[axis]} does not divide into {parts} parts"
        )
    return tensor_split(b, x, parts, axis)


def diagonal(b: Builder, x: Node, offset: int = 0, dim1: int = 0, dim2: int = 1) -> Node:
    """Return a diagonal of two dimensions, as the last dimension of the result.

    Args:
        offset: 0 the main diagonal, above 0 to its right, below 0 to its left.

    Raises:
        ShapeError: when `dim1` and `dim2` are the same dimension.

    >>> import talweg as tw
    >>> tw.arange(9).reshape(3, 3).diagonal(1).tolist()
    [1, 5]
    """
    rank = x.type.rank
    one, two = normalize_axis(dim1, rank), normalize_axis(dim2, rank)
    if one == two or rank < 2:
        raise ShapeError(f"diagonal: dim1 {dim1} and dim2 {dim2} must differ, for {x.type}")
    if one > two:
        one, two, offset = two, one, -offset
    rest = tuple(i for i in range(rank) if i not in (one, two))
    x = permute(b, x, (*rest, one, two))
    rows, columns = x.type.shape[-2:]
    top, left = min(max(-offset, 0), rows), min(max(offset, 0), columns)
    length = min(rows - top, columns - left)
    x = slice_axis(b, x, rank - 2, top, top + length)
    return b.diagonal(slice_axis(b, x, rank - 1, left, left + length))


def atleast_1d(b: Builder, x: Node) -> Node:
    """Return x with at least one dimension."""
    return x if x.type.rank else b.reshape(x, (1,))


def atleast_2d(b: Builder, x: Node) -> Node:
    """Return x with at least two dimensions; new ones stand in front."""
    return x if x.type.rank >= 2 else b.reshape(x, (1, x.type.size))


def atleast_3d(b: Builder, x: Node) -> Node:
    """Return x with three dimensions: a vector becomes (1, n, 1), a matrix (m, n, 1)."""
    if x.type.rank >= 3:
        return x
    shape = x.type.shape if x.type.rank == 2 else (1, x.type.size)
    return b.reshape(x, (*shape, 1))


VIEWS: tuple[Callable[..., Node | tuple[Node, ...]], ...] = (
    *(reshape, reshape_as, view, view_as, ravel, flatten, unflatten, permute, transpose),
    *(swapaxes, swapdims, t, T, mT, H, mH, movedim, moveaxis, squeeze, unsqueeze, expand),
    *(
        expand_as,
        broadcast_to,
        select,
        narrow,
        unbind,
        split,
        chunk,
        tensor_split,
        hsplit,
        vsplit,
        dsplit,
    ),
    *(diagonal, atleast_1d, atleast_2d, atleast_3d),
)
METHOD_ONLY = ("reshape_as", "view", "view_as", "expand", "expand_as")
PROPERTIES = ("T", "mT", "H", "mH")
PUBLIC: tuple[Callable[..., Node | tuple[Node, ...]], ...] = tuple(
    f for f in VIEWS if f.__name__ not in (*METHOD_ONLY, *PROPERTIES)
)
METHODS: tuple[str, ...] = tuple(
    f.__name__
    for f in VIEWS
    if f.__name__ not in PROPERTIES and not f.__name__.startswith("atleast")
)
INPLACE: tuple[str, ...] = ("squeeze", "unsqueeze", "transpose", "t", "swapaxes", "swapdims")
