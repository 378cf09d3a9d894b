"""Matrix products in all their forms. Every one of them ends in a batched `Dot`."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from talweg.base import dtypes
from talweg.base.errors import DTypeError, InvalidValue, ShapeError
from talweg.base.shapes import broadcast_shapes, normalize_axis, size_of
from talweg.fn.math import add, mul, sub
from talweg.fn.promotion import cast, check_dims, expand_to, full, result_type
from talweg.fn.reduction import sum as total
from talweg.fn.reduction import vector_norm
from talweg.fn.shaping import roll
from talweg.fn.views import diagonal, permute, reshape_to, transpose
from talweg.ir.build import Builder
from talweg.ir.node import Node
from talweg.ops.linalg.systems import Inverse


def _same_dtype(name: str, *nodes: Node) -> None:
    if any(n.dtype is not nodes[0].dtype for n in nodes):
        raise DTypeError(
            f"{name}: expected one dtype, got {' and '.join(n.dtype.name for n in nodes)}; "
            "convert with .to()"
        )
    if nodes[0].dtype is dtypes.bool_:
        raise DTypeError(f"{name} does not accept bool; convert with .int()")


def matmul(b: Builder, x: Node, other: Node) -> Node:
    """Return the matrix product; leading dimensions are broadcast.

    Args:
        x: [n], or [..., m, n].
        other: [n], or [..., n, p]; of the dtype of x.

    Returns:
        [..., m, p]; the dimensions of vectors are left out.

    Raises:
        ShapeError: when sizes do not fit; DTypeError: when dtypes differ.

    >>> import talweg as tw
    >>> tw.matmul(tw.tensor([[1, 2], [3, 4]]), tw.tensor([1, 1])).tolist()
    [3, 7]
    """
    _same_dtype("matmul", x, other)
    if not x.rank or not other.rank:
        raise ShapeError(
            f"matmul: both operands need at least one dimension, got {x.shape} and {other.shape}"
        )
    if x.shape[-1] != other.shape[-2 if other.rank > 1 else 0]:
        raise ShapeError(
            f"matmul: shapes {x.shape} and {other.shape} do not fit: {x.shape[-1]} columns meet "
            f"{other.shape[-2 if other.rank > 1 else 0]} rows"
        )
    left = x if x.rank > 1 else b.reshape(x, (1, *x.shape))
    right = other if other.rank > 1 else b.reshape(other, (*other.shape, 1))
    if left.rank == right.rank == 2:
        out = b.dot(left, right)
    elif right.rank == 2:
        rows = b.reshape(left, (size_of(left.shape[:-1]), left.shape[-1]))
        out = b.reshape(b.dot(rows, right), (*left.shape[:-1], right.shape[-1]))
    else:
        batch = broadcast_shapes(left.shape[:-2], right.shape[:-2])
        left = expand_to(b, left, (*batch, *left.shape[-2:]))
        right = expand_to(b, right, (*batch, *right.shape[-2:]))
        out = b.dot(left, right)
    if x.rank > 1 and other.rank > 1:
        return out
    kept = out.shape[:-2] + out.shape[-2:][x.rank == 1 : 2 - (other.rank == 1)]
    return b.reshape(out, kept)


def mm(b: Builder, x: Node, mat2: Node) -> Node:
    """Return the product of two matrices; nothing is broadcast."""
    check_dims("mm", x, 2)
    check_dims("mm", mat2, 2)
    return matmul(b, x, mat2)


def bmm(b: Builder, x: Node, mat2: Node) -> Node:
    """Return the products of two batches of matrices, [n, i, k] and [n, k, j]."""
    check_dims("bmm", x, 3)
    check_dims("bmm", mat2, 3)
    if x.shape[0] != mat2.shape[0]:
        raise ShapeError(f"bmm: batches of {x.shape[0]} and {mat2.shape[0]} differ")
    return matmul(b, x, mat2)


def mv(b: Builder, x: Node, vec: Node) -> Node:
    """Return the product of a matrix and a vector."""
    check_dims("mv", x, 2)
    check_dims("mv", vec, 1)
    return matmul(b, x, vec)


def dot(b: Builder, x: Node, tensor: Node) -> Node:
    """Return the inner product of two vectors."""
    check_dims("dot", x, 1)
    check_dims("dot", tensor, 1)
    return matmul(b, x, tensor)


def vdot(b: Builder, x: Node, other: Node) -> Node:
    """Return the inner product of two vectors, the first one conjugated."""
    check_dims("vdot", x, 1)
    check_dims("vdot", other, 1)
    return matmul(b, b.adjoint(x), other)


def outer(b: Builder, x: Node, vec2: Node) -> Node:
    """Return the products of every element of one vector with every element of another."""
    check_dims("outer", x, 1)
    check_dims("outer", vec2, 1)
    return mul(b, b.reshape(x, (*x.shape, 1)), b.reshape(vec2, (1, *vec2.shape)))


def inner(b: Builder, x: Node, other: Node) -> Node:
    """Return the sums of products along the last dimensions; of 0-d values, the product.

    Raises:
        ShapeError: when the last sizes differ.
    """
    if not x.rank or not other.rank:
        return mul(b, x, other)
    return tensordot(b, x, other, dims=((-1,), (-1,)))


def _plus(
    b: Builder, name: str, x: Node, product: Node, beta: int | float, alpha: int | float
) -> Node:
    _same_dtype(name, x, product)
    if broadcast_shapes(x.shape, product.shape) != product.shape:
        raise ShapeError(f"{name}: shape {x.shape} cannot be broadcast to {product.shape}")
    for factor in (beta, alpha):
        if isinstance(factor, float) and not x.dtype.is_inexact:
            raise DTypeError(f"{name}: factor {factor} must be an integer for {x.dtype.name}")
    scaled = product if alpha == 1 else b.mul(product, b.scalar(alpha, x.dtype))
    if beta == 0:
        return scaled
    return add(b, x if beta == 1 else b.mul(x, b.scalar(beta, x.dtype)), scaled)


def addmm(
    b: Builder,
    x: Node,
    mat1: Node,
    mat2: Node,
    *,
    beta: int | float = 1,
    alpha: int | float = 1,
) -> Node:
    """Return beta * x + alpha * (mat1 @ mat2); with beta 0, x is not read."""
    return _plus(b, "addmm", x, mm(b, mat1, mat2), beta, alpha)


def addmv(
    b: Builder, x: Node, mat: Node, vec: Node, *, beta: int | float = 1, alpha: int | float = 1
) -> Node:
    """Return beta * x + alpha * (mat @ vec); with beta 0, x is not read."""
    return _plus(b, "addmv", x, mv(b, mat, vec), beta, alpha)


def addr(
    b: Builder, x: Node, vec1: Node, vec2: Node, *, beta: int | float = 1, alpha: int | float = 1
) -> Node:
    """Return beta * x + alpha * outer(vec1, vec2); with beta 0, x is not read."""
    return _plus(b, "addr", x, outer(b, vec1, vec2), beta, alpha)


def baddbmm(
    b: Builder,
    x: Node,
    batch1: Node,
    batch2: Node,
    *,
    beta: int | float = 1,
    alpha: int | float = 1,
) -> Node:
    """Return beta * x + alpha * bmm(batch1, batch2); with beta 0, x is not read."""
    return _plus(b, "baddbmm", x, bmm(b, batch1, batch2), beta, alpha)


def addbmm(
    b: Builder,
    x: Node,
    batch1: Node,
    batch2: Node,
    *,
    beta: int | float = 1,
    alpha: int | float = 1,
) -> Node:
    """Return beta * x + alpha * (the sum of the matrices bmm(batch1, batch2))."""
    product = b.reduce_sum(bmm(b, batch1, batch2), (0,))
    return _plus(b, "addbmm", x, product, beta, alpha)


def tensordot(b: Builder, x: Node, other: Node, dims: int | Sequence[Sequence[int]] = 2) -> Node:
    """Return the sums of products over pairs of dimensions.

    Args:
        dims: how many last dimensions of x meet the first ones of `other`; or two lists.

    Raises:
        ShapeError: when the sizes of a pair differ.

    >>> import talweg as tw
    >>> tw.tensordot(tw.ones(2, 3, 4), tw.ones(3, 4, 5)).shape
    (2, 5)
    """
    if isinstance(dims, int):
        if dims < 0 or dims > min(x.rank, other.rank):
            raise ShapeError(f"tensordot: dims {dims} for shapes {x.shape} and {other.shape}")
        left, right = list(range(x.rank - dims, x.rank)), list(range(dims))
    else:
        left = [normalize_axis(d, x.rank) for d in dims[0]]
        right = [normalize_axis(d, other.rank) for d in dims[1]]
    _same_dtype("tensordot", x, other)
    sizes = [x.shape[d] for d in left]
    if sizes != [other.shape[d] for d in right]:
        raise ShapeError(
            f"tensordot: dimensions {left} of {x.shape} and {right} of {other.shape} differ in size"
        )
    rows = [d for d in range(x.rank) if d not in left]
    columns = [d for d in range(other.rank) if d not in right]
    shape = (*(x.shape[d] for d in rows), *(other.shape[d] for d in columns))
    m, k = size_of([x.shape[d] for d in rows]), size_of(sizes)
    one = reshape_to(b, permute(b, x, (*rows, *left)), (m, k))
    two = permute(b, other, (*right, *columns))
    return reshape_to(b, b.dot(one, reshape_to(b, two, (k, size_of(shape[len(rows) :])))), shape)


def multi_dot(b: Builder, tensors: Sequence[Node]) -> Node:
    """Return the product of matrices, in the order of multiplications that costs least.

    Args:
        tensors: two or more matrices; the first and the last may be vectors.

    Source: Cormen, Leiserson, Rivest and Stein, "Introduction to Algorithms", section 15.2.

    Raises:
        ShapeError: when there are fewer than two, or sizes do not fit.
    """
    nodes = list(tensors)
    if len(nodes) < 2:
        raise ShapeError(f"multi_dot: expected at least 2 Tensors, got {len(nodes)}")
    first, last = nodes[0].rank == 1, nodes[-1].rank == 1
    if first:
        nodes[0] = b.reshape(nodes[0], (1, *nodes[0].shape))
    if last:
        nodes[-1] = b.reshape(nodes[-1], (*nodes[-1].shape, 1))
    out = _cheapest(b, nodes)
    return reshape_to(b, out, out.shape[int(first) : 2 - last])


def _cheapest(b: Builder, nodes: list[Node]) -> Node:
    count = len(nodes)
    for node in nodes:
        check_dims("multi_dot", node, 2)
    sizes = [nodes[0].shape[0], *(n.shape[1] for n in nodes)]
    best: dict[tuple[int, int], tuple[int, int]] = {(i, i): (0, i) for i in range(count)}
    for span in range(1, count):
        for i in range(count - span):
            j = i + span
            best[i, j] = min(
                (
                    best[i, k][0] + best[k + 1, j][0] + sizes[i] * sizes[k + 1] * sizes[j + 1],
                    k,
                )
                for k in range(i, j)
            )

    def product(i: int, j: int) -> Node:
        if i == j:
            return nodes[i]
        k = best[i, j][1]
        return mm(b, product(i, k), product(k + 1, j))

    return product(0, count - 1)


def chain_matmul(b: Builder, *matrices: Node) -> Node:
    """Return the product of matrices, in the order of multiplications that costs least."""
    return b.copy(matrices[0]) if len(matrices) == 1 else multi_dot(b, matrices)


def matrix_power(b: Builder, x: Node, n: int) -> Node:
    """Return the n-th power of square matrices, by repeated squaring; of inverses for n < 0.

    Raises:
        ShapeError: when they are not square.
    """
    if x.rank < 2 or x.shape[-1] != x.shape[-2]:
        raise ShapeError(f"matrix_power: expected square matrices, got shape {x.shape}")
    if n < 0:
        x, n = b.results(Inverse(True), x)[0], -n
    if n == 0:
        size = x.shape[-1:] * 2
        one = b.eq(b.iota(size, 0, dtypes.int64), b.iota(size, 1, dtypes.int64))
        return expand_to(b, b.cast(one, x.dtype), x.shape)
    out: Node | None = None
    while True:
        if n & 1:
            out = x if out is None else b.dot(out, x)
        n >>= 1
        if not n:
            return b.copy(x) if out is x else out  # type: ignore[return-value]
        x = b.dot(x, x)


def trace(b: Builder, x: Node) -> Node:
    """Return the sum of a matrix's diagonal; integers are summed as int64."""
    check_dims("trace", x, 2)
    return total(b, diagonal(b, x))


