"""Mixed precision, scaled losses and averaged weights beside PyTorch's."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from peer import Inputs, array_of, copied, torch

import talweg as tw

pytestmark = pytest.mark.peer
D = Inputs(11)

Call = Callable[..., Any]


def loss(name: str, *more: Any, classes: bool = False) -> tuple[Call, tuple[Any, ...]]:
    """A loss of the functional module, of probabilities and of them or classes."""
    target = D.whole(3, high=4) if classes else D.probability(3, 4)
    return (
        lambda T, x, y: getattr(T.nn.functional, name)(x, y, *more),
        (D.probability(3, 4), target),
    )


def square(name: str) -> tuple[Call, tuple[Any, ...]]:
    """A function of `linalg` of a symmetric matrix."""
    x = D.real(4, 4)
    return (lambda T, x: flat(getattr(T.linalg, name)(x)), (x @ x.T + np.eye(4, dtype=x.dtype),))


def flat(result: Any) -> Any:
    return result if hasattr(result, "dtype") else result[-1] if len(result) == 2 else result[0]


def pooled(name: str, rank: int) -> tuple[Call, tuple[Any, ...]]:
    return (
        lambda T, x: getattr(T.nn.functional, name)(x, 2),
        (D.real(1, 2, *[4] * rank),),
    )


def convolved(name: str, rank: int) -> tuple[Call, tuple[Any, ...]]:
    size = [5] * rank
    return (
        lambda T, x, w: getattr(T.nn.functional, name)(x, w),
        (D.real(1, 2, *size), D.real(2, 2, *[3] * rank)),
    )


CASES: dict[str, tuple[Call, tuple[Any, ...]]] = {
    "matmul": (lambda T, x, y: T.matmul(x, y), (D.real(3, 4), D.real(4, 5))),
    "operator": (lambda T, x, y: x @ y, (D.real(2, 3, 4), D.real(4, 5))),
    "mm": (lambda T, x, y: x.mm(y), (D.real(3, 4), D.real(4, 5))),
    "mv": (lambda T, x, y: T.mv(x, y), (D.real(3, 4), D.real(4))),
    "dot": (lambda T, x, y: T.dot(x, y), (D.real(4), D.real(4))),
    "inner": (lambda T, x, y: T.inner(x, y), (D.real(3, 4), D.real(3, 4))),
    "outer": (lambda T, x, y: T.outer(x, y), (D.real(3), D.real(4))),
    "bmm": (lambda T, x, y: T.bmm(x, y), (D.real(2, 3, 4), D.real(2, 4, 5))),
    "addmm": (lambda T, b, x, y: T.addmm(b, x, y), (D.real(5), D.real(3, 4), D.real(4, 5))),
    "addmv": (lambda T, b, x, y: T.addmv(b, x, y), (D.real(3), D.real(3, 4), D.real(4))),
    "addbmm": (
        lambda T, b, x, y: T.addbmm(b, x, y),
        (D.real(3, 5), D.real(2, 3, 4), D.real(2, 4, 5)),
    ),
    "baddbmm": (
        lambda T, b, x, y: T.baddbmm(b, x, y),
        (D.real(2, 3, 5), D.real(2, 3, 4), D.real(2, 4, 5)),
    ),
    "linear": (lambda T, x, w: T.nn.functional.linear(x, w), (D.real(3, 4), D.real(5, 4))),
    "bilinear": (
        lambda T, x, y, w: T.nn.functional.bilinear(x, y, w),
        (D.real(3, 4), D.real(3, 5), D.real(2, 4, 5)),
    ),
    "einsum": (lambda T, x, y: T.einsum("ij,jk->ik", x, y), (D.real(3, 4), D.real(4, 5))),
    "tensordot": (lambda T, x, y: T.tensordot(x, y, 1), (D.real(3, 4), D.real(4, 5))),
    "chain_matmul": (lambda T, x, y: T.chain_matmul(x, y), (D.real(3, 4), D.real(4, 5))),
    "multi_dot": (lambda T, x, y: T.linalg.multi_dot([x, y]), (D.real(3, 4), D.real(4, 5))),
    "matrix_power": (lambda T, x: T.linalg.matrix_power(x, 2), (D.real(3, 3),)),
    "vecdot": (lambda T, x, y: T.linalg.vecdot(x, y), (D.real(3, 4), D.real(3, 4))),
    "cov": (lambda T, x: T.cov(x), (D.real(3, 9),)),
    **{f"conv{n}d": convolved(f"conv{n}d", n) for n in (1, 2, 3)},
    **{f"conv_transpose{n}d": convolved(f"conv_transpose{n}d", n) for n in (1, 2, 3)},
    "attention": (
        lambda T, q, k, v: T.nn.functional.scaled_dot_product_attention(q, k, v),
        (D.real(1, 2, 4, 8), D.real(1, 2, 4, 8), D.real(1, 2, 4, 8)),
    ),
    "prelu": (lambda T, x, w: T.nn.functional.prelu(x, w), (D.real(3, 4), D.positive(1))),
    "softmax": (lambda T, x: T.softmax(x, 1), (D.real(3, 4),)),
    "log_softmax": (lambda T, x: T.log_softmax(x, 1), (D.real(3, 4),)),
    "layer_norm": (lambda T, x: T.nn.functional.layer_norm(x, (4,)), (D.real(3, 4),)),
    "group_norm": (lambda T, x: T.nn.functional.group_norm(x, 2), (D.real(3, 4, 5),)),
    "gelu": (lambda T, x: T.nn.functional.gelu(x), (D.real(3, 4),)),
    "exp": (lambda T, x: T.exp(x), (D.real(3, 4),)),
    "pow": (lambda T, x: x**2.5, (D.positive(3, 4),)),
    "sum": (lambda T, x: x.sum(), (D.real(3, 4),)),
    "mean": (lambda T, x: x.mean(1), (D.real(3, 4),)),
    "cumsum": (lambda T, x: x.cumsum(1), (D.real(3, 4),)),
    "norm": (lambda T, x: T.linalg.vector_norm(x), (D.real(3, 4),)),
    "cat": (lambda T, x, y: T.cat([x, y]), (D.real(3, 4), D.real(3, 4))),
    "stack": (lambda T, x, y: T.stack([x, y]), (D.real(3, 4), D.real(3, 4))),
    "prod": (lambda T, x: T.prod(x, 1), (D.positive(3, 4),)),
    "trace": (lambda T, x: T.trace(x), (D.real(4, 4),)),
    "quantile": (lambda T, x: T.quantile(x, 0.5), (D.real(5),)),
    "cdist": (lambda T, x, y: T.cdist(x, y), (D.real(3, 4), D.real(3, 4))),
    "polar": (lambda T, x, y: T.polar(x, y), (D.positive(3), D.positive(3))),
    "rfft": (lambda T, x: T.fft.rfft(x), (D.real(8),)),
    "fft2": (lambda T, x: T.fft.fft2(x), (D.real(4, 4),)),
    **{n: square(n) for n in ("inv", "cholesky", "svdvals", "eigvalsh", "qr", "cond")},
    "solve": (lambda T, x, y: T.linalg.solve(x, y), (D.real(3, 3), D.real(3, 2))),
    **{n: loss(n) for n in ("mse_loss", "l1_loss", "smooth_l1_loss", "huber_loss", "kl_div")},
    "poisson_nll_loss": loss("poisson_nll_loss"),
    "binary_cross_entropy": loss("binary_cross_entropy"),
    "binary_cross_entropy_with_logits": loss("binary_cross_entropy_with_logits"),
    "nll_loss": loss("nll_loss", classes=True),
    "cross_entropy": loss("cross_entropy", classes=True),
    "cross_entropy of shares": loss("cross_entropy"),
    "multi_margin_loss": loss("multi_margin_loss", classes=True),
    "triplet_margin_loss": (
        lambda T, x, y, z: T.nn.functional.triplet_margin_loss(x, y, z),
        (D.real(3, 4), D.real(3, 4), D.real(3, 4)),
    ),
    "gaussian_nll_loss": (
        lambda T, x, y: T.nn.functional.gaussian_nll_loss(x, y, T.ones(3, 4)),
        (D.real(3, 4), D.real(3, 4)),
    ),
    **{f"avg_pool{n}d": pooled(f"avg_pool{n}d", n) for n in (1, 2, 3)},
    **{f"max_pool{n}d": pooled(f"max_pool{n}d", n) for n in (2, 3)},
    **{f"adaptive_avg_pool{n}d": pooled(f"adaptive_avg_pool{n}d", n) for n in (2, 3)},
    "reflect": (lambda T, x: T.nn.functional.pad(x, (1, 1), "reflect"), (D.real(1, 2, 4),)),
    "replicate": (
        lambda T, x: T.nn.functional.pad(x, (1, 1), mode="replicate"),
        (D.real(1, 2, 4),),
    ),
    "zeros": (lambda T, x: T.nn.functional.pad(x, (1, 1)), (D.real(1, 2, 4),)),
}


@pytest.mark.parametrize("name", CASES)
def test_dtypes_and_values_in_a_region(name: str) -> None:
    call, arrays = CASES[name]
    for lower in (False, True):
        found = []
        for T in (tw, torch):
            inputs = [T.tensor(a) for a in arrays]
            if lower:
                inputs = [t.bfloat16() if t.is_floating_point() else t for t in inputs]
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                with T.autocast("cpu", dtype=T.bfloat16):
                    y = call(T, *inputs)
            found.append((str(y.dtype).rpartition(".")[2], y))
        (ours, x), (theirs, y) = found
        assert ours == theirs, f"{name} of {'bfloat16' if lower else 'float32'}"
        values = [array_of(t.float() if not t.is_complex() else t) for t in (x, y)]
        scale = np.abs(values[1]).max() + 1e-3
        np.testing.assert_allclose(values[0] / scale, values[1] / scale, atol=0.03)


LAYERS: dict[str, Callable[[Any], Any]] = {
    "mlp": lambda nn: nn.Sequential(nn.Linear(6, 8), nn.ReLU(), nn.LayerNorm(8), nn.Linear(8, 3)),
    "conv": lambda nn: nn.Sequential(
        nn.Unflatten(1, (1, 6)),
        nn.Conv1d(1, 4, 3),
        nn.BatchNorm1d(4),
        nn.Flatten(),
        nn.Linear(16, 3),
    ),
}


@pytest.mark.parametrize("dtype", ["bfloat16", "float16"])
@pytest.mark.parametrize("name", LAYERS)
def test_training_with_scaled_losses(name: str, dtype: str) -> None:
    array, label = D.real(16, 6), D.whole(16, high=3)
    losses, scales = [], []
    for T, net in zip((tw, torch), copied(LAYERS[name]), strict=True):
        optimizer = T.optim.SGD(net.parameters(), lr=0.2, momentum=0.5)
        scaler = T.amp.GradScaler("cpu", init_scale=2.0**10, growth_interval=3)
        x, y = T.tensor(array), T.tensor(label)
        for step in range(8):
            optimizer.zero_grad()
            with T.autocast("cpu", dtype=getattr(T, dtype)):
                value = T.nn.functional.cross_entropy(net(x), y)
            scaler.scale(value * (float("inf") if step == 5 else 1)).backward()
            scaler.unscale_(optimizer)
            T.nn.utils.clip_grad_norm_(net.parameters(), 1.0)
            scaler.step(optimizer)
            scaler.update()
            scales.append(scaler.get_scale())
            losses.append(value.item())
    np.testing.assert_allclose(losses[:8], losses[8:], rtol=0.03, atol=0.01)
    assert scales[:8] == scales[8:]


@pytest.mark.parametrize("buffers", [False, True])
@pytest.mark.parametrize("kind", ["equal", "ema", "ema one by one"])
def test_averaged_weights(kind: str, buffers: bool) -> None:
    found = []
    array = D.real(5, 8, 6)
    nets = copied(lambda nn: nn.Sequential(nn.Linear(6, 4), nn.BatchNorm1d(4), nn.Linear(4, 2)))
    for T, net in zip((tw, torch), nets, strict=True):
        swa = T.optim.swa_utils
        options = {
            "equal": {},
            "ema": {"multi_avg_fn": swa.get_ema_multi_avg_fn(0.7)},
            "ema one by one": {"avg_fn": swa.get_ema_avg_fn(0.7)},
        }[kind]
        mean = swa.AveragedModel(net, use_buffers=buffers, **options)
        sgd = T.optim.SGD(net.parameters(), lr=0.2)
        for x in array:
            sgd.zero_grad()
            net(T.tensor(x)).square().mean().backward()
            sgd.step()
            mean.update_parameters(net)
        swa.update_bn([T.tensor(x) for x in array], mean)
        assert set(mean.state_dict()) > {"n_averaged", "module.0.weight"}
        found.append({k: array_of(v) for k, v in mean.state_dict().items()})
    assert list(found[0]) == list(found[1])
    for name, value in found[0].items():
        np.testing.assert_allclose(value, found[1][name], rtol=1e-3, atol=1e-4, err_msg=name)


@pytest.mark.parametrize("epochs", [0, 1, 4])
@pytest.mark.parametrize("strategy", ["cos", "linear"])
def test_the_rate_for_averaging(strategy: str, epochs: int) -> None:
    rates = []
    for T in (tw, torch):
        sgd = T.optim.SGD([T.zeros(1, requires_grad=True)], lr=0.3)
        schedule = T.optim.swa_utils.SWALR(sgd, 0.05, epochs, strategy)
        for _ in range(6):
            rates.append(sgd.param_groups[0]["lr"])
            sgd.step()
            schedule.step()
    np.testing.assert_allclose(rates[:6], rates[6:], rtol=1e-9)
