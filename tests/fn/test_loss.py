"""Losses equal their formulas in NumPy, stay finite far out, and have exact gradients."""

from __future__ import annotations

import warnings
from math import lgamma
from typing import Any

import numpy as np
import pytest

from talweg.base.errors import DTypeError, IndexOutOfRange, InvalidValue, ShapeError
from talweg.fn import loss, margin
from talweg.fn.activation import softmax
from talweg.fn.elementary import sigmoid

from .conftest import Fn, spread

X, Y = spread((4, 5)) * 2, spread((4, 5), seed=1) * 2 + 0.03
P, Q = 1 / (1 + np.exp(-X)), 1 / (1 + np.exp(-Y))
SIGNS = np.where(spread((4, 5), seed=2) > 0, 1.0, -1.0)
CLASSES = np.array([3, 0, 4, 3])
WEIGHT = np.array([0.5, 1.0, 2.0, 0.7, 1.3])
REDUCE: dict[str, Any] = {"none": lambda v: v, "mean": np.mean, "sum": np.sum}


def log_softmax(x: np.ndarray, axis: int = 1) -> np.ndarray:
    return x - np.log(np.exp(x).sum(axis, keepdims=True))


def huber(d: np.ndarray, edge: float) -> np.ndarray:
    return np.where(np.abs(d) < edge, d * d / 2, edge * (np.abs(d) - edge / 2))


def distance(x: np.ndarray, y: np.ndarray, p: float = 2.0, eps: float = 1e-6) -> np.ndarray:
    return (np.abs(x - y + eps) ** p).sum(-1) ** (1 / p)


