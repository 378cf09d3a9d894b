"""Functions of torch that few programs use: copies of views, gradients of samples, reductions."""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from itertools import pairwise
from typing import Any

import numpy as np

from talweg.base.dtypes import DType
from talweg.base.errors import InvalidValue, ShapeError
from talweg.base.shapes import normalize_axis
from talweg.engine import creation
from talweg.engine.functions import FUNCTIONS, METHODS
from talweg.engine.record import lift
from talweg.engine.tensor import Tensor, values
from talweg.fn import matrix_factors, specials
from talweg.nn import functional as F

i0 = lift(specials.i0)
_householder = lift(matrix_factors.householder_product)
_eigh = lift(matrix_factors.eigh)
_multigammaln = lift(specials.multigammaln)


def mvlgamma(input: Tensor, p: int) -> Tensor:
    """Return the logarithm of the multivariate gamma function of dimension p.

    >>> from talweg.frontends import torch
    >>> round(torch.mvlgamma(torch.tensor(3.0), 2).item(), 4)
    1.5502
    """
    made: Tensor = _multigammaln(input, p)
    return made


# ---------------------------------------------------------------------------------------------
# slopes between samples


def gradient(
    input: Tensor, *, spacing: Any = 1, dim: Any = None, edge_order: int = 1
) -> list[Tensor]:
    """Return estimates of the partial derivatives of a function given by samples on a grid.

    Inside, of the second order in the distances between samples; at the edges of `edge_order`.

    Args:
        input: the samples.
        spacing: a distance, one for each dimension, or 1-D Tensors of coordinates.
        dim: one or several dimensions; all unless given.
        edge_order: 1 or 2.

    Returns:
        A list of Tensors of the input's shape, one for each dimension.

    Raises:
        InvalidValue, ShapeError: when spacing, dimensions and sizes do not fit.

    >>> from talweg.frontends import torch
    >>> torch.gradient(torch.tensor([1.0, 4.0, 9.0, 16.0]))[0]
    tensor([3., 4., 6., 7.])
    """
    given = range(input.ndim) if dim is None else (dim,) if isinstance(dim, int) else dim
    axes = [normalize_axis(d, input.ndim) for d in given]
    if edge_order not in (1, 2):
        raise InvalidValue("torch.gradient only supports edge_order=1 and edge_order=2.")
    several = isinstance(spacing, list | tuple)
    steps = list(spacing) if several else [spacing] * len(axes)
    if len(steps) != len(axes):
        raise InvalidValue(f"torch.gradient: {len(steps)} spacings for {len(axes)} dimensions")
    return [_slopes(input, axis, h, edge_order) for axis, h in zip(axes, steps, strict=True)]


def _slopes(x: Tensor, axis: int, spacing: Any, edge_order: int) -> Tensor:
    n = x.shape[axis]
    if n <= edge_order:
        raise ShapeError(
            f"torch.gradient: dimension {axis} has {n} samples, edge_order {edge_order} needs more"
        )
    rows = x.movedim(axis, -1)
    if isinstance(spacing, Tensor) and spacing.ndim:
        if spacing.shape != (n,):
            raise ShapeError(f"torch.gradient: {n} samples, coordinates of shape {spacing.shape}")
        h = spacing[1:] - spacing[:-1]
    else:
        h = creation.full((n - 1,), 1.0, dtype=_kind(x)) * spacing
    jumps = (rows[..., 1:] - rows[..., :-1]) / h
    first, last = jumps[..., :1], jumps[..., -1:]
    a, b = h[:-1], h[1:]
    middle = (jumps[..., :-1] * b + jumps[..., 1:] * a) / (a + b)
    if edge_order == 2:
        first = 2 * first - middle[..., :1]  # the chord's slope is the mean of those at its ends
        last = 2 * last - middle[..., -1:]
    made: Tensor = FUNCTIONS["cat"]([first, middle, last], -1).movedim(-1, axis)
    return made


def _kind(x: Tensor) -> DType:
    return x.dtype if x.dtype.is_inexact else creation.get_default_dtype()


# ---------------------------------------------------------------------------------------------
# memory


