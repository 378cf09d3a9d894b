"""Losses with a margin, as layers: how much farther, or higher, one thing should be than another.

`reduction` is "mean", "sum", or "none", as for the other losses.
"""

from __future__ import annotations

from collections.abc import Callable

from talweg.engine.tensor import Tensor
from talweg.nn import functional as F
from talweg.nn.distance import PairwiseDistance
from talweg.nn.loss import _Loss, _WeightedLoss


class HingeEmbeddingLoss(_Loss):
    """input for targets of 1, max(0, margin - input) for targets of -1; the input is a distance.

    Shape: two Tensors of one shape to a scalar; with reduction "none" to that shape.

    Args:
        margin: how far apart what is different should be.
        reduction: "mean", "sum" or "none".

    Example:
        >>> import talweg as tw
        >>> loss = tw.nn.HingeEmbeddingLoss()
        >>> loss(tw.tensor([0.5, 0.25]), tw.tensor([1.0, -1.0])).item()  # 0.5 and 0.75
        0.625
    """

    def __init__(
        self,
        margin: float = 1.0,
        size_average: bool | None = None,
        reduce: bool | None = None,
        reduction: str = "mean",
    ) -> None:
        super().__init__(size_average, reduce, reduction)
        self.margin = margin

    def forward(self, input: Tensor, target: Tensor) -> Tensor:
        return F.hinge_embedding_loss(input, target, self.margin, reduction=self.reduction)


class _OfPairs(_Loss):
    def __init__(
        self,
        margin: float = 0.0,
        size_average: bool | None = None,
        reduce: bool | None = None,
        reduction: str = "mean",
    ) -> None:
        super().__init__(size_average, reduce, reduction)
        self.margin = margin


class MarginRankingLoss(_OfPairs):
    """max(0, -target * (input1 - input2) + margin): the first should be larger for targets of 1.

    Shape: three Tensors of one shape to a scalar; with reduction "none" to that shape.

    Args:
        margin: how much larger.
        reduction: "mean", "sum" or "none".

    Example:
        >>> import talweg as tw
        >>> loss = tw.nn.MarginRankingLoss(margin=0.5)
        >>> loss(tw.tensor([3.0, 1.0]), tw.ones(2), tw.ones(2)).item()  # 0 and 0.5
        0.25
    """

    def forward(self, input1: Tensor, input2: Tensor, target: Tensor) -> Tensor:
        how = {"margin": self.margin, "reduction": self.reduction}
        return F.margin_ranking_loss(input1, input2, target, **how)


class CosineEmbeddingLoss(_OfPairs):
    """1 - cos for targets of 1, max(0, cos - margin) for targets of -1.

    The call takes two batches of vectors and the targets; cos is that of the angle between them.

    Shape: [N, D], [N, D] and [N], or [D], [D] and [], to a scalar.

    Args:
        margin: from -1 to 1.
        reduction: "mean", "sum" or "none".

    Example:
        >>> import talweg as tw
        >>> x = tw.tensor([[1.0, 0.0], [0.0, 1.0]])
        >>> round(tw.nn.CosineEmbeddingLoss()(x, x, tw.tensor([1.0, -1.0])).item(), 4)  # 0 and 1
        0.5
    """

    def forward(self, input1: Tensor, input2: Tensor, target: Tensor) -> Tensor:
        how = {"margin": self.margin, "reduction": self.reduction}
        return F.cosine_embedding_loss(input1, input2, target, **how)


class SoftMarginLoss(_Loss):
    """log(1 + exp(-target * input)), for targets of 1 and -1.

    Shape: two Tensors of one shape to a scalar; with reduction "none" to that shape.

    Args:
        reduction: "mean", "sum" or "none".

    Example:
        >>> import talweg as tw
        >>> round(tw.nn.SoftMarginLoss()(tw.zeros(2), tw.tensor([1.0, -1.0])).item(), 4)
        0.6931
    """

    def forward(self, input: Tensor, target: Tensor) -> Tensor:
        return F.soft_margin_loss(input, target, reduction=self.reduction)


class MultiMarginLoss(_WeightedLoss):
    """Sum over other classes of max(0, margin - x[target] + x[class]) ** p, over C.

    Shape: [N, C] and [N] class indices to a scalar.

    Args:
        p: 1 or 2.
        margin: how much higher the target's score should be than the others.
        weight: [C], one per class.
        reduction: "mean", "sum" or "none".

    Example:
        >>> import talweg as tw
        >>> scores = tw.tensor([[0.0, 0.5, 1.0, 2.0]])
        >>> tw.nn.MultiMarginLoss()(scores, tw.tensor([2])).item()  # (0 + 0.5 + 2) / 4
        0.625
    """

    def __init__(
        self,
        p: int = 1,
        margin: float = 1.0,
        weight: Tensor | None = None,
        size_average: bool | None = None,
        reduce: bool | None = None,
        reduction: str = "mean",
    ) -> None:
        super().__init__(weight, size_average, reduce, reduction)
        self.p = p
        self.margin = margin

    def forward(self, input: Tensor, target: Tensor) -> Tensor:
        how = (self.p, self.margin, self.weight)
        return F.multi_margin_loss(input, target, *how, reduction=self.reduction)


