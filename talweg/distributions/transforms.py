"""Invertible functions of random numbers, with the logarithm of how they change volumes."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from talweg.distributions import constraints as c
from talweg.distributions.arrays import F, clamped


class Transform:
    """An invertible function; `t(x)` applies it and `t.inv` is its inverse.

    Attributes:
        domain, codomain: from where to where; `event_dim` last dimensions make one value.
        bijective: whether each value has one inverse.
        sign: whether it grows or falls, 1 or -1, where it is monotone.
    """

    domain: c.Constraint = c.real
    codomain: c.Constraint = c.real
    bijective = True
    sign: Any = 1

    def __init__(self, cache_size: int = 0) -> None:
        self._inverse: Transform | None = None

    @property
    def inv(self) -> Transform:
        """The inverse."""
        return _Inverse(self)

    def __call__(self, x: Any) -> Any:
        return self._call(x)

    def _call(self, x: Any) -> Any:
        raise NotImplementedError

    def _invert(self, y: Any) -> Any:
        raise NotImplementedError

    def log_abs_det_jacobian(self, x: Any, y: Any) -> Any:
        """Return the logarithm of |dy/dx|."""
        raise NotImplementedError

    def forward_shape(self, shape: Sequence[int]) -> tuple[int, ...]:
        """Return the shape of results for operands of a shape."""
        return tuple(shape)

    def inverse_shape(self, shape: Sequence[int]) -> tuple[int, ...]:
        """Return the shape of operands for results of a shape."""
        return tuple(shape)

    def __repr__(self) -> str:
        return f"{type(self).__name__}()"


class _Inverse(Transform):
    def __init__(self, base: Transform) -> None:
        super().__init__()
        self._base = base
        self.domain, self.codomain = base.codomain, base.domain
        self.bijective, self.sign = base.bijective, base.sign

    @property
    def inv(self) -> Transform:
        return self._base

    def _call(self, x: Any) -> Any:
        return self._base._invert(x)

    def _invert(self, y: Any) -> Any:
        return self._base._call(y)

    def log_abs_det_jacobian(self, x: Any, y: Any) -> Any:
        return -self._base.log_abs_det_jacobian(y, x)

    def forward_shape(self, shape: Sequence[int]) -> tuple[int, ...]:
        return self._base.inverse_shape(shape)

    def inverse_shape(self, shape: Sequence[int]) -> tuple[int, ...]:
        return self._base.forward_shape(shape)


class ExpTransform(Transform):
    """exp(x)."""

    codomain = c.positive

    def _call(self, x: Any) -> Any:
        return x.exp()

    def _invert(self, y: Any) -> Any:
        return y.log()

    def log_abs_det_jacobian(self, x: Any, y: Any) -> Any:
        return x


class SigmoidTransform(Transform):
    """1 / (1 + exp(-x))."""

    codomain = c.unit_interval

    def _call(self, x: Any) -> Any:
        return clamped(x.sigmoid())

    def _invert(self, y: Any) -> Any:
        y = clamped(y)
        return y.log() - (-y).log1p()

    def log_abs_det_jacobian(self, x: Any, y: Any) -> Any:
        return -F.softplus(-x) - F.softplus(x)


class TanhTransform(Transform):
    """tanh(x)."""

    codomain = c.interval(-1.0, 1.0)

    def _call(self, x: Any) -> Any:
        return x.tanh()

    def _invert(self, y: Any) -> Any:
        return F.atanh(y)

    def log_abs_det_jacobian(self, x: Any, y: Any) -> Any:
        return 2.0 * (math.log(2.0) - x - F.softplus(-2.0 * x))


class SoftplusTransform(Transform):
    """log(1 + exp(x))."""

    codomain = c.positive

    def _call(self, x: Any) -> Any:
        return F.softplus(x)

    def _invert(self, y: Any) -> Any:
        return (-F.expm1(-y)).log() + y

    def log_abs_det_jacobian(self, x: Any, y: Any) -> Any:
        return -F.softplus(-x)


class AbsTransform(Transform):
    """|x|; its inverse is the positive one."""

    codomain = c.nonnegative
    bijective = False

    def _call(self, x: Any) -> Any:
        return x.abs()

    def _invert(self, y: Any) -> Any:
        return y


class PowerTransform(Transform):
    """x ** exponent for positive numbers."""

    domain = c.positive
    codomain = c.positive

    def __init__(self, exponent: Any, cache_size: int = 0) -> None:
        super().__init__()
        self.exponent = exponent
        self.sign = exponent.sign() if hasattr(exponent, "sign") else math.copysign(1, exponent)

    def _call(self, x: Any) -> Any:
        return x**self.exponent

    def _invert(self, y: Any) -> Any:
        return y ** (1 / self.exponent)

    def log_abs_det_jacobian(self, x: Any, y: Any) -> Any:
        return (self.exponent * y / x).abs().log()


class AffineTransform(Transform):
    """loc + scale * x; `event_dim` last dimensions make one value."""

    def __init__(self, loc: Any, scale: Any, event_dim: int = 0, cache_size: int = 0) -> None:
        super().__init__()
        self.loc, self.scale, self.event_dim = loc, scale, event_dim
        self.domain = self.codomain = c.independent(c.real, event_dim) if event_dim else c.real
        self.sign = scale.sign() if hasattr(scale, "sign") else math.copysign(1, scale)

    def _call(self, x: Any) -> Any:
        return self.loc + self.scale * x

    def _invert(self, y: Any) -> Any:
        return (y - self.loc) / self.scale

    def log_abs_det_jacobian(self, x: Any, y: Any) -> Any:
        if isinstance(self.scale, int | float):
            found = F.full_like(x, math.log(abs(self.scale)))
        else:
            found = self.scale.abs().log().expand(x.shape)
        return found.flatten(x.ndim - self.event_dim).sum(-1) if self.event_dim else found


class SoftmaxTransform(Transform):
    """softmax over the last dimension; its inverse is the logarithm."""

    domain = c.real_vector
    codomain = c.simplex
    bijective = False

    def _call(self, x: Any) -> Any:
        return F.softmax(x, -1)

    def _invert(self, y: Any) -> Any:
        return y.log()


class StickBreakingTransform(Transform):
    """From n numbers to n + 1 that add up to 1: each takes its part of what is left."""

    domain = c.real_vector
    codomain = c.simplex

    def _offset(self, x: Any) -> Any:
        return x.shape[-1] - F.arange(x.shape[-1]).to(x.dtype)

    def _call(self, x: Any) -> Any:
        z = clamped((x - self._offset(x).log()).sigmoid())
        left = (1 - z).cumprod(-1)
        one = F.ones_like(z[..., :1])
        return F.cat([z, one], -1) * F.cat([one, left], -1)

    def _invert(self, y: Any) -> Any:
        cut = y[..., :-1]
        left = (1 - cut.cumsum(-1)).clamp(min=1.2e-38)
        return cut.log() - left.log() + self._offset(cut).log()

    def log_abs_det_jacobian(self, x: Any, y: Any) -> Any:
        x = x - self._offset(x).log()
        return (-x + F.logsigmoid(x) + y[..., :-1].log()).sum(-1)

    def forward_shape(self, shape: Sequence[int]) -> tuple[int, ...]:
        return (*shape[:-1], shape[-1] + 1)

    def inverse_shape(self, shape: Sequence[int]) -> tuple[int, ...]:
        return (*shape[:-1], shape[-1] - 1)


class LowerCholeskyTransform(Transform):
    """The exponential of the diagonal, and what is below it."""

    domain = c.independent(c.real, 2)
    codomain = c.lower_cholesky

    def _call(self, x: Any) -> Any:
        return x.tril(-1) + F.diag_embed(x.diagonal(dim1=-2, dim2=-1).exp())

    def _invert(self, y: Any) -> Any:
        return y.tril(-1) + F.diag_embed(y.diagonal(dim1=-2, dim2=-1).log())


class PositiveDefiniteTransform(Transform):
    """The product of a lower triangular matrix of positive diagonal with its transpose."""

    domain = c.independent(c.real, 2)
    codomain = c.positive_definite

    def _call(self, x: Any) -> Any:
        factor = LowerCholeskyTransform()(x)
        return factor @ factor.mT

    def _invert(self, y: Any) -> Any:
        return LowerCholeskyTransform()._invert(F.cholesky_of(y))


class CorrCholeskyTransform(Transform):
    """From n (n - 1) / 2 numbers to Cholesky factors of n by n correlation matrices.

    Each row breaks the squares of its tanh from a stick of length 1 (Stan's reference manual,
    "Cholesky factors of correlation matrices").
    """

    domain = c.real_vector
    codomain = c.corr_cholesky

    def _call(self, x: Any) -> Any:
        eps = 2**-52 if x.dtype.name == "float64" else 2**-23
        n = self.forward_shape(x.shape)[-1]
        part = x.tanh().clamp(-1 + eps, 1 - eps)
        rows = [part[..., i * (i - 1) // 2 : i * (i + 1) // 2] for i in range(n)]
        one = F.ones_like(part[..., :1])
        filled = []
        for i, row in enumerate(rows):
            left = F.cat([one, (1 - row**2).sqrt().cumprod(-1)], -1)
            cells = [F.cat([row, one], -1) * left, *[F.zeros_like(one)] * (n - 1 - i)]
            filled.append(F.cat(cells, -1))
        return F.stack(filled, -2)

    def _below(self, y: Any, offset: int) -> Any:
        """Return what is below the diagonal, row after row, `offset` columns further right."""
        rows = [y[..., i, offset : i + offset] for i in range(1, y.shape[-1])]
        return F.cat(rows, -1)

    def _invert(self, y: Any) -> Any:
        left = 1 - (y * y).cumsum(-1)
        before = F.cat([F.ones_like(left[..., :1]), left[..., :-1]], -1)
        return F.atanh(self._below(y, 0) / self._below(before, 0).sqrt())

    def log_abs_det_jacobian(self, x: Any, y: Any) -> Any:
        left = 1 - (y * y).cumsum(-1)
        rows = [left[..., i, : i - 1] for i in range(2, y.shape[-1])]
        broken = 0.5 * F.cat(rows, -1).log().sum(-1) if rows else 0.0
        return broken - 2 * (x + F.softplus(-2 * x) - math.log(2.0)).sum(-1)

    def forward_shape(self, shape: Sequence[int]) -> tuple[int, ...]:
        n = round((0.25 + 2 * shape[-1]) ** 0.5 + 0.5)
        if n * (n - 1) // 2 != shape[-1]:
            raise ValueError("Input is not a flattened lower-diagonal number")
        return (*shape[:-1], n, n)

    def inverse_shape(self, shape: Sequence[int]) -> tuple[int, ...]:
        if len(shape) < 2 or shape[-1] != shape[-2]:
            raise ValueError("Input is not square")
        return (*shape[:-2], shape[-1] * (shape[-1] - 1) // 2)


class CumulativeDistributionTransform(Transform):
    """The probability, under a distribution, of values up to x."""

    codomain = c.unit_interval

    def __init__(self, distribution: Any, cache_size: int = 0) -> None:
        super().__init__()
        self.distribution = distribution
        self.domain = distribution.support

    def _call(self, x: Any) -> Any:
        return self.distribution.cdf(x)

    def _invert(self, y: Any) -> Any:
        return self.distribution.icdf(y)

    def log_abs_det_jacobian(self, x: Any, y: Any) -> Any:
        return self.distribution.log_prob(x)


class CatTransform(Transform):
    """Transforms side by side: each of its length of a dimension, as `tw.cat` puts them."""

    def __init__(
        self,
        tseq: Sequence[Transform],
        dim: int = 0,
        lengths: Sequence[int] | None = None,
        cache_size: int = 0,
    ) -> None:
        super().__init__()
        self.transforms, self.dim = list(tseq), dim
        self.lengths = [1] * len(self.transforms) if lengths is None else list(lengths)
        if len(self.lengths) != len(self.transforms):
            raise ValueError(f"{len(self.lengths)} lengths for {len(self.transforms)} transforms")
        self.event_dim = max(t.domain.event_dim for t in self.transforms)
        self.bijective = all(t.bijective for t in self.transforms)
        self.domain = c.cat([t.domain for t in self.transforms], dim, self.lengths)
        self.codomain = c.cat([t.codomain for t in self.transforms], dim, self.lengths)

    @property
    def length(self) -> int:
        """The size of the dimension."""
        return sum(self.lengths)

    def _parts(self, x: Any) -> Any:
        return zip(self.transforms, x.split(self.lengths, self.dim), strict=True)

    def _call(self, x: Any) -> Any:
        return F.cat([t(v) for t, v in self._parts(x)], self.dim)

    def _invert(self, y: Any) -> Any:
        return F.cat([t.inv(v) for t, v in self._parts(y)], self.dim)

    def log_abs_det_jacobian(self, x: Any, y: Any) -> Any:
        results = y.split(self.lengths, self.dim)
        found = [
            summed(t.log_abs_det_jacobian(v, w), self.event_dim - t.domain.event_dim)
            for (t, v), w in zip(self._parts(x), results, strict=True)
        ]
        dim = (self.dim - x.ndim if self.dim >= 0 else self.dim) + self.event_dim
        return F.cat(found, dim) if dim < 0 else sum(found)


class StackTransform(Transform):
    """A transform for each place of a dimension, as `tw.stack` puts them."""

    def __init__(self, tseq: Sequence[Transform], dim: int = 0, cache_size: int = 0) -> None:
        super().__init__()
        self.transforms, self.dim = list(tseq), dim
        self.bijective = all(t.bijective for t in self.transforms)
        self.domain = c.stack([t.domain for t in self.transforms], dim)
        self.codomain = c.stack([t.codomain for t in self.transforms], dim)

    def _parts(self, x: Any) -> Any:
        return zip(self.transforms, x.unbind(self.dim), strict=True)

    def _call(self, x: Any) -> Any:
        return F.stack([t(v) for t, v in self._parts(x)], self.dim)

    def _invert(self, y: Any) -> Any:
        return F.stack([t.inv(v) for t, v in self._parts(y)], self.dim)

    def log_abs_det_jacobian(self, x: Any, y: Any) -> Any:
        pairs = zip(self._parts(x), y.unbind(self.dim), strict=True)
        return F.stack([t.log_abs_det_jacobian(v, w) for (t, v), w in pairs], self.dim)


class ReshapeTransform(Transform):
    """The last dimensions under another shape."""

    def __init__(
        self, in_shape: Sequence[int], out_shape: Sequence[int], cache_size: int = 0
    ) -> None:
        super().__init__()
        self.in_shape, self.out_shape = tuple(in_shape), tuple(out_shape)
        if math.prod(self.in_shape) != math.prod(self.out_shape):
            raise ValueError("in_shape, out_shape have different numbers of elements")
        self.domain = c.independent(c.real, len(self.in_shape))
        self.codomain = c.independent(c.real, len(self.out_shape))

    def _call(self, x: Any) -> Any:
        return x.reshape(self.forward_shape(x.shape))

    def _invert(self, y: Any) -> Any:
        return y.reshape(self.inverse_shape(y.shape))

    def log_abs_det_jacobian(self, x: Any, y: Any) -> Any:
        return F.zeros(x.shape[: x.ndim - len(self.in_shape)], dtype=x.dtype)

    def forward_shape(self, shape: Sequence[int]) -> tuple[int, ...]:
        return (*shape[: len(shape) - len(self.in_shape)], *self.out_shape)

    def inverse_shape(self, shape: Sequence[int]) -> tuple[int, ...]:
        return (*shape[: len(shape) - len(self.out_shape)], *self.in_shape)


class IndependentTransform(Transform):
    """A transform whose last batch dimensions make one value."""

    def __init__(
        self, base: Transform, reinterpreted_batch_ndims: int, cache_size: int = 0
    ) -> None:
        super().__init__()
        self.base_transform, self.count = base, reinterpreted_batch_ndims
        self.domain = c.independent(base.domain, self.count)
        self.codomain = c.independent(base.codomain, self.count)
        self.bijective, self.sign = base.bijective, base.sign

    def _call(self, x: Any) -> Any:
        return self.base_transform(x)

    def _invert(self, y: Any) -> Any:
        return self.base_transform._invert(y)

    def log_abs_det_jacobian(self, x: Any, y: Any) -> Any:
        return summed(self.base_transform.log_abs_det_jacobian(x, y), self.count)


class ComposeTransform(Transform):
    """Several transforms, one after the other."""

    def __init__(self, parts: Sequence[Transform], cache_size: int = 0) -> None:
        super().__init__()
        self.parts = list(parts)
        self.bijective = all(p.bijective for p in self.parts)
        if self.parts:
            count = self.parts[-1].domain.event_dim
            for part in reversed(self.parts):
                gap = part.domain.event_dim - part.codomain.event_dim
                count = max(count + gap, part.domain.event_dim)
            first, last = self.parts[0].domain, self.parts[-1].codomain
            self.domain = c.independent(first, count - first.event_dim)
            for part in self.parts:
                count = max(part.domain.event_dim, count)
                count += part.codomain.event_dim - part.domain.event_dim
            self.codomain = c.independent(last, count - last.event_dim)
        for part in self.parts:
            self.sign = self.sign * part.sign

    def _call(self, x: Any) -> Any:
        for part in self.parts:
            x = part(x)
        return x

    def _invert(self, y: Any) -> Any:
        for part in reversed(self.parts):
            y = part._invert(y)
        return y

    def log_abs_det_jacobian(self, x: Any, y: Any) -> Any:
        out: Any = F.zeros_like(x) if not self.parts else 0
        count = self.domain.event_dim
        for part in self.parts:
            result = part(x)
            change = part.log_abs_det_jacobian(x, result)
            out = out + summed(change, count - part.domain.event_dim)
            count += part.codomain.event_dim - part.domain.event_dim
            x = result
        return out

    def forward_shape(self, shape: Sequence[int]) -> tuple[int, ...]:
        for part in self.parts:
            shape = part.forward_shape(shape)
        return tuple(shape)

    def inverse_shape(self, shape: Sequence[int]) -> tuple[int, ...]:
        for part in reversed(self.parts):
            shape = part.inverse_shape(shape)
        return tuple(shape)


identity_transform = ComposeTransform([])


def summed(value: Any, count: int) -> Any:
    """Return the sums over the last `count` dimensions."""
    return value.sum(tuple(range(-count, 0))) if count else value
