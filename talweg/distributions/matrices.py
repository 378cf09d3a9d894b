"""Distributions of matrices, and the normal one whose covariance is nearly of low rank."""

from __future__ import annotations

import math
from typing import Any, ClassVar

from talweg.base.errors import InvalidValue
from talweg.base.shapes import broadcast_shapes
from talweg.distributions import constraints as c
from talweg.distributions.arrays import F, tensors
from talweg.distributions.covariances import MATRICES, Covaried, log_diagonal, the_one_given
from talweg.distributions.distribution import Distribution, ExponentialFamily
from talweg.distributions.gammas import Beta, Chi2
from talweg.engine.modes import no_grad


class LowRankMultivariateNormal(Distribution):
    """The normal distribution of vectors with covariance W @ W.T + diag(d).

    Densities need Cholesky's factor of an m by m matrix only: Woodbury's identity.

    Args:
        loc: the mean, [..., n].
        cov_factor: W, [..., n, m].
        cov_diag: d, positive, [..., n].

    Example:
        >>> import talweg as tw
        >>> D = tw.distributions
        >>> D.LowRankMultivariateNormal(tw.zeros(3), tw.ones(3, 1), tw.ones(3)).variance
        tensor([2., 2., 2.])
    """

    arg_constraints: ClassVar = {
        "loc": c.real_vector,
        "cov_factor": c.independent(c.real, 2),
        "cov_diag": c.independent(c.positive, 1),
    }
    support = c.real_vector
    has_rsample = True

    def __init__(
        self, loc: Any, cov_factor: Any, cov_diag: Any, validate_args: bool | None = None
    ) -> None:
        if loc.ndim < 1:
            raise InvalidValue("loc must be at least one-dimensional.")
        n = loc.shape[-1]
        if cov_factor.ndim < 2 or cov_factor.shape[-2] != n:
            raise InvalidValue(f"cov_factor must be a batch of matrices with shape {n} x m")
        if cov_diag.ndim < 1 or cov_diag.shape[-1] != n:
            raise InvalidValue(f"cov_diag must be a batch of vectors with shape ({n},)")
        try:
            batch = broadcast_shapes(loc.shape[:-1], cov_factor.shape[:-2], cov_diag.shape[:-1])
        except ValueError as error:
            raise InvalidValue(
                f"Incompatible batch shapes: loc {loc.shape}, cov_factor {cov_factor.shape}, "
                f"cov_diag {cov_diag.shape}"
            ) from error
        self.loc = loc.expand(*batch, n)
        self.cov_factor = cov_factor.expand(*batch, *cov_factor.shape[-2:])
        self.cov_diag = cov_diag.expand(*batch, n)
        super().__init__(batch, (n,), validate_args)
        self._expanded()

    def _expanded(self) -> None:
        # Rows of W over d, and the factor of 1 + W.T @ diag(1 / d) @ W.
        self._scaled = self.cov_factor.mT / self.cov_diag.unsqueeze(-2)
        one = F.eye(self.cov_factor.shape[-1], dtype=self.loc.dtype)
        self._capacitance = F.cholesky_of(self._scaled @ self.cov_factor + one)

    @property
    def mean(self) -> Any:
        return self.loc

    @property
    def mode(self) -> Any:
        return self.loc

    @property
    def variance(self) -> Any:
        return (self.cov_factor**2).sum(-1) + self.cov_diag

    @property
    def covariance_matrix(self) -> Any:
        """W @ W.T + diag(d)."""
        return self.cov_factor @ self.cov_factor.mT + F.diag_embed(self.cov_diag)

    @property
    def scale_tril(self) -> Any:
        """Cholesky's factor of the covariance."""
        root = self.cov_diag.sqrt().unsqueeze(-1)
        rows = self.cov_factor / root
        one = F.eye(self.loc.shape[-1], dtype=self.loc.dtype)
        return root * F.cholesky_of(rows @ rows.mT + one)

    @property
    def precision_matrix(self) -> Any:
        """The inverse of the covariance."""
        away = self._away(self._scaled)
        return F.diag_embed(1 / self.cov_diag) - away.mT @ away

    def _away(self, columns: Any) -> Any:
        return F.solve_triangular(self._capacitance, columns, upper=False)

    def rsample(self, sample_shape: Any = ()) -> Any:
        shape = self._extended_shape(sample_shape)
        kind = self.loc.dtype
        common = F.randn((*shape[:-1], self.cov_factor.shape[-1]), dtype=kind).unsqueeze(-1)
        own = self.cov_diag.sqrt() * F.randn(shape, dtype=kind)
        return self.loc + (self.cov_factor @ common).squeeze(-1) + own

    def _log_det(self) -> Any:
        return 2 * log_diagonal(self._capacitance) + self.cov_diag.log().sum(-1)

    def _distance(self, gap: Any) -> Any:
        """Return Mahalanobis' squared distances."""
        inner = self._away(self._scaled @ gap.unsqueeze(-1))
        return (gap**2 / self.cov_diag).sum(-1) - (inner**2).sum((-2, -1))

    def log_prob(self, value: Any) -> Any:
        self._validate_sample(value)
        norm = self._event_shape[0] * math.log(2 * math.pi) + self._log_det()
        return -0.5 * (norm + self._distance(value - self.loc))

    def entropy(self) -> Any:
        return 0.5 * (self._event_shape[0] * (1 + math.log(2 * math.pi)) + self._log_det())


