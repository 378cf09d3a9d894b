"""Order statistics and covariance."""

from __future__ import annotations

from collections.abc import Callable

from talweg.base import dtypes
from talweg.base.errors import DTypeError, InvalidValue, ShapeError
from talweg.base.shapes import normalize_axis
from talweg.fn.math import clamp
from talweg.fn.math import mul as multiply
from talweg.fn.math import sub as subtract
from talweg.fn.promotion import as_node, cast, full, to_float
from talweg.fn.reduction import ValuesIndices, any, check_nonempty, picked, sum
from talweg.fn.views import diagonal, movedim, reshape_to, transpose
from talweg.ir.build import Builder
from talweg.ir.node import Node


def _middle(
    b: Builder, x: Node, dim: int | None, keepdim: bool, *, skip_nan: bool
) -> ValuesIndices:
    flat = dim is None or not x.rank
    axis = normalize_axis(dim or 0, x.rank if not flat else 0)
    rows = reshape_to(b, x, (x.type.size,)) if flat else x
    check_nonempty("median", rows, axis)
    size = rows.shape[axis]
    kept = tuple(1 if i == axis else n for i, n in enumerate(rows.shape))
    place = full(b, kept, (size - 1) // 2, dtypes.int64)
    if rows.dtype.is_floating_point and skip_nan:
        present = sum(b, b.eq(rows, rows), axis, True)
        half = b.floor_div(b.sub(present, b.scalar(1, dtypes.int64)), b.scalar(2, dtypes.int64))
        place = clamp(b, half, min=0)
    elif rows.dtype.is_floating_point:
        spoilt = any(b, b.ne(rows, rows), axis, True)
        place = b.where(spoilt, b.scalar(size - 1, dtypes.int64), place)
    order = b.arg_sort(rows, axis, False)
    return picked(b, rows, b.take_along(order, place, axis), axis, keepdim and not flat)


def _median(
    b: Builder, x: Node, dim: int | None, keepdim: bool, skip_nan: bool
) -> Node | ValuesIndices:
    if dim is not None:
        normalize_axis(dim, x.rank)
    if dim is None and not x.type.size and x.dtype.is_floating_point:
        return b.scalar(float("nan"), x.dtype)
    values, indices = _middle(b, x, dim, keepdim, skip_nan=skip_nan)
    if dim is None:
        return reshape_to(b, values, ())
    if not x.rank:
        return ValuesIndices(reshape_to(b, values, ()), reshape_to(b, indices, ()))
    return ValuesIndices(values, indices)


def median(
    b: Builder, x: Node, dim: int | None = None, keepdim: bool = False
) -> Node | ValuesIndices:
    """Return the median, the lower of two middle ones; with a dimension, `(values, indices)`.

    NaN where there is a NaN, and of no elements at all.

    Raises:
        ShapeError: when a dimension has no elements to choose from.

    >>> import talweg as tw
    >>> tw.tensor([4, 1, 3, 2]).median().item()
    2
    """
    return _median(b, x, dim, keepdim, False)


def nanmedian(
    b: Builder, x: Node, dim: int | None = None, keepdim: bool = False
) -> Node | ValuesIndices:
    """Return the median of the elements that are not NaN; see `median`."""
    return _median(b, x, dim, keepdim, True)


def mode(b: Builder, x: Node, dim: int = -1, keepdim: bool = False) -> ValuesIndices:
    """Return the most frequent values (of equally frequent ones the smallest) and an index of each.

    Every pair of elements along the dimension is compared.
    """
    axis = normalize_axis(dim, x.rank)
    if not x.rank:
        return ValuesIndices(b.copy(x), b.scalar(0, dtypes.int64))
    check_nonempty("mode", x, axis)
    order = b.arg_sort(x, axis, False)
    rows = movedim(b, b.take_along(x, order, axis), axis, -1)
    n = rows.shape[-1]
    square = (*rows.shape, n)
    one = b.expand(b.reshape(rows, (*rows.shape, 1)), square)
    two = b.expand(b.reshape(rows, (*rows.shape[:-1], 1, n)), square)
    often = b.arg_max(sum(b, b.eq(one, two), -1), (rows.rank - 1,))
    kept = tuple(1 if i == axis else n for i, n in enumerate(x.shape))
    return picked(b, x, b.take_along(order, b.reshape(often, kept), axis), axis, keepdim)


_INTERPOLATION = ("linear", "lower", "higher", "nearest", "midpoint")


def quantile(
    b: Builder,
    x: Node,
    q: Node | float,
    dim: int | None = None,
    keepdim: bool = False,
    *,
    interpolation: str = "linear",
) -> Node:
    """Return the values below which the fractions q of the elements lie.

    Args:
        x: floating.
        q: a number or a Tensor of at most one dimension, from 0 to 1; its dimension comes first in
            the result.
        interpolation: between neighbours: linear, lower, higher, nearest or midpoint.

    NaN where there is a NaN.

    Raises:
        InvalidValue: for a number q outside [0, 1] or another interpolation.

    >>> import talweg as tw
    >>> tw.quantile(tw.tensor([1.0, 2.0, 4.0]), 0.75).item()
    3.0
    """
    return _quantile(b, "quantile", _between, x, q, dim, keepdim, interpolation)


def nanquantile(
    b: Builder,
    x: Node,
    q: Node | float,
    dim: int | None = None,
    keepdim: bool = False,
    *,
    interpolation: str = "linear",
) -> Node:
    """Return the values below which the fractions q of the elements other than NaN lie.

    Like `quantile`, as if there were no NaN; NaN where there is nothing else.

    >>> import talweg as tw
    >>> tw.nanquantile(tw.tensor([1.0, float("nan"), 2.0]), 0.5).item()
    1.5
    """
    return _quantile(b, "nanquantile", _between_known, x, q, dim, keepdim, interpolation)


def _quantile(
    b: Builder,
    name: str,
    between: Callable[[Builder, Node, Node, str], Node],
    x: Node,
    q: Node | float,
    dim: int | None,
    keepdim: bool,
    interpolation: str,
) -> Node:
    if interpolation not in _INTERPOLATION:
        raise InvalidValue(f"{name}: interpolation must be one of {', '.join(_INTERPOLATION)}")
    if not isinstance(q, Node) and not 0 <= q <= 1:
        raise InvalidValue(f"{name}: q must lie between 0 and 1, got {q}")
    if not x.dtype.is_floating_point:
        raise DTypeError(f"{name} needs a floating dtype, got {x.dtype.name}")
    where = as_node(b, q, x.dtype)
    if where.rank > 1:
        raise ShapeError(f"{name}: q must have at most one dimension, got shape {where.shape}")
    flat = dim is None or not x.rank
    axis = 0 if flat else normalize_axis(dim or 0, x.rank)
    rows = reshape_to(b, x, (x.type.size,)) if flat else movedim(b, x, axis, 0)
    check_nonempty(name, rows, 0)
    parts = between(b, rows, where, interpolation)
    if not keepdim:
        return parts
    kept = tuple(1 if flat or i == axis else n for i, n in enumerate(x.shape))
    return reshape_to(b, parts, (*where.shape, *kept))


def _neighbours(b: Builder, exact: Node, interpolation: str) -> tuple[Node, Node, Node]:
    """Return the places below and above, and how far from the first to the second."""
    low, high = b.floor(exact), b.ceil(exact)
    if interpolation == "lower":
        high = low
    elif interpolation == "higher":
        low = high
    elif interpolation == "nearest":
        low = high = b.round(exact)
    share = subtract(b, exact, low)
    if interpolation == "midpoint":
        share = b.mul(b.sub(high, low), b.scalar(0.5, share.dtype))
    return low, high, share


def _between(b: Builder, rows: Node, where: Node, interpolation: str) -> Node:
    last = rows.shape[0] - 1
    ordered = b.take_along(rows, b.arg_sort(rows, 0, False), 0)
    low, high, share = _neighbours(b, multiply(b, where, last), interpolation)
    below, above = (b.take(ordered, b.cast(p, dtypes.int64), 0) for p in (low, high))
    share = reshape_to(b, share, (*share.shape, *(1,) * (rows.rank - 1)))
    out = b.add(below, multiply(b, share, subtract(b, above, below)))
    spoilt = any(b, b.ne(rows, rows), 0)
    if spoilt.rank and spoilt.shape != out.shape:
        spoilt = b.expand(spoilt, out.shape)
    return b.where(spoilt, b.scalar(float("nan"), out.dtype), out)


def _between_known(b: Builder, rows: Node, where: Node, interpolation: str) -> Node:
    """Return quantiles of what is not NaN, which comes first in order."""
    ordered = b.take_along(rows, b.arg_sort(rows, 0, False), 0)
    count = sum(b, b.cast(b.eq(rows, rows), rows.dtype), 0, True)
    last = clamp(b, subtract(b, count, 1), min=0)
    shares = reshape_to(b, where, (where.type.size, *(1,) * (rows.rank - 1)))
    low, high, share = _neighbours(b, multiply(b, shares, last), interpolation)
    below, above = (b.take_along(ordered, b.cast(p, dtypes.int64), 0) for p in (low, high))
    out = b.add(below, multiply(b, share, subtract(b, above, below)))
    return reshape_to(b, out, (*where.shape, *rows.shape[1:]))


def cov(
    b: Builder,
    x: Node,
    *,
    correction: int = 1,
    fweights: Node | None = None,
    aweights: Node | None = None,
) -> Node:
    """Return the covariance matrix of variables (rows) observed together (columns).

    Args:
        correction: subtracted from the number of observations in the divisor.
        fweights: how often each observation was made (integers).
        aweights: how much each observation counts.

    Raises:
        ShapeError: for more than two dimensions.
    """
    if x.rank > 2:
        raise ShapeError(f"cov: expected at most 2 dimensions, got shape {x.shape}")
    rows = to_float(b, x if x.rank == 2 else reshape_to(b, x, (1, x.type.size)))
    dtype = rows.dtype
    weight = None
    for given in (fweights, aweights):
        if given is not None:
            part = cast(b, given, dtype)
            weight = part if weight is None else b.mul(weight, part)
    less = b.scalar(correction, dtype)
    if weight is None:
        amount = b.scalar(rows.shape[1], dtype)
        center = b.div(sum(b, rows, 1, True), amount)
    else:
        amount = sum(b, weight)
        center = b.div(sum(b, multiply(b, rows, weight), 1, True), amount)
        if aweights is not None:
            less = b.mul(less, b.div(sum(b, multiply(b, weight, aweights)), amount))
    gap = subtract(b, rows, center)
    scaled = gap if weight is None else multiply(b, gap, weight)
    product = b.dot(scaled, b.adjoint(transpose(b, gap, 0, 1)))
    divisor = clamp(b, b.sub(amount, less), min=0) if not dtype.is_complex else b.sub(amount, less)
    return reshape_to(b, b.div(product, divisor), () if x.rank < 2 else product.shape)


def corrcoef(b: Builder, x: Node) -> Node:
    """Return the correlation matrix of variables (rows) observed together (columns)."""
    covariance = cov(b, x)
    if not covariance.rank:
        return b.div(covariance, covariance)
    spread = b.sqrt(diagonal(b, covariance))
    n = spread.shape[0]
    scaled = b.div(covariance, b.expand(b.reshape(spread, (n, 1)), (n, n)))
    out = b.div(scaled, b.expand(spread, (n, n)))
    return out if out.dtype.is_complex else clamp(b, out, -1.0, 1.0)


PUBLIC: tuple[Callable[..., Node | tuple[Node, ...]], ...] = (
    *(median, nanmedian, mode, quantile, nanquantile, cov, corrcoef),
)
METHODS: tuple[str, ...] = tuple(f.__name__ for f in PUBLIC)
