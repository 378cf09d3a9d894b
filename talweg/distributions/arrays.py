"""The Tensor functions that distributions are written with, under one short name."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

from talweg.base.errors import InvalidValue
from talweg.engine import creation, drawing, random
from talweg.engine.functions import FUNCTIONS
from talweg.engine.record import lift
from talweg.engine.state import STATE
from talweg.engine.tensor import Tensor
from talweg.fn import activation, matrix_factors, matrix_systems, specials

EULER = 0.57721566490153286060


def _cholesky_info(value: Tensor) -> Any:
    return _cholesky_ex(value).info


_cholesky_ex = lift(matrix_factors.cholesky_ex)

F: Any = SimpleNamespace(
    **FUNCTIONS,
    **{f.__name__: f for f in (*creation.PUBLIC, *random.PUBLIC)},
    standard_gamma=drawing.standard_gamma,
    poisson=drawing.poisson,
    binomial=drawing.binomial,
    von_mises=drawing.von_mises,
    softplus=lift(activation.softplus),
    logsigmoid=lift(activation.logsigmoid),
    cholesky_of=lift(matrix_factors.cholesky),
    solve_triangular=lift(matrix_systems.solve_triangular),
    eigvalsh=lift(matrix_factors.eigvalsh),
    multigammaln=lift(specials.multigammaln),
    linalg_cholesky_info=_cholesky_info,
)


def tensors(*values: Any) -> list[Any]:
    """Return numbers and Tensors as Tensors of one shape, numbers in the Tensors' dtype.

    Raises:
        InvalidValue: for anything else.
    """
    given = [v for v in values if isinstance(v, Tensor)]
    if not all(isinstance(v, Tensor | bool | int | float) for v in values):
        raise InvalidValue("parameters must be numbers or Tensors")
    kind = next((v.dtype for v in given if v.dtype.is_floating_point), STATE.builder.default_float)
    made = [v if isinstance(v, Tensor) else creation.tensor(float(v), dtype=kind) for v in values]
    return list(F.broadcast_tensors(*made)) if len(made) > 1 else made


def one_of(probs: Any, logits: Any) -> Any:
    """Return which of the two is given.

    Raises:
        InvalidValue: when both are, or none.
    """
    if (probs is None) == (logits is None):
        raise InvalidValue("Either `probs` or `logits` must be specified, but not both.")
    return logits if probs is None else probs


def clamped(probs: Any) -> Any:
    """Return probabilities a little away from 0 and 1."""
    eps = {"float16": 2**-10, "float64": 2**-52}.get(probs.dtype.name, 2**-23)
    return probs.clamp(eps, 1 - eps)


def logits_of(probs: Any, binary: bool = False) -> Any:
    """Return logits of probabilities, log-probabilities unless `binary`."""
    probs = clamped(probs)
    return probs.log() - (-probs).log1p() if binary else probs.log()


def probs_of(logits: Any, binary: bool = False) -> Any:
    """Return probabilities of logits."""
    return logits.sigmoid() if binary else F.softmax(logits, -1)