def empty_strided(size: Sequence[int], stride: Sequence[int], **options: Any) -> Tensor:
    """Return a Tensor of unspecified values, its elements row by row whatever the strides."""
    if len(size) != len(stride):
        raise ShapeError(f"empty_strided: {len(size)} sizes and {len(stride)} strides")
    return creation.empty(tuple(size), **options)


def empty_permuted(size: Sequence[int], physical_layout: Sequence[int], **options: Any) -> Tensor:
    """Return a Tensor of unspecified values whose dimensions stand in memory in another order.

    >>> from talweg.frontends import torch
    >>> torch.empty_permuted((2, 3, 4), (2, 0, 1)).stride()
    (3, 1, 6)
    """
    order = list(physical_layout)
    if sorted(order) != list(range(len(size))):
        raise InvalidValue(f"empty_permuted: {order} is no order of {len(size)} dimensions")
    made: Tensor = creation.empty([size[d] for d in order], **options)
    turned: Tensor = METHODS["permute"](made, [order.index(d) for d in range(len(order))])
    return turned


def _copied(name: str) -> Callable[..., Any]:
    function: Any = FUNCTIONS.get(name) or METHODS.get(name) or getattr(Tensor, name)

    @functools.wraps(function)
    def copied(*args: Any, **options: Any) -> Any:
        found = function(*args, **options)
        if isinstance(found, Tensor):
            return METHODS["clone"](found)
        return tuple(METHODS["clone"](part) for part in found)

    copied.__name__ = f"{name}_copy"
    copied.__doc__ = f"Return what `{name}` does, in memory of its own."
    return copied


_VIEWS = (
    *("as_strided", "detach", "diagonal", "expand", "narrow", "permute", "select", "split"),
    *("split_with_sizes", "squeeze", "t", "transpose", "unbind", "unfold", "unsqueeze", "view"),
    *("view_as_real", "view_as_complex", "values", "indices"),
)


def slice_copy(
    input: Tensor, dim: int = 0, start: int | None = None, end: int | None = None, step: int = 1
) -> Tensor:
    """Return a copy of every `step`-th row from `start` to `end` of a dimension."""
    key = (slice(None),) * normalize_axis(dim, input.ndim)
    made: Tensor = METHODS["clone"](input[(*key, slice(start, end, step))])
    return made


def as_strided_scatter(
    input: Tensor, src: Tensor, size: Any, stride: Any, storage_offset: int | None = 0
) -> Tensor:
    """Return the input with `src` at the places that `as_strided` would read.

    >>> from talweg.frontends import torch
    >>> torch.as_strided_scatter(torch.zeros(2, 2), torch.ones(2), (2,), (3,))
    tensor([[1., 0.],
            [0., 1.]])
    """
    places = creation.arange(input.numel()).as_strided(size, stride, storage_offset or 0)
    if tuple(src.shape) != tuple(places.shape):
        raise ShapeError(f"as_strided_scatter: src {src.shape} must have the size {tuple(size)}")
    flat = input.reshape(-1).index_put((places.reshape(-1),), src.reshape(-1).to(input.dtype))
    made: Tensor = flat.reshape(input.shape)
    return made


# ---------------------------------------------------------------------------------------------
# sums of parts, counts, factors


def segment_reduce(
    data: Tensor,
    reduce: str,
    *,
    lengths: Tensor | None = None,
    indices: Tensor | None = None,
    offsets: Tensor | None = None,
    axis: int = 0,
    unsafe: bool = False,
    initial: float | None = None,
) -> Tensor:
    """Return the sum, mean, max, min or prod of neighbouring rows.

    Args:
        data: rows along the first dimension.
        reduce: the name of the operation.
        lengths: how many rows belong together, 1-D; or
        offsets: where they begin, and the number of rows.
        indices: not implemented.
        axis: 0.
        unsafe: ignored.
        initial: the value for no rows, with which others are combined.

    Raises:
        InvalidValue: without lengths or offsets, for another axis or operation.
    """
    if axis != 0 or indices is not None or (lengths is None) == (offsets is None):
        raise InvalidValue("segment_reduce: axis 0 and either lengths or offsets are needed")
    if reduce not in _EMPTY:
        raise InvalidValue(f"segment_reduce: reduce must be one of {', '.join(_EMPTY)}")
    if lengths is not None:
        counts = lengths.tolist()
    else:
        ends = values(offsets).tolist() if offsets is not None else []
        counts = [b - a for a, b in pairwise(ends)]
    start = _EMPTY[reduce] if initial is None else initial
    rows, at = [], 0
    for count in counts:
        rows.append(_reduced(data[at : at + count], reduce, start, initial is not None))
        at += count
    made: Tensor = FUNCTIONS["stack"](rows)
    return made