class MultiLabelMarginLoss(_Loss):
    """Sum over targets t and other classes c of max(0, 1 - (x[t] - x[c])), over C.

    Shape: [N, C] and [N, C] class indices, ended by -1, to a scalar.

    Args:
        reduction: "mean", "sum" or "none".

    Example:
        >>> import talweg as tw
        >>> scores, labels = tw.tensor([[0.0, 0.5, 1.0, 2.0]]), tw.tensor([[2, 3, -1, 0]])
        >>> tw.nn.MultiLabelMarginLoss()(scores, labels).item()  # (0 + 0.5 + 0 + 0) / 4
        0.125
    """

    def forward(self, input: Tensor, target: Tensor) -> Tensor:
        return F.multilabel_margin_loss(input, target, reduction=self.reduction)


class MultiLabelSoftMarginLoss(_WeightedLoss):
    """Binary cross-entropy of sigmoid(input), its mean over the classes.

    Shape: [N, C] and [N, C], with targets of 0 and 1, to a scalar.

    Args:
        weight: [C], one per class.
        reduction: "mean", "sum" or "none".

    Example:
        >>> import talweg as tw
        >>> labels = tw.tensor([[1.0, 0.0, 1.0]])
        >>> round(tw.nn.MultiLabelSoftMarginLoss()(tw.zeros(1, 3), labels).item(), 4)
        0.6931
    """

    def forward(self, input: Tensor, target: Tensor) -> Tensor:
        return F.multilabel_soft_margin_loss(input, target, self.weight, reduction=self.reduction)


class TripletMarginLoss(_Loss):
    """max(0, d(anchor, positive) - d(anchor, negative) + margin).

    Balntas et al., "Learning local feature descriptors with triplets and shallow convolutional
    neural networks" (2016).

    Shape: three Tensors [N, D] or [D] to a scalar.

    Args:
        margin: how much farther the negative should be.
        p, eps: see `functional.pairwise_distance`.
        swap: take d(positive, negative) where it is smaller.
        reduction: "mean", "sum" or "none".

    Example:
        >>> import talweg as tw
        >>> near, far = tw.tensor([[0.0, 1.0]]), tw.tensor([[3.0, 4.0]])
        >>> tw.nn.TripletMarginLoss()(tw.zeros(1, 2), near, far).item()
        0.0
        >>> round(tw.nn.TripletMarginLoss()(tw.zeros(1, 2), far, near).item(), 3)
        5.0
    """

    def __init__(
        self,
        margin: float = 1.0,
        p: float = 2.0,
        eps: float = 1e-6,
        swap: bool = False,
        size_average: bool | None = None,
        reduce: bool | None = None,
        reduction: str = "mean",
    ) -> None:
        super().__init__(size_average, reduce, reduction)
        self.margin = margin
        self.p = p
        self.eps = eps
        self.swap = swap

    def forward(self, anchor: Tensor, positive: Tensor, negative: Tensor) -> Tensor:
        how = (self.margin, self.p, self.eps, self.swap)
        return F.triplet_margin_loss(anchor, positive, negative, *how, reduction=self.reduction)


class TripletMarginWithDistanceLoss(_Loss):
    """`TripletMarginLoss` for any distance function of two Tensors.

    Shape: three Tensors that the function takes to a scalar.

    Args:
        distance_function: gives one number for each pair; `PairwiseDistance` unless given.
        margin: how much farther the negative should be.
        swap: take d(positive, negative) where it is smaller.
        reduction: "mean", "sum" or "none".

    Example:
        >>> import talweg as tw
        >>> far = lambda x, y: (x - y).abs().amax(-1)
        >>> loss = tw.nn.TripletMarginWithDistanceLoss(distance_function=far)
        >>> loss(tw.zeros(1, 2), tw.tensor([[3.0, 4.0]]), tw.tensor([[0.0, 1.0]])).item()
        4.0
    """

    def __init__(
        self,
        *,
        distance_function: Callable[[Tensor, Tensor], Tensor] | None = None,
        margin: float = 1.0,
        swap: bool = False,
        reduction: str = "mean",
    ) -> None:
        super().__init__(reduction=reduction)
        self.distance_function = distance_function or PairwiseDistance()
        self.margin = margin
        self.swap = swap

    def forward(self, anchor: Tensor, positive: Tensor, negative: Tensor) -> Tensor:
        return F.triplet_margin_with_distance_loss(
            anchor,
            positive,
            negative,
            distance_function=self.distance_function,
            margin=self.margin,
            swap=self.swap,
            reduction=self.reduction,
        )
