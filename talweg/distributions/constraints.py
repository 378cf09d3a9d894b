"""What parameters and values of distributions must be: regions, which `check` values."""

from __future__ import annotations

from typing import Any

from talweg.base.dtypes import bool_
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


class Above(Between):
    """Numbers above a bound."""

    def __init__(self, lower_bound: Any) -> None:
        super().__init__(lower_bound, None, True)


class From(Between):
    """Numbers from a bound on."""

    def __init__(self, lower_bound: Any) -> None:
        super().__init__(lower_bound, None)


class Below(Between):
    """Numbers below a bound."""

    def __init__(self, upper_bound: Any) -> None:
        super().__init__(None, upper_bound)

    def check(self, value: Any) -> Any:
        return value < self.upper_bound


class Interval(Between):
    """Numbers from a lower to an upper bound."""

    def __init__(self, lower_bound: Any, upper_bound: Any) -> None:
        super().__init__(lower_bound, upper_bound)


class HalfOpen(Interval):
    """Numbers from a lower bound on, below an upper one."""

    def check(self, value: Any) -> Any:
        return (value >= self.lower_bound) & (value < self.upper_bound)


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


class LowerTriangular(Constraint):
    """Matrices of zeros above the diagonal."""

    event_dim = 2

    def check(self, value: Any) -> Any:
        return (value.tril() == value).flatten(-2).all(-1)


class LowerCholesky(LowerTriangular):
    """Lower triangular matrices with a positive diagonal."""

    def check(self, value: Any) -> Any:
        return super().check(value) & (value.diagonal(dim1=-2, dim2=-1) > 0).all(-1)


class CorrCholesky(LowerCholesky):
    """Lower triangular matrices with a positive diagonal and rows of length 1."""

    def check(self, value: Any) -> Any:
        eps = 2**-52 if value.dtype.name == "float64" else 2**-23
        length = (value * value).sum(-1).sqrt()
        inside = ((length - 1).abs() < eps * value.shape[-1] * 10).all(-1)
        return inside & super().check(value)


class Square(Constraint):
    """Square matrices."""

    event_dim = 2

    def check(self, value: Any) -> Any:
        square = value.shape[-2] == value.shape[-1]
        return F.full(value.shape[:-2], square, dtype=bool_)


class Symmetric(Square):
    """Square matrices that equal their transposes."""

    def check(self, value: Any) -> Any:
        square = super().check(value)
        if value.shape[-2] != value.shape[-1]:
            return square
        gap = (value - value.mT).abs() <= 1e-6 + 1e-5 * value.abs()
        return gap.flatten(-2).all(-1)


class PositiveSemidefinite(Symmetric):
    """Symmetric matrices without negative eigenvalues."""

    def check(self, value: Any) -> Any:
        inside = super().check(value)
        return inside & (F.eigvalsh(value) >= 0).all(-1)


class PositiveDefinite(Symmetric):
    """Symmetric positive-definite matrices."""

    def check(self, value: Any) -> Any:
        inside = super().check(value)
        return inside & (F.linalg_cholesky_info(value) == 0)


class Cat(Constraint):
    """Several regions side by side: `lengths` of a dimension each, as `tw.cat` puts them."""

    def __init__(self, cseq: Any, dim: int = 0, lengths: Any = None) -> None:
        self.cseq, self.dim = list(cseq), dim
        self.lengths = [1] * len(self.cseq) if lengths is None else list(lengths)
        self.is_discrete = any(c.is_discrete for c in self.cseq)
        self.event_dim = max(c.event_dim for c in self.cseq)

    def check(self, value: Any) -> Any:
        parts = value.split(self.lengths, self.dim)
        return F.cat([c.check(v) for c, v in zip(self.cseq, parts, strict=True)], self.dim)


class Stack(Constraint):
    """A region for each place of a dimension, as `tw.stack` puts them."""

    def __init__(self, cseq: Any, dim: int = 0) -> None:
        self.cseq, self.dim = list(cseq), dim
        self.is_discrete = any(c.is_discrete for c in self.cseq)
        width = max(c.event_dim for c in self.cseq)
        self.event_dim = width + 1 if dim + width < 0 else width

    def check(self, value: Any) -> Any:
        parts = value.unbind(self.dim)
        return F.stack([c.check(v) for c, v in zip(self.cseq, parts, strict=True)], self.dim)


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
positive = Above(0.0)
nonnegative = From(0.0)
unit_interval = Interval(0.0, 1.0)
nonnegative_integer = Whole(0, None)
positive_integer = Whole(1, None)
simplex = Simplex()
one_hot = OneHot()
lower_triangular = LowerTriangular()
lower_cholesky = LowerCholesky()
corr_cholesky = CorrCholesky()
square = Square()
symmetric = Symmetric()
positive_semidefinite = PositiveSemidefinite()
positive_definite = PositiveDefinite()
real_vector = Independents(real, 1)
interval = Interval
half_open_interval = HalfOpen
integer_interval = Whole
independent = Independents
multinomial = Counts
greater_than = Above
greater_than_eq = From
less_than = Below
cat = Cat
stack = Stack
