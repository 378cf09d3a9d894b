"""Activations, losses, convolution, pooling, normalisation and products beside PyTorch."""

from __future__ import annotations

import pytest
from peer import Case, Inputs, compare, parameters

pytestmark = [
    pytest.mark.peer,
    pytest.mark.filterwarnings("ignore:reduction. 'mean' divides:UserWarning"),
    pytest.mark.filterwarnings("ignore:torch.chain_matmul is deprecated:UserWarning"),
]
D = Inputs(2)
X = D.real(4, 6)

ACTIVATIONS = [
    *(
        Case(n, lambda T, x, n=n: getattr(T.nn.functional, n)(x), (X * 2,), slack=4)
        for n in (
            *("relu", "relu6", "elu", "selu", "celu", "gelu", "silu", "mish", "hardtanh"),
            *("hardsigmoid", "hardswish", "leaky_relu", "softplus", "softsign", "softshrink"),
            *("hardshrink", "tanhshrink", "logsigmoid", "glu", "sigmoid", "tanh"),
        )
    ),
    Case("gelu tanh", lambda T, x: T.nn.functional.gelu(x, approximate="tanh"), (X,), slack=4),
    Case("softmax", lambda T, x: T.nn.functional.softmax(x, dim=1), (X,), slack=4),
    Case("softmin", lambda T, x: T.nn.functional.softmin(x, dim=0), (X,), slack=4),
    Case("log_softmax", lambda T, x: T.nn.functional.log_softmax(x, dim=1), (X * 30,), slack=4),
    Case("threshold", lambda T, x: T.nn.functional.threshold(x, 0.1, 20.0), (X,)),
    Case("prelu", lambda T, x, w: T.nn.functional.prelu(x, w), (X, D.real(6))),
    Case("normalize", lambda T, x: T.nn.functional.normalize(x, dim=1), (X,), slack=4),
    Case(
        "softplus beta",
        lambda T, x: T.nn.functional.softplus(x, beta=2.0, threshold=3.0),
        (X,),
        slack=4,
    ),
]

Y = D.real(4, 6)
LABEL = D.whole(4, high=6)
P = D.probability(4, 6)
SIGN = D.whole(4, high=2).astype("float32") * 2 - 1


def loss(name: str, *inputs: object, **options: object) -> list[Case]:
    """Return a loss under its three reductions."""
    return [
        Case(
            f"{name} {reduction} {' '.join(options)}".strip(),
            lambda T, *t, r=reduction: getattr(T.nn.functional, name)(*t, reduction=r, **options),
            inputs,
            slack=8,
        )
        for reduction in ("mean", "sum", "none")
    ]


LOSSES = [
    *loss("cross_entropy", X, LABEL),
    *loss("cross_entropy", X, LABEL, label_smoothing=0.1),
    *loss("cross_entropy", X, LABEL, ignore_index=int(LABEL[0])),
    *loss("cross_entropy", D.real(2, 5, 3), D.whole(2, 3)),
    *loss("cross_entropy", X, P),
    *loss("nll_loss", X, LABEL),
    *loss("mse_loss", X, Y),
    *loss("l1_loss", X, Y),
    *loss("smooth_l1_loss", X, Y),
    *loss("huber_loss", X, Y, delta=0.7),
    *loss("binary_cross_entropy", P, D.probability(4, 6)),
    *loss("binary_cross_entropy_with_logits", X * 9, D.probability(4, 6)),
    *loss("kl_div", X, P),
    *loss("kl_div", X, Y, log_target=True),
    *loss("poisson_nll_loss", X, D.positive(4, 6)),
    *loss("gaussian_nll_loss", X, Y, D.positive(4, 6)),
    *loss("hinge_embedding_loss", X, D.truth(4, 6).astype("float32") * 2 - 1),
    *loss("margin_ranking_loss", D.real(4), D.real(4), SIGN),
    *loss("cosine_embedding_loss", X, Y, SIGN),
    *loss("triplet_margin_loss", X, Y, D.real(4, 6)),
    Case(
        "soft_margin_loss",
        lambda T, x, y: T.nn.functional.soft_margin_loss(x, y.detach()),
        (X, D.truth(4, 6).astype("float32") * 2 - 1),
        slack=8,
    ),
    *loss("multi_margin_loss", X, LABEL),
    *loss("multilabel_soft_margin_loss", X, D.truth(4, 6).astype("float32")),
    Case(
        "cross_entropy weight",
        lambda T, x, i, w: T.nn.functional.cross_entropy(x, i, weight=w.detach()),
        (X, LABEL, D.positive(6)),
        slack=8,
    ),
    Case(
        "bce pos_weight",
        lambda T, x, y, w: T.nn.functional.binary_cross_entropy_with_logits(
            x, y.detach(), pos_weight=w.detach()
        ),
        (X, P, D.positive(6)),
        slack=8,
    ),
    Case(
        "cosine_similarity",
        lambda T, x, y: T.nn.functional.cosine_similarity(x, y, dim=1),
        (X, Y),
        slack=4,
    ),
    Case(
        "pairwise_distance",
        lambda T, x, y: T.nn.functional.pairwise_distance(x, y),
        (X, Y),
        slack=4,
    ),
]

