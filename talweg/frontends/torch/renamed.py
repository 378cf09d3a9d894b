"""Functions that have another name, or place, or order of dimensions in talweg."""

from __future__ import annotations

from typing import Any

from talweg.engine.functions import FUNCTIONS
from talweg.engine.record import lift
from talweg.engine.tensor import Tensor
from talweg.fn import specials
from talweg.nn import functional as F

i0 = lift(specials.i0)
_multigammaln = lift(specials.multigammaln)


def mvlgamma(input: Tensor, p: int) -> Tensor:
    """Return the logarithm of the multivariate gamma function of dimension p.

    >>> from talweg.frontends import torch
    >>> round(torch.mvlgamma(torch.tensor(3.0), 2).item(), 4)
    1.5502
    """
    made: Tensor = _multigammaln(input, p)
    return made


def conv_tbc(input: Tensor, weight: Tensor, bias: Tensor, pad: int = 0) -> Tensor:
    """Return the convolution over time of (time, batch, channels), of (width, in, out) weights."""
    found = F.conv1d(input.permute(1, 2, 0), weight.permute(2, 1, 0), bias, padding=pad)
    made: Tensor = found.permute(2, 0, 1)
    return made


def conj_physical(input: Tensor) -> Tensor:
    """Return the complex conjugate."""
    made: Tensor = FUNCTIONS["conj"](input)
    return made


PUBLIC = (i0, mvlgamma, conv_tbc, conj_physical)
MODULES: dict[str, dict[str, Any]] = {
    "": {
        **{f.__name__: f for f in PUBLIC},
        "celu_": F.celu_,
        "rrelu_": F.rrelu_,
        "selu_": F.selu_,
        "threshold_": F.threshold_,
    }
}
