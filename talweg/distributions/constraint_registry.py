"""Transforms from all real numbers to the regions where parameters lie."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from talweg.distributions import constraints as c
from talweg.distributions import transforms as t

Factory = Callable[[Any], t.Transform]


class ConstraintRegistry:
    """Which transform leads to a region, by the class of its constraint."""

    def __init__(self) -> None:
        self._registry: dict[type, Factory] = {}

    def register(self, constraint: Any, factory: Factory | None = None) -> Any:
        """Say what makes the transform of a class of constraints; a decorator without `factory`.

        Raises:
            TypeError: for something else than a constraint or a class of constraints.
        """
        if factory is None:
            return lambda f: self.register(constraint, f)
        kind = type(constraint) if isinstance(constraint, c.Constraint) else constraint
        if not isinstance(kind, type) or not issubclass(kind, c.Constraint):
            raise TypeError(
                f"Expected constraint to be either a Constraint subclass or instance, but got "
                f"{constraint}"
            )
        self._registry[kind] = factory
        return factory

    def __call__(self, constraint: Any) -> t.Transform:
        """Return the transform that leads to a region.

        Raises:
            NotImplementedError: when nothing is registered for its class.
        """
        factory = self._registry.get(type(constraint))
        if factory is None:
            raise NotImplementedError(f"Cannot transform {type(constraint).__name__} constraints")
        return factory(constraint)


biject_to = ConstraintRegistry()
transform_to = ConstraintRegistry()


def _interval(region: Any) -> t.Transform:
    low, high = region.lower_bound, region.upper_bound
    plain = isinstance(low, int | float) and isinstance(high, int | float)
    if plain and (low, high) == (0, 1):
        return t.SigmoidTransform()
    return t.ComposeTransform([t.SigmoidTransform(), t.AffineTransform(low, high - low)])


def _above(region: Any) -> t.Transform:
    if isinstance(region.lower_bound, int | float) and region.lower_bound == 0:
        return t.ExpTransform()
    return t.ComposeTransform([t.ExpTransform(), t.AffineTransform(region.lower_bound, 1)])


def _below(region: Any) -> t.Transform:
    return t.ComposeTransform([t.ExpTransform(), t.AffineTransform(region.upper_bound, -1)])


def _combined(registry: ConstraintRegistry) -> None:
    """Register regions that are made of others, and those that both registries treat alike."""
    registry.register(c.Real, lambda region: t.identity_transform)
    for kind, factory in (
        (c.Above, _above),
        (c.From, _above),
        (c.Below, _below),
        (c.Interval, _interval),
        (c.HalfOpen, _interval),
        (c.CorrCholesky, lambda region: t.CorrCholeskyTransform()),
    ):
        registry.register(kind, factory)
    registry.register(
        c.Independents,
        lambda region: t.IndependentTransform(
            registry(region.base_constraint), region.reinterpreted_batch_ndims
        ),
    )
    registry.register(
        c.Cat,
        lambda region: t.CatTransform(
            [registry(one) for one in region.cseq], region.dim, region.lengths
        ),
    )
    registry.register(
        c.Stack,
        lambda region: t.StackTransform([registry(one) for one in region.cseq], region.dim),
    )


_combined(biject_to)
_combined(transform_to)
biject_to.register(c.Simplex, lambda region: t.StickBreakingTransform())
transform_to.register(c.Simplex, lambda region: t.SoftmaxTransform())
transform_to.register(c.LowerCholesky, lambda region: t.LowerCholeskyTransform())
transform_to.register(c.PositiveDefinite, lambda region: t.PositiveDefiniteTransform())
transform_to.register(c.PositiveSemidefinite, lambda region: t.PositiveDefiniteTransform())