def cross(b: Builder, x: Node, other: Node, dim: int | None = None) -> Node:
    """Return the vector products along a dimension of size 3: the first one unless `dim` is given.

    Raises:
        ShapeError: when no such dimension has size 3.
    """
    dtype = result_type(b, x, other)
    shape = broadcast_shapes(x.shape, other.shape)
    one, two = (expand_to(b, cast(b, v, dtype), shape) for v in (x, other))
    if dim is None:
        found = [i for i, n in enumerate(shape) if n == 3]
        axis = found[0] if found else -1
    else:
        axis = normalize_axis(dim, len(shape))
    if axis < 0 or not shape or shape[axis] != 3:
        raise ShapeError(f"cross: a dimension of size 3 is needed, got shapes {x.shape}, {dim=}")
    product = b.mul(roll(b, one, -1, axis), roll(b, two, -2, axis))
    return b.sub(product, b.mul(roll(b, one, -2, axis), roll(b, two, -1, axis)))


def cdist(b: Builder, x1: Node, x2: Node, p: float = 2.0) -> Node:
    """Return the p-norm distance of every row of x1 [..., m, k] to every row of x2 [..., n, k].

    The gradient at distance 0 is 0. Memory of m * n * k elements is read.

    Raises:
        ShapeError: when the last sizes differ; InvalidValue: when p is negative.
    """
    if p < 0:
        raise InvalidValue(f"cdist: p must not be negative, got {p}")
    if x1.rank < 2 or x2.rank < 2 or x1.shape[-1] != x2.shape[-1]:
        raise ShapeError(f"cdist: rows of equal size are needed, got {x1.shape} and {x2.shape}")
    one = b.reshape(x1, (*x1.shape[:-1], 1, x1.shape[-1]))
    two = b.reshape(x2, (*x2.shape[:-2], 1, *x2.shape[-2:]))
    gap = sub(b, one, two)
    if gap.shape[-1] == 0:
        return full(b, gap.shape[:-1], 0, gap.dtype)
    return vector_norm(b, gap, p, -1)


