"""Layers compute their formulas, have exact gradients, and name wrong shapes."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import talweg as tw
import talweg.nn.functional as F
from talweg import nn
from talweg.base.errors import DTypeError, IndexOutOfRange, InvalidValue, ShapeError

RNG = np.random.default_rng(11)


def draw(*shape: int) -> tw.Tensor:
    """Normal float64 values, from which gradients are wanted."""
    return tw.tensor(RNG.standard_normal(shape), requires_grad=True)


# Each layer, and the shapes of its input and output.
LAYERS: list[tuple[Any, tuple[int, ...], tuple[int, ...]]] = [
    (lambda: nn.Linear(4, 3), (2, 5, 4), (2, 5, 3)),
    (lambda: nn.Conv1d(2, 4, 3, stride=2, padding=1, groups=2), (2, 2, 7), (2, 4, 4)),
    (lambda: nn.Conv2d(2, 3, (3, 2), dilation=(1, 2)), (2, 2, 5, 5), (2, 3, 3, 3)),
    (lambda: nn.Conv2d(1, 2, 3, padding="same"), (1, 4, 5), (2, 4, 5)),
    (lambda: nn.Conv2d(1, 2, 3, padding=1, padding_mode="circular"), (1, 1, 4, 4), (1, 2, 4, 4)),
    (lambda: nn.Conv3d(1, 2, 2), (1, 1, 3, 3, 3), (1, 2, 2, 2, 2)),
    (lambda: nn.ConvTranspose1d(2, 3, 3, stride=2), (2, 2, 4), (2, 3, 9)),
    (
        lambda: nn.ConvTranspose2d(2, 4, 3, 2, 1, output_padding=1, groups=2),
        (1, 2, 3, 3),
        (1, 4, 6, 6),
    ),
    (lambda: nn.ConvTranspose3d(1, 2, 2), (1, 1, 2, 2, 2), (1, 2, 3, 3, 3)),
    (lambda: nn.MaxPool1d(2, stride=1), (2, 1, 5), (2, 1, 4)),
    (lambda: nn.MaxPool2d(2), (2, 1, 4, 5), (2, 1, 2, 2)),
    (lambda: nn.MaxPool3d(2, padding=1), (1, 1, 3, 3, 2), (1, 1, 2, 2, 2)),
    (lambda: nn.AvgPool3d(2, ceil_mode=True), (1, 1, 3, 2, 4), (1, 1, 2, 1, 2)),
    (lambda: nn.LPPool1d(2, 2), (1, 2, 4), (1, 2, 2)),
    (lambda: nn.LPPool2d(2, 2), (1, 1, 2, 4), (1, 1, 1, 2)),
    (lambda: nn.LPPool3d(2, 2), (1, 1, 2, 2, 4), (1, 1, 1, 1, 2)),
    (lambda: nn.AdaptiveAvgPool1d(3), (1, 2, 5), (1, 2, 3)),
    (lambda: nn.AdaptiveAvgPool3d((1, None, 2)), (1, 1, 2, 2, 3), (1, 1, 1, 2, 2)),
    (lambda: nn.AdaptiveMaxPool2d((2, 3)), (1, 1, 3, 4), (1, 1, 2, 3)),
    (lambda: nn.AdaptiveMaxPool3d(2), (1, 1, 3, 2, 3), (1, 1, 2, 2, 2)),
    (lambda: nn.AvgPool2d(3, stride=1, padding=1), (1, 2, 4, 4), (1, 2, 4, 4)),
    (lambda: nn.AvgPool1d(2, ceil_mode=True), (1, 2, 5), (1, 2, 3)),
    (lambda: nn.AdaptiveAvgPool2d((2, None)), (1, 2, 5, 3), (1, 2, 2, 3)),
    (lambda: nn.AdaptiveMaxPool1d(2), (2, 5), (2, 2)),
    (lambda: nn.BatchNorm1d(3), (5, 3), (5, 3)),
    (lambda: nn.BatchNorm2d(2), (3, 2, 2, 2), (3, 2, 2, 2)),
    (lambda: nn.BatchNorm3d(2), (2, 2, 1, 2, 2), (2, 2, 1, 2, 2)),
    (lambda: nn.InstanceNorm2d(2), (2, 2, 2, 3), (2, 2, 2, 3)),
    (lambda: nn.InstanceNorm3d(2, affine=True), (1, 2, 2, 1, 2), (1, 2, 2, 1, 2)),
    (lambda: nn.BatchNorm2d(2, affine=False).eval(), (3, 2, 2, 2), (3, 2, 2, 2)),
    (lambda: nn.InstanceNorm1d(3, affine=True), (3, 5), (3, 5)),
    (lambda: nn.LayerNorm((3, 4)), (2, 3, 4), (2, 3, 4)),
    (lambda: nn.RMSNorm(4), (2, 3, 4), (2, 3, 4)),
    (lambda: nn.GroupNorm(2, 4), (2, 4, 3), (2, 4, 3)),
    (lambda: nn.LocalResponseNorm(3), (2, 4, 3), (2, 4, 3)),
    (lambda: nn.PReLU(3), (2, 3, 2), (2, 3, 2)),
    (lambda: nn.ReflectionPad2d((1, 0, 2, 1)), (1, 3, 4), (1, 6, 5)),
    (lambda: nn.ReplicationPad1d(2), (2, 3), (2, 7)),
    (lambda: nn.CircularPad1d((2, 1)), (1, 2, 3), (1, 2, 6)),
    (lambda: nn.ReflectionPad1d((2, 1)), (1, 2, 3), (1, 2, 6)),
    (lambda: nn.ReflectionPad3d(1), (1, 1, 2, 3, 2), (1, 1, 4, 5, 4)),
    (lambda: nn.ReplicationPad2d((1, 0, 2, 1)), (1, 1, 2, 3), (1, 1, 5, 4)),
    (lambda: nn.ReplicationPad3d(1), (1, 1, 1, 2, 2), (1, 1, 3, 4, 4)),
    (lambda: nn.CircularPad2d((1, 0, 2, 1)), (1, 1, 2, 3), (1, 1, 5, 4)),
    (lambda: nn.CircularPad3d(1), (1, 1, 1, 2, 2), (1, 1, 3, 4, 4)),
    (lambda: nn.ConstantPad1d((2, -1), 1.5), (1, 2, 3), (1, 2, 4)),
    (lambda: nn.ConstantPad2d(1, 1.5), (1, 1, 2, 2), (1, 1, 4, 4)),
    (lambda: nn.ConstantPad3d(1, 1.5), (1, 1, 1, 2, 2), (1, 1, 3, 4, 4)),
    (lambda: nn.ZeroPad1d(1), (1, 2, 3), (1, 2, 5)),
    (lambda: nn.ZeroPad2d((1, 2, 0, 1)), (1, 1, 2, 2), (1, 1, 3, 5)),
    (lambda: nn.ZeroPad3d(1), (1, 2, 2, 2), (1, 4, 4, 4)),
    (lambda: nn.PixelShuffle(2), (1, 8, 2, 3), (1, 2, 4, 6)),
    (lambda: nn.PixelUnshuffle(2), (1, 2, 4, 6), (1, 8, 2, 3)),
    (lambda: nn.ChannelShuffle(2), (1, 4, 3), (1, 4, 3)),
    (lambda: nn.Upsample(scale_factor=2, mode="bilinear"), (1, 1, 2, 3), (1, 1, 4, 6)),
    (lambda: nn.UpsamplingBilinear2d(scale_factor=2), (1, 1, 2, 3), (1, 1, 4, 6)),
    (lambda: nn.UpsamplingNearest2d(size=(3, 4)), (1, 1, 2, 3), (1, 1, 3, 4)),
    (lambda: nn.Unfold(2), (1, 2, 3, 3), (1, 8, 4)),
    (lambda: nn.Fold((3, 3), 2), (1, 8, 4), (1, 2, 3, 3)),
    (nn.Flatten, (2, 3, 4), (2, 12)),
    (lambda: nn.Unflatten(1, (2, 3)), (4, 6), (4, 2, 3)),
    (nn.Softmax2d, (3, 2, 2), (3, 2, 2)),
    (nn.GLU, (3, 4), (3, 2)),
]
NAMES = [repr(make()) for make, _, _ in LAYERS]


@pytest.mark.parametrize(("make", "shape", "result"), LAYERS, ids=NAMES)
def test_shape_and_gradients(make: Any, shape: tuple[int, ...], result: tuple[int, ...]) -> None:
    layer = make().double()
    x = draw(*shape)
    assert layer(x).shape == result
    names = [n for n, _ in layer.named_parameters()]
    values = [draw(*p.shape) for p in layer.parameters()]

    def call(x: tw.Tensor, *values: tw.Tensor) -> Any:
        layer._parameters.update(zip(names, values, strict=True))
        return layer(x)

    assert tw.autograd.gradcheck(call, (x, *values))


def test_bilinear() -> None:
    layer = nn.Bilinear(3, 4, 2).double()
    x, y = draw(5, 3), draw(5, 4)
    w, bias = layer.weight.detach().numpy(), layer.bias.detach().numpy()
    expected = np.einsum("ni,kij,nj->nk", x.detach().numpy(), w, y.detach().numpy()) + bias
    np.testing.assert_allclose(layer(x, y).detach().numpy(), expected)
    assert tw.autograd.gradcheck(F.bilinear, (x, y, draw(2, 3, 4), draw(2)))


def test_linear_is_a_matrix_product() -> None:
    layer = nn.Linear(3, 2).double()
    x = draw(2, 4, 3)
    expected = x.detach().numpy() @ layer.weight.detach().numpy().T + layer.bias.detach().numpy()
    np.testing.assert_allclose(layer(x).detach().numpy(), expected)


class TestBatchNorm:
    x = RNG.standard_normal((6, 3, 4)) * 2 + 5

    def test_training_uses_the_batch_and_moves_the_statistics(self) -> None:
        layer = nn.BatchNorm1d(3, momentum=0.2).double()
        y = layer(tw.tensor(self.x)).detach().numpy()
        mean, var = self.x.mean((0, 2)), self.x.var((0, 2))
        expected = (self.x - mean[:, None]) / np.sqrt(var[:, None] + 1e-5)
        np.testing.assert_allclose(y, expected)
        np.testing.assert_allclose(layer.running_mean.numpy(), 0.2 * mean)
        unbiased = self.x.var((0, 2), ddof=1)
        np.testing.assert_allclose(layer.running_var.numpy(), 0.8 + 0.2 * unbiased)
        assert layer.num_batches_tracked.item() == 1

    def test_evaluation_uses_the_running_statistics(self) -> None:
        layer = nn.BatchNorm1d(3).double()
        layer(tw.tensor(self.x))
        before = layer.running_mean.tolist()
        y = layer.eval()(tw.tensor(self.x)).detach().numpy()
        mean, var = layer.running_mean.numpy(), layer.running_var.numpy()
        np.testing.assert_allclose(y, (self.x - mean[:, None]) / np.sqrt(var[:, None] + 1e-5))
        assert layer.running_mean.tolist() == before
        assert layer.num_batches_tracked.item() == 1

    def test_without_momentum_the_mean_is_over_all_batches(self) -> None:
        layer = nn.BatchNorm1d(3, momentum=None).double()
        batches = [self.x, self.x + 3, self.x * 2]
        for x in batches:
            layer(tw.tensor(x))
        expected = np.mean([x.mean((0, 2)) for x in batches], 0)
        np.testing.assert_allclose(layer.running_mean.numpy(), expected)
        layer.reset_running_stats()
        assert layer.running_mean.tolist() == [0, 0, 0]
        assert layer.num_batches_tracked.item() == 0

    def test_untracked(self) -> None:
        layer = nn.BatchNorm1d(3, affine=False, track_running_stats=False).double().eval()
        assert not layer.state_dict()
        y = layer(tw.tensor(self.x)).numpy()
        np.testing.assert_allclose(y.mean((0, 2)), 0, atol=1e-12)

    def test_shapes(self) -> None:
        with pytest.raises(ShapeError, match=r"BatchNorm2d: expected 4 dimensions.*\(6, 3, 4\)"):
            nn.BatchNorm2d(3)(tw.tensor(self.x))
        with pytest.raises(ShapeError, match="more than 1 value per channel"):
            nn.BatchNorm1d(3)(tw.ones(1, 3))


def test_instance_norm_statistics_are_means_over_the_batch() -> None:
    x = RNG.standard_normal((4, 3, 5))
    layer = nn.InstanceNorm1d(3, track_running_stats=True, momentum=0.3).double()
    y = layer(tw.tensor(x)).numpy()
    np.testing.assert_allclose(y.mean(2), 0, atol=1e-12)
    np.testing.assert_allclose(layer.running_mean.numpy(), 0.3 * x.mean(2).mean(0))
    expected = 0.7 + 0.3 * x.var(2, ddof=1).mean(0)
    np.testing.assert_allclose(layer.running_var.numpy(), expected)
    with pytest.raises(ShapeError, match="expected 3 channels"):
        layer(tw.ones(1, 2, 5))


@pytest.mark.parametrize(
    ("axes", "shape"), [(1, (2, 3, 6)), (2, (1, 2, 4, 5)), (3, (1, 2, 4, 3, 2))]
)
def test_unpooling_keeps_the_maxima_at_their_places(axes: int, shape: tuple[int, ...]) -> None:
    x = draw(*shape)
    values, indices = getattr(nn, f"MaxPool{axes}d")(2, return_indices=True)(x)
    unpool = getattr(nn, f"MaxUnpool{axes}d")(2)
    back = unpool(values, indices, output_size=shape).detach().numpy()
    kept = back != 0
    np.testing.assert_array_equal(back[kept], x.detach().numpy()[kept])
    np.testing.assert_array_equal(np.sort(back[kept]), np.sort(values.detach().numpy().ravel()))
    assert tw.autograd.gradcheck(
        lambda v: unpool(v, indices, shape), values.detach().requires_grad_()
    )


def test_max_pooling_undone() -> None:
    x = draw(1, 2, 4, 4)
    values, indices = nn.MaxPool2d(2, return_indices=True)(x)
    back = nn.MaxUnpool2d(2)(values, indices).detach().numpy()
    whole = x.detach().numpy()
    blocks = whole.reshape(1, 2, 2, 2, 2, 2).max((3, 5), keepdims=True)
    kept = np.broadcast_to(blocks, (1, 2, 2, 2, 2, 2)).reshape(whole.shape) == whole
    np.testing.assert_array_equal(back, whole * kept)


def test_transposed_convolution_to_a_given_size() -> None:
    layer = nn.ConvTranspose2d(1, 1, 3, stride=2, padding=1)
    x = tw.ones(1, 1, 4, 4)
    assert layer(x).shape == (1, 1, 7, 7)
    assert layer(x, output_size=(8, 7)).shape == (1, 1, 8, 7)
    with pytest.raises(InvalidValue, match=r"\(9, 7\).*range from \[7, 7\] to \[8, 8\]"):
        layer(x, output_size=(9, 7))


class TestEmbedding:
    index = np.array([[1, 3, 3], [0, 1, 3]])

    def test_rows_and_gradient(self) -> None:
        table = nn.Embedding(5, 2, padding_idx=1).double()
        weight = table.weight.detach().numpy()
        y = table(tw.tensor(self.index))
        np.testing.assert_array_equal(y.detach().numpy(), weight[self.index])
        y.sum().backward()
        counts = np.bincount(self.index.ravel(), minlength=5)
        counts[1] = 0
        np.testing.assert_array_equal(table.weight.grad.numpy(), np.stack([counts] * 2, 1))

    def test_gradients_divided_by_frequency(self) -> None:
        table = nn.Embedding(5, 2, scale_grad_by_freq=True)
        table(tw.tensor(self.index)).sum().backward()
        expected = (np.bincount(self.index.ravel(), minlength=5) > 0).astype(float)
        np.testing.assert_allclose(table.weight.grad.numpy()[:, 0], expected, rtol=1e-6)

    def test_rows_that_are_read_are_shortened(self) -> None:
        given = tw.tensor([[3.0, 4.0], [0.3, 0.4], [30.0, 40.0]])
        table = nn.Embedding.from_pretrained(given.clone(), max_norm=1.0)
        y = table(tw.tensor([0, 1]))
        np.testing.assert_allclose(y.numpy(), [[0.6, 0.8], [0.3, 0.4]], rtol=1e-5)
        np.testing.assert_allclose(table.weight.detach().numpy()[2], [30, 40])

    def test_given_tables(self) -> None:
        given = tw.ones(4, 3)
        table = nn.Embedding.from_pretrained(given)
        assert not table.weight.requires_grad
        assert nn.Embedding.from_pretrained(given, freeze=False).weight.requires_grad
        assert repr(table) == "Embedding(4, 3)"
        with pytest.raises(ShapeError, match=r"\(4,\)"):
            nn.Embedding.from_pretrained(tw.ones(4))

    def test_errors(self) -> None:
        with pytest.raises(IndexOutOfRange, match=r"index 5 .* size 5.*\n.*test_layers"):
            nn.Embedding(5, 2)(tw.tensor([1, 5])).sum().item()
        with pytest.raises(DTypeError, match="float32"):
            nn.Embedding(5, 2)(tw.ones(2))
        with pytest.raises(InvalidValue, match="padding_idx 5"):
            nn.Embedding(5, 2, padding_idx=5)

    @pytest.mark.parametrize("mode", ["sum", "mean", "max"])
    @pytest.mark.parametrize("padding", [None, 3])
    def test_bags(self, mode: str, padding: int | None) -> None:
        layer = nn.EmbeddingBag(5, 2, mode=mode, padding_idx=padding).double()
        weight = layer.weight.detach().numpy()
        flat, starts = np.array([1, 3, 3, 0, 2, 3]), [0, 2, 2, 5]
        bags = [flat[0:2], flat[2:2], flat[2:5], flat[5:6]]
        expected = []
        for bag in bags:
            rows = weight[[i for i in bag if i != padding]]
            combine = {"sum": np.sum, "mean": np.mean, "max": np.max}[mode]
            expected.append(combine(rows, axis=0) if len(rows) else np.zeros(2))
        y = layer(tw.tensor(flat), tw.tensor(starts))
        np.testing.assert_allclose(y.detach().numpy(), expected)
        even = layer(tw.tensor(flat.reshape(2, 3))).detach().numpy()
        uneven = layer(tw.tensor(flat), tw.tensor([0, 3])).detach().numpy()
        np.testing.assert_allclose(even, uneven)
        w = tw.tensor(weight + RNG.standard_normal((5, 2)), requires_grad=True)
        assert tw.autograd.gradcheck(
            lambda w: F.embedding_bag(tw.tensor(flat), w, tw.tensor(starts), mode=mode), w
        )

    def test_bags_with_weights_and_their_errors(self) -> None:
        w, share = draw(5, 2), draw(2, 3)
        index = tw.tensor(self.index)
        y = F.embedding_bag(index, w, mode="sum", per_sample_weights=share)
        rows = w.detach().numpy()[self.index] * share.detach().numpy()[..., None]
        np.testing.assert_allclose(y.detach().numpy(), rows.sum(1))
        with pytest.raises(InvalidValue, match="'mean'"):
            F.embedding_bag(index, w, per_sample_weights=share)
        with pytest.raises(ShapeError, match=r"\(6,\) and no offsets"):
            F.embedding_bag(index.reshape(6), w)


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda: nn.Linear(3, 2)(tw.ones(4, 5)), ShapeError, r"\(4, 5\).*\(2, 3\)"),
        (lambda: nn.Linear(3, 2)(tw.ones(4, 3).double()), DTypeError, "float64.*float32"),
        (lambda: nn.Bilinear(3, 4, 2)(tw.ones(1, 3), tw.ones(1, 3)), ShapeError, r"\(1, 3\)"),
        (lambda: nn.Conv2d(3, 4, 3, groups=2), InvalidValue, "groups=2"),
        (lambda: nn.Conv2d(3, 4, (3, 3, 3)), ShapeError, "kernel_size"),
        (lambda: nn.Conv2d(1, 1, 3, padding="full"), InvalidValue, "'full'"),
        (lambda: nn.Conv2d(1, 1, 3, 2, padding="same"), InvalidValue, "strided"),
        (lambda: nn.ConvTranspose2d(1, 1, 3, padding_mode="reflect"), InvalidValue, "reflect"),
        (lambda: nn.Conv2d(3, 4, 3)(tw.ones(1, 2, 5, 5)), ShapeError, r"\(1, 2, 5, 5\)"),
        (lambda: nn.GroupNorm(2, 3), InvalidValue, "num_groups=2"),
        (lambda: nn.Softmax2d()(tw.ones(2)), ShapeError, r"\(2,\)"),
    ],
)
def test_errors_name_what_was_wrong(call: Any, error: type, message: str) -> None:
    with pytest.raises(error, match=message):
        call()


def test_losses_as_layers_equal_the_functions() -> None:
    x, y = draw(4, 5), tw.tensor(RNG.standard_normal((4, 5)))
    target, sign = tw.tensor([1, 0, 4, 2]), tw.tensor(RNG.choice([-1.0, 1.0], (4, 5)))
    p, w = x.sigmoid(), tw.tensor(RNG.random(5))
    pairs = [
        (nn.MSELoss(), F.mse_loss, (x, y), {}),
        (nn.L1Loss(), F.l1_loss, (x, y), {}),
        (nn.SmoothL1Loss(beta=0.5), F.smooth_l1_loss, (x, y), {"beta": 0.5}),
        (nn.HuberLoss(delta=0.5), F.huber_loss, (x, y), {"delta": 0.5}),
        (
            nn.CrossEntropyLoss(w, None, 1, None, "sum", 0.1),
            F.cross_entropy,
            (x, target),
            {"weight": w, "ignore_index": 1, "reduction": "sum", "label_smoothing": 0.1},
        ),
        (nn.NLLLoss(w, ignore_index=0), F.nll_loss, (x, target), {"weight": w, "ignore_index": 0}),
        (nn.BCELoss(w), F.binary_cross_entropy, (p, y.sigmoid()), {"weight": w}),
        (
            nn.BCEWithLogitsLoss(pos_weight=w),
            F.binary_cross_entropy_with_logits,
            (x, y.sigmoid()),
            {"pos_weight": w},
        ),
        (nn.KLDivLoss(reduction="batchmean"), F.kl_div, (x, p), {"reduction": "batchmean"}),
        (nn.PoissonNLLLoss(full=True), F.poisson_nll_loss, (x, y.abs()), {"full": True}),
        (nn.GaussianNLLLoss(), F.gaussian_nll_loss, (x, y, p), {}),
        (nn.HingeEmbeddingLoss(0.5), F.hinge_embedding_loss, (x, sign), {"margin": 0.5}),
        (nn.MarginRankingLoss(0.5), F.margin_ranking_loss, (x, y, sign), {"margin": 0.5}),
        (
            nn.CosineEmbeddingLoss(0.1),
            F.cosine_embedding_loss,
            (x, y, sign[:, 0]),
            {"margin": 0.1},
        ),
        (nn.SoftMarginLoss(), F.soft_margin_loss, (x, sign), {}),
        (nn.MultiMarginLoss(2, weight=w), F.multi_margin_loss, (x, target), {"p": 2, "weight": w}),
        (
            nn.MultiLabelMarginLoss(),
            F.multilabel_margin_loss,
            (x, tw.tensor([[1, -1, 0, 0, 0]] * 4)),
            {},
        ),
        (
            nn.MultiLabelSoftMarginLoss(w),
            F.multilabel_soft_margin_loss,
            (x, (sign + 1) / 2),
            {"weight": w},
        ),
        (nn.TripletMarginLoss(swap=True), F.triplet_margin_loss, (x, y, sign), {"swap": True}),
        (nn.TripletMarginWithDistanceLoss(), F.triplet_margin_loss, (x, y, sign), {}),
    ]
    for layer, function, inputs, options in pairs:
        assert layer(*inputs).item() == function(*inputs, **options).item(), layer
    d = nn.PairwiseDistance(keepdim=True)(x, y)
    assert tw.equal(d, F.pairwise_distance(x, y, keepdim=True))
    assert tw.equal(nn.CosineSimilarity(dim=0)(x, y), F.cosine_similarity(x, y, dim=0))


ACTIVATIONS = [
    (nn.ReLU(), F.relu, {}),
    (nn.ReLU6(), F.relu6, {}),
    (nn.ELU(0.5), F.elu, {"alpha": 0.5}),
    (nn.CELU(0.5), F.celu, {"alpha": 0.5}),
    (nn.SELU(), F.selu, {}),
    (nn.GELU(), F.gelu, {}),
    (nn.GELU("tanh"), F.gelu, {"approximate": "tanh"}),
    (nn.SiLU(), F.silu, {}),
    (nn.Mish(), F.mish, {}),
    (nn.Sigmoid(), tw.sigmoid, {}),
    (nn.LogSigmoid(), F.logsigmoid, {}),
    (nn.Hardsigmoid(), F.hardsigmoid, {}),
    (nn.Hardswish(), F.hardswish, {}),
    (nn.Hardtanh(-0.5, 0.7), F.hardtanh, {"min_val": -0.5, "max_val": 0.7}),
    (nn.Hardshrink(0.3), F.hardshrink, {"lambd": 0.3}),
    (nn.Softshrink(0.3), F.softshrink, {"lambd": 0.3}),
    (nn.Tanh(), tw.tanh, {}),
    (nn.Tanhshrink(), F.tanhshrink, {}),
    (nn.Softplus(2.0, 3.0), F.softplus, {"beta": 2.0, "threshold": 3.0}),
    (nn.Softsign(), F.softsign, {}),
    (nn.LeakyReLU(0.2), F.leaky_relu, {"negative_slope": 0.2}),
    (nn.Threshold(0.1, 2.0), F.threshold, {"threshold": 0.1, "value": 2.0}),
    (nn.Softmax(0), F.softmax, {"dim": 0}),
    (nn.Softmin(1), F.softmin, {"dim": 1}),
    (nn.LogSoftmax(1), F.log_softmax, {"dim": 1}),
    (nn.GLU(0), F.glu, {"dim": 0}),
    (nn.Identity(), lambda x: x, {}),
]


@pytest.mark.parametrize(("layer", "function", "options"), ACTIVATIONS)
def test_activations_as_layers_equal_the_functions(
    layer: nn.Module, function: Any, options: dict[str, Any]
) -> None:
    x = draw(4, 6)
    assert tw.equal(layer(x), function(x, **options))


def test_weights_of_losses_are_buffers() -> None:
    loss = nn.CrossEntropyLoss(weight=tw.ones(3))
    assert list(loss.state_dict()) == ["weight"]
    assert loss.double().weight.dtype is tw.float64
    assert not list(loss.parameters())


def test_a_class_out_of_range_names_the_users_line() -> None:
    loss = nn.CrossEntropyLoss()(tw.zeros(2, 3), tw.tensor([0, 3]))
    with pytest.raises(IndexOutOfRange, match=r"index 3 .*size 3.*\n  recorded at .*test_layers"):
        loss.item()


INPLACE = [
    nn.ReLU(True),
    nn.ReLU6(True),
    nn.SELU(True),
    nn.SiLU(True),
    nn.Mish(True),
    nn.Hardswish(True),
    nn.Hardsigmoid(True),
    nn.ELU(inplace=True),
    nn.CELU(inplace=True),
    nn.LeakyReLU(inplace=True),
    nn.Hardtanh(inplace=True),
    nn.Threshold(0.1, 2.0, inplace=True),
]


@pytest.mark.parametrize("layer", INPLACE, ids=repr)
def test_in_place_activations_write_into_their_input(layer: Any) -> None:
    outside = type(layer)(0.1, 2.0) if isinstance(layer, nn.Threshold) else type(layer)()
    x = draw(3, 4)
    expected = outside(x)
    (slope,) = tw.autograd.grad(expected.sum(), x)
    hidden = x * 1
    assert layer(hidden) is hidden
    np.testing.assert_array_equal(hidden.detach().numpy(), expected.detach().numpy())
    hidden.sum().backward()
    np.testing.assert_allclose(x.grad.numpy(), slope.numpy())


def test_functional_in_place_spellings() -> None:
    for call in (F.relu_, lambda x: F.relu(x, True), lambda x: F.relu(x, inplace=True)):
        x = tw.tensor([-1.0, 1.0])
        assert call(x) is x
        assert x.tolist() == [0, 1]
    assert F.leaky_relu_(tw.tensor([-1.0]), 0.5).tolist() == [-0.5]
    assert F.elu(tw.tensor([-1e9]), 3.0).item() == -3


def test_every_layer_is_named_in_these_tests() -> None:
    texts = [p.read_text() for p in Path(__file__).parents[1].glob("[!p]*/**/test_*.py")]
    known = {m for text in texts for m in re.findall(r"\w+", text)}
    known |= {f"{n}{axes}d" for n in ("MaxPool", "MaxUnpool") for axes in (1, 2, 3)}
    layers = {n for n in nn.__all__ if isinstance(getattr(nn, n), type)}
    assert layers - known == set()


def test_a_small_network_learns() -> None:
    tw.manual_seed(0)
    x = np.random.default_rng(0).standard_normal((64, 1, 4, 4)).astype(np.float32)
    y = (x[:, 0, 0, 0] > x[:, 0, 3, 3]).astype(np.int64)
    model = nn.Sequential(
        nn.Conv2d(1, 4, 3, padding=1),
        nn.BatchNorm2d(4),
        nn.ReLU(inplace=True),
        nn.Flatten(),
        nn.Linear(64, 2),
    )
    loss = nn.CrossEntropyLoss()
    losses = []
    for _ in range(60):
        value = loss(model(tw.tensor(x)), tw.tensor(y))
        model.zero_grad()
        value.backward()
        with tw.no_grad():
            for p in model.parameters():
                p.sub_(p.grad * 0.3)
        losses.append(value.item())
    assert losses[0] > 0.5
    assert losses[-1] < 0.05
