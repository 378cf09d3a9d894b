"""Mixed precision: what computes in which dtype, how long, and for whom."""

from __future__ import annotations

import threading
from typing import Any

import numpy as np
import pytest

import talweg as tw
from talweg.engine.state import STATE

F = tw.nn.functional


def lower(x: np.ndarray) -> np.ndarray:
    """Round to bfloat16."""
    return np.asarray(tw.tensor(x).bfloat16().float().numpy())


def test_contractions_are_lower_and_losses_are_not() -> None:
    x, w = tw.rand(4, 8), tw.rand(3, 8)
    image, kernel = tw.rand(1, 2, 6, 6), tw.rand(3, 2, 3, 3)
    with tw.autocast("cpu"):
        y = F.linear(x, w)
        low = (y, x @ w.t(), tw.einsum("ij,kj->ik", x, w), F.conv2d(image, kernel), tw.mm(x, w.t()))
        full = (F.mse_loss(y, y), F.cross_entropy(y, tw.tensor([0, 1, 2, 0])), y.prod())
        kept = (y.relu(), tw.softmax(y, 1), F.layer_norm(y, (3,)))
    assert {t.dtype for t in low} == {tw.bfloat16}
    assert {t.dtype for t in full} == {tw.float32}
    assert {t.dtype for t in kept} == {tw.bfloat16}
    assert F.linear(x, w).dtype is tw.float32


def test_operands_are_rounded_and_sums_are_not() -> None:
    x, w = np.random.RandomState(0).randn(2, 64, 64).astype("float32")
    with tw.autocast("cpu", dtype=tw.bfloat16):
        found = (tw.tensor(x) @ tw.tensor(w)).float().numpy()
    exact = lower(x).astype("float64") @ lower(w).astype("float64")
    np.testing.assert_allclose(found, exact, rtol=2**-8, atol=2**-8)


def test_gradients_have_the_dtype_of_their_parameters() -> None:
    layer, x = tw.nn.Linear(8, 3), tw.rand(5, 8)
    with tw.autocast("cpu"):
        loss = F.mse_loss(layer(x), tw.zeros(5, 3))
    loss.backward()
    assert layer.weight.grad is not None
    assert layer.weight.grad.dtype is tw.float32
    w, b = layer.weight.detach().numpy(), layer.bias.detach().numpy()
    y = lower(lower(x.numpy()) @ lower(w).T + lower(b))
    ct = lower(2 * y / y.size)
    np.testing.assert_allclose(
        layer.weight.grad.numpy(), ct.T @ lower(x.numpy()), rtol=0.02, atol=1e-3
    )


def test_float64_integers_and_numbers_stay() -> None:
    with tw.autocast("cpu"):
        assert (tw.ones(2, 2, dtype=tw.float64) @ tw.ones(2, 2, dtype=tw.float64)).dtype is (
            tw.float64
        )
        assert (tw.ones(2, 2).long() @ tw.ones(2, 2).long()).dtype is tw.int64
        assert tw.index_copy(tw.ones(2).bfloat16(), 0, tw.tensor([0]), tw.ones(1)).dtype is (
            tw.float32
        )


def test_regions_nest_and_end() -> None:
    x = tw.rand(2, 2)
    with tw.autocast("cpu", tw.float16):
        assert (x @ x).dtype is tw.float16
        assert tw.is_autocast_enabled("cpu")
        with tw.autocast("cpu", enabled=False):
            assert (x @ x).dtype is tw.float32
            assert not tw.is_autocast_enabled()
            with tw.cpu.amp.autocast():
                assert (x @ x).dtype is tw.bfloat16
        assert tw.get_autocast_dtype("cpu") is tw.float16
    with pytest.raises(RuntimeError, match="left"), tw.autocast("cpu"):
        raise RuntimeError("left")
    assert not tw.is_autocast_enabled()
    assert not tw.is_autocast_enabled("cuda")
    assert STATE.now.casts is None


def test_as_a_decorator_of_functions_and_generators() -> None:
    region = tw.autocast("cpu")

    @region
    def product(x: tw.Tensor, depth: int) -> Any:
        return product(x, depth - 1) if depth else (x @ x).dtype

    @tw.amp.autocast("cpu")
    def products(x: tw.Tensor) -> Any:
        yield (x @ x).dtype

    x = tw.rand(2, 2)
    assert product(x, 2) is tw.bfloat16
    for dtype in products(x):
        assert dtype is tw.bfloat16
        assert (x @ x).dtype is tw.float32


def test_a_parameter_is_cast_once_in_a_region() -> None:
    layer, x = tw.nn.Linear(4, 4), tw.rand(2, 4)
    with tw.autocast("cpu"):
        layer(x)
        casts = STATE.now.casts
        assert casts is not None
        assert len(casts) == 2
        kept = casts[id(layer.weight), tw.bfloat16, True][3]
        with tw.autocast("cpu"):
            layer(layer(x))
        assert casts[id(layer.weight), tw.bfloat16, True][3] is kept
        tw.clear_autocast_cache()
        assert not casts
    with tw.autocast("cpu", cache_enabled=False):
        assert not tw.is_autocast_cache_enabled()
        assert STATE.now.casts is None


