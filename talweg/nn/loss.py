"""Losses as layers: `loss(input, target)`.

`reduction` is "mean", "sum", or "none": the loss of every element; older programs say
`size_average=False` for "sum" and `reduce=False` for "none". The formulas, shapes and errors
are those of the functions of the same name in `nn.functional`.
"""

from __future__ import annotations

from collections.abc import Sequence

from talweg.engine.tensor import Tensor
from talweg.nn import functional as F
from talweg.nn.averages import meant
from talweg.nn.module import Module


class _Loss(Module):
    def __init__(
        self,
        size_average: bool | None = None,
        reduce: bool | None = None,
        reduction: str = "mean",
    ) -> None:
        super().__init__()
        self.reduction = meant(size_average, reduce, reduction)


class _WeightedLoss(_Loss):
    weight: Tensor | None

    def __init__(
        self,
        weight: Tensor | None = None,
        size_average: bool | None = None,
        reduce: bool | None = None,
        reduction: str = "mean",
    ) -> None:
        super().__init__(size_average, reduce, reduction)
        self.register_buffer("weight", weight)


class MSELoss(_Loss):
    """The mean of (input - target)², for targets that are numbers.

    Shape: two Tensors of one shape to a scalar; with reduction "none" to that shape.

    Args:
        reduction: "mean", "sum" or "none".

    Example:
        >>> import talweg as tw
        >>> tw.nn.MSELoss()(tw.tensor([1.0, 3.0]), tw.tensor([1.0, 1.0])).item()
        2.0
    """

    def forward(self, input: Tensor, target: Tensor) -> Tensor:
        return F.mse_loss(input, target, reduction=self.reduction)


class L1Loss(_Loss):
    """The mean of |input - target|: far outliers count for less than in `MSELoss`.

    Shape: two Tensors of one shape to a scalar; with reduction "none" to that shape.

    Args:
        reduction: "mean", "sum" or "none".

    Example:
        >>> import talweg as tw
        >>> tw.nn.L1Loss()(tw.tensor([1.0, 3.0]), tw.tensor([1.0, 1.0])).item()
        1.0
    """

    def forward(self, input: Tensor, target: Tensor) -> Tensor:
        return F.l1_loss(input, target, reduction=self.reduction)


class SmoothL1Loss(_Loss):
    """A parabola for differences below beta, |input - target| - beta / 2 beyond.

    Girshick, "Fast R-CNN" (2015).

    Shape: two Tensors of one shape to a scalar; with reduction "none" to that shape.

    Args:
        reduction: "mean", "sum" or "none".
        beta: the parabola is difference² / (2 * beta).

    Example:
        >>> import talweg as tw
        >>> tw.nn.SmoothL1Loss()(tw.tensor([0.5, 3.0]), tw.zeros(2)).item()  # 0.125 and 2.5
        1.3125
    """

    def __init__(
        self,
        size_average: bool | None = None,
        reduce: bool | None = None,
        reduction: str = "mean",
        beta: float = 1.0,
    ) -> None:
        super().__init__(size_average, reduce, reduction)
        self.beta = beta

    def forward(self, input: Tensor, target: Tensor) -> Tensor:
        return F.smooth_l1_loss(input, target, reduction=self.reduction, beta=self.beta)


class HuberLoss(_Loss):
    """A parabola for differences up to delta, delta * (|input - target| - delta / 2) beyond.

    Huber, "Robust estimation of a location parameter" (1964).

    Shape: two Tensors of one shape to a scalar; with reduction "none" to that shape.

    Args:
        reduction: "mean", "sum" or "none".
        delta: the parabola is difference² / 2.

    Example:
        >>> import talweg as tw
        >>> tw.nn.HuberLoss(delta=2.0)(tw.tensor([0.5, 3.0]), tw.zeros(2)).item()  # 0.125 and 4
        2.0625
    """

    def __init__(self, reduction: str = "mean", delta: float = 1.0) -> None:
        super().__init__(reduction=reduction)
        self.delta = delta

    def forward(self, input: Tensor, target: Tensor) -> Tensor:
        return F.huber_loss(input, target, reduction=self.reduction, delta=self.delta)