IMAGE = D.real(2, 4, 9, 8)
LINE = D.real(2, 4, 11)
CUBE = D.real(1, 2, 5, 6, 4)


def conv(name: str, x: object, w: object, bias: object, **options: object) -> Case:
    """Return a convolution with its bias."""
    return Case(
        f"{name} {' '.join(f'{k}={v}' for k, v in options.items())}".strip(),
        lambda T, x, w, b: getattr(T.nn.functional, name)(x, w, b, **options),
        (x, w, bias),
        slack=16,
    )


WINDOWS = [
    conv("conv1d", LINE, D.real(3, 4, 3), D.real(3), stride=2, padding=1),
    conv("conv2d", IMAGE, D.real(5, 4, 3, 3), D.real(5)),
    conv("conv2d", IMAGE, D.real(5, 4, 3, 2), D.real(5), stride=(2, 1), padding=(1, 2)),
    conv("conv2d", IMAGE, D.real(6, 2, 3, 3), D.real(6), groups=2, dilation=2),
    conv("conv2d", IMAGE, D.real(4, 1, 3, 3), D.real(4), groups=4, padding="same"),
    conv("conv2d", IMAGE, D.real(5, 4, 1, 1), D.real(5)),
    conv("conv3d", CUBE, D.real(3, 2, 2, 3, 2), D.real(3), padding=1),
    conv("conv_transpose1d", LINE, D.real(4, 3, 3), D.real(3), stride=2, output_padding=1),
    conv("conv_transpose2d", IMAGE, D.real(4, 3, 3, 3), D.real(3), stride=2, padding=1),
    conv("conv_transpose2d", IMAGE, D.real(4, 3, 3, 3), D.real(6), groups=2, dilation=2),
    conv("conv_transpose3d", CUBE, D.real(2, 3, 2, 2, 2), D.real(3), stride=2),
    *(
        Case(
            f"{n} {o}",
            lambda T, x, n=n, o=o: getattr(T.nn.functional, n)(x, **o),
            (x,),
            slack=4,
        )
        for n, x, o in (
            ("max_pool1d", LINE, {"kernel_size": 3, "stride": 2}),
            ("max_pool2d", IMAGE, {"kernel_size": 2}),
            ("max_pool2d", IMAGE, {"kernel_size": 3, "stride": 2, "padding": 1}),
            ("max_pool2d", IMAGE, {"kernel_size": 3, "stride": 2, "ceil_mode": True}),
            ("max_pool2d", IMAGE, {"kernel_size": 2, "stride": 1, "dilation": 2}),
            ("max_pool2d", IMAGE, {"kernel_size": 2, "return_indices": True}),
            ("max_pool3d", CUBE, {"kernel_size": 2}),
            ("avg_pool1d", LINE, {"kernel_size": 3}),
            ("avg_pool2d", IMAGE, {"kernel_size": 2}),
            ("avg_pool2d", IMAGE, {"kernel_size": 3, "padding": 1, "count_include_pad": False}),
            ("avg_pool2d", IMAGE, {"kernel_size": 3, "stride": 2, "ceil_mode": True}),
            ("avg_pool3d", CUBE, {"kernel_size": 2}),
            ("adaptive_avg_pool1d", LINE, {"output_size": 4}),
            ("adaptive_avg_pool2d", IMAGE, {"output_size": (3, 5)}),
            ("adaptive_avg_pool2d", IMAGE, {"output_size": 1}),
            ("adaptive_max_pool2d", IMAGE, {"output_size": (2, 3)}),
            ("lp_pool1d", LINE, {"norm_type": 2.0, "kernel_size": 2}),
            ("lp_pool3d", CUBE, {"norm_type": 2.0, "kernel_size": 2}),
            ("adaptive_max_pool1d", LINE, {"output_size": 4}),
            ("adaptive_max_pool3d", CUBE, {"output_size": (2, 3, 2)}),
            ("adaptive_avg_pool3d", CUBE, {"output_size": (2, None, 2)}),
            ("channel_shuffle", IMAGE, {"groups": 2}),
            ("lp_pool2d", IMAGE, {"norm_type": 2.0, "kernel_size": 2}),
            ("interpolate", IMAGE, {"scale_factor": 2, "mode": "nearest"}),
            ("interpolate", IMAGE, {"size": (5, 13), "mode": "bilinear"}),
            ("interpolate", IMAGE, {"size": (5, 13), "mode": "bilinear", "align_corners": True}),
            ("interpolate", IMAGE, {"size": (5, 4), "mode": "area"}),
            ("pad", IMAGE, {"pad": (1, 2, 0, 3)}),
            ("pad", IMAGE, {"pad": (1, 2), "value": 2.5}),
            ("pad", IMAGE, {"pad": (1, 2, 2, 1), "mode": "reflect"}),
            ("pad", IMAGE, {"pad": (1, 2, 2, 1), "mode": "replicate"}),
            ("pad", IMAGE, {"pad": (1, 2, 2, 1), "mode": "circular"}),
            ("pixel_shuffle", IMAGE, {"upscale_factor": 2}),
            ("pixel_unshuffle", IMAGE[:, :, :8], {"downscale_factor": 2}),
            ("unfold", IMAGE, {"kernel_size": (2, 3), "stride": 2, "padding": 1}),
            ("fold", D.real(2, 12, 6), {"output_size": (4, 3), "kernel_size": (2, 2)}),
            ("layer_norm", X, {"normalized_shape": (6,)}),
            ("group_norm", IMAGE, {"num_groups": 2}),
            ("instance_norm", IMAGE, {}),
            ("local_response_norm", IMAGE, {"size": 3}),
            ("rms_norm", X, {"normalized_shape": (6,)}),
        )
    ),
    Case(
        "batch_norm train",
        lambda T, x, w, b: T.nn.functional.batch_norm(x, None, None, w, b, training=True),
        (IMAGE, D.real(4), D.real(4)),
        slack=16,
    ),
    Case(
        "batch_norm eval",
        lambda T, x, m, v: T.nn.functional.batch_norm(x, m.detach(), v.detach()),
        (IMAGE, D.real(4), D.positive(4)),
        slack=4,
    ),
]