def test_what_is_kept_is_cast_anew_when_a_parameter_changes() -> None:
    layer, x = tw.nn.Linear(2, 1, bias=False), tw.ones(1, 2)
    with tw.autocast("cpu"):
        layer(x)
        with tw.no_grad():
            layer.weight.fill_(3)
        assert layer(x).item() == 6
        layer.weight.data = tw.ones(1, 2)
        assert layer(x).item() == 2


def test_a_cast_under_no_grad_is_not_taken_for_gradients() -> None:
    layer, x = tw.nn.Linear(2, 1), tw.ones(1, 2)
    with tw.autocast("cpu"):
        with tw.no_grad():
            layer(x)
        layer(x).sum().backward()
    assert layer.weight.grad is not None


def test_threads_have_their_own_regions() -> None:
    found: list[bool] = []
    with tw.autocast("cpu"):
        thread = threading.Thread(target=lambda: found.append(tw.is_autocast_enabled()))
        thread.start()
        thread.join()
    assert found == [False]


def test_a_compiled_function_is_captured_for_each_region() -> None:
    layer, x = tw.nn.Linear(4, 3), tw.rand(2, 4)

    @tw.compile(fullgraph=True)
    def loss(x: tw.Tensor) -> Any:
        y = layer(x)
        return y, F.mse_loss(y, tw.zeros(2, 3))

    dtypes = {None: tw.float32, tw.bfloat16: tw.bfloat16, tw.float16: tw.float16}
    for _ in range(3):
        for dtype, wanted in dtypes.items():
            with tw.autocast("cpu", dtype=dtype, enabled=dtype is not None):
                y, value = loss(x)
                plain = layer(x)
            assert y.dtype is wanted
            assert value.dtype is tw.float32
            assert tw.equal(y, plain)
    assert len([r for r in loss.reports if r.reason is None]) == 3


def test_a_region_inside_a_compiled_step_gives_the_same_gradients() -> None:
    layer, x = tw.nn.Linear(4, 3), tw.rand(6, 4)

    def step(x: tw.Tensor) -> Any:
        layer.zero_grad()
        with tw.autocast("cpu", dtype=tw.bfloat16):
            value = F.mse_loss(layer(layer(x) @ tw.ones(3, 4)), tw.ones(6, 3))
        value.backward()
        return value, layer.weight.grad

    compiled = tw.compile(step, fullgraph=True)
    wanted = [t.detach().clone() for t in step(x)]
    for _ in range(3):
        for t, w in zip(compiled(x), wanted, strict=True):
            np.testing.assert_allclose(t.detach().numpy(), w.numpy(), rtol=0.02, atol=1e-3)


def test_a_capture_inside_a_region_leaves_its_casts_alone() -> None:
    layer, x = tw.nn.Linear(4, 3), tw.rand(2, 4)
    compiled = tw.compile(layer)
    with tw.autocast("cpu"):
        first = layer(x)
        for _ in range(3):
            assert tw.equal(compiled(x), first)
        layer(x).sum().backward()
    assert layer.weight.grad is not None
    assert layer.weight.grad.isfinite().all()


@pytest.mark.parametrize(
    "wrong",
    [lambda: tw.autocast("cuda"), lambda: tw.autocast("cpu", tw.float32)],
    ids=["device", "dtype"],
)
def test_what_is_not_there_switches_nothing_on(wrong: Any) -> None:
    with pytest.warns(UserWarning, match="Disabling autocast"):
        region = wrong()
    with region:
        assert not tw.is_autocast_enabled()
    with pytest.raises(ValueError, match="device_type"):
        tw.autocast(tw.bfloat16)  # type: ignore[arg-type]


def test_functions_of_ones_own() -> None:
    seen: list[Any] = []

    class Twice(tw.autograd.Function):
        @staticmethod
        @tw.amp.custom_fwd(device_type="cpu", cast_inputs=tw.float32)
        def forward(ctx: Any, x: tw.Tensor) -> tw.Tensor:
            seen.append((x.dtype, tw.is_autocast_enabled()))
            return x * 2

        @staticmethod
        @tw.amp.custom_bwd(device_type="cpu")
        def backward(ctx: Any, ct: tw.Tensor) -> tw.Tensor:
            seen.append(tw.is_autocast_enabled())
            return ct * 2

    x = tw.rand(2, 2, requires_grad=True)
    with tw.autocast("cpu"):
        y = Twice.apply(x @ x)
    y.sum().backward()
    assert seen == [(tw.float32, False), False]
