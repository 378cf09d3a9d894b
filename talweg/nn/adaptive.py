"""A softmax over many classes, cheap for the frequent ones."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from talweg.base.dtypes import DType
from talweg.base.errors import IndexOutOfRange, InvalidValue, ShapeError
from talweg.engine.creation import zeros
from talweg.engine.functions import FUNCTIONS
from talweg.engine.tensor import Tensor
from talweg.nn import functional as F
from talweg.nn.container import ModuleList, Sequential
from talweg.nn.linear import Linear
from talweg.nn.module import Module


class _ASMoutput(NamedTuple):
    """The log probability of each target, and their mean with the sign changed."""

    output: Tensor
    loss: Tensor


class AdaptiveLogSoftmaxWithLoss(Module):
    """Log softmax over classes sorted by frequency (Grave et al., 2016).

    The most frequent classes stand in the head, beside one entry for each cluster of rarer ones,
    whose matrices are smaller.

    Args:
        in_features: size of each example.
        n_classes: number of classes.
        cutoffs: where the clusters begin, increasing, below n_classes.
        div_value: the inner size of cluster i is in_features / div_value**(i + 1).
        head_bias: whether the head adds a number per entry.

    Shape: [N, in_features] or [in_features], targets [N] or []. Calling the layer returns
    `output`, the log probabilities of the targets, and `loss`, a scalar. Targets are read.

    Raises:
        InvalidValue: for cutoffs that are not increasing.

    Example:
        >>> import talweg as tw
        >>> layer = tw.nn.AdaptiveLogSoftmaxWithLoss(8, 100, cutoffs=[10, 50])
        >>> found = layer(tw.ones(3, 8), tw.tensor([0, 20, 99]))
        >>> found.output.shape, found.loss.shape, layer.log_prob(tw.ones(3, 8)).shape
        ((3,), (), (3, 100))
    """

    def __init__(
        self,
        in_features: int,
        n_classes: int,
        cutoffs: Sequence[int],
        div_value: float = 4.0,
        head_bias: bool = False,
        device: object = None,
        dtype: DType | None = None,
    ) -> None:
        super().__init__()
        cuts = list(cutoffs)
        rising = all(a < b for a, b in zip(cuts, [*cuts[1:], n_classes], strict=True))
        if not cuts or cuts[0] < 1 or not rising or any(int(c) != c for c in cuts):
            raise InvalidValue(
                "cutoffs should be a sequence of unique, positive integers sorted in an increasing "
                f"order, where each value is between 1 and n_classes-1; got {cutoffs}"
            )
        self.in_features = in_features
        self.n_classes = n_classes
        self.cutoffs = [*cuts, n_classes]
        self.div_value = div_value
        self.head_bias = head_bias
        self.shortlist_size = self.cutoffs[0]
        self.n_clusters = len(self.cutoffs) - 1
        self.head_size = self.shortlist_size + self.n_clusters
        self.head = Linear(in_features, self.head_size, head_bias, device, dtype)
        self.tail = ModuleList()
        for i in range(self.n_clusters):
            inner = int(in_features // (div_value ** (i + 1)))
            size = self.cutoffs[i + 1] - self.cutoffs[i]
            first = Linear(in_features, inner, False, device, dtype)
            self.tail.append(Sequential(first, Linear(inner, size, False, device, dtype)))

    def reset_parameters(self) -> None:
        """Draw new weights."""
        self.head.reset_parameters()
        for first, second in self.tail:
            first.reset_parameters()
            second.reset_parameters()

    def forward(self, input_: Tensor, target_: Tensor) -> _ASMoutput:
        single = target_.ndim == 0
        if target_.ndim > 1:
            raise ShapeError("0D or 1D target tensor expected, multi-target not supported")
        if input_.ndim != target_.ndim + 1 or (input_.shape[0] != target_.numel() and not single):
            raise ShapeError(
                f"input {input_.shape} and target {target_.shape} should have the same size in the "
                "batch dimension"
            )
        input = input_.unsqueeze(0) if single else input_
        target = target_.unsqueeze(0) if single else target_
        _check_range(target, self.n_classes)
        head = F.log_softmax(self.head(input), dim=1)
        entry = target
        output = zeros(target.shape[0], dtype=input.dtype)
        for i, (low, high) in enumerate(zip(self.cutoffs, self.cutoffs[1:], strict=False)):
            within = (target >= low) & (target < high)
            rows = within.nonzero().squeeze(1)
            entry = entry.masked_fill(within, self.shortlist_size + i)
            if rows.numel():
                inner = F.log_softmax(self.tail[i](input.index_select(0, rows)), dim=1)
                place = (target.index_select(0, rows) - low).unsqueeze(1)
                output = output.index_add(0, rows, inner.gather(1, place).squeeze(1))
        output = output + head.gather(1, entry.unsqueeze(1)).squeeze(1)
        loss = (-output).mean()
        return _ASMoutput(output.squeeze(0) if single else output, loss)

    def log_prob(self, input: Tensor) -> Tensor:
        """Return the log probabilities of all classes, [N, n_classes]."""
        return self._whole(input, F.log_softmax(self.head(input), dim=1))

    def _whole(self, input: Tensor, head: Tensor) -> Tensor:
        parts = [head[:, : self.shortlist_size]]
        for i, cluster in enumerate(self.tail):
            entry = head[:, self.shortlist_size + i].unsqueeze(1)
            parts.append(F.log_softmax(cluster(input), dim=1) + entry)
        whole: Tensor = FUNCTIONS["cat"](parts, 1)
        return whole

    def predict(self, input: Tensor) -> Tensor:
        """Return the most probable class of each example, [N]."""
        best: Tensor = self.log_prob(input).argmax(1)
        return best


def _check_range(target: Tensor, count: int) -> None:
    if target.numel():
        low, high = int(target.min()), int(target.max())
        if low < 0 or high >= count:
            raise IndexOutOfRange(
                f"Target values should be in [0, {count - 1}], but values in range [{low}, {high}] "
                "were found."
            )