def cosine(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    return (x * y).sum(-1) / np.sqrt((x * x).sum(-1) * (y * y).sum(-1))


COUNTS = np.array([[0, 1, 2, 3, 9]] * 4).astype(float)
STIRLING = np.where(
    COUNTS > 1,
    COUNTS * np.log(np.maximum(COUNTS, 1)) - COUNTS + np.log(2 * np.pi * np.maximum(COUNTS, 1)) / 2,
    0,
)
VARIANCE = np.abs(Y) + 0.2
NEGATIVE = spread((4, 5), seed=4)
SIGN = np.array([1.0, -1.0, -1.0, 1.0])

# name, inputs, options, the losses before reduction, which inputs have gradients
CASES: list[tuple[Any, tuple[np.ndarray, ...], dict[str, Any], np.ndarray, int]] = [
    (loss.mse_loss, (X, Y), {}, (X - Y) ** 2, 2),
    (loss.l1_loss, (X, Y), {}, np.abs(X - Y), 2),
    (loss.smooth_l1_loss, (X, Y), {"beta": 0.5}, huber(X - Y, 0.5) / 0.5, 2),
    (loss.smooth_l1_loss, (X, Y), {"beta": 0.0}, np.abs(X - Y), 2),
    (loss.huber_loss, (X, Y), {"delta": 0.5}, huber(X - Y, 0.5), 2),
    (loss.binary_cross_entropy, (P, Q), {}, -Q * np.log(P) - (1 - Q) * np.log(1 - P), 2),
    (
        loss.binary_cross_entropy_with_logits,
        (X, Q),
        {},
        -Q * np.log(P) - (1 - Q) * np.log(1 - P),
        2,
    ),
    (loss.kl_div, (np.log(P), Q), {}, Q * (np.log(Q) - np.log(P)), 2),
    (loss.kl_div, (np.log(P), np.log(Q)), {"log_target": True}, Q * np.log(Q / P), 2),
    (loss.poisson_nll_loss, (X, COUNTS), {}, np.exp(X) - COUNTS * X, 2),
    (
        loss.poisson_nll_loss,
        (P, COUNTS),
        {"log_input": False, "eps": 1e-3},
        P - COUNTS * np.log(P + 1e-3),
        2,
    ),
    (loss.poisson_nll_loss, (X, COUNTS), {"full": True}, np.exp(X) - COUNTS * X + STIRLING, 1),
    (
        loss.gaussian_nll_loss,
        (X, Y, VARIANCE),
        {"full": True},
        (np.log(2 * np.pi * VARIANCE) + (X - Y) ** 2 / VARIANCE) / 2,
        3,
    ),
    (
        margin.hinge_embedding_loss,
        (X, SIGNS),
        {"margin": 0.8},
        np.where(SIGNS > 0, X, np.maximum(0.8 - X, 0)),
        1,
    ),
    (
        margin.margin_ranking_loss,
        (X, Y, SIGNS),
        {"margin": 0.15},
        np.maximum(-SIGNS * (X - Y) + 0.15, 0),
        2,
    ),
    (margin.soft_margin_loss, (X, SIGNS), {}, np.log1p(np.exp(-SIGNS * X)), 2),
    (
        margin.cosine_embedding_loss,
        (X, Y, SIGN),
        {"margin": 0.01},
        np.where(SIGN > 0, 1 - cosine(X, Y), np.maximum(cosine(X, Y) - 0.01, 0)),
        2,
    ),
    (
        margin.triplet_margin_loss,
        (X, Y, NEGATIVE),
        {"margin": 2.0, "p": 3.0},
        np.maximum(distance(X, Y, 3) - distance(X, NEGATIVE, 3) + 2, 0),
        3,
    ),
    (
        margin.triplet_margin_loss,
        (X, Y, NEGATIVE),
        {"swap": True},
        np.maximum(
            distance(X, Y) - np.minimum(distance(X, NEGATIVE), distance(Y, NEGATIVE)) + 1, 0
        ),
        3,
    ),
    (
        margin.multilabel_soft_margin_loss,
        (X, (SIGNS + 1) / 2),
        {},
        np.log1p(np.exp(-SIGNS * X)).mean(1),
        1,
    ),
]
NAMES = [f"{f.__name__}{options or ''}" for f, _, options, _, _ in CASES]


@pytest.mark.parametrize("reduction", ["none", "mean", "sum"])
@pytest.mark.parametrize(("function", "inputs", "options", "losses", "count"), CASES, ids=NAMES)
def test_formula_and_gradient(
    b: Fn,
    function: Any,
    inputs: tuple[np.ndarray, ...],
    options: dict[str, Any],
    losses: np.ndarray,
    count: int,
    reduction: str,
) -> None:
    options = {**options, "reduction": reduction}
    found = b.run(function, *inputs, **options)
    np.testing.assert_allclose(found, REDUCE[reduction](losses), rtol=1e-6, atol=1e-12)
    fixed = [b.constant(a) for a in inputs[count:]]
    b.check_gradient(lambda b, *t: function(b, *t, *fixed, **options), *inputs[:count])


def class_losses(x: np.ndarray, target: np.ndarray, smoothing: float = 0.0) -> np.ndarray:
    """Cross-entropy by the definition: -sum of q log p over the classes of axis 1."""
    q = np.moveaxis(np.eye(x.shape[1])[target], -1, 1)
    q = q * (1 - smoothing) + smoothing / x.shape[1]
    return -(q * log_softmax(x)).sum(1)


@pytest.mark.parametrize("reduction", ["none", "mean", "sum"])
@pytest.mark.parametrize("smoothing", [0.0, 0.2])
def test_cross_entropy_of_indices(b: Fn, reduction: str, smoothing: float) -> None:
    x = spread((3, 4, 2, 2)) * 0.5
    target = np.arange(12).reshape(3, 2, 2) % 4
    options = {"reduction": reduction, "label_smoothing": smoothing}
    found = b.run(loss.cross_entropy, x, target, **options)
    np.testing.assert_allclose(found, REDUCE[reduction](class_losses(x, target, smoothing)))
    index = b.constant(target)
    b.check_gradient(lambda b, x: loss.cross_entropy(b, x, index, **options), x)


def test_cross_entropy_of_one_example(b: Fn) -> None:
    expected = class_losses(X[:1], np.array([2]))[0]
    np.testing.assert_allclose(b.run(loss.cross_entropy, X[0], np.array(2)), expected)


def test_the_mean_is_over_the_weights_of_the_targets(b: Fn) -> None:
    w = WEIGHT[CLASSES]
    expected = (class_losses(X, CLASSES) * w).sum() / w.sum()
    np.testing.assert_allclose(b.run(loss.cross_entropy, X, CLASSES, WEIGHT), expected)
    np.testing.assert_allclose(b.run(loss.nll_loss, log_softmax(X), CLASSES, WEIGHT), expected)


def test_label_smoothing_with_weights(b: Fn) -> None:
    spread_loss = -(log_softmax(X) * WEIGHT).sum(1)
    w = WEIGHT[CLASSES]
    expected = 0.9 * (class_losses(X, CLASSES) * w).sum() + 0.1 / 5 * spread_loss.sum()
    found = b.run(loss.cross_entropy, X, CLASSES, WEIGHT, label_smoothing=0.1)
    np.testing.assert_allclose(found, expected / w.sum())


def test_ignored_targets_count_for_nothing(b: Fn) -> None:
    target = np.where(CLASSES == 3, -100, CLASSES)
    kept = class_losses(X, CLASSES)[CLASSES != 3]
    np.testing.assert_allclose(b.run(loss.cross_entropy, X, target), kept.mean())
    found = b.run(loss.cross_entropy, X, CLASSES, ignore_index=3, reduction="none")
    np.testing.assert_allclose(found[CLASSES == 3], 0)
    np.testing.assert_allclose(found[CLASSES != 3], kept)
    x = b.constant(X)
    (grad,) = b.gradients(loss.cross_entropy(b, x, b.constant(target)), [x])
    assert not grad[CLASSES == 3].any()
    assert grad[CLASSES != 3].all()
    assert np.isnan(b.run(loss.cross_entropy, X, np.full(4, -100)))


@pytest.mark.parametrize("smoothing", [0.0, 0.2])
def test_cross_entropy_of_probabilities(b: Fn, smoothing: float) -> None:
    q = Q / Q.sum(1, keepdims=True)
    smooth = q * (1 - smoothing) + smoothing / 5
    expected = -(smooth * log_softmax(X) * WEIGHT).sum(1).mean()
    options = {"label_smoothing": smoothing}
    found = b.run(loss.cross_entropy, X, q, WEIGHT, **options)
    np.testing.assert_allclose(found, expected)
    b.check_gradient(lambda b, x, q: loss.cross_entropy(b, x, q, **options), X, q)


def test_one_hot_probabilities_equal_indices(b: Fn) -> None:
    found = b.run(loss.cross_entropy, X, np.eye(5)[CLASSES])
    np.testing.assert_allclose(found, b.run(loss.cross_entropy, X, CLASSES))


def test_cross_entropy_far_out(b: Fn) -> None:
    x = np.array([[1e4, 0.0], [0.0, 1e4]])
    found = b.run(loss.cross_entropy, x, np.array([0, 0]), reduction="none")
    np.testing.assert_array_equal(found, [0, 1e4])


def test_two_classes_are_the_logits_form(b: Fn) -> None:
    """Sigmoid and BCE, BCE with logits, and softmax with cross-entropy over (0, x) agree."""
    x, t = X.reshape(-1), (SIGNS.reshape(-1) > 0).astype(float)
    two = np.stack([np.zeros_like(x), x], 1)
    whole = b.run(loss.binary_cross_entropy_with_logits, x, t, reduction="none")
    parts = b.run(
        lambda b, x, t: loss.binary_cross_entropy(b, sigmoid(b, x), t, reduction="none"), x, t
    )
    softmaxed = b.run(loss.cross_entropy, two, t.astype(np.int64), reduction="none")
    np.testing.assert_allclose(whole, parts, rtol=1e-10)
    np.testing.assert_allclose(whole, softmaxed, rtol=1e-12)
    shares = b.run(softmax, two, 1)
    np.testing.assert_allclose(shares[:, 1], b.run(sigmoid, x), rtol=1e-12)


def test_logits_far_out_are_finite_with_finite_gradients(b: Fn) -> None:
    x, t = np.array([-1000.0, 1000.0, -1000.0, 1000.0]), np.array([0.0, 1.0, 1.0, 0.0])
    found = b.run(loss.binary_cross_entropy_with_logits, x, t, reduction="none")
    np.testing.assert_array_equal(found, [0, 0, 1000, 1000])
    node = b.constant(x)
    out = loss.binary_cross_entropy_with_logits(b, node, b.constant(t), reduction="sum")
    np.testing.assert_array_equal(b.gradients(out, [node])[0], [0, 0, -1, 1])


def test_positive_weights(b: Fn) -> None:
    t = (SIGNS > 0).astype(float)
    expected = -(WEIGHT * t * np.log(P) + (1 - t) * np.log(1 - P)) * 3.0
    found = b.run(
        loss.binary_cross_entropy_with_logits,
        X,
        t,
        np.array([3.0]),
        "none",
        b.constant(WEIGHT),
    )
    np.testing.assert_allclose(found, expected)


def test_certain_and_wrong_probabilities_cost_100(b: Fn) -> None:
    p, t = np.array([0.0, 1.0, 0.0, 1.0]), np.array([1.0, 0.0, 0.0, 1.0])
    found = b.run(loss.binary_cross_entropy, p, t, reduction="none")
    np.testing.assert_array_equal(found, [100, 100, 0, 0])
    node = b.constant(p)
    out = loss.binary_cross_entropy(b, node, b.constant(t), reduction="sum")
    grad = b.gradients(out, [node])[0]
    np.testing.assert_allclose(grad, [-1e12, 1e12, 1, -1], rtol=1e-6)


def test_kl_div_of_a_zero_target_and_its_batchmean(b: Fn) -> None:
    q = np.array([[0.0, 1.0], [0.5, 0.5]])
    log_p = np.log([[0.3, 0.7], [0.2, 0.8]])
    expected = -np.log(0.7) + 0.5 * np.log(0.5 / 0.2) + 0.5 * np.log(0.5 / 0.8)
    np.testing.assert_allclose(b.run(loss.kl_div, log_p, q, "sum"), expected)
    np.testing.assert_allclose(b.run(loss.kl_div, log_p, q, "batchmean"), expected / 2)


def test_stirling_is_near_the_factorial() -> None:
    exact = np.array([lgamma(n + 1) for n in COUNTS[0]])
    np.testing.assert_allclose(STIRLING[0][2:], exact[2:], rtol=0.07)


def test_variances_below_eps_count_as_eps_and_keep_a_gradient(b: Fn) -> None:
    var = np.array([1e-9, 1.0])
    x, y = np.array([0.0, 0.0]), np.array([1.0, 1.0])
    found = b.run(loss.gaussian_nll_loss, x, y, var, eps=0.01, reduction="none")
    np.testing.assert_allclose(found, [(np.log(0.01) + 100) / 2, 0.5])
    node = b.constant(var)
    out = loss.gaussian_nll_loss(b, b.constant(x), b.constant(y), node, eps=0.01, reduction="sum")
    np.testing.assert_allclose(b.gradients(out, [node])[0][0], (1 / 0.01 - 1 / 0.01**2) / 2)


@pytest.mark.parametrize("p", [1, 2])
def test_multi_margin(b: Fn, p: int) -> None:
    chosen = X[np.arange(4), CLASSES][:, None]
    terms = np.maximum(0.4 - chosen + X, 0) ** p * WEIGHT[CLASSES][:, None]
    terms[np.arange(4), CLASSES] = 0
    index, w = b.constant(CLASSES), b.constant(WEIGHT)
    found = b.run(margin.multi_margin_loss, X, CLASSES, p, 0.4, WEIGHT, "none")
    np.testing.assert_allclose(found, terms.sum(1) / 5)
    b.check_gradient(lambda b, x: margin.multi_margin_loss(b, x, index, p, 0.4, w), X)


def test_multilabel_margin(b: Fn) -> None:
    target = np.array([[1, 3, -1, 0, 2], [0, 1, 2, 3, 4], [-1, 0, 0, 0, 0], [2, 2, -1, 0, 0]])
    expected = []
    for x, row in zip(X, target, strict=True):
        labels = row[: np.argmin(row)] if -1 in row else row
        others = [c for c in range(5) if c not in labels]
        expected.append(sum(max(0, 1 - (x[t] - x[c])) for t in labels for c in others) / 5)
    found = b.run(margin.multilabel_margin_loss, X, target, "none")
    np.testing.assert_allclose(found, expected)
    index = b.constant(target)
    b.check_gradient(lambda b, x: margin.multilabel_margin_loss(b, x, index), X)


def test_cosine_similarity_and_distance(b: Fn) -> None:
    np.testing.assert_allclose(b.run(margin.cosine_similarity, X, Y), cosine(X, Y))
    np.testing.assert_allclose(b.run(margin.cosine_similarity, X, Y[:1]), cosine(X, Y[:1]))
    b.check_gradient(margin.cosine_similarity, X, Y)
    assert b.run(margin.cosine_similarity, np.zeros((1, 3)), np.ones((1, 3))) == 0
    for p in (1.0, 2.0, 3.0):
        found = b.run(margin.pairwise_distance, X, Y, p)
        np.testing.assert_allclose(found, distance(X, Y, p))
    assert b.run(margin.pairwise_distance, X, Y, keepdim=True).shape == (4, 1)
    b.check_gradient(margin.pairwise_distance, X, Y)


def test_other_shapes_are_broadcast_with_a_warning(b: Fn) -> None:
    with pytest.warns(UserWarning, match=r"\(4, 1\).*\(4, 5\)"):
        found = b.run(loss.mse_loss, X, Y[:, :1])
    np.testing.assert_allclose(found, ((X - Y[:, :1]) ** 2).mean())
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        b.run(loss.mse_loss, X, Y)


def test_weighted_means(b: Fn) -> None:
    w = np.abs(Y)
    found = b.run(loss.mse_loss, X, Y, "mean", w)
    np.testing.assert_allclose(found, ((X - Y) ** 2 * w).sum() / w.sum())
    found = b.run(loss.l1_loss, X, Y, "sum", w)
    np.testing.assert_allclose(found, (np.abs(X - Y) * w).sum())


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda b: b.run(loss.mse_loss, X, Y, "average"), InvalidValue, "'average'"),
        (lambda b: b.run(loss.huber_loss, X, Y, delta=0.0), InvalidValue, "delta"),
        (lambda b: b.run(loss.smooth_l1_loss, X, Y, beta=-1.0), InvalidValue, "beta"),
        (
            lambda b: b.run(loss.binary_cross_entropy, P, Q[0]),
            ShapeError,
            r"\(5,\) must be the input's, \(4, 5\)",
        ),
        (
            lambda b: b.run(loss.cross_entropy, X, CLASSES[:3]),
            ShapeError,
            r"\(4, 5\) needs class indices of shape \(4,\), got \(3,\)",
        ),
        (
            lambda b: b.run(loss.cross_entropy, X, CLASSES.astype(float)),
            DTypeError,
            r"integers of shape \(4,\), got float64",
        ),
        (
            lambda b: b.run(loss.cross_entropy, X, CLASSES, WEIGHT[:3]),
            ShapeError,
            r"5 classes.*\(3,\)",
        ),
        (
            lambda b: b.run(loss.cross_entropy, X, CLASSES, label_smoothing=1.5),
            InvalidValue,
            "1.5",
        ),
        (lambda b: b.run(loss.cross_entropy, CLASSES, CLASSES), DTypeError, "int64"),
        (
            lambda b: b.run(loss.gaussian_nll_loss, X, Y, VARIANCE[:2]),
            ShapeError,
            r"\(2, 5\).*\(4, 5\)",
        ),
        (
            lambda b: b.run(margin.margin_ranking_loss, X, Y[0], SIGNS),
            ShapeError,
            r"input2 \(5,\)",
        ),
        (lambda b: b.run(margin.multi_margin_loss, X, CLASSES, 3), InvalidValue, "p must"),
        (
            lambda b: b.run(margin.multi_margin_loss, X, CLASSES[:2]),
            ShapeError,
            r"\(4, 5\) and \(2,\)",
        ),
        (
            lambda b: b.run(margin.cosine_embedding_loss, X, Y, SIGNS),
            ShapeError,
            r"\(4, 5\)",
        ),
    ],
)
def test_errors_name_what_was_wrong(b: Fn, call: Any, error: type, message: str) -> None:
    with pytest.raises(error, match=message):
        call(b)


@pytest.mark.parametrize("wrong", [5, -1])
@pytest.mark.parametrize("function", [loss.cross_entropy, loss.nll_loss, margin.multi_margin_loss])
def test_a_class_out_of_range_names_index_and_classes(b: Fn, function: Any, wrong: int) -> None:
    with pytest.raises(IndexOutOfRange, match=rf"index {wrong} is out of range.*size 5"):
        b.run(function, X, np.array([0, 1, wrong, 2]))
