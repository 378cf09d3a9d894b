"""A covariance, given in one of three ways: itself, its inverse, or its Cholesky factor."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

from talweg.base.errors import InvalidValue
from talweg.distributions import constraints as c
from talweg.distributions.arrays import F
from talweg.distributions.constraints import Constraint
from talweg.distributions.distribution import Distribution

MATRICES: Mapping[str, Constraint] = {
    "covariance_matrix": c.positive_definite,
    "precision_matrix": c.positive_definite,
    "scale_tril": c.lower_cholesky,
}


def the_one_given(*matrices: Any) -> tuple[str, Any]:
    """Return the name and the matrix, [..., n, n], that alone is not None, of the three above.

    Raises:
        InvalidValue: when there is none, or another one too, or it is no matrix.
    """
    found = [(k, m) for k, m in zip(MATRICES, matrices, strict=True) if m is not None]
    if len(found) != 1:
        raise InvalidValue(f"Exactly one of {' or '.join(MATRICES)} may be specified.")
    ((name, matrix),) = found
    if matrix.ndim < 2:
        raise InvalidValue(f"{name} must be at least two-dimensional")
    return name, matrix


def log_diagonal(factor: Any) -> Any:
    """Return the logarithms of triangular matrices' determinants, [...]."""
    return factor.diagonal(dim1=-2, dim2=-1).log().sum(-1)


class Covaried(Distribution):
    """A distribution of vectors with a covariance, or of such covariances.

    The matrix that was given is an attribute; the other two are computed from Cholesky's factor
    when they are asked for.
    """

    arg_constraints: ClassVar = MATRICES
    _factor: Any

    def _expanded(self) -> None:
        held = self.__dict__
        if "scale_tril" in held:
            self._factor = held["scale_tril"]
        elif "covariance_matrix" in held:
            self._factor = F.cholesky_of(held["covariance_matrix"])
        else:
            precision = held["precision_matrix"]
            turned = F.flip(F.cholesky_of(F.flip(precision, (-2, -1))), (-2, -1)).mT
            one = F.eye(precision.shape[-1], dtype=precision.dtype)
            self._factor = F.solve_triangular(turned, one, upper=False)

    def __getattr__(self, name: str) -> Any:
        if name not in MATRICES or "_factor" not in self.__dict__:
            raise AttributeError(f"{type(self).__name__!r} object has no attribute {name!r}")
        if name == "scale_tril":
            return self._factor
        if name == "covariance_matrix":
            return self._factor @ self._factor.mT
        return F.cholesky_inverse(self._factor)