_EMPTY = {"sum": 0.0, "mean": float("nan"), "max": -np.inf, "min": np.inf, "prod": 1.0}


def _reduced(part: Tensor, reduce: str, start: float, combined: bool) -> Tensor:
    alone = creation.full(part.shape[1:], start, dtype=part.dtype)
    if not part.shape[0]:
        return alone
    joined = combined and reduce != "mean"
    rows = FUNCTIONS["cat"]([alone[None], part]) if joined else part
    name = {"max": "amax", "min": "amin"}.get(reduce, reduce)
    made: Tensor = FUNCTIONS[name](rows, 0)
    return made


def nonzero_static(input: Tensor, *, size: int, fill_value: int = -1) -> Tensor:
    """Return the places of what is not zero, cut or filled to a number of rows."""
    found = np.argwhere(values(input))[:size]
    rest = np.full((size - len(found), input.ndim), fill_value)
    return creation.tensor(np.concatenate([found, rest]).astype(np.int64))


def histogramdd(
    input: Tensor,
    bins: Any,
    *,
    range: Sequence[float] | None = None,
    weight: Tensor | None = None,
    density: bool = False,
) -> tuple[Tensor, list[Tensor]]:
    """Return how many points lie in each box of a grid, and the grid's edges; computed when called.

    Args:
        input: [..., d], points of d dimensions.
        bins: how many boxes, also for each dimension; or a list of 1-D Tensors of edges.
        range: outer edges, two for each dimension.
        weight: what each point counts for.
        density: divide so that the integral is 1.
    """
    points = values(input).reshape(-1, input.shape[-1])
    edges = bins
    if isinstance(bins, list | tuple):
        edges = [values(b) if isinstance(b, Tensor) else b for b in bins]
    elif isinstance(bins, int):
        edges = [bins] * points.shape[1]
    pairs = None if range is None else list(zip(range[::2], range[1::2], strict=True))
    share = None if weight is None else values(weight).reshape(-1)
    counts, found = np.histogramdd(points, edges, pairs, density, share)
    made = creation.tensor(counts, input.dtype)
    return made, [creation.tensor(e, input.dtype) for e in found]


def geqrf(input: Tensor) -> tuple[Tensor, Tensor]:
    """Return R with the reflections of Q below its diagonal, and their factors, as LAPACK does."""
    array = values(input)
    raw = [np.linalg.qr(a, "raw") for a in array.reshape(-1, *array.shape[-2:])]
    factors = np.stack([h.T for h, _ in raw]).reshape(array.shape)
    taus = np.stack([t for _, t in raw]).reshape(*array.shape[:-2], -1)
    return creation.tensor(factors, input.dtype), creation.tensor(taus, input.dtype)


def ormqr(
    input: Tensor, tau: Tensor, other: Tensor, left: bool = True, transpose: bool = False
) -> Tensor:
    """Return Q @ other, or other @ Q unless `left`, for the square Q that `geqrf` gave."""
    m, n = input.shape[-2:]
    rest = creation.zeros(*input.shape[:-1], m - n, dtype=input.dtype)
    q = _householder(FUNCTIONS["cat"]([input, rest], -1), tau)
    q = q.mH if transpose else q
    made: Tensor = q @ other if left else other @ q
    return made


