"""CTC equals the sum over all alignments, written out."""

from __future__ import annotations

from itertools import groupby, product

import numpy as np
import pytest

import talweg as tw
import talweg.nn.functional as F
from talweg import nn
from talweg.base.errors import InvalidValue, ShapeError

RNG = np.random.default_rng(0)


def log_softmax(x: np.ndarray) -> np.ndarray:
    return x - np.log(np.exp(x).sum(-1, keepdims=True))


def by_alignments(log_probs: np.ndarray, target: list[int], blank: int) -> float:
    """-log of the total probability of the paths that collapse to the target."""
    total = 0.0
    for path in product(range(log_probs.shape[1]), repeat=len(log_probs)):
        if [c for c, _ in groupby(path) if c != blank] == target:
            total += np.exp(sum(log_probs[t, c] for t, c in enumerate(path)))
    return -np.log(total) if total else np.inf


LOGITS = RNG.standard_normal((5, 4, 3))
TARGETS = [[1, 2], [1, 1], [], [2, 1, 2]]
LENGTHS = [5, 4, 3, 5]


@pytest.mark.parametrize("blank", [0, 2])
def test_all_alignments(blank: int) -> None:
    targets = [[(c + blank) % 3 for c in t] for t in TARGETS]
    log_probs = log_softmax(LOGITS)
    expected = [
        by_alignments(log_probs[:n, i], t, blank)
        for i, (n, t) in enumerate(zip(LENGTHS, targets, strict=True))
    ]
    table = np.full((4, 3), 7 if blank else -1)
    for row, t in zip(table, targets, strict=True):
        row[: len(t)] = t
    sizes = [len(t) for t in targets]
    flat = tw.tensor([c for t in targets for c in t])
    for given in (tw.tensor(table), flat):
        x = tw.tensor(log_probs)
        found = F.ctc_loss(x, given, LENGTHS, sizes, blank, "none")
        np.testing.assert_allclose(found.numpy(), expected)
        mean = nn.CTCLoss(blank)(x, given, tw.tensor(LENGTHS), tw.tensor(sizes))
        np.testing.assert_allclose(mean.item(), np.mean(np.divide(expected, [2, 2, 1, 3])))


def test_gradient() -> None:
    x = tw.tensor(LOGITS, requires_grad=True)

    def loss(x: tw.Tensor) -> tw.Tensor:
        flat = tw.tensor([c for t in TARGETS for c in t])
        return F.ctc_loss(x.log_softmax(-1), flat, LENGTHS, [2, 2, 0, 3], reduction="sum")

    assert tw.autograd.gradcheck(loss, x)


def test_one_example() -> None:
    log_probs = log_softmax(LOGITS[:, 0])
    found = F.ctc_loss(tw.tensor(log_probs), tw.tensor([1, 2]), [5], [2], reduction="none")
    assert found.shape == ()
    assert found.item() == pytest.approx(by_alignments(log_probs, [1, 2], 0))


def test_a_target_too_long_for_its_input() -> None:
    x = tw.tensor(log_softmax(LOGITS[:2, :1]), requires_grad=True)
    target = tw.tensor([[1, 1]])
    assert F.ctc_loss(x, target, [2], [2]).item() == np.inf
    held = F.ctc_loss(x, target, [2], [2], zero_infinity=True)
    held.backward()
    assert held.item() == 0
    assert not x.grad.any()


def test_errors() -> None:
    x = tw.tensor(LOGITS)
    with pytest.raises(ShapeError, match=r"\(3, 2\)"):
        F.ctc_loss(x, tw.ones(3, 2).long(), [5] * 4, [2] * 4)
    with pytest.raises(InvalidValue, match=r"input_lengths \[6, 5, 5, 5\] must be from 0 to 5"):
        F.ctc_loss(x, tw.ones(4, 2).long(), [6, 5, 5, 5], [2] * 4)
    with pytest.raises(ShapeError, match=r"lengths \[2, 2, 2, 2\] do not fit"):
        F.ctc_loss(x, tw.ones(7).long(), [5] * 4, [2] * 4)