class CrossEntropyLoss(_WeightedLoss):
    """Negative log likelihood of the targets under softmax(input): the loss of classifiers.

    The input is what the last `Linear` gives; a softmax in front of it would be a second one.

    Shape: [N, C, *] logits and [N, *] class indices (or [N, C, *] probabilities) to a scalar.
        Indices are integers from 0 to C - 1.

    Args:
        weight: [C], one per class.
        ignore_index: a class index that counts for nothing.
        reduction: "mean", "sum" or "none".
        label_smoothing: this much of each target is spread evenly over all classes.

    Example:
        >>> import talweg as tw
        >>> loss = tw.nn.CrossEntropyLoss()
        >>> round(loss(tw.zeros(2, 10), tw.tensor([3, 7])).item(), 4)
        2.3026
    """

    def __init__(
        self,
        weight: Tensor | None = None,
        size_average: bool | None = None,
        ignore_index: int = -100,
        reduce: bool | None = None,
        reduction: str = "mean",
        label_smoothing: float = 0.0,
    ) -> None:
        super().__init__(weight, size_average, reduce, reduction)
        self.ignore_index = ignore_index
        self.label_smoothing = label_smoothing

    def forward(self, input: Tensor, target: Tensor) -> Tensor:
        return F.cross_entropy(
            input,
            target,
            weight=self.weight,
            ignore_index=self.ignore_index,
            reduction=self.reduction,
            label_smoothing=self.label_smoothing,
        )


class NLLLoss(_WeightedLoss):
    """Negative log likelihood of the target classes; the input holds log probabilities.

    `CrossEntropyLoss` is this one behind a `LogSoftmax`.

    Shape: [N, C, *] log probabilities and [N, *] class indices to a scalar.

    Args:
        weight: [C], one per class.
        ignore_index: a class index that counts for nothing.
        reduction: "mean", "sum" or "none".

    Example:
        >>> import talweg as tw
        >>> scores = tw.nn.LogSoftmax(dim=1)(tw.zeros(2, 10))
        >>> round(tw.nn.NLLLoss()(scores, tw.tensor([3, 7])).item(), 4)
        2.3026
    """

    def __init__(
        self,
        weight: Tensor | None = None,
        size_average: bool | None = None,
        ignore_index: int = -100,
        reduce: bool | None = None,
        reduction: str = "mean",
    ) -> None:
        super().__init__(weight, size_average, reduce, reduction)
        self.ignore_index = ignore_index

    def forward(self, input: Tensor, target: Tensor) -> Tensor:
        how = {"ignore_index": self.ignore_index, "reduction": self.reduction}
        return F.nll_loss(input, target, self.weight, **how)


class CTCLoss(_Loss):
    """Negative log likelihood of label sequences over all alignments; see `functional.ctc_loss`.

    Graves et al., "Connectionist temporal classification" (2006): where in the input each label
    lies need not be known.

    Shape: [T, N, C] log probabilities, [N, S] class indices and two [N] lengths to a scalar.

    Args:
        blank: the class of no label.
        reduction: "mean" divides by the targets' lengths first; "sum" or "none".
        zero_infinity: sequences that are too long for their input count as 0.

    Example:
        >>> import talweg as tw
        >>> scores = tw.zeros(2, 1, 2).log_softmax(2)  # "1", "1 1", "- 1" and "1 -" out of four
        >>> round(tw.nn.CTCLoss()(scores, tw.tensor([[1]]), [2], [1]).item(), 4)
        0.2877
    """

    def __init__(
        self, blank: int = 0, reduction: str = "mean", zero_infinity: bool = False
    ) -> None:
        super().__init__(reduction=reduction)
        self.blank = blank
        self.zero_infinity = zero_infinity

    def forward(
        self,
        log_probs: Tensor,
        targets: Tensor,
        input_lengths: Tensor | Sequence[int],
        target_lengths: Tensor | Sequence[int],
    ) -> Tensor:
        how = (self.blank, self.reduction, self.zero_infinity)
        return F.ctc_loss(log_probs, targets, input_lengths, target_lengths, *how)


class BCELoss(_WeightedLoss):
    """Binary cross-entropy of probabilities; `BCEWithLogitsLoss` is exact near 0 and 1, too.

    Shape: two Tensors of one shape, with numbers from 0 to 1, to a scalar.

    Args:
        weight: multiplies the losses.
        reduction: "mean", "sum" or "none".

    Example:
        >>> import talweg as tw
        >>> loss = tw.nn.BCELoss()(tw.tensor([0.5, 0.5]), tw.tensor([0.0, 1.0]))
        >>> round(loss.item(), 4)
        0.6931
    """

    def forward(self, input: Tensor, target: Tensor) -> Tensor:
        return F.binary_cross_entropy(input, target, self.weight, reduction=self.reduction)


