"""Every layer and loss of `nn` beside PyTorch's: text, state, results, gradients, both modes."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from peer import Inputs, array_of, close, copied, torch

import talweg as tw

pytestmark = [
    pytest.mark.peer,
    pytest.mark.filterwarnings("ignore:reduction. 'mean' divides:UserWarning"),
]
D = Inputs(3)
Make = Callable[[Any], Any]
Arrays = tuple[np.ndarray, ...]

ROWS, LINE, IMAGE, CUBE = D.real(5, 6), D.real(2, 4, 9), D.real(2, 4, 6, 8), D.real(1, 4, 4, 6, 5)
BY_RANK = {1: LINE, 2: IMAGE, 3: CUBE}


def ranks(name: str, *args: Any, only: tuple[int, ...] = (1, 2, 3), **options: Any) -> list[Any]:
    """Return a layer in its forms for 1, 2 and 3 spatial dimensions."""
    return [
        (lambda nn, n=n: getattr(nn, f"{name}{n}d")(*args, **options), (BY_RANK[n],)) for n in only
    ]


def plain(names: str, array: np.ndarray = ROWS) -> list[Any]:
    """Return layers that need no arguments."""
    return [(lambda nn, n=n: getattr(nn, n)(), (array,)) for n in names.split()]


LAYERS: list[tuple[Make, Arrays]] = [
    (lambda nn: nn.Identity(), (ROWS,)),
    (lambda nn: nn.Linear(6, 4), (ROWS,)),
    (lambda nn: nn.Linear(6, 4, bias=False), (D.real(2, 3, 6),)),
    (lambda nn: nn.Bilinear(6, 3, 4), (ROWS, D.real(5, 3))),
    *ranks("Conv", 4, 6, 3, stride=2, padding=1, groups=2),
    *ranks("Conv", 4, 2, 2, dilation=2, padding="same", bias=False),
    *ranks("Conv", 4, 2, 3, padding=1, padding_mode="circular"),
    (lambda nn: nn.Conv2d(4, 3, 3, padding=1, padding_mode="reflect"), (IMAGE,)),
    *ranks("ConvTranspose", 4, 6, 3, stride=2, padding=1, output_padding=1, groups=2),
    *ranks("ConvTranspose", 4, 3, 2, dilation=2),
    *ranks("MaxPool", 3, stride=2, padding=1, ceil_mode=True),
    *ranks("MaxPool", 2, return_indices=True),
    *ranks("AvgPool", 3, stride=2, padding=1, count_include_pad=False),
    *ranks("LPPool", 2, 2, ceil_mode=True),
    *ranks("AdaptiveAvgPool", 3),
    *ranks("AdaptiveMaxPool", 2),
    (lambda nn: nn.AdaptiveAvgPool2d((None, 3)), (IMAGE,)),
    (lambda nn: nn.BatchNorm1d(6), (ROWS,)),
    *ranks("BatchNorm", 4),
    *ranks("BatchNorm", 4, momentum=None, affine=False),
    *ranks("BatchNorm", 4, track_running_stats=False),
    *ranks("InstanceNorm", 4, affine=True, track_running_stats=True),
    *ranks("InstanceNorm", 4),
    (lambda nn: nn.LayerNorm(6), (ROWS,)),
    (lambda nn: nn.LayerNorm((6, 8), elementwise_affine=False), (IMAGE,)),
    (lambda nn: nn.RMSNorm((8,), eps=1e-3), (IMAGE,)),
    (lambda nn: nn.GroupNorm(2, 4), (IMAGE,)),
    (lambda nn: nn.LocalResponseNorm(3, alpha=0.1), (IMAGE,)),
    *ranks("Dropout"),
    *plain("Dropout AlphaDropout FeatureAlphaDropout"),
    (lambda nn: nn.Embedding(5, 3, padding_idx=1), (D.whole(3, 4),)),
    (lambda nn: nn.EmbeddingBag(5, 3, mode="mean"), (D.whole(3, 4),)),
    (lambda nn: nn.EmbeddingBag(5, 3, mode="max"), (D.whole(9), D.whole(1) * 0)),
    *plain("ReLU ReLU6 ELU CELU SELU GELU SiLU Mish GLU Sigmoid Tanh LogSigmoid Softplus Softsign"),
    *plain("Hardtanh Hardsigmoid Hardswish Hardshrink Softshrink Tanhshrink LeakyReLU PReLU RReLU"),
    *plain("Softmax2d", IMAGE),
    (lambda nn: nn.ReLU(inplace=False), (ROWS,)),
    (lambda nn: nn.PReLU(4), (IMAGE,)),
    (lambda nn: nn.ELU(0.5), (ROWS,)),
    (lambda nn: nn.GELU("tanh"), (ROWS,)),
    (lambda nn: nn.Hardtanh(-0.5, 0.7), (ROWS,)),
    (lambda nn: nn.Threshold(0.1, 20.0), (ROWS,)),
    (lambda nn: nn.Softplus(2.0, 3.0), (ROWS,)),
    (lambda nn: nn.Softmax(dim=1), (ROWS,)),
    (lambda nn: nn.Softmin(dim=0), (ROWS,)),
    (lambda nn: nn.LogSoftmax(dim=1), (ROWS,)),
    *ranks("ReflectionPad", 2),
    *ranks("ReplicationPad", 2),
    *ranks("CircularPad", 2),
    *ranks("ConstantPad", 1, 2.5),
    *ranks("ZeroPad", 1),
    (lambda nn: nn.ConstantPad2d((1, -2, 0, 3), -1.0), (IMAGE,)),
    (lambda nn: nn.PixelShuffle(2), (IMAGE,)),
    (lambda nn: nn.PixelUnshuffle(2), (IMAGE,)),
    (lambda nn: nn.ChannelShuffle(2), (IMAGE,)),
    (lambda nn: nn.Upsample(scale_factor=2, mode="bilinear"), (IMAGE,)),
    (lambda nn: nn.Upsample(size=(5, 5), mode="bicubic", align_corners=True), (IMAGE,)),
    (lambda nn: nn.UpsamplingNearest2d(scale_factor=2), (IMAGE,)),
    (lambda nn: nn.UpsamplingBilinear2d(size=(9, 5)), (IMAGE,)),
    (lambda nn: nn.Unfold((2, 3), dilation=2, padding=1, stride=2), (IMAGE,)),
    (lambda nn: nn.Fold((4, 3), 2), (D.real(2, 12, 6),)),
    (lambda nn: nn.Flatten(), (IMAGE,)),
    (lambda nn: nn.Flatten(0, 2), (IMAGE,)),
    (lambda nn: nn.Unflatten(1, (2, 3)), (ROWS,)),
    (lambda nn: nn.CosineSimilarity(dim=1), (ROWS, D.real(5, 6))),
    (lambda nn: nn.PairwiseDistance(p=3, keepdim=True), (ROWS, D.real(5, 6))),
    (lambda nn: nn.SyncBatchNorm(4), (IMAGE,)),
    (lambda nn: nn.Sequential(nn.Linear(6, 8), nn.Tanh(), nn.Linear(8, 3)), (ROWS,)),
    (
        lambda nn: nn.Sequential(
            nn.Conv2d(4, 8, 3),
            nn.ReLU(inplace=True),
            nn.MaxPool2d(2),
            nn.Flatten(),
            nn.Linear(48, 10),
        ),
        (IMAGE,),
    ),
]

LABELS = D.whole(5, high=6)
SHARES = D.probability(5, 6)
SIGNS = D.truth(5, 6).astype("float32") * 2 - 1
SIGN = np.ascontiguousarray(SIGNS[:, 0])

LOSSES: list[tuple[Make, Arrays]] = [
    (lambda nn: nn.L1Loss(), (ROWS, D.real(5, 6))),
    (lambda nn: nn.MSELoss(reduction="sum"), (ROWS, D.real(5, 6))),
    (lambda nn: nn.SmoothL1Loss(beta=0.5), (ROWS, D.real(5, 6))),
    (lambda nn: nn.HuberLoss(delta=0.5), (ROWS, D.real(5, 6))),
    (lambda nn: nn.CrossEntropyLoss(label_smoothing=0.1), (ROWS, LABELS)),
    (lambda nn: nn.CrossEntropyLoss(ignore_index=2), (D.real(2, 4, 3), D.whole(2, 3, high=4))),
    (lambda nn: nn.NLLLoss(ignore_index=2), (ROWS, LABELS)),
    (lambda nn: nn.BCELoss(), (D.probability(5, 6), SHARES)),
    (lambda nn: nn.BCEWithLogitsLoss(reduction="none"), (ROWS * 9, SHARES)),
    (lambda nn: nn.KLDivLoss(reduction="batchmean"), (ROWS, SHARES)),
    (lambda nn: nn.PoissonNLLLoss(full=True), (ROWS, D.positive(5, 6) * 3)),
    (lambda nn: nn.GaussianNLLLoss(full=True), (ROWS, D.real(5, 6), D.positive(5, 6))),
    (lambda nn: nn.HingeEmbeddingLoss(margin=0.5), (ROWS, SIGNS)),
    (lambda nn: nn.MarginRankingLoss(margin=0.5), (D.real(5), D.real(5), SIGN)),
    (lambda nn: nn.CosineEmbeddingLoss(margin=0.1), (ROWS, D.real(5, 6), SIGN)),
    (lambda nn: nn.SoftMarginLoss(), (ROWS, SIGNS)),
    (lambda nn: nn.MultiMarginLoss(p=2, margin=0.5), (ROWS, LABELS)),
    (lambda nn: nn.MultiLabelMarginLoss(), (ROWS, np.array([[1, 4, -1, 0, 2, 2]] * 5))),
    (lambda nn: nn.MultiLabelSoftMarginLoss(), (ROWS, (SIGNS + 1) / 2)),
    (lambda nn: nn.TripletMarginLoss(swap=True), (ROWS, D.real(5, 6), D.real(5, 6))),
    (lambda nn: nn.TripletMarginWithDistanceLoss(), (ROWS, D.real(5, 6), D.real(5, 6))),
]

RANDOM = {
    *("Dropout", "Dropout1d", "Dropout2d", "Dropout3d", "AlphaDropout", "FeatureAlphaDropout"),
    "RReLU",
}
CONTAINERS = {"Module", "ModuleDict", "ModuleList", "ParameterDict", "ParameterList"}
ELSEWHERE = {
    *("MaxUnpool1d", "MaxUnpool2d", "MaxUnpool3d", "CTCLoss", "DataParallel"),
    *("RNN", "GRU", "LSTM", "RNNBase", "RNNCell", "GRUCell", "LSTMCell", "RNNCellBase"),
    *("MultiheadAttention", "Transformer", "TransformerEncoder", "TransformerDecoder"),
    *("TransformerEncoderLayer", "TransformerDecoderLayer"),
    "CrossMapLRN2d",  # PyTorch's never lets go of the first channel
    *("AdaptiveLogSoftmaxWithLoss", "FractionalMaxPool2d", "FractionalMaxPool3d", "LazyLinear"),
    *(f"Lazy{kind}{n}d" for kind in ("Conv", "ConvTranspose") for n in (1, 2, 3)),
    *(f"Lazy{kind}{n}d" for kind in ("BatchNorm", "InstanceNorm") for n in (1, 2, 3)),
}


def named(cases: list[tuple[Make, Arrays]]) -> list[Any]:
    """Return the cases as pytest parameters, named by their layer's text."""
    return [
        pytest.param(make, arrays, id=repr(make(torch.nn)).replace("\n", ""))
        for make, arrays in cases
    ]


