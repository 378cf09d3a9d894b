"""Inverses, determinants and systems of linear equations, of batches of matrices.

Matrices are the last two dimensions of float32, float64, complex64 or complex128 Tensors. LAPACK
computes what is not composed of products here (`ops.linalg`). A singular matrix is found when a
result is observed: LinAlgError names its place in the batch and the line that recorded it.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

from talweg.base import dtypes
from talweg.base.dtypes import DType
from talweg.base.errors import DTypeError, InvalidValue, ShapeError
from talweg.base.shapes import Shape, broadcast_shapes, normalize_axis, size_of
from talweg.fn.linalg import adjoint, matmul, matrix_power, multi_dot
from talweg.fn.math import constant
from talweg.fn.promotion import cast, expand_to, operands
from talweg.fn.reduction import sum as total
from talweg.fn.shaping import roll, stack
from talweg.fn.views import movedim, permute, reshape_to, slice_axis, squeeze, transpose, unsqueeze
from talweg.ir.build import Builder
from talweg.ir.node import Node
from talweg.ops.linalg.factors import LuRows
from talweg.ops.linalg.systems import (
    Det,
    Inverse,
    LeastSquares,
    MatrixExp,
    Pinv,
    Slogdet,
    Solve,
    SolveTriangular,
)

LOW_PRECISION = (dtypes.float16, dtypes.bfloat16)


class InverseInfo(NamedTuple):
    """Inverses, and 0 or the number of the pivot that is zero."""

    inverse: Node
    info: Node


class ResultInfo(NamedTuple):
    """Solutions, and 0 or the number of the pivot that is zero."""

    result: Node
    info: Node


class SignLog(NamedTuple):
    """Signs of determinants and logarithms of their sizes."""

    sign: Node
    logabsdet: Node


class LeastSquaresResult(NamedTuple):
    """Solutions, sums of squares that are left, ranks and singular values."""

    solution: Node
    residuals: Node
    rank: Node
    singular_values: Node


def check_matrices(name: str, x: Node, square: bool = False) -> None:
    """Raise unless x holds (square) matrices of a dtype that LAPACK computes with."""
    if x.rank < 2:
        raise ShapeError(f"{name}: the input tensor A must have at least 2 dimensions")
    if square and x.shape[-1] != x.shape[-2]:
        raise ShapeError(
            f"{name}: A must be batches of square matrices, but they are {x.shape[-2]} by "
            f"{x.shape[-1]} matrices"
        )
    check_inexact(name, x)


def check_inexact(name: str, x: Node) -> None:
    """Raise DTypeError unless x has a dtype that LAPACK computes with."""
    if not x.dtype.is_inexact:
        raise DTypeError(f"{name}: expected a floating point or complex tensor, got {x.dtype.name}")
    if x.dtype in LOW_PRECISION:
        raise DTypeError(f"{name}: low precision dtypes are not supported, got {x.dtype.name}")


def same_dtype(name: str, x: Node, y: Node) -> None:
    """Raise DTypeError unless both have one dtype."""
    if x.dtype is not y.dtype:
        raise DTypeError(
            f"{name}: expected A and B to have the same dtype, but found {x.dtype.name} and "
            f"{y.dtype.name}"
        )


def one_batch(b: Builder, *nodes: Node) -> list[Node]:
    """Return matrices with their leading dimensions broadcast."""
    batch = broadcast_shapes(*(n.shape[:-2] for n in nodes))
    return [expand_to(b, n, (*batch, *n.shape[-2:])) for n in nodes]


def inv(b: Builder, A: Node) -> Node:
    """Return the inverses of square matrices [..., n, n].

    Raises:
        ShapeError, DTypeError: for other shapes and dtypes.
        LinAlgError: when the result is observed, for a singular matrix.

    >>> import talweg as tw
    >>> tw.linalg.inv(tw.tensor([[2.0, 0.0], [0.0, 4.0]])).tolist()
    [[0.5, 0.0], [0.0, 0.25]]
    """
    check_matrices("linalg.inv", A, square=True)
    return b.results(Inverse(True), A)[0]


def inv_ex(b: Builder, A: Node, *, check_errors: bool = False) -> InverseInfo:
    """Return inverses (NaN for singular matrices), and info: 0 or the number of the zero pivot."""
    check_matrices("linalg.inv_ex", A, square=True)
    return InverseInfo(*b.results(Inverse(check_errors), A))


def is_vector(A: Node, B: Node) -> bool:
    """Return whether B holds vectors, not matrices, for systems of A."""
    return B.rank == 1 or (B.rank == A.rank - 1 and B.shape == A.shape[:-1])


def _solved(b: Builder, name: str, A: Node, B: Node, left: bool, check: bool) -> tuple[Node, ...]:
    check_matrices(name, A, square=True)
    same_dtype(name, A, B)
    vector = is_vector(A, B)
    if vector and not left:
        raise ShapeError(f"{name}: vectors B of shape {B.shape} need left=True")
    right = unsqueeze(b, B, -1) if vector else B
    if not left:
        A, right = transpose(b, A, -2, -1), transpose(b, right, -2, -1)
    if right.shape[-2] != A.shape[-1]:
        raise ShapeError(f"{name}: shapes of A {A.shape} and B {B.shape} do not fit")
    x, info = b.results(Solve(check), *one_batch(b, A, right))
    if not left:
        x = transpose(b, x, -2, -1)
    return squeeze(b, x, -1) if vector else x, info


def solve(b: Builder, A: Node, B: Node, *, left: bool = True) -> Node:
    """Return X of A @ X = B, or of X @ A = B where `left` is False.

    Args:
        A: [..., n, n].
        B: [..., n, k], or vectors: [n], or A's shape without its last dimension.

    Raises:
        ShapeError, DTypeError: when they do not fit.
        LinAlgError: when the result is observed, for a singular matrix.

    >>> import talweg as tw
    >>> tw.linalg.solve(tw.tensor([[2.0, 0.0], [0.0, 4.0]]), tw.tensor([1.0, 1.0])).tolist()
    [0.5, 0.25]
    """
    return _solved(b, "linalg.solve", A, B, left, True)[0]


def solve_ex(
    b: Builder, A: Node, B: Node, *, left: bool = True, check_errors: bool = False
) -> ResultInfo:
    """Return X of A @ X = B (NaN for singular matrices), and info; see `solve`."""
    return ResultInfo(*_solved(b, "linalg.solve_ex", A, B, left, check_errors))


def solve_triangular(
    b: Builder, A: Node, B: Node, *, upper: bool, left: bool = True, unitriangular: bool = False
) -> Node:
    """Return X of A @ X = B (X @ A = B unless `left`) for triangular matrices.

    Args:
        A: [..., n, n], of which one triangle is read.
        B: [..., n, k], or [..., k, n] unless `left`.
        upper: which triangle.
        unitriangular: take the diagonal for ones.

    Raises:
        ShapeError, DTypeError: when they do not fit.
    """
    name = "linalg.solve_triangular"
    check_matrices(name, A, square=True)
    check_matrices(name, B)
    same_dtype(name, A, B)
    if not left:
        A, B = transpose(b, A, -2, -1), transpose(b, B, -2, -1)
    if A.shape[-1] != B.shape[-2]:
        raise ShapeError(f"{name}: shapes of A {A.shape} and B {B.shape} do not fit")
    A, B = one_batch(b, A, B)
    x = b.apply(SolveTriangular(upper == left, unitriangular), A, B)
    return x if left else transpose(b, x, -2, -1)


def det(b: Builder, A: Node) -> Node:
    """Return the determinants of square matrices.

    >>> import talweg as tw
    >>> tw.linalg.det(tw.tensor([[2.0, 1.0], [0.0, 4.0]])).item()
    8.0
    """
    check_matrices("linalg.det", A, square=True)
    return b.apply(Det(), A)


def slogdet(b: Builder, A: Node) -> SignLog:
    """Return signs of determinants and logarithms of their sizes: 0 and -inf for singular ones."""
    check_matrices("linalg.slogdet", A, square=True)
    return SignLog(*b.results(Slogdet(), A))


def logdet(b: Builder, A: Node) -> Node:
    """Return the logarithms of determinants: NaN for negative ones."""
    check_matrices("logdet", A, square=True)
    sign, size = b.results(Slogdet(), A)
    if sign.dtype.is_complex:
        return b.add(b.cast(size, sign.dtype), b.log(sign))
    negative = b.lt(sign, b.scalar(0, sign.dtype))
    return b.where(negative, b.scalar(math.nan, size.dtype), size)


def tolerances(
    b: Builder, x: Node, atol: Any, rtol: Any, shape: Shape, real: DType
) -> tuple[Node, Node]:
    """Return absolute and relative tolerances of singular values as Nodes, one for each matrix."""
    usual = max(x.shape[-2:]) * dtypes.finfo(real).eps
    if rtol is None:
        if isinstance(atol, Node):
            none, some = b.scalar(0.0, atol.dtype), b.scalar(usual, atol.dtype)
            rtol = b.where(b.gt(atol, none), none, some)
        else:
            rtol = 0.0 if atol is not None and atol > 0 else usual
    found = []
    for value in (0.0 if atol is None else atol, rtol):
        node = value if isinstance(value, Node) else b.scalar(float(value), real)
        found.append(expand_to(b, constant(b, cast(b, node, real)), shape))
    return found[0], found[1]


def real_of(dtype: DType) -> DType:
    """Return the dtype of real parts."""
    if not dtype.is_complex:
        return dtype
    return dtypes.float64 if dtype is dtypes.complex128 else dtypes.float32


def pinv(
    b: Builder,
    A: Node,
    rcond: Any = None,
    hermitian: bool = False,
    *,
    atol: Any = None,
    rtol: Any = None,
) -> Node:
    """Return Moore and Penrose's inverses [..., n, m] of matrices [..., m, n].

    Args:
        rcond: an older name of `rtol`.
        hermitian: the matrices are Hermitian; the lower triangle is read.
        atol, rtol: singular values up to max(atol, rtol * largest) count as 0, numbers or Tensors.
            Without both, rtol is max(m, n) times the dtype's epsilon.
    """
    check_matrices("linalg.pinv", A, square=hermitian)
    rtol = rcond if rtol is None else rtol
    limits = tolerances(b, A, atol, rtol, A.shape[:-2], real_of(A.dtype))
    return b.apply(Pinv(hermitian), A, *limits)


def lstsq(
    b: Builder, A: Node, B: Node, rcond: float | None = None, *, driver: str | None = None
) -> LeastSquaresResult:
    """Return X with the smallest |A @ X - B|, and of several the smallest X.

    Args:
        A: [..., m, n].
        B: [..., m, k], or vectors.
        rcond: singular values up to rcond * largest count as 0; the dtype's epsilon times
            max(m, n) unless given.
        driver: 'gelsy', 'gels', 'gelsd' or 'gelss'; computed in the same way, it says what is
            returned.

    Returns:
        solution [..., n, k]; residuals, the sums of squares that are left, [..., k], empty unless
        m > n; rank, int64, empty for 'gels'; singular_values, empty unless 'gelsd' or 'gelss'.
    """
    name = "linalg.lstsq"
    check_matrices(name, A)
    same_dtype(name, A, B)
    if driver not in (None, "gels", "gelsy", "gelsd", "gelss"):
        raise InvalidValue(f"{name}: driver must be gels, gelsy, gelsd or gelss, not {driver!r}")
    vector = is_vector(A, B)
    right = unsqueeze(b, B, -1) if vector else B
    if right.shape[-2] != A.shape[-2]:
        raise ShapeError(f"{name}: shapes of A {A.shape} and B {B.shape} do not fit")
    left, right = one_batch(b, A, right)
    real = real_of(A.dtype)
    m, n = A.shape[-2:]
    limit = max(m, n) * dtypes.finfo(real).eps if rcond is None else rcond
    x, rank, values = b.results(LeastSquares(), left, right, b.scalar(float(limit), real))
    empty = b.expand(b.scalar(0, real), (0,))
    left_over = empty
    if m > n:
        gap = b.sub(b.dot(left, x), right)
        size = b.abs(gap) if gap.dtype.is_complex else gap
        left_over = b.reduce_sum(b.mul(size, size), (gap.rank - 2,))
    return LeastSquaresResult(
        squeeze(b, x, -1) if vector else x,
        left_over,
        b.expand(b.scalar(0, dtypes.int64), (0,)) if driver == "gels" else rank,
        constant(b, values) if driver in ("gelsd", "gelss") else empty,
    )


def matrix_exp(b: Builder, A: Node) -> Node:
    """Return the exponentials of square matrices.

    >>> import talweg as tw
    >>> tw.linalg.matrix_exp(tw.zeros(2, 2)).tolist()
    [[1.0, 0.0], [0.0, 1.0]]
    """
    check_matrices("linalg.matrix_exp", A, square=True)
    return b.apply(MatrixExp(), A)


def tensorinv(b: Builder, A: Node, ind: int = 2) -> Node:
    """Return the inverse of `tensordot(A, x, x.ndim)`: of A as a matrix with `ind` row dimensions.

    Raises:
        ShapeError: when both groups of dimensions do not hold as many elements.
    """
    rows, columns = A.shape[:ind], A.shape[ind:]
    n = size_of(rows)
    if ind <= 0 or n != size_of(columns):
        raise ShapeError(
            f"linalg.tensorinv: the products of {rows} and {columns} must be equal, and ind > 0"
        )
    return reshape_to(b, inv(b, reshape_to(b, A, (n, n))), (*columns, *rows))


def tensorsolve(b: Builder, A: Node, B: Node, dims: Sequence[int] | None = None) -> Node:
    """Return X of tensordot(A, X, X.ndim) = B.

    Args:
        dims: dimensions of A to be moved to its end first.
    """
    if dims is not None:
        moved = [normalize_axis(d, A.rank) for d in dims]
        A = permute(b, A, (*(d for d in range(A.rank) if d not in moved), *moved))
    shape, n = A.shape[B.rank :], size_of(B.shape)
    if size_of(shape) != n:
        raise ShapeError(f"linalg.tensorsolve: {A.shape} cannot be a square matrix for {B.shape}")
    x = solve(b, reshape_to(b, A, (n, n)), reshape_to(b, B, (n,)))
    return reshape_to(b, x, shape)


def vander(b: Builder, x: Node, *, N: int | None = None) -> Node:
    """Return the powers 0 to N - 1 of every element, in a new last dimension.

    >>> import talweg as tw
    >>> tw.linalg.vander(tw.tensor([2, 3])).tolist()
    [[1, 2], [1, 3]]
    """
    if not x.rank:
        raise ShapeError("linalg.vander: expected at least 1 dimension")
    count = x.shape[-1] if N is None else N
    if count <= 1 and N is not None:
        raise InvalidValue(f"linalg.vander: N must be greater than 1, got {N}")
    dtype = dtypes.int64 if x.dtype.category in ("bool", "int", "uint") else x.dtype
    x = cast(b, x, dtype)
    powers = [b.expand(b.scalar(1, dtype), x.shape)]
    for _ in range(count - 1):
        powers.append(b.mul(powers[-1], x))
    return stack(b, powers, -1)


def older_vander(b: Builder, x: Node, N: int | None = None, increasing: bool = False) -> Node:
    """Return the powers of every element of a vector, descending unless `increasing`."""
    if x.rank != 1:
        raise ShapeError(f"vander: expected 1 dimension, got shape {x.shape}")
    count = x.shape[0] if N is None else N
    dtype = dtypes.int64 if x.dtype.category in ("bool", "int", "uint") else x.dtype
    x = cast(b, x, dtype)
    powers = [b.expand(b.scalar(1, dtype), x.shape)]
    for _ in range(count - 1):
        powers.append(b.mul(powers[-1], x))
    if not count:
        return b.expand(b.scalar(1, dtype), (x.shape[0], 0))
    return stack(b, powers if increasing else powers[::-1], -1)


older_vander.__name__ = "vander"


def vecdot(b: Builder, x: Node, y: Node, *, dim: int = -1) -> Node:
    """Return the inner products along a dimension, x conjugated; shapes are broadcast."""
    check_one_inexact("linalg.vecdot", x, y)
    one, two = operands(b, b.adjoint(x), y)
    shape = broadcast_shapes(x.shape, y.shape)
    return total(b, expand_to(b, b.mul(one, two), shape), dim)


def check_one_inexact(name: str, x: Node, y: Node) -> None:
    """Raise DTypeError unless both have one dtype, floating or complex."""
    if x.dtype is not y.dtype or not x.dtype.is_inexact:
        raise DTypeError(
            f"{name}: expected two floating point or complex tensors of one dtype, got "
            f"{x.dtype.name} and {y.dtype.name}"
        )


def cross(b: Builder, input: Node, other: Node, *, dim: int = -1) -> Node:
    """Return the vector products along a dimension of size 3; shapes are broadcast.

    Raises:
        ShapeError: when the numbers of dimensions differ, or that size is not 3.
    """
    if input.rank != other.rank:
        raise ShapeError(
            f"linalg.cross: inputs must have the same number of dimensions, got {input.shape} and "
            f"{other.shape}"
        )
    axis = normalize_axis(dim, input.rank)
    if input.shape[axis] != 3 or other.shape[axis] != 3:
        raise ShapeError(
            f"linalg.cross: inputs dimension {dim} must have length 3, got {input.shape} and "
            f"{other.shape}"
        )
    shape = broadcast_shapes(input.shape, other.shape)
    one, two = (expand_to(b, v, shape) for v in operands(b, input, other))
    product = b.mul(roll(b, one, -1, axis), roll(b, two, -2, axis))
    return b.sub(product, b.mul(roll(b, one, -2, axis), roll(b, two, -1, axis)))


def lu_solve(
    b: Builder, LU: Node, pivots: Node, B: Node, *, left: bool = True, adjoint: bool = False
) -> Node:
    """Return X of A @ X = B for the A whose factors `lu_factor` returned.

    Args:
        left: False for X @ A = B.
        adjoint: solve with the conjugate transpose of A.
    """
    name = "linalg.lu_solve"
    check_matrices(name, LU, square=True)
    same_dtype(name, LU, B)
    if pivots.dtype is not dtypes.int32:
        raise DTypeError(f"{name}: pivots should be int32, got {pivots.dtype.name}")
    if not left:
        turned = _turned(b, B)
        return _turned(b, lu_solve(b, LU, pivots, turned, adjoint=not adjoint))
    if B.rank < 2 or B.shape[-2] != LU.shape[-1]:
        raise ShapeError(f"{name}: shapes of LU {LU.shape} and B {B.shape} do not fit")
    batch = broadcast_shapes(LU.shape[:-2], B.shape[:-2])
    n = LU.shape[-1]
    rows = expand_to(b, b.apply(LuRows(n), pivots), (*batch, n))
    LU, B = one_batch(b, LU, B)
    order = expand_to(b, unsqueeze(b, rows, -1), B.shape)
    axis = B.rank - 2
    if not adjoint:
        ordered = b.take_along(B, order, axis)
        x = b.apply(SolveTriangular(False, True), LU, ordered)
        return b.apply(SolveTriangular(True, False), LU, x)
    back = _turned(b, LU)
    x = b.apply(SolveTriangular(False, False), back, B)
    x = b.apply(SolveTriangular(True, True), back, x)
    return b.take_along(x, b.arg_sort(order, axis, False), axis)


def _turned(b: Builder, x: Node) -> Node:
    return adjoint(b, x)


def cholesky_solve(b: Builder, x: Node, L: Node, upper: bool = False) -> Node:
    """Return X of A @ X = x for the A whose Cholesky factor is L.

    Args:
        x: [..., n, k].
        L: [..., n, n], upper triangular if `upper`.
    """
    check_matrices("cholesky_solve", L, square=True)
    low = adjoint(b, L) if upper else L
    first = solve_triangular(b, low, x, upper=False)
    return solve_triangular(b, adjoint(b, low), first, upper=True)


def cholesky_inverse(b: Builder, x: Node, upper: bool = False) -> Node:
    """Return the inverses of the matrices whose Cholesky factors are x."""
    check_matrices("cholesky_inverse", x, square=True)
    one = b.cast(b.eq(*(b.iota(x.shape, x.rank - i, dtypes.int64) for i in (2, 1))), x.dtype)
    return cholesky_solve(b, one, x, upper)


class Triangular(NamedTuple):
    """The solution, and a copy of the matrices."""

    solution: Node
    cloned_coefficient: Node


def triangular_solve(
    b: Builder,
    x: Node,
    A: Node,
    upper: bool = True,
    transpose: bool = False,
    unitriangular: bool = False,
) -> Triangular:
    """Return X of A @ X = x, or of A's transpose, for triangular A; and a copy of A."""
    left = movedim(b, A, -1, -2) if transpose else A
    out = solve_triangular(b, left, x, upper=upper != transpose, unitriangular=unitriangular)
    return Triangular(out, b.copy(A))


