"""Categories made smooth, so that samples have gradients."""

from __future__ import annotations

from typing import Any

from talweg.distributions import constraints as c
from talweg.distributions.arrays import F, clamped
from talweg.distributions.categories import OfCategories
from talweg.distributions.discrete import Chance
from talweg.engine.tensor import Tensor


class RelaxedBernoulli(Chance):
    """Numbers between 0 and 1 that come near 0 or 1 for low temperatures, with gradients.

    Source: Maddison, Mnih and Teh, "The concrete distribution", 2017.

    Args:
        temperature: positive.
        probs: the probability of 1; or
        logits: its log odds.

    Example:
        >>> import talweg as tw
        >>> D = tw.distributions
        >>> 0 < D.RelaxedBernoulli(0.5, 0.3).sample().item() < 1
        True
    """

    support = c.unit_interval
    has_rsample = True

    def __init__(
        self,
        temperature: Any,
        probs: Any = None,
        logits: Any = None,
        validate_args: bool | None = None,
    ) -> None:
        super().__init__(probs, logits, validate_args)
        self.temperature = temperature

    def rsample(self, sample_shape: Any = ()) -> Any:
        probs = clamped(self.probs.expand(self._extended_shape(sample_shape)))
        u = clamped(F.rand(probs.shape, dtype=probs.dtype))
        odds = u.log() - (-u).log1p() + probs.log() - (-probs).log1p()
        return (odds / self.temperature).sigmoid()

    def log_prob(self, value: Any) -> Any:
        self._validate_sample(value)
        value = clamped(value)
        odds = value.log() - (-value).log1p()
        away = self.logits - odds * self.temperature
        scale = F.log(self.temperature) if isinstance(self.temperature, Tensor) else 0.0
        density = scale + away - 2 * away.exp().log1p()
        return density - value.log() - (-value).log1p()


class RelaxedOneHotCategorical(OfCategories):
    """Vectors that add up to 1 and come near a category for low temperatures, with gradients.

    Source: Maddison, Mnih and Teh, "The concrete distribution", 2017.

    Args:
        temperature: positive.
        probs: the weights of the categories; or
        logits: logarithms of weights.

    Example:
        >>> import talweg as tw
        >>> D = tw.distributions
        >>> D.RelaxedOneHotCategorical(0.5, tw.ones(3)).sample().sum()
        tensor(1.0000)
    """

    support = c.simplex
    has_rsample = True

    def __init__(
        self,
        temperature: Any,
        probs: Any = None,
        logits: Any = None,
        validate_args: bool | None = None,
    ) -> None:
        self.temperature = temperature
        super().__init__(probs, logits, validate_args)

    def rsample(self, sample_shape: Any = ()) -> Any:
        logits = self.logits.expand(self._extended_shape(sample_shape))
        u = clamped(F.rand(logits.shape, dtype=logits.dtype))
        return F.softmax((logits - (-u.log()).log()) / self.temperature, -1)

    def log_prob(self, value: Any) -> Any:
        self._validate_sample(value)
        count, scale = self._event_shape[0], self.temperature
        near = self.logits - scale * value.log()
        near = (near - near.logsumexp(-1, keepdim=True)).sum(-1)
        scale = scale if isinstance(scale, Tensor) else F.tensor(float(scale))
        return (
            near
            + (count - 1) * scale.log()
            + F.lgamma(F.tensor(float(count)))
            - value.log().sum(-1)
        )