def leaves(library: Any, arrays: Arrays, gradients: int) -> list[Any]:
    """Return the arrays as Tensors; the first ones, where floating, require gradients."""
    made = [library.tensor(a) for a in arrays]
    for t in made[:gradients]:
        t.requires_grad_(t.is_floating_point())
    return made


def first(result: Any) -> Any:
    """Return a result, or the first of several; the others are equal."""
    return result[0] if isinstance(result, tuple) else result


def compare(ours: Any, theirs: Any, arrays: Arrays, gradients: int) -> None:
    """Compare one call: all results, and the gradients of inputs."""
    name = repr(theirs)
    mine, other = leaves(tw, arrays, gradients), leaves(torch, arrays, gradients)
    a, b = ours(*mine), theirs(*other)
    if isinstance(b, tuple):
        np.testing.assert_array_equal(array_of(a[1]), array_of(b[1]))
    a, b = first(a), first(b)
    close(a, b, 32, f"{name}: result")
    if not b.requires_grad:
        assert not a.requires_grad
        return
    seed = np.random.RandomState(1).standard_normal(tuple(b.shape)).astype("float32")
    a.backward(tw.tensor(seed))
    b.backward(torch.tensor(seed))
    for i, (x, y) in enumerate(zip(mine, other, strict=True)):
        assert (x.grad is None) == (y.grad is None)
        if y.grad is not None:
            close(x.grad, y.grad, 64, f"{name}: gradient of input {i}")