class Wishart(Covaried, ExponentialFamily):
    """The distribution of sums of outer products of normal vectors.

    Samples are made by Bartlett's decomposition.

    Args:
        df: how many vectors, above n - 1; any real number.
        covariance_matrix, precision_matrix, scale_tril: one of these three, [..., n, n]: the
            vectors' covariance, its inverse, or its Cholesky factor.

    Example:
        >>> import talweg as tw
        >>> D = tw.distributions
        >>> D.Wishart(3.0, covariance_matrix=tw.eye(2)).mean.tolist()
        [[3.0, 0.0], [0.0, 3.0]]
    """

    arg_constraints: ClassVar = {**MATRICES, "df": c.dependent}
    support = c.positive_definite
    has_rsample = True

    def __init__(
        self,
        df: Any,
        covariance_matrix: Any = None,
        precision_matrix: Any = None,
        scale_tril: Any = None,
        validate_args: bool | None = None,
    ) -> None:
        name, matrix = the_one_given(covariance_matrix, precision_matrix, scale_tril)
        if isinstance(df, int | float):
            df = F.full(matrix.shape[:-2], float(df), dtype=matrix.dtype)
        batch, n = broadcast_shapes(matrix.shape[:-2], df.shape), matrix.shape[-1]
        self.df = df.expand(batch)
        if bool((self.df <= n - 1).any()):
            raise InvalidValue(f"Value of df={df} expected to be greater than ndim - 1 = {n - 1}.")
        self.__dict__[name] = matrix.expand(*batch, n, n)
        super().__init__(batch, (n, n), validate_args)
        self._expanded()

    def _expanded(self) -> None:
        n = self._event_shape[-1]
        super()._expanded()
        less = F.arange(n).to(self.df.dtype)
        self._chi2 = Chi2(self.df.unsqueeze(-1) - less, validate_args=False)

    def expand(self, batch_shape: Any, _instance: Any = None) -> Any:
        df = self.df.expand(batch_shape)
        factor = self._factor.expand(*batch_shape, *self._event_shape)
        return Wishart(df, scale_tril=factor, validate_args=False)

    def _wide(self, value: Any) -> Any:
        return value.unsqueeze(-1).unsqueeze(-1)

    @property
    def mean(self) -> Any:
        return self._wide(self.df) * self.covariance_matrix

    @property
    def mode(self) -> Any:
        more = self.df - self._event_shape[-1] - 1
        more = F.where(more > 0, more, F.full_like(more, math.nan))
        return self._wide(more) * self.covariance_matrix

    @property
    def variance(self) -> Any:
        covariance = self.covariance_matrix
        own = covariance.diagonal(dim1=-2, dim2=-1)
        return self._wide(self.df) * (covariance**2 + own.unsqueeze(-1) * own.unsqueeze(-2))

    def rsample(self, sample_shape: Any = (), max_try_correction: int | None = None) -> Any:
        shape = self._extended_shape(sample_shape)
        tiny = 2**-52 if self.df.dtype.name == "float64" else 2**-23
        roots = self._chi2.rsample(sample_shape).sqrt().clamp(min=tiny)
        lower = F.randn(shape, dtype=self.df.dtype).tril(-1)
        factor = self._factor @ (lower + F.diag_embed(roots))
        return factor @ factor.mT

    def _log_root(self) -> Any:
        n = self._event_shape[-1]
        return n * math.log(2) / 2 + log_diagonal(self._factor)

    def log_prob(self, value: Any) -> Any:
        self._validate_sample(value)
        df, n = self.df, self._event_shape[-1]
        batch = broadcast_shapes(value.shape[:-2], self._batch_shape)
        factor, value = (m.expand(*batch, n, n) for m in (self._factor, value))
        inner = F.solve_triangular(factor, value, upper=False)
        trace = F.solve_triangular(factor, inner.mT, upper=False).diagonal(dim1=-2, dim2=-1)
        return (
            -df * self._log_root()
            - F.multigammaln(df / 2, n)
            + (df - n - 1) / 2 * F.slogdet(value).logabsdet
            - trace.sum(-1) / 2
        )

    def entropy(self) -> Any:
        df, n = self.df, self._event_shape[-1]
        halves = (df / 2).unsqueeze(-1) - F.arange(n).to(df.dtype) / 2
        return (
            (n + 1) * self._log_root()
            + F.multigammaln(df / 2, n)
            - (df - n - 1) / 2 * F.digamma(halves).sum(-1)
            + df * n / 2
        )