def inverse(b: Builder, x: Node) -> Node:
    """Return the inverses of square matrices; see `linalg.inv`."""
    return inv(b, x)


def pinverse(b: Builder, x: Node, rcond: float = 1e-15) -> Node:
    """Return Moore and Penrose's inverses; see `linalg.pinv`."""
    return pinv(b, x, rcond)


def first_column(b: Builder, x: Node) -> Node:
    """Return the first element along the last dimension, which disappears."""
    return squeeze(b, slice_axis(b, x, x.rank - 1, 0, 1), -1)


LINALG: tuple[Callable[..., Any], ...] = (
    *(inv, inv_ex, solve, solve_ex, solve_triangular, det, slogdet, pinv, lstsq, matrix_exp),
    *(tensorinv, tensorsolve, vander, vecdot, cross, lu_solve, matmul, multi_dot, matrix_power),
)
PUBLIC: tuple[Callable[..., Any], ...] = (
    *(det, slogdet, logdet, matrix_exp, inverse, pinverse, cholesky_solve, cholesky_inverse),
    *(triangular_solve, older_vander),
)
METHODS: tuple[str, ...] = (
    *("det", "slogdet", "logdet", "matrix_exp", "inverse", "pinverse", "cholesky_solve"),
    *("cholesky_inverse", "triangular_solve"),
)