PRODUCTS = [
    Case("matmul", lambda T, x, y: x @ y, (D.real(3, 4), D.real(4, 5)), slack=4),
    Case("matmul batched", lambda T, x, y: x @ y, (D.real(2, 1, 3, 4), D.real(5, 4, 2)), slack=4),
    Case("matmul vector", lambda T, x, y: T.matmul(x, y), (D.real(2, 3, 4), D.real(4)), slack=4),
    Case("vector matmul", lambda T, x, y: T.matmul(x, y), (D.real(4), D.real(2, 4, 3)), slack=4),
    Case("mm", lambda T, x, y: T.mm(x, y), (D.real(3, 4), D.real(4, 5)), slack=4),
    Case("bmm", lambda T, x, y: T.bmm(x, y), (D.real(2, 3, 4), D.real(2, 4, 5)), slack=4),
    Case("mv", lambda T, x, y: T.mv(x, y), (D.real(3, 4), D.real(4)), slack=4),
    Case("dot", lambda T, x, y: T.dot(x, y), (D.real(4), D.real(4)), slack=4),
    Case("outer", lambda T, x, y: T.outer(x, y), (D.real(4), D.real(3))),
    Case(
        "addmm",
        lambda T, a, x, y: T.addmm(a, x, y, beta=0.5, alpha=2),
        (D.real(3, 5), D.real(3, 4), D.real(4, 5)),
        slack=4,
    ),
    Case(
        "addbmm",
        lambda T, a, x, y: T.addbmm(a, x, y, beta=0.5, alpha=2),
        (D.real(3, 5), D.real(2, 3, 4), D.real(2, 4, 5)),
        slack=8,
    ),
    Case("addmv", lambda T, a, x, y: T.addmv(a, x, y), (D.real(3), D.real(3, 4), D.real(4))),
    Case("addr", lambda T, a, x, y: T.addr(a, x, y), (D.real(3, 4), D.real(3), D.real(4))),
    Case("ger", lambda T, x, y: T.ger(x, y), (D.real(3), D.real(4))),
    Case("inner", lambda T, x, y: T.inner(x, y), (D.real(2, 3, 4), D.real(5, 4)), slack=4),
    Case("vdot", lambda T, x, y: T.vdot(x, y), (D.real(4), D.real(4)), slack=4),
    Case("chain_matmul", lambda T, x, y: T.chain_matmul(x, y, x), (D.real(3, 4), D.real(4, 3))),
    Case("matrix_power", lambda T, x: T.matrix_power(x, 3), (D.real(2, 3, 3),), slack=16),
    Case(
        "baddbmm",
        lambda T, a, x, y: T.baddbmm(a, x, y),
        (D.real(2, 3, 5), D.real(2, 3, 4), D.real(2, 4, 5)),
        slack=4,
    ),
    *(
        Case(f"einsum {e}", lambda T, *t, e=e: T.einsum(e, *t), inputs, slack=8)
        for e, inputs in (
            ("ij,jk->ik", (D.real(3, 4), D.real(4, 5))),
            ("bij,bjk->bik", (D.real(2, 3, 4), D.real(2, 4, 5))),
            ("ii", (D.real(4, 4),)),
            ("ij->ji", (D.real(3, 4),)),
            ("i,j,k->ijk", (D.real(2), D.real(3), D.real(4))),
            ("...ij,...jk", (D.real(2, 3, 4), D.real(4, 5))),
        )
    ),
    Case(
        "tensordot",
        lambda T, x, y: T.tensordot(x, y, dims=([1, 2], [0, 1])),
        (D.real(2, 3, 4), D.real(3, 4, 5)),
        slack=8,
    ),
    Case("trace", lambda T, x: T.trace(x), (D.real(4, 4),)),
    Case("cross", lambda T, x, y: T.cross(x, y, dim=1), (D.real(4, 3), D.real(4, 3))),
    Case("cdist", lambda T, x, y: T.cdist(x, y), (D.real(4, 3), D.real(5, 3)), slack=8),
    Case(
        "linear", lambda T, x, w, b: T.nn.functional.linear(x, w, b), (X, D.real(3, 6), D.real(3))
    ),
    Case(
        "bilinear",
        lambda T, x, y, w: T.nn.functional.bilinear(x, y, w),
        (D.real(4, 3), D.real(4, 2), D.real(5, 3, 2)),
        slack=4,
    ),
    Case(
        "embedding",
        lambda T, i, w: T.nn.functional.embedding(i, w, padding_idx=1),
        (D.whole(3, 4), D.real(5, 6)),
    ),
]


@pytest.mark.parametrize("case", parameters([*ACTIVATIONS, *LOSSES, *WINDOWS, *PRODUCTS]))
def test_equals_pytorch(case: Case) -> None:
    compare(case)