@pytest.mark.parametrize(("make", "arrays"), named(LAYERS))
def test_a_layer_equals_pytorchs(make: Make, arrays: Arrays) -> None:
    ours, theirs = copied(make)
    assert repr(ours) == repr(theirs)
    if type(theirs).__name__ not in RANDOM:
        for _ in range(2):
            compare(ours, theirs, arrays, len(arrays))
    for (k, p), (_, q) in zip(ours.named_parameters(), theirs.named_parameters(), strict=True):
        close(p.grad, q.grad, 64, f"gradient of {k}")
    for k, value in theirs.state_dict().items():
        close(ours.state_dict()[k], value, 4, f"state {k}")
    compare(ours.eval(), theirs.eval(), arrays, len(arrays))


@pytest.mark.parametrize(("make", "arrays"), named(LOSSES))
def test_a_loss_equals_pytorchs(make: Make, arrays: Arrays) -> None:
    ours, theirs = copied(make)
    assert repr(ours) == repr(theirs)
    compare(ours, theirs, arrays, 1)


@pytest.mark.parametrize("reduction", ["mean", "sum", "none"])
def test_ctc_equals_pytorchs(reduction: str) -> None:
    """Beneath log_softmax: PyTorch's own gradient leaves out what its sum to 1 would cancel."""
    arrays = (np.array([[1, 2, 2], [3, 1, 3]]), np.array([6, 5]), np.array([3, 2]))
    results = []
    for library in (tw, torch):
        x = library.tensor(np.random.RandomState(4).standard_normal((6, 2, 4))).requires_grad_()
        rest = [library.tensor(a) for a in arrays]
        loss = library.nn.CTCLoss(blank=0, reduction=reduction)(x.log_softmax(2), *rest)
        loss.sum().backward()
        results.append((loss, x.grad))
    (a, da), (b, db) = results
    close(a, b, 4, "loss")
    close(da, db, 4, "gradient")


