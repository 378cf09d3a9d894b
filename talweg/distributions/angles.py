"""The von Mises distribution, and the Bessel functions that it needs."""

from __future__ import annotations

import math
from typing import Any, ClassVar

from talweg.distributions import constraints as c
from talweg.distributions.arrays import F, tensors
from talweg.distributions.distribution import Distribution


class VonMises(Distribution):
    """The von Mises distribution of angles, from -pi to pi.

    Source of the Bessel functions: Abramowitz and Stegun, "Handbook of Mathematical Functions",
    9.8.1 to 9.8.4.

    Args:
        loc: the mean direction.
        concentration: 0 is even, large ones are nearly normal with variance 1 / concentration.

    Example:
        >>> import talweg as tw
        >>> D = tw.distributions
        >>> D.VonMises(0.0, 1.0).log_prob(tw.tensor(0.0))
        tensor(-1.0738)
    """

    arg_constraints: ClassVar = {"loc": c.real, "concentration": c.positive}
    support = c.real

    def __init__(self, loc: Any, concentration: Any, validate_args: bool | None = None) -> None:
        self.loc, self.concentration = tensors(loc, concentration)
        super().__init__(self.loc.shape, validate_args=validate_args)

    @property
    def mean(self) -> Any:
        return self.loc

    @property
    def mode(self) -> Any:
        return self.loc

    @property
    def variance(self) -> Any:
        return 1 - (_log_bessel(self.concentration, 1) - _log_bessel(self.concentration, 0)).exp()

    def sample(self, sample_shape: Any = ()) -> Any:
        shape = self._extended_shape(sample_shape)
        angle = F.von_mises(self.concentration.detach().expand(shape))
        return (angle + math.pi + self.loc.detach()) % (2 * math.pi) - math.pi

    def log_prob(self, value: Any) -> Any:
        self._validate_sample(value)
        k = self.concentration
        return k * F.cos(value - self.loc) - math.log(2 * math.pi) - _log_bessel(k, 0)


_NEAR = (
    (1.0, 3.5156229, 3.0899424, 1.2067492, 0.2659732, 0.360768e-1, 0.45813e-2),
    (0.5, 0.87890594, 0.51498869, 0.15084934, 0.2658733e-1, 0.301532e-2, 0.32411e-3),
)
_FAR = (
    (
        *(0.39894228, 0.1328592e-1, 0.225319e-2, -0.157565e-2, 0.916281e-2),
        *(-0.2057706e-1, 0.2635537e-1, -0.1647633e-1, 0.392377e-2),
    ),
    (
        *(0.39894228, -0.3988024e-1, -0.362018e-2, 0.163801e-2, -0.1031555e-1),
        *(0.2282967e-1, -0.2895312e-1, 0.1787654e-1, -0.420059e-2),
    ),
)


def _log_bessel(x: Any, order: int) -> Any:
    small = x.clamp(max=3.75)
    near = _polynomial((small / 3.75) ** 2, _NEAR[order])
    near = near.log() + (small.log() if order else 0)
    large = x.clamp(min=3.75)
    far = large - 0.5 * large.log() + _polynomial(3.75 / large, _FAR[order]).log()
    return F.where(x < 3.75, near, far)


def _polynomial(x: Any, coefficients: tuple[float, ...]) -> Any:
    out: Any = coefficients[-1]
    for factor in reversed(coefficients[:-1]):
        out = factor + x * out
    return out
