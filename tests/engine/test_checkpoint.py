"""Activations that are computed again: the same gradients, from less memory."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from typing import Any

import numpy as np
import pytest

import talweg as tw
from talweg.runtime import executor
from talweg.runtime.buffer import Buffer
from talweg.utils.checkpoint import checkpoint, checkpoint_sequential

F = tw.nn.functional
WIDTH, ROWS, BLOCKS = 32, 1024, 6


class Net(tw.nn.Module):
    """Blocks whose inside is kept, or computed again."""

    def __init__(self, again: Callable[..., Any] | None, dropout: float = 0.2) -> None:
        super().__init__()
        tw.manual_seed(0)
        self.again = again
        self.blocks = tw.nn.ModuleList(
            tw.nn.Sequential(
                *(part for _ in range(3) for part in self.parts(dropout)),
            )
            for _ in range(BLOCKS)
        )

    @staticmethod
    def parts(dropout: float) -> tuple[tw.nn.Module, ...]:
        return tw.nn.Linear(WIDTH, WIDTH), tw.nn.Tanh(), tw.nn.Dropout(dropout)

    def forward(self, x: tw.Tensor) -> Any:
        for block in self.blocks:
            x = block(x) if self.again is None else self.again(block, x)
        return x.square().sum()


def plain(block: Any, x: tw.Tensor) -> Any:
    return checkpoint(block, x, use_reentrant=False)


def reentrant(block: Any, x: tw.Tensor) -> Any:
    return checkpoint(block, x, use_reentrant=True)


def nested(block: Any, x: tw.Tensor) -> Any:
    return checkpoint(lambda y: plain(block[3:], plain(block[:3], y)), x, use_reentrant=False)


def gradients(net: Net, x: tw.Tensor, call: Callable[..., Any] | None = None) -> list[Any]:
    tw.manual_seed(7)
    net.zero_grad()
    x.grad = None
    loss = (call or net)(x)
    loss.backward()
    after = tw.rand(1)
    values = [loss.detach(), x.grad, *(p.grad for p in net.parameters()), after]
    return [v.numpy() for v in values if v is not None]


def rows(count: int = 16) -> tw.Tensor:
    return tw.randn(count, WIDTH, generator=tw.Generator().manual_seed(1)).requires_grad_()


@pytest.mark.parametrize("again", [plain, reentrant, nested])
def test_gradients_and_random_numbers_are_the_same(again: Any) -> None:
    wanted = gradients(Net(None), rows())
    for value, expected in zip(gradients(Net(again), rows()), wanted, strict=True):
        np.testing.assert_allclose(value, expected, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("again", [plain, nested])
def test_a_compiled_forward_draws_the_same_numbers_again(again: Any) -> None:
    net, x = Net(again), rows()
    compiled = tw.compile(net, fullgraph=True)
    wanted = gradients(Net(None), rows())
    for _ in range(3):
        for value, expected in zip(gradients(net, x, compiled), wanted, strict=True):
            np.testing.assert_allclose(value, expected, rtol=1e-5, atol=1e-6)


@contextmanager
def counted(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[int]]:
    """Count the bytes of all Buffers alive, and of the memory of Programs that run."""
    held = [0, 0]  # now, at most
    make, drop, take = Buffer.__init__, Buffer.__del__, executor.take
    arenas: list[int] = []

    def made(self: Buffer, nbytes: int) -> None:
        make(self, nbytes)
        held[0] += nbytes
        held[1] = max(held[1], held[0] + max(arenas, default=0))

    def dropped(self: Buffer) -> None:
        if self.stamp != -1 and hasattr(self, "_block"):
            held[0] -= self.nbytes
        drop(self)

    def taken(nbytes: int) -> Any:
        arenas.append(nbytes)
        held[1] = max(held[1], held[0] + nbytes)
        return take(nbytes)

    with monkeypatch.context() as patch:
        patch.setattr(Buffer, "__init__", made)
        patch.setattr(Buffer, "__del__", dropped)
        patch.setattr(executor, "take", taken)
        yield held


def training(net: Net) -> Callable[[tw.Tensor], Any]:
    sgd = tw.optim.SGD(net.parameters(), lr=1e-4)

    def step(x: tw.Tensor) -> Any:
        sgd.zero_grad()
        loss = net(x)
        loss.backward()
        sgd.step()
        return loss

    return step


def forward_only(net: Net) -> Callable[[tw.Tensor], Any]:
    compiled = tw.compile(net, fullgraph=True)

    def step(x: tw.Tensor) -> Any:
        loss = compiled(x)
        loss.backward()
        return loss

    return step


HOW: dict[str, Callable[[Net], Any]] = {
    "eager": training,
    "compiled step": lambda net: tw.compile(training(net)),
    "compiled forward": forward_only,
}


@pytest.mark.parametrize("how", HOW)
def test_less_memory_is_needed(how: str, monkeypatch: pytest.MonkeyPatch) -> None:
    peaks = []
    for again in (None, plain):
        step, x = HOW[how](Net(again)), rows(ROWS).detach()
        with counted(monkeypatch) as held:
            for _ in range(3):
                float(step(x).detach().item())
        peaks.append(held[1])
    one = ROWS * WIDTH * 4
    assert peaks[0] > 2 * 3 * BLOCKS * one  # every layer's result is kept
    assert peaks[1] < peaks[0] / 2
    assert peaks[1] < (BLOCKS + 3 * 6 + 4) * one  # what blocks are given, and the inside of one


def test_values_between_are_gone_before_the_backward_pass(monkeypatch: pytest.MonkeyPatch) -> None:
    x = rows(ROWS)
    with counted(monkeypatch) as held:
        loss = Net(plain)(x)
        float(loss.detach().item())
        kept = held[0]
        loss.backward()
    assert kept < (BLOCKS + 4) * ROWS * WIDTH * 4


def test_results_and_arguments_may_be_nested() -> None:
    def function(pair: Any, *, scale: Any, options: dict[str, Any]) -> Any:
        x, y = pair
        return {"sum": x + y * scale, "more": [x * y, (options["z"] @ x, "text", x)]}

    found = []
    for again in (False, True):
        x, y, z = (rows()[:8, :8].detach().clone().requires_grad_() for _ in range(3))
        given = {"scale": y.sum(), "options": {"z": z}}
        if again:
            out = checkpoint(function, (x * 2, y), use_reentrant=False, **given)
        else:
            out = function((x * 2, y), **given)
        assert out["more"][1][1] == "text"
        (
            out["sum"].sum() + out["more"][0].sum() + (out["more"][1][0] * out["more"][1][2]).sum()
        ).backward()
        found.append([t.grad for t in (x, y, z)])
    for ours, plainly in zip(*found, strict=True):
        assert ours is not None
        np.testing.assert_allclose(ours.numpy(), plainly.numpy(), rtol=1e-5)


def test_tensors_around_the_function_have_gradients() -> None:
    w, x = tw.tensor([2.0], requires_grad=True), tw.tensor([3.0], requires_grad=True)
    h = w * 5
    checkpoint(lambda x: (x * h).sin() * w, x, use_reentrant=False).sum().backward()
    assert x.grad is not None
    assert w.grad is not None
    np.testing.assert_allclose(x.grad.item(), np.cos(30) * 20, rtol=1e-5)
    np.testing.assert_allclose(w.grad.item(), np.sin(30) + np.cos(30) * 3 * 5 * 2, rtol=1e-5)


def test_an_argument_that_is_made_of_another_counts_once() -> None:
    x = tw.tensor(3.0, requires_grad=True)
    y = x * x
    z = checkpoint(lambda a, b: a * b, x, y, use_reentrant=False)
    assert tw.autograd.grad(z, [x, y], retain_graph=True) == (27, 3)
    z.backward()
    assert x.grad == 27


def test_second_derivatives() -> None:
    x = tw.tensor(2.0, requires_grad=True)
    y = checkpoint(lambda a: a**4, x, use_reentrant=False)
    (first,) = tw.autograd.grad(y, x, create_graph=True)
    assert first is not None
    (second,) = tw.autograd.grad(first, x)
    assert (first.item(), second) == (32, 48)


def test_a_freed_step_raises_and_a_kept_one_runs_again() -> None:
    x, calls = tw.tensor(2.0, requires_grad=True), []

    def function(a: tw.Tensor) -> Any:
        calls.append(1)
        return a.exp()

    y = checkpoint(function, x, use_reentrant=False)
    y.backward(retain_graph=True)
    y.backward()
    assert len(calls) == 3
    with pytest.raises(RuntimeError, match="second time"):
        y.backward()


def test_writes_between_the_passes_do_not_count() -> None:
    x = tw.tensor([2.0, 3.0], requires_grad=True)
    h = x * 1
    y = checkpoint(lambda a: a.square().relu_(), h, use_reentrant=False)
    h.data.fill_(100)
    y.sum().backward()
    assert x.grad is not None
    assert x.grad.tolist() == [4, 6]


def test_a_region_of_autocast_is_entered_again() -> None:
    layer, x, seen = tw.nn.Linear(4, 4), tw.rand(2, 4, requires_grad=True), []

    def function(x: tw.Tensor) -> Any:
        y = layer(x)
        seen.append(y.dtype)
        return y

    with tw.autocast("cpu"):
        y = checkpoint(function, x, use_reentrant=False)
    y.float().sum().backward()
    assert seen == [tw.bfloat16, tw.bfloat16]
    assert not tw.is_autocast_enabled()


def test_hooks_of_values_inside_run() -> None:
    seen: list[float] = []

    def function(x: tw.Tensor) -> Any:
        h = x * 2
        h.register_hook(lambda g: seen.append(g.item()))
        return h * 3

    x = tw.tensor(1.0, requires_grad=True)
    checkpoint(function, x, use_reentrant=False).backward()
    assert seen == [3]


def test_contexts_stand_around_both_calls() -> None:
    entered: list[str] = []

    @contextmanager
    def named(name: str) -> Iterator[None]:
        entered.append(name)
        yield

    x = tw.tensor(1.0, requires_grad=True)
    options = {"context_fn": lambda: (named("first"), named("again"))}
    checkpoint(lambda a: a.exp(), x, use_reentrant=False, **options).backward()
    assert entered == ["first", "again"]


def test_random_numbers_may_be_others() -> None:
    drawn: list[float] = []

    def function(x: tw.Tensor) -> Any:
        noise = tw.rand(1)
        drawn.append(noise.item())
        return x * noise

    x = tw.tensor([1.0], requires_grad=True)
    for keep in (True, False):
        y = checkpoint(function, x, use_reentrant=False, preserve_rng_state=keep)
        y.sum().backward()
    assert drawn[0] == drawn[1]
    assert drawn[2] != drawn[3]


def test_without_gradients_the_function_is_called() -> None:
    with tw.no_grad():
        assert not checkpoint(lambda x: x * 2, rows(), use_reentrant=False).requires_grad
    layer = tw.nn.Linear(2, 2)
    with pytest.warns(UserWarning, match="None of the inputs"):
        assert not checkpoint(layer, tw.ones(1, 2), use_reentrant=True).requires_grad
    assert checkpoint(layer, tw.ones(1, 2), use_reentrant=False).requires_grad


def test_what_cannot_be_run_again_is_refused() -> None:
    shapes = iter([(2, 2), (4,)])
    x = tw.ones(4, requires_grad=True)
    y = checkpoint(lambda a: a.reshape(next(shapes)) * 2, x, use_reentrant=False)
    with pytest.raises(RuntimeError, match="other results"):
        y.sum().backward()
    others = iter([x, tw.ones(4, requires_grad=True)])
    y = checkpoint(lambda a: a * next(others), tw.ones(4), use_reentrant=False)
    with pytest.raises(RuntimeError, match="read other Tensors"):
        y.sum().backward()


def test_wrong_options() -> None:
    x = tw.ones(2, requires_grad=True)
    with pytest.warns(UserWarning, match="use_reentrant"):
        checkpoint(tw.sin, x)
    with pytest.raises(ValueError, match="Unexpected keyword"):
        checkpoint(tw.sin, x, use_reentrant=True, other=1)
    both = nullcontext(), nullcontext()
    with pytest.raises(ValueError, match="context_fn"):
        checkpoint(tw.sin, x, use_reentrant=True, context_fn=lambda: both)
    with pytest.raises(ValueError, match="determinism_check"):
        checkpoint(tw.sin, x, use_reentrant=False, determinism_check="other")


@pytest.mark.parametrize("segments", [1, 2, 3, 5])
@pytest.mark.parametrize("again", [False, True])
def test_a_sequence_in_segments(segments: int, again: bool) -> None:
    net = tw.nn.Sequential(*(tw.nn.Linear(3, 3) for _ in range(5)))
    x = tw.rand(2, 3, requires_grad=True)
    (wanted,) = tw.autograd.grad(net(x).square().sum(), x)
    found = checkpoint_sequential(net, segments, x, use_reentrant=again)
    found.square().sum().backward()
    assert x.grad is not None
    assert wanted is not None
    np.testing.assert_allclose(x.grad.numpy(), wanted.numpy(), rtol=1e-5, atol=1e-7)
