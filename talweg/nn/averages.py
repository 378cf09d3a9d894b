"""`size_average` and `reduce`: what programs said before `reduction` came, in PyTorch's places."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from functools import cache
from typing import Any

from talweg.engine.arguments import deferred_signature

# `size_average` stands before these, where it does not stand before `reduce`.
_BEFORE = {"cross_entropy": "ignore_index", "nll_loss": "ignore_index", "poisson_nll_loss": "eps"}
LOSSES = (
    *("binary_cross_entropy", "binary_cross_entropy_with_logits", "cosine_embedding_loss"),
    *("cross_entropy", "hinge_embedding_loss", "kl_div", "l1_loss", "margin_ranking_loss"),
    *("mse_loss", "multi_margin_loss", "multilabel_margin_loss", "multilabel_soft_margin_loss"),
    *("nll_loss", "poisson_nll_loss", "smooth_l1_loss", "soft_margin_loss", "triplet_margin_loss"),
)


def meant(size_average: bool | None, reduce: bool | None, reduction: str) -> str:
    """Return the reduction that is meant.

    Args:
        size_average: False for a sum where a mean would be taken.
        reduce: False for the loss of every element.
        reduction: what holds where both are None.
    """
    if size_average is None and reduce is None:
        return reduction
    if reduce is False:
        return "none"
    return "sum" if size_average is False else "mean"


def with_averages(function: Callable[..., Any]) -> Callable[..., Any]:
    """Give a loss PyTorch's parameters `size_average` and `reduce`."""
    place = _BEFORE.get(function.__name__, "reduce")

    def signature() -> inspect.Signature:
        listed = list(inspect.signature(function).parameters.values())
        kind = inspect.Parameter.POSITIONAL_OR_KEYWORD
        for name, before in (("reduce", "reduction"), ("size_average", place)):
            at = [p.name for p in listed].index(before)
            listed.insert(at, inspect.Parameter(name, kind, default=None))
        return inspect.Signature(listed)

    @cache
    def names() -> tuple[str, ...]:
        return tuple(signature().parameters)

    @cache
    def first() -> int:
        return names().index("size_average")

    def loss(*args: Any, **kwargs: Any) -> Any:
        if "size_average" not in kwargs and "reduce" not in kwargs and len(args) <= first():
            return function(*args, **kwargs)
        given = dict(zip(names()[first() :], args[first() :], strict=False), **kwargs)
        older = given.pop("size_average", None), given.pop("reduce", None)
        reduction = meant(*older, given.pop("reduction", "mean"))
        return function(*args[: first()], **given, reduction=reduction)

    loss.__name__ = loss.__qualname__ = function.__name__
    loss.__doc__ = function.__doc__
    loss.__signature__ = deferred_signature(signature)  # type: ignore[attr-defined]
    return loss
