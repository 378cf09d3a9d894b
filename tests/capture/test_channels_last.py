"""Functions of images whose channels stand last: replayed without a copy, with the same bits."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import talweg as tw
from talweg import nn, optim
from talweg.ops.kinds import Move
from tests.capture.replaying import assert_same, replays
from tests.checked import unchecked
from tests.images import images

F = nn.functional
LAST = tw.channels_last


def is_last(t: tw.Tensor | None) -> bool:
    return t is not None and t.is_contiguous(memory_format=LAST) and not t.is_contiguous()


def recipe(compiled: Any) -> Any:
    return getattr(compiled, "compiled", compiled)._last[1].recipe


def moved(compiled: Any) -> list[tuple[int, ...]]:
    """The shapes of images that kernels copy."""
    plan = recipe(compiled).program.plan
    nodes = [n for launch in plan.launches for n in launch.nodes]
    return [n.shape for n in nodes if isinstance(n.op, Move)]


def network(last: bool) -> Any:
    tw.manual_seed(0)
    net = nn.Sequential(
        *(nn.Conv2d(16, 32, 3, padding=1, bias=False), nn.BatchNorm2d(32), nn.ReLU()),
        *(nn.Conv2d(32, 16, 3, stride=2), nn.MaxPool2d(2), nn.Conv2d(16, 32, 1)),
    )
    return net.to(memory_format=LAST) if last else net


def test_images_go_in_and_out_as_they_are() -> None:
    w = images(32, 16, 3, 3, seed=1)
    compiled = tw.compile(lambda x: F.conv2d(x, w, padding=1).relu())
    for seed in range(3):
        x = images(4, 16, 12, 12, seed=seed)
        found = compiled(x)
        assert is_last(found)
        assert_same(found, F.conv2d(x, w, padding=1).relu(), exactly=True)
        rows = F.conv2d(x.contiguous(), w.contiguous(), padding=1).relu()
        np.testing.assert_allclose(found.numpy(), rows.numpy(), 1e-5, 1e-5)
    assert replays(compiled) == 2
    assert not moved(compiled)


def test_rows_and_channels_last_are_arguments_of_different_kinds() -> None:
    w = images(32, 16, 3, 3, seed=1, last=False)
    compiled = tw.compile(lambda x: F.conv2d(x, w))
    for last in (False, True, True, False, True):
        x = images(4, 16, 8, 8, seed=int(last), last=last)
        found = compiled(x)
        assert is_last(found) is last
        assert_same(found, F.conv2d(x, w), exactly=True)
    assert len(compiled.reports) == 2
    assert replays(compiled) == 3
    stored = images(4, 16, 8, 8).permute(0, 2, 3, 1).contiguous()
    assert is_last(compiled(stored.permute(0, 3, 1, 2))), "a view of a Tensor like that is one too"
    part = images(8, 16, 8, 8)[::2]
    for _ in range(2):
        assert_same(compiled(part), F.conv2d(part, w))


def both(function: Callable[[], Callable[..., Any]], count: int = 4) -> Any:
    """The results of several calls, replayed and not, and the compiled function."""
    plain, compiled = function(), tw.compile(function())
    for seed in range(count):
        x = images(4, 16, 12, 12, seed=seed)
        assert_same(compiled(x), plain(x), exactly=True)
    return compiled


def test_gradients_inside_a_function() -> None:
    def make() -> Callable[..., Any]:
        w = images(32, 16, 3, 3, seed=1).requires_grad_()
        cotangent = images(4, 32, 12, 12, seed=2)

        def step(x: tw.Tensor) -> Any:
            x = x.detach().requires_grad_()
            y = F.conv2d(x, w, padding=1)
            return y, *tw.autograd.grad(y, (x, w), cotangent)

        return step

    compiled = both(make)
    assert replays(compiled) == 3
    assert all(map(is_last, compiled(images(4, 16, 12, 12))))
    assert moved(compiled) == [(32, 16, 3, 3)], "the kernel's, which is summed with O last"


def test_a_training_step_writes_in_place() -> None:
    def make() -> Callable[..., Any]:
        net = network(True)
        optimizer = optim.SGD(net.parameters(), lr=0.05, momentum=0.9)
        weight = net[0].weight

        def step(x: tw.Tensor) -> Any:
            optimizer.zero_grad()
            loss = net(x).square().mean()
            loss.backward()
            optimizer.step()
            return loss, weight.grad, weight.detach()

        return step

    compiled = both(make, 6)
    assert replays(compiled) == 4
    _, grad, weight = compiled(images(4, 16, 12, 12))
    assert is_last(grad)
    assert is_last(weight)
    assert all(len(shape) == 4 and shape[2] <= 3 for shape in moved(compiled))


@unchecked
def test_parameters_and_gradients_stay_where_they_are() -> None:
    net = network(True)
    optimizer = optim.SGD(net.parameters(), lr=0.05, momentum=0.9)
    weight = net[0].weight

    @tw.compile
    def step(x: tw.Tensor) -> tw.Tensor:
        optimizer.zero_grad()
        loss = net(x).square().mean()
        loss.backward()
        optimizer.step()
        return loss.detach()

    def places() -> tuple[int, ...]:
        (momentum,) = optimizer.state[weight].values()
        found = (weight, weight.grad, momentum)
        return tuple(t._storage.node.buffer.address for t in found)

    x = images(4, 16, 12, 12)
    for _ in range(4):
        step(x)
    before, again = places(), None
    for _ in range(3):
        step(x)
        again = places()
    assert again is not None
    assert before[1:] == again[1:]
    kept = weight.grad.detach()
    values = kept.numpy().copy()
    step(images(4, 16, 12, 12, seed=1))
    np.testing.assert_array_equal(kept.numpy(), values)
    assert replays(step) == 6


@pytest.mark.parametrize("last", [False, True])
def test_gradients_through_a_replay(last: bool) -> None:
    net, again = network(last), network(last)
    again.load_state_dict(net.state_dict())
    compiled = tw.compile(net)
    for seed in range(3):
        given = [images(4, 16, 12, 12, seed=seed, last=last).requires_grad_() for _ in range(2)]
        outs = [f(x) for f, x in zip((compiled, again), given, strict=True)]
        for y in outs:
            (y * y).mean().backward()
        assert_same(outs[0].detach(), outs[1].detach())
        assert_same(given[0].grad, given[1].grad)
        for p, q in zip(net.parameters(), again.parameters(), strict=True):
            assert_same(p.grad, q.grad)
    found = recipe(compiled)
    assert any(found.tape.turned) is any(found.tape.seen) is last
    if last:
        kept = [t.shape for t in found.types if t.rank == 4 and t.shape[2] > 1]
        assert kept
        assert all(shape[1] == shape[2] for shape in kept), "as storages have them"
        images_moved = [
            n.shape
            for launch in found.tape.backward.plan.launches
            for n in launch.nodes
            if isinstance(n.op, Move) and n.shape[2] > 3
        ]
        assert not images_moved


def test_weights_that_are_kept_for_kernels() -> None:
    net = network(True).eval()
    compiled = tw.compile(net)
    with tw.inference_mode():
        for seed in range(3):
            x = images(4, 16, 12, 12, seed=seed)
            assert_same(compiled(x), net(x))
    with tw.no_grad():
        net[0].weight.mul_(2)
    with tw.inference_mode():
        assert_same(compiled(x), net(x))
    assert is_last(compiled(x))


def test_a_result_that_is_written_afterwards_is_not_an_argument() -> None:
    compiled = tw.compile(lambda x: (x, x * 2, x.detach()))
    x = images(2, 16, 4, 4)
    for _ in range(3):
        same, twice, alias = compiled(x)
        twice.zero_()
        assert same is x
        alias.add_(1)
        np.testing.assert_array_equal(alias.numpy(), x.numpy())
    assert is_last(twice)
    assert is_last(x)


def test_an_argument_is_written_in_place() -> None:
    def write(x: tw.Tensor) -> None:
        x.mul_(0.5).add_(1)
        x[:, 3] = 0

    plain, other = images(2, 16, 4, 4), images(2, 16, 4, 4)
    compiled = tw.compile(write)
    for _ in range(3):
        write(plain)
        compiled(other)
        assert_same(other, plain, exactly=True)
    assert is_last(other)
    assert replays(compiled) == 2
