"""Reductions, scans, shapes, joining, subscripts and sorting beside PyTorch."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from peer import Case, Inputs, compare, parameters

pytestmark = pytest.mark.peer
D = Inputs(1)
X = D.real(3, 4, 5)
NAN = float("nan")

REDUCTIONS = [
    *(
        Case(f"{n} {label}", lambda T, x, n=n, o=options: getattr(T, n)(x, **o), (X,), slack=4)
        for n in ("sum", "mean", "var", "std", "amax", "amin", "logsumexp", "nansum")
        for label, options in (
            ("dim", {"dim": 1}),
            ("dims", {"dim": (0, -1)}),
            ("keepdim", {"dim": 1, "keepdim": True}),
        )
    ),
    *(
        Case(f"{n} all", lambda T, x, n=n: getattr(T, n)(x), (X,), slack=4)
        for n in ("sum", "mean", "var", "std", "prod", "max", "min", "median", "amax", "norm")
    ),
    *(
        Case(f"{n} pair", lambda T, x, n=n: tuple(getattr(T, n)(x, 1)), (X,))
        for n in ("max", "min", "median", "cummax", "cummin")
    ),
    *(
        Case(f"{n} index", lambda T, x, n=n: getattr(T, n)(x, dim=2, keepdim=True), (X,), False)
        for n in ("argmax", "argmin")
    ),
    Case("argmax all", lambda T, x: T.argmax(x), (X,), False),
    Case("argsort", lambda T, x: T.argsort(x, dim=1), (X,), False),
    Case("prod dim", lambda T, x: T.prod(x, 1), (X,)),
    Case("var biased", lambda T, x: x.var(1, unbiased=False), (X,), slack=4),
    Case("var_mean", lambda T, x: T.var_mean(x, dim=1), (X,), slack=4),
    Case("std_mean", lambda T, x: T.std_mean(x, dim=1), (X,), slack=4),
    Case("aminmax", lambda T, x: tuple(T.aminmax(x, dim=1)), (X,)),
    Case("any", lambda T, x: T.any(x, 1), (D.truth(3, 4),), False),
    Case("all", lambda T, x: x.all(), (D.truth(3, 4),), False),
    Case("count_nonzero", lambda T, x: T.count_nonzero(x, dim=0), (D.whole(3, 4, high=2),), False),
    Case("sum int", lambda T, x: T.sum(x, 0), (D.whole(3, 4, dtype="int32"),), False),
    Case("sum bool", lambda T, x: T.sum(x), (D.truth(3, 4),), False),
    Case("sum dtype", lambda T, x: T.sum(x, 0, dtype=T.float64), (X,)),
    Case("norm 1", lambda T, x: x.norm(p=1, dim=1), (X,), slack=4),
    Case("norm inf", lambda T, x: x.norm(p=float("inf"), dim=1), (X,)),
    Case("norm 3", lambda T, x: x.norm(p=3, dim=(1, 2)), (X,), slack=4),
    Case("cumsum", lambda T, x: T.cumsum(x, 1), (X,), slack=4),
    Case("cumprod", lambda T, x: T.cumprod(x, 2), (X,), slack=4),
    Case("logcumsumexp", lambda T, x: T.logcumsumexp(x, 1), (X,), slack=4),
    Case("diff", lambda T, x: T.diff(x, dim=1), (X,)),
    Case("sort", lambda T, x: tuple(T.sort(x, dim=1, descending=True)), (X,)),
    Case("topk", lambda T, x: tuple(T.topk(x, 2, dim=2)), (X,)),
    Case("topk smallest", lambda T, x: tuple(T.topk(x, 2, largest=False)), (X,)),
    Case("kthvalue", lambda T, x: tuple(T.kthvalue(x, 2, dim=1)), (X,)),
    Case("msort", lambda T, x: T.msort(x), (X,)),
    Case("cov", lambda T, x: T.cov(x), (D.real(3, 9),), slack=4),
    Case("cov biased", lambda T, x: T.cov(x, correction=0), (D.real(3, 9),), slack=4),
    Case("corrcoef", lambda T, x: T.corrcoef(x), (D.real(3, 9),), slack=4),
    Case("dist", lambda T, x, y: T.dist(x, y, 3), (X, D.real(3, 4, 5)), slack=4),
    Case("nanmean", lambda T, x: T.nanmean(T.where(x > 0, x, NAN), 1), (X,)),
    Case("nanmedian", lambda T, x: T.nanmedian(T.where(x > 0, x, NAN)), (X,)),
    *[
        Case(
            f"nanquantile {way}",
            lambda T, x, w=way: [
                T.nanquantile(T.where(x > 0, x, NAN), 0.4, 0, interpolation=w),
                T.where(x > 0, x, NAN).nanquantile(
                    T.tensor([0.1, 0.9], dtype=x.dtype), -1, True, interpolation=w
                ),
                T.nanquantile(T.where(x > 0, x, NAN), 0.7, interpolation=w),
            ],
            (X,),
        )
        for way in ("linear", "lower", "higher", "midpoint", "nearest")
    ],
    Case("nanmedian dim", lambda T, x: T.nanmedian(T.where(x > 0, x, NAN), 1).values, (X,)),
    Case("trapezoid", lambda T, x, y: T.trapezoid(x, y, dim=1), (X, D.real(3, 4, 5)), slack=4),
    Case("trapz", lambda T, x: T.trapz(x, dx=0.5), (X,), slack=4),
    Case("cumulative_trapezoid", lambda T, x: T.cumulative_trapezoid(x, dx=0.5), (X,), slack=4),
    Case("mode", lambda T, x: T.mode(x, 1).values, (D.whole(4, 6),), False),
    Case("quantile", lambda T, x: T.quantile(x, 0.4, dim=1), (X,), slack=4),
]

SHAPES = [
    Case("view", lambda T, x: x.view(12, 5) * 1, (X,)),
    Case("reshape", lambda T, x: x.reshape(5, -1), (X,)),
    Case("transpose reshape", lambda T, x: x.transpose(0, 2).reshape(5, -1), (X,)),
    Case("permute", lambda T, x: T.permute(x, (2, 0, 1)), (X,)),
    Case("movedim", lambda T, x: T.movedim(x, 0, 2), (X,)),
    Case("t", lambda T, x: x[0].t(), (X,)),
    Case("mT", lambda T, x: x.mT, (X,)),
    Case("squeeze", lambda T, x: x[:, :1].squeeze(1), (X,)),
    Case("unsqueeze", lambda T, x: x.unsqueeze(-1), (X,)),
    Case("flatten", lambda T, x: T.flatten(x, 1), (X,)),
    Case("unflatten", lambda T, x: x.unflatten(1, (2, 2)), (X,)),
    Case("expand", lambda T, x: x[:, :1].expand(3, 6, 5), (X,)),
    Case("broadcast_to", lambda T, x: T.broadcast_to(x[0], (2, 4, 5)), (X,)),
    Case("repeat", lambda T, x: x.repeat(2, 1, 3), (X,)),
    Case("tile", lambda T, x: T.tile(x, (2, 2)), (X,)),
    Case("repeat_interleave", lambda T, x: x.repeat_interleave(2, 1), (X,)),
    Case("cat", lambda T, x, y: T.cat([x, y, x], 1), (X, D.real(3, 2, 5))),
    Case("stack", lambda T, x: T.stack([x, x * 2], -1), (X,)),
    Case("hstack", lambda T, x, y: T.hstack((x, y)), (D.real(3, 2), D.real(3, 4))),
    Case("vstack", lambda T, x, y: T.vstack((x, y)), (D.real(2, 3), D.real(3))),
    Case("dstack", lambda T, x: T.dstack((x, x)), (D.real(2, 3),)),
    Case("column_stack", lambda T, x: T.column_stack((x, x)), (D.real(4),)),
    Case("split", lambda T, x: T.split(x, 2, dim=2), (X,)),
    Case("split sizes", lambda T, x: T.split(x, [1, 3], dim=1), (X,)),
    Case("chunk", lambda T, x: T.chunk(x, 3, dim=2), (X,)),
    Case("tensor_split", lambda T, x: T.tensor_split(x, 3, dim=2), (X,)),
    Case("unbind", lambda T, x: T.unbind(x, 1), (X,)),
    Case("narrow", lambda T, x: T.narrow(x, 2, 1, 3), (X,)),
    Case("select", lambda T, x: T.select(x, 1, -1), (X,)),
    Case("flip", lambda T, x: T.flip(x, (0, 2)), (X,)),
    Case("roll", lambda T, x: T.roll(x, (1, -2), (0, 2)), (X,)),
    Case("rot90", lambda T, x: T.rot90(x, 1, (0, 1)), (X,)),
    Case("tril", lambda T, x: T.tril(x, 1), (X,)),
    Case("triu", lambda T, x: T.triu(x, -1), (X,)),
    Case("diag", lambda T, x: T.diag(x), (D.real(4),)),
    Case("diag of matrix", lambda T, x: T.diag(x, 1), (D.real(4, 5),)),
    Case("diagonal", lambda T, x: T.diagonal(x, 0, 1, 2), (X,)),
    Case("diag_embed", lambda T, x: T.diag_embed(x), (D.real(2, 3),)),
    Case("meshgrid", lambda T, x, y: T.meshgrid(x, y, indexing="ij"), (D.real(3), D.real(2))),
    Case("kron", lambda T, x, y: T.kron(x, y), (D.real(2, 3), D.real(2, 2))),
    Case("unfold", lambda T, x: x.unfold(2, 3, 2), (X,)),
    Case("atleast_3d", lambda T, x: T.atleast_3d(x), (D.real(4),)),
    Case("atleast_1d", lambda T, x: T.atleast_1d(x[0, 0, 0], x), (X,)),
    Case("atleast_2d", lambda T, x: T.atleast_2d(x[0, 0]), (X,)),
    Case("moveaxis", lambda T, x: T.moveaxis(x, (0, 1), (1, 2)), (X,)),
    Case("swapaxes", lambda T, x: T.swapaxes(x, 0, 2), (X,)),
    Case("swapdims", lambda T, x: x.swapdims(0, 1), (X,)),
    Case("adjoint", lambda T, x: T.adjoint(x), (X,)),
    Case("ravel", lambda T, x: T.ravel(x.transpose(0, 1)), (X,)),
    Case("fliplr", lambda T, x: T.fliplr(x), (X,)),
    Case("flipud", lambda T, x: T.flipud(x), (X,)),
    Case("hsplit", lambda T, x: T.hsplit(x, [1, 3]), (X,)),
    Case("vsplit", lambda T, x: T.vsplit(x, 3), (X,)),
    Case("dsplit", lambda T, x: T.dsplit(x, 5), (X,)),
    Case("row_stack", lambda T, x, y: T.row_stack((x, y)), (D.real(2, 3), D.real(3))),
    Case("block_diag", lambda T, x, y: T.block_diag(x, y[0], y), (D.real(2, 3), D.real(2, 2))),
    Case("broadcast_tensors", lambda T, x: T.broadcast_tensors(x, x[0], x[:1, 0]), (X,)),
    Case("cartesian_prod", lambda T, x, y: T.cartesian_prod(x, y), (D.real(3), D.real(2))),
    Case("combinations", lambda T, x: T.combinations(x, 3), (D.real(5),)),
    Case("combinations repeated", lambda T, x: T.combinations(x, 2, True), (D.real(4),)),
    Case("expand_as", lambda T, x: x[:, :1].expand_as(x), (X,)),
    Case("reshape_as", lambda T, x: x.reshape_as(T.ones(4, 15)), (X,)),
    Case("view_as", lambda T, x: x.view_as(T.ones(60)) * 1, (X,)),
    Case("clone contiguous", lambda T, x: x.transpose(0, 1).contiguous().view(-1), (X,)),
]

INDEX = D.whole(2, 3, high=4)
SUBSCRIPTS = [
    Case("x[1]", lambda T, x: x[1], (X,)),
    Case("x[..., 0]", lambda T, x: x[..., 0], (X,)),
    Case("x[1:, ::2]", lambda T, x: x[1:, ::2], (X,)),
    Case("x[None, :, -1]", lambda T, x: x[None, :, -1], (X,)),
    Case("x[index]", lambda T, x, i: x[i % 3], (X, INDEX)),
    Case("x[:, index]", lambda T, x, i: x[:, i], (X, INDEX)),
    Case("x[a, :, b]", lambda T, x, i: x[i % 3, :, i], (X, INDEX)),
    Case("x[a, b]", lambda T, x, i: x[i % 3, i], (X, INDEX)),
    Case("x[list]", lambda T, x: x[[0, 2, 2]], (X,)),
    Case("x[mask]", lambda T, x: x[x.detach() > 0], (X,)),
    Case("x[negative]", lambda T, x: x[T.tensor([-1, 0])], (X,)),
    Case("gather", lambda T, x, i: T.gather(x, 1, i), (D.real(2, 4), INDEX)),
    Case("take_along_dim", lambda T, x, i: T.take_along_dim(x, i, 1), (D.real(2, 4), INDEX)),
    Case("index_select", lambda T, x: T.index_select(x, 1, T.tensor([0, 3, 0])), (X,)),
    Case("take", lambda T, x, i: T.take(x, i), (X, INDEX)),
    Case("masked_select", lambda T, x: T.masked_select(x, x.detach() > 0), (X,)),
    Case(
        "scatter",
        lambda T, x, i, s: T.scatter(x, 1, i[:, :1], s),
        (D.real(2, 4), INDEX, D.real(2, 1)),
    ),
    Case(
        "scatter_add",
        lambda T, x, i, s: T.scatter_add(x, 1, i, s),
        (D.real(2, 4), INDEX, D.real(2, 3)),
    ),
    Case(
        "index_add",
        lambda T, x, s: T.index_add(x, 0, T.tensor([0, 2, 0]), s),
        (D.real(3, 2), D.real(3, 2)),
    ),
    Case(
        "index_copy",
        lambda T, x, s: T.index_copy(x, 0, T.tensor([2, 0]), s),
        (D.real(3, 2), D.real(2, 2)),
    ),
    Case("index_fill", lambda T, x: T.index_fill(x, 0, T.tensor([2, 0]), 1.5), (D.real(3, 2),)),
    *(
        Case(
            f"scatter_reduce {how} {self}",
            lambda T, x, i, s, how=how, self=self: T.scatter_reduce(
                x, 1, i, s, how, include_self=self
            ),
            (D.real(2, 4), INDEX, D.real(2, 3)),
        )
        for how in ("sum", "prod", "mean", "amax", "amin")
        for self in (True, False)
    ),
    Case(
        "masked_scatter",
        lambda T, x, v: T.masked_scatter(x, x.detach() > 0, v),
        (D.real(3, 4), D.real(12)),
    ),
    Case(
        "index_put",
        lambda T, x, v: T.index_put(x, (T.tensor([0, 2]),), v),
        (D.real(3, 4), D.real(2, 4)),
    ),
    Case("put", lambda T, x, v: T.put(x, T.tensor([1, 5]), v), (D.real(3, 4), D.real(2))),
    Case("argwhere", lambda T, x: T.argwhere(x), (D.whole(3, 4, high=2),), False),
    Case(
        "unique_consecutive",
        lambda T, x: T.unique_consecutive(x, return_inverse=True, return_counts=True),
        (D.whole(20, high=2),),
        False,
    ),
    Case(
        "unique_consecutive rows",
        lambda T, x: T.unique_consecutive(x, dim=0),
        (np.array([[1, 1], [1, 1], [2, 0], [1, 1]]),),
        False,
    ),
    Case(
        "bucketize",
        lambda T, x: T.bucketize(x, T.tensor([-1.0, 0.0, 1.0]), right=True),
        (D.real(9),),
        False,
    ),
    Case("one_hot", lambda T, i: T.nn.functional.one_hot(i, 6), (INDEX,), False),
    Case("nonzero", lambda T, x: T.nonzero(x), (D.whole(3, 4, high=2),), False),
    Case(
        "unique",
        lambda T, x: T.unique(x, return_inverse=True, return_counts=True),
        (D.whole(9),),
        False,
    ),
    Case("bincount", lambda T, x: T.bincount(x), (D.whole(9),), False),
    Case("searchsorted", lambda T, x: T.searchsorted(T.arange(0.0, 5.0), x), (D.real(9),), False),
    Case("isin", lambda T, x: T.isin(x, T.tensor([1, 3])), (D.whole(9),), False),
    Case("histc", lambda T, x: T.histc(x, bins=5, min=-1.0, max=1.0), (D.real(40),), False),
]


def test_writes_equal_pytorch() -> None:
    """Subscript assignments, in place, with gradients through the written values."""

    def call(T: Any, x: Any, v: Any) -> Any:
        y = x * 1
        y[0] = v
        y[:, 1:3] = 2.0
        y[T.tensor([1, 2]), 0] = v[:2]
        y[y > 1.5] = 0.25
        y[..., -1] += 1
        return y

    compare(Case("writes", call, (D.real(3, 5), D.real(5))))


@pytest.mark.parametrize("case", parameters([*REDUCTIONS, *SHAPES, *SUBSCRIPTS]))
def test_equals_pytorch(case: Case) -> None:
    compare(case)
