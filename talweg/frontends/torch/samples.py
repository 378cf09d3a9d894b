"""Functions of samples: slopes between them, reductions of their segments, counts."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import Any

import numpy as np

from talweg.base.dtypes import DType
from talweg.base.errors import InvalidValue, ShapeError
from talweg.base.shapes import normalize_axis
from talweg.engine import creation
from talweg.engine.functions import FUNCTIONS
from talweg.engine.tensor import Tensor, values


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


PUBLIC = (gradient, segment_reduce, nonzero_static, histogramdd)
MODULES: dict[str, dict[str, Any]] = {"": {f.__name__: f for f in PUBLIC}}