class BCEWithLogitsLoss(_WeightedLoss):
    """Binary cross-entropy of sigmoid(input): for answers that are yes or no, each for itself.

    Shape: logits and targets from 0 to 1, of one shape, to a scalar. Targets are floats.

    Args:
        weight: multiplies the losses.
        reduction: "mean", "sum" or "none".
        pos_weight: multiplies the part of the positive targets.

    Example:
        >>> import talweg as tw
        >>> loss = tw.nn.BCEWithLogitsLoss()(tw.zeros(2), tw.tensor([0.0, 1.0]))
        >>> round(loss.item(), 4)
        0.6931
    """

    pos_weight: Tensor | None

    def __init__(
        self,
        weight: Tensor | None = None,
        size_average: bool | None = None,
        reduce: bool | None = None,
        reduction: str = "mean",
        pos_weight: Tensor | None = None,
    ) -> None:
        super().__init__(weight, size_average, reduce, reduction)
        self.register_buffer("pos_weight", pos_weight)

    def forward(self, input: Tensor, target: Tensor) -> Tensor:
        how = {"reduction": self.reduction, "pos_weight": self.pos_weight}
        return F.binary_cross_entropy_with_logits(input, target, self.weight, **how)


class KLDivLoss(_Loss):
    """How far a distribution is from the target's: target * (log(target) - input).

    The divergence of Kullback and Leibler (1951); the input holds log probabilities.

    Shape: log probabilities and probabilities, of one shape, to a scalar.

    Args:
        reduction: "batchmean" divides the sum by the batch size, which is the divergence; "mean"
            divides by all elements; "sum" or "none".
        log_target: the target holds log probabilities, too.

    Example:
        >>> import talweg as tw
        >>> even, sure = tw.zeros(1, 2).log_softmax(1), tw.tensor([[1.0, 0.0]])
        >>> round(tw.nn.KLDivLoss(reduction="batchmean")(even, sure).item(), 4)
        0.6931
    """

    def __init__(
        self,
        size_average: bool | None = None,
        reduce: bool | None = None,
        reduction: str = "mean",
        log_target: bool = False,
    ) -> None:
        super().__init__(size_average, reduce, reduction)
        self.log_target = log_target

    def forward(self, input: Tensor, target: Tensor) -> Tensor:
        return F.kl_div(input, target, reduction=self.reduction, log_target=self.log_target)


class PoissonNLLLoss(_Loss):
    """Negative log likelihood of counts under a Poisson distribution, but for a constant.

    Shape: two Tensors of one shape to a scalar; with reduction "none" to that shape.

    Args:
        log_input: the input is the logarithm of the rate: exp(input) - target * input; otherwise
            the rate: input - target * log(input + eps).
        full: add Stirling's approximation of the constant.
        eps: see above.
        reduction: "mean", "sum" or "none".

    Example:
        >>> import talweg as tw
        >>> tw.nn.PoissonNLLLoss()(tw.zeros(2), tw.tensor([1.0, 3.0])).item()
        1.0
    """

    def __init__(
        self,
        log_input: bool = True,
        full: bool = False,
        size_average: bool | None = None,
        eps: float = 1e-8,
        reduce: bool | None = None,
        reduction: str = "mean",
    ) -> None:
        super().__init__(size_average, reduce, reduction)
        self.log_input = log_input
        self.full = full
        self.eps = eps

    def forward(self, log_input: Tensor, target: Tensor) -> Tensor:
        how = {"eps": self.eps, "reduction": self.reduction}
        return F.poisson_nll_loss(log_input, target, self.log_input, self.full, **how)


class GaussianNLLLoss(_Loss):
    """(log(var) + (input - target)² / var) / 2: what is unlikely under a normal distribution.

    The call takes means, targets and variances: a network that also says how sure it is.

    Shape: three Tensors of one shape (or one variance for each row, or for all) to a scalar.

    Args:
        full: add log(2 * pi) / 2.
        eps: the least that a variance counts as.
        reduction: "mean", "sum" or "none".

    Example:
        >>> import talweg as tw
        >>> loss = tw.nn.GaussianNLLLoss()
        >>> round(loss(tw.tensor([1.0]), tw.tensor([3.0]), tw.tensor([4.0])).item(), 4)
        1.1931
    """

    def __init__(self, *, full: bool = False, eps: float = 1e-6, reduction: str = "mean") -> None:
        super().__init__(reduction=reduction)
        self.full = full
        self.eps = eps

    def forward(self, input: Tensor, target: Tensor, var: Tensor | float) -> Tensor:
        return F.gaussian_nll_loss(input, target, var, self.full, self.eps, self.reduction)