def lobpcg(
    A: Tensor,
    k: int | None = None,
    B: Tensor | None = None,
    X: Tensor | None = None,
    n: int | None = None,
    iK: Tensor | None = None,
    niter: int | None = None,
    tol: float | None = None,
    largest: bool | None = None,
    method: str | None = None,
    tracker: Any = None,
    ortho_iparams: Any = None,
    ortho_fparams: Any = None,
    ortho_bparams: Any = None,
) -> tuple[Tensor, Tensor]:
    """Return the k largest eigenvalues of A x = w B x, and eigenvectors as columns.

    All are computed, by LAPACK; what steers an iteration is accepted.

    Args:
        A: [..., m, m], symmetric.
        k: how many; by default as many as X has columns, or 1.
        B: positive-definite; the identity unless given.
        X: only its number of columns counts; `n` instead.
        largest: False for the smallest.
    """
    count = k or (X.shape[-1] if X is not None else n) or 1
    low = None if B is None else FUNCTIONS["cholesky"](B)
    back = None if low is None else FUNCTIONS["inverse"](low)
    matrix = A if back is None else back @ A @ back.mT
    found, vectors = _eigh(matrix)
    vectors = vectors if back is None else back.mT @ vectors
    if largest is False:
        return found[..., :count], vectors[..., :count]
    return found[..., -count:].flip(-1), vectors[..., -count:].flip(-1)


def conv_tbc(input: Tensor, weight: Tensor, bias: Tensor, pad: int = 0) -> Tensor:
    """Return the convolution over time of (time, batch, channels), of (width, in, out) weights."""
    found = F.conv1d(input.permute(1, 2, 0), weight.permute(2, 1, 0), bias, padding=pad)
    made: Tensor = found.permute(2, 0, 1)
    return made


# ---------------------------------------------------------------------------------------------
# control, and functions run later


def cond(
    pred: Any, true_fn: Callable[..., Any], false_fn: Callable[..., Any], operands: Any = ()
) -> Any:
    """Return what one of two functions gives, chosen by a boolean when called."""
    return (true_fn if bool(pred) else false_fn)(*operands)


def while_loop(
    cond_fn: Callable[..., Any], body_fn: Callable[..., Any], carried_inputs: Sequence[Any]
) -> Any:
    """Return what is carried when `cond_fn` of it is no longer true; `body_fn` gives the next."""
    carried = tuple(carried_inputs)
    while bool(cond_fn(*carried)):
        found = body_fn(*carried)
        carried = tuple(found) if isinstance(found, list | tuple) else (found,)
    return carried


class Future:
    """The result of a function that `torch.jit.fork` has run."""

    def __init__(self, value: Any = None) -> None:
        self._value = value

    def wait(self) -> Any:
        """Return the result."""
        return self._value

    value = wait

    def done(self) -> bool:
        """Return True."""
        return True


def fork(func: Callable[..., Any], *args: Any, **kwargs: Any) -> Future:
    """Call a function at once: what it records is computed later, together with all else."""
    return Future(func(*args, **kwargs))


def wait(future: Future) -> Any:
    """Return the result of what was forked."""
    return future.wait()


def conj_physical(input: Tensor) -> Tensor:
    """Return the complex conjugate."""
    made: Tensor = FUNCTIONS["conj"](input)
    return made


def _no(*args: Any) -> bool:
    return False


_COPIES: dict[str, Any] = {f"{name}_copy": _copied(name) for name in _VIEWS}
_LATER: dict[str, Any] = {"fork": fork, "wait": wait}
PUBLIC: tuple[Callable[..., Any], ...] = (
    *(i0, mvlgamma, gradient, empty_strided, empty_permuted, slice_copy, as_strided_scatter),
    *(segment_reduce, nonzero_static, histogramdd, geqrf, ormqr, lobpcg, conv_tbc, cond),
    *(while_loop, conj_physical),
)
MODULES: dict[str, dict[str, Any]] = {
    "": {
        **{f.__name__: f for f in PUBLIC},
        **_COPIES,
        **_LATER,
        "alias_copy": METHODS["clone"],
        "celu_": F.celu_,
        "rrelu_": F.rrelu_,
        "selu_": F.selu_,
        "threshold_": F.threshold_,
        "is_storage": _no,
        "is_warn_always_enabled": _no,
        "is_deterministic_algorithms_warn_only_enabled": _no,
        "compiled_with_cxx11_abi": _no,
        "init_num_threads": lambda: None,
    },
    "jit": {**_LATER, "Future": Future, "onednn_fusion_enabled": _no, "optimized_execution": _no},
    "futures": {"Future": Future},
}
