"""Draws that the host makes: gamma, Poisson, binomial and von Mises numbers."""

from __future__ import annotations

from talweg.base.errors import DTypeError
from talweg.base.shapes import size_of
from talweg.engine.functions import FUNCTIONS
from talweg.engine.random import Generator, source_nodes
from talweg.engine.record import lift
from talweg.engine.tensor import Tensor, wrap
from talweg.ir.build import Builder
from talweg.ir.node import Node
from talweg.ops.draws import HostDraw


def _host_draw(b: Builder, key: Node, offset: Node, kind: str, *parameters: Node) -> Node:
    return b.apply(HostDraw(kind), key, offset, *parameters)


_recorded = lift(_host_draw)


def _drawn(kind: str, generator: Generator | None, *parameters: Tensor) -> Tensor:
    given = FUNCTIONS["broadcast_tensors"](*parameters) if len(parameters) > 1 else parameters
    if not given[0].dtype.is_floating_point:
        raise DTypeError(f"{kind} needs a floating dtype, got {given[0].dtype.name}")
    key, offset = source_nodes(generator, size_of(given[0].shape))
    made: Tensor = _recorded(wrap(key), wrap(offset), kind, *given)
    return made


def standard_gamma(concentration: Tensor, generator: Generator | None = None) -> Tensor:
    """Return gamma numbers with a rate of 1; they have a gradient.

    >>> import talweg as tw
    >>> from talweg.engine.drawing import standard_gamma
    >>> standard_gamma(tw.ones(2, 3)).shape
    (2, 3)
    """
    return _drawn("gamma", generator, concentration)


def poisson(input: Tensor, generator: Generator | None = None) -> Tensor:
    """Return Poisson numbers, one for each rate in `input`, in its dtype.

    >>> import talweg as tw
    >>> tw.poisson(tw.zeros(2)).tolist()
    [0.0, 0.0]
    """
    return _drawn("poisson", generator, input)


def binomial(count: Tensor, prob: Tensor, generator: Generator | None = None) -> Tensor:
    """Return how many of `count` trials succeed with probability `prob`, in prob's dtype.

    >>> import talweg as tw
    >>> tw.binomial(tw.tensor([4.0]), tw.tensor([1.0])).tolist()
    [4.0]
    """
    return _drawn("binomial", generator, count.to(prob.dtype), prob)


def von_mises(concentration: Tensor, generator: Generator | None = None) -> Tensor:
    """Return angles around 0 in [-pi, pi]."""
    return _drawn("vonmises", generator, concentration)
