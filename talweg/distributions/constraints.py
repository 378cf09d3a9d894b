"""What parameters and values of distributions must be: regions, which `check` values."""

from __future__ import annotations

from typing import Any

from talweg.distributions.arrays import F


class Constraint:
    """A region of values.

    Attributes:
        is_discrete: whether it holds isolated values only.
        event_dim: how many last dimensions make one value.
    """

    is_discrete = False
    event_dim = 0

    def check(self, value: Any) -> Any:
        """Return where the values lie within, a bool for each (of `event_dim` dimensions)."""
        raise NotImplementedError

    def __repr__(self) -> str:
        shown = ", ".join(f"{k}={v}" for k, v in vars(self).items())
        return f"{type(self).__name__}({shown})"


class Dependent(Constraint):
    """A region that depends on other parameters: it is not checked by itself."""


class Real(Constraint):
    """Numbers, not NaN."""

    def check(self, value: Any) -> Any:
        return value == value


class Boolean(Constraint):
    """0 and 1."""

    is_discrete = True

    def check(self, value: Any) -> Any:
        return (value == 0) | (value == 1)


class Between(Constraint):
    """Numbers from a lower to an upper bound; either may be None."""

    def __init__(self, lower: Any, upper: Any, open_below: bool = False) -> None:
        self.lower_bound, self.upper_bound, self.open_below = lower, upper, open_below

    def check(self, value: Any) -> Any:
        inside = value == value
        if self.lower_bound is not None:
            low = self.lower_bound
            inside = inside & (value > low if self.open_below else value >= low)
        return inside if self.upper_bound is None else inside & (value <= self.upper_bound)


class Whole(Between):
    """Whole numbers between bounds."""

    is_discrete = True

    def check(self, value: Any) -> Any:
        return (value % 1 == 0) & Between.check(self, value)


class Simplex(Constraint):
    """Vectors of positive numbers that add up to 1."""

    event_dim = 1

    def check(self, value: Any) -> Any:
        return (value >= 0).all(-1) & ((value.sum(-1) - 1).abs() < 1e-6)


class OneHot(Constraint):
    """Vectors of one 1 among zeros."""

    is_discrete = True
    event_dim = 1

    def check(self, value: Any) -> Any:
        return ((value == 0) | (value == 1)).all(-1) & (value.sum(-1) == 1)


class Counts(Constraint):
    """Vectors of whole numbers that add up to a count at most."""

    is_discrete = True
    event_dim = 1

    def __init__(self, upper_bound: Any) -> None:
        self.upper_bound = upper_bound

    def check(self, value: Any) -> Any:
        return (value >= 0).all(-1) & (value.sum(-1) <= self.upper_bound)


class LowerCholesky(Constraint):
    """Lower triangular matrices with a positive diagonal."""

    event_dim = 2

    def check(self, value: Any) -> Any:
        below = (value.tril() == value).flatten(-2).all(-1)
        return below & (value.diagonal(dim1=-2, dim2=-1) > 0).all(-1)


class PositiveDefinite(Constraint):
    """Symmetric positive-definite matrices."""

    event_dim = 2

    def check(self, value: Any) -> Any:
        gap = (value - value.mT).abs() <= 1e-6 + 1e-5 * value.abs()
        return gap.flatten(-2).all(-1) & (F.linalg_cholesky_info(value) == 0)


class Independents(Constraint):
    """A region whose last dimensions make one value."""

    def __init__(self, base: Constraint, count: int) -> None:
        self.base_constraint, self.reinterpreted_batch_ndims = base, count
        self.is_discrete = base.is_discrete
        self.event_dim = base.event_dim + count

    def check(self, value: Any) -> Any:
        inside = self.base_constraint.check(value)
        count = self.reinterpreted_batch_ndims
        return inside.flatten(inside.dim() - count).all(-1) if count else inside


dependent = Dependent()
real = Real()
boolean = Boolean()
positive = Between(0.0, None, open_below=True)
nonnegative = Between(0.0, None)
unit_interval = Between(0.0, 1.0)
nonnegative_integer = Whole(0, None)
positive_integer = Whole(1, None)
simplex = Simplex()
one_hot = OneHot()
lower_cholesky = LowerCholesky()
positive_definite = PositiveDefinite()
real_vector = Independents(real, 1)
interval = Between
integer_interval = Whole
independent = Independents
multinomial = Counts


def greater_than(lower_bound: Any) -> Constraint:
    """Return numbers above a bound."""
    return Between(lower_bound, None, open_below=True)


def greater_than_eq(lower_bound: Any) -> Constraint:
    """Return numbers from a bound on."""
    return Between(lower_bound, None)


def less_than(upper_bound: Any) -> Constraint:
    """Return numbers up to a bound."""
    return Between(None, upper_bound)