def pdist(b: Builder, x: Node, p: float = 2.0) -> Node:
    """Return the p-norm distances of all pairs of rows: (0, 1), (0, 2), ..., (1, 2), ...

    The gradient at distance 0 is 0.

    Raises:
        ShapeError: unless x is a matrix; InvalidValue: when p is negative;
        DTypeError: for integers.

    >>> import talweg as tw
    >>> tw.nn.functional.pdist(tw.tensor([[0.0], [1.0], [3.0]])).tolist()
    [1.0, 3.0, 2.0]
    """
    if x.rank != 2:
        raise ShapeError(f"pdist only supports 2D tensors, got shape {x.shape}")
    if p < 0:
        raise InvalidValue(f"pdist: p must not be negative, got {p}")
    if not x.dtype.is_floating_point:
        raise DTypeError(f"pdist needs a floating dtype, got {x.dtype.name}")
    first, second = np.triu_indices(x.shape[0], 1)
    if not first.size or not x.shape[1]:
        return full(b, (first.size,), 0, x.dtype)
    gap = b.sub(b.take(x, b.constant(first), 0), b.take(x, b.constant(second), 0))
    if p == 0:
        return b.reduce_sum(b.abs(b.sign(gap)), (1,))
    return vector_norm(b, gap, p, -1)


def adjoint(b: Builder, x: Node) -> Node:
    """Return the last two dimensions swapped, and the complex conjugate.

    Raises:
        ShapeError: for fewer than two dimensions.
    """
    if x.rank < 2:
        raise ShapeError(f"adjoint: expected at least 2 dimensions, got shape {x.shape}")
    return transpose(b, b.adjoint(x), -2, -1)


PUBLIC: tuple[Callable[..., Node], ...] = (
    *(matmul, mm, bmm, mv, dot, vdot, outer, inner, addmm, addmv, addr, baddbmm, addbmm),
    *(tensordot, chain_matmul, matrix_power, trace, cross, cdist, pdist, adjoint),
)
METHODS: tuple[str, ...] = (
    *("matmul", "mm", "bmm", "mv", "dot", "vdot", "outer", "inner", "addmm", "addmv", "addr"),
    *("baddbmm", "addbmm", "matrix_power", "trace", "cross", "adjoint"),
)
INPLACE: tuple[str, ...] = ("addmm", "addmv", "addr", "baddbmm", "addbmm")
ALIASES: dict[str, str] = {"ger": "outer"}