@pytest.mark.parametrize("rank", [1, 2, 3])
def test_unpooling_equals_pytorchs(rank: int) -> None:
    array = BY_RANK[rank]
    results = []
    for library in (tw, torch):
        x = library.tensor(array).requires_grad_()
        pool = getattr(library.nn, f"MaxPool{rank}d")(2, return_indices=True)
        back = getattr(library.nn, f"MaxUnpool{rank}d")(2)
        values, indices = pool(x)
        y = back(values, indices, output_size=array.shape)
        (y * y).sum().backward()
        results.append((y, x.grad, repr(back)))
    (a, da, text), (b, db, expected) = results
    assert text == expected
    close(a, b, 1, "values")
    close(da, db, 1, "gradient")


@pytest.mark.parametrize(("make", "arrays"), named(LAYERS))
def test_a_layers_first_weights_have_pytorchs_spread(make: Make, arrays: Arrays) -> None:
    ours, theirs = make(tw.nn), make(torch.nn)
    for (k, p), (_, q) in zip(ours.named_parameters(), theirs.named_parameters(), strict=True):
        a, b = array_of(p), array_of(q)
        assert a.shape == b.shape, k
        if a.size >= 32:
            assert 0.6 < a.std() / b.std() < 1.6, k


def test_every_layer_is_compared() -> None:
    layers = {
        n for n, c in inspect.getmembers(tw.nn, inspect.isclass) if issubclass(c, tw.nn.Module)
    }
    compared = {type(make(tw.nn)).__name__ for make, _ in (*LAYERS, *LOSSES)}
    assert layers - compared == CONTAINERS | ELSEWHERE