class LKJCholesky(Distribution):
    """The distribution of Cholesky factors of correlation matrices.

    Matrices have densities in the ratio of det ** (concentration - 1). Samples are made by the
    onion method of Lewandowski, Kurowicka and Joe (2009).

    Args:
        dim: of the matrices, 2 or more.
        concentration: positive; 1 is even.

    Example:
        >>> import talweg as tw
        >>> D = tw.distributions
        >>> factor = D.LKJCholesky(3).sample()
        >>> (factor @ factor.T).diagonal()
        tensor([1., 1., 1.])
    """

    arg_constraints: ClassVar = {"concentration": c.positive}
    support = c.corr_cholesky

    def __init__(
        self, dim: int, concentration: Any = 1.0, validate_args: bool | None = None
    ) -> None:
        if dim < 2:
            raise InvalidValue(
                f"Expected dim to be an integer greater than or equal to 2. Found dim={dim}."
            )
        self.dim = dim
        (self.concentration,) = tensors(concentration)
        super().__init__(self.concentration.shape, (dim, dim), validate_args)
        self._expanded()

    def _expanded(self) -> None:
        row = (F.arange(self.dim) - 1).clamp(min=0).to(self.concentration.dtype)
        wide = self.concentration.unsqueeze(-1) + 0.5 * (self.dim - 2)
        self._beta = Beta((0.5 * row + 0.5).expand(*wide.shape[:-1], -1), wide - 0.5 * row, False)

    def sample(self, sample_shape: Any = ()) -> Any:
        with no_grad():
            length = self._beta.sample(sample_shape).unsqueeze(-1)
            kind = self.concentration.dtype
            lower = F.randn(self._extended_shape(sample_shape), dtype=kind).tril(-1)
            norms = (lower**2).sum(-1, keepdim=True).sqrt()
            first = F.arange(self.dim).unsqueeze(-1) == 0
            rows = F.where(first, F.zeros_like(lower), lower / norms) * length.sqrt()
            left = (1 - (rows**2).sum(-1)).clamp(min=1.2e-38).sqrt()
            return rows + F.diag_embed(left)

    def log_prob(self, value: Any) -> Any:
        self._validate_sample(value)
        less, a = self.dim - 1, self.concentration
        own = value.diagonal(dim1=-2, dim2=-1)[..., 1:]
        rows = F.arange(2, self.dim + 1).to(a.dtype)
        power = 2 * (a - 1).unsqueeze(-1) + self.dim - rows
        alpha = a + 0.5 * less
        norm = 0.5 * less * math.log(math.pi)
        norm = norm + F.multigammaln(alpha - 0.5, less) - F.lgamma(alpha) * less
        return (power * own.log()).sum(-1) - norm
